"""Keras Transformers: Transformer layers and models on TensorFlow, JAX and PyTorch.

Importing this package imports nothing heavy: names load when first used. Should `KERAS_BACKEND` be unset, Keras not yet imported and not configured by a file, and
TensorFlow, which Keras then assumes, not installed, an installed backend is chosen and said.
"""

import importlib
import importlib.util
import os
import pathlib
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
    "Backbone": "models.backbone",
    "GenerationConfig": "generation.decoding",
    "ModelConfig": "models.config",
    "Seq2SeqLM": "tasks.seq2seq_lm",
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
    """Name an installed backend where Keras would assume TensorFlow and find none."""
    home = pathlib.Path(os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras"))
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or (home / "keras.json").exists():
        return
    installed = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
    if installed and installed[0] != "tensorflow":
        os.environ["KERAS_BACKEND"] = installed[0]
        print(f"keras_transformers: KERAS_BACKEND is not set; using {installed[0]}, which is installed.", file=sys.stderr)


_choose_backend()
