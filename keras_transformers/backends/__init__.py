"""The one place that asks which backend runs.

    default/       the protocol: each function with its documentation and a body in plain Keras
    jax/ tensorflow/ torch/          only the functions that this backend computes faster in its own way

A topic is a module of the same name in each folder. This package exposes the module of the current backend:

    from keras_transformers.backends import arrays

    arrays.top_k(scores, 8)

    arrays        tensor operations of layers and decoding loops
    attention     scaled dot-product attention, and the KV cache that it reads
    dropout       the dropout layer
    execution     decoding loops, and passes over a batch
    graphs        models written as graphs for other runtimes
    products      dense layers, token embeddings, vocabularies, experts
    training      losses, gradients and updates, and the devices and processes that share them

The module of a backend begins with `import *` from the default one, so all modules have the same names; a test compares
the signatures. Importing this package imports only the framework of the current backend. Nothing here depends on a
layer or a model: functions and tensors are arguments.
"""

import typing

import keras

NAME: str = keras.backend.backend()
"""The name of the current backend in Keras, for messages to the user. No other decision may depend on it."""

if typing.TYPE_CHECKING or NAME not in ("jax", "tensorflow", "torch"):
    from keras_transformers.backends.default import arrays, attention, dropout, execution, graphs, products, training
elif NAME == "jax":
    from keras_transformers.backends.default import graphs
    from keras_transformers.backends.jax import arrays, attention, dropout, execution, products, training
elif NAME == "tensorflow":
    from keras_transformers.backends.default import dropout
    from keras_transformers.backends.tensorflow import arrays, attention, execution, graphs, products, training
else:
    from keras_transformers.backends.default import dropout
    from keras_transformers.backends.torch import arrays, attention, execution, graphs, products, training

__all__ = ["NAME", "arrays", "attention", "dropout", "execution", "graphs", "products", "training"]
