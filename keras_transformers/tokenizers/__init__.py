"""Strings to token ids and back, and token ids to arrays."""

from keras_transformers import lazy
from keras_transformers.tokenizers.packing import Packed, PackedTexts, Template, pack, pack_texts
from keras_transformers.tokenizers.tokenizer import EncodedSpans, EncodedWords, Tokenizer

__all__ = ["EncodedSpans", "EncodedWords", "Packed", "PackedTexts", "Template", "Tokenizer", "pack", "pack_texts"]

__getattr__ = lazy.refusal(__name__, __all__)
