"""The translator that a command opens: an encoder-decoder as it is, a decoder with the prompt that asks it."""

from typing import Any


def open_translator(preset: str, template: str | None) -> Any:
    """Return a `Seq2SeqLM`, or, for a decoder or with a template, a `Translator`."""
    import keras_transformers as kt
    from keras_transformers.tasks import presets

    try:
        is_decoder = template is None and presets.opened(preset).config.encoder is None
    except (OSError, ValueError):  # which loading reports
        is_decoder = False
    if template is None and not is_decoder:
        return kt.Seq2SeqLM.from_preset(preset)
    return kt.Translator.from_preset(preset, template=None if template in (None, "auto") else template)
