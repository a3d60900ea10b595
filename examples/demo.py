"""What `make demo` shows: an embedded preset translates, and draws which source word each target word looked at.

KERAS_BACKEND=torch python examples/demo.py
"""

import pathlib

import keras

import keras_transformers as kt

SENTENCES = [
    "The house is small.",
    "I don't know where she lives.",
    "Can you help me find my keys?",
]
PICTURE = pathlib.Path("outputs") / "attention.png"


def main():
    translator = kt.Seq2SeqLM.from_preset("english-french")
    print(f"english-french on {keras.backend.backend()}, {translator.count_params():,} parameters\n")
    for sentence, translation in zip(SENTENCES, translator.translate(SENTENCES), strict=True):
        print(f"{sentence}\n  → {translation}")
    PICTURE.parent.mkdir(exist_ok=True)
    kt.plot_attention(translator, SENTENCES[1], path=PICTURE)
    print(f"\nThe attention of the second translation: {PICTURE.absolute()}")


if __name__ == "__main__":
    main()
