"""Folders of COMET: an encoder and a regressor that judge translations, as PyTorch Lightning stores them.

    hparams.yaml              the kind of model, the encoder's name, the sizes of the regressor
    checkpoints/model.ckpt    encoder.model.…                           the encoder
                              layerwise_attention.scalar_parameters.…   the mix of its layers
                              estimator.ff.0, .3, .6, …                 the regressor

The encoder's configuration and tokenizer are in the folder that `pretrained_model` names, on the Hugging Face hub.

    class_identifier                     reads                        judges
    regression_metric                    three texts, apart           a translation beside a reference (COMET-22)
    referenceless_regression_metric      two texts, apart             a translation without
    unified_metric                       the texts in one row         either (CometKiwi without, UniTE beside one)

No code of a file is executed: the checkpoint goes through torch's weights-only loader.

Source: comet/models and comet/encoders, https://github.com/Unbabel/COMET
"""

import collections.abc
import dataclasses
import os
import pathlib
import typing

from keras_transformers.extras import require
from keras_transformers.families.family import Family
from keras_transformers.families.registry import family_of
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain, read_object, read_text, shown
from keras_transformers.formats import computed, sources, tensor_files, vector_steps
from keras_transformers.formats.ties import settle
from keras_transformers.layers.projections import Projection
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.weights import is_head
from keras_transformers.records import record

CONFIG = "hparams.yaml"
ENDING = ".ckpt"
_BODY = "encoder.model."
_TASK = "TextEmbedder"  # the encoder without a head
# The kinds of models, and how many vectors of a text's width the regressor reads.
KINDS = {"regression_metric": 6, "referenceless_regression_metric": 4, "unified_metric": 1}
SEGMENTS = (("mt", "src"), ("mt", "ref"), ("mt", "src", "ref"))
_ENCODERS = ("XLM-RoBERTa", "XLM-RoBERTa-XL")
_POOLINGS = {"avg": "mean", "cls": "first", "max": "max"}
_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "GELU": "gelu", "SiLU": "silu", None: None}
# "sparsemax_patch" is written into folders whose weights were trained with a softmax.
_TRANSFORMATIONS = {"softmax": "softmax", "sparsemax": "sparsemax", "sparsemax_patch": "softmax"}
_READ = {
    *("class_identifier", "encoder_model", "pretrained_model", "pool", "layer", "sent_layer", "layer_transformation"),
    *("layer_norm", "hidden_sizes", "activations", "final_activation", "input_segments"),
}
# Keys of training, and of what the score does not depend on.
_INERT = set(
    """
    nr_frozen_epochs keep_embeddings_frozen optimizer warmup_steps encoder_learning_rate learning_rate layerwise_decay
    loss dropout batch_size train_data validation_data load_weights_from_checkpoint load_pretrained_weights
    local_files_only word_layer word_level_training word_weights loss_lambda error_labels cross_entropy_weights
    initalize_pretrained_unified_weights train_path validation_path
    """.split()
)
# Old names of encoders on the hub.
_OWNERS = {"xlm-roberta-base": "FacebookAI", "xlm-roberta-large": "FacebookAI"}
_IGNORED = (
    *("layerwise_attention.dropout_mask", "layerwise_attention.dropout_fill", "hidden2tag.{leaf}", "wordloss.weight"),
)


@record
class CometLayout:
    """A judge of translations.

    Attributes:
        kind: one of `KINDS`.
        segments: the texts that share a row, of `SEGMENTS`, for a unified metric.
        layer: the number of the hidden state that is used; None for a mix of all.
        transformation, layer_norm: see `kt.layers.LayerMix`.
        pooling: how the vector of a text is made: "mean", "first" or "max".
        regressor: the layers that compute the score.
        max_length: the most tokens that the encoder reads.
    """

    kind: str
    segments: tuple[str, ...]
    layer: int | None
    transformation: str
    layer_norm: bool
    pooling: str
    regressor: tuple[Projection, ...]
    max_length: int


