"""Training: a vocabulary and an engine out of texts.

The kinds that `Tokenizer.train` makes, and the text that `decode(encode(text))` gives:

    kind         pieces are made of         decodes to                      unknown tokens
    "bpe"        bytes                      the text, exactly               none
    "unigram"    bytes                      the text, exactly               none
    "wordpiece"  characters inside words    words, spaced by convention     words with a character not seen in training

BPE and Unigram are byte-level, as in GPT-2 (Radford et al. 2019, section 2.2): a text is split before each word
together with the space in front of it, and each of the 256 bytes is a piece. So every string that UTF-8 can write comes
back as it was: accents composed or not, runs of spaces, line ends, narrow no-break spaces before French punctuation,
and characters never seen. The usual alternative, a "▁" for each space, cannot tell a "▁" in the text from a space,
needs byte pieces for unseen characters, and usually drops or adds a space at the start. A translator needs the exact
text. On the Tatoeba pairs, a space before the first word, which shares its piece with the same word elsewhere, saved
0.1 % of the tokens; that is not worth the exceptions. BPE is the default: on the same pairs, at 8000 pieces, Unigram
made 21 % more tokens. WordPiece is BERT's, with BERT's cleaning of the text, for models of that kind.

With `normalization`, a text is first written in one way: no-break spaces, tabs, soft hyphens and accents apart from
their letters become the characters that a reader takes them for; see `normalization.py`. Then `decode(encode(text))` is
the normalized text, which no further `encode` changes. By default `train` does not normalize, and the table holds
exactly. The recipes that train translators ask for "nmt_nfc": a translator has no use for an invisible character, and
an unseen one turns its answer to nonsense. Language models are trained without, as they write line ends and indentation
too.
"""

import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from keras_transformers.data.columns import SINGLE, choose
from keras_transformers.data.containers import as_text
from keras_transformers.data.sources import Form, Source
from keras_transformers.files.lines import LineFile, decoded_lines
from keras_transformers.tokenizers.engine import guarded
from keras_transformers.tokenizers.normalization import steps_of
from keras_transformers.tokenizers.special_tokens import SpecialTokens
from keras_transformers.tokenizers.vocabulary import Vocabulary

_KINDS = ("bpe", "wordpiece", "unigram")
# Longer texts are learnt from in parts: the training time of BPE and WordPiece grows with the square of a word's length
# (80,000 letters without a space took 2.3 s, four times as long as 40,000).
_LONGEST_TRAINING_TEXT = 1000


def trained_engine(
    files_or_texts: "Iterable[str | os.PathLike] | os.PathLike",
    special_tokens: SpecialTokens,
    *,
    kind: str,
    vocabulary_size: int,
    lowercase: bool,
    normalization: str | None,
) -> tokenizers.Tokenizer:
    """An engine with a vocabulary learnt from text. The arguments and errors are those of `Tokenizer.train`.

    It has a post-processor, which puts tokens around a text, if the special tokens are those of an encoder.
    """
    class_token, separator_token = special_tokens.class_token, special_tokens.separator_token
    if (class_token is None) != (separator_token is None):
        raise ValueError(f"Expected both or neither, got {class_token=} and {separator_token=}.")
    special = list(dict.fromkeys(special_tokens.named().values()))
    if not isinstance(vocabulary_size, int) or isinstance(vocabulary_size, bool) or vocabulary_size <= len(special):
        raise ValueError(
            f"Expected vocabulary_size to be an integer above the {len(special)} special tokens, got "
            f"{vocabulary_size!r}."
        )
    engine, trainer = _untrained(kind, vocabulary_size, special_tokens.unknown_token, special)
    has_mask = special_tokens.mask_token is not None
    engine.normalizer = _normalizer(kind, lowercase, steps_of(normalization, spaces_at_ends=has_mask))
    texts = _TrainingTexts(files_or_texts)
    with guarded("texts to learn a vocabulary from"):
        engine.train_from_iterator(texts, trainer)
    if not texts.found_any:
        raise ValueError(
            "Expected some text to train on, got none but empty texts and spaces. Give texts, or pathlib.Path of "
            "files that hold some."
        )
    if (size := engine.get_vocab_size()) > vocabulary_size:
        raise ValueError(
            f"Expected vocabulary_size of at least {size}, for the special tokens and the alphabet of this text, "
            f"got {vocabulary_size}."
        )
    if class_token is not None:
        engine.post_processor = _around(engine, class_token, separator_token)
    elif has_mask:
        engine.post_processor = _around(engine, special_tokens.start_token, special_tokens.end_token)
    return engine


