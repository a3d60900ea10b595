"""The values of an `adapter_config.json` of PEFT: checked, and the rank and factor of each layer's adapter.

Source: src/peft/tuners/lora/config.py, https://github.com/huggingface/peft
"""

import collections
import math
import re
import typing
from collections.abc import Mapping

from keras_transformers.files.reading import shown

# Keys of an adapter_config.json that do not change an adapter's computation: names, initialisation and training. The
# tensors show which layers have adapters.
_INERT = frozenset(
    """
    task_type auto_mapping peft_version base_model_name_or_path revision inference_mode target_modules exclude_modules
    fan_in_fan_out modules_to_save layers_to_transform layers_pattern megatron_config megatron_core loftq_config
    eva_config corda_config lora_ga_config qalora_group_size ensure_weight_tying
    """.split()
)
# Initialisations that leave the base unchanged.
_INITIALISERS = (True, False, "gaussian", "eva", "orthogonal")


def _is_rank(value: typing.Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: typing.Any) -> bool:
    return type(value) in (int, float)


def _is_amount(value: typing.Any) -> bool:
    return _is_number(value) and value >= 0


_NUMBERS = {"r": _is_rank, "lora_alpha": _is_amount, "lora_dropout": _is_amount}
_PATTERNS = {"rank_pattern": _is_rank, "alpha_pattern": _is_number}


def malformed(values: dict[str, typing.Any]) -> list[str]:
    """Return the problems with an adapter_config.json whose values have other types than in PEFT."""
    problems = [
        f"{name}: expected a number, got {shown(values[name])}"
        for name, fits in _NUMBERS.items()
        if name in values and not fits(values[name])
    ]
    if not problems and values.get("lora_dropout", 0) >= 1:
        problems.append(f"lora_dropout: expected a share below 1, got {shown(values['lora_dropout'])}")
    for name, fits in _PATTERNS.items():
        pattern = values.get(name) or {}
        if isinstance(pattern, dict):
            odd = [{key: value} for key, value in pattern.items() if not (fits(value) and _is_pattern(key))]
            problems += [f"{name}: expected a number by the name of a layer, got {shown(each)}" for each in odd]
        else:
            problems.append(f"{name}: expected numbers by names of layers, got {shown(pattern)}")
    return problems


def _is_pattern(text: str) -> bool:
    """Return whether a text is a valid regular expression without repeated groups, which could be slow to match."""
    if re.search(r"\)[*+?{]", text):
        return False
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def refused(values: dict[str, typing.Any]) -> list[str]:
    """Return the options of an adapter_config.json that this library does not compute."""
    read = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"}
    problems = []
    for name, value in values.items():
        if name == "peft_type":
            fits, wanted = value == "LORA", "'LORA'"
        elif name == "bias":
            fits, wanted = value == "none", "'none'"
        elif name == "init_lora_weights":
            # Other initialisations subtract their product from the base, which changes the base.
            fits, wanted = value in _INITIALISERS, f"one of {', '.join(map(repr, _INITIALISERS))}"
        else:
            # Options of future PEFT versions do nothing as long as they are off.
            fits, wanted = name in read or name in _INERT or not value, "it off"
        if not fits:
            problems.append(f"{name}: expected {wanted}, got {shown(value)}")
    return problems


def sizes(values: dict[str, typing.Any], module: str) -> tuple[int, float]:
    """Return the rank of a layer's adapter and the factor of its product."""

    def of(pattern: typing.Any, default: typing.Any) -> typing.Any:
        named = [value for key, value in (pattern or {}).items() if re.fullmatch(rf"(.*\.)?({key})", module)]
        return named[0] if named else default

    rank = of(values.get("rank_pattern"), values.get("r", 8))
    alpha = of(values.get("alpha_pattern"), values.get("lora_alpha", 8))
    return rank, float(alpha / (math.sqrt(rank) if values.get("use_rslora") else rank))


def written_sizes(sizes: Mapping[str, tuple[int, float]]) -> dict[str, typing.Any]:
    """Return the keys of adapter_config.json for `(rank, alpha)` by module: the most common pair, and the others by the
    names of their modules."""
    (rank, alpha), _ = collections.Counter(sizes.values()).most_common(1)[0]
    other = {module: size for module, size in sizes.items() if size != (rank, alpha)}
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {module: size[0] for module, size in other.items()},
        "alpha_pattern": {module: size[1] for module, size in other.items()},
        "target_modules": sorted(sizes),
    }
