"""Every key that transformers writes to a `config.json` is read, refused by name, or inert, and what is called inert is
so in transformers."""

import json

import numpy as np
import pytest

from keras_transformers.families.registry import families
from keras_transformers.families.unknown_keys import INERT
from keras_transformers.formats.hugging_face import labelled
from keras_transformers.tasks.classifier import Classifier
from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CASES, CHECKPOINTS, IN_TRANSFORMERS, task_class
from tests.conformance.changes import others

pytestmark = pytest.mark.one_backend("torch")

# What version 4 of transformers wrote in every file, where it wrote all that it knew.
VERSION_4 = {
    "torch_dtype": "float32",
    "torchscript": False,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "pruned_heads": {},
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False,
    "return_dict": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "chunk_size_feed_forward": 0,
    "max_length": 20,
    "min_length": 0,
    "do_sample": False,
    "early_stopping": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "num_return_sequences": 1,
    "output_scores": False,
    "return_dict_in_generate": False,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "finetuning_task": None,
    "tokenizer_class": None,
    "prefix": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
    "task_specific_params": None,
    "_attn_implementation_autoset": False,
    "transformers_version": "4.46.0",
}
# Keys of version 5 that version 4 had not, and what families had instead.
NEW = ("dtype", "layer_types", "rope_parameters")
INSTEAD = {
    "modernbert": {"global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "global_attn_every_n_layers": 3},
}
# Values that say the same as another to transformers: what Gemma's first files call gelu is its tanh form.
SAME = {"gemma": (("hidden_act", "gelu"),)}


def defaults(model_type):
    """All keys of transformers' own configuration, as they are in a file."""
    import transformers

    return json.loads(json.dumps(transformers.CONFIG_MAPPING[model_type]().to_dict()))


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_no_keys_mean_what_they_mean_to_transformers(model_type):
    family = families()[model_type]
    assert family.config(defaults(model_type)) == family.config({})


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_a_file_that_names_no_classes_has_as_many_as_in_transformers(model_type):
    import transformers

    count = transformers.CONFIG_MAPPING[model_type]().num_labels
    for head in families()[model_type].heads:
        if issubclass(task_class(head), Classifier):
            found = task_class(head)._read_values(labelled({"model_type": model_type}, head))["labels"]
            assert len(found) == (len(head.labels) or count)


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_the_keys_of_version_4_mean_the_same(model_type):
    family, values = families()[model_type], defaults(model_type)
    old = {name: value for name, value in values.items() if name not in NEW} | INSTEAD.get(model_type, {})
    assert family.config(VERSION_4 | old) == family.config(values)


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_a_key_changes_the_model_or_is_refused_by_name_or_is_said_or_is_inert(model_type):
    family, values = families()[model_type], VERSION_4 | defaults(model_type)
    usual = family.config(values)
    for key in values:
        if key in INERT | set(family.inert):
            continue
        for other in _others(values[key]):
            if (key, other) in SAME.get(model_type, ()):
                continue
            try:
                config, reader = family.reading(values | {key: other})
                assert config != usual or key in " ".join(reader.in_training_only), (key, other)
            except ValueError as error:
                assert key in str(error) or "contradicts itself" in str(error), (key, other)


@pytest.mark.slow  # it asks transformers alone
@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_an_inert_key_changes_nothing_in_transformers(model_type, tmp_path):
    name = next(each for each, (case, _) in CHECKPOINTS.items() if case.model_type == model_type)
    case, head = CHECKPOINTS[name]
    inputs, folder = outputs.inputs(case), checkpoints.folder(name)
    usual = outputs.compared(outputs.theirs(reference.model(name), case, inputs), case, inputs)
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    values = case.config_file(head)
    inert = (INERT | set(case.family.inert)) & defaults(model_type).keys() - OF_THE_LIBRARY
    assert inert
    for key in sorted(inert):
        for other in _others(defaults(model_type)[key]):
            (tmp_path / "config.json").write_text(json.dumps(values | {key: other}))
            try:
                changed = reference.load(tmp_path, head)
            except Exception:  # transformers refuses the value
                continue
            found = outputs.compared(outputs.theirs(changed, case, inputs, return_dict=True), case, inputs)
            np.testing.assert_allclose(found, usual, atol=1e-5, err_msg=f"{key}={other!r}")


# Keys that say what to load, in which numbers to compute, and what to return. (Told to return attention, Falcon adds
# its boolean mask to scores; told to return no dictionary, OPT fails on its own tuple.)
OF_THE_LIBRARY = {"architectures", "model_type", "dtype", "torch_dtype", "transformers_version"}
OF_THE_LIBRARY |= {"return_dict", "output_attentions"}


@pytest.mark.parametrize("name", CASES)
def test_values_that_are_not_supported_are_refused_by_name_all_at_once(name):
    case = CASES[name]
    with pytest.raises(ValueError, match="vocab_size: expected int, got '67'") as error:
        case.family.config({**case.values, "vocab_size": "67", "add_cross_attention": True})
    assert "add_cross_attention: only " in str(error.value)


def _others(value):
    """Other values for one of a `config.json`."""
    if value is None:
        return (0.3, 3)
    if isinstance(value, list):
        return ([*value, *value], value[1:]) if value else ([0],)
    if isinstance(value, dict):
        return [{**value, key: other} for key, old in value.items() for other in _others(old)]
    return others(value)
