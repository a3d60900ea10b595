"""Train the published small Transformer on Multi30k English→German, and score it as its authors did.

    python examples/train_multi30k.py --data $KERAS_TRANSFORMERS_DATA/multi30k-bpe10k --seed 1

Wu et al. 2021 ("Good for Misconceived Reasons", ACL; code LividWo/Revisit-MMT) report BLEU 41.02 on test 2016 for their
text-only Transformer: 4+4 layers of width 128, feed-forward width 256, 4 heads, dropout 0.3, all embeddings shared;
Adam with a learning rate of 0.005 after 2,000 steps of warm-up, then the inverse square root; label smoothing 0.1; at
most 8,000 updates, stopped after 10 epochs without a better validation loss; the last 10 epochs' weights averaged; beam
5. An update sees 4,096 tokens on each of two processors, as their README-baseline.md runs it: 8,192 here. All of that
is `multi30k.yaml`. `--data` is that paper's data: lower-cased, tokenised, split by a joint byte-pair code of 10,000
merges (`@@` marks a piece that goes on).

All of the run lies in `--work`, and the same command goes on where it stopped. Results go to `results.json` there, the
learning curve to `curve.png`.
"""

import argparse
import json
import pathlib

import keras
import tokenizers

import keras_transformers as kt
from keras_transformers.apps.runs import read_run, train_translation
from keras_transformers.files.lines import read_lines
from keras_transformers.training import bleu


def read(folder, part):
    """The English and German lines of one part, still split into pieces."""
    return [read_lines(folder / f"{part}.{language}.gz") for language in ("en", "de")]


def piece_tokenizer(lines):
    """A tokenizer for text that is split into pieces already: every piece between two spaces is a token."""
    pieces = sorted({piece for line in lines for piece in line.split()})
    vocabulary = {piece: token_id for token_id, piece in enumerate(["<pad>", "<unk>", "<s>", "</s>", *pieces])}
    engine = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return kt.Tokenizer(engine)


def join(lines):
    """Pieces to words."""
    return [f"{line} ".replace("@@ ", "").strip() for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, help="by default .cache/train_multi30k/seed-<seed>")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="another setting, such as training.updates=100")
    options = parser.parse_args()
    work = options.work or pathlib.Path(".cache/train_multi30k") / f"seed-{options.seed}"

    files = {"": "train", "validation_": "valid"}
    sides = {"source": "en", "target": "de"}
    changes = [
        f"data.{when}{side}={options.data / part}.{language}.gz"
        for when, part in files.items()
        for side, language in sides.items()
    ]
    changes += [f"output={work}", f"training.seed={options.seed}", *options.set]
    run = read_run(pathlib.Path(__file__).with_name("multi30k.yaml"), changes)
    sources, targets = read(options.data, "train")
    model, report = train_translation(run, piece_tokenizer([*sources, *targets]), verbose=2)
    print(kt.explain(model))

    results = {"seed": options.seed, "updates": report["updates"], "backend": keras.backend.backend()}
    for part in ("test.2016", "test.2017", "test.coco"):
        sources, references = read(options.data, part)
        translations = join(model.translate(sources, batch_size=64))
        for name, settings in (("tokenised", {"tokenize": "none", "force": True}), ("sacrebleu", {"force": True})):
            score = bleu(translations, join(references), **settings)
            results[f"{part} {name}"] = {"bleu": round(score.score, 2), "signature": score.signature}
            print(f"{part:<10} {name:<10} BLEU {score.score:.2f}  {score.signature}")
    (work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
