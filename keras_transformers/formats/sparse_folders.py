"""Folders of sentence-transformers' SparseEncoder: SPLADE, also with queries that need no model.

    modules.json             Transformer with a head over the vocabulary, SpladePooling
                             or Router, which leads queries and documents to modules of their own:
    router_config.json           query      query_0_SparseStaticEmbedding, a weight for each token
                                 document   document_0_Transformer, document_1_SpladePooling

Source: sentence_transformers/sparse_encoder/modules and base/modules/router.py,
https://github.com/huggingface/sentence-transformers
"""

import collections.abc
import dataclasses
import json
import pathlib
import typing

import numpy as np
from keras import ops

from keras_transformers.files.reading import is_plain, read_bytes, read_object, shown
from keras_transformers.formats import preset, sentence_settings, sentence_transformers, tensor_files, vector_steps
from keras_transformers.formats.sentence_transformers import Module

MEASURES = ("dot", "cosine", "euclidean", "manhattan")
QUERY_WEIGHTS = "query.scale"
_ROUTER = "router_config.json"
_LOGS = {"relu": 1, "log1p_relu": 2}
_CLASSES = "sentence_transformers.sparse_encoder.models"
_PLAIN = {"transformer": "", "pooling": "1_SpladePooling"}
_ROUTED = {
    "transformer": "document_0_Transformer",
    "pooling": "document_1_SpladePooling",
    "query": "query_0_SparseStaticEmbedding",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of a folder's modules; `query` is None without modules of its own for queries."""

    transformer: str
    pooling: str
    query: str | None = None


def layout_for(static_queries: bool) -> Layout:
    """Return the layout of a new folder."""
    return Layout(**(_ROUTED if static_queries else _PLAIN))


def layout_of(folder: pathlib.Path) -> Layout | None:
    """Return the layout of a folder of a SparseEncoder; None for a folder without modules.

    Raises:
        ValueError: for other modules, and routes that lead elsewhere.
    """
    modules = sentence_transformers.modules_of(folder)
    if not modules:
        return None
    kinds = [each.kind for each in modules]
    if kinds in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"]):
        return Layout(modules[0].path, modules[1].path)
    if kinds != ["Router"] or modules[0].path:
        sentence_transformers.refuse_kinds(folder, modules, "Transformer and SpladePooling, or a Router")
    where = folder / _ROUTER
    values = read_object(where)
    routes = {name: _route(values, name, where) for name in ("query", "document")}
    found = {name: [each.kind for each in route] for name, route in routes.items()}
    parameters = values.get("parameters")
    mappings = parameters.get("route_mappings") if isinstance(parameters, dict) else None
    if (
        set(values.get("structure", ())) != {"query", "document"}
        or found["query"] != ["SparseStaticEmbedding"]
        or found["document"] not in (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"])
        or mappings
    ):
        raise ValueError(
            f"Expected a route query of SparseStaticEmbedding, and a route document of Transformer and SpladePooling, "
            f"in {where}, got {shown(found)}{' and route_mappings' if mappings else ''}. Others are not supported."
        )
    return Layout(routes["document"][0].path, routes["document"][1].path, routes["query"][0].path)


def _route(values: dict[str, typing.Any], name: str, where: pathlib.Path) -> list[Module]:
    structure, types = values.get("structure"), values.get("types")
    if not isinstance(structure, dict) or not isinstance(types, dict) or not isinstance(structure.get(name, []), list):
        raise ValueError(f"Expected structure and types of the routes in {where}. Download it again.")
    return [sentence_transformers.module_at(types.get(str(each)), each, where) for each in structure.get(name, [])]


def read(folder: pathlib.Path, layout: Layout) -> tuple[dict[str, typing.Any], dict[str, bytes]]:
    """Return a folder's settings, by `SparseEmbedder`'s arguments, and the files to keep, by name.

    Raises:
        ValueError: for settings that this library does not compute.
    """
    where = folder / layout.pooling / "config.json"
    values = read_object(where)
    pooling, function = values.get("pooling_strategy", "max"), values.get("activation_function", "relu")
    if pooling not in ("max", "sum") or function not in list(_LOGS):
        raise ValueError(
            f"Expected pooling_strategy max or sum, and activation_function {' or '.join(_LOGS)}, in {where}, got "
            f"{shown(pooling)} and {shown(function)}."
        )
    inner = folder / layout.transformer
    of_transformer = sentence_settings.transformer_settings(inner, "fill-mask")
    prompts = sentence_settings.read_prompts(folder, MEASURES, "dot")
    if prompts.pop("truncate_dim", None) is not None:
        raise ValueError(f"Expected no truncate_dim in {folder / sentence_settings.PROMPTS}, got one.")
    most = read_object(folder / sentence_settings.PROMPTS, missing={}).get("max_active_dims")
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError(f"Expected max_active_dims to be a number above 0, got {shown(most)}.")
    settings = {
        "pooling": pooling,
        "num_logs": _LOGS[function],
        "static_queries": layout.query is not None,
        "max_length": of_transformer.get("max_seq_length"),
        "max_active_dims": most,
        **prompts,
    }
    names = [sentence_transformers.MODULES, sentence_settings.PROMPTS, f"{layout.pooling}/config.json"]
    names.append(_within(layout.transformer, sentence_settings.LENGTH))
    if layout.query is not None:
        query = folder / layout.query
        _check_query(query)
        names.append(_ROUTER)
        names += [f"{layout.query}/{each.name}" for each in query.iterdir() if each.suffix in (".json", ".txt")]
    return settings, {name: read_bytes(folder / name) for name in names if is_plain(folder / name)}


def _within(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _check_query(folder: pathlib.Path) -> None:
    values = read_object(folder / "config.json", missing={})
    if unknown := sorted(set(values) - {"frozen"}):
        raise ValueError(f"Expected the key frozen alone in {folder / 'config.json'}, got {', '.join(unknown)}.")


class Checkpoint:
    """A checkpoint of a masked language model, with the weights of the tokens of queries."""

    def __init__(self, inner: typing.Any, folder: pathlib.Path) -> None:
        self._inner = inner
        self._folder = folder

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._inner, name)

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> typing.Any:
        """Return the tensors by this library's names; see `hugging_face.Checkpoint.read`."""
        rest = {name: weight for name, weight in weights.items() if name != QUERY_WEIGHTS}
        tensors = tensor_files.open_tensors(self._folder)
        if set(tensors) != {"weight"}:
            raise ValueError(f"Expected one tensor, weight, in {self._folder}, got {', '.join(tensors)}.")
        part = vector_steps.Renamed({QUERY_WEIGHTS: "weight"}, tensors)
        return vector_steps.Joined(self._inner.read(rest, task), [part])


def write(
    now: dict[str, typing.Any], layout: Layout, width: int, was: dict[str, typing.Any], kept: dict[str, bytes]
) -> dict[str, bytes]:
    """Return the files of a folder besides the model's own and the weights of queries.

    Args:
        now, was: the settings now, and those that were read.
        layout: the paths of the modules.
        width: the number of tokens.
        kept: the files that `read` returned.
    """
    if layout.query is None:
        modules = [(layout.transformer, "MLMTransformer"), (layout.pooling, "SpladePooling")]
    else:
        modules = [("", "Router")]
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": f"{_CLASSES}.{kind}"} for n, (path, kind) in enumerate(modules)
    ]
    name = f"{layout.pooling}/config.json"
    logs = {number: function for function, number in _LOGS.items()}
    pooling = {"pooling_strategy": now["pooling"], "activation_function": logs[now["num_logs"]]}
    same = all(was.get(each) == now[each] for each in ("pooling", "num_logs"))
    files = {
        sentence_transformers.MODULES: kept.get(sentence_transformers.MODULES) or preset.json_bytes(entries),
        name: kept[name]
        if same and name in kept
        else preset.json_bytes({**pooling, "word_embedding_dimension": width}),
    }
    if layout.query is not None:
        files |= {each: content for each, content in kept.items() if each.startswith(f"{layout.query}/")}
        files[_ROUTER] = kept.get(_ROUTER) or preset.json_bytes(_routes(layout))
        files.setdefault(f"{layout.query}/config.json", preset.json_bytes({"frozen": False}))
    length = {"max_seq_length": now["max_length"]}, {"max_seq_length": was.get("max_length")}
    inner = _within(layout.transformer, sentence_settings.LENGTH)
    own = {sentence_settings.LENGTH: kept[inner]} if inner in kept else {}
    lengths = sentence_settings.length_file(*length, own)
    files |= {_within(layout.transformer, each): content for each, content in lengths.items()}
    return files | _prompts(now, was, kept)


def _prompts(now: dict[str, typing.Any], was: dict[str, typing.Any], kept: dict[str, bytes]) -> dict[str, bytes]:
    """Return `config_sentence_transformers.json`, which says that the folder is of a SparseEncoder."""
    name = sentence_settings.PROMPTS
    same = was.get("max_active_dims") == now["max_active_dims"]
    files = sentence_settings.prompt_file(now, was, kept, "dot")
    if name in kept and same:
        return files
    values = json.loads(files.get(name, b"{}"))
    written = {"model_type": "SparseEncoder", "similarity_fn_name": now["measure"], **values}
    return {name: preset.json_bytes({**written, "max_active_dims": now["max_active_dims"]})}


def _routes(layout: Layout) -> dict[str, typing.Any]:
    kinds = {
        layout.query: "SparseStaticEmbedding",
        layout.transformer: "MLMTransformer",
        layout.pooling: "SpladePooling",
    }
    return {
        "types": {path: f"{_CLASSES}.{kind}" for path, kind in kinds.items()},
        "structure": {"query": [layout.query], "document": [layout.transformer, layout.pooling]},
        "parameters": {"default_route": "document", "allow_empty_key": True, "route_mappings": {}},
    }


def query_files(
    weight: typing.Any, layout: Layout, kept: vector_steps.StepWeights | None, dtype: str | None
) -> dict[str, typing.Any]:
    """Return the file of the weights of queries, as for `preset.save_folder`."""
    arrays: dict[str, np.ndarray] = {"weight": ops.convert_to_numpy(weight)}
    return vector_steps.stored_or_new(arrays, str(layout.query), kept, dtype)
