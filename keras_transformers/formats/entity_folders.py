"""Folders of GLiNER: an encoder, an LSTM over words, and scores of spans for given labels.

    gliner_config.json       sizes, the tokens of the prompt, and in newer folders the encoder's configuration
    config.json              that configuration, if gliner_config.json has none
    tokenizer_config.json …  the tokenizer, in newer folders
    model.safetensors        token_rep_layer.bert_layer.model.…   the encoder
    or pytorch_model.bin     token_rep_layer.projection           its output to the width of the rest
                             rnn.lstm.…, span_rep_layer.…, prompt_rep_layer.…

Older folders only name the encoder (`model_name`). Its configuration and tokenizer then come from the Hugging Face hub.

Source: gliner/config.py, gliner/model.py and gliner/modeling/base.py, https://github.com/urchade/GLiNER
"""

import collections.abc
import dataclasses
import pathlib
import typing

import numpy as np

from keras_transformers.families.family import Family, Head
from keras_transformers.families.naming import naming_of
from keras_transformers.families.registry import family_of
from keras_transformers.families.unknown_keys import INERT
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain, read_bytes, read_object, shown
from keras_transformers.formats import (
    computed,
    foreign,
    hugging_face,
    preset,
    sources,
    tensor_files,
    vector_steps,
)
from keras_transformers.formats.ties import settle
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.weights import is_head
from keras_transformers.spelling import listed
from keras_transformers.tokenizers.tokenizer import Tokenizer

CONFIG = "gliner_config.json"
TASK = "EntityTagger"
_BODY = "token_rep_layer.bert_layer.model."
_TOKENS = "embedding.token.embeddings"

# The keys of gliner_config.json, our arguments and the defaults.
_KEYS: dict[str, tuple[str, typing.Any]] = {
    "hidden_size": ("dim", 512),
    "max_width": ("max_width", 12),
    "max_len": ("max_words", 384),
    "num_rnn_layers": ("num_recurrent_layers", 1),
    "ent_token": ("label_token", "<<ENT>>"),
    "sep_token": ("separator_token", "<<SEP>>"),
}
# Keys that would change the numbers, and the values that are computed here.
_EXPECTED: dict[str, tuple[typing.Any, ...]] = {
    "span_mode": ("markerV0",),
    "subtoken_pooling": ("first",),
    "words_splitter_type": ("whitespace",),
    "embed_ent_token": (True,),
    "has_rnn": (True,),
    "fuse_layers": (False, None),
    "precomputed_prompts_mode": (False, None),
    "post_fusion_schema": ("", None),
    **dict.fromkeys(("labels_encoder", "labels_encoder_config", "labels_decoder", "labels_decoder_config"), (None,)),
    **dict.fromkeys(("relations_layer", "triples_layer"), (None,)),
}
_FIXED = {"span_mode": "markerV0", "subtoken_pooling": "first", "words_splitter_type": "whitespace"}
# Keys of training, and names.
_INERT = INERT | set(
    """
    model_name encoder_config class_token_index vocab_size dropout fine_tune max_types max_neg_type_ratio
    represent_spans num_post_fusion_layers token_loss_coef span_loss_coef neg_spans_ratio id_to_classes
    decoder_mode decoder_loss_coef
    blank_entity_prob full_decoder_context adjacency_loss_coef relation_loss_coef
    root_dir train_data val_data_dir data prev_path log_dir size_sup shuffle_types random_drop save_total_limit
    num_steps train_batch_size eval_every warmup_ratio warmup_steps scheduler_type freeze_token_rep freeze_components
    loss_alpha loss_gamma loss_prob_margin label_smoothing loss_reduction negatives masking max_grad_norm
    lr_encoder lr_others weight_decay_encoder weight_decay_other
    """.split()
)

