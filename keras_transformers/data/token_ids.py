"""Token ids of users who tokenize by themselves: `{"token_ids": …}`, with masks, segments and labels.

    given       token_ids      0 0 5 6 7 0       padding_mask  0 0 1 1 1 0       labels  -100 -100 1 -100 2 -100
    kept        token_ids      5 6 7                                             labels  1 -100 2

Rows are arrays `[N, T]` or lists of unequal length. Padding is removed at both ends, since batches are padded anew.
Column names of Hugging Face tokenizers are accepted.

`N` rows, `T` tokens, `S` source tokens.
"""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_transformers.data.columns import LABELS, WEIGHT, one_of, renamed
from keras_transformers.data.containers import holds_many, rows, short
from keras_transformers.data.examples import NO_LABEL, Examples, row_weights
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Block

_ALIASES = {
    "input_ids": "token_ids",
    "attention_mask": "padding_mask",
    "token_type_ids": "segment_ids",
    "decoder_input_ids": "decoder_token_ids",
    "decoder_attention_mask": "decoder_padding_mask",
}


class Ids(typing.NamedTuple):
    """The result of `read_ids`.

    Attributes:
        columns: a `Ragged` without padding, by the name of each input of the model.
        labels, weights: the given rows, unchanged, or None.
        spans: the part `(begin, end, length)` of each row that was kept, by the side's name of `token_ids`.
    """

    columns: dict[str, Ragged]
    labels: list[Any] | None
    weights: list[Any] | None
    spans: dict[str, list[tuple[int, int, int]]]

    def rows_of(self, values: Sequence[Any], what: str, dtype: str, side: str = "token_ids") -> Ragged:
        """Return a side's values for each token, cut to the part of the tokens that was kept."""
        kept = []
        for number, (row, (begin, end, length)) in enumerate(zip(values, self.spans[side], strict=True)):
            array = numbers(row, what, number, dtype)
            if len(array) != length:
                raise ValueError(
                    f"Expected {what} one for each of the {side}, got {len(array)} for {length} in row {number}."
                )
            kept.append(array[begin:end])
        return Ragged.join(kept)

    def row_weights(self) -> np.ndarray:
        """Return the weight of each row, float32 `[N]`.

        Raises:
            ValueError: if weights are given for tokens.
        """
        if self.weights is None:
            return np.ones(len(next(iter(self.spans.values()))), "float32")
        return row_weights(self.weights)

    def weights_of(self, side: str = "token_ids") -> np.ndarray | Ragged:
        """Return the weight of each row, or of each label."""
        if self.weights is not None and any(map(holds_many, self.weights)):
            return self.rows_of(self.weights, "sample_weight", "float32", side)
        return self.row_weights()

    def labels_of(self, side: str = "token_ids") -> Ragged:
        """Return the labels of tokens: ids, and `NO_LABEL` for tokens without a label."""
        return self.rows_of(self.labels or [], "labels", "int32", side)


