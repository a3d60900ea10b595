"""LoRA: a small trained product beside a frozen matrix (Hu et al. 2021).

    x ──┬──► base: x W + bias ───────────────────────────┬──► + ──► y       W [in, out]   frozen
        └──► dropout ──► lora_A: x A ──► lora_B: … B ──► × scale             A [in, rank]  trained
                                                                             B [rank, out] trained, 0 at first

Only `merge_lora` computes `W + scale · A B`. `formats/peft.py` reads and writes adapters as PEFT's files.
"""

import collections
import math
import re
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence

import keras
import numpy as np

from keras_transformers.backends import products
from keras_transformers.backends.types import Tensor
from keras_transformers.files.reading import shown
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.layer import Layer
from keras_transformers.models.changes import problem_of_groups
from keras_transformers.models.weights import named_weights
from keras_transformers.spelling import spelled
from keras_transformers.transforms.quantization import keep_inputs
from keras_transformers.transforms.sublayers import (
    ADAPTER,
    ROUTER,
    label_weights,
    named_sublayers,
    replace,
    uncompile,
)

_FROZEN = "_frozen_by_lora"


class LoraDense(Layer):
    """A dense layer with an adapter beside it.

    Args:
        base: a built `keras.layers.Dense`, quantized or not.
        rank: the width between A and B.
        scale: the factor of the product A B.
        dropout: share of the adapter's inputs dropped in training.
        seed: the seed of A's initial values.

    Shape: `[…, in]` to `[…, out]`, as `base`.

    The adapter's weights are float32; it computes in the base's dtype.

    Source: Hu et al. 2021, section 4.1.
    """

    _transient = ("base",)

    def __init__(
        self, base: keras.layers.Dense, rank: int, scale: float, dropout: float = 0.0, seed: int | None = None
    ) -> None:
        compute = base.compute_dtype
        super().__init__(name=base.name, dtype=compute if compute == "float32" else f"mixed_{compute}")
        self.base = base
        self.rank, self.scale = rank, scale
        options = {"use_bias": False, "dtype": self.dtype_policy}
        # Uniform in ±1/√in, as PEFT initialises A.
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.lora_A = keras.layers.Dense(rank, kernel_initializer=start, name="lora_A", **options)
        self.lora_B = keras.layers.Dense(base.units, kernel_initializer="zeros", name="lora_B", **options)
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None
        self._path = base.path  # this layer replaces `base`, so its weights' names begin with the same path
        parent, _, _ = base.path.rpartition("/")
        with keras.name_scope(base.name, override_parent=parent):
            self.lora_A.build((None, base.input_spec.axes[-1]))
            self.lora_B.build((None, rank))
        self.built = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        x = inputs if self.dropout is None else self.dropout(inputs, training=training)
        return products.dense(self.base, inputs) + self.lora_B(self.lora_A(x)) * self.scale

    def merged_kernel(self) -> np.ndarray:
        """Return the merged matrix, which computes the same, as a numpy array."""
        kernel, a, b = (keras.ops.convert_to_numpy(each.kernel) for each in (self.base, self.lora_A, self.lora_B))
        return (kernel.astype("float32") + self.scale * (a @ b)).astype(kernel.dtype)


@spelled
def add_lora(
    model: keras.Model,
    *,
    rank: int = 8,
    alpha: float = 16,
    targets: str | Sequence[str] = ("query", "value"),
    dropout: float = 0.0,
    rank_stabilised: bool = False,
    train: str | Sequence[str] | None = None,
    seed: int | None = None,
) -> None:
    """Put LoRA adapters beside dense layers of a model. Only these, and the head of labels if the model has one, train.

    Until it is trained, the model computes the same as before. Compile it again: its optimizer and compiled functions
    are dropped. (Setting `trainable` of the whole model would make Keras forget which weights are frozen.)

    Args:
        model: a task or a `Backbone`, changed in place. Its dense layers may be quantized. They no longer round their
            inputs then, since no gradient passes a rounding.
        rank: the width between the adapter's two matrices.
        alpha: the adapter is multiplied by `alpha / rank`.
        targets: the layers, by the ends of their names (`explain` and `model.summary` show them): "query",
            "self_attention.query", "encoder.block_0.feed_forward.up", …; or "all": every dense layer of the body but
            routers. Experts, which are stacked, get no adapters.
        dropout: share of the adapters' inputs dropped in training.
        rank_stabilised: multiply by `alpha / √rank` instead (Kalajdzievski 2023).
        train: the layers to train whole, by the ends of their names; by default the layers of a head that is not in a
            checkpoint of the body alone, such as a classifier's. () for none.
        seed: the seed of the adapters' initial values.

    Raises:
        ValueError: for a model that has adapters, numbers out of range, and targets that match no layer; lists all.

    Example:
        >>> kt.transforms.add_lora(classifier, rank=8, targets=("query", "value"))
        >>> classifier.compile(keras.optimizers.AdamW(2e-4))
        >>> classifier.fit(texts, labels)
        >>> kt.transforms.save_lora(classifier, "adapter")
    """
    check_plain(model)
    if not isinstance(rank, int) or rank < 1 or not alpha > 0 or not 0 <= dropout < 1:
        raise ValueError(
            f"Expected a rank of at least 1, alpha above 0 and dropout in [0, 1), got {rank=}, {alpha=}, {dropout=}."
        )
    dense, own = named_sublayers(model, keras.layers.Dense), named_weights(model)
    trained = label_weights(model) if train is None else _within(train, own)
    chosen = _body_layers(model, dense) if targets == "all" else _ending(targets, dense)
    both = sorted(set(chosen) & {name.rpartition(".")[0] for name in trained})
    if both:
        raise ValueError(
            f"Expected layers to have an adapter or to be trained whole, got both for {', '.join(both)}. Name them in "
            "targets or in train."
        )
    narrow = [name for name in trained if "int" in own[name].dtype]
    if narrow:
        raise ValueError(f"Expected float weights to train whole, got quantized ones in {', '.join(narrow)}.")
    scale = float(alpha / (math.sqrt(rank) if rank_stabilised else rank))
    adapters = {
        name: LoraDense(dense[name], rank, scale, float(dropout), each)
        for name, each in zip(chosen, _seeds(seed, len(chosen)), strict=True)
    }
    adapt(model, adapters, trained)


