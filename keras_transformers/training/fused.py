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

from keras_transformers.backends import training


def fuse(optimizer: keras.optimizers.Optimizer) -> None:
    """Have Keras's own `Adam` or `AdamW` compute its update in one pass; leave any other optimizer as it is."""
    own = type(optimizer).__module__.startswith("keras.src.")
    if own and isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        training.fuse_adam(optimizer)
