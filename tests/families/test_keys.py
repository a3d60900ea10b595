"""Rows of a `config.json`: read and written by the same words, and wrong in no silence."""

import dataclasses

import pytest

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, build
from keras_transformers.families.keys import (
    OMITTED,
    Group,
    Keys,
    activation,
    choice,
    derive,
    expect,
    in_training,
    inert,
    key,
    optional,
    repeat,
    token_id,
    unwritten,
)
from keras_transformers.families.registry import families
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.norms import LayerNorm, RMSNorm
from keras_transformers.layers.positions import Alibi, Rotary
from tests.conformance.cases import CASES
from tests.families.test_unknown_keys import NEEDED

pytestmark = pytest.mark.one_backend("torch")

HEADS, WIDE = "decoder.block.attention.num_heads", "decoder.block.feed_forward.intermediate_dim"
ROWS = (
    key("vocab_size", 11, "embeddings.vocabulary_size"),
    key(("width", "hidden_size"), 8, "hidden_dim"),
    key("layers", 2, "decoder.num_layers"),
    key("heads", lambda values: values["hidden_dim"] // 4, HEADS),
    optional("wide", int, None, WIDE, null=lambda values: 4 * values["hidden_dim"]),
    activation("act", "gelu_new", "decoder.block.feed_forward.activation"),
    key("dropout", 0.1, "decoder.block.dropout", "embeddings.dropout"),
    choice("before", True, "decoder.block.norm_placement", {True: "pre", False: "post"}),
    token_id("pad_token_id", None, "padding_id"),
)
ALWAYS = {"decoder.block.norm": RMSNorm, "decoder.block.norm.epsilon": 1e-3}
KEYS = Keys(ROWS, ALWAYS)


def read(values, keys=KEYS):
    reader = ConfigReader(values, aliases=keys.aliases)
    config = keys.read(reader)
    reader.finish(keys.inert)
    return config


def test_a_row_is_read_and_written():
    values = {"vocab_size": 9, "width": 16, "layers": 3, "heads": 2, "wide": 5, "act": "relu", "dropout": 0.3}
    values |= {"before": False, "pad_token_id": 4}
    config = read(values)
    assert KEYS.write(config) == values
    assert (config.hidden_dim, config.padding_id, config.embeddings.dropout) == (16, 4, 0.3)
    assert config.decoder.block.norm == RMSNorm(1e-3)
    assert config.decoder.block.norm_placement == "post"


def test_a_missing_key_is_its_default_which_may_follow_from_others():
    config = read({"width": 12, "wide": None, "pad_token_id": -1})
    assert config == read({"width": 12})
    assert (config.decoder.block.attention.num_heads, config.decoder.block.feed_forward.intermediate_dim) == (3, 48)
    assert config.padding_id is None


def test_a_key_may_have_two_names_of_which_the_first_is_written():
    assert read({"hidden_size": 16}) == read({"width": 16})
    assert KEYS.aliases == (("hidden_size", "width"),)
    assert KEYS.write(read({"hidden_size": 16}))["width"] == 16
    with pytest.raises(ValueError, match="width and hidden_size: expected one value, got 16 and 8"):
        read({"hidden_size": 8, "width": 16})


def test_what_is_wrong_is_said_with_the_key():
    with pytest.raises(ValueError, match="vocab_size: expected int, got '9'; dropout: expected a number from 0 to 1"):
        read({"vocab_size": "9", "dropout": 2.0})
    with pytest.raises(ValueError, match="kind: expected cls or mean, got 'max'"):
        read({"kind": "max"}, KEYS.but(None, choice("kind", "cls", "pooler.pooling", {"cls": "first", "mean": "mean"})))
    with pytest.raises(ValueError, match="decoder: field 'num_layers' is 0"):
        read({"layers": 0})


def test_rows_without_a_field_are_read_and_not_written():
    rows = (
        expect("is_decoder", False),
        repeat("head_dim", lambda values: values["hidden_dim"] // values[HEADS], "width / heads"),
        in_training("router", False),
        inert("n_ctx", "n_old"),
        unwritten(key("old_dropout", 0.0, "token_head.dropout")),
        derive(lambda values: values.update({"head.use_bias": True})),
    )
    keys = KEYS.but(None, *rows)
    values = {"is_decoder": False, "head_dim": 4, "router": True, "n_ctx": 3, "old_dropout": 0.5}
    config = read(values, keys)
    assert config.token_head.dropout == 0.5 and config.head.use_bias
    assert keys.write(config) == KEYS.write(config)
    assert keys.known >= {*values, "n_old", "hidden_size"} and keys.inert == ("n_ctx", "n_old")
    with pytest.raises(ValueError, match="is_decoder: only False .*; head_dim: expected 4, as width / heads says"):
        read({"is_decoder": True, "head_dim": 5}, keys)


def test_a_value_may_differ_from_layer_to_layer():
    def windows(reader, values):
        size, every = reader("window", 7), reader("every", 2)
        found = tuple(None if n % every else size for n in range(values["decoder.num_layers"]))
        values["decoder.block.attention.window"] = PerLayer(found)

    def write(fields):
        found = fields.layers("decoder.block.attention.window")
        return {"window": found[0], "every": next((n for n, each in enumerate(found) if n and each), len(found))}

    keys = KEYS.but(None, Group(("window", "every"), windows, write))
    config = read({"layers": 4}, keys)
    assert [each.window for each in config.decoder.attentions] == [7, None, 7, None]
    assert len(config.decoder.pattern) == 2 and config.decoder.block.attention.window == 7
    assert keys.write(config)["every"] == 2
    same = read({"layers": 4, "every": 1}, keys).decoder
    assert same.pattern == () and same.block.attention.window == 7
    assert Fields(config).layers("decoder.block.feed_forward") == config.decoder.feed_forwards


def test_records_are_built_of_values_by_path():
    attention = {"num_heads": 2, "positions": Rotary, "positions.base": 5.0, "positions.layout": "interleaved"}
    assert build(AttentionConfig, attention) == AttentionConfig(2, positions=Rotary(5.0, layout="interleaved"))
    whole = {"num_heads": 2, "positions": Alibi(), "positions.base": 5.0}
    assert build(AttentionConfig, whole).positions == Alibi()
    assert build(AttentionConfig, attention | {"positions": None}).positions is None
    with pytest.raises(AttributeError, match="AttentionConfig has no field 'heads'"):
        build(AttentionConfig, {"heads": 2})
    with pytest.raises(AttributeError, match="Expected one class of a record with the fields theta, got .*Alibi"):
        build(AttentionConfig, {"num_heads": 2, "positions.theta": 5.0})


def test_a_field_that_this_configuration_lacks_is_told_from_one_that_none_has():
    fields = Fields(families()["bert"].config({}))
    assert fields("encoder.block.norm.epsilon") == 1e-12
    for path in ("decoder.num_layers", "encoder.block.attention.positions.base", "encoder.block.norm.unit_offset"):
        with pytest.raises(Inexpressible, match="has no field"):
            fields(path)
    for path in ("decoder.num_layer", "encoder.block.attention.positions.bass", "width"):
        with pytest.raises(AttributeError, match="has no field"):
            fields(path)
    with pytest.raises(Inexpressible, match="no decoder"):
        fields.layers("decoder.block.attention.window")


def test_what_no_name_of_theirs_stands_for_cannot_be_written():
    config = read({})
    norm = dataclasses.replace(config.decoder.block, norm_placement="branch")
    with pytest.raises(Inexpressible, match="Expected one of \\['pre', 'post'\\], got 'branch'"):
        KEYS.write(dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, block=norm)))
    silent = KEYS.but(None, key("extra", 0, "padding_id", restore=lambda fields: OMITTED))
    assert silent.write(config) == KEYS.write(config)


