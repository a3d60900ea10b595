"""Keras's files name classes by what they are registered as: those of this library are found before they are loaded.

`import keras_transformers` loads nothing of Keras. As soon as both are imported, in whatever order, a stand-in for each
class is in Keras's registry; its module is loaded when a file needs it, and puts the class itself in its place.
"""

import importlib
import importlib.util
import sys

PACKAGE = "keras_transformers"
# Where each registered class is; a test compares this with what the modules register.
HOMES = {
    "layers.attention": ("MultiHeadAttention",),
    "layers.blocks": ("DecoderBlock", "EncoderBlock"),
    "layers.embeddings": ("PositionalEmbedding",),
    "layers.experts": ("StackedDense",),
    "layers.feed_forward": ("FeedForward",),
    "layers.heads": ("Pooler", "Transform", "VocabularyHead"),
    "layers.norms": ("RMSNormalization",),
    "layers.positions": ("RelativePosition",),
    "layers.stack": ("Decoder", "Encoder"),
    "models.backbone": ("Backbone",),
    "tasks.causal_lm": ("CausalLM",),
    "tasks.classification": ("TextClassifier", "TokenClassifier"),
    "tasks.embedding": ("TextEmbedder",),
    "tasks.masked_lm": ("MaskedLM",),
    "tasks.question_answering": ("QuestionAnswerer",),
    "tasks.seq2seq_lm": ("Seq2SeqLM",),
    "training.metrics": ("Perplexity", "TokenAccuracy", "TokenMean"),
    "training.schedules": ("CoolDown", "InverseSquareRoot", "LinearDecay", "PerUpdate"),
}
# What changes a built model, in the order in which it is done again (`models.changes`).
TRANSFORMS = {"quantization": "transforms.quantization", "lora": "transforms.lora"}


class _StandIn:
    """What Keras finds of a class that is not loaded yet: all it asks for is `from_config`."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def from_config(self, config: dict) -> object:
        return getattr(importlib.import_module(self._module), self._name).from_config(config)


def register() -> None:
    """Put the stand-ins where Keras looks classes up; a class that is there already stays."""
    known = sys.modules["keras"].saving.get_custom_objects()
    for module, names in HOMES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", _StandIn(f"{PACKAGE}.{module}", name))


class _WhenImported:
    """A finder of modules that finds none by itself: it calls a function after a module was imported."""

    def __init__(self, name: str, function) -> None:
        self._name, self._function, self._asking = name, function, False

    def find_spec(self, name, path=None, target=None):
        if name != self._name or self._asking:
            return None
        self._asking = True  # of the other finders
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            sys.meta_path.remove(self)
            self._function()

        spec.loader.exec_module = exec_module
        return spec


def register_with_keras() -> None:
    """Call `register` now if Keras is imported, else as soon as it is."""
    if getattr(sys.modules.get("keras"), "saving", None) is not None:
        register()
    else:
        sys.meta_path.insert(0, _WhenImported("keras", register))
