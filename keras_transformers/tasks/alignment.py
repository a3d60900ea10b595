"""Which word was translated by which: alignments from a translator's cross-attention.

    target token   le     chat   dort          a row for each token of a given translation, read off where the decoder
    source token   The    cat    sleeps        has that token as its input, not where it writes it (Chen et al. 2020)

A word's row is the mean over its tokens, and its column their sum, over the mean of a layer's heads.

Legend: `N` heads, `T` target tokens, `S` source tokens; `W` target words, `U` source words.
"""

import re
import typing

import numpy as np
from keras import ops

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_WORDS = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+(?:['’-][^\W{_IDEOGRAPHS}]+)*|[^\w\s]")


class Alignment(typing.NamedTuple):
    """What `Seq2SeqLM.align` says of one pair.

    pairs: a list of (source word, target word), indices, in the target's order.
    source_words, target_words: the words, punctuation marks and ideographs by themselves.
    source_spans, target_spans: int `[U, 2]` and `[W, 2]`: `text[begin:end]` is the word.
    scores: float32 `[W, U]`: how much each target word looked at each source word.
    """

    pairs: list[tuple[int, int]]
    source_words: list[str]
    target_words: list[str]
    source_spans: np.ndarray
    target_spans: np.ndarray
    scores: np.ndarray


def attention(model, source_ids, read_ids, which):
    """The attention of every layer, numpy `[N, T, S]` each.

    Args:
        model: a `Seq2SeqLM`.
        source_ids, read_ids: what the encoder and what the decoder reads, lists of ids.
        which: the backbone's name for the scores.
    """
    inputs = {"token_ids": source_ids, "decoder_token_ids": read_ids}
    tensors = {name: ops.convert_to_tensor([ids], "int32") for name, ids in inputs.items()}
    layers = model.backbone(tensors, return_attention_scores=True)[which]
    return [ops.convert_to_numpy(ops.cast(scores[0], "float32")) for scores in layers]


def aligned(model, source, target, source_ids, labels, start_id, layer, method):
    """The `Alignment` of one pair of texts.

    Args:
        model: a `Seq2SeqLM`.
        source, target: texts.
        source_ids, labels: the same as the encoder reads and as the decoder is to write them.
        start_id: what the decoder starts from.
        layer: which layer's cross-attention.
        method: "argmax" or "both".
    """
    encode = model.tokenizer.encode_with_offsets
    sides = encode([source]), encode([target], target=True)
    (source_tokens,), (target_tokens,) = (each.token_ids for each in sides)
    (source_places,), (target_places,) = (each.spans for each in sides)
    source_spans, target_spans = words(source), words(target)
    first, last = _place(source_ids, source_tokens), _place(labels, target_tokens)
    rows = slice(last + 1, last + 1 + len(target_tokens))  # where each token is read
    layers = attention(model, source_ids, [start_id, *labels], "cross_attention_scores")
    scores_TS = layers[layer].mean(axis=0)[rows, first : first + len(source_tokens)]
    belongs_SU = membership(source_places, source_spans)
    belongs_TW = membership(target_places, target_spans)
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
    texts = (
        [text[begin:end] for begin, end in each] for text, each in ((source, source_spans), (target, target_spans))
    )
    return Alignment(pairs, *texts, source_spans, target_spans, scores_WU)


def words(text):
    """The spans of a text's words, int `[W, 2]`."""
    return np.array([match.span() for match in _WORDS.finditer(text)], int).reshape(-1, 2)


def membership(token_spans, word_spans):
    """Which word each token is of, the one that most of it is in: 0 and 1, `[T, W]`. A token of spaces is of none."""
    begins = np.maximum(token_spans[:, None, 0], word_spans[None, :, 0])
    shared_TW = np.minimum(token_spans[:, None, 1], word_spans[None, :, 1]) - begins
    belongs = np.zeros(shared_TW.shape)
    if belongs.size:
        best_T = shared_TW.argmax(axis=1)
        rows = np.flatnonzero(shared_TW.max(axis=1) > 0)
        belongs[rows, best_T[rows]] = 1
    return belongs


def _place(ids, text_ids):
    """Where a text's own tokens begin, among those that the tokenizer has put around them."""
    for place in range(len(ids) - len(text_ids) + 1):
        if list(ids[place : place + len(text_ids)]) == list(text_ids):
            return place
    raise ValueError(
        "Expected a text whose tokens are the same by themselves and with what stands around them, got other ones (or "
        "more than the model reads). Align a shorter text, without a prefix."
    )
