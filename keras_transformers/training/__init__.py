"""Training: batches of sentence pairs, the loss, schedules, metrics and callbacks, as functions over Keras models."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "callbacks": ("Checkpoint", "LearningCurve", "Speed", "TranslationQuality", "average_weights"),
        "fitting": ("fit_batches",),
        "losses": ("token_cross_entropy",),
        "metrics": ("Perplexity", "TokenAccuracy", "TokenMean", "bleu", "chrf"),
        "schedules": ("CoolDown", "InverseSquareRoot", "LinearDecay"),
    },
)
