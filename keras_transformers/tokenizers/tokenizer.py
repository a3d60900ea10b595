"""Strings to token ids and back, on the `tokenizers` library, from one `tokenizer.json`.

What `train` makes, and what comes back from `decode(encode(text))`:

    kind         pieces are made of         decodes to                      unknown tokens
    "bpe"        bytes                      the text, exactly               none
    "unigram"    bytes                      the text, exactly               none
    "wordpiece"  characters inside words    words, spaced by convention     words with a character not seen in training

BPE and Unigram are byte-level, as in GPT-2 (Radford et al. 2019, section 2.2): a text is split before each word
together with the space in front of it, and each of the 256 bytes is a piece. So every string that UTF-8 can write comes
back as it was: accents composed or not, runs of spaces, line ends, narrow no-break spaces before French punctuation,
and characters never seen. The usual alternative, a "▁" for each space, cannot tell a "▁" in the text from a space,
needs byte pieces besides for what it has not seen, and as a rule drops or adds a space at the start. A translator needs
the exact one. On the Tatoeba pairs a space put before the first word, to share its piece with the same word elsewhere,
saved 0.1 % of the tokens, and is not worth its exceptions. BPE is the default: there, at 8000 pieces, Unigram made 21 %
more tokens. WordPiece is BERT's, with BERT's cleaning of the text, for models of that kind.

With `normalization` a text is first written in one way: no-break spaces, tabs, soft hyphens, accents apart from their
letters and the like become what a reader takes them for; see `normalization.py`. Then `decode(encode(text))` is the
normalised text, which no further `encode` changes. Without it, which is how `train` begins, the promise above holds
exactly. The recipes that train translators ask for "nmt_nfc": a translator has no use for an invisible character, and
one that it has never seen turns its answer to nonsense. Language models are trained without: line ends and indentation
are part of what they write.

Special tokens written in a text are text: "</s>" in a sentence becomes pieces such as "<", "/", "s", ">", and never the
end token.
"""

import copy
import functools
import itertools
import json
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from keras_transformers.callers import outside
from keras_transformers.data.language_names import known_language, language_error
from keras_transformers.data.sources import as_text, texts_of
from keras_transformers.extras import require
from keras_transformers.files.gguf import GGUF, GGUFFile
from keras_transformers.files.git_lfs import refuse_pointers
from keras_transformers.files.reading import is_plain, read_bytes
from keras_transformers.other_libraries import CALLED
from keras_transformers.spelling import Elsewhere, missing_attribute, spell_out
from keras_transformers.tokenizers import chat, chat_templates
from keras_transformers.tokenizers.agreement import agreed, class_in_transformers, passed_over, rules_named
from keras_transformers.tokenizers.convert import class_by_files, class_of, convert, numbered_pieces, special_tokens
from keras_transformers.tokenizers.engine_files import guarded, read_engine, unknown_id_of
from keras_transformers.tokenizers.gguf import read_gguf
from keras_transformers.tokenizers.keras_hub import read_keras_hub
from keras_transformers.tokenizers.languages import NO_LANGUAGES, LanguageRules, rules_by_tokens, wrapped
from keras_transformers.tokenizers.normalization import keep_spaces_at_ends, steps_of
from keras_transformers.tokenizers.options import longest, read_options
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.pieces import NumberedPieces
from keras_transformers.tokenizers.texts import TrainingTexts

_KINDS = ("bpe", "wordpiece", "unigram")
# Our names beside Hugging Face's in tokenizer_config.json.
_CONFIG_NAMES = {
    "padding_token": "pad_token",
    "unknown_token": "unk_token",
    "start_token": "bos_token",
    "end_token": "eos_token",
    "class_token": "cls_token",
    "separator_token": "sep_token",
    "mask_token": "mask_token",
}
_CONFIG_DEFAULTS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    # In transformers too, special tokens written in a text are text, and decoding changes no spaces.
    "split_special_tokens": True,
    "clean_up_tokenization_spaces": False,
}
TARGET_FILE = "target_tokenizer.json"  # what a translation model writes, where it is another than tokenizer.json
# Texts given to the engine at once: enough for its threads, few enough that its offsets and strings take little memory.
_CHUNK = 8192


class EncodedWords(NamedTuple):
    """What `Tokenizer.encode_words` returns.

    Attributes:
        token_ids: a list of ids for each row.
        words: of the same lengths: the index, in its row, of the word that the token comes from.
    """

    token_ids: list[list[int]]
    words: list[list[int]]


class EncodedSpans(NamedTuple):
    """What `Tokenizer.encode_with_offsets` returns.

    Attributes:
        token_ids: a list of ids for each text.
        spans: for each text int32 `[T, 2]`: the characters that each token stands for are `text[start:end]`.
    """

    token_ids: list[list[int]]
    spans: list[np.ndarray]