@dataclasses.dataclass(frozen=True)
class CometFolder:
    """An opened folder.

    Attributes:
        folder: its path.
        encoder: the folder of the encoder's configuration and tokenizer.
        layout: the `CometLayout`.
        config: the encoder's `ModelConfig`.
        family, apart: see `hugging_face.Checkpoint`.
        tensors: the arrays by their names in the file, read on access.
        notes: sentences for the user.
    """

    folder: pathlib.Path
    encoder: pathlib.Path
    layout: CometLayout
    config: ModelConfig
    family: Family
    apart: tuple[str, ...]
    tensors: typing.Any
    notes: tuple[str, ...] = ()

    def read(self, weights: collections.abc.Mapping[str, typing.Any]) -> typing.Any:
        """Return the tensors by this library's names, for the weights of a model by name."""
        names = {name.removeprefix(_BODY): name for name in self.tensors if name.startswith(_BODY)}
        table = self.family.table(self.config, self.family.head(_TASK), self.apart)
        body = {name: weight for name, weight in weights.items() if not is_head(name)}
        of_body = table.read(vector_steps.Renamed(names, self.tensors), body)
        head = {name: weight for name, weight in weights.items() if is_head(name)}
        rest = vector_steps.without(self.tensors, list(names.values()))
        of_head = head_map(len(self.layout.regressor)).read(rest, head, closed=True)
        return vector_steps.Joined(of_body, [of_head])


def head_map(num_layers: int) -> WeightMap:
    """The table of the weights besides the encoder's; an activation and a dropout follow each dense layer."""
    return WeightMap(
        (
            Entry("layer_mix.scale", "layerwise_attention.scalar_parameters.*"),
            Entry("layer_mix.gamma", "layerwise_attention.gamma"),
            *(Entry(f"projection_{n}.dense", f"estimator.ff.{3 * n}") for n in range(num_layers)),
        ),
        ignored=_IGNORED,
    )


def find(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    """Return the paths of the checkpoint and of `hparams.yaml` of a folder, or of a checkpoint's own path; None for
    another layout.

    Raises:
        FileNotFoundError: if one of the two is missing.
        ValueError: for a folder of several checkpoints.
    """
    if path.suffix == ENDING and path.is_file():
        places = [folder / CONFIG for folder in path.parents[:2]]
        config = next((each for each in places if is_plain(each)), None)
        if config is None:
            raise FileNotFoundError(f"Expected {CONFIG} beside {path} or in the folder above, found none. Copy it.")
        return path, config
    if not path.is_dir() or not is_plain(path / CONFIG):
        return None
    found = sorted([*path.glob(f"checkpoints/*{ENDING}"), *path.glob(f"*{ENDING}")])
    if not found:
        raise FileNotFoundError(f"Expected checkpoints/model{ENDING} beside {path / CONFIG}, found none.")
    if len(found) > 1:
        raise ValueError(f"Expected one checkpoint in {path}, got {len(found)}. Give the path of one of them.")
    return found[0], path / CONFIG


def read(checkpoint: pathlib.Path, where: pathlib.Path, encoder: typing.Any = None) -> CometFolder:
    """Open a folder of COMET, without reading its tensors.

    Args:
        checkpoint: the path of the checkpoint.
        where: the path of `hparams.yaml`.
        encoder: the folder of the encoder's configuration and tokenizer, or its name on a hub.

    Raises:
        FileNotFoundError: if the encoder is not found.
        ValueError: for another layout, and keys that this library does not compute, all of them by name.
    """
    values = _values(where)
    tensors, stored = tensor_files.open_lightning(checkpoint)
    _check_same(values, stored, where, checkpoint)
    folder = _encoder_folder(encoder, values, where)
    of_encoder = read_object(folder / "config.json")
    family = family_of(of_encoder, folder / "config.json")
    try:
        config = family.config(of_encoder, _TASK, folder / "config.json")
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from None
    names = {name.removeprefix(_BODY): name for name in tensors if name.startswith(_BODY)}
    of_body = vector_steps.Renamed(names, tensors)
    settled = settle(family, config, family.head(_TASK), of_body, checkpoint)
    notes = (*settled.notes, *computed.check(settled.config, of_body, checkpoint))
    layout = _layout(values, int(of_encoder.get("max_position_embeddings", 514)) - 2, where)
    return CometFolder(where.parent, folder, layout, settled.config, family, settled.apart, tensors, notes)


def _values(where: pathlib.Path) -> dict[str, typing.Any]:
    require(yaml=True)
    import yaml

    text = read_text(where)
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date or number that does not exist; nesting
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"Expected YAML in {where}, got: {problem}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"Expected settings by name in {where}, got {shown(values)}.")
    return values


def _check_same(
    values: dict[str, typing.Any], stored: dict[str, typing.Any], where: pathlib.Path, checkpoint: pathlib.Path
) -> None:
    """Refuse a checkpoint whose own settings are others than those beside it."""
    patched = {"layer_transformation"} if values.get("layer_transformation") == "sparsemax_patch" else set()
    keys = sorted((_READ - {"class_identifier", "pretrained_model"} - patched) & set(values) & set(stored))
    if others := [
        f"{key}: {shown(values[key])} and {shown(stored[key])}" for key in keys if values[key] != stored[key]
    ]:
        raise ValueError(
            f"Expected the settings in {where} to be those stored in {checkpoint}, got {'; '.join(others)}. They do "
            "not belong together: download the folder again."
        )


def _layout(values: dict[str, typing.Any], max_length: int, where: pathlib.Path) -> CometLayout:
    """Return the layout, after checking every key."""
    kind, problems = values.get("class_identifier"), []
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(
            f"Expected class_identifier in {where} to be one of {', '.join(KINDS)}, got {shown(kind)}. Other models of "
            "COMET are not supported."
        )
    unified = kind == "unified_metric"

    def one_of(key: str, default: typing.Any, allowed: collections.abc.Collection) -> typing.Any:
        value = values.get(key, default)
        value = tuple(value) if isinstance(value, list) else value
        if not any(value == each for each in allowed):
            problems.append(f"{key}: expected one of {', '.join(map(repr, allowed))}, got {shown(value)}")
            return next(iter(allowed))
        return value

    one_of("encoder_model", "XLM-RoBERTa", _ENCODERS)
    transformation = one_of("layer_transformation", "sparsemax" if unified else "softmax", _TRANSFORMATIONS)
    segments = one_of("input_segments", ("mt", "src", "ref"), SEGMENTS) if unified else ()
    activation = _ACTIVATIONS[one_of("activations", "Tanh", [each for each in _ACTIVATIONS if each])]
    last = _ACTIVATIONS[one_of("final_activation", None, _ACTIVATIONS)]
    layer = values.get("sent_layer" if unified else "layer", "mix")
    sizes, layer_norm = values.get("hidden_sizes", [3072, 1024]), values.get("layer_norm", True)
    problems += _odd_values(layer, sizes, layer_norm)
    pooling = "first" if unified else _POOLINGS[one_of("pool", "avg", _POOLINGS)]
    problems += [f"{key}: unknown key" for key in sorted(set(values) - _READ - _INERT, key=str)]
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}. Other forms of COMET are not supported.")
    return CometLayout(
        kind,
        segments,
        None if layer == "mix" else layer,
        _TRANSFORMATIONS[transformation],
        layer_norm,
        pooling,
        (*(Projection(each, activation) for each in sizes), Projection(1, last)),
        max_length,
    )


