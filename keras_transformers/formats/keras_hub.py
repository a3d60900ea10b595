"""KerasHub presets: configuration and weights, read through the Hugging Face family that describes the same model.

    config.json                        class and sizes of a backbone ─► Family ─► ModelConfig
    model.weights.h5                   its weights; or several such files and model.weights.json
    task.json, task.weights.h5         class, options and weights of a head
    tokenizer.json, assets/tokenizer   see `tokenizers/convert/keras_hub.py`

So a model loaded from KerasHub is saved as a folder that transformers opens. KerasHub's models differ as follows:

    BERT          the tanh form of GELU in its blocks; the masked language model's head has the exact GELU and another
                  epsilon. No Hugging Face `config.json` can express this: the model is saved in our own format
    RoBERTa       positions start at the first row, and there are no segments: the additional rows of Hugging Face
                  are filled with zeros
    DistilBERT    the epsilon of the same head
    DeBERTa v3    the same

KerasHub pads on the right, where RoBERTa's positions are the same. Padded on the left, positions are as in the original
RoBERTa.

No code of a folder is executed: the classes that it names are looked up in a table here, and h5 files hold numbers.

Source: keras_hub/src/utils/preset_utils.py and keras_hub/src/models of KerasHub 0.32, https://github.com/keras-team/keras-hub
"""

import collections.abc
import dataclasses
import functools
import os
import pathlib
import typing

import numpy as np

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields
from keras_transformers.families.keys import Key, key
from keras_transformers.families.registry import family
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset
from keras_transformers.formats.keras_weights import Dataset, datasets, weight_files
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.models.config import ModelConfig
from keras_transformers.tokenizers.convert.keras_hub import class_name, is_keras_hub
from keras_transformers.tokenizers.tokenizer import Tokenizer

TASK_WEIGHTS = "task.weights.h5"

# Configurations

_SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim")
_FLOATS = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class _Model:
    """The conversion of one of KerasHub's models to a Hugging Face `config.json`.

    Attributes:
        model_type: the family.
        keys: rows for the arguments of KerasHub's backbone; their paths are keys of a `config.json`.
        values: values that all these models share.
        embeddings: the names of the embedding tables and their norm in an h5 file, by this library's names.
        text: the entries of the text classifier's head.
        pooler: the entries of the body's pooler, if it has one.
        classifier_dropout: the Hugging Face name of the classifier's dropout.
        rows_before: whether the position table has rows before the first position.
        block: the name of a block, without its number.
        more: the entries of further layers of the body.
    """

    model_type: str
    keys: tuple[Key, ...]
    values: dict
    embeddings: dict[str, str]
    text: tuple[Entry, ...]
    pooler: tuple[Entry, ...] = ()
    classifier_dropout: str = "classifier_dropout"
    rows_before: bool = False
    block: str = "transformer_encoder"
    more: tuple[Entry, ...] = ()


def _dense(ours: str, theirs: str) -> Entry:
    return Entry(ours, theirs, transposed=False)


