"""The registry of families: which there are, and that a file of one family imports that family alone."""

import warnings

import pytest

from keras_transformers.families import registry

pytestmark = pytest.mark.one_backend("torch")


def test_one_family_is_imported_for_one_file(forks):
    assert forks.start("tests.families.one_family").wait(60) == 0


def test_a_module_registers_the_families_that_are_listed_for_it_in_that_order():
    listed = [model_type for model_types in registry.MODULES.values() for model_type in model_types]
    assert list(registry.families()) == listed
    for model_type in listed:
        assert registry.family(model_type).model_type == model_type


def test_a_model_type_is_registered_once():
    with pytest.raises(ValueError, match="Expected one family of each model_type, got two of 'bert'"):
        registry.register(registry.family("bert"))


@pytest.mark.parametrize(
    "values, name",
    [
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "bert", "position_embedding_type": "absolute"}, "bert"),
        ({"model_type": "bert", "position_embedding_type": "alibi"}, "jina_bert"),
        ({"model_type": "xlm-roberta", "position_embedding_type": "rotary"}, "jina_xlm_roberta"),
        ({"model_type": "xlm-roberta", "position_embedding_type": "alibi"}, "xlm-roberta"),
        ({"model_type": "nomic_bert", "n_embd": 32}, "hf_nomic_bert"),
        ({"model_type": "nomic_bert", "hidden_size": 32}, "nomic_bert"),
    ],
)
def test_a_key_tells_files_of_other_code_with_the_same_model_type(values, name):
    assert registry.family_of(values, "config.json").model_type == name


def test_no_file_has_the_name_of_such_a_form():
    with pytest.raises(ValueError, match="got 'jina_bert'"):
        registry.family_of({"model_type": "jina_bert"}, "config.json")


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "new", "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}},
        {"model_type": "eurobert", "auto_map": {"AutoModel": "modeling_eurobert.EuroBertModel"}},
    ],
)
def test_code_that_is_known_opens_without_a_warning_and_its_other_keys_are_refused(values):
    family = registry.family_of(values, "config.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        family.config(values)
    with pytest.raises(ValueError, match="unknown key 'num_kv_heads': the folder's own code, which auto_map names"):
        family.config(values | {"num_kv_heads": 4})


@pytest.mark.parametrize(
    "values, expected",
    [
        ({"model_type": "new", "rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.5}}, "only mixed_b of null"),
        (
            {"model_type": "new", "rope_scaling": {"type": "yarn", "factor": 2.0}},
            "a rope_type of 'default', 'ntk', got",
        ),
        ({"model_type": "new", "logn_attention_scale": True}, "logn_attention_scale: only False is supported"),
        (
            {"model_type": "nomic_bert", "n_embd": 32, "activation_function": "glu"},
            "expected gelu, swiglu or geglu, got",
        ),
        (
            {"model_type": "nomic_bert", "n_embd": 32, "activation_function": "gelu", "mlp_fc2_bias": False},
            "mlp_fc1_bias, mlp_fc2_bias: expected the second with the first",
        ),
        (
            {"model_type": "nomic_bert", "n_embd": 32, "activation_function": "swiglu", "moe_every_n_layers": 2},
            "only gelu is supported with experts, got 'swiglu'",
        ),
        (
            {"model_type": "nomic_bert", "n_embd": 32, "activation_function": "gelu"},
            "rotary_emb_fraction: expected above",
        ),
        (
            {"model_type": "bert", "position_embedding_type": "alibi", "feed_forward_type": "swiglu"},
            "feed_forward_type: expected geglu or reglu, got 'swiglu'",
        ),
        ({"model_type": "eurobert", "classifier_pooling": "max"}, "expected one of bos, mean, late, got 'max'"),
        ({"model_type": "eurobert", "clf_pooling": "bos"}, "clf_pooling: expected 'late', as classifier_pooling says"),
        (
            {"model_type": "mistral", "is_causal": False},
            "sliding_window: expected none with is_causal: false, got 4096",
        ),
        ({"model_type": "llama", "is_causal": "yes"}, "is_causal: expected bool, got 'yes'"),
        (
            {"model_type": "gemma3_text", "use_bidirectional_attention": "all"},
            "only None or False or True is supported",
        ),
    ],
)
def test_values_of_embedders_that_are_not_computed_are_refused_by_name(values, expected):
    with pytest.raises(ValueError, match=expected):
        registry.family_of(values, "config.json").config(values)
