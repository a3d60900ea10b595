"""Word alignment of translations, from the decoder's cross-attention.

    target token   le     chat   dort          a row for each token of a given translation, read off where the decoder
    source token   The    cat    sleeps        has that token as its input, not where it writes it (Chen et al. 2020)

The attention is the mean over the heads of a layer. The row of a word is the mean over its tokens, the column their
sum.

Legend: `B` pairs, `L` layers, `N` heads, `T` target tokens, `S` source tokens; `W` target words, `U` source words.
"""

import math
import re
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.models.sizes import bucket
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.data_task import batches_by_length
from keras_transformers.tasks.scoring import computed
from keras_transformers.training.chunked import CHUNK

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_WORDS = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+(?:['’-][^\W{_IDEOGRAPHS}]+)*|[^\w\s]")


class Alignment(typing.NamedTuple):
    """The result of `Seq2SeqLM.align` for one pair.

    pairs: a list of (source word, target word), indices, in the target's order.
    source_words, target_words: the words, punctuation marks and ideographs by themselves.
    source_spans, target_spans: int `[U, 2]` and `[W, 2]`: `text[begin:end]` is the word.
    scores: float32 `[W, U]`: the attention of each target word to each source word.
    """

    pairs: list[tuple[int, int]]
    source_words: list[str]
    target_words: list[str]
    source_spans: np.ndarray
    target_spans: np.ndarray
    scores: np.ndarray


def cross_attention(model: typing.Any, inputs: dict[str, Tensor]) -> Tensor:
    """The attention of `decoder_token_ids [B, T]` to `token_ids [B, S]`, the mean over the heads of each layer, `[B, L,
    T, S]`."""
    layers = model.backbone(inputs, return_attention_scores=True)["cross_attention_scores"]
    return ops.stack([ops.mean(ops.cast(scores, "float32"), axis=1) for scores in layers], axis=1)


def alignments(
    model: typing.Any,
    pairs: Sequence[tuple[tuple[str, str], list[int], list[int]]],
    start_id: int | None,
    layer: int,
    method: str,
    *,
    batch_size: int,
    progress: Progress | None = None,
) -> list[Alignment]:
    """The `Alignment` of each pair of texts.

    Args:
        model: a `Seq2SeqLM`.
        pairs: `((source, target), source ids, labels)` for each pair: the texts, the ids that the encoder reads, and
            the ids that the decoder should write.
        start_id: the id that the decoder starts from.
        layer: the layer whose cross-attention is used.
        method: "argmax" or "both".
        batch_size: the most pairs computed together.
        progress: a function called with the number of finished pairs, after each batch.
    """
    encode = model.tokenizer.encode_with_offsets
    sources, targets = (list(side) for side in zip(*(texts for texts, *_ in pairs), strict=True))
    tokens = [encode(sources), encode(targets, target=True)]
    parts, read = [], []  # the places of the text's own tokens among those read, on each side
    for (_, ids, labels), *own in zip(pairs, *(each.token_ids for each in tokens), strict=True):
        first, last = _place(ids, own[0]), _place(labels, own[1]) + 1
        parts.append((slice(last, last + len(own[1])), slice(first, first + len(own[0]))))
        read.append([start_id, *labels][: parts[-1][0].stop])
    columns = {
        "token_ids": Ragged.join(np.array(ids, "int32") for _, ids, _ in pairs),
        "decoder_token_ids": Ragged.join(np.array(ids, "int32") for ids in read),
    }
    results: list[typing.Any] = [None] * len(pairs)
    for rows in _batches(model, columns, batch_size):
        for row, scores_LTS in zip(rows, computed(model, model.cross_attention, columns, rows), strict=False):
            places = [each.spans[row] for each in tokens]
            results[row] = _by_words(pairs[row][0], places, scores_LTS[layer][parts[row]], method)
        if progress is not None:
            progress(len(rows))
    return results


def _batches(model: typing.Any, columns: dict[str, Ragged], batch_size: int) -> Iterator[np.ndarray]:
    """Batch rows of similar length. Batches of long rows are smaller, so that their attention fits in memory."""
    decoder = model.config.decoder
    lengths = [column.lengths for column in columns.values()]
    for rows in batches_by_length(lengths[1], batch_size):
        of_a_pair = math.prod(bucket(int(each[rows].max())) for each in lengths)
        most = max(CHUNK // (of_a_pair * decoder.num_layers * decoder.block.attention.num_heads), 1)
        yield from (rows[begin : begin + most] for begin in range(0, len(rows), most))


def _by_words(texts: tuple[str, str], places: Sequence[typing.Any], scores_TS: np.ndarray, method: str) -> Alignment:
    """The `Alignment` of one pair of texts, from the places of its tokens and their attention."""
    source_spans, target_spans = map(words, texts)
    belongs_SU, belongs_TW = membership(places[0], source_spans), membership(places[1], target_spans)
    counts_W1 = np.maximum(belongs_TW.sum(axis=0), 1)[:, None]
    scores_WU = (belongs_TW.T @ scores_TS @ belongs_SU / counts_W1).astype("float32")
    pairs = []
    if scores_WU.size:
        best_U = scores_WU.argmax(axis=0)
        pairs = [
            (int(place), row)
            for row, place in enumerate(scores_WU.argmax(axis=1))
            if scores_WU[row, place] > 0 and (method == "argmax" or best_U[place] == row)
        ]
    source_words, target_words = (
        [text[begin:end] for begin, end in spans]
        for text, spans in zip(texts, (source_spans, target_spans), strict=True)
    )
    return Alignment(pairs, source_words, target_words, source_spans, target_spans, scores_WU)


def words(text: str) -> np.ndarray:
    """The spans of the words of a text, int `[W, 2]`."""
    return np.array([match.span() for match in _WORDS.finditer(text)], int).reshape(-1, 2)


def membership(token_spans: np.ndarray, word_spans: np.ndarray) -> np.ndarray:
    """The word that each token belongs to, as 0 and 1, `[T, W]`: the word that overlaps it most. A token of spaces
    belongs to none."""
    begins = np.maximum(token_spans[:, None, 0], word_spans[None, :, 0])
    shared_TW = np.minimum(token_spans[:, None, 1], word_spans[None, :, 1]) - begins
    belongs = np.zeros(shared_TW.shape)
    if belongs.size:
        best_T = shared_TW.argmax(axis=1)
        rows = np.flatnonzero(shared_TW.max(axis=1) > 0)
        belongs[rows, best_T[rows]] = 1
    return belongs


def _place(ids: Sequence[int], text_ids: Sequence[int]) -> int:
    """The place of a text's first own token, after the special tokens that the tokenizer added in front."""
    for place in range(len(ids) - len(text_ids) + 1):
        if list(ids[place : place + len(text_ids)]) == list(text_ids):
            return place
    raise ValueError(
        "Expected a text whose tokens are the same by themselves and within the whole text, got other ones (or "
        "more than the model reads). Align a shorter text, without a prefix."
    )
