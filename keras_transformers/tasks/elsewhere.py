"""Writing the graphs of a task in a second process, on the backend that writes their format.

this process                                     the second process (`export_process`), KERAS_BACKEND=…
the task ─ save_to_preset ─► a folder            ─ from_preset ─► the task
its outputs for some inputs ─► cases.npz         ─ write_and_compare ─► graphs, and their difference from them
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

import numpy as np

from keras_transformers.extras import require
from keras_transformers.formats.exports.comparison import Case
from keras_transformers.formats.exports.kinds import Kind

_PROGRAM = "keras_transformers.tasks.export_process"
# Errors that the second process hands back.
ERRORS = {each.__name__: each for each in (ValueError, ImportError, FileExistsError, RuntimeError, OSError)}


def write_and_compare(
    task: typing.Any, kind: Kind, folder: pathlib.Path, cases: list[Case]
) -> tuple[dict[str, str], float]:
    """Write the graphs of a task below a folder, and compare them with the cases.

    Raises:
        ImportError: if the backend of the format is not installed.
        ValueError: as the writer does.
    """
    require(kind.engine, **{kind.engine: True})
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        task.save_to_preset(place / "preset")
        np.savez(place / "cases.npz", **_packed(cases))
        request = {
            "task": _public_class(task).__name__,
            "module": _public_class(task).__module__,
            "dtype": task.dtype_policy.name,
            "format": kind.name,
            "folder": str(folder.resolve()),
            "cases": len(cases),
        }
        (place / "request.json").write_text(json.dumps(request), "utf-8")
        environment = {**os.environ, "KERAS_BACKEND": kind.engine, "TF_CPP_MIN_LOG_LEVEL": "3"}
        package = str(pathlib.Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(each for each in (package, os.environ.get("PYTHONPATH")) if each)
        result = subprocess.run(
            [sys.executable, "-m", _PROGRAM, str(place)], env=environment, capture_output=True, text=True, check=False
        )
        if not (place / "answer.json").exists():
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"Expected the process on the {kind.engine} backend to end well, got: {last}")
        answer = json.loads((place / "answer.json").read_text("utf-8"))
    if "error" in answer:
        raise ERRORS.get(answer["error"], RuntimeError)(answer["message"])
    return answer["files"], answer["difference"]


def _public_class(task: typing.Any) -> type:
    """The class of this library that the task is, or is derived from."""
    return next(each for each in type(task).__mro__ if each.__module__.startswith("keras_transformers."))


def _packed(cases: list[Case]) -> dict[str, typing.Any]:
    arrays: dict[str, typing.Any] = {}
    for number, case in enumerate(cases):
        for side, values in (("inputs", case.inputs), ("outputs", case.outputs), ("real", {"": case.real})):
            arrays |= {f"{number}/{side}/{name}": each for name, each in values.items() if each is not None}
    return arrays
