"""A readable description of a model, in the order of its computation."""

import collections.abc
import dataclasses
import math
import typing

import keras

from keras_transformers.layers.attention import BIASES, AttentionConfig, QueryKeyNorm
from keras_transformers.layers.blocks import NORM_PLACEMENTS
from keras_transformers.layers.embeddings import EmbeddingsConfig, PositionalEmbedding
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.layers.fourier import Fourier
from keras_transformers.layers.grouped import AttentionGroups, FeedForwardGroups
from keras_transformers.layers.heads import Pooler, Transform
from keras_transformers.layers.norms import Affine, LayerNorm, Norm
from keras_transformers.layers.projections import Normalize, Projection, Step, width_after
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models import changes
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import arguments_of

Lines: typing.TypeAlias = collections.abc.Iterator[str]


def explain(model: typing.Any) -> str:
    """Describe a model line by line: each of its embeddings, norms, biases, position schemes and branches, with shapes
    and parameter counts.

    Args:
        model: a `Backbone` or a task.

    Returns: text of several lines.

    Example:
        >>> print(kt.explain(kt.Seq2SeqLM.from_preset("english-french")))
    """
    backbone = getattr(model, "backbone", model)
    if not isinstance(getattr(backbone, "config", None), ModelConfig):
        raise TypeError(f"Expected a Backbone or a task, got {type(model).__name__}. Build it first: Backbone(config).")
    config, head = backbone.config, backbone.config.head
    lines = [_line(f"{type(model).__name__}:", f"width {config.hidden_dim}", _size(model), model.dtype_policy.name), ""]
    if backbone.encoder is not None:
        lines += [_embeddings("source", backbone.embedding, config.embeddings), *_stack("encoder", backbone, config)]
    if backbone.decoder is not None:
        if backbone.encoder is not None and config.decoder_embeddings is None:
            lines.append(_line("target", "the source's embeddings"))
        else:
            lines.append(_embeddings("target", backbone.decoder_embedding, config.target_embeddings))
        if config.reading is not None:
            start = "its last token" if config.reading.start_id is None else f"token {config.reading.start_id}"
            lines.append(_line("", f"  where no target is given, the source after {start}"))
        lines += _stack("decoder", backbone, config)
    if backbone.decoder is not None and hasattr(model, "head"):
        matrix = "the target embeddings transposed" if head.tied else "its own matrix"
        size = config.target_embeddings.vocabulary_size
        lines.append(_line("head", f"{config.output_dim} → {size}", matrix, _bias(head), _cap(head)))
    elif backbone is not model:
        lines += _heads(model, config)
    lines += _transforms(changes.describe(model))
    return "\n".join(lines)


def _transforms(described: dict[str, typing.Any]) -> Lines:
    """Lines for changes of a built model: quantized layers and adapters."""

    def layers(names: collections.abc.Collection[str]) -> str:
        return f"{len(names)} layers ({', '.join(sorted({name.rpartition('.')[2] for name in names}))})"

    for each in described.get("quantization", ()):
        yield _line(each["mode"], layers(each["layers"]), "activations too" if each["activations"] else "")
    lora = described.get("lora", {"adapters": (), "trained": ()})
    for each in lora["adapters"]:
        parts = f"of rank {each['rank']}", f"times {each['scale']:g}", _dropout(each["dropout"])
        yield _line("adapters", f"beside {layers(each['layers'])}", *parts)
    if lora["trained"]:
        yield _line("trained", "whole: " + ", ".join(lora["trained"]))


def _cap(head: typing.Any) -> str:
    scaled = ["of states over the root of their width"] if head.scale else []
    return ", ".join(scaled + ([] if head.soft_cap is None else [f"scores capped at ±{head.soft_cap:g}"]))


def _heads(model: typing.Any, config: ModelConfig) -> Lines:
    """Lines for the layers that a task adds for reading texts, in order."""
    width = config.output_dim
    pooler, head, labels = (getattr(model, name, None) for name in ("pooler", "head", "labels"))
    if pooler is not None:
        yield _pooler(pooler, model, config)
        width *= len(pooler.poolings) if labels is None else 1
    for step in getattr(model, "projections", ()):
        yield _step(step, width)
        width = width_after([step], width)
    if getattr(model, "transform", None) is not None:
        yield _line("transform", _transform(model.transform, width))
    rate = getattr(getattr(model, "dropout", None), "rate", 0)
    dropped = f"after {_dropout(rate)}" if rate else ""
    if labels is not None:
        names = ", ".join(labels[:8]) + (f", … {labels[-1]}" if len(labels) > 8 else "")
        sizes, bias = f"{width} → {len(labels)}", _bias(model.classifier)
        yield _line("classifier", sizes, bias, dropped, f"{model.problem}: {names}")
    if hasattr(model, "span"):
        yield _line("span", f"{width} → 2", "bias", dropped, "first and last token of the answer")
    if head is not None:
        matrix = "the embeddings transposed" if head.tied else "its own matrix"
        inner = width if head.wide is not None else config.head_dim or width
        size = f"{inner} → {head.vocabulary_size}"
        yield _line("head", _transform(head.transform, inner), size, matrix, _bias(head), _cap(head))


