"""Keras's `class_weight`: how much the labels of each class count."""

import collections.abc
import math
import numbers

import numpy as np


def class_weights(
    weights: collections.abc.Mapping[str | int, float],
    labels: collections.abc.Sequence[str],
    numbered: collections.abc.Callable[[str | int, str], int],
) -> np.ndarray:
    """What each class counts, float32 `[C]`; 1 if `weights` does not name it, as in Keras.

    Args:
        weights: a number for each class, by its name or its number.
        labels: the classes.
        numbered: a class's number, from its name or number and what to call it in an error.

    Raises:
        TypeError: for what is no dictionary.
        ValueError: for an unknown class, one that is named twice, and a weight that is no finite number of at least 0.
    """
    if not isinstance(weights, collections.abc.Mapping):
        raise TypeError(
            f"Expected class_weight to be a dictionary such as {{{labels[0]!r}: 2.0}}, got {weights!r:.80}."
        )
    table = np.ones(len(labels), "float32")
    named: dict[int, object] = {}
    for label, weight in weights.items():
        number = numbered(label, "a key of class_weight")
        if number in named:
            raise ValueError(
                f"Expected one weight for each class, got two of {labels[number]!r}: {named[number]!r} and {label!r}."
            )
        if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not 0 <= weight < math.inf:
            raise ValueError(
                f"Expected a finite weight of at least 0 for class {label!r}, got {weight!r}. 1 is what a class counts "
                "that is not named."
            )
        named[number], table[number] = label, weight
    return table
