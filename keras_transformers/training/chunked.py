"""Chunked cross-entropy: the loss over a large vocabulary, computed for a chunk of tokens at a time.

    hidden [N, D] ─┬─ chunk ──► logits [C, V] ──► loss, and its gradients ──► dropped
                   ├─ chunk ──► …                       │
                   └─ chunk ──► …            d hidden [N, D], d matrix [V, D] and d bias [V], summed as they come

The loss is one number, so the gradients of each chunk are computed together with its logits. They wait for the backward
pass, which only scales them: nothing is computed twice. 2,048 tokens with a vocabulary of 50,000 have 400 MB of logits,
and as much again for each step of the softmax that automatic differentiation keeps. Here there are `CHUNK` logits at a
time, but at least those of `SHORTEST_CHUNK` tokens: each chunk adds to the gradient of the whole matrix, which takes as
long as tens of tokens.

Shapes: `N` tokens, `C` tokens of a chunk, `D` width, `V` vocabulary.
"""

import typing
from collections.abc import Callable

from keras import ops

from keras_transformers.backends import training
from keras_transformers.backends.types import Tensor

CHUNK = training.CHUNK  # logits held at once
LONGEST_CHUNK = 1024  # tokens


class HeadMatrix(typing.NamedTuple):
    """A head that is a matrix product, from `VocabularyHead.matrix`.

    Attributes:
        matrix: `[V, D]`, or `[D, V]` if `transposed`. Frozen variables get no gradients.
        bias: `[V]`, or None.
        transposed: whether the vocabulary is the second axis of the matrix.
        soft_cap: see `VocabularyHead`.
    """

    matrix: typing.Any
    bias: typing.Any = None
    transposed: bool = False
    soft_cap: float | None = None


class TokenScores(typing.NamedTuple):
    """Scores of each token: float32 `[…]`, without gradients.

    Attributes:
        loss: the label-smoothed loss.
        negative_log_likelihood: the loss without smoothing.
        correct: 1 if the label has the highest score, else 0.
    """

    loss: typing.Any
    negative_log_likelihood: typing.Any
    correct: typing.Any


