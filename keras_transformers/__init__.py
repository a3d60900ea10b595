"""Keras Transformers: Transformer layers and models on TensorFlow, JAX and PyTorch.

Importing this package imports nothing heavy: names load when first used. Where Keras has not been imported yet,
`KERAS_BACKEND` is unset, and the backend that Keras would take is not installed, one that is gets chosen, and said.
"""

import importlib.util
import json
import os
import sys

from keras_transformers import lazy, registered, spelling

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "layers": (),
        "models": (),
        "tokenizers": (),
        "training": (),
        "generation": (),
        "formats": (),
        "families": (),
        "data": (),
        "tasks": (),
        "transforms": (),
        "apps.runs": (),
        "formats.verification": ("verify",),
        "generation.settings": ("GenerationConfig",),
        "models.backbone": ("Backbone",),
        "models.config": ("ModelConfig",),
        "models.explain": ("explain",),
        "tasks.attention_plots": ("plot_attention",),
        "tasks.causal_lm": ("CausalLM",),
        "tasks.classification": ("TextClassifier", "TokenClassifier"),
        "tasks.embedding": ("TextEmbedder",),
        "tasks.masked_lm": ("MaskedLM",),
        "tasks.question_answering": ("QuestionAnswerer",),
        "tasks.seq2seq_lm": ("Seq2SeqLM",),
        "tokenizers.tokenizer": ("Tokenizer",),
        "training.curves": ("plot_learning_curve",),
    },
    "__version__",
)


_BACKENDS = ("tensorflow", "jax", "torch", "numpy", "openvino")  # that Keras knows


def _choose_backend():
    """Name an installed backend where Keras would go for one that is not installed.

    That Keras's configuration file names one says little: Keras writes "tensorflow" there when it is first imported,
    whatever it runs on.
    """
    if "keras" in sys.modules:
        return
    asked = os.environ.get("KERAS_BACKEND")
    if asked:
        if asked not in _BACKENDS:
            hint = spelling.did_you_mean(asked, _BACKENDS)
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


def _configured_backend():
    """What Keras would run on: the backend that its keras.json names, "tensorflow" where there is no such file."""
    base = os.path.expanduser("~")
    home = os.environ.get("KERAS_HOME") or os.path.join(base if os.access(base, os.W_OK) else "/tmp", ".keras")
    try:
        with open(os.path.expanduser(os.path.join(home, "keras.json")), encoding="utf-8") as file:
            backend = json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):
        backend = None
    return backend if isinstance(backend, str) and backend.isidentifier() else "tensorflow"


def _is_installed(name):
    """Whether a package is there to import. A mere folder of that name, such as a clone of its repository, is not."""
    if name in sys.modules:
        return sys.modules[name] is not None
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


_choose_backend()
registered.register_with_keras()
