"""Damaged files of each kind, opened: the same, other finite numbers, or an error that says what is wrong.

`KERAS_TRANSFORMERS_FUZZ="SEED COUNT"` runs COUNT cases at each door, of another seed. What failed once is in `KEPT`.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.fuzz.doors import DOORS

# Files are read alike on every backend.
pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).parents[2]
SEED, COUNT = os.environ.get("KERAS_TRANSFORMERS_FUZZ", "1 20").split()
# A door's cases by `SEED`, their number, that once gave something else than an error.
KEPT = {("keras_hub", 2): [63], ("adapters", 2): [10, 109], ("runs", 1): [34, 116, 118]}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The whole folders of all doors."""
    root = tmp_path_factory.mktemp("doors")
    run(root, "make")
    return root


def run(root, *arguments):
    command = [sys.executable, "-m", "tests.fuzz.worker", str(root), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done


def check(root, door, seed, first, count):
    """Run cases, and whatever is left after one that ended the process."""
    cases = []
    while len(cases) < count:
        found, done = run(root, seed, door, first + len(cases), count - len(cases))
        cases += found
        if len(cases) < count:
            crash = {"result": "crash", "detail": done.stderr[-3000:], "mutation": "", "verified": ""}
            cases.append({"number": first + len(cases), **crash})
    bad = [case for case in cases if case["result"] in ("raw", "hang", "crash", "outside")]
    # Other numbers may be those of another configuration; numbers that are none come of weights alone.
    bad += [case for case in cases if case["result"] == "NaN" and ".json" in case["mutation"].partition(":")[0]]
    unseen = [case for case in cases if case["verified"] not in ("", "found")]
    assert not bad, json.dumps(bad[:3], indent=1)
    assert not unseen, json.dumps(unseen[:3], indent=1)
    return collections.Counter(case["result"] for case in cases)


@pytest.mark.parametrize("door", DOORS)
def test_damage_is_refused_or_changes_nothing_but_numbers(root, door):
    if not (root / door).is_dir():
        pytest.skip(f"what makes the folders of {door} is not installed")
    assert check(root, door, SEED, 0, int(COUNT)).total() == int(COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_more_damage(root, door):
    if (root / door).is_dir():
        check(root, door, f"{SEED} more", 0, 400)


@pytest.mark.parametrize("door, seed", KEPT)
def test_what_failed_once(root, door, seed):
    if (root / door).is_dir():
        for number in KEPT[door, seed]:
            check(root, door, seed, number, 1)
