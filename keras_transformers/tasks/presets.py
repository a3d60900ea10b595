"""Presets of tasks: loading from a folder or a file, saving as a folder, pushing to the Hugging Face Hub.

name ─ sources.resolve ─► folder ─ open_checkpoint ─► config, tensors ─► an empty model ─ assign ─► the model
"""

import pathlib
import tempfile
import typing
import warnings

import keras

from keras_transformers import spelling
from keras_transformers.callers import outside
from keras_transformers.families.naming import naming_of
from keras_transformers.files import marian_folder
from keras_transformers.files.gguf import GGUF, GGUFFile
from keras_transformers.files.git_lfs import refuse_pointers
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import (
    budget,
    equivalents,
    gguf,
    gguf_config,
    hugging_face,
    keras_hub,
    marian,
    own,
    preset,
    safetensors_files,
    sources,
    verification,
)
from keras_transformers.generation.hugging_face_settings import GENERATION_KEYS, from_hugging_face
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.models import changes
from keras_transformers.models.weights import assign, build_empty, is_head, named_weights, unused_tensors
from keras_transformers.records import to_json
from keras_transformers.spelling import listed
from keras_transformers.transforms.lora import merged_weights


def load(
    cls: typing.Any,
    name: typing.Any,
    dtype: typing.Any = None,
    model_type: str | None = None,
    verify: bool = False,
    arguments: dict[str, typing.Any] | None = None,
) -> typing.Any:
    """Load a model of the task `cls`. Takes the arguments of `Task.from_preset`."""
    arguments = dict(arguments or {})
    spelling.check_dtype(dtype)
    known = ("name", "dtype", "model_type", "verify", "adapter", *spelling.constructor_arguments(cls)[1:])
    spelling.check_arguments(f"arguments of {cls.__name__}.from_preset", arguments, known, spelling.OF_KERAS)
    adapter = arguments.pop("adapter", None)
    root = sources.resolve(name)
    if verify:
        verification.verify(root)
    folder = cls._model_folder(root)
    for each in {root, folder}:
        refuse_pointers(each)
    checkpoint = cls._open_checkpoint(root, model_type, adapter)
    saved_arguments = cls._read_arguments(root)
    same_task = checkpoint.task in (cls._checkpoint_task(), None)
    if same_task:
        saved_arguments |= cls._read_values(checkpoint.labelled(cls._checkpoint_task()))
    budget.check(checkpoint.config, checkpoint.tensors, folder)
    merged = cls._merged(saved_arguments, arguments)
    model = build_empty(lambda: cls(checkpoint.config, **merged, dtype=dtype))
    same_head = same_task and model._head_is_of(saved_arguments)
    _check_weights(model, checkpoint, folder, any_heads=bool(arguments))
    changes.restore(model, checkpoint.values.get("transforms", {}))
    notes = _fill(model, checkpoint, folder, same_head)
    model.pretrained = True
    model._remember(root)
    for note in notes:
        warnings.warn(note, stacklevel=outside())
    return model


def opened(name: typing.Any, model_type: str | None = None) -> typing.Any:
    """Open the checkpoint of a preset for the task that it was made for. Takes arguments of `load`."""
    return open_checkpoint(sources.resolve(name), model_type, None)


def open_checkpoint(
    path: pathlib.Path, model_type: str | None, task: str | None, adapter: str | None = None
) -> typing.Any:
    """Open the checkpoint in a folder with a `config.json`, or in a GGUF file, with one of its adapters or none."""
    is_marian = marian_folder.is_marian(path)
    values = {} if path.suffix == GGUF or is_marian else preset.read_json(path, "config.json")
    if adapter is not None and (
        not values or values.get("model_type") == own.MODEL_TYPE or keras_hub.is_preset(values)
    ):
        raise ValueError(f"Expected no adapter: {path} holds none, got adapter={adapter!r}.")
    if path.suffix == GGUF:
        return gguf.read(path)
    if is_marian:
        return marian.read(path)
    if model_type is not None:
        values.setdefault("model_type", model_type)
    if values.get("model_type") == own.MODEL_TYPE:
        return own.read(path, values)
    if keras_hub.is_preset(values):
        return keras_hub.read(path, values, task)
    return hugging_face.read(path, values, task, adapter)


def _check_weights(model: typing.Any, checkpoint: typing.Any, folder: pathlib.Path, any_heads: bool) -> None:
    """Refuse tensors that do not fit. With `any_heads`, heads may have any size."""
    weights = named_weights(model)
    heads = [name for name in weights if is_head(name)]
    shapes = {name: weight.shape for name, weight in weights.items() if not (any_heads and name in heads)}
    budget.check_weights(shapes, set(heads) & set(shapes), checkpoint.tensors, folder)


def _fill(model: typing.Any, checkpoint: typing.Any, folder: pathlib.Path, same_head: bool) -> list[str]:
    """Assign the tensors of a checkpoint. Returns notes for the user."""
    task, name = checkpoint.task, model._checkpoint_task()
    weights = named_weights(model)
    tensors = checkpoint.read(weights, name if same_head else None)
    new = [] if same_head and task else [each for each in weights if each not in tensors and is_head(each)]
    assign(model, tensors, folder, new)
    model.new_weights = tuple(new)
    model.origin = checkpoint.origin(tensors if task == name else None)
    notes = [*checkpoint.notes]
    if same_head and (unused := unused_tensors(tensors)):
        notes.append(
            f"{folder} holds tensors that a {type(model).__name__} has no use for: {listed(unused)}. They change "
            f"nothing{', and come back when the model is saved' if task else ''}."
        )
    if new:
        notes.append(
            f"{folder} holds {'no head of this task' if task != name else 'a head of other classes'}"
            f"{f' (it was made for {task})' if task else ''}: {', '.join(new)} begin anew. Train the model before "
            "you rely on its answers."
        )
    return notes


