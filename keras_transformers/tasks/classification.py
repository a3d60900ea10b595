"""Labels for texts, and for each token of a text.

Legend: `N` texts, `B` batch, `T` length, `C` classes.
"""

import collections.abc
import re
import typing
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.examples import NO_LABEL, Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import (
    Form,
    Source,
    Texts,
    as_text,
    holds_many,
    is_empty,
    is_missing,
    rows,
    short,
    texts_of,
)
from keras_transformers.data.token_ids import Ids
from keras_transformers.files.reading import shown
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.heads import Pooler, make_transform
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import arguments_of
from keras_transformers.spelling import did_you_mean
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.encoder_task import EncoderTask, windows
from keras_transformers.tasks.task import check_config
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.class_weights import class_weights
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import TokenAccuracy, TokenMean
from keras_transformers.training.user_metrics import of_tokens

_MOST_CLASSES = 1_000_000
PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


class Classifier(EncoderTask):
    """Base class of the text and token classifiers: named labels, and their form in `config.json`. Abstract."""

    _PROBLEMS = tuple(PROBLEMS)

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        labels: collections.abc.Iterable[str] | None = None,
        num_classes: int | None = None,
        problem: str | None = None,
        *,
        classifier_bias: bool = True,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        self.labels = _label_names(labels, num_classes)
        self._numbers = {label: number for number, label in enumerate(self.labels)}
        self.problem = self._problem(problem, self.labels)
        if self.problem not in self._PROBLEMS:
            hint = did_you_mean(problem, self._PROBLEMS)
            raise ValueError(f"Expected problem to be one of {', '.join(self._PROBLEMS)}, got {problem!r}{hint}.")
        self.classifier = keras.layers.Dense(
            len(self.labels), use_bias=classifier_bias, dtype=self.dtype_policy, name="classifier"
        )

    @classmethod
    def _read_values(cls, values: dict[str, typing.Any]) -> dict[str, typing.Any]:
        labels, stated = values.get("id2label"), values.get("num_labels")
        count = 2 if stated is None else stated  # the default of Hugging Face
        if type(count) is not int or not 1 <= count <= _MOST_CLASSES:
            raise ValueError(f"Expected num_labels from 1 to {_MOST_CLASSES:,}, got {shown(count)}.")
        if labels is None:
            labels = {number: f"LABEL_{number}" for number in range(count)}
        try:
            labels = tuple(labels[key] for key in sorted(labels, key=int))
        except (TypeError, ValueError, AttributeError, LookupError):
            raise ValueError(f"Expected id2label to give numbers names, got {shown(labels)}.") from None
        if stated is not None and count != len(labels):  # old files list the names of the two default classes
            labels = _label_names(None, count)
        theirs: dict[typing.Any, str] = {name: ours for ours, name in PROBLEMS.items()}
        problem = values.get("problem_type")
        if problem is not None and problem not in list(theirs):
            raise ValueError(f"Expected problem_type to be one of {', '.join(theirs)}, got {shown(problem)}.")
        return {"labels": labels, "problem": cls._problem(theirs.get(problem), labels)}

    @classmethod
    def _problem(cls, problem: str | None, labels: collections.abc.Sequence[str]) -> str:
        return problem or ("regression" if len(labels) == 1 and "regression" in cls._PROBLEMS else "single_label")

    @classmethod
    def _merged(cls, told: dict[str, typing.Any], given: dict[str, typing.Any]) -> dict[str, typing.Any]:
        given = {name: value for name, value in given.items() if value is not None}
        if {"labels", "num_classes"} & set(given):
            count = len(_label_names(given.get("labels"), given.get("num_classes")))
            if count == len(told.get("labels", ())):  # the same classes, perhaps with other names
                given.pop("num_classes", None)
            else:
                told = {name: value for name, value in told.items() if name not in ("labels", "problem")}
        return {**told, **given}

    def _head_is_of(self, told: dict[str, typing.Any]) -> bool:
        return len(self.labels) == len(told.get("labels", self.labels))

    def _preset_values(self) -> dict[str, typing.Any]:
        values = {
            "id2label": {str(number): label for number, label in enumerate(self.labels)},
            "label2id": {label: number for number, label in enumerate(self.labels)},
        }
        return (
            values
            if self.problem == self._problem(None, self.labels)
            else values | {"problem_type": PROBLEMS[self.problem]}
        )

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "labels": list(self.labels), "problem": self.problem}

    def _class_weights(self, class_weight: collections.abc.Mapping[typing.Any, float] | None) -> np.ndarray | None:
        if class_weight is None:
            return None
        if self.problem != "single_label":
            raise ValueError(
                f"Expected no class_weight: with problem={self.problem!r} a text has no single class. Pass "
                "sample_weight=, a number for each text."
            )
        return class_weights(class_weight, self.labels, self._numbered)

    def _numbered(self, label: typing.Any, where: str) -> int:
        """The number of a label given by name or by number."""
        if isinstance(label, (str, bytes)):
            label = as_text(label, where)
            if label not in self._numbers:
                known = short_list(self.labels)
                raise ValueError(f"Expected one of the labels {known}, got {label!r} as {where}. Is it spelled so?")
            return self._numbers[label]
        if holds_many(label) and len(label) == 1:
            return self._numbered(rows(label)[0], where)
        number = self._of_one_hot(rows(label), where) if holds_many(label) else label
        number = number.item() if hasattr(number, "item") and getattr(number, "ndim", 0) == 0 else number
        if isinstance(number, bool):
            number = self._of_truth(number)
        if is_missing(number) or not isinstance(number, (int, float)) or number not in range(len(self.labels)):
            raise ValueError(
                f"Expected a label from 0 to {len(self.labels) - 1}, or its name, got {short(label)} as {where}. The "
                f"labels are {short_list(self.labels)}."
            )
        return int(number)

    def _of_one_hot(self, values: collections.abc.Sequence[typing.Any], where: str) -> int:
        """The number of the class in a one-hot row."""
        values = [each.item() if hasattr(each, "item") else each for each in values]
        if len(values) != len(self.labels) or not all(isinstance(each, (int, float)) for each in values):
            raise ValueError(
                f"Expected one label, or a 1 among {len(self.labels) - 1} times 0, got {short(values)} as {where}. "
                "A text that has several takes problem='multi_label'."
            )
        if sorted(values) != [0] * (len(values) - 1) + [1]:
            raise ValueError(
                f"Expected one label, or exactly one 1 and else 0, got {short(values)} as {where}. A text that has "
                "several labels takes problem='multi_label'."
            )
        return values.index(1)

    def _of_truth(self, truth: bool) -> int | None:
        """The class number for True or False: the class of that name if there is one, else 1 for True and 0 for False;
        None with more than two classes."""
        named = {label.lower(): number for number, label in enumerate(self.labels)}
        if {"true", "false"} <= set(named):
            return named[str(truth).lower()]
        return int(truth) if len(self.labels) == 2 else None


