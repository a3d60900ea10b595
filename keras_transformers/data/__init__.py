"""From anything that holds text to arrays: readers, cleaning, token ids with their labels, and batches."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "batches": ("Batches", "Position", "keras_data", "translation_batches"),
        "pairs": ("encode_pairs", "split"),
    },
)
