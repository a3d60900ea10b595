"""`keras-transformers translate`: translates its arguments, lines of standard input, or a file."""

import dataclasses
import errno
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, cast

import typer

from keras_transformers.apps.cli.options import (
    TEXT_FILE,
    BatchSize,
    Languages,
    MaxNewTokens,
    NumBeams,
    ReportOptions,
    Template,
    command_of_records,
)
from keras_transformers.apps.cli.texts import given
from keras_transformers.apps.cli.translators import Wanted, checks_of, open_translator, print_counts

# Batches of lines read before translation starts: enough to sort by length, few enough that results appear soon.
BATCHES_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Files:
    """A file to translate, and the part of each line to translate."""

    input: Annotated[
        pathlib.Path | None, typer.Option(**TEXT_FILE, help="Translate the lines of this file (.gz too).")
    ] = None
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write the translations of --input here (.gz too). After a kill, the same command resumes."),
    ] = None
    column: Annotated[
        str | None,
        typer.Option(help="If --input has tabs: the column to translate, by its number or its name in line 1."),
    ] = None
    field: Annotated[
        str | None, typer.Option(help="If --input has a JSON object in each line: the field to translate.")
    ] = None
    into: Annotated[str, typer.Option(help="The name of the column or field to add.")] = "translation"
    words_field: Annotated[
        str | None,
        typer.Option(help="If --input has JSON objects: the field that lists the words each translation must contain."),
    ] = None
    documents: Annotated[
        bool,
        typer.Option(
            "--documents", help="Translate each line of --input sentence by sentence, so that no line is too long."
        ),
    ] = False

    def check(self, beside: list[str]) -> None:
        """Refuse options that contradict each other.

        Args:
            beside: names of the other sources of text that the user gave.

        Raises:
            ValueError: naming the options.
        """
        files = given(input=self.input, output=self.output)
        if len(files) == 1:
            raise ValueError(f"Expected --input and --output together, got --{next(iter(files))} alone. Give both.")
        if files and beside:
            names = " and ".join(beside)
            raise ValueError(f"Expected --input alone, got {names} too. Leave {names} out.")
        if self.column is not None and self.field is not None:
            raise ValueError("Expected one of --column, for a file with tabs, and --field, for JSON lines, got both.")
        if not files and (self.column is not None or self.field is not None or self.documents):
            raise ValueError(
                "Expected --input and --output with --column, --field or --documents, got none. Give both."
            )
        if self.words_field is not None and self.field is None:
            raise ValueError("Expected --field with --words-field, for a file of JSON objects, got none. Give both.")

    def rows(self) -> Any:
        """Return the format of a line: `LINES`, `Columns` or `JSONLines`."""
        from keras_transformers.apps.files import LINES, Columns, JSONLines

        if self.field is not None:
            return JSONLines(self.field, self.into, self.words_field)
        if self.column is None:
            return LINES
        return Columns(int(self.column) if self.column.isdecimal() else self.column, self.into)


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How a text is translated."""

    word: Annotated[
        list[str] | None,
        typer.Option(help="Words that each translation must contain; repeat for more. Needs beam search."),
    ] = None
    num_beams: NumBeams = None
    n_best: Annotated[
        int | None, typer.Option(min=1, help="The number of translations of each sentence, best first.")
    ] = None
    scores: Annotated[bool, typer.Option("--scores", help="Print the score of each translation.")] = False
    max_new_tokens: MaxNewTokens = None
    batch_size: BatchSize = 32
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Choose among several translations: chrf for the one most like the others (minimum Bayes risk), or a "
            "model that judges, a folder or hf://org/name."
        ),
    ] = None
    candidates: Annotated[
        int | None, typer.Option(min=2, help="With --rerank: how many translations to choose from.")
    ] = None
    keep_letterless: Annotated[
        bool, typer.Option(help="Keep texts without a letter, such as 12:30, as they are, or translate them too.")
    ] = True
    shortlist: Annotated[bool, typer.Option(help="Use the lexical shortlist of a model of Marian, if it has one.")] = (
        True
    )

    def options(self) -> dict[str, Any]:
        """Return the arguments of `Seq2SeqLM.translate` that the user gave."""
        return given(
            num_beams=self.num_beams,
            num_return_sequences=self.n_best,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            forced_words=self.word or None,
            return_scores=self.scores or None,
            keep_letterless=None if self.keep_letterless else False,
            rerank=self.judge(),
            num_candidates=self.candidates,
            shortlist=None if self.shortlist else False,
        )

    def judge(self) -> Any:
        """Return the judge that --rerank names, or None."""
        if self.rerank is None and self.candidates is not None:
            raise ValueError("Expected --rerank with --candidates, got none. Give both.")
        if self.rerank is None:
            return None
        import keras_transformers as kt

        if self.rerank == "chrf":
            return kt.tasks.MinimumBayesRisk()
        scorer = kt.TranslationScorer.from_preset(self.rerank)
        return kt.tasks.MinimumBayesRisk(scorer) if scorer.references == "needed" else scorer


@command_of_records
def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Sentences to translate; by default the lines of standard input.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, hf://…, package://…")] = "english-french",
    *,
    template: Template = None,
    files: Files,
    languages: Languages,
    decoding: Decoding,
    wanted: Wanted,
    reporting: ReportOptions,
    attention: Annotated[
        pathlib.Path | None,
        typer.Option(help="Draw the attention between one sentence and its translation here (PNG)."),
    ] = None,
) -> None:
    """Translate sentences, lines of standard input, or a file. Each line gives one line of output, in order; empty
    lines stay empty. Several translations, or scores, share one line, separated by tabs."""
    from keras_transformers.extras import require

    texts = texts or []
    files.check([*given(texts=texts or None, attention=attention)])
    _check_report(reporting, files, decoding)
    if attention is not None:
        require(matplotlib=True)
        _check_one(texts)
    options = {**decoding.options(), **wanted.options(), **given(**dataclasses.asdict(languages))}

    task = open_translator(preset, template)
    if files.input is not None:
        _file(task, files, {**options, "documents": files.documents})
        _report(files, reporting, decoding.scores, options)
    elif texts:
        _answer(task, texts, "sentence", decoding, options, total=len(texts))
    else:
        _standard_input(task, decoding, options)
    if attention is not None:
        import keras_transformers as kt

        searched = given(num_beams=decoding.num_beams, max_new_tokens=decoding.max_new_tokens)
        kt.plot_attention(task, texts[0], path=attention, **searched)


def _check_report(reporting: ReportOptions, files: Files, decoding: Decoding) -> None:
    reporting.check()
    if reporting.report is not None and files.input is None:
        raise ValueError("Expected --input and --output with --report, got none. Give both.")
    if reporting.min_score is not None and not decoding.scores:
        raise ValueError("Expected --scores with --min-score, got none. Give both.")


def _counts_errors(judge: Any) -> bool:
    """Whether a judge's scores count errors, so that less is better."""
    return getattr(getattr(judge, "utility", judge), "lower_is_better", False)


