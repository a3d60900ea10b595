"""From texts to translation prompts: languages, prefixes and forced words as ids, and documents as sentences.

text                      Prompt
"The house is small."  ─► token_ids  ids that the encoder reads, with the words or tokens of the languages
prefix="La"            ─► prefix     ids that the translation begins with
forced_words=["petite"]─► words      ids that must occur
"12:30"                ─► answer     a text without a letter answers itself
"""

import collections.abc
import itertools
import typing

import numpy as np

from keras_transformers.data.containers import as_text
from keras_transformers.data.language_names import language_of
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig
from keras_transformers.tasks import notices
from keras_transformers.tasks.alignment import IDEOGRAPH
from keras_transformers.tasks.answers import Prompt
from keras_transformers.tasks.directions import Direction
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.sentences import cut_to_fit, split_document
from keras_transformers.tokenizers.tokenizer import Tokenizer

Words = str | collections.abc.Sequence[str]


class SourceOptions(typing.NamedTuple):
    """Options for reading sources.

    direction: the languages.
    longest: the most tokens of a source, or None.
    parse_special: whether special tokens that a text spells are read as those tokens.
    names: names for the texts in warnings, or None.
    """

    direction: Direction
    longest: int | None = None
    parse_special: bool = False
    names: collections.abc.Sequence[str] | None = None


def prompts(
    tokenizer: Tokenizer,
    texts: list[str],
    options: SourceOptions,
    prefix: Words = "",
    forced_words: Words | collections.abc.Sequence[Words] = (),
    keep_letterless: bool = True,
) -> list[Prompt]:
    """The `Prompt` of each text. Takes arguments of `Seq2SeqLM.translate`."""
    direction = options.direction
    nothing: list[list] = [[] for _ in texts]
    prefixes = prefix_ids(tokenizer, prefix, len(texts), direction) if prefix else nothing
    words = nothing
    if forced_words:
        words = word_ids(forced_words, len(texts), lambda text: prefix_ids(tokenizer, text, 1, direction)[0])
    plain = [without_language(tokenizer, text, direction) for text in texts]
    asked = [
        bool(not keep_letterless or has_letter(text) or prefix or forced)
        for text, prefix, forced in zip(plain, prefixes, words, strict=True)
    ]
    sources = source_ids(tokenizer, [text if each else "" for text, each in zip(texts, asked, strict=True)], options)
    answers = [answer if text.strip() else "" for text, answer in zip(texts, plain, strict=True)]
    return [Prompt(*each) for each in zip(sources, prefixes, words, answers, strict=True)]


def without_language(tokenizer: Tokenizer, text: str, direction: Direction) -> str:
    """Remove the language token at the beginning of a text, if the tokenizer uses such tokens."""
    if tokenizer.language_place != "source" or (direction.target_language or tokenizer.target_language) is not None:
        return text
    code = next((code for code in tokenizer.languages if text.startswith(code)), "")
    return text.removeprefix(code).lstrip() if code else text


def source_ids(tokenizer: Tokenizer, texts: list[str], options: SourceOptions) -> list[list[int]]:
    """Encode texts for the encoder: lists of ids, empty for an empty text.

    Texts longer than the encoder reads are cut. Warnings name these texts, unknown tokens, and special tokens that
    texts spell.
    """
    encoded = wrapped(tokenizer, texts, options)
    sources = [ids if text.strip() else [] for text, ids in zip(texts, encoded, strict=True)]
    longest = options.longest
    long = [row for row, ids in enumerate(sources) if longest is not None and len(ids) > longest]
    if long:
        notices.warn_of_long(long, len(sources), options.names, longest)
        cut = wrapped(tokenizer, [texts[row] for row in long], options, longest)
        for row, ids in zip(long, cut, strict=True):
            sources[row] = ids
    if not options.parse_special and (spelled := tokenizer.spelled_special(texts)):
        notices.warn_of_spelled(spelled)
    unknown = tokenizer.unknown_id
    if rows := [row for row, ids in enumerate(sources) if unknown is not None and unknown in ids]:
        notices.warn_of_unknown(tokenizer, rows, texts, sources, options.parse_special)
    return sources


def wrapped(
    tokenizer: Tokenizer, texts: list[str], options: SourceOptions, max_length: int | None = None
) -> list[list[int]]:
    """Encode texts as ids, with the words and tokens of their languages."""
    direction = options.direction
    settings: dict[str, typing.Any] = {"max_length": max_length, "parse_special": options.parse_special}
    if tokenizer.language_place == "source":
        settings["target_language"] = direction.target_language
    texts = [direction.prefix + text for text in texts] if direction.prefix else texts
    return tokenizer.encode_sources(texts, direction.source_language, **settings)


