"""Adapters (LoRA) in PEFT's format: `save_lora`, `load_lora`.

    adapter_config.json          rank, alpha, and the names of the layers
    adapter_model.safetensors    A and B of each layer, transposed, and the layers that are trained whole

Layers have their names in transformers, from the weight table of the family. If no family describes the model, they
have their names in this library.
"""

import collections
import math
import os
import re
import typing
import warnings
from collections.abc import Collection, Mapping

import keras
import numpy as np

from keras_transformers.callers import outside
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import adapter_config, preset, safetensors_files, sources
from keras_transformers.models.weights import named_weights
from keras_transformers.spelling import did_you_mean, spelled
from keras_transformers.transforms.lora import (
    LoraDense,
    adapt,
    adapters_of,
    check_plain,
    is_adapter,
    merged_weights,
    trained_whole,
)
from keras_transformers.transforms.sublayers import ADAPTER, named_sublayers, naming_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
# PEFT's names of tasks.
_TASKS = {
    "TextClassifier": "SEQ_CLS",
    "TokenClassifier": "TOKEN_CLS",
    "QuestionAnswerer": "QUESTION_ANS",
    "TextEmbedder": "FEATURE_EXTRACTION",
    "CausalLM": "CAUSAL_LM",
    "Seq2SeqLM": "SEQ_2_SEQ_LM",
}


def _table(model: keras.Model) -> tuple[WeightMap, Collection[str] | None]:
    """Return the `WeightMap` of a model and the names that it spells by default; of this library's names if no family
    describes the model."""
    naming = naming_of(model)
    if naming is None:
        layers = {name.rpartition(".")[0] for name in named_weights(model) if not is_adapter(name)}
        return WeightMap(tuple(Entry(layer, layer) for layer in layers)), None
    family, head = naming
    return family.table(model.config, head), None if head.entries else ()


def _stand_ins(model: keras.Model) -> dict[str, np.ndarray]:
    """Return zeros `[1, out]`, in the shape of B, by the names of all kernels, to look up the kernels' places."""
    dense = named_sublayers(model, keras.layers.Dense)
    return {f"{name}.kernel": np.broadcast_to(np.float32(0), (1, layer.units)) for name, layer in dense.items()}


@spelled
def save_lora(model: keras.Model, folder: str | os.PathLike[str], base_model: str | None = None) -> None:
    """Save a model's adapters, and the layers that are trained whole, in PEFT's format.

    If a family describes the model, PEFT opens the folder with transformers' model
    (`PeftModel.from_pretrained(base, folder)`). If several of our layers are one layer in transformers (GPT-2's
    `c_attn`), their adapters become one with the sum of their ranks, which computes the same.

    Args:
        model: a model that `add_lora` or `load_lora` changed.
        folder: the folder, created if it does not exist; adapters in it are replaced.
        base_model: the name or path of the base model, for PEFT to find it.

    Raises:
        ValueError: for a model without adapters.
        FileExistsError: if `folder` holds something else.

    Example:
        >>> kt.transforms.save_lora(classifier, "adapter", base_model="bert-base-uncased")
    """
    adapters = adapters_of(model)
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
    dropout = next(iter(adapters.values())).dropout
    config = {
        "peft_type": "LORA",
        "task_type": _TASKS.get(type(model).__name__),
        "base_model_name_or_path": base_model,
        **adapter_config.written_sizes(sizes),
        "lora_dropout": 0.0 if dropout is None else dropout.rate,
        "modules_to_save": modules or None,
        "fan_in_fan_out": not all(place.transposed for place in places.values()),
        "bias": "none",
        "inference_mode": True,
    }
    files = {CONFIG: preset.json_bytes(config), WEIGHTS: lambda path: safetensors_files.write_tensors(path, tensors)}
    preset.save_folder(folder, files, marker=CONFIG)


def _joined(parts: typing.Any) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """Return `(A [in, rank], B [rank, out] by name, scale)` for adapters whose layers are one layer in transformers.

    If all adapters have the same A, as when they were loaded from such a layer, it is used once. Otherwise their A lie
    side by side, and each B has zeros in the rows of the others.
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


def _whole(
    model: keras.Model, table: WeightMap, like: Collection[str] | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return `(modules, tensors)`: layers trained whole, by transformers' names. A module that is trained completely,
    such as a `classifier` of two layers, is named instead of its layers."""
    weights, trained = merged_weights(model), trained_whole(model)
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


def _whole_number(value: float) -> float:
    """Return a float as an int if it is a whole number except for rounding."""
    return round(value) if math.isclose(value, round(value), rel_tol=1e-9) else value


