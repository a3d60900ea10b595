"""Modules of sentence-transformers that compute on vectors, as records and tensors: Dense, LayerNorm, Normalize.

    2_Dense/config.json           {"in_features": 768, "out_features": 3072, "bias": false, "activation_function": …}
    2_Dense/model.safetensors     linear.weight, linear.bias, residual.weight; or pytorch_model.bin
    3_LayerNorm/config.json       {"dimension": 3072}
    4_Normalize/config.json       of newer versions alone

The weights of step `n` are `projection_{n}.…` in a model.

Source: sentence_transformers/base/modules/dense.py and normalize.py, sentence_transformer/modules/layer_norm.py,
https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import dataclasses
import json
import pathlib
import typing

import numpy as np
from keras import ops

from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain, read_bytes, read_object, shown
from keras_transformers.formats import preset, safetensors_files, tensor_files
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.projections import Normalize, Projection, Step, width_after

KINDS = {"Dense": Projection, "LayerNorm": LayerNorm, "Normalize": Normalize}
_NAMES = {record: kind for kind, record in KINDS.items()}
# Names of activations in this library, and the classes of PyTorch that compute the same.
_ACTIVATIONS = {
    None: "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
    "silu": "torch.nn.modules.activation.SiLU",
}
_BY_CLASS = {theirs.rpartition(".")[2]: ours for ours, theirs in _ACTIVATIONS.items()}
_DENSE_KEYS = {
    *("in_features", "out_features", "bias", "activation_function", "module_input_name", "module_output_name"),
    "use_residual",
}


@dataclasses.dataclass(frozen=True)
class StepFolder:
    """One module's folder.

    Attributes:
        folder: its path.
        step: the record.
        width: the width of the vectors that it reads; None for any.
        only: the names of its tensors, if its file holds others too.
    """

    folder: pathlib.Path
    step: Step
    width: int | None
    only: tuple[str, ...] = ()

    def tensors(self) -> typing.Any:
        """Open its tensors by their names in the file."""
        tensors = tensor_files.open_tensors(self.folder)
        return Renamed({name: name for name in self.only}, tensors) if self.only else tensors


@dataclasses.dataclass(frozen=True)
class StepWeights:
    """The weights of a module as they are stored: the file's name and content, and its tensors by their names."""

    file: str
    content: bytes
    tensors: dict[str, np.ndarray]


def kind_of(step: Step) -> str:
    """Return the name of a step's module in sentence-transformers."""
    return _NAMES[type(step)]


def read(folder: pathlib.Path, kind: str, level: str, default_level: str = "sentence_embedding") -> StepFolder:
    """Read one module's configuration.

    Args:
        folder: the module's folder.
        kind: one of `KINDS`.
        level: the vectors that the module must read, "sentence_embedding" or "token_embeddings".
        default_level: the vectors that it reads if its file does not say.

    Raises:
        ValueError: for settings that this library does not compute.
    """
    where = folder / "config.json"
    values = read_object(where, missing={} if kind == "Normalize" else None)
    if kind == "LayerNorm":
        _check_keys(values, {"dimension"}, where)
        return StepFolder(folder, LayerNorm(), _size(values, "dimension", where))
    for name in ("module_input_name", "module_output_name"):
        if (given := values.get(name) or (default_level if kind == "Dense" else "sentence_embedding")) != level:
            raise ValueError(f"Expected {name} in {where} to be {level!r}, got {shown(given)}. It is not supported.")
    if kind == "Normalize":
        return StepFolder(folder, Normalize(), None)
    _check_keys(values, _DENSE_KEYS, where)
    theirs = values.get("activation_function", _ACTIVATIONS["tanh"])
    function = theirs.rpartition(".")[2] if isinstance(theirs, str) and theirs.startswith("torch.nn.") else ""
    if function not in _BY_CLASS:
        raise ValueError(
            f"Expected activation_function in {where} to be one of {', '.join(_ACTIVATIONS.values())}, got "
            f"{shown(theirs)}. Others are not supported."
        )
    step = Projection(
        _size(values, "out_features", where),
        _BY_CLASS[function],
        _flag(values, "bias", True, where),
        _flag(values, "use_residual", False, where),
    )
    return StepFolder(folder, step, _size(values, "in_features", where))


