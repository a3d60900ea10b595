"""Metrics that a user gives to `compile`: they see what the user gave, and no padding.

Keras's own way counts each row and place of a batch, those that only fill it up among them. Here the labels and outputs
of tokens come one to a row, and what is padding has weight 0, for `metrics` as for `weighted_metrics`; whole rows that
fill a batch up are left out before (`Batches.changed(filled=False)`).

Shapes: `N` rows or tokens, `C` classes.
"""

import typing

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor


def check_names(metrics: typing.Any) -> None:
    """Refuse a metric by the name of the loss, which would take its place in the logs."""
    for metric in keras.tree.flatten(metrics):
        if getattr(metric, "name", None) == "loss":
            raise ValueError("Expected a metric by another name than 'loss', which is the task's own. Rename it.")


def update(compiled: typing.Any, y: Tensor, y_pred: Tensor, mask: Tensor, weight: Tensor) -> None:
    """Update Keras's compiled metrics.

    Args:
        compiled: `keras.Model._compile_metrics`.
        y, y_pred: labels and outputs, `N` each.
        mask: float `[N]`, 0 for what is padding, or None; for `metrics`.
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
    """Labels `[…]`, outputs `[…, C]` and weights `[…]` with a token to a row, as `update` takes them."""
    y, y_pred = ops.convert_to_tensor(y), ops.convert_to_tensor(y_pred)
    weight = ops.cast(ops.reshape(weight, (-1,)), "float32")
    mask = ops.cast(ops.not_equal(weight, 0.0), "float32")
    return ops.reshape(y, (-1,)), ops.reshape(y_pred, (-1, y_pred.shape[-1])), mask, weight


def check_weights(compiled: typing.Any, num_classes: int | None) -> None:
    """Refuse metrics that do not heed weights, by which alone they can leave padding out.

    Args:
        compiled: as for `update`.
        num_classes: of each label; None where nothing is padding.

    Raises:
        ValueError: naming the metric.
    """
    if num_classes is None:
        return
    draw = np.random.default_rng(0)
    labels, there = np.arange(8) % num_classes, np.arange(8) < 3
    for hits in (there, ~there):  # right where it counts and wrong elsewhere, and the other way round
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
    """Whether a metric says the same of what counts with and without what does not."""
    alone = _result(metric, labels[there], logits[there])
    try:
        among = _result(metric, labels, logits, there.astype("float32"))
    except Exception:  # without weights it worked
        return False
    return all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in zip(alone, among, strict=True))


def _result(metric: typing.Any, labels: Tensor, logits: Tensor, weight: Tensor = None) -> list[np.ndarray]:
    metric.reset_state()
    weight = None if weight is None else ops.convert_to_tensor(weight)
    metric.update_state(ops.convert_to_tensor(labels), ops.convert_to_tensor(logits), sample_weight=weight)
    result = [ops.convert_to_numpy(each) for each in keras.tree.flatten(metric.result())]
    metric.reset_state()
    return result
