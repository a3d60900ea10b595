"""A student of a run: its model, and what is written beside its preset.

preset/          float weights
int8/            a preset of int8 weights, if `student.quantization` is int8
hugging-face/, ctranslate2/, marian/
"""

import dataclasses
import pathlib
import tempfile

from keras_transformers.apps.runs.distillation import StudentSettings
from keras_transformers.apps.runs.models import config_for
from keras_transformers.layers.simple_recurrence import SimpleRecurrence
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.recipes import student
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.transforms.quantization import quantize


def config_of(settings: StudentSettings, tokenizer: Tokenizer) -> ModelConfig:
    """Return the `ModelConfig` of a student. With a vocabulary of Marian, whose last token starts a translation, it is
    one that Marian expresses."""
    options = {**settings.sizes(), "dropout": settings.dropout}
    if is_of_marian(tokenizer):
        config = student(tokenizer.vocabulary_size, **options)
        if settings.simple_recurrence or config.decoder is None:
            return config
        block = dataclasses.replace(config.decoder.block, recurrence=None)
        return dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, block=block))
    recurrence = SimpleRecurrence() if settings.simple_recurrence else None
    return config_for(tokenizer, **options, max_length=settings.max_length, recurrence=recurrence)


def is_of_marian(tokenizer: Tokenizer) -> bool:
    """Whether a vocabulary is that of a model of Marian."""
    return "source.spm" in tokenizer._side_files and tokenizer.padding_id == tokenizer.vocabulary_size - 1


def try_exports(task: Seq2SeqLM, settings: StudentSettings) -> None:
    """Write the formats of the untrained student, so that one that cannot hold it is refused before the training.

    Raises:
        ValueError: with the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_exports(task, settings, pathlib.Path(folder))


def write_exports(task: Seq2SeqLM, settings: StudentSettings, folder: pathlib.Path) -> None:
    """Write a student in the formats that its settings name."""
    small = None if settings.quantization is None else "int8"
    if "hugging-face" in settings.export:
        task.export_hugging_face(folder / "hugging-face")
    if "ctranslate2" in settings.export:
        task.export_ctranslate2(folder / "ctranslate2", quantization=small)
    if "marian" in settings.export:
        task.export_marian(folder / "marian", quantization=small)


def quantized(task: Seq2SeqLM, settings: StudentSettings, folder: pathlib.Path) -> Seq2SeqLM | None:
    """Return the student with int8 weights, as it was written; None if none was."""
    if settings.quantization == "int8":
        other = Seq2SeqLM.from_preset(folder / "preset")
        quantize(other, "int8")
        other.save_to_preset(folder / "int8")
        return other
    if settings.quantization == "marian":
        return Seq2SeqLM.from_preset(folder / "marian")
    return None


def size_of(path: pathlib.Path) -> int:
    """The bytes of the files of a folder."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