def test_a_relative_has_other_defaults_names_and_keys():
    relative = KEYS.but(
        {"width": 4, "vocab_size": 7},
        key("soft", 3.0, "head.soft_cap"),
        activation("hidden_activation", "gelu_new", "decoder.block.feed_forward.activation"),
        without=("act", "dropout"),
        always={"decoder.block.norm": LayerNorm},
    )
    config = read({"hidden_activation": "relu", "heads": 1}, relative)
    assert (config.hidden_dim, config.head.soft_cap, config.embeddings.dropout) == (4, 3.0, 0.0)
    assert config.decoder.block.norm == LayerNorm(1e-3)
    assert relative.write(config).keys() == KEYS.write(config).keys() - {"act", "dropout"} | {
        "hidden_activation",
        "soft",
    }
    with pytest.raises(ValueError, match="Expected names of keys that have a row, got acts, widths"):
        KEYS.but({"widths": 4, "acts": "relu"})


@pytest.mark.parametrize("path", ["decoder.block.attention.windw", "decoder.blocks.dropout"])
def test_a_mistake_in_a_row_is_no_configuration_that_the_family_cannot_say(path):
    """Else another family's format would be written in silence."""
    family, config = families()["gpt2"], CASES["gpt2"].config
    assert family.describes(config)
    unreadable = key("wrong", 0, "padding_id", restore=lambda fields: fields(path))
    wrong = dataclasses.replace(family, keys=family.keys.but(None, unreadable))
    with pytest.raises(AttributeError, match="has no field"):
        wrong.describes(config)
    mistaken = dataclasses.replace(family, keys=family.keys.but(None, key("wrong", 0, path)))
    with pytest.raises(AttributeError, match="has no field"):
        mistaken.describes(config)


def test_a_mistake_in_a_function_of_a_row_is_raised_when_a_model_is_saved_and_named_when_a_file_is_read():
    family, config = families()["gpt2"], CASES["gpt2"].config
    keys = family.keys.but(None, key("wrong", 0, "padding_id", adapt=lambda value: value))
    with pytest.raises(ValueError, match="takes 1 positional argument"):
        dataclasses.replace(family, keys=keys).describes(config)


@pytest.mark.parametrize("model_type", families())
def test_whether_a_family_says_what_a_configuration_is_is_known_of_all(model_type):
    family = families()[model_type]
    for case in CASES.values():
        assert family.describes(case.config) or case.model_type != model_type


def test_all_keys_that_are_read_have_a_row():
    for case in CASES.values():
        if isinstance(case.family.keys, Keys):
            for values in (case.values, NEEDED.get(case.model_type, {})):
                _, reader = case.family.reading(values)
                assert reader.seen <= case.family.keys.known
