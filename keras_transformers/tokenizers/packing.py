"""Packing: sequences of token ids, each of its own length, to one padded array.

    <s> A man rides . </s>            2 7 9 5 4 3
    <s> Hello . </s> <pad> <pad>      2 8 4 3 0 0

Legend: `B` sequences, `T` positions.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

_INT32_MAX = np.iinfo(np.int32).max


class Packed(NamedTuple):
    """What `pack` returns.

    Attributes:
        token_ids: int32 `[B, T]`, padded at the end.
        lengths: int32 `[B]`, how many positions of each row are not padding (start and end included).
        truncated: how many rows lost tokens, to be reported to whoever gave the text.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    truncated: int


def pack(
    sequences: Iterable[Sequence[int] | np.ndarray],
    *,
    padding_id: int,
    start_id: int | None = None,
    end_id: int | None = None,
    max_length: int | None = None,
    length: int | None = None,
) -> Packed:
    """Put start and end around each sequence, cut what is too long, and pad at the end.

    A row that is too long loses the last of its own tokens; start and end stay.

    Args:
        sequences: `B` sequences of ids. None of them may hold `padding_id`: models find the padding by it, and would
            not see that token.
        padding_id: what fills a row up.
        start_id, end_id: put around each sequence, or None. Either may equal `padding_id` (some models start the
            decoder with it).
        max_length: most positions of a row, start and end included; None for no limit.
        length: exactly how wide the array is (`T`), which limits the rows too; None for as wide as its longest row.

    Returns:
        `Packed(token_ids, lengths, truncated)`. No sequences give an array of no rows.

    Raises:
        TypeError: for a sequence or an id that is not made of integers.
        ValueError: for an id below 0 or above int32, for `padding_id` inside a sequence, and for a limit without room
        for start and end.

    Example:
    ```python
    packed = pack([[7, 9, 5, 4], [8, 4]], padding_id=0, start_id=2, end_id=3)
    packed.token_ids  # [[2, 7, 9, 5, 4, 3], [2, 8, 4, 3, 0, 0]]
    packed.lengths    # [6, 4]
    ```
    """
    _check_ids(padding_id=padding_id, start_id=start_id, end_id=end_id)
    start = np.array([] if start_id is None else [start_id], dtype=np.int32)
    end = np.array([] if end_id is None else [end_id], dtype=np.int32)
    limit = _limit(max_length, length, len(start) + len(end))

    rows, truncated = [], 0
    for index, sequence in enumerate(sequences):
        row = _checked_row(sequence, index, padding_id)
        room = len(row) if limit is None else limit - len(start) - len(end)
        truncated += len(row) > room
        rows.append(np.concatenate([start, row[:room], end]))

    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    width = int(lengths.max(initial=0)) if length is None else length
    token_ids = np.full((len(rows), width), padding_id, dtype=np.int32)
    for out, row in zip(token_ids, rows, strict=True):
        out[: len(row)] = row
    return Packed(token_ids, lengths, truncated)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _check_ids(**ids: Any) -> None:
    for name, value in ids.items():
        if value is None and name != "padding_id":
            continue
        if not _is_integer(value) or not 0 <= value <= _INT32_MAX:
            raise ValueError(f"Expected {name} to be an integer from 0 to {_INT32_MAX}, got {value!r}.")


def _limit(max_length: int | None, length: int | None, num_special: int) -> int | None:
    limits = {name: value for name, value in (("max_length", max_length), ("length", length)) if value is not None}
    for name, value in limits.items():
        if not _is_integer(value) or value < num_special:
            raise ValueError(
                f"Expected {name} to be an integer of at least {num_special} (the start and end ids take "
                f"{num_special} positions), "
                f"got {value!r}. Give a larger one, or None for no limit."
            )
    return min(limits.values(), default=None)


def _checked_row(sequence: Any, index: int, padding_id: int) -> np.ndarray:
    row = np.asarray(sequence)
    if row.ndim == 1 and row.size == 0:
        return np.zeros(0, dtype=np.int32)
    if row.ndim != 1 or row.dtype.kind not in "iu":
        raise TypeError(
            f"Expected each sequence to be a flat list or array of integers, got {row.dtype} of shape {row.shape} at "
            f"index {index}. "
            "Encode strings with Tokenizer.encode first."
        )
    low, high = int(row.min()), int(row.max())
    if low < 0 or high > _INT32_MAX:
        raise ValueError(
            f"Expected ids from 0 to {_INT32_MAX}, got {low if low < 0 else high} in the sequence at index {index}."
        )
    if (row == padding_id).any():
        raise ValueError(
            f"Expected no padding inside a sequence, got padding_id {padding_id} at position "
            f"{int(np.argmax(row == padding_id))} "
            f"of the sequence at index {index}. Take the padding off first."
        )
    return row.astype(np.int32)
