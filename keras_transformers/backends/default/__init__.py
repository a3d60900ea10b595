"""The protocol of the backends: every function with its documentation and a body in plain Keras."""
