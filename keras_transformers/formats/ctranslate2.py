"""Export of encoder-decoders to CTranslate2 folders, for fast translation without Keras.

CTranslate2 has its own specification of Transformers, and a converter that checks, quantizes and writes it. This module
fills the specification from the model's records and weights, so a model needs no family. Why the export does not go
through Hugging Face files: docs/decisions/0019. Features that the specification lacks are refused by name.

    this library                                 CTranslate2
    embedding.token, decoder_embedding.token     encoder.embeddings, decoder.embeddings
    positions: Learned, Sinusoidal               position_encodings.encodings, as a table from the first token on
    positions: RelativeBuckets                   relative_attention_bias
    query, key, value                            self_attention.linear[0]; attention.linear[0] and [1]
    output                                       linear[-1]
    gate, up, down; up, down                     ffn.linear_0, linear_0_noact, linear_1; linear_0, linear_1
"""

import dataclasses
import math
import os
import pathlib
import shutil
import tempfile
import typing
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from keras_transformers.extras import require
from keras_transformers.formats import preset
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.positions import Learned, RelativeBuckets, Sinusoidal
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models import changes
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.vocabularies import Vocabularies
from keras_transformers.transforms.lora import merged_weights

ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "gelu_tanh": "GELUTanh", "silu": "SWISH", "tanh": "Tanh"}
MODEL = "model.bin"
VOCABULARY_MAP = "vmap.txt"
# The bias of tokens that are never generated, far below any logit.
NEVER = -1e9

# Fields that the specification expresses, or that matter in training only. All others must have their defaults.
_SAID = {
    "ModelConfig": "hidden_dim embeddings encoder decoder decoder_embeddings head padding_id pooler token_head "
    "span_head reading",
    "EmbeddingsConfig": "vocabulary_size positions scale norm dropout context_length shared_tokens zero_id",
    "StackConfig": "num_layers block final_norm layer_dropout final_dropout",
    "BlockConfig": "attention feed_forward norm norm_placement dropout",
    "AttentionConfig": "num_heads head_dim positions use_bias dropout scale",
    "FeedForwardConfig": "intermediate_dim activation gated use_bias dropout",
    "HeadConfig": "tied use_bias scale",
}