@keras.saving.register_keras_serializable("keras_transformers")
class TextClassifier(Classifier):
    """A text classifier: gives a text, or a pair of texts, one label, several labels, or a number.

    Args:
        config: a `ModelConfig` with one stack, or with two stacks that both read the text. The classifier reads the
            output of its `pooler`.
        tokenizer: a `Tokenizer`.
        labels: names of the classes, or
        num_classes: the number of classes, without names; 2 by default.
        problem: "single_label", "multi_label" (classes are independent), or "regression" (each output is a number); by
            default "regression" for one class, else "single_label".

    Call arguments: a dictionary of int32 `token_ids [B, T]`, padded, and optionally int32 `segment_ids [B, T]` and bool
        `padding_mask [B, T]`.

    Returns: logits `[B, C]`.

    Raises:
        ValueError: if the configuration has two stacks without `reading`, or the tokenizer has another vocabulary.

    Example:
        >>> classifier = kt.TextClassifier.from_preset("hf://distilbert/distilbert-base-uncased-finetuned-sst-2-english")
        >>> classifier.classify("A delight.")  # doctest: +SKIP
        {'label': 'POSITIVE', 'score': 0.99987}

    Source: Devlin et al. 2019, section 4.1.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        labels: collections.abc.Iterable[str] | None = None,
        num_classes: int | None = None,
        problem: str | None = None,
        **kwargs: typing.Any,
    ) -> None:
        check_config(config, type(self).__name__)
        pooler = arguments_of(config.pooler)
        bias = pooler.pop("classifier_bias")
        pooler.pop("end_id")
        super().__init__(config, tokenizer, labels, num_classes, problem, classifier_bias=bias, **kwargs)
        self.pooler = Pooler(**pooler, dtype=self.dtype_policy, name="pooler")
        self.pooler.build((None, None, config.output_dim))
        self.classifier.build((None, config.output_dim))
        self.accuracy = TokenMean(name="accuracy") if self.problem != "regression" else None
        self.built = True

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        return self.classifier.compute_output_spec(
            self.pooler.compute_output_spec(self.backbone.compute_output_spec(inputs))
        )

    def _named_metric(self, metric: typing.Any) -> typing.Any:
        if metric not in ("accuracy", "acc") or self.problem == "single_label":
            return metric
        if self.problem == "regression":
            raise ValueError(
                f"Expected metrics of numbers, got {metric!r} with problem='regression'. Ask for 'mae', or give labels="
            )
        return keras.metrics.BinaryAccuracy(metric, threshold=0.0)  # of logits

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        x, counted = self.hidden_states(inputs, training)
        if self.config.pooler.end_id is not None:
            token_ids = inputs["token_ids"] if isinstance(inputs, dict) else inputs
            counted = ops.equal(token_ids, self.config.pooler.end_id)
        return self.classifier(self.pooler(x, padding_mask=counted, training=training))

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Cross-entropy, binary cross-entropy for each class, or squared error, depending on `problem`."""
        logits = ops.cast(y_pred, "float32")
        if self.problem == "single_label":
            losses, _ = token_cross_entropy(logits, y)
            hits = ops.equal(ops.cast(y, "int32"), ops.cast(ops.argmax(logits, axis=-1), "int32"))
        else:
            y = ops.cast(y, "float32")
            if self.problem == "regression":
                losses = ops.mean(ops.square(logits - y), axis=-1)
            else:
                # log(1 + exp(-|z|)) cannot overflow
                losses = ops.maximum(logits, 0.0) - logits * y + ops.log1p(ops.exp(-ops.abs(logits)))
                losses = ops.mean(losses, axis=-1)
                hits = ops.mean(ops.cast(ops.equal(logits > 0, y > 0.5), "float32"), axis=-1)
        if self.accuracy is not None:
            self.accuracy.update_state(ops.cast(hits, "float32"), sample_weight)
        return self.weighted_mean(losses, sample_weight)

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Examples:
        read = read_columns(source, columns=columns)
        inputs, packed = self.encode_texts(read.texts, read.seconds, max_length)
        return self._labelled(inputs, self._targets(read.labels), read.sample_weight, packed)

    def _of_ids(self, ids: Ids, max_length: int | None) -> Examples:
        self._check_cut(ids.columns["token_ids"].lengths, max_length)
        return Examples(ids.columns, self._targets(ids.labels), ids.row_weights(), self.config.filler)

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        read = read_columns(source, labelled=False, columns=columns)
        if read.seconds is not None and set(read.seconds) <= set(self.labels):
            read = read._replace(seconds=None)  # texts with labels, which are not needed
        return self._input_columns(read)

    def _targets(self, labels: collections.abc.Sequence[typing.Any] | None) -> np.ndarray:
        """Convert the labels given to `fit`: int32 `[N]`, or float32 `[N, C]`.

        A single label is a name, a number, True or False for two classes, or a one-hot row. Several labels are a list
        of names or numbers, or a 0 or 1 for each class. A dictionary or a row of a data frame is matched by name.
        """
        if labels is None:
            raise ValueError("Expected a label for each text, got none. Pass y=, or texts with labels.")
        count = len(self.labels)
        labels = [
            self._in_order(label, row) if isinstance(label, Mapping) else label for row, label in enumerate(labels)
        ]
        if self.problem == "single_label":
            return np.array([self._numbered(label, f"label {row}") for row, label in enumerate(labels)], "int32")
        target = self._of_numbers if self.problem == "regression" else self._of_classes
        return np.array([target(label, row) for row, label in enumerate(labels)], "float32").reshape(-1, count)

    def _of_numbers(self, label: typing.Any, row: int) -> np.ndarray:
        """The values of one regression label, float64 `[C]`."""
        count, several = len(self.labels), _several(label)
        try:
            values = np.asarray([label] if several is None else several, "float64")
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.shape != (count,) or not np.isfinite(values).all():
            wanted = "a finite number" if count == 1 else f"{count} finite numbers"
            raise ValueError(
                f"Expected {wanted}, got {short(label)} as label {row}. Of classes, give labels= or num_classes=."
            )
        return values

    def _of_classes(self, label: typing.Any, row: int) -> np.ndarray:
        """A multi-hot row, float32 `[C]`: 1 for each class that the label names."""
        count, several = len(self.labels), _several(label)
        if several is None and count == 1 and not isinstance(label, (str, bytes)):
            several = [label]
        if several is None:
            raise ValueError(
                f"Expected a list of labels, got {short(label)} as label {row}. Put it in a list, or give "
                "problem='single_label'."
            )
        if len(several) == count and all(not is_missing(each) and each in (0, 1) for each in several):
            return np.array(several, "float32")  # one 0 or 1 for each class
        target = np.zeros(count, "float32")
        target[[self._numbered(each, f"label {row}") for each in several]] = 1.0
        return target

    def _in_order(self, label: collections.abc.Mapping[str, typing.Any], row: int) -> list[typing.Any]:
        """The values of a label given by name, in the order of the classes."""
        if set(label) != set(self.labels):
            raise ValueError(
                f"Expected a value for each of the labels {short_list(self.labels)}, got {', '.join(map(str, label))} "
                f"as label {row}. Call the columns by the labels."
            )
        return [label[name] for name in self.labels]

    def classify(
        self,
        texts: Texts,
        seconds: Texts | None = None,
        *,
        top: int | None = 1,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> dict[str, typing.Any] | float | list[typing.Any]:
        """Labels of texts, with their scores, as plain Python.

        Args:
            texts: a text, a pair `(text, second)`, or a list of either.
            seconds: the second text of each pair, if `texts` holds only the first ones.
            top: how many labels to return for each text, best first; None for all.
            batch_size: texts computed together.
            progress: a function called with the number of finished texts, after each batch.

        Returns: for a text `{"label": name, "score": probability}`, or a list of them if `top` is not 1. A multi-label
            model returns a list of the labels with a probability of at least a half, or of the `top` best ones. A
            regression returns a number, or a list of numbers. For a list of texts, a list of such results.

        Raises:
            TypeError: for values that are not texts.
        """
        _check_top(top)
        pair = isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(text, str) for text in texts)
        single = isinstance(texts, str) or pair and seconds is None
        source: typing.Any = [texts] if single else texts
        if seconds is not None:
            source = {"text": texts_of(texts)[0], "text_pair": texts_of(seconds)[0]}
        if is_empty(source) or seconds is not None and not any(source.values()):
            return []
        columns = read_columns(source, labelled=False)
        logits = self.run(self._input_columns(columns), batch_size, progress).astype("float64")
        answers = [self._answer(row, top) for row in logits]
        return answers[0] if single else answers

    def _answer(self, logits: np.ndarray, top: int | None) -> dict[str, typing.Any] | float | list[typing.Any]:
        if self.problem == "regression":
            return float(logits[0]) if len(logits) == 1 else logits.tolist()
        if self.problem == "multi_label":
            scores = 1.0 / (1.0 + np.exp(-logits))
        else:
            scores = np.exp(logits - logits.max())
            scores /= scores.sum()
        named = [{"label": self.labels[n], "score": float(scores[n])} for n in np.argsort(-scores, kind="stable")]
        if self.problem == "multi_label" and top == 1:
            return [each for each in named if each["score"] >= 0.5]
        return named[0] if top == 1 else named[:top]

    def rank(self, query: str, texts: Texts, *, batch_size: int = 32) -> list[dict[str, typing.Any]]:
        """Rank texts by relevance to a query, with a cross-encoder for reranking.

        Args:
            query: a string.
            texts: a list of strings.

        Returns: a list of `{"index": place in texts, "score": …}`, best first. The score is the output of a model with
            one class, else the probability of the last class.
        """
        if not isinstance(query, str) or isinstance(texts, str):
            raise TypeError(f"Expected a query and a list of texts, got {short(query)} and {short(texts)}.")
        texts, _ = texts_of(texts)
        scores: typing.Any = self.classify([query] * len(texts), texts, top=None, batch_size=batch_size)
        if self.problem != "regression":
            scores = [next(one["score"] for one in each if one["label"] == self.labels[-1]) for each in scores]
        return [{"index": int(n), "score": scores[n]} for n in np.argsort(-np.array(scores), kind="stable")]


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
        numbers = [self._numbered("O", "the label of what no span covers")] * len(words)
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


