"""Folders of models with a vector for each token (ColBERT): MultiVectorEncoder of sentence-transformers, and PyLate.

    modules.json                         Transformer, Dense, MultiVectorMask, Normalize; of PyLate without the last two
    artifact.metadata                    of ColBERT's authors, without the other files
    2_MultiVectorMask/config.json        words whose vectors are dropped
    sentence_bert_config.json            lengths, and how queries are expanded
    config_sentence_transformers.json    prompts; of PyLate lengths, markers and words too

Source: sentence_transformers/multi_vector_encoder/model.py, https://github.com/huggingface/sentence-transformers
"""

import dataclasses
import pathlib
import string
import typing

from keras_transformers.files.reading import is_plain, read_bytes, read_object, shown
from keras_transformers.formats import preset, sentence_settings, sentence_transformers, tensor_files, vector_steps
from keras_transformers.layers.projections import Normalize, Projection, Step, width_after
from keras_transformers.records import Size, record

MEASURES = ("maxsim", "meanmaxsim")
_LEVEL = "token_embeddings"
_MASK = "MultiVectorMask"
_LINEAR = "linear.weight"
_CLASSES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    _MASK: "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask",
}


@record
class QueryExpansion:
    """Queries are filled up with a token, whose vectors count too (Khattab and Zaharia 2020, section 3.2).

    Attributes:
        length: the tokens of a query after filling up.
        fixed: whether longer queries are cut to `length`; otherwise they stay as they are.
        attend: whether the model attends to the tokens that fill up.
        token: that token; None for the mask token.
    """

    length: Size
    fixed: bool = True
    attend: bool = False
    token: str | None = None


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of a multi-vector model.

    Attributes:
        settings: the settings, by `MultiVectorEmbedder`'s arguments.
        steps: the folders of the steps after the transformer.
        markers: tokens at the start of prompts that the tokenizer must not split.
        files: files to keep, by their names in a saved folder.
    """

    settings: dict[str, typing.Any]
    steps: list[vector_steps.StepFolder]
    markers: tuple[str, ...]
    files: dict[str, bytes]


def read(folder: pathlib.Path) -> Folder | None:
    """Read a folder's settings; None for a folder that is of no multi-vector model.

    Raises:
        ValueError: for modules and settings that this library does not compute.
    """
    modules = sentence_transformers.modules_of(folder)
    if not modules:
        return _read_colbert(folder)
    kinds = [each.kind for each in modules]
    if kinds[:1] != ["Transformer"] or not set(kinds[1:]) <= {"Dense", "Normalize", _MASK} or kinds.count(_MASK) > 1:
        sentence_transformers.refuse_kinds(folder, modules, "Transformer and perhaps Dense, MultiVectorMask, Normalize")
    steps = [
        vector_steps.read(folder / each.path, each.kind, _LEVEL, _LEVEL) for each in modules[1:] if each.kind != _MASK
    ]
    vector_steps.check_widths(steps, None, kinds[0])
    values = read_object(folder / sentence_settings.PROMPTS, missing={})
    old = values.get("model_type") == "ColBERT"
    mask = {} if old else {"skip_words": [], "skip_tasks": ["document"]}
    for each in modules:
        if each.kind == _MASK:
            mask = _read_mask(folder / each.path / "config.json")
    inner = folder / modules[0].path
    settings = {**_lengths(inner), **sentence_settings.read_prompts(folder, MEASURES, MEASURES[0])}
    markers: tuple[str, ...] = ()
    records: tuple[Step, ...] = tuple(each.step for each in steps)
    if old:
        pylate, markers = _read_pylate(values, folder / sentence_settings.PROMPTS, settings["prompts"])
        settings |= pylate
        mask = {"skip_words": pylate.pop("skip_words"), "skip_tasks": ["document"]}
        records = (*records, Normalize())
    normalize = records[-1:] == (Normalize(),)
    settings |= {**mask, "projections": records[:-1] if normalize else records, "normalize": normalize}
    return Folder(settings, steps, markers, {} if old else _kept(folder, modules, settings))


def _lengths(folder: pathlib.Path) -> dict[str, typing.Any]:
    values = sentence_settings.transformer_settings(folder)
    expansion = values.get("query_expansion")
    return {
        "max_length": values.get("max_seq_length"),
        "query_length": values.get("query_length"),
        "document_length": values.get("document_length"),
        "expansion": None if expansion is None else _expansion(expansion, folder / sentence_settings.LENGTH),
    }


def _expansion(values: typing.Any, where: pathlib.Path) -> QueryExpansion:
    known = {"strategy", "attend", "token", "length"}
    if not isinstance(values, dict) or set(values) - known or values.get("strategy") not in ("fixed", "min"):
        raise ValueError(
            f"Expected query_expansion in {where} to have a strategy, fixed or min, and a length, got {shown(values)}."
        )
    try:
        fixed = values["strategy"] == "fixed"
        return QueryExpansion(values.get("length"), fixed, values.get("attend", False), values.get("token"))  # type: ignore[arg-type]  # the record checks
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: query_expansion: {error}") from None


def _read_mask(where: pathlib.Path) -> dict[str, typing.Any]:
    values = read_object(where)
    if values.get("keep_only_token_ids"):
        raise ValueError(f"Expected no keep_only_token_ids in {where}, got some. They are not supported.")
    words, tasks = values.get("skiplist_words") or [], values.get("skiplist_tasks", ["document"])
    tasks = [tasks] if isinstance(tasks, str) else tasks
    if not all(isinstance(each, str) for each in words) or not set(tasks) <= {"query", "document"}:
        raise ValueError(f"Expected words, and tasks of query and document, in {where}, got {shown(values)}.")
    return {"skip_words": list(words), "skip_tasks": list(tasks)}


def _read_pylate(
    values: dict[str, typing.Any], where: pathlib.Path, prompts: dict[str, str]
) -> tuple[dict[str, typing.Any], tuple[str, ...]]:
    """Return the settings in PyLate's file, and the markers of its prompts."""
    prefixes = {"query": values.get("query_prefix") or "", "document": values.get("document_prefix") or ""}
    if not all(isinstance(each, str) for each in prefixes.values()):
        raise ValueError(f"Expected texts as query_prefix and document_prefix in {where}, got {shown(prefixes)}.")
    prefixed = {name: prefix + prompts.get(name, "").removeprefix(prefix) for name, prefix in prefixes.items()}
    words, length = values.get("skiplist_words"), values.get("query_length") or 32
    expansion = None
    if values.get("do_query_expansion") is not False:
        attend = values.get("attend_to_expansion_tokens", values.get("attend_to_mask_tokens"))
        expansion = QueryExpansion(length, attend=bool(attend))
    settings = {
        "prompts": prompts | prefixed,
        "expansion": expansion,
        "query_length": None if expansion else values.get("query_length"),
        "document_length": values.get("document_length"),
        "skip_words": list(string.punctuation) if words is None else list(words),
    }
    return settings, tuple(dict.fromkeys(each for each in prefixes.values() if each.strip()))


