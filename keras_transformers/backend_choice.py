"""The choice of an installed backend, before Keras is imported."""

import importlib.util
import json
import os
import sys

from keras_transformers.spelling import did_you_mean

_BACKENDS = ("tensorflow", "jax", "torch", "numpy", "openvino")  # the backends of Keras


def choose_backend() -> None:
    """Set KERAS_BACKEND to an installed backend if Keras's default is not installed; name it on standard error.

    The backend in Keras's configuration file need not be the user's choice: Keras writes "tensorflow" there when it is
    first imported, whatever backend is used.

    Raises:
        ValueError: for a KERAS_BACKEND that Keras does not know.
    """
    if "keras" in sys.modules:
        return
    asked = os.environ.get("KERAS_BACKEND")
    if asked:
        if asked not in _BACKENDS:
            hint = did_you_mean(asked, _BACKENDS)
            raise ValueError(f"Expected KERAS_BACKEND to be one of {', '.join(_BACKENDS)}, got {asked!r}{hint}.")
        return
    expected = _configured_backend()
    installed = [name for name in ("tensorflow", "jax", "torch") if _is_installed(name)]
    if not installed or expected == "numpy" or _is_installed(expected):
        return
    os.environ["KERAS_BACKEND"] = installed[0]
    print(
        f"keras_transformers: KERAS_BACKEND is not set and {expected} is not installed: using {installed[0]}.",
        file=sys.stderr,
    )


def _configured_backend() -> str:
    """Return Keras's default: the backend in its keras.json, or "tensorflow" if there is no such file."""
    base = os.path.expanduser("~")
    home = os.environ.get("KERAS_HOME") or os.path.join(base if os.access(base, os.W_OK) else "/tmp", ".keras")
    try:
        with open(os.path.expanduser(os.path.join(home, "keras.json")), encoding="utf-8") as file:
            backend = json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):
        backend = None
    return backend if isinstance(backend, str) and backend.isidentifier() else "tensorflow"


def _is_installed(name: str) -> bool:
    """Return whether a package can be imported. A mere folder of that name, such as a clone of a repository, cannot."""
    if name in sys.modules:
        return sys.modules[name] is not None
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
