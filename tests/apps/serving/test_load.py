"""The benchmark of the server, small: many clients at once, while others leave and send garbage."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

FOLDER = pathlib.Path(__file__).parents[3] / "benchmarks"


@pytest.mark.slow
@pytest.mark.one_backend("torch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark reads /proc")
def test_no_answer_fails_or_differs_under_load():
    environment = os.environ | {"BENCH_SMOKE": "1"}
    ended = subprocess.run(
        [sys.executable, FOLDER / "serving.py"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"\| 8 \| all \| 120 \| 0 \| 0 \|", ended.stdout)
