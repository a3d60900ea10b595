"""A training run for test_callbacks to kill: `python -m tests.training.interrupted_run FOLDER LOSSES`.

It goes on where the newest checkpoint in FOLDER stopped, and appends a line "step loss" to LOSSES after each step.
"""

import sys

import keras

from keras_transformers.data.batches import Position, translation_batches
from keras_transformers.training.checkpoints import Checkpoint
from keras_transformers.training.fitting import fit_batches
from tests.training.stand_in import CharacterTokenizer, compiled, sentences

EPOCHS = 2
AVERAGE = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4}


class Journal(keras.callbacks.Callback):
    """Writes the running loss of the epoch after each step, so that the restored metrics count too."""

    def __init__(self, path, position):
        super().__init__()
        self.path, self.step = path, position.step

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        with open(self.path, "a") as file:
            file.write(f"{self.step} {float(logs['loss'])!r} {float(logs['perplexity'])!r}\n")


def train(folder, losses):
    # 16 MB with Adam's moments and averages: a kill finds it being written
    model = compiled(AVERAGE, vocabulary_size=4000, hidden_dim=128)
    batches = translation_batches(
        *sentences(60), tokenizer=CharacterTokenizer(), batch_tokens=128, num_buckets=2, seed=5
    )
    checkpoint = Checkpoint(folder, every_steps=2)
    position = checkpoint.restore(model) or Position()
    fit_batches(
        model.fit,
        batches,
        position=position,
        epochs=EPOCHS,
        callbacks=[checkpoint, Journal(losses, position)],
        verbose=0,
    )
    return model, batches


if __name__ == "__main__":
    train(*sys.argv[1:])
