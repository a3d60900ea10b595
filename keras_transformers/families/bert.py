"""BERT and its relatives: encoders with a head for each task. Data alone: `family.py` says what the records mean.

model_type      positions             what else is its own
bert            learned
roberta         learned, no padding   no pooler before its classifier's own layer (also xlm-roberta, camembert)
distilbert      learned               no segments
electra         learned               narrow embeddings, projected
albert          learned               narrow embeddings, projected; one block for all layers
mpnet           learned, no padding   relative buckets, no segments
modernbert      rotary                norms before, no biases, gated, two kinds of attention in turn
"""

import dataclasses

from keras_transformers.families.family import (
    ConfigReader,
    Head,
    activation_name,
    by_functions,
    expect_one_stack,
    links,
    register,
)
from keras_transformers.families.patterns import KINDS, layer_types, repeating, written_layer_types
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig, TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned, RelativeBuckets, Rotary
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig

# Configurations

_TANH = TransformConfig("tanh", None)


def _read_body(
    read, *, padding_id=0, rows_before=False, segments=2, embedding_size=None, distinct=None, buckets=None, **defaults
):
    """BERT's keys, which most share with other defaults, and a `ModelConfig` of them, without heads."""
    _expect_encoder(read)
    read.expect("position_embedding_type", "absolute")
    defaults = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12} | defaults
    defaults = {"intermediate_size": 3072, "hidden_act": "gelu", "dropout": 0.1} | defaults
    padding_id = _padding_id(read, padding_id)
    before = padding_id + 1 if rows_before else 0
    norm, dropout = LayerNorm(read("layer_norm_eps", 1e-12)), read("hidden_dropout_prob", defaults["dropout"])
    embeddings = EmbeddingsConfig(
        read("vocab_size", defaults["vocab_size"]),
        Learned(read("max_position_embeddings", 512) - before, before, rows_before),
        norm=norm,
        dropout=dropout,
        num_segments=read("type_vocab_size", segments) if segments else 0,
        embedding_dim=embedding_size,
    )
    if segments and embeddings.num_segments < 1:
        raise ValueError("type_vocab_size: expected at least 1, got 0")  # transformers adds segment 0 to each token
    attention = AttentionConfig(
        read("num_attention_heads", defaults["num_attention_heads"]),
        positions=buckets,
        dropout=read("attention_probs_dropout_prob", defaults["dropout"]),
    )
    feed_forward = FeedForwardConfig(
        read("intermediate_size", defaults["intermediate_size"]), read.activation("hidden_act", defaults["hidden_act"])
    )
    layers, width = (
        read("num_hidden_layers", defaults["num_hidden_layers"]),
        read("hidden_size", defaults["hidden_size"]),
    )
    if embedding_size is None:
        for name in ("embedding_size", "emb_size"):
            read.repeats(name, width, "hidden_size")
    return ModelConfig(
        width,
        embeddings,
        StackConfig(layers, BlockConfig(attention, feed_forward, norm, dropout=dropout), num_distinct=distinct),
        padding_id=padding_id,
    )


def _padding_id(read, default):
    padding_id = _or(read("pad_token_id", None), default)
    if isinstance(padding_id, int) and padding_id < 0:
        raise ValueError(f"pad_token_id: expected the id by which an encoder tells padding, got {padding_id}")
    return padding_id


def _expect_encoder(read):
    """What every configuration may say of other kinds of models, and an encoder's does not."""
    read.expect("is_decoder", False)
    expect_one_stack(read)


def _with_heads(read, config, pooler, *, dropout, act="gelu", token_head=None, span_dropout=0.0):
    """`config` with a family's heads. `act` is the activation before the vocabulary, `dropout` that before labels."""
    transform = TransformConfig(act, config.encoder.block.norm)
    return dataclasses.replace(
        config,
        head=HeadConfig(read("tie_word_embeddings", True), True, transform),
        pooler=dataclasses.replace(pooler, dropout=dropout),
        token_head=token_head or TokenHeadConfig(dropout=dropout),
        span_head=TokenHeadConfig(dropout=span_dropout),
    )


