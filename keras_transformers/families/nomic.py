"""Nomic's encoders: BERT with rotary positions and gated feed-forward layers, or with experts. Data only: `family.py`
explains the records.

family          files                                                        differences
nomic_bert      of transformers                                              no biases but in heads
hf_nomic_bert   of nomic-bert-2048, nomic-embed-text-v1, v1.5 and v2-moe     any biases; experts in some layers

The files of `hf_nomic_bert` name code of their own (`auto_map`), and have GPT-2's keys, such as
`n_embd`, by which they are known.
"""

from typing import Any

from keras_transformers.families.bert import (
    ATTENTION,
    BERT_KEYS,
    BLOCK,
    CLASSIFIERS,
    FEED_FORWARD,
    POOLER,
    encoder_heads,
    padding_id,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.embedders import (
    DROPOUTS,
    EMBEDDINGS,
    GATED,
    NO_OTHER_WIDTH,
    NO_POSITIONS,
    NORMS,
    PLAIN,
    QUERY_KEY_VALUE,
    SEPARATE,
    embedder_weights,
    heads_width,
    in_layers,
    length,
    norms,
    on_hub,
    own_code,
    own_head_dim,
    rotary,
    without_spans,
)
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import ONE_STACK, Group, Keys, expect, inert, key, optional, repeat
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Rotary
from keras_transformers.layers.rotary_scaling import DynamicScaling
from keras_transformers.models.config import ModelConfig

# Configurations

_NOMIC_KEYS = BERT_KEYS.but(
    {
        "vocab_size": 30528,
        "hidden_act": "silu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    length(2048),
    own_head_dim(),
    rotary(1000.0),
    without=(*NO_OTHER_WIDTH, "position_embedding_type"),
    always={
        **NO_POSITIONS,
        ATTENTION + "use_bias": False,
        FEED_FORWARD + "use_bias": False,
        FEED_FORWARD + "gated": True,
    },
)

_WHOLE, _EVERY = FEED_FORWARD.rstrip("."), "moe_every_n_layers"
_GATES = {"swiglu": "silu", "geglu": "gelu"}
_BIASES: dict[Any, bool | str] = {(True, True): True, (False, False): False, (False, True): "output"}


def _read_feed_forward(read: ConfigReader, values: Values) -> None:
    """Read the feed-forward layers of each layer."""
    activation, width = read("activation_function", "gelu_new"), read.optional("n_inner", int)
    if activation not in ("gelu", *_GATES):
        raise ValueError(f"activation_function: expected gelu, {' or '.join(_GATES)}, got {activation!r}")
    gated = activation in _GATES
    if gated:  # a multiple of 256
        width = -(-(width or 8 * values["hidden_dim"] // 3) // 256) * 256
    biases = read("mlp_fc1_bias", True), read("mlp_fc2_bias", True)
    if biases not in _BIASES:
        raise ValueError(f"mlp_fc1_bias, mlp_fc2_bias: expected the second with the first, got {biases}")
    plain = FeedForwardConfig(
        width or 4 * values["hidden_dim"], _GATES.get(activation, "gelu"), gated=gated, use_bias=_BIASES[biases]
    )
    norm = LayerNorm(values[BLOCK + "norm.epsilon"])
    values |= {"head.use_bias": biases[0], "head.transform": TransformConfig(plain.activation, norm, biases[0])}
    every = read.optional(_EVERY, int) or 0
    experts = _read_experts(read) if every > 0 else None
    if experts is not None and gated:
        raise ValueError(f"activation_function: only gelu is supported with experts, got {activation!r}")
    mixed = FeedForwardConfig(plain.intermediate_dim, plain.activation, use_bias=False, experts=experts)
    layers = tuple(mixed if every > 0 and n % every == 1 else plain for n in range(values["encoder.num_layers"]))
    values |= {f"{FEED_FORWARD}{name}": PerLayer(tuple(getattr(each, name) for each in layers)) for name in _FIELDS}


_FIELDS = ("intermediate_dim", "activation", "gated", "use_bias", "experts")


def _read_experts(read: ConfigReader) -> ExpertsConfig:
    read.expect("expert_choice_router", False)
    read.expect("num_shared_experts", 0)
    read.expect("ffn_div", 1)
    normalize = read("moe_normalize_expert_weights", False)
    return ExpertsConfig(read("num_experts", 8), read("moe_top_k", 1), normalize=bool(normalize), output_bias=True)


def _write_feed_forward(fields: Fields) -> dict[str, Any]:
    layers = fields.layers(_WHOLE)
    plain, mixed = layers[0], next((each for each in layers if each.experts is not None), None)
    activation: str | None = "gelu"
    if plain.gated:
        activation = next((name for name, ours in _GATES.items() if ours == plain.activation), None)
    first, second = next((theirs for theirs, ours in _BIASES.items() if ours == plain.use_bias), (None, None))
    written = {
        "activation_function": activation,
        "n_inner": plain.intermediate_dim,
        "mlp_fc1_bias": first,
        "mlp_fc2_bias": second,
    }
    if mixed is None:
        return written
    numbers = [n for n, each in enumerate(layers) if each == mixed]
    return {
        **written,
        _EVERY: numbers[1] - numbers[0] if len(numbers) > 1 else len(layers),
        "num_experts": mixed.experts.num_experts,
        "moe_top_k": mixed.experts.num_chosen,
        "moe_normalize_expert_weights": mixed.experts.normalize,
    }


def _read_positions(read: ConfigReader, values: Values) -> None:
    factor, trained = read.optional("rotary_scaling_factor", float), read.optional("max_trained_positions", int)
    scaling = DynamicScaling(factor, trained or 2048) if factor else None
    fraction, interleaved = read("rotary_emb_fraction", 0.0), read("rotary_emb_interleaved", False)
    if not 0 < fraction <= 1:
        raise ValueError(f"rotary_emb_fraction: expected above 0 and at most 1, got {fraction}")
    layout = "interleaved" if interleaved else "halves"
    values[ATTENTION + "positions"] = Rotary(read("rotary_emb_base", 10000.0), fraction, layout, scaling)


def _write_positions(fields: Fields) -> dict[str, Any]:
    rotary = fields(ATTENTION + "positions")
    if not isinstance(rotary, Rotary) or not isinstance(rotary.scaling, DynamicScaling | None):
        raise Inexpressible("This ModelConfig has other positions.")
    scaling = rotary.scaling and {
        "rotary_scaling_factor": rotary.scaling.factor,
        "max_trained_positions": rotary.scaling.original_length,
    }
    return {
        "rotary_emb_base": rotary.base,
        "rotary_emb_fraction": rotary.fraction,
        "rotary_emb_interleaved": rotary.layout == "interleaved",
        **(scaling or {"rotary_scaling_factor": None}),
    }


def _read_vocabulary(read: ConfigReader, values: Values) -> None:
    size, multiple = read("vocab_size", 50257), max(read("pad_vocab_size_multiple", 1), 1)
    values["embeddings.vocabulary_size"] = -(-size // multiple) * multiple


_NORM_PATHS = (BLOCK + "norm.epsilon", "embeddings.norm.epsilon")
_OWN_KEYS = Keys(
    (
        *ONE_STACK,
        Group(
            ("vocab_size", "pad_vocab_size_multiple"),
            _read_vocabulary,
            lambda fields: {"vocab_size": fields("embeddings.vocabulary_size")},
        ),
        key("n_embd", 768, "hidden_dim"),
        key("n_layer", 12, "encoder.num_layers"),
        key("n_head", 12, ATTENTION + "num_heads"),
        key("n_positions", 1024, "embeddings.context_length"),
        key("type_vocab_size", 2, "embeddings.num_segments"),
        key("layer_norm_epsilon", 1e-5, *_NORM_PATHS),
        key("resid_pdrop", 0.0, *DROPOUTS),
        key("attn_pdrop", 0.0, ATTENTION + "dropout"),
        key("embd_pdrop", 0.0, *CLASSIFIERS),
        optional("classifier_dropout", float, None, *CLASSIFIERS, null=lambda values: values[CLASSIFIERS[0]]),
        key("qkv_proj_bias", True, ATTENTION + "use_bias"),
        Group(
            (
                *("activation_function", "n_inner", "mlp_fc1_bias", "mlp_fc2_bias", _EVERY, "num_experts", "moe_top_k"),
                *("moe_normalize_expert_weights", "expert_choice_router", "num_shared_experts", "ffn_div"),
            ),
            _read_feed_forward,
            _write_feed_forward,
        ),
        Group(
            (
                *("rotary_emb_base", "rotary_emb_fraction", "rotary_emb_interleaved", "rotary_scaling_factor"),
                "max_trained_positions",
            ),
            _read_positions,
            _write_positions,
        ),
        padding_id(0),
        key("tie_word_embeddings", True, "head.tied"),
        *(
            expect(name, False, None)
            for name in (
                *("causal", "parallel_block", "prenorm", "use_rms_norm", "norm_mlp", "rotary_head_dim"),
                "scale_attn_by_inverse_layer_idx",
            )
        ),
        own_code(
            "nomic-ai/nomic-bert-2048",
            AutoConfig="configuration_hf_nomic_bert.NomicBertConfig",
            AutoModel="modeling_hf_nomic_bert.NomicBertModel",
            AutoModelForMaskedLM="modeling_hf_nomic_bert.NomicBertForPreTraining",
            AutoModelForSequenceClassification="modeling_hf_nomic_bert.NomicBertForSequenceClassification",
        ),
        expect("rotary_emb_scale_base", None),
        expect("num_heads_kv", None),
        # Newer files say the same once more, for transformers.
        repeat("hidden_size", lambda values: values["hidden_dim"], "n_embd"),
        repeat("num_hidden_layers", lambda values: values["encoder.num_layers"], "n_layer"),
        repeat("num_attention_heads", lambda values: values[ATTENTION + "num_heads"], "n_head"),
        repeat("layer_norm_eps", lambda values: values[BLOCK + "norm.epsilon"], "layer_norm_epsilon"),
        repeat("head_dim", heads_width, "n_embd / n_head"),
        inert(
            *("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "intermediate_size"),
            *("max_position_embeddings", "rope_parameters", "rope_theta", "rope_scaling", "position_embedding_type"),
            *("dense_seq_output", "fused_bias_fc", "fused_dropout_add_ln", "use_flash_attn", "use_xentropy"),
            *("parallel_block_tied_norm", "reorder_and_upcast_attn", "scale_attn_weights", "n_ctx", "moe_impl"),
            *("moe_resid_pdrop", "router_aux_loss_coef", "add_pooling_layer"),
            *(f"summary_{each}" for each in ("activation", "first_dropout", "proj_to_labels", "type", "use_proj")),
        ),
    ),
    {
        BLOCK + "norm": LayerNorm,
        "embeddings.norm": LayerNorm,
        **NO_POSITIONS,
        "pooler.pooling": "first",
        "pooler.transform": TransformConfig("tanh", None),
    },
)


# Weights

_OWN_LAYER: dict[Any, str] = {
    QUERY_KEY_VALUE: "attn.Wqkv",
    "self_attention.output": "attn.out_proj",
    **norms("norm1", "norm2"),
}
_OWN_GATED: dict[Any, str] = {
    "feed_forward.up": "mlp.fc11",
    "feed_forward.gate": "mlp.fc12",
    "feed_forward.down": "mlp.fc2",
}
_OWN_NORM = Entry("embedding.norm", "emb_ln")
_DECODER = "cls.predictions.decoder"
_TRANSFORM = ("cls.predictions.transform.dense", "cls.predictions.transform.layer_norm")


def _experts(n: int) -> tuple[Entry, ...]:
    """Return the entries of the experts of layer `n`."""
    ours, theirs = f"encoder.block_{n}.feed_forward", f"encoder.layers.{n}.mlp"
    return (
        Entry(f"{ours}.router", f"{theirs}.router.layer"),
        Entry(f"{ours}.up.kernel", f"{theirs}.experts.mlp.w1", merged=True),
        Entry(f"{ours}.down.kernel", f"{theirs}.experts.mlp.w2", transposed=False, merged=True),
        Entry(f"{ours}.bias", f"{theirs}.experts.bias"),
    )


def _own_weights(config: ModelConfig) -> WeightMap:
    layers = Fields(config).layers(_WHOLE)
    mixed = [entry for n, each in enumerate(layers) if each.experts is not None for entry in _experts(n)]
    names = _OWN_LAYER | (_OWN_GATED if layers[0].gated else PLAIN)
    body = (*EMBEDDINGS[:2], _OWN_NORM, *mixed, *in_layers("encoder.layers.{n}", names), POOLER)
    return embedder_weights("bert.", *body, decoder=_DECODER)


# The published files of a masked language model have no biases of heads.
_ZERO = (
    Entry("head.transform.dense.bias", f"{_TRANSFORM[0]}.bias", zero=True),
    Entry("head.bias", "cls.predictions.bias", zero=True),
)

register(
    Family(
        "nomic_bert",
        _NOMIC_KEYS,
        embedder_weights(
            "nomic_bert.",
            *(*EMBEDDINGS, *in_layers("layers.{n}", SEPARATE | GATED | NORMS)),
            *(_OWN_NORM, *in_layers("encoder.layers.{n}", _OWN_LAYER | _OWN_GATED), POOLER),
            decoder=_DECODER,
            bias="cls.predictions.bias",
            others=("bert.",),
        ),
        without_spans(encoder_heads("NomicBert", (*_ZERO, *vocabulary_head(*_TRANSFORM, "cls.predictions", _DECODER)))),
        links("nomic_bert"),
        own_code=True,
    ),
    Family(
        "hf_nomic_bert",
        _OWN_KEYS,
        _own_weights,
        (
            Head("TextEmbedder", "NomicBertModel"),
            Head("MaskedLM", "NomicBertForPreTraining", vocabulary_head(*_TRANSFORM, _DECODER, _DECODER)),
            Head("TextClassifier", "NomicBertForSequenceClassification", (Entry("classifier", "classifier"),)),
        ),
        on_hub("nomic-ai/nomic-bert-2048/blob/main/modeling_hf_nomic_bert.py"),
        written_type="nomic_bert",
        own_code=True,
    ),
)