# Arguments of a backbone, their defaults, and their names in a `config.json`.
_KEYS = (
    key("vocabulary_size", 0, "vocab_size"),
    key("num_layers", 0, "num_hidden_layers"),
    key("num_heads", 0, "num_attention_heads"),
    key("hidden_dim", 0, "hidden_size"),
    key("intermediate_dim", 0, "intermediate_size"),
    key("dropout", 0.1, "hidden_dropout_prob", "attention_probs_dropout_prob"),
    key("max_sequence_length", 512, "max_position_embeddings"),
)
_TABLE = "model.token_and_position_embedding"
_EMBEDDINGS = {
    "token": f"{_TABLE}.token_embedding",
    "position": f"{_TABLE}.position_embedding",
    "segment": "model.segment_embedding",  # for models without segments
    "norm": "model.layer_normalization",
}
_TEXT = (_dense("pooler.transform.dense", "task.dense"), _dense("classifier", "task.dense_1"))
_ROBERTA = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "type_vocab_size": 1}
_MODELS = {
    "Bert": _Model(
        "bert",
        (*_KEYS, key("num_segments", 2, "type_vocab_size")),
        {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
        {
            "token": "model.reversible_embedding",
            "position": "model.position_embedding",
            "segment": "model.embedding",
            "norm": "model.layer_normalization",
        },
        (_dense("classifier", "task.dense"),),
        (_dense("pooler.transform.dense", "model.dense"),),
    ),
    "Roberta": _Model("roberta", _KEYS, _ROBERTA, _EMBEDDINGS, _TEXT, rows_before=True),
    "XLMRoberta": _Model("xlm-roberta", _KEYS, _ROBERTA, _EMBEDDINGS, _TEXT, rows_before=True),
    "DistilBert": _Model(
        "distilbert",
        (
            key("vocabulary_size", 0, "vocab_size"),
            key("num_layers", 0, "n_layers"),
            key("num_heads", 0, "n_heads"),
            key("hidden_dim", 0, "dim"),
            key("intermediate_dim", 0, "hidden_dim"),
            key("dropout", 0.1, "dropout", "attention_dropout"),
            key("max_sequence_length", 512, "max_position_embeddings"),
        ),
        {"activation": "gelu"},
        _EMBEDDINGS,
        _TEXT,
        classifier_dropout="seq_classif_dropout",
    ),
    "DebertaV3": _Model(
        "deberta-v2",
        (*_KEYS, key("bucket_size", 256, "position_buckets")),
        {
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-7,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
        {"token": "model.reversible_embedding", "norm": "model.layer_normalization"},
        _TEXT,
        classifier_dropout="pooler_dropout",
        block="disentangled_attention_encoder",
        more=(
            _dense("encoder.positions", "model.relative_embedding"),
            Entry("encoder.positions.norm", "model.relative_embedding.layer_norm"),
        ),
    ),
}


def classes() -> dict[str, list[str]]:
    """Return the names of KerasHub's backbones that load, by `model_type`."""
    found: dict[str, list[str]] = {}
    for name, model in _MODELS.items():
        found.setdefault(model.model_type, []).append(f"{name}Backbone")
    return found


# Endings of KerasHub's task classes after the model's name, and this library's tasks.
_TASKS = {
    "TextClassifier": "TextClassifier",
    "Classifier": "TextClassifier",
    "MaskedLM": "MaskedLM",
    "TextEmbedder": "TextEmbedder",
}
_POOLINGS = {"cls": "first", "mean": "mean", "max": "max"}
_MASKED_LM = (
    _dense("head.transform.dense", "task.masked_lm_head.intermediate_dense"),
    Entry("head.transform.norm", "task.masked_lm_head.intermediate_layer_norm"),
    Entry("head", "task.masked_lm_head"),
)


def is_preset(values: dict[str, typing.Any]) -> bool:
    """Return whether a `config.json` is from KerasHub: it names a class and has no `model_type`."""
    return "model_type" not in values and is_keras_hub(values)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened preset; see `hugging_face.Checkpoint`.

    Attributes:
        folder: the preset's folder.
        model: the preset's row of the table.
        config: a `ModelConfig`, with KerasHub's head for a masked language model if that task was asked for.
        task: the task whose head the preset holds, or None.
        values: the number of classes, as `num_labels`.
    """

    folder: pathlib.Path
    model: _Model
    config: ModelConfig
    task: str | None
    values: dict
    notes: tuple[str, ...] = ()

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return the classes as a `config.json` has them: their number, since KerasHub has no names."""
        return self.values

    @functools.cached_property
    def tensors(self) -> "_Tensors":
        """The preset's arrays by their names in the files, read on access."""
        return _Tensors(datasets(self.folder, weight_files(self.folder), "model"), {}, self.config.hidden_dim)

    def read(
        self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None
    ) -> collections.abc.Mapping[str, np.ndarray]:
        """Return the tensors by this library's names: with a task's head, or the body alone."""
        config, fields = self.config, Fields(self.config)
        head: tuple[Entry, ...] = ()
        tensors = self.tensors.datasets
        if task is not None and task == self.task:
            head = {"TextClassifier": self.model.text, "MaskedLM": _MASKED_LM}.get(task, ())
            if head:
                tensors = tensors | datasets(self.folder, [TASK_WEIGHTS], "task")
        tables = self.model.embeddings
        zero_rows = {}
        if self.model.rows_before:
            zero_rows[f"{tables['position']}.weight"] = fields("embeddings.positions.offset")
            zero_rows[f"{tables['segment']}.weight"] = config.embeddings.num_segments
        heads = fields("encoder.block.attention.num_heads")
        entries = (
            *(_dense(f"embedding.{ours}", theirs) for ours, theirs in tables.items()),
            *_block(self.model.block, heads),
            *self.model.more,
            *self.model.pooler,
            *head,
        )
        ignored = tuple(f"{entry.theirs}.{{leaf}}" for entry in self.model.pooler)
        return WeightMap(entries, ignored).read(_Tensors(tensors, zero_rows, config.hidden_dim), weights)

    def origin(self, read: typing.Any = None) -> None:
        """Return None: saving reproduces nothing of a KerasHub preset."""
        return None


def read(folder: str | os.PathLike[str], values: dict[str, typing.Any], task: str | None) -> Checkpoint:
    """Open a preset and interpret its configuration, without reading its weights.

    Args:
        folder: the folder.
        values: the parsed `config.json`.
        task: the name of the task that uses the preset. Options of other tasks in `task.json` are ignored.

    Raises:
        FileNotFoundError, ValueError: for a class that is not in the table, keys that are missing, unknown or ask for a
            computation that this library lacks, and damaged files.

    Example:
        >>> read("bert_tiny", preset.read_json("bert_tiny", "config.json"), "MaskedLM").config.hidden_dim
        128
    """
    folder = pathlib.Path(folder)
    where, name = folder / "config.json", class_name(values)
    prefix = name.removesuffix("Backbone")
    if prefix not in _MODELS or not name.endswith("Backbone"):
        known = ", ".join(f"{each}Backbone" for each in _MODELS)
        raise ValueError(
            f"Expected one of KerasHub's classes {known} in {where}, got {name!r}. Load it with KerasHub, or take a "
            "Hugging Face checkpoint of the same model."
        )
    model = _MODELS[prefix]
    file_task, options = _task_of(folder, prefix) or (None, {})
    theirs = _read_body(values, model, folder, where)
    told: dict[str, typing.Any] = {}
    if file_task == task:
        theirs |= _read_task(options, task, model, values["config"]["hidden_dim"], folder / "task.json", told)
    try:
        config = family(model.model_type).config(theirs)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if file_task == task == "MaskedLM":
        transform = TransformConfig("gelu", LayerNorm(1e-5))
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, transform=transform))
    return Checkpoint(folder, model, config, file_task, told)


