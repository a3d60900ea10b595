"""Train a small English→French model from our own layers, and save it as a preset.

    python examples/train_translation.py --data fra-eng.zip --output presets/english-french
    python examples/train_translation.py --epochs 3          # without data: a small set of its own, in a minute

`--data` is the sentence pairs of manythings.org/anki (tatoeba.org, CC-BY 2.0): the zip, or a file of lines
"English<tab>French". `--test` names a folder with an OPUS-MT test set (`*.eng.gz`, `*.fra.gz`): its sentences are taken
out of the training pairs, and the model is scored on it. Training keeps a checkpoint in `--work` every few minutes; the
same command goes on where it stopped.
"""

import argparse
import dataclasses
import itertools
import pathlib
import random
import zipfile

import keras

import keras_transformers as kt
from keras_transformers.data import translation_batches
from keras_transformers.files.lines import read_lines, read_text
from keras_transformers.training import (
    Checkpoint,
    CoolDown,
    InverseSquareRoot,
    LearningCurve,
    TranslationQuality,
    average_weights,
)
from keras_transformers.training.metrics import bleu, chrf


def own_pairs():
    """A few hundred sentences from a small grammar, for a run without data."""
    subjects = {"I": "je", "you": "tu", "we": "nous"}
    verbs = {
        "see": {"I": "vois", "you": "vois", "we": "voyons"},
        "eat": {"I": "mange", "you": "manges", "we": "mangeons"},
        "want": {"I": "veux", "you": "veux", "we": "voulons"},
    }
    things = {"bread": "pain", "cat": "chat", "book": "livre", "cake": "gâteau", "train": "train", "boat": "bateau"}
    colours = {"red": "rouge", "yellow": "jaune", "strange": "étrange", "sad": "triste"}
    for (subject, french), verb, thing, colour in itertools.product(subjects.items(), verbs, things, colours):
        yield (
            f"{subject} {verb} the {colour} {thing}.",
            f"{french} {verbs[verb][subject]} le {things[thing]} {colours[colour]}.",
        )


def read_pairs(path):
    """Lines of "English<tab>French…", from a zip or a file."""
    if path.suffix == ".zip":
        archive = zipfile.ZipFile(path)
        (name,) = [name for name in archive.namelist() if name.endswith(".txt") and not name.startswith("_")]
        text = archive.read(name).decode("utf-8")
    else:
        text = read_text(path)
    return [tuple(line.split("\t")[:2]) for line in text.split("\n") if "\t" in line]


def read_test(folder):
    """English and French lines of an OPUS-MT test set."""
    sides = []
    for language in ("eng", "fra"):
        (path,) = folder.glob(f"*.{language}.gz")
        sides.append(read_lines(path))
    return sides


def without(pairs, sources, targets):
    """The pairs neither of whose sides stands in the test set, capitals and punctuation aside."""

    def bare(text):
        return "".join(character for character in text.lower() if character.isalnum())

    seen_sources, seen_targets = {bare(text) for text in sources}, {bare(text) for text in targets}
    return [pair for pair in pairs if bare(pair[0]) not in seen_sources and bare(pair[1]) not in seen_targets]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--test", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(".cache/train_translation"))
    parser.add_argument("--output", type=pathlib.Path, help="where to save the preset; by default inside --work")
    parser.add_argument("--vocabulary-size", type=int, default=8000)
    parser.add_argument("--num-layers", type=int, default=3)
    parser.add_argument("--hidden-dim", type=int, default=256)
    parser.add_argument("--num-heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--peak-learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--warmup-steps", type=int, default=1500)
    parser.add_argument(
        "--cool-down", type=int, default=10, help="epochs, the last, of a learning rate that falls to 0"
    )
    parser.add_argument("--dtype", help='such as "mixed_bfloat16", twice as fast on a CPU that has it')
    parser.add_argument("--average", type=int, default=1, help="how many of the last epochs' weights to average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-beams", type=int, default=4, help="of the saved preset")
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    pairs = read_pairs(options.data) if options.data else list(own_pairs())
    test = read_test(options.test) if options.test else None
    if test is not None:
        pairs = without(pairs, *test)
    random.Random(options.seed).shuffle(pairs)
    held_out = min(1000, len(pairs) // 10)
    validation, (sources, targets) = (
        [list(side) for side in zip(*part, strict=True)] for part in (pairs[:held_out], pairs[held_out:])
    )
    print(f"{len(sources)} training pairs, {held_out} to validate on, {0 if test is None else len(test[0])} to test on")

    # No-break spaces, soft hyphens and the like become what a reader takes them for.
    tokenizer = kt.Tokenizer.train(
        [*sources, *targets], vocabulary_size=options.vocabulary_size, normalization="nmt_nfc"
    )
    config = kt.models.transformer(
        tokenizer.vocabulary_size,
        num_layers=options.num_layers,
        hidden_dim=options.hidden_dim,
        num_heads=options.num_heads,
        dropout=options.dropout,
        max_length=256,
        padding_id=tokenizer.padding_id,
    )
    model = kt.Seq2SeqLM(config, tokenizer=tokenizer, dtype=options.dtype)
    print(kt.explain(model))

    batches = translation_batches(
        sources, targets, tokenizer=tokenizer, batch_tokens=options.batch_tokens, max_length=256, seed=options.seed
    )
    schedule = InverseSquareRoot(options.peak_learning_rate, options.warmup_steps)
    if options.cool_down:
        epochs = min(options.cool_down, options.epochs)
        schedule = CoolDown(schedule, options.epochs * len(batches), epochs * len(batches))
    model.compile(keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9))
    model.fit(
        batches,
        epochs=options.epochs,
        validation_data=tuple(validation),
        callbacks=[
            Checkpoint(options.work / "checkpoints", keep=options.average),
            TranslationQuality(validation[0][:500], validation[1][:500], max_new_tokens=64),
            LearningCurve(options.work / "curve.png"),
        ],
        verbose=2,
    )

    average_weights(model, options.work / "checkpoints", last=min(options.average, options.epochs))
    model.generation = dataclasses.replace(model.generation, num_beams=options.num_beams)
    output = options.output or options.work / "preset"
    model.save_to_preset(output, dtype="float16")
    print(f"saved to {output}")
    sources, references = test or validation
    translations = model.translate(sources, batch_size=64)
    for score in (bleu(translations, references), chrf(translations, references)):
        print(f"{score.score:.2f}  {score.signature}")


if __name__ == "__main__":
    main()
