"""The scores of a model of a run on its test set."""

import time
import typing

from keras_transformers.apps.runs.settings import ValidationSettings
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tasks.translation_scoring import TranslationScorer
from keras_transformers.training.translation_scores import score_translations


def scorer_of(watched: ValidationSettings) -> typing.Any:
    """Return the model that judges translations, or None."""
    return None if watched.scorer is None else TranslationScorer.from_preset(watched.scorer, base=watched.scorer_base)


def tested(
    task: Seq2SeqLM, test: typing.Any, watched: ValidationSettings, scorer: typing.Any, **languages: str | None
) -> dict[str, typing.Any]:
    """Compute the scores of a test set, with their signatures."""
    sources, references = test
    begin = time.perf_counter()
    hypotheses = task.translate(sources, **languages)
    scores: dict[str, typing.Any] = {"sentences": len(sources), "seconds": round(time.perf_counter() - begin, 1)}
    for each in score_translations(sources, hypotheses, references, metrics=watched.metrics, scorer=scorer):
        scores[each.name] = round(each.score, 2 if each.signature else 4)
        scores |= {f"{each.name}_signature": each.signature} if each.signature else {}
    return scores
