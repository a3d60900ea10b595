"""Zero-shot classification: a model of natural language inference says which labels fit a text (Yin et al. 2019).

    premise       "The screen of my phone is broken."                     the text
    hypotheses    "This example is technology."  "This example is food."  one for each label

The model reads each pair, and its output for "entailment" is the score of the label. Scores become probabilities beside
those of the other labels, or, for labels that are independent of each other, beside the output for "contradiction".

Legend: `N` texts, `L` labels, `C` classes of the model.
"""

import collections.abc
import dataclasses
import typing

import numpy as np

from keras_transformers.files.reading import shown
from keras_transformers.tasks.classifier import short_list

TEMPLATE = "This example is {}."


@dataclasses.dataclass(frozen=True)
class Hypotheses:
    """The hypotheses about each text, and how the outputs of a model for them become probabilities.

    Attributes:
        labels: the labels, `L`.
        texts: the hypothesis of each label.
        entailment, contradiction: the numbers of these classes of the model.
        independent: whether several labels may fit a text.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    entailment: int
    contradiction: int
    independent: bool

    @classmethod
    def of(
        cls, labels: typing.Any, template: str, independent: bool, classes: collections.abc.Sequence[str]
    ) -> "Hypotheses":
        """Make the hypotheses of `labels`.

        Args:
            labels: a list of strings that differ.
            template: a sentence with `{}` in the place of a label.
            independent: whether several labels may fit a text. One label alone is always independent.
            classes: the names of the model's classes. That of entailment begins with "entail". That of contradiction
                begins with "contra" or "not", else it is the first or last class, as in transformers.

        Raises:
            TypeError: for labels that are no list of strings.
            ValueError: for no labels or equal ones, a template without `{}`, or a model without a class of entailment.
        """
        labels = checked_labels(labels)
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(f"Expected a hypothesis with {{}} in the place of a label, got {shown(template)}.")
        texts = tuple(template.replace("{}", label) for label in labels)
        return cls(labels, texts, *_inference_classes(classes), independent or len(labels) == 1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each label, float64 `[N, L]`, from the model's outputs for the pairs `[N * L, C]`,
        those of a text side by side."""
        logits = logits.astype("float64").reshape(-1, len(self.labels), logits.shape[-1])
        if self.independent:
            against = logits[..., self.contradiction] - logits[..., self.entailment]
            return np.exp(-np.logaddexp(0.0, against))
        scores = logits[..., self.entailment]
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return scores / scores.sum(axis=-1, keepdims=True)


def checked_labels(labels: typing.Any) -> tuple[str, ...]:
    """Return the labels after checking that they are strings that differ."""
    if isinstance(labels, str | bytes | dict) or not isinstance(labels, collections.abc.Iterable):
        raise TypeError(f"Expected labels to be a list of names, got {shown(labels)}.")
    labels = tuple(labels)
    if not all(isinstance(label, str) for label in labels):
        raise TypeError(f"Expected labels to be a list of names, got {shown(labels)}.")
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"Expected at least one label, each once, got {short_list(labels) or 'none'}.")
    return labels


def _inference_classes(classes: collections.abc.Sequence[str]) -> tuple[int, int]:
    """Return the numbers of the classes of entailment and of contradiction, found by their names."""
    entailment, contradiction = _number(classes, "entail"), _number(classes, "contra", "not")
    if entailment is None or len(classes) < 2:
        raise ValueError(
            "Expected a model of natural language inference, with a class whose name begins with 'entail' and "
            f"another, got one of {short_list(classes)}. If it is one, name its classes: "
            "from_preset(…, labels=[…])."
        )
    if contradiction is None:
        contradiction = len(classes) - 1 if entailment == 0 else 0
    return entailment, contradiction


def _number(classes: collections.abc.Sequence[str], *beginnings: str) -> int | None:
    """Return the number of the first class whose name begins so, in letters of any case, or None."""
    return next((n for n, name in enumerate(classes) if name.lower().startswith(beginnings)), None)
