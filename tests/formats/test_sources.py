"""Names and addresses of presets → local paths."""

import fnmatch
import shutil
import sys
import types

import huggingface_hub
import pytest

from keras_transformers.formats import preset, sources

pytestmark = pytest.mark.one_backend


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that carries a preset, and that fails when it is imported."""
    folder = tmp_path / "site" / "carries_a_preset"
    (folder / "small").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "small" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def test_a_folder_and_a_file_are_themselves(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    assert sources.resolve(tmp_path) == tmp_path
    assert sources.resolve(str(tmp_path / "model.gguf")) == tmp_path / "model.gguf"


def test_a_folder_of_one_gguf_model_is_its_file(tmp_path):
    assert sources.resolve(tmp_path) == tmp_path
    for name in ("a-00002-of-00002.gguf", "a-00001-of-00002.gguf"):
        (tmp_path / name).write_bytes(b"")
    assert sources.resolve(tmp_path) == tmp_path / "a-00001-of-00002.gguf"
    (tmp_path / "b.gguf").write_bytes(b"")
    assert sources.resolve(tmp_path) == tmp_path


def test_an_embedded_preset_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "presets" / "tiny").mkdir(parents=True)
    (tmp_path / "presets" / "tiny" / "config.json").write_text("{}")
    (tmp_path / "presets" / "README.md").touch()
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path / "keras_transformers")
    assert sources.embedded_presets() == {"tiny": tmp_path / "presets" / "tiny"}
    assert sources.resolve("tiny") == tmp_path / "presets" / "tiny"
    # Installed, the presets lie in the package, whatever another wheel has put beside it.
    inside = tmp_path / "keras_transformers" / "presets" / "shipped"
    inside.mkdir(parents=True)
    (inside / "config.json").write_text("{}")
    assert sources.embedded_presets() == {"shipped": inside}
    shutil.rmtree(inside.parent)
    # A user's own folder of that name goes first.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert sources.resolve("tiny").absolute() == tmp_path / "tiny"


def test_an_interrupted_save_is_put_back_on_the_way(tmp_path):
    preset.save_folder(tmp_path / "mine", {"config.json": b"{}"})
    (tmp_path / "mine").rename(tmp_path / ".mine.old")
    assert (sources.resolve(tmp_path / "mine") / "config.json").is_file()


def test_nothing_there_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"got 'no-such', looked for at {tmp_path}/no-such.*hf://org/name"):
        sources.resolve("no-such")
    with pytest.raises(ValueError, match="got an empty string"):
        sources.resolve("")
    with pytest.raises(ValueError, match="Expected a name, a path, hf://, kaggle:// or package://, got 's3://x'"):
        sources.resolve("s3://x")
    with pytest.raises(ValueError, match="Expected a revision with hf:// or kaggle:// only, got revision='main'"):
        sources.resolve("no-such", revision="main")


def test_a_package_is_searched_and_never_imported(package):
    assert sources.resolve("package://carries_a_preset/small") == package / "small"
    assert sources.resolve("package://carries_a_preset/small/config.json").is_file()
    assert "carries_a_preset" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "carries_a_preset/../small",
        "carries_a_preset/small/..",
        "carries_a_preset//etc",
        "carries.a/x",
        "",
        "../x",
        "a-b",
    ],
)
def test_a_package_path_that_climbs_is_refused(package, name):
    with pytest.raises(ValueError, match="Expected package://top_level_name/path/inside"):
        sources.resolve(f"package://{name}")


def test_a_link_out_of_a_package_is_refused(package, tmp_path):
    (package / "out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="by a link that leads out"):
        sources.resolve("package://carries_a_preset/out")


def test_a_missing_package_or_path_is_named(package):
    with pytest.raises(FileNotFoundError, match="Expected an installed package 'not_installed'"):
        sources.resolve("package://not_installed/x")
    with pytest.raises(FileNotFoundError, match="Expected an installed package '__main__'"):
        sources.resolve("package://__main__/x")
    with pytest.raises(FileNotFoundError, match="Expected 'large' inside .*carries_a_preset, found nothing"):
        sources.resolve("package://carries_a_preset/large")


def test_a_hugging_face_repository_is_asked_for_once_and_without_pickles(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: calls.append((name, options)) or str(tmp_path)
    )
    (tmp_path / "model.safetensors").touch()
    assert sources.resolve("hf://org/name") == tmp_path
    sources.resolve("hf://org/name@v1")
    sources.resolve("hf://org/name", revision="v2")
    assert [(name, options["revision"]) for name, options in calls] == [
        ("org/name", None),
        ("org/name", "v1"),
        ("org/name", "v2"),
    ]
    patterns = calls[0][1]["allow_patterns"]
    for name in ("pytorch_model.bin", "tf_model.h5", "modeling.py"):
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    for name in ("model.safetensors", "model.weights.h5", "assets/tokenizer/vocabulary.txt"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def test_of_a_repository_without_safetensors_pytorchs_own_file_is_asked_for(tmp_path, monkeypatch):
    patterns = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **options: patterns.append(options["allow_patterns"]) or str(tmp_path),
    )
    assert sources.resolve("hf://org/name") == tmp_path
    assert ["pytorch_model*.bin" in each for each in patterns] == [False, True]


@pytest.mark.parametrize("name", ["name", "org/name/file", "", "org/", "org/na me"])
def test_a_malformed_repository_is_refused(name):
    with pytest.raises(ValueError, match="Expected hf://org/name or hf://org/name@revision"):
        sources.resolve(f"hf://{name}")


def test_two_revisions_are_refused():
    with pytest.raises(ValueError, match="Expected one revision, got 'v1'"):
        sources.resolve("hf://org/name@v1", revision="v2")


def test_an_unreachable_hub_is_a_clear_error(tmp_path, monkeypatch):
    def unreachable(name, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network and nothing in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(FileNotFoundError, match="Expected 'hf://org/name' in the local cache or from .*no network"):
        sources.resolve("hf://org/name")


def test_kaggle_handles(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ImportError, match=r"needs kagglehub.*pip install 'keras-transformers\[kaggle\]'"):
        sources.resolve("kaggle://keras/bert/keras/tiny")
    calls = []
    hub = types.SimpleNamespace(model_download=lambda handle: calls.append(handle) or str(tmp_path))
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    assert sources.resolve("kaggle://keras/bert/keras/tiny") == tmp_path
    sources.resolve("kaggle://keras/bert/keras/tiny", revision=3)
    assert calls == ["keras/bert/keras/tiny", "keras/bert/keras/tiny/3"]
    with pytest.raises(ValueError, match="Expected kaggle://owner/model/framework/variation"):
        sources.resolve("kaggle://keras/bert")
