"""What is saved comes back, here and in transformers: configurations, weights to the bit, files to the byte.

Of the checkpoints, those of `variety.py` are tried; `make test-all` tries every head of every case.
"""

import json
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.families.registry import family_of
from keras_transformers.formats import preset, safetensors_files
from keras_transformers.models.weights import named_weights
from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CASES, CHECKPOINTS, soon
from tests.conformance.variety import OF_EVERY_FAMILY
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

FILES = ("config.json", "model.safetensors")


@pytest.mark.parametrize("name", CASES)
def test_a_configuration_comes_back(name):
    case = CASES[name]
    assert case.family.config(case.family.write(case.config)) == case.config
    assert case.family.describes(case.config)


@pytest.mark.parametrize("name", soon(OF_EVERY_FAMILY))
def test_what_transformers_saved_comes_back_byte_for_byte(name, tmp_path):
    case, head = CHECKPOINTS[name]
    reference.model(name).save_pretrained(tmp_path / "theirs")
    model = checkpoints.load(tmp_path / "theirs", head)
    model.save_to_preset(tmp_path / "ours")
    for file in FILES:
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes(), file
    inputs = outputs.inputs(case)
    np.testing.assert_array_equal(outputs.direct(model, inputs), outputs.direct(checkpoints.model(name), inputs))


ZEROS = [name for name, (_, head) in CHECKPOINTS.items() if any(entry.zero for entry in head.entries)]


@pytest.mark.parametrize("name", ZEROS)
def test_what_a_file_may_lack_is_zero_and_stays_out(name, tmp_path):
    case, head = CHECKPOINTS[name]
    tensors = checkpoints.tensors(case, head)
    for entry in head.entries:
        if entry.zero:
            tensors.pop(entry.theirs, None)
    files = {"config.json": (checkpoints.folder(name) / "config.json").read_bytes()}
    preset.save_folder(
        tmp_path / "theirs",
        files | {preset.WEIGHTS: lambda file: safetensors_files.write_tensors(file, tensors)},
    )
    model, inputs = checkpoints.load(tmp_path / "theirs", head), outputs.inputs(case)
    wanted = outputs.theirs(reference.load(tmp_path / "theirs", head), case, inputs)
    found = outputs.direct(model, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5
    model.save_to_preset(tmp_path / "ours")
    for file in FILES:
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes(), file
    bias = next(weight for weight in model.head.weights if weight.path.endswith("bias"))
    bias.assign(ops.ones_like(bias))
    model.save_to_preset(tmp_path / "changed")
    again = checkpoints.load(tmp_path / "changed", head)
    np.testing.assert_array_equal(outputs.direct(again, inputs), outputs.direct(model, inputs))


@pytest.mark.parametrize("name", soon(OF_EVERY_FAMILY))
def test_transformers_opens_what_was_made_here_and_computes_the_same(name, tmp_path, monkeypatch):
    case, head = CHECKPOINTS[name]
    model = checkpoints.model(name)
    monkeypatch.setattr(model, "origin", None)  # as if it had been made from its configuration
    model.save_to_preset(tmp_path)
    inputs = outputs.inputs(case)
    theirs, wanted = reference.load(tmp_path, _written_head(tmp_path, head.task)), reference.model(name)
    first, second = (outputs.compared(outputs.theirs(each, case, inputs), case, inputs) for each in (theirs, wanted))
    # what other code computed, a class of transformers may compute in another order
    assert relative_error(first, second) <= (0 if type(theirs) is type(wanted) else 1e-5)
    found, wanted = theirs.config.to_dict(), wanted.config.to_dict()
    keys = found.keys() | wanted.keys()
    if found["model_type"] != wanted["model_type"]:  # a family may be another's in all but its name
        keys = found.keys() & wanted.keys()
    named = {"_name_or_path", "architectures", "model_type", "forced_eos_token_id"}  # the last is of generation
    named |= set(case.family.inert)
    if case.model_type == "convbert":  # several pairs say one number of heads
        named |= {"num_attention_heads", "head_ratio"}
    if not hasattr(model, "labels") or head.labels:
        named |= {"id2label", "label2id"}
    if model.config.decoder is None is not case.config.decoder:  # an encoder without its decoder
        named |= {"is_encoder_decoder", "num_decoder_layers", "decoder_start_token_id", "eos_token_id"}
    assert {key for key in keys if found.get(key) != wanted.get(key)} <= named
    again = checkpoints.load(tmp_path, head)
    assert again.config == model.config
    np.testing.assert_array_equal(outputs.direct(again, inputs), outputs.direct(model, inputs))


def _written_head(folder, task):
    """The `Head` that a folder's `config.json` names."""
    values = json.loads((folder / "config.json").read_bytes())
    head = family_of(values, folder).head(task, values["architectures"])
    assert head.architecture == values["architectures"][0]
    return head


def _of_new_records():
    """The models whose configuration has a class of record, or a task, that no earlier one has."""
    seen, chosen = set(), set()
    for name, (case, head) in reversed(CHECKPOINTS.items()):
        parts = {head.task, *re.findall(r"(\w+)\(", repr(case.config))}
        if parts - seen:
            chosen.add(name)
        seen |= parts
    return chosen


# Records are stored by one function, whatever their class; `make test-all` takes all models.
@pytest.mark.parametrize("name", soon(_of_new_records()))
def test_a_keras_file_comes_back(name, tmp_path):
    case, _ = CHECKPOINTS[name]
    model, inputs = checkpoints.model(name), outputs.inputs(case)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    weights, wanted = named_weights(again), named_weights(model)
    assert weights.keys() == wanted.keys()
    for path, weight in weights.items():
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(wanted[path]), err_msg=path)
    # how a matrix lies in memory may differ, and with it the order of a sum
    assert relative_error(outputs.ours(again, inputs), outputs.ours(model, inputs)) <= 1e-6