def _read_colbert(folder: pathlib.Path) -> Folder | None:
    """Read a folder of ColBERT's authors: its projection lies in the file of the body, and `artifact.metadata` holds
    the settings. None for another folder."""
    if not folder.is_dir() or not is_plain(folder / "config.json"):
        return None
    if "HF_ColBERT" not in (read_object(folder / "config.json").get("architectures") or []):
        return None
    values = read_object(folder / "artifact.metadata", missing={})
    tensors: typing.Any = tensor_files.open_tensors(folder)
    shape = tuple(tensors.shape(_LINEAR)) if _LINEAR in tensors else ()
    if len(shape) != 2:
        raise ValueError(f"Expected a projection {_LINEAR} [P, D] beside the body in {folder}, got {list(shape)}.")
    step = Projection(shape[0], None, False)
    pylate: dict[str, typing.Any] = {
        "query_prefix": f"{values.get('query_token_id') or '[unused0]'} ",
        "document_prefix": f"{values.get('doc_token_id') or '[unused1]'} ",
        "query_length": values.get("query_maxlen"),
        "document_length": values.get("doc_maxlen"),
        "attend_to_mask_tokens": values.get("attend_to_mask_tokens"),
        "skiplist_words": None if values.get("mask_punctuation", True) else [],
    }
    of_pylate, markers = _read_pylate(pylate, folder / "artifact.metadata", {})
    settings = {
        **{"max_length": None, "default_prompt_name": None, "measure": MEASURES[0], "skip_tasks": ["document"]},
        **{**of_pylate, "projections": (step,), "normalize": True},
    }
    return Folder(settings, [vector_steps.StepFolder(folder, step, shape[1], (_LINEAR,))], markers, {})


