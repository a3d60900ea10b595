"""Marian's own folders: models of Firefox, OPUS-MT as its authors publish it, and others, read and written.

    special:model.yml ──► families/marian_options.py ──► ModelConfig
    model.bin, .npz ────► files/marian_items.py ───────► weights            int8 numbers become float32
    decoder.yml ────────► files/marian_folder.py ──────► GenerationConfig

A model that was read and not changed is written byte for byte: what the file holds besides the weights is kept
(`Origin`), and int8 numbers come from float32 ones by the rule that made them.
"""

import collections.abc
import dataclasses
import os
import pathlib
import typing

import keras
import numpy as np

from keras_transformers.families import marian_options
from keras_transformers.families.marian_options import Sizes, WithStart
from keras_transformers.files import flat_yaml, marian_folder, marian_items
from keras_transformers.files.marian_folder import MarianFolder
from keras_transformers.files.marian_items import MarianItems
from keras_transformers.files.reading import parse
from keras_transformers.formats import preset
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig
from keras_transformers.models import changes
from keras_transformers.models.config import ModelConfig
from keras_transformers.tokenizers.convert.marian_folders import UNUSED
from keras_transformers.tokenizers.convert.marian_folders import numbers as target_numbers
from keras_transformers.tokenizers.convert.sentencepiece_model import parse_sentencepiece
from keras_transformers.transforms.lora import merged_weights