def _report(files: Files, reporting: ReportOptions, scored: bool, options: dict[str, Any]) -> None:
    """Check the translated file, write the report, and print its counts. A score that counts errors is negated."""
    if reporting.report is None:
        return
    from keras_transformers.apps.translation_report import report_of_file, write_report

    source, output = cast(pathlib.Path, files.input), cast(pathlib.Path, files.output)
    checks = checks_of(reporting, options)
    scores = {"scored": scored, "lower_is_better": _counts_errors(options.get("rerank"))}
    report = report_of_file(source, output, rows=files.rows(), **scores, checks=checks)
    write_report(reporting.report, report, options.get("protect"))
    print_counts(report, options)


def _check_one(texts: list[str]) -> None:
    if len(texts) != 1:
        raise ValueError(f"Expected one sentence to draw the attention of, got {len(texts)}. Give it as an argument.")


def _standard_input(task: Any, decoding: Decoding, options: dict[str, Any]) -> None:
    """Translate the lines of standard input; at a keyboard, each line at once."""
    from keras_transformers.files.lines import decoded_lines

    typed = sys.stdin.isatty()
    if typed:
        print("A sentence a line; Ctrl-D ends.", file=sys.stderr)
    lines = decoded_lines(sys.stdin.buffer, "standard input")
    _answer(task, lines, "line", decoding, options, lines_at_once=1 if typed else None)


def _answer(
    task: Any,
    texts: Iterable[str],
    noun: str,
    decoding: Decoding,
    options: dict[str, Any],
    total: int | None = None,
    lines_at_once: int | None = None,
) -> None:
    """Print the translations of texts, as soon as some are ready. Messages call a text by the noun and its number."""
    from keras_transformers.apps.cli.texts import progress
    from keras_transformers.files.lines import in_chunks

    number = 0
    with progress("translating", total=total) as advance:
        for chunk in in_chunks(texts, lines_at_once or decoding.batch_size * BATCHES_AT_ONCE):
            names = [f"{noun} {place}" for place in range(number + 1, number + len(chunk) + 1)]
            write(_lines(chunk, task.translate(chunk, names=names, progress=advance, **options), decoding.scores))
            number += len(chunk)


def _file(task: Any, files: Files, options: dict[str, Any]) -> None:
    from keras_transformers.apps.cli.texts import file_progress
    from keras_transformers.apps.files import translate_file

    begin = time.perf_counter()
    with file_progress("translating") as report:
        source, output = cast(pathlib.Path, files.input), cast(pathlib.Path, files.output)  # as `check` has made sure
        count = translate_file(task, source, output, rows=files.rows(), progress=report, **options)
    print(f"{count:,} lines in {files.output}; {time.perf_counter() - begin:.1f} s", file=sys.stderr)


def _lines(texts: list[str], found: Any, scored: bool) -> Iterator[str]:
    """Yield a line of output for each text."""
    from keras_transformers.apps.files import LINES, lists

    translations, scores = found if scored else (found, [None] * len(texts))
    return map(LINES.line, texts, lists(translations), lists(scores))


def write(lines: Iterable[str]) -> None:
    """Print lines in UTF-8, whatever the terminal's settings are, and flush."""
    try:
        sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode("utf-8"))
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            error.errno,
            "Expected room for more on standard output, got a full disk: the last lines there may be cut. Make room, "
            "and begin anew; with --input and --output, translate goes on where it stopped",
        ) from None
