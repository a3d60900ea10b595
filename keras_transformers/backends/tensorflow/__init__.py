"""TensorFlow: functions become graphs; those of inference are compiled by XLA, once for each shape."""
