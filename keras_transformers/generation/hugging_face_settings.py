"""Generation settings in a `generation_config.json`, read and written.

Source: GenerationConfig in transformers/generation/configuration_utils.py
"""

import dataclasses
import typing
from collections.abc import Mapping

from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig

_HUGGING_FACE_NAMES = {
    "num_beams": "num_beams",
    "do_sample": "do_sample",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",  # transformers does not have this and the next setting
    "frequency_penalty": "frequency_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size": "encoder_no_repeat_ngram_size",
    "bad_words_ids": "bad_words_ids",
    "suppress_tokens": "suppress_tokens",
    "begin_suppress_tokens": "begin_suppress_tokens",
    "min_new_tokens": "min_new_tokens",
    "min_length": "min_length",
    "stop_strings": "stop",
    "max_new_tokens": "max_new_tokens",
    "max_length": "max_length",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
    "num_return_sequences": "num_return_sequences",
    "decoder_start_token_id": "start_id",
    "forced_bos_token_id": "forced_start_id",
    "forced_eos_token_id": "forced_end_id",
    "renormalize_logits": "renormalize_logits",
    "shortlist": "shortlist",  # transformers has no shortlists
    "pad_token_id": "padding_id",
}
# Ids that files set to -1 for none.
_MAY_BE_NEGATIVE = ("pad_token_id", "bos_token_id", "eos_token_id")
# All settings that a file may have. Old checkpoints have them in the `config.json` of the model.
GENERATION_KEYS = (*_HUGGING_FACE_NAMES, "eos_token_id", "bos_token_id")
# Settings that never change a token.
_INERT = {
    "_from_model_config",
    "bos_token_id",
    "cache_implementation",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "return_dict_in_generate",
    "transformers_version",
    "use_cache",
}
# Settings that 1 turns off. 0 turns off other numbers, except token ids: 0 is an id.
_OFF_AT_ONE = {"encoder_repetition_penalty", "guidance_scale", "num_beam_groups", "typical_p"}

# Settings that are not written if they have no effect.
_LEFT_OUT_AT_DEFAULT = (
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "min_new_tokens",
    "min_length",
    "renormalize_logits",
    "shortlist",
    "stop_strings",
)
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(GenerationConfig)}


def _is_off(name: str, value: typing.Any) -> bool:
    if value is None or value is False or value == [] or value == {}:
        return True
    if isinstance(value, bool) or name.endswith("_id"):
        return False
    return value == (1 if name in _OFF_AT_ONE else 0)


def _is_negative(token_id: typing.Any) -> bool:
    return type(token_id) is int and token_id < 0


def _as_tuple(value: typing.Any) -> tuple:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def from_hugging_face(values: Mapping[str, typing.Any]) -> GenerationConfig:
    """A `GenerationConfig` from the values of a `generation_config.json`.

    Missing settings have our defaults, except `top_k`: without it, sampling keeps the 50 likeliest tokens, as in
    transformers. A prompt begins with `bos_token_id` if there is no `decoder_start_token_id`. A negative id of padding,
    start or end means none.

    Raises:
        ValueError: for unsupported settings that would change the result, naming all of them.
    """
    known = {*_HUGGING_FACE_NAMES, *_INERT, "eos_token_id"}
    unknown = {name: value for name, value in values.items() if name not in known and not _is_off(name, value)}
    if unknown:
        raise ValueError(
            f"Expected settings among {', '.join(_HUGGING_FACE_NAMES)} and eos_token_id, got also {unknown}. "
            "They would change the generated tokens: set them to null if that is all right."
        )
    values = {
        name: None if name in _MAY_BE_NEGATIVE and _is_negative(value) else value for name, value in values.items()
    }
    fields = fields_of(values)
    fields["end_ids"] = tuple(each for each in _as_tuple(values.get("eos_token_id")) if not _is_negative(each))
    fields["top_k"] = values.get("top_k", 50) or None
    fields["stop"] = _as_tuple(fields.get("stop"))
    fields["bad_words_ids"] = tuple(map(tuple, fields.get("bad_words_ids", ())))
    for name in ("suppress_tokens", "begin_suppress_tokens", "forced_end_id"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    fields.setdefault("start_id", values.get("bos_token_id"))
    return GenerationConfig(**fields)


def fields_of(values: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Settings by our names, from a dictionary with the names of transformers. Ignores its other keys."""
    return {ours: values[theirs] for theirs, ours in _HUGGING_FACE_NAMES.items() if values.get(theirs) is not None}


def to_hugging_face(config: GenerationConfig) -> dict[str, typing.Any]:
    """The values of a `generation_config.json` that `from_hugging_face` and transformers can read. `seed` and
    `log_probabilities` belong to a call, so they are left out, as are penalties without effect. The default limit is
    written out, since transformers has another one."""
    values = {theirs: getattr(config, ours) for theirs, ours in _HUGGING_FACE_NAMES.items()}
    ends = [int(token_id) for token_id in config.end_ids]
    values |= {"eos_token_id": ends[0] if len(ends) == 1 else ends or None, "top_k": config.top_k or 0}
    values |= {"stop_strings": list(config.stop), "bad_words_ids": list(map(list, config.bad_words_ids))}
    for name in ("suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id"):
        values[name] = list(values[name]) if isinstance(values[name], tuple) else values[name]
    if config.max_new_tokens is None and config.max_length is None:
        values["max_new_tokens"] = NEW_TOKENS
    for name in _LEFT_OUT_AT_DEFAULT:
        if values[name] in (_DEFAULTS[_HUGGING_FACE_NAMES[name]], []):
            del values[name]
    return {name: value for name, value in values.items() if value is not None}
