"""Token ids outside of a vocabulary: an error before anything is computed, if the ids can be seen.

On JAX, and on TensorFlow's accelerators, a table gives NaN or zeros for a row that it does not have. In compiled code
nobody sees the ids; there, what makes them has to know (`Task.fit` and `EncoderTask.run` look before).
"""

import typing

from keras_transformers.backends import arrays


def check_token_ids(token_ids: typing.Any, vocabulary_size: int, name: str = "token_ids") -> None:
    """Refuse ids outside of `[0, vocabulary_size)`.

    Args:
        token_ids: `[B, T]`, an array or a tensor of the backend; symbolic ones, and those of code that is being
            compiled, pass.
        vocabulary_size: how many there are.
        name: what to call them in the message.

    Raises:
        ValueError: saying from where to where they go.
    """
    ids = arrays.known_values(token_ids)
    if ids is not None and ids.size and ids.dtype.kind in "iuf":
        least, most = ids.min(), ids.max()
        if not (least >= 0 and most < vocabulary_size):
            raise ValueError(
                f"Expected token ids in [0, {vocabulary_size}) in {name}, got ids from {least} to {most}. Does the "
                "tokenizer belong to the model?"
            )