_SCORES = {
    "spans.start": "span_rep_layer.span_rep_layer.project_start",
    "spans.end": "span_rep_layer.span_rep_layer.project_end",
    "spans.out": "span_rep_layer.span_rep_layer.out_project",
    "spans.label": "prompt_rep_layer",
}
_HEAD = WeightMap(
    (
        Entry("token_projection", "token_rep_layer.projection"),
        *(
            Entry(f"recurrent_{{n}}.{ours}.{part}", f"rnn.lstm.{{leaf}}_{theirs}_l{{n}}{ending}")
            for ours, ending in (("forward", ""), ("backward", "_reverse"))
            for part, theirs in (("input", "ih"), ("state", "hh"))
        ),
        *(Entry(f"{ours}.up", f"{theirs}.0") for ours, theirs in _SCORES.items()),
        *(Entry(f"{ours}.down", f"{theirs}.3") for ours, theirs in _SCORES.items()),
    )
)


def is_folder(folder: pathlib.Path) -> bool:
    """Return whether a folder has GLiNER's layout."""
    return folder.is_dir() and is_plain(folder / CONFIG)


def arguments(values: collections.abc.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return the arguments of `EntityTagger` in a `gliner_config.json`, by name."""
    return {ours: values.get(theirs, default) for theirs, (ours, default) in _KEYS.items()}


def keys(values: collections.abc.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return the keys of a `gliner_config.json` for arguments of `EntityTagger`: the inverse of `arguments`."""
    return {theirs: values[ours] for theirs, (ours, _) in _KEYS.items()}


@dataclasses.dataclass(frozen=True)
class Origin:
    """The content of a folder besides the weights, kept so that saving can reproduce it.

    Attributes:
        values: the keys of `gliner_config.json`, under "gliner".
        text: its bytes.
        encoder: the encoder's configuration, the content of a `config.json`.
        encoder_text: the bytes of `config.json`, if the folder has one.
        is_whole: whether the folder holds the encoder's configuration.
        family, config, apart, dtypes, kept, headers, index: see `hugging_face.Origin`.
    """

    values: dict
    text: bytes
    encoder: dict
    encoder_text: bytes | None
    is_whole: bool
    family: Family
    config: ModelConfig
    apart: tuple[str, ...]
    dtypes: dict[str, str]
    kept: dict[str, np.ndarray]
    headers: dict[str, bytes]
    index: bytes | None
    task: str = TASK
    head: Head = Head(TASK, "GLiNER", _HEAD.entries)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder; see `hugging_face.Checkpoint`.

    Attributes:
        folder: the path of the folder.
        values: the keys of `gliner_config.json`, under "gliner".
        body: the checkpoint of the encoder.
        is_whole: whether the folder holds the encoder's configuration.
        tensors: the arrays by their names in the files, read on access.
        notes: sentences for the user.
    """

    folder: pathlib.Path
    values: dict
    body: hugging_face.Checkpoint
    is_whole: bool
    tensors: typing.Any
    notes: tuple[str, ...] = ()
    task: str = TASK

    @property
    def config(self) -> ModelConfig:
        """The encoder's `ModelConfig`."""
        return self.body.config

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return the content of `gliner_config.json`, under "gliner"."""
        return self.values

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> typing.Any:
        """Return the tensors by this library's names; see `hugging_face.Checkpoint.read`."""
        body = {name: weight for name, weight in weights.items() if not is_head(name)}
        of_body = self.body.read(body, "TextEmbedder")
        if not task:
            return of_body
        rest = vector_steps.without(self.tensors, [name for name in self.tensors if name.startswith(_BODY)])
        head = {name: weight for name, weight in weights.items() if is_head(name)}
        return vector_steps.Joined(of_body, [_HEAD.read(rest, head, closed=True)])

    def origin(self, read: typing.Any = None) -> Origin:
        """Return the `Origin`, which saving reproduces; see `hugging_face.Checkpoint.origin`."""
        unused = () if read is None else (*read.ignored, *read.heads, *read.outside)
        of_encoder = self.folder / "config.json"
        headers, index = tensor_files.headers_of(self.folder)
        return Origin(
            self.values,
            read_bytes(self.folder / CONFIG),
            self.body.values,
            read_bytes(of_encoder) if is_plain(of_encoder) else None,
            self.is_whole,
            self.body.family,
            self.config,
            self.body.apart,
            {name: tensor_files.dtype_of(self.tensors, name) for name in self.tensors},
            {_BODY + name: self.tensors[_BODY + name] for name in unused},
            headers,
            index,
        )


def read(folder: pathlib.Path) -> Checkpoint:
    """Open a folder of GLiNER, without reading its tensors.

    Raises:
        FileNotFoundError: for a missing file, or if the encoder's configuration is neither in the folder nor found by
            the encoder's name.
        ValueError: for keys whose values are not computed here, and an encoder of an unknown family.
    """
    values = _checked(read_object(folder / CONFIG), folder / CONFIG)
    encoder, where = values.get("encoder_config"), folder / CONFIG
    if is_whole := isinstance(encoder, dict):
        encoder = {"model_type": "deberta-v2", **encoder}
    else:
        is_whole = is_plain(folder / "config.json")
        where = (folder if is_whole else named_encoder(folder)) / "config.json"
        encoder = read_object(where)
    family = family_of(encoder, where)
    try:
        config = family.config(encoder, "TextEmbedder", where)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    tensors: typing.Any = tensor_files.open_tensors(folder)
    foreign.refuse_quantized(tensors, folder)
    names = {name.removeprefix(_BODY): name for name in tensors if name.startswith(_BODY)}
    of_body = vector_steps.Renamed(names, tensors)
    head = family.head("TextEmbedder")
    # A tokenizer with the tokens of the prompt has more of them than the encoder's had.
    place = family.table(config, head).places({_TOKENS: np.empty((1, 1))}, names).get(_TOKENS)
    if place is not None and place.theirs in names:
        embeddings = dataclasses.replace(config.embeddings, vocabulary_size=of_body.shape(place.theirs)[0])
        config = dataclasses.replace(config, embeddings=embeddings)
    settled = settle(family, config, head, of_body, folder)
    notes = (*settled.notes, *computed.check(settled.config, of_body, folder))
    if unknown := sorted(set(values) - _INERT - set(_KEYS) - set(_EXPECTED)):
        notes = (*notes, f"{folder / CONFIG} has keys that this library does not know: {listed(unknown)}.")
    body = hugging_face.Checkpoint(folder, encoder, b"", family, settled.config, of_body, settled.apart)
    return Checkpoint(folder, {"gliner": values}, body, is_whole, tensors, notes)


def _checked(values: dict[str, typing.Any], where: pathlib.Path) -> dict[str, typing.Any]:
    """Return the keys after refusing values that are not computed here."""
    problems = [
        f"{name}: expected {' or '.join(map(repr, allowed))}, got {shown(values[name])}"
        for name, allowed in _EXPECTED.items()
        if name in values and values[name] not in allowed
    ]
    for theirs, (ours, default) in _KEYS.items():
        value = values.get(theirs, default)
        least = 0 if ours == "num_recurrent_layers" else 1
        if type(value) is not type(default) or (isinstance(value, int) and value < least) or value == "":
            kind = "a token" if isinstance(default, str) else f"a number of at least {least}"
            problems.append(f"{theirs}: expected {kind}, got {shown(value)}")
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}. Other forms of GLiNER are not supported.")
    return values


