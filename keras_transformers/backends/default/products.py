"""Products with weights: dense layers, token embeddings, vocabularies, experts.

Legend: `X` tokens, `D` model width, `E` experts, `k` chosen by each token, `V` vocabulary.
"""

import typing
from collections.abc import Callable

from keras import ops

from keras_transformers.backends.types import Tensor


def is_plain(layer: typing.Any, plain: typing.Any) -> bool:
    """Whether a layer of the class `plain` is neither adapted nor quantized."""
    return type(layer) is plain and not layer.quantization_mode and not getattr(layer, "lora_enabled", False)


def dense(layer: typing.Any, inputs: Tensor, **options: typing.Any) -> Tensor:
    """`layer(inputs, **options)` for a `keras.layers.Dense` or its replacement."""
    return layer(inputs, **options)


def vectors(token: typing.Any, token_ids: Tensor) -> Tensor:
    """The rows of a `ReversibleEmbedding` for int32 `token_ids`."""
    return token(token_ids)


def scores(token: typing.Any, inputs: Tensor) -> Tensor:
    """`inputs [..., D]` times the matrix of a `ReversibleEmbedding`: `[..., V]`."""
    return token(inputs, reverse=True)


def of_rows(matrix: Tensor, inputs: Tensor) -> Tensor:
    """`inputs [..., D]` times the rows of a `matrix [U, D]`: `[..., U]`."""
    return ops.matmul(inputs, ops.transpose(matrix))


def mix(
    x_XD: Tensor,
    weights_Xk: Tensor,
    chosen_Xk: Tensor,
    num_experts: int,
    compute: Callable[[Tensor, typing.Any], Tensor],
) -> Tensor:
    """The weighted sum of the outputs of the experts that each token chose: `[X, D]`.

    Compiled shapes are fixed: few tokens gather the weights of their experts; otherwise every expert computes every
    token.

    Args:
        x_XD: tokens.
        weights_Xk: the weights of the chosen experts.
        chosen_Xk: the numbers of the chosen experts.
        num_experts: `E`.
        compute: `compute(x, experts)` returns the outputs of experts for `x [X, D]`: `[X, D]` for one expert, given its
            number; `[E, X, D]` for all, given None; `[X, k, D]` for chosen ones, given `experts [X, k]`.
    """
    tokens, num_chosen = x_XD.shape[0], chosen_Xk.shape[1]
    if tokens is not None and tokens * num_chosen < num_experts:
        return ops.einsum("xk,xkd->xd", weights_Xk, compute(x_XD, chosen_Xk))
    weights_XE = ops.sum(ops.one_hot(chosen_Xk, num_experts, dtype=weights_Xk.dtype) * weights_Xk[..., None], axis=1)
    return ops.einsum("xe,exd->xd", weights_XE, compute(x_XD, None))
