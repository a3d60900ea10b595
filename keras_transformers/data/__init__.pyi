from keras_transformers.data.batches import Batches as Batches
from keras_transformers.data.batches import Position as Position
from keras_transformers.data.batches import keras_data as keras_data
from keras_transformers.data.batches import translation_batches as translation_batches
from keras_transformers.data.pairs import encode_pairs as encode_pairs
from keras_transformers.data.pairs import split as split
from keras_transformers.data.translation_checks import TranslationChecks as TranslationChecks
from keras_transformers.data.translation_checks import check_translations as check_translations
