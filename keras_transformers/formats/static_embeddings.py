"""Tables of embeddings without a Transformer: StaticEmbedding of sentence-transformers, and Model2Vec's folders.

    tokenizer.json
    model.safetensors     embedding.weight [V, D]                                 sentence-transformers
                          embeddings [R, D], mapping [V], weights [V]             Model2Vec; the last two may be missing

    vector of token i  =  embeddings[mapping[i]] · weights[i]

Source: sentence_transformers/sentence_transformer/modules/static_embedding.py,
https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import dataclasses
import math
import pathlib
import typing

import numpy as np
from keras import ops

from keras_transformers.formats import tensor_files
from keras_transformers.models import recipes
from keras_transformers.models.config import ModelConfig

_OURS, _THEIRS, _FOLDED = "embedding.token.embeddings", "embedding.weight", "embeddings"
_MOST = 64  # times the numbers of a file that its table may have, several tokens sharing a row
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class _Table(collections.abc.Mapping):
    """The table by this library's name, folded on access."""

    def __init__(self, stored: typing.Any, shape: tuple[int, int], dtype: str) -> None:
        self._stored, self._shape, self._dtype = stored, shape, dtype

    def __getitem__(self, name: str) -> np.ndarray:
        if name != _OURS:
            raise KeyError(name)
        return _folded(self._stored)

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter((_OURS,))

    def __len__(self) -> int:
        return 1

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the table."""
        return self._shape

    def dtype(self, name: str) -> str:
        """Return the dtype of the table, as numpy names it."""
        return self._dtype


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder; see `hugging_face.Checkpoint`. `stored` are the tensors by their names in the file."""

    folder: pathlib.Path
    config: ModelConfig
    tensors: _Table
    stored: typing.Any
    task: str = "TextEmbedder"
    values: dict = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return an empty dictionary: there are no classes."""
        return self.values

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> _Table:
        """Return the table by this library's name."""
        return self.tensors

    def origin(self, read: typing.Any = None) -> None:
        """Return None: `keep` returns all that saving needs."""
        return None


@dataclasses.dataclass(frozen=True)
class Kept:
    """A table as it is stored: its tensors if they are folded into one, their dtypes, and the header of the file."""

    name: str
    tensors: dict[str, np.ndarray]
    dtypes: dict[str, str]
    headers: dict[str, bytes]


def read(folder: pathlib.Path) -> Checkpoint:
    """Open a folder without reading its table.

    Raises:
        FileNotFoundError, ValueError: for missing, damaged and unknown tensors.
    """
    tensors: typing.Any = tensor_files.open_tensors(folder)
    shapes = {name: tuple(tensors.shape(name)) for name in tensors}
    name = _THEIRS if _THEIRS in shapes else _FOLDED
    rows = shapes.get("mapping", shapes.get(name, ()))[:1]
    known = {name: 2} if name == _THEIRS else {name: 2, "mapping": 1, "weights": 1}
    fits = name in shapes and all(known.get(each) == len(shape) for each, shape in shapes.items())
    fits = fits and all(shapes.get(each, rows) == rows for each in ("mapping", "weights"))
    floats = (tensor_files.dtype_of(tensors, each) in _FLOATS for each in shapes if each != "mapping")
    if not (fits and all(floats)):
        held = ", ".join(f"{each} {list(shape)}" for each, shape in shapes.items())
        raise ValueError(
            f"Expected floats {_THEIRS} [V, D], or {_FOLDED} [R, D] with mapping [V] and weights [V], in {folder}, got "
            f"{held:.200}."
        )
    shape = rows[0], shapes[name][1]
    if math.prod(shape) > _MOST * sum(map(math.prod, shapes.values())):
        raise ValueError(
            f"Expected a table of at most {_MOST} times the numbers in {folder}, got one of {shape[0]:,} rows of "
            f"{shape[1]:,}. Nothing was built. Download it again."
        )
    config = recipes.static(shape[0], hidden_dim=shape[1])
    return Checkpoint(folder, config, _Table(tensors, shape, tensor_files.dtype_of(tensors, name)), tensors)


def _folded(tensors: collections.abc.Mapping) -> np.ndarray:
    """Return one row for each token."""
    if _THEIRS in tensors:
        return tensors[_THEIRS]
    table = tensors[_FOLDED]
    if "mapping" in tensors:
        mapping = tensors["mapping"]
        if mapping.dtype.kind not in "iu" or mapping.size and not 0 <= mapping.min() <= mapping.max() < len(table):
            raise ValueError(f"Expected rows from 0 to {len(table) - 1} in the mapping of tokens. Download it again.")
        table = table[mapping]
    if "weights" in tensors:
        product = np.promote_types(table.dtype, "float32")
        table = (table.astype(product) * tensors["weights"][:, None]).astype(table.dtype)
    return table


def keep(checkpoint: Checkpoint) -> Kept:
    """Return the values by which `write` writes an unchanged table byte for byte."""
    tensors = checkpoint.stored
    sides = {name: tensors[name] for name in tensors} if set(tensors) & {"mapping", "weights"} else {}
    dtypes = {name: tensor_files.dtype_of(tensors, name) for name in tensors}
    name = _THEIRS if _THEIRS in tensors else _FOLDED
    return Kept(name, sides, dtypes, tensor_files.headers_of(checkpoint.folder)[0])


def write(
    weights: collections.abc.Mapping[str, typing.Any], kept: Kept | None, dtype: str | None
) -> dict[str, typing.Any]:
    """Return the file of a table, as for `preset.save_folder`.

    Args:
        weights: the model's weights by name: the table alone.
        kept: the result of `keep`, or None for a model that comes from no such folder.
        dtype: the dtype to store the table as; None for its own.
    """
    (table,) = (ops.convert_to_numpy(weight) for weight in weights.values())
    if kept is None:
        return tensor_files.files_of({_THEIRS: table}, {}, None, dtype)
    if kept.tensors and dtype is None and np.array_equal(_folded(kept.tensors).astype(table.dtype), table):
        return tensor_files.files_of(kept.tensors, kept.headers, None, None)
    arrays = {kept.name: table}
    return tensor_files.files_of(
        tensor_files.as_stored(arrays, kept.dtypes) if dtype is None else arrays, kept.headers, None, dtype
    )
