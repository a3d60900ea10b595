from keras_transformers.apps.runs.settings import TranslationRun as TranslationRun
from keras_transformers.apps.runs.settings import read_run as read_run
from keras_transformers.apps.runs.settings import run_yaml as run_yaml
from keras_transformers.apps.runs.translation import Trained as Trained
from keras_transformers.apps.runs.translation import train_translation as train_translation
