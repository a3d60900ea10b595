"""Training steps as the benchmarks of training take them: forward, backward and AdamW, the same settings for all."""

import contextlib
import os

import numpy as np


def optimizer():
    """Keras's, of ours and KerasHub's."""
    import keras

    return keras.optimizers.AdamW(1e-4, weight_decay=0.01)


def pytorch(model, columns, rows, loss):
    """`run()`: a step for each batch of `rows` of the integer arrays `columns`; `loss(*batch)` is of `model`."""
    import torch

    adamw = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    batches = list(zip(*(torch.tensor(each.astype("int64")).split(rows) for each in columns), strict=True))

    autocast = os.environ.get("BENCH_AUTOCAST")  # the harness says whether to mix dtypes, and where

    def run():
        for batch in batches:
            with torch.autocast(autocast, torch.bfloat16) if autocast else contextlib.nullcontext():
                value = loss(*batch)
            value.backward()
            adamw.step()
            adamw.zero_grad()
        value.item()

    return run


def keras_hub(model, inputs, labels, rows):
    """`run()`: KerasHub's own `fit`, in order, each label counting alike."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(), loss, weighted_metrics=[])
    options = {"sample_weight": np.ones(labels.shape, "float32"), "batch_size": rows, "shuffle": False}
    return lambda: model.fit(inputs, labels, verbose=0, **options)
