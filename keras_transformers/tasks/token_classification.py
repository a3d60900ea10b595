"""Labels for each token of a text.

Legend: `N` texts, `B` batch, `T` length, `C` classes.
"""

import collections.abc
import re
import typing

import keras
import numpy as np

from keras_transformers.backends.types import Tensor
from keras_transformers.data.containers import as_text, holds_many, is_empty, is_missing, short
from keras_transformers.data.examples import NO_LABEL, Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source, Texts
from keras_transformers.data.token_ids import Ids
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.heads import make_transform
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.classifier import Classifier
from keras_transformers.tasks.encoder_task import windows
from keras_transformers.tasks.entity_labels import parts_of_label
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import TokenAccuracy
from keras_transformers.training.user_metrics import of_tokens

_WORD = re.compile(r"\w+|[^\w\s]")


@keras.saving.register_keras_serializable("keras_transformers")
class TokenClassifier(Classifier):
    """A token classifier: gives each word of a text a label, for named entity recognition or part-of-speech tagging.

    Args:
        config: a `ModelConfig` with one stack. The classifier reads the output of its `token_head`.
        tokenizer: a `Tokenizer`.
        labels: names of the classes; for entities the IOB2 labels "O", "B-…", "I-…" and so on. Or
        num_classes: the number of classes, without names.

    Call arguments: as for `TextClassifier`.

    Returns: logits `[B, T, C]`.

    Example:
        >>> tagger = kt.TokenClassifier.from_preset("hf://dslim/bert-base-NER")
        >>> tagger.tag("Angela Merkel was born in Hamburg.")  # doctest: +SKIP
        [{'label': 'PER', 'score': 0.99, 'start': 0, 'end': 13, 'text': 'Angela Merkel'}, …]

    Source: Devlin et al. 2019, section 5.3; Ramshaw and Marcus 1995 (IOB).
    """

    _PROBLEMS = ("single_label",)

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        labels: collections.abc.Iterable[str] | None = None,
        num_classes: int | None = None,
        problem: str | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, labels, num_classes, problem, **kwargs)
        head, options, shape = config.token_head, {"dtype": self.dtype_policy}, (None, None, config.output_dim)
        self.transform = None
        if head.transform is not None:
            self.transform = make_transform(head.transform, name="transform", **options)
            self.transform.build(shape)
        self.dropout = Dropout(head.dropout, name="dropout", **options)
        self.dropout.build(shape)
        self.classifier.build(shape)
        self.accuracy = TokenAccuracy(name="accuracy")
        self.built = True

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        return self.classifier.compute_output_spec(self.backbone.compute_output_spec(inputs))

    def compute_mask(self, inputs: dict[str, Tensor] | Tensor, previous_mask: Tensor = None) -> Tensor:
        return self.padding_mask(inputs)

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        x, _ = self.hidden_states(inputs, training)
        x = x if self.transform is None else self.transform(x)
        return self.classifier(self.dropout(x, training=training))

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Cross-entropy over the tokens with a label: the first piece of each word."""
        losses, _ = token_cross_entropy(y_pred, y)
        self.accuracy.update_state(y, y_pred, sample_weight)
        return self.weighted_mean(losses, sample_weight)

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return of_tokens(y, y_pred, self._loss_weight(x, y, sample_weight))

    def _metric_classes(self) -> int:
        return len(self.labels)

    form, seen_form = Form(words=True), Form(labelled=False, words=True)

    def _input_columns(self, columns: Columns) -> dict[str, Ragged]:
        if isinstance(columns.texts[0], str):
            return super()._input_columns(columns)
        return self.encode_texts(self._tokenizer().encode_words(columns.texts).token_ids)[0]

    def _of_ids(self, ids: Ids, max_length: int | None) -> Examples:
        """Examples of ids with a label for each token, `NO_LABEL` (-100) for tokens without one."""
        self._check_cut(ids.columns["token_ids"].lengths, max_length)
        if ids.labels is None:
            raise ValueError("Expected a label for each token, got none. Pass y=, or a column of labels.")
        rows_of_labels = [self._token_labels(row, number) for number, row in enumerate(ids.labels)]
        labels = ids.rows_of(rows_of_labels, "labels", "int32")
        return Examples(ids.columns, labels, ids.weights_of(), self.config.filler)

    def _token_labels(self, labels: typing.Any, row: int) -> collections.abc.Sequence[int] | np.ndarray:
        array = np.asarray(labels) if holds_many(labels) and not any(map(is_missing, labels)) else None
        if array is not None and array.ndim == 1 and array.dtype.kind in "iu":
            if ((array == NO_LABEL) | (array >= 0) & (array < len(self.labels))).all():
                return array
        if not holds_many(labels):
            raise TypeError(f"Expected a list of labels, one for each token, got {short(labels)} for row {row}.")
        return [
            NO_LABEL
            if isinstance(each, (int, np.integer)) and each == NO_LABEL
            else self._numbered(each, f"a label of row {row}")
            for each in labels
        ]

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Examples:
        """Examples of lists of words with a label for each word, or of strings with labelled spans of characters
        `(start, end, label)`.

        The first piece of a word gets its label. A word that a span touches gets the label of the span if it is a
        class, else "B-label" or "I-label". All other words get "O".
        """
        read = read_columns(source, words=True, columns=columns)
        pieces: typing.Any
        if read.labels is None:
            raise ValueError("Expected labels for the words of each text, got none. Pass y=, or texts with labels.")
        if isinstance(read.texts[0], str):
            encoded, words, pieces = self._encoded_words(read.texts)
            labelled = enumerate(zip(words, read.labels, strict=True))
            labels = [self._of_spans(row, words, spans) for row, (words, spans) in labelled]
        else:
            encoded = self._tokenizer().encode_words(read.texts)
            pieces = encoded.words
            labelled = enumerate(zip(read.texts, read.labels, strict=True))
            labels = [self._of_words(row, words, labels) for row, (words, labels) in labelled]
        inputs, packed = self.encode_texts(encoded.token_ids, max_length=max_length)
        placed = []
        for text_ids, places, numbers in zip(packed.text_ids, pieces, labels, strict=True):
            first_pieces = {place: n for n, place in reversed([*enumerate(places)]) if place is not None}
            numbered = [
                numbers[place] if place is not None and first_pieces[place] == n else NO_LABEL
                for n, place in enumerate(places)
            ]
            placed.append(_placed(text_ids, numbered))
        return self._labelled(inputs, Ragged.join(placed), read.sample_weight, packed)

    def _of_words(self, row: int, words: collections.abc.Sequence[typing.Any], labels: typing.Any) -> list[int]:
        """The label numbers of the words of one text."""
        if not holds_many(labels):
            raise TypeError(f"Expected a list of labels, one for each word, got {short(labels)} for text {row}.")
        if len(words) != len(labels):
            raise ValueError(
                f"Expected a label for each word, got {len(words)} words and {len(labels)} labels in text {row}: "
                f"{short(words)}. Are they of the same text?"
            )
        return [self._numbered(label, f"a label of text {row}") for label in labels]

    def _of_spans(
        self, row: int, words: collections.abc.Sequence[tuple[int, int]], spans: collections.abc.Iterable[typing.Any]
    ) -> list[int]:
        """The label numbers of the words of one text, from its labelled spans. Words are spans of characters too."""
        numbers = [self._numbered("O", "the label of words that no span covers")] * len(words)
        length = words[-1][1] if words else 0
        for span in spans:
            if not holds_many(span) or len(span) != 3:
                raise TypeError(f"Expected spans (start, end, label) with text {row}, got {short(span)}.")
            start, end, label = span
            inside = [n for n, (a, b) in enumerate(words) if a < end and b > start]
            if not 0 <= start < end or not inside:
                raise ValueError(
                    f"Expected spans (start, end, label) that hold a word of text {row}, whose last ends at {length}, "
                    f"got {tuple(span)!r}."
                )
            label = as_text(label, "a label") if isinstance(label, bytes) else label
            by_place = isinstance(label, str) and label not in self._numbers
            first, rest = (f"B-{label}", f"I-{label}") if by_place else (label, label)
            for n in inside:
                numbers[n] = self._numbered(first if n == inside[0] else rest, f"a label of text {row}")
        return numbers

    def _encoded_words(
        self, texts: collections.abc.Sequence[str]
    ) -> tuple[typing.Any, list[list[tuple[int, int]]], list[list[int | None]]]:
        """Encode strings. Returns `(encoded, words, pieces)`: the words of each text as spans of characters, and for
        each piece the number of its word, or None."""
        encoded = self._tokenizer().encode_with_offsets(texts)
        words = [[match.span() for match in _WORD.finditer(text)] for text in texts]
        return encoded, words, [_words_of(*each) for each in zip(encoded.spans, words, strict=True)]

    def tag(
        self, texts: Texts, *, aggregate: bool = True, batch_size: int = 32, progress: Progress | None = None
    ) -> list[typing.Any]:
        """Label words, or find entities in texts. Returns plain Python values.

        A text that is longer than the model reads is computed in overlapping windows, without cutting anything.

        Args:
            texts: a string or a list of strings; or a list of lists of words.
            aggregate: for strings, whether to join the words of an entity ("B-PER I-PER" → "PER") and leave "O" out, if
                the labels are of that kind. False gives every word its label.
            batch_size: windows computed together.
            progress: a function called with the number of finished windows, after each batch.

        Returns: for a string a list of `{"label", "score", "start", "end", "text"}` with character offsets; for a list
            of words a list of `{"label", "score", "text"}`, one for each word. For a list of texts, a list of such
            lists. The score of a word is the probability of the label of its first piece; the score of an entity is
            the mean over its words. A word without a piece has score 0 and label "O" (the first label if there is no
            "O").

        Raises:
            TypeError: for values that are not texts.
        """
        single = isinstance(texts, str)
        source = [texts] if single else texts
        if is_empty(source):
            return []
        columns = read_columns(source, labelled=False, words=True)
        pieces: typing.Any
        if isinstance(columns.texts[0], str):
            encoded, words, pieces = self._encoded_words(columns.texts)
        else:
            encoded = self._tokenizer().encode_words(columns.texts)
            words, pieces = columns.texts, encoded.words
        probabilities = self._probabilities(encoded.token_ids, batch_size, progress)
        answers = []
        for text, each, piece_words, scores in zip(columns.texts, words, pieces, probabilities, strict=True):
            tagged = self._tagged(text, each, piece_words, scores)
            together = aggregate and isinstance(text, str) and any(label[:2] in ("B-", "I-") for label in self.labels)
            answers.append(_entities(text, tagged) if together else tagged)
        return answers[0] if single else answers

    def _probabilities(
        self, rows: collections.abc.Sequence[typing.Any], batch_size: int, progress: Progress | None
    ) -> list[np.ndarray]:
        """The label probabilities `[P, C]` for the `P` pieces of each text."""
        chunks, places = [], []
        room = self.room()
        overlap = (room or 0) // 2
        for row, ids in enumerate(rows):
            for begin, end in windows(len(ids), room, overlap):
                chunks.append(ids[begin:end])
                places.append((row, begin, end))
        inputs, packed = self.encode_texts(chunks)
        outputs = self.run(inputs, batch_size, progress)
        results = [np.zeros((len(ids), len(self.labels))) for ids in rows]
        for (row, begin, end), text_ids, logits in zip(places, packed.text_ids, outputs, strict=True):
            logits = np.asarray(logits, "float64")[text_ids == 0]
            # The earlier window keeps the first half of the overlap.
            skipped = 0 if room is None or begin == 0 else (room - overlap) // 2
            exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
            results[row][begin + skipped : end] = (exponentials / exponentials.sum(-1, keepdims=True))[skipped:]
        return results

    def _tagged(
        self,
        text: typing.Any,
        words: collections.abc.Sequence[typing.Any],
        piece_words: collections.abc.Sequence[int | None],
        probabilities: np.ndarray,
    ) -> list[dict[str, typing.Any]]:
        """`{"label", "score", …}` for each word, from its first piece. A word without a piece scores 0."""
        firsts: dict[int | None, np.ndarray] = {}
        for word, scores in zip(piece_words, probabilities, strict=True):
            firsts.setdefault(word, scores)
        tagged = []
        for number, word in enumerate(words):
            scores = firsts.get(number, np.zeros(len(self.labels)))
            best = int(scores.argmax()) if number in firsts else self._numbers.get("O", 0)
            one = {"label": self.labels[best], "score": float(scores[best])}
            if isinstance(text, str):
                start, end = word
                tagged.append({**one, "start": start, "end": end, "text": text[start:end]})
            else:
                tagged.append({**one, "text": word})
        return tagged


def _words_of(spans: np.ndarray, words: collections.abc.Sequence[tuple[int, int]]) -> list[int | None]:
    """For each piece, a span of characters, the number of the word with its last character, or None."""
    starts = np.array([start for start, _ in words] or [0])
    places = [int(np.searchsorted(starts, end - 1, side="right")) - 1 for _, end in spans]
    return [
        place if 0 <= place < len(words) and end > start and words[place][0] < end <= words[place][1] else None
        for place, (start, end) in zip(places, spans, strict=True)
    ]


def _entities(text: str, words: collections.abc.Iterable[dict[str, typing.Any]]) -> list[dict[str, typing.Any]]:
    """Join the words of each entity. A new entity begins if the label says so, the type changes, or "O" lies
    between."""
    entities: list[dict[str, typing.Any]] = []
    scores: list[list[float]] = []
    open_type = None
    for word in words:
        prefix, kind = parts_of_label(word["label"])
        if word["score"] == 0.0:  # a word without a piece, such as an invisible character inside a name
            continue
        if word["label"] == "O":
            open_type = None
            continue
        if kind != open_type or prefix in ("B", "S", "U"):
            entities.append({**word, "label": kind})
            scores.append([])
        scores[-1].append(word["score"])
        entities[-1] |= {"end": word["end"], "text": text[entities[-1]["start"] : word["end"]]}
        open_type = None if prefix in ("E", "L", "S", "U") else kind
    return [{**entity, "score": float(np.mean(each))} for entity, each in zip(entities, scores, strict=True)]


def _placed(text_ids: np.ndarray, labels: collections.abc.Sequence[int]) -> np.ndarray:
    """Place the labels of a text's pieces in a row with special tokens. Labels of cut pieces are dropped."""
    row = np.full(len(text_ids), NO_LABEL, "int32")
    here = np.flatnonzero(text_ids == 0)
    row[here] = labels[: len(here)]
    return row
