"""Folders of sentence-transformers: a model, and files that describe how its hidden states become a vector.

    modules.json                         Transformer, Pooling and perhaps Normalize, each with its folder
    1_Pooling/config.json                how tokens become one vector
    sentence_bert_config.json            the longest text
    config_sentence_transformers.json    prompts, and how two vectors are compared

Saving reproduces each file: byte for byte if its values have not changed, else with the changed values.

Source: sentence_transformers/SentenceTransformer.py and models/Pooling.py, https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import json
import pathlib
from typing import Any

from keras_transformers.files.reading import is_plain, parse, read_bytes, read_object, read_text, shown
from keras_transformers.formats import preset

# Names of poolings in sentence-transformers, and this library's names.
_POOLINGS = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}
_OLDER = "pooling_mode_"
_KEYS = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
_PACKAGE = "sentence_transformers."
MODULES, POOLING, LENGTH, PROMPTS = (
    *("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"),
    "config_sentence_transformers.json",
)
MEASURES = ("cosine", "dot", "euclidean", "manhattan")


def modules_of(folder: pathlib.Path) -> list[dict]:
    """Return the modules of a sentence-transformers folder, in order; none for another folder.

    Raises:
        ValueError: for unsupported modules, modules with code in the folder, and paths that lead out of the folder.
    """
    path = folder / MODULES
    if not is_plain(path):
        return []
    modules = parse(read_text(path), path)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise ValueError(f"Expected a list of modules in {path}, got {shown(modules)}. Download it again.")
    types = [str(module.get("type", "")) for module in modules]
    kinds = [each.rpartition(".")[2] if each.startswith(_PACKAGE) else each for each in types]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"Expected Transformer, Pooling and perhaps Normalize in {path}, got {', '.join(kinds)}. Other modules are "
            "not supported."
        )
    outward = [each for module in modules if not _is_inside(each := module.get("path", ""))]
    if outward:
        raise ValueError(f"Expected paths inside of the folder in {path}, got {shown(outward[0])}.")
    return modules


def _is_inside(path: Any) -> bool:
    """Return whether a relative path stays inside of its base folder."""
    if not isinstance(path, str) or "\0" in path or "\\" in path:
        return False
    return not {"..", "/"} & set(pathlib.PurePosixPath(path).parts)


def read(folder: pathlib.Path, modules: list[dict]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a folder's settings, by `TextEmbedder`'s arguments, and the files to keep, by their names in a saved
    folder.

    Args:
        folder: the whole folder.
        modules: as `modules_of` returns them.

    Raises:
        ValueError: for unsupported settings.
    """
    inner, pooling = (folder / module.get("path", "") for module in modules[:2])
    files = {
        MODULES: folder / MODULES,
        POOLING: pooling / "config.json",
        LENGTH: inner / LENGTH,
        PROMPTS: folder / PROMPTS,
    }
    if [module.get("path", "") for module in modules[:2]] != ["", POOLING.partition("/")[0]]:
        del files[MODULES]  # saved folders have other module paths
    told = {
        "pooling": _read_pooling(pooling),
        "normalize": len(modules) == 3,
        "max_length": _optional(inner, LENGTH).get("max_seq_length"),
        **_read_prompts(folder),
    }
    return told, {name: read_bytes(path) for name, path in files.items() if is_plain(path)}


def check_case(folder: pathlib.Path, tokenizer: Any) -> None:
    """Refuse a folder that asks for lowercase texts if its tokenizer keeps case."""
    settings = _optional(folder, LENGTH)
    if settings.get("do_lower_case") and tokenizer is not None:
        lower, upper = tokenizer.encode(["text", "TEXT"])
        if lower != upper:
            raise ValueError(
                f"Expected do_lower_case to be false in {folder / LENGTH}, got true with a tokenizer that tells case "
                "apart. Lower the texts yourself, and set it to false."
            )


