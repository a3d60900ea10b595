"""Model configurations, and the one class that builds models from them."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