def check_widths(steps: collections.abc.Sequence[StepFolder], width: int | None, first: str) -> None:
    """Refuse modules of which one reads vectors of another width than the module before it writes.

    Args:
        steps: the modules in order.
        width: the width of the vectors that the first one reads; None if unknown.
        first: the name of the module that computes these vectors.
    """
    for each in steps:
        if None not in (width, each.width) and width != each.width:
            raise ValueError(
                f"Expected {each.folder / 'config.json'} to read vectors of the {width} numbers that {first} gives, "
                f"got {each.width}. The modules do not belong together: download the folder again."
            )
        known = each.width if width is None else width
        width = None if known is None else width_after([each.step], known)
        first = each.folder.name


def _check_keys(values: dict[str, typing.Any], known: set[str], where: pathlib.Path) -> None:
    if unknown := sorted(set(values) - known):
        raise ValueError(f"Expected the keys {', '.join(sorted(known))} in {where}, got {', '.join(unknown)} too.")


def _size(values: dict[str, typing.Any], name: str, where: pathlib.Path) -> int:
    value = values.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"Expected {name} in {where} to be a number above 0, got {shown(value)}. Download it again.")
    return value


def _flag(values: dict[str, typing.Any], name: str, default: bool, where: pathlib.Path) -> bool:
    value = values.get(name, default)
    if type(value) is not bool:
        raise ValueError(f"Expected {name} in {where} to be true or false, got {shown(value)}. Download it again.")
    return value


# Weights


def _table(n: int) -> WeightMap:
    ours = f"projection_{n}"
    return WeightMap((Entry(f"{ours}.dense", "linear"), Entry(f"{ours}.residual", "residual"), Entry(ours, "norm")))


def is_weight(name: str) -> bool:
    """Return whether a model's weight belongs to a step."""
    return name.startswith("projection_")


def _by_step(weights: collections.abc.Mapping[str, typing.Any]) -> dict[int, dict[str, typing.Any]]:
    """Group the weights of steps, by the number of the step."""
    grouped: dict[int, dict[str, typing.Any]] = {}
    for name, weight in weights.items():
        if is_weight(name):
            number = int(name.partition(".")[0].removeprefix("projection_"))
            grouped.setdefault(number, {})[name] = weight
    return grouped


class Checkpoint:
    """A checkpoint whose steps have files of their own.

    Args:
        inner: the checkpoint of the rest of the model.
        steps: the folders of the steps.
    """

    def __init__(self, inner: typing.Any, steps: collections.abc.Sequence[StepFolder]) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._inner, name)

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> typing.Any:
        """Return the tensors by this library's names; see `hugging_face.Checkpoint.read`."""
        rest = {name: weight for name, weight in weights.items() if not is_weight(name)}
        parts = [_table(n).read(self._steps[n].tensors(), own, closed=True) for n, own in _by_step(weights).items()]
        return Joined(self._inner.read(rest, task), parts)


class Renamed(collections.abc.Mapping):
    """Tensors by other names, each read on access.

    Args:
        names: the names in a file, by ours.
        tensors: the tensors by their names in the file.
    """

    def __init__(self, names: dict[str, str], tensors: typing.Any) -> None:
        self._names = names
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._names[name]]

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple."""
        return self._tensors.shape(self._names[name])

    def dtype(self, name: str) -> str:
        """Return the dtype of one array."""
        return self._tensors.dtype(self._names[name])


def without(tensors: typing.Any, names: collections.abc.Collection[str]) -> Renamed:
    """Return tensors without some of them."""
    return Renamed({name: name for name in tensors if name not in names}, tensors)


class Joined(collections.abc.Mapping):
    """The tensors of a checkpoint and of its steps by name, each read on access."""

    def __init__(self, body: typing.Any, parts: list[typing.Any]) -> None:
        self._body = body
        self._homes = {name: part for part in (*parts, body) for name in part}

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._body, name)  # lists of unused tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._homes[name][name]

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple."""
        home = self._homes[name]
        return home.shape(name) if hasattr(home, "shape") else home[name].shape

    def dtype(self, name: str) -> str | None:
        """Return the dtype of one array; None if unknown."""
        dtype = getattr(self._homes[name], "dtype", None)
        return None if dtype is None else dtype(name)


