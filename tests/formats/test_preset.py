"""The preset folder: atomic under kills at every step, and clear about every broken file."""

import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest

from keras_transformers.files import replacement
from keras_transformers.formats import preset, safetensors_files

pytestmark = pytest.mark.one_backend

ROOT = pathlib.Path(__file__).resolve().parents[2]


def save(folder, number, **options):
    """A preset whose files all carry `number`, so that a mixture of two saves shows."""
    weights = {"w": np.full((64, 64), number, "float32")}
    preset.save_folder(
        folder,
        {
            "config.json": preset.json_bytes({"number": number}),
            preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, weights, **options),
        },
    )


def number_in(folder):
    """The number that all of a preset's files agree on."""
    replacement.recover(folder)
    number = preset.read_json(folder, "config.json")["number"]
    assert np.all(safetensors_files.read_tensors(folder)["w"] == number)
    return number


def beside(folder):
    return sorted(item.name for item in folder.parent.iterdir())


# --- saving


def test_saves_replaces_and_leaves_nothing_beside(tmp_path):
    folder = tmp_path / "some" / "preset"
    for number in (1, 2, 3):
        save(folder, number)
        assert number_in(folder) == number
    assert beside(folder) == ["preset"]
    assert sorted(item.name for item in folder.iterdir()) == ["SHA256SUMS", "config.json", "model.safetensors"]


def test_without_an_exchange_call_two_renames_do_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(replacement, "_exchange", lambda first, second: False)
    test_saves_replaces_and_leaves_nothing_beside(tmp_path)


def test_own_files_of_the_user_are_kept_and_stale_weights_are_not(tmp_path):
    folder = tmp_path / "preset"
    save(folder, 1)
    (folder / "README.md").write_text("my model")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "loss.png").write_bytes(b"png")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"stale")
    save(folder, 2)
    assert number_in(folder) == 2
    assert (folder / "README.md").read_text() == "my model"
    assert (folder / "pictures" / "loss.png").read_bytes() == b"png"
    assert not (folder / "model-00001-of-00002.safetensors").exists()


def test_refuses_to_replace_the_folder_it_works_in(tmp_path, monkeypatch):
    save(tmp_path / "mine", 1)
    (tmp_path / "mine" / "inner").mkdir()
    for place in ("mine", "mine/inner"):
        monkeypatch.chdir(tmp_path / place)
        with pytest.raises(FileExistsError, match="which this program works in"):
            save(tmp_path / "mine", 2)
    assert (tmp_path / "mine" / "inner").is_dir()


def test_refuses_to_replace_what_is_no_preset(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="or a preset to replace, found a folder without config.json"):
        save(tmp_path, 1)
    with pytest.raises(FileExistsError, match="found a file"):
        save(tmp_path / "thesis.tex", 1)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["../config.json", "/etc/config.json", "a//b", "..\\config.json", "", "c:x"])
def test_refuses_file_names_that_lead_out(tmp_path, name):
    with pytest.raises(ValueError, match="Expected file names inside the preset's folder, got"):
        preset.save_folder(tmp_path / "preset", {name: b"x"})
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_preset_stays_a_link(tmp_path):
    save(tmp_path / "real", 1)
    (tmp_path / "link").symlink_to("real")
    save(tmp_path / "link", 2)
    assert (tmp_path / "link").is_symlink()
    assert number_in(tmp_path / "real") == 2


def test_an_error_while_writing_leaves_the_old_preset(tmp_path):
    folder = tmp_path / "preset"
    save(folder, 1)

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        preset.save_folder(folder, {"config.json": b"{}", preset.WEIGHTS: fail})
    assert number_in(folder) == 1
    assert beside(folder) == ["preset"]


SAVE_AND_DIE = """
import os, signal, sys
from keras_transformers.files import replacement
from keras_transformers.formats import preset

folder, number, die_at, can_exchange = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "exchange"
exchange = replacement._exchange
steps = 0

def step(event="exchange", arguments=()):
    global steps
    if event == "exchange" or event.startswith(("open", "os.", "shutil.")):
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

def exchange_or_die(first, second):
    step()
    done = can_exchange and exchange(first, second)
    step()
    return done

replacement._exchange = exchange_or_die
files = {"config.json": number.encode(), "model.safetensors": number.encode(), "tokenizer.json": number.encode()}
sys.addaudithook(step)
preset.save_folder(folder, files)
"""


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_killed_at_each_step_of_a_save_the_old_preset_or_the_new_one_is_there(tmp_path, how):
    folder = tmp_path / "preset"
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    preset.save_folder(folder, {name: b"0" for name in names})
    seen, number, finished = set(), 0, False
    while not finished:
        number += 1
        command = [sys.executable, "-S", "-c", SAVE_AND_DIE, str(folder), str(number), str(number), how]
        died = subprocess.run(command, cwd=ROOT).returncode
        assert died in (0, -signal.SIGKILL)
        finished = died == 0
        replacement.recover(folder)
        contents = {(folder / name).read_bytes() for name in names}
        assert len(contents) == 1, f"a mixture after a kill at step {number}"
        current = int(contents.pop())
        assert current == number or (current in seen | {0} and current < number)
        seen.add(current)
    assert number > 20
    assert current == number
    # Kills before the exchange left the old preset, kills after it the new one.
    assert 1 < len(seen) < number
    assert beside(folder) == ["preset"]


