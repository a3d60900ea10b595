import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.training import chunked
from keras_transformers.training.chunked import HeadMatrix, chunk_size, chunked_cross_entropy
from keras_transformers.training.losses import token_cross_entropy

B, T, D, V = 3, 13, 8, 37


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    weights = rng.random((B, T)).astype("float32")
    weights[0, :4] = 0.0
    return {
        "hidden": rng.normal(size=(B, T, D)).astype("float32"),
        "matrix": rng.normal(size=(V, D)).astype("float32"),
        "bias": rng.normal(size=V).astype("float32"),
        "labels": rng.integers(0, V, (B, T)).astype("int32"),
        "weights": weights,
    }


def plain(hidden, matrix, bias, labels, weights, transposed, soft_cap, smoothing):
    logits = ops.matmul(hidden, matrix if transposed else ops.transpose(matrix))
    logits = logits if bias is None else logits + bias
    logits = logits if soft_cap is None else ops.tanh(logits / soft_cap) * soft_cap
    loss, likelihood = token_cross_entropy(logits, labels, smoothing)
    return ops.sum(loss * weights), loss, likelihood, ops.argmax(logits, axis=-1)


def gradients(function, *arrays):
    """The value of a function of arrays, and its gradients, by the backend's own means."""
    if keras.backend.backend() == "jax":
        import jax

        value, slopes = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(arrays)))))(*arrays)
    elif keras.backend.backend() == "torch":
        import torch

        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        value = function(*tensors)
        slopes = torch.autograd.grad(value, tensors)
    else:
        import tensorflow as tf

        specs = [tf.TensorSpec([None] * each.ndim if each.ndim == 3 else each.shape) for each in arrays]

        @tf.function(jit_compile=True, input_signature=specs)
        def run(*tensors):
            tensors[0].set_shape([None, None, arrays[0].shape[-1]])
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = function(*tensors)
            return value, tape.gradient(value, tensors)

        value, slopes = run(*(tf.constant(array) for array in arrays))
    return ops.convert_to_numpy(value), [ops.convert_to_numpy(slope) for slope in slopes]


@pytest.mark.parametrize("size", [8 * V, pytest.param(16 * V, marks=pytest.mark.one_backend("torch")), 10**6])
@pytest.mark.parametrize(
    ("transposed", "has_bias", "soft_cap", "smoothing"),
    [(False, False, None, 0.0), (True, True, None, 0.1), (False, True, 2.0, 0.0), (True, False, 3.0, 0.2)],
)
def test_loss_and_gradients_are_those_of_whole_logits(arrays, size, transposed, has_bias, soft_cap, smoothing):
    matrix = arrays["matrix"].T.copy() if transposed else arrays["matrix"]
    inputs = [arrays["hidden"], matrix, *([arrays["bias"]] if has_bias else [])]
    labels, weights = ops.convert_to_tensor(arrays["labels"]), ops.convert_to_tensor(arrays["weights"])

    def in_chunks(hidden, matrix, bias=None):
        head = HeadMatrix(matrix, bias, transposed, soft_cap)
        total, _ = chunked_cross_entropy(hidden, labels, weights, head, label_smoothing=smoothing, size=size)
        return total * 0.5  # what comes from above is passed on

    def whole(hidden, matrix, bias=None):
        return plain(hidden, matrix, bias, labels, weights, transposed, soft_cap, smoothing)[0] * 0.5

    (value, slopes), (expected, expected_slopes) = gradients(in_chunks, *inputs), gradients(whole, *inputs)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for slope, wanted in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(slope, wanted, atol=1e-6 * np.abs(wanted).max(), rtol=0)


def test_a_frozen_head_costs_no_gradients(arrays, monkeypatch):
    made, zeros = [], ops.zeros
    monkeypatch.setattr(chunked.ops, "zeros", lambda shape, *rest: made.append(tuple(shape)) or zeros(shape, *rest))
    matrix, bias = (keras.Variable(arrays[name], trainable=False) for name in ("matrix", "bias"))
    labels, weights = ops.convert_to_tensor(arrays["labels"]), ops.convert_to_tensor(arrays["weights"])

    def loss(hidden):
        return chunked_cross_entropy(hidden, labels, weights, HeadMatrix(matrix, bias), size=8 * V)[0]

    (_, (frozen,)) = gradients(loss, arrays["hidden"])
    assert (V, D) not in made
    bias.trainable = True
    (_, (learning,)) = gradients(loss, arrays["hidden"])
    assert (V, D) in made
    np.testing.assert_allclose(frozen, learning, rtol=1e-5, atol=1e-6 * np.abs(frozen).max())  # two ways to compute


@pytest.mark.parametrize("with_gradients", [False, True])
def test_each_tokens_scores_come_in_order(arrays, with_gradients):
    values = [ops.convert_to_tensor(arrays[name]) for name in ("hidden", "matrix", "bias", "labels", "weights")]
    total, loss, likelihood, best = plain(*values, False, None, 0.1)
    hidden, matrix, bias, labels, weights = values
    found, scores = chunked_cross_entropy(
        hidden, labels, weights, HeadMatrix(matrix, bias), label_smoothing=0.1, gradients=with_gradients, size=8 * V
    )
    np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(total), rtol=1e-6)
    for one, other in ((scores.loss, loss), (scores.negative_log_likelihood, likelihood)):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-5, atol=1e-6)
    correct = ops.convert_to_numpy(best) == arrays["labels"]
    assert (ops.convert_to_numpy(scores.correct) == correct).all()
    assert scores.correct.shape == (B, T)


def test_half_precision_keeps_its_dtypes(arrays):
    head = HeadMatrix(ops.convert_to_tensor(arrays["matrix"]))
    hidden = ops.cast(arrays["hidden"], "bfloat16")
    labels, weights = ops.convert_to_tensor(arrays["labels"]), ops.convert_to_tensor(arrays["weights"])
    total, scores = chunked_cross_entropy(hidden, labels, weights, head)
    wide, _ = chunked_cross_entropy(ops.cast(hidden, "float32"), labels, weights, head)
    assert keras.backend.standardize_dtype(total.dtype) == "float32"
    assert keras.backend.standardize_dtype(scores.loss.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(total), ops.convert_to_numpy(wide), rtol=2e-2)


@pytest.mark.one_backend("torch")
def test_chunks_are_of_equal_size_and_no_larger_than_is_needed():
    assert chunk_size(50257, 10**6, size=2**24) == 328
    assert chunk_size(10**9, 16) == 8
    assert chunk_size(300, 2048) == 1024
    assert chunk_size(300, 100) == 100
    assert chunk_size(300, 1030) == 515
    for count, size in ((1030, 515), (100, 100)):  # not known while a graph is made
        assert int(chunk_size(300, ops.convert_to_tensor(count, "int32"))) == size


@pytest.mark.parametrize("count", [0, 1, 7])
def test_any_number_of_tokens(arrays, count):
    hidden, labels, weights = (arrays[name].reshape(B * T, -1)[:count] for name in ("hidden", "labels", "weights"))

    def run(hidden, labels, weights):
        total, scores = chunked_cross_entropy(hidden, labels, weights, HeadMatrix(matrix), size=8 * V)
        return total, scores.loss

    matrix, columns = ops.convert_to_tensor(arrays["matrix"]), (hidden, labels[:, 0], weights[:, 0])
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in columns]
        run = tf.function(run, input_signature=specs)
    total, loss = map(ops.convert_to_numpy, run(*map(ops.convert_to_tensor, columns)))
    assert loss.shape == (count,)
    np.testing.assert_allclose(total, (loss * columns[2]).sum(), rtol=1e-6)
