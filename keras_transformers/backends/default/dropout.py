"""Dropout: the layer of Keras, or one in its place."""

import keras

Dropout = keras.layers.Dropout
