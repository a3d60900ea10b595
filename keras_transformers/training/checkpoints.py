"""Checkpoints of a training that survive a kill, and the average of several.

    run/step-000001234/model.safetensors    weights, random generators, the optimizer's variables, running metrics
    run/step-000001234/state.json           the position in the data, and the paths of the variables

`Checkpoint` does not override `on_train_batch_end`: Keras would then wait for the device after every step, to pass the
logs. It uses `on_train_batch_begin` instead, which waits only if there is something to do.
"""

import math
import os
import pathlib
import re
import shutil
import time
import typing
import warnings
from collections.abc import Mapping

import keras

from keras_transformers.data.batches import Position
from keras_transformers.files import manifest, ownership
from keras_transformers.files.reading import shown
from keras_transformers.formats import preset, safetensors_files
from keras_transformers.spelling import spelled

STATE = "state.json"


class Checkpoint(keras.callbacks.Callback):
    """Saves checkpoints during training, and resumes from the newest one after a kill.

    A checkpoint is a folder `step-000001234` in `folder`, with `model.safetensors` and `state.json`. It holds the
    weights, the state of random generators, the optimizer's variables, the running metrics of the epoch, and the
    position in the data. It is written under another name, flushed to disk, and renamed; only then are older ones
    removed. So the newest folder is whole, whenever the program dies. A checkpoint whose `SHA256SUMS` shows later
    damage is skipped for an older one. While a training runs, the folder belongs to its process.

        checkpoint = Checkpoint("run", every_seconds=300)
        position = checkpoint.restore(model)                    # None in a new folder
        fit_batches(model.fit, batches, position=position, epochs=10, callbacks=[checkpoint])

    Dropout on PyTorch uses the global generator of torch, which is not saved: a resumed run is equally good, but not
    bit-identical.

    Args:
        folder: the folder of the checkpoints; created if it does not exist.
        every_seconds: seconds between two checkpoints within an epoch, or `None`.
        every_steps: steps between two checkpoints within an epoch, or `None`. The end of each epoch is always saved.
        keep: how many of the newest checkpoints at the ends of epochs and after `every_steps` are kept. A checkpoint
            due to `every_seconds` is removed after the next one. `average_weights` needs as many as it averages.

    Raises:
        ValueError: for sizes below 1; if another process trains in the folder; if training starts in a folder with
            checkpoints that were not restored; from `restore`, if the checkpoint does not fit the model, or was made
            with other data.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_seconds: float | None = 300,
        every_steps: int | None = None,
        keep: int = 1,
    ) -> None:
        super().__init__()
        for name, value in (("every_steps", every_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} of at least 1, got {value}.")
        self.folder = pathlib.Path(folder)
        self.every_seconds, self.every_steps, self.keep = every_seconds, every_steps, keep
        self._position = Position()  # how far training has come
        self._begin = Position()  # where this run began the current epoch
        self._saved_step: int | None = None
        self._kept_step = 0
        self._saved_time = 0.0
        self._metrics: dict[str, typing.Any] = {}
        self._data = None

    def restore(self, model: keras.Model, data: typing.Any = None) -> Position | None:
        """Load the newest whole checkpoint into `model`, which must be built and compiled as it was when saved.

        Args:
            model: the model.
            data: `Batches.fingerprint()` of the training data. It is saved, and compared with the saved one.

        Returns:
            `Position` to resume from, or `None` if there is no checkpoint.

        Raises:
            ValueError: if variables do not fit, with a list of them, or if `data` differs.
        """
        self._data = data
        for folder in reversed(checkpoints(self.folder)):
            try:
                state, tensors = _read_whole(folder)
            except (OSError, ValueError) as error:
                aside = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
                warnings.warn(f"{folder} is damaged, was renamed {aside.name}, and passed over: {error}", stacklevel=2)
                os.rename(folder, aside)
                continue
            position = Position(state["epoch"], state["batch"], state["step"])
            if data is not None and state.get("data") not in (None, data):
                raise ValueError(
                    f"Expected the data, batch sizes and seed that {folder} was trained with, got others: a place in "
                    "those would mean nothing here. Give the same, or another folder."
                )
            groups = _groups(model)
            del groups["metrics"]  # Keras creates and resets them at the start of an epoch: see on_epoch_begin
            self._metrics = {name: tensors[name] for name in tensors if name.startswith("metrics/")}
            named = _named(groups, state.get("paths", {}))
            problems = _mismatches(groups, named, tensors)
            if problems:
                raise ValueError(
                    f"{folder} does not fit the model: {'; '.join(problems)}. "
                    "Build and compile the model as it was, or start in an empty folder."
                )
            for name, variable in named.items():
                variable.assign(tensors[name])
            self._position, self._saved_step = position, position.step
            self._kept_step = position.step if state.get("kept", True) else 0
            return position
        return None

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        found = checkpoints(self.folder)
        if found and self._saved_step is None:
            raise ValueError(
                f"Expected {self.folder} to be empty, or restored from, got {found[-1].name} in it. "
                "Call restore(model) before training, or choose another folder."
            )
        ownership.take(self.folder)
        self._saved_time = time.monotonic()

    def on_train_end(self, logs: dict[str, typing.Any] | None = None) -> None:
        ownership.release(self.folder)

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        if epoch != self._position.epoch:
            self._position = Position(epoch, 0, self._position.step)
        self._begin = self._position
        if self._begin.batch:  # Keras has just reset the metrics of a half-done epoch
            variables = _named({"metrics": self.model.metrics_variables})
            if variables.keys() == self._metrics.keys():
                for name, variable in variables.items():
                    variable.assign(self._metrics[name])
        self._metrics = {}

    def on_train_batch_begin(self, batch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._advance(batch)
        step = self._position.step
        due = self.every_steps is not None and step - self._kept_step >= self.every_steps
        late = self.every_seconds is not None and time.monotonic() - self._saved_time >= self.every_seconds
        if step > (self._saved_step or 0) and (due or late):
            self._save({}, kept=due)

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        steps = (self.params or {}).get("steps")
        done = (
            self._position.step - self._begin.step + self.model.steps_per_execution
        )  # no batch begins after the last one
        if steps is not None:
            done = min(done, steps)
        self._advance(done)
        if done == steps or not self.model.stop_training:
            self._position = Position(epoch + 1, 0, self._position.step)
        self._save(logs or {}, kept=True)

    def _advance(self, done: int) -> None:
        """Note that this run has trained on `done` batches of the epoch."""
        self._position = Position(self._begin.epoch, self._begin.batch + done, self._begin.step + done)

    def _save(self, logs: dict[str, typing.Any], kept: bool) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        epoch, batch, step = self._position
        groups = _groups(self.model)
        paths = {group: [variable.path for variable in variables] for group, variables in groups.items()}
        state: dict[str, typing.Any] = {"epoch": epoch, "batch": batch, "step": step, "kept": kept, "data": self._data}
        state |= {"logs": _finite(logs), "paths": paths}
        tensors = {name: keras.ops.convert_to_numpy(variable) for name, variable in _named(groups).items()}
        preset.save_folder(
            self.folder / f"step-{step:09d}",
            {
                preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, tensors),
                STATE: preset.json_bytes(state),
            },
        )
        every = checkpoints(self.folder)
        for folder in {*every[:-1]} - {*kept_checkpoints(self.folder)[-self.keep :]}:
            os.rename(folder, folder.with_name(f".{folder.name}.removed"))  # a half-removed folder is no checkpoint
        for leftover in [*self.folder.glob(".step-*.removed"), *self.folder.glob(".step-*.partial")]:
            shutil.rmtree(leftover, ignore_errors=True)
        self._saved_step, self._saved_time = step, time.monotonic()
        self._kept_step = step if kept else self._kept_step


def checkpoints(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The checkpoints in `folder`, oldest first: paths."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{9,}", path.name))


def kept_checkpoints(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The checkpoints from ends of epochs and `every_steps`, oldest first, without one due to `every_seconds`."""

    def is_kept(path: pathlib.Path) -> bool:
        try:
            return _read_state(path).get("kept", True)
        except (OSError, ValueError):  # damaged
            return False

    return [path for path in checkpoints(folder) if is_kept(path)]


