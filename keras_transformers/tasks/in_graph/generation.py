"""The loop of a decoder in a graph: prompts and a cache to generated ids, for any number of rows.

    state ─► step: logits ─► strategy: next tokens ─► state …        one `tf.while_loop`, without XLA
    cache ─►        └─ keys and values are appended: the cache always has as many positions as are written

Step and strategies are those of `generation/`. There, XLA compiles the loop for a few fixed shapes, and a cache has
room ahead. A SavedModel meets any shape, so that its cache grows.

Legend: `B` texts, `R` rows (`B` times beams), `K` results of a text, `T` prompt length, `L` most new tokens.
"""

import dataclasses
import typing

import tensorflow as tf

from keras_transformers.generation.beam_search import IMPOSSIBLE, BeamState
from keras_transformers.generation.decoding import strategy_of
from keras_transformers.generation.executors import Loop
from keras_transformers.generation.samplers import Sampling, SamplingState
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.layers.cache import Cache
from keras_transformers.layers.state import KeysAndValues

_POSITIONS = 2  # the axis of keys and values that grows


class Written(typing.NamedTuple):
    """Generated tokens.

    token_ids: int32 `[R, L]`, R = B * K.
    lengths: int32 `[R]`, with the end token.
    scores: float32 `[R]`.
    """

    token_ids: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor


class Prompts(typing.NamedTuple):
    """The start of a decoder.

    token_ids: int32 `[B, T]`, padded on the left.
    cache: an empty `Cache` of B rows.
    limits: int32 `[B]`, the most new tokens of each.
    sources: int32 `[B, S]`, the ids that the encoder has read, -1 for padding; `[B, 0]` for none.
    """

    token_ids: tf.Tensor
    cache: Cache
    limits: tf.Tensor
    sources: tf.Tensor


def check_settings(config: GenerationConfig) -> None:
    """Refuse settings that a graph does not follow."""
    if config.do_sample:
        raise ValueError(
            "Expected greedy search or beams in a graph, got do_sample=True: its random numbers would be others than "
            "those of the task. Give do_sample=False."
        )


def generated(
    task: typing.Any, prompts: Prompts, config: GenerationConfig, penalties: tuple[typing.Any, ...] | None = None
) -> Written:
    """Continue prompts until an end token or the limit.

    Args:
        task: a task with `_step`.
        prompts: a `Prompts`.
        config: a `GenerationConfig`.
        penalties: in place of those of the config.
    """
    strategy = strategy_of(config.scored())
    if penalties is not None:
        strategy = dataclasses.replace(strategy, penalties=penalties)
    beams = config.num_beams if config.num_beams > 1 else 1
    # A beam search knows one limit. Other rows that are to stop sooner go on with the rest, and are cut.
    limit = tf.reduce_max(tf.concat([prompts.limits, [1]], axis=0))
    cache = _repeated(_read(task, prompts), beams)
    state = _start(strategy, prompts, limit)
    loop = Loop(task._step, strategy)
    written, read = loop.split(cache)

    def condition(state: typing.Any, written: typing.Any) -> tf.Tensor:
        return (state.position < limit) & tf.reduce_any(~strategy.done(state))

    def body(state: typing.Any, written: typing.Any) -> tuple[typing.Any, typing.Any]:
        after, cache = loop.advance(state, loop.joined(written, read), limit, None)
        return tf.nest.map_structure(_shaped, (after, loop.split(cache)[0]), shapes)

    carried = (state, written)
    shapes = (
        tf.nest.map_structure(_open_shape, state),
        (_open_shape(written[0]), tuple(map(_open_state, written[1]))),
    )
    state, _ = tf.while_loop(condition, body, carried, shape_invariants=shapes)
    return _results(strategy, state, config, prompts.limits)


def _open_shape(tensor: tf.Tensor, grows: int | None = None) -> tf.TensorShape:
    """The shape of a tensor with any number of rows, and of any size in the axis that `grows`."""
    shape = tensor.shape.as_list()
    for axis in range(len(shape)):
        if axis in (0, grows):
            shape[axis] = None
    return tf.TensorShape(shape)


def _open_state(state: typing.Any) -> typing.Any:
    """The shapes of the state of one layer."""
    grows = _POSITIONS if isinstance(state, KeysAndValues) else None
    return tf.nest.map_structure(lambda x: _open_shape(x, grows), state)


