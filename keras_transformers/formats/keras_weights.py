"""Keras's `.weights.h5` files: arrays by layer, each read when it is asked for.

    layers/transformer_encoder_1/_feedforward_output_dense/vars/0
        ─► transformer_encoder_1.feedforward_output_dense.weight

Source: keras/src/saving/saving_lib.py of Keras 3.15.
"""

import collections.abc
import contextlib
import dataclasses
import pathlib

from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset

WEIGHTS, INDEX = "model.weights.h5", "model.weights.json"


def weight_files(folder):
    """The names of the h5 files that hold a model.

    Args:
        folder: with `model.weights.h5`, or several such files and `model.weights.json`, which names them.

    Raises:
        FileNotFoundError, ValueError: when files are missing, or the index names others than those beside it.
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

    def read(self):
        with _opened(self.file) as file:
            array = file[self.path][()]
        if self.is_bfloat16 and array.dtype.kind == "V":
            import ml_dtypes

            array = array.view(ml_dtypes.bfloat16)
        return array


def datasets(folder, names, prefix):
    """The arrays of h5 files, by layer and "weight" or "bias".

    Keras calls a layer by its class, numbered from the second on, and its variables 0 and 1: the first of a layer is
    its weight, the second its bias, and a lone vector is a bias too. What stands elsewhere in a file than among the
    layers, and the seeds of random generators, is training's.

    Args:
        folder: where the files lie.
        names: their names.
        prefix: what the names of arrays begin with.

    Returns: `Dataset`s by names such as `model.transformer_encoder_1.self_attention_layer.query_dense.weight`.

    Raises:
        ValueError: for a file that is damaged, or holds other things than floating-point numbers as weights.
    """
    found: dict[str, dict[str, Dataset]] = {}
    for name in names:
        with _opened(folder / name) as file:
            for path, dataset in _walk(file, folder / name):
                container, *layer, variables, number = path.split("/")
                if container in ("layers", "_layer_checkpoint_dependencies") and variables == "vars":
                    layer = [part.removeprefix("_") for part in layer]
                    layer[0] += "_0" if layer[0] == "transformer_encoder" else ""
                    if "seed_generator" not in layer:
                        found.setdefault(".".join([prefix, *layer]), {})[number] = dataset
    named = {}
    for layer, variables in found.items():
        for number, dataset in variables.items():
            lone = len(variables) == 1 and len(dataset.shape) == 1
            named[f"{layer}.{'bias' if lone else {'0': 'weight', '1': 'bias'}.get(number, number)}"] = dataset
    return named


class Arrays(collections.abc.Mapping):
    """The arrays of h5 files by name, as `datasets` takes them, each read when it is asked for."""

    def __init__(self, folder, names, prefix):
        self._datasets = datasets(folder, names, prefix)

    def __getitem__(self, name):
        return self._datasets[name].read()

    def __iter__(self):
        return iter(self._datasets)

    def __len__(self):
        return len(self._datasets)


def _walk(file, path):
    """`(path, Dataset)` of all arrays in a file that could be weights. Links to elsewhere are not followed."""
    import h5py

    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and name.count("/") >= 3:
            bfloat16 = item.attrs.get("dtype") == "bfloat16"
            if item.is_virtual or item.external or not (bfloat16 or item.dtype.kind == "f"):
                kind = "data of another file" if item.is_virtual or item.external else str(item.dtype)
                raise _Unusable(
                    f"Expected floating-point numbers as {name} in {path}, got {kind}. Save the preset again, without "
                    "quantization."
                )
            if item.id.get_storage_size() < item.nbytes:  # Keras compresses nothing, and writes all
                raise _Unusable(
                    f"Expected {item.nbytes} bytes of numbers as {name} in {path}, got {item.id.get_storage_size()}. "
                    "Save the preset again, without compression."
                )
            found.append((name, Dataset(path, name, tuple(item.shape), bfloat16)))

    file.visititems(visit)
    return found


class _Unusable(ValueError):
    """A file that is whole, and holds what is not read here."""


@contextlib.contextmanager
def _opened(path):
    """An h5 file; one that is damaged is said to be."""
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
