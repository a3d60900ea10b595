"""Exporting a task as graphs for another runtime: `Task.export`.

task ─ graphs_of ─► Graph, Graph ─ backends.graphs.write ─► files ─ a runtime ─► compared with the task
                                                                  └─ beside them: config.json, the tokenizer,
                                                                     export.json, run.py
"""

import dataclasses
import json
import pathlib
import shutil
import tempfile
import typing
import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_transformers.backends import execution, graphs
from keras_transformers.callers import outside
from keras_transformers.files.reading import shown
from keras_transformers.formats import own, preset
from keras_transformers.formats.exports import comparison, kinds, onnx, openvino, renaming, scripts, tokenizers
from keras_transformers.formats.exports.comparison import Case
from keras_transformers.formats.exports.kinds import Kind
from keras_transformers.generation.decoding import NEW_TOKENS
from keras_transformers.models import changes
from keras_transformers.tasks import elsewhere, presets
from keras_transformers.tasks.graphs import DECODER, Graphs, graphs_of

SETTINGS = "export.json"


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that was exported.

    Attributes:
        path: the folder.
        format: the format.
        difference: the largest difference between the outputs of the graphs and of the model, relative to the largest
            value.
        files: the files of the graphs, by the graphs' names.
    """

    path: pathlib.Path
    format: str
    difference: float
    files: dict[str, str]


def export(task: typing.Any, path: typing.Any, format: str = "onnx") -> Export:
    """Write a task as graphs of another runtime. See `Task.export`."""
    kind = kinds.find(format)
    folder = _checked_path(path, kind)
    kind.check_packages()
    if kind.name == "torch" and task.config.encoder is not None and task.config.decoder is not None:
        raise ValueError(
            "Expected a model of one stack for the format 'torch', got an encoder-decoder: torch.export fixes lengths "
            "of its decoder. Choose onnx, openvino or tf_saved_model."
        )
    names = [graph.name for graph in graphs_of(task).graphs]
    preset.check_replaceable(folder, _marker(kind, names))
    _warn_of_untrained(task)
    cases = reference(task)
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch) / "made"
        place.mkdir()
        here = kind.written_as in graphs.FORMATS
        made, difference = (write_and_compare if here else elsewhere.write_and_compare)(task, kind, place, cases)
        half = keras.backend.standardize_dtype(task.compute_dtype) != "float32"
        tolerance = comparison.TOLERANCE_OF_HALVES if half else comparison.TOLERANCE
        comparison.check(difference, tolerance, kind.name)
        files = {each.relative_to(place).as_posix(): _copier(each) for each in place.rglob("*") if each.is_file()}
        preset.save_folder(folder, {**files, **beside(task, kind, made, difference)}, marker=_marker(kind, names))
    return Export(folder, kind.name, difference, made)


def _marker(kind: Kind, names: list[str]) -> str:
    """The file whose presence allows replacing an earlier export."""
    return "saved_model.pb" if kind.pattern == "." else kind.pattern.format(names[0])


def write_and_compare(
    task: typing.Any, kind: Kind, folder: pathlib.Path, cases: list[Case]
) -> tuple[dict[str, str], float]:
    """Write the graphs of a task below a folder, on the backend that writes them. Returns their files by name, and the
    largest difference of their outputs."""
    of_task = graphs_of(task)
    made = write_graphs(of_task, kind, folder)
    difference = max(_difference(of_task, kind, made, case) for case in cases)
    return {name: made[name].relative_to(folder).as_posix() for name in made}, difference


def _checked_path(path: typing.Any, kind: Kind) -> pathlib.Path:
    """The folder to write.

    Raises:
        ValueError: for a path with the suffix of one file.
    """
    folder = pathlib.Path(path).expanduser()
    if folder.suffix in (".onnx", ".tflite", ".xml", ".pt2", ".keras"):
        raise ValueError(
            f"Expected a folder to write, got {shown(str(path))}: graphs, labels and tokenizer are several files. Give "
            f"{str(folder.with_suffix(''))!r}."
        )
    return folder


def _copier(file: pathlib.Path) -> Callable[[pathlib.Path], typing.Any]:
    return lambda path: shutil.move(file, path)


def _warn_of_untrained(task: typing.Any) -> None:
    """Warn of a model, or a head, that neither a checkpoint nor training gave its weights."""
    optimizer = getattr(task, "optimizer", None)
    if optimizer is not None and int(optimizer.iterations):
        return
    new = getattr(task, "new_weights", ())
    if task.pretrained and not new:
        return
    named = f"its head ({', '.join(new)}) was" if new else "its weights were"
    warnings.warn(
        f"The exported {type(task).__name__} answers at random: {named} neither loaded nor trained.",
        stacklevel=outside(),
    )


# Graphs


def write_graphs(of_task: Graphs, kind: Kind, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Write the graphs of a task below a folder. Returns their paths by name."""
    paths = {}
    for graph in of_task.graphs:
        merged = kind.name == "onnx" and graph.name == DECODER
        paths[graph.name] = kind.path(folder, f"{graph.name}_merged" if merged else graph.name)
        paths[graph.name].parent.mkdir(parents=True, exist_ok=True)
    written = [
        renaming.renamed(graph, of_task.names[graph.name]) if kind.interchange else graph for graph in of_task.graphs
    ]
    if kind.name != "openvino":
        graphs.write(written, list(paths.values()), kind.written_as)
        return paths
    with tempfile.TemporaryDirectory() as scratch:
        sources = [pathlib.Path(scratch) / f"{graph.name}.onnx" for graph in written]
        graphs.write(written, sources, kind.written_as)
        for source, path in zip(sources, paths.values(), strict=True):
            openvino.convert(source, path)
    return paths


