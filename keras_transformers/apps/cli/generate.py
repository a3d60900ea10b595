"""`keras-transformers generate`: a prompt or line in, its continuation out, streamed."""

import sys
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.texts import given
from keras_transformers.apps.cli.translate import write


def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="Prompts. Without any, each line of standard input is one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A preset: a name, a folder, a GGUF file, hf://…")] = "shakespeare",
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The longest continuation, in tokens.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Sample: 1 as the model says, less for surer words; 0: the likeliest.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample among so many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="… among the likeliest of this share.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="Beams, not the preset's own number.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(help="What sampling starts from.")] = None,
) -> None:
    """Continue prompts. One prompt is streamed with its continuation; several are written one a line. A blank line of
    standard input stays blank."""
    from keras_transformers.files.lines import decoded_lines

    # A shell passes \n as two characters; prompts for plays and chats mean a line end.
    texts = [text.replace("\\n", "\n") for text in prompts or []]
    typed = not texts and sys.stdin.isatty()

    import keras_transformers as kt
    from keras_transformers.apps.files import one_line

    task = kt.CausalLM.from_preset(preset)
    options = given(max_new_tokens=max_new_tokens, top_k=top_k, top_p=top_p, num_beams=num_beams, seed=seed)
    if stop:
        options["stop"] = tuple(text.replace("\\n", "\n") for text in stop)
    if temperature == 0:
        options["do_sample"] = False
    elif temperature is not None or top_k is not None or top_p is not None:
        options |= {"do_sample": True, **given(temperature=temperature)}
    if typed:
        print("A prompt a line; Ctrl-D ends.", file=sys.stderr)
    lines = texts or decoded_lines(sys.stdin.buffer, "standard input")
    for text in lines:
        if not texts and not text.strip():
            write([text])
        elif num_beams in (None, 1) and (typed or len(texts) == 1):
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
