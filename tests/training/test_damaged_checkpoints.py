"""A checkpoint that is not as it was saved is passed over for an older one, and said; two processes share no folder."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_transformers.data.batches import Position
from keras_transformers.files import ownership
from keras_transformers.training.checkpoints import Checkpoint, average_weights, checkpoints
from keras_transformers.training.fitting import fit_batches
from tests.training.stand_in import compiled
from tests.training.test_callbacks import batches

pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("run"), compiled()
    fit_batches(model.fit, batches(), epochs=2, callbacks=[Checkpoint(folder, keep=2)], verbose=0)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return pathlib.Path(shutil.copytree(run, tmp_path / "run"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)


def say(**changes):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


SHOWN = [  # without hashes too, as older versions left them
    ("model.safetensors", lambda path: path.write_bytes(b"")),
    ("state.json", lambda path: path.write_text("[" * 100_000)),
    ("state.json", say(step="7")),
    ("state.json", say(epoch=-1)),
    ("state.json", say(paths={"weights": 3})),
    ("state.json", lambda path: path.unlink()),
]
BY_HASH = [(name, flip) for name in ("model.safetensors", "state.json", "SHA256SUMS")]


@pytest.mark.parametrize(
    "name, damage, hashes",
    [(*each, True) for each in BY_HASH + SHOWN] + [(*each, False) for each in SHOWN],
)
def test_a_damaged_checkpoint_is_passed_over(copy, name, damage, hashes):
    newest = checkpoints(copy)[-1]
    damage(newest / name)
    if not hashes:
        (newest / "SHA256SUMS").unlink()
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged, was renamed"):
        position = Checkpoint(copy).restore(compiled())
    assert position == Position(1, 0, position.step) and len(checkpoints(copy)) == 1


def test_averages_are_of_whole_checkpoints_alone(copy):
    flip(checkpoints(copy)[-1] / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors has the SHA-256"):
        average_weights(compiled(), copy, last=2)


def test_the_weights_of_a_whole_one_come_back(copy):
    model = compiled()
    assert Checkpoint(copy).restore(model).epoch == 2
    assert all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.weights)


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_folder_that_another_process_trains_in_is_refused(tmp_path):
    program = "import pathlib, sys\nfrom keras_transformers.files import ownership\n"
    program += "ownership.take(pathlib.Path(sys.argv[1])); print('taken', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "taken\n"
        model = compiled()
        with pytest.raises(ValueError, match=f"used by one process at a time, got process {other.pid} in it"):
            fit_batches(model.fit, batches(), epochs=1, callbacks=[Checkpoint(tmp_path)], verbose=0)
    finally:
        other.communicate("")
    fit_batches(model.fit, batches(), epochs=1, callbacks=[Checkpoint(tmp_path)], verbose=0)
    assert len(checkpoints(tmp_path)) == 1 and tmp_path.resolve() not in ownership._held
