"""What was compiled in one process is read by the next, where a folder for it is named."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = {
    "jax": {"JAX_COMPILATION_CACHE_DIR": "{folder}", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
    "tensorflow": {"TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory={folder}"},
}
CODE = """
import keras_transformers as kt
model = kt.CausalLM(kt.models.gpt(50, num_layers=1, hidden_dim=16, num_heads=2, max_length=32))
model.generate_ids([[3, 4, 5]], kt.GenerationConfig(max_new_tokens=4))
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch compiles nothing")
def test_compilations_are_read_again(tmp_path):
    settings = {name: value.format(folder=tmp_path) for name, value in SETTINGS[keras.backend.backend()].items()}
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])}

    def files_after_a_run():
        subprocess.run([sys.executable, "-c", CODE], env=environment, check=True)
        return {path.name for path in tmp_path.iterdir() if not path.name.endswith("-atime")}

    compiled = files_after_a_run()
    assert len(compiled) >= 2  # reading the prompt, and the steps
    assert files_after_a_run() == compiled
