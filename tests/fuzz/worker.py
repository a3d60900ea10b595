"""Opens damaged folders, in a process of its own: `python -m tests.fuzz.worker ROOT JOBS`.

JOBS is JSON, `[[seed, door, first, count], …]`: so many cases, numbered from the first. The whole folders are written
to ROOT if it is not there.

It prints one line of JSON for each case: what was done to which file, and what came of it.

    same     what the whole folder gives
    other    something else, all of it finite
    NaN      numbers that are none
    refused  an error that this library raises, of a kind that says what is wrong with a file
    raw      any other error; a traceback is beside it

A case that takes longer than LIMIT ends as "hang"; one that ends the process is missing, and so are those after it.
"""

import functools
import json
import linecache
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings

import numpy as np

from tests.fuzz import doors, mutations
from tests.quick_building import build_quickly

LIMIT = 10  # seconds for one case
_MEMORY = 3 * 2**30  # bytes that the address space may grow by
_PACKAGE = pathlib.Path(__file__).parents[2] / "keras_transformers"
_KINDS = (ValueError, TypeError, ImportError, OSError)
_ENCODING = (UnicodeError, json.JSONDecodeError)


class Hang(BaseException):
    """The time for a case is over."""


def make(root):
    """Write the whole folders of all doors; one whose library is missing is left out."""
    for name, door in doors.DOORS.items():
        (root / name).mkdir(parents=True)
        try:
            door.make(root / name)
        except ImportError:
            shutil.rmtree(root / name)


def is_refusal(error):
    """Whether an error is one that this library raises on purpose."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = _PACKAGE in pathlib.Path(last.filename).parents
    raised = linecache.getline(last.filename, last.lineno).strip().startswith("raise ")
    return ours and raised and isinstance(error, _KINDS) and not isinstance(error, _ENCODING)


def outcome(door, folder, whole):
    """`(what came of opening a folder, details)`."""
    try:
        found = _arrays(doors.DOORS[door].open(folder))
    except Hang:
        return "hang", traceback.format_exc(limit=-6)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind = "refused" if is_refusal(error) else "raw"
        return kind, f"{type(error).__name__}: {error}"[:300] if kind == "refused" else traceback.format_exc()[-3000:]
    if not all(np.isfinite(each).all() for each in found if each.dtype.kind == "f"):
        return "NaN", ""
    same = len(found) == len(whole) and all(map(np.array_equal, found, whole))
    return ("same" if same else "other"), ""


def _arrays(results):
    """What a door gives as a flat list of arrays."""
    if isinstance(results, (list, tuple)):
        return [array for each in results for array in _arrays(each)]
    return [np.asarray(results)]


def _whole(door):
    return functools.cache(lambda folder: _arrays(doors.DOORS[door].open(folder)))


def main(root, jobs):
    warnings.simplefilter("ignore")
    build_quickly()
    if not root.exists():
        make(root)
    signal.signal(signal.SIGALRM, _over)
    whole = {door: _whole(door) for _, door, _, _ in jobs}
    for seed, door, first, count in jobs:
        folders = doors.folders(door, root)
        for number in range(first, first + count if folders else first):
            result = _case(f"{seed} {door} {number}", door, folders, whole[door])
            print(json.dumps({"seed": seed, "door": door, "number": number, **result}), flush=True)


def _case(seed, door, folders, whole):
    dice = random.Random(seed)
    pristine = dice.choice(folders)
    doors.DOORS[door].write(pristine)
    expected = whole(pristine)
    size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, most))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "presets" / pristine.name
        shutil.copytree(pristine, folder)
        files = doors.files(door, folder)
        chosen = dice.sample(files, min(len(files), dice.choice([1, 1, 1, 2])))
        done = "; ".join(mutations.mutate(dice, path) for path in chosen)
        before = _listing(scratch, folder)
        signal.alarm(LIMIT)
        try:
            result, detail = outcome(door, folder, expected)
            verified = _verified(folder) if doors.DOORS[door].verified else ""
        except Hang:
            result, detail, verified = "hang", traceback.format_exc(limit=-6), ""
        finally:
            signal.alarm(0)
        outside = sorted(_listing(scratch, folder) - before)
        if outside:
            result, detail = "outside", f"new files: {outside[:5]}"
    return {"folder": pristine.name, "mutation": done, "result": result, "detail": detail, "verified": verified}


def _verified(folder):
    """What `kt.verify` makes of a damaged folder: "found", "passed" or a traceback."""
    import keras_transformers as kt

    try:
        kt.verify(folder)
    except Exception as error:
        return "found" if is_refusal(error) else traceback.format_exc()[-3000:]
    return "passed"


def _listing(scratch, folder):
    """All files but those in the folder that is opened."""
    return {str(path) for path in pathlib.Path(scratch).rglob("*") if not path.is_relative_to(folder)}


def _over(*_):
    raise Hang


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))
