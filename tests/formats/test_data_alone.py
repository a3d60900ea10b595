"""Presets are data: nothing of a folder is imported, unpickled or executed."""

import builtins
import json
import pickle
import shutil
import sys

import pytest

import keras_transformers as kt
from tests.fuzz import doors

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    doors.DOORS["classifiers"].make(folder)
    return folder / "classifier"


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_beside_a_preset_is_not_imported_nor_run(folder, tmp_path, monkeypatch):
    copy, mark = tmp_path / "copy", tmp_path / "mark"
    shutil.copytree(folder, copy)
    for name in ("modeling_bert.py", "configuration_bert.py", "tokenization_bert.py", "__init__.py", "conftest.py"):
        (copy / name).write_text(f"open({str(mark)!r}, 'w')\n")
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "os.system"}))
    imported = []
    monkeypatch.setattr(builtins, "__import__", _watched(builtins.__import__, imported))
    for call in (builtins.exec, builtins.eval):
        monkeypatch.setattr(builtins, call.__name__, _refused(call, str(copy)))
    kt.TextClassifier.from_preset(copy).classify(["a film"])
    assert not mark.exists()
    assert not [name for name in imported if name.startswith(("modeling_", "configuration_bert", "tokenization_bert"))]
    assert not [module for module in sys.modules.values() if str(getattr(module, "__file__", "")).startswith(str(copy))]


def _watched(original, names):
    def watched(name, *arguments, **options):
        names.append(name)
        return original(name, *arguments, **options)

    return watched


def _refused(original, folder):
    def refused(code, *arguments, **options):
        assert folder not in str(getattr(code, "co_filename", code))
        return original(code, *arguments, **options)

    return refused


def test_an_auto_map_is_refused_or_warned_of_and_not_followed(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path, mark = copy / "config.json", tmp_path / "mark"
    (copy / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.warns(UserWarning, match="auto_map"):
        kt.TextClassifier.from_preset(copy)
    assert not mark.exists() and "evil" not in sys.modules


def test_a_pickle_is_not_executed(folder, tmp_path):
    mark = tmp_path / "mark"
    for protocol in (0, 2, 5):
        copy = tmp_path / str(protocol)
        shutil.copytree(folder, copy)
        (copy / "model.safetensors").unlink()
        (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Hostile(mark)}, protocol))
        with pytest.raises(ValueError, match="Nothing was executed"):
            kt.TextClassifier.from_preset(copy)
        with pytest.raises(ValueError, match="Nothing was executed"):
            kt.verify(copy)
    assert not mark.exists()


def test_yaml_makes_no_objects(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "run.yaml").write_text(f"output: !!python/object/apply:builtins.open [{mark}, w]\n")
    with pytest.raises(ValueError, match="Expected YAML in .*could not determine a constructor"):
        kt.runs.read_run(tmp_path / "run.yaml")
    assert not mark.exists()
