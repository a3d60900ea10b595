"""A Keras model with a loss of its own, which supports the training options of Keras with their usual meaning.

compile ──► the optimizer: float32 copies of narrow weights, gradients weighed by tokens, the backend's kernel
a step  ──► loss: a weighted mean + the losses of `add_loss` and regularizers
        └─► the user's metrics: on the user's labels, without padding
"""

import typing
from collections.abc import Mapping

import keras
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.batches import Batches
from keras_transformers.training import refusals, replicas
from keras_transformers.training.accumulation import accumulation, weigh_batches
from keras_transformers.training.fused import fuse
from keras_transformers.training.metrics import TokenMean
from keras_transformers.training.narrow import keep_in_float32
from keras_transformers.training.optimizers import Optimizer, parts
from keras_transformers.training.schedules import count_updates
from keras_transformers.training.user_metrics import check_names, check_weights, update
from keras_transformers.transforms.grids import Grid


class Trained(keras.Model):
    """The training part of `Task`. Abstract.

    A subclass has a `compute_loss` that ends in `weighted_mean`.
    """

    def __init__(self, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        # With this name it replaces the metric of Keras, a mean over batches weighted by their rows.
        self.mean_loss = TokenMean(name="loss")
        self._checked_metrics = False

    # Before the first step

    def compile(
        self,
        optimizer: Optimizer,
        *,
        metrics: typing.Any = None,
        weighted_metrics: typing.Any = None,
        auto_scale_loss: bool = True,
        grids: Mapping[int, Grid] | None = None,
        **kwargs: typing.Any,
    ) -> None:
        if kwargs.pop("loss", None) is not None:
            raise ValueError(f"Expected no loss: a {type(self).__name__} has its own. Leave it out.")
        if kwargs.pop("loss_weights", None) is not None:
            raise ValueError(
                f"Expected no loss_weights: a {type(self).__name__} has one loss. Leave them out; sample_weight of fit "
                "weighs examples."
            )
        optimizer = keras.optimizers.get(optimizer)
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if auto_scale_loss and self.compute_dtype == "float16" and not scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # Keras does this only for "mixed_float16"
        options = {"metrics": self._named_metrics(metrics), "weighted_metrics": self._named_metrics(weighted_metrics)}
        self._compile_metrics = None
        super().compile(optimizer=optimizer, auto_scale_loss=auto_scale_loss, **options, **kwargs)
        self._checked_metrics = False
        plain = self._plain_optimizer()
        keep_in_float32(plain, self.variables, grids)
        if hasattr(plain, "optimizers"):
            plain.build(self.trainable_variables)  # it has its parts only once built
        for part in parts(plain):
            count_updates(part)
            weigh_batches(part)
            fuse(part)

    def _plain_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer; if it scales losses, the one inside."""
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def _named_metrics(self, metrics: typing.Any) -> typing.Any:
        """The user's metrics in the form that Keras takes."""
        if metrics is None:
            return None
        check_names(metrics)
        return keras.tree.map_structure(self._named_metric, metrics)

    def _named_metric(self, metric: typing.Any) -> typing.Any:
        """A metric of `compile`, given by name or as an object. "accuracy" is the metric that fits the task."""
        return metric

    def make_train_function(self, force: bool = False) -> typing.Any:
        self._check_before_steps()
        if not self.optimizer.built:  # TensorFlow traces a step twice if its first trace makes variables
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> typing.Any:
        self._check_before_steps()
        return super().make_test_function(force)

    def _check_before_steps(self) -> None:
        refusals.check_processes()
        _give_regularizers(self)
        self._check_metrics()

    def _check_metrics(self) -> None:
        if self._compile_metrics is not None and not self._checked_metrics:
            check_weights(self._compile_metrics, self._metric_classes())
            self._checked_metrics = True

    def _metric_classes(self) -> int | None:
        """The number of classes if the user's metrics see the label of each token; None if they see whole rows, none of
        which is padding."""
        return None

    def _as_trained(self, batches: Batches) -> Batches:
        """`Batches` with rows that devices can share. If a metric would count rows that only fill a batch, they have no
        such rows."""
        self._check_metrics()
        shards = replicas.shards()
        if shards == 1:
            return batches.changed(filled=self._compile_metrics is None)
        if self._compile_metrics is not None:
            raise ValueError(
                f"Expected no metrics with {shards} devices that share each batch, got some: they would count rows "
                "that only fill batches up. Compile without, and call evaluate with metrics on one device."
            )
        return batches.changed(multiple=shards)

    # A step

    def train_step(self, *arguments: typing.Any) -> typing.Any:
        accumulations = [each for each in map(accumulation, parts(self.optimizer)) if each is not None]
        if not accumulations:
            return super().train_step(*arguments)
        weight = ops.sum(self._loss_weight(*keras.utils.unpack_x_y_sample_weight(arguments[-1])))
        for each in accumulations:
            each.weight = weight
        try:
            return super().train_step(*arguments)
        finally:
            for each in accumulations:
                each.weight = None

    def _loss_weight(self, x: Tensor, y: Tensor, sample_weight: Tensor) -> Tensor:
        """The weight of each part of the loss, an array. The loss is divided by its sum, up to a factor that all
        batches share."""
        if sample_weight is None:
            leaf = next(each for each in keras.tree.flatten((y, x)) if each is not None)
            return ops.ones(ops.shape(leaf), "float32")
        return ops.cast(sample_weight, "float32")

    def weighted_mean(self, losses: Tensor, sample_weight: Tensor) -> Tensor:
        """The weighted mean of losses, plus the losses of `add_loss` and regularizers. Updates the metric with the
        mean."""
        weight = ops.ones_like(losses) if sample_weight is None else ops.cast(sample_weight, "float32")
        return self.mean_of_sum(ops.sum(losses * weight), losses, weight)

    def mean_of_sum(self, total: Tensor, losses: Tensor, weight: Tensor) -> Tensor:
        """The result of `weighted_mean` from a weighted sum that is computed already.

        Args:
            total: the sum, a scalar with gradients.
            losses, weight: the summed losses and their weights, for the metric.
        """
        added = ops.zeros((), "float32")
        for each in self.losses:
            added = added + ops.cast(ops.sum(each), "float32")
        self.mean_loss.update_state(losses + added, weight)
        return total / at_least_one(replicas.summed(ops.sum(weight))) + added / replicas.count()

    def compute_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> dict[str, typing.Any]:
        if self._compile_metrics is not None:
            update(self._compile_metrics, *self._seen_by_metrics(x, y, y_pred, sample_weight))
        return self.get_metrics_result()

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The inputs of the user's metrics: labels, outputs, the weights of `metrics`, which leave padding out (None
        without padding), and the weights of `weighted_metrics`."""
        return y, y_pred, None, sample_weight

    def get_metrics_result(self) -> dict[str, typing.Any]:
        result = super().get_metrics_result()
        if self._compile_metrics is not None and self._compile_metrics.built:
            result |= self._compile_metrics.result()  # the user's metric replaces one of the same name
        return result


def at_least_one(weight: Tensor) -> Tensor:
    """The sum of weights, or 1 if it is 0, as the divisor of a mean."""
    total = ops.sum(weight)
    return ops.where(ops.equal(total, 0.0), 1.0, total)


def _give_regularizers(model: keras.Model) -> None:
    """Give weights the regularizers of their layers. Keras reads these only when it makes the weights, and those of a
    task are made in its constructor."""
    for layer in model._flatten_layers():
        for name in [name for name in vars(layer) if name.endswith("_regularizer")]:
            regularizer, weight = getattr(layer, name), name.removesuffix("_regularizer")
            variable = getattr(layer, f"_{weight}", None)
            variable = getattr(layer, weight, None) if variable is None else variable
            if callable(regularizer) and isinstance(variable, keras.Variable):
                variable.regularizer = regularizer
