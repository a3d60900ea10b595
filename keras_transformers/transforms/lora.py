"""LoRA: a small trained product beside a matrix that stays as it is (Hu et al. 2021).

    x ──┬──► base: x W + bias ───────────────────────────┬──► + ──► y       W [in, out]   stays
        └──► dropout ──► lora_A: x A ──► lora_B: … B ──► × scale             A [in, rank]  trained
                                                                             B [rank, out] trained, 0 at first

`W + scale · A B` is never computed but by `merge_lora`. Adapters are exchanged as PEFT's files,

    adapter_config.json          rank, alpha, and the names of the layers
    adapter_model.safetensors    A and B of each, transposed, and the layers that are trained whole

by transformers' names of the layers, which come from the family's weight table; by our own where no family describes
the model.
"""

import collections
import math
import re
import warnings

import keras
import numpy as np

from keras_transformers.callers import outside
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain, shown
from keras_transformers.formats import preset, sources
from keras_transformers.layers import products
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.layer import Layer
from keras_transformers.models.weights import named_weights
from keras_transformers.spelling import did_you_mean, spelled
from keras_transformers.transforms import saved
from keras_transformers.transforms.sublayers import (
    ADAPTER,
    ROUTER,
    label_weights,
    named_sublayers,
    naming_of,
    renew,
    replace,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_FROZEN = "_frozen_by_lora"
_PREFIX = "base_model.model."
# What a module that PEFT knows a task by is called over there.
_TASKS = {
    "TextClassifier": "SEQ_CLS",
    "TokenClassifier": "TOKEN_CLS",
    "QuestionAnswerer": "QUESTION_ANS",
    "TextEmbedder": "FEATURE_EXTRACTION",
    "CausalLM": "CAUSAL_LM",
    "Seq2SeqLM": "SEQ_2_SEQ_LM",
}
# Keys of an adapter_config.json that change nothing of what an adapter computes: names, and how it was initialised and
# trained. Where it stands is told by its tensors.
_INERT = frozenset(
    """
    task_type auto_mapping peft_version base_model_name_or_path revision inference_mode target_modules exclude_modules
    fan_in_fan_out modules_to_save layers_to_transform layers_pattern megatron_config megatron_core loftq_config
    eva_config corda_config lora_ga_config qalora_group_size ensure_weight_tying
    """.split()
)
# Ways of initialising that leave the base as it was.
_INITIALISERS = (True, False, "gaussian", "eva", "orthogonal")


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
    _check_plain(model)
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
    _adapt(model, adapters, trained)


def remove_lora(model):
    """Take the adapters away: the model is as it was without them, and all that they froze trains again.

    Layers that were trained whole keep what they have learnt. Compile the model anew.

    Raises:
        ValueError: for a model without adapters.
    """
    adapters = _adapters(model)
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
    adapters = _adapters(model)
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
    weights = {name: weight for name, weight in named_weights(model).items() if not _is_adapter(name)}
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
        "trained": _trained(model),
    }


