"""FNet: BERT with a Fourier transform in the place of attention. Data only: `family.py` explains the records."""

from keras_transformers.families.bert import (
    ATTENTION,
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    CLASSIFIERS,
    POOLER,
    encoder_heads,
    encoder_weights,
    padding_id,
    vocabulary_head,
)
from keras_transformers.families.family import Family, links
from keras_transformers.families.keys import expect, inert, key
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry
from keras_transformers.layers.fourier import Fourier

_FNET_KEYS = BERT_KEYS.but(
    {"vocab_size": 32000, "hidden_act": "gelu_new", "type_vocab_size": 4},
    key("hidden_size", 768, "hidden_dim", "embeddings.embedding_dim"),
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout", *CLASSIFIERS),
    padding_id(3),
    expect("use_tpu_fourier_optimizations", False),  # otherwise it takes texts of one length alone
    inert("tpu_short_seq_length"),
    without=("num_attention_heads", "attention_probs_dropout_prob", "classifier_dropout"),
    always={ATTENTION.removesuffix("."): Fourier()},
)

register(
    Family(
        "fnet",
        _FNET_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            (*BERT_LAYER[:4], "fourier.output.LayerNorm", *BERT_LAYER[5:]),
            prefix="fnet.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            more=(POOLER, Entry("embedding.projection", "embeddings.projection")),
            ignored=("pooler.dense.{leaf}", "cls.seq_relationship.{leaf}"),
        ),
        encoder_heads(
            "FNet",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
            others=("FNetForPreTraining",),
        ),
        links("fnet"),
    ),
)
