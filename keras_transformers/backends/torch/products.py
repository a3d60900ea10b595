"""Experts on PyTorch: if not compiled, each expert computes only the tokens that chose it."""

import typing
from collections.abc import Callable

import torch

from keras_transformers.backends.default import products as default
from keras_transformers.backends.default.products import *  # noqa: F403
from keras_transformers.backends.types import Tensor


def mix(
    x_XD: Tensor,
    weights_Xk: Tensor,
    chosen_Xk: Tensor,
    num_experts: int,
    compute: Callable[[Tensor, typing.Any], Tensor],
) -> Tensor:
    """The weighted sum of the outputs of the experts that each token chose: `[X, D]`."""
    if torch.compiler.is_compiling():
        return default.mix(x_XD, weights_Xk, chosen_Xk, num_experts, compute)
    mixed_XD = torch.zeros_like(x_XD)
    for expert in torch.unique(chosen_Xk).tolist():
        tokens, places = torch.where(chosen_Xk == expert)
        mixed_XD = mixed_XD.index_add(
            0, tokens, compute(x_XD[tokens], expert) * weights_Xk[tokens, places][:, None].to(x_XD.dtype)
        )
    return mixed_XD
