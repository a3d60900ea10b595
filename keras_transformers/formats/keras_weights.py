"""Keras `.weights.h5` files: arrays by layer, each read on access.

    layers/transformer_encoder_1/_feedforward_output_dense/vars/0
        ─► transformer_encoder_1.feedforward_output_dense.weight

Source: keras/src/saving/saving_lib.py of Keras 3.15.
"""

import collections.abc
import contextlib
import dataclasses
import pathlib
import typing

from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset

if typing.TYPE_CHECKING:
    import numpy as np

WEIGHTS, INDEX = "model.weights.h5", "model.weights.json"


def weight_files(folder: pathlib.Path) -> list[str]:
    """Return the names of the h5 files that hold a model.

    Args:
        folder: a folder with `model.weights.h5`, or with several such files and `model.weights.json`, which names them.

    Raises:
        FileNotFoundError, ValueError: if files are missing, or the index names other files than those beside it.
    """
    if is_plain(folder / WEIGHTS):
        return [WEIGHTS]
    if not is_plain(folder / INDEX):
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:20])
        raise FileNotFoundError(
            f"Expected {WEIGHTS} or {INDEX} in {folder}, found {there}. Download or save the preset again."
        )
    index = preset.read_json(folder, INDEX).get("weight_map")
    places = index.values() if isinstance(index, dict) else [None]
    named = [name for place in places for name in (place if isinstance(place, list) else [place])]
    names: set[str] = set()
    for name in named:
        if not isinstance(name, str) or pathlib.PurePath(name).name != name or not name.endswith(".h5"):
            raise ValueError(
                f"Expected 'weight_map' in {folder / INDEX} to name .h5 files beside it, got {name!r:.80}. Download or "
                "save the preset again."
            )
        names.add(name)
    missing = [name for name in sorted(names) if not is_plain(folder / name)]
    if missing:
        raise FileNotFoundError(
            f"Expected all {len(names)} files that {folder / INDEX} names, missing: {', '.join(missing)}. Download "
            "them, or save again."
        )
    return sorted(names)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One array in an h5 file, read by `read`."""

    file: pathlib.Path
    path: str
    shape: tuple[int, ...]
    is_bfloat16: bool

    def read(self) -> "np.ndarray":
        with _opened(self.file) as file:
            array = file[self.path][()]
        if self.is_bfloat16 and array.dtype.kind == "V":
            import ml_dtypes

            array = array.view(ml_dtypes.bfloat16)
        return array


def datasets(folder: pathlib.Path, names: collections.abc.Iterable[str], prefix: str) -> dict[str, Dataset]:
    """Return the arrays of h5 files, by layer and "weight" or "bias".

    Keras names a layer by its class, with a number from the second on, and its variables 0 and 1: the first is the
    weight, the second the bias; a single vector is a bias too. Arrays outside of the layers, and the seeds of random
    generators, belong to training.

    Args:
        folder: the folder of the files.
        names: the names of the files.
        prefix: the start of the arrays' names.

    Returns: `Dataset`s by names such as `model.transformer_encoder_1.self_attention_layer.query_dense.weight`.

    Raises:
        ValueError: for a damaged file, or one whose weights are not floating-point numbers.
    """
    found: dict[str, dict[str, Dataset]] = {}
    for name in names:
        with _opened(folder / name) as file:
            for path, dataset in _walk(file, folder / name):
                container, *layer, variables, number = path.split("/")
                if container in ("layers", "_layer_checkpoint_dependencies") and variables == "vars":
                    layer = [part.removeprefix("_") for part in layer]
                    layer[0] += "_0" if layer[0].endswith("_encoder") else ""
                    if "seed_generator" not in layer:
                        found.setdefault(".".join([prefix, *layer]), {})[number] = dataset
    named = {}
    for path, arrays in found.items():
        for number, dataset in arrays.items():
            lone = len(arrays) == 1 and len(dataset.shape) == 1
            named[f"{path}.{'bias' if lone else {'0': 'weight', '1': 'bias'}.get(number, number)}"] = dataset
    return named


class Arrays(collections.abc.Mapping):
    """The arrays of h5 files by name, each read on access. See `datasets`."""

    def __init__(self, folder: pathlib.Path, names: collections.abc.Iterable[str], prefix: str) -> None:
        self._datasets = datasets(folder, names, prefix)

    def __getitem__(self, name: str) -> "np.ndarray":
        return self._datasets[name].read()

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)


def _walk(file: typing.Any, path: pathlib.Path) -> list[tuple[str, Dataset]]:
    """Yield `(path, Dataset)` for all arrays in a file that could be weights. External links are not followed."""
    import h5py

    found = []

    def visit(name: str, item: typing.Any) -> None:
        if isinstance(item, h5py.Dataset) and name.count("/") >= 3:
            bfloat16 = item.attrs.get("dtype") == "bfloat16"
            if item.is_virtual or item.external or not (bfloat16 or item.dtype.kind == "f"):
                kind = "data of another file" if item.is_virtual or item.external else str(item.dtype)
                raise _Unusable(
                    f"Expected floating-point numbers as {name} in {path}, got {kind}. Save the preset again, without "
                    "quantization."
                )
            if item.id.get_storage_size() < item.nbytes:  # Keras writes arrays uncompressed and whole
                raise _Unusable(
                    f"Expected {item.nbytes} bytes of numbers as {name} in {path}, got {item.id.get_storage_size()}. "
                    "Save the preset again, without compression."
                )
            found.append((name, Dataset(path, name, tuple(item.shape), bfloat16)))

    file.visititems(visit)
    return found


class _Unusable(ValueError):
    """An undamaged file whose content is not supported here."""


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> collections.abc.Iterator[typing.Any]:
    """Open an h5 file; if it is damaged, the error says so."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except _Unusable:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"Expected a whole HDF5 file, got {path} of {path.stat().st_size} bytes ({error}). Download or save it "
            "again."
        ) from error
