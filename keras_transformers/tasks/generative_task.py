"""What the tasks that write text share: a head over the vocabulary, its loss, and settings of generation.

Legend: `B` batch, `R` rows (`B` times beams), `T` target length, `V` target vocabulary.
"""

import dataclasses
import pathlib

import numpy as np
from keras import ops

from keras_transformers.checkpoints import preset
from keras_transformers.generation.decoding import GENERATION_KEYS, GenerationConfig, from_hugging_face, to_hugging_face
from keras_transformers.layers.blocks import fields
from keras_transformers.layers.heads import VocabularyHead
from keras_transformers.tasks.task import Task
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import Perplexity, TokenAccuracy


class GenerativeTask(Task):
    """A task whose decoder writes tokens. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig` with a decoder.
        tokenizer: a `Tokenizer`; None when the model only ever sees token ids.
        generation: a `GenerationConfig`, what the model does unless told otherwise; by default greedy, with the
            tokenizer's start and end.
    """

    def __init__(self, config, tokenizer=None, generation=None, **kwargs):
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)
        if generation is None:
            generation = GenerationConfig(padding_id=config.padding_id)
            if tokenizer is not None:
                ends = () if tokenizer.end_id is None else (tokenizer.end_id,)
                generation = dataclasses.replace(generation, start_id=tokenizer.start_id, end_ids=ends)
        self.generation = generation
        self.head = VocabularyHead(
            config.target_embeddings.vocabulary_size,
            **fields(config.head),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, None, config.hidden_dim))
        self.label_smoothing = 0.0
        self.token_accuracy = TokenAccuracy()
        self.perplexity = Perplexity()
        self.built = True

    @classmethod
    def _check_stacks(cls, config):
        """Refuse a configuration that lacks what the task needs. Abstract."""
        raise NotImplementedError

    def call(self, inputs, training=None):
        return self.head(self.backbone(inputs, training=training), embedding=self.backbone.decoder_embedding)

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
        return {**super().get_compile_config(), "label_smoothing": self.label_smoothing}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean cross-entropy over the tokens whose weight is not 0; the metrics are updated beside it."""
        loss_BT, negative_log_likelihood_BT = token_cross_entropy(y_pred, y, self.label_smoothing)
        if sample_weight is None:
            sample_weight = ops.not_equal(y, self.config.padding_id)
        sample_weight = ops.cast(sample_weight, "float32")
        self.perplexity.update_likelihood(negative_log_likelihood_BT, sample_weight)
        self.token_accuracy.update_state(y, y_pred, sample_weight)
        return self.weighted_mean(loss_BT, sample_weight)

    # Generation

    def generation_config(self, **changes):
        """The model's `GenerationConfig` with changes, and within what the model has positions for.

        Raises:
            TypeError, ValueError: for unknown settings, and ones that contradict each other.
        """
        names = [field.name for field in dataclasses.fields(GenerationConfig)]
        unknown = sorted(set(changes) - set(names))
        if unknown:
            raise TypeError(f"Expected generation settings among {', '.join(names)}, got {', '.join(unknown)}.")
        return self._checked(dataclasses.replace(self.generation, **changes))

    def _checked(self, config):
        starts = () if config.start_id is None else (config.start_id,)
        token_ids = np.array([*starts, config.padding_id, *config.end_ids])
        self._check_ids("the generation settings", token_ids, "target_embeddings")
        longest = self._longest("target_embeddings")
        limit = config.max_length - 1 if config.max_new_tokens is None else config.max_new_tokens
        return dataclasses.replace(config, max_new_tokens=limit if longest is None else min(limit, longest))

    def _step(self, token_ids, cache):
        """Logits `[R, V]` after the newest of `token_ids [R, T]`, and the cache with them written."""
        x, cache = self.backbone.decode(token_ids, cache)
        return self.head(x[:, -1:], embedding=self.backbone.decoder_embedding)[:, 0], cache

    # Presets

    @classmethod
    def _read_arguments(cls, folder):
        # without a file of their own, settings stand in the model's configuration
        own = (pathlib.Path(folder) / "generation_config.json").is_file()
        name = "generation_config.json" if own else "config.json"
        values = preset.read_json(folder, name)
        try:
            generation = from_hugging_face(values if own else {each: values.get(each) for each in GENERATION_KEYS})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{pathlib.Path(folder) / name}: {error}") from None
        return {**super()._read_arguments(folder), "generation": generation}

    def _files(self):
        return {**super()._files(), "generation_config.json": preset.json_bytes(to_hugging_face(self.generation))}

    def get_config(self):
        return {**super().get_config(), "generation": to_hugging_face(self.generation)}

    @classmethod
    def from_config(cls, config):
        return super().from_config({**config, "generation": from_hugging_face(config["generation"])})
