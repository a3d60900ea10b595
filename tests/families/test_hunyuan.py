"""Configurations of Hunyuan as Tencent publishes them."""

import warnings

import pytest

from keras_transformers.families.registry import family
from keras_transformers.layers.attention import QueryKeyNorm
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.layers.rotary_scaling import AlphaScaling

pytestmark = pytest.mark.one_backend("torch")

# in the form of HY-MT1.5-1.8B
VALUES = {
    "architectures": ["HunYuanDenseV1ForCausalLM"],
    "attention_bias": False,
    "attention_head_dim": 128,
    "head_dim": 128,
    "cla_share_factor": 2,
    "dense_list": [2048, 0],
    "enable_lm_head_fp32": True,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "mlp_bias": False,
    "model_type": "hunyuan_v1_dense",
    "norm_type": "rms",
    "num_attention_heads": 16,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "pad_token_id": 120002,
    "pool_type": "last",
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        **{"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
        "type": "dynamic",
    },
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "use_cla": False,
    "use_qk_norm": True,
    "use_rotary_pos_emb": True,
    "vocab_size": 120818,
}


def test_a_published_configuration_is_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = family("hunyuan_v1_dense").config(VALUES)
    attention = config.decoder.block.attention
    assert attention.positions.scaling == AlphaScaling(1000.0)
    assert attention.query_key_norm == QueryKeyNorm(RMSNorm(1e-5), after_rotation=True)
    assert family("hunyuan_v1_dense").describes(config)


@pytest.mark.parametrize("key, value", [("use_qk_norm", False), ("use_cla", True), ("attention_head_dim", 64)])
def test_what_is_not_computed_is_refused(key, value):
    with pytest.raises(ValueError, match=key):
        family("hunyuan_v1_dense").config(VALUES | {key: value})


def test_norms_after_the_rotation_are_over_heads():
    with pytest.raises(ValueError, match="Expected by_head=True with after_rotation=True"):
        QueryKeyNorm(RMSNorm(), by_head=False, after_rotation=True)
