"""Adam's update in one pass over each weight, by the backend's own kernel.

Keras composes the update of operations: seven to eleven passes over weights, moments and gradients, whose results on
PyTorch are as many copies of the whole model. Both PyTorch and TensorFlow have it as one operation, in place; on JAX
XLA makes one of Keras's.

    moment   += (1 - beta_1) (gradient - moment)
    velocity += (1 - beta_2) (gradient² - velocity)
    weight   -= rate · √(1 - beta_2ᵗ) / (1 - beta_1ᵗ) · moment / (√velocity + epsilon)

Source: Kingma and Ba 2015, the formulation before section 2.1, which Keras follows.
"""

import keras
from keras import ops


def fuse(optimizer):
    """Have Keras's own `Adam` or `AdamW` compute its update so, in place of its own way; leave any other as it is."""
    own = type(optimizer).__module__.startswith("keras.src.")
    if own and isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        _fuse(optimizer)


def _moments(optimizer, variable):
    place = optimizer._get_variable_index(variable)
    return optimizer._momentums[place].value, optimizer._velocities[place].value


def _powers(optimizer, dtype="float32"):
    """`beta_1ᵗ` and `beta_2ᵗ` of update `t`, from 1."""
    update = ops.cast(optimizer.iterations + 1, dtype)
    return [ops.power(ops.cast(beta, dtype), update) for beta in (optimizer.beta_1, optimizer.beta_2)]


if keras.backend.backend() == "torch":
    import torch

    _LATE = 1e9  # an update at which PyTorch's kernel corrects no bias: its epsilon would be in another place

    def _fuse(optimizer):
        optimizer._parallel_update_step = _updates.__get__(optimizer)

    @torch.compiler.disable  # there is nothing left to compile, and no way to
    def _updates(self, gradients, variables, learning_rate):
        groups, rest = {}, []
        for variable, gradient in zip(variables, gradients, strict=True):
            weight, moments = variable.value, _moments(self, variable)
            order = _order(weight)
            if order is None:
                rest.append((gradient, variable))
                continue
            for moment in moments:  # as the weight lies, once and for all
                if not moment.permute(order).is_contiguous():
                    moment.data = torch.empty_like(weight).copy_(moment)
            group = groups.setdefault((weight.dtype, weight.device), [])
            tensors = weight, gradient.to(weight.dtype), *moments
            group.append([tensor.permute(order).contiguous() for tensor in tensors])
        power_1, power_2 = _powers(self)
        rate = ops.cast(learning_rate, "float32") * ops.sqrt(1 - power_2) / (1 - power_1)
        for (_, device), group in groups.items():
            torch._fused_adam_(
                *map(list, zip(*group, strict=True)),
                [],
                [torch.full((), _LATE, dtype=torch.float32, device=device)] * len(group),
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                weight_decay=0.0,  # Keras has done it
                eps=self.epsilon,
                amsgrad=False,
                maximize=False,
            )
        if rest:
            type(self)._parallel_update_step(self, *map(list, zip(*rest, strict=True)), learning_rate)

    def _order(weight):
        """The order of its axes in which a weight lies in memory without gaps, as the kernel takes it: a kernel that
        came from a checkpoint lies as it did there. None where there is none, or no kernel for the device."""
        order = sorted(range(weight.ndim), key=weight.stride, reverse=True)
        able = weight.device.type in ("cpu", "cuda") and weight.permute(order).is_contiguous()
        return order if able else None

elif keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def _fuse(optimizer):
        if not tf.distribute.has_strategy():
            optimizer.update_step = _update.__get__(optimizer)

    def _update(self, gradient, variable, learning_rate):  # of a `tf.Variable`
        if variable.dtype not in (tf.float32, tf.float64):  # the kernel would round beta_2 to 1
            type(self).update_step(self, gradient, variable, learning_rate)
            return
        moment, velocity = _moments(self, variable)
        power_1, power_2 = _powers(self, variable.dtype)
        rate, beta_1, beta_2, epsilon = (
            tf.cast(value, variable.dtype) for value in (learning_rate, self.beta_1, self.beta_2, self.epsilon)
        )
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=moment.handle,
            v=velocity.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )

else:

    def _fuse(optimizer):
        pass
