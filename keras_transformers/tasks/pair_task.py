"""The base class for pairs of texts from users: a source and its target."""

import typing
from collections.abc import Sequence

import numpy as np

from keras_transformers.data.examples import Examples
from keras_transformers.data.pairs import FORM, Pairs, encode_pairs
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Source
from keras_transformers.tasks import notices
from keras_transformers.tasks.generative_task import GenerativeTask


class PairTask(GenerativeTask):
    """A task that learns to write the target of each source. Abstract: use one of the tasks."""

    form = seen_form = FORM
    sides = ("", "decoder_")

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Pairs:
        """Sentence pairs, in every form that `encode_pairs` takes."""
        return self._encoded(source, max_length, columns)

    def _of_ids(self, ids: Examples, max_length: int | None) -> Examples:
        for column in ids.token_columns.values():
            self._check_cut(column.lengths, max_length)
        return ids

    def _read_ids(
        self, source: Source, columns: dict[str, str] | None = None, sides: Sequence[str] | None = None
    ) -> Examples:
        return self._encoded(source, None, columns)

    def _encoded(self, source: Source, max_length: int | None, columns: dict[str, str] | None) -> typing.Any:
        """`Pairs` of texts, or `Examples` of token ids."""
        positions = (self._longest("embeddings"), self._longest("target_embeddings"))
        limits = [limit for limit in (max_length, *positions) if limit]
        pairs = encode_pairs(
            source,
            tokenizer=self.tokenizer,
            max_length=min(limits, default=None),
            start_id=self.generation.start_id,
            padding_id=self.config.padding_id,
            columns=columns,
        )
        if isinstance(pairs, Pairs) and self.tokenizer is not None:
            notices.warn_of_pairs(self.tokenizer, pairs)
        return pairs

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        pairs = self._encoded(source, None, columns)
        starts = np.array([pairs.start_id], "int32")
        targets = (pairs.targets.take([row]).token_ids for row in range(len(pairs)))
        read = Ragged.join(np.concatenate([starts, target[:-1]]) for target in targets)
        return {"token_ids": pairs.sources, "decoder_token_ids": read}

    def _seen_ids(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        return super()._read_ids(source, columns).columns

    def _check_examples(self, pairs: Examples | Pairs) -> None:
        for column, (name, side) in enumerate(
            (("token_ids", "embeddings"), ("decoder_token_ids", "target_embeddings"))
        ):
            if name in pairs.token_ids:
                self._check_ids(name, pairs.token_ids[name], side)
            self._check_lengths(pairs.lengths[:, column], side, name)
        self._check_label_ids(pairs)
