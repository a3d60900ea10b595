"""Text that goes on: a decoder reads what is there, and writes what comes next.

Legend: `B` batch, `T` length, `V` vocabulary.
"""

import keras
import numpy as np

from keras_transformers.generation.decoding import SMALLEST_ROOM, bucket, generate
from keras_transformers.tasks.generative_task import GenerativeTask


@keras.saving.register_keras_serializable("keras_transformers")
class CausalLM(GenerativeTask):
    """A decoder with a head over its vocabulary: a language model, GPT's kind.

    Args:
        config: a `ModelConfig` with a decoder and no encoder.
        tokenizer: a `Tokenizer`; None when the model only ever sees token ids.
        generation: a `GenerationConfig`, what `generate` does unless told otherwise; by default greedy, up to the
            tokenizer's end.

    Call arguments: token ids, int32 `[B, T]`, or a dictionary of `token_ids` and perhaps `starts` or `padding_mask`, as
    for `Backbone`.

    Returns: logits `[B, T, V]`: those at `t` score the token `t + 1`.

    Raises:
        ValueError: when the configuration has an encoder or no decoder, or the tokenizer is of another vocabulary.

    Source: Radford et al. 2018.
    """

    @classmethod
    def _check_stacks(cls, config):
        if config.encoder is not None or config.decoder is None:
            raise ValueError("Expected a ModelConfig with a decoder and no encoder, such as kt.models.gpt makes.")

    # Generation

    def generate_ids(self, prompts, config=None):
        """Continue prompts given as token ids: the `Generated` of `generation.generate`.

        Args:
            prompts: a list of lists of ids, each with one at least.
            config: a `GenerationConfig`; the model's own by default.
        """
        config = self.generation_config() if config is None else self._checked(config)
        length = max(map(len, prompts))
        if keras.backend.backend() != "torch":
            length = bucket(length - 1) + 1  # all but the last token are read at once, in one of a few shapes
        token_ids = np.full((len(prompts), length), config.padding_id, "int32")
        for row, prompt in enumerate(prompts):
            token_ids[row, length - len(prompt) :] = prompt
        self._check_ids("prompts", token_ids, "embeddings")
        starts = np.array([[length - len(prompt)] for prompt in prompts], "int32")
        starts = keras.ops.convert_to_tensor(starts) if starts.any() else None
        cache = self.backbone.start_cache(len(prompts), SMALLEST_ROOM, starts=starts)
        return generate(self, self._step, cache, token_ids, config)
