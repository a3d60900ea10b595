"""Rotary positions in a `config.json`: version 4 of transformers has two keys, version 5 one.

    4   "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, …}
    5   "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, …}

Both versions read the two keys, so those are written.
"""

import dataclasses
import typing
from collections.abc import Mapping

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.windows import KINDS
from keras_transformers.files.reading import shown
from keras_transformers.layers.positions import Rotary
from keras_transformers.layers.rotary_scaling import (
    AlphaScaling,
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    NtkScaling,
    RotaryScaling,
    YarnScaling,
    yarn_attention_factor,
)

# By transformers' name of a scaling: this library's record, and its fields by transformers' names.
_LENGTH, _FACTOR = "original_max_position_embeddings", "attention_factor"
_KINDS = {
    "linear": (LinearScaling, {"factor": "factor"}),
    "ntk": (NtkScaling, {"factor": "factor"}),
    "alpha": (AlphaScaling, {"alpha": "alpha"}),  # in files "dynamic", with a key "alpha"
    "dynamic": (DynamicScaling, {"factor": "factor"}),
    "llama3": (
        Llama3Scaling,
        {
            "factor": "factor",
            "low_freq_factor": "low_frequency_factor",
            "high_freq_factor": "high_frequency_factor",
            _LENGTH: "original_length",
        },
    ),
    "yarn": (
        YarnScaling,
        {
            "factor": "factor",
            _LENGTH: "original_length",
            _FACTOR: _FACTOR,
            "beta_fast": "fast",
            "beta_slow": "slow",
            "truncate": "truncate",
        },
    ),
    "longrope": (
        LongScaling,
        {
            "short_factor": "short_factors",
            "long_factor": "long_factors",
            "factor": "factor",
            _LENGTH: "original_length",
            _FACTOR: _FACTOR,
        },
    ),
}
_OWN_KEYS = ("rope_theta", "partial_rotary_factor")
_BESIDE_ALPHA = ("factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")  # which change nothing then
_OLD_KINDS = {"su": "longrope"}
SCALINGS = ("linear", "dynamic", "llama3", "yarn")
_WITH_LENGTH = tuple(kind for kind, (_, names) in _KINDS.items() if _LENGTH in names)


def rotary_values(
    read: ConfigReader, defaults: Mapping[str, typing.Any], called: Mapping[str, str]
) -> tuple[str, dict[str, typing.Any]]:
    """Return `(where, values)`: the key that holds a scaling, and all parameters of rotary positions.

    Args:
        read: a `ConfigReader`.
        defaults: the parameters with separate keys, and their defaults.
        called: the key of such a parameter, if it has another name.

    Raises:
        ValueError: for `rope_scaling` and `rope_parameters` that contradict each other.
    """
    old, new = (_given(read.optional(name, dict)) for name in ("rope_scaling", "rope_parameters"))
    if new and any(new.get(name, value) != value for name, value in old.items()):
        raise ValueError(f"rope_scaling and rope_parameters: expected the same, got {old!r} and {new!r}")
    given = new | old
    for name, default in defaults.items():
        key = called.get(name, name)
        value = given.setdefault(name, read(key, default))
        read.repeats(key, value, "rope_parameters")
    return "rope_scaling" if old else "rope_parameters", given


def _given(values: typing.Any) -> dict[str, typing.Any]:
    """Return the parameters that are not null, with the kind of scaling under its newer name."""
    if not isinstance(values or {}, dict):
        raise ValueError(f"expected parameters of rotary positions by name, got {shown(values)}")
    values = {name: value for name, value in (values or {}).items() if value is not None}
    kind = values.pop("type", None)
    return values if kind is None else {"rope_type": kind, **values}


