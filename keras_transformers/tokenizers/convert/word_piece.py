"""WordPiece vocabularies, `vocab.txt`."""

import pathlib

import tokenizers
from tokenizers import models

from keras_transformers.files.reading import read_text
from keras_transformers.tokenizers.convert import pipelines
from keras_transformers.tokenizers.convert.pipelines import Options, Special
from keras_transformers.tokenizers.convert.readers import Engine, built


def word_piece(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """BERT's vocabulary, a piece a line."""
    read_text(paths[0])
    vocabulary = built(paths, lambda: models.WordPiece.read_file(str(paths[0])))
    engine = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk_token"]))
    pipelines.word_piece(options, special).put_on(engine)
    return engine, []
