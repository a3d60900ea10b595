"""What the tasks that write text share: a head over the vocabulary, its loss, and settings of generation.

Legend: `B` batch, `R` rows (`B` times beams), `T` target length, `V` target vocabulary.
"""

import contextlib
import dataclasses
import json
import pathlib

import numpy as np
from keras import ops

from keras_transformers.files.gguf import GGUF
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import gguf_config, own, preset
from keras_transformers.generation.decoding import limits
from keras_transformers.generation.settings import (
    GENERATION_KEYS,
    NEW_TOKENS,
    GenerationConfig,
    from_hugging_face,
    named_ids,
    to_hugging_face,
)
from keras_transformers.layers.heads import VocabularyHead
from keras_transformers.records import arguments_of, from_json
from keras_transformers.spelling import check_arguments
from keras_transformers.tasks.task import Task
from keras_transformers.training.chunked import HeadMatrix, chunked_cross_entropy
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import Perplexity, TokenAccuracy
from keras_transformers.training.user_metrics import of_tokens


class GenerativeTask(Task):
    """A task whose decoder writes tokens. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig` with a decoder.
        tokenizer: a `Tokenizer`; None when the model only ever sees token ids.
        generation: a `GenerationConfig`, what the model does unless told otherwise; by default greedy, with the
            tokenizer's start and end.
    """

    passes_on = {"generation": ("generation settings", [field.name for field in dataclasses.fields(GenerationConfig)])}

    def __init__(self, config, tokenizer=None, generation=None, **kwargs):
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)
        if generation is None:
            generation = GenerationConfig(max_new_tokens=NEW_TOKENS, padding_id=config.filler)
            if tokenizer is not None:
                ends = () if tokenizer.end_id is None else (tokenizer.end_id,)
                generation = dataclasses.replace(generation, start_id=tokenizer.start_id, end_ids=ends)
        self.generation = generation
        self.head = VocabularyHead(
            config.target_embeddings.vocabulary_size,
            **arguments_of(config.head),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, None, config.output_dim))
        self.label_smoothing = 0.0
        self.token_accuracy = TokenAccuracy()
        self.mean_perplexity = Perplexity()
        self.built = True

    @classmethod
    def _check_stacks(cls, config):
        """Refuse a configuration that lacks what the task needs. Abstract."""
        raise NotImplementedError

    def compute_output_spec(self, inputs, training=None):
        x = self.backbone.compute_output_spec(inputs)
        return x if self._in_chunks else self.head.compute_output_spec(x, embedding=self.backbone.decoder_embedding)

    def call(self, inputs, training=None):
        x = self.backbone(inputs, training=training)
        return x if self._in_chunks else self.head(x, embedding=self.backbone.decoder_embedding)

    # Training

    def compile(self, optimizer=None, *, label_smoothing=0.0, **kwargs):
        """Prepare for training. All of `keras.Model.compile`'s arguments are open but `loss`: it is token
        cross-entropy, padding left out.

        Args:
            optimizer: see `default_optimizer`.
            label_smoothing: how much of the target's probability is spread over the whole vocabulary.
        """
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"Expected label_smoothing in [0, 1), got {label_smoothing}.")
        self.label_smoothing = label_smoothing
        super().compile(optimizer, **kwargs)

    def get_compile_config(self):
        config = super().get_compile_config()
        return {**config, "label_smoothing": self.label_smoothing} if config else config

    # In a step of `fit` or `evaluate` the model gives hidden states, and the loss is made of them without logits.

    _in_chunks = False

    def train_step(self, *arguments):
        with self._logits_in_chunks():
            return super().train_step(*arguments)

    def test_step(self, *arguments):
        with self._logits_in_chunks():
            return super().test_step(*arguments)

    @contextlib.contextmanager
    def _logits_in_chunks(self):
        """The one place that decides whether logits are held whole: where the user's own metrics want them, and where
        the head is no plain matrix product."""
        plain = self.head.matrix(self.backbone.decoder_embedding) is not None
        self._in_chunks = plain and self._compile_metrics is None
        try:
            yield
        finally:
            self._in_chunks = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean cross-entropy over the tokens whose weight is not 0; the metrics are updated beside it."""
        weight = self._loss_weight(x, y, sample_weight)
        if self._in_chunks:
            options = {"label_smoothing": self.label_smoothing, "gradients": training}
            total, scores = chunked_cross_entropy(self.head.scaled(y_pred), y, weight, self._head_matrix(), **options)
            self.token_accuracy.update_hits(scores.correct, weight)
            self.mean_perplexity.update_likelihood(scores.negative_log_likelihood, weight)
            return self.mean_of_sum(total, scores.loss, weight)
        loss_BT, negative_log_likelihood_BT = token_cross_entropy(y_pred, y, self.label_smoothing)
        self.mean_perplexity.update_likelihood(negative_log_likelihood_BT, weight)
        self.token_accuracy.update_state(y, y_pred, weight)
        return self.weighted_mean(loss_BT, weight)

    def _loss_weight(self, x, y, sample_weight):
        return ops.cast(ops.not_equal(y, self.config.filler) if sample_weight is None else sample_weight, "float32")

    def _seen_by_metrics(self, x, y, y_pred, sample_weight):
        return of_tokens(y, y_pred, self._loss_weight(x, y, sample_weight))

    def _metric_classes(self):
        return self.config.target_embeddings.vocabulary_size

    def _head_matrix(self):
        matrix, bias, transposed = self.head.matrix(self.backbone.decoder_embedding)
        return HeadMatrix(matrix, bias, transposed, self.head.soft_cap)

    # Generation

    def generation_config(self, **changes):
        """The model's `GenerationConfig` with changes. Lists will do for tuples, and a string for one stop string.

        Raises:
            TypeError, ValueError: for unknown settings, and ones that contradict each other.
        """
        names = [field.name for field in dataclasses.fields(GenerationConfig)]
        check_arguments("generation settings", changes, names)
        changes = {name: from_json(value) for name, value in changes.items()}  # tuples of lists
        if isinstance(changes.get("stop"), str):
            changes["stop"] = (changes["stop"],)
        if "max_length" in changes:
            changes = {"max_new_tokens": None, **changes}  # of the two it would win
        return self._checked(dataclasses.replace(self.generation, **changes))

    def _checked(self, config):
        self._check_ids("the generation settings", np.array(named_ids(config)), "target_embeddings")
        return config

    def _texts(
        self, encode, generate, texts, config, *, batch_size, return_scores, progress, begun=None, kept=None, told=None
    ):
        """What `generate(prompts, config, batch_size, numbers)` makes of texts that `encode` makes prompts of: a string
        for a string, a list for a list, of lists where each text has several results; and with `return_scores` the
        scores beside it, in the same shape. An empty prompt is answered by an empty text, or by `kept` of the text.
        `begun` are the ids that each result begins with, which `generate` does not return. `told`, a function of the
        texts that were cut and the number of all, is called at the end: see `notices.tell_cut`.

        Prompts of similar length go together.
        """
        given = [texts] if isinstance(texts, str) else texts
        prompts = encode(given)
        if batch_size < 1:
            raise ValueError(f"Expected batch_size of at least 1, got {batch_size}.")
        if return_scores and config.num_beams == 1:
            config = dataclasses.replace(config, log_probabilities=True)
        count, cut = config.num_return_sequences, {}
        results = [[kept(text) if kept and not ids else ""] * count for text, ids in zip(given, prompts, strict=True)]
        scores = [[0.0] * count for _ in prompts]
        todo = [index for index in np.argsort([-len(ids) for ids in prompts], kind="stable") if prompts[index]]
        done = len(prompts) - len(todo)
        if progress is not None and done:
            progress(done)
        for begin in range(0, len(todo), batch_size):
            batch = todo[begin : begin + batch_size]
            generated = generate([prompts[index] for index in batch], config, min(batch_size, len(todo)), numbers=batch)
            for row, (ids, length) in enumerate(zip(generated.token_ids.tolist(), generated.lengths, strict=True)):
                index, place = batch[row // count], row % count
                before = begun[index] if begun else []
                continuation, words = (
                    self._continuation(config, prompts[index], before),
                    self._words(ids[:length], config),
                )
                text = continuation.text(words)
                results[index][place] = self._tokenizer().decode(before) + text if before else text
                if self._is_cut(ids[:length], config, prompts[index], before) and not continuation.stops(words):
                    cut[int(index)] = int(length)
                if return_scores:
                    scores[index][place] = float(generated.scores[row])
            if progress is not None:
                progress(len(batch))
        if told is not None:
            told(cut, len(prompts))
        if count == 1:
            results, scores = [each[0] for each in results], [each[0] for each in scores]
        if isinstance(texts, str):
            results, scores = results[0], scores[0]
        return (results, scores) if return_scores else results

    def _is_cut(self, token_ids, config, prompt, begun=()):
        """Whether generated ids, of a prompt and behind those that they begin with, end before their end."""
        if not config.end_ids or not token_ids:
            return False
        if token_ids[-1] not in config.end_ids:
            return True
        if config.forced_end_id is None:
            return False
        # Where the limit is reached, the end is forced.
        count = len(prompt) if self.config.encoder is None else 1 + len(begun)
        return len(token_ids) == limits(config, np.array([count]), self._longest("target_embeddings"))[0]

    def _pieces(self, prompt, token_ids, config, told=None):
        """The text of token ids as they come, piece by piece, behind a prompt of ids. `told` as for `_texts`."""
        text, ids = self._continuation(config, prompt), []
        for (token_id,) in token_ids:
            ids.append(int(token_id))
            if token_id in config.end_ids:
                break
            for word in self._words([int(token_id)], config):
                piece, stopped = text.add(word)
                if piece:
                    yield piece
                if stopped:
                    return
        rest = text.rest()  # half a character or a stop string, where the last token was said to be the last
        if rest:
            yield rest
        if told is not None and self._is_cut(ids, config, prompt):
            told({0: len(ids)}, 1)

    def _continuation(self, config, prompt, begun=()):
        """The text behind a prompt, and behind ids that it begins with. Abstract: a decoder's prompt belongs to its
        text, an encoder's does not."""
        raise NotImplementedError

    def _over(self, config, prompts):
        """What `generation.generate` asks for stop strings; None without any."""
        if not config.stop:
            return None
        texts = [self._continuation(config, prompt) for prompt in prompts]

        def over(sentence, token_ids):
            # rows that only fill up a batch are copies of the first
            text = texts[sentence if sentence < len(texts) else 0]
            return text.stops(self._words(token_ids.tolist(), config))

        return over

    def _words(self, token_ids, config):
        """The ids that stand for text: no end, nothing that a model with a rounded-up vocabulary has beyond."""
        size = self._tokenizer().target_vocabulary_size
        return [token_id for token_id in token_ids if token_id not in config.end_ids and token_id < size]

    def _step(self, token_ids, cache):
        """Logits `[R, V]` after the newest of `token_ids [R, T]`, and the cache with them written."""
        x, cache = self.backbone.decode(token_ids, cache)
        return self.head(x[:, -1:], embedding=self.backbone.decoder_embedding)[:, 0], cache

    # Presets

    @classmethod
    def _read_arguments(cls, folder):
        folder, name = pathlib.Path(folder), "generation_config.json"
        if not folder.is_dir() or not is_plain(folder / name):
            of_file = folder.suffix == GGUF
            values = gguf_config.config_values(folder) if of_file else preset.read_json(folder, "config.json")
            # of others' models; ours always have the file
            name = name if values.get("model_type") == own.MODEL_TYPE else "config.json"
        if name == "config.json":
            told = {each: values.get(each) for each in GENERATION_KEYS}
        else:
            told = preset.read_json(folder, name)
        try:
            generation = from_hugging_face(told)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / name}: {error}") from None
        return {**super()._read_arguments(folder), "generation": generation}

    def _files(self):
        written = getattr(self.origin, "generation", None)
        if written is None or from_hugging_face(json.loads(written)) != self.generation:
            written = preset.json_bytes(to_hugging_face(self.generation))
        return {**super()._files(), "generation_config.json": written}

    def get_config(self):
        return {**super().get_config(), "generation": to_hugging_face(self.generation)}

    @classmethod
    def from_config(cls, config):
        return super().from_config({**config, "generation": from_hugging_face(config["generation"])})
