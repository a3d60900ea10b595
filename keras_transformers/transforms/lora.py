"""LoRA: a small trained product beside a matrix that stays as it is (Hu et al. 2021).

    x ──┬──► base: x W + bias ───────────────────────────┬──► + ──► y       W [in, out]   stays
        └──► dropout ──► lora_A: x A ──► lora_B: … B ──► × scale             A [in, rank]  trained
                                                                             B [rank, out] trained, 0 at first

Only `merge_lora` computes `W + scale · A B`. `formats/peft.py` reads and writes adapters as PEFT's files.
"""

import collections
import math
import re

import keras
import numpy as np

from keras_transformers.backends import products
from keras_transformers.files.reading import shown
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.layer import Layer
from keras_transformers.models.changes import problem_of_groups
from keras_transformers.models.weights import named_weights
from keras_transformers.spelling import spelled
from keras_transformers.transforms.sublayers import (
    ADAPTER,
    ROUTER,
    label_weights,
    named_sublayers,
    renew,
    replace,
)

_FROZEN = "_frozen_by_lora"


class LoraDense(Layer):
    """A dense layer with an adapter beside it.

    Args:
        base: a built `keras.layers.Dense`, quantized or not.
        rank: the width between A and B.
        scale: what their product is multiplied by.
        dropout: share of the adapter's inputs dropped in training.
        seed: where A begins.

    Shape: `[…, in]` to `[…, out]`, as of `base`.

    The adapter's weights are float32, and compute in the base's dtype.

    Source: Hu et al. 2021, section 4.1.
    """

    _transient = ("base",)

    def __init__(self, base, rank, scale, dropout=0.0, seed=None):
        compute = base.compute_dtype
        super().__init__(name=base.name, dtype=compute if compute == "float32" else f"mixed_{compute}")
        self.base = base
        self.rank, self.scale = rank, scale
        options = {"use_bias": False, "dtype": self.dtype_policy}
        # Uniform in ±1/√in, as PEFT begins it.
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.lora_A = keras.layers.Dense(rank, kernel_initializer=start, name="lora_A", **options)
        self.lora_B = keras.layers.Dense(base.units, kernel_initializer="zeros", name="lora_B", **options)
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None
        self._path = base.path  # it stands there, and its weights' names begin so
        parent, _, _ = base.path.rpartition("/")
        with keras.name_scope(base.name, override_parent=parent):
            self.lora_A.build((None, base.input_spec.axes[-1]))
            self.lora_B.build((None, rank))
        self.built = True

    def call(self, inputs, training=None):
        x = inputs if self.dropout is None else self.dropout(inputs, training=training)
        return products.dense(self.base, inputs) + self.lora_B(self.lora_A(x)) * self.scale

    def merged_kernel(self):
        """The one matrix that computes the same, a numpy array."""
        kernel, a, b = (keras.ops.convert_to_numpy(each.kernel) for each in (self.base, self.lora_A, self.lora_B))
        return (kernel.astype("float32") + self.scale * (a @ b)).astype(kernel.dtype)


@spelled
def add_lora(
    model, *, rank=8, alpha=16, targets=("query", "value"), dropout=0.0, rank_stabilised=False, train=None, seed=None
):
    """Put a LoRA adapter beside dense layers of a model, and train nothing else but a head of labels.

    The model computes what it did, until it is trained. Compile it anew: the optimizer and the functions that were made
    for the model as it was are dropped. (Keras forgets what is frozen when `trainable` of a whole model is set.)

    Args:
        model: a task or a `Backbone`, changed in place. Its dense layers may be quantized.
        rank: the width between the adapter's two matrices.
        alpha: the adapter is multiplied by `alpha / rank`.
        targets: which layers, by the ends of their names (`explain` and `model.summary` show them): "query",
            "self_attention.query", "encoder.block_0.feed_forward.up", …; or "all", every dense layer of the body but
            routers. Experts, which are stacked, have no adapters.
        dropout: share of the adapters' inputs dropped in training.
        rank_stabilised: multiply by `alpha / √rank` instead (Kalajdzievski 2023).
        train: which layers are trained whole, by the ends of their names; by default those of a head that the body's
            own checkpoint lacks, such as a classifier's. () for none.
        seed: where the adapters begin.

    Raises:
        ValueError: for a model that has adapters, numbers out of range, and targets that no layer fits; it lists all.

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
    if targets == "all":
        heads = {"head", *(name.partition(".")[0] for name in label_weights(model))}
        chosen = [name for name in dense if name.partition(".")[0] not in heads and not name.endswith(f".{ROUTER}")]
    else:
        chosen = _ending(targets, dense)
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
    seeds = [None] * len(chosen) if seed is None else np.random.default_rng(seed).integers(2**31, size=len(chosen))
    adapters = {
        name: LoraDense(dense[name], rank, scale, float(dropout), None if each is None else int(each))
        for name, each in zip(chosen, seeds, strict=True)
    }
    adapt(model, adapters, trained)


def remove_lora(model):
    """Take the adapters away: the model is as it was without them, and all that they froze trains again.

    Layers that were trained whole keep what they have learnt. Compile the model anew.

    Raises:
        ValueError: for a model without adapters.
    """
    adapters = adapters_of(model)
    for weight in getattr(model, _FROZEN, ()):
        weight.trainable = True
    replace(model, [(adapter, adapter.base) for adapter in adapters.values()])
    renew(model)


def merge_lora(model):
    """Add each adapter's product to the matrix beside it, and take the adapters away: a plain model that computes the
    same. Compile it anew.

    Raises:
        ValueError: for a model without adapters, or with quantized matrices, to which nothing can be added.
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