def _seeds(seed: int | None, count: int) -> list[int | None]:
    return [None] * count if seed is None else np.random.default_rng(seed).integers(2**31, size=count).tolist()


def _body_layers(model: keras.Model, names: Iterable[str]) -> list[str]:
    """Return the dense layers outside of the heads, without routers."""
    heads = {"head", *(name.partition(".")[0] for name in label_weights(model))}
    return [name for name in names if name.partition(".")[0] not in heads and not name.endswith(f".{ROUTER}")]


def remove_lora(model: keras.Model) -> None:
    """Remove the adapters: the model computes as without them, and the weights that they froze train again.

    Layers that were trained whole keep their trained weights. Compile the model again.

    Raises:
        ValueError: for a model without adapters.
    """
    adapters = adapters_of(model)
    for weight in getattr(model, _FROZEN, ()):
        weight.trainable = True
    replace(model, [(adapter, adapter.base) for adapter in adapters.values()])
    uncompile(model)


def merge_lora(model: keras.Model) -> None:
    """Add each adapter's product to the matrix beside it, and remove the adapters. The model computes the same.

    Compile the model again.

    Raises:
        ValueError: for a model without adapters, or with quantized matrices, to which no product can be added.
    """
    adapters = adapters_of(model)
    quantized = [name for name, adapter in adapters.items() if adapter.base.quantization_mode]
    if quantized:
        more = ", …" if len(quantized) > 3 else ""
        raise ValueError(
            f"Expected float matrices to add adapters to, got quantized ones in {', '.join(quantized[:3])}{more}. Save "
            "the adapters with save_lora, and load them into the float model."
        )
    for adapter in adapters.values():
        adapter.base.kernel.assign(adapter.merged_kernel())
    remove_lora(model)


def has_lora(model: keras.Model) -> bool:
    """Return whether a model has adapters."""
    return bool(named_sublayers(model, LoraDense))


def merged_weights(model: keras.Model) -> dict[str, typing.Any]:
    """Return a model's weights after merging, by their names in files. The model itself is not changed."""
    adapters = named_sublayers(model, LoraDense)
    weights = {name: weight for name, weight in named_weights(model).items() if not is_adapter(name)}
    weights |= _merged_by_keras(model, weights)
    weights = {name: weight for name, weight in weights.items() if not _KERAS_ADAPTER.search(name)}
    return weights | {f"{name}.kernel": adapter.merged_kernel() for name, adapter in adapters.items()}


_KERAS_ADAPTER = re.compile(r"\.lora_(kernel|embeddings)_[ab]$")


