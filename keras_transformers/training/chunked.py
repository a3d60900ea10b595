"""Cross-entropy over a large vocabulary without its logits: a chunk of tokens at a time.

    hidden [N, D] ─┬─ chunk ──► logits [C, V] ──► loss, and its gradients ──► dropped
                   ├─ chunk ──► …                       │
                   └─ chunk ──► …            d hidden [N, D], d matrix [V, D] and d bias [V], summed as they come

The loss is one number, so the gradients of each chunk can be made while its logits are there, and wait, not yet scaled,
for the backward pass: nothing is computed twice. 2,048 tokens of a vocabulary of 50,000 have 400 MB of logits, and as
much again for each step of the softmax that automatic differentiation keeps; here there are `CHUNK` at a time, or those
of `SHORTEST_CHUNK` tokens: each chunk adds to the gradient of the whole matrix, which takes as long as tens of tokens.

Shapes: `N` tokens, `C` tokens of a chunk, `D` width, `V` vocabulary.
"""

import itertools
import operator
import typing

import keras
from keras import ops

from keras_transformers.backends import arrays

argmax = arrays.argmax

CHUNK = 2**24  # logits held at once: 64 MB in float32
SMALL_CHUNK = 7_500_000  # by PyTorch on a processor: reused (`keep_what_is_freed`)
SHORTEST_CHUNK, LONGEST_CHUNK = 128, 1024  # tokens
if keras.backend.backend() == "tensorflow":  # measured: longer ones took as long there, and more memory
    SHORTEST_CHUNK = 8


class HeadMatrix(typing.NamedTuple):
    """A head that is a matrix product: what `VocabularyHead.matrix` returns.

    Attributes:
        matrix: `[V, D]`, or `[D, V]` where `transposed`. Variables that are frozen cost no gradients.
        bias: `[V]`, or None.
        transposed: whether the vocabulary is the matrix's second axis.
        soft_cap: see `VocabularyHead`.
    """

    matrix: typing.Any
    bias: typing.Any = None
    transposed: bool = False
    soft_cap: float | None = None


class TokenScores(typing.NamedTuple):
    """What is known of each token besides: float32 `[…]`, without gradients.

    Attributes:
        loss: label-smoothed.
        negative_log_likelihood: as it is.
        correct: 1 where the label has the highest score, else 0.
    """

    loss: typing.Any
    negative_log_likelihood: typing.Any
    correct: typing.Any


