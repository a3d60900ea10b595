"""The resolved recipe of one model, in the order in which it computes."""

import math

from keras_transformers.layers.norms import LayerNorm


def explain(model):
    """What `model` computes, line by line: each embedding, norm, bias, position scheme and branch that is on, with shapes and parameter counts.

    Args:
        model: a `Backbone`, or a task, which has one.

    Returns: text of several lines.

    Example:
        >>> print(kt.explain(kt.Backbone(kt.models.transformer(100, num_layers=2, hidden_dim=32, num_heads=4))))  # doctest: +ELLIPSIS
        Backbone: ...
    """
    backbone = getattr(model, "backbone", model)
    config = backbone.config
    kind = "encoder-decoder" if backbone.encoder and backbone.decoder else "encoder" if backbone.encoder else "decoder"
    lines = [f"{type(model).__name__}: {kind}, width {config.hidden_dim}, {_count(model)} parameters, {model.dtype_policy.name}", ""]
    if backbone.encoder is not None:
        lines += _embeddings("source", backbone.embedding, config.embeddings, config)
        lines += _stack("encoder", backbone.encoder, config.encoder, config, None)
    if backbone.decoder is not None:
        shared = backbone.encoder is not None and config.decoder_embeddings is None
        name = "target" if backbone.encoder is not None else "tokens"
        lines += _embeddings(name, backbone.decoder_embedding, config.target_embeddings, config, shared)
        lines += _stack("decoder", backbone.decoder, config.decoder, config, backbone.encoder)
        head = config.head
        tied = "the target embeddings, transposed" if head.tied else f"dense {config.hidden_dim} → {config.target_embeddings.vocabulary_size}"
        lines += [f"head       {tied}{', bias' if head.use_bias else ''}  → logits [B, T, {config.target_embeddings.vocabulary_size}]"]
    return "\n".join(lines)


def _count(layer):
    return f"{sum(math.prod(weight.shape) for weight in layer.weights if weight.dtype != 'uint32'):,}"


def _norm(norm):
    offset = "" if isinstance(norm, LayerNorm) else ", 1 + scale" if norm.unit_offset else ""
    bias = ", no bias" if isinstance(norm, LayerNorm) and not norm.use_bias else ""
    return f"{type(norm).__name__}(ε={norm.epsilon:g}{offset}{bias})"


def _embeddings(name, layer, embeddings, config, shared=False):
    parts = ["the source's table" if shared else f"{embeddings.vocabulary_size} × {config.hidden_dim} ({_count(layer)})"]
    if embeddings.scale:
        parts.append(f"× √{config.hidden_dim}")
    parts.append(f"+ {embeddings.positions}" if embeddings.positions else "no positions added")
    if embeddings.norm:
        parts.append(_norm(embeddings.norm))
    if embeddings.dropout:
        parts.append(f"dropout {embeddings.dropout:g}")
    return [f"{name:<10} {', '.join(parts)}  → [B, {'S' if name == 'source' else 'T'}, {config.hidden_dim}]"]


def _stack(name, layer, stack, config, encoder):
    block, attention, feed_forward = stack.block, stack.block.attention, stack.block.feed_forward
    placement = {
        "post": "x = norm(x + f(x))",
        "pre": "x = x + f(norm(x))",
        "around": "x = x + norm(f(norm(x)))",
    }[block.norm_placement]
    head_dim = attention.head_dim or config.hidden_dim // attention.num_heads
    groups = attention.num_key_value_heads or attention.num_heads
    heads = f"{attention.num_heads} heads × {head_dim}" + ("" if groups == attention.num_heads else f", {groups} key/value heads")
    bias = "biases" if attention.use_bias else "no biases"

    def with_dropout(text, rate):
        return f"{text}, dropout {rate:g}" if rate else text

    details = [heads, bias]
    if attention.soft_cap is not None:
        details.append(f"scores capped at ±{attention.soft_cap:g}")
    self_details = [*details, str(attention.positions) if attention.positions else "no relative positions"]
    if attention.window is not None:
        self_details.append(f"window {attention.window}")
    lines = [f"{name:<10} {stack.num_layers} blocks ({_count(layer)}), each branch f: {with_dropout(placement, block.dropout)}, {_norm(block.norm)}"]
    causal = "causal " if name == "decoder" else ""
    lines.append(with_dropout(f"             {causal}self-attention   {', '.join(self_details)}", attention.dropout))
    if name == "decoder" and encoder is not None:
        lines.append(with_dropout(f"             cross-attention   {', '.join(details)}", attention.dropout))
    gate = "gated " if feed_forward.gated else ""
    bias = "biases" if feed_forward.use_bias else "no biases"
    text = f"             {gate}feed-forward   {config.hidden_dim} → {feed_forward.intermediate_dim} → {config.hidden_dim}, {feed_forward.activation}, {bias}"
    lines.append(with_dropout(text, feed_forward.dropout))
    if stack.final_norm:
        lines.append(f"             final {_norm(block.norm)}")
    return [*lines, ""]