def _or(value, default):
    return default if value is None else value


def _classifier_dropout(read, config):
    return float(_or(read("classifier_dropout", None), config.encoder.block.dropout))


def _act(config):
    return config.encoder.block.feed_forward.activation


def _read_bert(read):
    config = _read_body(read)
    dropout = _classifier_dropout(read, config)
    return _with_heads(read, config, PoolerConfig("first", _TANH), dropout=dropout, act=_act(config))


def _read_roberta(read, vocab_size=50265):
    config = _read_body(read, padding_id=1, rows_before=True, vocab_size=vocab_size)
    dropout = _classifier_dropout(read, config)
    return _with_heads(read, config, PoolerConfig("first", _TANH, input_dropout=dropout), dropout=dropout)


def _read_xlm_roberta(read):
    return _read_roberta(read, vocab_size=30522)


def _read_distilbert(read):
    get = {
        "vocab_size": read("vocab_size", 30522),
        "hidden_size": read("dim", 768),
        "num_hidden_layers": read("n_layers", 6),
        "num_attention_heads": read("n_heads", 12),
        "intermediate_size": read("hidden_dim", 3072),
        "hidden_act": read("activation", "gelu"),
        "hidden_dropout_prob": read("dropout", 0.1),
        "attention_probs_dropout_prob": read("attention_dropout", 0.1),
        "max_position_embeddings": read("max_position_embeddings", 512),
        "pad_token_id": read("pad_token_id", 0),
    }
    read.activation("activation", "gelu")  # refused by its own name
    _expect_encoder(read)
    config = _read_body(ConfigReader(get), segments=0)
    config = _with_heads(
        read,
        config,
        PoolerConfig("first", TransformConfig("relu", None)),
        dropout=read("seq_classif_dropout", 0.2),
        act=_act(config),
        token_head=TokenHeadConfig(dropout=get["hidden_dropout_prob"]),
        span_dropout=read("qa_dropout", 0.1),
    )
    read.repeats("tie_weights_", config.head.tied, "tie_word_embeddings")
    return config


def _read_electra(read):
    width, embedding_size = read("hidden_size", 256), read("embedding_size", 128)
    config = _read_body(
        read,
        hidden_size=256,
        num_attention_heads=4,
        intermediate_size=1024,
        embedding_size=None if embedding_size == width else embedding_size,
    )
    dropout = _classifier_dropout(read, config)
    pooler = PoolerConfig("first", TransformConfig("gelu", None), input_dropout=dropout)
    is_discriminator = _DISCRIMINATOR in (read("architectures", None) or ())
    token_head = TokenHeadConfig(TransformConfig(_act(config), None)) if is_discriminator else None
    return _with_heads(read, config, pooler, dropout=dropout, token_head=token_head)


def _read_albert(read):
    read.expect("inner_group_num", 1)
    config = _read_body(
        read,
        vocab_size=30000,
        hidden_size=4096,
        num_attention_heads=64,
        intermediate_size=16384,
        hidden_act="gelu_new",
        dropout=0.0,
        embedding_size=read("embedding_size", 128),
        distinct=read("num_hidden_groups", 1),
    )
    dropout = read("classifier_dropout_prob", 0.1)
    return _with_heads(read, config, PoolerConfig("first", _TANH), dropout=dropout, act=_act(config))


def _read_mpnet(read):
    read.expect("relative_attention_num_buckets", 32)  # whatever it says, transformers computes with 32
    read.expect("pad_token_id", 1)
    config = _read_body(
        read, padding_id=1, rows_before=True, segments=0, vocab_size=30527, buckets=RelativeBuckets(32, 128)
    )
    dropout = config.encoder.block.dropout
    return _with_heads(read, config, PoolerConfig("first", _TANH, input_dropout=dropout), dropout=dropout)


