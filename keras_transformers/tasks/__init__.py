"""What models do: text in, answers out."""

from keras_transformers import lazy
from keras_transformers.tasks.causal_lm import CausalLM
from keras_transformers.tasks.chat import Chat
from keras_transformers.tasks.classification import TextClassifier, TokenClassifier
from keras_transformers.tasks.embedding import TextEmbedder
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.tasks.masked_lm import MaskedLM
from keras_transformers.tasks.question_answering import QuestionAnswerer
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tasks.task import Task

__all__ = [
    "CausalLM",
    "Chat",
    "EncoderTask",
    "MaskedLM",
    "QuestionAnswerer",
    "Seq2SeqLM",
    "Task",
    "TextClassifier",
    "TextEmbedder",
    "TokenClassifier",
]

__getattr__ = lazy.refusal(__name__, __all__)
