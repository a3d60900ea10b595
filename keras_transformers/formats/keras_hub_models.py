"""KerasHub's models as data: for each, the Hugging Face family that describes it, and the names of its weights.

KerasHub's models differ from those of Hugging Face as follows:

    BERT          the tanh form of GELU in its blocks; the masked language model's head has the exact GELU and another
                  epsilon. No Hugging Face `config.json` can express this: the model is saved in our own format
    RoBERTa       positions start at the first row, and there are no segments: the additional rows of Hugging Face
                  are filled with zeros
    DistilBERT    the epsilon of the same head
    DeBERTa v3    the same
    ALBERT, FNet  the activation or the epsilon of the same head
    ESM           the same head has a matrix of its own. Only rotary positions, as in the ESM-2 presets
    RoFormer v2   RMS norms, no biases, no head before the scores of tokens: no family of Hugging Face has these

XLNet is not here: KerasHub has no presets of it, and mixes the padding masks of the texts in a batch.

KerasHub pads on the right, where RoBERTa's positions are the same. Padded on the left, positions are as in the original
RoBERTa.

Source: keras_hub/src/models of KerasHub 0.32, https://github.com/keras-team/keras-hub
"""

import collections.abc
import dataclasses
import typing

from keras_transformers.families.keys import Key, Row, expect, key, optional, repeat
from keras_transformers.families.weight_map import Entry
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm, RMSNorm
from keras_transformers.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Block:
    """The names of a block's weights in an h5 file.

    Attributes:
        name: the block's name, without its number.
        layers: the names of its layers, by this library's names.
        split_heads: whether attention heads have a separate axis.
    """

    name: str
    layers: collections.abc.Mapping[str, str]
    split_heads: bool = True

    def entries(self, heads: int) -> tuple[Entry, ...]:
        """Return the entries of a block with attention `heads`."""
        found = []
        for ours, theirs in self.layers.items():
            layer, _, part = ours.partition(".")
            of_heads = heads if self.split_heads and layer == "self_attention" else 0
            axis = "input_heads" if part == "output" else "output_heads"
            options: dict[str, typing.Any] = {"transposed": False, axis: of_heads}
            found.append(Entry(f"encoder.block_{{n}}.{ours}", f"model.{self.name}_{{n}}.{theirs}", **options))
        return tuple(found)


_TRANSFORMER = Block(
    "transformer_encoder",
    {
        **{
            f"self_attention.{part}": f"self_attention_layer.{part}_dense"
            for part in ("query", "key", "value", "output")
        },
        "self_attention_norm_after": "self_attention_layer_norm",
        "feed_forward.up": "feedforward_intermediate_dense",
        "feed_forward.down": "feedforward_output_dense",
        "feed_forward_norm_after": "feedforward_layer_norm",
    },
)


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
        block: the names of a block's weights.
        more: the entries of further layers of the body.
        unused: the names of layers that this library has no use for.
        masked: the transform before the scores of tokens, if it is not the family's.
        change: a function of the family's `ModelConfig` and of the backbone's arguments, which returns the model's, if
            no `config.json` can express it.
    """

    model_type: str
    keys: tuple[Row, ...]
    values: dict
    embeddings: dict[str, str]
    text: tuple[Entry, ...]
    pooler: tuple[Entry, ...] = ()
    classifier_dropout: str = "classifier_dropout"
    rows_before: bool = False
    block: Block = _TRANSFORMER
    more: tuple[Entry, ...] = ()
    unused: tuple[str, ...] = ()
    masked: TransformConfig | None = TransformConfig("gelu", LayerNorm(1e-5))
    change: collections.abc.Callable[[ModelConfig, dict[str, typing.Any]], ModelConfig] | None = None

    @property
    def sizes(self) -> list[str]:
        """The arguments that have no default in KerasHub."""
        rows = [row for row in self.keys if isinstance(row, Key) and type(row.default) is int]
        return [row.names[0] for row in rows if row.default == 0]


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


def _keys(*without: str) -> tuple[Row, ...]:
    """Return the rows above, except those of some arguments."""
    return tuple(row for row in _KEYS if row.names[0] not in without)


_TABLE = "model.token_and_position_embedding"
_EMBEDDINGS = {
    "token": f"{_TABLE}.token_embedding",
    "position": f"{_TABLE}.position_embedding",
    "segment": "model.segment_embedding",  # for models without segments
    "norm": "model.layer_normalization",
}
_TEXT = (dense("pooler.transform.dense", "task.dense"), dense("classifier", "task.dense_1"))
_ROBERTA = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "type_vocab_size": 1}
_SUMMED = {
    "token": "model.reversible_embedding",
    "position": "model.position_embedding",
    "segment": "model.embedding",
    "norm": "model.layer_normalization",
}
_ROTARY_ATTENTION = {
    f"self_attention.{part}": f"attention_layer.{part[0]}_dense" for part in ("query", "key", "value", "output")
}


def _roformer_v2(config: ModelConfig, given: dict[str, typing.Any]) -> ModelConfig:
    """Return RoFormer's configuration with the norms of version 2, and without biases and transforms of tokens."""
    replace, norm = dataclasses.replace, RMSNorm(1e-7)
    stack: typing.Any = config.encoder
    rotary = replace(stack.block.attention.positions, base=float(given.get("max_wavelength", 10000)))
    attention = replace(stack.block.attention, positions=rotary, use_bias=False)
    feed_forward = replace(stack.block.feed_forward, use_bias=False)
    block = replace(stack.block, attention=attention, feed_forward=feed_forward, norm=norm)
    return replace(
        config,
        embeddings=replace(config.embeddings, norm=norm, context_length=None),
        encoder=replace(stack, block=block),
        head=replace(config.head, transform=None, use_bias=False),
        pooler=replace(config.pooler, transform=TransformConfig("tanh", None)),
    )


