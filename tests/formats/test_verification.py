"""Whatever is damaged is found: by hash in what we saved, by headers and finite numbers in what others did."""

import pathlib
import random
import shutil
import subprocess

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.files import manifest
from keras_transformers.formats import preset, sources
from tests.fuzz import doors

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    doors.DOORS["classifiers"].make(folder)
    return folder / "classifier"


@pytest.fixture
def copy(folder, tmp_path):
    return pathlib.Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_whole_folder(folder):
    seen = []
    found = kt.verify(folder, progress=lambda done, total: seen.append((done, total)))
    assert found.hashed == 4 and found.tensors == 41 and found.size == (folder / preset.WEIGHTS).stat().st_size
    assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)
    kt.TextClassifier.from_preset(folder, verify=True)


@pytest.mark.parametrize("name", sources.embedded_presets())
def test_the_presets_that_ship_are_whole(name):
    assert kt.verify(name).hashed >= 4


def test_coreutils_read_the_manifest(folder):
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not installed")
    done = subprocess.run(["sha256sum", "--check", "--strict", manifest.MANIFEST], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr


def flipped(folder, count):
    """Flip one bit at a time, anywhere in any file; how often it was found."""
    dice, found = random.Random(0), 0
    files = sorted(folder.iterdir())
    for number in range(count):
        path = files[number % len(files)]
        whole = path.read_bytes()
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        try:
            kt.verify(folder)
        except ValueError:
            found += 1
        path.write_bytes(whole)
    return found


def test_every_flipped_bit_is_found(copy):
    assert flipped(copy, 20) == 20


@pytest.mark.slow
def test_a_hundred_flipped_bits_are_found(copy):
    assert flipped(copy, 100) == 100


def test_what_differs_is_listed(copy):
    (copy / "config.json").write_text("{}")
    (copy / "tokenizer_config.json").unlink()
    (copy / "generation_config.json").write_text("{}")
    with pytest.raises(ValueError) as error:
        kt.TextClassifier.from_preset(copy, verify=True)
    for part in (
        "is damaged:",
        "config.json has 2 bytes, where SHA256SUMS says",
        "tokenizer_config.json is missing",
        "generation_config.json is not in SHA256SUMS",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ("x", "Expected a size, a hash or a heading in line 1 of .*SHA256SUMS, got 'x'"),
        ("", "Expected a size and a hash of each file of the folder in .*, got none at all otherwise"),
        ("#            1  ../x\n" + "0" * 64 + "  ../x\n", r"got \.\./x otherwise"),
        ("#            1  /etc/passwd\n" + "0" * 64 + "  /etc/passwd\n", "got /etc/passwd otherwise"),
    ],
)
def test_a_manifest_that_is_damaged(copy, content, message):
    (copy / manifest.MANIFEST).write_text(content)
    with pytest.raises(ValueError, match=message):
        kt.verify(copy)


def test_without_a_manifest_headers_and_numbers_are_looked_at(copy):
    import safetensors.numpy

    (copy / manifest.MANIFEST).unlink()
    assert kt.verify(copy).hashed == 0
    tensors = safetensors.numpy.load_file(copy / preset.WEIGHTS)
    name = next(iter(tensors))
    tensors[name].flat[0] = np.nan
    safetensors.numpy.save_file(tensors, copy / preset.WEIGHTS)
    with pytest.raises(ValueError, match=f"NaN or infinity in {name}"):
        kt.verify(copy)
    content = (copy / preset.WEIGHTS).read_bytes()
    (copy / preset.WEIGHTS).write_bytes(content[:-4])
    (copy / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"(?s)Expected JSON in .*Expected a whole safetensors file"):
        kt.verify(copy)


def test_adapters_keras_hub_torch_gguf_and_checkpoints(tmp_path):
    for door in ("adapters", "keras_hub", "torch", "gguf", "checkpoints"):
        (tmp_path / door).mkdir()
        try:
            doors.DOORS[door].make(tmp_path / door)
        except ImportError:
            continue
        for folder in doors.folders(door, tmp_path):
            found = kt.verify(folder)
            assert found.tensors > 5 and (found.hashed > 0) == (door in ("adapters", "checkpoints"))
    newest = sorted((tmp_path / "checkpoints" / "run").glob("step-*"))[-1]
    data = bytearray((newest / preset.WEIGHTS).read_bytes())
    data[-1] ^= 1
    (newest / preset.WEIGHTS).write_bytes(data)
    with pytest.raises(ValueError, match=f"{newest.name}: model.safetensors has the SHA-256"):
        kt.verify(newest.parent)
    with pytest.raises(FileNotFoundError, match="Expected a preset, adapters or checkpoints in"):
        (tmp_path / "empty").mkdir()
        kt.verify(tmp_path / "empty")


def test_the_command(folder, copy):
    from typer.testing import CliRunner

    from keras_transformers.apps.cli.app import app

    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 0 and "4 files have the sizes and hashes of SHA256SUMS, 41 tensors" in result.stdout
    (copy / manifest.MANIFEST).unlink()
    assert "no SHA256SUMS to compare with" in CliRunner().invoke(app, ["verify", str(copy)]).stdout
    (copy / "config.json").write_text("{")
    assert CliRunner().invoke(app, ["verify", str(copy)]).exit_code == 1


def test_files_that_are_carried_over_keep_their_entries(tmp_path):
    folder = tmp_path / "adapter"
    preset.save_folder(folder, {"adapter_config.json": b"{}", "a.json": b"[1]"}, marker="adapter_config.json")
    preset.save_folder(folder, {"adapter_config.json": b'{"r": 1}'}, marker="adapter_config.json")
    assert set(manifest.read(folder)) == {"adapter_config.json", "a.json"}
    assert not manifest.differences(folder, manifest.read(folder))