def test_killed_at_any_moment_in_a_loop_of_saves(tmp_path):
    folder = tmp_path / "preset"
    save(folder, 0)
    loop = """
import sys, numpy as np
from keras_transformers.formats import preset, safetensors_files
number = int(sys.argv[2])
while True:
    number += 1
    array = np.full((512, 512), number, "float32")
    preset.save_folder(sys.argv[1], {
        "config.json": preset.json_bytes({"number": number}),
        preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, {"w": array}),
    })
    print(number, flush=True)
"""
    random = np.random.default_rng(0)
    number = 0
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", loop, str(folder), str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        reported = int(process.stdout.readline())
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.wait()
        reported = max([reported, *map(int, process.stdout.read().split())])
        process.stdout.close()
        # What was reported saved is there, or the one after it.
        number = number_in(folder)
        assert number in (reported, reported + 1)


def test_two_programs_saving_at_once_wait_for_one_another(tmp_path):
    folder = tmp_path / "preset"
    save(folder, 0)
    program = """
import sys
from keras_transformers.formats import preset
for _ in range(20):
    preset.save_folder(sys.argv[1], {name: sys.argv[2].encode() for name in ("config.json", "model.safetensors")})
"""
    started = [subprocess.Popen([sys.executable, "-c", program, str(folder), text], cwd=ROOT) for text in "12"]
    assert [process.wait() for process in started] == [0, 0]
    assert (folder / "config.json").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert beside(folder) == ["preset"]


# --- tensors


