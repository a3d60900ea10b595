"""Labels for texts.

Legend: `N` texts, `B` batch, `T` length, `C` classes.
"""

import collections.abc
import pathlib
import typing
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.containers import holds_many, is_empty, is_missing, rows, short
from keras_transformers.data.examples import Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Source, Texts, texts_of
from keras_transformers.data.token_ids import Ids
from keras_transformers.files.reading import read_bytes, read_object
from keras_transformers.formats.preset import json_bytes
from keras_transformers.layers.heads import Pooler
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import arguments_of
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.classifier import Classifier, short_list
from keras_transformers.tasks.reranking import (
    SETTINGS,
    Ranking,
    activated,
    activation_values,
    check_activation,
    flat_values,
    ranked,
    read_activation,
    read_query,
)
from keras_transformers.tasks.task import check_config
from keras_transformers.tasks.zero_shot import TEMPLATE, Hypotheses
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import TokenMean


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
        activation: the activation of the scores of `rank`, if there is one class: "sigmoid" or "identity".

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

    # The file of a cross-encoder's folder: its values, its bytes, and its activation.
    _settings: dict[str, typing.Any] | None = None
    _kept_settings = b""
    _folder_activation: str | None = None

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        labels: collections.abc.Iterable[str] | None = None,
        num_classes: int | None = None,
        problem: str | None = None,
        activation: str | None = None,
        **kwargs: typing.Any,
    ) -> None:
        check_config(config, type(self).__name__)
        check_activation(activation)
        pooler = arguments_of(config.pooler)
        bias = pooler.pop("classifier_bias")
        pooler.pop("end_id")
        super().__init__(config, tokenizer, labels, num_classes, problem, classifier_bias=bias, **kwargs)
        self.pooler = Pooler(**pooler, dtype=self.dtype_policy, name="pooler")
        self.pooler.build((None, None, config.output_dim))
        self.classifier.build((None, config.output_dim))
        self.activation = activation
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
        labels: collections.abc.Iterable[str] | None = None,
        hypothesis: str = TEMPLATE,
        multi_label: bool = False,
        top: int | None = 1,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> dict[str, typing.Any] | float | list[typing.Any]:
        """Labels of texts, with their scores, as plain Python.

        With `labels`, a model of natural language inference gives texts labels that it was not trained for (zero-shot
        classification): it says whether the `hypothesis` about each label follows from the text.

        Args:
            texts: a text, a pair `(text, second)`, or a list of either.
            seconds: the second text of each pair, if `texts` holds only the first ones.
            labels: for zero-shot classification, a list of names; None for the model's own labels.
            hypothesis: a sentence with `{}` in the place of a label. Texts are cut to leave room for it.
            multi_label: whether several of the `labels` may fit a text; otherwise their probabilities sum to 1.
            top: how many labels to return for each text, best first; None for all.
            batch_size: texts, or pairs of texts, computed together.
            progress: a function called with the number of finished texts, or pairs, after each batch.

        Returns: for a text `{"label": name, "score": probability}`, or a list of them if `top` is not 1. A multi-label
            model returns a list of the labels with a probability of at least a half, or of the `top` best ones. A
            regression returns a number, or a list of numbers. For a list of texts, a list of such results.

        Raises:
            TypeError: for values that are not texts, and pairs of texts with `labels`.
            ValueError: for `labels` that are equal or none, a `hypothesis` without `{}`, and a model that has no class
                whose name begins with "entail".

        Example:
            >>> model = kt.TextClassifier.from_preset("hf://MoritzLaurer/deberta-v3-base-zeroshot-v2.0")
            >>> model.classify("The screen is broken.", labels=["technology", "food"])  # doctest: +SKIP
            {'label': 'technology', 'score': 0.998}
        """
        _check_top(top)
        hypotheses = None if labels is None else Hypotheses.of(labels, hypothesis, multi_label, self.labels)
        source, single = _texts_or_pairs(texts, seconds)
        if is_empty(source):
            return []
        columns = read_columns(source, labelled=False)
        if hypotheses is None:
            logits = self.run(self._input_columns(columns), batch_size, progress).astype("float64")
            answers = [self._answer(row, top) for row in logits]
        else:
            pairs = self._pairs(columns, hypotheses)
            probabilities = hypotheses.probabilities(self.run(pairs, batch_size, progress))
            answers = [_best(row, hypotheses.labels, multi_label, top) for row in probabilities]
        return answers[0] if single else answers

    def _pairs(self, columns: Columns, hypotheses: Hypotheses) -> dict[str, Ragged]:
        """The model's inputs for each text with each hypothesis, those of a text side by side."""
        if columns.seconds is not None:
            raise TypeError("Expected single texts with labels=, which pairs them with hypotheses, got pairs of texts.")
        texts, seconds = map(self._tokenizer().encode, (columns.texts, hypotheses.texts))
        firsts = [text for text in texts for _ in hypotheses.texts]
        return self.encode_texts(firsts, [*seconds] * len(texts), truncate="first")[0]

    def _answer(self, logits: np.ndarray, top: int | None) -> dict[str, typing.Any] | float | list[typing.Any]:
        if self.problem == "regression":
            return float(logits[0]) if len(logits) == 1 else logits.tolist()
        if self.problem == "multi_label":
            scores = 1.0 / (1.0 + np.exp(-logits))
        else:
            scores = np.exp(logits - logits.max())
            scores /= scores.sum()
        return _best(scores, self.labels, self.problem == "multi_label", top)

    def rank(
        self, query: str, texts: Texts, *, activation: str | None = None, top: int | None = None, batch_size: int = 32
    ) -> Ranking:
        """Rank texts by relevance to a query, with a cross-encoder for reranking.

        Args:
            query: a string.
            texts: a list of strings.
            activation: for a model with one class, the activation of the score: "sigmoid" or "identity"; by default
                that of the model's files, else "sigmoid", as in sentence-transformers.
            top: how many texts to return; None for all.
            batch_size: texts computed together.

        Returns: a list of `{"index": place in texts, "score": …}`, best first. The score of a model with more classes
            is the probability of the last class.
        """
        texts = read_query(query, texts, top)
        check_activation(activation)
        if not texts:
            return []
        if len(self.labels) == 1:
            pairs = {"text": [query] * len(texts), "text_pair": texts}
            logits = self.run(self._input_columns(read_columns(pairs, labelled=False)), batch_size)
            return ranked(
                activated(logits[:, 0].astype("float64"), activation or self.activation or self._folder_activation), top
            )
        answers: typing.Any = self.classify([query] * len(texts), texts, top=None, batch_size=batch_size)
        last = [next(one["score"] for one in each if one["label"] == self.labels[-1]) for each in answers]
        return ranked(last, top)

    # Folders of cross-encoders

    @classmethod
    def _read_values(cls, values: dict[str, typing.Any]) -> dict[str, typing.Any]:
        return {**super()._read_values(values), "activation": read_activation(values, "config.json")}

    def _remember(self, folder: pathlib.Path) -> None:
        values = read_object(folder / SETTINGS, missing={})
        if (activation := read_activation(values, folder / SETTINGS)) is not None:
            self._settings, self._folder_activation = values, activation
            self._kept_settings = read_bytes(folder / SETTINGS)

    def _files(self) -> dict[str, typing.Any]:
        if self._settings is None:
            return super()._files()
        kept = self.activation in (None, self._folder_activation)
        content = self._kept_settings if kept else json_bytes({**self._settings, **flat_values(self.activation)})
        return {**super()._files(), SETTINGS: content}

    def _preset_values(self) -> dict[str, typing.Any]:
        return {**super()._preset_values(), **activation_values(self.activation)}

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "activation": self.activation or self._folder_activation}