def chunk_size(vocabulary_size: int, count: typing.Any, size: int = CHUNK) -> typing.Any:
    """The number of tokens of a chunk, for `count` tokens (at least 1; it may be a tensor). Chunks are as equal as
    possible, so that the last one needs little filling."""
    longest = max(min(size // vocabulary_size, LONGEST_CHUNK) // 8 * 8, 8)
    return -(-count // -(-count // longest))


def chunked_cross_entropy(
    hidden: Tensor,
    labels: Tensor,
    weights: Tensor,
    head: HeadMatrix,
    *,
    label_smoothing: float = 0.0,
    gradients: bool = True,
    size: int | None = None,
) -> tuple[Tensor, TokenScores]:
    """The weighted sum over tokens of the cross-entropy of `token_cross_entropy`.

    Args:
        hidden: `[…, D]`, the inputs of the head.
        labels: integers `[…]` in `[0, V)`.
        weights: float `[…]`; 0 leaves a token out.
        head: a `HeadMatrix`.
        label_smoothing: see `token_cross_entropy`.
        gradients: whether gradients are needed.
        size: the number of logits held at once; by default a number that suits the backend, but at least its
            `SHORTEST_CHUNK` tokens.

    Returns: `(sum, TokenScores)`; the sum, a float32 scalar, has gradients for `hidden` and, unless both are frozen,
        for the matrix and the bias.

    Example:
        >>> head = HeadMatrix(embeddings)
        >>> total, scores = chunked_cross_entropy(hidden, labels, weights, head)
        >>> loss = total / weights.sum()

    Source: gradients along with the loss: Hsu et al. 2024, "Liger Kernel", section 3.2.
    """
    matrix, bias, transposed, soft_cap = head
    shape, width = ops.shape(labels), hidden.shape[-1]
    flat = (
        ops.reshape(hidden, (-1, width)),
        ops.cast(ops.reshape(labels, (-1,)), "int32"),
        ops.cast(ops.reshape(weights, (-1,)), "float32"),
    )
    count = ops.shape(flat[0])[0]
    places = (max if isinstance(count, int) else ops.maximum)(count, 1)  # without tokens, one place is filled
    vocabulary_size = matrix.shape[1 if transposed else 0]
    size = size or max(training.chunk(hidden), training.SHORTEST_CHUNK * vocabulary_size)
    chunk = chunk_size(vocabulary_size, places, size)
    hidden, labels, weights = (_dealt(each, places + -places % chunk - count, chunk) for each in flat)
    frozen = not any(getattr(each, "trainable", True) for each in (matrix, bias) if each is not None)
    matrix = ops.convert_to_tensor(matrix)
    bias = ops.zeros((0,), "float32") if bias is None else ops.convert_to_tensor(bias)
    settings = _Settings(transposed, frozen, soft_cap, label_smoothing)
    inputs = (settings, hidden, labels, weights, matrix, bias)
    total, *scores = training.with_gradients(_run, *inputs) if gradients else _run(*inputs, gradients=False)[0]
    gathered = (ops.reshape(ops.reshape(ops.transpose(each), (-1,))[:count], shape) for each in scores)
    return total, TokenScores(*gathered)


def _dealt(tokens: Tensor, rest: Tensor, chunk: Tensor) -> Tensor:
    """Deal tokens `[N, …]` out to chunks, `[(N + rest) / C, C, …]`, filled up with zeros. Each chunk has tokens from
    every part of the batch, so that devices that share the batch share each chunk."""
    tokens = ops.pad(tokens, [[0, rest]] + [[0, 0]] * (len(tokens.shape) - 1))
    tokens = ops.reshape(tokens, (chunk, -1, *tokens.shape[1:]))
    return ops.transpose(tokens, (1, 0, *range(2, len(tokens.shape))))


class _Settings(typing.NamedTuple):
    transposed: bool
    frozen: bool
    soft_cap: float | None
    label_smoothing: float


def _chunk_scores(
    settings: _Settings, hidden: Tensor, labels: Tensor, weights: Tensor, matrix: Tensor, bias: Tensor
) -> tuple[Tensor, TokenScores, Callable[[], Tensor]]:
    """`(weighted loss, TokenScores, gradient of the logits)` of one chunk, all float32."""
    logits = ops.cast(ops.matmul(hidden, matrix if settings.transposed else ops.transpose(matrix)), "float32")
    if bias.shape[0]:
        logits = logits + bias
    if settings.soft_cap is not None:
        bounded = ops.tanh(logits / settings.soft_cap)
        logits = bounded * settings.soft_cap
    smoothing, size = settings.label_smoothing, logits.shape[-1]
    largest = ops.max(logits, axis=-1, keepdims=True)
    exponentials = training.exp(logits - largest)
    total = ops.sum(exponentials, axis=-1, keepdims=True)
    here = ops.expand_dims(labels, -1)
    label_logits = ops.take_along_axis(logits, here, axis=-1)
    negative_log_likelihood = (ops.log(total) + largest - label_logits)[:, 0]
    loss = negative_log_likelihood
    if smoothing:
        loss = loss + smoothing * (label_logits[:, 0] - ops.mean(logits, axis=-1))
    correct = ops.cast(ops.equal(training.best(logits), labels), "float32")
    scores = TokenScores(loss, negative_log_likelihood, correct)

    def gradient() -> Tensor:
        weight = ops.expand_dims(weights, -1)
        slope = training.less_at(training.times(exponentials, weight / total), here, weight * (1.0 - smoothing))
        slope = slope - weight * (smoothing / size) if smoothing else slope
        return slope if settings.soft_cap is None else slope * (1.0 - bounded * bounded)

    return ops.sum(loss * weights), scores, gradient


def _chunk_gradients(
    settings: _Settings, hidden: Tensor, slope: Tensor, matrix: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of one chunk, float32: of its hidden states, and of the matrix and the bias if they are
    trainable."""
    narrow = ops.cast(slope, hidden.dtype)
    to_hidden = ops.cast(ops.matmul(narrow, ops.transpose(matrix) if settings.transposed else matrix), "float32")
    if settings.frozen:
        return (to_hidden,)
    pair = (hidden, narrow) if settings.transposed else (narrow, hidden)
    to_matrix = ops.matmul(ops.transpose(pair[0]), pair[1])
    to_bias = ops.sum(slope, axis=0) if bias.shape[0] else bias
    return to_hidden, ops.cast(to_matrix, "float32"), to_bias


def _one(
    settings: _Settings, inputs: tuple[Tensor, Tensor, Tensor], matrix: Tensor, bias: Tensor, gradients: bool
) -> tuple[Tensor, TokenScores, Tensor, tuple[Tensor, ...]]:
    """The results of one chunk: `(sum, TokenScores, gradient of the hidden states, gradients to add up)`."""
    hidden, labels, weights = inputs
    loss, scores, gradient = _chunk_scores(settings, hidden, labels, weights, matrix, bias)
    if not gradients:
        return loss, scores, None, ()
    to_hidden, *to_weights = _chunk_gradients(settings, hidden, gradient(), matrix, bias)
    return loss, scores, to_hidden, tuple(to_weights)


def _run(
    settings: _Settings, hidden: Tensor, labels: Tensor, weights: Tensor, matrix: Tensor, bias: Tensor, gradients: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """`(sum, three of TokenScores)` and a gradient for each of the five tensors, or none: see `with_gradients`."""
    narrow, wide = ops.cast(matrix, hidden.dtype), ops.cast(bias, "float32")

    def body(
        carry: tuple[Tensor, ...], inputs: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        loss, scores, to_hidden, to_weights = _one(settings, inputs, narrow, wide, gradients)
        carry = tuple(training.add(whole, part) for whole, part in zip(carry, (loss, *to_weights), strict=True))
        return carry, (*scores, *(() if to_hidden is None else (to_hidden,)))

    zeros: tuple[Tensor, ...] = (ops.zeros((), "float32"),)
    if gradients and not settings.frozen:
        zeros += (ops.zeros(matrix.shape, "float32"), ops.zeros(bias.shape, "float32"))
    shapes = [labels.shape[1:]] * 3 + [hidden.shape[1:]] * gradients
    (total, *to_weights), results = training.scan(body, zeros, (hidden, labels, weights), shapes)
    outputs = (total, *results[:3])
    if not gradients:
        return outputs, ()
    to_matrix, to_bias = to_weights or (None, None)
    return outputs, (results[3], None, None, to_matrix, to_bias)
