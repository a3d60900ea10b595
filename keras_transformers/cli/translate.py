"""`keras-transformers translate`: arguments, or line in, line out."""

import itertools
import pathlib
import sys
from typing import Annotated

import typer

# Batches of lines read before the first is translated: enough to sort by length, few enough to see results flow.
BATCHES_AT_ONCE = 8


def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Sentences. Without any, each line of standard input is one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, hf://…, package://…")] = "english-french",
    num_beams: Annotated[int | None, typer.Option(min=1, help="Beams, not the preset's own number; 1: greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The longest translation, in tokens.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences computed at a time.")] = 32,
    attention: Annotated[
        pathlib.Path | None,
        typer.Option(help="Draw here (PNG) which source token each token of the translation looked at; one sentence."),
    ] = None,
):
    """Translate sentences, or each line of standard input: one line out for each line in, in order, empty ones kept."""
    from keras_transformers.cli.texts import decoded_lines, progress
    from keras_transformers.extras import require

    texts = texts or []
    if attention is not None:
        require(matplotlib=True)
        if len(texts) != 1:
            raise ValueError(
                f"Expected one sentence to draw the attention of, got {len(texts)}. Give it as an argument."
            )
    lines = iter(texts) if texts else decoded_lines(sys.stdin.buffer, "standard input")
    # Whoever types wants an answer to each line.
    typed = not texts and sys.stdin.isatty()

    import keras_transformers as kt

    task = kt.Seq2SeqLM.from_preset(preset)
    if typed:
        print("A sentence a line; Ctrl-D ends.", file=sys.stderr)
    options = given(num_beams=num_beams, max_new_tokens=max_new_tokens, batch_size=batch_size)
    with progress("translating", total=len(texts) if texts else None) as advance:
        while chunk := list(itertools.islice(lines, 1 if typed else batch_size * BATCHES_AT_ONCE)):
            write(one_line(text) for text in task.translate(chunk, progress=advance, **options))
    if attention is not None:
        kt.plot_attention(task, texts[0], path=attention, **given(num_beams=num_beams, max_new_tokens=max_new_tokens))


def given(**options):
    """The options that the user gave; the preset settles the others."""
    return {name: value for name, value in options.items() if value is not None}


def one_line(text):
    """`text` without line ends: one inside of a translation would put the lines after it out of step."""
    return " ".join(text.splitlines())


def write(lines):
    """Print lines in UTF-8, whatever the terminal's settings say, and let them out at once."""
    sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode("utf-8"))
    sys.stdout.buffer.flush()