def named_encoder(folder: pathlib.Path) -> pathlib.Path:
    """Return the folder, from the hub, of the encoder that a folder of GLiNER names.

    Raises:
        FileNotFoundError: if it is neither a folder nor found on the hub.
    """
    name = read_object(folder / CONFIG).get("model_name")
    if isinstance(name, str) and name and pathlib.Path(name).expanduser().is_dir():
        return pathlib.Path(name).expanduser()
    try:
        return sources.resolve(f"hf://{name}", weights=False)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"Expected the configuration and the tokenizer of the encoder {shown(name)} in {folder} or on the Hugging "
            f"Face hub, found neither ({type(error).__name__}). Copy its config.json and its tokenizer files, such as "
            "tokenizer_config.json and spm.model, into the folder."
        ) from error


def read_tokenizer(folder: pathlib.Path) -> Tokenizer:
    """Read the tokenizer of a folder, with the tokens of the prompt, which older folders leave to the program.

    Raises:
        FileNotFoundError: as `named_encoder`.
        ValueError: if the token before labels has another id than the folder says.
    """
    values = read_object(folder / CONFIG)
    tokenizer = Tokenizer.load(folder if is_plain(folder / "tokenizer_config.json") else named_encoder(folder))
    label, separator = (arguments(values)[name] for name in ("label_token", "separator_token"))
    if any(tokenizer.engine.token_to_id(token) is None for token in (label, separator)):
        tokenizer.add_tokens(["[FLERT]", label, separator], special=True)
    found, expected = tokenizer.engine.token_to_id(label), values.get("class_token_index", -1)
    if expected not in (-1, found):
        raise ValueError(
            f"Expected {label!r} to have the id {expected} of class_token_index in {folder / CONFIG}, got {found}. The "
            "tokenizer does not belong to the model."
        )
    return tokenizer