def read_ids(
    block: Block,
    *,
    sides: Sequence[str] = ("",),
    labels: Sequence[str] = LABELS,
    padding_id: int | None = None,
    segments: bool = True,
    masked: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Ids:
    """Read the token ids of one block of a source.

    Args:
        block: a block whose inputs are named columns, with `token_ids`.
        sides: the prefixes of the column names of each sequence of a row: "", "decoder_", "positive_".
        labels: the possible names of the column of labels.
        padding_id: the id of padding, if there is no mask; None if there is no padding.
        segments: whether the model has segments.
        masked: whether each row keeps a mask, for models that recognise padding only by the mask.
        columns: the table's names of the columns.

    Raises:
        ValueError: for missing or unknown columns, unequal counts, values that are not ids, and rows of padding alone.
    """
    table = _ours(typing.cast(Mapping, block.inputs), columns)
    labelled = one_of(table, labels, "labels", columns)
    found = _beside(table, labelled, block.labels)
    weights = _beside(table, WEIGHT, block.weights)
    _check_columns(table, sides, labels)
    lists = {name: rows(column) for name, column in table.items()}
    _check_counts({**lists, "labels": found, WEIGHT: weights})
    result = Ids({}, found, weights, {})
    for side in sides:
        _read_side(result, side, lists, padding_id, segments, masked)
    return result


def _ours(table: Mapping, columns: Mapping[str, str] | None) -> dict[str, Any]:
    """Rename a table's columns, which may have names of other libraries, to the names here."""
    result: dict[str, Any] = {}
    for name, column in renamed(table, columns).items():
        ours = _ALIASES.get(name, name)
        if ours in result:
            raise ValueError(f"Expected token ids once, got both {ours} and its other name, {name}. Leave one out.")
        result[ours] = column
    return result


def _beside(table: dict[str, Any], name: str | None, given: Any) -> Any:
    """Remove a column from a table and return its values, unless other values are given."""
    if name not in table:
        return given
    column = rows(table.pop(name))
    return column if given is None else given


def _check_columns(table: Mapping[str, Any], sides: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse unknown and missing columns."""
    known = [f"{side}{kind}" for side in sides for kind in ("token_ids", "padding_mask", "segment_ids")]
    needed = [f"{side}token_ids" for side in sides]
    if set(table) - set(known) or set(needed) - set(table):
        raise ValueError(
            f"Expected the columns {' and '.join(needed)}, and perhaps "
            f"{', '.join([each for each in known if each not in needed] + [labels[0], WEIGHT])}, got "
            f"{', '.join(map(str, table))}. Leave the others out, or rename them with columns=."
        )


def _check_counts(values: Mapping[str, Any]) -> None:
    """Refuse lists, by name, of unequal lengths or without values; None is skipped."""
    counts = {name: len(each) for name, each in values.items() if each is not None}
    if len(set(counts.values())) > 1 or not max(counts.values()):
        raise ValueError(
            "Expected as many rows in each column, and at least one, got "
            f"{', '.join(f'{count} {name}' for name, count in counts.items())}."
        )


def _read_side(
    result: Ids, side: str, lists: dict[str, list[Any]], padding_id: int | None, segments: bool, masked: bool
) -> None:
    name = f"{side}token_ids"
    ids = [numbers(row, name, number, "int32") for number, row in enumerate(lists[name])]
    masks = lists.get(f"{side}padding_mask")
    spans, holes = [], masked
    real_rows = []
    for number, row in enumerate(ids):
        if masks is not None:
            real = _mask_row(masks[number], side, number, len(row))
        else:
            real = row != padding_id if padding_id is not None else np.ones(len(row), bool)
        if side == "decoder_" and len(row):
            real = real.copy()
            real[0] = True  # a decoder may start from padding
        places = np.flatnonzero(real)
        if not len(places):
            raise ValueError(f"Expected tokens in each row of {name}, got padding alone in row {number}.")
        begin, end = int(places[0]), int(places[-1]) + 1
        spans.append((begin, end, len(row)))
        real_rows.append(real[begin:end].astype("int32"))
        holes = holes or len(places) < end - begin
    result.spans[name] = spans
    result.columns[name] = Ragged.join(row[begin:end] for row, (begin, end, _) in zip(ids, spans, strict=True))
    if f"{side}segment_ids" in lists:
        column = result.rows_of(lists[f"{side}segment_ids"], f"{side}segment_ids", "int32", name)
        if segments:
            result.columns[f"{side}segment_ids"] = column
        elif column.token_ids.any():
            raise ValueError(f"Expected no {side}segment_ids other than 0: this model has no segments. Leave them out.")
    if holes and side != "decoder_":
        result.columns[f"{side}padding_mask"] = Ragged.join(real_rows)


def _mask_row(mask: Any, side: str, number: int, length: int) -> np.ndarray:
    """Return one row of a padding mask, bool `[T]`."""
    real = numbers(mask, f"{side}padding_mask", number, "int32") != 0
    if len(real) != length:
        raise ValueError(
            f"Expected a {side}padding_mask one for each of the {side}token_ids, got {len(real)} for {length} in row "
            f"{number}."
        )
    return real


def pair_ids(
    block: Block,
    *,
    padding_id: int | None,
    start_id: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> Examples:
    """Read sources and targets as ids, for teacher forcing.

    Args:
        block: a block with `token_ids` `[N, S]`, and the labels `[N, T]`, `decoder_token_ids` `[N, T]`, or both. Labels
            alone are read by the decoder after `start_id`. `decoder_token_ids` alone are a start, a target and its end:
            each token is the label of the one before.
        padding_id: the id of padding. Padding and `NO_LABEL` have no weight.
        start_id: the id that the decoder starts from, for labels alone.
        columns: the table's names of the columns.

    Raises:
        ValueError: as `read_ids`, and for labels and decoder_token_ids of unequal shapes.
    """
    inputs = typing.cast(Mapping, block.inputs)
    names = set(_ours(inputs, columns))
    labelled = block.labels is not None or not names.isdisjoint(("label", "labels"))
    read = "decoder_token_ids" in names
    if not (labelled or read):
        raise ValueError(
            f"Expected token_ids with labels, decoder_token_ids or both, got {', '.join(sorted(names))}. Pass the "
            "targets' ids as y."
        )
    sides = ("", "decoder_") if read else ("",)
    ids = read_ids(
        block, sides=sides, labels=("labels", "label"), padding_id=padding_id, segments=False, columns=columns
    )
    if not labelled:
        return _shifted(ids, padding_id or 0)
    labels = [numbers(row, "labels", number, "int32") for number, row in enumerate(ids.labels or [])]
    if read:
        decoder = _decoder_rows(rows(_ours(inputs, columns)["decoder_token_ids"]), labels)
    elif start_id is None:
        raise ValueError("Expected decoder_token_ids, or a start_id that the decoder starts from, got neither.")
    else:
        decoder = [np.concatenate([[start_id], _filled(each[:-1], padding_id)]).astype("int32") for each in labels]
    return _without_ends(ids, decoder, labels, _label_weights(ids, labels, padding_id), padding_id or 0)


def _without_ends(
    ids: Ids, decoder: list[np.ndarray], labels: list[np.ndarray], weights: list[np.ndarray], padding_id: int
) -> Examples:
    """Cut rows after their last label with a weight. Labels without weight become `NO_LABEL`."""
    learnt = [np.where(weight, each, NO_LABEL) for each, weight in zip(labels, weights, strict=True)]
    ends = [int(np.flatnonzero(each)[-1]) + 1 if np.any(each) else 1 for each in weights]
    decoder_ids, label_ids, label_weights = (
        Ragged.join(each[:end].astype(dtype) for each, end in zip(side, ends, strict=True))
        for side, dtype in ((decoder, "int32"), (learnt, "int32"), (weights, "float32"))
    )
    return Examples({**ids.columns, "decoder_token_ids": decoder_ids}, label_ids, label_weights, padding_id)


def _decoder_rows(given: list[Any], labels: list[np.ndarray]) -> list[np.ndarray]:
    """Return the decoder's ids of each row, as many as there are labels."""
    decoder = [numbers(row, "decoder_token_ids", number, "int32") for number, row in enumerate(given)]
    wrong = _first_unlike(labels, decoder)
    if wrong is not None:
        raise ValueError(
            f"Expected token_ids [N, S], decoder_token_ids and labels [N, T] of integers, got {len(labels[wrong])} "
            f"labels for {len(decoder[wrong])} decoder_token_ids in row {wrong}."
        )
    return decoder


def _label_weights(ids: Ids, labels: list[np.ndarray], padding_id: int | None) -> list[np.ndarray]:
    """Return the weight of each label. Unless weights are given for labels, padding and `NO_LABEL` have weight 0."""
    weights = [(each != NO_LABEL) & (each != padding_id) for each in labels]
    if ids.weights is not None and any(map(holds_many, ids.weights)):
        weights = [numbers(row, WEIGHT, number, "float32") for number, row in enumerate(ids.weights)]
    elif ids.weights is not None:
        weights = [there * weight for there, weight in zip(weights, ids.row_weights(), strict=True)]
    wrong = _first_unlike(weights, labels)
    if wrong is not None:
        raise ValueError(
            f"Expected sample_weight [N], or [N, T] one for each label, got {len(weights[wrong])} for "
            f"{len(labels[wrong])} labels in row {wrong}."
        )
    return weights


def _first_unlike(firsts: list[np.ndarray], seconds: list[np.ndarray]) -> int | None:
    """Return the first row whose two sides differ in length; None if there is none."""
    return next((n for n, each in enumerate(firsts) if len(each) != len(seconds[n])), None)


def _filled(row: np.ndarray, padding_id: int | None) -> np.ndarray:
    return np.where(row == NO_LABEL, padding_id or 0, row)


def _shifted(ids: Ids, padding_id: int) -> Examples:
    """Make each token of the targets the label of the one before."""
    targets, weights = ids.columns["decoder_token_ids"], ids.row_weights()
    parts = [targets.token_ids[a:b] for a, b in zip(targets.offsets, targets.offsets[1:], strict=False)]
    short_row = next((n for n, part in enumerate(parts) if len(part) < 2), None)
    if short_row is not None:
        raise ValueError(
            "Expected a start, and something to say, in each row of decoder_token_ids, got "
            f"{parts[short_row].tolist()} in row {short_row}. Pass the labels too, if they are not the next tokens."
        )
    columns = ids.columns | {"decoder_token_ids": Ragged.join(part[:-1] for part in parts)}
    return Examples(columns, Ragged.join(part[1:] for part in parts), weights, padding_id)


def numbers(row: Any, what: str, number: int, dtype: str) -> np.ndarray:
    """Return one row of whole numbers, or of finite numbers, as an array `[T]`.

    Raises:
        ValueError: for other values.
    """
    kinds, wanted = ("iub", "integers") if dtype == "int32" else ("iubf", "numbers")
    try:
        array = np.asarray(row)
    except ValueError:
        array = np.zeros((), object)
    if array.ndim != 1 or array.dtype.kind not in kinds or not np.isfinite(array).all():
        if not (array.ndim == 1 and array.size == 0):
            raise ValueError(f"Expected {what} of {wanted}, a list for each row, got {short(row)} as row {number}.")
    return array.astype(dtype)
