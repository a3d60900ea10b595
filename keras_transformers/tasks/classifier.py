"""The base class of the classifiers of texts and of tokens: named labels.

Legend: `N` texts, `B` batch, `T` length, `C` classes.
"""

import collections.abc
import typing

import keras
import numpy as np

from keras_transformers.data.containers import as_text, holds_many, is_missing, rows, short
from keras_transformers.files.reading import shown
from keras_transformers.models.config import ModelConfig
from keras_transformers.spelling import did_you_mean
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.class_weights import class_weights

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
    def _merged(cls, from_files: dict[str, typing.Any], given: dict[str, typing.Any]) -> dict[str, typing.Any]:
        given = {name: value for name, value in given.items() if value is not None}
        if {"labels", "num_classes"} & set(given):
            count = len(_label_names(given.get("labels"), given.get("num_classes")))
            if count == len(from_files.get("labels", ())):  # the same classes, perhaps with other names
                given.pop("num_classes", None)
            else:
                from_files = {name: value for name, value in from_files.items() if name not in ("labels", "problem")}
        return {**from_files, **given}

    def _head_is_of(self, from_files: dict[str, typing.Any]) -> bool:
        return len(self.labels) == len(from_files.get("labels", self.labels))

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
                raise ValueError(f"Expected one of the labels {known}, got {label!r} as {where}. Check the spelling.")
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
        """The class number for True or False: the class of that name if the model has it, else 1 for True and 0 for
        False; None with more than two classes."""
        named = {label.lower(): number for number, label in enumerate(self.labels)}
        if {"true", "false"} <= set(named):
            return named[str(truth).lower()]
        return int(truth) if len(self.labels) == 2 else None


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
