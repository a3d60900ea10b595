"""`keras-transformers generate`: a prompt or line in, its continuation out, streamed."""

import dataclasses
import sys
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.options import command_of_records
from keras_transformers.apps.cli.texts import given
from keras_transformers.apps.cli.translate import write


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a text goes on."""

    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The maximum length of a continuation, in tokens.")
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The sampling temperature: 1 as the model says, below 1 for likelier tokens; 0 is greedy decoding.",
        ),
    ] = None
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample among this many likeliest tokens.")] = None
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Sample among the likeliest tokens with this total probability.")
    ] = None
    num_beams: Annotated[int | None, typer.Option(min=1, help="The number of beams instead of the preset's.")] = None
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; repeat for more.")] = None
    seed: Annotated[int | None, typer.Option(help="The seed of sampling.")] = None

    def options(self) -> dict[str, Any]:
        """Return the arguments of `CausalLM.generate` that the user gave."""
        stop = tuple(map(_with_line_ends, self.stop or ()))
        options = given(**{**dataclasses.asdict(self), "stop": stop or None})
        if {"temperature", "top_k", "top_p"} & set(options):
            options["do_sample"] = self.temperature != 0
        if self.temperature == 0:
            del options["temperature"]
        return options


def _with_line_ends(text: str) -> str:
    """Return `text` with line ends for the two characters "\\n" that a shell passes, as in prompts for plays."""
    return text.replace("\\n", "\n")


@command_of_records
def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="Prompts; by default the lines of standard input.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, a GGUF file, hf://…")] = "shakespeare",
    *,
    sampling: Sampling,
) -> None:
    """Continue prompts. One prompt is streamed with its continuation; several are written one a line. A blank line of
    standard input stays blank."""
    from keras_transformers.files.lines import decoded_lines

    texts = [_with_line_ends(text) for text in prompts or []]
    typed = not texts and sys.stdin.isatty()

    import keras_transformers as kt
    from keras_transformers.apps.files import one_line

    task, options = kt.CausalLM.from_preset(preset), sampling.options()
    if typed:
        print("A prompt a line; Ctrl-D ends.", file=sys.stderr)
    lines = texts or decoded_lines(sys.stdin.buffer, "standard input")
    for text in lines:
        if not texts and not text.strip():
            write([text])
        elif sampling.num_beams in (None, 1) and (typed or len(texts) == 1):
            _stream(task, text, options)
        else:
            write([one_line(task.generate(text, return_prompt=True, **options))])


def _stream(task: Any, prompt: str, options: dict[str, Any]) -> None:
    """Write a prompt and its continuation in UTF-8, piece by piece."""
    out = sys.stdout.buffer
    out.write(prompt.encode("utf-8"))
    for piece in task.stream(prompt, **options):
        out.write(piece.encode("utf-8"))
        out.flush()
    out.write(b"\n")
    out.flush()
