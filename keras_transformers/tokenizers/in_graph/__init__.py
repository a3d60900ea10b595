"""The same ids inside a TensorFlow graph. `in_graph` is a method of `Tokenizer`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_transformers.extras import require
from keras_transformers.tokenizers.parts import Parts

if TYPE_CHECKING:
    from keras_transformers.tokenizers.in_graph.tokenizer import InGraphTokenizer


def in_graph(self: Parts, *, texts: Iterable[str] = (), difficult_texts: bool = True) -> "InGraphTokenizer":
    """The same ids inside a TensorFlow graph: for `tf.data`, and for a SavedModel that takes strings.

    WordPiece as BERT has it, byte-level BPE and Unigram as GPT-2 and `train` have them, and SentencePiece's Unigram
    are compiled from this tokenizer, in a few seconds, and compared with it on difficult texts: accents apart from
    their letters, scripts mixed at random, controls, special tokens written in a text.

    Args:
        texts: texts of your own, which are compared too.
        difficult_texts: False compares on yours alone. SentencePiece's models usually need that: the engine reads
            accents apart from their letters, and "<unk>" in a text, otherwise than SentencePiece itself.

    Returns:
        An `InGraphTokenizer`, a `tf.Module`: called with strings `[B]` it gives ragged int32 ids `[B, tokens]`; its
        `pack` gives dense arrays with special tokens.

    Raises:
        ImportError: without TensorFlow; but for byte-level BPE and Unigram without `normalization`, without
            tensorflow-text.
        ValueError: for a tokenizer that cannot be compiled, and if any text gets other ids than from `encode`.

    Example:
    ```python
    in_graph = tokenizer.in_graph()
    in_graph(tf.constant(["A man.", "Un vélo."])).to_list() == tokenizer.encode(["A man.", "Un vélo."])
    ```
    """
    require("in-graph", tensorflow=True)
    from keras_transformers.tokenizers.in_graph.tokenizer import InGraphTokenizer  # it imports TensorFlow

    return InGraphTokenizer(self, texts=texts, difficult_texts=difficult_texts)
