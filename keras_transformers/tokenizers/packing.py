"""Packing: sequences of token ids of different lengths to one padded array.

    <s> A man rides . </s>            2 7 9 5 4 3
    <s> Hello . </s> <pad> <pad>      2 8 4 3 0 0

And texts, or pairs of texts, to the rows that a model reads, which are padded later, batch by batch:

    [CLS] Who rides ? [SEP] A man rides . [SEP]      token ids
      0    0    0   0   0   1  1    1   1   1        segment ids
     -1    0    0   0  -1   1  1    1   1  -1        of which text

Legend: `B` sequences, `T` positions.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

_INT32_MAX = np.iinfo(np.int32).max


class Packed(NamedTuple):
    """The result of `pack`.

    Attributes:
        token_ids: int32 `[B, T]`, padded at the end.
        lengths: int32 `[B]`, how many positions of each row are not padding (start and end included).
        truncated: how many rows lost tokens, to be reported to the user.
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
    """Put start and end around each sequence, cut those that are too long, and pad at the end.

    A row that is too long loses the last of its own tokens; start and end stay.

    Args:
        sequences: `B` sequences of ids. None of them may hold `padding_id`: models find the padding by it, and would
            not see that token.
        padding_id: fills a row up.
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
        row = _checked_row(sequence, index)
        _check_no_padding(row, index, padding_id)
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


def _checked_row(sequence: Any, index: int) -> np.ndarray:
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
    return row.astype(np.int32)


def _check_no_padding(row: np.ndarray, index: int, padding_id: int) -> None:
    if (row == padding_id).any():
        raise ValueError(
            f"Expected no padding inside a sequence, got padding_id {padding_id} at position "
            f"{int(np.argmax(row == padding_id))} "
            f"of the sequence at index {index}. Take the padding off first."
        )


@dataclasses.dataclass(frozen=True)
class Template:
    """How a tokenizer wraps one text, or a pair of texts, for its model.

    Attributes:
        single: the parts of a row with one text, in order, each with its segment: a special token's id, or "A" for the
            text.
        pair: the same for two, with "A" and "B".

    Example:
    ```python
    bert = Template(
        single=((101, 0), ("A", 0), (102, 0)),                     # [CLS] A [SEP]
        pair=((101, 0), ("A", 0), (102, 0), ("B", 1), (102, 1)),   # [CLS] A [SEP] B [SEP]
    )
    ```
    """

    single: tuple[tuple[int | str, int], ...]
    pair: tuple[tuple[int | str, int], ...]

    def num_special(self, pair: bool = False) -> int:
        """How many special tokens a row has."""
        return sum(not isinstance(part, str) for part, _ in (self.pair if pair else self.single))


class PackedTexts(NamedTuple):
    """The result of `pack_texts`: rows of unequal length, int32 `[T]` each.

    Attributes:
        token_ids: the ids that the model reads.
        segment_ids: the segment of each position, for models that have segments.
        text_ids: the text of each position: 0 the first, 1 the second, -1 a special token. The positions of a text hold
            its tokens in order, from the first on (up to the last, if the start was cut).
        truncated: how many rows lost tokens, to be reported to the user.
    """

    token_ids: list[np.ndarray]
    segment_ids: list[np.ndarray]
    text_ids: list[np.ndarray]
    truncated: int


def pack_texts(
    firsts: Sequence[Sequence[int] | np.ndarray],
    seconds: Sequence[Sequence[int] | np.ndarray] | None = None,
    *,
    template: Template,
    max_length: int | None = None,
    truncate: str = "longest_first",
    cut: str = "end",
) -> PackedTexts:
    """Wrap each text, or each pair of texts, for a model, and cut those that are too long.

    The rows are those of transformers' `tokenizer(a, b, truncation=True, max_length=...)`.

    Args:
        firsts: `B` texts as ids, without special tokens, as `Tokenizer.encode` gives them.
        seconds: as many texts that belong to them, or None.
        template: `Tokenizer.template`.
        max_length: most positions of a row, special tokens included; None for no limit.
        truncate: which text of a pair is cut: "longest_first" cuts the longer text until both are equally long, and
            then both in turn; "first" and "second" cut that text alone, as for a question that must stay whole.
        cut: "end" or "start", which end of a text loses tokens.

    Raises:
        TypeError: for a text or an id that is not made of integers.
        ValueError: for unequal counts, an unknown `truncate` or `cut`, an id below 0 or above int32, and a `max_length`
            without room for the special tokens, or for more than the text that must stay whole.

    Example:
    ```python
    template = Template(single=((2, 0), ("A", 0), (3, 0)), pair=((2, 0), ("A", 0), (3, 0), ("B", 1), (3, 1)))
    packed = pack_texts([[7, 9, 5, 4]], [[8, 4]], template=template, max_length=8)
    packed.token_ids[0]    # [2, 7, 9, 5, 3, 8, 4, 3]
    packed.segment_ids[0]  # [0, 0, 0, 0, 0, 1, 1, 1]
    packed.text_ids[0]     # [-1, 0, 0, 0, -1, 1, 1, -1]
    packed.truncated       # 1
    ```

    Source: transformers and its engine, https://github.com/huggingface/tokenizers (`utils/truncation.rs`).
    """
    _check_packing(firsts, seconds, truncate, cut)
    parts = template.single if seconds is None else template.pair
    num_special = template.num_special(pair=seconds is not None)
    if max_length is not None and (not _is_integer(max_length) or max_length < num_special):
        raise ValueError(
            f"Expected max_length to be an integer of at least {num_special} (the special tokens of a row), got "
            f"{max_length!r}. Give a larger one, or None for no limit."
        )

    packed = PackedTexts([], [], [], 0)
    truncated = 0
    for index, row in enumerate(zip(firsts) if seconds is None else zip(firsts, seconds, strict=True)):
        texts = [_checked_row(text, index) for text in row]
        lengths = [len(text) for text in texts]
        kept = lengths if max_length is None else _kept(lengths, max_length - num_special, truncate, index)
        truncated += kept != lengths
        begins = [0 if cut == "end" else length - left for length, left in zip(lengths, kept, strict=True)]
        texts = [text[begin : begin + left] for text, begin, left in zip(texts, begins, kept, strict=True)]
        token_ids, segment_ids, text_ids = _wrapped(texts, parts)
        packed.token_ids.append(token_ids)
        packed.segment_ids.append(segment_ids)
        packed.text_ids.append(text_ids)
    return packed._replace(truncated=truncated)


def _check_packing(firsts: Sequence[Any], seconds: Sequence[Any] | None, truncate: str, cut: str) -> None:
    for name, value, known in (
        ("truncate", truncate, ("longest_first", "first", "second")),
        ("cut", cut, ("end", "start")),
    ):
        if value not in known:
            raise ValueError(f"Expected {name} to be one of {', '.join(map(repr, known))}, got {value!r}.")
    if seconds is not None and len(firsts) != len(seconds):
        raise ValueError(
            f"Expected as many second texts as first ones, got {len(seconds)} and {len(firsts)}. Each row needs both."
        )
    if seconds is None and truncate == "second":
        raise ValueError("Expected second texts for truncate='second', got none. Give them, or leave truncate out.")


def _wrapped(
    texts: Sequence[np.ndarray], parts: Iterable[tuple[int | str, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row of a template: its token ids, segment ids and text ids."""
    rows: list[tuple[Any, int, int]] = [
        (texts["AB".index(part)], segment, "AB".index(part)) if isinstance(part, str) else ([part], segment, -1)
        for part, segment in parts
    ]
    ids, segments, places = zip(*rows, strict=True)
    sizes = [len(each) for each in ids]
    return (
        np.concatenate(ids).astype(np.int32),
        np.repeat(segments, sizes).astype(np.int32),
        np.repeat(places, sizes).astype(np.int32),
    )


def _kept(lengths: list[int], room: int, truncate: str, index: int) -> list[int]:
    """The lengths of the texts of a row, cut to `room` tokens in all."""
    excess = sum(lengths) - room
    if excess <= 0:
        return lengths
    if truncate == "longest_first":
        if len(lengths) == 1:
            return [room]
        low, high = sorted(lengths)
        # Cut the longer down to the shorter, and from there on both, the shorter first.
        low, high = (low, room - low) if 2 * low <= room else (room // 2, room - room // 2)
        return [low, high] if lengths[0] <= lengths[1] else [high, low]
    place = ("first", "second").index(truncate)
    if lengths[place] <= excess:
        raise ValueError(
            f"Expected room for some of the text that truncate={truncate!r} cuts, got {room} positions at index "
            f"{index}, where its {lengths[place]} tokens need more than {sum(lengths) - lengths[place]}. Give a larger "
            "max_length, or truncate='longest_first'."
        )
    return [length - excess if i == place else length for i, length in enumerate(lengths)]
