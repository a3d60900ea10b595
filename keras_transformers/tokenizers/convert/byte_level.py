"""Byte-level vocabularies: `vocab.json` with `merges.txt`, and ByT5, which needs no file."""

import pathlib
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from keras_transformers.tokenizers.convert import pipelines
from keras_transformers.tokenizers.convert.pipelines import MakePipeline, Options, Special
from keras_transformers.tokenizers.convert.readers import Engine, Read, built

_NO_AFFIXES: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def byte_pairs(pipeline: MakePipeline) -> Read:
    """A reader of byte-level BPE for the class with that pipeline."""

    def read(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
        model = built(paths, lambda: models.BPE(*models.BPE.read_file(*map(str, paths)), **_NO_AFFIXES))
        engine = tokenizers.Tokenizer(model)
        pipeline(options, special, b"").put_on(engine)
        return engine, []

    return read


def luke(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """LUKE: byte-level BPE, and the marks of two entities."""
    engine, _ = byte_pairs(pipelines.byte_level)(paths, options, special)
    return engine, [AddedToken(token, special=True) for token in ("<ent>", "<ent2>")]


def no_conversion(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """Refuse older files of a class of which `tokenizer.json` alone is read."""
    raise ValueError(
        f"Expected tokenizer.json for a {options.get('tokenizer_class')}, got older files alone. Open them with "
        "transformers, and save them."
    )


def byt5(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """The 256 bytes behind padding, end and unknown."""
    # How the engine writes each of the 256 bytes: itself if it is visible, else a character from 256 on.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    written = {byte: chr(byte) for byte in seen}
    written |= {byte: chr(256 + i) for i, byte in enumerate(byte for byte in range(256) if byte not in written)}
    pieces = [special[role] for role in ("pad_token", "eos_token", "unk_token")] + [written[i] for i in range(256)]
    engine = tokenizers.Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.decoder = decoders.ByteLevel()
    return engine, [AddedToken(f"<extra_id_{i}>", special=True) for i in range(options.get("extra_ids", 125))]
