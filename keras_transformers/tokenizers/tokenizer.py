"""Strings to token ids and back, on the `tokenizers` library, from one `tokenizer.json`.

    special_tokens.py   padding, start, end, …      train.py         a vocabulary out of texts
    vocabulary.py       texts to ids and back       loading.py       folders and files; older formats: convert/
    pieces.py           ids as they are written     saving.py        files, byte by byte
    translation.py      sources and targets         chat/            chats as text
    languages.py        their languages             in_graph/        the same ids in a TensorFlow graph

Special tokens written in a text are text: "</s>" in a sentence becomes pieces such as "<", "/", "s", ">", and never the
end token.
"""

import functools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

import tokenizers

from keras_transformers.data.language_names import known_language
from keras_transformers.other_libraries import CALLED
from keras_transformers.spelling import Elsewhere, check_arguments, missing_attribute, spell_out
from keras_transformers.tokenizers import chat, in_graph, pieces, saving, translation
from keras_transformers.tokenizers.engine import guarded, template_of, unknown_id_of
from keras_transformers.tokenizers.languages import LanguageRules, Languages
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.special_tokens import NAMES, SpecialTokenArguments, SpecialTokens, id_name
from keras_transformers.tokenizers.vocabulary import (
    EncodedSpans,
    EncodedWords,
    Vocabulary,
    checked_texts,
    checked_words,
    rows_of_ids,
    size_of,
)

if TYPE_CHECKING:
    from keras_transformers.tokenizers.convert.numbered_pieces import NumberedPieces

_OPTIONS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    # In transformers too, special tokens written in a text are text, and decoding changes no spaces.
    "split_special_tokens": True,
    "clean_up_tokenization_spaces": False,
}
_FLAGS = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")  # of an added token


