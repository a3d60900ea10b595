"""Forced words (lexically constrained beam search): which words a hypothesis has, and which hypotheses the beam keeps.

    words      "red"  "New York"         a bank for each number of present tokens: 0, 1, 2, 3
    bank 3     … red … New York …        only a text in this bank may end
    bank 2     … red … New               if the word breaks off here, it falls back to bank 1
    bank 1     … red …                   the beam takes the best of each bank, from the highest down,
    bank 0     …                         then the second of each, until it is full

So the beam always holds a hypothesis with most of the words. The next token of each missing word is among its
candidates. After as many steps as there are tokens, a hypothesis has all words.

Source: Post and Vilar 2018, arXiv:1804.06609 (banks that share a beam of one size); Hokamp and Liu 2017,
arXiv:1704.07138. There a hypothesis counts the words that it was forced to take. Here the text itself is searched, so
that words generated without force count too.

Legend: `B` sentences, `C` candidates, `K` words, `M` tokens of the longest word, `L` room for tokens.
"""

import typing
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor

ForcedWords: typing.TypeAlias = Sequence[Sequence[Sequence[int]]]
"""For each sentence a list of words, each a list of ids."""


def packed(words: ForcedWords) -> np.ndarray:
    """Pack words in an array.

    Args:
        words: for each sentence a list of words, each a list of ids.

    Returns: int32 NumPy `[B, K, M]`, -1 for padding; K and M are powers of two, so that few shapes are compiled.
    """
    most, longest = (
        1 << (max([1, *sizes]) - 1).bit_length()
        for sizes in (list(map(len, words)), [len(word) for each in words for word in each])
    )
    array = np.full((len(words), most, longest), -1, "int32")
    for row, each in zip(array, words, strict=True):
        for place, word in enumerate(dict.fromkeys(map(tuple, each))):
            row[place, : len(word)] = word
    return array


def lengths(words_BKM: Tensor) -> Tensor:
    """The number of tokens of each word: int32 `[B, K]`; 0 for padding."""
    return arrays.int32(ops.sum(arrays.int32(words_BKM >= 0), axis=-1))


def progress(texts_BCL: Tensor, end: Tensor, words_BKM: Tensor, begin: Tensor | int = 0) -> Tensor:
    """The number of tokens of each word that a text has, int32 `[B, C, K]`: all if the word occurs, else the number of
    its first tokens that end the text.

    Args:
        texts_BCL: int32, with the places before `end` written; the text is that from `begin` on.
        words_BKM: int32, -1 for padding.
    """
    (sentences, candidates, room), longest = texts_BCL.shape, words_BKM.shape[2]
    lengths_B1K = lengths(words_BKM)[:, None]
    places_L = arrays.count(room, texts_BCL)
    texts_BCL = arrays.where((places_L >= begin) & (places_L < end), texts_BCL, -1)
    padded = ops.pad(texts_BCL, ((0, 0), (0, 0), (0, longest - 1)), constant_values=-1)[:, :, None]
    last_BC1M = ops.reshape(
        arrays.last(ops.reshape(texts_BCL, (-1, room)), end, longest), (sentences, candidates, 1, longest)
    )
    here = True
    found_BCK = lengths_B1K * 0
    for place in range(longest):
        token_B1K1 = words_BKM[:, None, :, place, None]
        here = here & ((token_B1K1 < 0) | (padded[..., place : place + room] == token_B1K1))
        count = place + 1
        ends_BCK = ops.all(last_BC1M[..., longest - count :] == words_BKM[:, None, :, :count], axis=-1)
        found_BCK = arrays.where(ends_BCK, count, found_BCK)
    return arrays.int32(arrays.where(ops.any(here, axis=-1), lengths_B1K, found_BCK))


def missing(texts_BWL: Tensor, end: Tensor, words_BKM: Tensor, begin: Tensor | int = 0) -> Tensor:
    """The next token of each missing word of a text, int32 `[B, W, K]`; -1 for words that it has."""
    found_BWK = progress(texts_BWL, end, words_BKM, begin)
    following = -1
    for place in range(words_BKM.shape[2]):
        following = arrays.where(found_BWK == place, words_BKM[:, None, :, place], following)
    return arrays.int32(following)


def by_banks(scores_BC: Tensor, banks_BC: Tensor, highest: int, ruled_out_BC: Tensor) -> Tensor:
    """The order in which a beam takes candidates, int32 `[B, C]`.

    Args:
        banks_BC: int32, the bank of each candidate, up to `highest`.
        ruled_out_BC: bool, the candidates that come last.
    """
    count = scores_BC.shape[1]
    places = arrays.count(count, scores_BC)
    first_CC = places[None, :] < places[:, None]
    mine_BC1, others_B1C = scores_BC[:, :, None], scores_BC[:, None]
    better_BCC = (others_B1C > mine_BC1) | ((others_B1C == mine_BC1) & first_CC)
    together_BCC = (banks_BC[:, :, None] == banks_BC[:, None]) & ~ruled_out_BC[:, None]
    rank_BC = ops.sum(arrays.int32(better_BCC & together_BCC), axis=-1)
    turn_BC = rank_BC * (highest + 1) - banks_BC + arrays.int32(ruled_out_BC) * (count + 1) * (highest + 1)
    return arrays.ranked(-arrays.float32(turn_BC), count)[1]