@spelled
def average_weights(model: keras.Model, folder: str | os.PathLike[str], last: int = 10) -> None:
    """Set the weights of `model` to the mean over the last checkpoints (from ends of epochs and `every_steps`).

    The mean is computed in float64, one variable at a time. Integer weights are those of the newest checkpoint.

    Args:
        model: a built model.
        folder: the folder of a `Checkpoint(folder, keep=last)`.
        last: the number of checkpoints, from the newest back. Vaswani et al. 2017 average 5 for the base model and 20
            for the big one.

    Raises:
        ValueError: if there are fewer such checkpoints, or one does not fit the model.

    Example:
        >>> average_weights(model, "run", last=5)

    Source: Vaswani et al. 2017, section 6.1.
    """
    folders = kept_checkpoints(folder)[-last:] if last > 0 else []
    if not folders or len(folders) < last:
        raise ValueError(
            f"Expected {last} checkpoints (at least 1) in {folder}, got {len(folders)}. "
            f"Train with Checkpoint(folder, keep={last}), or average fewer."
        )
    groups = {"weights": model.weights}
    every = []
    for path in folders:
        state, tensors = _read_whole(path)
        named = _named(groups, state.get("paths", {}))
        problems = _mismatches(groups, named, tensors)
        if problems:
            raise ValueError(f"{path} does not fit the model: {'; '.join(problems)}. Build the model as it was.")
        every.append((tensors, {id(variable): name for name, variable in named.items()}))
    for variable in model.weights:
        arrays = [tensors[names[id(variable)]] for tensors, names in every]
        if arrays[-1].dtype.kind in "iub":
            variable.assign(arrays[-1])
        else:
            variable.assign((sum(array.astype("float64") for array in arrays) / last).astype("float32"))


