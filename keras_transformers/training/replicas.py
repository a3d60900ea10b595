"""One batch on several devices: sums over replicas on TensorFlow, and rows shared by devices on JAX."""

import keras

from keras_transformers.backends import training

count, summed = training.replicas, training.summed


def shards() -> int:
    """The number of devices that share the rows of a batch, from `keras.distribution`."""
    distribution = keras.distribution.distribution()
    mesh = getattr(distribution, "device_mesh", None)
    if mesh is None or distribution.batch_dim_name not in mesh.axis_names:
        return 1
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])
