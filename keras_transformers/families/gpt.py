"""GPT and its relatives: decoders that normalise by LayerNorm. Data alone: `family.py` says what the records mean.

model_type   positions                     residual          what else is its own
gpt2         learned                       sequential        query, key and value in one, untransposed
gpt_neox     rotary, in part               parallel          query, key and value in one, head by head (Pythia)
gptj         rotary, in part, interleaved  parallel, shared  no biases in attention, one in the head
opt          learned, 2 rows before        sequential        in one size norms after, and narrower token vectors
bloom        ALiBi                         sequential        a norm after the embeddings
falcon       rotary, or ALiBi rounded      all three         grouped heads, query, key and value group by group
phi          rotary, in part               parallel, shared  a bias in the head
"""

import dataclasses

from keras_transformers.families.family import Family, Head, activation_name, expect_one_stack, links, register
from keras_transformers.families.patterns import repeating
from keras_transformers.families.rotary import rotary_of, rotary_values, written_scaling
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.attention import AttentionConfig, QueryKeyNorm
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Alibi, Learned, Rotary
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig

# Configurations


def _or(value, default):
    return default if value is None else value


def _read_rotary(read, context_length, *, base="rope_theta", fraction=None, default_fraction=1.0):
    """The `Rotary` of a file whose keys for the base and the turned fraction are called so."""
    defaults, called = {"rope_theta": 10000.0}, {"rope_theta": base}
    if fraction is None:
        read.expect("partial_rotary_factor", 1.0, None)
    else:
        defaults["partial_rotary_factor"], called["partial_rotary_factor"] = default_fraction, fraction
    where, values = rotary_values(read, defaults, called)
    for name, key in called.items():
        if key != name:  # some releases of transformers write both
            read.repeats(name, values[name], key)
    return rotary_of(read, values, context_length, where, partial=fraction is not None)


def _write_scaling(rotary):
    scaling = written_scaling(rotary.scaling)
    return {"rope_scaling": scaling} if scaling else {}


def _model(read, width, embeddings, stack, head, *, padding_id=None, classifier_dropout=None):
    """A `ModelConfig` of these, with what all of these families share; `classifier_dropout` is what a file that says
    none means, of a family that has a classifier of tokens."""
    expect_one_stack(read)
    dropout = 0.0
    if classifier_dropout is not None:
        usual = _or(read.optional("hidden_dropout", float), classifier_dropout)
        dropout = _or(read.optional("classifier_dropout", float), usual)
    return ModelConfig(
        width,
        embeddings,
        decoder=stack,
        head=head,
        padding_id=read.token_id("pad_token_id", padding_id),
        pooler=PoolerConfig("last", classifier_bias=False),
        token_head=TokenHeadConfig(dropout=dropout),
    )


def _read_gpt2(read):
    width = read("n_embd", 768)
    dropout = read("resid_pdrop", 0.1)
    heads, layers = read("n_head", 12), read("n_layer", 12)
    attention = AttentionConfig(
        heads, dropout=read("attn_pdrop", 0.1), scale=None if read("scale_attn_weights", True) else 1.0
    )
    pattern = ()
    if read("scale_attn_by_inverse_layer_idx", False):
        attention, pattern = repeating(_less_by_layer(attention, width, max(layers, 1)))
    feed_forward = FeedForwardConfig(
        _or(read.optional("n_inner", int), 4 * width), read.activation("activation_function", "gelu_new")
    )
    norm = LayerNorm(read("layer_norm_epsilon", 1e-5))
    return _model(
        read,
        width,
        EmbeddingsConfig(
            read("vocab_size", 50257),
            Learned(read("n_positions", 1024)),
            dropout=read("embd_pdrop", 0.1),
        ),
        StackConfig(
            layers,
            BlockConfig(attention, feed_forward, norm, "pre", dropout),
            final_norm=True,
            pattern=pattern,
        ),
        HeadConfig(read("tie_word_embeddings", True)),
        classifier_dropout=0.1,
    )


