"""Texts to the pieces of a SentencePiece model, as the `sentencepiece` library itself splits them.

For models whose pieces are numbered by another file (the `vocab.json` of Marian and M2M100): transformers splits their
texts with that library. Here the `tokenizers` engine finds the best pieces, as for all other models, and two steps come
before it, in which it differs from the library. Characters are mapped by the longest key that matches; the engine maps
grapheme clusters. Pieces that stand for no text, such as "</s>", are never found in a text.

    "ﬁne  day"   ── characters ──►   "fine  day"   ── spaces ──►   "▁fine▁day"   ── engine ──►   "▁fine", "▁day"

Source: https://github.com/google/sentencepiece/blob/v0.2.0/src/normalizer.cc
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers

from keras_transformers.tokenizers.convert.sentencepiece_model import SentencePieceModel, merges_of
from keras_transformers.tokenizers.vocabulary import EncodedSpans, EncodedWords, chunks

_SPACE = "▁"
_LONGEST_KEY = 32  # characters; Unicode's longest decomposition has 18
_KNOWN_CLUSTERS = 100_000  # kept, with the characters that they are mapped to

Span = tuple[int, int]
_Runs = list[tuple[str, int, int]]  # a part of the mapped text, and its start and end in the text


class PieceSplitter:
    """Splits texts into the pieces of a SentencePiece model.

    Args:
        model: from `read_sentencepiece`.

    Example:
    ```python
    splitter = PieceSplitter(read_sentencepiece(pathlib.Path("source.spm")))
    splitter.split(["ﬁne  day"])  # [["▁fine", "▁day"]]
    ```
    """

    def __init__(self, model: SentencePieceModel):
        self._add_prefix, self._remove_extra_spaces = model.add_prefix, model.remove_extra_spaces
        self._mapped = CharacterMap(model.character_map)
        # No text has a space once it is normalized, so a piece with one is never found.
        pieces = [f" {piece}" if piece in model.textless else piece for piece, _ in model.pieces]
        has_bytes = "<0x00>" in pieces
        core: models.Model
        if model.algorithm == "unigram":
            scores = [score for _, score in model.pieces]
            core = models.Unigram(list(zip(pieces, scores, strict=True)), model.unknown_id, has_bytes)
        else:
            ids = {piece: i for i, piece in enumerate(pieces)}
            unknown = pieces[model.unknown_id]
            core = models.BPE(ids, merges_of(pieces), unk_token=unknown, fuse_unk=True, byte_fallback=has_bytes)
        self._engine = tokenizers.Tokenizer(core)
        if not any(_SPACE in piece[1:] for piece in pieces):  # words can be split alone, which is faster
            self._engine.pre_tokenizer = pre_tokenizers.Split(_SPACE, "merged_with_next")
        self._engine.add_tokens([tokenizers.AddedToken(piece, normalized=False) for piece in model.user_defined])
        self._unknown_id = model.unknown_id

    def split(self, texts: Iterable[str]) -> list[list[str]]:
        """The pieces of each text. A run of characters that the model lacks is one piece, spelled as it is."""
        normalized = [self._normalized(self._mapped(text))[0] for text in texts]
        encoded = self._engine.encode_batch(normalized)
        return [self._spelled(text, encoding) for text, encoding in zip(normalized, encoded, strict=True)]

    def split_with_spans(self, texts: Iterable[str]) -> list[tuple[list[str], list[Span]]]:
        """The pieces of each text, and the start and end of each in the text."""
        rows = []
        for text in texts:
            runs = self._mapped(text)
            normalized, kept = self._normalized(runs)
            mapped = [place for run in runs for place in _places(*run, text)]
            places = [mapped[i] for i in kept]
            if places and self._add_prefix:
                places.insert(0, (places[0][0], places[0][0]))
            encoding = self._engine.encode(normalized)
            spans = [(places[start][0], places[end - 1][1]) for start, end in encoding.offsets]
            rows.append((self._spelled(normalized, encoding), spans))
        return rows

    def _spelled(self, text: str, encoding: tokenizers.Encoding) -> list[str]:
        ids, pieces = encoding.ids, encoding.tokens
        if self._unknown_id not in ids:
            return pieces
        spans = encoding.offsets
        return [
            text[slice(*span)] if i == self._unknown_id else piece
            for piece, i, span in zip(pieces, ids, spans, strict=True)
        ]

    def _normalized(self, runs: _Runs) -> tuple[str, Sequence[int]]:
        """The text that the engine splits, and the indices of its characters in the mapped text, a prefix apart."""
        mapped = "".join(part for part, _, _ in runs)
        kept: Sequence[int] = range(len(mapped))
        if self._remove_extra_spaces and (mapped[:1] == " " or "  " in mapped):
            before = " " + mapped
            kept = [i for i, c in enumerate(mapped) if not before[i] == c == " "]
            mapped = "".join(mapped[i] for i in kept)
        if not mapped:
            return "", kept
        text = (_SPACE if self._add_prefix else "") + mapped.replace(" ", _SPACE)
        return (text.rstrip(_SPACE) if self._remove_extra_spaces else text), kept


class NumberedPieces:
    """A vocabulary whose texts a SentencePiece model splits, and whose pieces another file numbers.

    It has the methods of `vocabulary.Vocabulary`.

    Args:
        splitter: splits texts.
        engine: its vocabulary has the numbers, the special and the added tokens.
    """

    def __init__(self, splitter: PieceSplitter, engine: tokenizers.Tokenizer):
        self._splitter = splitter
        self.engine = engine

    def encode(self, texts: list[str], parse_special: bool = False) -> list[list[int]]:
        """The ids of each text. A piece without a number is the unknown token."""
        tokens, number, ids = self._tokens(parse_special), self._numbers(), []
        for chunk in chunks(texts):
            rows = [_parts(text, tokens) for text in chunk]
            pieces = iter(self._splitter.split([part for row in rows for part, _, token in row if token is None]))
            ids += [
                [i for _, _, token in row for i in (map(number, next(pieces)) if token is None else [token])]
                for row in rows
            ]
        return ids

    def encode_with_spans(self, texts: list[str], parse_special: bool = False) -> EncodedSpans:
        """The ids of each text, and the characters that each stands for."""
        tokens, number, encoded = self._tokens(parse_special), self._numbers(), EncodedSpans([], [])
        for text in texts:
            ids: list[int] = []
            spans: list[Span] = []
            for part, at, token in _parts(text, tokens):
                if token is None:
                    ((pieces, places),) = self._splitter.split_with_spans([part])
                    ids += map(number, pieces)
                    spans += [(at + start, at + end) for start, end in places]
                else:
                    ids.append(token)
                    spans.append((at, at + len(part)))
            encoded.token_ids.append(ids)
            encoded.spans.append(np.array(spans, dtype=np.int32).reshape(-1, 2))
        return encoded

    def encode_words(self, rows: list[list[str]]) -> EncodedWords:
        """The ids of rows of words, and the word that each comes from."""
        encoded = EncodedWords([], [])
        for row in rows:
            ids_by_word = self.encode(row)
            encoded.token_ids.append([i for ids in ids_by_word for i in ids])
            encoded.words.append([word for word, ids in enumerate(ids_by_word) for _ in ids])
        return encoded

    def decode(self, rows: list[list[int]], cleaned: bool = False) -> list[str]:
        """The text of each row of ids; `cleaned` changes nothing."""
        return [text.strip() for text in self.engine.decode_batch(rows, skip_special_tokens=True)]

    def _tokens(self, parse_special: bool) -> dict[str, int]:
        """The tokens that are found in a text before it is split."""
        added = self.engine.get_added_tokens_decoder()
        return {token.content: i for i, token in added.items() if parse_special or not token.special}

    def _numbers(self) -> Callable[[str], int]:
        numbers = self.engine.get_vocab(with_added_tokens=False)
        unknown = numbers[self.engine.model.unk_token]
        for token in self.engine.get_added_tokens_decoder().values():
            numbers.pop(token.content, None)
        return lambda piece: numbers.get(piece, unknown)


def _parts(text: str, tokens: dict[str, int]) -> list[tuple[str, int, int | None]]:
    """A text in parts, each with its start, and with its id if it is one of the tokens."""
    if not tokens:
        return [(text, 0, None)]
    pattern = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
    parts: list[tuple[str, int, int | None]] = []
    done = 0
    for match in pattern.finditer(text):
        parts += [(text[done : match.start()], done, None), (match[0], match.start(), tokens[match[0]])]
        done = match.end()
    return [(part, at, token) for part, at, token in [*parts, (text[done:], done, None)] if part]


class CharacterMap:
    """The compiled table of a SentencePiece model, which maps the characters of a text.

    It is a double-array trie of UTF-8 bytes: a node's children stand at its offset, each moved by its byte.

    Args:
        compiled: the length of the trie (uint32), its nodes (uint32 each), and the replacements, each ended by a zero.
            Empty for a table without keys.

    Raises:
        ValueError: for a table that is cut off.
    """

    def __init__(self, compiled: bytes):
        size = int.from_bytes(compiled[:4], "little")
        if size % 4 or size > len(compiled) - 4 * bool(compiled):
            raise ValueError(f"Expected a table of characters of {size} bytes, got {len(compiled)}. Fetch it again.")
        self._nodes = list(memoryview(compiled[4 : 4 + size]).cast("I")) if size else [0]
        self._replacements = compiled[4 + size :]
        # If printable ASCII stays as it is, keys start at other characters, or at the one in front of them.
        plain = all(self._match(bytes([c])) == (0, "") for c in range(32, 127)) and not self._pairs()
        self._clusters = re.compile(r"(?s:.?[^ -~]+)" if plain else r"(?s:.+)")
        self._known: dict[str, _Runs] = {}

    def __call__(self, text: str) -> _Runs:
        """The text with its characters mapped, at each place by the longest key that matches there."""
        runs, done = [], 0
        for match in self._clusters.finditer(text):
            start = match.start()
            runs.append((text[done:start], done, start))
            runs += [(part, start + first, start + last) for part, first, last in self._cluster(match[0])]
            done = match.end()
        return [*runs, (text[done:], done, len(text))]

    def _cluster(self, text: str) -> _Runs:
        if (runs := self._known.get(text)) is None:
            runs, at = [], 0
            while at < len(text):
                length, replacement = self._match(text[at : at + _LONGEST_KEY].encode())
                characters = len(text[at : at + _LONGEST_KEY].encode()[:length].decode()) or 1
                runs.append((replacement if length else text[at], at, at + characters))
                at += characters
            if len(self._known) < _KNOWN_CLUSTERS and len(text) < 100:
                self._known[text] = runs
        return runs

    def _match(self, text: bytes) -> tuple[int, str]:
        """The length in bytes of the longest key that the text starts with, and its replacement."""
        nodes, node, found = self._nodes, 0, (0, -1)
        for length, byte in enumerate(text, start=1):
            node ^= _offset(nodes[node]) ^ byte
            if not (node < len(nodes) and nodes[node] & 0x800000FF == byte):
                break
            if nodes[node] & 0x100:
                found = length, nodes[node ^ _offset(nodes[node])] & 0x7FFFFFFF
        length, begin = found
        return length, "" if begin < 0 else self._replacements[begin : self._replacements.index(0, begin)].decode()

    def _pairs(self) -> bool:
        """Whether any key starts with two printable ASCII characters."""
        for first in range(32, 127):
            node = _offset(self._nodes[0]) ^ first
            if node < len(self._nodes) and self._nodes[node] & 0x800000FF == first:
                children = [node ^ _offset(self._nodes[node]) ^ second for second in range(32, 127)]
                if any(
                    child < len(self._nodes) and self._nodes[child] & 0x800000FF == second
                    for second, child in zip(range(32, 127), children, strict=True)
                ):
                    return True
        return False


def _offset(node: int) -> int:
    return (node >> 10) << ((node & 0x200) >> 6)


def _places(part: str, start: int, end: int, text: str) -> Iterable[Span]:
    """The start and end in the text of each character of a run."""
    if part == text[start:end]:
        return zip(range(start, end), range(start + 1, end + 1), strict=True)
    return [(start, end)] * len(part)
