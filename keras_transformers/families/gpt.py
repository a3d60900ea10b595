"""GPT and its relatives: decoders that normalise by LayerNorm. Data only, in the records of `family.py` and the rows
of `keys.py`.

model_type   positions                     residual          other differences
gpt2         learned                       sequential        query, key and value in one, untransposed
gpt_neox     rotary, in part               parallel          query, key and value in one, head by head (Pythia)
gptj         rotary, in part, interleaved  parallel, shared  no biases in attention, one in the head
opt          learned, 2 rows before        sequential        one size: norms after, and narrower token vectors
bloom        ALiBi                         sequential        a norm after the embeddings
falcon       rotary, or ALiBi rounded      all three         grouped heads, query, key and value group by group
phi          rotary, in part               parallel, shared  a bias in the head
"""

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, PerLayer, Values
from keras_transformers.families.keys import (
    ONE_STACK,
    Group,
    Key,
    Keys,
    Row,
    activation,
    choice,
    derive,
    expect,
    inert,
    key,
    optional,
    repeat,
    token_id,
    unwritten,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import RotaryKeys
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.attention import QueryKeyNorm
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Alibi, Learned, Rotary
from keras_transformers.models.config import ModelConfig

# Configurations

_BLOCK, _ATTENTION, _FEED_FORWARD = "decoder.block.", "decoder.block.attention.", "decoder.block.feed_forward."
_POSITIONS, _TOKEN_DROPOUT = _ATTENTION + "positions", "token_head.dropout"

_ALWAYS = {
    "decoder.final_norm": True,
    "decoder.block.norm": LayerNorm,
    "decoder.block.norm_placement": "pre",
    "pooler.pooling": "last",
    "pooler.classifier_bias": False,
}


def _width_of_a_head(values: Values) -> int:
    width: int = values["hidden_dim"]
    return max(width // max(values[_ATTENTION + "num_heads"], 1), 1)


def _four_times_as_wide(values: Values) -> int:
    width: int = values["hidden_dim"]
    return 4 * width


def _classifier_dropout(default: float) -> tuple[Row, ...]:
    """Return the rows of a family with a token classifier; `default` is the dropout if the file has no key for it."""
    return (
        unwritten(optional("hidden_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: default)),
        optional("classifier_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: values[_TOKEN_DROPOUT]),
    )


def _vocabulary(size: int, tied: bool, padding_id: int | None = None) -> tuple[Row, ...]:
    """Return the rows that all of these families share."""
    return (
        *ONE_STACK,
        inert("is_decoder"),
        key("vocab_size", size, "embeddings.vocabulary_size"),
        token_id("pad_token_id", padding_id, "padding_id"),
        key("tie_word_embeddings", tied, "head.tied"),
    )


# The rows of GPT-2 and GPT-J.
_SUMMARY = inert(
    *(f"summary_{each}" for each in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout")),
    "summary_last_dropout",
)
_OPENAI: tuple[Key, ...] = (
    key(("n_embd", "hidden_size"), 768, "hidden_dim"),
    key(("n_head", "num_attention_heads"), 12, _ATTENTION + "num_heads"),
    key(("n_layer", "num_hidden_layers"), 12, "decoder.num_layers"),
    optional("n_inner", int, None, _FEED_FORWARD + "intermediate_dim", null=_four_times_as_wide),
    activation("activation_function", "gelu_new", _FEED_FORWARD + "activation"),
    key("resid_pdrop", 0.1, _BLOCK + "dropout"),
    key("embd_pdrop", 0.1, "embeddings.dropout"),
    key("attn_pdrop", 0.1, _ATTENTION + "dropout"),
    key("layer_norm_epsilon", 1e-5, _BLOCK + "norm.epsilon"),
)
_LENGTH = ("n_positions", "max_position_embeddings")


def _scale_by_layer(read: ConfigReader, values: Values) -> None:
    """Divide the scores of each layer by its number, counted from 1."""
    if read("scale_attn_by_inverse_layer_idx", False):
        first, layers = values[_ATTENTION + "scale"], max(values["decoder.num_layers"], 1)
        scale = _width_of_a_head(values) ** -0.5 if first is None else first
        values[_ATTENTION + "scale"] = PerLayer((first, *(scale / (n + 1) for n in range(1, layers))))


_GPT2_KEYS = Keys(
    (
        *_vocabulary(50257, tied=True),
        *_OPENAI,
        key(_LENGTH, 1024, "embeddings.positions.max_length"),
        choice("scale_attn_weights", True, _ATTENTION + "scale", {True: None, False: 1.0}),
        Group(
            ("scale_attn_by_inverse_layer_idx",),
            _scale_by_layer,
            lambda fields: {"scale_attn_by_inverse_layer_idx": bool(fields("decoder.pattern"))},
        ),
        *_classifier_dropout(0.1),
        inert("n_ctx", "reorder_and_upcast_attn"),
        _SUMMARY,
    ),
    {**_ALWAYS, "embeddings.positions": Learned},
)

_GPT_NEOX_KEYS = Keys(
    (
        *_vocabulary(50432, tied=False),
        key("hidden_size", 6144, "hidden_dim"),
        key("num_hidden_layers", 44, "decoder.num_layers"),
        key("num_attention_heads", 64, _ATTENTION + "num_heads"),
        repeat("head_dim", _width_of_a_head, "hidden_size / num_attention_heads"),
        key("intermediate_size", 24576, _FEED_FORWARD + "intermediate_dim"),
        activation("hidden_act", "gelu", _FEED_FORWARD + "activation"),
        key("max_position_embeddings", 2048, "embeddings.context_length"),
        RotaryKeys("rotary_emb_base", fraction="rotary_pct", default_fraction=0.25),
        key("attention_bias", True, _ATTENTION + "use_bias"),
        key("attention_dropout", 0.0, _ATTENTION + "dropout"),
        key("hidden_dropout", 0.0, _BLOCK + "dropout", "embeddings.dropout"),
        key("layer_norm_eps", 1e-5, _BLOCK + "norm.epsilon"),
        choice("use_parallel_residual", True, _BLOCK + "residual", {True: "parallel", False: "sequential"}),
        *_classifier_dropout(0.1),
        inert("attention_probs_dropout_prob", "hidden_dropout_prob"),
    ),
    _ALWAYS,
)


def _rotated_share(rotated: int, values: Values) -> float:
    width = _width_of_a_head(values)
    if not 0 < rotated <= width:
        raise ValueError(f"rotary_dim: expected from 1 to {width}, the width of a head, got {rotated}")
    return rotated / width


def _rotated(fields: Fields) -> int:
    width = fields("hidden_dim") // fields(_ATTENTION + "num_heads")
    return int(width * fields(_POSITIONS + ".fraction"))


_GPTJ_KEYS = Keys(
    (
        *_vocabulary(50400, tied=False),
        *_OPENAI,
        key(_LENGTH, 2048, "embeddings.context_length"),
        key("rotary_dim", 64, _POSITIONS + ".fraction", adapt=_rotated_share, restore=_rotated),
        inert("n_ctx", "rotary", "scale_attn_weights"),
        _SUMMARY,
    ),
    {
        **_ALWAYS,
        _POSITIONS: Rotary,
        _POSITIONS + ".layout": "interleaved",
        _ATTENTION + "use_bias": False,
        _BLOCK + "residual": "parallel_shared",
        "head.use_bias": True,
    },
).but({"n_embd": 4096, "n_head": 16, "n_layer": 28, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0})


def _narrow_tokens(values: Values) -> None:
    """Project the token vectors before the sum with positions, if they are narrower than the model."""
    values["embeddings.projected"] = "sum" if values["embeddings.embedding_dim"] is None else "tokens"


_OPT_KEYS = Keys(
    (
        *_vocabulary(50272, tied=True, padding_id=1),
        key("hidden_size", 768, "hidden_dim"),
        optional(
            "word_embed_proj_dim",
            int,
            None,
            *("embeddings.embedding_dim", "decoder.output_dim"),
            adapt=lambda width, values: None if width == values["hidden_dim"] else width,
            restore=lambda fields: fields("decoder.output_dim") or fields("hidden_dim"),
        ),
        derive(_narrow_tokens),
        key("num_hidden_layers", 12, "decoder.num_layers"),
        key("num_attention_heads", 12, _ATTENTION + "num_heads"),
        key("ffn_dim", 3072, _FEED_FORWARD + "intermediate_dim"),
        activation("activation_function", "relu", _FEED_FORWARD + "activation"),
        key("max_position_embeddings", 2048, "embeddings.positions.max_length"),
        key("enable_bias", True, _ATTENTION + "use_bias", _FEED_FORWARD + "use_bias"),
        key("dropout", 0.1, _BLOCK + "dropout"),
        key("attention_dropout", 0.0, _ATTENTION + "dropout"),
        choice("do_layer_norm_before", True, _BLOCK + "norm_placement", {True: "pre", False: "post"}),
        key(
            "_remove_final_layer_norm",
            False,
            "decoder.final_norm",
            adapt=lambda without, values: values[_BLOCK + "norm_placement"] == "pre" and not without,
            restore=lambda fields: fields(_BLOCK + "norm_placement") == "pre" and not fields("decoder.final_norm"),
        ),
        expect("layer_norm_elementwise_affine", True),
        expect("layerdrop", 0.0),
        inert("init_std", "activation_dropout"),
    ),
    {**_ALWAYS, "embeddings.positions": Learned, "embeddings.positions.offset": 2},
)

_BLOOM_KEYS = Keys(
    (
        *_vocabulary(250880, tied=True),
        key(("hidden_size", "n_embed"), 64, "hidden_dim"),
        derive(lambda values: values.update({_FEED_FORWARD + "intermediate_dim": _four_times_as_wide(values)})),
        key(("n_layer", "num_hidden_layers"), 2, "decoder.num_layers"),
        key(("n_head", "num_attention_heads"), 8, _ATTENTION + "num_heads"),
        key("layer_norm_epsilon", 1e-5, _BLOCK + "norm.epsilon", "embeddings.norm.epsilon"),
        key("hidden_dropout", 0.0, _BLOCK + "dropout", _TOKEN_DROPOUT),
        key("attention_dropout", 0.0, _ATTENTION + "dropout"),
        optional("classifier_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: values[_TOKEN_DROPOUT]),
        expect("apply_residual_connection_post_layernorm", False),
        expect("slow_but_exact", False),  # transformers would leave out biases
        inert(
            *("pretraining_tp", "n_inner", "seq_length", "offset_alibi", "attention_softmax_in_fp32"),
            *("bias_dropout_fusion", "masked_softmax_fusion", "skip_bias_add", "skip_bias_add_qkv"),
        ),
    ),
    {**_ALWAYS, _POSITIONS: Alibi, "embeddings.norm": LayerNorm, _FEED_FORWARD + "activation": "gelu_tanh"},
)


def _read_architecture(read: ConfigReader, values: Values) -> None:
    """Read which of Falcon's two decoders it is: its number of key/value heads, and the inputs of its branches."""
    heads, parallel = values[_ATTENTION + "num_heads"], read("parallel_attn", True)
    alone = read("multi_query", True)
    groups = read.optional("num_kv_heads", int)
    if read("new_decoder_architecture", False):
        read.expect("parallel_attn", True)
        norms = read.optional("num_ln_in_parallel_attn", int)
        read.expect("num_ln_in_parallel_attn", None, 1, 2)
        groups, residual = groups or heads, "parallel" if norms in (None, 2) else "parallel_shared"
    else:
        given, groups = groups, 1 if alone else heads
        if given not in (None, heads, groups):
            raise ValueError(f"num_kv_heads: only num_attention_heads={heads} is supported here, got {given}")
        read.expect("num_ln_in_parallel_attn", None, 1)
        residual = "parallel_shared" if parallel else "sequential"
    values |= {_ATTENTION + "num_key_value_heads": groups, _BLOCK + "residual": residual}


def _write_architecture(fields: Fields) -> Values:
    heads, groups = fields(_ATTENTION + "num_heads"), fields(_ATTENTION + "num_key_value_heads")
    residual = fields(_BLOCK + "residual")
    new = residual == "parallel" or groups not in (1, heads)
    return {
        "new_decoder_architecture": new,
        "num_kv_heads": groups if new else heads,
        "multi_query": new or groups == 1,
        "parallel_attn": residual != "sequential",
        "num_ln_in_parallel_attn": (2 if residual == "parallel" else 1) if new else None,
    }


_FALCON_KEYS = Keys(
    (
        *_vocabulary(65024, tied=True),
        key(("hidden_size", "n_embed"), 4544, "hidden_dim"),
        key("num_hidden_layers", 32, "decoder.num_layers"),
        key("num_attention_heads", 71, _ATTENTION + "num_heads"),
        Group(
            (
                *("new_decoder_architecture", "num_kv_heads", "multi_query", "parallel_attn"),
                "num_ln_in_parallel_attn",
            ),
            _read_architecture,
            _write_architecture,
        ),
        key("max_position_embeddings", 2048, "embeddings.context_length"),
        RotaryKeys(otherwise=Rotary()),
        key(
            "alibi",
            False,
            _POSITIONS,
            adapt=lambda alibi, values: Alibi(rounded=True) if alibi else values[_POSITIONS],
            restore=lambda fields: isinstance(fields(_POSITIONS), Alibi),
        ),
        key("bias", False, _ATTENTION + "use_bias", _FEED_FORWARD + "use_bias"),
        optional("ffn_hidden_size", int, None, _FEED_FORWARD + "intermediate_dim", null=_four_times_as_wide),
        activation("activation", "gelu", _FEED_FORWARD + "activation"),
        key("layer_norm_epsilon", 1e-5, _BLOCK + "norm.epsilon"),
        key("hidden_dropout", 0.0, _BLOCK + "dropout", _TOKEN_DROPOUT),
        optional("classifier_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: values[_TOKEN_DROPOUT]),
        expect("attention_dropout", 0.0),  # the place of this dropout depends on other keys
        inert("apply_residual_connection_post_layernorm", "ff_factor"),
    ),
    _ALWAYS,
)

_PHI_KEYS = Keys(
    (
        *_vocabulary(51200, tied=False),
        key("hidden_size", 2048, "hidden_dim"),
        key("intermediate_size", 8192, _FEED_FORWARD + "intermediate_dim"),
        key("num_hidden_layers", 24, "decoder.num_layers"),
        key("num_attention_heads", 32, _ATTENTION + "num_heads"),
        optional(
            "num_key_value_heads",
            int,
            None,
            _ATTENTION + "num_key_value_heads",
            null=lambda values: values[_ATTENTION + "num_heads"],
        ),
        repeat("head_dim", _width_of_a_head, "hidden_size / num_attention_heads"),
        key("resid_pdrop", 0.0, _BLOCK + "dropout"),
        key("embd_pdrop", 0.0, "embeddings.dropout"),
        key("attention_dropout", 0.0, _ATTENTION + "dropout"),
        activation("hidden_act", "gelu_new", _FEED_FORWARD + "activation"),
        key("max_position_embeddings", 2048, "embeddings.context_length"),
        RotaryKeys(fraction="partial_rotary_factor", default_fraction=0.5),
        key("layer_norm_eps", 1e-5, _BLOCK + "norm.epsilon"),
        key(
            "qk_layernorm",
            False,
            _ATTENTION + "query_key_norm",
            adapt=lambda normed, values: QueryKeyNorm(LayerNorm(values[_BLOCK + "norm.epsilon"])) if normed else None,
            restore=lambda fields: fields(_ATTENTION + "query_key_norm") is not None,
        ),
        *_classifier_dropout(0.1),
    ),
    {**_ALWAYS, _BLOCK + "residual": "parallel_shared", "head.use_bias": True},
)


# Weights

_FUSED = ("self_attention.query", "self_attention.key", "self_attention.value")
_PARTS: dict[str, str | tuple[str, ...]] = {
    "fused": _FUSED,
    **dict(zip(("query", "key", "value"), _FUSED, strict=True)),
    "output": "self_attention.output",
    "query_norm": "self_attention.query_norm",
    "key_norm": "self_attention.key_norm",
    "up": "feed_forward.up",
    "down": "feed_forward.down",
    "attention_norm": ("self_attention_norm_before", "self_attention_norm_after"),
    "feed_forward_norm": ("feed_forward_norm_before", "feed_forward_norm_after"),
}


def _weights(
    embeddings: dict[str, str],
    layer: str,
    names: dict[str, str],
    norm: str,
    *,
    projection: str | None = None,
    prefix: str = "transformer.",
    groups: int = 1,
    transposed: bool = True,
    ignored: tuple[str, ...] = (),
    heads: tuple[str, ...] = ("lm_head",),
) -> WeightMap:
    """Return the table of a body.

    Args:
        embeddings: the names of the embeddings, by this library's names.
        layer: the path of layer `{n}`.
        names: the names of the layer's parts.
        norm: the name of the norm after the last layer.
        projection: the name of a projection after that norm.
        prefix: the prefix of the body in files of a model with a head.
        groups: the number of groups of queries, keys and values in a fused projection.
        transposed: whether kernels are stored transposed.
        ignored: names of tensors that the model does not use.
        heads: the names of the vocabulary head's matrix, the usual name last.
    """
    body = [Entry(f"embedding.{ours}", theirs) for ours, theirs in embeddings.items()]
    for part, name in names.items():
        ours = tuple(f"decoder.block_{{n}}.{each}" for each in _several(_PARTS[part]))
        if part == "fused":
            body.append(Entry(ours, f"{layer}.{name}", transposed, groups))
        else:  # the norm before or after a branch: a block has one of the two
            body += [Entry(each, f"{layer}.{name}", transposed) for each in ours]
    body.append(Entry("decoder.norm", norm))
    if projection is not None:
        body.append(Entry("decoder.projection", projection))
    *others, usual = heads
    copies = tuple((f"{name}.weight", f"{usual}.weight") for name in others)
    scores = tuple((f"{name}.weight", f"{prefix}{embeddings['token']}.weight") for name in heads)
    return WeightMap((), ignored, tuple(body), prefix, copies, scores=scores)


def _several(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    return paths if isinstance(paths, tuple) else (paths,)


_MASKS = ("h.{n}.attn.bias", "h.{n}.attn.masked_bias")
_GPT2 = {
    "attention_norm": "ln_1",
    "fused": "attn.c_attn",
    "output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
_GPTJ = {
    "attention_norm": "ln_1",
    **{part: f"attn.{part[0]}_proj" for part in ("query", "key", "value")},
    "output": "attn.out_proj",
    "up": "mlp.fc_in",
    "down": "mlp.fc_out",
}
_GPT_NEOX = {
    "attention_norm": "input_layernorm",
    "fused": "attention.query_key_value",
    "output": "attention.dense",
    "feed_forward_norm": "post_attention_layernorm",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}
_BLOOM = _GPT_NEOX | {"fused": "self_attention.query_key_value", "output": "self_attention.dense"}
_FALCON = _BLOOM | {"attention_norm": "ln_attn", "feed_forward_norm": "ln_mlp"}
_OPT = {
    "attention_norm": "self_attn_layer_norm",
    **{part: f"self_attn.{part[0]}_proj" for part in ("query", "key", "value")},
    "output": "self_attn.out_proj",
    "feed_forward_norm": "final_layer_norm",
    "up": "fc1",
    "down": "fc2",
}
_PHI = {
    "attention_norm": "input_layernorm",
    **{part: f"self_attn.{part[0]}_proj" for part in ("query", "key", "value")},
    "output": "self_attn.dense",
    "query_norm": "self_attn.q_layernorm",
    "key_norm": "self_attn.k_layernorm",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}


def _gpt_neox_weights(config: ModelConfig) -> WeightMap:
    groups, ignored = Fields(config)(_ATTENTION + "num_heads"), ("bias", "masked_bias", "rotary_emb.inv_freq")
    return _weights(
        {"token": "embed_in"},
        "layers.{n}",
        _GPT_NEOX,
        "final_layer_norm",
        prefix="gpt_neox.",
        groups=groups,
        heads=("lm_head", "embed_out"),  # in version 5 of transformers and before
        ignored=tuple(f"layers.{{n}}.attention.{each}" for each in ignored),
    )


def _bloom_weights(config: ModelConfig) -> WeightMap:
    embeddings = {"token": "word_embeddings", "norm": "word_embeddings_layernorm"}
    return _weights(embeddings, "h.{n}", _BLOOM, "ln_f", groups=Fields(config)(_ATTENTION + "num_heads"))


def _falcon_weights(config: ModelConfig) -> WeightMap:
    fields = Fields(config)
    return _weights(
        {"token": "word_embeddings"},
        "h.{n}",
        _FALCON if fields(_BLOCK + "residual") == "parallel" else _BLOOM,
        "ln_f",
        groups=fields(_ATTENTION + "num_key_value_heads"),
        ignored=("h.{n}.self_attention.rotary_emb.inv_freq",),
    )


def _heads(
    name: str,
    language_model: str = "ForCausalLM",
    vocabulary: str = "lm_head",
    tokens: str | None = None,
    spans: str | None = "qa_outputs",
) -> tuple[Head, ...]:
    """Return the heads of most families, and the token and span classifiers if `tokens` and `spans` name a tensor."""
    heads: tuple[Head, ...] = (
        Head("TextEmbedder", f"{name}Model"),
        Head("CausalLM", f"{name}{language_model}", (Entry("head.dense", vocabulary), Entry("head", vocabulary))),
        Head("TextClassifier", f"{name}ForSequenceClassification", (Entry("classifier", "score"),)),
    )
    if tokens is not None:
        heads += (Head("TokenClassifier", f"{name}ForTokenClassification", (Entry("classifier", tokens),)),)
    if spans is not None:
        heads += (Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", spans),)),)
    return heads


register(
    Family(
        "gpt2",
        _GPT2_KEYS,
        _weights({"token": "wte", "position": "wpe"}, "h.{n}", _GPT2, "ln_f", transposed=False, ignored=_MASKS),
        _heads("GPT2", "LMHeadModel", tokens="classifier"),
        links("gpt2"),
    ),
    Family(
        "gpt_neox",
        _GPT_NEOX_KEYS,
        _gpt_neox_weights,
        _heads("GPTNeoX", vocabulary="embed_out", tokens="classifier"),
        links("gpt_neox"),
    ),
    Family(
        "gptj",
        _GPTJ_KEYS,
        _weights({"token": "wte"}, "h.{n}", _GPTJ, "ln_f", ignored=_MASKS),
        _heads("GPTJ"),
        links("gptj"),
    ),
    Family(
        "opt",
        _OPT_KEYS,
        _weights(
            {
                "token": "decoder.embed_tokens",
                "token_projection": "decoder.project_in",
                "position": "decoder.embed_positions",
            },
            "decoder.layers.{n}",
            _OPT,
            "decoder.final_layer_norm",
            projection="decoder.project_out",
            prefix="model.",
        ),
        _heads("OPT"),
        links("opt"),
    ),
    Family("bloom", _BLOOM_KEYS, _bloom_weights, _heads("Bloom", tokens="classifier"), links("bloom")),
    Family("falcon", _FALCON_KEYS, _falcon_weights, _heads("Falcon", tokens="classifier"), links("falcon")),
    Family(
        "phi",
        _PHI_KEYS,
        _weights({"token": "embed_tokens"}, "layers.{n}", _PHI, "final_layernorm", prefix="model."),
        _heads("Phi", tokens="score", spans=None),
        links("phi"),
    ),
)
