"""The vocabularies of Marian's own folders, read as transformers' MarianTokenizer has them.

    vocab.*.spm                        ─►  source.spm, target.spm     the SentencePiece models, byte by byte
    vocab.yml, source.spm, target.spm  ─►  vocab.json                 each piece with its number, then "<pad>"

A SentencePiece model of Marian numbers its own pieces; in OPUS-MT a YAML file numbers them. "<pad>", behind both
vocabularies, fills short rows and starts a translation: Marian needs no token for these.
"""

import collections.abc
import json
import pathlib
import tempfile

from keras_transformers.files import flat_yaml
from keras_transformers.files.marian_folder import SENTENCEPIECE, MarianFolder
from keras_transformers.files.reading import read_bytes, read_text
from keras_transformers.tokenizers.convert.sentencepiece_model import read_sentencepiece

START = "<pad>"
UNUSED = "<unused_{}>"  # fills a gap between the shorter of two vocabularies and the start token


def numbers(path: pathlib.Path) -> dict[str, int]:
    """The pieces of a vocabulary with their numbers, without the start token.

    Raises:
        FileNotFoundError, ValueError: for a missing or broken file, numbers with gaps, and a vocabulary without end or
            unknown token, which Marian requires, or with a piece that is spelled as the start token.
    """
    if path.suffix == SENTENCEPIECE:
        found = {piece: number for number, (piece, _) in enumerate(read_sentencepiece(path).pieces)}
    else:
        found = flat_yaml.parse(read_text(path), path)
    whole = all(type(each) is int for each in found.values())
    if not whole or sorted(found.values()) != list(range(len(found))):
        raise ValueError(f"Expected pieces with the numbers 0 to {len(found) - 1} in {path}, got others. {_AGAIN}")
    if "</s>" not in found or "<unk>" not in found or START in found:
        raise ValueError(
            f"Expected '</s>' and '<unk>' among the pieces in {path}, as Marian requires, and no {START!r}, got "
            f"{[each for each in ('</s>', '<unk>', START) if each in found]}."
        )
    return found


def as_marian_tokenizer(files: MarianFolder) -> dict[str, bytes]:
    """The files of transformers' MarianTokenizer for the vocabularies of a folder, by name.

    Raises:
        FileNotFoundError, ValueError: as `numbers`; also if `vocab.yml` has no SentencePiece models beside it.
    """
    source, target = (numbers(path) for path in files.vocabularies)
    start = max(len(source), len(target))
    models = [_model(path, name) for path, name in zip(files.vocabularies, ("source.spm", "target.spm"), strict=True)]
    separate = files.vocabularies[0] != files.vocabularies[1]
    options = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate}
    return {
        "source.spm": read_bytes(models[0]),
        "target.spm": read_bytes(models[1]),
        "vocab.json": _json(source, start),
        **({"target_vocab.json": _json(target, start)} if separate else {}),
        "tokenizer_config.json": json.dumps(options).encode(),
    }


def written(files: collections.abc.Mapping[str, bytes]) -> tempfile.TemporaryDirectory[str]:
    """A folder with these files, which is deleted when it is left."""
    folder = tempfile.TemporaryDirectory()
    for name, content in files.items():
        (pathlib.Path(folder.name) / name).write_bytes(content)
    return folder


def _model(vocabulary: pathlib.Path, name: str) -> pathlib.Path:
    """The SentencePiece model that splits the texts of a vocabulary."""
    path = vocabulary if vocabulary.suffix == SENTENCEPIECE else vocabulary.with_name(name)
    if not path.exists():
        raise FileNotFoundError(
            f"Expected {path}, the SentencePiece model for {vocabulary.name}, found nothing. Download it too: without "
            "it, a text cannot be split into the pieces of that vocabulary."
        )
    return path


def _json(pieces: dict[str, int], start: int) -> bytes:
    gap = {UNUSED.format(number): number for number in range(len(pieces), start)}
    return json.dumps({**pieces, **gap, START: start}, ensure_ascii=False).encode()


_AGAIN = "Download it again."
