"""The protocol of the backends: every function, documented, with its body in plain Keras."""
