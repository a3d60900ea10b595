"""ONNX graphs and exported programs, written by `torch.export`."""

import contextlib
import logging
import math
import pathlib
import typing
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from keras_transformers.backends.default.graphs import *  # noqa: F403
from keras_transformers.backends.default.graphs import Graph, Port, Run
from keras_transformers.backends.torch import direct
from keras_transformers.backends.types import Tensor

FORMATS = ("onnx", "torch")

# The most bytes of a file of protocol buffers. A larger graph keeps its weights beside it.
_LARGEST = 2**31 - 2**24
_OPSET = 18


class _Module(torch.nn.Module):
    """The function of a graph, over a view of its model without the overhead of Keras."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._view = (direct.direct(graph.model),)  # in a tuple: not a submodule

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = self._graph.function(self._view[0], inputs)
        return {name: outputs[name] for name in self._graph.outputs}


def write(graphs: Sequence[Graph], paths: Sequence[pathlib.Path], format: str) -> None:
    """Write graphs to files or folders, in one of `FORMATS`."""
    for graph, path in zip(graphs, paths, strict=True):
        with torch.no_grad(), _quiet():
            _write(graph, path, format)


def runner(paths: Mapping[str, pathlib.Path], format: str) -> Run:
    """A function that runs written graphs."""
    programs = {name: torch.export.load(path).module() for name, path in paths.items()}

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = programs[name]({each: torch.from_numpy(array.copy()) for each, array in inputs.items()})
        return {each: tensor.numpy() for each, tensor in outputs.items()}

    return run


def _write(graph: Graph, path: pathlib.Path, format: str) -> None:
    axes = {axis for port in graph.inputs.values() for axis in port.axes if isinstance(axis, str)}
    dimensions = {axis: torch.export.Dim(axis) for axis in sorted(axes)}
    # PyTorch fixes sizes of 0 and 1, and takes equal sizes for one: each axis has its own. Those of a past are the
    # smallest, since it is a part of the whole.
    sizes = {axis: 3 + number for number, axis in enumerate(sorted(axes, reverse=True))}
    examples = {name: _example(port, sizes) for name, port in graph.inputs.items()}
    dynamic = {
        name: {place: dimensions[axis] for place, axis in enumerate(port.axes) if isinstance(axis, str)}
        for name, port in graph.inputs.items()
    }
    module = _Module(graph).eval()
    if format == "torch":
        program = torch.export.export(module, (examples,), dynamic_shapes=(dynamic,), strict=False)
        torch.export.save(program, path)
    else:
        _write_onnx(module, examples, dynamic, graph, path)


def _write_onnx(
    module: _Module, examples: dict[str, Tensor], dynamic: dict[str, typing.Any], graph: Graph, path: pathlib.Path
) -> None:
    names = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
    try:
        program: typing.Any = torch.onnx.export(
            module,
            kwargs={"inputs": examples},  # a dictionary at the end of args would be taken for keywords
            dynamic_shapes={"inputs": dynamic},
            dynamo=True,
            opset_version=_OPSET,
            verbose=False,
            **names,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(
            f"Expected a model whose operations ONNX has, got one that cannot be written: {_reason(error)}"
        ) from error
    size = sum(math.prod(value.shape) * value.dtype.itemsize for value in program.model.graph.initializers.values())
    program.save(str(path), external_data=size > _LARGEST)


def _reason(error: BaseException) -> str:
    """The last sentence of a chain of errors, which names the operation."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _example(port: Port, sizes: dict[str, int]) -> Tensor:
    """Values for tracing: ones, which are ids and masks too."""
    shape = [sizes[axis] if isinstance(axis, str) else axis for axis in port.axes]
    return torch.ones(shape, dtype=getattr(torch, port.dtype))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """While active, notes of the exporter to its developers are not shown."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
