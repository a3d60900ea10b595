"""The metrics that a user passes to `compile`: they see the user's labels, without padding.

Keras counts every row and position of a batch, including padding. Here metrics see one token in each row, and padding
has weight 0, both for `metrics` and `weighted_metrics`. Whole rows that only fill a batch are removed earlier
(`Batches.changed(filled=False)`).

Shapes: `N` rows or tokens, `C` classes.
"""

import typing

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor


def check_names(metrics: typing.Any) -> None:
    """Refuse a metric with the name of the loss, which it would replace in the logs."""
    for metric in keras.tree.flatten(metrics):
        if getattr(metric, "name", None) == "loss":
            raise ValueError("Expected a metric by another name than 'loss', which is the task's own. Rename it.")


def update(compiled: typing.Any, y: Tensor, y_pred: Tensor, mask: Tensor, weight: Tensor) -> None:
    """Update the compiled metrics of Keras.

    Args:
        compiled: `keras.Model._compile_metrics`.
        y, y_pred: labels and outputs, `N` each.
        mask: float `[N]`, 0 for padding, or None; for `metrics`.
        weight: float `[N]`, or None; for `weighted_metrics`.
    """
    if not compiled.built:
        compiled.build(y, y_pred)
    groups = (compiled._flat_metrics, mask), (compiled._flat_weighted_metrics, weight)
    for group, weights in groups:
        for metrics in group:
            if metrics is not None:
                metrics.update_state(y, y_pred, sample_weight=weights)


def of_tokens(y: Tensor, y_pred: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reshape labels `[…]`, outputs `[…, C]` and weights `[…]` to one token in each row, for `update`."""
    y, y_pred = ops.convert_to_tensor(y), ops.convert_to_tensor(y_pred)
    weight = ops.cast(ops.reshape(weight, (-1,)), "float32")
    mask = ops.cast(ops.not_equal(weight, 0.0), "float32")
    return ops.reshape(y, (-1,)), ops.reshape(y_pred, (-1, y_pred.shape[-1])), mask, weight


def check_weights(compiled: typing.Any, num_classes: int | None) -> None:
    """Refuse metrics that ignore weights: they would count padding.

    Args:
        compiled: as for `update`.
        num_classes: the number of classes of a label; None without padding.

    Raises:
        ValueError: naming the metric.
    """
    if num_classes is None:
        return
    draw = np.random.default_rng(0)
    labels, there = np.arange(8) % num_classes, np.arange(8) < 3
    for hits in (there, ~there):  # right where the weight is not 0 and wrong elsewhere, and vice versa
        logits = draw.standard_normal((8, num_classes)).astype("float32")
        logits[np.arange(8), np.where(hits, labels, (labels + 1) % num_classes)] = 5.0
        if not compiled.built:
            compiled.build(labels, logits)
        for metric in compiled.metrics:
            if not _heeds(metric, labels.astype("int32"), logits, there):
                raise ValueError(
                    f"Expected metrics that heed sample_weight, which is 0 for padding, got {metric.name!r}, whose "
                    "result counts it. Return one value for each label, or use sample_weight in update_state."
                )


def _heeds(metric: typing.Any, labels: Tensor, logits: Tensor, there: Tensor) -> bool:
    """Whether a metric ignores parts of weight 0: whether its value is the same with and without them."""
    alone = _result(metric, labels[there], logits[there])
    try:
        among = _result(metric, labels, logits, there.astype("float32"))
    except Exception:  # it worked without weights
        return False
    return all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in zip(alone, among, strict=True))


def _result(metric: typing.Any, labels: Tensor, logits: Tensor, weight: Tensor = None) -> list[np.ndarray]:
    metric.reset_state()
    weight = None if weight is None else ops.convert_to_tensor(weight)
    metric.update_state(ops.convert_to_tensor(labels), ops.convert_to_tensor(logits), sample_weight=weight)
    result = [ops.convert_to_numpy(each) for each in keras.tree.flatten(metric.result())]
    metric.reset_state()
    return result
