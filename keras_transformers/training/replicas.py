"""One batch on several devices: sums over TensorFlow's replicas, and rows that JAX's devices can share."""

import keras


def _strategy():
    """TensorFlow's strategy of several replicas that is in force, or None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    return strategy if strategy.num_replicas_in_sync > 1 else None


def count() -> int:
    """How many replicas add up their gradients."""
    strategy = _strategy()
    return 1 if strategy is None else strategy.num_replicas_in_sync


def summed(value):
    """A replica's `value`, summed over all of them."""
    if _strategy() is None:
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def shards() -> int:
    """How many devices share the rows of a batch, by `keras.distribution`."""
    distribution = keras.distribution.distribution()
    mesh = getattr(distribution, "device_mesh", None)
    if mesh is None or distribution.batch_dim_name not in mesh.axis_names:
        return 1
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])
