"""The dropout layer of Keras, or its replacement."""

import keras

Dropout = keras.layers.Dropout