def _several(label: typing.Any) -> list[typing.Any] | None:
    """The values of a label that is a set, a list or an array; None for a single value."""
    if isinstance(label, (set, frozenset)):
        return list(label)
    return rows(label) if holds_many(label) else None


def _check_top(top: int | None) -> None:
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ValueError(f"Expected top of at least 1, or None for all, got {top!r}.")


_WORD = re.compile(r"\w+|[^\w\s]")


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
        prefix, kind = _parts(word["label"])
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


def _parts(label: str) -> tuple[str, str]:
    """Split a label: "B-PER" → ("B", "PER"); ("", label) for a label without such a prefix."""
    return (label[0], label[2:]) if label[1:2] == "-" and label[0] in "BIESLUM" else ("", label)


def short_list(names: collections.abc.Sequence[str]) -> str:
    """The first names, joined for a message."""
    return ", ".join(names) if len(names) <= 20 else f"{', '.join(names[:20])}, … ({len(names)} in all)"


def _label_names(labels: typing.Any, num_classes: int | None) -> tuple[str, ...]:
    if labels is None:
        count = 2 if num_classes is None else num_classes
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"Expected num_classes of at least 1, got {num_classes!r}.")
        return tuple(f"LABEL_{number}" for number in range(count))
    if isinstance(labels, str | bytes | dict) or not isinstance(labels, collections.abc.Iterable):
        way = "num_classes= for a number of classes" if isinstance(labels, int) else "their names, in order"
        raise TypeError(f"Expected labels to be a list of names, got {labels!r:.80}. Give {way}.")
    labels = tuple(labels)
    if num_classes not in (None, len(labels)):
        raise ValueError(f"Expected as many labels as num_classes, got {len(labels)} and {num_classes}. Give one.")
    if not labels or not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(
            f"Expected labels that are strings and differ, one at least, got {labels!r:.200}. Of classes without names "
            "give num_classes=."
        )
    return labels


def _placed(text_ids: np.ndarray, labels: collections.abc.Sequence[int]) -> np.ndarray:
    """Place the labels of a text's pieces in a row with special tokens. Labels of cut pieces are dropped."""
    row = np.full(len(text_ids), NO_LABEL, "int32")
    here = np.flatnonzero(text_ids == 0)
    row[here] = labels[: len(here)]
    return row
