"""A training for test_replicas, on TensorFlow: `python -m tests.training.mirrored_run REPLICAS TASK` prints how far
SGD moved the weights and the logged losses, and whether the default optimizer trains."""

import sys

import keras
import tensorflow as tf

from tests.training.small_tasks import batches, moved, task, weights


def numbers(name):
    """How far SGD moves the weights of a task, and the losses."""
    model = task(name)
    before = weights(model)
    model.compile(keras.optimizers.SGD(0.5))
    history = model.fit(batches(name, 4, count=12), epochs=2, verbose=0)
    return [moved(before, weights(model)), *history.history["loss"]]


def main(replicas, name):
    devices = [f"CPU:{number}" for number in range(replicas)]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    with tf.distribute.MirroredStrategy(devices).scope():
        print("moved", *numbers(name), flush=True)
        model = task(name)
        model.compile()
        model.fit(batches(name, 4, count=4), verbose=0)
        print("default", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
