"""Registration of this library's classes with Keras before their modules are loaded.

Keras files name classes by their registered names. `import keras_transformers` does not import Keras. Once both are
imported, in either order, Keras's registry holds a stand-in for each class. If a file needs a class, the stand-in loads
its module, which registers the class itself.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import typing
from collections.abc import Callable, Sequence

PACKAGE = "keras_transformers"
# The module of each registered class; a test compares this with the classes that the modules register.
HOMES = {
    "layers.attention": ("MultiHeadAttention",),
    "layers.blocks": ("DecoderBlock", "EncoderBlock"),
    "layers.bottleneck": ("BottleneckBlock",),
    "layers.convolution": ("Convolution",),
    "layers.disentangled": ("DistanceVectors",),
    "layers.dynamic_convolution": ("ConvolutionHeads",),
    "layers.embeddings": ("PositionalEmbedding",),
    "layers.experts": ("StackedDense",),
    "layers.feed_forward": ("FeedForward",),
    "layers.fourier": ("FourierMixing",),
    "layers.grouped": ("GroupedDense",),
    "layers.heads": ("Pooler", "Transform", "VocabularyHead"),
    "layers.layer_mix": ("LayerMix",),
    "layers.norms": ("AffineTransform", "RMSNormalization"),
    "layers.positions": ("RelativePosition",),
    "layers.projections": ("UnitLength", "VectorProjection"),
    "layers.relative_sinusoids": ("RelativeScores",),
    "layers.simple_recurrence": ("SimpleRecurrentUnit",),
    "layers.stack": ("Decoder", "Encoder"),
    "models.backbone": ("Backbone",),
    "tasks.causal_lm": ("CausalLM",),
    "tasks.classification": ("TextClassifier",),
    "tasks.embedding": ("TextEmbedder",),
    "tasks.entity_tagging": ("EntityTagger",),
    "tasks.masked_lm": ("MaskedLM",),
    "tasks.multi_vector_embedding": ("MultiVectorEmbedder",),
    "tasks.question_answering": ("QuestionAnswerer",),
    "tasks.seq2seq_lm": ("Seq2SeqLM",),
    "tasks.token_classification": ("TokenClassifier",),
    "tasks.sparse_embedding": ("SparseEmbedder",),
    "training.metrics": ("Perplexity", "TokenAccuracy", "TokenMean"),
    "training.schedules": ("CoolDown", "InverseSquareRoot", "LinearDecay", "PerUpdate"),
}
# Transforms of a built model, in the order in which loading repeats them (`models.changes`).
TRANSFORMS = {"quantization": "transforms.quantization", "lora": "transforms.lora"}


class _StandIn:
    """A stand-in for a class that is not loaded yet: Keras only calls its `from_config`."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def from_config(self, config: dict) -> object:
        return getattr(importlib.import_module(self._module), self._name).from_config(config)


def register() -> None:
    """Add the stand-ins to Keras's registry; classes that are registered already stay."""
    known = sys.modules["keras"].saving.get_custom_objects()
    for module, names in HOMES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", _StandIn(f"{PACKAGE}.{module}", name))


class _WhenImported:
    """A module finder that calls a function after a module is imported; the other finders find the module."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self._name, self._function, self._asking = name, function, False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: typing.Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name or self._asking:
            return None
        self._asking = True  # find_spec below asks all finders, this one too
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            load(module)
            sys.meta_path.remove(self)
            self._function()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this loader alone
        return spec


def register_with_keras() -> None:
    """Call `register` now if Keras is imported, else as soon as Keras is imported."""
    if getattr(sys.modules.get("keras"), "saving", None) is not None:
        register()
    else:
        sys.meta_path.insert(0, _WhenImported("keras", register))
