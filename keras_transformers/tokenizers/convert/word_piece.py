"""Vocabularies with a piece a line, `vocab.txt`: of WordPiece, and of the letters of proteins."""

import pathlib
import typing

import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

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


def letters(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """ESM's vocabulary: each token is found wherever it stands, the longest first. White space splits the rest."""
    tokens = [line.strip() for line in read_text(paths[0]).splitlines()]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    engine = built(paths, lambda: tokenizers.Tokenizer(models.WordLevel(vocabulary, special["unk_token"])))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    return engine, []


def jieba(paths: list[pathlib.Path], options: Options, special: Special) -> typing.NoReturn:
    """Refuse RoFormer's vocabulary, as `pipelines.jieba` does."""
    pipelines.jieba(options, special)