class Tokenizer:
    """Strings to token ids and back.

    Make one with `Tokenizer.train` or `Tokenizer.load`, or around an engine of your own.

    Args:
        engine: a `tokenizers.Tokenizer`. It is taken over: its own padding and truncation are switched off, as they
            would cut text without a word.
        padding_token, unknown_token, start_token, end_token: how the special tokens are written, or None for one that
            does not exist; by default "<pad>", "<unk>", "<s>" and "</s>".
        class_token, separator_token, mask_token: the same for models that read whole texts, as BERT does: in front of
            a text, after it, and in place of a word that the model is to find; by default None.

    Attributes:
        engine: the `tokenizers.Tokenizer`.
        special_tokens: how the special tokens are written, a `SpecialTokens`. Each is an attribute too
            (`padding_token`, …).
        padding_id, unknown_id, start_id, end_id, class_id, separator_id, mask_id: ids, or None. `unknown_id` is also
            the id of a token that only the engine's own model names.
        vocabulary_size: one more than the highest id, as many rows as an embedding needs. After training it may be
            smaller than asked, if the text has no more pieces.
        target_vocabulary_size: the same for the vocabulary that a translation model writes, if it has its own.
        target: the `Tokenizer` of the vocabulary that a translation model writes, if `with_target` gave one; or None.

    Raises:
        ValueError: for a special token that is not in the engine's vocabulary.

    Example:
    ```python
    tokenizer = Tokenizer.train(["A man rides a bike.", "Un homme fait du vélo."], vocabulary_size=300)
    ids = tokenizer.encode(["A man.", "Un vélo."])
    tokenizer.decode(ids)  # ["A man.", "Un vélo."]
    ```
    """

    from_preset, from_pretrained = Elsewhere(), Elsewhere()

    # Methods with rooms of their own.
    files, save = saving.files, saving.save
    tokens, words, to_pieces, from_pieces = pieces.tokens, pieces.words, pieces.to_pieces, pieces.from_pieces
    spelled_special = translation.spelled_special
    encode_sources, encode_targets = translation.encode_sources, translation.encode_targets
    with_target = translation.with_target
    apply_chat_template = chat.apply_chat_template
    in_graph = in_graph.in_graph

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse, and name the methods: a tokenizer of another library is called.

        Raises:
            TypeError: always.
        """
        raise TypeError(CALLED)

    def __init__(self, engine: tokenizers.Tokenizer, **special_tokens: Unpack[SpecialTokenArguments]):
        check_arguments("arguments of Tokenizer", special_tokens, ("engine", *NAMES))
        self.engine, self.special_tokens = engine, SpecialTokens(**special_tokens)
        self._ids = self.special_tokens.ids(engine)
        known = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
        named = self.special_tokens.named()
        engine.add_special_tokens([token for token in dict.fromkeys(named.values()) if token not in known])
        self._switched_off = engine.truncation, engine.padding
        engine.no_truncation()
        engine.no_padding()
        for name in NAMES:
            setattr(self, name, named.get(name))
            setattr(self, id_name(name), self._ids.get(name))
        self._vocabulary = Vocabulary(engine, self._ids.get("unknown_token"))
        if "unknown_token" not in self._ids:
            self.unknown_id = unknown_id_of(engine)
        # For a source, and for a target.
        self._sides: tuple[Vocabulary | NumberedPieces, Vocabulary | NumberedPieces]
        self._sides = (self._vocabulary, self._vocabulary)
        self.target: Tokenizer | None = None
        self._options: dict[str, Any] = dict(_OPTIONS)  # tokenizer_config.json
        self._rules: LanguageRules | None = None  # None: they show in the special tokens
        self._content: bytes | None = None  # of the tokenizer.json that this was read from and still agrees with
        self._side_files: Mapping[str, bytes] = {}  # instead of tokenizer.json
        self._template_files: Mapping[str, bytes] = {}  # with chat templates
        self._measure()

    def _measure(self) -> None:
        self.vocabulary_size, self.target_vocabulary_size = (size_of(side.engine) for side in self._sides)

    def _write(self, target: "Tokenizer") -> None:
        """Write the vocabulary of another tokenizer."""
        self.target, self._sides = target, (self._vocabulary, target._vocabulary)
        self._measure()

    @classmethod
    def train(
        cls,
        files_or_texts: "Iterable[str | os.PathLike] | os.PathLike",
        *,
        kind: str = "bpe",
        vocabulary_size: int = 8000,
        lowercase: bool = False,
        normalization: str | None = None,
        **special_tokens: Unpack[SpecialTokenArguments],
    ) -> Self:
        """Learn a vocabulary from text. The special tokens get the first ids: padding 0, unknown, start, end, and the
        others.

        A piece is made from characters that stand together at least twice in the text. BPE comes out the same for the
        same text.

        Args:
            files_or_texts: any iterable, read once, of texts (`str`) and files (`pathlib.Path`, UTF-8, one text a
                line); or one such path.
            kind: "bpe", "wordpiece" or "unigram"; see the table in `train.py`.
            vocabulary_size: most pieces, special tokens included. Fewer come out if the text has no more;
                `vocabulary_size` of the result tells.
            lowercase: lowercase every text, here and in `encode`. Decoding then gives lowercase.
            normalization: None, or how a text is written before it is looked at, here and in `encode`: "nmt_nfc" makes
                one plain space of spaces of all kinds, tabs and line ends, takes invisible characters out, and composes
                accents; all visible characters stay. "nmt_nfkc" is SentencePiece's default, which writes "①" and "ﬁ" as
                "1" and "fi", too. See `normalization.py`. Spaces at both ends go, unless there is a `mask_token`.
            padding_token, unknown_token, start_token, end_token, class_token, separator_token, mask_token: as for
                `Tokenizer`. A class and a separator token come together. With these or a mask token, transformers too
                puts class and separator, or else start and end, around a text, and numbers the segments of a pair.

        Raises:
            TypeError: for one plain string, and for items that are neither strings nor paths.
            ValueError: for an unknown kind or normalization, no text, a file not in UTF-8, a lone surrogate, a
                vocabulary too small for the alphabet of the text, a special token spelled like a word of it, and
                WordPiece with no unknown one.
            FileNotFoundError: for a path that is not there.

        Source: BPE: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; Unigram: Kudo 2018,
        https://arxiv.org/abs/1804.10959; WordPiece: Devlin et al. 2019, https://arxiv.org/abs/1810.04805.
        """
        from keras_transformers.tokenizers.train import refuse_words, trained_engine

        special = SpecialTokens(**special_tokens)
        engine = trained_engine(
            files_or_texts,
            special,
            kind=kind,
            vocabulary_size=vocabulary_size,
            lowercase=lowercase,
            normalization=normalization,
        )
        tokenizer = cls(engine, **special_tokens)
        if engine.post_processor is not None:
            tokenizer._options["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        refuse_words(special, tokenizer._vocabulary)
        return tokenizer

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """Read a tokenizer from a folder of this library, of Hugging Face, KerasHub or Marian, from a GGUF file, or
        from a SentencePiece model of Marian (`vocab.spm`).

        `vocab.txt`, `vocab.json` with `merges.txt`, and SentencePiece models are read if there is no `tokenizer.json`;
        see `loading.py`.

        Raises:
            FileNotFoundError: if none of them is there.
            ValueError: if one of them is broken, they do not fit each other, or belong to a class that is not known.
        """
        from keras_transformers.tokenizers import loading

        loaded = loading.load(pathlib.Path(folder))
        special: SpecialTokenArguments = loaded.special_tokens.arguments()
        tokenizer = cls(loaded.engine, **special)
        tokenizer._options, tokenizer._rules, tokenizer._content = loaded.options, loaded.rules, loaded.content
        tokenizer._side_files, tokenizer._template_files = loaded.side_files, loaded.template_files
        tokenizer._sides = loaded.sides or tokenizer._sides
        tokenizer._measure()
        if loaded.target is None:
            return tokenizer
        engine, content = loaded.target
        target = cls(engine, **special)
        target._content = content
        return tokenizer.with_target(target)

    @guarded()
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
        return self._sides[0].encode(checked_texts(texts), parse_special)

    @guarded()
    def encode_words(self, rows: Sequence[Sequence[str]]) -> EncodedWords:
        """Turn texts that are already split into words into ids, and tell the word of each id.

        Every word is a word of its own, however it is written; an empty one gives no ids. Special tokens are text.

        Args:
            rows: a list of lists of words, as in data for tagging.

        Returns:
            `EncodedWords(token_ids, words)`, as transformers' ids for `is_split_into_words=True` and its `word_ids()`,
            without special tokens.

        Raises:
            TypeError: for rows that are not lists of strings.
            ValueError: for a word with a lone surrogate.

        Example:
        ```python
        tokenizer.encode_words([["A", "biker", "rides"]])  # ([[7, 301, 12, 44]], [[0, 1, 1, 2]])
        ```
        """
        return self._sides[0].encode_words(checked_words(rows))

    @guarded()
    def encode_with_offsets(
        self, texts: Sequence[str], parse_special: bool = False, *, target: bool = False
    ) -> EncodedSpans:
        """Turn texts into ids, and tell the characters that each stands for.

        Args:
            texts, parse_special: as for `encode`.
            target: whether they are translations, for a model that writes other pieces than it reads.

        Returns:
            `EncodedSpans(token_ids, spans)`: `spans[i]` is int32 `[T, 2]` of starts and ends, counted in characters
            (code points) of the text as it was given. A character of several tokens lies in the span of each.

        Raises:
            TypeError, ValueError: as `encode` does.

        Example:
        ```python
        (ids,), (spans,) = tokenizer.encode_with_offsets(["Où ?"])
        ["Où ?"[start:end] for start, end in spans]  # ["Où", "?"]
        ```
        """
        return self._sides[target].encode_with_spans(checked_texts(texts), parse_special)

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
            ValueError: for ids below 0 or not below `target_vocabulary_size`.
        """
        rows, one = rows_of_ids(token_ids, self.target_vocabulary_size)
        texts = self._sides[1].decode(rows, bool(self._options.get("clean_up_tokenization_spaces")))
        return texts[0] if one else texts

    @property
    def control_ids(self) -> set[int]:
        """The ids of special tokens that stand for no text."""
        return set(self._vocabulary.control_ids)

    @guarded()
    def add_tokens(self, tokens: Sequence[str], special: bool = False) -> int:
        """Add tokens behind the vocabulary (of two, behind the source's). Each is found in a text as a whole, before
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
        tokens = checked_texts(tokens)
        if "" in tokens:
            raise ValueError(
                f"Expected tokens of at least one character, got '' at index {tokens.index('')}. Take it out."
            )
        before = self.vocabulary_size
        self._vocabulary.add_tokens(tokens, special)
        self._content = None
        if self._side_files:
            added = self.engine.get_added_tokens_decoder().items()
            rules = {str(i): {flag: getattr(token, flag) for flag in _FLAGS} for i, token in added}
            self._options["added_tokens_decoder"] = rules
        self.__dict__.pop("_languages", None)
        self._measure()
        return self.vocabulary_size - before

    @property
    def max_length(self) -> int | None:
        """The most tokens of a row, as `model_max_length` in `tokenizer_config.json` says; None if it says none."""
        limit = self._options.get("model_max_length", self._options.get("max_len"))
        return int(limit) if limit is not None and 0 < limit < 2**31 else None  # transformers writes 1e30 for none

    @functools.cached_property
    @guarded()
    def template(self) -> Template:
        """How one text, or a pair, is wrapped for the model; an argument of `packing.pack_texts`.

        It is read off two short texts that the engine wraps. If the engine has no rule for that, the template is
        start, text, end, and for a pair then the second text and end again, in segment 1.

        Raises:
            ValueError: for an engine without a single piece that text can give.
        """
        return template_of(self.engine, self.encode, self.start_id, self.end_id)

    @functools.cached_property
    def _languages(self) -> Languages:
        return Languages.of_tokens(self._vocabulary.special_tokens(), self._rules)

    @property
    def languages(self) -> Mapping[str, int]:
        """The languages that a translation model has tokens for, with the tokens' ids; empty if it has none.

        They are called as in the checkpoint: "en_XX", "eng_Latn", "fr", ">>fra<<".
        """
        return self._languages.ids

    @property
    def language_place(self) -> str | None:
        """How the language to write is given to a translation model; None if there are no languages.

        "forced": by the first token; "start": by the token that the decoder starts from; "source": by a token in the
        source.
        """
        return self._languages.place

    @property
    def source_language(self) -> str | None:
        """The source's language if nothing says which, or None. May be set."""
        return self._stated("src_lang", self._languages.rules.default)

    @source_language.setter
    def source_language(self, language: str | None) -> None:
        self._options["src_lang"] = known_language("source_language", language, self.languages)

    @property
    def target_language(self) -> str | None:
        """The target's language if nothing says which, or None. May be set."""
        return self._stated("tgt_lang")

    @target_language.setter
    def target_language(self, language: str | None) -> None:
        self._options["tgt_lang"] = known_language("target_language", language, self.languages)

    def _stated(self, option: str, default: str | None = None) -> str | None:
        stated = self._options.get(option) or default
        return known_language(f"{option} in tokenizer_config.json", stated, self.languages) if self.languages else None

    @property
    def language_pair(self) -> tuple[str | None, str | None]:
        """The source and target language of a model of one pair, from Marian's `tokenizer_config.json`."""
        source, target = (self._options.get(f"{side}_lang") for side in ("source", "target"))
        return source if isinstance(source, str) else None, target if isinstance(target, str) else None

    @property
    def chat_templates(self) -> dict[str, str]:
        """The chat templates, in jinja2, by name; "default" and "tool_use" are chosen by themselves."""
        from keras_transformers.tokenizers.chat.templates import named_templates

        return named_templates(self._template_files, self._options)

    @property
    def chat_template(self) -> str | None:
        """How the model writes chats, in jinja2; None if it knows none. May be set, to the only one."""
        named = self.chat_templates
        return named.get("default", next(iter(named.values()), None))

    @chat_template.setter
    def chat_template(self, template: str | None) -> None:
        self._template_files = {} if template is None else {"chat_template.jinja": template.encode("utf-8")}
        self._options.pop("chat_template", None)

    def __repr__(self) -> str:
        return f"Tokenizer({type(self.engine.model).__name__}, vocabulary_size={self.vocabulary_size})"


spell_out(Tokenizer)
