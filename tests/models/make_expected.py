"""Makes expected.npz, what every backend must compute: `python -m tests.models.make_expected`, on any backend.

The models are small, their weights fixed numbers. Kept are logits, tokens found by greedy and beam search, and the loss
of 100 steps of training.
"""

import pathlib

import keras
import numpy as np

import keras_transformers as kt
from keras_transformers.layers import (
    Alibi,
    AttentionConfig,
    BlockConfig,
    EmbeddingsConfig,
    FeedForwardConfig,
    HeadConfig,
    Learned,
    RelativeBuckets,
    RMSNorm,
    Rotary,
    Sinusoidal,
    StackConfig,
)
from tests.layers.reference import fill

PATH = pathlib.Path(__file__).with_name("expected.npz")
SOURCE_SIZE, TARGET_SIZE, START, END = 60, 50, 1, 2


def _config(attention, feed_forward, *, positions=None, final_norm=False, **block):
    stack = StackConfig(2, BlockConfig(attention, feed_forward, **block), final_norm)
    return kt.ModelConfig(
        32,
        EmbeddingsConfig(SOURCE_SIZE, positions, scale=True),
        encoder=stack,
        decoder=stack,
        decoder_embeddings=EmbeddingsConfig(TARGET_SIZE, positions),
        head=HeadConfig(tied=False, use_bias=True),
    )


CONFIGS = {
    "original": kt.models.transformer(
        SOURCE_SIZE, num_layers=2, hidden_dim=32, num_heads=4, dropout=0.0, max_length=64
    ),
    "learned": _config(AttentionConfig(4), FeedForwardConfig(48, "gelu"), positions=Learned(64), norm_placement="pre"),
    "rotary": _config(
        AttentionConfig(4, 2, positions=Rotary(), use_bias=False),
        FeedForwardConfig(48, "silu", gated=True, use_bias=False),
        norm=RMSNorm(),
        norm_placement="pre",
        final_norm=True,
    ),
    "alibi": _config(
        AttentionConfig(4, 1, positions=Alibi(), window=5),
        FeedForwardConfig(48, "gelu_tanh", gated=True),
        norm=RMSNorm(unit_offset=True),
        norm_placement="around",
    ),
    "buckets": _config(
        AttentionConfig(4, head_dim=6, positions=RelativeBuckets(8, 12), soft_cap=4.0),
        FeedForwardConfig(48),
        positions=Sinusoidal(64, "halves"),
        norm_placement="pre",
    ),
}
# Each step size lets the loss fall well within 100 steps. Adam's epsilon is above the rounding errors that are all the
# gradient of a key's bias, so that these do not grow into steps.
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(3e-4, beta_2=0.98, epsilon=1e-7),
    "sgd": lambda: keras.optimizers.SGD(0.003),
}


def model(name):
    """The model of this name, its weights fixed."""
    return fill(kt.Seq2SeqLM(CONFIGS[name]), scale=0.2)


def inputs(rows=4, length=18, seed=0):
    """Token ids of real and of short rows, as a model takes them."""
    random = np.random.default_rng(seed)
    source = random.integers(3, SOURCE_SIZE, (rows, length))
    target = random.integers(3, TARGET_SIZE, (rows, length - 3))
    for row in range(1, rows):
        source[row, length - 4 * row :] = 0
        target[row, length - 3 - 4 * row :] = 0
    target[:, 0] = START
    return {"token_ids": source.astype("int32"), "decoder_token_ids": target.astype("int32")}


def sources():
    return [[int(token_id) for token_id in row if token_id] + [END] for row in inputs(seed=1)["token_ids"]]


def found(model, num_beams):
    """The tokens that a search finds, and with beams their scores."""
    config = kt.GenerationConfig(start_id=START, end_ids=(END,), max_new_tokens=12, num_beams=num_beams)
    return model.generate(sources(), config)


def losses(name, optimizer, steps=100):
    """The loss at each of some steps on 10 batches in turn."""
    trained = model(name)
    trained.compile(OPTIMIZERS[optimizer](), label_smoothing=0.1)
    kept = []
    for step in range(steps):
        x = inputs(seed=step % 10)
        y = np.concatenate([x["decoder_token_ids"][:, 1:], np.zeros((4, 1), "int32")], axis=1)
        trained.reset_metrics()  # some versions of Keras give the mean since the last reset
        kept.append(trained.train_on_batch(x, y, sample_weight=(y != 0).astype("float32"), return_dict=True)["loss"])
    return np.array([float(loss) for loss in kept])


TRAINED = {"original": "adam", "rotary": "adam", "buckets": "sgd"}

if __name__ == "__main__":
    expected = {}
    for name in CONFIGS:
        made = model(name)
        expected[f"{name}/logits"] = keras.ops.convert_to_numpy(made(inputs()))
        expected[f"{name}/greedy"] = found(made, 1).token_ids
        beams = found(made, 4)
        expected[f"{name}/beams"], expected[f"{name}/scores"] = beams.token_ids, beams.scores
    for name, optimizer in TRAINED.items():
        expected[f"{name}/losses"] = losses(name, optimizer)
    np.savez_compressed(PATH, **expected)
    print(f"{PATH}: {PATH.stat().st_size} bytes, made with {keras.backend.backend()}")
