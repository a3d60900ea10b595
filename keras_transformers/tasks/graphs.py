"""The graphs of each task: their inputs and outputs, and how a program drives them.

    an encoder task       model           token_ids, padding_mask (segment_ids) ─► logits, vectors, …
    an encoder-decoder    encoder_model   token_ids, padding_mask ─► encoder_output
                          decoder_model   decoder_token_ids, source_padding_mask, encoder_output, past keys and values
                                          ─► logits, keys and values
    a decoder             model           token_ids, padding_mask, past keys and values ─► logits, keys and values
                                          (padding is in front, and the mask is of past tokens too)

A decoder reads any number of new tokens after any number of past ones, none among them. The keys and values of a source
are computed in the first call, whose past ones are empty, and passed on.

Legend: `B` batch, `T` length, `S` source length, `P` past length, `K` key/value heads, `H` head width.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping

import numpy as np
from keras import ops

from keras_transformers.backends.default.graphs import Graph, Port, Run
from keras_transformers.backends.types import Tensor
from keras_transformers.layers.cache import Cache
from keras_transformers.layers.state import KeysAndValues

Arrays: typing.TypeAlias = Mapping[str, np.ndarray]

# Names of outputs of tasks whose calls return one tensor; for others "logits".
_OUTPUTS = {
    "TextEmbedder": "vectors",
    "SparseEmbedder": "vectors",
    "MultiVectorEmbedder": "vectors",
    "QuestionAnswerer": "logits",
}
ENCODER, DECODER, MODEL = "encoder_model", "decoder_model", "model"


@dataclasses.dataclass(frozen=True)
class Graphs:
    """The graphs of a task.

    Attributes:
        graphs: the graphs.
        drive: `(run, inputs) -> outputs`, which runs the graphs for inputs of the task's `call`.
        names: the names that Optimum and transformers.js expect, by graph: a dictionary from our names.
    """

    graphs: tuple[Graph, ...]
    drive: Callable[[Run, Arrays], dict[str, np.ndarray]]
    names: Mapping[str, Mapping[str, str]]


def graphs_of(task: typing.Any) -> Graphs:
    """The graphs of a task.

    Raises:
        ValueError: for a task whose inputs are more than texts.
    """
    config = task.config
    if hasattr(task, "max_words"):
        raise ValueError(
            f"Expected a task that reads texts alone, got a {type(task).__name__}, whose graphs are not supported."
        )
    if not hasattr(task, "generation"):
        return _one_pass(task)
    if config.encoder is not None and config.decoder is not None:
        return _encoder_decoder(task)
    return _decoder_alone(task)


_IDS, _MASK = Port("int32", ("batch_size", "sequence_length")), Port("bool", ("batch_size", "sequence_length"))
_THEIRS = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}


def _one_pass(task: typing.Any) -> Graphs:
    inputs = {"token_ids": _IDS, "padding_mask": _MASK}
    if task.config.num_segments > 1:
        inputs["segment_ids"] = _IDS
    output = next((_OUTPUTS[each.__name__] for each in type(task).__mro__ if each.__name__ in _OUTPUTS), "logits")

    def function(task: typing.Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {output: ops.cast(task.call(inputs), "float32")}

    def drive(run: Run, inputs: Arrays) -> dict[str, np.ndarray]:
        return run(MODEL, inputs)

    return Graphs((Graph(MODEL, task, function, inputs, (output,)),), drive, {MODEL: _THEIRS})


# Encoder-decoders


def _cache_ports(task: typing.Any, stem: str, length: str, heads: tuple[int, int]) -> dict[str, Port]:
    axes = ("batch_size", heads[0], length, heads[1])
    dtype = task.compute_dtype
    count = task.config.decoder.num_layers
    return {f"{stem}_{part}_{n}": Port(dtype, axes) for n in range(count) for part in ("key", "value")}


def _heads(task: typing.Any) -> tuple[int, int]:
    """The number of key/value heads of the decoder, and their width.

    Raises:
        ValueError: for a decoder with another state than keys and values of one shape.
    """
    states = task.backbone.decoder.start_states(1, 1)
    shapes = {tuple(part.shape) for state in states for part in state}
    if len(shapes) > 1 or not all(isinstance(state, KeysAndValues) for state in states):
        kinds = sorted({type(state).__name__ for state in states})
        raise ValueError(
            "Expected a decoder whose layers keep keys and values of one shape, got states of "
            f"{', '.join(kinds)} with shapes {sorted(shapes)}: their graphs are not supported."
        )
    ((_, heads, _, width),) = shapes
    return heads, width


def _encode(task: typing.Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"encoder_output": task.backbone.encode(inputs["token_ids"], inputs["padding_mask"])}


def _decode(task: typing.Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    count = task.config.decoder.num_layers
    past, source = _pairs(inputs, "past", count), _pairs(inputs, "source", count)
    projected = ops.shape(source[0][0])[2]  # all of the source, or none of it in the first call
    new = task.backbone.decoder.project_source(inputs["encoder_output"][:, projected:])
    across = tuple(
        tuple(ops.concatenate(each, axis=2) for each in zip(*pairs, strict=True))
        for pairs in zip(source, new, strict=True)
    )
    cache = Cache(*_states(past), across, inputs["source_padding_mask"])
    logits, cache = task._step_through(inputs["decoder_token_ids"], cache)
    return {
        "logits": ops.cast(logits, "float32"),
        **_named("past", cache.states),
        **_named("source", cache.cross_attention),
    }


def _states(past: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, tuple[KeysAndValues, ...]]:
    """The number of past positions, and the states of all layers. In a graph of unknown lengths they grow."""
    return ops.shape(past[0][0])[2], tuple(KeysAndValues(*pair) for pair in past)


def _pairs(inputs: dict[str, Tensor], stem: str, count: int) -> list[tuple[Tensor, Tensor]]:
    return [(inputs[f"{stem}_key_{n}"], inputs[f"{stem}_value_{n}"]) for n in range(count)]


def _named(stem: str, pairs: typing.Any) -> dict[str, Tensor]:
    return {
        f"{stem}_{part}_{n}": x for n, pair in enumerate(pairs) for part, x in zip(("key", "value"), pair, strict=True)
    }


def _encoder_decoder(task: typing.Any) -> Graphs:
    width, heads = task.config.encoder.output_dim or task.config.hidden_dim, _heads(task)
    own, source = Port("int32", ("batch_size", "decoder_sequence_length")), ("batch_size", "encoder_sequence_length")
    caches = {
        **_cache_ports(task, "past", "past_decoder_sequence_length", heads),
        **_cache_ports(task, "source", "past_encoder_sequence_length", heads),
    }
    encoder = Graph(
        ENCODER,
        task,
        _encode,
        {"token_ids": Port("int32", source), "padding_mask": Port("bool", source)},
        ("encoder_output",),
    )
    decoder_inputs = {
        "decoder_token_ids": own,
        "source_padding_mask": Port("bool", source),
        "encoder_output": Port(task.compute_dtype, (*source, width)),
        **caches,
    }
    decoder = Graph(DECODER, task, _decode, decoder_inputs, ("logits", *caches))
    names = {
        ENCODER: {**_THEIRS, "encoder_output": "last_hidden_state"},
        DECODER: {
            "decoder_token_ids": "input_ids",
            "source_padding_mask": "encoder_attention_mask",
            "encoder_output": "encoder_hidden_states",
            **{name: _theirs(name) for name in caches},
        },
    }

    def drive(run: Run, inputs: Arrays) -> dict[str, np.ndarray]:
        token_ids, mask = inputs["token_ids"], inputs["padding_mask"]
        source = run(ENCODER, {"token_ids": token_ids, "padding_mask": mask})["encoder_output"]
        past: dict[str, np.ndarray] = empty(decoder, len(token_ids))
        logits = []
        written = inputs["decoder_token_ids"]
        for part in (written[:, :1], written[:, 1:3], written[:, 3:]):
            if part.shape[1]:
                read = {"decoder_token_ids": part, "source_padding_mask": mask, "encoder_output": source, **past}
                outputs = run(DECODER, read)
                logits.append(outputs.pop("logits"))
                past = outputs
        return {"logits": np.concatenate(logits, axis=1)}

    return Graphs((encoder, decoder), drive, names)


# Decoders


def _continue(task: typing.Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    past = _pairs(inputs, "past", task.config.decoder.num_layers)
    mask = ops.cast(inputs["padding_mask"], "int32")
    starts = ops.sum(1 - mask, axis=1, keepdims=True)  # padding is in front
    cache = Cache(*_states(past), starts=starts)
    logits, cache = task._step_through(inputs["token_ids"], cache)
    return {"logits": ops.cast(logits, "float32"), **_named("past", cache.states)}


def _decoder_alone(task: typing.Any) -> Graphs:
    caches = _cache_ports(task, "past", "past_sequence_length", _heads(task))
    # One name for the length of both would be wrong: the mask is of the past tokens too.
    inputs = {"token_ids": _IDS, "padding_mask": Port("bool", ("batch_size", "total_sequence_length")), **caches}
    graph = Graph(MODEL, task, _continue, inputs, ("logits", *caches))
    names = {**_THEIRS, **{name: _theirs(name).replace(".decoder", "") for name in caches}}

    def drive(run: Run, inputs: Arrays) -> dict[str, np.ndarray]:
        token_ids, mask = inputs["token_ids"], inputs["padding_mask"]
        past = empty(graph, len(token_ids))
        logits, begin = [], 0
        for end in (1, 3, token_ids.shape[1]):
            if begin < end <= token_ids.shape[1]:
                read = {"token_ids": token_ids[:, begin:end], "padding_mask": mask[:, :end], **past}
                past = run(MODEL, read)
                logits.append(past.pop("logits"))
                begin = end
        return {"logits": np.concatenate(logits, axis=1)}

    return Graphs((graph,), drive, {MODEL: names})


def empty(graph: Graph, rows: int) -> dict[str, np.ndarray]:
    """The keys and values before the first call of a decoder."""
    arrays = {}
    for name, port in graph.inputs.items():
        if len(port.axes) == 4:
            shape = [rows, port.axes[1], 0, port.axes[3]]
            arrays[name] = np.zeros(
                typing.cast(list[int], shape), "float32" if port.dtype == "bfloat16" else port.dtype
            )
    return arrays


def _theirs(name: str) -> str:
    """The name of keys or values that Optimum gives: "past_key_3" is `past_key_values.3.decoder.key`."""
    stem, part, number = name.split("_")
    return f"past_key_values.{number}.{'decoder' if stem == 'past' else 'encoder'}.{part}"
