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
SEED, COUNT = os.environ.get("KERAS_TRANSFORMERS_FUZZ", "1 10").split()
# Cases that once gave something else than an error: seed, door and number.
KEPT = [
    (2, "keras_hub", 63),
    (2, "adapters", 10),
    (2, "adapters", 109),
    (1, "runs", 34),
    (1, "runs", 116),
    (1, "runs", 118),
    (777, "generators", 5),
    (20261130, "families", 134),
    (20261130, "families", 165),
    (20261130, "tokenizers", 307),
    (31415, "tokenizers", 279),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the first worker writes the whole folders of all doors."""
    return tmp_path_factory.mktemp("fuzz") / "doors"


def run(root, jobs):
    """The cases of jobs, those after one that ended the process in another."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    cases, jobs = [], [list(job) for job in jobs]
    while jobs:
        command = [sys.executable, "-m", "tests.fuzz.worker", str(root), json.dumps(jobs)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        cases += map(json.loads, done.stdout.splitlines())
        if done.returncode == 0:
            return cases
        if not (root / "tokenizers").is_dir():
            pytest.fail(done.stderr[-3000:])
        finished = {(case["seed"], case["door"], case["number"]) for case in cases}
        left = [(seed, door, n) for seed, door, first, count in jobs for n in range(first, first + count)]
        left = [each for each in left if each not in finished]
        seed, door, number = left.pop(0)
        crash = {"result": "crash", "detail": done.stderr[-3000:], "mutation": "", "verified": ""}
        cases.append({"seed": seed, "door": door, "number": number, **crash})
        jobs = [[*each, 1] for each in left]
    return cases


def check(cases):
    bad = [case for case in cases if case["result"] in ("raw", "hang", "crash", "outside")]
    # Other numbers may be those of another configuration; numbers that are none come of weights alone.
    bad += [case for case in cases if case["result"] == "NaN" and _is_text_alone(case["mutation"])]
    unseen = [case for case in cases if case["verified"] not in ("", "found")]
    assert not bad, json.dumps(bad[:5], indent=1)
    assert not unseen, json.dumps(unseen[:5], indent=1)


def _is_text_alone(mutation):
    return not any(ending in mutation for ending in (".safetensors", ".bin", ".gguf", ".h5"))


def test_damage_is_refused_or_changes_nothing_but_numbers(root):
    count = int(COUNT)
    cases = run(root, [[SEED, door, 0, count] for door in DOORS] + [[*each, 1] for each in KEPT])
    check(cases)
    results = collections.Counter(case["result"] for case in cases)
    assert results["refused"] > results.total() // 3 and results["same"] > 0, results


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_more_damage(root, door):
    check(run(root, [[f"{SEED} more", door, 0, 400]]))