def _step(step: Step, width: int) -> str:
    """The line for a step after the pooling."""
    if not isinstance(step, Projection):
        return _line("projection", "of length 1" if isinstance(step, Normalize) else _norm(step))
    bias, added = "bias" if step.use_bias else "no bias", "added to its input" if step.residual else ""
    return _line("projection", f"{width} → {step.output_dim}", bias, step.activation, added)


def _pooler(pooler: Pooler, model: typing.Any, config: ModelConfig) -> str:
    end_id = config.pooler.end_id if config.pooler is not None and getattr(model, "labels", None) is not None else None
    shown = {
        "first": "the first token",
        "last": "the last token" if end_id is None else f"the last token {end_id}",
        "mean": "the mean of all tokens",
        "max": "the maxima of all tokens",
        "mean_sqrt_length": "the sum of all tokens over the root of their number",
        "weighted_mean": "the mean of all tokens weighted by position",
    }
    return _line(
        "pooler",
        " and ".join(shown[each] for each in pooler.poolings),
        _dropout(pooler.input_dropout.rate),
        "of each token's" if pooler.by_token else "",
        _transform(pooler.transform, config.output_dim),
        _dropout(pooler.dropout.rate),
        "of length 1" if getattr(model, "normalize", False) else "",
    )


def _transform(transform: Transform | None, width: int) -> str:
    if transform is None:
        return ""
    config = transform.config
    bias = "" if config.use_bias else "no bias"
    return ", ".join(
        part for part in (f"dense → {width}", bias, config.activation, config.norm and _norm(config.norm)) if part
    )


def _line(label: str, *parts: str | None) -> str:
    return f"{label:<10} {', '.join(part for part in parts if part)}"


def _size(layer: keras.layers.Layer) -> str:
    count = sum(math.prod(weight.shape) for weight in layer.weights if "seed_generator" not in weight.path)
    return f"{count:,} parameters"


def _dropout(rate: float) -> str:
    return f"dropout {rate:g}" if rate else ""


def _brief(record: typing.Any) -> str:
    """A record with only the fields that differ from their defaults."""
    shown = [
        f"{field.name}={getattr(record, field.name)!r}"
        for field in dataclasses.fields(record)
        if field.default is dataclasses.MISSING or getattr(record, field.name) != field.default
    ]
    return f"{type(record).__name__}({', '.join(shown)})"


def _norm(norm: Norm) -> str:
    if isinstance(norm, Affine):
        return "a scale and a shift of each channel"
    if isinstance(norm, LayerNorm):
        return f"LayerNorm ε={norm.epsilon:g}{'' if norm.use_bias else ' without bias'}"
    return f"RMSNorm ε={norm.epsilon:g}{' with unit offset' if norm.unit_offset else ''}"


def _bias(layer: typing.Any) -> str:
    return "bias" if layer.use_bias else "no bias"


def _biases(use_bias: bool | str) -> str:
    return BIASES[use_bias]


def _query_key_norm(norm: QueryKeyNorm | None) -> str:
    if norm is None:
        return ""
    place = " after their rotation" if norm.after_rotation else ""
    how = "head by head" if norm.by_head else "over their width"
    return f"queries and keys normalised {how}{place} ({_norm(norm.norm)})"


def _residual(residual: str) -> str:
    return {
        "sequential": "",
        "parallel": "both branches read the block's input",
        "parallel_shared": "both branches read the block's input, through one norm",
    }[residual]


def _positions(attention: AttentionConfig) -> tuple[str, ...]:
    """The positions, window and scale of an attention: the layers of a stack may differ in these."""
    positions = _brief(attention.positions) if attention.positions else "no relative positions"
    return positions, f"window {attention.window}" if attention.window is not None else "", _scale(attention)


def _scale(attention: AttentionConfig) -> str:
    return f"scores times {attention.scale:g}" if attention.scale is not None else ""


def _groups(groups: AttentionGroups | FeedForwardGroups | None) -> str:
    shown = [] if groups is None else [f"{name} {count}" for name, count in arguments_of(groups).items()]
    return f"groups of channels: {', '.join(shown)}" if shown else ""


def _experts(experts: ExpertsConfig | None) -> str:
    if experts is None:
        return ""
    shares = "" if experts.normalize else ", by their shares of all"
    bias = ", and one bias" if experts.output_bias else ""
    masked = f", outputs × {1 - experts.output_masking:g}" if experts.output_masking else ""
    return f"{experts.num_chosen} of {experts.num_experts} experts for each token{shares}{bias}{masked}"


_PROJECTED = {"sum": "then projected", "sum_before_norm": "projected before the norm"}


