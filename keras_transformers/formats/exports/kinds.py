"""The formats of exported graphs.

format           backend      files of the graphs                      runtime
tf_saved_model   TensorFlow   saved_model.pb, variables/               TensorFlow, TF Serving
onnx             PyTorch      onnx/model.onnx                          ONNX Runtime, transformers.js, Optimum
openvino         PyTorch      openvino_model.xml, .bin                 OpenVINO, Optimum
torch            PyTorch      model.pt2                                PyTorch
"""

import dataclasses
import pathlib

from keras_transformers.extras import require
from keras_transformers.spelling import did_you_mean


@dataclasses.dataclass(frozen=True)
class Kind:
    """A format.

    Attributes:
        name: the format's name, an argument of `Task.export`.
        engine: the backend that writes it.
        written_as: the format in which that backend writes it, before it is converted.
        pattern: the path of a graph in the folder, with `{}` for its name; or the one path of all graphs.
        packages: the packages that writing and checking need, besides the backend.
        extra: the extra of this package that installs them.
        interchange: whether the inputs have the names that Optimum and transformers.js expect.
    """

    name: str
    engine: str
    written_as: str
    pattern: str
    packages: tuple[str, ...] = ()
    extra: str = "export"
    interchange: bool = False

    def path(self, folder: pathlib.Path, graph: str) -> pathlib.Path:
        """The path of a graph."""
        return folder / self.pattern.format(graph)

    def check_packages(self) -> None:
        """Raise `ImportError`, which says what to install, if a package is missing."""
        require(self.extra, **dict.fromkeys(self.packages, True))


_ONNX = ("onnx", "onnxscript")
KINDS = (
    Kind("onnx", "torch", "onnx", "onnx/{}.onnx", (*_ONNX, "onnxruntime"), interchange=True),
    Kind("openvino", "torch", "onnx", "openvino_{}.xml", (*_ONNX, "openvino"), "openvino", interchange=True),
    Kind("torch", "torch", "torch", "{}.pt2"),
    Kind("tf_saved_model", "tensorflow", "tf_saved_model", "."),
)


def find(name: object) -> Kind:
    """The format of a name.

    Raises:
        ValueError: for an unknown one.
    """
    names = [kind.name for kind in KINDS]
    if name not in names:
        hint = did_you_mean(name, names)
        raise ValueError(f"Expected format to be one of {', '.join(names)}, got {name!r}{hint}.")
    return KINDS[names.index(str(name))]