def _read_modernbert(read):
    _expect_encoder(read)
    read.expect("attention_dropout", 0.0)  # it would be dropped at two places, with one name
    layers = read("num_hidden_layers", 22)
    every = read("global_attn_every_n_layers", 3)
    types = layer_types(read, layers, lambda n: "sliding_attention" if n % every else "full_attention")
    bases = _rotary_bases(read)
    heads, use_bias, width = read("num_attention_heads", 12), read("attention_bias", False), read("hidden_size", 768)
    read.repeats("head_dim", width // max(heads, 1), "hidden_size / num_attention_heads")
    half = read.optional("sliding_window", int) or 64  # transformers' other name of it
    whole = read("local_attention", 2 * half)
    read.repeats("sliding_window", whole // 2, "half of local_attention")
    window = whole // 2 + 1
    attentions = {
        kind: AttentionConfig(
            heads,
            positions=Rotary(bases[kind]),
            window=window if kind == "sliding_attention" else None,
            use_bias=use_bias,
        )
        for kind in KINDS
    }
    attention, pattern = repeating([attentions[kind] for kind in types])
    norm = LayerNorm(read("norm_eps", 1e-5), read("norm_bias", False))
    read.repeats("layer_norm_eps", norm.epsilon, "norm_eps")
    feed_forward = FeedForwardConfig(
        read("intermediate_size", 1152),
        read.activation("hidden_activation", "gelu"),
        gated=True,
        use_bias=read("mlp_bias", False),
        dropout=read("mlp_dropout", 0.0),
    )
    block = BlockConfig(attention, feed_forward, norm, "pre")
    transform = TransformConfig(read.activation("classifier_activation", "gelu"), norm, read("classifier_bias", False))
    dropout = read("classifier_dropout", 0.0)
    read.expect("sparse_prediction", False)
    pooling = read("classifier_pooling", "cls")
    if pooling not in _POOLINGS:
        raise ValueError(f"classifier_pooling: expected {' or '.join(_POOLINGS)}, got {pooling!r}")
    return ModelConfig(
        width,
        EmbeddingsConfig(read("vocab_size", 50368), norm=norm, dropout=read("embedding_dropout", 0.0)),
        StackConfig(layers, block, final_norm=True, pattern=pattern, first_norm=False),
        head=HeadConfig(read("tie_word_embeddings", True), read("decoder_bias", True), transform),
        padding_id=_padding_id(read, 50283 if "pad_token_id" not in read.values else 0),
        pooler=PoolerConfig(_POOLINGS[pooling], transform, dropout=dropout),
        token_head=TokenHeadConfig(transform, dropout),
        span_head=TokenHeadConfig(transform, dropout),
    )


_DISCRIMINATOR = "ElectraForPreTraining"
_POOLINGS = {"cls": "first", "mean": "mean"}


def _rotary_bases(read):
    """The base of each kind of layer, from version 5's `rope_parameters` or version 4's two keys."""
    bases = {"full_attention": 160000.0, "sliding_attention": 10000.0}
    old = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}
    read.expect("rope_scaling", None)
    parameters = read.optional("rope_parameters", dict) or {}
    for kind, base in bases.items():
        given = {"rope_type": "default", **(parameters.get(kind) or {})}
        if given["rope_type"] != "default" or set(given) - {"rope_type", "rope_theta"}:
            raise ValueError(f"rope_parameters: only rope_theta of the default type is supported, got {given!r}")
        bases[kind] = float(_or(given.get("rope_theta"), _or(read(old[kind], None), base)))
        read.repeats(old[kind], bases[kind], "rope_parameters")
    if set(parameters) - set(bases):
        raise ValueError(f"rope_parameters: expected {' and '.join(bases)}, got {sorted(parameters)}")
    return bases


def _write_bert(config):
    embeddings, block, positions = config.embeddings, config.encoder.block, config.embeddings.positions
    return {
        "vocab_size": embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "num_hidden_layers": config.encoder.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "intermediate_size": block.feed_forward.intermediate_dim,
        "hidden_act": activation_name(block.feed_forward.activation),
        "hidden_dropout_prob": block.dropout,
        "attention_probs_dropout_prob": block.attention.dropout,
        "max_position_embeddings": positions.max_length + positions.offset,
        "type_vocab_size": embeddings.num_segments,
        "layer_norm_eps": block.norm.epsilon,
        "pad_token_id": config.padding_id,
        "classifier_dropout": config.pooler.dropout,
        "tie_word_embeddings": config.head.tied,
    }


def _write_distilbert(config):
    values = _write_bert(config)
    kept = ("vocab_size", "max_position_embeddings", "pad_token_id", "tie_word_embeddings")
    return {name: values[name] for name in kept} | {
        "dim": values["hidden_size"],
        "n_layers": values["num_hidden_layers"],
        "n_heads": values["num_attention_heads"],
        "hidden_dim": values["intermediate_size"],
        "activation": values["hidden_act"],
        "dropout": values["hidden_dropout_prob"],
        "attention_dropout": values["attention_probs_dropout_prob"],
        "seq_classif_dropout": values["classifier_dropout"],
        "qa_dropout": config.span_head.dropout,
    }


def _write_electra(config):
    discriminator = {"architectures": [_DISCRIMINATOR]} if config.token_head.transform else {}
    return (
        _write_bert(config)
        | {"embedding_size": _or(config.embeddings.embedding_dim, config.hidden_dim)}
        | discriminator
    )


def _write_albert(config):
    values = _write_bert(config)
    return {name: value for name, value in values.items() if name != "classifier_dropout"} | {
        "embedding_size": config.embeddings.embedding_dim,
        "num_hidden_groups": config.encoder.num_distinct,
        "classifier_dropout_prob": config.pooler.dropout,
    }


def _write_mpnet(config):
    return {
        name: value
        for name, value in _write_bert(config).items()
        if name not in ("type_vocab_size", "classifier_dropout")
    }


def _write_modernbert(config):
    stack, transform = config.encoder, config.head.transform
    block, attentions = stack.block, stack.attentions
    kinds = written_layer_types(stack)
    bases = {kind: each.positions.base for kind, each in zip(kinds, attentions, strict=True)}
    windows = {each.window for each in attentions if each.window is not None} or {65}
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "intermediate_size": block.feed_forward.intermediate_dim,
        "num_hidden_layers": stack.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "hidden_activation": activation_name(block.feed_forward.activation),
        "norm_eps": block.norm.epsilon,
        "norm_bias": block.norm.use_bias,
        "pad_token_id": config.padding_id,
        "attention_bias": block.attention.use_bias,
        "layer_types": kinds,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        "local_attention": 2 * (windows.pop() - 1),
        "embedding_dropout": config.embeddings.dropout,
        "mlp_bias": block.feed_forward.use_bias,
        "mlp_dropout": block.feed_forward.dropout,
        "decoder_bias": config.head.use_bias,
        "classifier_pooling": {ours: theirs for theirs, ours in _POOLINGS.items()}[config.pooler.pooling],
        "classifier_dropout": config.pooler.dropout,
        "classifier_bias": transform.use_bias,
        "classifier_activation": activation_name(transform.activation),
        "tie_word_embeddings": config.head.tied,
    }


