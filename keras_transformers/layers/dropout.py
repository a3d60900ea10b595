"""Dropout, with masks that cost little on every backend."""

from keras_transformers.backends import dropout

Dropout = dropout.Dropout
