"""Settings in folders of sentence-transformers that all its kinds of models share.

    sentence_bert_config.json            the longest text, and how the transformer is loaded
    config_sentence_transformers.json    prompts, and how two vectors are compared

Source: sentence_transformers/base/model.py and base/modules/transformer.py,
https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import json
import pathlib
from typing import Any

from keras_transformers.files.reading import read_object, shown
from keras_transformers.formats import preset, task_adapters

LENGTH, PROMPTS = "sentence_bert_config.json", "config_sentence_transformers.json"
MEASURES = ("cosine", "dot", "euclidean", "manhattan")
# Arguments in `sentence_bert_config.json` for loading the model that change no vector.
_HARMLESS = {
    "add_pooling_layer",
    "attn_implementation",
    "torch_dtype",
    "dtype",
    "trust_remote_code",
    "low_cpu_mem_usage",
}
_ARGUMENTS = [f"{kind}_{name}" for kind in ("model", "tokenizer", "processor", "config") for name in ("args", "kwargs")]

# The settings of a transformer


def transformer_settings(folder: pathlib.Path, task: str = "feature-extraction") -> dict[str, Any]:
    """Return the content of `sentence_bert_config.json`; an empty dictionary without the file.

    Args:
        folder: the transformer's folder.
        task: the task for which the transformer must be loaded.

    Raises:
        ValueError: for settings that change the vectors and are not supported.
    """
    values, where = read_object(folder / LENGTH, missing={}), folder / LENGTH
    if (given := values.get("transformer_task") or task) != task:
        raise ValueError(f"Expected transformer_task in {where} to be {task!r}, got {shown(given)}.")
    for name in (*_ARGUMENTS, "processing_kwargs"):
        given = values.get(name) or {}
        if not isinstance(given, dict) or set(given) - _HARMLESS:
            raise ValueError(f"Expected no {name} in {where} that change a vector, got {shown(given)}.")
    modalities = values.get("modality_config")
    text = {"method": "forward", "method_output_name": "logits" if task == "fill-mask" else "last_hidden_state"}
    if modalities is not None and modalities != {"text": text}:
        raise ValueError(
            f"Expected modality_config in {where} to be of texts alone, {text}, got {shown(modalities)}. Chat "
            "templates and other modalities are not supported."
        )
    return values


def check_case(folder: pathlib.Path, tokenizer: Any) -> None:
    """Refuse a folder that asks for lowercase texts if its tokenizer keeps case."""
    settings = read_object(folder / LENGTH, missing={})
    if settings.get("do_lower_case") and tokenizer is not None:
        lower, upper = tokenizer.encode(["text", "TEXT"])
        if lower != upper:
            raise ValueError(
                f"Expected do_lower_case to be false in {folder / LENGTH}, got true with a tokenizer that tells case "
                "apart. Lower the texts yourself, and set it to false."
            )


def length_file(now: dict[str, Any], was: dict[str, Any], kept: dict[str, bytes]) -> dict[str, bytes]:
    """Return `sentence_bert_config.json`, if it is needed.

    Args:
        now: the current values of keys; None for a key to leave out.
        was: the values that were read.
        kept: files that were read.
    """
    if LENGTH in kept and all(was.get(name) == value for name, value in now.items()):
        return {LENGTH: kept[LENGTH]}
    values = {name: value for name, value in now.items() if value is not None}
    if LENGTH in kept:
        old = {name: value for name, value in json.loads(kept[LENGTH]).items() if name not in now}
        return {LENGTH: preset.json_bytes({**values, **old})}
    return {LENGTH: preset.json_bytes({**values, "do_lower_case": False})} if values else {}


def static_length(folder: pathlib.Path) -> int | None:
    """Return the longest text of a table of embeddings: its tokenizer cuts, if `tokenizer.json` says so."""
    truncation = read_object(folder / "tokenizer.json").get("truncation")
    return truncation.get("max_length") if isinstance(truncation, dict) else None


# Prompts and similarity


def read_prompts(
    folder: pathlib.Path, measures: tuple[str, ...] = MEASURES, default: str = MEASURES[0]
) -> dict[str, Any]:
    """Read prompts by name, the name of the default prompt, the similarity of vectors, and their kept width.

    Args:
        folder: the whole folder.
        measures: the similarities that the model knows.
        default: the similarity if the file names none.
    """
    values, where = read_object(folder / PROMPTS, missing={}), folder / PROMPTS
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, collections.abc.Mapping) or not all(isinstance(each, str) for each in prompts.values()):
        raise ValueError(f"Expected texts by name as prompts in {where}, got {prompts!r:.80}. Download it again.")
    name, measure = values.get("default_prompt_name"), values.get("similarity_fn_name") or default
    if name is not None and name not in list(prompts):
        raise ValueError(
            f"Expected default_prompt_name in {where} to be one of its prompts ({', '.join(prompts) or 'none'}), got "
            f"{shown(name)}. Set it to one of them, or to null."
        )
    if measure not in measures:
        raise ValueError(f"Expected similarity_fn_name in {where} to be one of {', '.join(measures)}, got {measure!r}.")
    settings = {"prompts": dict(prompts), "default_prompt_name": name, "measure": measure}
    if (width := values.get("truncate_dim")) is not None:
        settings["truncate_dim"] = width
    return settings


def read_instructions(folder: pathlib.Path) -> dict[str, str]:
    """Read prompts from the `config.json` of a transformer's folder (jina-embeddings-v3)."""
    where = folder / "config.json"
    return task_adapters.instructions(read_object(where, missing={}), where)


def prompt_file(now: dict[str, Any], was: dict[str, Any], kept: dict[str, bytes], default: str) -> dict[str, bytes]:
    """Return `config_sentence_transformers.json`, if it is needed.

    Args:
        now, was: the settings now, and those that were read.
        kept: files that were read.
        default: the similarity of a folder without the file.
    """
    names = ("prompts", "default_prompt_name", "measure", "truncate_dim")
    if was and all(was.get(name) == now.get(name) for name in names):
        return {PROMPTS: kept[PROMPTS]} if PROMPTS in kept else {}
    written = {"prompts": now["prompts"], "default_prompt_name": now["default_prompt_name"]}
    written["similarity_fn_name"] = now["measure"]
    if now.get("truncate_dim") is not None or was.get("truncate_dim") is not None:
        written["truncate_dim"] = now.get("truncate_dim")
    if PROMPTS in kept:
        return {PROMPTS: preset.json_bytes({**json.loads(kept[PROMPTS]), **written})}
    needed = now["prompts"] or now["measure"] != default or "truncate_dim" in written
    return {PROMPTS: preset.json_bytes(written)} if needed else {}
