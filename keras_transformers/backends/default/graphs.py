"""Writing a model as a graph for another runtime, in the formats that a backend writes itself.

    torch        onnx, torch (`.pt2`); openvino is made from onnx
    tensorflow   tf_saved_model, litert
    jax          none

Why each format has one backend that writes it: docs/decisions/0044.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Mapping

from keras_transformers.backends.types import Tensor

Axes: typing.TypeAlias = tuple[str | int, ...]
"""The axes of a tensor: an int for a fixed size, a name for a size that may vary. Equal names are equal sizes."""


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


def write(graph: Graph, path: pathlib.Path, format: str) -> None:
    """Write a graph to a file or a folder.

    Args:
        graph: a `Graph`.
        path: the path to write.
        format: one of `FORMATS`.

    Raises:
        ValueError: for a graph with an operation that the format lacks, which the error names.
    """
    raise ValueError(f"Expected one of the formats {', '.join(FORMATS) or '(none)'}, got {format!r}.")
