"""Fused Adam: the update in one pass over each weight, by a kernel of the backend.

Keras computes the update in seven to eleven passes over weights, moments and gradients. On PyTorch their results are as
many copies of the whole model. PyTorch and TensorFlow have a single operation for it, in place. On JAX, XLA fuses the
operations of Keras.

    moment   += (1 - beta_1) (gradient - moment)
    velocity += (1 - beta_2) (gradient² - velocity)
    weight   -= rate · √(1 - beta_2ᵗ) / (1 - beta_1ᵗ) · moment / (√velocity + epsilon)

Source: Kingma and Ba 2015, the formulation before section 2.1, which Keras follows.
"""

import keras

from keras_transformers.backends import training


def fuse(optimizer: keras.optimizers.Optimizer) -> None:
    """Make the `Adam` or `AdamW` of Keras compute its update in one pass. Other optimizers stay unchanged."""
    own = type(optimizer).__module__.startswith("keras.src.")
    if own and isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        training.fuse_adam(optimizer)
