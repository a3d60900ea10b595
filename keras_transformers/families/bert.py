"""BERT and its relatives: encoders with a head for each task. Data only: `family.py` explains the records.

model_type      positions             other differences
bert            learned
roberta         learned, no padding   no pooler before its classifier's layer (also xlm-roberta, camembert)
distilbert      learned               no segments
electra         learned               narrow embeddings, projected
albert          learned               narrow embeddings, projected; one block for all layers
mpnet           learned, no padding   relative buckets, no segments
"""

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Values
from keras_transformers.families.keys import (
    ONE_STACK,
    Group,
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
)
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned, RelativeBuckets

# Configurations

BLOCK, ATTENTION, FEED_FORWARD = "encoder.block.", "encoder.block.attention.", "encoder.block.feed_forward."
ACTIVATION, POSITIONS = FEED_FORWARD + "activation", "embeddings.positions"
_NORMS = (BLOCK + "norm", "embeddings.norm", "head.transform.norm")
_DROPOUTS = (BLOCK + "dropout", "embeddings.dropout")
CLASSIFIERS = ("pooler.dropout", "token_head.dropout")
BEFORE_POOLER = (*CLASSIFIERS, "pooler.input_dropout")


def not_negative(padding_id: int, values: Values) -> int:
    """The padding id. Refuses a negative one: an encoder recognizes padding by its id."""
    if padding_id < 0:
        raise ValueError(f"pad_token_id: expected the id by which an encoder tells padding, got {padding_id}")
    return padding_id


def padding_id(default: int) -> Row:
    """The row of `pad_token_id`, with the default of a family for null."""
    return optional("pad_token_id", int, None, "padding_id", null=lambda values: default, adapt=not_negative)


def _some_segments(number: int, values: Values) -> int:
    if number < 1:  # transformers adds segment 0 to each token
        raise ValueError(f"type_vocab_size: expected at least 1, got {number}")
    return number


def classifier_dropout(*paths: str) -> Row:
    """The row of `classifier_dropout`, for these fields; null is the dropout of the blocks."""
    return optional("classifier_dropout", float, None, *paths, null=lambda values: values[BLOCK + "dropout"])


ENCODER: tuple[Row, ...] = (*ONE_STACK, expect("is_decoder", False))
_ALWAYS = {
    POSITIONS: Learned,
    **dict.fromkeys(_NORMS, LayerNorm),
    "head.use_bias": True,
    "pooler.pooling": "first",
    "pooler.transform": TransformConfig("tanh", None),
}

BERT_KEYS = Keys(
    (
        *ENCODER,
        expect("position_embedding_type", "absolute"),
        key("vocab_size", 30522, "embeddings.vocabulary_size"),
        key("hidden_size", 768, "hidden_dim"),
        key("num_hidden_layers", 12, "encoder.num_layers"),
        key("num_attention_heads", 12, ATTENTION + "num_heads"),
        key("intermediate_size", 3072, FEED_FORWARD + "intermediate_dim"),
        activation("hidden_act", "gelu", ACTIVATION, "head.transform.activation"),
        key("hidden_dropout_prob", 0.1, *_DROPOUTS),
        key("attention_probs_dropout_prob", 0.1, ATTENTION + "dropout"),
        key("type_vocab_size", 2, "embeddings.num_segments", adapt=_some_segments),
        key("layer_norm_eps", 1e-12, *(f"{norm}.epsilon" for norm in _NORMS)),
        padding_id(0),
        key("max_position_embeddings", 512, POSITIONS + ".max_length"),
        key("tie_word_embeddings", True, "head.tied"),
        classifier_dropout(*CLASSIFIERS),
        repeat("embedding_size", lambda values: values["hidden_dim"], "hidden_size"),
        repeat("emb_size", lambda values: values["hidden_dim"], "hidden_size"),
        inert(
            *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
            *("pooler_size_per_head", "pooler_type"),
        ),
    ),
    _ALWAYS,
)