def _texts_or_pairs(texts: Texts, seconds: Texts | None) -> tuple[typing.Any, bool]:
    """The texts, or the two columns of pairs, and whether they are one text or pair alone; an empty list for none."""
    if seconds is not None:
        columns = {"text": texts_of(texts)[0], "text_pair": texts_of(seconds)[0]}
        return columns if any(columns.values()) else [], isinstance(texts, str)
    pair = isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(text, str) for text in texts)
    if isinstance(texts, str) or pair:
        return [texts], True
    return texts, False


def _several(label: typing.Any) -> list[typing.Any] | None:
    """The values of a label that is a set, a list or an array; None for a single value."""
    if isinstance(label, (set, frozenset)):
        return list(label)
    return rows(label) if holds_many(label) else None


def _best(
    scores: np.ndarray, labels: collections.abc.Sequence[str], several: bool, top: int | None
) -> dict[str, typing.Any] | list[dict[str, typing.Any]]:
    """The `top` best labels of one text, with their scores; the best one alone for 1, or those of at least a half if a
    text may have several."""
    named = [{"label": labels[n], "score": float(scores[n])} for n in np.argsort(-scores, kind="stable")]
    if several and top == 1:
        return [each for each in named if each["score"] >= 0.5]
    return named[0] if top == 1 else named[:top]


def _check_top(top: int | None) -> None:
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ValueError(f"Expected top of at least 1, or None for all, got {top!r}.")
