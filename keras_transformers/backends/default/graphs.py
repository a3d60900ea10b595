"""Writing a model as a graph for another runtime, in the formats that a backend writes itself.

    torch        onnx, torch (`.pt2`); openvino is made from onnx
    tensorflow   tf_saved_model
    jax          none

Why each format has one backend that writes it: docs/decisions/0044.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_transformers.backends.types import Tensor

Axes: typing.TypeAlias = tuple[str | int, ...]
"""The axes of a tensor: an int for a fixed size, a name for a size that may vary. Equal names are equal sizes."""

Run: typing.TypeAlias = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Runs a graph: `(name, inputs) -> outputs`."""


@dataclasses.dataclass(frozen=True)
class Port:
    """An input of a graph.

    Attributes:
        dtype: the dtype, such as "int32".
        axes: see `Axes`.
    """

    dtype: str
    axes: Axes


@dataclasses.dataclass(frozen=True)
class Graph:
    """A function of a model, to be written as a graph.

    Attributes:
        name: the name of the graph, such as "encoder_model".
        model: the model.
        function: `(model, inputs) -> outputs`, two dictionaries of tensors. The model may be a view of `model` with the
            same methods.
        inputs: the inputs by name, in their order.
        outputs: the names of the outputs, in their order.
    """

    name: str
    model: typing.Any
    function: Callable[[typing.Any, dict[str, Tensor]], dict[str, Tensor]]
    inputs: Mapping[str, Port]
    outputs: tuple[str, ...]


FORMATS: tuple[str, ...] = ()
"""The formats that `write` writes on this backend."""


def write(graphs: Sequence[Graph], paths: Sequence[pathlib.Path], format: str) -> None:
    """Write graphs to files or folders.

    Args:
        graphs: a list of `Graph`.
        paths: the path of each; in some formats the same for all.
        format: one of `FORMATS`.

    Raises:
        ValueError: for a graph with an operation that the format lacks, which the error names.
    """
    raise ValueError(f"Expected one of the formats {', '.join(FORMATS) or '(none)'}, got {format!r}.")


def runner(paths: Mapping[str, pathlib.Path], format: str) -> Run:
    """A function that runs written graphs, if the backend itself is the runtime of their format.

    Args:
        paths: the paths by the names of the graphs.
        format: one of `FORMATS`.
    """
    raise ValueError(f"Expected a format that this backend runs, got {format!r}.")
