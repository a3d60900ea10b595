"""Which task is for which model: an encoder reads, a decoder writes on, both answer a text with a text."""

from keras_transformers.models.config import ModelConfig

_READERS = "kt.TextClassifier, kt.TokenClassifier, kt.QuestionAnswerer or kt.TextEmbedder"


def wrong_stacks(expected: str, config: ModelConfig) -> ValueError:
    """The error for a configuration of other stacks than a task needs: what was expected, and which tasks it is for."""
    if config.encoder is None:
        got, fitting = "a decoder alone", f"kt.CausalLM, {_READERS}"
    elif config.decoder is None:
        got, fitting = "an encoder alone", f"kt.MaskedLM, {_READERS}"
    elif config.reading is None:
        got, fitting = "an encoder, and a decoder that reads only what it is given", "kt.Seq2SeqLM"
    else:
        got, fitting = "an encoder and a decoder", f"kt.Seq2SeqLM, {_READERS}"
    return ValueError(f"Expected {expected}, got {got}. This model is for {fitting}.")