ROBERTA_KEYS = BERT_KEYS.but(
    {"vocab_size": 50265},
    activation("hidden_act", "gelu", ACTIVATION),
    padding_id(1),
    # Positions start at the row after the padding id.
    key(
        "max_position_embeddings",
        512,
        POSITIONS + ".max_length",
        adapt=lambda rows, values: rows - values["padding_id"] - 1,
        restore=lambda fields: fields(POSITIONS + ".max_length") + fields(POSITIONS + ".offset"),
    ),
    derive(lambda values: values.update({POSITIONS + ".offset": values["padding_id"] + 1})),
    classifier_dropout(*BEFORE_POOLER),
    without=("directionality",),
    always={POSITIONS + ".skip_padding": True, "head.transform.activation": "gelu"},
)

_DISTILBERT_KEYS = Keys(
    (
        *ENCODER,
        key("vocab_size", 30522, "embeddings.vocabulary_size"),
        key(("dim", "hidden_size"), 768, "hidden_dim"),
        key(("n_layers", "num_hidden_layers"), 6, "encoder.num_layers"),
        key(("n_heads", "num_attention_heads"), 12, ATTENTION + "num_heads"),
        key("hidden_dim", 3072, FEED_FORWARD + "intermediate_dim"),
        activation("activation", "gelu", ACTIVATION, "head.transform.activation"),
        key("dropout", 0.1, *_DROPOUTS, "token_head.dropout"),
        key("attention_dropout", 0.1, ATTENTION + "dropout"),
        key("seq_classif_dropout", 0.2, "pooler.dropout"),
        key("qa_dropout", 0.1, "span_head.dropout"),
        key("max_position_embeddings", 512, POSITIONS + ".max_length"),
        key("pad_token_id", 0, "padding_id", adapt=not_negative),
        key("tie_word_embeddings", True, "head.tied"),
        repeat("tie_weights_", lambda values: values["head.tied"], "tie_word_embeddings"),
        inert("sinusoidal_pos_embds"),
    ),
    {
        **_ALWAYS,
        **{f"{norm}.epsilon": 1e-12 for norm in _NORMS},
        "pooler.transform": TransformConfig("relu", None),
    },
)

SUMMARY = tuple(
    f"summary_{each}" for each in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout", "last_dropout")
)
_DISCRIMINATOR = "ElectraForPreTraining"


def _read_discriminator(read: ConfigReader, values: Values) -> None:
    if _DISCRIMINATOR in (read("architectures", None) or ()):
        values |= {"token_head.transform": TransformConfig(values[ACTIVATION], None), "token_head.dropout": 0.0}


