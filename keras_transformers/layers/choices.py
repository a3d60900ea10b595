"""The tokens that a decoder may write, if these are few of its vocabulary.

    token_ids [U]    0 2 32000 7 15 …    their ids. While decoding, a token is known by its place here
    allowed [B, U]   ■ ■ □ ■ □ …         the choices of each sentence
    matrix [U, D]    ≡ ≡ ≡ ≡ ≡           their rows of the head, gathered once for all steps

A step then multiplies with `U` rows of the head in place of all `V`.

Legend: `B` sentences, `R` rows (`B` times hypotheses), `U` choices, `V` vocabulary, `D` model width, `T` tokens.
"""

import typing

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor


class Choices(typing.NamedTuple):
    """The choices of a batch, a part of its `Cache` that is only read.

    Attributes:
        token_ids: int32 `[U]`, ids of the whole vocabulary.
        allowed: bool `[B, U]`.
        matrix, bias: float `[U, D]` and `[U]`, or None: see `VocabularyHead.rows`.
    """

    token_ids: typing.Any
    allowed: typing.Any
    matrix: typing.Any = None
    bias: typing.Any = None

    def whole(self, places: Tensor) -> Tensor:
        """The ids of places int32 `[R, T]`."""
        return arrays.reshape(arrays.take(self.token_ids, arrays.reshape(places, (-1,))), places.shape)

    def restrict(self, logits: Tensor) -> Tensor:
        """Logits `[R, T, U]` with `-inf` at choices that the sentence of a row does not have."""
        (sentences, size), shape = self.allowed.shape, logits.shape
        allowed = arrays.reshape(self.allowed, (sentences, 1, size))
        logits = arrays.reshape(logits, (sentences, -1, size))
        return arrays.reshape(arrays.where(allowed, logits, float("-inf")), shape)

    def select(self, sentences: Tensor) -> "Choices":
        """The choices of fewer sentences, int32 `[B']`."""
        return self._replace(allowed=arrays.take(self.allowed, sentences))