def problem_of(described):
    """What is wrong with what `describe` is to have told, in words; None for nothing."""
    if not isinstance(described, dict) or set(described) != {"adapters", "trained"}:
        return f"{shown(described)} instead of adapters and trained"
    trained = described["trained"]
    if not isinstance(trained, (list, tuple)) or not all(isinstance(name, str) for name in trained):
        return f"trained={shown(trained)}"
    return saved.problem_of_groups(
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
    _adapt(model, adapters, [name for name in described["trained"] if name in own])


def _adapt(model, adapters, trained):
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


def _adapters(model):
    adapters = named_sublayers(model, LoraDense)
    if not adapters:
        raise ValueError(f"Expected a model with adapters, got a {type(model).__name__} without. Call add_lora first.")
    return adapters


def _check_plain(model):
    if not hasattr(model, "config"):
        raise TypeError(f"Expected a task or a Backbone, got {type(model).__name__}.")
    if has_lora(model):
        raise ValueError(
            "Expected a model without adapters, got one that has some. Call merge_lora or remove_lora first."
        )


def _is_adapter(name):
    return name.split(".")[-2] in ADAPTER


def _trained(model):
    """The names of what is trained whole."""
    return [name for name, weight in named_weights(model).items() if weight.trainable and not _is_adapter(name)]


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


# PEFT's files


def _table(model):
    """The `WeightMap` of a model, and how it spells names by itself; of our own names where no family has the model."""
    naming = naming_of(model)
    if naming is None:
        layers = {name.rpartition(".")[0] for name in named_weights(model) if not _is_adapter(name)}
        return WeightMap(tuple(Entry(layer, layer) for layer in layers)), None
    family, head = naming
    return family.table(model.config, head), None if head.entries else ()


def _stand_ins(model):
    """Arrays of zeros `[1, out]` by the names of all kernels: what the table is asked about, as if it were B."""
    dense = named_sublayers(model, keras.layers.Dense)
    return {f"{name}.kernel": np.broadcast_to(np.float32(0), (1, layer.units)) for name, layer in dense.items()}


@spelled
def save_lora(model, folder, base_model=None):
    """Save a model's adapters, and what is trained whole beside them, as PEFT's files.

    PEFT opens them over transformers' model (`PeftModel.from_pretrained(base, folder)`), where a family describes this
    one. Where several of our layers are one over there (GPT-2's `c_attn`), their adapters become one, of the sum of
    their ranks, which computes the same.

    Args:
        model: a model that `add_lora` or `load_lora` changed.
        folder: made if it is not there; adapters that are there are replaced.
        base_model: the name or path of the base model, for PEFT to find it.

    Raises:
        ValueError: for a model without adapters.
        FileExistsError: when `folder` holds something else.

    Example:
        >>> kt.transforms.save_lora(classifier, "adapter", base_model="bert-base-uncased")
    """
    adapters = _adapters(model)
    table, like = _table(model)
    zeros = _stand_ins(model)
    places = table.places(zeros, like)
    modules, whole = _whole(model, table, like)
    groups = collections.defaultdict(list)
    for name, place in places.items():
        groups[place.theirs].append(name)
    unnamed = [name for name in adapters if f"{name}.kernel" not in places]
    if unnamed:
        raise ValueError(
            f"Expected an entry of the family's table for each adapter, got none for {', '.join(unnamed)}."
        )
    tensors, sizes = {}, {}
    for theirs, names in groups.items():
        parts = {name: adapters[layer] for name in names if (layer := name.removesuffix(".kernel")) in adapters}
        if not parts:
            continue
        a, b, scale = _joined(parts)
        rank = a.shape[1]
        kernels = {name: b.get(name, np.zeros((rank, zeros[name].shape[1]), "float32")) for name in names}
        (written,) = table.write(kernels, like).values()
        module = theirs.removesuffix(".weight")
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = a.T
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = written if places[names[0]].transposed else written.T
        sizes[module] = rank, _whole_number(scale * rank)
    tensors |= {_PREFIX + name: array for name, array in whole.items()}
    (rank, alpha), _ = collections.Counter(sizes.values()).most_common(1)[0]
    other = {module: size for module, size in sizes.items() if size != (rank, alpha)}
    dropout = next(iter(adapters.values())).dropout
    config = {
        "peft_type": "LORA",
        "task_type": _TASKS.get(type(model).__name__),
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0 if dropout is None else dropout.rate,
        "rank_pattern": {module: size[0] for module, size in other.items()},
        "alpha_pattern": {module: size[1] for module, size in other.items()},
        "target_modules": sorted(sizes),
        "modules_to_save": modules or None,
        "fan_in_fan_out": not all(place.transposed for place in places.values()),
        "bias": "none",
        "inference_mode": True,
    }
    files = {CONFIG: preset.json_bytes(config), WEIGHTS: lambda path: preset.write_tensors(path, tensors)}
    preset.save_folder(folder, files, marker=CONFIG)


def _joined(parts):
    """`(A [in, rank], B [rank, out] by name, scale)` of adapters whose layers are one layer over there.

    One A serves them all where they have the same, as those have that came from such a layer; else theirs lie side by
    side, and each B has zeros for the others'.
    """
    arrays = {
        name: [keras.ops.convert_to_numpy(each.kernel).astype("float32") for each in (adapter.lora_A, adapter.lora_B)]
        for name, adapter in parts.items()
    }
    scale = next(iter(parts.values())).scale
    for name, adapter in parts.items():
        arrays[name][1] *= adapter.scale / scale
    firsts = [a for a, _ in arrays.values()]
    if all(a.shape == firsts[0].shape and (a == firsts[0]).all() for a in firsts):
        return firsts[0], {name: b for name, (_, b) in arrays.items()}, scale
    rank = sum(a.shape[1] for a in firsts)
    kernels, begin = {}, 0
    for name, (_, b) in arrays.items():
        kernels[name] = np.zeros((rank, b.shape[1]), "float32")
        kernels[name][begin : begin + len(b)] = b
        begin += len(b)
    return np.concatenate(firsts, axis=1), kernels, scale


def _whole(model, table, like):
    """`(modules, tensors)`: what is trained whole, by their names. A module of theirs is named alone where all of it is
    trained, such as a `classifier` of two layers."""
    weights, trained = merged_weights(model), _trained(model)
    places = table.places(weights, like)
    unnamed = [name for name in trained if name not in places]
    if unnamed:
        raise ValueError(
            f"Expected an entry of the family's table for each weight that is trained, got none for "
            f"{', '.join(unnamed)}."
        )
    theirs = {name: place.theirs for name, place in places.items()}
    modules = []
    for name in trained:
        module, top = theirs[name].rpartition(".")[0], theirs[name].partition(".")[0]
        members = [each for each, other in theirs.items() if other.startswith(f"{top}.")]
        modules.append(top if set(members) <= set(trained) else module)
    tensors = table.write({name: weights[name] for name in trained}, like) if trained else {}
    return list(dict.fromkeys(modules)), tensors


def _whole_number(value):
    """A float that is a whole number but for rounding as an int."""
    return round(value) if math.isclose(value, round(value), rel_tol=1e-9) else value


@spelled
def load_lora(model, source):
    """Give a model the adapters of a folder that `save_lora` or PEFT wrote.

    The base is frozen, as after `add_lora`: the adapters can be trained further, merged or saved. Compile the model
    anew.

    Args:
        model: the model that they were made for, without adapters.
        source: the folder; or `hf://org/name` and the like, as for `from_preset`.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: listing all that does not fit: options of PEFT's that compute something else, layers that the model
            has not, and other shapes. The model is untouched then.

    Example:
        >>> kt.transforms.load_lora(classifier, "adapter")
    """
    _check_plain(model)
    folder = sources.resolve(source)
    values = preset.read_json(folder, CONFIG)
    if not is_plain(folder / WEIGHTS):
        raise FileNotFoundError(
            f"Expected {WEIGHTS} in {folder}, found none. Save the adapter with PEFT's safe_serialization=True."
        )
    tensors = preset.read_tensors(folder / WEIGHTS)
    problems = _malformed(values)
    if problems:
        raise ValueError(f"Expected an adapter's configuration in {folder / CONFIG}, got {'; '.join(problems)}.")
    problems = _refused(values)
    pairs, whole = collections.defaultdict(dict), {}
    for name in tensors:
        bare = name.removeprefix(_PREFIX)
        match = re.fullmatch(r"(.+)\.(lora_[AB])\.weight", bare)
        if match:
            pairs[match[1]][match[2]] = name
        elif ".lora_" in bare:
            problems.append(f"{bare}: only lora_A and lora_B of linear layers are supported")
        else:
            whole[bare] = name
    if not pairs and not problems:
        problems.append(f"no lora_A and lora_B in {WEIGHTS}")
    adapters, trained = _fitted(model, values, tensors, pairs, whole, problems)
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        base = values.get("base_model_name_or_path")
        made = f", made for {base}," if base else ""
        raise ValueError(f"The adapter in {folder}{made} does not fit this {type(model).__name__}:\n  {shown}{more}")
    dense, weights = named_sublayers(model, keras.layers.Dense), named_weights(model)
    layers = {}
    for name, (a, b, scale) in adapters.items():
        layers[name] = LoraDense(dense[name], a.shape[1], scale, values.get("lora_dropout", 0.0))
        layers[name].lora_A.kernel.assign(a)
        layers[name].lora_B.kernel.assign(b)
    for name, array in trained.items():
        weights[name].assign(array)
    _adapt(model, layers, list(trained))


def _malformed(values):
    """What an adapter_config.json says in another form than PEFT's."""
    problems = []
    for name in ("r", "lora_alpha", "lora_dropout"):
        value = values.get(name, 1)
        if type(value) not in (int, float) or not value >= 0 or (name == "r" and (type(value) is float or value < 1)):
            problems.append(f"{name}: expected a number, got {shown(value)}")
    if not problems and values.get("lora_dropout", 0) >= 1:
        problems.append(f"lora_dropout: expected a share below 1, got {shown(values['lora_dropout'])}")
    for name in ("rank_pattern", "alpha_pattern"):
        pattern = values.get(name) or {}
        if not isinstance(pattern, dict):
            problems.append(f"{name}: expected numbers by names of layers, got {shown(pattern)}")
            continue
        kinds = (int,) if name == "rank_pattern" else (int, float)
        for key, value in pattern.items():
            if type(value) not in kinds or value < 1 and name == "rank_pattern" or not _is_pattern(key):
                problems.append(f"{name}: expected a number by the name of a layer, got {shown({key: value})}")
    return problems


def _is_pattern(text):
    """Whether a text is a regular expression that takes no longer than a name does: PEFT's are names, with dots."""
    if re.search(r"\)[*+?{]", text):
        return False
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _refused(values):
    """What an adapter_config.json asks for, and this library does not compute."""
    read = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"}
    problems = []
    for name, value in values.items():
        if name == "peft_type":
            fits, wanted = value == "LORA", "'LORA'"
        elif name == "bias":
            fits, wanted = value == "none", "'none'"
        elif name == "init_lora_weights":
            # Others take their product out of the base, which is another model then.
            fits, wanted = value in _INITIALISERS, f"one of {', '.join(map(repr, _INITIALISERS))}"
        else:
            # What PEFT will know one day does nothing as long as it is off.
            fits, wanted = name in read or name in _INERT or not value, "it off"
        if not fits:
            problems.append(f"{name}: expected {wanted}, got {shown(value)}")
    return problems


def _fitted(model, values, tensors, pairs, whole, problems):
    """What of PEFT's tensors belongs to which of our layers: `(A [in, rank], B [rank, out], scale)` by layer, and
    arrays by the names of weights. What does not fit is added to `problems`."""
    table, _ = _table(model)
    dense, weights, zeros = named_sublayers(model, keras.layers.Dense), named_weights(model), _stand_ins(model)
    groups = collections.defaultdict(list)
    places = table.places(zeros, [f"{module}.weight" for module in pairs])
    for name, place in places.items():
        groups[place.theirs.removesuffix(".weight")].append(name)
    adapters = {}
    for module, pair in pairs.items():
        if module not in groups:
            problems.append(f"no layer {module}{did_you_mean(module, groups)}")
            continue
        names, sizes = groups[module], _sizes(values, module)
        width = dense[names[0].removesuffix(".kernel")].input_spec.axes[-1]
        out = sum(zeros[name].shape[1] for name in names)
        expected = {"lora_A": (sizes[0], width), "lora_B": (out, sizes[0])}
        shapes = {part: tensors.shape(name) for part, name in pair.items()}
        if shapes != expected:
            told = ", ".join(f"{part} {list(shapes[part]) if part in shapes else 'missing'}" for part in ADAPTER)
            wanted = ", ".join(f"{part} {list(shape)}" for part, shape in expected.items())
            problems.append(f"{module}: expected {wanted}, got {told}")
            continue
        a, b = (np.asarray(tensors[pair[part]]).astype("float32") for part in ADAPTER)
        stand_ins = {name: np.broadcast_to(np.float32(0), (len(a), zeros[name].shape[1])) for name in names}
        parts = table.read({f"{module}.weight": b if places[names[0]].transposed else b.T}, stand_ins)
        used = {name: np.array(parts[name]) for name in names}
        if len(names) > 1:  # of a layer that is several of ours, some may have no part in it, or in some of the rank
            used = {name: part for name, part in used.items() if part.any()} or used
        for name, part in used.items():
            rows = part.any(axis=1) if len(names) > 1 and part.any() else slice(None)
            adapters[name.removesuffix(".kernel")] = a.T[:, rows], part[rows], sizes[1]
    read = table.read({bare: tensors[name] for bare, name in whole.items()}, weights)
    for name in (*read, *read.outside):
        if name not in weights:
            problems.append(f"no weight {name} {list(read.shape(name))}")
        elif "int" in weights[name].dtype:
            problems.append(f"{name}: expected a float weight to give another value, got a quantized one")
        elif read.shape(name) != tuple(weights[name].shape):
            problems.append(f"{name}: expected shape {list(weights[name].shape)}, got {list(read.shape(name))}")
    if unused := [*read.ignored, *read.heads]:
        warnings.warn(f"The model has no place for {', '.join(unused)}: left out.", stacklevel=outside())
    return adapters, {name: np.asarray(read[name]) for name in read if name in weights}


def _sizes(values, module):
    """The rank of a layer's adapter, and what its product is multiplied by."""

    def of(pattern, default):
        named = [value for key, value in (pattern or {}).items() if re.fullmatch(rf"(.*\.)?({key})", module)]
        return named[0] if named else default

    rank = of(values.get("rank_pattern"), values.get("r", 8))
    alpha = of(values.get("alpha_pattern"), values.get("lora_alpha", 8))
    return rank, float(alpha / (math.sqrt(rank) if values.get("use_rslora") else rank))