def export(task: typing.Any, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
    """Write a task's model as a CTranslate2 folder. See `Seq2SeqLM.export_ctranslate2`."""
    require("ctranslate2", ctranslate2=True)
    import ctranslate2

    class Converter(ctranslate2.converters.Converter):
        def _load(self) -> typing.Any:
            return specification(task)

    preset.check_replaceable(folder, MODEL)
    with tempfile.TemporaryDirectory() as scratch:
        made = pathlib.Path(Converter().convert(str(pathlib.Path(scratch) / "model"), quantization=quantization))
        files: dict[str, typing.Any] = {file.name: _copier(file) for file in made.iterdir()}
        if task.shortlist is not None:
            files[VOCABULARY_MAP] = vocabulary_map(task)
        preset.save_folder(folder, {**files, **task.tokenizer.files()}, marker=MODEL)


def _copier(file: pathlib.Path) -> Callable[[pathlib.Path], typing.Any]:
    return lambda path: shutil.copyfile(file, path)


def vocabulary_map(task: typing.Any) -> bytes:
    """A task's lexical shortlist as CTranslate2 reads it: a line for each source token, with its target tokens. The
    line without a source token has those that each sentence may use."""
    shortlist, shared = task.shortlist, Vocabularies.of(task.config).shared
    sources = _tokens(task.tokenizer, task.config.embeddings.vocabulary_size)
    targets = _tokens(task.tokenizer, task.config.target_embeddings.vocabulary_size, target=True)
    lines = ["\t" + " ".join(targets[: shortlist.first])]
    for number in range(shortlist.num_sources):
        words = shortlist.tokens[shortlist.offsets[number] : shortlist.offsets[number + 1]].tolist()
        words += [number] if shared and number < len(targets) else []
        lines.append(f"{sources[number]}\t{' '.join(targets[each] for each in words)}")
    return "".join(f"{line}\n" for line in lines).encode()


def specification(task: typing.Any) -> typing.Any:
    """Return a `ctranslate2.specs.TransformerSpec` filled from a `Seq2SeqLM`.

    Raises:
        ValueError: listing all features of the model that CTranslate2 lacks.
    """
    import ctranslate2

    config, generation = task.config, task.generation
    problems = _problems(config, generation)
    if "quantization" in changes.describe(task):
        problems.append("quantized weights")
    if problems:
        raise ValueError(
            f"Expected a model that CTranslate2 can express, got {'; '.join(problems)}. Save it with save_to_preset "
            "instead."
        )
    weights = {name: keras.ops.convert_to_numpy(weight) for name, weight in merged_weights(task).items()}
    weights = {name: array.astype("float32") for name, array in weights.items()}
    encoder, decoder = (
        _stack(ctranslate2, side, getattr(config, side), embeddings)
        for side, embeddings in (("encoder", config.embeddings), ("decoder", config.target_embeddings))
    )
    spec = ctranslate2.specs.TransformerSpec(encoder, decoder)
    own = config.decoder_embeddings is not None
    layer = task.backbone.embedding
    _embed(encoder, encoder.embeddings[0], "embedding", config.embeddings, layer, weights, config)
    side = "decoder_embedding" if own else "embedding"
    layer = task.backbone.decoder_embedding if own else layer
    _embed(decoder, decoder.embeddings, side, config.target_embeddings, layer, weights, config)
    for name, stack in (("encoder", encoder), ("decoder", decoder)):
        _fill_stack(stack, name, getattr(config, name), weights)
    _project(decoder, task, weights)
    tokens = _tokens(task.tokenizer, config.embeddings.vocabulary_size)
    target_tokens = _tokens(task.tokenizer, config.target_embeddings.vocabulary_size, target=True)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(target_tokens)
    spec.config.layer_norm_epsilon = config.encoder.block.norm.epsilon
    spec.config.unk_token = task.tokenizer.unknown_token or task.tokenizer.padding_token
    spec.config.bos_token = task.tokenizer.start_token or task.tokenizer.padding_token
    spec.config.eos_token = target_tokens[generation.end_ids[0]]
    spec.config.decoder_start_token = target_tokens[generation.start_id]
    return spec


def _problems(config: ModelConfig, generation: typing.Any) -> list[str]:
    """List all features of a model that the specification lacks."""
    problems: list[str] = []
    _compare(config, "", problems)
    for name in ("encoder", "decoder"):
        block = getattr(config, name).block
        if block.norm_placement not in ("post", "pre"):
            problems.append(f"{name}.block.norm_placement={block.norm_placement!r}")
        if block.feed_forward.activation not in ACTIVATIONS:
            problems.append(f"{name}.block.feed_forward.activation={block.feed_forward.activation!r}")
        if not isinstance(block.attention.positions, RelativeBuckets | None):
            problems.append(f"{name}.block.attention.positions={block.attention.positions}")
    normed: list[typing.Any] = [
        *(stack.block for stack in (config.encoder, config.decoder) if stack is not None),
        config.embeddings,
    ]
    norms = {each.norm for each in (*normed, config.target_embeddings) if each.norm is not None}
    if len(norms) > 1:
        problems.append(f"norms of several kinds: {', '.join(map(str, norms))}")
    for norm in norms:
        if type(norm).__name__ not in ("LayerNorm", "RMSNorm") or getattr(norm, "unit_offset", False):
            problems.append(f"norm={norm}")
    if generation.start_id is None:
        problems.append("generation.start_id=None")
    if len(generation.end_ids) != 1:
        problems.append(f"generation.end_ids={generation.end_ids}, where one is expected")
    return problems


def _compare(record: typing.Any, path: str, problems: list[str]) -> None:
    """Add to `problems` the fields of a record, and of records in it, that are neither in `_SAID` nor at defaults."""
    said = _SAID.get(type(record).__name__)
    if said is None:
        return
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in said.split():
            if type(record).__name__ != "ModelConfig" or field.name not in ("pooler", "token_head", "span_head"):
                _compare(value, f"{path}{field.name}.", problems)
        elif value != field.default:
            problems.append(f"{path}{field.name}={value!r}")


def _stack(ctranslate2: typing.Any, side: str, stack: StackConfig, embeddings: EmbeddingsConfig) -> typing.Any:
    """Return an empty specification of one stack."""
    from ctranslate2.specs import common_spec, transformer_spec

    block = stack.block
    kind = transformer_spec.TransformerEncoderSpec if side == "encoder" else transformer_spec.TransformerDecoderSpec
    rms = type(block.norm).__name__ == "RMSNorm"
    options = {} if block.attention.head_dim is None else {"head_dim": block.attention.head_dim}
    spec = kind(
        stack.num_layers,
        block.attention.num_heads,
        pre_norm=True,  # needed for the specification to have a final norm
        no_final_norm=not stack.final_norm,
        activation=common_spec.Activation[ACTIVATIONS[block.feed_forward.activation]],
        layernorm_embedding=embeddings.norm is not None,
        relative_attention_bias=block.attention.positions is not None,
        ffn_glu=block.feed_forward.gated,
        rms_norm=rms,
        **options,
    )
    spec.pre_norm = block.norm_placement == "pre"
    return spec


def _embed(
    stack: typing.Any,
    spec: typing.Any,
    name: str,
    embeddings: EmbeddingsConfig,
    layer: typing.Any,
    weights: Mapping[str, np.ndarray],
    config: ModelConfig,
) -> None:
    shared = getattr(embeddings, "shared_tokens", False)
    spec.weight = weights[f"{'embedding' if shared else name}.token.embeddings"]
    if embeddings.zero_id is not None:
        spec.weight[embeddings.zero_id] = 0.0
    stack.scale_embeddings = math.sqrt(config.hidden_dim) if embeddings.scale else 1.0
    positions = embeddings.positions
    if isinstance(positions, Learned):
        stack.position_encodings.encodings = weights[f"{name}.position.embeddings"][positions.offset :]
    elif isinstance(positions, Sinusoidal):
        table = keras.ops.convert_to_numpy(layer._table)
        stack.position_encodings.encodings = table[getattr(positions, "offset", 0) :]
    elif hasattr(stack, "position_encodings"):  # no positions: a table of zeros, up to the model's maximum length
        length = embeddings.context_length or 1024
        stack.position_encodings.encodings = np.zeros((length, config.hidden_dim), "float32")
    if embeddings.norm is not None:
        _norm(stack.layernorm_embedding, f"{name}.norm", weights)


def _fill_stack(spec: typing.Any, side: str, stack: typing.Any, weights: Mapping[str, np.ndarray]) -> None:
    place = "after" if stack.block.norm_placement == "post" else "before"
    for number, layer in enumerate(spec.layer):
        name = f"{side}.block_{number}"
        attentions = {"self_attention": layer.self_attention}
        if side == "decoder":
            attentions["cross_attention"] = layer.attention
        for kind, attention in attentions.items():
            parts = [f"{name}.{kind}.{part}" for part in ("query", "key", "value")]
            groups = [parts] if kind == "self_attention" else [parts[:1], parts[1:]]
            for linear, group in zip(attention.linear, [*groups, [f"{name}.{kind}.output"]], strict=True):
                _linear(linear, group, weights)
            _norm(attention.layer_norm, f"{name}.{kind}_norm_{place}", weights)
            if stack.block.attention.scale is not None:
                attention.queries_scale = stack.block.attention.scale
        positions = stack.block.attention.positions
        if positions is not None:
            own = f"_{number}" if getattr(positions, "by_layer", False) else ""
            layer.self_attention.relative_attention_bias = weights[f"{side}.positions{own}.embeddings"]
            layer.self_attention.relative_attention_max_distance = np.int32(positions.max_distance)
        gated = stack.block.feed_forward.gated
        _linear(layer.ffn.linear_0, [f"{name}.feed_forward.{'gate' if gated else 'up'}"], weights)
        if gated:
            _linear(layer.ffn.linear_0_noact, [f"{name}.feed_forward.up"], weights)
        _linear(layer.ffn.linear_1, [f"{name}.feed_forward.down"], weights)
        _norm(layer.ffn.layer_norm, f"{name}.feed_forward_norm_{place}", weights)
    if stack.final_norm:
        _norm(spec.layer_norm, f"{side}.norm", weights)


def _linear(spec: typing.Any, names: Sequence[str], weights: Mapping[str, np.ndarray]) -> None:
    """Fill one fused layer, `[F, D]`, from dense layers side by side, `[D, F]` each."""
    spec.weight = np.concatenate([weights[f"{name}.kernel"].T for name in names])
    if any(f"{name}.bias" in weights for name in names):
        spec.bias = np.concatenate(
            [weights.get(f"{name}.bias", np.zeros(weights[f"{name}.kernel"].shape[1], "float32")) for name in names]
        )


def _norm(spec: typing.Any, name: str, weights: Mapping[str, np.ndarray]) -> None:
    if hasattr(spec, "beta"):
        spec.gamma = weights[f"{name}.gamma"]
        spec.beta = weights.get(f"{name}.beta", np.zeros_like(spec.gamma))
    else:
        spec.gamma = weights[f"{name}.scale"]


def _project(decoder: typing.Any, task: typing.Any, weights: Mapping[str, np.ndarray]) -> None:
    """Fill the head: the embeddings or a separate matrix, its bias, and the tokens that are never generated."""
    head = task.config.head
    decoder.projection.weight = decoder.embeddings.weight if head.tied else weights["head.dense.kernel"].T
    if getattr(head, "scale", False):
        decoder.scale_outputs = task.config.hidden_dim**-0.5
    bias = weights.get("head.bias" if head.tied else "head.dense.bias")
    never = [ids[0] for ids in task.generation.bad_words_ids if len(ids) == 1]
    if never:
        bias = np.zeros(len(decoder.projection.weight), "float32") if bias is None else bias.copy()
        bias[never] = NEVER
    if bias is not None:
        decoder.projection.bias = bias


def _tokens(tokenizer: typing.Any, size: int, target: bool = False) -> list[str]:
    """Return the tokens by id, padded to the model's vocabulary size."""
    known = tokenizer.target_vocabulary_size if target else tokenizer.vocabulary_size
    known = tokenizer.to_pieces(range(min(known, size)), target=target)
    return known + [f"<unused_{number}>" for number in range(len(known), size)]
