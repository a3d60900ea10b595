"""Resizing the vocabulary of a model."""

import dataclasses
import typing

import keras
import numpy as np

from keras_transformers.models import changes
from keras_transformers.models.weights import assign, build_empty, named_weights
from keras_transformers.records import to_json


def with_vocabulary(model: typing.Any, size: int) -> typing.Any:
    """A new model with the weights of `model`, and a vocabulary of `size` tokens: see `Task.with_vocabulary`."""
    old = model.config.embeddings.vocabulary_size
    changed = {"embeddings": dataclasses.replace(model.config.embeddings, vocabulary_size=size)}
    if model.config.target_embeddings.shared_tokens:
        changed["decoder_embeddings"] = dataclasses.replace(model.config.decoder_embeddings, vocabulary_size=size)
    config = dataclasses.replace(model.config, **changed)
    changed = {**model.get_config(), "config": to_json(config), "tokenizer": None}
    transforms = changed.pop("transforms", {})
    changed.pop("shortlist", None)  # it would rule out new tokens
    if "quantization" in transforms:
        raise ValueError("Expected float weights to make room for tokens, got quantized ones. Add tokens first.")
    resized = build_empty(lambda: type(model).from_config(changed))
    changes.restore(resized, transforms)
    if model.tokenizer is not None:
        resized._check_tokenizer(model.tokenizer)
    resized.tokenizer = model.tokenizer
    tensors = {}
    for (name, weight), new in zip(named_weights(model).items(), named_weights(resized).values(), strict=True):
        array = keras.ops.convert_to_numpy(weight)
        for axis, (before, after) in enumerate(zip(weight.shape, new.shape, strict=True)):
            if before == old and after == size != old:
                array = _resized(array, axis, after)
        tensors[name] = array
    assign(resized, tensors, "this model")
    resized.origin = model.origin
    return resized


def _resized(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Resize an array to `size` along an axis. New rows are the mean of the others."""
    kept = array.take(range(min(array.shape[axis], size)), axis)
    mean = array.mean(axis, keepdims=True, dtype="float32").astype(array.dtype)
    return np.concatenate([kept, *[mean] * (size - array.shape[axis])], axis)
