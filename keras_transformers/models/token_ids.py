"""Token ids outside of a vocabulary: an error before anything is computed, if the ids can be seen.

On JAX, and on TensorFlow's accelerators, a table gives NaN or zeros for a row that it does not have. In compiled code
nobody sees the ids; there, what makes them has to know (`Task.fit` and `EncoderTask.run` look before).
"""

import typing

import keras
import numpy as np


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
    ids = _seen(token_ids)
    if ids is not None and ids.size and ids.dtype.kind in "iuf":
        least, most = ids.min(), ids.max()
        if not (least >= 0 and most < vocabulary_size):
            raise ValueError(
                f"Expected token ids in [0, {vocabulary_size}) in {name}, got ids from {least} to {most}. Does the "
                "tokenizer belong to the model?"
            )


def _seen(x):
    """The numbers of a tensor, or None if it has none yet, or they lie on another device."""
    if isinstance(x, np.ndarray):
        return x
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        seen = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer) and x.is_fully_addressable
        return np.asarray(x) if seen else None
    if backend == "tensorflow":
        return x.numpy() if hasattr(x, "numpy") and type(x).__name__ == "EagerTensor" else None
    import torch

    plain = type(x) is torch.Tensor and x.device.type == "cpu" and not torch.compiler.is_compiling()
    if not plain or torch.jit.is_tracing() or torch._C._functorch.is_functorch_wrapped_tensor(x):
        return None
    return x.detach().numpy() if x.dtype != torch.bfloat16 else None
