"""ONNX graphs, run by ONNX Runtime."""

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_transformers.backends.default.graphs import Run


def runner(paths: Mapping[str, pathlib.Path]) -> Run:
    """A function that runs the graphs in files, by their names."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions = {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, path in paths.items()
    }

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = sessions[name]
        names = [each.name for each in session.get_outputs()]
        read = {each.name: inputs[each.name] for each in session.get_inputs()}
        return dict(zip(names, session.run(names, read), strict=True))

    return run
