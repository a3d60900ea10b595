"""The base class for texts, prompts with answers, and chats from users."""

import itertools
import typing
import warnings

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.data.documents import Document, around, cut, document_source, read_documents
from keras_transformers.data.examples import NO_LABEL, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.rows import document_rows
from keras_transformers.data.sources import Form, Source
from keras_transformers.data.token_ids import Ids
from keras_transformers.tasks.generative_task import GenerativeTask
from keras_transformers.tasks.scoring import LONGEST_ROW


class DocumentTask(GenerativeTask):
    """A task that learns to continue texts. Abstract: use one of the tasks."""

    form = Form(labelled=False)
    label_columns = ("labels", "label")
    reading_options = ("columns", "packing")

    def _examples(
        self,
        x: typing.Any,
        y: typing.Any,
        sample_weight: typing.Any,
        max_length: int | None = None,
        **reading: typing.Any,
    ) -> Examples:
        x = x if isinstance(x, (Examples, Source)) else document_source(x, y, sample_weight)
        return super()._examples(x, None, None, max_length, **reading)

    def _of_texts(
        self, source: Source, max_length: int | None, columns: dict[str, str] | None = None, packing: bool = True
    ) -> Examples:
        """Encode texts, prompts with answers, or chats as rows of ids."""
        kind, documents = read_documents(source, tokenizer=self._tokenizer(), columns=columns)
        return self._of_documents(kind, documents, max_length, packing)

    def _of_ids(self, ids: Ids, max_length: int | None, packing: bool = True) -> Examples:
        """Examples of ids, each learnt from the ids before it. With `labels`: for each id the one that follows it,
        `NO_LABEL` (-100) for those not to learn."""
        column = ids.columns["token_ids"]
        if ids.labels is None:
            parts = np.split(column.token_ids, column.offsets[1:-1])
            documents = map(Document, parts, itertools.repeat(None), ids.row_weights())
            return self._of_documents("texts", list(documents), max_length, packing)
        self._check_cut(column.lengths, max_length)
        labels = ids.labels_of()
        learnt = labels.token_ids != NO_LABEL
        follows = np.append(column.token_ids[1:], NO_LABEL)
        repeats, follows = ((labels.token_ids == each)[learnt] for each in (column.token_ids, follows))
        if len(repeats) and repeats.all() and not follows.all():
            raise ValueError(
                "Expected labels to be the ids that follow, got each id as its own label. Leave the labels out, or "
                "shift them by one: labels[:, t] comes after token_ids[:, t]."
            )
        examples = Examples(ids.columns, labels, ids.weights_of(), self.config.filler)
        self._check_label_ids(examples)
        return examples

    def _of_documents(self, kind: str, documents: list[typing.Any], max_length: int | None, packing: bool) -> Examples:
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
        return document_rows(
            documents, max_length=limit, padding_id=self.config.filler, packing=packing, truncated=truncated
        )

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        before, _ = around(self._tokenizer())
        read = read_columns(source, labelled=False, columns=columns)
        if read.seconds is not None:
            raise TypeError("Expected texts, got pairs of them. Join each prompt with its answer.")
        encoded = self._tokenizer().encode(read.texts)
        return {"token_ids": Ragged.join(np.array([*before, *ids], "int32") for ids in encoded)}
