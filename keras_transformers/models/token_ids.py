"""Checks for token ids outside of the vocabulary, before anything is computed.

On JAX, and on TensorFlow with accelerators, a table lookup silently returns NaN or zeros for a missing row. Compiled
code cannot check ids, so its callers must check them first (`Task.fit` and `EncoderTask.run` do).
"""

import typing

from keras_transformers.backends import arrays


def check_token_ids(token_ids: typing.Any, vocabulary_size: int, name: str = "token_ids") -> None:
    """Refuse ids outside of `[0, vocabulary_size)`.

    Args:
        token_ids: `[B, T]`, an array or a tensor of the backend. Symbolic tensors, and tensors in code that is being
            compiled, are not checked.
        vocabulary_size: the number of tokens.
        name: a name for the ids in the message.

    Raises:
        ValueError: with the smallest and the largest id.
    """
    ids = arrays.known_values(token_ids)
    if ids is not None and ids.size and ids.dtype.kind in "iuf":
        least, most = ids.min(), ids.max()
        if not (least >= 0 and most < vocabulary_size):
            raise ValueError(
                f"Expected token ids in [0, {vocabulary_size}) in {name}, got ids from {least} to {most}. Does the "
                "tokenizer belong to the model?"
            )
