"""Text to text: an encoder reads the source, a decoder writes the target.

Legend: `B` batch, `R` rows (`B` times beams), `S` source length, `T` target length, `V` target vocabulary.
"""

import warnings

import keras
import numpy as np
from keras import ops

from keras_transformers.checkpoints import ctranslate2
from keras_transformers.generation import executors
from keras_transformers.generation.decoding import (
    SMALLEST_ROOM,
    bucket,
    generate,
    power_of_two,
    stream,
)
from keras_transformers.generation.stop_strings import Continuation
from keras_transformers.tasks.generative_task import GenerativeTask
from keras_transformers.tokenizers.packing import pack
from keras_transformers.training.pairs import encode_pairs
from keras_transformers.training.schedules import InverseSquareRoot


@keras.saving.register_keras_serializable("keras_transformers")
class Seq2SeqLM(GenerativeTask):
    """An encoder-decoder with a head over the target's vocabulary: for translation and other text to text.

    Args:
        config: a `ModelConfig` with an encoder and a decoder, such as `kt.models.transformer(...)`.
        tokenizer: a `Tokenizer` with padding, start and end tokens; None when the model only ever sees token ids.
        generation: a `GenerationConfig`, what `translate` does unless told otherwise; by default greedy, with the
            tokenizer's start and end.

    Call arguments: a dictionary of int32 `token_ids [B, S]`, source ids and end, padded, and `decoder_token_ids [B,
    T]`, start and target ids, padded.

    Returns: logits `[B, T, V]`: those at `t` score the target's token `t`.

    Raises:
        ValueError: when the configuration lacks a stack, or the tokenizer is of another vocabulary.

    Example:
        >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        >>> translator.translate(["The house is small."])
        ['La maison est petite.']

    Source: Vaswani et al. 2017.
    """

    @classmethod
    def _check_stacks(cls, config):
        if config.encoder is None or config.decoder is None:
            raise ValueError(
                "Expected a ModelConfig with an encoder and a decoder, such as kt.models.transformer makes."
            )

    def _check_tokenizer(self, tokenizer):
        super()._check_tokenizer(tokenizer)
        if tokenizer.end_id is None:
            raise ValueError("Expected a tokenizer with an end token, which ends each source and target, got none.")

    # Training

    def compile(self, optimizer=None, *, label_smoothing=0.1, **kwargs):
        """Prepare for training. All of `keras.Model.compile`'s arguments are open but `loss`: it is token
        cross-entropy, padding left out.

        Args:
            optimizer: by default Adam (β₂ 0.98, ε 1e-9) with 4,000 steps of warm-up to `hidden_dim**-0.5 * 4000**-0.5`,
                then falling by the inverse square root of the step (Vaswani et al. 2017, section 5.3).
            label_smoothing: how much of the target's probability is spread over the whole vocabulary (section 5.4).
        """
        super().compile(optimizer, label_smoothing=label_smoothing, **kwargs)

    def default_optimizer(self):
        """Adam as in Vaswani et al. 2017, section 5.3."""
        schedule = InverseSquareRoot(peak=(self.config.hidden_dim * 4000) ** -0.5, warmup_steps=4000)
        return keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)

    def _examples(self, source, target, sample_weight, max_length):
        """Sentence pairs: all that `training.encode_pairs` takes."""
        positions = (self._longest("embeddings"), self._longest("target_embeddings"))
        limits = [limit for limit in (max_length, *positions) if limit]
        pairs = encode_pairs(
            source,
            target,
            tokenizer=self.tokenizer,
            max_length=min(limits, default=None),
            start_id=self.generation.start_id,
            padding_id=self.config.padding_id,
            sample_weight=sample_weight,
        )
        self._check_examples(pairs)
        return pairs

    def _check_examples(self, pairs):
        sides = {"embeddings": ("token_ids",), "target_embeddings": ("decoder_token_ids", "labels")}
        for column, (side, names) in enumerate(sides.items()):
            for name in set(names) & set(pairs.token_ids):
                self._check_ids(name, pairs.token_ids[name], side)
            self._check_lengths(pairs.lengths[:, column], side, names[0])

    # Generation

    def translate(self, texts, *, batch_size=32, return_scores=False, progress=None, **generation):
        """Translate texts, by default as the preset's own generation settings say; the same text always becomes the
        same translation.

        Args:
            texts: a string, or a list of strings. An empty text, or one of spaces, is answered by an empty one.
            batch_size: sentences translated together; sentences of similar length are.
            return_scores: also return each translation's score: sum of log-probabilities / length ** length_penalty.
            progress: a function called with the number of texts done, each time some are.
            **generation: fields of `GenerationConfig`: `num_beams=4`, `max_new_tokens=64`, `length_penalty=1.0`,
                `do_sample=True`, …

        Returns: a string for a string, a list for a list; with `num_return_sequences` > 1 a list of translations for
            each text, best first; with `return_scores` a pair of that and the scores in the same shape.

        Raises:
            TypeError, ValueError: for what is no text, and settings that contradict each other.
        """
        config = self.generation_config(**generation)
        options = {"batch_size": batch_size, "return_scores": return_scores, "progress": progress}
        return self._texts(self.encode_sources, self.generate, texts, config, **options)

    def stream(self, text, **generation):
        """Translate one text, piece by piece: an iterator of strings that join to what `translate` returns, as they are
        made.

        `generation` is as for `translate`, but for beams (a beam search knows its first word last) and for more than
        one translation.
        """
        config = self.generation_config(**{"num_beams": 1, "num_return_sequences": 1, **generation})
        (source,) = self.encode_sources([text])
        if not source:
            return
        cache, prompts, read = self._start([source], config, 1)
        options = {"longest": self._longest("target_embeddings"), "sources": read}
        token_ids = stream(self, self._step, cache, prompts, config, **options)
        yield from self._pieces(source, token_ids, config)

    def generate(self, sources, config=None, batch_size=None, numbers=None):
        """Generate from sources as token ids, each with its end token: the `Generated` of `generation.generate`.

        Args:
            sources: a list of lists of ids.
            config: a `GenerationConfig`; the model's own by default.
            batch_size: where shapes are compiled, fill up to so many rows, at most; more sources than that still go as
                one batch.
            numbers: int `[B]`, which draws each source gets when sampling; by default its place.
        """
        config = self.generation_config() if config is None else self._checked(config)
        cache, prompts, read = self._start(sources, config, batch_size or len(sources))
        numbers = np.arange(len(sources)) if numbers is None else np.asarray(numbers)
        numbers = np.pad(numbers, (0, len(prompts) - len(sources)))
        options = {"numbers": numbers, "longest": self._longest("target_embeddings"), "sources": read}
        options["over"] = self._over(config, sources)
        generated = generate(self, self._step, cache, prompts, config, **options)
        return generated.select(slice(len(sources) * config.num_return_sequences))

    def _continuation(self, config, prompt):
        return Continuation(self._tokenizer().decode, config.stop)

    def _checked(self, config):
        if config.start_id is None:
            raise ValueError("The decoder has nothing to start with: give start_id, or a tokenizer with a start token.")
        return super()._checked(config)

    def encode_sources(self, texts):
        """Texts as the encoder reads them: lists of ids, as `Tokenizer.encode_sources` has it; an empty one where there
        is no text.

        What is longer than the model reads is cut, with a warning that says how many were.
        """
        tokenizer = self._tokenizer()
        longest = self._longest("embeddings")
        encoded = tokenizer.encode_sources(texts)
        sources = [ids if text.strip() else [] for text, ids in zip(texts, encoded, strict=True)]
        long = [row for row, ids in enumerate(sources) if longest is not None and len(ids) > longest]
        if long:
            warnings.warn(
                f"{len(long)} of {len(sources)} texts are longer than the {longest} tokens that this model reads; the "
                "rest of each is left out.",
                stacklevel=3,
            )
            for row, ids in zip(
                long, tokenizer.encode_sources([texts[row] for row in long], max_length=longest), strict=True
            ):
                sources[row] = ids
        return sources

    def _start(self, sources, config, batch_size):
        """The cache, the prompts, and what was read, -1 for padding, for sources: padded to a few shapes where each
        shape is compiled."""
        if not all(map(len, sources)):
            raise ValueError("Expected at least one token in each source, its end token, got an empty source.")
        token_ids = pack(sources, padding_id=self.config.padding_id).token_ids
        self._check_ids("sources", token_ids, "embeddings")
        rows, length = token_ids.shape
        if keras.backend.backend() != "torch":
            rows = min(power_of_two(rows), max(batch_size, rows))
            length = bucket(length)
            longest = self._longest("embeddings")
            # What is too long stays so: the embeddings say it.
            length = length if longest is None else max(min(length, longest), token_ids.shape[1])
            token_ids = np.pad(
                token_ids, ((0, 0), (0, length - token_ids.shape[1])), constant_values=self.config.padding_id
            )
            token_ids = np.concatenate([token_ids, np.repeat(token_ids[:1], rows - len(token_ids), axis=0)])
        cache = executors.prefill(self, self._read, ops.convert_to_tensor(token_ids, "int32"), None)
        read = np.where(token_ids == self.config.padding_id, -1, token_ids)
        return cache, np.full((rows, 1), config.start_id, "int32"), read

    def _read(self, token_ids, cache):
        """The cache for sources `[B, S]`, nothing written yet."""
        mask = self.backbone.padding_mask(token_ids)
        encoded = self.backbone.encode(token_ids, mask)
        return None, self.backbone.start_cache(token_ids.shape[0], SMALLEST_ROOM, encoded, mask)

    # Leaving

    def export_ctranslate2(self, folder, quantization=None):
        """Write the model as a folder of CTranslate2's, with `tokenizer.json` beside it.

        It takes the extra `ctranslate2`, and gives the same translations: its `translate_batch` takes what
        `tokenizer.to_pieces(ids)` makes of each of `tokenizer.encode_sources(texts)`, and
        `tokenizer.from_pieces(pieces, target=True)` makes ids of what it gives. Generation settings are arguments of
        `translate_batch`; tokens that this model's settings forbid stay forbidden.

        Args:
            folder: made if it is not there; an earlier export is replaced in one step.
            quantization: "int8", "float16" and others of CTranslate2's; by default float32.

        Raises:
            FileExistsError: when `folder` holds something else.
            ValueError: listing all of the model that CTranslate2 has no place for.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export_ctranslate2("english-french-ct2", quantization="int8")
        """
        ctranslate2.export(self, folder, quantization)
