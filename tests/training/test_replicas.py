"""Several devices and processes: gradients as on one device, or a refusal before the first step."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.training.small_tasks import batches, moved, task, weights

ROOT = pathlib.Path(__file__).parents[2]


def run(*command, **environment):
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("name", [pytest.param("TextClassifier", marks=pytest.mark.slow), "CausalLM"])
def test_mirrored_replicas_move_weights_as_one_device_does(name):
    result = run("-m", "tests.training.mirrored_run", "2", name)
    assert "default" in result.stdout, result.stderr[-2000:]
    line = next(each for each in result.stdout.splitlines() if each.startswith("moved"))
    from tests.training.mirrored_run import numbers

    assert [float(each) for each in line.split()[1:]] == pytest.approx(numbers(name), rel=1e-4)


@pytest.mark.one_backend("torch")
def test_a_process_of_several_is_refused_before_the_first_step(monkeypatch):
    model = task("TextClassifier")
    before = weights(model)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for call in (model.fit, model.evaluate):
        with pytest.raises(RuntimeError, match=r"Expected one process, got 2 \(WORLD_SIZE, as torchrun sets it\)"):
            call(batches("TextClassifier"), verbose=0)
    assert moved(before, weights(model)) == 0
    monkeypatch.setenv("WORLD_SIZE", "1")
    model.fit(batches("TextClassifier"), verbose=0)
    assert moved(before, weights(model)) > 0


@pytest.mark.one_backend("jax")
def test_a_process_of_several_is_refused_on_jax(monkeypatch):
    import jax

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(RuntimeError, match=r"Expected one process, got 2 \(jax.process_count\(\)\)"):
        task("TextClassifier").fit(batches("TextClassifier"), verbose=0)


DIVIDED = """
import keras
keras.distribution.set_distribution(keras.distribution.DataParallel())
from tests.training.small_tasks import batches, task
model = task("CausalLM")
model.compile(keras.optimizers.SGD(0.5))
print(*model.fit(batches("CausalLM", 3), epochs=2, verbose=0).history["loss"])
model.compile(metrics=["accuracy"])
try:
    model.fit(batches("CausalLM", 3), verbose=0)
except ValueError as error:
    print(error)
"""


@pytest.mark.one_backend("jax")
def test_rows_are_filled_up_for_the_devices_that_share_them():
    """Batches of 3 rows on 4 devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    result = run("-c", DIVIDED, XLA_FLAGS=f"{flags} --xla_force_host_platform_device_count=4")
    lines = result.stdout.splitlines()
    assert len(lines) == 2, result.stderr[-2000:]
    import keras

    model = task("CausalLM")
    model.compile(keras.optimizers.SGD(0.5))
    alone = model.fit(batches("CausalLM", 3), epochs=2, verbose=0).history["loss"]
    assert [float(each) for each in lines[0].split()] == pytest.approx(alone, rel=1e-4)
    assert "Expected no metrics with 4 devices that share each batch" in lines[1]