def keep(folder: pathlib.Path) -> StepWeights | None:
    """Return the weights of a module's folder as they are stored; None for a module without weights."""
    for name in (preset.WEIGHTS, tensor_files.TORCH_WEIGHTS):
        if is_plain(folder / name):
            tensors = tensor_files.open_tensors(folder)
            return StepWeights(name, read_bytes(folder / name), {each: tensors[each] for each in tensors})
    return None


def weight_files(
    weights: collections.abc.Mapping[str, typing.Any],
    folders: collections.abc.Sequence[str],
    kept: collections.abc.Mapping[int, StepWeights],
    dtype: str | None,
) -> dict[str, typing.Any]:
    """Return the files of the steps' weights, as for `preset.save_folder`; unchanged ones byte for byte.

    Args:
        weights: the weights of the steps, by name.
        folders: the folder of each step.
        kept: results of `keep`, by step.
        dtype: the dtype to store weights as; None for their own.
    """
    files: dict[str, typing.Any] = {}
    for n, own in _by_step(weights).items():
        arrays = _table(n).write({name: ops.convert_to_numpy(weight) for name, weight in own.items()})
        files |= stored_or_new(arrays, folders[n], kept.get(n), dtype)
    return files


def stored_or_new(
    arrays: dict[str, np.ndarray], folder: str, kept: StepWeights | None, dtype: str | None
) -> dict[str, typing.Any]:
    """Return the file of one module's weights: as it was, if it holds the same numbers, or a new one.

    Args:
        arrays: the tensors by their names in the file.
        folder: the module's folder.
        kept: the result of `keep`, or None.
        dtype: the dtype to store weights as; None for their own.
    """
    if kept is not None and dtype is None and _equal(kept.tensors, arrays):
        return {f"{folder}/{kept.file}": kept.content}
    return {f"{folder}/{preset.WEIGHTS}": lambda path: safetensors_files.write_tensors(path, arrays, dtype=dtype)}


def _equal(stored: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> bool:
    if stored.keys() != arrays.keys():
        return False
    return all(
        stored[name].shape == array.shape and np.array_equal(stored[name].astype(array.dtype), array, equal_nan=True)
        for name, array in arrays.items()
    )


# Configurations


def config_of(step: Step, width: int, level: str) -> bytes | None:
    """Return the bytes of a step's `config.json`; None for a step that needs none.

    Args:
        step: the record.
        width: the width of the vectors that it reads.
        level: see `read`.
    """
    names = {"module_input_name": level, "module_output_name": level}
    if isinstance(step, Normalize):
        return None if level == "sentence_embedding" else _bytes(names)
    if isinstance(step, LayerNorm):
        return _bytes({"dimension": width})
    values = {
        "in_features": width,
        "out_features": step.output_dim,
        "bias": step.use_bias,
        "activation_function": _ACTIVATIONS.get(step.activation),
        **({} if level == "sentence_embedding" else names),
        **({"use_residual": True} if step.residual else {}),
    }
    return _bytes(values)


def check_expressible(steps: collections.abc.Iterable[Step], norms: bool = True) -> None:
    """Refuse steps that no module of sentence-transformers computes. `norms` is whether a norm may be among them."""
    for step in steps:
        if isinstance(step, LayerNorm) and not norms:
            raise ValueError(
                f"Expected no norm on the vectors of tokens, got {step}: folders of others cannot be saved."
            )
        if isinstance(step, Projection) and step.activation not in _ACTIVATIONS:
            known = ", ".join(str(each) for each in _ACTIVATIONS)
            raise ValueError(f"Expected a projection's activation to be one of {known}, got {step.activation!r}.")
        if isinstance(step, LayerNorm) and step != LayerNorm():
            raise ValueError(f"Expected {LayerNorm()} on vectors, got {step}: folders of others cannot be saved.")


def _bytes(values: dict[str, typing.Any]) -> bytes:
    return json.dumps(values, indent=4).encode("utf-8")
