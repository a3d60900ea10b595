"""Keras Transformers: Transformer layers and models on TensorFlow, JAX and PyTorch.

Importing this package imports nothing heavy: names load when first used. If Keras's default backend is missing and
`KERAS_BACKEND` is unset, an installed backend is used and named on standard error.
"""

from keras_transformers import backend_choice, lazy, registered

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.names(__name__, "__version__")

backend_choice.choose_backend()
registered.register_with_keras()
