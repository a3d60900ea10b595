"""A translation model of no published family as one that transformers has, with the same outputs.

    this library                                  transformers
    ────────────                                  ────────────
    sinusoids side by side   ── columns move ──►  all sines, then all cosines
    positions from row 0     ── rows of zeros ─►  learned positions from row 2
    no bias in the head      ── zeros ─────────►  `final_logits_bias`
    one table of tokens      ── copied ────────►  a table for each side, if the family has no shared one

Sinusoids and norms after branches are a Marian, norms before branches a Pegasus. Learned positions with a norm after
the embeddings are a BART or an mBART. The order of the channels of a model changes no output: norms, and sums over all
channels, do not depend on it.
"""

import collections.abc
import dataclasses
import typing

import numpy as np

from keras_transformers.families import registry
from keras_transformers.families.fields import Inexpressible
from keras_transformers.layers.positions import Learned, Sinusoidal
from keras_transformers.models.config import ModelConfig

FAMILIES = ("marian", "pegasus", "bart", "mbart")
_OF_CLASSIFIERS = ("pooler", "token_head", "span_head", "reading")  # no part of a text-to-text model
_ROWS = 2  # of BART's table of positions, before the first position

Weights = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """A model with the same outputs: its `ModelConfig`, and its weights by name."""

    config: ModelConfig
    weights: Weights


def equivalent(config: ModelConfig, weights: collections.abc.Mapping[str, typing.Any]) -> Equivalent:
    """Return the model of a family of transformers that computes the same as a text-to-text model.

    Args:
        config: a `ModelConfig` with an encoder and a decoder.
        weights: the arrays of the model by name.

    Raises:
        ValueError: if no family computes the same. The error names each field that differs from the nearest family.

    Example:
        >>> equivalent(model.config, weights).config.embeddings.positions.layout
        'halves'
    """
    nearest: tuple[str, list[str]] | None = None
    for model_type in FAMILIES:
        asked, found = _restated(Equivalent(config, dict(weights)), model_type)
        described, problems = _described(asked, model_type)
        if described is not None and not problems:
            return Equivalent(described, found)
        if problems and (nearest is None or len(problems) < len(nearest[1])):
            nearest = model_type, problems
    name, problems = nearest or ("none", [])
    raise ValueError(
        "Expected a model that a family of transformers can express, got one that none can. The nearest is "
        f"{name!r}, which differs in {'; '.join(problems)}. Save the model with save_to_preset, for this library, or "
        "train one of the nearest layout."
    )


def _described(config: ModelConfig, model_type: str) -> tuple[ModelConfig | None, list[str]]:
    """Return the `ModelConfig` that a family reads after it wrote `config`, and a sentence for each field that changed
    on the way. Fields of classifiers may change."""
    family = registry.family(model_type)
    try:
        described = family.reading(family.write(config))[0]
    except Inexpressible as error:
        return None, [str(error)]
    except ValueError as error:
        return None, [str(error).rstrip(".")]
    kept = dataclasses.replace(config, **{name: getattr(described, name) for name in _OF_CLASSIFIERS})
    return described, list(_differences(kept, described))


def _differences(mine: typing.Any, theirs: typing.Any, path: str = "") -> collections.abc.Iterator[str]:
    """Yield a sentence for each field of two records that differs."""
    if type(mine) is type(theirs) and dataclasses.is_dataclass(mine):
        for field in dataclasses.fields(mine):
            name = f"{path}.{field.name}" if path else field.name
            yield from _differences(getattr(mine, field.name), getattr(theirs, field.name), name)
    elif mine != theirs:
        yield f"{path}, {_shown(theirs)} and not {_shown(mine)}"


def _shown(value: typing.Any) -> str:
    return type(value).__name__ if dataclasses.is_dataclass(value) else repr(value)


# Restating


def _restated(model: Equivalent, model_type: str) -> tuple[ModelConfig, Weights]:
    """Return a model with the same outputs, in the form of a family as far as possible."""
    config, weights = model.config, model.weights
    has_learned = model_type in ("bart", "mbart")
    if isinstance(config.embeddings.positions, Sinusoidal) and not has_learned:
        config, weights = _with_halves(config, weights)
    if isinstance(config.embeddings.positions, Learned) and has_learned:
        config, weights = _with_first_rows(config, weights)
    config, weights = _with_tables(config, weights, model_type)
    if not config.head.use_bias:
        size = config.target_embeddings.vocabulary_size
        weights = {**weights, "head.bias" if config.head.tied else "head.dense.bias": np.zeros(size, "float32")}
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, use_bias=True))
    return config, weights


def _with_halves(config: ModelConfig, weights: Weights) -> tuple[ModelConfig, Weights]:
    """Order the channels of a model so that the sines come first."""
    if getattr(config.embeddings.positions, "layout", None) == "halves":
        return config, weights
    order = np.r_[0 : config.hidden_dim : 2, 1 : config.hidden_dim : 2]
    moved = {name: _reordered(name, array, order) for name, array in weights.items()}
    return _changed_positions(config, layout="halves"), moved


_INPUTS = ("query.kernel", "key.kernel", "value.kernel", "up.kernel", "gate.kernel", "head.dense.kernel")
_OUTPUTS = ("output.kernel", "output.bias", "down.kernel", "down.bias", "gamma", "beta", "token.embeddings")


def _reordered(name: str, array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Reorder the channels of the model in one of its weights."""
    if name.endswith(_INPUTS):
        return array[order]
    return array[..., order] if name.endswith(_OUTPUTS) else array


def _with_first_rows(config: ModelConfig, weights: Weights) -> tuple[ModelConfig, Weights]:
    """Put rows before the tables of positions, as BART has them."""
    missing = _ROWS - getattr(config.embeddings.positions, "offset", 0)
    if missing <= 0:
        return config, weights
    padded = {
        name: np.pad(array, ((missing, 0), (0, 0))) if "embedding.position." in name else array
        for name, array in weights.items()
    }
    return _changed_positions(config, offset=_ROWS), padded


def _changed_positions(config: ModelConfig, **changes: typing.Any) -> ModelConfig:
    """Change the positions of source and target."""
    sides = {
        name: dataclasses.replace(each, positions=dataclasses.replace(each.positions, **changes))
        for name in ("embeddings", "decoder_embeddings")
        if (each := getattr(config, name)) is not None and each.positions is not None
    }
    return dataclasses.replace(config, **sides)


def _with_tables(config: ModelConfig, weights: Weights, model_type: str) -> tuple[ModelConfig, Weights]:
    """Give each side its embeddings, and the head its matrix, if the family has them apart.

    BART has positions for each side, and shared tokens if the head is tied. Marian has one table for both sides if the
    head is tied, or else two.
    """
    own, tied = config.decoder_embeddings, config.head.tied
    is_marian = model_type == "marian"
    if tied and own is not None and not own.shared_tokens and not is_marian:  # no such family ties the target's alone
        name = "decoder_embedding.token.embeddings"
        weights = {**weights, "head.dense.kernel": weights[name].T}
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, tied=False))
        if "head.bias" in weights:
            weights["head.dense.bias"] = weights.pop("head.bias")
    elif own is None and (not tied or model_type in ("bart", "mbart")):
        copied = {
            f"decoder_{name}": array
            for name, array in weights.items()
            if name.startswith("embedding.") and not (tied and ".token." in name)
        }
        weights = {**weights, **copied}
        config = dataclasses.replace(
            config, decoder_embeddings=dataclasses.replace(config.embeddings, shared_tokens=tied)
        )
    return config, weights
