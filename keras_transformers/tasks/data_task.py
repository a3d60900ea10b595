"""The base class for data from users: converts it to examples, to a single batch, or to rows and back to answers.

Legend: `N` rows, `B` batch, `T` length.
"""

import collections.abc
import re
import typing

import keras
import numpy as np

from keras_transformers import memory
from keras_transformers.backends import execution
from keras_transformers.data.batches import Batches, round_up
from keras_transformers.data.columns import LABELS
from keras_transformers.data.containers import are_parts
from keras_transformers.data.examples import NO_LABEL, Examples
from keras_transformers.data.pairs import Pairs
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source
from keras_transformers.data.token_ids import read_ids
from keras_transformers.generation import executors
from keras_transformers.models.sizes import bucket
from keras_transformers.tasks.answers import Progress
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.trained import Trained

# The number of rows in a batch is a multiple of this, if there are as many.
_GROUP = 2 if execution.SHAPES_MAY_VARY else 4


class DataTask(Trained):
    """A model that reads texts, or token ids, from any container (`data.sources`). Abstract: use one of the tasks.

    Attributes:
        form: the form of the task's examples.
        seen_form: their form without labels, for prediction.
        sides: the prefixes of `token_ids` in the names of an example's sequences.
        label_columns: the possible names of a column of labels.
        batch_tokens, batch_size: how many tokens, or examples, a batch of `fit` holds by default.
        reading_options: the options of `fit` and `evaluate` for reading texts, besides `max_length`.
    """

    form = Form()
    seen_form = Form(labelled=False)
    sides: tuple[str, ...] = ("",)
    label_columns: tuple[str, ...] = LABELS
    batch_tokens: int = 4096
    batch_size: int | None = None
    reading_options: tuple[str, ...] = ("columns",)

    def _examples(
        self,
        x: typing.Any,
        y: typing.Any,
        sample_weight: typing.Any,
        max_length: int | None = None,
        **reading: typing.Any,
    ) -> typing.Any:
        """`Examples`, or `Pairs`, from the data given to `fit`."""
        if isinstance(x, (Examples, Pairs)):
            return x
        form = self.form if y is None else self.form._replace(labelled=False)
        source = x if isinstance(x, Source) else Source(x, y, sample_weight, form)
        if source.holds_ids:
            columns, packing = reading.pop("columns", None), {"max_length": max_length, **reading}
            examples = self._of_ids(self._read_ids(source, columns), **packing)
        else:
            examples = self._of_texts(source, max_length, **reading)
        self._check_examples(examples)
        return examples

    def _of_texts(
        self, source: Source, max_length: int | None, columns: dict[str, str] | None = None
    ) -> Examples | Pairs:
        """Examples from a `Source` of texts. Abstract."""
        raise NotImplementedError

    def _of_ids(self, ids: typing.Any, max_length: int | None) -> Examples | Pairs:
        """Examples from the result of `_read_ids`. Abstract."""
        raise NotImplementedError

    def _read_ids(
        self, source: Source, columns: dict[str, str] | None = None, sides: collections.abc.Sequence[str] | None = None
    ) -> typing.Any:
        """`Ids` from a `Source` of the user's own token ids."""
        return read_ids(
            source.whole(),
            sides=sides or self.sides,
            labels=self.label_columns,
            padding_id=self.config.padding_id,
            segments=self.config.num_segments > 1,
            masked=self._needs_mask(),
            columns=columns,
        )

    def _needs_mask(self) -> bool:
        """Whether the model recognizes padding only by a mask."""
        return False

    def _check_examples(self, examples: typing.Any) -> None:
        """Refuse ids and lengths out of the model's range. JAX would silently compute something with both."""
        names = [name for name in examples.token_ids if name.endswith("token_ids")]
        for column, name in enumerate(names):
            self._check_ids(name, examples.token_ids[name], _side(name))
            self._check_lengths(examples.lengths[:, column], _side(name), name)

    def _check_label_ids(self, examples: typing.Any) -> None:
        """Refuse labels outside of the model's vocabulary."""
        labels = np.asarray(examples.token_ids["labels"])
        self._check_ids("labels", labels[labels != NO_LABEL], "target_embeddings")

    def _check_cut(self, lengths: np.ndarray, max_length: int | None) -> None:
        """Refuse rows of ids longer than `max_length`: only texts are cut."""
        if max_length is not None and lengths.max(initial=0) > max_length:
            raise ValueError(
                f"Expected token ids of at most max_length={max_length} a row, got {lengths.max()}. Cut them yourself: "
                "only texts are cut here."
            )

    def _taken_options(self, kwargs: dict[str, typing.Any], max_length: int | None) -> dict[str, typing.Any]:
        """Remove the options for reading texts from the arguments of `fit` or `evaluate`, and return them."""
        taken = {name: kwargs.pop(name) for name in self.reading_options if name in kwargs}
        return {"max_length": max_length, **taken}

    def _batching(self, batch_tokens: int | None, batch_size: int | None) -> dict[str, typing.Any]:
        """The batch sizes: the given ones, or those of the task."""
        if batch_tokens is None and batch_size is None:
            batch_tokens, batch_size = self.batch_tokens, self.batch_size
        return {"batch_tokens": batch_tokens or self.batch_tokens, "batch_size": batch_size}

    def _batches(self, data: tuple, reading_options: dict[str, typing.Any], **options: typing.Any) -> Batches:
        """`Batches` from the data given to `fit` or `evaluate`. Checks batches that the user made."""
        batches, *rest = data
        if not isinstance(batches, Batches):
            positions = [each for each in map(self._longest, ("embeddings", "target_embeddings")) if each]
            batches = Batches(self._examples(*data, **reading_options), longest=min(positions, default=None), **options)
        elif any(value is not None for value in (*rest, reading_options["max_length"])):
            raise ValueError("Expected Batches alone: targets, weights and max_length are given when they are made.")
        else:
            self._check_examples(batches.pairs)
        return self._as_trained(batches)

    def _class_weights(self, class_weight: collections.abc.Mapping[typing.Any, float] | None) -> np.ndarray | None:
        """The class weights, float32 `[C]`, from a dictionary as for Keras; None for None."""
        if class_weight is not None:
            raise ValueError(
                f"Expected no class_weight: a {type(self).__name__} learns no classes. Pass sample_weight=, a number "
                "for each example."
            )
        return None

    @staticmethod
    def _unpacked(data: typing.Any) -> tuple[typing.Any, typing.Any, typing.Any]:
        """`(x, y, sample_weight)` of validation data. As in Keras, a tuple or list of two or three containers holds
        these; anything else is one source of all."""
        pair = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str)
        if pair or are_parts(data):
            return (*data, None)[:3]
        return data, None, None

    def _check_lengths(self, lengths: np.ndarray, embeddings: str, name: str) -> None:
        longest = self._longest(embeddings)
        if longest is not None and lengths.max() > longest:
            raise ValueError(
                f"Expected at most {longest} {name}, for which the model has positions, got {lengths.max()}. "
                f"Make the batches with max_length={longest}, which cuts them and says so."
            )

    def _check_ids(self, name: str, token_ids: np.ndarray, embeddings: str) -> None:
        """Refuse ids outside of the vocabulary, for which JAX would silently compute NaN."""
        size = getattr(self.config, embeddings).vocabulary_size
        if token_ids.size and not (0 <= token_ids.min() and token_ids.max() < size):
            raise ValueError(
                f"Expected token ids in [0, {size}) in {name}, got ids from {token_ids.min()} to {token_ids.max()}. "
                "Does the tokenizer belong to the model?"
            )

    def _longest(self, embeddings: str) -> int | None:
        """The number of positions for a source (`embeddings`) or target (`target_embeddings`); None for any number."""
        table = getattr(self.config, embeddings)
        return table.context_length if table.positions is None else table.positions.max_length

    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise ValueError(
                "This model has no tokenizer to read text with: give one to its constructor, or set `model.tokenizer`."
            )
        return self.tokenizer

    # One batch

    def train_on_batch(
        self,
        x: typing.Any,
        y: typing.Any = None,
        sample_weight: typing.Any = None,
        class_weight: collections.abc.Mapping[typing.Any, float] | None = None,
        return_dict: bool = False,
    ) -> typing.Any:
        """Train for one step on one batch, as `keras.Model.train_on_batch`. Takes any data that `fit` takes, or the
        arrays of a finished batch."""
        x, y, sample_weight = self._one_batch(x, y, sample_weight)
        table = self._class_weights(class_weight)
        if table is not None:
            weights = keras.ops.take(keras.ops.convert_to_tensor(table), keras.ops.cast(y, "int32"), axis=0)
            sample_weight = weights if sample_weight is None else weights * sample_weight
        return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: typing.Any, y: typing.Any = None, sample_weight: typing.Any = None, return_dict: bool = False
    ) -> typing.Any:
        """Loss and metrics on one batch, as `keras.Model.test_on_batch`. Takes any data that `fit` takes, or the arrays
        of a finished batch."""
        return super().test_on_batch(*self._one_batch(x, y, sample_weight), return_dict=return_dict)

    def predict_on_batch(self, x: typing.Any) -> np.ndarray | list[np.ndarray]:
        """The outputs for one batch as numpy: for texts as from `predict`, for arrays as from
        `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(x) if are_arrays(x) else self.predict(x, batch_size=None)

    def _one_batch(self, x: typing.Any, y: typing.Any, sample_weight: typing.Any) -> tuple[typing.Any, ...]:
        """`(x, y, sample_weight)` as tensors."""
        if not self.compiled:
            self.compile()  # type: ignore[call-arg]  # of `Task`, which has a default
        if not _is_batch(x, y, sample_weight):
            examples = self._examples(x, y, sample_weight)
            names = getattr(examples, "token_columns", ("token_ids", "decoder_token_ids"))
            limits = [self._longest(_side(name)) for name in names]
            lengths = [round_up(n, limit) for n, limit in zip(examples.lengths.max(axis=0), limits, strict=True)]
            rng = np.random.default_rng((0, int(self.optimizer.iterations)))
            x, y, sample_weight = examples.batch(np.arange(len(examples)), len(examples), lengths, rng)
        return tuple(
            None if each is None else keras.tree.map_structure(keras.ops.convert_to_tensor, each)
            for each in (x, y, sample_weight)
        )

    def preprocess(
        self, texts: typing.Any, seconds: typing.Any = None, *, max_length: int | None = None
    ) -> dict[str, np.ndarray]:
        """Texts as the padded arrays that the model reads, and the graphs of `export`.

        Args:
            texts: a string, or a list, array or series of strings.
            seconds: the second text of each pair, for a task that reads pairs.
            max_length: the most tokens of a row; by default as many as the model reads.

        Returns: a dictionary of arrays `[N, T]`: int32 `token_ids` and bool `padding_mask`, True for tokens; int32
            `segment_ids` if the model has segments. For an encoder-decoder, int32 `decoder_token_ids [N, 1]` too, the
            start tokens. The prompts of a decoder are padded in front, and int32 `starts [N, 1]` says how far.

        Raises:
            TypeError: for values that are not texts.
            ValueError: for pairs, if the task writes texts.

        Example:
            >>> inputs = classifier.preprocess(["A delight.", "A long, long disappointment."])
            >>> logits = classifier(inputs)
        """
        from keras_transformers.tasks import preprocessing

        return preprocessing.preprocess(self, texts, seconds, max_length)

    # Outputs

    def predict(
        self,
        x: typing.Any,
        batch_size: int | None = 32,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: collections.abc.Sequence[keras.callbacks.Callback] | None = None,
        **kwargs: typing.Any,
    ) -> np.ndarray | list[np.ndarray]:
        """The model's outputs for texts, or for arrays as `keras.Model.predict` takes them.

        Args:
            x: texts as for `fit`: a list, array or series of strings or of pairs of strings, a data frame or dictionary
                of columns, …; labels are ignored. Or token ids, `{"token_ids": lists of unequal length}`. Or any input
                of `keras.Model.predict`: a dictionary of arrays `token_ids` and others, an array of ids, or a source of
                batches of those.
            batch_size: rows computed together; rows of similar length are batched. None for all at once.
            verbose, steps, callbacks: arguments of `keras.Model.predict`, for arrays.
            **kwargs: `columns`, as for `fit`.

        Returns: a numpy array `[N, …]`, in the order of `x`; a list of `N` arrays `[T, …]` if each token has an output.
        """
        if are_arrays(x):
            return super().predict(x, batch_size, verbose, steps, callbacks, **kwargs)
        source = Source(x, form=self.seen_form)
        if source.holds_ids:
            inputs = self._seen_ids(source, **kwargs)
        else:
            inputs = self._seen(source, **kwargs)
        return self.run(inputs, batch_size)

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        """The model's inputs by name, each a `Ragged`, from a `Source` of texts. Abstract."""
        raise NotImplementedError

    def _seen_ids(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        """The model's inputs by name, each a `Ragged`, from a `Source` of token ids."""
        return self._read_ids(source, columns).columns

    @memory.advice("lower batch_size.")
    def run(
        self, columns: dict[str, Ragged], batch_size: int | None = 32, progress: Progress | None = None
    ) -> typing.Any:
        """The model's outputs for rows of ids, in their order. Batches hold similar lengths and have few shapes.

        Args:
            columns: the model's inputs by name, each a `Ragged`.
            batch_size: rows computed together; None for all.
            progress: a function called with the number of finished rows, after each batch.

        Returns: a numpy array `[N, …]`; a list of `N` arrays `[T, …]` if each token has an output.
        """
        for name, column in columns.items():
            if name.endswith("token_ids"):
                self._check_ids(name, column.token_ids, _side(name))
                self._check_lengths(column.lengths, _side(name), name)
        lengths = columns.get("decoder_token_ids", columns["token_ids"]).lengths
        results: list[typing.Any] = [None] * len(lengths)
        compute = executors.forward(self, self.call)
        for rows in batches_by_length(lengths, batch_size or max(len(lengths), 1)):
            outputs = compute(self._padded(columns, rows))
            for place, row in enumerate(rows):
                results[row] = outputs[place, : lengths[row]] if outputs.ndim > 2 else outputs[place]
            if progress is not None:
                progress(len(rows))
        per_token = bool(results) and results[0].ndim > 1
        return results if per_token else np.stack(results) if results else np.zeros((0,), "float32")

    def _padded(self, columns: dict[str, Ragged], rows: np.ndarray) -> dict[str, np.ndarray]:
        """One batch, padded."""
        padded = {}
        for name, column in columns.items():
            tokens = re.sub("(segment_ids|padding_mask|pooling_mask|masked_positions)$", "token_ids", name)
            size, length = batch_shape(columns[tokens].lengths[rows], self._longest(_side(tokens)))
            width = length if name != "masked_positions" else bucket(column.lengths[rows].max())
            fill = self.config.filler if name.endswith("token_ids") else 0
            padded[name] = column.padded(rows, (size, width), fill)[0]
        return padded


def _side(name: str) -> str:
    """The name of the embeddings that read a column of token ids."""
    return "target_embeddings" if name.startswith("decoder_") else "embeddings"


def are_arrays(x: typing.Any) -> bool:
    """Whether `keras.Model.predict` takes `x` directly: token ids in arrays, or a stream of batches of those."""
    if isinstance(x, collections.abc.Mapping):
        return "token_ids" in x and all(hasattr(each, "shape") and hasattr(each, "dtype") for each in x.values())
    if isinstance(x, keras.utils.PyDataset):
        first = x[0]
        return are_arrays(first[0] if isinstance(first, tuple) else first)
    if hasattr(x, "element_spec"):  # tf.data
        spec = x.element_spec
        return are_arrays(spec[0] if isinstance(spec, tuple) else spec)
    dtype = str(getattr(x, "dtype", "")).rpartition(".")[2]
    return "int" in dtype and len(getattr(x, "shape", ())) == 2


def _is_batch(x: typing.Any, y: typing.Any, sample_weight: typing.Any) -> bool:
    """Whether a batch is finished: it holds arrays, with a weight for each label or with inputs that only batches
    have."""
    if not isinstance(x, collections.abc.Mapping) or not are_arrays(x):
        return False
    if not x.keys().isdisjoint(("masked_positions", "starts")):
        return True
    return y is not None and sample_weight is not None and np.shape(y) == np.shape(sample_weight) != ()


def _rounded(length: int) -> int:
    """The padded length; the length itself if no shape is compiled."""
    return max(int(length), 1) if execution.SHAPES_MAY_VARY else bucket(length, steps=4)


def batch_shape(lengths: np.ndarray, limit: int | None = None) -> tuple[int, int]:
    """The shape `(B, T)` that rows are padded to. If each shape is compiled, length and number of rows are rounded up;
    the length never exceeds `limit`."""
    rows, length = len(lengths), _rounded(lengths.max())
    if not execution.SHAPES_MAY_VARY and rows >= _GROUP:
        rows = -(-rows // _GROUP) * _GROUP
    return rows, min(length, limit or length)


def batches_by_length(lengths: np.ndarray, size: int) -> collections.abc.Iterator[np.ndarray]:
    """Batch rows of similar length, at most `size` of them, the longest first.

    A batch ends early if the next text, rounded, is at most seven eighths as long as the first: then padding would cost
    more than another batch.
    """
    order = np.argsort(-lengths, kind="stable")
    rounded = [_rounded(length) for length in lengths[order]]
    begin = 0
    for end in range(1, len(order) + 1):
        done = end == len(order) or end - begin == size
        if done or (end - begin) % _GROUP == 0 and rounded[end] <= rounded[begin] * 7 // 8:
            yield order[begin:end]
            begin = end
