"""Tasks as graphs from strings to strings: TensorFlow SavedModels. `export_with_text` is a method of every task.

    strings [N] ──► ids ──► model ──► labels, pieces, vectors, texts
                   reading.py         classification.py tagging.py vectors.py masks.py translation.py continuation.py
                                      generation.py: the loop of a decoder, with its cache

The tokenizer is compiled (`tokenizers/in_graph/`), and so is the loop. Before a graph is written, difficult texts and
those of the caller go through it and through the task itself: the first text whose answer differs is an error.
"""

import os
import typing
from collections.abc import Sequence

from keras_transformers.backends import execution


def export_with_text(
    self: typing.Any,
    folder: str | os.PathLike[str],
    *,
    length: int | None = None,
    check: Sequence[str] = (),
    difficult_texts: bool = True,
    **options: typing.Any,
) -> None:
    """Export a SavedModel that takes strings, with tokenizer and model in one graph, for serving with TensorFlow
    Serving and others. A program that loads it needs TensorFlow and, for most tokenizers, `import tensorflow_text`.

    Needs the TensorFlow backend and the extra `in-graph`. Texts of any number and length are padded to the longest one
    of their batch. Bytes that are no UTF-8 are read as U+FFFD.

    `serving_default` and the function `serve` of the loaded object take `texts`, strings `[N]`. Further signatures are
    functions of the loaded object too:

        TextClassifier    label [N], score [N]; labels [N, C] and scores [N, C], best first; outputs [N, C], the logits
          pairs           (texts, seconds): the same, and relevance [N], the scores of `rank`
        TokenClassifier   of each entity: row [M], its text; label, score, start, end and text [M]
          words           the same of each word
        TextEmbedder      vectors [N, D]; and a signature for each prompt, by its name
        MaskedLM          of each mask: row [M], its text; tokens, scores and token_ids [M, top], best first
        Seq2SeqLM         translations [N], scores [N]; both [N, K] with num_return_sequences=K
          translate       (texts, source_language, target_language), strings [N] each, for a model of many languages
        CausalLM          continuations [N], scores [N] unless there are stop strings; [N, K] as above
          generate        (texts, max_new_tokens): the same for another limit, an int32
        others that read  outputs, those of the model

    Args:
        folder: where to write.
        length: the most tokens of a text; by default as many as the model reads. Longer texts are cut.
        check: texts of your own, whose ids and answers are compared too.
        difficult_texts: False compares on `check` alone. SentencePiece's models usually need that (see
            `Tokenizer.in_graph`).
        **options: `top` for a `MaskedLM` (5). For a `Seq2SeqLM` `source_language`, `target_language`,
            `keep_letterless` and settings such as `num_beams=4`; for a `CausalLM` settings such as
            `max_new_tokens=64`.

    Raises:
        RuntimeError: on another backend.
        ImportError: without tensorflow-text, if the tokenizer needs it.
        TypeError: for an option that the task does not have.
        ValueError: for a tokenizer that a graph cannot compute exactly, for settings such as sampling, and if any text
            gets another answer than from the task.

    Example:
        >>> classifier.export_with_text("served", length=128, check=["A delight."])
        >>> served = tf.saved_model.load("served")
        >>> served.serve(tf.constant(["A delight."]))["label"]
        >>> kt.Seq2SeqLM.from_preset("english-french").export_with_text("translator", num_beams=4)
    """

    def make() -> tuple[typing.Any, dict[str, typing.Any]]:
        from keras_transformers.tasks.in_graph.exporting import module_of  # it imports TensorFlow

        return module_of(self, length=length, check=check, difficult_texts=difficult_texts, options=options)

    execution.save_module(folder, make)
