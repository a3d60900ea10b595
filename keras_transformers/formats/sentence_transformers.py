"""Folders of sentence-transformers: a model, and files that describe how its hidden states become a vector.

    modules.json                         the modules in order, each with its class and folder
    1_Pooling/config.json                how tokens become one vector
    2_Dense/config.json, …               the steps after it: see `vector_steps`
    sentence_bert_config.json, config_sentence_transformers.json    see `sentence_settings`

Saving reproduces each file: byte for byte if its values have not changed, else with the changed values.

Source: sentence_transformers/base/model.py, base/modules/transformer.py and sentence_transformer/modules/pooling.py,
https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import dataclasses
import pathlib
from typing import Any

from keras_transformers.files.reading import is_plain, parse, read_bytes, read_object, read_text, shown
from keras_transformers.formats import own, preset, task_adapters, vector_steps
from keras_transformers.formats.sentence_settings import (
    LENGTH,
    MEASURES,
    PROMPTS,
    length_file,
    prompt_file,
    read_instructions,
    read_prompts,
    static_length,
    transformer_settings,
)
from keras_transformers.layers.projections import Step, width_after

# Names of poolings in sentence-transformers, in the order of its older files, and this library's names.
_POOLINGS = {
    "cls": "first",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_length",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_OLDER = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PACKAGES = ("sentence_transformers.", "pylate.models.")
_CHOOSING = "custom_st.Transformer"  # of jina-embeddings-v3
MODULES = "modules.json"


@dataclasses.dataclass(frozen=True)
class Module:
    """An entry of `modules.json`: the name of its class without the package, and its folder's path in the folder."""

    kind: str
    path: str


def modules_of(folder: pathlib.Path) -> list[Module]:
    """Return the modules of a sentence-transformers folder, in order; none for another folder.

    Raises:
        ValueError: for modules with code in the folder, and paths that lead out of the folder.
    """
    path = folder / MODULES
    if not is_plain(path):
        return []
    modules = parse(read_text(path), path)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise ValueError(f"Expected a list of modules in {path}, got {shown(modules)}. Download it again.")
    found = [module_at(each.get("type"), each.get("path", ""), path) for each in modules]
    return [dataclasses.replace(each, kind="Transformer") if _chooses(folder, each) else each for each in found]


def _chooses(folder: pathlib.Path, module: Module) -> bool:
    """Return whether a module is the class of jina-embeddings-v3, a Transformer that chooses one of its adapters."""
    return module.kind == _CHOOSING and bool(
        task_adapters.listed(read_object(folder / module.path / "config.json", missing={}))
    )


