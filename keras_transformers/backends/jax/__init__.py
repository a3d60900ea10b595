"""JAX: functions are traced and compiled by XLA, once for each shape."""
