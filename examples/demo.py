"""What `make demo` shows: an embedded preset translates, and draws which source word each target word looked at;
another writes a scene.

    KERAS_BACKEND=torch python examples/demo.py
    python examples/demo.py --preset my-model "Any sentence." "And another."

Needs the extra `train`, for the picture.
"""

import argparse
import pathlib
import time

import keras
import rich
from rich.markup import escape
from rich.table import Table

import keras_transformers as kt

SENTENCES = [
    "The house is small.",
    "I don't know where she lives.",
    "Can you help me find my keys?",
    "We were too tired to go out last night.",
    "He asked me if I had ever been to France.",
    "It's the best coffee I've ever had!",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    parser.add_argument("--preset", default="english-french", help="an embedded preset's name, a folder, hf://…")
    parser.add_argument("--picture", type=pathlib.Path, default=pathlib.Path("outputs") / "attention.png")
    parser.add_argument("--writer", default="shakespeare", help="a preset of a language model, named alike")
    parser.add_argument("--prompt", default="ROMEO:\n")
    options = parser.parse_args()

    begin = time.perf_counter()
    translator = kt.Seq2SeqLM.from_preset(options.preset)
    loaded = time.perf_counter()
    translations, scores = translator.translate(
        options.sentences, num_beams=4, length_penalty=1.0, max_new_tokens=64, return_scores=True
    )
    translated = time.perf_counter()
    print_table(options.sentences, translations, scores)
    longest = max(options.sentences, key=len)
    kt.plot_attention(translator, longest, num_beams=4, max_new_tokens=64, path=options.picture)

    print(f"{options.preset} on {keras.backend.backend()}: {translator.count_params():,} parameters, ", end="")
    print(f"loaded in {loaded - begin:.1f} s, translated in {translated - loaded:.1f} s (compilation included).")
    print(f"Where the translation of “{longest}” looked: {options.picture.absolute()}")

    print(f"\nAnd a scene by {options.writer}, word by word as it is made:\n")
    print(options.prompt, end="")
    for piece in kt.CausalLM.from_preset(options.writer).stream(options.prompt, max_new_tokens=120):
        print(piece, end="", flush=True)
    print()


def print_table(sources, translations, scores):
    """Sentences and translations side by side, with the mean log-probability of a token (0 is certain)."""
    table = Table("English", "French", "score")
    for source, translation, score in zip(sources, translations, scores, strict=True):
        table.add_row(escape(source), escape(translation), f"{score:.2f}")
    rich.print(table)


if __name__ == "__main__":
    main()
