"""GGUF files: one file of metadata and tensors, read through the Hugging Face family that describes the same model.

    metadata ──► config.json's values ──► Family ──► ModelConfig                 see `gguf_config.py`
    tensors  ──► Hugging Face names   ──► WeightMap ──► weights       one tensor at a time, as float32

So a model loaded from GGUF is saved as a folder that transformers opens. The `gguf` package knows the Hugging Face name
of each tensor by architecture. Changes that llama.cpp's conversion makes to tensors are undone here: see `CHANGES`.

Source: https://github.com/ggml-org/llama.cpp/tree/master/conversion and https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import collections.abc
import os
import re
import typing

import numpy as np

from keras_transformers.families.registry import family_of
from keras_transformers.files.gguf import GGUFFile
from keras_transformers.formats import hugging_face, preset
from keras_transformers.formats.gguf_config import config_values, one_of


def _halved(array: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of heads: from adjacent rotary pairs to all first elements before all second elements."""
    return array.reshape(heads, -1, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def _queries(array: np.ndarray, heads: int, key_value_heads: int) -> np.ndarray:
    return _halved(array, heads)


def _keys(array: np.ndarray, heads: int, key_value_heads: int) -> np.ndarray:
    return _halved(array, key_value_heads)


def _grouped(array: np.ndarray, heads: int, key_value_heads: int) -> np.ndarray:
    """Reorder the rows from all queries, all keys, all values to groups of queries, key and value."""
    width = array.shape[0] // (heads + 2 * key_value_heads)
    ends = (heads * width, (heads + key_value_heads) * width)
    parts = [part.reshape(key_value_heads, -1, width, *array.shape[1:]) for part in np.split(array, ends)]
    return np.concatenate(parts, axis=1).reshape(array.shape)


def _one_less(array: np.ndarray, heads: int, key_value_heads: int) -> np.ndarray:
    return array - np.float32(1)


def _transposed(array: np.ndarray, heads: int, key_value_heads: int) -> np.ndarray:
    return array.T


# By architecture: patterns of tensor names, and functions that convert such a tensor to the Hugging Face layout. A
# function takes the tensor, the number of query heads, and the number of key/value heads.
_ROTARY = {r"blk\.\d+\.attn_q\..*": _queries, r"blk\.\d+\.attn_k\..*": _keys}
_NORMS = {r".*norm\.weight": _one_less}
_FUSED = {r"blk\.\d+\.attn_qkv\..*": _grouped}
_MATRICES = {r"blk\.\d+\.(attn_qkv|attn_output|ffn_up|ffn_down)\.weight": _transposed}
CHANGES: dict[str, dict[str, collections.abc.Callable]] = {
    "llama": _ROTARY,
    "smollm3": _ROTARY,
    "gemma": _NORMS,
    "gemma2": _NORMS,
    "gemma3": _NORMS,
    "gpt2": _MATRICES,
    "bloom": _FUSED,
    "gptneox": _FUSED,
    "falcon": _FUSED,
}
_HEADS = ("head_count", "head_count_kv")
_IN_THE_CONFIG = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def read(path: str | os.PathLike[str]) -> hugging_face.Checkpoint:
    """Open a file and interpret its metadata, without reading its tensors.

    Args:
        path: the path of the file.

    Returns: a `hugging_face.Checkpoint` of the same model.

    Raises:
        ImportError: if the `gguf` package is missing.
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, an architecture that is not in the table, and metadata that is missing, unknown
            or asks for a computation that this library lacks; all of it is listed.

    Example:
        >>> read("SmolLM2-135M-Instruct.Q4_1.gguf").config.hidden_dim  # doctest: +SKIP
        576
    """
    values, file = config_values(path), GGUFFile(path)
    family = family_of(values, path)
    try:
        config = family.config(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    head = family.head("CausalLM")
    values["architectures"] = [head.architecture]
    tensors = _Tensors(file, family.table(config, head), values)
    text = preset.json_bytes(values)
    return hugging_face.Checkpoint(file.path, values, text, family, config, tensors, closed=True)


class _Tensors(collections.abc.Mapping):
    """A file's tensors by their Hugging Face names and in the Hugging Face layout, each made on access."""

    def __init__(self, file: GGUFFile, table: typing.Any, values: collections.abc.Mapping[str, typing.Any]) -> None:
        self._file = file
        name = file.metadata["general.architecture"]
        heads, key_value_heads = (one_of(file.metadata.get(f"{name}.attention.{each}")) for each in _HEADS)
        self._heads = heads, key_value_heads or heads
        self._changes = CHANGES.get(name, {})
        self._dtype = values["torch_dtype"]
        layers = _hugging_face_names(name, table, file.metadata[f"{name}.block_count"])
        self._names: dict[str, tuple[str, int | None]] = {}  # GGUF's name, and the index in a stack of experts
        for theirs in file:
            layer, _, leaf = theirs.rpartition(".")
            ours = f"{layers[layer]}.{leaf}" if layer in layers else theirs
            if "*" in ours:
                for n in range(file.shape(theirs)[0]):
                    self._names[ours.replace("*", str(n))] = theirs, n
            elif theirs != "output.weight" or not values["tie_word_embeddings"]:
                self._names[ours] = theirs, None
        for theirs in _IN_THE_CONFIG:
            self._names.pop(theirs, None)

    def _change(self, name: str) -> collections.abc.Callable[..., np.ndarray] | None:
        return next((change for pattern, change in self._changes.items() if re.fullmatch(pattern, name)), None)

    def __getitem__(self, name: str) -> np.ndarray:
        theirs, number = self._names[name]
        array, change = self._file.part(theirs, number), self._change(theirs)
        return array if change is None else change(array, *self._heads)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array."""
        theirs, number = self._names[name]
        shape = self._file.shape(theirs)[0 if number is None else 1 :]
        return shape[::-1] if self._change(theirs) is _transposed else shape

    def dtype(self, name: str) -> str:
        """Return the dtype to store the array as: the dtype of the token embeddings, unless they are quantized."""
        return self._dtype

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self._names

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _hugging_face_names(name: str, table: typing.Any, num_layers: int) -> dict[str | None, str]:
    """Return the Hugging Face names of layers by their GGUF names; `*` is the number of an expert."""
    import gguf

    architecture = next(number for number, each in gguf.MODEL_ARCH_NAMES.items() if each == name)
    known = gguf.get_tensor_name_map(architecture, num_layers)
    names = {}
    prefixed = [(table.prefix, entry.theirs) for entry in table.body]
    for prefix, theirs in (*prefixed, *(("", entry.theirs) for entry in table.entries)):
        for n in range(num_layers if "{n}" in theirs else 1):
            layer = theirs.format(n=n)
            asked = layer.replace(".*", "")
            names[known.get_name(prefix + asked) or known.get_name(asked)] = prefix + layer
    return names