_RUNNERS: dict[str, typing.Any] = {"onnx": onnx.runner, "openvino": openvino.runner}


def _difference(of_task: Graphs, kind: Kind, paths: dict[str, pathlib.Path], case: Case) -> float:
    make = _RUNNERS.get(kind.name, lambda paths: graphs.runner(paths, kind.name))
    run = make(paths)
    if kind.interchange:
        run = renaming.run_with(run, of_task.names)
    return case.difference(of_task.drive(run, case.inputs))


def reference(task: typing.Any) -> list[Case]:
    """Inputs of odd shapes, and the outputs of the task for them on the backend that runs."""
    rng = np.random.default_rng(0)
    (output,) = graphs_of(task).graphs[-1].outputs[:1]
    compute = execution.without_gradients(lambda inputs: task(inputs, training=False))
    cases = []
    for rows, length in ((1, 1), (1, 5), (3, 11), (2, 37)):
        inputs = _inputs(task, rng, rows, min(length, task._longest("embeddings") or length))
        read = dict(inputs)
        if _continues(task):
            real = read.pop("padding_mask")
            read["starts"] = (~real).sum(1, keepdims=True).astype("int32")
        tensors = {name: keras.ops.convert_to_tensor(array) for name, array in read.items()}
        outputs = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(compute(tensors), "float32")))
        positions = inputs.get("decoder_token_ids", inputs["token_ids"])
        real = np.ones(positions.shape, bool) if positions is not inputs["token_ids"] else inputs["padding_mask"]
        cases.append(Case(inputs, {output: outputs}, real))
    return cases


def _continues(task: typing.Any) -> bool:
    """Whether a task is a decoder that continues texts."""
    return hasattr(task, "generation") and task.config.encoder is None


def _inputs(task: typing.Any, rng: np.random.Generator, rows: int, length: int) -> dict[str, np.ndarray]:
    """Random inputs, with padding in all rows but the first: behind the text, or in front of one to be continued."""
    config = task.config
    size, padding = config.embeddings.vocabulary_size, config.filler
    token_ids = rng.integers(0, size, (rows, length)).astype("int32")
    token_ids[token_ids == padding] = (padding + 1) % size
    lengths = np.array([length, *rng.integers(1, length + 1, rows - 1)])
    end = getattr(config.pooler, "end_id", None)
    if end is not None:
        token_ids[token_ids == end] = next(each for each in range(size) if each not in (end, padding))
        token_ids[np.arange(rows), lengths - 1] = end
    real = np.arange(length) < lengths[:, None]
    real = real[:, ::-1] if _continues(task) else real
    inputs = {"token_ids": np.where(real, token_ids, padding).astype("int32"), "padding_mask": real}
    if config.num_segments > 1:
        inputs["segment_ids"] = (rng.integers(0, config.num_segments, (rows, length)) * real).astype("int32")
    if hasattr(task, "generation") and not _continues(task):
        own = config.target_embeddings.vocabulary_size
        most = min(length, task._longest("target_embeddings") or length)
        inputs["decoder_token_ids"] = rng.integers(1, own, (rows, most)).astype("int32")
    return inputs


