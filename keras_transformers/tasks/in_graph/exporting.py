"""From a task to the module that is saved: its functions of strings, checked.

Legend: `N` texts.
"""

import inspect
import math
import typing
import warnings
from collections.abc import Sequence

import tensorflow as tf

from keras_transformers.spelling import check_arguments
from keras_transformers.tasks.in_graph.classification import Classification
from keras_transformers.tasks.in_graph.continuation import Continuation
from keras_transformers.tasks.in_graph.masks import FilledMasks
from keras_transformers.tasks.in_graph.reading import Outputs, Reading
from keras_transformers.tasks.in_graph.tagging import Tagging
from keras_transformers.tasks.in_graph.translation import Translation
from keras_transformers.tasks.in_graph.vectors import Vectors
from keras_transformers.tokenizers.in_graph.tokenizer import DIFFICULT

_KINDS: dict[str, typing.Any] = {  # by the task, or the first of its base classes; the tasks import this module
    "TextClassifier": Classification,
    "TextEmbedder": Vectors,
    "MaskedLM": FilledMasks,
    "TokenClassifier": Tagging,
    "EncoderTask": Outputs,
    "Seq2SeqLM": Translation,
    "CausalLM": Continuation,
}
_TOLERANCE = 1e-4  # of scores: the graph and the task add in another order


def module_of(
    task: typing.Any,
    *,
    length: int | None,
    check: Sequence[str],
    difficult_texts: bool,
    options: dict[str, typing.Any],
) -> tuple[tf.Module, dict[str, typing.Any]]:
    """The module to save, and its functions by the names of their signatures; see `export_with_text` for the
    arguments."""
    kind = next((_KINDS[each.__name__] for each in type(task).__mro__ if each.__name__ in _KINDS), None)
    if kind is None:
        raise TypeError(
            f"Expected a task that reads or writes texts by itself, got a {type(task).__name__}. Export the model "
            "inside of it."
        )
    names = [name for name in inspect.signature(kind).parameters if name not in ("task", "reading")]
    if "generation" not in names:
        check_arguments(f"options of export_with_text for a {type(task).__name__}", options, names)
    check = list(check)
    texts = [*(DIFFICULT if difficult_texts else ()), *check]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd texts, which are long and spell special tokens
        reading = Reading(task, length, check, difficult_texts)
        made = kind(task, reading, **options)
        _check(made, texts)
    module = tf.Module()
    module.tokenizer = reading.tokens
    module.weights = [variable.value for variable in task.variables]
    module.parts = made.parts
    signatures = made.functions()
    for name, function in signatures.items():
        setattr(module, "serve" if name == "serving_default" else name, function)
    return module, signatures


def _check(made: typing.Any, texts: Sequence[str]) -> None:
    """Compare the answers of the graph with those of the task, text by text."""
    texts = [text for text in texts if made.answers(text)]
    if not texts:
        return
    expected, got = made.expected(texts), made.got(texts)
    for text, one, other in zip(texts, expected, got, strict=True):
        if not _same(one, other):
            raise ValueError(
                f"Expected the graph to answer as the task does, got {other!r:.500} for {text!r}, where the task gives "
                f"{one!r:.500}. Give other settings, or serve the task itself."
            )


def _same(one: typing.Any, other: typing.Any) -> bool:
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