def _embeddings(label: str, layer: PositionalEmbedding, embeddings: EmbeddingsConfig) -> str:
    return _line(
        label,
        f"{embeddings.vocabulary_size} → {layer.hidden_dim} ({_size(layer)})",
        "the source's token vectors" if embeddings.shared_tokens else "",
        f"times √{layer.embedding_dim}" if embeddings.scale else "",
        f"zeros for token {embeddings.zero_id}" if embeddings.zero_id is not None else "",
        f"projected from {embeddings.embedding_dim}" if embeddings.projected == "tokens" else "",
        f"of three tokens, projected from {embeddings.embedding_dim} each"
        if embeddings.projected == "trigrams"
        else "",
        f"plus {_brief(embeddings.positions)}" if embeddings.positions else "no positions added",
        f"plus {embeddings.num_segments} segments" if embeddings.num_segments else "",
        f"plus {embeddings.num_tasks} tasks" if embeddings.num_tasks else "",
        f"{embeddings.embedding_dim} wide, {_PROJECTED[embeddings.projected]}" if layer.projection is not None else "",
        _norm(embeddings.norm) if embeddings.norm else "",
        _dropout(embeddings.dropout),
    )


def _layers(of_layers: tuple, one: typing.Any) -> str:
    """The numbers of the layers whose value is `one`."""
    numbers = [str(n) for n, other in enumerate(of_layers) if other == one]
    return ", ".join(numbers[:8] + ["…"] * (len(numbers) > 8))


def _stack(label: str, backbone: typing.Any, config: ModelConfig) -> Lines:
    layer, stack = getattr(backbone, label), getattr(config, label)
    yield _line(
        label,
        f"{stack.num_layers} blocks of branches f ({_size(layer)}): {NORM_PLACEMENTS[stack.block.norm_placement]}",
        _residual(stack.block.residual),
        _norm(stack.block.norm),
        _dropout(stack.block.dropout),
        f"whole blocks left out {stack.layer_dropout:g}" if stack.layer_dropout else "",
    )
    if stack.bottleneck is not None:
        narrow, layers = stack.bottleneck.dim, stack.bottleneck.num_feed_forwards
        yield _line("", f"  narrowed to {narrow} within a block, with {layers} feed-forward layers in a row")
    width = config.hidden_dim if stack.bottleneck is None else stack.bottleneck.dim
    yield from _attentions(label, stack, backbone, width)
    yield from _feed_forwards(stack, width)
    if stack.convolution is not None:
        size, activation = stack.convolution.kernel_size, stack.convolution.activation
        yield _line("", f"  convolution of the input over {size} tokens, added after the first block", activation)
    if stack.final_norm:
        yield _line("", f"  then {_norm(stack.block.norm)}")
    if stack.output_dim is not None:
        yield _line("", f"  then {config.hidden_dim} → {stack.output_dim}", _biases(False))
    yield ""


def _attentions(label: str, stack: StackConfig, backbone: typing.Any, width: int) -> Lines:
    attention = stack.block.attention
    if isinstance(attention, Fourier):
        yield _line("", "  Fourier transform over tokens and channels")
        return
    heads, key_value_heads = attention.num_heads, attention.num_key_value_heads or attention.num_heads
    shared = (
        f"{heads} heads of {attention.head_dim or width // heads}",
        f"{key_value_heads} key/value heads" if key_value_heads != heads else "",
        _biases(attention.use_bias),
        _groups(attention.groups),
        _query_key_norm(attention.query_key_norm),
        f"scores capped at ±{attention.soft_cap:g}" if attention.soft_cap is not None else "",
        f"{attention.global_tokens} global tokens" if attention.global_tokens else "",
        *(_brief(each) for each in (attention.blocks, attention.convolution) if each is not None),
        _dropout(attention.dropout),
    )
    causal = "causal " if label == "decoder" and not stack.bidirectional else ""
    positions = () if stack.pattern else _positions(attention)
    if stack.block.recurrence is None:
        yield _line("", f"  {causal}self-attention: {shared[0]}", *shared[1:], *positions)
    else:
        yield _line("", "  simpler simple recurrent unit (SSRU) in the place of self-attention")
    pattern: tuple[typing.Any, ...] = stack.attentions if stack.pattern else ()
    for each in dict.fromkeys(pattern):
        first, *rest = _positions(each)
        yield _line("", f"    in layers {_layers(stack.attentions, each)}: {first}", *rest)
    if label == "decoder" and backbone.encoder is not None:
        yield _line("", f"  cross-attention: {shared[0]}", *shared[1:], _scale(attention))


def _feed_forwards(stack: StackConfig, width: int) -> Lines:
    for each in dict.fromkeys(stack.feed_forwards):
        where = f" in layers {_layers(stack.feed_forwards, each)}" if stack.feed_forward_pattern else ""
        yield _line(
            "",
            f"  {'gated ' if each.gated else ''}feed-forward{where}: {width} → {each.intermediate_dim} → {width}",
            each.activation,
            _biases(each.use_bias),
            _groups(each.groups),
            _experts(each.experts),
            _dropout(each.dropout),
        )
