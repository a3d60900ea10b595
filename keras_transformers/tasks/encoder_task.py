"""The base class of tasks that read texts: encodes texts, or pairs of texts, as rows of ids.

Legend: `N` texts, `B` batch, `T` length, `D` model width, `C` classes.
"""

import typing
import warnings
from collections.abc import Sequence

import numpy as np

from keras_transformers.backends.types import Tensor
from keras_transformers.callers import outside
from keras_transformers.data.examples import Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Source
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.task import Task, check_tokenizer
from keras_transformers.tokenizers.packing import PackedTexts, Template, pack_texts
from keras_transformers.tokenizers.tokenizer import Tokenizer


class EncoderTask(Task):
    """A task that reads texts with one stack, encoder or decoder, or with two stacks that both read the same text
    (`ModelConfig.reading`). Abstract: use one of the tasks."""

    batch_size: int | None = 32  # as usual for fine-tuning BERT

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer | None = None, **kwargs: typing.Any) -> None:
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        """Refuse a configuration with other stacks than the task needs."""
        if config.encoder is not None and config.decoder is not None and config.reading is None:
            expected = "a ModelConfig with one stack, such as kt.models.encoder makes, or with `reading`"
            raise wrong_stacks(expected, config)

    def hidden_states(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        """The last stack's output `[B, T, D]`, and which tokens are real, bool `[B, T]`."""
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        padding_mask = self.padding_mask(inputs)
        x = self.backbone({**inputs, "padding_mask": padding_mask}, training=training)
        return x, padding_mask

    def padding_mask(self, inputs: dict[str, Tensor] | Tensor) -> Tensor:
        """Which tokens of the inputs are real, bool `[B, T]`: by their `padding_mask`, else by the ids."""
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        given = inputs.get("padding_mask")
        return self.backbone.padding_mask(inputs["token_ids"]) if given is None else given

    # Texts to ids

    def encode_texts(
        self,
        texts: Sequence[typing.Any],
        seconds: Sequence[typing.Any] | None = None,
        max_length: int | None = None,
        **options: typing.Any,
    ) -> tuple[dict[str, Ragged], PackedTexts]:
        """Encode texts, or pairs of texts, for the model, with special tokens.

        Args:
            texts, seconds: lists of strings, or of lists of ids.
            max_length: the most tokens of a row; by default as many as the model reads. Longer texts are cut, and a
                warning says how many.
            **options: arguments of `tokenizers.packing.pack_texts`.

        Returns: `(columns, packed)`: the model's inputs by name, each a `Ragged`, and the result of `pack_texts`.
        """
        tokenizer = self._tokenizer()
        ids: list[typing.Any] = [
            None if side is None else tokenizer.encode(side) if len(side) and isinstance(side[0], str) else side
            for side in (texts, seconds)
        ]
        limit = self.max_length if max_length is None else min(max_length, self.max_length or max_length)
        packed = pack_texts(*ids, template=self._template(), max_length=limit, **options)
        self._warn_of_cut(packed.truncated, len(texts), limit)
        return self._columns(packed), packed

    def attention_inputs(self, text: str, second: str | None = None) -> dict[str, typing.Any]:
        """The backbone's inputs for one text, or pair of texts, each `[T]`; see `attention_reading`."""
        columns, _ = self.encode_texts([text], None if second is None else [second])
        return {name: column.token_ids for name, column in columns.items()}

    @staticmethod
    def _warn_of_cut(truncated: int, count: int, limit: int | None) -> None:
        """Warn of texts that are longer than the model reads."""
        if truncated:
            warnings.warn(
                f"{truncated} of {count} texts are longer than {limit} tokens and were cut.", stacklevel=outside()
            )

    def _template(self) -> Template:
        """The special tokens around a text, or a pair."""
        return self._tokenizer().template

    def _columns(self, packed: PackedTexts, prefix: str = "") -> dict[str, Ragged]:
        columns = {f"{prefix}token_ids": Ragged.join(packed.token_ids)}
        if self.config.num_segments > 1:
            columns[f"{prefix}segment_ids"] = Ragged.join(packed.segment_ids)
        if self._needs_mask():
            columns[f"{prefix}padding_mask"] = Ragged.join(np.ones_like(ids) for ids in packed.token_ids)
        return columns

    @property
    def max_length(self) -> int | None:
        """The most tokens that the model reads at once, including special tokens; None for any number."""
        longest = None if self.tokenizer is None else self.tokenizer.max_length
        return min((limit for limit in (self._longest("embeddings"), longest) if limit), default=None)

    def room(self, pair: bool = False) -> int | None:
        """How many tokens of a text, or pair of texts, fit in one row besides special tokens; None for any number."""
        longest, special = self.max_length, self._template().num_special(pair)
        if longest is not None and longest <= special:
            raise ValueError(
                f"Expected a model that reads more than the {special} special tokens of a row, got one of {longest}."
            )
        return None if longest is None else longest - special

    def _needs_mask(self) -> bool:
        if self.config.encoder is None:
            return True  # a decoder's padding may be any id
        return self.tokenizer is not None and self._writes_padding(self.tokenizer)

    def _writes_padding(self, tokenizer: Tokenizer) -> bool:
        """Whether each text has the token that also fills rows: its end (EuroBERT), or its start."""
        return tokenizer.template is not None and (self.config.padding_id, 0) in tokenizer.template.single

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        # Then masks tell padding, whatever fills the rows (paraphrase-multilingual-MiniLM-L12-v2).
        check_tokenizer(tokenizer, self.config, any_padding=self._writes_padding(tokenizer))

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        return self._input_columns(read_columns(source, labelled=False, words=self.form.words, columns=columns))

    def _input_columns(self, columns: Columns) -> dict[str, Ragged]:
        """The model's inputs by name, each a `Ragged`, from the result of `read_columns`."""
        return self.encode_texts(columns.texts, columns.seconds)[0]

    # Training

    def _labelled(
        self, columns: dict[str, Ragged], labels: typing.Any, weights: typing.Any, packed: PackedTexts
    ) -> Examples:
        return Examples(columns, labels, weights, self.config.filler, packed.truncated)


def windows(length: int, room: int | None, overlap: int) -> list[tuple[int, int]]:
    """Split a text of `length` tokens into overlapping windows `(begin, end)` of at most `room` tokens. Each shares
    `overlap` tokens with the window before.

    There is one window if all tokens fit, or if `room` is None. The last window begins earlier, to be as long as the
    others.

    Raises:
        ValueError: unless 0 <= `overlap` < `room`.
    """
    if room is not None and not 0 <= overlap < room:
        raise ValueError(f"Expected an overlap from 0 to below the {room} tokens of a window, got {overlap}.")
    if room is None or length <= room:
        return [(0, length)]
    begins = [*range(0, length - room, room - overlap), length - room]
    return [(begin, begin + room) for begin in begins]