# Weights


def _weights(embeddings, layer, names, *, prefix, decoder, bias=None, more=(), shared=(), ignored=()):
    """The table of a body: the path of its embeddings, that of layer `{n}`, and the names inside a layer, in order:
    query, key, value, output, norm, up, down, norm. `decoder` is the path of the matrix of the vocabulary's head,
    `bias` the second name of its bias, if it has two."""
    ours = ("query", "key", "value", "output")
    ours = (*(f"self_attention.{part}" for part in ours), "self_attention_norm_after")
    ours = (*ours, "feed_forward.up", "feed_forward.down", "feed_forward_norm_after")
    tables = {"token": "word_embeddings", "position": "position_embeddings", "segment": "token_type_embeddings"}
    body = [
        Entry(f"embedding.{name}", f"{embeddings}.{theirs}")
        for name, theirs in (*tables.items(), ("norm", "LayerNorm"))
    ]
    body += [Entry(f"encoder.block_{{n}}.{a}", f"{layer}.{b}") for a, b in zip(ours, names, strict=True)]
    return WeightMap(
        tuple(shared),
        (f"{embeddings}.position_ids", *ignored),
        (*body, *more),
        prefix,
        () if bias is None else ((f"{decoder}.bias", bias),),
        scores=((f"{decoder}.weight", f"{prefix}{embeddings}.word_embeddings.weight"),),
    )


