"""A causal language model as a graph: prompts to continuations, with the loop and the cache inside.

    prompts ─► ids, padded on the left ─► cache ─► loop (generation.py) ─► texts, up to the first stop string

Legend: `N` texts, `T` prompt length, `K` results of a text.
"""

import re
import typing
from collections.abc import Callable

import tensorflow as tf

from keras_transformers.data.documents import around
from keras_transformers.generation.settings import NEW_TOKENS
from keras_transformers.tasks.in_graph.generation import Prompts, check_settings, generated, python_strings, words_of
from keras_transformers.tasks.in_graph.reading import TEXTS, Reading, clean, traced
from keras_transformers.tokenizers.in_graph.decoding import Detokenizer
from keras_transformers.tokenizers.in_graph.tokenizer import DIFFICULT

_CONTEXT = 16  # ids of the prompt that the text of the first token may depend on, as in `tasks/answers.py`
_COUNT = tf.TensorSpec([], tf.int32, name="max_new_tokens")


class Continuation:
    """Prompts to continuations, as `CausalLM.generate`.

    Args:
        **generation: as for `generate`.

    Raises:
        ValueError: for settings that a graph does not follow, and for a tokenizer that it does not decode exactly.
    """

    def __init__(self, task: typing.Any, reading: Reading, **generation: typing.Any) -> None:
        self.task, self.reading, self._given = task, reading, generation
        self.config = task.generation_config(**generation)
        check_settings(self.config)
        if self.config.num_beams > 1 and self.config.max_new_tokens is None and self.config.max_length is not None:
            raise ValueError("Expected max_new_tokens for beams in a graph, got max_length. Give max_new_tokens.")
        self._before = [*around(task._tokenizer())[0]]
        self._texts = Detokenizer(task._tokenizer(), DIFFICULT)
        self.parts: list[tf.Module] = [self._texts]
        self.serve = traced(self._serve, TEXTS)
        self.generate = traced(self._continued, TEXTS, _COUNT)

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        """The functions of strings, by the names of their signatures."""
        return {"serving_default": self.serve, "generate": self.generate}

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._continued(texts, None)

    def _continued(self, texts: tf.Tensor, max_new_tokens: tf.Tensor | None) -> dict[str, tf.Tensor]:
        task, config = self.task, self.config
        prompts = self._prompts(clean(texts))
        lengths = tf.cast(prompts.row_lengths(), tf.int32)
        written = generated(task, self._start(prompts, self._limits(lengths, max_new_tokens)), config)
        ids = words_of(written, config, task._tokenizer().target_vocabulary_size)
        # Decoding strips the space before the first word, so that some tokens stand before it.
        context = self._context(prompts, config.num_return_sequences)
        before = tf.strings.length(self._texts(context), "UTF8_CHAR")
        whole = self._texts(tf.concat([context, ids], axis=1))
        after = tf.maximum(tf.strings.length(whole, "UTF8_CHAR") - before, 0)
        found = tf.strings.substr(whole, before, after, "UTF8_CHAR")
        shape = [-1] if config.num_return_sequences == 1 else [-1, config.num_return_sequences]
        if config.stop:  # scores would count the tokens up to the stop string, which nobody counts here
            stops = "|".join(map(re.escape, config.stop))
            return {"continuations": tf.reshape(tf.strings.regex_replace(found, f"(?s)(?:{stops}).*", ""), shape)}
        return {"continuations": tf.reshape(found, shape), "scores": tf.reshape(written.scores, shape)}

    def _prompts(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of prompts, int32 ragged `[N, T]`. An empty one is the start token."""
        ids = self.reading.tokens(texts)
        rows = tf.shape(texts)[0]
        if self._before:
            ids = tf.concat([tf.RaggedTensor.from_tensor(tf.tile([self._before], [rows, 1])), ids], axis=1)
        elif self.config.start_id is not None:
            empty = tf.cast(ids.row_lengths() == 0, tf.int64)
            start = tf.fill([tf.reduce_sum(empty)], self.config.start_id)
            ids = tf.concat([tf.RaggedTensor.from_row_lengths(start, empty, validate=False), ids], axis=1)
        there = tf.debugging.Assert(
            tf.reduce_all(ids.row_lengths() > 0), ["Expected some text in each prompt, got an empty one:", texts]
        )
        with tf.control_dependencies([there]):
            return ids.with_flat_values(tf.identity(ids.flat_values))

    def _limits(self, lengths: tf.Tensor, max_new_tokens: tf.Tensor | None) -> tf.Tensor:
        """The most new tokens of prompts, int32 `[N]`, as `generation.decoding.limits`."""
        config, longest = self.config, self.task._longest("embeddings")
        most = [] if longest is None else [longest]
        if max_new_tokens is not None:
            allowed = tf.fill(tf.shape(lengths), max_new_tokens)
        elif config.max_new_tokens is None and config.max_length is not None:
            allowed = config.max_length - lengths
            most.append(config.max_length - 1)
        else:
            allowed = tf.fill(tf.shape(lengths), config.max_new_tokens or NEW_TOKENS)
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(lengths <= each), [f"Expected prompts of at most {each} tokens, got", lengths]
            )
            for each in most
        ]
        if longest is not None:
            allowed = tf.minimum(allowed, longest + 1 - lengths)
        if config.num_beams > 1 or config.forced_end_id is not None:
            same = tf.reduce_all(allowed == allowed[:1])
            advice = "Expected prompts that all have room for as many new tokens with beams, got room for"
            checks.append(tf.debugging.Assert(same, [advice, allowed]))
        with tf.control_dependencies(checks):
            return tf.identity(allowed)

    def _start(self, prompts: tf.RaggedTensor, limits: tf.Tensor) -> Prompts:
        rows = tf.shape(limits)[0]
        lengths = tf.cast(prompts.row_lengths(), tf.int32)
        longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        starts = (longest - lengths)[:, None]
        places = tf.range(longest)[None, :] - starts
        rectangle = prompts.to_tensor(self.config.padding_id, shape=None)
        rectangle = tf.pad(rectangle, [[0, 0], [0, longest - tf.shape(rectangle)[1]]])
        token_ids = tf.where(
            places >= 0,
            tf.gather(rectangle, tf.maximum(places, 0), batch_dims=1),
            self.config.padding_id,
        )
        cache = self.task.backbone.start_cache(rows, 0 * rows, starts=starts)
        return Prompts(token_ids, cache, limits, token_ids[:, :0])

    def _context(self, prompts: tf.RaggedTensor, count: int) -> tf.RaggedTensor:
        """The last ids of each prompt that stand for text, for each of its results."""
        lengths = prompts.row_lengths()
        places = tf.ragged.range(lengths)
        last = places.flat_values >= tf.repeat(lengths - _CONTEXT, lengths)
        ids = prompts.flat_values
        for end in self.config.end_ids:
            last &= ids != end
        last &= ids < self.task._tokenizer().target_vocabulary_size
        kept = tf.ragged.boolean_mask(prompts, prompts.with_flat_values(last))
        return kept if count == 1 else tf.gather(kept, tf.repeat(tf.range(kept.nrows()), count))

    def answers(self, text: str) -> bool:
        """Whether the task has an answer for a text, rather than an error."""
        task = self.task
        ids, longest = [*self._before, *task._tokenizer().encode([text])[0]], task._longest("embeddings")
        if not ids:
            return self.config.start_id is not None
        new = self.config.max_new_tokens or NEW_TOKENS
        most = [each for each in (longest and longest - new, self.config.max_length) if each]
        return not most or len(ids) < min(most)

    def expected(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the task."""
        texts, scores = self.task.generate(texts, return_scores=True, **self._given)
        return [[text] if self.config.stop else [text, each] for text, each in zip(texts, scores, strict=True)]

    def got(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the graph, in the form of `expected`."""
        found = self.serve(tf.constant(texts))
        columns = [map(python_strings, found["continuations"].numpy())]
        columns += [found["scores"].numpy().tolist()] if "scores" in found else []
        return [list(each) for each in zip(*columns, strict=True)]
