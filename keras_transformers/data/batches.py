"""Examples to batches: read once, kept as token ids, batched in a few fixed shapes.

    any source of pairs ── pairs.encode_pairs ──► Pairs ───────┐
    any source of texts ── examples.encode_texts ► Examples ───┤── split ──► two of the same
                                                               ▼
                                         Batches (epoch, index) ── keras_data ──► keras.Model.fit

Text never reaches Keras: a source stays in memory as flat int32 ids (four bytes a token). Every batch is a pure
function of (seed, epoch, index), so that stopped training can resume.

Shapes: `N` examples, `C` sequences in each, `B` rows of a batch, `S` source tokens, `T` target tokens.
"""

import collections
import contextlib
import copy
import hashlib
import itertools
import operator
import threading
import time
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping

import keras
import numpy as np

from keras_transformers.backends import training
from keras_transformers.data.pairs import encode_pairs, in_background

MAX_EDGES = 128  # the most candidates for a bucket's maximum length


class Position(typing.NamedTuple):
    """A position in training: `batch` batches of `epoch` are done (both from 0), and `step` batches in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0


BEGINNING = Position()
Batch: typing.TypeAlias = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]  # inputs, labels, weights


def translation_batches(
    source: typing.Any,
    target: typing.Any = None,
    *,
    tokenizer: typing.Any = None,
    batch_tokens: int = 4096,
    batch_size: int | None = None,
    max_length: int | None = None,
    num_buckets: int = 8,
    shuffle: bool = True,
    seed: int = 0,
) -> "Batches":
    """Make batches for teacher forcing, bucketed by length, from any source of sentence pairs.

    Args:
        source, target, tokenizer, max_length: see `encode_pairs`, which also takes `Pairs` that are encoded already
            (and then no tokenizer is needed).
        batch_tokens: the most tokens of a batch on its longer side, padding included: `B * max(S, T)`. Vaswani et al.
            2017 use about 25000.
        batch_size: instead, the number of rows of each batch, the same for every bucket.
        num_buckets: the most distinct batch shapes, and so the most compilations of a training step.
        shuffle: whether to shuffle the pairs anew in each epoch; `False` for evaluation.
        seed: the seed of shuffling.

    Returns:
        `Batches`.

    Raises:
        TypeError, ValueError: as `encode_pairs`, and for sizes below 1.

    Example:
        >>> batches = translation_batches(english, french, tokenizer=tokenizer, batch_tokens=8192)
        >>> inputs, labels, sample_weight = batches.batch(epoch=0, index=0)
        >>> {name: array.shape for name, array in inputs.items()}
        {'token_ids': (512, 16), 'decoder_token_ids': (512, 16)}
    """
    pairs = encode_pairs(source, target, tokenizer=tokenizer, max_length=max_length)
    return Batches(
        pairs, batch_tokens=batch_tokens, batch_size=batch_size, num_buckets=num_buckets, shuffle=shuffle, seed=seed
    )


class Bucket(typing.NamedTuple):
    """The examples of similar length that share one batch shape."""

    rows: np.ndarray  # numbers of the examples
    size: int  # B
    lengths: tuple[int, ...]  # length of each of the C sequences

    @property
    def num_batches(self) -> int:
        return -(-len(self.rows) // self.size)


class Batches:
    """Batches of fixed shapes, each a pure function of `(seed, epoch, index)`.

    Every bucket has one shape; its last batch is filled up with empty rows (padding only, weight 0). The batches of all
    buckets are shuffled together. The lengths of the buckets minimise the tokens of an epoch, padding included (dynamic
    programming over the lengths). With buckets of equally many pairs, one long sentence would stretch a whole bucket.

    Args:
        pairs: `Pairs`, `Arrays` or `Examples`, or any object with `lengths` int `[N, C]`, `token_ids` (arrays by name),
            `truncated`, `take(rows)` and `batch(rows, size, lengths, rng)`.
        batch_tokens, batch_size, num_buckets, shuffle, seed: see `translation_batches`.
        longest: the model's number of positions. Rows are padded to a round length up to this limit.

    Attributes:
        seconds_waited: the time that readers have waited for batches that were not ready yet.
    """

    def __init__(
        self,
        pairs: typing.Any,
        *,
        batch_tokens: int = 4096,
        batch_size: int | None = None,
        num_buckets: int = 8,
        shuffle: bool = True,
        seed: int = 0,
        longest: int | None = None,
    ) -> None:
        for name, value in (("batch_tokens", batch_tokens), ("batch_size", batch_size), ("num_buckets", num_buckets)):
            if value is not None and operator.index(value) < 1:
                raise ValueError(f"Expected {name} of at least 1, got {value}.")
        self.pairs, self.shuffle, self.seed = pairs, shuffle, seed
        self.truncated = pairs.truncated
        self.buckets = _buckets(pairs.lengths, batch_tokens, batch_size, num_buckets, longest)
        self.seconds_waited = 0.0
        self._filled, self._multiple = True, 1
        self._class_weight: np.ndarray | None = None
        self._plans: collections.OrderedDict[int, list[tuple[Bucket, np.ndarray]]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def changed(
        self, *, filled: bool = True, multiple: int | None = None, class_weight: np.ndarray | None = None
    ) -> typing.Self:
        """Return the same batches with another treatment of rows and weights.

        Args:
            filled: False to leave out the empty rows that fill up the last batch of a bucket.
            multiple: fill up the number of rows to a multiple of this number.
            class_weight: float `[C]`: each label's weight is multiplied by the weight of its class.
        """
        other = copy.copy(self)
        other._filled = self._filled and filled
        other._multiple = self._multiple if multiple is None else multiple
        other._class_weight = self._class_weight if class_weight is None else class_weight
        return other

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return sum(bucket.num_batches for bucket in self.buckets)

    def batch(self, epoch: int, index: int) -> Batch:
        """Return batch `index` of `epoch`, both from 0.

        Returns:
            `({"token_ids": int32 [B, S], "decoder_token_ids": int32 [B, T]}, labels int32 [B, T], sample_weight float32
            [B, T])`

        Raises:
            IndexError: if `index` is outside of the epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Expected a batch index in [0, {len(self)}), got {index}.")
        bucket, rows = self._plan(epoch)[index]
        rng = np.random.default_rng((self.seed, epoch, index))
        size = -(-bucket.size // self._multiple) * self._multiple
        inputs, labels, weights = self.pairs.batch(rows, size, bucket.lengths, rng)
        if self._class_weight is not None:
            weights = weights * self._class_weight[labels]
        if not self._filled:
            inputs = {name: array[: len(rows)] for name, array in inputs.items()}
            labels, weights = labels[: len(rows)], weights[: len(rows)]
        return inputs, labels, weights

    def fingerprint(self) -> str:
        """Return a hash of the data and the batching. Checkpoints keep it to detect changed data."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.pairs.lengths, *self.pairs.token_ids.values()):
            digest.update(np.ascontiguousarray(array).data)
        shapes = [bucket[1:] for bucket in self.buckets]
        digest.update(repr((len(self), self.shuffle, self.seed, shapes)).encode())
        return digest.hexdigest()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of `epoch` from `start` on, prepared on threads ahead of their use."""
        return self._ahead((epoch, index) for index in range(start, len(self)))

    def stream(self, position: Position = BEGINNING) -> Iterator[Batch]:
        """Iterate without end from `position` on, epoch after epoch, prepared on threads ahead of their use."""
        first = position.epoch * len(self) + position.batch
        return self._ahead(divmod(number, len(self)) for number in itertools.count(first))

    def _ahead(self, places: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        with contextlib.closing(in_background(self.batch, places, ahead=8, threads=2)) as prepared:
            while True:
                begin = time.perf_counter()
                batch = next(prepared, None)
                self.seconds_waited += time.perf_counter() - begin
                if batch is None:
                    return
                yield batch

    def _plan(self, epoch: int) -> list[tuple[Bucket, np.ndarray]]:
        """Return [(bucket, rows)] for each batch of `epoch`."""
        with self._lock:
            if epoch not in self._plans:
                rng = np.random.default_rng((self.seed, epoch))
                plan = []
                for bucket in self.buckets:
                    rows = rng.permutation(bucket.rows) if self.shuffle else bucket.rows
                    plan += [(bucket, rows[begin : begin + bucket.size]) for begin in range(0, len(rows), bucket.size)]
                order = rng.permutation(len(plan)) if self.shuffle else range(len(plan))
                self._plans[epoch] = [plan[index] for index in order]
                while len(self._plans) > 2:  # the current epoch, and the next, whose first batches are prepared early
                    self._plans.popitem(last=False)
            return self._plans[epoch]


def keras_data(batches: Batches, position: Position | Callable[[], Position] | None = None) -> typing.Any:
    """Return `batches` without end, from `position` on, as data for `keras.Model.fit` and `evaluate` on this backend.

    Pass `shuffle=False` and `steps_per_epoch=len(batches)` with it (`steps=` to `evaluate`, `validation_steps=` for
    validation). Each new iteration begins at `position` again. On TensorFlow the result is a `tf.data.Dataset` with
    free lengths, because Keras would fix the lengths of the first two batches; otherwise it is a
    `keras.utils.PyDataset`.

    Args:
        batches: `Batches`.
        position: `Position` to begin at, or a function that returns it when an iteration begins; None for the very
            beginning.

    Example:
        >>> model.fit(keras_data(batches), steps_per_epoch=len(batches), epochs=10, shuffle=False)
    """
    begin = position if callable(position) else lambda: position or BEGINNING
    return training.endless(_Stream(batches, begin), lambda: batches.stream(begin()), lambda: batches.batch(0, 0))


class _Stream(keras.utils.PyDataset):
    """`Batches.stream` by index, for Keras, which asks in order and from 0 again in each new iteration."""

    def __init__(self, batches: Batches, begin: Callable[[], Position]) -> None:
        super().__init__()
        self._batches, self._begin = batches, begin
        self._iterator: Iterator[tuple] = iter(())
        self._next: int | None = None

    @property
    def num_batches(self) -> None:
        """None: the stream has no end."""
        return None

    def __getitem__(self, index: int) -> Batch:
        if index != self._next:
            begin = self._begin()
            start = begin._replace(batch=begin.batch + index)
            self._iterator = self._batches.stream(start)
        self._next = index + 1
        return next(self._iterator)


def round_up(length: int, limit: int | None = None) -> int:
    """Round up to a multiple of 8, or of 4 up to 16, for few shapes and little padding; not above the limit."""
    step = 4 if length <= 16 else 8
    rounded = -(-int(length) // step) * step
    return rounded if limit is None else min(rounded, max(limit, int(length)))


def _buckets(
    lengths: np.ndarray, batch_tokens: int, batch_size: int | None, num_buckets: int, limit: int | None = None
) -> list[Bucket]:
    """Return up to `num_buckets` `Bucket`s of examples of `lengths` `[N, C]`, with the least padding in an epoch."""
    longest = lengths.max(axis=1)
    candidates = np.unique([round_up(length, limit) for length in np.unique(longest)])
    if len(candidates) > MAX_EDGES:
        candidates = candidates[np.linspace(0, len(candidates) - 1, MAX_EDGES).round().astype(int)]
    group = np.searchsorted(candidates, longest)
    counts = np.bincount(group, minlength=len(candidates))
    maxima = np.zeros((len(candidates), lengths.shape[1]), "int64")
    np.maximum.at(maxima, group, lengths)

    def shape(begin: int, end: int) -> tuple[int, tuple[int, ...], int]:
        """Return rows, lengths and number of examples of a bucket of the candidates `begin` to `end`, both included."""
        longest = tuple(round_up(length, limit) for length in maxima[begin : end + 1].max(axis=0))
        count = int(counts[begin : end + 1].sum())
        size = batch_size or max(batch_tokens // max(longest), 1)
        if batch_size is None and size > 8:
            size -= size % 8
        return min(size, -(-count // 8) * 8), longest, count

    def padded_tokens(begin: int, end: int) -> int:
        size, longest, count = shape(begin, end)
        return -(-count // size) * size * sum(longest)

    size = len(candidates)
    tokens = {(begin, end): padded_tokens(begin, end) for end in range(size) for begin in range(end + 1)}
    least = _least_tokens(tokens, size, num_buckets)
    # If one more bucket saves nothing, `above[end]` was kept; the start of its last bucket is one level up.
    buckets, end, level = [], size - 1, len(least) - 1
    while end >= 0:
        while level and least[level - 1][end][0] == least[level][end][0]:
            level -= 1
        begin = least[level][end][1]
        rows, longest, _ = shape(begin, end)
        chosen = np.flatnonzero((group >= begin) & (group <= end))
        buckets.append(Bucket(chosen, rows, longest))
        end, level = begin - 1, level - 1
    return buckets[::-1]


def _least_tokens(tokens: Mapping[tuple[int, int], int], size: int, num_buckets: int) -> list[list[tuple[int, int]]]:
    """Return for `[k][end]` the least tokens of the candidates up to `end` in at most `k + 1` buckets, with the start
    of the last bucket, given the tokens of a bucket from one candidate to another."""
    least = [[(tokens[0, end], 0) for end in range(size)]]
    for _ in range(1, min(num_buckets, size)):
        above = least[-1]
        least.append(
            [
                min([above[end], *((above[begin - 1][0] + tokens[begin, end], begin) for begin in range(1, end + 1))])
                for end in range(size)
            ]
        )
    return least