def _merged_by_keras(model: keras.Model, weights: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Return those of `weights` that have an adapter from Keras's own `enable_lora`, merged with it."""
    names, merged = {id(weight): name for name, weight in weights.items()}, {}
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            place = "kernel" if hasattr(layer, "lora_kernel_a") else "embeddings"
            name = names[id(getattr(layer, f"_{place}"))]
            merged[name] = keras.ops.convert_to_numpy(getattr(layer, place))
    return merged


# Adapters in `.keras` files and in presets of this library.


def describe(model: keras.Model) -> dict[str, typing.Any] | None:
    """Describe a model's adapters for `restore`, as plain JSON; None for a model without adapters."""
    adapters = named_sublayers(model, LoraDense)
    if not adapters:
        return None
    alike = collections.defaultdict(list)
    for name, adapter in adapters.items():
        alike[adapter.rank, adapter.scale, 0.0 if adapter.dropout is None else adapter.dropout.rate].append(name)
    return {
        "adapters": [
            {"rank": rank, "scale": scale, "dropout": dropout, "layers": names}
            for (rank, scale, dropout), names in alike.items()
        ],
        "trained": trained_whole(model),
    }


def problem_of(described: typing.Any) -> str | None:
    """Return the problem of a description that should be from `describe`; None if it is valid."""
    if not isinstance(described, dict) or set(described) != {"adapters", "trained"}:
        return f"{shown(described)} instead of adapters and trained"
    trained = described["trained"]
    if not isinstance(trained, (list, tuple)) or not all(isinstance(name, str) for name in trained):
        return f"trained={shown(trained)}"
    return problem_of_groups(
        described["adapters"],
        {
            "rank": lambda rank: type(rank) is int and rank >= 1,
            "scale": lambda scale: type(scale) in (int, float) and math.isfinite(scale),
            "dropout": lambda rate: type(rate) in (int, float) and 0 <= rate < 1,
        },
    )


def restore(model: keras.Model, described: dict[str, typing.Any]) -> None:
    """Add the adapters that `describe` described, with new weights."""
    dense = named_sublayers(model, keras.layers.Dense)
    for each in described["adapters"]:
        for name in each["layers"]:
            if name in dense and each["rank"] > (widest := max(dense[name].kernel.shape)):
                raise ValueError(f"Expected a rank of at most {widest} in {name}, got {each['rank']}.")
    adapters = {
        name: LoraDense(dense[name], each["rank"], each["scale"], each["dropout"])
        for each in described["adapters"]
        for name in each["layers"]
        if name in dense
    }
    own = named_weights(model)
    adapt(model, adapters, [name for name in described["trained"] if name in own])


def adapt(model: keras.Model, adapters: Mapping[str, LoraDense], trained: Collection[str]) -> None:
    """Replace base layers by `LoraDense` layers, by name, and freeze all weights but the adapters and `trained`."""
    keep_inputs(model)
    own = named_weights(model)
    frozen = [weight for name, weight in own.items() if weight.trainable and name not in trained]
    for weight in frozen:
        weight.trainable = False
    for name in trained:
        own[name].trainable = True
    object.__setattr__(model, _FROZEN, frozen)  # past Keras's attribute tracking
    replace(model, [(adapter.base, adapter) for adapter in adapters.values()])
    uncompile(model)


def adapters_of(model: keras.Model) -> dict[str, LoraDense]:
    """Return the adapters of a model by the names of their layers.

    Raises:
        ValueError: for a model without adapters.
    """
    adapters = named_sublayers(model, LoraDense)
    if not adapters:
        raise ValueError(f"Expected a model with adapters, got a {type(model).__name__} without. Call add_lora first.")
    return adapters


def check_plain(model: typing.Any) -> None:
    """Refuse a model that has adapters already, and an object that is no model of this library."""
    if not hasattr(model, "config"):
        raise TypeError(f"Expected a task or a Backbone, got {type(model).__name__}.")
    if has_lora(model):
        raise ValueError(
            "Expected a model without adapters, got one that has some. Call merge_lora or remove_lora first."
        )


def is_adapter(name: str) -> bool:
    """Whether a weight of this name belongs to an adapter."""
    return name.split(".")[-2] in ADAPTER


def trained_whole(model: keras.Model) -> list[str]:
    """Return the names of the weights that are trained whole."""
    return [name for name, weight in named_weights(model).items() if weight.trainable and not is_adapter(name)]


def _ending(ends: str | Sequence[str], names: Collection[str]) -> list[str]:
    """Return the names that end in one of `ends`."""
    ends = (ends,) if isinstance(ends, str) else tuple(ends)
    fitting = {end: [name for name in names if f".{name}".endswith(f".{end}")] for end in ends}
    _refuse_missing("targets", fitting, {name.rpartition(".")[2] for name in names})
    return [name for name in names if any(name in each for each in fitting.values())]


def _within(parts: str | Sequence[str], weights: Collection[str]) -> list[str]:
    """Return the weights whose names contain one of `parts`, which is one layer name or several in a row."""
    parts = (parts,) if isinstance(parts, str) else tuple(parts)
    fitting = {part: [name for name in weights if f".{part}." in f".{name}"] for part in parts}
    _refuse_missing("train", fitting, {name.split(".")[-2] for name in weights})
    return [name for name in weights if any(name in each for each in fitting.values())]


def _refuse_missing(argument: str, fitting: Mapping[str, list[str]], known: Iterable[str]) -> None:
    missing = [repr(end) for end, names in fitting.items() if not names]
    if missing or not fitting and argument == "targets":
        known = ", ".join(sorted(known))
        raise ValueError(f"Expected {argument} to name layers such as {known}, got {', '.join(missing) or 'none'}.")
