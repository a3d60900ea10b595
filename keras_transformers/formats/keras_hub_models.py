"""KerasHub's models as data: for each, the Hugging Face family that describes it, and the names of its weights.

KerasHub's models differ from those of Hugging Face as follows:

    BERT          the tanh form of GELU in its blocks; the masked language model's head has the exact GELU and another
                  epsilon. No Hugging Face `config.json` can express this: the model is saved in our own format
    RoBERTa       positions start at the first row, and there are no segments: the additional rows of Hugging Face
                  are filled with zeros
    DistilBERT    the epsilon of the same head
    DeBERTa v3    the same

KerasHub pads on the right, where RoBERTa's positions are the same. Padded on the left, positions are as in the original
RoBERTa.

Source: keras_hub/src/models of KerasHub 0.32, https://github.com/keras-team/keras-hub
"""

import dataclasses

from keras_transformers.families.keys import Key, key
from keras_transformers.families.weight_map import Entry


@dataclasses.dataclass(frozen=True)
class Model:
    """The conversion of one of KerasHub's models to a Hugging Face `config.json`.

    Attributes:
        model_type: the family.
        keys: rows for the arguments of KerasHub's backbone; their paths are keys of a `config.json`.
        values: values that all these models share.
        embeddings: the names of the embedding tables and their norm in an h5 file, by this library's names.
        text: the entries of the text classifier's head.
        pooler: the entries of the body's pooler, if it has one.
        classifier_dropout: the Hugging Face name of the classifier's dropout.
        rows_before: whether the position table has rows before the first position.
        block: the name of a block, without its number.
        more: the entries of further layers of the body.
    """

    model_type: str
    keys: tuple[Key, ...]
    values: dict
    embeddings: dict[str, str]
    text: tuple[Entry, ...]
    pooler: tuple[Entry, ...] = ()
    classifier_dropout: str = "classifier_dropout"
    rows_before: bool = False
    block: str = "transformer_encoder"
    more: tuple[Entry, ...] = ()


def dense(ours: str, theirs: str) -> Entry:
    """Return an entry whose kernel is not transposed."""
    return Entry(ours, theirs, transposed=False)


# Arguments of a backbone, their defaults, and their names in a `config.json`.
_KEYS = (
    key("vocabulary_size", 0, "vocab_size"),
    key("num_layers", 0, "num_hidden_layers"),
    key("num_heads", 0, "num_attention_heads"),
    key("hidden_dim", 0, "hidden_size"),
    key("intermediate_dim", 0, "intermediate_size"),
    key("dropout", 0.1, "hidden_dropout_prob", "attention_probs_dropout_prob"),
    key("max_sequence_length", 512, "max_position_embeddings"),
)
_TABLE = "model.token_and_position_embedding"
_EMBEDDINGS = {
    "token": f"{_TABLE}.token_embedding",
    "position": f"{_TABLE}.position_embedding",
    "segment": "model.segment_embedding",  # for models without segments
    "norm": "model.layer_normalization",
}
_TEXT = (dense("pooler.transform.dense", "task.dense"), dense("classifier", "task.dense_1"))
_ROBERTA = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "type_vocab_size": 1}
MODELS = {
    "Bert": Model(
        "bert",
        (*_KEYS, key("num_segments", 2, "type_vocab_size")),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        {
            "token": "model.reversible_embedding",
            "position": "model.position_embedding",
            "segment": "model.embedding",
            "norm": "model.layer_normalization",
        },
        (dense("classifier", "task.dense"),),
        (dense("pooler.transform.dense", "model.dense"),),
    ),
    "Roberta": Model("roberta", _KEYS, _ROBERTA, _EMBEDDINGS, _TEXT, rows_before=True),
    "XLMRoberta": Model("xlm-roberta", _KEYS, _ROBERTA, _EMBEDDINGS, _TEXT, rows_before=True),
    "DistilBert": Model(
        "distilbert",
        (
            key("vocabulary_size", 0, "vocab_size"),
            key("num_layers", 0, "n_layers"),
            key("num_heads", 0, "n_heads"),
            key("hidden_dim", 0, "dim"),
            key("intermediate_dim", 0, "hidden_dim"),
            key("dropout", 0.1, "dropout", "attention_dropout"),
            key("max_sequence_length", 512, "max_position_embeddings"),
        ),
        {"activation": "gelu"},
        _EMBEDDINGS,
        _TEXT,
        classifier_dropout="seq_classif_dropout",
    ),
    "DebertaV3": Model(
        "deberta-v2",
        (*_KEYS, key("bucket_size", 256, "position_buckets")),
        {
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-7,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
        {"token": "model.reversible_embedding", "norm": "model.layer_normalization"},
        _TEXT,
        classifier_dropout="pooler_dropout",
        block="disentangled_attention_encoder",
        more=(
            dense("encoder.positions", "model.relative_embedding"),
            Entry("encoder.positions.norm", "model.relative_embedding.layer_norm"),
        ),
    ),
}


def classes() -> dict[str, list[str]]:
    """Return the names of KerasHub's backbones that load, by `model_type`."""
    found: dict[str, list[str]] = {}
    for name, model in MODELS.items():
        found.setdefault(model.model_type, []).append(f"{name}Backbone")
    return found


MASKED_LM = (
    dense("head.transform.dense", "task.masked_lm_head.intermediate_dense"),
    Entry("head.transform.norm", "task.masked_lm_head.intermediate_layer_norm"),
    Entry("head", "task.masked_lm_head"),
)


def block(name: str, heads: int) -> tuple[Entry, ...]:
    """Return the entries of a block; in KerasHub, attention heads have a separate axis."""
    ours, theirs = "encoder.block_{n}", f"model.{name}_{{n}}"
    attention = [
        Entry(
            f"{ours}.self_attention.{part}",
            f"{theirs}.self_attention_layer.{part}_dense",
            transposed=False,
            output_heads=heads,
        )
        for part in ("query", "key", "value")
    ]
    return (
        *attention,
        Entry(
            f"{ours}.self_attention.output",
            f"{theirs}.self_attention_layer.output_dense",
            transposed=False,
            input_heads=heads,
        ),
        Entry(f"{ours}.self_attention_norm_after", f"{theirs}.self_attention_layer_norm"),
        dense(f"{ours}.feed_forward.up", f"{theirs}.feedforward_intermediate_dense"),
        dense(f"{ours}.feed_forward.down", f"{theirs}.feedforward_output_dense"),
        Entry(f"{ours}.feed_forward_norm_after", f"{theirs}.feedforward_layer_norm"),
    )
