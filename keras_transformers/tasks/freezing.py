"""Freezing: layers that training does not change."""

import typing

from keras_transformers.transforms.lora import has_lora


def freeze(model: typing.Any, embeddings: bool, layers: int | bool) -> None:
    """Freeze the embeddings and the first layers of a task: see `Task.freeze`."""
    if has_lora(model):
        raise ValueError("Expected a model without adapters, beside which all is frozen. Call merge_lora first.")
    stack = model.backbone.decoder if model.backbone.encoder is None else model.backbone.encoder
    count, whole = len(stack.blocks), stack.num_layers
    if layers is not True and layers not in range(whole + 1):
        raise ValueError(f"Expected from 0 to {whole} layers, as the {stack.name} has, got {layers}.")
    frozen, rest = (count, 0) if layers is True else divmod(layers * count, whole)
    if rest:
        raise ValueError(
            f"Expected a multiple of {whole // count} layers, which share their weights, got {layers}. Give True "
            "for all."
        )
    model.backbone.embedding.trainable = not embeddings
    stack.trainable = frozen < count
    for number, block in enumerate(stack.blocks):
        block.trainable = number >= frozen