def _shaped(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    tensor.set_shape(shape)
    return tensor


def _read(task: typing.Any, prompts: Prompts) -> Cache:
    """The cache with all tokens of the prompts but the last."""
    if prompts.token_ids.shape[1] == 1:
        return prompts.cache
    return task.backbone.decode(prompts.token_ids[:, :-1], prompts.cache)[1]


def _repeated(cache: Cache, beams: int) -> Cache:
    """The cache with a row for each hypothesis, its source too."""
    if beams == 1:
        return cache

    def repeat(x: typing.Any) -> typing.Any:
        return None if x is None else tf.repeat(x, beams, axis=0)

    states, source, mask, starts = tf.nest.map_structure(repeat, cache[1:5])
    return cache._replace(states=states, cross_attention=source, source_padding_mask=mask, starts=starts)


def _start(strategy: typing.Any, prompts: Prompts, limit: tf.Tensor) -> typing.Any:
    """The state before the first token, as `start` of the strategies makes it from NumPy arrays."""
    rows = tf.shape(prompts.token_ids)[0]
    texts = prompts.token_ids if prompts.cache.starts is None else _without_padding(prompts)
    texts = texts if strategy.penalties else texts[:, :0]
    begin = tf.shape(texts)[1]
    buffer = tf.concat([texts, tf.fill([rows, limit], strategy.padding_id)], axis=1)
    common = {
        "position": tf.constant(0),
        "begin": begin,
        "sources": prompts.sources,
    }
    last = prompts.token_ids[:, -1:]
    if isinstance(strategy, Sampling):
        return SamplingState(
            token_ids=last,
            written=buffer,
            finished=tf.zeros([rows], tf.bool),
            log_probabilities=tf.zeros([rows, tf.shape(buffer)[1]]),
            **common,
        )
    beams = strategy.num_beams
    hypotheses = tf.repeat(buffer[:, None], beams, axis=1)
    return BeamState(
        token_ids=tf.repeat(last, beams, axis=0),
        running=hypotheses,
        running_scores=tf.repeat(tf.constant([[0.0] + [IMPOSSIBLE] * (beams - 1)]), rows, axis=0),
        finished=hypotheses,
        finished_scores=tf.fill([rows, beams], IMPOSSIBLE),
        is_finished=tf.zeros([rows, beams], tf.bool),
        improvable=tf.ones([rows], tf.bool),
        words=tf.zeros([rows, 0, 1], tf.int32),
        **common,
    )


def _without_padding(prompts: Prompts) -> tf.Tensor:
    places = tf.range(tf.shape(prompts.token_ids)[1])
    return tf.where(places < prompts.cache.starts, -1, prompts.token_ids)


def _results(strategy: typing.Any, state: typing.Any, config: GenerationConfig, limits: tf.Tensor) -> Written:
    """The tokens up to the end of each row."""
    token_ids, scores, details = strategy.results(state)
    count = config.num_return_sequences
    size = tf.shape(token_ids)[2]
    token_ids = tf.reshape(token_ids, [-1, size])[:, state.begin :]
    most = tf.minimum(tf.repeat(limits, count), state.position)
    places = tf.range(size - state.begin)
    ends = tf.zeros_like(token_ids, tf.bool)
    for end in config.end_ids:
        ends |= token_ids == end
    first = tf.reduce_min(tf.where(ends, places[None, :], size), axis=1)
    lengths = tf.minimum(first + 1, most)
    if scores is not None:
        return Written(token_ids, lengths, tf.reshape(scores, [-1]))
    there = tf.sequence_mask(lengths, tf.shape(token_ids)[1])
    sums = tf.reduce_sum(tf.where(there, tf.reshape(details, [-1, size])[:, : tf.shape(token_ids)[1]], 0.0), axis=1)
    divided = tf.cast(tf.maximum(lengths, 1), tf.float64) ** config.length_penalty
    return Written(token_ids, lengths, sums / tf.cast(divided, tf.float32))


def words_of(written: Written, config: GenerationConfig, vocabulary_size: int) -> tf.RaggedTensor:
    """The ids that stand for text: without end tokens, and without ids beyond the vocabulary. int32 ragged `[R, L]`."""
    ids = written.token_ids
    there = tf.sequence_mask(written.lengths, tf.shape(ids)[1]) & (ids < vocabulary_size)
    for end in config.end_ids:
        there &= ids != end
    return tf.ragged.boolean_mask(ids, there)


def python_strings(found: typing.Any) -> typing.Any:
    """Bytes of TensorFlow as a string, or an array of them as a list."""
    return found.decode() if isinstance(found, bytes) else [each.decode() for each in found]
