"""The comparison of exported graphs with the model: the same inputs, the largest relative difference."""

import dataclasses
from collections.abc import Mapping

import numpy as np

TOLERANCE = 1e-4
# Numbers of 16 bits round at each step, and runtimes round at others.
TOLERANCE_OF_HALVES = 3e-2


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs, and the outputs of the model for them.

    Attributes:
        inputs, outputs: arrays by name.
        real: bool `[B, T]`, which positions of the outputs count, if these have an axis of positions.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    real: np.ndarray | None = None

    def difference(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The largest difference of other outputs, relative to the largest value; infinite for values that are not
        finite."""
        return max(self._of(name, np.asarray(outputs[name])) for name in self.outputs)

    def _of(self, name: str, found: np.ndarray) -> float:
        expected = self.outputs[name]
        if found.shape != expected.shape:
            raise ValueError(
                f"Expected {name} of shape {expected.shape} from the exported graph, as from the model, got "
                f"{found.shape}. This is a fault of the export: please report it."
            )
        if self.real is not None and expected.shape[:2] == self.real.shape:
            found, expected = found[self.real], expected[self.real]
        found, expected = found.astype("float64"), expected.astype("float64")
        if not np.isfinite(found).all():
            return float("inf")
        return float(np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30))


def check(difference: float, tolerance: float, format: str) -> None:
    """Refuse an export that computes something else.

    Raises:
        ValueError: if the difference is above the tolerance.
    """
    if not difference <= tolerance:
        raise ValueError(
            f"Expected a graph of format {format!r} that computes the same as the model to {tolerance:.0e}, relative "
            f"to the largest value, got a difference of {difference:.1e}. Nothing was written."
        )
