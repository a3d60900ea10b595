"""OpenVINO models, converted from ONNX graphs and run by OpenVINO."""

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_transformers.backends.default.graphs import Run


def convert(source: pathlib.Path, path: pathlib.Path) -> None:
    """Write an ONNX graph as an OpenVINO model, `path` and a `.bin` beside it, with weights as they are."""
    import openvino

    openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=False)


def runner(paths: Mapping[str, pathlib.Path]) -> Run:
    """A function that runs the models in files, by their names."""
    import openvino

    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # by default some processors round to 16 bits
    models = {name: core.compile_model(path, "CPU", exact) for name, path in paths.items()}

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        model = models[name]
        results = model({each.any_name: inputs[each.any_name] for each in model.inputs})
        return {output.any_name: np.array(results[output]) for output in model.outputs}

    return run
