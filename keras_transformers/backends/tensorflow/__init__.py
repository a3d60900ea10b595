"""TensorFlow: functions become graphs. XLA compiles those of inference, once for each shape."""