def prefix_ids(tokenizer: Tokenizer, prefix: Words, count: int, direction: Direction) -> list[list[int]]:
    """The ids that each of `count` translations begins with.

    Raises:
        ValueError: for another number of prefixes.
    """
    if not isinstance(prefix, str) and len(prefix) != count:
        raise ValueError(f"Expected one prefix, or one for each of {count} texts, got {len(prefix)}.")
    prefixes = [prefix] * count if isinstance(prefix, str) else list(prefix)
    encoded = tokenizer.encode_targets(prefixes, direction.target_language)
    return [
        list(itertools.takewhile(lambda each: each != tokenizer.end_id, ids)) if text else []
        for text, ids in zip(prefixes, encoded, strict=True)
    ]


def words_of_each(words: typing.Any, count: int) -> list[list[str]]:
    """The forced words of each of `count` texts, from one list for all or a list for each.

    Raises:
        TypeError: for words that are not texts.
        ValueError: for another number of lists.
    """
    if not isinstance(words, str | collections.abc.Sequence) or not all(
        isinstance(each, str | list | tuple) for each in words
    ):
        raise TypeError(f"Expected forced words to be texts, or a list of texts for each text, got {words!r:.80}.")
    if isinstance(words, str) or all(isinstance(each, str) for each in words):
        return [[words] if isinstance(words, str) else list(words)] * count
    if len(words) != count:
        raise ValueError(f"Expected a list of forced words, or one for each of {count} texts, got {len(words)}.")
    return [[each] if isinstance(each, str) else list(each) for each in words]


def word_ids(
    words: typing.Any, count: int, encode: collections.abc.Callable[[str], list[int]]
) -> list[list[list[int]]]:
    """The ids of the forced words of each of `count` texts, encoded as inside a translation: after a space, if the
    language uses spaces.

    Args:
        words: one list for all texts, or a list for each.
        count: the number of texts.
        encode: a function from a translation to its ids, without an end token.

    Raises:
        ValueError: for another number of lists, and for words that the tokenizer cannot encode.
    """
    lists = words_of_each(words, count)
    before, known = encode("a"), {}
    for word in dict.fromkeys(word for each in lists for word in each):
        text = as_text(word, "a forced word").strip()
        ids = encode(f"a{'' if IDEOGRAPH.match(text) else ' '}{text}")
        known[word] = ids[len(before) :]
        if not text or ids[: len(before)] != before or not known[word]:
            raise ValueError(f"Expected forced words that the model can write, got {word!r}.")
    return [[known[word] for word in each] for each in lists]


def source_documents(
    tokenizer: Tokenizer, texts: list[str], options: SourceOptions, config: GenerationConfig, max_length: int
) -> "Documents":
    """The sentences of texts that an encoder reads: at most `max_length` tokens each, and no more than the tokens that
    the encoder reads or the decoder writes."""
    direction = options.direction
    (around,) = wrapped(tokenizer, [direction.prefix + "x"], options)
    limits = [max_length, options.longest, tokenizer.max_length]
    limits += [config.max_new_tokens or config.max_length or NEW_TOKENS]
    most = max(min(limit for limit in limits if limit) - len(around), 1)
    return Documents(tokenizer, texts, options.names, direction.source_language or tokenizer.language_pair[0], most)


class Documents:
    """Splits documents into pieces that a model can read, and joins the translations to documents again.

    Args:
        tokenizer: a `Tokenizer`.
        texts: a list of strings.
        names: names of the texts in warnings, or None.
        language: the language of the texts, or None.
        most: the most tokens of a piece.
        by_lines: whether the sentences of a line stay together if they are short enough.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: list[str],
        names: collections.abc.Sequence[str] | None,
        language: str | None,
        most: int,
        by_lines: bool = False,
    ) -> None:
        def spans(parts: collections.abc.Sequence[str]) -> collections.abc.Sequence[np.ndarray]:
            return tokenizer.encode_with_offsets(parts).spans

        known = language_of(language or "")
        together = (lambda line: len(spans([line])[0]) <= most) if by_lines else None
        split = [split_document(text, known.codes[0] if known else None, together) for text in texts]
        self._documents = [cut_to_fit(document, spans, most) for document in split]
        self._texts, self._names, self._piece = texts, names, "part" if by_lines else "sentence"

    def keep_whole(self, parts_of: collections.abc.Callable[[str], collections.abc.Sequence[tuple[int, int]]]) -> None:
        """Join pieces that are parts of one span of a text, as a function gives them."""
        self._documents = [
            document.without_cuts(parts_of(text)) for document, text in zip(self._documents, self._texts, strict=True)
        ]

    @property
    def sentences(self) -> list[str]:
        """The pieces of all documents."""
        return [sentence for document in self._documents for sentence in document.sentences]

    @property
    def names(self) -> list[str]:
        """Names for the pieces in warnings."""
        return [
            f"{self._piece} {number} of {self._names[index] if self._names else f'index {index}'}"
            for index, document in enumerate(self._documents)
            for number in range(1, len(document.sentences) + 1)
        ]

    def joined(self, translations: list[str]) -> list[str]:
        """Join the translations of all `sentences` to documents."""
        rest = iter(translations)
        return [document.joined(list(itertools.islice(rest, len(document.sentences)))) for document in self._documents]