@spelled
def load_lora(model: keras.Model, source: str | os.PathLike[str]) -> None:
    """Add the adapters in a folder of `save_lora` or PEFT to a model.

    The base is frozen, as after `add_lora`: the adapters can be trained further, merged or saved. Compile the model
    again.

    Args:
        model: the model that the adapters were made for, without adapters.
        source: the folder, or `hf://org/name` and the like, as for `from_preset`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: listing all that does not fit: PEFT options that change the computation, layers that the model
            lacks, and other shapes. The model is unchanged then.

    Example:
        >>> kt.transforms.load_lora(classifier, "adapter")
    """
    check_plain(model)
    folder = sources.resolve(source)
    values = preset.read_json(folder, CONFIG)
    if not is_plain(folder / WEIGHTS):
        raise FileNotFoundError(
            f"Expected {WEIGHTS} in {folder}, found none. Save the adapter with PEFT's safe_serialization=True."
        )
    tensors = safetensors_files.read_tensors(folder / WEIGHTS)
    problems = adapter_config.malformed(values)
    if problems:
        raise ValueError(f"Expected an adapter's configuration in {folder / CONFIG}, got {'; '.join(problems)}.")
    problems = adapter_config.refused(values)
    pairs: dict[str, dict[str, str]] = collections.defaultdict(dict)
    whole = {}
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
    adapters = _fitted(model, values, tensors, pairs, problems)
    trained = _fitted_whole(model, {bare: tensors[name] for bare, name in whole.items()}, problems)
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
    adapt(model, layers, list(trained))


def _fitted(
    model: keras.Model,
    values: dict[str, typing.Any],
    tensors: safetensors_files.Tensors,
    pairs: Mapping[str, dict[str, str]],
    problems: list[str],
) -> dict[str, typing.Any]:
    """Match PEFT's adapters with the model's layers: return `(A [in, rank], B [rank, out], scale)` by layer.
    Mismatches are added to `problems`."""
    table, _ = _table(model)
    dense, zeros = named_sublayers(model, keras.layers.Dense), _stand_ins(model)
    groups = collections.defaultdict(list)
    places = table.places(zeros, [f"{module}.weight" for module in pairs])
    for name, place in places.items():
        groups[place.theirs.removesuffix(".weight")].append(name)
    adapters = {}
    for module, pair in pairs.items():
        if module not in groups:
            problems.append(f"no layer {module}{did_you_mean(module, groups)}")
            continue
        names, (rank, scale) = groups[module], adapter_config.sizes(values, module)
        width = dense[names[0].removesuffix(".kernel")].input_spec.axes[-1]
        out = sum(zeros[name].shape[1] for name in names)
        shapes = {part: tensors.shape(name) for part, name in pair.items()}
        if wrong := _other_shapes(shapes, {"lora_A": (rank, width), "lora_B": (out, rank)}):
            problems.append(f"{module}: {wrong}")
            continue
        a, b = (np.asarray(tensors[pair[part]]).astype("float32") for part in ADAPTER)
        stand_ins = {name: np.broadcast_to(np.float32(0), (len(a), zeros[name].shape[1])) for name in names}
        parts = table.read({f"{module}.weight": b if places[names[0]].transposed else b.T}, stand_ins)
        for name, (rows, part) in _used_ranks({name: np.array(parts[name]) for name in names}).items():
            adapters[name.removesuffix(".kernel")] = a.T[:, rows], part[rows], scale
    return adapters


def _other_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return a sentence about the shapes of A and B if they are not the expected ones; else None."""
    if shapes == expected:
        return None
    found = ", ".join(f"{part} {list(shapes[part]) if part in shapes else 'missing'}" for part in ADAPTER)
    wanted = ", ".join(f"{part} {list(shape)}" for part, shape in expected.items())
    return f"expected {wanted}, got {found}"


def _used_ranks(parts: dict[str, np.ndarray]) -> dict[str, tuple[typing.Any, np.ndarray]]:
    """Return `(rows, B)` by layer for layers that share an adapter: a layer may use none, or only a part, of its
    rank."""
    used = {name: part for name, part in parts.items() if part.any()}
    if len(parts) == 1 or not used:
        return {name: (slice(None), part) for name, part in parts.items()}
    return {name: (part.any(axis=1), part) for name, part in used.items()}


def _fitted_whole(model: keras.Model, tensors: Mapping[str, np.ndarray], problems: list[str]) -> dict[str, np.ndarray]:
    """Match tensors of layers that are trained whole with the model's weights: return arrays by the names of weights.
    Mismatches are added to `problems`."""
    (table, _), weights = _table(model), named_weights(model)
    read = table.read(tensors, weights)
    for name in (*read, *read.outside):
        if name not in weights:
            problems.append(f"no weight {name} {list(read.shape(name))}")
        elif "int" in weights[name].dtype:
            problems.append(f"{name}: expected a float weight to give another value, got a quantized one")
        elif read.shape(name) != tuple(weights[name].shape):
            problems.append(f"{name}: expected shape {list(weights[name].shape)}, got {list(read.shape(name))}")
    if unused := [*read.ignored, *read.heads]:
        warnings.warn(f"The model has no place for {', '.join(unused)}: left out.", stacklevel=outside())
    return {name: np.asarray(read[name]) for name in read if name in weights}