def chunk_size(vocabulary_size, count, size=CHUNK):
    """How many tokens a chunk has, of `count`, at least 1 and perhaps a tensor: chunks are as alike as can be, so that
    hardly a place in the last one is left over and filled up."""
    longest = max(min(size // vocabulary_size, LONGEST_CHUNK) // 8 * 8, 8)
    return -(-count // -(-count // longest))


def chunked_cross_entropy(hidden, labels, weights, head, *, label_smoothing=0.0, gradients=True, size=None):
    """The weighted sum of the cross-entropy of each token, as `token_cross_entropy` has it.

    Args:
        hidden: `[…, D]`, what the head reads.
        labels: integers `[…]` in `[0, V)`.
        weights: float `[…]`; 0 leaves a token out.
        head: a `HeadMatrix`.
        label_smoothing: see `token_cross_entropy`.
        gradients: False where none are wanted.
        size: how many logits are held at once; by default `CHUNK`, or `SMALL_CHUNK`, or more where that is less than
            `SHORTEST_CHUNK` tokens.

    Returns: `(sum, TokenScores)`; the sum, a float32 scalar, has gradients towards `hidden` and, unless both are
        frozen, towards the matrix and the bias.

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
    places = (max if isinstance(count, int) else ops.maximum)(count, 1)  # one is filled up where there is no token
    vocabulary_size = matrix.shape[1 if transposed else 0]
    size = size or max(_size(hidden), SHORTEST_CHUNK * vocabulary_size)
    chunk = chunk_size(vocabulary_size, places, size)
    chunks = tuple(_dealt(each, places + -places % chunk - count, chunk) for each in flat)
    frozen = not any(getattr(each, "trainable", True) for each in (matrix, bias) if each is not None)
    matrix = ops.convert_to_tensor(matrix)
    bias = ops.zeros((0,), "float32") if bias is None else ops.convert_to_tensor(bias)
    settings = _Settings(transposed, frozen, soft_cap, label_smoothing)
    total, *scores = (_with_gradients if gradients else _without)(settings, *chunks, matrix, bias)
    gathered = (ops.reshape(ops.reshape(ops.transpose(each), (-1,))[:count], shape) for each in scores)
    return total, TokenScores(*gathered)


def _dealt(tokens, rest, chunk):
    """Tokens `[N, …]` dealt out to chunks, `[(N + rest) / C, C, …]`, filled up with zeros: each chunk has some of every
    part of the batch, so that devices which share the batch share each chunk."""
    tokens = ops.pad(tokens, [[0, rest]] + [[0, 0]] * (len(tokens.shape) - 1))
    tokens = ops.reshape(tokens, (chunk, -1, *tokens.shape[1:]))
    return ops.transpose(tokens, (1, 0, *range(2, len(tokens.shape))))


def _size(hidden):
    return CHUNK


class _Settings(typing.NamedTuple):
    transposed: bool
    frozen: bool
    soft_cap: float | None
    label_smoothing: float


def _chunk_scores(settings, hidden, labels, weights, matrix, bias):
    """`(weighted loss, TokenScores, gradient of the logits)` of one chunk; all in float32."""
    logits = ops.cast(ops.matmul(hidden, matrix if settings.transposed else ops.transpose(matrix)), "float32")
    if bias.shape[0]:
        logits = logits + bias
    if settings.soft_cap is not None:
        bounded = ops.tanh(logits / settings.soft_cap)
        logits = bounded * settings.soft_cap
    smoothing, size = settings.label_smoothing, logits.shape[-1]
    largest = ops.max(logits, axis=-1, keepdims=True)
    exponentials = _exp(logits - largest)
    total = ops.sum(exponentials, axis=-1, keepdims=True)
    here = ops.expand_dims(labels, -1)
    label_logits = ops.take_along_axis(logits, here, axis=-1)
    negative_log_likelihood = (ops.log(total) + largest - label_logits)[:, 0]
    loss = negative_log_likelihood
    if smoothing:
        loss = loss + smoothing * (label_logits[:, 0] - ops.mean(logits, axis=-1))
    correct = ops.cast(ops.equal(argmax(logits), labels), "float32")
    scores = TokenScores(loss, negative_log_likelihood, correct)

    def gradient():
        weight = ops.expand_dims(weights, -1)
        slope = _less_at(_times(exponentials, weight / total), here, weight * (1.0 - smoothing))
        slope = slope - weight * (smoothing / size) if smoothing else slope
        return slope if settings.soft_cap is None else slope * (1.0 - bounded * bounded)

    return ops.sum(loss * weights), scores, gradient


def _chunk_gradients(settings, hidden, slope, matrix, bias):
    """The gradients of one chunk, float32: of its hidden states, and, if they learn, of the matrix and of the bias."""
    narrow = ops.cast(slope, hidden.dtype)
    to_hidden = ops.cast(ops.matmul(narrow, ops.transpose(matrix) if settings.transposed else matrix), "float32")
    if settings.frozen:
        return (to_hidden,)
    pair = (hidden, narrow) if settings.transposed else (narrow, hidden)
    to_matrix = ops.matmul(ops.transpose(pair[0]), pair[1])
    to_bias = ops.sum(slope, axis=0) if bias.shape[0] else bias
    return to_hidden, ops.cast(to_matrix, "float32"), to_bias


def _one(settings, inputs, matrix, bias, gradients):
    """What one chunk gives: `(sum, TokenScores, gradient of the hidden states, those to add up)`."""
    hidden, labels, weights = inputs
    loss, scores, gradient = _chunk_scores(settings, hidden, labels, weights, matrix, bias)
    if not gradients:
        return loss, scores, None, ()
    to_hidden, *to_weights = _chunk_gradients(settings, hidden, gradient(), matrix, bias)
    return loss, scores, to_hidden, tuple(to_weights)


def _run(settings, hidden, labels, weights, matrix, bias, gradients):
    """`(sum, three of TokenScores)` and gradients of hidden states, and of matrix and bias if they learn, or none."""
    narrow, wide = ops.cast(matrix, hidden.dtype), ops.cast(bias, "float32")

    def body(carry, inputs):
        loss, scores, to_hidden, to_weights = _one(settings, inputs, narrow, wide, gradients)
        carry = tuple(_add(whole, part) for whole, part in zip(carry, (loss, *to_weights), strict=True))
        return carry, (*scores, *(() if to_hidden is None else (to_hidden,)))

    zeros = (ops.zeros((), "float32"),)
    if gradients and not settings.frozen:
        zeros += (ops.zeros(matrix.shape, "float32"), ops.zeros(bias.shape, "float32"))
    shapes = [labels.shape[1:]] * 3 + [hidden.shape[1:]] * gradients
    (total, *to_weights), results = _scan(body, zeros, (hidden, labels, weights), shapes)
    return (total, *results[:3]), (*results[3:], *to_weights)


def _without(settings, *arguments):
    return _run(settings, *arguments, gradients=False)[0]


def _scaled(gradients, upstream, likes):
    """The gradients that waited since the forward pass, each in the dtype of its like; None for what is frozen."""
    pairs = itertools.zip_longest(gradients, likes)
    return tuple(None if each is None else ops.cast(each * upstream, like.dtype) for each, like in pairs)


if keras.backend.backend() == "torch":
    import torch

    # In place: new memory for so many logits costs as much time as computing them.

    def _add(whole, part):
        return whole.add_(part)

    def _times(rows, factor):
        return rows.mul_(factor)

    _exp = torch.exp_

    def _size(hidden):
        return SMALL_CHUNK if hidden.device.type == "cpu" else CHUNK

    def _less_at(rows, places, amounts):
        """`rows [C, V]` less `amounts [C, 1]` at `places [C, 1]`."""
        return rows.scatter_add_(1, places.long(), -amounts)

    def _scan(body, carry, inputs, shapes):
        results = []
        for each in zip(*inputs, strict=True):
            carry, result = body(carry, each)
            results.append(result)
        return carry, [torch.stack(part) for part in zip(*results, strict=True)]

    class _Function(torch.autograd.Function):
        @staticmethod
        def forward(context, settings, hidden, labels, weights, matrix, bias):
            outputs, gradients = _run(settings, hidden, labels, weights, matrix, bias, gradients=True)
            context.save_for_backward(*gradients)
            context.likes = [torch.empty(0, dtype=each.dtype) for each in (hidden, matrix, bias)]
            context.mark_non_differentiable(*outputs[1:])
            return outputs

        @staticmethod
        def backward(context, upstream, *rest):
            to_hidden, to_matrix, to_bias = _scaled(context.saved_tensors, upstream, context.likes)
            return None, to_hidden, None, None, to_matrix, to_bias

    _with_gradients = _Function.apply

elif keras.backend.backend() == "jax":
    import functools

    import jax

    _add, _times, _exp = operator.add, operator.mul, ops.exp

    def _less_at(rows, places, amounts):
        # Compiled, a comparison costs nothing.
        return rows - ops.where(ops.arange(rows.shape[-1], dtype="int32") == places, amounts, 0.0)

    def _scan(body, carry, inputs, shapes):
        return jax.lax.scan(body, carry, inputs)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def _with_gradients(settings, *arguments):
        return _without(settings, *arguments)

    def _forward(settings, hidden, labels, weights, matrix, bias):
        outputs, gradients = _run(settings, hidden, labels, weights, matrix, bias, gradients=True)
        likes = tuple(jax.numpy.zeros((), each.dtype) for each in (hidden, matrix, bias))
        return outputs, (gradients, likes)

    def _backward(settings, kept, upstream):
        to_hidden, to_matrix, to_bias = _scaled(kept[0], upstream[0], kept[1])
        return to_hidden, None, None, to_matrix, to_bias

    _with_gradients.defvjp(_forward, _backward)

else:
    import tensorflow as tf

    _add, _times, _exp = operator.add, operator.mul, ops.exp

    def argmax(x):
        return tf.argmax(x, -1, "int32")  # faster than what suits XLA, which Keras does not train with on a processor

    def _less_at(rows, places, amounts):
        rows_of = tf.range(tf.shape(rows)[0])
        return tf.tensor_scatter_nd_sub(rows, tf.stack((rows_of, places[:, 0]), axis=1), amounts[:, 0])

    def _scan(body, carry, inputs, shapes):
        count = tf.shape(inputs[0])[0]
        arrays = tuple(tf.TensorArray("float32", count, element_shape=shape) for shape in shapes)

        def step(index, carry, arrays):
            carry, results = body(carry, tuple(each[index] for each in inputs))
            return index + 1, carry, tuple(a.write(index, r) for a, r in zip(arrays, results, strict=True))

        # One after the other: chunks that wait for each other's sums would all hold their logits meanwhile.
        loop = tf.while_loop(lambda index, *_: index < count, step, (0, carry, arrays), parallel_iterations=1)
        return loop[1], [array.stack() for array in loop[2]]

    def _with_gradients(settings, *arguments):
        @tf.custom_gradient
        def function(hidden, labels, weights, matrix, bias):
            outputs, gradients = _run(settings, hidden, labels, weights, matrix, bias, gradients=True)

            def backward(upstream, *rest):
                to_hidden, to_matrix, to_bias = _scaled(gradients, upstream, (hidden, matrix, bias))
                return to_hidden, None, None, to_matrix, to_bias

            return outputs, backward

        # A variable would be asked for its gradient by another way when no graph is made.
        return function(*map(tf.convert_to_tensor, arguments))
