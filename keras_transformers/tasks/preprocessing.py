"""Texts as the padded arrays that a model, or its exported graphs, read: `Task.preprocess`.

Legend: `N` texts, `T` length.
"""

import typing
from collections.abc import Sequence

import numpy as np

from keras_transformers.data.sources import texts_of
from keras_transformers.tokenizers.packing import pack


def preprocess(
    task: typing.Any, texts: typing.Any, seconds: typing.Any = None, max_length: int | None = None
) -> dict[str, np.ndarray]:
    """The arrays of texts. See `Task.preprocess`."""
    texts = texts_of(texts)[0]
    if not hasattr(task, "generation"):
        return _packed(task, texts, None if seconds is None else texts_of(seconds)[0], max_length)
    if seconds is not None:
        raise ValueError(f"Expected single texts for a {type(task).__name__}, got pairs. Leave `seconds` out.")
    if task.config.encoder is not None:
        return _sources(task, texts, max_length)
    return _prompts(task, texts, max_length)


def _packed(
    task: typing.Any, texts: list[str], seconds: list[str] | None, max_length: int | None
) -> dict[str, np.ndarray]:
    _, packed = task.encode_texts(texts, seconds, max_length)
    arrays = {"token_ids": _padded(packed.token_ids, task.config.filler)}
    arrays["padding_mask"] = _padded([np.ones(len(row), bool) for row in packed.token_ids], False)
    if task.config.num_segments > 1:
        arrays["segment_ids"] = _padded(packed.segment_ids, 0)
    return arrays


def _sources(task: typing.Any, texts: list[str], max_length: int | None) -> dict[str, np.ndarray]:
    rows = task.encode_sources(texts)
    rows = [row if max_length is None or len(row) <= max_length else [*row[: max_length - 1], row[-1]] for row in rows]
    token_ids = pack(rows, padding_id=task.config.padding_id).token_ids
    real = np.arange(token_ids.shape[1]) < np.array([len(row) for row in rows])[:, None]
    starts = np.full((len(rows), 1), task.generation_config().start_id, "int32")
    return {"token_ids": token_ids, "padding_mask": real, "decoder_token_ids": starts}


def _prompts(task: typing.Any, texts: list[str], max_length: int | None) -> dict[str, np.ndarray]:
    rows = [np.array(row[-max_length:] if max_length else row, "int32") for row in task._encode(texts)]
    padding = np.array([max(map(len, rows), default=0) - len(row) for row in rows], "int32")
    reverse = [row[::-1] for row in rows]
    token_ids = _padded(reverse, task.config.filler)[:, ::-1]
    real = np.arange(token_ids.shape[1]) >= padding[:, None]
    return {"token_ids": np.ascontiguousarray(token_ids), "padding_mask": real, "starts": padding[:, None]}


def _padded(rows: Sequence[np.ndarray], fill: int | bool) -> np.ndarray:
    """Rows of unequal length as one array, filled up behind them."""
    width = max(map(len, rows), default=0)
    array = np.full((len(rows), width), fill, bool if isinstance(fill, bool) else "int32")
    for number, row in enumerate(rows):
        array[number, : len(row)] = row
    return array