def test_tensors_come_back_as_written(tmp_path):
    path = tmp_path / "w.safetensors"
    tensors = {
        "float32": np.arange(6, dtype="float32").reshape(2, 3),
        "transposed": np.arange(6, dtype="float32").reshape(2, 3).T,
        "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16),
        "float16": np.ones((2, 2), "float16"),
        "int64": np.array([1, 2**40]),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 4), "float32"),
        "scalar": np.asarray(3.5, "float32"),
    }
    safetensors_files.write_tensors(path, tensors)
    read = safetensors_files.read_tensors(path)
    assert set(read) == set(tensors) and len(read) == len(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and read.shape(name) == tensor.shape
        np.testing.assert_array_equal(read[name], tensor)
    assert read.dtype("bfloat16") == "BF16"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_floating_tensors_are_stored_narrower_on_request(tmp_path, dtype):
    path = tmp_path / "w.safetensors"
    tensors = {"w": np.linspace(-2, 2, 7, dtype="float32"), "inf": np.array([np.inf, -np.inf]), "ids": np.arange(3)}
    safetensors_files.write_tensors(path, tensors, dtype=dtype)
    read = safetensors_files.read_tensors(path)
    assert read["w"].dtype == read["inf"].dtype == dtype and read["ids"].dtype == "int64"
    np.testing.assert_array_equal(read["w"], tensors["w"].astype(read["w"].dtype))
    np.testing.assert_array_equal(read["inf"].astype("float32"), [np.inf, -np.inf])


def test_a_value_that_float16_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected values that fit in float16, got 70000 in 'w'. Save with"):
        safetensors_files.write_tensors(
            tmp_path / "w.safetensors", {"w": np.array([1.0, -7e4], "float32")}, dtype="float16"
        )


def test_transformers_opens_the_file(tmp_path):
    torch_files = pytest.importorskip("safetensors.torch")
    safetensors_files.write_tensors(tmp_path / "w.safetensors", {"w": np.ones((2, 3), "float32")})
    assert torch_files.load_file(tmp_path / "w.safetensors")["w"].shape == (2, 3)


def sharded(folder, weight_map=None):
    folder.mkdir(exist_ok=True)
    names = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    for number, name in enumerate(names):
        safetensors_files.write_tensors(folder / name, {f"w{number}": np.full((2,), number, "float32")})
    index = {"metadata": {}, "weight_map": {"w0": names[0], "w1": names[1]} if weight_map is None else weight_map}
    (folder / preset.INDEX).write_bytes(preset.json_bytes(index))
    return folder


def test_reads_weights_in_several_files(tmp_path):
    read = safetensors_files.read_tensors(sharded(tmp_path))
    assert {name: read[name].tolist() for name in read} == {"w0": [0, 0], "w1": [1, 1]}


@pytest.mark.parametrize(
    ("weight_map", "error", "message"),
    [
        ({"w": "../secret.safetensors"}, ValueError, "Expected file names inside the preset's folder, got '../secret"),
        ({"w": "/etc/passwd"}, ValueError, "Expected file names inside the preset's folder, got '/etc/passwd'"),
        ({"w": "pytorch_model.bin"}, ValueError, "Expected names of .safetensors files .* got 'pytorch_model.bin'"),
        ({"w": "below/w.safetensors"}, ValueError, "Expected names of .safetensors files .* got 'below/w"),
        ({"w": "model-3.safetensors"}, FileNotFoundError, "Expected all 1 files .* missing: model-3.safetensors"),
        ({"w9": "model-00001-of-00002.safetensors"}, ValueError, "got 1 that are not there: w9"),
        ({"w": 3}, ValueError, "Expected 'weight_map' in .* to give a file name for each tensor"),
        ("w", ValueError, "Expected 'weight_map' in .* to give a file name for each tensor, got 'w'"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path, weight_map, error, message):
    with pytest.raises(error, match=message):
        safetensors_files.read_tensors(sharded(tmp_path, weight_map))


def test_a_shortened_file_is_refused_with_both_lengths(tmp_path):
    save(tmp_path / "preset", 1)
    path = tmp_path / "preset" / preset.WEIGHTS
    whole = path.read_bytes()
    for length in (0, 7, 8, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"Expected a whole safetensors file, got .* of {length} bytes"):
            safetensors_files.read_tensors(tmp_path / "preset")
    assert_claims(tmp_path / "preset", rf"{len(whole) - 1} bytes, whose header claims {len(whole)} bytes")


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / preset.WEIGHTS
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert_claims(tmp_path, f"whose header claims {8 + len(header) + 4000} bytes")
    path.write_bytes(struct.pack("<Q", 10**15) + header)
    assert_claims(tmp_path, "whose header alone claims 1000000000000000 bytes")
    for garbage in (b"[]", b"{", b'{"w": 3}', b'{"w": {"data_offsets": []}}', b"\xff\xff"):
        path.write_bytes(struct.pack("<Q", len(garbage)) + garbage)
        assert_claims(tmp_path, "Expected a whole safetensors file, got .*Download or save it again")


def assert_claims(folder, message):
    with pytest.raises(ValueError, match=message):
        safetensors_files.read_tensors(folder)


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / preset.WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + bytes(2))
    with pytest.raises(ValueError, match="got F8_E4M3 in 'w'. Convert it"):
        safetensors_files.read_tensors(tmp_path)["w"]


def test_missing_weights_and_missing_folders_say_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected model.safetensors in .* found nothing. Check"):
        safetensors_files.read_tensors(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="Expected model.safetensors in .* found pytorch_model.bin. Check"):
        safetensors_files.read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError, match="Expected a preset folder at .* found nothing there"):
        safetensors_files.read_tensors(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="Expected a preset folder at .* found a file there"):
        preset.read_json(tmp_path / "pytorch_model.bin", "config.json")


# --- JSON


def test_json_comes_back_as_written(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"é": "ß"}}
    (tmp_path / "x.json").write_bytes(preset.json_bytes(value))
    assert preset.read_json(tmp_path, "x.json") == value
    assert "é" in (tmp_path / "x.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expected JSON in .*x.json, got Expecting value at line 1, column 1"),
        (b'{"a": 1,\n "b": }', "Expected JSON in .*x.json, got Expecting value at line 2, column 7"),
        (b'{"a": "\xff"}', "Expected UTF-8 text in .*x.json, got byte 0xff at 7"),
        (b"[1, 2]", r"Expected a JSON object .* in .*x.json, got a list"),
        (b"[" * 200_000, "Expected JSON that a program can hold in .*x.json"),
        (b'{"a": ' + b"1" * 5000 + b"}", "Expected JSON that a program can hold in .*x.json"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        preset.read_json(tmp_path, "x.json")


def test_permissions_of_a_saved_preset_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        save(tmp_path / "preset", 1)
    finally:
        os.umask(old)
    assert (tmp_path / "preset").stat().st_mode & 0o777 == 0o755
