"""Which task fits which model: an encoder reads texts, a decoder continues them, both together turn text to text."""

from keras_transformers.models.config import ModelConfig

_READERS = "kt.TextClassifier, kt.TokenClassifier, kt.QuestionAnswerer or kt.TextEmbedder"


def wrong_stacks(expected: str, config: ModelConfig) -> ValueError:
    """The error for a configuration with the wrong stacks: it names the expected ones, and the tasks that would fit."""
    if config.decoder is not None and config.decoder.bidirectional:
        got, fitting = "one whose tokens see later ones (bidirectional)", _READERS
    elif config.encoder is None:
        got, fitting = "a decoder alone", f"kt.CausalLM, {_READERS}"
    elif config.decoder is None:
        got, fitting = "an encoder alone", f"kt.MaskedLM, {_READERS}"
    elif config.reading is None:
        got, fitting = "an encoder, and a decoder that reads only what it is given", "kt.Seq2SeqLM"
    else:
        got, fitting = "an encoder and a decoder", f"kt.Seq2SeqLM, {_READERS}"
    return ValueError(f"Expected {expected}, got {got}. This model is for {fitting}.")
