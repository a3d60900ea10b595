"""The attention of a task's model over one text or translation, with the tokens that it connects.

    stacks of the model   kinds                          rows (queries)   columns (keys)
    encoder, decoder      cross, encoder, decoder        target, …        source, …
    encoder               encoder                        text             text
    decoder               decoder                        text             text

Legend: `L` layers, `N` heads, `T` query length, `S` key length.
"""

import typing

import numpy as np
from keras import ops

from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks.directions import Direction

KINDS = ("cross", "encoder", "decoder")
_TITLES = {"cross": "Cross-attention", "encoder": "Encoder self-attention", "decoder": "Decoder self-attention"}


class Matrices(typing.NamedTuple):
    """The attention of one kind: the scores of each layer, `[N, T, S]`, the tokens of rows and columns, and names."""

    layers: list[np.ndarray]
    queries: list[str]
    keys: list[str]
    title: str
    query_name: str
    key_name: str


class _Side(typing.NamedTuple):
    """The ids along an axis, whether the pieces of targets write them, and the name of the axis."""

    ids: list[int]
    target: bool
    name: str


def read_attention(
    model: typing.Any,
    source: str,
    target: str | None,
    which: str | None,
    words: bool,
    languages: tuple[str | None, str | None],
    options: dict[str, typing.Any],
) -> dict[str, Matrices]:
    """Compute the attention of a task, by kind: the one that `which` names, or all if it is None.

    Raises:
        TypeError, ValueError: as `plot_attention`.
    """
    model = getattr(model, "model", model)  # a Translator has one
    if not hasattr(model, "backbone"):
        raise TypeError(f"Expected a task such as kt.TextClassifier, got {type(model).__name__}.")
    for name, text in {"source": source, "target": target}.items():
        if not isinstance(text, str) and not (name == "target" and text is None):
            raise TypeError(f"Expected {name} to be one string, got {type(text).__name__}. Draw one at a time.")
    stacks = model.config.encoder is not None, model.config.decoder is not None
    kinds = KINDS if all(stacks) else KINDS[1:2] if stacks[0] else KINDS[2:]
    if which is not None and which not in kinds:
        only = "" if all(stacks) else f", for a {type(model).__name__} with one stack"
        raise ValueError(f"Expected which to be one of {', '.join(map(repr, kinds))}{only}, got {which!r}.")
    if hasattr(model, "encode_sources"):
        inputs, sides = _of_translation(model, source, target, which, model.direction(*languages, **options))
    else:
        if languages != (None, None):
            raise ValueError(
                f"Expected no languages for a {type(model).__name__}, got {languages[0] or languages[1]!r}."
            )
        inputs, sides = _of_text(model, model.attention_inputs(source, target, **options))
    tensors = {name: ops.convert_to_tensor(np.asarray(row)[None]) for name, row in inputs.items()}
    results = model.backbone(tensors, return_attention_scores=True)
    names = {"cross": "cross_attention_scores", "encoder": "encoder_attention_scores", "decoder": "attention_scores"}
    found: dict[str, Matrices] = {}
    for kind in kinds if which is None else (which,):
        layers = results.get(names[kind] if all(stacks) else "attention_scores")
        if layers is not None:
            found[kind] = _matrices(model, kind, layers, sides[kind], words, all(stacks))
        elif which is not None:
            raise ValueError(
                "Expected the attention of a stack that has one, got which="
                f"{which!r} of a model whose {which} has a recurrence in its place."
            )
    if not found:
        raise ValueError(f"Expected a model with attention, got a {type(model).__name__} whose layers have none.")
    return found


def _matrices(
    model: typing.Any, kind: str, layers: typing.Any, sides: tuple[_Side, _Side], words: bool, both: bool
) -> Matrices:
    scores = [ops.convert_to_numpy(ops.cast(each[0], "float32")) for each in layers]
    labels = []
    for axis, side in zip((-2, -1), sides, strict=True):
        ids = np.array(side.ids, "int32")
        if words:
            begins, texts = model.tokenizer.words(ids, target=side.target)
            ends = [*begins[1:], len(ids)]
            scores = [np.add.reduceat(each, begins, axis=axis) for each in scores]
            if axis == -2:  # a row stays a distribution: the mean over the pieces of a word
                scores = [each / np.subtract(ends, begins)[:, None] for each in scores]
            labels.append([text.strip() or text for text in texts])
        else:
            labels.append(model.tokenizer.tokens(ids, target=side.target))
    title = _TITLES[kind] if both else "Self-attention"
    return Matrices(scores, labels[0], labels[1], title, sides[0].name, sides[1].name)


def _of_text(
    model: typing.Any, inputs: dict[str, typing.Any]
) -> tuple[dict[str, typing.Any], dict[str, tuple[_Side, _Side]]]:
    """The inputs of a backbone that reads one text, or pair of texts, and what each kind connects."""
    ids = np.asarray(inputs["token_ids"]).tolist()
    text = _Side(ids, False, "token")
    if model.config.encoder is None or model.config.decoder is None:
        return inputs, dict.fromkeys(KINDS, (text._replace(name="query"), text._replace(name="key")))
    shifted = ops.convert_to_numpy(model.backbone.shifted_right(ops.convert_to_tensor([ids], "int32")))[0].tolist()
    read = _Side(shifted, False, "read by the decoder")
    text = text._replace(name="read by the encoder")
    return inputs, {"cross": (read, text), "encoder": (text, text), "decoder": (read, read)}


def _of_translation(
    model: typing.Any,
    source: str,
    target: str | None,
    which: str | None,
    asked: tuple[Direction, GenerationConfig],
) -> tuple[dict[str, typing.Any], dict[str, tuple[_Side, _Side]]]:
    """The inputs of an encoder-decoder for a translation, its own if `target` is None, and what each kind connects."""
    direction, config = asked
    (source_ids,) = model.encode_sources([source], direction)
    if not source_ids:
        raise ValueError(f"Expected a source with some text, got {source!r}. An empty text is not translated.")
    if target is not None:
        (target_ids,) = model.tokenizer.encode_targets([target], direction.target_language)
    elif which == "encoder":
        target_ids = [model.tokenizer.end_id]
    else:
        written = model.generate([source_ids], config).token_ids[0].tolist()
        ends = [place for place, token_id in enumerate(written) if token_id in config.end_ids]
        target_ids = written[: ends[0] + 1] if ends else written
    read_ids = [config.start_id, *target_ids[:-1]]
    read, written_ = _Side(read_ids, True, "target"), _Side(list(target_ids), True, "target")
    text = _Side(list(source_ids), False, "source")
    inputs = {"token_ids": np.array(source_ids, "int32"), "decoder_token_ids": np.array(read_ids, "int32")}
    return inputs, {"cross": (written_, text), "encoder": (text, text), "decoder": (read, read)}