def forget_choice(
    was: dict[str, Any], kept: dict[str, bytes], values: collections.abc.Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the settings and the files to keep, as `read` returned them, of a model with this `config.json`: without a
    class that chooses adapters, and without prompts of adapters, if the model has none to choose any more."""
    if task_adapters.listed(values):
        return was, kept
    chooses = _CHOOSING.encode() in kept.get(MODULES, b"")
    if PROMPTS not in kept and "task_instructions" not in values:
        was = {**was, "prompts": {}}
    return was, {name: content for name, content in kept.items() if not (chooses and name == MODULES)}


def module_at(type_name: Any, path: Any, where: pathlib.Path) -> Module:
    """Return the module of a class and a path, after checking that the path stays inside of the folder."""
    if not _is_inside(path):
        raise ValueError(f"Expected paths inside of the folder in {where}, got {shown(path)}.")
    name = str(type_name)
    kind = name.rpartition(".")[2] if name.startswith(_PACKAGES) else name
    return Module(kind, pathlib.PurePosixPath(path).as_posix() if path not in ("", ".") else "")


def _is_inside(path: Any) -> bool:
    """Return whether a relative path stays inside of its base folder."""
    if not isinstance(path, str) or "\0" in path or "\\" in path:
        return False
    return not {"..", "/"} & set(pathlib.PurePosixPath(path).parts)


def refuse_kinds(folder: pathlib.Path, modules: collections.abc.Sequence[Module], expected: str) -> None:
    """Raise a ValueError for modules in another order than `expected`, or of other kinds."""
    kinds = ", ".join(each.kind for each in modules)
    raise ValueError(
        f"Expected {expected} in {folder / MODULES}, got {kinds}. Other modules, or another order, are not supported."
    )


def is_static(folder: pathlib.Path, modules: list[Module]) -> bool:
    """Return whether a folder holds a table of embeddings in its own format, and not in that of this library."""
    kinds = [each.kind for each in modules]
    return kinds[:1] == ["StaticEmbedding"] and not _is_own(folder / modules[0].path)


def _is_own(folder: pathlib.Path) -> bool:
    return read_object(folder / "config.json", missing={}).get("model_type") == own.MODEL_TYPE


def dense_steps(folder: pathlib.Path, modules: list[Module]) -> list[vector_steps.StepFolder]:
    """Return the steps after the pooling of a folder of text embeddings.

    Raises:
        ValueError: for unsupported modules and settings, and modules whose widths disagree.
    """
    kinds = [each.kind for each in modules]
    first = 1 if kinds[:1] == ["StaticEmbedding"] else 2
    if kinds[:first] not in (["StaticEmbedding"], ["Transformer", "Pooling"]) or not set(kinds[first:]) <= set(
        vector_steps.KINDS
    ):
        refuse_kinds(
            folder, modules, "Transformer and Pooling, or StaticEmbedding, and perhaps Dense, LayerNorm and Normalize"
        )
    steps = [vector_steps.read(folder / each.path, each.kind, "sentence_embedding") for each in modules[first:]]
    pooling = None if first == 1 else _read_pooling(folder / modules[1].path)
    width = None if pooling is None else pooling["width"]
    vector_steps.check_widths(steps, width, modules[first - 1].path or modules[0].kind)
    return steps


def check_pooling(folder: pathlib.Path, modules: list[Module], width: int) -> None:
    """Refuse a pooling of vectors of another width than the model's.

    Args:
        folder: the whole folder.
        modules: as `modules_of` returns them.
        width: the width of the model's hidden states.
    """
    if [each.kind for each in modules[1:2]] != ["Pooling"]:
        return
    pooling = _read_pooling(folder / modules[1].path)
    count = 1 if isinstance(pooling["pooling"], str) else len(pooling["pooling"])
    if pooling["width"] not in (None, count * width):
        raise ValueError(
            f"Expected {folder / modules[1].path / 'config.json'} to read vectors of the {width} numbers that the "
            f"Transformer gives, got {pooling['width'] // count}. The modules do not belong together: download the "
            "folder again."
        )


def read(folder: pathlib.Path, modules: list[Module]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a folder's settings, by `TextEmbedder`'s arguments, and the files to keep, by their names in a saved
    folder.

    Args:
        folder: the whole folder.
        modules: as `modules_of` returns them.

    Raises:
        ValueError: for unsupported modules and settings, and modules that do not belong together.
    """
    found = dense_steps(folder, modules)
    steps: tuple[Step, ...] = tuple(each.step for each in found)
    normalize = steps[-1:] == (vector_steps.KINDS["Normalize"](),)
    inner = folder / modules[0].path
    files = {
        MODULES: folder / MODULES,
        LENGTH: inner / LENGTH,
        PROMPTS: folder / PROMPTS,
    }
    static = modules[0].kind == "StaticEmbedding"
    pooling = {"pooling": "mean", "include_prompt": True} if static else _read_pooling(folder / modules[1].path)
    paths = _paths(static, steps)
    for path, module in zip(paths[1:], modules[1:], strict=True):
        files[f"{path}/config.json"] = folder / module.path / "config.json"
    if [module.path for module in modules] != paths:
        del files[MODULES]  # saved folders have other module paths
    settings = {
        "pooling": pooling["pooling"],
        "include_prompt": pooling["include_prompt"],
        "normalize": normalize,
        "projections": steps[:-1] if normalize else steps,
        "max_length": static_length(inner) if static else transformer_settings(inner).get("max_seq_length"),
        **read_prompts(folder),
    }
    settings["prompts"] = settings["prompts"] or read_instructions(inner)
    return settings, {name: read_bytes(path) for name, path in files.items() if is_plain(path)}


def _paths(static: bool, steps: collections.abc.Sequence[Step]) -> list[str]:
    """Return the paths of the modules in a saved folder."""
    kinds = [*([] if static else ["Pooling"]), *map(vector_steps.kind_of, steps)]
    return ["", *(f"{n + 1}_{kind}" for n, kind in enumerate(kinds))]


def all_steps(now: dict[str, Any]) -> tuple[Step, ...]:
    """Return the steps of a model's settings, the normalisation at the end included."""
    return (*now["projections"], *([vector_steps.KINDS["Normalize"]()] if now["normalize"] else []))


def step_folders(now: dict[str, Any], static: bool = False) -> list[str]:
    """Return the folders of a model's steps in a saved folder."""
    steps = all_steps(now)
    return _paths(static, steps)[-len(steps) :] if steps else []


def write(
    now: dict[str, Any], width: int, was: dict[str, Any], kept: dict[str, bytes], static: bool = False
) -> dict[str, bytes]:
    """Return the files of a folder, without those of weights.

    Args:
        now: the current settings, by the names that `read` returns.
        width: the width of the hidden states.
        was: the settings that `read` returned, or empty.
        kept: the files that `read` returned.
        static: whether the model is a table of embeddings alone.
    """
    steps = all_steps(now)
    same_steps = bool(was) and all_steps(was) == steps
    paths = _paths(static, steps)
    files = {MODULES: kept[MODULES] if same_steps and MODULES in kept else _modules_bytes(static, paths)}
    if not static:
        name = f"{paths[1]}/config.json"
        same_pooling = name in kept and all(was.get(each) == now[each] for each in ("pooling", "include_prompt"))
        files[name] = kept[name] if same_pooling else _pooling_bytes(now, width)
        width *= 1 if isinstance(now["pooling"], str) else len(now["pooling"])
        files |= length_file({"max_seq_length": now["max_length"]}, {"max_seq_length": was.get("max_length")}, kept)
    names = [f"{path}/config.json" for path in step_folders(now, static)]
    if same_steps:
        files |= {name: kept[name] for name in names if name in kept}
    else:
        files |= _step_files(names, steps, width)
    return {**files, **prompt_file(now, was, kept, MEASURES[0])}


def _modules_bytes(static: bool, paths: list[str]) -> bytes:
    """Return the bytes of `modules.json` for modules at these paths."""
    kinds = ["StaticEmbedding" if static else "Transformer", *(path.partition("_")[2] for path in paths[1:])]
    return preset.json_bytes(
        [
            {"idx": n, "name": str(n), "path": path, "type": f"{_PACKAGES[0]}models.{kind}"}
            for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ]
    )


def _step_files(names: list[str], steps: collections.abc.Sequence[Step], width: int) -> dict[str, bytes]:
    """Return the configurations, by their names, of steps that read vectors of a width; some steps need none."""
    files = {}
    for name, step in zip(names, steps, strict=True):
        content = vector_steps.config_of(step, width, "sentence_embedding")
        width = width_after([step], width)
        if content is not None:
            files[name] = content
    return files


def _pooling_bytes(now: dict[str, Any], width: int) -> bytes:
    """Return the bytes of a pooling's `config.json`: in the older form, which all versions read, if that can say it."""
    ours = [now["pooling"]] if isinstance(now["pooling"], str) else list(now["pooling"])
    theirs = {ours: theirs for theirs, ours in _POOLINGS.items()}
    modes = [theirs[each] for each in ours]
    values: dict[str, Any] = {"word_embedding_dimension": width}
    if modes == [each for each in _POOLINGS if each in modes]:
        values |= {name: mode in modes for name, mode in _OLDER.items()}
    else:
        values["pooling_mode"] = modes
    return preset.json_bytes(values if now["include_prompt"] else {**values, "include_prompt": False})


def _read_pooling(folder: pathlib.Path) -> dict[str, Any]:
    """Return a pooling's settings from its folder's `config.json`, in its older or newer form."""
    where = folder / "config.json"
    values = preset.read_json(folder, "config.json")
    known = {"word_embedding_dimension", "embedding_dimension", "pooling_mode", "include_prompt", *_OLDER}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"Expected the keys of a pooling in {where}, got {', '.join(unknown)} too.")
    newer = values.get("pooling_mode")
    on = [mode for mode in _POOLINGS if any(values.get(name) for name, each in _OLDER.items() if each == mode)]
    if newer is not None:
        on = newer if isinstance(newer, list) else [newer]
    if not on or not all(each in list(_POOLINGS) for each in on):
        named = " and ".join(map(str, on)) or "none"
        raise ValueError(
            f"Expected one or several poolings of {', '.join(_POOLINGS)} in {folder}, got {named:.80}. Others are not "
            "supported."
        )
    include = values.get("include_prompt", True)
    if type(include) is not bool:
        raise ValueError(f"Expected include_prompt in {where} to be true or false, got {shown(include)}.")
    width = values.get("embedding_dimension", values.get("word_embedding_dimension"))
    poolings = [_POOLINGS[each] for each in on]
    return {
        "pooling": poolings[0] if len(on) == 1 else poolings,
        "include_prompt": include,
        "width": len(on) * width if type(width) is int else None,
    }
