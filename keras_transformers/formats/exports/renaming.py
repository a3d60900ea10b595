"""Graphs with other names: those that Optimum and transformers.js expect, and their 64-bit ids and masks."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from keras import ops

from keras_transformers.backends.default.graphs import Graph, Port, Run
from keras_transformers.backends.types import Tensor


def output_name(name: str) -> str:
    """The name of an output: keys and values are `present…` there, and `past_key_values…` as inputs."""
    return name.replace("past_key_values", "present")


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """A graph with other names of inputs and outputs, a dictionary from its names; ids and masks are int64."""

    def function(model: object, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        read = {name: inputs[names.get(name, name)] for name in graph.inputs}
        for name, port in graph.inputs.items():
            if port.dtype == "bool":
                read[name] = ops.not_equal(read[name], 0)
        outputs = graph.function(model, read)
        return {output_name(names.get(name, name)): each for name, each in outputs.items()}

    inputs = {
        names.get(name, name): Port("int64" if port.dtype in ("int32", "bool") else port.dtype, port.axes)
        for name, port in graph.inputs.items()
    }
    outputs = tuple(output_name(names.get(name, name)) for name in graph.outputs)
    return dataclasses.replace(graph, function=function, inputs=inputs, outputs=outputs)


def run_with(run: Run, names: Mapping[str, Mapping[str, str]]) -> Run:
    """A function that runs graphs with other names by our names."""

    def call(graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = names[graph]
        read = {
            known.get(name, name): array.astype("int64") if array.dtype.kind in "ib" else array
            for name, array in inputs.items()
        }
        ours = {output_name(theirs): name for name, theirs in known.items()}
        return {ours.get(name, name): array for name, array in run(graph, read).items()}

    return call