# Files beside the graphs


def beside(task: typing.Any, kind: Kind, named: dict[str, str], difference: float) -> dict[str, typing.Any]:
    """The files beside the graphs: configuration, labels, tokenizer, and a program that runs them."""
    files: dict[str, typing.Any] = {"config.json": config_file(task)}
    if hasattr(task, "generation"):
        files["generation_config.json"] = task._files()["generation_config.json"]
    exact = False
    if task.tokenizer is not None:
        of_tokenizer, exact = tokenizers.files(task.tokenizer, _encoder(task))
        files |= of_tokenizer
    files[SETTINGS] = preset.json_bytes(settings(task, kind, named, difference))
    if kind.name == "onnx" and exact and (what := _script(task)):
        files[scripts.SCRIPT] = scripts.script(what)
    return files


def _encoder(task: typing.Any) -> Callable[[str], list[int]]:
    """The function from a text to the ids that the task reads."""
    if hasattr(task, "encode_sources"):
        return lambda text: task.encode_sources([text])[0]
    return lambda text: task.encode_texts([text])[1].token_ids[0].tolist()


def _script(task: typing.Any) -> str | None:
    """The kind of program that runs a task."""
    if hasattr(task, "generation"):
        return "write"
    if hasattr(task, "labels"):
        return "classify" if hasattr(task, "classify") else "tag"
    return "plain"


def config_file(task: typing.Any) -> bytes:
    """The `config.json` of the task: that of transformers if a family describes the model."""
    if "quantization" in changes.describe(task):
        return presets.described(task)
    content: bytes = presets._model_files(task, None)["config.json"]
    if own.is_own_config(content):
        try:
            content = presets._equivalent_files(task, None)["config.json"]
        except ValueError:
            return content
    return content


def settings(task: typing.Any, kind: Kind, named: dict[str, str], difference: float) -> dict[str, typing.Any]:
    """The content of `export.json`."""
    from keras_transformers import __version__

    values: dict[str, typing.Any] = {
        "keras_transformers_version": __version__,
        "task": task._checkpoint_task(),
        "format": kind.name,
        "graphs": named,
        "difference": difference,
        "padding_id": int(task.config.filler),
        "max_length": task.max_length if hasattr(task, "max_length") else task._longest("embeddings"),
    }
    if hasattr(task, "labels"):
        values |= {"labels": list(task.labels), "problem": task.problem}
        values["id2label"] = {str(number): label for number, label in enumerate(task.labels)}
    if hasattr(task, "generation"):
        values |= _generation(task)
    return values


def _generation(task: typing.Any) -> dict[str, typing.Any]:
    """The settings of greedy search."""
    config = task.generation
    limit = config.max_new_tokens or (config.max_length and config.max_length - 1) or NEW_TOKENS
    longest = task._longest("target_embeddings")
    never = {*config.suppress_tokens, *(ids[0] for ids in config.bad_words_ids if len(ids) == 1)} - {*config.end_ids}
    first = config.forced_start_id
    return {
        "start_id": config.start_id,
        "first_id": first[0] if isinstance(first, tuple) and first else first,
        "end_ids": [int(each) for each in config.end_ids],
        "suppressed_ids": sorted(map(int, never)),
        "max_new_tokens": int(min(limit, longest or limit)),
    }


def reread(path: pathlib.Path) -> dict[str, typing.Any]:
    """The content of an exported folder's `export.json`."""
    values: dict[str, typing.Any] = json.loads((path / SETTINGS).read_text("utf-8"))
    return values
