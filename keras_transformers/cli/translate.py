"""`keras-transformers translate`: arguments, or line in, line out."""

import itertools
import sys
from typing import Annotated

import typer

# Lines read before the first is translated, in batches: enough to sort by length, few enough to see results flow.
BATCHES_AT_ONCE = 8


def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Sentences. Without any, each line of standard input is one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, hf://…, package://…")] = "english-french",
    num_beams: Annotated[int, typer.Option(min=1, help="Beams; 1 is greedy.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences computed at a time.")] = 32,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The longest translation, in tokens.")] = None,
):
    """Translate sentences, or each line of standard input: one line out for each line in, in order, empty ones kept."""
    import keras_transformers as kt

    task = kt.Seq2SeqLM.from_preset(preset)
    options = {"num_beams": num_beams, "batch_size": batch_size}
    if max_new_tokens is not None:
        options["max_new_tokens"] = max_new_tokens
    if texts:
        write(translated(task, texts, options))
        return
    from keras_transformers.cli.texts import decoded_lines, progress

    lines = decoded_lines(sys.stdin.buffer, "standard input")
    # Whoever types wants an answer to each line.
    size = 1 if sys.stdin.isatty() else batch_size * BATCHES_AT_ONCE
    with progress("translating") as advance:
        while chunk := list(itertools.islice(lines, size)):
            write(translated(task, chunk, options))
            advance(len(chunk))


def translated(task, texts, options):
    """The translation of each text, in order; of an empty text, or spaces only, an empty one."""
    filled = [text for text in texts if text.strip()]
    translations = iter(task.translate(filled, **options) if filled else [])
    # A newline inside of a translation would put the lines after it out of step.
    return [" ".join(next(translations).splitlines()) if text.strip() else "" for text in texts]


def write(lines):
    """Print lines in UTF-8, whatever the terminal's settings say, and let them out at once."""
    sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode("utf-8"))
    sys.stdout.buffer.flush()