def _less_by_layer(attention, width, layers):
    """The attention of each layer, whose scores are divided by its number, counted from 1."""
    scale = max(width // max(attention.num_heads, 1), 1) ** -0.5 if attention.scale is None else attention.scale
    return [attention, *(dataclasses.replace(attention, scale=scale / (n + 1)) for n in range(1, layers))]


def _write_gpt2(config):
    embeddings, stack, block = config.embeddings, config.decoder, config.decoder.block
    return {
        "vocab_size": embeddings.vocabulary_size,
        "n_positions": embeddings.positions.max_length,
        "n_embd": config.hidden_dim,
        "n_layer": stack.num_layers,
        "n_head": block.attention.num_heads,
        "n_inner": block.feed_forward.intermediate_dim,
        "activation_function": activation_name(block.feed_forward.activation),
        "resid_pdrop": block.dropout,
        "embd_pdrop": embeddings.dropout,
        "attn_pdrop": block.attention.dropout,
        "layer_norm_epsilon": block.norm.epsilon,
        "scale_attn_weights": block.attention.scale is None,
        "scale_attn_by_inverse_layer_idx": bool(stack.pattern),
        "pad_token_id": config.padding_id,
        "classifier_dropout": config.token_head.dropout,
        "tie_word_embeddings": config.head.tied,
    }


def _read_gpt_neox(read):
    width, context_length = read("hidden_size", 6144), read("max_position_embeddings", 2048)
    heads = read("num_attention_heads", 64)
    read.repeats("head_dim", width // max(heads, 1), "hidden_size / num_attention_heads")
    rotary = _read_rotary(read, context_length, base="rotary_emb_base", fraction="rotary_pct", default_fraction=0.25)
    dropout = read("hidden_dropout", 0.0)
    attention = AttentionConfig(
        heads,
        positions=rotary,
        use_bias=read("attention_bias", True),
        dropout=read("attention_dropout", 0.0),
    )
    feed_forward = FeedForwardConfig(read("intermediate_size", 24576), read.activation("hidden_act", "gelu"))
    block = BlockConfig(
        attention,
        feed_forward,
        LayerNorm(read("layer_norm_eps", 1e-5)),
        "pre",
        dropout,
        "parallel" if read("use_parallel_residual", True) else "sequential",
    )
    return _model(
        read,
        width,
        EmbeddingsConfig(read("vocab_size", 50432), dropout=dropout, context_length=context_length),
        StackConfig(read("num_hidden_layers", 44), block, final_norm=True),
        HeadConfig(read("tie_word_embeddings", False)),
        classifier_dropout=0.1,
    )


def _write_gpt_neox(config):
    block = config.decoder.block
    attention, rotary = block.attention, block.attention.positions
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "num_hidden_layers": config.decoder.num_layers,
        "num_attention_heads": attention.num_heads,
        "intermediate_size": block.feed_forward.intermediate_dim,
        "hidden_act": activation_name(block.feed_forward.activation),
        "rotary_emb_base": rotary.base,
        "rotary_pct": rotary.fraction,
        **_write_scaling(rotary),
        "attention_bias": attention.use_bias,
        "attention_dropout": attention.dropout,
        "hidden_dropout": block.dropout,
        "classifier_dropout": config.token_head.dropout,
        "max_position_embeddings": config.embeddings.context_length,
        "layer_norm_eps": block.norm.epsilon,
        "use_parallel_residual": block.residual == "parallel",
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


def _read_gptj(read):
    width, heads = read("n_embd", 4096), read("n_head", 16)
    turned, head_dim = read("rotary_dim", 64), max(width // max(heads, 1), 1)
    if not 0 < turned <= head_dim:
        raise ValueError(f"rotary_dim: expected from 1 to {head_dim}, the width of a head, got {turned}")
    attention = AttentionConfig(
        heads,
        positions=Rotary(fraction=turned / head_dim, layout="interleaved"),
        use_bias=False,
        dropout=read("attn_pdrop", 0.0),
    )
    feed_forward = FeedForwardConfig(
        _or(read.optional("n_inner", int), 4 * width), read.activation("activation_function", "gelu_new")
    )
    block = BlockConfig(
        attention,
        feed_forward,
        LayerNorm(read("layer_norm_epsilon", 1e-5)),
        "pre",
        read("resid_pdrop", 0.0),
        "parallel_shared",
    )
    return _model(
        read,
        width,
        EmbeddingsConfig(
            read("vocab_size", 50400),
            dropout=read("embd_pdrop", 0.0),
            context_length=read("n_positions", 2048),
        ),
        StackConfig(read("n_layer", 28), block, final_norm=True),
        HeadConfig(read("tie_word_embeddings", False), use_bias=True),
    )


def _write_gptj(config):
    embeddings, block = config.embeddings, config.decoder.block
    attention = block.attention
    return {
        "vocab_size": embeddings.vocabulary_size,
        "n_positions": embeddings.context_length,
        "n_embd": config.hidden_dim,
        "n_layer": config.decoder.num_layers,
        "n_head": attention.num_heads,
        "rotary_dim": int(config.hidden_dim // attention.num_heads * attention.positions.fraction),
        "n_inner": block.feed_forward.intermediate_dim,
        "activation_function": activation_name(block.feed_forward.activation),
        "resid_pdrop": block.dropout,
        "embd_pdrop": embeddings.dropout,
        "attn_pdrop": attention.dropout,
        "layer_norm_epsilon": block.norm.epsilon,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


def _read_opt(read):
    width, before = read("hidden_size", 768), read("do_layer_norm_before", True)
    narrow = read.optional("word_embed_proj_dim", int)
    narrow = None if narrow == width else narrow
    read.expect("layer_norm_elementwise_affine", True)
    read.expect("layerdrop", 0.0)
    use_bias = read("enable_bias", True)
    attention = AttentionConfig(
        read("num_attention_heads", 12), use_bias=use_bias, dropout=read("attention_dropout", 0.0)
    )
    feed_forward = FeedForwardConfig(
        read("ffn_dim", 3072), read.activation("activation_function", "relu"), use_bias=use_bias
    )
    block = BlockConfig(attention, feed_forward, LayerNorm(1e-5), "pre" if before else "post", read("dropout", 0.1))
    without = read("_remove_final_layer_norm", False)
    return _model(
        read,
        width,
        EmbeddingsConfig(
            read("vocab_size", 50272),
            Learned(read("max_position_embeddings", 2048), offset=2),
            embedding_dim=narrow,
            projected="sum" if narrow is None else "tokens",
        ),
        StackConfig(read("num_hidden_layers", 12), block, final_norm=before and not without, output_dim=narrow),
        HeadConfig(read("tie_word_embeddings", True)),
        padding_id=1,
    )


def _write_opt(config):
    stack, block = config.decoder, config.decoder.block
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "word_embed_proj_dim": config.output_dim,
        "num_hidden_layers": stack.num_layers,
        "ffn_dim": block.feed_forward.intermediate_dim,
        "max_position_embeddings": config.embeddings.positions.max_length,
        "do_layer_norm_before": block.norm_placement == "pre",
        "_remove_final_layer_norm": block.norm_placement == "pre" and not stack.final_norm,
        "dropout": block.dropout,
        "attention_dropout": block.attention.dropout,
        "num_attention_heads": block.attention.num_heads,
        "activation_function": activation_name(block.feed_forward.activation),
        "enable_bias": block.attention.use_bias,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


def _read_bloom(read):
    read.expect("apply_residual_connection_post_layernorm", False)
    read.expect("slow_but_exact", False)  # it would leave out biases
    width, dropout = read("hidden_size", 64), read("hidden_dropout", 0.0)
    attention = AttentionConfig(
        read("n_head", 8),
        positions=Alibi(),
        dropout=read("attention_dropout", 0.0),
    )
    norm = LayerNorm(read("layer_norm_epsilon", 1e-5))
    block = BlockConfig(attention, FeedForwardConfig(4 * width, "gelu_tanh"), norm, "pre", dropout)
    return _model(
        read,
        width,
        EmbeddingsConfig(read("vocab_size", 250880), norm=norm),
        StackConfig(read("n_layer", 2), block, final_norm=True),
        HeadConfig(read("tie_word_embeddings", True)),
        classifier_dropout=dropout,
    )


def _write_bloom(config):
    block = config.decoder.block
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "n_layer": config.decoder.num_layers,
        "n_head": block.attention.num_heads,
        "layer_norm_epsilon": block.norm.epsilon,
        "hidden_dropout": block.dropout,
        "attention_dropout": block.attention.dropout,
        "classifier_dropout": config.token_head.dropout,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


def _read_falcon(read):
    read.expect("attention_dropout", 0.0)  # where it is dropped depends on the rest
    width, heads = read("hidden_size", 4544), read("num_attention_heads", 71)
    context_length = read("max_position_embeddings", 2048)
    rotary, use_bias = _read_rotary(read, context_length), read("bias", False)
    new, parallel = read("new_decoder_architecture", False), read("parallel_attn", True)
    if new:
        groups = read.optional("num_kv_heads", int) or heads
        read.expect("parallel_attn", True)
        read("multi_query", True)
        norms = _or(read.optional("num_ln_in_parallel_attn", int), 2)
        read.expect("num_ln_in_parallel_attn", None, 1, 2)
        residual = "parallel" if norms == 2 else "parallel_shared"
    else:
        groups = 1 if read("multi_query", True) else heads
        told = read.optional("num_kv_heads", int)
        if told not in (None, heads, groups):
            raise ValueError(f"num_kv_heads: only num_attention_heads={heads} is supported here, got {told}")
        read.expect("num_ln_in_parallel_attn", None, 1)
        residual = "parallel_shared" if parallel else "sequential"
    attention = AttentionConfig(
        heads, groups, positions=Alibi(rounded=True) if read("alibi", False) else rotary, use_bias=use_bias
    )
    feed_forward = FeedForwardConfig(
        _or(read.optional("ffn_hidden_size", int), 4 * width), read.activation("activation", "gelu"), use_bias=use_bias
    )
    norm, dropout = LayerNorm(read("layer_norm_epsilon", 1e-5)), read("hidden_dropout", 0.0)
    return _model(
        read,
        width,
        EmbeddingsConfig(read("vocab_size", 65024), context_length=context_length),
        StackConfig(
            read("num_hidden_layers", 32),
            BlockConfig(attention, feed_forward, norm, "pre", dropout, residual),
            final_norm=True,
        ),
        HeadConfig(read("tie_word_embeddings", True)),
        classifier_dropout=dropout,
    )


def _write_falcon(config):
    block = config.decoder.block
    attention = block.attention
    heads, groups, positions = attention.num_heads, attention.num_key_value_heads, attention.positions
    rotary = Rotary() if isinstance(positions, Alibi) else positions
    new = block.residual == "parallel" or groups not in (1, heads)
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "num_hidden_layers": config.decoder.num_layers,
        "num_attention_heads": heads,
        "num_ln_in_parallel_attn": (2 if block.residual == "parallel" else 1) if new else None,
        "layer_norm_epsilon": block.norm.epsilon,
        "hidden_dropout": block.dropout,
        "classifier_dropout": config.token_head.dropout,
        "num_kv_heads": groups if new else heads,
        "alibi": isinstance(positions, Alibi),
        "new_decoder_architecture": new,
        "multi_query": new or groups == 1,
        "parallel_attn": block.residual != "sequential",
        "bias": attention.use_bias,
        "max_position_embeddings": config.embeddings.context_length,
        "rope_theta": rotary.base,
        **_write_scaling(rotary),
        "ffn_hidden_size": block.feed_forward.intermediate_dim,
        "activation": activation_name(block.feed_forward.activation),
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


def _read_phi(read):
    norm = LayerNorm(read("layer_norm_eps", 1e-5))
    heads, context_length = read("num_attention_heads", 32), read("max_position_embeddings", 2048)
    rotary = _read_rotary(read, context_length, fraction="partial_rotary_factor", default_fraction=0.5)
    width = read("hidden_size", 2048)
    read.repeats("head_dim", width // max(heads, 1), "hidden_size / num_attention_heads")
    attention = AttentionConfig(
        heads,
        read.optional("num_key_value_heads", int) or heads,
        positions=rotary,
        dropout=read("attention_dropout", 0.0),
        query_key_norm=QueryKeyNorm(norm) if read("qk_layernorm", False) else None,
    )
    feed_forward = FeedForwardConfig(read("intermediate_size", 8192), read.activation("hidden_act", "gelu_new"))
    block = BlockConfig(
        attention,
        feed_forward,
        norm,
        "pre",
        read("resid_pdrop", 0.0),
        "parallel_shared",
    )
    return _model(
        read,
        width,
        EmbeddingsConfig(read("vocab_size", 51200), dropout=read("embd_pdrop", 0.0), context_length=context_length),
        StackConfig(read("num_hidden_layers", 24), block, final_norm=True),
        HeadConfig(read("tie_word_embeddings", False), use_bias=True),
        classifier_dropout=0.1,
    )


def _write_phi(config):
    embeddings, block = config.embeddings, config.decoder.block
    attention, rotary = block.attention, block.attention.positions
    return {
        "vocab_size": embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "intermediate_size": block.feed_forward.intermediate_dim,
        "num_hidden_layers": config.decoder.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "resid_pdrop": block.dropout,
        "embd_pdrop": embeddings.dropout,
        "attention_dropout": attention.dropout,
        "classifier_dropout": config.token_head.dropout,
        "hidden_act": activation_name(block.feed_forward.activation),
        "max_position_embeddings": embeddings.context_length,
        "layer_norm_eps": block.norm.epsilon,
        "rope_theta": rotary.base,
        "partial_rotary_factor": rotary.fraction,
        **_write_scaling(rotary),
        "qk_layernorm": attention.query_key_norm is not None,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }


# Weights

_FUSED = ("self_attention.query", "self_attention.key", "self_attention.value")
_PARTS = {
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
    embeddings,
    layer,
    names,
    norm,
    *,
    projection=None,
    prefix="transformer.",
    groups=1,
    transposed=True,
    ignored=(),
    heads=("lm_head",),
):
    """The table of a body: what its embeddings are called, the path of layer `{n}`, the names of its parts, the norm
    after the last, and a projection after that; `groups` is how many lie side by side in a fused projection, and
    `heads` what files call the matrix of the head over the vocabulary, the usual name last."""
    body = [Entry(f"embedding.{ours}", theirs) for ours, theirs in embeddings.items()]
    for part, name in names.items():
        ours = tuple(f"decoder.block_{{n}}.{each}" for each in _several(_PARTS[part]))
        if part == "fused":
            body.append(Entry(ours, f"{layer}.{name}", transposed, groups))
        else:  # a norm stands before or after
            body += [Entry(each, f"{layer}.{name}", transposed) for each in ours]
    body.append(Entry("decoder.norm", norm))
    if projection is not None:
        body.append(Entry("decoder.projection", projection))
    *others, usual = heads
    copies = tuple((f"{name}.weight", f"{usual}.weight") for name in others)
    scores = tuple((f"{name}.weight", f"{prefix}{embeddings['token']}.weight") for name in heads)
    return WeightMap((), ignored, tuple(body), prefix, copies, scores=scores)


def _several(paths):
    return paths if isinstance(paths, tuple) else (paths,)


_SUMMARY = tuple(
    f"summary_{kind}" for kind in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout", "last_dropout")
)
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


def _gpt_neox_weights(config):
    groups, ignored = config.decoder.block.attention.num_heads, ("bias", "masked_bias", "rotary_emb.inv_freq")
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


def _bloom_weights(config):
    embeddings = {"token": "word_embeddings", "norm": "word_embeddings_layernorm"}
    return _weights(embeddings, "h.{n}", _BLOOM, "ln_f", groups=config.decoder.block.attention.num_heads)


def _falcon_weights(config):
    block = config.decoder.block
    return _weights(
        {"token": "word_embeddings"},
        "h.{n}",
        _FALCON if block.residual == "parallel" else _BLOOM,
        "ln_f",
        groups=block.attention.num_key_value_heads,
        ignored=("h.{n}.self_attention.rotary_emb.inv_freq",),
    )


def _heads(name, language_model="ForCausalLM", vocabulary="lm_head", tokens=None, spans="qa_outputs"):
    """The heads that most have, and one of tokens, or of an answer's ends, where its tensor is called something."""
    heads = (
        Head("TextEmbedder", f"{name}Model"),
        Head("CausalLM", f"{name}{language_model}", (Entry("head.dense", vocabulary), Entry("head", vocabulary))),
        Head("TextClassifier", f"{name}ForSequenceClassification", (Entry("classifier", "score"),)),
    )
    if tokens is not None:
        heads += (Head("TokenClassifier", f"{name}ForTokenClassification", (Entry("classifier", tokens),)),)
    if spans is not None:
        heads += (Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", spans),)),)
    return heads


_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

register(
    Family(
        "gpt2",
        _read_gpt2,
        _write_gpt2,
        _weights({"token": "wte", "position": "wpe"}, "h.{n}", _GPT2, "ln_f", transposed=False, ignored=_MASKS),
        _heads("GPT2", "LMHeadModel", tokens="classifier"),
        links("gpt2"),
        (
            "is_decoder",
            "n_ctx",
            "reorder_and_upcast_attn",
            *_SUMMARY,
        ),
        tuple(_NAMES.items()),
    ),
    Family(
        "gpt_neox",
        _read_gpt_neox,
        _write_gpt_neox,
        _gpt_neox_weights,
        _heads("GPTNeoX", vocabulary="embed_out", tokens="classifier"),
        links("gpt_neox"),
        ("is_decoder", "attention_probs_dropout_prob", "hidden_dropout_prob"),
    ),
    Family(
        "gptj",
        _read_gptj,
        _write_gptj,
        _weights({"token": "wte"}, "h.{n}", _GPTJ, "ln_f", ignored=_MASKS),
        _heads("GPTJ"),
        links("gptj"),
        ("is_decoder", "n_ctx", "rotary", "scale_attn_weights", *_SUMMARY),
        tuple(_NAMES.items()),
    ),
    Family(
        "opt",
        _read_opt,
        _write_opt,
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
        ("is_decoder", "init_std", "activation_dropout"),
    ),
    Family(
        "bloom",
        _read_bloom,
        _write_bloom,
        _bloom_weights,
        _heads("Bloom", tokens="classifier"),
        links("bloom"),
        (
            *("is_decoder", "pretraining_tp", "n_inner", "seq_length", "offset_alibi", "attention_softmax_in_fp32"),
            *("bias_dropout_fusion", "masked_softmax_fusion", "skip_bias_add", "skip_bias_add_qkv"),
        ),
        (("n_embed", "hidden_size"), ("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer")),
    ),
    Family(
        "falcon",
        _read_falcon,
        _write_falcon,
        _falcon_weights,
        _heads("Falcon", tokens="classifier"),
        links("falcon"),
        ("is_decoder", "apply_residual_connection_post_layernorm", "ff_factor"),
        (("n_embed", "hidden_size"),),
    ),
    Family(
        "phi",
        _read_phi,
        _write_phi,
        _weights({"token": "embed_tokens"}, "layers.{n}", _PHI, "final_layernorm", prefix="model."),
        _heads("Phi", tokens="score", spans=None),
        links("phi"),
        ("is_decoder",),
    ),
)
