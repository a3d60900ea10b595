"""SavedModels: the format of TensorFlow."""

import pathlib
import typing
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_transformers.backends.default.graphs import *  # noqa: F403
from keras_transformers.backends.default.graphs import Graph, Run
from keras_transformers.backends.types import Tensor

FORMATS = ("tf_saved_model",)
_DEFAULT = "serving_default"


def write(graphs: Sequence[Graph], paths: Sequence[pathlib.Path], format: str) -> None:
    """Write graphs to files or folders, in one of `FORMATS`. All graphs have one path, and are its signatures."""
    module = tf.Module()
    module.model = graphs[0].model
    signatures = {name: _concrete(graph) for name, graph in zip(_names(graphs), graphs, strict=True)}
    tf.saved_model.save(module, str(paths[0]), signatures=signatures)


def _names(graphs: Sequence[Graph]) -> list[str]:
    """The names of the signatures."""
    return [graph.name for graph in graphs] if len(graphs) > 1 else [_DEFAULT]


def _concrete(graph: Graph) -> typing.Any:
    """The function of a graph, traced for any sizes of the named axes."""

    def call(**inputs: Tensor) -> dict[str, Tensor]:
        outputs = graph.function(graph.model, inputs)
        return {name: tf.identity(outputs[name], name=name) for name in graph.outputs}

    specs = {
        name: tf.TensorSpec([None if isinstance(axis, str) else axis for axis in port.axes], port.dtype, name=name)
        for name, port in graph.inputs.items()
    }
    return tf.function(call, autograph=False).get_concrete_function(**specs)


def runner(paths: Mapping[str, pathlib.Path], format: str) -> Run:
    """A function that runs written graphs."""
    (path,) = set(paths.values())
    loaded = tf.saved_model.load(str(path))

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        function = loaded.signatures[name if len(paths) > 1 else _DEFAULT]
        tensors = {each: tf.constant(array) for each, array in inputs.items()}
        return {each: tensor.numpy() for each, tensor in function(**tensors).items()}

    return run
