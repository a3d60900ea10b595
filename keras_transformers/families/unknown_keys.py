"""Unknown keys of a `config.json`, which a family neither reads nor lists as inert: some pass, the others are refused.

    null                                      passes: it has no meaning
    quantization                              refused, with its method and its bits
    transformers reads it (`ELSEWHERE`)       refused
    beside an auto_map                        refused: the folder's own code may read it
    any other                                 passes with a warning: transformers computes the same without it

A family reads, or lists as inert, each key of transformers' configuration class. `ELSEWHERE` has the keys that other
parts of transformers read. `tests/conformance/test_known_keys.py` compares both with the installed transformers.
"""

import collections.abc
from typing import Any

from keras_transformers.spelling import did_you_mean

# Keys that transformers' masks, caches and heads read from any decoder's configuration, whether its class has them or
# not. Each has the value, or the items of a list, that changes nothing. A family may read some of these keys.
ELSEWHERE: dict[str, Any] = {
    "attention_chunk_size": None,
    "is_causal": True,
    "kv_sharing_modes": None,
    "layer_types": "full_attention",
    "per_layer_config": {},
    "sliding_window": None,
    "token_classification_bias": True,
}
# Keys of a config.json that never change a model's computation from token ids, in inference or in `fit`: names, the
# history of files, settings of other programs, and old versions' defaults for training and generation.
INERT = frozenset(
    """
    architectures auto_map model_type _name_or_path name_or_path _commit_hash transformers_version torch_dtype dtype
    finetuning_task task_specific_params id2label label2id num_labels _num_labels problem_type tokenizer_class prefix
    name language
    bos_token_id eos_token_id eos_token_ids sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
    initializer_range initializer_factor initializer_cutoff_factor use_cache gradient_checkpointing output_past
    output_attentions output_hidden_states return_dict return_dict_in_generate torchscript use_bfloat16
    tf_legacy_loss tie_encoder_decoder
    attn_implementation attn_implementation_internal _attn_implementation _attn_implementation_autoset
    experts_implementation _experts_implementation tie_last_hidden_states ignore_keys_at_rope_validation
    chunk_size_feed_forward deterministic_flash_attn reference_compile transformers.js_config sentence_transformers
    sbert_ce_default_activation_function
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences output_scores forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens epsilon_cutoff eta_cutoff
    """.split()
)
_QUANTIZATION = ("quantization_config", "quantization", "compression_config")
_BITS = ("bits", "num_bits", "w_bit", "wbits", "nbits")


def sort_unknown(
    values: collections.abc.Mapping[str, object], known: collections.abc.Container[str], decodes: bool
) -> tuple[list[str], list[str]]:
    """Return the problems with the unknown keys of a `config.json`, as sentences, and the names of those that pass.

    Args:
        values: the file's content.
        known: the keys that the family reads or lists as inert.
        decodes: whether the model has a decoder.
    """
    refused = ELSEWHERE.keys() if decodes else {"per_layer_config"}
    problems, passing = [], []
    for name, value in values.items():
        if name in known or value is None:
            continue
        if name in _QUANTIZATION:
            problems += [f"{name}: {problem}" for problem in (_quantized(value),) if problem]
        elif name in refused:
            if any(each != ELSEWHERE[name] for each in (value if isinstance(value, list) else [value])):
                problems.append(f"{name}: transformers computes with it, and this library does not, got {value!r:.80}")
        elif values.get("auto_map"):
            problems.append(f"unknown key {name!r}: the folder's own code, which auto_map names, may read it")
        else:
            passing.append(name)
    return problems, passing


def hint(name: str, known: collections.abc.Iterable[str]) -> str:
    """Return a hint at the known name that `name` misspells, for the end of a message; "" for any other name."""
    return did_you_mean(name, known, cutoff=0.9)


def _quantized(value: object) -> str | None:
    """Describe the quantization in a `quantization_config`; None if it says that weights are not quantized."""
    given = value if isinstance(value, dict) else {}
    flags = {bits: given.get(f"load_in_{bits}bit", given.get(f"_load_in_{bits}bit")) for bits in (4, 8)}
    if not value or (False in flags.values() and not any(flags.values())):
        return None
    parts = _parts(given)
    method = _first(parts, ("quant_method", "quant_algo")) or ("bitsandbytes" if any(flags.values()) else None)
    bits = next((bits for bits, is_on in flags.items() if is_on), None) or _first(parts, _BITS)
    named = ", ".join(str(each) for each in (method, bits and f"{bits} bits") if each)
    return (
        f"the weights are quantized{f' ({named})' if named else ''}, and this library loads floating-point weights: "
        "load the folder that they were quantized from"
    )


def _parts(given: dict) -> list[dict]:
    """Return the objects that may name a method or its bits: some tools nest them, or list groups of weights."""
    parts = [given, *_objects(given)]
    groups = [group for part in parts for group in _objects(part.get("config_groups"))]
    return parts + [group["weights"] for group in groups if isinstance(group.get("weights"), dict)]


def _objects(value: object) -> list[dict]:
    """Return the objects in an object; none for other values."""
    return [each for each in value.values() if isinstance(each, dict)] if isinstance(value, dict) else []


def _first(parts: list[dict], names: tuple[str, ...]) -> object:
    return next((part[name] for part in parts for name in names if part.get(name) is not None), None)
