"""`keras-transformers translate`: arguments, line in, line out, or a file."""

import errno
import pathlib
import sys
import time
from typing import Annotated

import typer

from keras_transformers.apps.cli.options import TEXT_FILE, BatchSize, Language, MaxNewTokens, NumBeams
from keras_transformers.apps.cli.texts import given

# Batches of lines read before the first is translated: enough to sort by length, few enough to see results flow.
BATCHES_AT_ONCE = 8


def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Sentences. Without any, each line of standard input is one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, hf://…, package://…")] = "english-french",
    input: Annotated[
        pathlib.Path | None, typer.Option(**TEXT_FILE, help="Translate the lines of this file (.gz too).")
    ] = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="… into this one (.gz too). After a kill, the same command goes on where it stopped."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Of a file with tabs: the column to translate, a number or a name in line 1.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="Of a file of JSON objects, one a line: the field.")] = None,
    into: Annotated[str, typer.Option(help="The name of the column or field that is added.")] = "translation",
    source_language: Language = None,
    target_language: Language = None,
    word: Annotated[
        list[str] | None,
        typer.Option(help="What has to occur in each translation; may be given several times. It takes beams."),
    ] = None,
    words_field: Annotated[
        str | None, typer.Option(help="Of a file of JSON objects: the field that lists what has to occur in its line.")
    ] = None,
    documents: Annotated[
        bool, typer.Option("--documents", help="Of a file: translate each line sentence by sentence, however long.")
    ] = False,
    num_beams: NumBeams = None,
    n_best: Annotated[int | None, typer.Option(min=1, help="So many translations of each, best first.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Each translation's score beside it.")] = False,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 32,
    keep_letterless: Annotated[
        bool, typer.Option(help="Leave texts without a letter, such as 12:30, as they are; or translate them, too.")
    ] = True,
    attention: Annotated[
        pathlib.Path | None,
        typer.Option(help="Draw here (PNG) which source token each token of the translation looked at; one sentence."),
    ] = None,
):
    """Translate sentences, each line of standard input, or a file: one line out for each line in, in order, empty ones
    kept. Several translations, or scores, stand in one line with tabs between."""
    from keras_transformers.apps.cli.texts import progress
    from keras_transformers.extras import require
    from keras_transformers.files.lines import decoded_lines, in_chunks

    texts = texts or []
    _check_files(texts, input, output, column, field, attention, documents)
    if words_field is not None and field is None:
        raise ValueError("Expected --field with --words-field, for a file of JSON objects, got none. Give both.")
    if attention is not None:
        require(matplotlib=True)
        if len(texts) != 1:
            raise ValueError(
                f"Expected one sentence to draw the attention of, got {len(texts)}. Give it as an argument."
            )
    options = given(
        num_beams=num_beams,
        num_return_sequences=n_best,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        source_language=source_language,
        target_language=target_language,
        forced_words=word or None,
        return_scores=scores or None,
        keep_letterless=None if keep_letterless else False,
    )
    # Whoever types wants an answer to each line.
    typed = not texts and input is None and sys.stdin.isatty()

    import keras_transformers as kt

    task = kt.Seq2SeqLM.from_preset(preset)
    if input is not None:
        _file(task, input, output, _rows(column, field, into, words_field), {**options, "documents": documents})
        return
    if typed:
        print("A sentence a line; Ctrl-D ends.", file=sys.stderr)
    lines = texts or decoded_lines(sys.stdin.buffer, "standard input")
    number, noun = 0, "sentence" if texts else "line"
    with progress("translating", total=len(texts) if texts else None) as advance:
        for chunk in in_chunks(lines, 1 if typed else batch_size * BATCHES_AT_ONCE):
            names = [f"{noun} {place}" for place in range(number + 1, number + len(chunk) + 1)]
            write(_lines(chunk, task.translate(chunk, names=names, progress=advance, **options), scores))
            number += len(chunk)
    if attention is not None:
        kt.plot_attention(task, texts[0], path=attention, **given(num_beams=num_beams, max_new_tokens=max_new_tokens))


def _check_files(texts, input, output, column, field, attention, documents):
    given_files = given(input=input, output=output)
    if len(given_files) == 1:
        raise ValueError(f"Expected --input and --output together, got --{next(iter(given_files))} alone. Give both.")
    beside = [*given(texts=texts or None, attention=attention)]
    if given_files and beside:
        raise ValueError(f"Expected --input alone, got {' and '.join(beside)} too. Leave {' and '.join(beside)} out.")
    if column is not None and field is not None:
        raise ValueError("Expected one of --column, for a file with tabs, and --field, for JSON lines, got both.")
    if not given_files and (column is not None or field is not None or documents):
        raise ValueError("Expected --input and --output with --column, --field or --documents, got none. Give both.")


def _rows(column, field, into, words_field):
    """What a line of the file is."""
    from keras_transformers.apps.files import LINES, Columns, JSONLines

    if field is not None:
        return JSONLines(field, into, words_field)
    return LINES if column is None else Columns(int(column) if column.isdecimal() else column, into)


def _file(task, source, output, rows, options):
    from keras_transformers.apps.cli.texts import file_progress
    from keras_transformers.apps.files import translate_file

    begin = time.perf_counter()
    with file_progress("translating") as told:
        count = translate_file(task, source, output, rows=rows, progress=told, **options)
    print(f"{count:,} lines in {output}; {time.perf_counter() - begin:.1f} s", file=sys.stderr)


def _lines(texts, found, scored):
    """A line of output for each text."""
    from keras_transformers.apps.files import LINES, lists

    translations, scores = found if scored else (found, [None] * len(texts))
    return map(LINES.line, texts, lists(translations), lists(scores))


def write(lines):
    """Print lines in UTF-8, whatever the terminal's settings say, and let them out at once."""
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
