"""Conversion of a GGUF file's metadata to an equivalent Hugging Face `config.json`.

    llama.block_count                       30       "num_hidden_layers": 30
    llama.attention.layer_norm_rms_epsilon  1e-05    "rms_norm_eps": 1e-05
    no tensor output.weight                          "tie_word_embeddings": true

As for a `config.json`, each key is read, known to change nothing, or refused by name. A missing key gets the value that
llama.cpp uses, which is not always the default of the Hugging Face configuration.

Source: https://github.com/ggml-org/llama.cpp/tree/master/conversion writes the keys, and src/models there reads them.
"""

import collections.abc
import dataclasses
import math
import os
import typing

import numpy as np

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.files.gguf import NO_TOKEN, GGUFFile
from keras_transformers.layers.rotary_scaling import Llama3Scaling, plain_frequencies

_SIZES = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
_RMS = {**_SIZES, "attention.layer_norm_rms_epsilon": "rms_norm_eps"}
_LAYER_NORM = {**_SIZES, "attention.layer_norm_epsilon": "layer_norm_eps"}
_GPT2 = {
    "context_length": "n_positions",
    "block_count": "n_layer",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
_BLOOM = {
    **{key: _GPT2[key] for key in ("block_count", "attention.head_count", "attention.layer_norm_epsilon")},
    "context_length": "seq_length",
    "embedding_length": "hidden_size",
}
_FALCON = {
    **_LAYER_NORM,
    "feed_forward_length": "ffn_hidden_size",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
_EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
_PHI3 = {
    **_RMS,
    "attention.sliding_window": "sliding_window",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
}
_GROUPED = {"attention.head_count_kv": "num_key_value_heads"}
# Keys that change nothing: `vocab_size`, which the token embeddings show, and keys for llama.cpp only.
_INERT = frozenset(("vocab_size", "rope.scaling.finetuned", "tensor_data_layout", "use_kv_cache"))
_FLOATS = {"F16": "float16", "BF16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class _Architecture:
    """The conversion of one of llama.cpp's architectures to a Hugging Face `config.json`.

    Attributes:
        model_type: the family.
        keys: required keys of llama.cpp, and their Hugging Face names.
        optional: optional keys of llama.cpp, and their Hugging Face names.
        values: values that all models of the architecture share.
        read: a function that reads further keys and adds values. It takes a `ConfigReader`, the file and the values so
            far.
    """

    model_type: str
    keys: dict[str, str] = dataclasses.field(default_factory=lambda: _RMS)
    optional: dict[str, str] = dataclasses.field(default_factory=lambda: _GROUPED)
    values: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    read: collections.abc.Callable[[ConfigReader, GGUFFile, dict], None] = lambda read, file, values: None


def _width(read: ConfigReader, values: dict[str, typing.Any]) -> int:
    """Return the width of a head."""
    width = read("attention.key_length", None) or values["hidden_size"] // values["num_attention_heads"]
    read.expect("attention.value_length", width)
    return width


def _rotary(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    """Read rotary positions over whole heads, and their scaling for longer texts."""
    values["head_dim"], values["rope_theta"] = _width(read, values), read("rope.freq_base", 10000.0)
    read.expect("rope.dimension_count", values["head_dim"])
    _scaling(read, values)
    if "rope_freqs.weight" in file:
        values["rope_scaling"] = _llama3_scaling(file, values["rope_theta"], values["head_dim"])


def _partly(
    name: str, base: str = "rope_theta"
) -> collections.abc.Callable[[ConfigReader, GGUFFile, dict[str, typing.Any]], None]:
    """Return a function that reads rotary positions over a part of each head: the keys `name` (the part) and `base`."""

    def read_rotary(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
        width = _width(read, values)
        values |= {name: read("rope.dimension_count", width) / width, base: read("rope.freq_base", 10000.0)}

    return read_rotary


def _scaling(read: ConfigReader, values: dict[str, typing.Any]) -> None:
    kind = read("rope.scaling.type", "none")
    scaling = {"rope_type": kind}
    for key, name in {
        "rope.scaling.factor": "factor",
        "rope.scaling.original_context_length": "original_max_position_embeddings",
        "rope.scaling.yarn_beta_fast": "beta_fast",
        "rope.scaling.yarn_beta_slow": "beta_slow",
    }.items():
        if read(key, None) is not None:
            scaling[name] = read(key, None)
    for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
        read.expect(f"rope.scaling.{name}", 1.0)
    if kind == "yarn" or kind == "linear":
        values["rope_scaling"] = scaling
    elif kind != "none":
        read.problems.append(f"rope.scaling.type: expected none, linear or yarn, got {kind!r}")


def _llama3_scaling(file: GGUFFile, base: float, width: int) -> dict[str, typing.Any]:
    """Return the scaling of Llama 3.1 and later. The file has only its result, the divisor of each frequency.

    The largest divisor is the factor. The other parameters are the same in all Llama models.
    """
    divisors = file["rope_freqs.weight"]
    scaling = Llama3Scaling(float(divisors.max()), 1.0, 4.0, 8192)
    plain = plain_frequencies(base, width)
    expected, _ = scaling.frequencies(base, width, None)
    if divisors.shape != plain.shape or not np.allclose(plain / divisors, expected, rtol=1e-4, atol=0):
        raise ValueError("rope_freqs.weight: expected the frequencies of Llama 3.1 by some factor, got others")
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_length,
    }


def _llama(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _rotary(read, file, values)
    experts, used = read("expert_count", 0), read("expert_used_count", 0)
    if experts:
        values |= {"model_type": "mixtral", "num_local_experts": experts, "num_experts_per_tok": used}
    else:
        values |= {f"{kind}_bias": f"blk.0.{each}.bias" in file for kind, each in _WITH_A_BIAS.items()}


_WITH_A_BIAS = {"attention": "attn_q", "mlp": "ffn_up"}


def _windows(read: ConfigReader, values: dict[str, typing.Any], every: int) -> None:
    """Read windows: in all layers but the last of `every` layers, or in the layers that the file lists."""
    values["sliding_window"] = read("attention.sliding_window", 4096) or 4096
    key, layers = "attention.sliding_window_pattern", values["num_hidden_layers"]
    slides = read.values.get(key)
    if not isinstance(slides, np.ndarray):
        every = read(key, every)
        slides = [(n + 1) % every for n in range(layers)]
    read.seen.add(key)
    if len(slides) != layers:
        read.problems.append(f"{key}: expected {layers} layers, got {len(slides)}")
    values["layer_types"] = ["sliding_attention" if each else "full_attention" for each in slides]


def _gemma_scale(values: dict[str, typing.Any], largest: int) -> None:
    """Set the number whose root divides attention scores: the width of a head. In the largest model, with `largest`
    layers, it is the model's width divided by the number of heads."""
    whole = values["hidden_size"] // values["num_attention_heads"]
    values["query_pre_attn_scalar"] = whole if values["num_hidden_layers"] == largest else values["head_dim"]


def _gemma2(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _rotary(read, file, values)
    _windows(read, values, 2)
    _gemma_scale(values, 46)
    for name, default in {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}.items():
        values[name] = read(name, default)


def _gemma3(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _rotary(read, file, values)
    _windows(read, values, 6 if read("attention.sliding_window", 0) else 1)
    _gemma_scale(values, 62)
    values["rope_local_base_freq"] = read("rope.freq_base_swa", 10000.0)
    values["final_logit_softcapping"] = read("final_logit_softcapping", None)


def _phi3(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _partly("partial_rotary_factor")(read, file, values)
    values["sliding_window"] = values["sliding_window"] or None
    original, factor = values["original_max_position_embeddings"], read("rope.scaling.attn_factor", 1.0)
    growth = values["max_position_embeddings"] / original
    if "rope_factors_long.weight" in file:
        kinds = {kind: file[f"rope_factors_{kind}.weight"] for kind in ("short", "long")}
        values["rope_scaling"] = {"type": "longrope"} | {f"{kind}_factor": _decimals(kinds[kind]) for kind in kinds}
        if not math.isclose(factor, math.sqrt(1 + math.log(max(growth, 1)) / math.log(original)), rel_tol=1e-6):
            values["rope_scaling"]["attention_factor"] = factor
    else:
        read.expect("rope.scaling.attn_factor", 1.0)


def _decimals(array: np.ndarray) -> list[float]:
    """Return the decimals that float32 numbers were made from."""
    return [float(str(number)) for number in array]


def _alone(read: ConfigReader, values: dict[str, typing.Any], heads: str) -> None:
    """Refuse grouped-query attention: keys and values that several heads share."""
    read.expect("attention.head_count_kv", values[heads])


def _gpt2(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _alone(read, values, "n_head")


def _bloom(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _alone(read, values, "n_head")
    read.expect("feed_forward_length", 4 * values["hidden_size"])


def _falcon(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    values["rope_theta"], values["bias"] = read("rope.freq_base", 10000.0), "blk.0.attn_qkv.bias" in file
    heads, groups = values["num_attention_heads"], read("attention.head_count_kv", values["num_attention_heads"])
    norms = 2 if "blk.0.attn_norm_2.weight" in file else 1
    values["new_decoder_architecture"] = norms == 2 or groups not in (1, heads)
    if values["new_decoder_architecture"]:
        values |= {"num_kv_heads": groups, "num_ln_in_parallel_attn": norms}
    else:
        values["multi_query"] = groups == 1


def _gpt_neox(read: ConfigReader, file: GGUFFile, values: dict[str, typing.Any]) -> None:
    _alone(read, values, "num_attention_heads")
    _partly("rotary_pct", "rotary_emb_base")(read, file, values)
    values["use_parallel_residual"] = read("use_parallel_residual", True)


_GEMMA = {"hidden_activation": "gelu_pytorch_tanh"}

ARCHITECTURES = {
    "llama": _Architecture("llama", read=_llama),
    "smollm3": _Architecture("smollm3", values={"no_rope_layer_interval": 4}, read=_rotary),
    "qwen2": _Architecture("qwen2", read=_rotary),
    "qwen3": _Architecture("qwen3", read=_rotary),
    "qwen3moe": _Architecture("qwen3_moe", {**_RMS, **_EXPERTS}, values={"norm_topk_prob": True}, read=_rotary),
    "olmo2": _Architecture("olmo2", read=_rotary),
    "phi3": _Architecture("phi3", _PHI3, read=_phi3),
    "gemma": _Architecture("gemma", values=_GEMMA, read=_rotary),
    "gemma2": _Architecture("gemma2", values=_GEMMA, read=_gemma2),
    "gemma3": _Architecture("gemma3_text", values=_GEMMA, read=_gemma3),
    "gpt2": _Architecture("gpt2", _GPT2, {}, read=_gpt2),
    "gptneox": _Architecture("gpt_neox", _LAYER_NORM, {}, {"hidden_act": "gelu"}, _gpt_neox),
    "bloom": _Architecture("bloom", _BLOOM, {}, read=_bloom),
    "falcon": _Architecture("falcon", _FALCON, {}, read=_falcon),
    "phi2": _Architecture("phi", _LAYER_NORM, values={"hidden_act": "gelu_new"}, read=_partly("partial_rotary_factor")),
}


def config_values(path: str | os.PathLike[str]) -> dict[str, typing.Any]:
    """Return the Hugging Face `config.json` that is equivalent to a file's metadata.

    Args:
        path: the path of the file.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `gguf.read`.
    """
    file = GGUFFile(path)
    name = file.metadata.get("general.architecture")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"Expected general.architecture in {path} to be one of {', '.join(ARCHITECTURES)}, got {name!r}. Take a "
            "Hugging Face checkpoint of the same model."
        )
    try:
        return _values(file, name, ARCHITECTURES[name])
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _values(file: GGUFFile, name: str, architecture: _Architecture) -> dict[str, typing.Any]:
    mine = {key.removeprefix(f"{name}."): value for key, value in file.metadata.items() if key.startswith(f"{name}.")}
    read = ConfigReader({key: one_of(value) for key, value in mine.items()})
    _check_required(read, file, architecture.keys)
    values = {"model_type": architecture.model_type, "vocab_size": file.shape("token_embd.weight")[0]}
    values |= architecture.values
    given = {theirs: read(key, None) for key, theirs in {**architecture.keys, **architecture.optional}.items()}
    values |= {key: value for key, value in given.items() if value is not None}
    architecture.read(read, file, values)
    read.finish(_INERT)
    values["tie_word_embeddings"] = _tied(file)
    return values | _token_ids(file) | {"torch_dtype": _FLOATS.get(file.kind("token_embd.weight"), "float32")}


def _check_required(read: ConfigReader, file: GGUFFile, keys: collections.abc.Iterable[str]) -> None:
    """Refuse a file without the keys and tensors that every model needs, and numbers that are none."""
    missing = [key for key in keys if key not in read.values]
    missing += [key for key in ("token_embd.weight",) if key not in file]
    if missing:
        raise ValueError(f"Expected {', '.join(missing)} in the file, got none such. Convert the model again.")
    values = {key: read(key, None) for key in keys}
    if read.problems:
        read.finish(read.values)
    odd = {key: value for key, value in values.items() if not isinstance(value, (int, float)) or value < 0}
    if odd:
        raise ValueError(f"Expected one number for all layers as {', '.join(odd)}, got {list(odd.values())!r:.80}.")
    if (layers := read("block_count", 0)) > len(file):
        raise ValueError(f"Expected tensors for each of block_count={layers} layers, got {len(file)} in all.")


def _token_ids(file: GGUFFile) -> dict[str, typing.Any]:
    """Return the ids of special tokens. A model of chats may end a text with several tokens."""
    names = ("bos", "eos", "padding", "eot", "eom")
    ids = {name: file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in names}
    ids = {name: None if value == NO_TOKEN else value for name, value in ids.items()}
    ends = sorted({token_id for name in ("eos", "eot", "eom") if (token_id := ids[name]) is not None})
    return {
        "bos_token_id": ids["bos"],
        "eos_token_id": ends if len(ends) > 1 else ids["eos"],
        "pad_token_id": ids["padding"],
    }


def one_of(value: typing.Any) -> typing.Any:
    """Return the common value of a list with one equal number for each layer; other values unchanged."""
    numbers = isinstance(value, np.ndarray) and value.dtype != bool and value.size
    same = numbers and (value == value[0]).all()
    return value[0].item() if same else value


def _tied(file: GGUFFile) -> bool:
    """Return whether the head is tied to the token embeddings: the file has no other matrix, or an equal one."""
    return "output.weight" not in file or file.same("output.weight", "token_embd.weight")
