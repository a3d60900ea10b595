"""Files that hold low-rank adapters for some tasks beside the weights (jina-embeddings-v3). One adapter is merged into
the weights while they are read.

    config.json      "lora_adaptations": ["retrieval.query", …], "lora_rank": 4, "lora_alpha": 1
                     "task_instructions": {"retrieval.query": "Represent the query …: ", …}
    weights          X.parametrizations.weight.original    [out, in]
    adapters         X.parametrizations.weight.0.lora_A    [tasks, rank, in], of embeddings [tasks, V, rank]
                     X.parametrizations.weight.0.lora_B    [tasks, out, rank], of embeddings [tasks, rank, D]

    merged = original + lora_B[task] · lora_A[task] · alpha / rank, of embeddings lora_A[task] · lora_B[task]

A model of merged weights is saved without adapters. Without a choice, files come back as they were.

Source: https://huggingface.co/jinaai/xlm-roberta-flash-implementation/blob/main/modeling_lora.py
"""

import collections.abc
import typing

import numpy as np

from keras_transformers.files.reading import shown
from keras_transformers.spelling import did_you_mean

_ORIGINAL, _ADAPTER = ".parametrizations.weight.original", ".parametrizations.weight.0.lora_"
_KEYS = (
    *("lora_adaptations", "lora_alpha", "lora_dropout_p", "lora_main_params_trainable", "lora_rank"),
    *("load_trained_adapters", "task_instructions"),
)


def listed(values: collections.abc.Mapping[str, typing.Any]) -> list[str]:
    """Return the names of the tasks whose adapters a `config.json` lists."""
    tasks = values.get("lora_adaptations")
    return [str(each) for each in tasks] if isinstance(tasks, list) else []


def instructions(values: collections.abc.Mapping[str, typing.Any], where: object) -> dict[str, str]:
    """Return the prompts that a `config.json` lists for tasks, by their names.

    Raises:
        ValueError: for prompts that are no texts.
    """
    found = values.get("task_instructions") or {}
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError(f"Expected texts by name as task_instructions in {where}, got {shown(found)}. Mend the file.")
    return dict(found)


class MergedTensors(collections.abc.Mapping):
    """The tensors of a file with the adapter of one task merged, as float32; others as they are.

    Args:
        tensors: a mapping of names to arrays, with methods `shape(name)` and `dtype(name)`.
        task: the number of the task.
        scale: the factor of the adapters.
    """

    def __init__(self, tensors: typing.Any, task: int, scale: float) -> None:
        self._tensors = tensors
        self._task = task
        self._scale = scale
        adapters = [name for name in tensors if _ADAPTER in name]
        self._names = {name.replace(_ORIGINAL, ".weight"): name for name in tensors if name not in adapters}

    def __getitem__(self, name: str) -> np.ndarray:
        theirs = self._names[name]
        array: np.ndarray = self._tensors[theirs]
        if theirs == name:
            return array
        a, b = (
            self._tensors[f"{name.removesuffix('.weight')}{_ADAPTER}{side}"][self._task].astype("float32")
            for side in "AB"
        )
        product = a @ b if "_embeddings" in name else b @ a
        return array.astype("float32") + product * np.float32(self._scale)

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple."""
        return tuple(self._tensors.shape(self._names[name]))

    def dtype(self, name: str) -> str:
        """Return the dtype of one array."""
        return "F32" if self._names[name] != name else str(self._tensors.dtype(self._names[name]))


def merge(
    values: dict[str, typing.Any], tensors: typing.Any, adapter: str | None, where: object
) -> tuple[dict[str, typing.Any], typing.Any, tuple[str, ...]]:
    """Return a `config.json`, tensors and notes for the user: with an adapter merged, if one is asked for.

    Args:
        values: the content of `config.json`.
        tensors: the arrays of the file by name.
        adapter: the name of a task; None for the weights without adapters.
        where: the folder in messages.

    Raises:
        ValueError: for an adapter that the folder does not hold.
    """
    known = listed(values) if any(_ADAPTER in name for name in tensors) else []
    if adapter is None:
        if not known:
            return values, tensors, ()
        note = (
            f"{where} holds adapters for {', '.join(known)}, and none is used. Pass adapter= with one of these names."
        )
        return values, tensors, (note,)
    if adapter not in known:
        held = f"one of the adapters in {where} ({', '.join(known)})" if known else f"no adapter: {where} holds none"
        raise ValueError(f"Expected {held}, got adapter={adapter!r}{did_you_mean(adapter, known)}.")
    alpha, rank = values.get("lora_alpha", 1), values.get("lora_rank", 4)
    if type(alpha) not in (int, float) or type(rank) is not int or rank < 1:
        raise ValueError(f"Expected numbers as lora_alpha and lora_rank in {where}, got {shown(alpha)}, {shown(rank)}.")
    kept = {name: value for name, value in values.items() if name not in _KEYS}
    return kept, MergedTensors(tensors, known.index(adapter), alpha / rank), ()
