"""Text that goes on: a decoder reads what is there, and writes what comes next.

Legend: `B` batch, `T` length, `V` vocabulary.
"""

import warnings

import keras
import numpy as np

from keras_transformers.generation.decoding import SMALLEST_ROOM, bucket, generate
from keras_transformers.tasks.encoder_task import outside
from keras_transformers.tasks.generative_task import GenerativeTask
from keras_transformers.tasks.task import without_decay
from keras_transformers.training.documents import cut, read_documents
from keras_transformers.training.examples import Examples
from keras_transformers.training.rows import document_rows
from keras_transformers.training.schedules import LinearDecay

LONGEST_ROW = 1024  # tokens of a row of `fit`, where the model would read more and nothing was asked


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

    reading = ("packing",)

    @classmethod
    def _check_stacks(cls, config):
        if config.encoder is not None or config.decoder is None:
            raise ValueError("Expected a ModelConfig with a decoder and no encoder, such as kt.models.gpt makes.")

    def _check_tokenizer(self, tokenizer):
        size = self.config.embeddings.vocabulary_size  # padding is told by `starts`: any id will do
        if tokenizer.vocabulary_size > size:
            raise ValueError(
                f"The tokenizer does not belong to this model: it has a vocabulary of {tokenizer.vocabulary_size} "
                f"tokens, where the model has {size}."
            )

    # Training

    def fit(self, x=None, y=None, *, packing=True, **kwargs):
        """Train on raw text.

        Args:
            x: texts, from any source: a list or array of strings, a `pathlib.Path` or a list of them (each file one
                text), a dictionary of columns, a Hugging Face dataset, `tf.data`, a `PyDataset`, `DataLoader` or
                generator. Each is learnt whole, up to its end token; one longer than `max_length` is cut into windows,
                and no token is lost. Or, with a chat template, chats: a list of lists of messages, or a dataset with a
                column `messages`; what the assistant says is learnt.
            y: answers, where `x` holds prompts; pairs in one source will do. The answer and its end are learnt.
            packing: whether several texts share a row. They do not see each other.
            max_length: by default what the model reads, but 1,024 at most. Longer prompts with answers, and chats, are
                cut, and it is said how many.
            **kwargs: of `Task.fit`: `epochs`, `batch_tokens`, `validation_split`, `callbacks`, …

        Returns: a `keras.callbacks.History`.

        Example:
            >>> model = kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, num_layers=4, hidden_dim=256), tokenizer)
            >>> model.fit(pathlib.Path("plays.txt"), epochs=10)
            >>> model.fit(["Question: 2 + 2?\nAnswer:"], [" 4"])
        """
        return super().fit(x, y, packing=packing, **kwargs)

    def default_optimizer(self):
        """For a model that was loaded, `Task`'s, for fine-tuning. For a new one AdamW (β₂ 0.99, weight decay 0.1, none
        on norms and biases; gradients clipped to norm 1) and a learning rate that rises over the first tenth of `fit`
        to 0.5 / hidden_dim, 0.002 at most, and falls to 0 over the rest."""
        if self.pretrained:
            return super().default_optimizer()
        optimizer = keras.optimizers.AdamW(
            LinearDecay(min(0.5 / self.config.hidden_dim, 2e-3)), beta_2=0.99, weight_decay=0.1, global_clipnorm=1.0
        )
        return without_decay(optimizer, self.trainable_variables)

    def _examples(self, x, y, sample_weight, max_length, packing=True):
        """Texts, prompts with answers, or chats, as rows of ids."""
        if isinstance(x, Examples):
            return x
        kind, documents = read_documents(x, y, sample_weight, tokenizer=self._tokenizer())
        limit = min(each for each in (max_length or LONGEST_ROW, self._longest("embeddings")) if each)
        truncated = 0
        if kind != "texts":
            truncated = sum(len(document.token_ids) > limit + 1 for document in documents)
            documents = [cut(document, limit + 1) for document in documents]
        if truncated:
            what = {"answers": "prompts with their answers", "chats": "chats"}[kind]
            warnings.warn(
                f"{truncated} of {len(documents)} {what} are longer than {limit} tokens and were cut.",
                stacklevel=outside(),
            )
        examples = document_rows(
            documents, max_length=limit, padding_id=self.config.padding_id, packing=packing, truncated=truncated
        )
        self._check_examples(examples)
        return examples

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
