"""Strings to token ids and back, and token ids to arrays."""

from keras_transformers.tokenizers.packing import Packed, pack
from keras_transformers.tokenizers.tokenizer import Tokenizer

__all__ = ["Packed", "Tokenizer", "pack"]
