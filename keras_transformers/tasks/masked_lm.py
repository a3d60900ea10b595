"""Masked language modelling: the pre-training task of encoders.

Legend: `B` batch, `T` length, `P` masked positions, `D` model width, `V` vocabulary.
"""

import dataclasses
import typing
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.examples import Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source, Texts, texts_of
from keras_transformers.data.token_ids import Ids
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.vocabulary_head import make_head
from keras_transformers.tokenizers.packing import PackedTexts
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import Perplexity, TokenAccuracy
from keras_transformers.training.user_metrics import of_tokens


@keras.saving.register_keras_serializable("keras_transformers")
class MaskedLM(EncoderTask):
    """A masked language model: predicts the tokens behind masks.

    Args:
        config: a `ModelConfig` with an encoder only.
        tokenizer: a `Tokenizer` with a mask token.
        mask_rate: the share of the tokens that `fit` hides: 80 % of them are masked, 10 % replaced at random and 10 %
            left unchanged. Each epoch draws anew.

    Call arguments: a dictionary of int32 `token_ids [B, T]`, padded, and optionally int32 `segment_ids [B, T]`, bool
        `padding_mask [B, T]`, and int32 `masked_positions [B, P]`, the positions to score.

    Returns: logits `[B, P, V]`; without positions `[B, T, V]`.

    Example:
        >>> model = kt.MaskedLM.from_preset("hf://google-bert/bert-base-uncased")
        >>> model.fill_mask("Paris is the [MASK] of France.", top=1)  # doctest: +SKIP
        [{'token': 'capital', 'score': 0.998, 'text': 'paris is the capital of france.'}]

    Source: Devlin et al. 2019, section 3.1; dynamic masking: Liu et al. 2019, section 4.1.
    """

    batch_size = None  # texts usually have one length, and pre-training needs large batches

    def __init__(
        self, config: ModelConfig, tokenizer: Tokenizer | None = None, mask_rate: float = 0.15, **kwargs: typing.Any
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        if not 0.0 < mask_rate < 1.0:
            raise ValueError(f"Expected mask_rate between 0 and 1, got {mask_rate}.")
        self.mask_rate = mask_rate
        self.head = make_head(config, self.dtype_policy)
        self.token_accuracy = TokenAccuracy()
        self.perplexity = Perplexity()
        self.built = True

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is None or config.decoder is not None:
            raise wrong_stacks("a ModelConfig with an encoder and no decoder, such as kt.models.encoder makes", config)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "mask_rate": self.mask_rate}

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        inputs, positions = _without_positions(inputs)
        x = self.backbone.compute_output_spec(inputs)
        if positions is not None:
            x = keras.KerasTensor((*positions.shape, x.shape[-1]), dtype=x.dtype)
        return self.head.compute_output_spec(x, embedding=self.backbone.embedding)

    def compute_mask(self, inputs: dict[str, Tensor] | Tensor, previous_mask: Tensor = None) -> Tensor:
        inputs, positions = _without_positions(inputs)
        return self.padding_mask(inputs) if positions is None else None

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        inputs, positions = _without_positions(inputs)
        x, _ = self.hidden_states(inputs, training)
        if positions is not None:
            x = ops.take_along_axis(x, ops.cast(positions, "int32")[:, :, None], axis=1)
        return self.head(x, embedding=self.backbone.embedding)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The mean cross-entropy over the masked tokens."""
        losses, negative_log_likelihood = token_cross_entropy(y_pred, y)
        self.perplexity.update_likelihood(negative_log_likelihood, sample_weight)
        self.token_accuracy.update_state(y, y_pred, sample_weight)
        return self.weighted_mean(losses, sample_weight)

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return of_tokens(y, y_pred, self._loss_weight(x, y, sample_weight))

    def _metric_classes(self) -> int:
        return self.config.embeddings.vocabulary_size

    form = Form(labelled=False)
    label_columns = ("labels", "label")

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Examples:
        """Examples of texts without labels: the labels are their own tokens."""
        if source.has_labels:
            raise ValueError("Expected texts alone, as their own tokens are the labels, got y too. Leave it out.")
        read = read_columns(source, labelled=False, columns=columns)
        inputs, packed = self.encode_texts(read.texts, read.seconds, max_length)
        real = Ragged.join(np.flatnonzero(text_ids >= 0).astype("int32") for text_ids in packed.text_ids)
        return self._masked(inputs, read.sample_weight, real, packed.truncated)

    def _of_ids(self, ids: Ids, max_length: int | None) -> Examples:
        """Examples of ids. Without labels, tokens are hidden as in texts. With labels, each hidden token has a label,
        and the others have `NO_LABEL` (-100)."""
        column = ids.columns["token_ids"]
        self._check_cut(column.lengths, max_length)
        if ids.labels is not None:
            examples = Examples(ids.columns, ids.labels_of(), ids.weights_of(), self.config.filler)
            self._check_label_ids(examples)
            return examples
        if self.tokenizer is None:
            raise ValueError(
                "Expected labels beside token_ids, -100 for tokens that are not hidden, got none: a model without a "
                "tokenizer knows no mask token. Hide tokens yourself, or give a tokenizer."
            )
        special: list[typing.Any] = [*self._tokenizer().control_ids, self.config.padding_id]
        parts = np.split(~np.isin(column.token_ids, special), column.offsets[1:-1])
        real = Ragged.join(np.flatnonzero(part).astype("int32") for part in parts)
        return self._masked(ids.columns, ids.row_weights(), real)

    def _masked(
        self, inputs: dict[str, Ragged], weights: typing.Any, maskable: Ragged, truncated: int = 0
    ) -> "MaskedExamples":
        return MaskedExamples(
            inputs,
            None,
            weights,
            self.config.filler,
            truncated,
            maskable=maskable,
            mask_rate=self.mask_rate,
            mask_id=self._mask_id(),
            vocabulary_size=self._tokenizer().vocabulary_size,
        )

    def _mask_id(self) -> int:
        mask_id = self._tokenizer().mask_id
        if mask_id is None:
            raise ValueError("Expected a tokenizer with a mask token, got none. Give mask_token= when you make it.")
        return mask_id

    def fill_mask(
        self, texts: Texts, *, top: int = 5, batch_size: int = 32, progress: Progress | None = None
    ) -> list[typing.Any]:
        """Predict the likeliest tokens for the masks in texts. Returns plain Python values.

        Args:
            texts: a string or a list of strings, each with at least one mask token (`tokenizer.mask_token`).
            top: how many tokens to return for each mask.
            batch_size, progress: as for `TextClassifier.classify`.

        Returns: for a text with one mask a list of `{"token", "score", "text"}`, best first; `text` has the token in
            place of the mask. For a text with several masks a list of such lists, one for each mask; `text` has only
            that mask filled. For a list of texts, a list of such results.

        Raises:
            TypeError: for values that are not texts.
            ValueError: for a text without a mask, or with a mask that was cut off.
        """
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(f"Expected top of at least 1, got {top!r}.")
        texts, single = texts_of(texts)
        if not texts:
            return []
        tokenizer, mask_id = self._tokenizer(), self._mask_id()
        inputs, packed = self.encode_texts(tokenizer.encode(texts, parse_special=True))
        places = [np.flatnonzero(ids == mask_id).astype("int32") for ids in packed.token_ids]
        for row, each in enumerate(places):
            if not len(each):
                raise ValueError(
                    f"Expected {tokenizer.mask_token} in each text, got none in text {row}"
                    f"{' (or it was cut off)' if packed.truncated else ''}. Write it where a word is to be filled in."
                )
        inputs["masked_positions"] = Ragged.join(places)
        answers = []
        for row, logits in enumerate(self.run(inputs, batch_size, progress)):
            per_mask = []
            for place, scores in zip(places[row], np.asarray(logits, "float64"), strict=False):
                scores = np.exp(scores - scores.max())
                scores /= scores.sum()
                per_mask.append([self._filled(packed, row, place, n, scores[n]) for n in _best(scores, top)])
            answers.append(per_mask[0] if len(per_mask) == 1 else per_mask)
        return answers[0] if single else answers

    def _filled(self, packed: PackedTexts, row: int, place: int, token_id: int, score: float) -> dict[str, typing.Any]:
        ids = packed.token_ids[row].copy()
        ids[place] = token_id
        tokenizer = self._tokenizer()
        known = int(token_id) < tokenizer.vocabulary_size  # the vocabulary of a model may be rounded up
        (token,) = tokenizer.tokens([int(token_id)]) if known else ("",)
        return {
            "token": token.strip(),
            "score": float(score),
            "text": tokenizer.decode(ids[packed.text_ids[row] >= 0]) if known else "",
        }


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-scores, kind="stable")[:count]


@dataclasses.dataclass(frozen=True)
class MaskedExamples(Examples):
    """Texts whose tokens are hidden at random, anew in each batch. `maskable`: the positions that may be hidden."""

    maskable: Ragged = dataclasses.field(kw_only=True)
    mask_rate: float = 0.15
    mask_id: int = 0
    vocabulary_size: int = 0

    def take(self, rows: np.ndarray) -> typing.Self:
        """The examples numbered `rows`, in that order."""
        return dataclasses.replace(super().take(rows), maskable=self.maskable.take(rows))

    def batch(
        self, rows: np.ndarray, size: int, lengths: Sequence[int], rng: typing.Any = None
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """`(inputs with masked_positions [B, P], labels [B, P], weights [B, P])`."""
        inputs, _, weight = super().batch(rows, size, lengths)
        token_ids = inputs["token_ids"]
        width = max(int(np.ceil(self.mask_rate * lengths[0])), 1)
        positions, weights = np.zeros((size, width), "int32"), np.zeros((size, width), "float32")
        for place, row in enumerate(rows):
            candidates = self.maskable.token_ids[self.maskable.offsets[row] : self.maskable.offsets[row + 1]]
            count = min(max(round(self.mask_rate * len(candidates)), 1), width, len(candidates))
            positions[place, :count] = np.sort(rng.choice(candidates, count, replace=False))
            weights[place, :count] = weight[place]
        labels = np.take_along_axis(token_ids, positions, axis=1)
        fate = rng.random((size, width))
        # of all tokens but padding, which a model would not see
        random = rng.integers(0, self.vocabulary_size - 1, (size, width))
        random += random >= self.padding_id
        shown = np.where(fate < 0.8, self.mask_id, np.where(fate < 0.9, random, labels))
        hidden = weights > 0
        token_ids[np.nonzero(hidden)[0], positions[hidden]] = shown[hidden]
        return {**inputs, "masked_positions": positions}, labels, weights


def _without_positions(inputs: dict[str, Tensor] | Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The inputs of the backbone by name, and the positions to score or None."""
    inputs = dict(inputs) if isinstance(inputs, dict) else {"token_ids": inputs}
    positions = inputs.pop("masked_positions", None)
    return inputs, positions
