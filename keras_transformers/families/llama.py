"""Llama and its relatives: decoders with RMS norms, rotary positions and gated feed-forward layers. Data only:
`family.py` explains the records.

model_type    differences
llama         (1, 2 and 3)
mistral       a window
qwen2         biases of queries, keys and values; windows in some layers
qwen3         norms of queries and keys, head by head; windows in some layers
smollm3       layers without positions; windows in some layers
olmo2         norms only after each branch; norms of queries and keys over their whole width
olmo3         the same, and windows in three of four layers, whose positions are not scaled
phi3          fused weights; rotary positions over a part of each head; factors for each frequency

`gemma.py` and `mixtures.py` have more families, made of these rows.
"""

import collections.abc
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, PerLayer, Values
from keras_transformers.families.keys import (
    OMITTED,
    ONE_STACK,
    Group,
    Keys,
    Row,
    activation,
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
from keras_transformers.families.rotary import RotaryKeys, RotaryKeysByKind
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.families.windows import Slides, WindowKeys, checked_window
from keras_transformers.layers.attention import QueryKeyNorm
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.models.config import ModelConfig

# Configurations

BLOCK, ATTENTION, FEED_FORWARD = "decoder.block.", "decoder.block.attention.", "decoder.block.feed_forward."
_POSITIONS, WINDOW = ATTENTION + "positions", ATTENTION + "window"
_TOKEN_DROPOUT = "token_head.dropout"


def _head_dim(values: Values) -> int | None:
    """Return the model's width divided by the number of heads; None, which is refused, if it cannot be divided."""
    width, heads = values["hidden_dim"], values[ATTENTION + "num_heads"]
    return width // heads if heads > 0 and width % heads == 0 else None


def _own_head_dim(fields: Fields) -> Any:
    width, heads = fields(ATTENTION + "head_dim"), fields(ATTENTION + "num_heads")
    return OMITTED if width in (None, fields("hidden_dim") / heads) else width


def norm_heads(by_head: bool, after_rotation: bool = False) -> Row:
    """Return the row of norms of queries and keys, over each head or over all heads together."""

    def add(values: Values) -> None:
        norm = RMSNorm(values[BLOCK + "norm.epsilon"], values.get(BLOCK + "norm.unit_offset", False))
        values[ATTENTION + "query_key_norm"] = QueryKeyNorm(norm, by_head, after_rotation)

    return derive(add)


def heads_of_width(default: int | None) -> Row:
    """Return the row of a head width with its own default; null means the model's width divided by the heads."""
    return optional("head_dim", int, default, ATTENTION + "head_dim", null=_head_dim)


def one_window(default: int | None) -> Row:
    """Return the row of one window for all layers."""
    return optional("sliding_window", int, default, WINDOW, adapt=checked_window)


# transformers reads this key of any decoder; files of embedders have it.
_CAUSAL = optional(
    "is_causal",
    bool,
    True,
    "decoder.bidirectional",
    adapt=lambda causal, values: causal is False,
    restore=lambda fields: False if fields("decoder.bidirectional") else OMITTED,
)


ATTENTION_BIAS = key("attention_bias", False, ATTENTION + "use_bias")
_MLP_BIAS = key("mlp_bias", False, FEED_FORWARD + "use_bias")

# The rows that all families share, each with its own defaults.
KEYS = Keys(
    (
        *ONE_STACK,
        inert("is_decoder"),
        key("vocab_size", 32000, "embeddings.vocabulary_size"),
        key("hidden_size", 4096, "hidden_dim"),
        key("intermediate_size", 11008, FEED_FORWARD + "intermediate_dim"),
        key("num_hidden_layers", 32, "decoder.num_layers"),
        key("num_attention_heads", 32, ATTENTION + "num_heads"),
        optional(
            "num_key_value_heads",
            int,
            None,
            ATTENTION + "num_key_value_heads",
            null=lambda values: values[ATTENTION + "num_heads"],
        ),
        optional("head_dim", int, None, ATTENTION + "head_dim", null=_head_dim, restore=_own_head_dim),
        activation("hidden_act", "silu", FEED_FORWARD + "activation"),
        key("max_position_embeddings", 2048, "embeddings.context_length"),
        RotaryKeys(),
        key("rms_norm_eps", 1e-6, BLOCK + "norm.epsilon"),
        key("attention_dropout", 0.0, ATTENTION + "dropout"),
        token_id("pad_token_id", None, "padding_id"),
        key("tie_word_embeddings", False, "head.tied"),
        _CAUSAL,
        unwritten(optional("hidden_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: 0.1)),
        optional("classifier_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: values[_TOKEN_DROPOUT]),
    ),
    {
        "decoder.final_norm": True,
        BLOCK + "norm": RMSNorm,
        BLOCK + "norm_placement": "pre",
        ATTENTION + "use_bias": False,
        FEED_FORWARD + "use_bias": False,
        FEED_FORWARD + "gated": True,
        "pooler.pooling": "last",
        "pooler.classifier_bias": False,
    },
)
NO_TOKENS = ("hidden_dropout", "classifier_dropout")  # for families without a token classifier

_LLAMA_KEYS = KEYS.but(
    {},
    ATTENTION_BIAS,
    _MLP_BIAS,
    expect("rope_interleaved", False),
    # InternLM's name, and the names in Meta's own files
    repeat("bias", lambda values: values[ATTENTION + "use_bias"], "attention_bias"),
    repeat("dim", lambda values: values["hidden_dim"], "hidden_size"),
    repeat("n_layers", lambda values: values["decoder.num_layers"], "num_hidden_layers"),
    repeat("n_heads", lambda values: values[ATTENTION + "num_heads"], "num_attention_heads"),
    repeat("n_kv_heads", lambda values: values[ATTENTION + "num_key_value_heads"], "num_key_value_heads"),
    repeat("norm_eps", lambda values: values[BLOCK + "norm.epsilon"], "rms_norm_eps"),
    inert("pretraining_tp", "is_llama_config", "max_sequence_length"),
)

MISTRAL_KEYS = KEYS.but(
    {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}, one_window(4096)
)


def _qwen_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows from one layer on, if they are switched on."""
    slides, first = read("use_sliding_window", False), read("max_window_layers", 28)
    window = window if slides else None
    return window, lambda n: window is not None and n >= first


# One of these keys may change nothing: without the others, or beside `layer_types`.
SWITCHED = inert("use_sliding_window", "sliding_window", "max_window_layers")
_QWEN2_KEYS = KEYS.but(
    {
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
    expect("use_mrope", False),
    WindowKeys(_qwen_layers, switched=True, others=("max_window_layers",)),
    SWITCHED,
    always={ATTENTION + "use_bias": "inputs"},
)
_QWEN3_KEYS = _QWEN2_KEYS.but({}, ATTENTION_BIAS, heads_of_width(128), norm_heads(by_head=True), without=("use_mrope",))


def _read_rotated(read: ConfigReader, values: Values) -> None:
    """Read which layers have no rotary positions."""
    layers, every = values["decoder.num_layers"], read("no_rope_layer_interval", 4)
    rotated = read("no_rope_layers", None) or [int((n + 1) % every != 0) for n in range(layers)]
    if len(rotated) != layers or not set(rotated) <= {0, 1}:
        raise ValueError(f"no_rope_layers: expected num_hidden_layers={layers} of 0 and 1, got {rotated!r:.80}")
    positions = values[_POSITIONS]
    values[_POSITIONS] = PerLayer(tuple(positions if each else None for each in rotated))


def _smollm3_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows in the layers without positions, if they are switched on."""
    slides, positions = read("use_sliding_window", False) and window is not None, values[_POSITIONS].values
    return window, lambda n: slides and positions[n] is None


_SMOLLM3_KEYS = KEYS.but(
    {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "pad_token_id": 128004,
        "tie_word_embeddings": True,
    },
    ATTENTION_BIAS,
    _MLP_BIAS,
    RotaryKeys(default_base=2000000.0),
    Group(
        ("no_rope_layers", "no_rope_layer_interval"),
        _read_rotated,
        lambda fields: {"no_rope_layers": [int(each is not None) for each in fields.layers(_POSITIONS)]},
    ),
    WindowKeys(_smollm3_layers, default=None, switched=True),
    SWITCHED,
    inert("no_rope_layer_interval", "pretraining_tp"),
)

_OLMO2_KEYS = KEYS.but(
    {"vocab_size": 50304, "pad_token_id": 1, "rms_norm_eps": 1e-5},
    ATTENTION_BIAS,
    norm_heads(by_head=False),
    without=NO_TOKENS,
    always={BLOCK + "norm_placement": "branch"},
)

_OLMO3_KEYS = _OLMO2_KEYS.but(
    {},
    WindowKeys(lambda read, values, window: (window, lambda n: (n + 1) % 4 != 0)),
    RotaryKeysByKind(500000.0, 500000.0),
    without=("rope_theta",),
)

_PHI3_KEYS = KEYS.but(
    {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "pad_token_id": 32000,
    },
    RotaryKeys(fraction="partial_rotary_factor", kinds=("longrope",), default_length=4096),
    one_window(None),
    key("resid_pdrop", 0.0, BLOCK + "dropout"),
    *(expect(name, False) for name in ("attention_bias", "mlp_bias", "lm_head_bias")),
    *(expect(name, 1) for name in ("full_attn_mod", "interpolate_factor")),
    inert("embd_pdrop", "original_max_position_embeddings"),
)

# Weights

Names = collections.abc.Mapping[Any, str]  # file names by this library's names; a tuple of names shares one tensor

PROJECTIONS: dict[Any, str] = {
    f"self_attention.{part}": f"self_attn.{part[0]}_proj" for part in ("query", "key", "value", "output")
}
NORMED_HEADS = {f"self_attention.{part}_norm": f"self_attn.{part[0]}_norm" for part in ("query", "key")}
GATED = {f"feed_forward.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
BEFORE = {
    "self_attention_norm_before": "input_layernorm",
    "feed_forward_norm_before": "post_attention_layernorm",
}
AFTER = {
    "self_attention_norm_after": "post_attention_layernorm",
    "feed_forward_norm_after": "post_feedforward_layernorm",
}
_LAYER = PROJECTIONS | GATED | BEFORE
_FUSED: dict[Any, str] = {
    **BEFORE,
    tuple(f"self_attention.{part}" for part in ("query", "key", "value")): "self_attn.qkv_proj",
    "self_attention.output": "self_attn.o_proj",
    tuple(f"feed_forward.{part}" for part in ("gate", "up")): "mlp.gate_up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def decoder_weights(layer: Names) -> WeightMap:
    """Return the table of a body, given the names inside a layer."""

    def path(ours: str | tuple[str, ...]) -> str | tuple[str, ...]:
        block = "decoder.block_{n}."
        return block + ours if isinstance(ours, str) else tuple(block + each for each in ours)

    return WeightMap(
        (),
        ("layers.{n}.self_attn.rotary_emb.inv_freq",),
        (
            Entry("embedding.token", "embed_tokens"),
            *(Entry(path(ours), f"layers.{{n}}.{theirs}") for ours, theirs in layer.items()),
            Entry("decoder.norm", "norm"),
        ),
        "model.",
        scores=(("lm_head.weight", "model.embed_tokens.weight"),),
    )


def _heads(name: str, body: str, tokens: bool, spans: str | None) -> tuple[Head, ...]:
    score, ends = (Entry("classifier", "score"),), (Entry("span", "qa_outputs"),)
    return (
        Head("TextEmbedder", body),
        Head("CausalLM", f"{name}ForCausalLM", (Entry("head.dense", "lm_head"),)),
        Head("TextClassifier", f"{body.removesuffix('Model')}ForSequenceClassification", score),
        *((Head("TokenClassifier", f"{name}ForTokenClassification", score),) if tokens else ()),
        *((Head("QuestionAnswerer", f"{name}ForQuestionAnswering", ends, prefix=spans),) if spans else ()),
    )


def decoder_family(
    model_type: str,
    name: str,
    keys: Keys,
    layer: Names | collections.abc.Callable[[ModelConfig], WeightMap] = _LAYER,
    *,
    body: str | None = None,
    tokens: bool = True,
    spans: str | None = None,
) -> Family:
    """Return a family of decoders.

    Args:
        model_type: as in `config.json`.
        name: the start of the names of transformers' classes.
        keys: the rows of `config.json`.
        layer: the names inside a layer, or a function that makes the whole table from a configuration.
        body: transformers' class of the body alone, if its name starts differently.
        tokens: whether the family has a token classifier.
        spans: the prefix of the body's tensors in the class for question answering; None without such a class.
    """
    heads = _heads(name, body or f"{name}Model", tokens, spans)
    weights = layer if callable(layer) else decoder_weights(layer)
    return Family(model_type, keys, weights, heads, links(model_type.removesuffix("_text")))


register(
    decoder_family("llama", "Llama", _LLAMA_KEYS, spans="transformer."),
    decoder_family("mistral", "Mistral", MISTRAL_KEYS, spans="model."),
    decoder_family("qwen2", "Qwen2", _QWEN2_KEYS, spans="transformer."),
    decoder_family("qwen3", "Qwen3", _QWEN3_KEYS, _LAYER | NORMED_HEADS, spans="transformer."),
    decoder_family("smollm3", "SmolLM3", _SMOLLM3_KEYS, spans="transformer."),
    decoder_family("olmo2", "Olmo2", _OLMO2_KEYS, PROJECTIONS | GATED | AFTER | NORMED_HEADS, tokens=False),
    decoder_family("olmo3", "Olmo3", _OLMO3_KEYS, PROJECTIONS | GATED | AFTER | NORMED_HEADS, tokens=False),
    decoder_family("phi3", "Phi3", _PHI3_KEYS, _FUSED),
)
