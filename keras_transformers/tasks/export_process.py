"""The second process of an export: opens the saved task on this backend, and writes its graphs. See `elsewhere`."""

import importlib
import json
import pathlib
import sys
import warnings

import numpy as np

from keras_transformers.formats.exports import kinds
from keras_transformers.formats.exports.comparison import Case
from keras_transformers.tasks import exporting
from keras_transformers.tasks.elsewhere import ERRORS


def _unpacked(path: pathlib.Path, count: int) -> list[Case]:
    sides: list[dict[str, dict[str, np.ndarray]]] = [{"inputs": {}, "outputs": {}, "real": {}} for _ in range(count)]
    with np.load(path) as arrays:
        for key in arrays.files:
            number, side, name = key.split("/", 2)
            sides[int(number)][side][name] = arrays[key]
    return [Case(each["inputs"], each["outputs"], each["real"].get("")) for each in sides]


def main(place: str) -> None:
    """Read a request from a folder, and write an answer there."""
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
    except tuple(ERRORS.values()) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
