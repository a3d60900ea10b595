"""Jina's encoders. Data only: `family.py` explains the records.

family               files                     differences
jina_embeddings_v3   of transformers           XLM-RoBERTa with rotary positions
jina_xlm_roberta     of jina-embeddings-v3     the same, and adapters for some tasks
jina_bert            of jina-embeddings-v2     BERT with ALiBi to both sides and gated feed-forward layers

The files of the last two name code of their own (`auto_map`). They have the `model_type` of XLM-RoBERTa and of BERT,
and other positions (`position_embedding_type`).
"""

from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    POOLER,
    ROBERTA_KEYS,
    ROBERTA_TEXT,
    ROBERTA_VOCABULARY,
    encoder_heads,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.embedders import (
    EMBEDDINGS,
    GATED_WITH_ONE_BIAS,
    NO_OTHER_WIDTH,
    NO_POSITIONS,
    NORMS,
    PLAIN,
    QUERY_KEY_VALUE,
    SEPARATE,
    code_of,
    embedder_weights,
    heads_width,
    in_layers,
    length,
    norms,
    on_hub,
    own_code,
    rotary,
)
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Group, activation, choice, expect, inert, repeat, state
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.attention import QueryKeyNorm
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Alibi
from keras_transformers.models.config import ModelConfig

# Configurations

_JINA_V3_KEYS = ROBERTA_KEYS.but(
    {
        "vocab_size": 250002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-5,
        "type_vocab_size": 1,
    },
    length(8194),
    rotary(20000.0),
    repeat("head_dim", heads_width, "hidden_size / num_attention_heads"),
    without=(*NO_OTHER_WIDTH, "position_embedding_type"),
    always=NO_POSITIONS,
)
_JINA_XLM_ROBERTA_KEYS = _JINA_V3_KEYS.but(
    {},
    state("position_embedding_type", "rotary"),
    rotary(10000.0, base="rotary_emb_base", kinds=()),
    expect("truncate_dim", None),
    # The adapters are read with the tensors.
    inert(
        *("lora_adaptations", "lora_alpha", "lora_dropout_p", "lora_main_params_trainable", "lora_rank"),
        *("load_trained_adapters", "task_instructions", "matryoshka_dimensions", "emb_pooler"),
        *("use_flash_attn", "use_reentrant"),
    ),
    own_code(
        "jinaai/xlm-roberta-flash-implementation",
        AutoConfig="configuration_xlm_roberta.XLMRobertaFlashConfig",
        AutoModel="modeling_xlm_roberta.XLMRobertaModel",
        AutoModelForMaskedLM="modeling_xlm_roberta.XLMRobertaForMaskedLM",
        AutoModelForSequenceClassification="modeling_xlm_roberta.XLMRobertaForSequenceClassification",
    ),
    without=("rope_theta",),
)


_NORMED = "jinaai/jina-bert-v2-qk-post-norm"
_JINA_BERT_CODE = {
    "AutoConfig": "configuration_bert.JinaBertConfig",
    "AutoModel": "modeling_bert.JinaBertModel",
    "AutoModelForMaskedLM": "modeling_bert.JinaBertForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_bert.JinaBertForSequenceClassification",
}


def _read_code(read: ConfigReader, values: Values) -> None:
    """Read which of two repositories has the model's code: in one, queries and keys are normalised."""
    code = read("auto_map", None)
    if isinstance(code, dict) and any(str(each).startswith(_NORMED) for each in code.values()):
        norm = LayerNorm(values[BLOCK + "norm.epsilon"])
        values[ATTENTION + "query_key_norm"] = QueryKeyNorm(norm, by_head=False)


def _write_code(fields: Fields) -> dict[str, Any]:
    home = _NORMED if fields(ATTENTION + "query_key_norm") is not None else "jinaai/jina-bert-implementation"
    return code_of(home, **_JINA_BERT_CODE)


_JINA_BERT_KEYS = BERT_KEYS.but(
    {},
    state("position_embedding_type", "alibi"),
    activation("hidden_act", "gelu", "head.transform.activation"),
    choice("feed_forward_type", "original", ACTIVATION, {"geglu": "gelu", "reglu": "relu"}),
    length(512),
    Group(("auto_map",), _read_code, _write_code),
    inert("emb_pooler", "model_max_length"),
    without=NO_OTHER_WIDTH,
    always={**NO_POSITIONS, **GATED_WITH_ONE_BIAS, ATTENTION + "positions": Alibi()},
)


