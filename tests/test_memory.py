"""An error of a backend's that says that memory ran out says what to lower."""

import os
import pathlib
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers import memory


def too_much():
    keras.ops.convert_to_numpy(keras.ops.zeros((1 << 24, 1 << 24)) + 1.0)  # a million gigabytes


def notes(function, *arguments, **options):
    with pytest.raises(Exception) as caught:
        function(*arguments, **options)
    return [note for note in getattr(caught.value, "__notes__", []) if note.startswith("Memory")]  # JAX has its own


def test_advice_is_added_to_what_the_backend_says():
    assert notes(memory.advice("lower it.")(too_much)) == ["Memory ran out: lower it."]

    @memory.advice("lower it.")
    def other():
        raise ValueError("Expected room when memory is remembered.")

    assert notes(other) == []


def test_fit_says_what_to_lower():
    class Hog(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            too_much()

    model = kt.Seq2SeqLM(kt.models.transformer(20, num_layers=1, hidden_dim=8, num_heads=2, max_length=8))
    ids = np.ones((2, 4), "int32")
    said = notes(model.fit, {"token_ids": ids, "decoder_token_ids": ids}, ids, callbacks=[Hog()], verbose=0)
    assert len(said) == 1 and "batch_tokens" in said[0] and "rematerialize" in said[0]


FAULTS = """
import resource
import keras, torch
asked, empty = [], torch.empty
torch.empty = lambda *shape, **options: asked.append((shape, options))
import keras_transformers.backends
torch.empty = empty
import keras_transformers as kt
model = kt.CausalLM(kt.models.gpt(500, num_layers=2, hidden_dim=256, num_heads=4, max_length=600))
prompt, config = [[5] * 512], kt.GenerationConfig(max_new_tokens=1)
def faults():
    for _ in range(3):
        model.generate_ids(prompt, config)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def more():
    faults()
    before = faults()
    return faults() - before
without = more()
for shape, options in asked:  # of the library, as it was imported
    torch.empty(*shape, **options)
print(without, more())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back")
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the other backends ask for memory otherwise")
def test_pytorch_uses_memory_again():
    # In a process of its own: here a test before may have freed as large a block.
    path = os.pathsep.join([str(pathlib.Path(__file__).parents[1]), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, check=True)
    without, found = map(int, done.stdout.split())
    assert found < 500 < without