def write(
    config: ModelConfig,
    weights: collections.abc.Mapping[str, typing.Any],
    values: dict[str, typing.Any],
    label_id: int | None = None,
    origin: Origin | None = None,
    dtype: str | None = None,
) -> dict[str, typing.Any] | None:
    """Return the files of a folder without those of the tokenizer, or None if no family describes the encoder.

    Args:
        config: the encoder's `ModelConfig`.
        weights: Keras variables by name.
        values: keys of `gliner_config.json`, if they differ from the origin's.
        label_id: the id of the token before labels, if known.
        origin: an `Origin`; all that is still valid in it is kept. A folder that left the encoder's configuration out
            gets it.
        dtype: as for `hugging_face.write`.
    """
    same = origin if origin is not None and origin.config == config else None
    described = (same.family, same.apart) if same else _described(config)
    if described is None:
        return None
    family, apart = described
    arrays = _arrays(config, weights, family, apart, same)
    if dtype is None:
        arrays = tensor_files.as_stored(arrays, {} if origin is None else origin.dtypes)
    if same and same.is_whole and not values:
        files = {CONFIG: same.text}
    else:
        files = {CONFIG: _configuration(config, values, label_id, family, origin)}
    if same and same.encoder_text is not None:
        files["config.json"] = same.encoder_text
    headers, index = (origin.headers, origin.index) if origin else ({}, None)
    return {**files, **tensor_files.files_of(arrays, headers, index, dtype)}


def _described(config: ModelConfig) -> tuple[Family, tuple[str, ...]] | None:
    """The family that describes an encoder, and its parts that are apart: none."""
    naming = naming_of(config, "TextEmbedder")
    return None if naming is None else (naming[0], ())


def _arrays(
    config: ModelConfig,
    weights: collections.abc.Mapping[str, typing.Any],
    family: Family,
    apart: tuple[str, ...],
    origin: Origin | None,
) -> dict[str, typing.Any]:
    """The arrays of the encoder and the head by their names in the files, with those that `origin` keeps."""
    names = [name.removeprefix(_BODY) for name in origin.dtypes if name.startswith(_BODY)] if origin else []
    body = {name: weight for name, weight in weights.items() if not is_head(name)}
    head = {name: weight for name, weight in weights.items() if is_head(name)}
    of_body = family.table(config, family.head("TextEmbedder"), apart).write(body, names)
    written = {_BODY + name: array for name, array in of_body.items()} | _HEAD.write(head)
    return {
        **written,
        **{name: array for name, array in (origin.kept if origin else {}).items() if name not in written},
    }


def _configuration(
    config: ModelConfig, values: dict[str, typing.Any], label_id: int | None, family: Family, origin: Origin | None
) -> bytes:
    """The content of `gliner_config.json`, with the encoder's configuration in it."""
    encoder = dict(origin.encoder) if origin else {"model_type": family.written_type or family.model_type}
    if origin is None or origin.config != config:
        encoder |= family.write(config)
    size = config.embeddings.vocabulary_size
    was = origin.values["gliner"] if origin else {}
    written = {"model_name": family.model_type, **was, **_FIXED, **values, "vocab_size": size}
    if label_id is not None:
        written["class_token_index"] = label_id
    return preset.json_bytes({**written, "encoder_config": {**encoder, "vocab_size": size}})