def pooling(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Return the pooling of a KerasHub text embedder's preset, by `TextEmbedder`'s arguments; empty for other presets.

    Args:
        folder: the preset's folder.

    Raises:
        ValueError: for an unknown pooling.
    """
    path = pathlib.Path(folder) / "task.json"
    if not is_plain(path):
        return {}
    values = preset.read_json(folder, "task.json")
    if not is_keras_hub(values) or not class_name(values).endswith("TextEmbedder"):
        return {}
    options = _config_of(values, path)
    mode = options.get("pooling_mode", "mean")
    if mode not in _POOLINGS:
        raise ValueError(f"Expected pooling_mode in {path} to be one of {', '.join(_POOLINGS)}, got {mode!r}.")
    return {"pooling": _POOLINGS[mode], "normalize": bool(options.get("normalize", True))}


def _read_body(
    values: dict[str, typing.Any], model: _Model, folder: pathlib.Path, where: pathlib.Path
) -> dict[str, typing.Any]:
    """Return the Hugging Face `config.json` that is equivalent to KerasHub's."""
    given = _config_of(values, where)
    read = ConfigReader(given)
    told = dict(model.values)
    for row in model.keys:
        row.read(read, told)
    read.problems += [f"no {name}" for name in _SIZES if name not in given]
    _expect_floats(read)
    _finish(read, {"name", "trainable"}, where)
    padding_id = Tokenizer.load(folder).padding_id if is_plain(folder / "tokenizer.json") else None
    if padding_id is not None:
        told["pad_token_id"] = padding_id
    if model.rows_before:
        told["max_position_embeddings"] += (1 if padding_id is None else padding_id) + 1
    return told


def _expect_floats(read: ConfigReader) -> None:
    """Refuse dtype policies of quantized weights."""
    policy = read("dtype", None)
    if isinstance(policy, dict):
        policy = (policy.get("config") or {}).get("name") if policy.get("class_name") == "DTypePolicy" else policy
    if policy is not None and policy not in _FLOATS:
        read.problems.append(f"dtype: only {', '.join(_FLOATS)} are supported, got {policy!r:.80}")


def _task_of(folder: pathlib.Path, prefix: str) -> tuple[str, dict[str, typing.Any]] | None:
    """Return `(task, options)` of a preset's `task.json`, or None if it holds no head that this library has."""
    path = folder / "task.json"
    if not is_plain(path):
        return None
    values = preset.read_json(folder, "task.json")
    name = class_name(values)
    task = _TASKS.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
    if task is None or task != "TextEmbedder" and not is_plain(folder / TASK_WEIGHTS):
        return None
    return task, _config_of(values, path)


def _read_task(
    options: dict[str, typing.Any],
    task: str | None,
    model: _Model,
    hidden_dim: typing.Any,
    where: pathlib.Path,
    told: dict[str, typing.Any],
) -> dict[str, typing.Any]:
    """Return the keys that a task's options add to the `config.json`, and add the number of classes to `told`."""
    read, found = ConfigReader(options), {}
    inert = {"backbone", "preprocessor", "name", "trainable", "dtype"}
    if task == "TextClassifier":
        told["num_labels"] = read("num_classes", 0)
        if told["num_labels"] < 1:
            read.problems.append(f"num_classes: expected at least 1, got {told['num_labels']}")
        # The task turns logits into scores, whatever activation KerasHub put after them.
        read.expect("activation", "linear", None, "softmax")
        read.expect("hidden_dim", None, hidden_dim)
        if "dropout" in options:
            found[model.classifier_dropout] = read("dropout", 0.1)
    elif task == "TextEmbedder":
        inert |= {"pooling_mode", "normalize"}
    _finish(read, inert, where)
    return found


def _finish(read: ConfigReader, inert: typing.Any, where: object) -> None:
    try:
        read.finish(inert)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _config_of(values: collections.abc.Mapping[str, typing.Any], where: object) -> dict[str, typing.Any]:
    config = values.get("config")
    if not isinstance(config, dict):
        raise ValueError(
            f"Expected a JSON object as 'config' in {where}, got {config!r:.80}. Download or save the preset again."
        )
    return config


# Weights


def _block(name: str, heads: int) -> tuple[Entry, ...]:
    """Return the entries of a block; in KerasHub, attention heads have a separate axis."""
    ours, theirs = "encoder.block_{n}", f"model.{name}_{{n}}"
    attention = [
        Entry(
            f"{ours}.self_attention.{part}",
            f"{theirs}.self_attention_layer.{part}_dense",
            transposed=False,
            output_heads=heads,
        )
        for part in ("query", "key", "value")
    ]
    return (
        *attention,
        Entry(
            f"{ours}.self_attention.output",
            f"{theirs}.self_attention_layer.output_dense",
            transposed=False,
            input_heads=heads,
        ),
        Entry(f"{ours}.self_attention_norm_after", f"{theirs}.self_attention_layer_norm"),
        _dense(f"{ours}.feed_forward.up", f"{theirs}.feedforward_intermediate_dense"),
        _dense(f"{ours}.feed_forward.down", f"{theirs}.feedforward_output_dense"),
        Entry(f"{ours}.feed_forward_norm_after", f"{theirs}.feedforward_layer_norm"),
    )


class _Tensors(collections.abc.Mapping):
    """Arrays by name, each read on access.

    `zero_rows` maps names of tables to numbers of rows of zeros, which are put before the stored rows, if any.
    """

    def __init__(self, datasets: dict[str, Dataset], zero_rows: dict[str, int], width: int) -> None:
        self.datasets = datasets
        self._zero_rows = zero_rows
        self._width = width

    def __getitem__(self, name: str) -> np.ndarray:
        rows = self._zero_rows.get(name)
        if rows is None:
            return self.datasets[name].read()
        zeros = np.zeros((rows, self._width), "float32")
        return np.concatenate([zeros, self.datasets[name].read()]) if name in self.datasets else zeros

    def __contains__(self, name: object) -> bool:
        return name in self.datasets or name in self._zero_rows

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(dict.fromkeys([*self.datasets, *self._zero_rows]))

    def __len__(self) -> int:
        return len({*self.datasets, *self._zero_rows})

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array."""
        rows = self._zero_rows.get(name)
        if rows is None:
            return self.datasets[name].shape
        length, width = self.datasets[name].shape if name in self.datasets else (0, self._width)
        return (rows + length, width)