class Tokenizer:
    """Strings to token ids and back.

    Make one with `Tokenizer.train` or `Tokenizer.load`, or around an engine of your own.

    Args:
        engine: a `tokenizers.Tokenizer`. It is taken over: padding and truncation of its own are switched off, as they
            would cut text without a word.
        padding_token, start_token, end_token, unknown_token: how the special tokens are written, or None for one that
            does not exist.
        class_token, separator_token, mask_token: the same for those of models that read whole texts, as BERT does: in
            front of a text, after it, and in place of a word that the model is to find.

    Attributes:
        vocabulary_size: one more than the highest id: what an embedding needs. After training it may be smaller than
            asked, when the text has no more pieces.
        target_vocabulary_size: the same for what a translation model writes, where that has a vocabulary of its own.
        target: the `Tokenizer` of what a translation model writes, where `with_target` gave one; or None.
        padding_id, start_id, end_id, unknown_id, class_id, separator_id, mask_id: ids, or None. `unknown_id` is also
            that of a token that only the engine's own model names.
        chat_template: how the model writes chats, in jinja2; None where it knows none. May be set, to the only one.
        chat_templates: the templates by name; "default" and "tool_use" are chosen by themselves.
        languages: those that a translation model has tokens for, as its checkpoint calls them ("en_XX", "eng_Latn",
            "fr", ">>fra<<"), with the tokens' ids; empty where it has none.
        language_place: how its model is told which language to write: "forced", by the first token; "start", by what
            the decoder starts from; "source", by a token in the source; None where there are no languages.
        source_language, target_language: the languages where nothing says which, or None. May be set.

    Raises:
        ValueError: when a special token is not in the engine's vocabulary.

    Example:
    ```python
    tokenizer = Tokenizer.train(["A man rides a bike.", "Un homme fait du vélo."], vocabulary_size=300)
    ids = tokenizer.encode(["A man.", "Un vélo."])
    tokenizer.decode(ids)  # ["A man.", "Un vélo."]
    ```
    """

    from_preset, from_pretrained = Elsewhere(), Elsewhere()

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse, and name the methods: a tokenizer of another library is called.

        Raises:
            TypeError: always.
        """
        raise TypeError(CALLED)

    def __init__(
        self,
        engine: tokenizers.Tokenizer,
        *,
        padding_token: str | None = "<pad>",
        start_token: str | None = "<s>",
        end_token: str | None = "</s>",
        unknown_token: str | None = "<unk>",
        class_token: str | None = None,
        separator_token: str | None = None,
        mask_token: str | None = None,
    ):
        self.padding_token = padding_token
        self.start_token = start_token
        self.end_token = end_token
        self.unknown_token = unknown_token
        self.class_token = class_token
        self.separator_token = separator_token
        self.mask_token = mask_token
        named = {name: getattr(self, name) for name in _CONFIG_NAMES if getattr(self, name) is not None}
        missing = {name: token for name, token in named.items() if engine.token_to_id(token) is None}
        if missing:
            raise ValueError(
                "Expected every special token in the vocabulary, got "
                f"{', '.join(f'{name}={token!r}' for name, token in missing.items())}, "
                "which it lacks. Give the vocabulary's own spelling, or None for a token that does not exist."
            )
        known = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
        engine.add_special_tokens([token for token in dict.fromkeys(named.values()) if token not in known])
        self._switched_off = engine.truncation, engine.padding
        engine.no_padding()
        engine.no_truncation()
        engine.encode_special_tokens = True  # "encode their text": what turns special tokens in a text into text
        self._engine = engine
        self._config = dict(_CONFIG_DEFAULTS)
        self._rules: LanguageRules | None = None  # None: they show in the special tokens
        self._sides: tuple[NumberedPieces, NumberedPieces] | None = None  # where the engine itself splits no text
        self._side_files: dict[str, bytes] = {}
        self.target: Tokenizer | None = None
        self._content: bytes | None = None  # of the tokenizer.json that this was read from and still agrees with
        self._template_files: dict[str, bytes] = {}  # those of the folder that hold chat templates
        self.padding_id, self.start_id, self.end_id, self.unknown_id = (
            None if token is None else engine.token_to_id(token)
            for token in (padding_token, start_token, end_token, unknown_token)
        )
        own = unknown_id_of(engine)  # the token's that the engine's model gives; nothing else may name it
        self._unknown_ids = {self.unknown_id, own}
        self.unknown_id = own if self.unknown_id is None else self.unknown_id
        self.class_id, self.separator_id, self.mask_id = (
            None if token is None else engine.token_to_id(token) for token in (class_token, separator_token, mask_token)
        )
        self._count()

    def _count(self) -> None:
        engines = [self._engine] if self._sides is None else [side.engine for side in self._sides]
        sizes = [max(engine.get_vocab(with_added_tokens=True).values()) + 1 for engine in engines]
        self.vocabulary_size, self.target_vocabulary_size = sizes[0], sizes[-1]
        if self.target is not None:
            self.target_vocabulary_size = self.target.vocabulary_size
        special_ids = {i for i, token in self._engine.get_added_tokens_decoder().items() if token.special}
        self._control_ids = special_ids - self._unknown_ids

    @classmethod
    def train(
        cls,
        files_or_texts: "Iterable[str | os.PathLike] | os.PathLike",
        *,
        kind: str = "bpe",
        vocabulary_size: int = 8000,
        lowercase: bool = False,
        normalization: str | None = None,
        padding_token: str | None = "<pad>",
        start_token: str | None = "<s>",
        end_token: str | None = "</s>",
        unknown_token: str | None = "<unk>",
        class_token: str | None = None,
        separator_token: str | None = None,
        mask_token: str | None = None,
    ) -> Self:
        """Learn a vocabulary from text. The special tokens get the first ids: padding 0, unknown, start, end, and the
        others.

        A piece is made from what stands at least twice in the text. BPE comes out the same for the same text.

        Args:
            files_or_texts: any iterable, read once, of texts (`str`) and files (`pathlib.Path`, UTF-8, one text a
                line); or one such path.
            kind: "bpe", "wordpiece" or "unigram"; see the module's table.
            vocabulary_size: most pieces, special tokens included. Fewer come out where the text has no more;
                `vocabulary_size` of the result tells.
            lowercase: lowercase every text, here and in `encode`. Decoding then gives lowercase.
            normalization: None, or how a text is written before it is looked at, here and in `encode`: "nmt_nfc" makes
                one plain space of spaces of all kinds, tabs and line ends, takes invisible characters out, and composes
                accents; what a reader sees stays. "nmt_nfkc" is SentencePiece's, which writes "①" and "ﬁ" as "1" and
                "fi", too. See `normalization.py`. Spaces at both ends go, unless there is a `mask_token`.
            padding_token, start_token, end_token, unknown_token: how they are written, or None to do without.
            class_token, separator_token, mask_token: the same, for encoders that read whole texts; of the first two
                both or neither. With any, transformers too puts class and separator, or else start and end, around a
                text, and numbers the segments of a pair.

        Raises:
            TypeError: for one plain string, and for items that are neither strings nor paths.
            ValueError: for an unknown kind or normalization, no text, a file not in UTF-8, a lone surrogate, a
                vocabulary too small for the alphabet of the text, a special token spelled like a word of it, and
                WordPiece with no unknown one.
            FileNotFoundError: for a path that is not there.

        Source: BPE: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; Unigram: Kudo 2018,
        https://arxiv.org/abs/1804.10959; WordPiece: Devlin et al. 2019, https://arxiv.org/abs/1810.04805.
        """
        named = {
            "padding_token": padding_token,
            "unknown_token": unknown_token,
            "start_token": start_token,
            "end_token": end_token,
            "class_token": class_token,
            "separator_token": separator_token,
            "mask_token": mask_token,
        }
        if (class_token is None) != (separator_token is None):
            raise ValueError(f"Expected both or neither, got {class_token=} and {separator_token=}.")
        special = list(dict.fromkeys(token for token in named.values() if token is not None))
        if not isinstance(vocabulary_size, int) or isinstance(vocabulary_size, bool) or vocabulary_size <= len(special):
            raise ValueError(
                f"Expected vocabulary_size to be an integer above the {len(special)} special tokens, got "
                f"{vocabulary_size!r}."
            )
        engine, trainer = _untrained(kind, vocabulary_size, unknown_token, special)
        engine.normalizer = _normalizer(kind, lowercase, steps_of(normalization, spaces_at_ends=mask_token is not None))
        texts = TrainingTexts(files_or_texts)
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
        reads_whole_texts = class_token is not None or mask_token is not None
        if reads_whole_texts:
            around = (start_token, end_token) if class_token is None else (class_token, separator_token)
            engine.post_processor = _around(engine, *around)
        tokenizer = cls(engine, **named)
        if reads_whole_texts:
            tokenizer._config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        for token in special:
            if not tokenizer._control_ids.isdisjoint(engine.encode(token, add_special_tokens=False).ids):
                raise ValueError(
                    f"Expected a special token that is no word of the text, got {token!r}. Mark it off, as in "
                    f"'<{token}>'."
                )
        return tokenizer

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """Read a tokenizer from a folder, ours, Hugging Face's or KerasHub's, or from a GGUF file.

        It is in `tokenizer.json`, with its special tokens in `tokenizer_config.json` or `special_tokens_map.json`.
        Where there is none, the older formats are converted: `vocab.txt`, `vocab.json` with `merges.txt`, or a
        SentencePiece `*.model`, by the rules of the class that `tokenizer_config.json` or `config.json` names; see
        `convert.CLASSES`. So are KerasHub's, whose `tokenizer.json` names a class: see `tokenizers/keras_hub.py`; and
        what the metadata of a GGUF file says: see `tokenizers/gguf.py`.

        Raises:
            FileNotFoundError: when none of them is there.
            ValueError: when one of them is broken, they do not fit each other, or belong to a class that is not known.
        """
        folder = pathlib.Path(folder)
        refuse_pointers(folder)
        if folder.suffix == GGUF:
            engine, config = read_gguf(GGUFFile(folder))
            tokenizer = cls(engine, **{ours: config.get(theirs) for ours, theirs in _CONFIG_NAMES.items()})
            tokenizer._config = {"tokenizer_class": "PreTrainedTokenizerFast"} | config
            return tokenizer
        config = read_options(folder)
        rules, path = class_of(folder, config), folder / "tokenizer.json"
        sides: tuple[NumberedPieces, NumberedPieces] | None = None
        side_files: dict[str, bytes] = {}
        theirs = read_keras_hub(path)
        if theirs is not None:
            folder, config, rules = theirs
            path = folder / path.name  # where there is none
        named, has_engine = rules, is_plain(path)
        if has_engine and passed_over(folder, rules):
            has_engine = False
            warnings.warn(
                f"{path} is passed over: {rules.names[0] if rules else ''} reads the SentencePiece models beside it, "
                "as in transformers.",
                stacklevel=outside(),
            )
        if has_engine:
            engine, values = read_engine(path)
            engine = agreed(folder, config, engine, values)
            named = rules_named(class_in_transformers(folder, config, values))
        else:
            named = rules = rules or class_by_files(folder, config)
            engine = convert(folder, config, rules)
            if rules.split_by:
                sides, side_files = numbered_pieces(folder, config, rules, engine)
        # A class's own tokens count where the vocabulary has them; those that the folder states must be there.
        special = {
            role: token
            for role, token in special_tokens(folder, config, named).items()
            if token is not None and engine.token_to_id(token.content) is not None
        } | special_tokens(folder, config, None)
        tokens = {ours: special.get(theirs) for ours, theirs in _CONFIG_NAMES.items()}
        tokenizer = cls(engine, **{name: token and token.content for name, token in tokens.items()})
        tokenizer._config = {"tokenizer_class": rules.names[0] if rules else "PreTrainedTokenizerFast"} | config
        tokenizer._content = read_bytes(path) if has_engine else None
        tokenizer._sides, tokenizer._side_files = sides, side_files
        tokenizer._count()
        if rules and rules.languages is not NO_LANGUAGES:
            tokenizer._rules = rules.languages.chosen(config)
        tokenizer._template_files = chat_templates.template_files(folder, config)
        if is_plain(folder / TARGET_FILE):
            target = cls(read_engine(folder / TARGET_FILE)[0], **tokenizer._special())
            target._content = read_bytes(folder / TARGET_FILE)
            tokenizer = tokenizer.with_target(target)
        return tokenizer

    def _special(self) -> dict[str, Any]:
        """The special tokens, as the constructor takes them."""
        return {name: getattr(self, name) for name in _CONFIG_NAMES}

    def with_target(self, target: "Tokenizer") -> Self:
        """A tokenizer of two vocabularies: this one's for what a translation model reads, another's for what it writes.

        `encode` and `encode_sources` are then of this one, `encode_targets` and `decode` of the other.

        Args:
            target: a `Tokenizer` with the same special tokens by the same ids, as `train` makes them.

        Returns:
            A new `Tokenizer`, of copies.

        Raises:
            ValueError: for other special tokens, and for tokenizers of two vocabularies or of languages that a target
                is told.

        Example:
        ```python
        tokenizer = Tokenizer.train(english, vocabulary_size=8000).with_target(Tokenizer.train(finnish))
        config = kt.models.transformer(
            tokenizer.vocabulary_size,
            target_vocabulary_size=tokenizer.target_vocabulary_size,
            shared_embeddings=False,
        )
        ```
        """
        for each in (self, target):
            if each.target is not None or each._sides is not None:
                raise ValueError("Expected two tokenizers of one vocabulary each, got one of two. Give its parts.")
        if target.languages or self.language_place not in (None, "source"):
            raise ValueError(
                "Expected languages that the source alone is told, where there are two vocabularies, got some for the "
                "target. Train one vocabulary of both languages."
            )
        ids = [
            {name: (token, each._engine.token_to_id(token)) for name, token in each._special().items() if token}
            for each in (self, target)
        ]
        if ids[0] != ids[1]:
            raise ValueError(
                f"Expected the same special tokens, by the same ids, on both sides, got {ids[0]} and {ids[1]}. Train "
                "the two with the same ones."
            )
        both = copy.deepcopy(self)
        both.target = copy.deepcopy(target)
        both._count()
        return both

    @guarded()
    def files(self) -> dict[str, bytes]:
        """The files of the folder format by name, for whoever writes them with others in one atomic step.

        A `tokenizer.json` that was loaded comes back byte by byte, unless tokens were added; so do the other entries of
        `tokenizer_config.json`.
        """
        config = dict(self._config)
        if self._content is None and self._sides is None:
            config.pop("added_tokens_decoder", None)  # transformers takes those for all, and tokenizer.json has more
        for ours, theirs in _CONFIG_NAMES.items():
            stated, token = config.get(theirs), getattr(self, ours)
            if (stated.get("content") if isinstance(stated, dict) else stated) != token:
                config[theirs] = token
        own = {"tokenizer.json": self._content or self._json().encode()} if self._sides is None else self._side_files
        if self.target is not None:
            own |= {TARGET_FILE: self.target._content or self.target._json().encode()}
        written = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
        return own | {"tokenizer_config.json": written} | self._template_files

    def _json(self) -> str:
        """The engine as it came, with the truncation and padding that are switched off here."""
        truncation, padding = self._switched_off
        engine = self._copy_of_engine() if truncation or padding else self._engine
        if truncation:
            engine.enable_truncation(**truncation)
        if padding:
            engine.enable_padding(**padding)
        return engine.to_str(pretty=True)

    def _copy_of_engine(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self._engine.to_str())

    def save(self, folder: str | os.PathLike) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `load` and transformers' `AutoTokenizer` open.

        Args:
            folder: made where there is none.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(content)
            os.replace(partial, path)  # a killed save leaves the old file whole

    def encode(self, texts: Sequence[str], parse_special: bool = False) -> list[list[int]]:
        """Turn texts into ids, without start or end: `packing.pack` puts those around, or `packing.pack_texts`.

        Args:
            texts: a list (or tuple, or array) of strings. An empty string gives no ids.
            parse_special: whether special tokens written in a text are those tokens, as transformers takes them: for
                "[MASK]" in a text of your own. Otherwise they are text, as they must be in texts of others.

        Returns:
            One list of ids for each text.

        Raises:
            TypeError: for one plain string instead of a list, and for items that are not strings.
            ValueError: for a text with a lone surrogate, which is no Unicode text.
        """
        return self._encode(texts, parse_special)

    @guarded()
    def _encode(self, texts: Sequence[str], parse_special: bool = False, side: int = 0) -> list[list[int]]:
        """As `encode` does, for a source (side 0) or a target (1), where they differ."""
        if side and self.target is not None:
            return self.target._encode(texts, parse_special)
        ids: list[list[int]] = []
        if self._sides is not None:
            for chunk in _chunks(_checked_texts(texts)):
                ids += self._sides[side].encode(chunk, parse_special)
            return ids
        engine = self._parsing_engine if parse_special else self._engine
        for chunk in _chunks(_checked_texts(texts)):
            ids += [encoding.ids for encoding in engine.encode_batch_fast(chunk, add_special_tokens=False)]
        return ids if parse_special else [self._without_control_ids(row, row)[0] for row in ids]

    def spelled_special(self, texts: Iterable[str]) -> list[str]:
        """The special tokens that texts spell, which `encode` reads as text unless `parse_special` is set.

        A language that a translation model reads in its source is none of them.

        Args:
            texts: strings.
        """
        read = set(self.languages) if self.language_place == "source" else set()
        spellings = {i: self._engine.id_to_token(i) or "" for i in sorted(self._control_ids)}
        tokens = [token for token in spellings.values() if token.strip() and token not in read]
        pattern = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
        return list(dict.fromkeys(match for text in texts for match in pattern.findall(text)))

    def encode_sources(
        self,
        texts: Sequence[str],
        source_language: str | None = None,
        *,
        target_language: str | None = None,
        max_length: int | None = None,
        parse_special: bool = False,
    ) -> list[list[int]]:
        """Texts as the encoder of a translation model reads them: with the end token, and with the language where the
        model reads it there.

        Args:
            texts: a list of strings. An empty one gives the tokens around it alone.
            source_language: their language, one of `languages`; by default `self.source_language`.
            target_language: the language to translate into, where `language_place` is "source"; by default
                `self.target_language`, or what a text itself starts with: ">>fra<< Good morning."
            max_length: most ids of a row; what is too long loses the last of its text.
            parse_special: as for `encode`.

        Returns:
            One list of ids for each text, as transformers' tokenizer of the model makes them.

        Raises:
            TypeError, ValueError: as `encode` does, and a ValueError for a language that is unknown, or that the model
                does not read here, and a `max_length` without room.

        Example:
        ```python
        tokenizer = Tokenizer.load("nllb-200-distilled-600M")
        tokenizer.encode_sources(["Good morning."], "eng_Latn")  # eng_Latn, the text, </s>
        ```
        """
        name, other = "source_language", target_language
        texts, language = _checked_texts(texts), source_language
        if self.language_place == "source":
            name, language, other = "target_language", target_language, source_language
        elif other is not None:
            raise ValueError(f"Expected no target_language, got {other!r}: this tokenizer puts none in a source.")
        if name == "target_language" and other is not None:
            raise ValueError(f"Expected no source_language, got {other!r}: the model is told the target's alone.")
        default = self._language(name, language)
        languages = [default] * len(texts)
        if self.language_place == "source" and default is None:
            stated = [next((code for code in self.languages if text.startswith(code)), "") for text in texts]
            texts = [text[len(code) :] for text, code in zip(texts, stated, strict=True)]
            languages = [self.languages.get(code) for code in stated]
        return wrapped(self.encode(texts, parse_special), languages, self._around("source"), max_length)

    def encode_targets(
        self, texts: Sequence[str], target_language: str | None = None, *, max_length: int | None = None
    ) -> list[list[int]]:
        """Texts as the decoder of a translation model is to write them: its labels.

        Args:
            texts, max_length: as for `encode_sources`.
            target_language: their language, one of `languages`; by default `self.target_language`.

        Returns:
            One list of ids for each text, as transformers' tokenizer of the model makes them for `text_target`.

        Raises:
            TypeError, ValueError: as `encode_sources` does, and a ValueError where the language has to be told.
        """
        language = self._language("target_language", target_language)
        if language is None and "language" in self._language_rules.target and self.languages:
            raise language_error("target_language", None, self.languages)
        encoded = self._encode(texts, side=1)
        return wrapped(encoded, [language] * len(encoded), self._around("target"), max_length)

    def _around(self, side: str) -> list[Any]:
        """The parts of a source or a target: ids, "text" and "language"."""
        end = [] if self.end_id is None else [self.end_id]
        if self._language_rules is NO_LANGUAGES and self._engine.post_processor is not None:
            parts = [part for part, _ in self.template.single]
            if {self.end_id, self.separator_id} & set(parts):  # otherwise the engine's rule is no translator's
                return ["text" if part == "A" else part for part in parts]
        parts = getattr(self._language_rules, side)
        return [each for part in parts for each in (end if part == "end" else [part])]

    @functools.cached_property
    def _language_rules(self) -> LanguageRules:
        return self._rules or rules_by_tokens(self._special_tokens())

    @functools.cached_property
    def languages(self) -> dict[str, int]:
        return self._language_rules.languages(self._special_tokens())

    def _special_tokens(self) -> list[tuple[str, int]]:
        return [(token.content, i) for i, token in self._engine.get_added_tokens_decoder().items() if token.special]

    @property
    def language_place(self) -> str | None:
        return self._language_rules.place if self.languages else None

    def _language(self, name: str, language: str | None) -> int | None:
        """The id of the language in the argument `name`; of the one that is the default where it is None."""
        code = known_language(name, language, self.languages) or getattr(self, name)
        return None if code is None else self.languages[code]

    @property
    def source_language(self) -> str | None:
        stated: Any = self._config.get("src_lang") or self._language_rules.default
        return known_language("src_lang in tokenizer_config.json", stated, self.languages) if self.languages else None

    @source_language.setter
    def source_language(self, language: str | None) -> None:
        self._config["src_lang"] = known_language("source_language", language, self.languages)

    @property
    def target_language(self) -> str | None:
        stated: Any = self._config.get("tgt_lang")
        return known_language("tgt_lang in tokenizer_config.json", stated, self.languages) if self.languages else None

    @target_language.setter
    def target_language(self, language: str | None) -> None:
        self._config["tgt_lang"] = known_language("target_language", language, self.languages)

    @property
    def language_pair(self) -> tuple[str | None, str | None]:
        """From what to what language a model of one pair translates, as Marian's `tokenizer_config.json` says."""
        source, target = (self._config.get(f"{side}_lang") for side in ("source", "target"))
        return source if isinstance(source, str) else None, target if isinstance(target, str) else None

    @guarded()
    def encode_words(self, rows: Sequence[Sequence[str]]) -> EncodedWords:
        """Turn texts that are split into words already into ids, and tell of which word each is.

        Every word is a word of its own, however it is written; an empty one gives no ids. Special tokens are text.

        Args:
            rows: a list of lists of words, as in data for tagging.

        Returns:
            `EncodedWords(token_ids, words)`: what transformers gives for `is_split_into_words=True`, and its
            `word_ids()`, without special tokens.

        Raises:
            TypeError: for rows that are not lists of strings.
            ValueError: for a word with a lone surrogate.

        Example:
        ```python
        tokenizer.encode_words([["A", "biker", "rides"]])  # ([[7, 301, 12, 44]], [[0, 1, 1, 2]])
        ```
        """
        checked = []
        for index, row in enumerate(rows):
            if isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
                raise TypeError(
                    f"Expected every row to be a list of words, got {type(row).__name__} at index {index}. Split it, "
                    "or call encode_with_offsets for whole texts."
                )
            checked.append([as_text(word, f"word {place} of row {index}") for place, word in enumerate(row)])
        encoded = EncodedWords([], [])
        if self._sides is not None:
            for row in checked:
                ids_by_word = self._sides[0].encode(row)
                encoded.token_ids.append([i for ids in ids_by_word for i in ids])
                encoded.words.append([word for word, ids in enumerate(ids_by_word) for _ in ids])
            return encoded
        for chunk in _chunks(checked):
            for encoding in self._engine.encode_batch(chunk, is_pretokenized=True, add_special_tokens=False):
                ids, words = self._without_control_ids(encoding.ids, encoding.word_ids)
                encoded.token_ids.append(ids)
                encoded.words.append(words)
        return encoded

    @guarded()
    def encode_with_offsets(
        self, texts: Sequence[str], parse_special: bool = False, *, target: bool = False
    ) -> EncodedSpans:
        """Turn texts into ids, and tell which characters each stands for.

        Args:
            texts, parse_special: as for `encode`.
            target: whether they are translations, for a model that writes other pieces than it reads.

        Returns:
            `EncodedSpans(token_ids, spans)`, where `spans[i]` is int32 `[T, 2]` of starts and ends, counted in
            characters (code points) of the text as it was given. A character of several tokens lies in the span of
            each.

        Raises:
            TypeError, ValueError: as `encode` does.

        Example:
        ```python
        (ids,), (spans,) = tokenizer.encode_with_offsets(["Où ?"])
        ["Où ?"[start:end] for start, end in spans]  # ["Où", "?"]
        ```
        """
        if target and self.target is not None:
            return self.target.encode_with_offsets(texts, parse_special)
        encoded = EncodedSpans([], [])
        if self._sides is not None:
            for ids, places in self._sides[int(target)].encode_with_spans(_checked_texts(texts), parse_special):
                encoded.token_ids.append(ids)
                encoded.spans.append(np.array(places, dtype=np.int32).reshape(-1, 2))
            return encoded
        engine = self._parsing_engine if parse_special else self._engine
        for chunk in _chunks(_checked_texts(texts)):
            for encoding in engine.encode_batch(chunk, add_special_tokens=False):
                ids, spans = encoding.ids, encoding.offsets
                if not parse_special:
                    ids, spans = self._without_control_ids(ids, spans)
                encoded.token_ids.append(ids)
                encoded.spans.append(np.array(spans, dtype=np.int32).reshape(-1, 2))
        return encoded

    @property
    def chat_templates(self) -> dict[str, str]:
        return chat_templates.named_templates(self._template_files, self._config)

    @property
    def chat_template(self) -> str | None:
        named = self.chat_templates
        return named.get(chat_templates.DEFAULT, next(iter(named.values()), None))

    @chat_template.setter
    def chat_template(self, template: str | None) -> None:
        self._template_files = {} if template is None else {chat_templates.TEMPLATE_FILE: template.encode("utf-8")}
        self._config.pop("chat_template", None)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = False,
        template: str | None = None,
        **variables: Any,
    ) -> Any:
        """A chat as the text, or the ids, that the model was trained on.

        Args:
            messages: a list of dictionaries, `{"role": "user", "content": "…"}`; roles are "system", "user",
                "assistant", and what else the template knows.
            tools: what the model may call: functions with type hints and a docstring in Google's style, or JSON
                schemas. The template named "tool_use" is used if there is one.
            documents: what the model may read: a list of dictionaries, `{"title": "…", "text": "…"}`.
            add_generation_prompt: whether what opens the assistant's next turn follows.
            continue_final_message: whether the chat stays open behind the last message, for the model to go on with
                it; or the name of the field to go on with, such as "reasoning_content".
            tokenize: whether to return ids, special tokens of the template parsed (and also those that a message
                spells, as transformers does).
            template: another template than the tokenizer's own, or the name of one of `chat_templates`.
            **variables: what else the template reads, such as `enable_thinking`. One that it does not read is warned
                of.

        Returns:
            A string, or a list of ids. The string holds special tokens already, often the start token too: give it
            to `CausalLM.generate` with `parse_special=True`, which puts no other before it.

        Raises:
            ImportError: without jinja2 (the extra `chat`).
            TypeError: for what is no list of messages, tools or documents, and options of transformers' method of this
                name that do not exist here.
            ValueError: for a tokenizer without a template, and a template that is broken, passes the bounds of
                `template_sandbox`, refuses these messages, or reaches for what the sandbox denies it.

        Example:
        ```python
        tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
        ```
        """
        variables = chat.template_variables(variables)
        template = chat_templates.chosen(self.chat_templates, template, tools is not None)
        special = {theirs: getattr(self, ours) for ours, theirs in _CONFIG_NAMES.items()}
        named = {name: token for name, token in special.items() if token is not None} | variables
        named |= {"tools": tools, "documents": documents, "add_generation_prompt": add_generation_prompt}
        text = chat.render(template, messages, continue_final_message=continue_final_message, **named)
        given = {"tools": tools, "documents": documents} | variables
        chat.warn_unread(template, (name for name, value in given.items() if value is not None))
        return self.encode([text], parse_special=True)[0] if tokenize else text

    @guarded()
    def add_tokens(self, tokens: Sequence[str], special: bool = False) -> int:
        """Add tokens behind the vocabulary, of two that of the source; each is found in a text as a whole, before
        anything else.

        Not while other threads encode. A model's embeddings need as many rows more.

        Args:
            tokens: how they are written. One that the vocabulary has keeps its id.
            special: whether they are special tokens: text in a text (unless `parse_special`), and left out by `decode`.

        Returns:
            By how much `vocabulary_size` has grown.

        Raises:
            TypeError: for one plain string instead of a list, and for tokens that are not strings.
            ValueError: for an empty token, and one with a lone surrogate.
        """
        tokens = _checked_texts(tokens)
        if "" in tokens:
            raise ValueError(
                f"Expected tokens of at least one character, got '' at index {tokens.index('')}. Take it out."
            )
        before = self.vocabulary_size
        keep_spaces_at_ends(self._engine)
        (self._engine.add_special_tokens if special else self._engine.add_tokens)(tokens)
        self._content = None
        if self._sides is not None:
            added = self._engine.get_added_tokens_decoder().items()
            flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
            self._config["added_tokens_decoder"] = {str(i): {f: getattr(t, f) for f in flags} for i, t in added}
        for cached in ("_parsing_engine", "_language_rules", "languages"):
            self.__dict__.pop(cached, None)
        self._count()
        return self.vocabulary_size - before

    @property
    def max_length(self) -> int | None:
        """The most tokens of a row, as `model_max_length` in `tokenizer_config.json` says; None where it says none."""
        return longest(self._config)

    @functools.cached_property
    @guarded()
    def template(self) -> Template:
        """How one text, or a pair, is wrapped for the model: what `packing.pack_texts` takes.

        It is read off what the engine does to two short texts. Where the engine puts nothing around because it has no
        rule for it, the template is start, text, end, and for a pair then the second text and end again, in segment 1.

        Raises:
            ValueError: for an engine without a single piece that text can give.
        """
        if self._engine.post_processor is None:
            start, end = (() if i is None else (i,) for i in (self.start_id, self.end_id))
            first, second = tuple((part, 0) for part in (*start, "A", *end)), tuple((part, 1) for part in ("B", *end))
            return Template(single=first, pair=first + second)
        candidates = itertools.chain("a0.", self._engine.get_vocab())
        text = next((text for text in candidates if any(self.encode([text]))), None)
        if text is None:
            raise ValueError(
                "Expected a vocabulary with some piece of text, got special tokens alone. Train or load the tokenizer "
                "that belongs to the model."
            )
        encoded = self._engine.encode(text, add_special_tokens=False)
        return Template(
            single=_parts(self._engine.post_process(encoded)), pair=_parts(self._engine.post_process(encoded, encoded))
        )

    @functools.cached_property
    def _parsing_engine(self) -> tokenizers.Tokenizer:
        # A second one, since the setting belongs to an engine, and threads share it.
        return self._copy_of_engine()

    @guarded()
    def decode(self, token_ids: Any) -> "str | list[str]":
        """Turn ids into text. Special tokens, the unknown one among them, are left out.

        Ids that a model made up may spell bytes that are no UTF-8; those become U+FFFD.

        Args:
            token_ids: a list or integer array of ids, for one text; a list of such, or an array `[B, T]`, for several.
                A bare `[]` is one empty text.

        Returns:
            A string, or a list of strings.

        Raises:
            TypeError: for ids that are not integers.
            ValueError: for ids below 0 or not below `vocabulary_size`.
        """
        if hasattr(token_ids, "shape"):
            token_ids = np.asarray(token_ids)
            one = token_ids.ndim < 2
        elif isinstance(token_ids, (list, tuple)):
            one = not token_ids or not isinstance(token_ids[0], (list, tuple, np.ndarray))
        else:
            raise TypeError(
                f"Expected token ids in a list or an array, got {type(token_ids).__name__}. Put a single id in a "
                "list: decode([id])."
            )
        size = self.target_vocabulary_size
        rows = [self._checked_ids(row, index, size) for index, row in enumerate([token_ids] if one else token_ids)]
        if self._sides is None:
            engine = self._engine_of(target=True)
            texts = engine.decode_batch(rows, skip_special_tokens=True)
            if self._config.get("clean_up_tokenization_spaces") and not isinstance(engine.model, models.BPE):
                texts = [_without_spaces_before(text) for text in texts]
        else:
            texts = [text.strip() for text in self._sides[1].engine.decode_batch(rows, skip_special_tokens=True)]
        return texts[0] if one else texts

    @guarded()
    def tokens(self, text: "str | Sequence[int] | np.ndarray", *, target: bool = False) -> list[str]:
        """The pieces of a text, or of ids, as a reader would write them, for the axes of a picture.

        A space in front of a word stays with it ("bike" and " bike" are two pieces), special ids are shown, and a piece
        that is only part of a character is shown as U+FFFD.

        Args:
            text: one string, or the ids of one text.
            target: whether it is a translation, for a model that writes other pieces than it reads.

        Raises:
            TypeError, ValueError: as `encode` and `decode` do.
        """
        size, engine = self.target_vocabulary_size if target else self.vocabulary_size, self._engine_of(target)
        ids = self._encode([text], side=target)[0] if isinstance(text, str) else self._checked_ids(text, 0, size)
        return [engine.decode([i], skip_special_tokens=False) for i in ids]

    @guarded()
    def to_pieces(self, token_ids: Sequence[int], *, target: bool = False) -> list[str]:
        """Ids as the vocabulary itself writes them ("Ġbike", "</s>"): what other programs take for tokens.

        An id that it skips is written "<unused_7>".

        Args:
            token_ids: the ids of one text.
            target: whether they are of the vocabulary that a translation model writes, where that is another.

        Raises:
            ValueError: for ids that are not in the vocabulary.
        """
        size = self.target_vocabulary_size if target else self.vocabulary_size
        pieces = [(i, self._engine_of(target).id_to_token(i)) for i in self._checked_ids(token_ids, 0, size)]
        return [f"<unused_{i}>" if piece is None else piece for i, piece in pieces]

    @guarded()
    def from_pieces(self, pieces: Sequence[str], *, target: bool = False) -> list[int]:
        """The ids of pieces as `to_pieces` writes them.

        Raises:
            ValueError: for pieces that are not in the vocabulary.
        """
        ids: list[Any] = [self._engine_of(target).token_to_id(piece) for piece in pieces]
        unknown = [piece for piece, i in zip(pieces, ids, strict=True) if i is None]
        if unknown:
            raise ValueError(
                f"Expected pieces of the vocabulary, got {', '.join(map(repr, unknown[:10]))}. Encode texts instead."
            )
        return ids

    def _engine_of(self, target: bool) -> tokenizers.Tokenizer:
        if self._sides is not None:
            return self._sides[target].engine
        return self.target._engine if target and self.target is not None else self._engine

    def in_graph(self, *, texts: Iterable[str] = (), difficult_texts: bool = True) -> Any:
        """The same ids inside a TensorFlow graph: for `tf.data`, and for a SavedModel that takes strings.

        WordPiece as BERT has it, byte-level BPE and Unigram as GPT-2 and `train` have them, and SentencePiece's Unigram
        are compiled from this tokenizer, in a few seconds, and compared with it on difficult texts: accents apart from
        their letters, scripts mixed at random, controls, special tokens written in a text.

        Args:
            texts: texts of your own to compare on besides.
            difficult_texts: False compares on yours alone. SentencePiece's models need that as a rule: the engine reads
                accents apart from their letters, and "<unk>" in a text, otherwise than SentencePiece itself.

        Returns:
            An `InGraphTokenizer`, a `tf.Module`: called with strings `[B]` it gives ragged int32 ids `[B, tokens]`; its
            `pack` gives dense arrays with special tokens.

        Raises:
            ImportError: without TensorFlow; but for byte-level BPE and Unigram without `normalization`, without
                tensorflow-text.
            ValueError: for a tokenizer that cannot be compiled, and where any text gets other ids than from `encode`.

        Example:
        ```python
        in_graph = tokenizer.in_graph()
        in_graph(tf.constant(["A man.", "Un vélo."])).to_list() == tokenizer.encode(["A man.", "Un vélo."])
        ```
        """
        require("in-graph", tensorflow=True)
        from keras_transformers.tokenizers.in_graph import InGraphTokenizer  # it imports TensorFlow, this one does not

        return InGraphTokenizer(self, texts=texts, difficult_texts=difficult_texts)

    @property
    def control_ids(self) -> set[int]:
        """The ids of special tokens that stand for no text."""
        return set(self._control_ids)

    def _without_control_ids(self, ids: list[int], beside: list[Any]) -> tuple[list[int], list[Any]]:
        """The ids, and what stands beside each, with control ids spelled by others."""
        if self._control_ids.isdisjoint(ids):
            return ids, beside
        # Some loaded models (SentencePiece's Unigram) hold their special tokens among the pieces, and find them in
        # text: spell those by other pieces.
        spelled, beside_spelled = [], []
        for i, value in zip(ids, beside, strict=True):
            piece = self._engine.id_to_token(i) or ""
            parts = [piece[:1], piece[1:]] if i in self._control_ids else []
            pieces = [token.id for part in parts for token in self._engine.model.tokenize(part)] or [i]
            spelled += pieces
            beside_spelled += [value] * len(pieces)
        return spelled, beside_spelled

    def _checked_ids(self, ids: Any, index: int, size: int) -> list[int]:
        row = np.asarray(ids)
        if row.ndim == 1 and row.size == 0:
            return []
        if row.ndim != 1 or row.dtype.kind not in "iu":
            raise TypeError(
                f"Expected a flat list of integer ids, got {row.dtype} of shape {row.shape} at index {index}. Decode "
                "ids, not scores or text."
            )
        wrong = (row < 0) | (row >= size)
        if wrong.any():
            raise ValueError(
                f"Expected ids from 0 to {size - 1}, got {row[wrong][0]} at position "
                f"{int(np.argmax(wrong))} of the text at index {index}. "
                "Do these ids come from another tokenizer's model?"
            )
        return row.tolist()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_parsing_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._engine.encode_special_tokens = True  # the one setting that the engine's own pickling loses

    def __repr__(self) -> str:
        return f"Tokenizer({type(self._engine.model).__name__}, vocabulary_size={self.vocabulary_size})"


