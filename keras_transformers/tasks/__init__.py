"""What models do: text in, answers out."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "causal_lm": ("CausalLM",),
        "chat": ("Chat",),
        "classification": ("TextClassifier", "TokenClassifier"),
        "embedding": ("TextEmbedder",),
        "encoder_task": ("EncoderTask",),
        "masked_lm": ("MaskedLM",),
        "question_answering": ("QuestionAnswerer",),
        "seq2seq_lm": ("Seq2SeqLM",),
        "task": ("Task",),
    },
)
