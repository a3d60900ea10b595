"""The seed of a run."""

import random
import sys

import keras
import numpy as np

try:
    from keras.src.backend.common import global_state
except ImportError:  # another version of Keras
    global_state = None


def set_random_seed(seed: int) -> None:
    """Set the seeds of Python, NumPy, Keras and the backend, as `keras.utils.set_random_seed` does.

    That function also imports TensorFlow on any backend, which takes seconds. This one does so only if TensorFlow is
    the backend, or something has imported it.
    """
    if global_state is None or "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
        return
    global_state.set_global_attribute("global_random_seed", seed)
    global_state.set_global_attribute("global_seed_generator", None)  # made anew from the seed
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
