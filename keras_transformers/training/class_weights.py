"""Class weights, the option `class_weight` of Keras."""

import collections.abc
import math
import numbers

import numpy as np


def class_weights(
    weights: collections.abc.Mapping[str | int, float],
    labels: collections.abc.Sequence[str],
    numbered: collections.abc.Callable[[str | int, str], int],
) -> np.ndarray:
    """The weight of each class, float32 `[C]`; 1 for classes that `weights` does not name, as in Keras.

    Args:
        weights: a dictionary with a weight for each class, by its name or number.
        labels: the classes.
        numbered: a function from the name or number of a class, and a name for it in errors, to its number.

    Raises:
        TypeError: if `weights` is not a dictionary.
        ValueError: for an unknown or repeated class, and for a weight that is not a finite number of at least 0.
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
                f"Expected a finite weight of at least 0 for class {label!r}, got {weight!r}. 1 is the weight of a "
                "class that is not named."
            )
        named[number], table[number] = label, weight
    return table