def has_tokenizer(folder: pathlib.Path) -> bool:
    """Whether a folder, or a GGUF file, holds a tokenizer."""
    if folder.suffix == GGUF:
        return "tokenizer.ggml.tokens" in GGUFFile(folder).metadata
    if marian_folder.is_marian(folder):
        return True
    files = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
    return any(is_plain(folder / name) for name in files) or any(folder.glob("*.model"))


def read_generation(path: typing.Any) -> GenerationConfig:
    """The `GenerationConfig` of a preset, from its `generation_config.json`, else from its `config.json`, as in old
    presets and those of other libraries.

    Raises:
        ValueError: for settings that do not fit, naming the file.
    """
    folder, name = pathlib.Path(path), "generation_config.json"
    if marian_folder.is_marian(folder):
        return marian.generation(folder)
    if not folder.is_dir() or not is_plain(folder / name):
        of_file = folder.suffix == GGUF
        values = gguf_config.config_values(folder) if of_file else preset.read_json(folder, "config.json")
        name = name if values.get("model_type") == own.MODEL_TYPE else "config.json"  # our presets always have the file
    if name == "config.json":
        settings = {each: values.get(each) for each in GENERATION_KEYS}
    else:
        settings = preset.read_json(folder, name)
    try:
        return from_hugging_face(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / name}: {error}") from None


# Saving


def save(model: typing.Any, folder: typing.Any, dtype: str | None = None) -> None:
    """Save a task as a folder. Takes the arguments of `Task.save_to_preset`."""
    preset.save_folder(folder, model._all_files(_model_files(model, dtype)))


def export_hugging_face(model: typing.Any, folder: typing.Any, dtype: str | None = None) -> None:
    """Save a task as a folder that transformers opens. Takes the arguments of `Task.export_hugging_face`."""
    files = _model_files(model, dtype)
    if own.is_own_config(files.get("config.json")):
        files = _equivalent_files(model, dtype)
    preset.save_folder(folder, model._all_files(files))


def _equivalent_files(model: typing.Any, dtype: str | None) -> dict[str, typing.Any]:
    """The files of a model with the same outputs, of a family that transformers has.

    Raises:
        ValueError: for quantized weights, and for a model that no family computes.
    """
    if "quantization" in changes.describe(model):
        raise ValueError(
            "Expected float weights for transformers, got a model that kt.transforms.quantize made small. Export the "
            "model before that."
        )
    task, config = model._checkpoint_task(), model.config
    if config.encoder is None or config.decoder is None:
        raise ValueError(
            f"Expected a {task} that a family of transformers can express, got one that none can. Save it with "
            "save_to_preset, for this library."
        )
    weights = {name: keras.ops.convert_to_numpy(each) for name, each in merged_weights(model).items()}
    found = equivalents.equivalent(config, weights)
    files = hugging_face.write(found.config, found.weights, task, None, model._checkpoint_values(), dtype)
    if files is None:
        raise ValueError(f"Expected a family of transformers with a head for {task}, got a model whose has none.")
    return files


def described(model: typing.Any) -> bytes:
    """The `config.json` of a model whose weights are quantized: that of transformers if a family describes it."""
    task = model._checkpoint_task()
    naming = naming_of(model.config, task, model.origin)
    if naming is None:
        content: bytes = _model_files(model, None)["config.json"]
        return content
    family, head = naming
    values = {**family.write(model.config), "architectures": [head.architecture], **model._checkpoint_values()}
    return preset.json_bytes({"model_type": family.written_type or family.model_type, **values})


def push(
    model: typing.Any, repository: str, dtype: str | None = None, *, private: bool | None = None, **options: typing.Any
) -> str:
    """Save a task to a repository on the Hugging Face Hub. Takes the arguments of `Task.push_to_hub`."""
    import huggingface_hub

    api = huggingface_hub.HfApi()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "preset"
        model.save_to_preset(folder, dtype)
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, **options))


def _model_files(model: typing.Any, dtype: str | None) -> dict[str, typing.Any]:
    """The files of a model by name, as bytes or as functions that write to a path. They have the Hugging Face format if
    a model family describes the model."""
    from keras_transformers import __version__

    task, transforms = model._checkpoint_task(), changes.describe(model)
    quantized = "quantization" in transforms  # adapters on float weights are merged, for other libraries
    weights = named_weights(model) if quantized else merged_weights(model)
    values = model._checkpoint_values()
    if model.origin is not None and model.origin.task == task:
        was = model._read_values(hugging_face.labelled(model.origin.values, model.origin.head))
        values = {} if all(getattr(model, name) == value for name, value in was.items()) else values
    files = None if quantized else model._checkpoint_files(weights, values, dtype)
    if files is not None:
        return files
    config = {
        "model_type": own.MODEL_TYPE,
        "keras_transformers_version": __version__,
        "task": task,
        "dtype": dtype or model.dtype_policy.variable_dtype,
        "config": to_json(model.config),
        **({"transforms": transforms} if quantized else {}),
        **model._preset_values(),
    }
    arrays = {name: keras.ops.convert_to_numpy(weight) for name, weight in weights.items()}
    return {
        "config.json": preset.json_bytes(config),
        preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, arrays, dtype=dtype),
    }
