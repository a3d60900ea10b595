"""Writing the graphs of a task in a second process, on the backend that writes their format.

this process                                     the second process, KERAS_BACKEND=…
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
import warnings

import numpy as np

from keras_transformers.extras import require
from keras_transformers.formats.exports import kinds
from keras_transformers.formats.exports.comparison import Case
from keras_transformers.formats.exports.kinds import Kind

_PROGRAM = "import sys; from keras_transformers.tasks import elsewhere; elsewhere.main(sys.argv[1])"
# Errors that the second process hands back.
_ERRORS = {each.__name__: each for each in (ValueError, ImportError, FileExistsError, RuntimeError, OSError)}


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
            [sys.executable, "-c", _PROGRAM, str(place)], env=environment, capture_output=True, text=True, check=False
        )
        if not (place / "answer.json").exists():
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"Expected the process on the {kind.engine} backend to end well, got: {last}")
        answer = json.loads((place / "answer.json").read_text("utf-8"))
    if "error" in answer:
        raise _ERRORS.get(answer["error"], RuntimeError)(answer["message"])
    return answer["files"], answer["difference"]


def _public_class(task: typing.Any) -> type:
    """The class of this library that the task is, or is derived from."""
    return next(each for each in type(task).__mro__ if each.__module__.startswith("keras_transformers."))


def _packed(cases: list[Case]) -> dict[str, np.ndarray]:
    arrays = {}
    for number, case in enumerate(cases):
        for side, values in (("inputs", case.inputs), ("outputs", case.outputs), ("real", {"": case.real})):
            arrays |= {f"{number}/{side}/{name}": each for name, each in values.items() if each is not None}
    return arrays


def _unpacked(path: pathlib.Path, count: int) -> list[Case]:
    sides: list[dict[str, dict[str, np.ndarray]]] = [{"inputs": {}, "outputs": {}, "real": {}} for _ in range(count)]
    with np.load(path) as arrays:
        for key in arrays.files:
            number, side, name = key.split("/", 2)
            sides[int(number)][side][name] = arrays[key]
    return [Case(each["inputs"], each["outputs"], each["real"].get("")) for each in sides]


def main(place: str) -> None:
    """The second process: reads a request from a folder, and writes an answer there."""
    import importlib

    from keras_transformers.tasks import exporting

    folder = pathlib.Path(place)
    request = json.loads((folder / "request.json").read_text("utf-8"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were shown in the first process
            cls = getattr(importlib.import_module(request["module"]), request["task"])
            task = cls.from_preset(folder / "preset", dtype=request["dtype"])
            cases = _unpacked(folder / "cases.npz", request["cases"])
            kind, made = kinds.find(request["format"]), pathlib.Path(request["folder"])
            files, difference = exporting.write_and_compare(task, kind, made, cases)
        answer = {"files": files, "difference": difference}
    except tuple(_ERRORS.values()) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")