_LAYER = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm"),
    *("intermediate.dense", "output.dense", "output.LayerNorm"),
)
_POOLER = Entry("pooler.transform.dense", "pooler.dense")


def _vocabulary(dense, norm, bias, decoder):
    """The entries of a head over the vocabulary; of its own matrix `decoder` where it is not tied."""
    return (
        Entry("head.transform.dense", dense),
        Entry("head.transform.norm", norm),
        Entry("head.dense", decoder),
        Entry("head", bias),
    )


def _heads(name, vocabulary, text=(), others=()):
    """The heads that most have: BERT's, with the text classifier's own layer where it is not a pooler in the body."""
    classifier = Entry("classifier", "classifier")
    return (
        Head("TextEmbedder", f"{name}Model"),
        Head("MaskedLM", f"{name}ForMaskedLM", vocabulary, others),
        Head("TextClassifier", f"{name}ForSequenceClassification", text or (classifier,)),
        Head("TokenClassifier", f"{name}ForTokenClassification", (classifier,)),
        Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", "qa_outputs"),)),
    )


_ROBERTA_VOCABULARY = _vocabulary("lm_head.dense", "lm_head.layer_norm", "lm_head", "lm_head.decoder")
_ROBERTA_TEXT = (Entry("pooler.transform.dense", "classifier.dense"), Entry("classifier", "classifier.out_proj"))
_ROBERTA_WEIGHTS = _weights(
    "embeddings",
    "encoder.layer.{n}",
    _LAYER,
    prefix="roberta.",
    decoder="lm_head.decoder",
    bias="lm_head.bias",
    ignored=("pooler.dense.{leaf}",),
)

_SUMMARY = ("type", "use_proj", "activation", "proj_to_labels", "first_dropout", "last_dropout")

