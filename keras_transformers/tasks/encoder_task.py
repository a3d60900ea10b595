"""What the tasks that read texts share: texts, or pairs of texts, to rows of ids, and back to answers in order.

Legend: `N` texts, `B` batch, `T` length, `D` model width, `C` classes.
"""

import os
import typing
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from keras_transformers.backends import execution
from keras_transformers.backends.types import Tensor
from keras_transformers.callers import outside
from keras_transformers.data.examples import Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Source
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.task import Task
from keras_transformers.tokenizers.packing import PackedTexts, pack_texts
from keras_transformers.tokenizers.tokenizer import Tokenizer


class EncoderTask(Task):
    """A task of a model that reads: of one stack, encoder or decoder, or of two, whose decoder reads what the encoder
    does (`ModelConfig.reading`). Abstract: use one of the tasks."""

    batch_size: int | None = 32  # as BERT and its relatives are fine-tuned

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer | None = None, **kwargs: typing.Any) -> None:
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        """Refuse a configuration that lacks what the task needs, or has more."""
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
        """Which tokens of the inputs are real, bool `[B, T]`: as they say, or as the ids do."""
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        told = inputs.get("padding_mask")
        return self.backbone.padding_mask(inputs["token_ids"]) if told is None else told

    # Texts to ids

    def encode_texts(
        self,
        texts: Sequence[typing.Any],
        seconds: Sequence[typing.Any] | None = None,
        max_length: int | None = None,
        **options: typing.Any,
    ) -> tuple[dict[str, Ragged], PackedTexts]:
        """Texts, or pairs of texts, as the model reads them, special tokens in place.

        Args:
            texts, seconds: lists of strings, or of lists of ids.
            max_length: the most tokens of a row; by default what the model reads. What is longer is cut, with a warning
                that says how many were.
            **options: of `tokenizers.packing.pack_texts`.

        Returns: `(columns, packed)`: the model's inputs by name, a `Ragged` each, and what `pack_texts` returned.
        """
        tokenizer = self._tokenizer()
        ids: list[typing.Any] = [
            None if side is None else tokenizer.encode(side) if len(side) and isinstance(side[0], str) else side
            for side in (texts, seconds)
        ]
        limit = self.max_length if max_length is None else min(max_length, self.max_length or max_length)
        packed = pack_texts(*ids, template=tokenizer.template, max_length=limit, **options)
        if packed.truncated:
            warnings.warn(
                f"{packed.truncated} of {len(texts)} texts are longer than {limit} tokens and were cut.",
                stacklevel=outside(),
            )
        return self._columns(packed), packed

    def _columns(self, packed: PackedTexts, prefix: str = "") -> dict[str, Ragged]:
        columns = {f"{prefix}token_ids": Ragged.join(packed.token_ids)}
        if self.config.embeddings.num_segments > 1:
            columns[f"{prefix}segment_ids"] = Ragged.join(packed.segment_ids)
        if self._needs_mask():
            columns[f"{prefix}padding_mask"] = Ragged.join(np.ones_like(ids) for ids in packed.token_ids)
        return columns

    @property
    def max_length(self) -> int | None:
        """The most tokens that the model reads at once, special tokens included, or None."""
        told = None if self.tokenizer is None else self.tokenizer.max_length
        return min((limit for limit in (self._longest("embeddings"), told) if limit), default=None)

    def room(self, pair: bool = False) -> int | None:
        """How many tokens of a text, or pair of texts, fit in one row beside the special ones; None for any number."""
        longest, special = self.max_length, self._tokenizer().template.num_special(pair)
        if longest is not None and longest <= special:
            raise ValueError(
                f"Expected a model that reads more than the {special} special tokens of a row, got one of {longest}."
            )
        return None if longest is None else longest - special

    def _needs_mask(self) -> bool:
        return self.config.encoder is None  # a decoder's padding may be any id

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        return self._input_columns(read_columns(source, labelled=False, words=self.form.words, columns=columns))

    def _input_columns(self, columns: Columns) -> dict[str, Ragged]:
        """The model's inputs by name, a `Ragged` each, of what `read_columns` returns."""
        return self.encode_texts(columns.texts, columns.seconds)[0]

    def export_with_text(self, folder: str | os.PathLike[str], *, length: int | None = None) -> None:
        """Write one SavedModel that takes strings: tokenizer and model in one graph, for TensorFlow Serving and others.

        It needs the TensorFlow backend and the extra `in-graph`. Its signature `serve` takes strings `[B]`, and gives
        what the model gives as `outputs`, float32.

        Args:
            folder: where to write.
            length: to how many tokens each text is padded or cut; by default what the model reads.

        Raises:
            RuntimeError: on another backend.
            ValueError: for a tokenizer that no graph computes exactly (`Tokenizer.in_graph`).

        Example:
            >>> classifier.export_with_text("served", length=128)
            >>> served = tf.saved_model.load("served")
            >>> served.serve(tf.constant(["A delight."]))["outputs"]
        """

        def reader() -> tuple[Callable[[Tensor], Tensor], dict[str, typing.Any]]:
            longest = min(limit for limit in (length, self.max_length) if limit) if length or self.max_length else None
            if longest is None:
                raise ValueError("Expected a length: the model reads texts of any. Give one.")
            in_graph = self._tokenizer().in_graph()

            def read(texts: Tensor) -> Tensor:
                inputs = in_graph.pack(texts, length=longest)
                if self.config.embeddings.num_segments <= 1:
                    inputs.pop("segment_ids")
                return self(inputs, training=False)

            return read, {"in_graph": in_graph, "model": self}

        execution.save_reader(folder, reader)

    # Training

    def _labelled(
        self, columns: dict[str, Ragged], labels: typing.Any, weights: typing.Any, packed: PackedTexts
    ) -> Examples:
        return Examples(columns, labels, weights, self.config.filler, packed.truncated)


def windows(length: int, room: int | None, overlap: int) -> list[tuple[int, int]]:
    """`(begin, end)` of the parts of a text of `length` tokens that fit in `room`, each sharing `overlap` with the one
    before.

    One part where all fits, or `room` is None. The last is as long as the others: it begins earlier.

    Raises:
        ValueError: unless `overlap` leaves something of `room`.
    """
    if room is not None and not 0 <= overlap < room:
        raise ValueError(f"Expected an overlap from 0 to below the {room} tokens of a window, got {overlap}.")
    if room is None or length <= room:
        return [(0, length)]
    begins = [*range(0, length - room, room - overlap), length - room]
    return [(begin, begin + room) for begin in begins]