def refuse_words(special_tokens: SpecialTokens, vocabulary: Vocabulary) -> None:
    """Refuse special tokens that are found in a text as words of it.

    Raises:
        ValueError: for the first such token.
    """
    for token in special_tokens.named().values():
        ids = vocabulary.engine.encode(token, add_special_tokens=False).ids
        if not vocabulary.control_ids.isdisjoint(ids):
            raise ValueError(
                f"Expected a special token that is no word of the text, got {token!r}. Mark it off, as in '<{token}>'."
            )


def _untrained(
    kind: str, vocabulary_size: int, unknown_token: str | None, special: list[str]
) -> tuple[tokenizers.Tokenizer, trainers.Trainer]:
    common: dict[str, Any] = {"vocab_size": vocabulary_size, "special_tokens": special, "show_progress": False}
    if kind == "wordpiece":
        if unknown_token is None:
            raise ValueError(
                "Expected an unknown_token for kind='wordpiece', which has words that it cannot write, got None. "
                "Name one, or use kind='bpe'."
            )
        engine = tokenizers.Tokenizer(models.WordPiece(unk_token=unknown_token))
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        engine.decoder = decoders.WordPiece()
        return engine, trainers.WordPieceTrainer(min_frequency=2, limit_alphabet=1000, **common)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer: trainers.Trainer
    if kind == "bpe":
        engine = tokenizers.Tokenizer(models.BPE(unk_token=unknown_token))
        trainer = trainers.BpeTrainer(min_frequency=2, initial_alphabet=alphabet, **common)
    elif kind == "unigram":
        engine = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(initial_alphabet=alphabet, unk_token=unknown_token, **common)
    else:
        raise ValueError(f"Expected kind to be one of {', '.join(map(repr, _KINDS))}, got {kind!r}.")
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    return engine, trainer


def _normalizer(kind: str, lowercase: bool, steps: list[normalizers.Normalizer]) -> normalizers.Normalizer | None:
    if kind == "wordpiece":
        # BERT drops accents when it lowercases; they mean something, so they stay.
        steps = [*steps, normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)]
    elif lowercase:
        steps = [*steps, normalizers.Lowercase()]
    return normalizers.Sequence(steps) if len(steps) > 1 else steps[0] if steps else None


def _around(
    engine: tokenizers.Tokenizer, start_token: str | None, end_token: str | None
) -> processors.TemplateProcessing:
    """Put start and end around a text; a second text and its end are segment 1."""
    start, end = ([] if token is None else [token] for token in (start_token, end_token))
    single = [*start, "$A", *end]
    return processors.TemplateProcessing(
        single=single,
        pair=[*single, "$B:1", *(f"{token}:1" for token in end)],
        special_tokens=[(token, engine.token_to_id(token)) for token in dict.fromkeys(start + end)],
    )


class _TrainingTexts:
    """The texts of strings and files, in order.

    Attributes:
        found_any: whether there was anything to learn from, so far.
    """

    def __init__(self, files_or_texts: Any):
        if isinstance(files_or_texts, os.PathLike):
            files_or_texts = [files_or_texts]
        if isinstance(files_or_texts, (str, bytes)):
            raise TypeError(
                f"Expected paths, or an iterable of texts, got one {type(files_or_texts).__name__}. "
                "Put a text in a list; give a file as pathlib.Path."
            )
        self.source = Source(files_or_texts, form=Form(labelled=False))
        self.found_any = False

    def _items(self) -> Iterator[Any]:
        for block in self.source.blocks():
            columns = {"": block.inputs} if isinstance(block.inputs, list) else choose(block.inputs, SINGLE)
            yield from next(iter(columns.values()))

    def __iter__(self) -> Iterator[str]:
        for index, item in enumerate(self._items()):
            if isinstance(item, os.PathLike):
                for line in _lines(pathlib.Path(item)):
                    yield from self._parts(line)
                continue
            text = as_text(item, f"text {index}")
            # A vocabulary learnt from the names of files, in place of their text, would go unnoticed.
            if index == 0 and len(text) < 1000 and "\0" not in text and os.path.isfile(text):
                raise ValueError(
                    f"Expected texts, or files as pathlib.Path, got a string that names a file: {text!r}. Give "
                    f"pathlib.Path({text!r})."
                )
            yield from self._parts(text)

    def _parts(self, text: str) -> Iterator[str]:
        self.found_any = self.found_any or not (text.isspace() or not text)
        for start in range(0, len(text), _LONGEST_TRAINING_TEXT):
            yield text[start : start + _LONGEST_TRAINING_TEXT]


def _lines(path: pathlib.Path) -> Iterator[str]:
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file of text at {path}, got nothing there. Check the path.")
    with LineFile(path) as file:
        yield from decoded_lines(file, path)
