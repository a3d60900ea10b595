"""What models do: text in, text out."""

from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tasks.task import Task

__all__ = ["Seq2SeqLM", "Task"]
