"""Keras Transformers: Transformer layers and models on TensorFlow, JAX and PyTorch.

Importing this package imports nothing heavy: names load when first used. Where Keras has not been imported yet,
`KERAS_BACKEND` is unset, and the backend that Keras would take is not installed, one that is gets chosen, and said.
"""

import importlib
import importlib.util
import json
import os
import sys

__version__ = "0.1.0"

_homes = {
    "layers": None,
    "models": None,
    "tokenizers": None,
    "training": None,
    "generation": None,
    "checkpoints": None,
    "tasks": None,
    "transforms": None,
    "runs": None,
    "Backbone": "models.backbone",
    "CausalLM": "tasks.causal_lm",
    "GenerationConfig": "generation.settings",
    "MaskedLM": "tasks.masked_lm",
    "ModelConfig": "models.config",
    "QuestionAnswerer": "tasks.question_answering",
    "Seq2SeqLM": "tasks.seq2seq_lm",
    "TextClassifier": "tasks.classification",
    "TextEmbedder": "tasks.embedding",
    "TokenClassifier": "tasks.classification",
    "Tokenizer": "tokenizers.tokenizer",
    "explain": "models.explain",
    "plot_attention": "plotting",
    "plot_learning_curve": "plotting",
}
__all__ = ["__version__", *_homes]


def __getattr__(name):
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _homes[name]
    module = importlib.import_module(f"{__name__}.{home or name}")
    value = module if home is None else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)


def _choose_backend():
    """Name an installed backend where Keras would go for one that is not installed.

    That Keras's configuration file names one says little: Keras writes "tensorflow" there when it is first imported,
    whatever it runs on.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
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