spell_out(Tokenizer)


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
    """What puts start and end around a text; a second text and its end are segment 1."""
    start, end = ([] if token is None else [token] for token in (start_token, end_token))
    single = [*start, "$A", *end]
    return processors.TemplateProcessing(
        single=single,
        pair=[*single, "$B:1", *(f"{token}:1" for token in end)],
        special_tokens=[(token, engine.token_to_id(token)) for token in dict.fromkeys(start + end)],
    )


def _parts(encoding: tokenizers.Encoding) -> tuple[tuple[int | str, int], ...]:
    """The parts of a template, of an encoding of two texts: a special token each, and each text as one."""
    parts: list[tuple[int | str, int]] = []
    for i, segment, special, text in zip(
        encoding.ids, encoding.type_ids, encoding.special_tokens_mask, encoding.sequence_ids, strict=True
    ):
        # The engine numbers the second text alone in some pairs.
        part = (i if special else "B" if text == 1 else "A", segment)
        if special or part not in parts:
            parts.append(part)
    return tuple(parts)


def _without_spaces_before(text: str) -> str:
    """A text without the spaces that stand before its marks, as `clean_up_tokenization_spaces` asks for."""
    for spaced, mark in (
        *((f" {mark}", mark) for mark in ".?!,"),
        (" ' ", "'"),
        *((f" {mark}", mark) for mark in ("n't", "'m", "'s", "'ve", "'re")),
    ):
        text = text.replace(spaced, mark)
    return text


def _checked_texts(texts: Any) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"Expected a list of strings, got one {type(texts).__name__} alone. Put it in a list: encode([text])."
        )
    return texts_of(texts)[0]


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