MODELS = {
    "Bert": Model(
        "bert",
        (*_KEYS, key("num_segments", 2, "type_vocab_size")),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        _SUMMED,
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
        block=dataclasses.replace(_TRANSFORMER, name="disentangled_attention_encoder"),
        more=(
            dense("encoder.positions", "model.relative_embedding"),
            Entry("encoder.positions.norm", "model.relative_embedding.layer_norm"),
        ),
    ),
    "Albert": Model(
        "albert",
        (
            *_keys("dropout"),
            key("dropout", 0.0, "hidden_dropout_prob", "attention_probs_dropout_prob"),
            key("num_segments", 2, "type_vocab_size"),
            key("embedding_dim", 0, "embedding_size"),
            key("num_groups", 1, "num_hidden_groups"),
            expect("num_inner_repetitions", 1),
        ),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        _SUMMED,
        (dense("classifier", "task.dense"),),
        (dense("pooler.transform.dense", "model.dense_1"),),
        classifier_dropout="classifier_dropout_prob",
        more=(dense("embedding.projection", "model.dense"),),
        masked=TransformConfig("gelu_tanh", LayerNorm(1e-5)),
    ),
    "Electra": Model(
        "electra",
        (
            key("vocab_size", 0, "vocab_size"),
            *_keys("vocabulary_size"),
            key("num_segments", 2, "type_vocab_size"),
            key("embedding_dim", 0, "embedding_size"),
        ),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        _SUMMED,
        (),
        more=(dense("embedding.projection", "model.dense"),),
        unused=("model.dense", "model.dense_1"),  # a pooler, for which KerasHub has no task
    ),
    "FNet": Model(
        "fnet",
        (
            *_keys("num_heads", "dropout"),
            key("dropout", 0.1, "hidden_dropout_prob"),
            key("num_segments", 4, "type_vocab_size"),
        ),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        _SUMMED,
        (dense("classifier", "task.dense"),),
        (dense("pooler.transform.dense", "model.dense_1"),),
        classifier_dropout="hidden_dropout_prob",
        block=Block(
            "f_net_encoder",
            {
                "self_attention_norm_after": "mixing_layer_norm",
                "feed_forward.up": "intermediate_dense",
                "feed_forward.down": "output_dense",
                "feed_forward_norm_after": "output_layer_norm",
            },
        ),
        more=(dense("embedding.projection", "model.dense"),),
    ),
    "ESM": Model(
        "esm",
        (
            *_keys("dropout", "max_sequence_length"),
            key("dropout", 0.1, "hidden_dropout_prob"),
            key("max_sequence_length", 1024, "max_position_embeddings"),
            key("max_wavelength", 10000, "rope_theta", adapt=lambda base, values: float(base)),
            key("layer_norm_eps", 1e-12, "layer_norm_eps"),
            optional("pad_token_id", int, None, "pad_token_id", null=lambda values: 0),
            expect("position_embedding_type", "rotary"),
            expect("use_pre_layer_norm", False),
            expect("use_bias", True),
            expect("activation", "gelu"),
        ),
        {"position_embedding_type": "rotary", "attention_probs_dropout_prob": 0.0, "tie_word_embeddings": False},
        {"token": "model.embedding"},
        _TEXT,
        classifier_dropout="hidden_dropout_prob",
        block=Block(
            "esm_encoder",
            {
                **_ROTARY_ATTENTION,
                "self_attention_norm_before": "attention_norm",
                "feed_forward.up": "feedforward_intermediate_dense",
                "feed_forward.down": "feedforward_output_dense",
                "feed_forward_norm_before": "feedforward_norm",
            },
            split_heads=False,
        ),
        more=(dense("encoder.norm", "model.layer_normalization"),),
        masked=None,
    ),
    "RoformerV2": Model(
        "roformer",
        (
            *_keys("dropout", "max_sequence_length"),
            key("dropout", 0.1, "hidden_dropout_prob"),
            key("num_segments", 2, "type_vocab_size"),
            repeat(
                "head_size",
                lambda values: values["hidden_size"] // max(values["num_attention_heads"], 1),
                "hidden_dim / num_heads",
            ),
            key("max_wavelength", 10000),
            expect("use_bias", False),
            expect("activation", "relu"),
        ),
        {"hidden_act": "relu", "attention_probs_dropout_prob": 0.0},
        {"token": "model.reversible_embedding", "segment": "model.embedding"},
        _TEXT,
        classifier_dropout="hidden_dropout_prob",
        block=Block(
            "roformer_v2_encoder",
            {
                **_ROTARY_ATTENTION,
                "self_attention_norm_after.scale": "attention_norm.bias",  # a lone vector, see `keras_weights`
                "feed_forward.up": "feedforward_intermediate_dense",
                "feed_forward.down": "feedforward_output_dense",
                "feed_forward_norm_after.scale": "feedforward_norm.bias",
            },
            split_heads=False,
        ),
        more=(Entry("embedding.norm.scale", "model.roformer_norm.bias"),),
        masked=None,
        change=_roformer_v2,
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
    dense("head.dense", "task.masked_lm_head"),
)