def _read_whole(folder: pathlib.Path) -> tuple[dict[str, typing.Any], Mapping[str, typing.Any]]:
    """Read the state and the tensors of a checkpoint, checking that its files are unchanged.

    Raises:
        OSError, ValueError: if files are missing or damaged.
    """
    state, tensors = _read_state(folder), safetensors_files.read_tensors(folder)
    entries = manifest.read(folder)  # older versions wrote no manifest
    problems = [] if entries is None else manifest.differences(folder, entries)
    if problems:
        raise ValueError(f"{'; '.join(problems)}.")
    return state, tensors


def _read_state(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Read the `state.json` of a checkpoint, checking its types.

    Raises:
        OSError, ValueError: if the file is missing or damaged.
    """
    state = preset.read_json(folder, STATE)
    wrong = [name for name in Position._fields if type(state.get(name)) is not int or not 0 <= state[name] < 2**63]
    wrong += [name for name, kind in (("kept", bool), ("logs", dict)) if not isinstance(state.get(name, kind()), kind)]
    paths = state.get("paths", {})
    known = isinstance(paths, dict) and all(isinstance(each, list) for each in paths.values())
    if not known or not all(isinstance(path, str) for each in paths.values() for path in each):
        wrong.append("paths")
    if wrong:
        found = ", ".join(f"{name}={shown(state.get(name))}" for name in wrong)
        raise ValueError(f"Expected numbers, names and places in {folder / STATE}, got {found}.")
    return state


def _groups(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """The variables of a checkpoint, by group."""
    if not model.built or getattr(model, "optimizer", None) is None:
        raise ValueError("Expected a built and compiled model, got one that is not. Call build() and compile() first.")
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    weights = {id(variable) for variable in model.weights}
    return {
        "weights": model.weights,
        "state": [variable for variable in model.variables if id(variable) not in weights],
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def _named(
    groups: dict[str, list[keras.Variable]], saved_paths: dict[str, list[str]] | None = None
) -> dict[str, keras.Variable]:
    """Variables by their names in a file, which are numbers. A saved variable is found by its path, so that variables
    may change order. If the paths differ (Keras makes some up, differently in each process), it is found by its
    place."""
    named = {}
    for group, variables in groups.items():
        paths = [variable.path for variable in variables]
        saved = (saved_paths or {}).get(group, paths)
        places = {path: place for place, path in enumerate(saved)}
        known = len(places) == len(paths) and sorted(places) == sorted(paths)
        for number, variable in enumerate(variables):
            named[f"{group}/{places[variable.path] if known else number:05d}"] = variable
    return named


def _mismatches(
    groups: dict[str, list[keras.Variable]],
    named: dict[str, keras.Variable],
    tensors: Mapping[str, typing.Any],
    most: int = 20,
) -> list[str]:
    problems = []
    for group in groups:
        held = sum(name.startswith(f"{group}/") for name in tensors)
        if held != len(groups[group]):
            problems.append(f"the model has {len(groups[group])} variables in {group}, the checkpoint {held}")
    for name, variable in named.items():
        if name in tensors and tuple(tensors[name].shape) != tuple(variable.shape):
            shapes = tuple(variable.shape), tuple(tensors[name].shape)
            problems.append(f"{variable.path} is {shapes[0]} in the model, {shapes[1]} in the checkpoint")
    more = len(problems) - most
    return problems if more <= 0 else [*problems[:most], f"and {more} more"]


def _finite(logs: dict[str, typing.Any]) -> dict[str, float | None]:
    """Replace NaN and infinity, which JSON cannot hold, by None."""
    values = {name: float(value) for name, value in logs.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
