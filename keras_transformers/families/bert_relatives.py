"""Encoders that differ from BERT or RoBERTa by norms, widths or tables. Data only: `family.py` explains the records.

model_type            like       differences
ernie                 bert       perhaps an embedding of the task
megatron-bert         bert       norms before, none after the embeddings
rembert               bert       narrow embeddings, projected; a head with a matrix of its own width
bert-generation       bert       no segments, no pooler
roberta-prelayernorm  roberta    norms before
xlm-roberta-xl        roberta    norms before, none after the embeddings
data2vec-text         roberta
luke                  roberta    a pooler before its classifier; its entities are not read
"""

import dataclasses
from typing import Any

from keras_transformers.families.bert import (
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    CLASSIFIERS,
    FEED_FORWARD,
    POOLER,
    ROBERTA_KEYS,
    ROBERTA_TEXT,
    ROBERTA_VOCABULARY,
    classifier_dropout,
    encoder_heads,
    encoder_weights,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Group, activation, inert, key
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry

# Configurations


def _read_tasks(read: ConfigReader, values: Values) -> None:
    tasks = read("task_type_vocab_size", 3)
    if read("use_task_id", False):
        values["embeddings.num_tasks"] = tasks


def _write_tasks(fields: Fields) -> dict[str, Any]:
    tasks = fields("embeddings.num_tasks")
    return {"use_task_id": True, "task_type_vocab_size": tasks} if tasks else {"use_task_id": False}


_ERNIE_KEYS = BERT_KEYS.but(
    {},
    Group(("use_task_id",), _read_tasks, _write_tasks),
    inert("task_type_vocab_size"),  # without use_task_id
)

_BEFORE = {BLOCK + "norm_placement": "pre", "encoder.final_norm": True}
_NO_NORM = {"embeddings.norm": None}

_MEGATRON_KEYS = BERT_KEYS.but(
    {"vocab_size": 29056, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    | {"intermediate_size": 4096},
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout", *CLASSIFIERS),
    without=("classifier_dropout",),
    always={**_BEFORE, **_NO_NORM},
)

_REMBERT_KEYS = BERT_KEYS.but(
    {"vocab_size": 250300, "hidden_size": 1152, "num_hidden_layers": 32, "num_attention_heads": 18}
    | {"intermediate_size": 4608, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    key("input_embedding_size", 256, "embeddings.embedding_dim"),
    key("output_embedding_size", 1664, "head.embedding_dim"),
    key("classifier_dropout_prob", 0.1, *CLASSIFIERS),
    inert("tie_word_embeddings", "embedding_size"),  # its head has a matrix of its own, whatever the file says
    without=("classifier_dropout", "tie_word_embeddings", "embedding_size", "emb_size"),
    always={"head.tied": False},
)

_GENERATION_KEYS = BERT_KEYS.but(
    {"vocab_size": 50358, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    | {"intermediate_size": 4096},
    activation("hidden_act", "gelu", FEED_FORWARD + "activation"),
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout"),
    key("layer_norm_eps", 1e-12, BLOCK + "norm.epsilon", "embeddings.norm.epsilon"),
    inert("tie_word_embeddings"),  # of the decoder's head
    without=("type_vocab_size", "classifier_dropout", "tie_word_embeddings"),
    always={"head.transform": None, "head.use_bias": False, "pooler.transform": None},
)

# The keys of entities: without them in its input, the model is that of words alone.
_LUKE_KEYS = ROBERTA_KEYS.but(
    {"vocab_size": 50267},
    classifier_dropout(*CLASSIFIERS),
    inert("entity_vocab_size", "entity_emb_size", "use_entity_aware_attention", "tie_word_embeddings"),
    without=("tie_word_embeddings",),
    always={"head.tied": False},
)

# Weights

_BEFORE_LAYER = (*BERT_LAYER[:4], "attention.LayerNorm", "intermediate.dense", "output.dense", "intermediate.LayerNorm")
_MEGATRON_LAYER = (*BERT_LAYER[:4], "attention.ln", "intermediate.dense", "output.dense", "ln")
_XL_LAYER = (*BERT_LAYER[:4], "attention.self_attn_layer_norm", "intermediate.dense", "output.dense", "LayerNorm")

_BERT_HEAD: dict[str, Any] = {"decoder": "cls.predictions.decoder", "bias": "cls.predictions.bias"}
_ROBERTA_HEAD: dict[str, Any] = {"decoder": "lm_head.decoder", "bias": "lm_head.bias"}
_BERT_VOCABULARY = vocabulary_head(
    *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    *("cls.predictions", "cls.predictions.decoder"),
)
_ENTITIES = (
    *("entity_embeddings.entity_embeddings.weight", "entity_embeddings.entity_embedding_dense.weight"),
    *("entity_embeddings.position_embeddings.weight", "entity_embeddings.token_type_embeddings.weight"),
    *(f"encoder.layer.{{n}}.attention.self.{pair}_query.{{leaf}}" for pair in ("w2e", "e2w", "e2e")),
    *("entity_embeddings.LayerNorm.{leaf}", "entity_predictions.transform.LayerNorm.{leaf}"),
    *("entity_predictions.transform.dense.{leaf}", "entity_predictions.decoder.weight", "entity_predictions.bias"),
)
_UNUSED = ("pooler.dense.{leaf}", "cls.seq_relationship.{leaf}")


register(
    Family(
        "ernie",
        _ERNIE_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="ernie.",
            **_BERT_HEAD,
            more=(POOLER, Entry("embedding.task", "embeddings.task_type_embeddings")),
            ignored=_UNUSED,
        ),
        encoder_heads("Ernie", _BERT_VOCABULARY, others=("ErnieForPreTraining",)),
        links("ernie"),
    ),
    Family(
        "megatron-bert",
        _MEGATRON_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            _MEGATRON_LAYER,
            prefix="bert.",
            **_BERT_HEAD,
            norms="before",
            more=(POOLER, Entry("encoder.norm", "encoder.ln")),
            ignored=_UNUSED,
        ),
        encoder_heads("MegatronBert", _BERT_VOCABULARY, others=("MegatronBertForPreTraining",)),
        links("megatron_bert"),
    ),
    Family(
        "rembert",
        _REMBERT_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="rembert.",
            decoder="cls.predictions.decoder",
            more=(POOLER, Entry("embedding.projection", "encoder.embedding_hidden_mapping_in")),
            ignored=_UNUSED,
        ),
        encoder_heads(
            "RemBert",
            (
                Entry("head.transform.dense", "cls.predictions.dense"),
                Entry("head.transform.norm", "cls.predictions.LayerNorm"),
                Entry("head.dense", "cls.predictions.decoder"),
            ),
        ),
        links("rembert"),
    ),
    Family(
        "bert-generation",
        _GENERATION_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="bert.",
            decoder="lm_head.decoder",
            ignored=("lm_head.bias", "lm_head.decoder.{leaf}"),
        ),
        (Head("TextEmbedder", "BertGenerationEncoder"),),
        links("bert_generation"),
    ),
    Family(
        "roberta-prelayernorm",
        ROBERTA_KEYS.but(always=_BEFORE),
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            _BEFORE_LAYER,
            prefix="roberta_prelayernorm.",
            **_ROBERTA_HEAD,
            norms="before",
            more=(Entry("encoder.norm", "LayerNorm"),),
            ignored=_UNUSED,
        ),
        encoder_heads("RobertaPreLayerNorm", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("roberta_prelayernorm"),
    ),
    Family(
        "xlm-roberta-xl",
        ROBERTA_KEYS.but(
            {"vocab_size": 250880, "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32}
            | {"intermediate_size": 10240, "max_position_embeddings": 514, "type_vocab_size": 1}
            | {"layer_norm_eps": 1e-5},
            always={**_BEFORE, **_NO_NORM},
        ),
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            _XL_LAYER,
            prefix="roberta.",
            **_ROBERTA_HEAD,
            norms="before",
            more=(Entry("encoder.norm", "encoder.LayerNorm"),),
            ignored=_UNUSED,
        ),
        encoder_heads("XLMRobertaXL", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("xlm_roberta_xl"),
    ),
    Family(
        "data2vec-text",
        ROBERTA_KEYS.but({"vocab_size": 30522}),
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="data2vec_text.",
            **_ROBERTA_HEAD,
            ignored=_UNUSED,
        ),
        encoder_heads("Data2VecText", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("data2vec"),
    ),
    Family(
        "luke",
        _LUKE_KEYS,
        dataclasses.replace(
            encoder_weights(
                "embeddings",
                "encoder.layer.{n}",
                BERT_LAYER,
                prefix="luke.",
                decoder="lm_head.decoder",
                more=(POOLER,),
                ignored=(*_UNUSED, *_ENTITIES, "lm_head.bias"),
            ),
            stand_ins=(("lm_head.bias", "lm_head.decoder.bias"),),
        ),
        encoder_heads("Luke", ROBERTA_VOCABULARY),
        links("luke"),
    ),
)
