"""Dropout with masks that are cheap on every backend."""

from keras_transformers.backends import dropout

Dropout = dropout.Dropout
