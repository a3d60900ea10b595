"""A lexical shortlist, Marian's `lex.*.bin`: the likely target tokens of each source token.

    magic, checksum, F, N, W + 1, E    uint64
    offsets [W + 1]                    uint64, where the tokens of each of the W source tokens begin
    tokens [E]                         uint32, at most N target tokens of each source token

A sentence may then be translated with these alone: the F first tokens of the vocabulary, which are the most frequent,
those of each of its source tokens, and the source tokens themselves if both languages share the vocabulary. Marian
fills them up to a multiple of eight with the next tokens of the vocabulary.

Source: `BinaryShortlistGenerator` in src/data/shortlist.cpp of https://github.com/browsermt/marian-dev
"""

import dataclasses
import typing
from collections.abc import Iterable

import numpy as np

MAGIC = 0xF11A48D5013417F5
_HEAD = 6  # numbers before the offsets
_MULTIPLE = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Shortlist:
    """A shortlist.

    Attributes:
        content: the file, bytes.
        first: the number of first tokens that each sentence may use.
        offsets, tokens: see above, NumPy arrays over `content`.

    Example:
        >>> Shortlist.of([[5], [5, 6]], first=2).words([1], target_size=9, shared=False).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    content: bytes
    first: int
    offsets: typing.Any
    tokens: typing.Any

    @classmethod
    def parse(cls, content: bytes, name: object) -> typing.Self:
        """Read the content of a file; `name` stands in errors.

        Raises:
            ValueError: for another kind of file, and one that is truncated or whose parts are out of order.
        """
        if not is_shortlist(content):
            raise ValueError(
                f"Expected a binary shortlist of Marian in {name}, which begins with {MAGIC.to_bytes(8, 'little')!r}, "
                f"got {content[:8]!r}. Download it again, or take the shortlist out of the folder and of its "
                "decoder.yml: all tokens are then scored."
            )
        head = np.frombuffer(content, "<u8", min(_HEAD, len(content) // 8)).tolist()
        begin = 8 * _HEAD
        first, count, entries = (head[2], head[4], head[5]) if len(head) == _HEAD else (0, -1, -1)
        if count < 1 or begin + 8 * count + 4 * entries != len(content):
            raise ValueError(
                f"Expected a whole shortlist in {name}, got a truncated one of {len(content)} bytes. Download it again."
            )
        offsets = np.frombuffer(content, "<u8", count, begin).astype("int64")
        if offsets[0] != 0 or offsets[-1] != entries or bool((np.diff(offsets) < 0).any()):
            raise ValueError(
                f"Expected offsets from 0 to {entries}, in order, in the shortlist {name}, got others. Download it "
                "again."
            )
        return cls(content, first, offsets, np.frombuffer(content, "<u4", entries, begin + 8 * count))

    @classmethod
    def of(cls, words: Iterable[Iterable[int]], first: int) -> typing.Self:
        """A shortlist of given target tokens, a list for each source token. Its checksum is 0, which Marian compares
        only if it is asked to."""
        lists = [np.asarray(list(each), "<u4") for each in words]
        offsets = np.cumsum([0, *map(len, lists)]).astype("<u8")
        tokens = np.concatenate([*lists, np.zeros(0, "<u4")])
        most = max(map(len, lists), default=0)
        head = np.array([MAGIC, 0, first, most, len(offsets), len(tokens)], "<u8")
        return cls.parse(head.tobytes() + offsets.tobytes() + tokens.tobytes(), "these words")

    @property
    def num_sources(self) -> int:
        """The number of source tokens."""
        return len(self.offsets) - 1

    def check(self, source_size: int, target_size: int, name: object) -> None:
        """Refuse vocabularies of other sizes.

        Raises:
            ValueError: naming both sizes.
        """
        highest = int(self.tokens.max(initial=0))
        if self.num_sources > source_size or highest >= target_size or self.first > target_size:
            raise ValueError(
                f"Expected a shortlist for {source_size} source and {target_size} target tokens in {name}, got one for "
                f"{self.num_sources} source tokens, with {self.first} first target tokens and others up to {highest}. "
                "Take the shortlist of this model."
            )

    def words(self, source_ids: Iterable[int], target_size: int, shared: bool) -> np.ndarray:
        """The tokens for a sentence.

        Args:
            source_ids: its source tokens.
            target_size: the number of target tokens.
            shared: whether both languages share the vocabulary.

        Returns: int64 NumPy `[n]`, in order, `n` a multiple of eight if there are enough.
        """
        chosen = np.zeros(target_size, bool)
        chosen[: self.first] = True
        for each in set(source_ids):
            if each < self.num_sources:
                chosen[self.tokens[self.offsets[each] : self.offsets[each + 1]]] = True
            if shared and each < target_size:
                chosen[each] = True
        missing = -int(chosen.sum()) % _MULTIPLE
        chosen[np.flatnonzero(~chosen)[:missing]] = True
        return np.flatnonzero(chosen)


def is_shortlist(content: bytes) -> bool:
    """Whether a file begins as binary shortlists do."""
    return content[:8] == MAGIC.to_bytes(8, "little")