def _odd_values(layer: typing.Any, sizes: typing.Any, layer_norm: typing.Any) -> list[str]:
    """What is wrong with these settings."""
    is_size = isinstance(sizes, list) and sizes and all(type(each) is int and each > 0 for each in sizes)
    return [
        problem
        for is_wrong, problem in (
            (
                layer != "mix" and (type(layer) is not int or layer < 0),
                f"layer: expected 'mix' or the number of a layer, got {shown(layer)}",
            ),
            (not is_size, f"hidden_sizes: expected a list of sizes, got {shown(sizes)}"),
            (type(layer_norm) is not bool, f"layer_norm: expected true or false, got {shown(layer_norm)}"),
        )
        if is_wrong
    ]


def _encoder_folder(encoder: typing.Any, values: dict[str, typing.Any], where: pathlib.Path) -> pathlib.Path:
    """The folder of the encoder's configuration and tokenizer: the given one, COMET's own, or that on the hub."""
    if encoder is not None:
        return sources.resolve(encoder, weights=False)
    if is_plain(where.parent / "config.json"):
        return where.parent
    return named_folder(values.get("pretrained_model"), where)


def named_folder(name: typing.Any, where: object) -> pathlib.Path:
    """Return the folder of the model that a judge of translations was made of, from this machine or the hub, without
    its weights.

    Raises:
        FileNotFoundError: if it is neither a folder nor found on the hub.
    """
    if isinstance(name, str) and name and pathlib.Path(os.path.expanduser(name)).is_dir():
        return pathlib.Path(os.path.expanduser(name))
    owner = _OWNERS.get(str(name))
    try:
        return sources.resolve(f"hf://{owner}/{name}" if owner else f"hf://{name}", weights=False)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"Expected the configuration and the tokenizer of {shown(name)}, which {where} builds on, on the Hugging "
            f"Face hub, found neither ({type(error).__name__}). Give a folder with both: "
            "TranslationScorer.from_preset(…, base=folder)."
        ) from error
