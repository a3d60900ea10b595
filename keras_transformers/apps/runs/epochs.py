"""The results of the epochs of a run, in a file that survives a kill."""

import json
import pathlib
import time
import typing
from collections.abc import Mapping

import keras

from keras_transformers.apps.runs.files import write
from keras_transformers.files.reading import is_plain


class Epochs(keras.callbacks.Callback):
    """Callback that appends each epoch's results to a file, a JSON object a line, and stops training once the best
    epoch is `patience` epochs old. Both survive a kill."""

    def __init__(self, path: pathlib.Path, monitor: str, patience: int | None) -> None:
        super().__init__()
        self.path, self.patience = path, patience
        self.name, self.sign = f"val_{monitor}", -1 if monitor in ("loss", "ter") else 1

    def done(self) -> list[dict[str, typing.Any]]:
        """Return the kept results: a dictionary for each epoch in order; the latest if an epoch was trained twice."""
        if not is_plain(self.path):
            return []
        epochs = {}
        for line in self.path.read_bytes().splitlines():
            try:
                epoch = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):  # half a line, left by a kill: that epoch is trained again
                continue
            if _is_epoch(epoch):
                epochs[epoch["epoch"]] = epoch
        return [epochs[number] for number in sorted(epochs)]

    def is_over(self, epochs: list[dict[str, typing.Any]]) -> bool:
        """Return whether patience has run out."""
        scores = [(self.sign * epoch[self.name], -number) for number, epoch in enumerate(epochs) if self.name in epoch]
        if not self.patience or not scores:
            return False
        return len(epochs) - 1 + max(scores)[1] >= self.patience

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, typing.Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, typing.Any] | None = None) -> None:
        seconds = round(time.perf_counter() - self._began, 2)
        row = {"epoch": epoch, "seconds": seconds, **{name: float(value) for name, value in (logs or {}).items()}}
        earlier = [each for each in self.done() if each["epoch"] < epoch]
        write(self.path, "".join(json.dumps(each) + "\n" for each in [*earlier, row]).encode("utf-8"))
        if self.is_over(self.done()):
            self.model.stop_training = True


def _is_epoch(epoch: typing.Any) -> bool:
    """Return whether a line of `epochs.jsonl` has the expected form."""
    if not isinstance(epoch, dict) or type(epoch.get("epoch")) is not int:
        return False
    return all(type(value) in (int, float) for value in epoch.values())
