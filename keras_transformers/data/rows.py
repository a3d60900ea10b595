"""Documents as training rows of a language model: cut into windows, several of which are packed into a row.

    two documents       a b c d e f ▪    p q ▪                    ▪: the end token
    windows of 4        reads  a b c d   says  b c d e
                        reads  e f       says  f ▪
                        reads  p q       says  q ▪
    packed into rows    reads  a b c d   e f p q        starts  0 0 0 0   0 0 2 2

No token is lost, and each but a document's first is predicted once. A window never sees another window in its row:
`starts` tells the model where each token's text begins.

`N` documents, `T` tokens.
"""

import bisect
from collections.abc import Iterable

import numpy as np

from keras_transformers.data.documents import Document
from keras_transformers.data.examples import NO_LABEL, Examples
from keras_transformers.data.ragged import Ragged


def document_rows(
    documents: Iterable[Document], *, max_length: int, padding_id: int = 0, packing: bool = True, truncated: int = 0
) -> Examples:
    """Return training rows of documents.

    Args:
        documents: an iterable of `Document`s.
        max_length: the most tokens of a row; a longer document is cut into consecutive windows of that length.
        padding_id: the id that fills rows up.
        packing: whether to pack whole windows into shared rows, by best fit. If weights differ, rows are not shared.
        truncated: the number of documents that were cut before, for the report.

    Returns: `Examples` with the column `token_ids` and, if windows share rows, `starts`. The labels are the tokens that
        follow, `NO_LABEL` for tokens that are not learnt.

    Raises:
        ValueError: for a `max_length` below 1, or if no token is left to learn.

    Source: best-fit packing: Ding et al. 2024, "Fewer Truncations Improve Language Modeling", section 3.
    """
    if max_length < 1:
        raise ValueError(f"Expected max_length of at least 1, got {max_length}.")
    inputs, labels, weights = [], [], []
    for document in documents:
        said = document.token_ids[1:].astype("int32")
        if document.learnt is not None:
            said = np.where(document.learnt[1:], said, NO_LABEL).astype("int32")
        for begin in range(0, len(said), max_length):
            window = slice(begin, min(begin + max_length, len(said)))
            if (said[window] != NO_LABEL).any():
                inputs.append(document.token_ids[window].astype("int32"))
                labels.append(said[window])
                weights.append(document.weight)
    if not inputs:
        raise ValueError("Expected something to learn, got documents of one token at most, or with nothing to say.")
    columns, joined = {"token_ids": Ragged.join(inputs)}, Ragged.join(labels)
    if packing and len(set(weights)) == 1:
        columns, joined = _packed(columns["token_ids"], joined, max_length, padding_id)
        weights = weights[:1] * len(joined.lengths)
    return Examples(columns, joined, np.array(weights, "float32"), padding_id, truncated)


def _packed(inputs: Ragged, labels: Ragged, length: int, padding_id: int) -> tuple[dict[str, Ragged], Ragged]:
    """Return the columns and labels of rows that hold several windows each, all padded to one length."""
    lengths = inputs.lengths
    rows = best_fit(lengths, length)
    width = max(int(lengths[row].sum()) for row in rows)
    shape = (len(rows), width)
    token_ids, said = np.full(shape, padding_id, "int32"), np.full(shape, NO_LABEL, "int32")
    starts = np.zeros(shape, "int32")
    for number, row in enumerate(rows):
        place = 0
        for window in row:
            there, source = slice(place, place + lengths[window]), slice(*inputs.offsets[window : window + 2])
            token_ids[number, there], said[number, there] = inputs.token_ids[source], labels.token_ids[source]
            starts[number, there] = place
            place = there.stop
        starts[number, place:] = place  # padding counts as a separate text
    offsets = np.arange(len(rows) + 1, dtype="int64") * width
    columns = {"token_ids": Ragged(token_ids.reshape(-1), offsets)}
    if any(len(row) > 1 for row in rows):
        columns["starts"] = Ragged(starts.reshape(-1), offsets)
    return columns, Ragged(said.reshape(-1), offsets)


def best_fit(lengths: np.ndarray, size: int) -> list[list[int]]:
    """Pack items of `lengths` `[N]` into bins of `size`: return a list of lists of item numbers.

    The longest items come first; each goes into the fullest bin that has room for it.
    """
    bins: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # the bins by their free room
    rooms: list[int] = []  # the keys of `with_room`, ascending
    for number in np.argsort(-lengths, kind="stable"):
        length = int(lengths[number])
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            room, chosen = size, len(bins)
            bins.append([])
        else:
            room = rooms[place]
            chosen = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[place]
        bins[chosen].append(int(number))
        left = room - length
        if left and left not in with_room:
            bisect.insort(rooms, left)
        if left:
            with_room.setdefault(left, []).append(chosen)
    return bins