register(
    by_functions(
        "bert",
        _read_bert,
        _write_bert,
        _weights(
            "embeddings",
            "encoder.layer.{n}",
            _LAYER,
            prefix="bert.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            more=(_POOLER,),
            ignored=("pooler.dense.{leaf}", "cls.seq_relationship.{leaf}"),
        ),
        _heads(
            "Bert",
            _vocabulary(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
            others=("BertForPreTraining",),
        ),
        links("bert"),
        (
            "directionality",
            *(
                f"pooler_{kind}"
                for kind in ("fc_size", "num_attention_heads", "num_fc_layers", "size_per_head", "type")
            ),
        ),
    ),
    by_functions(
        "roberta",
        _read_roberta,
        _write_bert,
        _ROBERTA_WEIGHTS,
        _heads("Roberta", _ROBERTA_VOCABULARY, _ROBERTA_TEXT),
        links("roberta"),
    ),
    *(
        by_functions(
            model_type,
            _read_xlm_roberta,
            _write_bert,
            _ROBERTA_WEIGHTS,
            _heads(name, _ROBERTA_VOCABULARY, _ROBERTA_TEXT),
            links(model_type.replace("-", "_")),
        )
        for model_type, name in (("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert"))
    ),
    by_functions(
        "distilbert",
        _read_distilbert,
        _write_distilbert,
        _weights(
            "embeddings",
            "transformer.layer.{n}",
            (
                *(f"attention.{part}" for part in ("q_lin", "k_lin", "v_lin", "out_lin")),
                *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
            ),
            prefix="distilbert.",
            decoder="vocab_projector",
        ),
        _heads(
            "DistilBert",
            _vocabulary("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector"),
            (Entry("pooler.transform.dense", "pre_classifier"), Entry("classifier", "classifier")),
        ),
        links("distilbert"),
        ("sinusoidal_pos_embds",),
        (("hidden_size", "dim"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")),
    ),
    by_functions(
        "electra",
        _read_electra,
        _write_electra,
        _weights(
            "embeddings",
            "encoder.layer.{n}",
            _LAYER,
            prefix="electra.",
            decoder="generator_lm_head",
            more=(Entry("embedding.projection", "embeddings_project"),),
        ),
        (
            *_heads(
                "Electra",
                _vocabulary(
                    *("generator_predictions.dense", "generator_predictions.LayerNorm"),
                    *("generator_lm_head", "generator_lm_head"),
                ),
                _ROBERTA_TEXT,
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
        ("generator_size", *(f"summary_{kind}" for kind in _SUMMARY)),
    ),
    by_functions(
        "albert",
        _read_albert,
        _write_albert,
        _weights(
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
        _heads(
            "Albert",
            _vocabulary("predictions.dense", "predictions.LayerNorm", "predictions", "predictions.decoder"),
            others=("AlbertForPreTraining",),
        ),
        links("albert"),
        ("down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"),
    ),
    by_functions(
        "mpnet",
        _read_mpnet,
        _write_mpnet,
        _weights(
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
        _heads("MPNet", _ROBERTA_VOCABULARY, _ROBERTA_TEXT),
        links("mpnet"),
    ),
    by_functions(
        "modernbert",
        _read_modernbert,
        _write_modernbert,
        WeightMap(
            tuple(
                Entry(f"{ours}transform.{part}", f"head.{part}")
                for ours in ("head.", "pooler.", "")
                for part in ("dense", "norm")
            ),
            ("head.dense.{leaf}", "head.norm.{leaf}"),
            (
                Entry("embedding.token", "embeddings.tok_embeddings"),
                Entry("embedding.norm", "embeddings.norm"),
                Entry(
                    tuple(f"encoder.block_{{n}}.self_attention.{part}" for part in ("query", "key", "value")),
                    "layers.{n}.attn.Wqkv",
                ),
                Entry("encoder.block_{n}.self_attention.output", "layers.{n}.attn.Wo"),
                Entry("encoder.block_{n}.self_attention_norm_before", "layers.{n}.attn_norm"),
                Entry(
                    tuple(f"encoder.block_{{n}}.feed_forward.{part}" for part in ("gate", "up")), "layers.{n}.mlp.Wi"
                ),
                Entry("encoder.block_{n}.feed_forward.down", "layers.{n}.mlp.Wo"),
                Entry("encoder.block_{n}.feed_forward_norm_before", "layers.{n}.mlp_norm"),
                Entry("encoder.norm", "final_norm"),
            ),
            "model.",
            scores=(("decoder.weight", "model.embeddings.tok_embeddings.weight"),),
        ),
        (
            Head("TextEmbedder", "ModernBertModel"),
            Head("MaskedLM", "ModernBertForMaskedLM", (Entry("head.dense", "decoder"), Entry("head", "decoder"))),
            *(
                Head(task, f"ModernBertFor{kind}", (Entry(ours, "classifier"),))
                for task, kind, ours in (
                    ("TextClassifier", "SequenceClassification", "classifier"),
                    ("TokenClassifier", "TokenClassification", "classifier"),
                    ("QuestionAnswerer", "QuestionAnswering", "span"),
                )
            ),
        ),
        links("modernbert"),
        ("max_position_embeddings", "position_embedding_type", "repad_logits_with_grad", "sparse_pred_ignore_index"),
    ),
)
