"""What the tasks that read texts share: texts, or pairs of texts, to rows of ids, and back to answers in order.

Legend: `N` texts, `B` batch, `T` length, `D` model width, `C` classes.
"""

import collections.abc
import warnings

import keras
import numpy as np

from keras_transformers import memory
from keras_transformers.callers import outside
from keras_transformers.generation import executors
from keras_transformers.generation.decoding import bucket
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.task import Task
from keras_transformers.tokenizers.packing import pack_texts
from keras_transformers.training.examples import Examples, read_columns
from keras_transformers.training.pairs import Ragged, short


class EncoderTask(Task):
    """A task of a model that reads: of one stack, encoder or decoder, or of two, whose decoder reads what the encoder
    does (`ModelConfig.reading`). Abstract: use one of the tasks."""

    batch_size: int | None = 32  # as BERT and its relatives are fine-tuned

    def __init__(self, config, tokenizer=None, **kwargs):
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)

    @classmethod
    def _check_stacks(cls, config):
        """Refuse a configuration that lacks what the task needs, or has more."""
        if config.encoder is not None and config.decoder is not None and config.reading is None:
            expected = "a ModelConfig with one stack, such as kt.models.encoder makes, or with `reading`"
            raise wrong_stacks(expected, config)

    def hidden_states(self, inputs, training=None):
        """The last stack's output `[B, T, D]`, and which tokens are real, bool `[B, T]`."""
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        padding_mask = self.padding_mask(inputs)
        x = self.backbone({**inputs, "padding_mask": padding_mask}, training=training)
        return x, padding_mask

    def padding_mask(self, inputs):
        """Which tokens of the inputs are real, bool `[B, T]`: as they say, or as the ids do."""
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        told = inputs.get("padding_mask")
        return self.backbone.padding_mask(inputs["token_ids"]) if told is None else told

    # Texts to ids

    def encode_texts(self, texts, seconds=None, max_length=None, **options):
        """Texts, or pairs of texts, as the model reads them, special tokens in place.

        Args:
            texts, seconds: lists of strings, or of lists of ids.
            max_length: the most tokens of a row; by default what the model reads. What is longer is cut, with a warning
                that says how many were.
            **options: of `tokenizers.packing.pack_texts`.

        Returns: `(columns, packed)`: the model's inputs by name, a `Ragged` each, and what `pack_texts` returned.
        """
        tokenizer = self._tokenizer()
        ids = [
            None if side is None else tokenizer.encode(side) if len(side) and isinstance(side[0], str) else side
            for side in (texts, seconds)
        ]
        limit = self.max_length if max_length is None else min(max_length, self.max_length or max_length)
        packed = pack_texts(*ids, template=tokenizer.template, max_length=limit, **options)
        if packed.truncated:
            warnings.warn(
                f"{packed.truncated} of {len(texts)} texts are longer than {limit} tokens and were cut.",
                stacklevel=outside(),
            )
        return self._columns(packed), packed

    def _columns(self, packed, prefix=""):
        columns = {f"{prefix}token_ids": Ragged.join(packed.token_ids)}
        if self.config.embeddings.num_segments > 1:
            columns[f"{prefix}segment_ids"] = Ragged.join(packed.segment_ids)
        if self.config.encoder is None:  # a decoder's padding may be any id
            columns[f"{prefix}padding_mask"] = Ragged.join(np.ones_like(ids) for ids in packed.token_ids)
        return columns

    @property
    def max_length(self):
        """The most tokens that the model reads at once, special tokens included, or None."""
        told = None if self.tokenizer is None else self.tokenizer.max_length
        return min((limit for limit in (self._longest("embeddings"), told) if limit), default=None)

    def room(self, pair=False):
        """How many tokens of a text, or pair of texts, fit in one row beside the special ones; None for any number."""
        longest, special = self.max_length, self._tokenizer().template.num_special(pair)
        if longest is not None and longest <= special:
            raise ValueError(
                f"Expected a model that reads more than the {special} special tokens of a row, got one of {longest}."
            )
        return None if longest is None else longest - special

    # Ids to answers

    def predict(self, x, batch_size=32, verbose="auto", **kwargs):
        """The model's outputs for texts, or for arrays as `keras.Model.predict` takes them.

        Args:
            x: texts: a list or array of strings or of pairs of strings, a dictionary of columns, …, as for `fit` but
                for the labels, which are left out where they are there; or what `keras.Model.predict` takes: a
                dictionary of `token_ids` and others, an array of ids, or a source of batches of those.
            batch_size: texts computed together; texts of similar length are.
            verbose, **kwargs: of `keras.Model.predict`, for arrays.

        Returns: a numpy array `[N, …]`, in the order of `x`; a list of `N` arrays where each token has an answer.
        """
        if _is_ids(x):
            return super().predict(x, batch_size=batch_size, verbose=verbose, **kwargs)
        columns = read_columns(x, labelled=False, words=self.reads_words)
        return self.run(self._input_columns(columns), batch_size)

    reads_words = False  # whether texts may come as lists of words

    def _input_columns(self, columns):
        """The model's inputs by name, a `Ragged` each, of what `read_columns` returns."""
        return self.encode_texts(columns.texts, columns.seconds)[0]

    @memory.advice("lower batch_size.")
    def run(self, columns, batch_size=32, progress=None):
        """The model's outputs for rows of ids, in their order: similar lengths together, in few shapes.

        Args:
            columns: the model's inputs by name, a `Ragged` each.
            batch_size: rows computed together.
            progress: a function called with the number of rows done, each time some are.

        Returns: a numpy array `[N, …]`; a list of `N` arrays `[T, …]` where there is an output for each token.
        """
        lengths = columns["token_ids"].lengths
        for name, column in columns.items():
            if name.endswith("token_ids"):
                self._check_ids(name, column.token_ids, "embeddings")
                self._check_lengths(column.lengths, "embeddings", name)
        results = [None] * len(lengths)
        compute = executors.forward(self, self.call)
        for rows in batches_by_length(lengths, batch_size):
            outputs = compute(self._padded(columns, rows))
            for place, row in enumerate(rows):
                results[row] = outputs[place, : lengths[row]] if outputs.ndim > 2 else outputs[place]
            if progress is not None:
                progress(len(rows))
        per_token = bool(results) and results[0].ndim > 1
        return results if per_token else np.stack(results) if results else np.zeros((0,), "float32")

    def _padded(self, columns, rows):
        """One batch, padded."""
        size, length = batch_shape(columns["token_ids"].lengths[rows], self._longest("embeddings"))

        def padded(name, column):
            width = length if name != "masked_positions" else bucket(column.lengths[rows].max())
            return column.padded(rows, (size, width), self.config.filler if name == "token_ids" else 0)[0]

        return {name: padded(name, column) for name, column in columns.items()}

    def export_with_text(self, folder, *, length=None):
        """Write one SavedModel that takes strings: tokenizer and model in one graph, for TensorFlow Serving and others.

        It needs the TensorFlow backend and the extra `in-graph`. Its signature `serve` takes strings `[B]`, and gives
        what the model gives as `outputs`, float32.

        Args:
            folder: where to write.
            length: to how many tokens each text is padded or cut; by default what the model reads.

        Raises:
            RuntimeError: on another backend.
            ValueError: for a tokenizer that no graph computes exactly (`Tokenizer.in_graph`).

        Example:
            >>> classifier.export_with_text("served", length=128)
            >>> served = tf.saved_model.load("served")
            >>> served.serve(tf.constant(["A delight."]))["outputs"]
        """
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                f"Expected the TensorFlow backend, whose format a SavedModel is, got {keras.backend.backend()}. Save "
                "the model, and load it with KERAS_BACKEND=tensorflow."
            )
        import tensorflow as tf

        length = min(limit for limit in (length, self.max_length) if limit) if length or self.max_length else None
        if length is None:
            raise ValueError("Expected a length: the model reads texts of any. Give one.")
        module = tf.Module()
        module.in_graph, module.model = self._tokenizer().in_graph(), self

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
        def serve(texts):
            inputs = module.in_graph.pack(texts, length=length)
            if self.config.embeddings.num_segments <= 1:
                inputs.pop("segment_ids")
            return {"outputs": tf.cast(self(inputs, training=False), tf.float32)}

        module.serve = serve
        tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})

    # Training

    def _labelled(self, columns, labels, weights, packed):
        return Examples(columns, labels, weights, self.config.filler, packed.truncated)