def _paths(now: dict[str, typing.Any]) -> list[tuple[str, str]]:
    """Return the kind and path of each module of a saved folder."""
    kinds = ["Transformer", *map(vector_steps.kind_of, now["projections"]), _MASK]
    kinds += ["Normalize"] if now["normalize"] else []
    return [(kind, f"{n}_{kind}" if n else "") for n, kind in enumerate(kinds)]


def step_folders(now: dict[str, typing.Any]) -> list[str]:
    """Return the folders of a model's steps in a saved folder."""
    return [path for kind, path in _paths(now) if kind in vector_steps.KINDS]


def _kept(
    folder: pathlib.Path, modules: list[sentence_transformers.Module], settings: dict[str, typing.Any]
) -> dict[str, bytes]:
    names = [sentence_settings.PROMPTS]
    if [(each.kind, each.path) for each in modules] == _paths(settings):
        names += [sentence_transformers.MODULES, *(f"{each.path}/config.json" for each in modules[1:])]
    files = {name: folder / name for name in names}
    files[sentence_settings.LENGTH] = folder / modules[0].path / sentence_settings.LENGTH
    return {name: read_bytes(path) for name, path in files.items() if is_plain(path)}


def write(
    now: dict[str, typing.Any], width: int, was: dict[str, typing.Any], kept: dict[str, bytes]
) -> dict[str, bytes]:
    """Return the files of a folder, without those of weights.

    Args:
        now, was: the settings now, and those that were read.
        width: the width of the hidden states.
        kept: the files that were read.
    """
    paths = _paths(now)
    same = bool(was) and _paths(was) == paths and was["projections"] == now["projections"]
    entries = [{"idx": n, "name": str(n), "path": path, "type": _CLASSES[kind]} for n, (kind, path) in enumerate(paths)]
    name = sentence_transformers.MODULES
    files = {name: kept[name] if same and name in kept else preset.json_bytes(entries)}
    steps = iter((*now["projections"], *([Normalize()] if now["normalize"] else [])))
    for kind, path in paths[1:]:
        name = f"{path}/config.json"
        if kind == _MASK:
            skipped = {"skiplist_words": list(now["skip_words"]), "skiplist_tasks": list(now["skip_tasks"])}
            content: bytes | None = preset.json_bytes({**skipped, "keep_only_token_ids": None})
            unchanged = same and all(list(was[each]) == list(now[each]) for each in ("skip_words", "skip_tasks"))
        else:
            step = next(steps)
            content, unchanged = vector_steps.config_of(step, width, _LEVEL), same
            width = width_after([step], width)
        files[name] = kept[name] if unchanged and name in kept else typing.cast(bytes, content)
    files |= sentence_settings.length_file(_told(now), _told(was) if was else {}, kept)
    prompts = sentence_settings.prompt_file(now, was, kept, "")
    if sentence_settings.PROMPTS not in kept:
        values = {"model_type": "MultiVectorEncoder", "prompts": now["prompts"]}
        values |= {"default_prompt_name": now["default_prompt_name"], "similarity_fn_name": now["measure"]}
        prompts = {sentence_settings.PROMPTS: preset.json_bytes(values)}
    return files | prompts


def _told(now: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """Return the keys of `sentence_bert_config.json`."""
    expansion = now["expansion"]
    written = {
        "max_seq_length": now["max_length"],
        "query_length": now["query_length"],
        "document_length": now["document_length"],
        "query_expansion": None,
    }
    if expansion is not None:
        strategy = "fixed" if expansion.fixed else "min"
        written["query_expansion"] = {
            **{"strategy": strategy, "attend": expansion.attend},
            **{"token": expansion.token, "length": expansion.length},
        }
    return written
