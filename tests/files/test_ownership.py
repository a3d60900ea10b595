"""A folder belongs to one process, for as long as that trains in it; a full disk is said."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from keras_transformers.files import ownership
from keras_transformers.formats import preset

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")]

ROOT = pathlib.Path(__file__).parents[2]
TAKE = """
import pathlib, sys
from keras_transformers.files import ownership
ownership.take(pathlib.Path(sys.argv[1]))
print("taken")
"""


def other(folder):
    command = [sys.executable, "-c", TAKE, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_second_process_is_refused_until_the_first_lets_go(tmp_path):
    folder = tmp_path / "run"
    ownership.take(folder)
    ownership.take(folder)  # of one process, as often as it likes
    ownership.release(folder)
    refused = other(folder)
    assert f"to be used by one process at a time, got process {os.getpid()} in it" in refused.stderr
    ownership.release(folder)
    assert other(folder).stdout == "taken\n"
    ownership.release(folder)  # of what is not held, nothing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_leaves_the_old_preset_and_says_what_to_do(tmp_path, number):
    import safetensors

    folder = tmp_path / "preset"
    preset.save_folder(folder, {"config.json": b"{}"})

    def full(path):
        raise OSError(number, os.strerror(number))

    def full_in_rust(path):
        raise safetensors.SafetensorError(f"I/O error: {os.strerror(number)} (os error {number})")

    for write in (full, full_in_rust):
        with pytest.raises(OSError, match="Expected room to save .*The old folder is whole; make room") as error:
            preset.save_folder(folder, {"config.json": b"[]", "model.safetensors": write})
        assert error.value.errno == number
        assert (folder / "config.json").read_bytes() == b"{}" and os.listdir(tmp_path) == ["preset"]
