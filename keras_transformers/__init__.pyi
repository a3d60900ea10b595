from keras_transformers import data as data
from keras_transformers import families as families
from keras_transformers import formats as formats
from keras_transformers import generation as generation
from keras_transformers import layers as layers
from keras_transformers import models as models
from keras_transformers import tasks as tasks
from keras_transformers import tokenizers as tokenizers
from keras_transformers import training as training
from keras_transformers import transforms as transforms
from keras_transformers.apps import runs as runs
from keras_transformers.formats.verification import verify as verify
from keras_transformers.generation.settings import GenerationConfig as GenerationConfig
from keras_transformers.models.backbone import Backbone as Backbone
from keras_transformers.models.config import ModelConfig as ModelConfig
from keras_transformers.models.explanation import explain as explain
from keras_transformers.tasks.attention_plots import plot_attention as plot_attention
from keras_transformers.tasks.causal_lm import CausalLM as CausalLM
from keras_transformers.tasks.classification import TextClassifier as TextClassifier
from keras_transformers.tasks.embedding import TextEmbedder as TextEmbedder
from keras_transformers.tasks.masked_lm import MaskedLM as MaskedLM
from keras_transformers.tasks.question_answering import QuestionAnswerer as QuestionAnswerer
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM as Seq2SeqLM
from keras_transformers.tasks.token_classification import TokenClassifier as TokenClassifier
from keras_transformers.tokenizers.tokenizer import Tokenizer as Tokenizer
from keras_transformers.training.curves import plot_learning_curve as plot_learning_curve

__version__: str