# Weights

_JINA_EMBEDDINGS = (*EMBEDDINGS[:2], Entry("embedding.norm", "emb_ln"))
_JINA_OWN_LAYERS = in_layers(
    "encoder.layers.{n}",
    {QUERY_KEY_VALUE: "mixer.Wqkv", "self_attention.output": "mixer.out_proj", **PLAIN, **norms("norm1", "norm2")},
)
_ROBERTA: dict[str, Any] = {"decoder": "lm_head.decoder", "bias": "lm_head.bias"}


def _with_adapters(config: ModelConfig) -> WeightMap:
    """Return the table for files with adapters or without. An adapted layer holds its matrix and those of the adapters
    where its weight would be."""
    parts = ("mixer.Wqkv", "mixer.out_proj", "mlp.fc1", "mlp.fc2")
    adapted = (
        *("embeddings.word_embeddings", "embeddings.token_type_embeddings", "pooler.dense"),
        *(f"encoder.layers.{n}.{part}" for n in range(Fields(config)("encoder.num_layers")) for part in parts),
    )
    pairs = [(f"{each}.parametrizations.weight.original", f"{each}.weight") for each in adapted]
    ignored = [f"{each}.parametrizations.weight.0.lora_{side}" for each in adapted for side in "AB"]
    return embedder_weights(
        "roberta.",
        *(*_JINA_EMBEDDINGS, *_JINA_OWN_LAYERS),
        **_ROBERTA,
        ignored=(*ignored, pairs[2][0]),
        stand_ins=tuple((f"{prefix}{a}", f"{prefix}{b}") for prefix in ("roberta.", "") for a, b in pairs),
    )


def _jina_bert_weights(config: ModelConfig) -> WeightMap:
    fields = Fields(config)
    attention = dict(zip((*QUERY_KEY_VALUE, "self_attention.output"), BERT_LAYER[:4], strict=True))
    if fields(ATTENTION + "query_key_norm") is not None:
        gated, down = ("feed_forward.up", "feed_forward.gate"), "mlp.down_layer"
        names = norms("layer_norm_1", "layer_norm_2") | {gated: "mlp.up_gated_layer"}
        names |= {f"self_attention.{part}_norm": f"attention.self.layer_norm_{part[0]}" for part in ("query", "key")}
    else:
        gated, down = ("feed_forward.gate", "feed_forward.up"), "mlp.wo"
        names = norms(BERT_LAYER[4], "mlp.layernorm") | {gated: "mlp.gated_layers"}
    layers = in_layers("encoder.layer.{n}", {**attention, **names, "feed_forward.down": down})
    decoder = "cls.predictions.decoder"
    return embedder_weights("bert.", *EMBEDDINGS, *layers, POOLER, decoder=decoder, bias="cls.predictions.bias")


register(
    Family(
        "jina_embeddings_v3",
        _JINA_V3_KEYS,
        embedder_weights(
            "roberta.",
            *(*EMBEDDINGS, _JINA_EMBEDDINGS[-1], *in_layers("layers.{n}", SEPARATE | PLAIN | NORMS), *_JINA_OWN_LAYERS),
            **_ROBERTA,
        ),
        encoder_heads("JinaEmbeddingsV3", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("jina_embeddings_v3"),
    ),
    Family(
        "jina_xlm_roberta",
        _JINA_XLM_ROBERTA_KEYS,
        _with_adapters,
        (
            Head("TextEmbedder", "XLMRobertaModel", others=("XLMRobertaLoRA",)),
            *encoder_heads("XLMRoberta", ROBERTA_VOCABULARY, ROBERTA_TEXT)[1:],
        ),
        on_hub("jinaai/xlm-roberta-flash-implementation/blob/main/modeling_xlm_roberta.py"),
        written_type="xlm-roberta",
        own_code=True,
    ),
    Family(
        "jina_bert",
        _JINA_BERT_KEYS,
        _jina_bert_weights,
        encoder_heads(
            "JinaBert",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
        ),
        on_hub(
            "jinaai/jina-bert-implementation/blob/main/modeling_bert.py",
            "jinaai/jina-bert-v2-qk-post-norm/blob/main/modeling_bert.py",
        ),
        written_type="bert",
        own_code=True,
    ),
)
