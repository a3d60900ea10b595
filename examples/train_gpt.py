"""Train a small GPT on one text, from a tokenizer of its own to a preset that writes on.

    python examples/train_gpt.py --data input.txt --output presets/shakespeare
    python examples/train_gpt.py --epochs 2 --num-layers 2 --hidden-dim 64     # without data: a small text of its own

`--data` is a text file (.gz too), such as Shakespeare's plays as nanoGPT learns them (tinyshakespeare). The last tenth
is held out. Training keeps a checkpoint in `--work` every few minutes; the same command goes on where it stopped.
"""

import argparse
import itertools
import pathlib

import keras

import keras_transformers as kt
from keras_transformers.files.lines import read_text
from keras_transformers.training import Checkpoint, LearningCurve

END = "<|endoftext|>"


def own_text():
    """A few hundred lines from a small grammar, for a run without data."""
    speakers = ("FIRST VOICE", "SECOND VOICE", "THIRD VOICE")
    subjects = ("the moon", "my brother", "a ship", "the old king", "no one")
    verbs = ("hears", "follows", "forgets", "waits for")
    things = ("the sea", "a bell", "the night", "his daughter", "the road")
    sentences = itertools.product(subjects, verbs, things)
    return "\n\n".join(
        f"{speakers[number % 3]}:\n{subject.capitalize()} {verb} {thing}, and {things[number % 5]} too."
        for number, (subject, verb, thing) in enumerate(sentences)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(".cache/train_gpt"))
    parser.add_argument("--output", type=pathlib.Path, help="where to save the preset; by default inside --work")
    parser.add_argument("--vocabulary-size", type=int, default=1024)
    parser.add_argument("--num-layers", type=int, default=4)
    parser.add_argument("--hidden-dim", type=int, default=256)
    parser.add_argument("--num-heads", type=int, default=4)
    parser.add_argument("--context", type=int, default=256, help="tokens that the model sees at once")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch-size", type=int, default=8, help="rows of so many tokens as the context has")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dtype", help='such as "mixed_bfloat16", twice as fast on a CPU that has it')
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    text = read_text(options.data) if options.data else own_text()
    end = len(text) * 9 // 10
    train, held_out = text[:end], text[end:]
    tokenizer = kt.Tokenizer.train(
        [train],
        vocabulary_size=options.vocabulary_size,
        end_token=END,
        padding_token=None,
        start_token=None,
        unknown_token=None,
    )
    config = kt.models.gpt(
        tokenizer.vocabulary_size,
        num_layers=options.num_layers,
        hidden_dim=options.hidden_dim,
        num_heads=options.num_heads,
        max_length=options.context,
        dropout=options.dropout,
    )
    model = kt.CausalLM(config, tokenizer, dtype=options.dtype)
    print(kt.explain(model))
    tokens = len(tokenizer.encode([train])[0])
    print(f"{len(train):,} characters to learn, {tokens:,} tokens, {len(train) / tokens:.2f} characters in each")

    model.fit(
        [train],
        batch_size=options.batch_size,
        epochs=options.epochs,
        seed=options.seed,
        validation_data=[held_out],
        callbacks=[Checkpoint(options.work / "checkpoints"), LearningCurve(options.work / "curve.png")],
        verbose=2,
    )

    output = options.output or options.work / "preset"
    model.save_to_preset(output, dtype="float16")
    print(f"saved to {output}")
    model = kt.CausalLM.from_preset(output)  # as it was stored, in float32
    loss = model.evaluate([held_out], batch_size=options.batch_size, verbose=0)["loss"]
    per_character = loss * len(tokenizer.encode([held_out])[0]) / len(held_out)
    print(f"held out: {loss:.4f} a token, {per_character:.4f} a character ({per_character / 0.6931472:.4f} bits)")


if __name__ == "__main__":
    main()