def has_lora(model):
    """Whether a model has adapters."""
    return bool(named_sublayers(model, LoraDense))


def merged_weights(model):
    """A model's weights by their names in files, as `merge_lora` would leave them; the model stays as it is."""
    adapters = named_sublayers(model, LoraDense)
    weights = {name: weight for name, weight in named_weights(model).items() if not is_adapter(name)}
    weights |= _merged_by_keras(model, weights)
    weights = {name: weight for name, weight in weights.items() if not _KERAS_ADAPTER.search(name)}
    return weights | {f"{name}.kernel": adapter.merged_kernel() for name, adapter in adapters.items()}


_KERAS_ADAPTER = re.compile(r"\.lora_(kernel|embeddings)_[ab]$")


def _merged_by_keras(model, weights):
    """Those of `weights` beside which Keras's own `enable_lora` has put an adapter, merged with it."""
    names, merged = {id(weight): name for name, weight in weights.items()}, {}
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            place = "kernel" if hasattr(layer, "lora_kernel_a") else "embeddings"
            name = names[id(getattr(layer, f"_{place}"))]
            merged[name] = keras.ops.convert_to_numpy(getattr(layer, place))
    return merged


# What Keras's own files and presets of ours say of adapters.


def describe(model):
    """What `restore` needs to give a model the adapters of this one, plain JSON; None where it has none."""
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


def problem_of(described):
    """What is wrong with what `describe` is to have told, in words; None for nothing."""
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


def restore(model, described):
    """Adapters as `describe` told, their weights new."""
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


def adapt(model, adapters, trained):
    """Put `LoraDense` layers, by name, in the place of their bases, and freeze all but them and what is `trained`."""
    own = named_weights(model)
    frozen = [weight for name, weight in own.items() if weight.trainable and name not in trained]
    for weight in frozen:
        weight.trainable = False
    for name in trained:
        own[name].trainable = True
    object.__setattr__(model, _FROZEN, frozen)  # past Keras's attribute tracking
    replace(model, [(adapter.base, adapter) for adapter in adapters.values()])
    renew(model)


def adapters_of(model):
    adapters = named_sublayers(model, LoraDense)
    if not adapters:
        raise ValueError(f"Expected a model with adapters, got a {type(model).__name__} without. Call add_lora first.")
    return adapters


def check_plain(model):
    if not hasattr(model, "config"):
        raise TypeError(f"Expected a task or a Backbone, got {type(model).__name__}.")
    if has_lora(model):
        raise ValueError(
            "Expected a model without adapters, got one that has some. Call merge_lora or remove_lora first."
        )


def is_adapter(name):
    return name.split(".")[-2] in ADAPTER


def trained_whole(model):
    """The names of what is trained whole."""
    return [name for name, weight in named_weights(model).items() if weight.trainable and not is_adapter(name)]


def _ending(ends, names):
    """The names that end in one of `ends`."""
    ends = (ends,) if isinstance(ends, str) else tuple(ends)
    fitting = {end: [name for name in names if f".{name}".endswith(f".{end}")] for end in ends}
    _refuse_missing("targets", fitting, {name.rpartition(".")[2] for name in names})
    return [name for name in names if any(name in each for each in fitting.values())]


def _within(parts, weights):
    """The weights in whose names one of `parts` is a layer, or some in a row."""
    parts = (parts,) if isinstance(parts, str) else tuple(parts)
    fitting = {part: [name for name in weights if f".{part}." in f".{name}"] for part in parts}
    _refuse_missing("train", fitting, {name.split(".")[-2] for name in weights})
    return [name for name in weights if any(name in each for each in fitting.values())]


def _refuse_missing(argument, fitting, known):
    missing = [repr(end) for end, names in fitting.items() if not names]
    if missing or not fitting and argument == "targets":
        known = ", ".join(sorted(known))
        raise ValueError(f"Expected {argument} to name layers such as {known}, got {', '.join(missing) or 'none'}.")