def write(now: dict[str, Any], width: int, was: dict[str, Any], kept: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a folder.

    Args:
        now: the current settings, by the names that `read` returns.
        width: the width of the vectors.
        was: the settings that `read` returned, or empty.
        kept: the files that `read` returned.
    """
    kinds = ["Transformer", "Pooling", *(["Normalize"] if now["normalize"] else [])]
    paths = ["", POOLING.partition("/")[0], "2_Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"{_PACKAGE}models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    modes = {f"{_OLDER}{_KEYS[name]}": ours == now["pooling"] for name, ours in _POOLINGS.items()}
    prompts = {"prompts": now["prompts"], "default_prompt_name": now["default_prompt_name"]}
    length = {} if now["max_length"] is None else {"max_seq_length": now["max_length"], "do_lower_case": False}
    contents: dict[str, tuple[Any, tuple[str, ...]]] = {
        MODULES: (modules, ("normalize",)),
        POOLING: ({"word_embedding_dimension": width, **modes}, ("pooling",)),
        LENGTH: (length, ("max_length",)),
        PROMPTS: ({**prompts, "similarity_fn_name": now["measure"]}, ("prompts", "default_prompt_name", "measure")),
    }
    files = {}
    for name, (content, arguments) in contents.items():
        if name in kept and all(was.get(each) == now[each] for each in arguments):
            files[name] = kept[name]
        elif name == PROMPTS and name in kept:
            files[name] = preset.json_bytes({**json.loads(kept[name]), **content})
        elif name != PROMPTS or now["prompts"] or now["measure"] != MEASURES[0]:
            files[name] = preset.json_bytes(content)
    return {name: content for name, content in files.items() if name != LENGTH or length or name in kept}


def _optional(folder: pathlib.Path, name: str) -> dict[str, Any]:
    return read_object(folder / name, missing={})


def _read_prompts(folder: pathlib.Path) -> dict[str, Any]:
    """Read prompts by name, the name of the default prompt, and the similarity of vectors."""
    values, where = _optional(folder, PROMPTS), folder / PROMPTS
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, collections.abc.Mapping) or not all(isinstance(each, str) for each in prompts.values()):
        raise ValueError(f"Expected texts by name as prompts in {where}, got {prompts!r:.80}. Download it again.")
    default, measure = values.get("default_prompt_name"), values.get("similarity_fn_name") or MEASURES[0]
    if default is not None and default not in list(prompts):
        raise ValueError(
            f"Expected default_prompt_name in {where} to be one of its prompts ({', '.join(prompts) or 'none'}), got "
            f"{shown(default)}. Set it to one of them, or to null."
        )
    if measure not in MEASURES:
        raise ValueError(f"Expected similarity_fn_name in {where} to be one of {', '.join(MEASURES)}, got {measure!r}.")
    return {"prompts": dict(prompts), "default_prompt_name": default, "measure": measure}


def _read_pooling(folder: pathlib.Path) -> str:
    """Return this library's name of the pooling in a folder's `config.json`, in its older or newer form."""
    values = preset.read_json(folder, "config.json")
    if values.get("include_prompt") is False:
        raise ValueError(
            f"Expected include_prompt to be true in {folder / 'config.json'}, got false: pooling a text without its "
            "prompt is not supported. Set it to true if you give no prompts."
        )
    newer = values.get("pooling_mode")
    if newer is None:
        on = [theirs for theirs, value in values.items() if theirs.startswith(_OLDER) and value]
        on = [theirs.removeprefix(_OLDER).removesuffix("_token").removesuffix("_tokens") for theirs in on]
    else:
        on = newer if isinstance(newer, list) else [newer]
    if len(on) != 1 or on[0] not in list(_POOLINGS):
        told = " and ".join(map(str, on)) or "none"
        raise ValueError(
            f"Expected one pooling of {', '.join(_POOLINGS)} in {folder}, got {told:.80}. Others are not supported."
        )
    return _POOLINGS[on[0]]
