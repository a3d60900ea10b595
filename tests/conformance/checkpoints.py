"""A checkpoint of each case on disk, made without transformers: its weights are fixed numbers that depend on the names
of their tensors alone, so that every backend, and transformers, computes with the same."""

import functools
import pathlib
import tempfile
import zlib
from unittest import mock

import keras
import numpy as np

from keras_transformers.formats import preset, safetensors_files
from keras_transformers.models.weights import build_empty, named_weights
from keras_transformers.tasks import presets
from tests.conformance.cases import CHECKPOINTS, task_class


def tensors(case, head):
    """The tensors of a case with a `Head`, by their names in the file."""
    return _tensors(_empty(case, head), case, head)


def _empty(case, head):
    values = case.config_file(head)
    cls = task_class(head)
    return build_empty(lambda: cls(case.family.config(values), **cls._read_values(values)))


def _tensors(model, case, head):
    new = {name: _new(weight) for name, weight in named_weights(model).items()}
    written = case.family.table(model.config, head).write(new)
    return {name: _numbers(name, array) for name, array in written.items()}


def _new(weight):
    """A weight as it is before training, if it may scale the output of a norm; of any other its shape alone counts."""
    scales = isinstance(weight._initializer, keras.initializers.Ones)
    return np.full(weight.shape, float(scales), "float32")


def _numbers(name, new):
    """Normal numbers in the place of new ones; what scales the output of a norm is near those, 1 or 0."""
    random = np.random.default_rng((zlib.crc32(name.encode()), *new.shape))
    scales = name.endswith("weight") and new.ndim == 1
    return (random.normal(size=new.shape) * 0.2 + scales * new).astype("float32")


_made = {}  # models without values, by the names of their checkpoints


@functools.cache
def folder(name):
    """The folder of a checkpoint of `CHECKPOINTS`; it stays until the program ends."""
    case, head = CHECKPOINTS[name]
    path = pathlib.Path(_scratch().name) / name.replace("/", "-")
    _made[name] = _empty(case, head)
    arrays = _tensors(_made[name], case, head)
    path.mkdir()  # without waiting for the disk, as `save_folder` does
    (path / "config.json").write_bytes(preset.json_bytes(case.config_file(head)))
    safetensors_files.write_tensors(path / preset.WEIGHTS, arrays)
    return path


@functools.cache
def _scratch():
    return tempfile.TemporaryDirectory(prefix="conformance-")


@functools.cache
def model(name):
    """Our model of a checkpoint of `CHECKPOINTS`, for tests that leave it as it is. It fills the model that told the
    names of its tensors: building another takes as long as all else."""
    path = folder(name)
    made = _made.pop(name)
    with mock.patch.object(presets, "build_empty", lambda make: made):
        return load(path, CHECKPOINTS[name][1])


def load(path, head, **arguments):
    """Our model of a checkpoint in a folder."""
    return task_class(head).from_preset(path, **arguments)