def rotary_of(
    read: ConfigReader,
    values: typing.Any,
    context_length: int,
    where: str,
    kinds: tuple[str, ...] = SCALINGS,
    partial: bool = False,
    original_length: int | None = None,
) -> Rotary:
    """Return the `Rotary` of one dictionary of parameters, which is in the key `where`.

    Raises:
        ValueError: for a kind of scaling that is not in `kinds`, and missing parameters.
    """
    values = _given(values)
    kind = values.pop("rope_type", "default")
    kind = _OLD_KINDS.get(kind, kind)
    base, fraction = float(values.pop("rope_theta")), float(values.pop("partial_rotary_factor", 1.0))
    if kind == "dynamic" and "alpha" in values and "alpha" in kinds:
        kind, values = "alpha", {name: value for name, value in values.items() if name not in _BESIDE_ALPHA}
    if kind not in ("default", *kinds):
        known = ", ".join(repr(each) for each in ("default", *kinds))
        raise ValueError(f"{where}: expected a rope_type of {known}, got {kind!r}")
    if fraction != 1.0 and not partial:
        raise ValueError(f"{where}: only partial_rotary_factor=1.0 is supported, got {fraction}")
    record, names = _KINDS.get(kind, (None, {}))
    arguments = _arguments(read, kind, names, values, context_length, where, original_length)
    try:
        return Rotary(base, fraction, scaling=None if record is None else record(**arguments))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _arguments(
    read: ConfigReader,
    kind: str,
    names: Mapping[str, str],
    values: Mapping[str, typing.Any],
    context_length: int,
    where: str,
    original_length: int | None,
) -> dict[str, typing.Any]:
    """Return the arguments of a scaling's record, whose fields have these `names`; none for the kind "default"."""
    values = _without_multipliers(values) if kind == "yarn" else dict(values)
    for name in [name for name in values if name not in names]:  # transformers ignores them as well
        if values.pop(name) != context_length or name != _LENGTH:
            read.pass_by(f"{where}: {name}")
    if _LENGTH in names:
        original = values[_LENGTH] = original_length or values.get(_LENGTH, context_length)
        if kind in ("yarn", "longrope"):
            values.setdefault("factor", context_length / original)
    if kind == "dynamic":
        values[_LENGTH] = context_length
    fields = {**names, _LENGTH: "original_length"}
    return {fields[name]: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _without_multipliers(given: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return YaRN's parameters, with DeepSeek's two multipliers, if given, replaced by the attention factor."""
    given = dict(given)
    above, below = given.pop("mscale", None), given.pop("mscale_all_dim", None)
    if above and below and _FACTOR not in given and "factor" in given:
        given[_FACTOR] = yarn_attention_factor(given["factor"], above) / yarn_attention_factor(given["factor"], below)
    return given


def written_scaling(scaling: RotaryScaling | None) -> dict[str, typing.Any]:
    """Return the parameters of a scaling that differ from their defaults; none for None."""
    for kind, (record, names) in _KINDS.items():
        if isinstance(scaling, record):
            defaults = {field.name: field.default for field in dataclasses.fields(record)}
            values = {theirs: (getattr(scaling, ours), defaults[ours]) for theirs, ours in names.items()}
            values = {name: value for name, (value, default) in values.items() if value != default}
            listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
            if kind == "alpha":
                return {"rope_type": "dynamic", "factor": 1.0, **listed}
            return {"type" if kind == "ntk" else "rope_type": kind, **listed}  # the code for "ntk" knows the old name
    return {}


def _written_long(scaling: LongScaling, context_length: int) -> dict[str, typing.Any]:
    """Return the parameters of a scaling for a family with a separate key for the original length. Version 4 accepts
    only these parameters."""
    written = written_scaling(scaling)
    kept = {"type": "longrope", **{name: written[name] for name in ("short_factor", "long_factor")}}
    if scaling.factor != context_length / scaling.original_length:
        kept["factor"] = scaling.factor
    if scaling.attention_factor is not None:
        kept[_FACTOR] = scaling.attention_factor
    return {"rope_scaling": kept, _LENGTH: scaling.original_length}


_POSITIONS, _WINDOW = "block.attention.positions", "block.attention.window"


@dataclasses.dataclass(frozen=True)
class RotaryKeys:
    """The row of rotary positions, including their scaling for longer texts.

    Attributes:
        base: the key of the base.
        default_base: the base if the file has no such key.
        fraction: the key of the share of each head that is rotated; None for a family that rotates whole heads.
        default_fraction: that share if the file has no such key.
        kinds: transformers' names of the scalings that the family's code in transformers supports.
        default_length: the longest text before scaling if the file has no key for it, in a family that has such a key.
        otherwise: the positions that are written for a model without rotary positions; None if all models have rotary
            positions.
        stack: the stack, "decoder" or "encoder".
    """

    base: str = "rope_theta"
    default_base: float = 10000.0
    fraction: str | None = None
    default_fraction: float = 1.0
    kinds: tuple[str, ...] = SCALINGS
    default_length: int | None = None
    otherwise: Rotary | None = None
    stack: str = "decoder"

    @property
    def names(self) -> tuple[str, ...]:
        """The keys."""
        own = (self.base, *([] if self.fraction is None else [self.fraction]))
        return tuple(dict.fromkeys((*own, "rope_scaling", "rope_parameters", *_OWN_KEYS, _LENGTH)))

    def read(self, read: ConfigReader, values: Values) -> None:
        """Set the positions. The row of the maximum length must come before."""
        defaults, called = {"rope_theta": self.default_base}, {"rope_theta": self.base}
        if self.fraction is None:
            read.expect("partial_rotary_factor", 1.0, None)
        else:
            defaults["partial_rotary_factor"], called["partial_rotary_factor"] = self.default_fraction, self.fraction
        where, given = rotary_values(read, defaults, called)
        for name, key in called.items():
            if key != name:  # some releases of transformers write both
                read.repeats(name, given[name], key)
        original, length = self._original_length(read, where, given), values["embeddings.context_length"]
        rotary = rotary_of(read, given, length, where, self.kinds, self.fraction is not None, original)
        values[f"{self.stack}.{_POSITIONS}"] = rotary

    def _original_length(self, read: ConfigReader, where: str, given: Values) -> int | None:
        """Return the longest text before scaling, if the file has a separate key for it."""
        if self.default_length is not None:
            return read(_LENGTH, self.default_length)
        if given.get("rope_type") in _WITH_LENGTH:
            length = read.optional(_LENGTH, int)
            read.repeats(_LENGTH, given.get(_LENGTH, length), where)
            return length
        if read.values.get(_LENGTH) is not None:
            read.pass_by(_LENGTH)
        return None

    def write(self, fields: Fields) -> dict[str, typing.Any]:
        """Return the keys for the positions of the first layer that has positions and no window."""
        windows, positions = (fields.layers(f"{self.stack}.{each}") for each in (_WINDOW, _POSITIONS))
        pairs = sorted(zip(windows, positions, strict=True), key=lambda pair: pair[0] is not None)
        rotary = next((each for _, each in pairs if isinstance(each, Rotary)), self.otherwise)
        if rotary is None:
            raise Inexpressible("This ModelConfig has no rotary positions.")
        written: dict[str, typing.Any] = {self.base: rotary.base}
        if self.fraction is not None and (rotary.fraction, self.default_fraction) != (1.0, 1.0):
            written[self.fraction] = rotary.fraction
        if self.default_length is not None and isinstance(rotary.scaling, LongScaling):
            return {**written, **_written_long(rotary.scaling, fields("embeddings.context_length"))}
        scaling = written_scaling(rotary.scaling)
        return {**written, **({"rope_scaling": scaling} if scaling else {})}


@dataclasses.dataclass(frozen=True)
class RotaryKeysByKind:
    """The row of rotary positions that differ between layers with and without a window.

    The row of the windows must come before. Version 4 of transformers has a key for each base and scales positions in
    layers without a window only. Version 5 has one key, with the kinds of layers inside.

    Attributes:
        base: the base of layers without a window if the file has no such key.
        window_base: the base of layers with a window if the file has no such key.
        window_key: version 4's key for the base of layers with a window; None if version 4 uses one base for all.
    """

    base: float
    window_base: float
    window_key: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The keys."""
        own = ("rope_theta", *([] if self.window_key is None else [self.window_key]))
        return (*own, "rope_scaling", "rope_parameters")

    def read(self, read: ConfigReader, values: Values) -> None:
        """Set the positions.

        Raises:
            ValueError: for parameters of unknown kinds of layers, and parameters that `rotary_of` refuses.
        """
        given, scaling = (read.optional(name, dict) or {} for name in ("rope_parameters", "rope_scaling"))
        if set(given) - set(KINDS):
            raise ValueError(f"rope_parameters: expected {' and '.join(KINDS)}, got {', '.join(sorted(given))}")
        windows, rotaries = values[f"decoder.{_WINDOW}"].values, []
        for kind, name, base, scaled in (
            ("full_attention", "rope_theta", self.base, scaling),
            ("sliding_attention", self.window_key, self.window_base, {}),
        ):
            parameters = {"rope_theta": base if name is None else read(name, base), **(given.get(kind) or {}), **scaled}
            if name is not None:
                read.repeats(name, parameters["rope_theta"], "rope_parameters")
            elif any(windows):  # version 5 uses "rope_theta" for layers without a window, version 4 for all
                read.repeats("rope_theta", parameters["rope_theta"], "the base of the layers with a window")
            rotaries.append(rotary_of(read, parameters, values["embeddings.context_length"], "rope_parameters"))
        values[f"decoder.{_POSITIONS}"] = PerLayer(tuple(rotaries[window is not None] for window in windows))

    def write(self, fields: Fields) -> dict[str, typing.Any]:
        """Return the keys of version 4, which both versions read; version 5's key if only that expresses everything."""
        by_window: dict[bool, Rotary] = {}
        pairs = (fields.layers(f"decoder.{each}") for each in (_WINDOW, _POSITIONS))
        for window, rotary in zip(*pairs, strict=True):
            if not isinstance(rotary, Rotary):
                raise Inexpressible("This ModelConfig has layers without rotary positions.")
            by_window[window is not None] = rotary
        local = by_window.get(True)
        whole = by_window[False] if False in by_window else by_window[True]
        usual = local is None or local == Rotary(whole.base) == Rotary(self.window_base)
        if self.window_key is None and not usual:
            return {
                "rope_parameters": {
                    kind: {"rope_type": "default", "rope_theta": each.base, **written_scaling(each.scaling)}
                    for kind, each in zip(KINDS, (whole, local or whole), strict=True)
                }
            }
        scaling = written_scaling(whole.scaling)
        own = {} if local is None or self.window_key is None else {self.window_key: local.base}
        return {"rope_theta": whole.base, **own, **({"rope_scaling": scaling} if scaling else {})}