SETTINGS = "decoder.yml"
SHORTLIST = "lex.s2t.bin"
QUANTIZATIONS = (None, "int8")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder; see `hugging_face.Checkpoint`.

    Attributes:
        files: the files of the folder.
        options, text: the options of the model, parsed and as they stand in its file.
        config: the `ModelConfig`.
        items: the tensors of the file.
        sizes: the numbers of tokens of the file.
    """

    files: MarianFolder
    options: dict[str, typing.Any]
    text: bytes
    config: ModelConfig
    items: MarianItems
    sizes: Sizes
    values: dict = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The task of all such models."""
        return "Seq2SeqLM"

    @property
    def tensors(self) -> WithStart:
        """The arrays by their names in the file, with the start token behind the vocabulary."""
        return WithStart(self.items, self.sizes)

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return the classes as a `config.json` has them: none."""
        return self.values

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> typing.Any:
        """Return the tensors by this library's names. See `WeightMap.read`."""
        table = marian_options.weights(self.config)
        names = weights if task else {name: each for name, each in weights.items() if not name.startswith("head.")}
        return table.read(self.tensors, names, closed=True)

    def origin(self, read: typing.Any = None) -> None:
        """Return None: saving as a preset reproduces nothing. `Origin.of` is for writing such a folder again."""
        return None


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a folder, or a YAML file that names the model, and interpret its options, without making float32 numbers.

    Raises:
        FileNotFoundError, ValueError: for missing and damaged files, options that are unknown or not supported, and a
            shortlist of another vocabulary.
    """
    files = marian_folder.find(pathlib.Path(path))
    items = MarianItems(files.model)
    text = items.yaml
    if text is None:
        raise ValueError(
            f"Expected the options of the model in {files.model} ({marian_items.YAML}), got none. Marian writes them "
            "since version 1.2: save the model again with it."
        )
    where = f"{files.model} ({marian_items.YAML})"
    options = flat_yaml.parse(text.decode("utf-8", "replace"), where)
    if options.get("dim-vocabs") in (None, [], [0, 0]):  # some published students leave them to the tables
        options["dim-vocabs"] = _table_sizes(items)
    config = marian_options.read_options(options, where)
    sizes = Sizes(*options["dim-vocabs"])
    shortlist, note = marian_folder.shortlist(files), marian_folder.unused_shortlist(files)
    if shortlist is not None:
        shortlist.check(*sizes, files.shortlist)
    return Checkpoint(files, options, text, config, items, sizes, notes=() if note is None else (note,))


def _table_sizes(items: MarianItems) -> list[int]:
    """The numbers of tokens of source and target, by the tables of embeddings; empty if there are none."""
    tables = [
        next((name for name in (f"{side}_Wemb", "Wemb") if name in items), None) for side in ("encoder", "decoder")
    ]
    return [items.shape(name)[0] for name in tables if name is not None and items.shape(name)]


def generation(path: pathlib.Path) -> GenerationConfig:
    """The `GenerationConfig` of a folder: beams and the length penalty. The start token is never written, nor is the
    unknown token unless the folder says so."""
    checkpoint = read(path)
    files, start, numbers = checkpoint.files, checkpoint.config.filler, target_numbers(checkpoint.files.vocabularies[1])
    return GenerationConfig(
        num_beams=files.num_beams,
        length_penalty=files.length_penalty,
        max_new_tokens=NEW_TOKENS,
        start_id=start,
        end_ids=(numbers["</s>"],),
        padding_id=start,
        suppress_tokens=(start,) if files.allow_unknown else (numbers["<unk>"], start),
    )


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a file holds besides the weights, kept so that writing can reproduce it.

    Attributes:
        config, text: the `ModelConfig`, and the options as they stand in the file.
        sizes: the numbers of tokens of the file.
        items: all tensors in their order; of weights only the kind, the multiplier and the bytes behind the numbers.
    """

    config: ModelConfig
    text: bytes
    sizes: Sizes
    items: tuple["_Kept", ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Origin":
        """Return the `Origin` of an opened folder."""
        kept = tuple(_Kept.of(item) for item in checkpoint.items.items_by_name.values())
        return cls(checkpoint.config, checkpoint.text, checkpoint.sizes, kept)


class _Kept(typing.NamedTuple):
    """What is kept of a tensor: the item itself if it is no weight; else its kind, multiplier and last bytes."""

    name: str
    kind: int
    item: marian_items.Item | None = None
    multiplier: np.float32 | None = None
    rest: bytes | None = None

    @classmethod
    def of(cls, item: marian_items.Item) -> "_Kept":
        if not item.is_weight:
            return cls(item.name, item.kind, dataclasses.replace(item, data=bytes(item.data)))
        multiplier = item.multiplier if item.kind == marian_items.INT8 else None
        return cls(item.name, item.kind, None, multiplier, item.rest)


# Writing


def export(task: typing.Any, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
    """Write a task's model as a folder of Marian. See `Seq2SeqLM.export_marian`."""
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"Expected quantization to be None or 'int8' for Marian, got {quantization!r}.")
    preset.check_replaceable(folder, SETTINGS)
    config, origin = task.config, task._marian_origin
    unchanged = origin is not None and origin.config == config
    if "quantization" in changes.describe(task):
        raise ValueError(
            "Expected float weights for Marian, got a model that kt.transforms.quantize made small. Export the model "
            "before that: quantization='int8' writes int8 numbers by Marian's own rule."
        )
    text = origin.text if unchanged else flat_yaml.dump(marian_options.write_options(config)).rstrip("\n").encode()
    vocabularies, sizes = _vocabularies(task.tokenizer)
    if unchanged:
        sizes = origin.sizes
    elif sizes != (config.filler, config.filler):
        options = flat_yaml.parse(text.decode(), "the options written") | {"dim-vocabs": list(sizes)}
        text = flat_yaml.dump(options).rstrip("\n").encode()
    weights = {name: keras.ops.convert_to_numpy(each).astype("float32") for name, each in merged_weights(task).items()}
    arrays = marian_options.without_start(marian_options.weights(config).write(weights), sizes)
    items = _items(arrays, text, origin if unchanged else None, quantization)
    model = "model.npz" if quantization is None else "model.intgemm.bin"
    has_alphas = any(item.name.endswith("_QuantMultA") for item in items)
    settings = _settings(task.generation, model, vocabularies, sizes, quantization, has_alphas)
    shortlist = {} if task.shortlist is None else {SHORTLIST: task.shortlist.content}
    if shortlist:
        settings["shortlist"] = [SHORTLIST, False]
    write = marian_items.write_npz if quantization is None else marian_items.write_bin
    files: dict[str, typing.Any] = {**vocabularies.files, **shortlist, SETTINGS: flat_yaml.dump(settings).encode()}
    preset.save_folder(folder, {model: lambda path: write(path, items), **files}, marker=SETTINGS)


def _items(
    arrays: dict[str, np.ndarray], text: bytes, origin: Origin | None, quantization: str | None
) -> list[marian_items.Item]:
    """The tensors of a file: in the order of the origin, and with all else that it held, if it was of the same kind."""
    kept: tuple[_Kept, ...] = () if origin is None else origin.items
    was_int8 = any(each.kind == marian_items.INT8 and each.item is None for each in kept)
    if was_int8 == (quantization is not None) and {each.name for each in kept if each.item is None} == set(arrays):
        return [
            each.item if each.item is not None else _item(arrays[each.name], *each[:2], each.multiplier, each.rest)
            for each in kept
        ]
    rows = [(name, _kind(name, array, quantization)) for name, array in sorted(arrays.items())]
    return [*(_item(arrays[name], name, kind) for name, kind in rows), marian_items.characters(text)]


def _kind(name: str, array: np.ndarray, quantization: str | None) -> int:
    """The kind by which Marian stores a parameter: matrices whose names end in `_W` and at most one letter, and tables
    of embeddings, are int8."""
    is_matrix = array.shape[0] > 1 and (marian_items.is_table(name) or "_W" in name[-3:])
    return marian_items.INT8 if quantization is not None and is_matrix else marian_items.FLOAT32


def _item(
    array: np.ndarray, name: str, kind: int, multiplier: np.float32 | None = None, rest: bytes | None = None
) -> marian_items.Item:
    if kind == marian_items.INT8:
        return marian_items.int8(name, array, multiplier, rest)
    return marian_items.float32(name, array, rest)


class _Files(typing.NamedTuple):
    """The files of the vocabularies, and the names of those of source and target."""

    files: dict[str, bytes]
    names: tuple[str, str]
    unknown_id: int | None


def _vocabularies(tokenizer: typing.Any) -> tuple[_Files, Sizes]:
    """The vocabularies as Marian reads them, and their sizes without padding."""
    side_files = {} if tokenizer is None else tokenizer._side_files
    if "source.spm" not in side_files:
        raise ValueError(
            "Expected a tokenizer of SentencePiece models with an end and an unknown token, as Tokenizer.load reads it "
            "from a folder of Marian, got another one: Marian reads no tokenizer.json. Train the model with such a "
            "tokenizer."
        )
    padding, names = tokenizer.padding_token, ("vocab.json", "target_vocab.json")
    numbers = [parse(side_files[name].decode("utf-8"), name) for name in names if name in side_files]
    numbers = [{piece: each for piece, each in one.items() if not _is_filler(piece, each, padding)} for one in numbers]
    sides = [side_files["source.spm"], side_files["target.spm"]]
    sizes = Sizes(len(numbers[0]), len(numbers[-1]))
    unknown = tokenizer.unknown_id
    models = [
        parse_sentencepiece(content, name) for content, name in zip(sides, ("source.spm", "target.spm"), strict=True)
    ]
    plain = all(
        [piece for piece, _ in model.pieces] == sorted(one, key=one.__getitem__)
        for model, one in zip(models, (numbers[0], numbers[-1]), strict=True)
    )
    if plain and sides[0] == sides[1]:
        return _Files({"vocab.spm": sides[0]}, ("vocab.spm", "vocab.spm"), unknown), sizes
    if plain:
        files = dict(zip(("srcvocab.spm", "trgvocab.spm"), sides, strict=True))
        return _Files(files, ("srcvocab.spm", "trgvocab.spm"), unknown), sizes
    written = ["vocab.yml", "vocab.yml"] if len(numbers) == 1 else ["source.vocab.yml", "target.vocab.yml"]
    files = {"source.spm": sides[0], "target.spm": sides[1]}
    for name, one in zip(dict.fromkeys(written), numbers, strict=True):
        files[name] = flat_yaml.dump(one).encode()
    return _Files(files, (written[0], written[1]), unknown), sizes


def _is_filler(piece: str, number: int, padding: str) -> bool:
    """Whether a token is behind the vocabulary: the start token, or one that fills a gap before it."""
    return piece == padding or piece == UNUSED.format(number)


def _settings(
    config: GenerationConfig,
    model: str,
    vocabularies: _Files,
    sizes: Sizes,
    quantization: str | None,
    has_alphas: bool,
) -> dict[str, typing.Any]:
    """The settings of decoding, as `decoder.yml` has them."""
    allows_unknown = vocabularies.unknown_id is not None and vocabularies.unknown_id not in config.suppress_tokens
    return {
        "relative-paths": True,
        "models": [model],
        "vocabs": list(vocabularies.names),
        "beam-size": config.num_beams,
        "normalize": float(config.length_penalty),
        "word-penalty": 0,
        **({"allow-unk": True} if allows_unknown else {}),
        **({"gemm-precision": "int8shiftAlphaAll" if has_alphas else "int8shiftAll"} if quantization else {}),
    }
