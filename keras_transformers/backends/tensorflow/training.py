"""Training on TensorFlow, which Keras compiles with XLA only on accelerators."""

import typing
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from keras_transformers.backends.default.training import *  # noqa: F403
from keras_transformers.backends.default.training import Run, adam_moments, adam_powers, combined, scaled
from keras_transformers.backends.types import Tensor

SHORTEST_CHUNK = 8  # measured: longer chunks took equally long, and more memory


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The label-smoothed cross-entropy of each token, and its negative log-likelihood without a gradient: float32 `[…]`
    from logits `[…, V]` and integer labels `[…]`."""
    # The fused sparse operation of tf.nn takes twice as long on a CPU without XLA, and equally long with it.
    logits = tf.cast(logits, tf.float32)
    labels = tf.cast(labels, tf.int32)
    label_logits = tf.gather(logits, labels, axis=-1, batch_dims=labels.shape.rank)
    return combined(
        tf.reduce_logsumexp(logits, axis=-1), label_logits, tf.reduce_mean(logits, axis=-1), label_smoothing
    )


def best(logits: Tensor) -> Tensor:
    """The index of the largest value of the last axis."""
    return tf.argmax(logits, -1, "int32")  # faster than the argmax for XLA


def less_at(rows: Tensor, places: Tensor, amounts: Tensor) -> Tensor:
    """`rows [C, V]` minus `amounts [C, 1]` at `places [C, 1]`."""
    rows_of = tf.range(tf.shape(rows)[0])
    return tf.tensor_scatter_nd_sub(rows, tf.stack((rows_of, places[:, 0]), axis=1), amounts[:, 0])


def scan(
    body: Callable[..., tuple[typing.Any, Sequence[Tensor]]],
    carry: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    shapes: list[typing.Any],
) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
    """Run `body(carry, inputs) -> (carry, results)` over axis 0 of the inputs in turn. Returns the last carry, and the
    stacked results, float32 of `shapes`."""
    count = tf.shape(inputs[0])[0]
    arrays = tuple(tf.TensorArray("float32", count, element_shape=shape) for shape in shapes)

    def step(index: Tensor, carry: tuple[typing.Any, ...], arrays: tuple[typing.Any, ...]) -> tuple[typing.Any, ...]:
        carry, results = body(carry, tuple(each[index] for each in inputs))
        return index + 1, carry, tuple(a.write(index, r) for a, r in zip(arrays, results, strict=True))

    # Run chunks in turn: parallel chunks would all hold their logits while they wait for the sums.
    loop = tf.while_loop(lambda index, *_: index < count, step, (0, carry, arrays), parallel_iterations=1)
    return loop[1], [array.stack() for array in loop[2]]


def with_gradients(run: Run, settings: typing.Any, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The outputs of `run`. The first one, a scalar, has gradients, which `run` computes together with it."""

    @tf.custom_gradient
    def function(*tensors: Tensor) -> typing.Any:
        outputs, gradients = run(settings, *tensors, gradients=True)
        return outputs, lambda upstream, *rest: scaled(gradients, upstream, tensors)

    # Eagerly, a variable would get its gradient in another way.
    return function(*map(tf.convert_to_tensor, tensors))


def fuse_adam(optimizer: keras.optimizers.Adam) -> None:
    """Make an `Adam` compute its update with one operation of the backend, in place, unless a strategy is active."""
    if not tf.distribute.has_strategy():
        optimizer.update_step = _update.__get__(optimizer)


def _update(self: keras.optimizers.Adam, gradient: Tensor, variable: typing.Any, learning_rate: Tensor) -> None:
    """The update of one `tf.Variable`."""
    if variable.dtype not in (tf.float32, tf.float64):  # the kernel would round beta_2 to 1
        type(self).update_step(self, gradient, variable, learning_rate)
        return
    moment, velocity = adam_moments(self, variable)
    power_1, power_2 = adam_powers(self, variable.dtype)
    rate, beta_1, beta_2, epsilon = (
        tf.cast(value, variable.dtype) for value in (learning_rate, self.beta_1, self.beta_2, self.epsilon)
    )
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=moment.handle,
        v=velocity.handle,
        beta1_power=power_1,
        beta2_power=power_2,
        lr=rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
    )


def endless(
    source: typing.Any, stream: Callable[[], Iterator[typing.Any]], example: Callable[[], typing.Any]
) -> typing.Any:
    """An endless stream of batches, in the form that `keras.Model.fit` reads."""

    # Leave lengths open: Keras would fix those of the first two batches.
    def free(array: typing.Any) -> typing.Any:
        return tf.TensorSpec((None,) * array.ndim, array.dtype)

    signature = tf.nest.map_structure(free, example())
    return tf.data.Dataset.from_generator(stream, output_signature=signature).prefetch(2)


def processes() -> tuple[int, str]:
    """The number of processes that the backend was configured with, and the source of this number."""
    resolver = getattr(tf.distribute.get_strategy(), "cluster_resolver", None)
    cluster = None if resolver is None else resolver.cluster_spec()
    return (cluster.num_tasks("worker") if cluster and "worker" in cluster.jobs else 1), "the strategy's workers"


def replicas() -> int:
    """The number of replicas that add up their gradients."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def summed(value: Tensor) -> Tensor:
    """The sum of `value` over all replicas."""
    context = tf.distribute.get_replica_context() if replicas() > 1 else None
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)
