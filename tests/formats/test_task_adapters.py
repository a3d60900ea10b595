"""Folders with adapters for tasks, as jina-embeddings-v3 has them: one is merged, or none, and none is lost."""

import json
import shutil
import warnings

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.families.registry import families
from keras_transformers.formats import preset, safetensors_files
from tests.conformance import checkpoints, outputs
from tests.conformance.cases import CASES
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend

CASE, TASKS, RANK = CASES["jina_xlm_roberta"], ["retrieval.query", "text-matching"], 4
HEAD = families()["jina_xlm_roberta"].head("TextEmbedder")
KEYS = {
    "lora_adaptations": TASKS,
    "task_instructions": {task: "" for task in TASKS},
    "lora_rank": RANK,
    "lora_alpha": 2,
    "lora_dropout_p": 0.0,
    "lora_main_params_trainable": False,
    "load_trained_adapters": True,
    "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"},
}


def _adapted(name):
    return name.endswith(".weight") and "norm" not in name and "emb_ln" not in name


@pytest.fixture(scope="module")
def parts():
    """The tensors of a model by name, and the adapters of each adapted matrix."""
    plain, random = checkpoints.tensors(CASE, HEAD), np.random.default_rng(0)
    adapters = {}
    for name in filter(_adapted, plain):
        rows, columns = plain[name].shape
        shapes = ((rows, RANK), (RANK, columns)) if "_embeddings" in name else ((RANK, columns), (rows, RANK))
        adapters[name] = [random.normal(size=(len(TASKS), *shape)).astype("float32") * 0.1 for shape in shapes]
    return plain, adapters


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    plain, adapters = parts
    tensors = {}
    for name, array in plain.items():
        path = f"{name.removesuffix('.weight')}.parametrizations.weight"
        if name in adapters:
            tensors |= {f"{path}.original": array}
            tensors |= {f"{path}.0.lora_{side}": each for side, each in zip("AB", adapters[name], strict=True)}
        else:
            tensors[name] = array
    return _saved(tmp_path_factory.mktemp("adapters") / "model", tensors, CASE.config_file(HEAD) | KEYS)


def _saved(path, tensors, values):
    files = {
        "config.json": preset.json_bytes(values),
        preset.WEIGHTS: lambda file: safetensors_files.write_tensors(file, tensors),
    }
    preset.save_folder(path, files)
    return path


@pytest.mark.parametrize("number, task", list(enumerate(TASKS)))
def test_an_adapter_is_merged(number, task, parts, folder, tmp_path):
    plain, adapters = parts
    merged = dict(plain)
    for name, (a, b) in adapters.items():
        product = a[number] @ b[number] if "_embeddings" in name else b[number] @ a[number]
        merged[name] = plain[name] + product * (KEYS["lora_alpha"] / RANK)
    inputs = outputs.inputs(CASE)
    wanted = kt.TextEmbedder.from_preset(_saved(tmp_path / "merged", merged, CASE.config_file(HEAD)))
    model = kt.TextEmbedder.from_preset(folder, adapter=task)
    found = outputs.ours(model, inputs)
    assert relative_error(found, outputs.ours(wanted, inputs)) <= 1e-6
    model.save_to_preset(tmp_path / "again")
    np.testing.assert_array_equal(outputs.ours(kt.TextEmbedder.from_preset(tmp_path / "again"), inputs), found)
    values = json.loads((tmp_path / "again" / "config.json").read_bytes())
    assert values["auto_map"] == KEYS["auto_map"] and not any("lora" in name for name in values)


def test_without_a_choice_nothing_is_merged_and_nothing_lost(parts, folder, tmp_path):
    plain, _ = parts
    inputs = outputs.inputs(CASE)
    wanted = kt.TextEmbedder.from_preset(_saved(tmp_path / "plain", plain, CASE.config_file(HEAD)))
    with pytest.warns(
        UserWarning, match="holds adapters for retrieval.query, text-matching, and none is used. Pass ada"
    ):
        model = kt.TextEmbedder.from_preset(folder)
    np.testing.assert_array_equal(outputs.ours(model, inputs), outputs.ours(wanted, inputs))
    model.save_to_preset(tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes(), file


def test_an_adapter_that_is_not_there_is_an_error(parts, folder, tmp_path):
    with pytest.raises(
        ValueError, match="one of the adapters in .* \\(retrieval.query, text-matching\\), got adapter='"
    ):
        kt.TextEmbedder.from_preset(folder, adapter="separation")
    plain = _saved(tmp_path / "plain", parts[0], CASE.config_file(HEAD))
    with pytest.raises(ValueError, match="Expected no adapter: .* holds none, got adapter='separation'"):
        kt.TextEmbedder.from_preset(plain, adapter="separation")


def _write_modules(source):
    kinds = {"": "custom_st.Transformer", "1_Pooling": "sentence_transformers.models.Pooling"}
    modules = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(kinds.items())]
    (source / "modules.json").write_text(json.dumps(modules))
    (source / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (source / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize("adapter", [None, TASKS[0]])
def test_a_folder_of_sentence_transformers_with_the_class_that_chooses(adapter, folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    _write_modules(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kt.TextEmbedder.from_preset(source, adapter=adapter)
        model.save_to_preset(tmp_path / "again")
        again = kt.TextEmbedder.from_preset(tmp_path / "again")
    assert not model.normalize
    saved = json.loads((tmp_path / "again" / "modules.json").read_bytes())
    assert saved[0]["type"] == (
        "custom_st.Transformer" if adapter is None else "sentence_transformers.models.Transformer"
    )
    inputs = outputs.inputs(CASE)
    np.testing.assert_array_equal(outputs.ours(again, inputs), outputs.ours(model, inputs))


@pytest.mark.parametrize("modules", [False, True])
@pytest.mark.parametrize("adapter", [None, TASKS[0]])
def test_instructions_are_prompts(adapter, modules, folder, tmp_path):
    source, prompts = tmp_path / "source", {"retrieval.query": "Represent the query: ", "text-matching": ""}
    shutil.copytree(folder, source)
    values = json.loads((source / "config.json").read_bytes()) | {"task_instructions": prompts}
    (source / "config.json").write_bytes(preset.json_bytes(values))
    if modules:
        _write_modules(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kt.TextEmbedder.from_preset(source, adapter=adapter)
        model.save_to_preset(tmp_path / "again")
        again = kt.TextEmbedder.from_preset(tmp_path / "again")
    assert model.prompts == again.prompts == prompts and model.default_prompt_name is None
    if modules and adapter is None:  # no file is added to those of the folder
        names = {str(each.relative_to(source)) for each in source.rglob("*")}
        assert {str(each.relative_to(tmp_path / "again")) for each in (tmp_path / "again").rglob("*")} == names
    (source / "config.json").write_bytes(preset.json_bytes(values | {"task_instructions": ["a"]}))
    with pytest.raises(
        ValueError, match="Expected texts by name as task_instructions in .*, got \\['a'\\]. Mend the file"
    ):
        kt.TextEmbedder.from_preset(source, adapter=adapter)