def _is_ids(x):
    """Whether a source is of token ids already."""
    if isinstance(x, collections.abc.Mapping):
        return "token_ids" in x
    if isinstance(x, keras.utils.PyDataset):
        first = x[0]
        return _is_ids(first[0] if isinstance(first, tuple) else first)
    if hasattr(x, "element_spec"):  # tf.data
        spec = x.element_spec
        return _is_ids(spec[0] if isinstance(spec, tuple) else spec)
    dtype = str(getattr(x, "dtype", "")).rpartition(".")[2]
    return "int" in dtype and len(getattr(x, "shape", ())) == 2


def as_list(texts):
    """`(list of texts, whether it was one alone)`, of a text or several."""
    if isinstance(texts, str):
        return [texts], True
    if isinstance(texts, (bytes, collections.abc.Mapping)) or not isinstance(texts, collections.abc.Iterable):
        raise TypeError(f"Expected a text or a list of texts, got {short(texts)}.")
    return list(texts), False


_COMPILED = keras.backend.backend() != "torch"
_GROUP = 4 if _COMPILED else 2  # the number of rows in a batch is a multiple of it, where there are as many


def _rounded(length):
    """A length as it is padded: as it is where no shape is compiled."""
    return bucket(length, steps=4) if _COMPILED else max(int(length), 1)


def batch_shape(lengths, limit=None):
    """The shape `(B, T)` that rows are padded to: a round length, of no more than `limit`, and a round number of rows
    where each shape is compiled."""
    rows, length = len(lengths), _rounded(lengths.max())
    if _COMPILED and rows >= _GROUP:
        rows = -(-rows // _GROUP) * _GROUP
    return rows, min(length, limit or length)


def batches_by_length(lengths, size):
    """Rows of similar length together, `size` of them at most, the longest first.

    A batch ends early where the next text is at most seven eighths as long as its first, rounded: what the padding
    would cost is more than another batch does.
    """
    order = np.argsort(-lengths, kind="stable")
    rounded = [_rounded(length) for length in lengths[order]]
    begin = 0
    for end in range(1, len(order) + 1):
        done = end == len(order) or end - begin == size
        if done or (end - begin) % _GROUP == 0 and rounded[end] <= rounded[begin] * 7 // 8:
            yield order[begin:end]
            begin = end


def windows(length, room, overlap):
    """`(begin, end)` of the parts of a text of `length` tokens that fit in `room`, each sharing `overlap` with the one
    before.

    One part where all fits, or `room` is None. The last is as long as the others: it begins earlier.

    Raises:
        ValueError: unless `overlap` leaves something of `room`.
    """
    if room is not None and not 0 <= overlap < room:
        raise ValueError(f"Expected an overlap from 0 to below the {room} tokens of a window, got {overlap}.")
    if room is None or length <= room:
        return [(0, length)]
    begins = [*range(0, length - room, room - overlap), length - room]
    return [(begin, begin + room) for begin in begins]
