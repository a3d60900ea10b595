from keras_transformers.models.backbone import Backbone as Backbone
from keras_transformers.models.config import ModelConfig as ModelConfig
from keras_transformers.models.explanation import explain as explain
from keras_transformers.models.recipes import decoder as decoder
from keras_transformers.models.recipes import encoder as encoder
from keras_transformers.models.recipes import gpt as gpt
from keras_transformers.models.recipes import static as static
from keras_transformers.models.recipes import transformer as transformer
