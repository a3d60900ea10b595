"""Each task, as small as can be, with examples that need no tokenizer."""

import keras
import numpy as np

import keras_transformers as kt
from keras_transformers.data.batches import Batches
from keras_transformers.data.examples import NO_LABEL, Examples
from keras_transformers.data.pairs import Pairs, Ragged
from keras_transformers.tasks.masked_lm import MaskedExamples

TOKENS, CLASSES, LENGTH = 24, 3, 12
TASKS = (
    "TextClassifier",
    "TokenClassifier",
    "QuestionAnswerer",
    "TextEmbedder",
    "MaskedLM",
    "CausalLM",
    "Seq2SeqLM",
)


def task(name, seed=1, **options):
    """The task of that name, the same weights each time."""
    keras.utils.set_random_seed(seed)
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "max_length": LENGTH, "dropout": 0.0}
    recipe = {"CausalLM": kt.models.gpt, "Seq2SeqLM": kt.models.transformer}.get(name, kt.models.encoder)
    if name in ("TextClassifier", "TokenClassifier"):
        options.setdefault("labels", ["low", "middle", "high"])
    return getattr(kt, name)(recipe(TOKENS, **sizes), **options)


def examples(name, count=13, seed=0, sample_weight=None):
    """Examples of unequal lengths for it."""
    draw = np.random.default_rng(seed)

    def rows(lengths):
        return Ragged.join([draw.integers(4, TOKENS, length).astype("int32") for length in lengths])

    lengths = draw.integers(3, LENGTH + 1, count)
    ids, weights = rows(lengths), np.ones(count, "float32") if sample_weight is None else sample_weight
    columns = {"token_ids": ids}
    if name == "Seq2SeqLM":
        return Pairs(ids, rows(lengths - 1), 0, 2)
    if name == "MaskedLM":
        real = Ragged.join([np.arange(length, dtype="int32") for length in lengths])
        return MaskedExamples(
            columns, None, weights, 0, maskable=real, mask_rate=0.4, mask_id=3, vocabulary_size=TOKENS
        )
    if name == "TextEmbedder":
        return Examples({**columns, "positive_token_ids": rows(lengths)}, None, weights, 0)
    if name == "TextClassifier":
        labels = draw.integers(0, CLASSES, count).astype("int32")
    elif name == "QuestionAnswerer":
        labels = np.stack([draw.integers(0, lengths), draw.integers(0, lengths)], axis=1).astype("int32")
    else:
        size = CLASSES if name == "TokenClassifier" else TOKENS
        labels = [draw.integers(0, size, length).astype("int32") for length in lengths]
        labels = Ragged.join(
            [np.where(draw.random(len(each)) < 0.8, each, NO_LABEL).astype("int32") for each in labels]
        )
    return Examples(columns, labels, weights, 0)


def batches(name, batch_size=4, shuffle=False, **options):
    """`Batches` of them, the last of which is filled up; of two lengths where that is no second compilation."""
    num_buckets = 2 if keras.backend.backend() == "torch" else 1
    return Batches(examples(name, **options), batch_size=batch_size, num_buckets=num_buckets, shuffle=shuffle)


def weights(model):
    """Its trainable weights, numpy arrays of float32."""
    return [keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in model.trainable_weights]


def moved(before, after):
    """How far weights went, in all."""
    return sum(float(np.abs(a - b).sum()) for a, b in zip(before, after, strict=True))
