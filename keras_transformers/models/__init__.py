"""What a model is: data, and one class that reads it."""

from keras_transformers import lazy
from keras_transformers.models.backbone import Backbone
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.explain import explain
from keras_transformers.models.recipes import decoder, encoder, gpt, transformer

__all__ = ["Backbone", "ModelConfig", "decoder", "encoder", "explain", "gpt", "transformer"]

__getattr__ = lazy.refusal(__name__, __all__)
