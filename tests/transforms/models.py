"""Small models to transform, the same on every backend, and what they compute."""

import numpy as np
from keras import ops

import keras_transformers as kt
from keras_transformers.transforms.lora import LoraDense
from keras_transformers.transforms.sublayers import named_sublayers
from tests.layers.reference import fill, numbers

VOCABULARY = 67
TOKEN_IDS = np.random.default_rng(0).integers(6, 60, (3, 20)).astype("int32")
LABELS = np.array([0, 1, 2])


def classifier(**options):
    config = kt.models.encoder(VOCABULARY, num_layers=2, hidden_dim=32, num_heads=4, max_length=40, dropout=0.0)
    return fill(kt.TextClassifier(config, num_classes=3, **options))


def translator(**options):
    config = kt.models.transformer(VOCABULARY, num_layers=2, hidden_dim=32, num_heads=4, max_length=32, dropout=0.0)
    return fill(kt.Seq2SeqLM(config, **options))


def with_numbers(model, seed=1, scale=0.2):
    """Adapters that are no longer without effect."""
    for number, (_, adapter) in enumerate(sorted(named_sublayers(model, LoraDense).items())):
        for part in (adapter.lora_A, adapter.lora_B):
            part.kernel.assign(numbers(tuple(part.kernel.shape), seed + number, scale))
    return model


def outputs(model, token_ids=TOKEN_IDS):
    """Logits, or what the body gives to a pooler."""
    compute = model.backbone if type(model).__name__ == "TextEmbedder" else model
    inputs = {"token_ids": token_ids}
    if type(model).__name__ == "Seq2SeqLM":
        inputs["decoder_token_ids"] = token_ids[:, :9]
    return ops.convert_to_numpy(compute(inputs))


def step(model):
    """One step of training on a few rows; the loss before it."""
    model.reset_metrics()
    return float(model.train_on_batch({"token_ids": TOKEN_IDS}, LABELS, return_dict=True)["loss"])


def generated(model, **settings):
    """What a translator makes of three sources."""
    config = model.generation_config(start_id=1, max_new_tokens=8, **settings)
    return np.asarray(model.generate([[5, 6, 7, 2], [8, 2], [9, 5, 2]], config).token_ids)
