"""Log-probabilities of texts by token; long texts are read in windows.

    text       a b c d e f g h i        max_length 4, stride 2
    window 1   a b c d                  scores   b c d     (nothing stands before a)
    window 2       c d e f              scores       e f   (c and d are context)
    window 3           e f g h          scores           g h
    window 4               g h i        scores               i

Every token but the first is scored once, after at least `max_length - stride` earlier tokens if there are as many. With
`stride = max_length` the windows share nothing, and the first token of each has no score. This is faster, but the text
looks less likely than it is. The perplexity guide of transformers has the same convention.

`B` rows, `T` tokens.
"""

import typing
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.generation import executors
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.data_task import batch_shape, batches_by_length
from keras_transformers.training.chunked import CHUNK
from keras_transformers.training.losses import token_cross_entropy

LONGEST_ROW = 1024  # the most tokens of a row or a window by default, if the model reads more


def window_sizes(max_length: int | None, stride: int | None, longest: int | None) -> tuple[int, int]:
    """`max_length` and `stride` of windows, with defaults, for a model that reads `longest` tokens, or any number if it
    is None.

    Raises:
        ValueError: for sizes out of range.
    """
    max_length = min(LONGEST_ROW, longest or LONGEST_ROW) if max_length is None else max_length
    stride = max(max_length // 2, 1) if stride is None else stride
    if not 2 <= max_length <= (longest or max_length) or not 1 <= stride <= max_length:
        raise ValueError(
            f"Expected max_length from 2 to {longest or 'any'}, and stride from 1 to max_length, got {max_length=}, "
            f"{stride=}."
        )
    return max_length, stride


def windows(length: int, max_length: int, stride: int) -> list[tuple[int, int, int]]:
    """`(begin, first, end)` for each window of a sequence: it reads tokens `begin` to `end`, and scores from `first`
    on."""
    parts, done = [], 0
    for begin in range(0, max(length, 1), stride):
        end = min(begin + max_length, length)
        parts.append((begin, max(done, begin + 1), end))
        done = end
        if end == length:
            break
    return parts


def log_probabilities(
    model: typing.Any,
    sequences: Sequence[Sequence[int]],
    *,
    max_length: int,
    stride: int,
    batch_size: int,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The natural logarithm of the probability of each token after the tokens before it; NaN for the first token.

    Args:
        model: a `CausalLM`.
        sequences: lists of ids.
        max_length, stride: length and distance of the windows.
        batch_size: windows computed together.
        progress: a function called with the number of finished windows, after each batch.

    Returns: a list of float64 arrays `[T]`.
    """
    results = [np.full(len(ids), np.nan) for ids in sequences]
    places = [(n, *window) for n, ids in enumerate(sequences) for window in windows(len(ids), max_length, stride)]
    places = [(n, begin, first, end) for n, begin, first, end in places if first < end]
    arrays = [np.asarray(sequences[n][begin:end], "int32") for n, begin, _, end in places]
    inputs, labels = (Ragged.join(array[part] for array in arrays) for part in (slice(-1), slice(1, None)))
    compute, limit = executors.forward(model, model.token_log_probabilities), model._longest("embeddings")
    for rows in batches_by_length(inputs.lengths, batch_size):
        shape = batch_shape(inputs.lengths[rows], limit)
        padded = {"token_ids": inputs.padded(rows, shape, 0)[0], "labels": labels.padded(rows, shape, 0)[0]}
        outputs = compute(padded)
        for output, row in zip(outputs, rows, strict=False):
            n, begin, first, end = places[row]
            results[n][first:end] = output[first - begin - 1 : end - begin - 1]
        if progress is not None:
            progress(len(rows))
    return results


def pair_log_probabilities(
    model: typing.Any,
    sources: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    start_id: int | None,
    batch_size: int,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """The natural logarithm of the probability of each target token, after the source and the tokens before it.

    Args:
        model: a `Seq2SeqLM`.
        sources, labels: lists of ids, a target for each source.
        start_id: the id that the decoder starts from.
        batch_size: pairs computed together.
        progress: a function called with the number of finished pairs, after each batch.

    Returns: a list of float64 arrays `[T]`.
    """
    results = [np.zeros(0)] * len(labels)
    columns = {
        "token_ids": Ragged.join(np.array(ids, "int32") for ids in sources),
        "decoder_token_ids": Ragged.join(np.array([start_id, *ids[:-1]], "int32") for ids in labels),
        "labels": Ragged.join(np.array(ids, "int32") for ids in labels),
    }
    for rows in batches_by_length(columns["labels"].lengths, batch_size):
        for row, output in zip(rows, computed(model, model.token_log_probabilities, columns, rows), strict=False):
            results[row] = output[: len(labels[row])].astype("float64")
        if progress is not None:
            progress(len(rows))
    return results


def computed(
    model: typing.Any, function: Callable[..., Tensor], columns: dict[str, Ragged], rows: np.ndarray
) -> np.ndarray:
    """Call `function`, a method of the model, for some pairs, padded to a few shapes. Returns numpy `[B, …]`, possibly
    with extra rows at the end.

    Args:
        columns: a `Ragged` for each input of the function: `token_ids` is the source, the others belong to the target.
        rows: int `[B]`, the indices of the pairs.
    """
    padded = {}
    for name, column in columns.items():
        limit = model._longest("embeddings" if name == "token_ids" else "target_embeddings")
        padded[name] = column.padded(rows, batch_shape(column.lengths[rows], limit), model.config.filler)[0]
    return executors.forward(model, function)(padded)


def score_tokens(model: typing.Any, inputs: dict[str, Tensor]) -> Tensor:
    """The log-probabilities, float32 `[B, T]`, of `labels [B, T]` after the tokens that a decoder reads, int32 `[B,
    T]`. Computes a few positions at a time, so that it never holds all logits."""
    labels = inputs["labels"]
    x = model.backbone({name: ids for name, ids in inputs.items() if name != "labels"})
    rows, length = labels.shape
    step = max(CHUNK // (rows * model.config.target_embeddings.vocabulary_size), 1)
    parts = []
    for begin in range(0, length, step):
        there = slice(begin, min(begin + step, length))
        logits = model.head(x[:, there], embedding=model.backbone.decoder_embedding)
        parts.append(-token_cross_entropy(logits, labels[:, there])[1])
    return keras.ops.concatenate(parts, axis=1)
