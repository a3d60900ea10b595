"""Training on PyTorch, in place: allocating memory for many logits takes as long as computing them."""

import os
import typing
from collections.abc import Callable, Sequence

import keras
import torch
from keras import ops

from keras_transformers.backends.default.training import *  # noqa: F403
from keras_transformers.backends.default.training import CHUNK, Run, adam_moments, adam_powers, scaled
from keras_transformers.backends.types import Tensor

_SMALL_CHUNK = 7_500_000  # on a CPU: logits of this size reuse freed memory (`backends.torch.keep_what_is_freed`)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The label-smoothed cross-entropy of each token, and its negative log-likelihood without a gradient: float32 `[…]`
    from logits `[…, V]` and integer labels `[…]`."""
    # log_softmax has a fused backward pass, logsumexp has not: half the time, or a third of it with smoothing
    logits, labels = ops.convert_to_tensor(logits), ops.convert_to_tensor(labels)
    log_probabilities = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    negative_log_likelihood = -log_probabilities.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    loss = negative_log_likelihood
    if label_smoothing:
        loss = (1.0 - label_smoothing) * loss - label_smoothing * log_probabilities.mean(dim=-1)
    return loss, negative_log_likelihood.detach()


def chunk(hidden: Tensor) -> int:
    """The number of logits held at once, which depends on the device of the hidden states."""
    return _SMALL_CHUNK if hidden.device.type == "cpu" else CHUNK


def add(whole: Tensor, part: Tensor) -> Tensor:
    """`x + y`, written into `x`."""
    return whole.add_(part)


def times(rows: Tensor, factor: Tensor) -> Tensor:
    """`x * y`, written into `x`."""
    return rows.mul_(factor)


exp = torch.exp_


def best(logits: Tensor) -> Tensor:
    """The index of the largest value of the last axis."""
    return torch.argmax(logits, dim=-1)


def less_at(rows: Tensor, places: Tensor, amounts: Tensor) -> Tensor:
    """`rows [C, V]` minus `amounts [C, 1]` at `places [C, 1]`."""
    return rows.scatter_add_(1, places.long(), -amounts)


def scan(
    body: Callable[..., tuple[typing.Any, Sequence[Tensor]]],
    carry: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    shapes: list[typing.Any],
) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
    """Run `body(carry, inputs) -> (carry, results)` over axis 0 of the inputs in turn. Returns the last carry, and the
    stacked results, float32 of `shapes`."""
    results = []
    for each in zip(*inputs, strict=True):
        carry, result = body(carry, each)
        results.append(result)
    return carry, [torch.stack(part) for part in zip(*results, strict=True)]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(context: typing.Any, run: Run, settings: typing.Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs, gradients = run(settings, *tensors, gradients=True)
        context.save_for_backward(*gradients)
        context.likes = [torch.empty(0, dtype=each.dtype) for each in tensors]
        context.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    def backward(context: typing.Any, upstream: Tensor, *rest: Tensor) -> tuple[typing.Any, ...]:
        return None, None, *scaled(context.saved_tensors, upstream, context.likes)


def with_gradients(run: Run, settings: typing.Any, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The outputs of `run`. The first one, a scalar, has gradients, which `run` computes together with it."""
    return _Function.apply(run, settings, *tensors)


_LATE = 1e9  # an update at which PyTorch's kernel corrects no bias: it would add epsilon in another place


def fuse_adam(optimizer: keras.optimizers.Adam) -> None:
    """Make an `Adam` compute its update with one operation of PyTorch, in place."""
    optimizer._parallel_update_step = _updates.__get__(optimizer)


@torch.compiler.disable  # nothing is left to compile, and it cannot be compiled
def _updates(
    self: keras.optimizers.Adam, gradients: Sequence[typing.Any], variables: Sequence[typing.Any], learning_rate: Tensor
) -> None:
    groups: dict[typing.Any, list[typing.Any]] = {}
    rest = []
    for variable, gradient in zip(variables, gradients, strict=True):
        weight, moments = variable.value, adam_moments(self, variable)
        order = _order(weight)
        if order is None:
            rest.append((gradient, variable))
            continue
        for moment in moments:  # in the memory order of the weight, only once
            if not moment.permute(order).is_contiguous():
                moment.data = torch.empty_like(weight).copy_(moment)
        group = groups.setdefault((weight.dtype, weight.device), [])
        tensors = weight, gradient.to(weight.dtype), *moments
        group.append([tensor.permute(order).contiguous() for tensor in tensors])
    power_1, power_2 = adam_powers(self)
    rate = ops.cast(learning_rate, "float32") * ops.sqrt(1 - power_2) / (1 - power_1)
    for (_, device), group in groups.items():
        torch._fused_adam_(
            *map(list, zip(*group, strict=True)),
            [],
            [torch.full((), _LATE, dtype=torch.float32, device=device)] * len(group),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,  # Keras applies weight decay
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
    if rest:
        type(self)._parallel_update_step(self, *map(list, zip(*rest, strict=True)), learning_rate)


def _order(weight: Tensor) -> list[int] | None:
    """The order of axes in which a weight is contiguous in memory, as the fused kernel needs it; weights from a
    checkpoint keep their order there. None if there is no such order, or no fused kernel for the device."""
    order = sorted(range(weight.ndim), key=weight.stride, reverse=True)
    able = weight.device.type in ("cpu", "cuda") and weight.permute(order).is_contiguous()
    return order if able else None


def processes() -> tuple[int, str]:
    """The number of processes that the backend was configured with, and the source of this number."""
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    world_size = os.environ.get("WORLD_SIZE", "1")
    count = torch.distributed.get_world_size() if group else int(world_size) if world_size.isdigit() else 1
    return count, "torch.distributed's world" if group else "WORLD_SIZE, as torchrun sets it"