_ELECTRA_KEYS = BERT_KEYS.but(
    {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    activation("hidden_act", "gelu", ACTIVATION),
    key(
        "embedding_size",
        128,
        "embeddings.embedding_dim",
        adapt=lambda width, values: None if width == values["hidden_dim"] else width,
        restore=lambda fields: fields("embeddings.embedding_dim") or fields("hidden_dim"),
    ),
    classifier_dropout(*BEFORE_POOLER),
    Group(
        ("architectures",),
        _read_discriminator,
        lambda fields: {"architectures": [_DISCRIMINATOR]} if fields("token_head.transform") else {},
    ),
    inert("generator_size", *SUMMARY),
    repeat("emb_size", lambda values: values["embeddings.embedding_dim"] or values["hidden_dim"], "embedding_size"),
    without=("directionality",),
    always={"head.transform.activation": "gelu", "pooler.transform": TransformConfig("gelu", None)},
)

_ALBERT_KEYS = BERT_KEYS.but(
    {
        "vocab_size": 30000,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    expect("inner_group_num", 1),
    key("num_hidden_groups", 1, "encoder.num_distinct"),
    key("embedding_size", 128, "embeddings.embedding_dim"),
    key("classifier_dropout_prob", 0.1, *CLASSIFIERS),
    inert("down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"),
    without=("emb_size", "directionality", "classifier_dropout"),
)

_MPNET_KEYS = ROBERTA_KEYS.but(
    {"vocab_size": 30527},
    expect("relative_attention_num_buckets", 32),  # transformers uses 32 whatever the file says
    choice("pad_token_id", 1, "padding_id", {1: 1}),
    key("hidden_dropout_prob", 0.1, *_DROPOUTS, *BEFORE_POOLER),
    without=("type_vocab_size", "classifier_dropout"),
    always={ATTENTION + "positions": RelativeBuckets(32, 128)},
)

# Weights


def encoder_weights(
    embeddings: str,
    layer: str,
    names: tuple[str, ...],
    *,
    prefix: str,
    decoder: str,
    bias: str | None = None,
    norms: str = "after",
    more: tuple[Entry, ...] = (),
    ignored: tuple[str, ...] = (),
) -> WeightMap:
    """Return the table of a body.

    `embeddings` and `layer` are the paths of the embeddings and of layer `{n}`. `names` are the names inside a layer,
    in order: query, key, value, output, norm, up, down, norm. `decoder` is the path of the vocabulary head's matrix.
    `bias` is the second name of the head's bias, if it has two. The norms stand "after" a branch or "before" it.
    `more` entries come first."""
    ours: tuple[str, ...] = ("query", "key", "value", "output")
    ours = (*(f"self_attention.{part}" for part in ours), f"self_attention_norm_{norms}")
    ours = (*ours, "feed_forward.up", "feed_forward.down", f"feed_forward_norm_{norms}")
    tables = {"token": "word_embeddings", "position": "position_embeddings", "segment": "token_type_embeddings"}
    body = [
        Entry(f"embedding.{name}", f"{embeddings}.{theirs}")
        for name, theirs in (*tables.items(), ("norm", "LayerNorm"))
    ]
    body += [Entry(f"encoder.block_{{n}}.{a}", f"{layer}.{b}") for a, b in zip(ours, names, strict=True)]
    return WeightMap(
        (),
        (f"{embeddings}.position_ids", *ignored),
        (*more, *body),
        prefix,
        () if bias is None else ((f"{decoder}.bias", bias),),
        scores=((f"{decoder}.weight", f"{prefix}{embeddings}.word_embeddings.weight"),),
    )


BERT_LAYER = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm"),
    *("intermediate.dense", "output.dense", "output.LayerNorm"),
)
POOLER = Entry("pooler.transform.dense", "pooler.dense")


def vocabulary_head(dense: str, norm: str, bias: str, decoder: str) -> tuple[Entry, ...]:
    """Return the entries of a vocabulary head, with the matrix `decoder` for a head that is not tied."""
    return (
        Entry("head.transform.dense", dense),
        Entry("head.transform.norm", norm),
        Entry("head.dense", decoder),
        Entry("head", bias),
    )


def encoder_heads(
    name: str, vocabulary: tuple[Entry, ...], text: tuple[Entry, ...] = (), others: tuple[str, ...] = ()
) -> tuple[Head, ...]:
    """Return the heads of most families: BERT's, with the text classifier's layer if that is not a pooler in the
    body."""
    classifier = Entry("classifier", "classifier")
    return (
        Head("TextEmbedder", f"{name}Model"),
        Head("MaskedLM", f"{name}ForMaskedLM", vocabulary, others),
        Head("TextClassifier", f"{name}ForSequenceClassification", text or (classifier,)),
        Head("TokenClassifier", f"{name}ForTokenClassification", (classifier,)),
        Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", "qa_outputs"),)),
    )


ROBERTA_VOCABULARY = vocabulary_head("lm_head.dense", "lm_head.layer_norm", "lm_head", "lm_head.decoder")
ROBERTA_TEXT = (Entry("pooler.transform.dense", "classifier.dense"), Entry("classifier", "classifier.out_proj"))
_ROBERTA_WEIGHTS = encoder_weights(
    "embeddings",
    "encoder.layer.{n}",
    BERT_LAYER,
    prefix="roberta.",
    decoder="lm_head.decoder",
    bias="lm_head.bias",
    ignored=("pooler.dense.{leaf}",),
)

register(
    Family(
        "bert",
        BERT_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="bert.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            more=(POOLER,),
            ignored=("pooler.dense.{leaf}", "cls.seq_relationship.{leaf}"),
        ),
        encoder_heads(
            "Bert",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
            others=("BertForPreTraining",),
        ),
        links("bert"),
    ),
    Family(
        "roberta",
        ROBERTA_KEYS,
        _ROBERTA_WEIGHTS,
        encoder_heads("Roberta", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("roberta"),
    ),
    *(
        Family(
            model_type,
            ROBERTA_KEYS.but({"vocab_size": 30522}),
            _ROBERTA_WEIGHTS,
            encoder_heads(name, ROBERTA_VOCABULARY, ROBERTA_TEXT),
            links(model_type.replace("-", "_")),
        )
        for model_type, name in (("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert"))
    ),
    Family(
        "distilbert",
        _DISTILBERT_KEYS,
        encoder_weights(
            "embeddings",
            "transformer.layer.{n}",
            (
                *(f"attention.{part}" for part in ("q_lin", "k_lin", "v_lin", "out_lin")),
                *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
            ),
            prefix="distilbert.",
            decoder="vocab_projector",
        ),
        encoder_heads(
            "DistilBert",
            vocabulary_head("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector"),
            (Entry("pooler.transform.dense", "pre_classifier"), Entry("classifier", "classifier")),
        ),
        links("distilbert"),
    ),
    Family(
        "electra",
        _ELECTRA_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="electra.",
            decoder="generator_lm_head",
            more=(Entry("embedding.projection", "embeddings_project"),),
        ),
        (
            *encoder_heads(
                "Electra",
                vocabulary_head(
                    *("generator_predictions.dense", "generator_predictions.LayerNorm"),
                    *("generator_lm_head", "generator_lm_head"),
                ),
                ROBERTA_TEXT,
            ),
            Head(
                "TokenClassifier",
                _DISCRIMINATOR,
                (
                    Entry("transform.dense", "discriminator_predictions.dense"),
                    Entry("classifier", "discriminator_predictions.dense_prediction"),
                ),
                labels=("replaced",),
            ),
        ),
        links("electra"),
    ),
    Family(
        "albert",
        _ALBERT_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.albert_layer_groups.{n}.albert_layers.0",
            (
                *(f"attention.{part}" for part in ("query", "key", "value", "dense", "LayerNorm")),
                *("ffn", "ffn_output", "full_layer_layer_norm"),
            ),
            prefix="albert.",
            decoder="predictions.decoder",
            bias="predictions.bias",
            more=(
                Entry("embedding.projection", "encoder.embedding_hidden_mapping_in"),
                Entry("pooler.transform.dense", "pooler"),
            ),
            ignored=("pooler.{leaf}", "sop_classifier.classifier.{leaf}"),
        ),
        encoder_heads(
            "Albert",
            vocabulary_head("predictions.dense", "predictions.LayerNorm", "predictions", "predictions.decoder"),
            others=("AlbertForPreTraining",),
        ),
        links("albert"),
    ),
    Family(
        "mpnet",
        _MPNET_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            (
                *(f"attention.attn.{part}" for part in ("q", "k", "v", "o")),
                *("attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
            ),
            prefix="mpnet.",
            decoder="lm_head.decoder",
            bias="lm_head.bias",
            more=(Entry("encoder.positions", "encoder.relative_attention_bias"),),
            ignored=("pooler.dense.{leaf}",),
        ),
        encoder_heads("MPNet", ROBERTA_VOCABULARY, ROBERTA_TEXT),
        links("mpnet"),
    ),
)
