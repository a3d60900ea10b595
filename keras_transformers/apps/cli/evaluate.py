"""`keras-transformers evaluate`: scores of a preset's translations, alone or beside those of another system."""

import dataclasses
import pathlib
import sys
import time
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.options import (
    TEXT_FILE,
    BatchSize,
    Languages,
    MaxNewTokens,
    NumBeams,
    PairFiles,
    Preset,
    ReportOptions,
    Template,
    command_of_records,
)
from keras_transformers.apps.cli.translators import Wanted, checks_of, open_translator, print_counts


@dataclasses.dataclass(frozen=True)
class Judging:
    """How the translations are scored."""

    metric: Annotated[
        list[str] | None,
        typer.Option(help="bleu, chrf, chrf++ or ter; repeat for more. By default bleu and chrf."),
    ] = None
    scorer: Annotated[
        str | None, typer.Option(help="A model that judges translations, COMET or MetricX: a folder or hf://org/name.")
    ] = None
    scorer_base: Annotated[
        str | None, typer.Option(help="The model that --scorer builds on: its configuration and tokenizer.")
    ] = None
    beside: Annotated[
        pathlib.Path | None,
        typer.Option(**TEXT_FILE, help="Translations by another system, one a line: test whether this one is better."),
    ] = None
    test: Annotated[
        str | None, typer.Option(help="The test with --beside: bootstrap (by default) or randomization.")
    ] = None

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics, after checking them."""
        from keras_transformers.training.metrics import metric_of

        names = tuple(self.metric or ("bleu", "chrf"))
        for name in names:
            metric_of(name)
        return names

    def model(self) -> Any:
        """Return the `TranslationScorer`, or None."""
        if self.scorer is None and self.scorer_base is not None:
            raise ValueError("Expected --scorer with --scorer-base, got none. Give both.")
        if self.scorer is None:
            return None
        import keras_transformers as kt

        return kt.TranslationScorer.from_preset(self.scorer, base=self.scorer_base)


@command_of_records
def evaluate(
    preset: Preset,
    files: PairFiles,
    languages: Languages,
    num_beams: NumBeams = None,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 32,
    template: Template = None,
    *,
    wanted: Wanted,
    judging: Judging,
    reporting: ReportOptions,
    picture: Annotated[pathlib.Path | None, typer.Option(help="Draw BLEU by sentence length here (PNG).")] = None,
    translations: Annotated[pathlib.Path | None, typer.Option(help="Write the translations here.")] = None,
) -> None:
    """Translate a test set and score it: by sacreBLEU, each metric with its signature, and by a model that judges."""
    from keras_transformers.apps.cli.texts import given, progress
    from keras_transformers.extras import require

    require(sacrebleu=True, matplotlib=picture)
    sources, references = files.read()
    _check_report(reporting, judging)
    metrics, others = judging.metrics(), _others(judging, len(sources))
    for path in (picture, translations):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    from keras_transformers import backends
    from keras_transformers.apps.files import one_line
    from keras_transformers.training import translation_scores
    from keras_transformers.training.comparison import compare_systems
    from keras_transformers.training.curves import plot_quality_by_length

    options = given(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        **dataclasses.asdict(languages),
        **wanted.options(),
    )
    scorer, task = judging.model(), open_translator(preset, template)
    names = [f"line {number}" for number in range(1, len(sources) + 1)]
    begin = time.perf_counter()
    with progress("translating", total=len(sources)) as advance:
        hypotheses = [one_line(text) for text in task.translate(sources, names=names, progress=advance, **options)]
    seconds = time.perf_counter() - begin
    print(f"{len(sources)} sentences in {seconds:.1f} s on {backends.NAME}", file=sys.stderr)
    if translations is not None:  # before the judges, which can fail
        translations.write_text("".join(line + "\n" for line in hypotheses), "utf-8")
    with progress("judging", total=len(sources)) as advance:
        judges = {"metrics": metrics, "scorer": scorer, "progress": advance}
        scores = translation_scores.score_translations(sources, hypotheses, references, **judges)
    for score in scores:
        print(translation_scores.line(score))
    judged = scores[-1].each
    if others is not None:
        by_model = {}
        if judged is not None:
            given_references = translation_scores.references_for(scorer, references)
            by_model[scorer.name] = (scorer.score(sources, others, given_references), judged)
        test = judging.test or "bootstrap"
        compared = compare_systems(others, hypotheses, references, test=test, metrics=metrics, scores=by_model)
        for each in compared:
            print(f"{each.metric}, other\t{each.baseline:.2f}\tp = {each.p_value:.4f}\t{each.signature}")
    _report(reporting, sources, hypotheses, references, scorer, judged, options)
    if picture is not None:
        plot_quality_by_length(sources, hypotheses, references, picture)
        print(f"picture\t{picture}")


def _check_report(reporting: ReportOptions, judging: Judging) -> None:
    reporting.check()
    if reporting.min_score is not None and judging.scorer is None:
        raise ValueError("Expected --scorer with --min-score, got none. Give both.")


def _others(judging: Judging, count: int) -> list[str] | None:
    """The translations of another system."""
    from keras_transformers.files.lines import read_lines
    from keras_transformers.training.comparison import TESTS

    if judging.test not in (None, *TESTS):
        raise ValueError(f"Expected --test to be one of {', '.join(TESTS)}, got {judging.test!r}.")
    if judging.beside is None and judging.test is not None:
        raise ValueError("Expected --beside with --test, got none. Give both.")
    if judging.beside is None:
        return None
    others = read_lines(judging.beside)
    if len(others) != count:
        raise ValueError(f"Expected {count} lines in {judging.beside}, as there are sentences, got {len(others)}.")
    return others


def _report(
    reporting: ReportOptions,
    sources: list[str],
    hypotheses: list[str],
    references: list[str],
    scorer: Any,
    judged: list[float] | None,
    options: dict[str, Any],
) -> None:
    """Check the translations, write the report, and print its counts. A score that counts errors is negated."""
    if reporting.report is None:
        return
    from keras_transformers.apps.translation_report import write_report
    from keras_transformers.data.translation_checks import check_translations

    scores = judged if judged is None or not scorer.lower_is_better else [-score for score in judged]
    report = check_translations(
        sources, hypotheses, references=references, scores=scores, checks=checks_of(reporting, options)
    )
    write_report(reporting.report, report, options.get("protect"))
    print_counts(report, options)
