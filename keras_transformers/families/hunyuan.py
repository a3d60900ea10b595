"""Hunyuan's dense decoders, and the translators HY-MT made of them: like Llama, with norms of queries and keys that
follow the rotation, and a larger base for long texts. Data only, in the records of `family.py` and the rows of
`keys.py`."""

from keras_transformers.families.keys import expect, inert, repeat
from keras_transformers.families.llama import (
    ATTENTION,
    ATTENTION_BIAS,
    BEFORE,
    GATED,
    KEYS,
    NO_TOKENS,
    PROJECTIONS,
    decoder_family,
    heads_of_width,
    norm_heads,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import SCALINGS, RotaryKeys

_KEYS = KEYS.but(
    {"vocab_size": 290943, "rms_norm_eps": 1e-5, "pad_token_id": 0},
    ATTENTION_BIAS,
    RotaryKeys(kinds=(*SCALINGS, "alpha")),
    heads_of_width(None),
    norm_heads(by_head=True, after_rotation=True),
    # of the published code, which transformers' leaves out
    expect("use_qk_norm", True),
    expect("use_rotary_pos_emb", True),
    expect("norm_type", "rms"),
    *(expect(name, False) for name in ("use_cla", "mlp_bias", "add_classification_head")),
    repeat("attention_head_dim", lambda values: values[ATTENTION + "head_dim"], "head_dim"),
    inert("eod_token_id", "pretraining_tp", "cla_share_factor", "class_num", "pool_type", "org_vocab_size"),
    inert("enable_lm_head_fp32", "dense_list", "mask_init_id", "sep_token_id", "position_embedding_xdrope"),
    inert("pad_id", "im_start_id", "im_end_id", "im_newline_id", "text_start_id", "text_end_id"),
    without=NO_TOKENS,
)
_NORMS = {f"self_attention.{part}_norm": f"self_attn.{part}_layernorm" for part in ("query", "key")}

register(
    decoder_family("hunyuan_v1_dense", "HunYuanDenseV1", _KEYS, PROJECTIONS | GATED | BEFORE | _NORMS, tokens=False)
)
