"""Sentence pairs as token ids: any source of them read once, encoded in chunks on a thread, kept as flat int32 ids.

`N` pairs, `B` rows of a batch, `S` source tokens, `T` target tokens, as in `datasets`.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import typing
import warnings

import keras
import numpy as np

CHUNK = 4096  # pairs encoded at a time


class Ragged(typing.NamedTuple):
    """Sequences of unequal length, end to end: sequence `i` is `token_ids[offsets[i] : offsets[i + 1]]`."""

    token_ids: np.ndarray  # int32 [sum of lengths]
    offsets: np.ndarray  # int64 [N + 1]

    @classmethod
    def join(cls, arrays):
        """One `Ragged` of an iterable of int32 arrays."""
        arrays = list(arrays)
        offsets = np.zeros(len(arrays) + 1, "int64")
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, "int32"), offsets)

    @property
    def lengths(self):
        return np.diff(self.offsets)

    def padded(self, rows, shape, padding_id):
        """The sequences numbered `rows`, padded to int32 of `shape`, and where they are no padding, bool."""
        token_ids, there = np.full(shape, padding_id, "int32"), np.zeros(shape, bool)
        places = self.offsets[rows, None] + np.arange(shape[1])
        there[: len(rows)] = places < self.offsets[rows + 1, None]
        token_ids[there] = self.token_ids[places[there[: len(rows)]]]
        return token_ids, there

    def take(self, rows):
        """The sequences numbered `rows`, in that order."""
        return Ragged.join([self.token_ids[self.offsets[row] : self.offsets[row + 1]] for row in rows])


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Encoded sentence pairs, each side with its end token already on."""

    sources: Ragged
    targets: Ragged
    padding_id: int
    start_id: int
    truncated: int = 0

    def __len__(self):
        return len(self.sources.offsets) - 1

    @property
    def lengths(self):
        """int64 `[N, 2]`: source and target lengths in tokens, with the end token."""
        return np.stack([self.sources.lengths, self.targets.lengths], axis=1)

    @property
    def token_ids(self):
        """All ids there are, by what they are for."""
        return {"token_ids": self.sources.token_ids, "labels": self.targets.token_ids}

    def take(self, rows):
        """The pairs numbered `rows`, in that order."""
        return dataclasses.replace(self, sources=self.sources.take(rows), targets=self.targets.take(rows))

    def batch(self, rows, size, lengths, rng=None):
        """Teacher forcing: the decoder reads start + target and is to say target + end."""
        source_length, target_length = lengths
        token_ids, _ = self.sources.padded(rows, (size, source_length), self.padding_id)
        labels, there = self.targets.padded(rows, (size, target_length), self.padding_id)
        decoder_token_ids = np.full_like(labels, self.padding_id)
        decoder_token_ids[:, 1:] = np.where(there[:, 1:], labels[:, :-1], self.padding_id)
        decoder_token_ids[: len(rows), 0] = self.start_id
        return {"token_ids": token_ids, "decoder_token_ids": decoder_token_ids}, labels, there.astype("float32")


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Batches that the user has prepared, all of one shape: inputs, labels and weights as they are."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    sample_weight: np.ndarray
    padding_id: int
    truncated: int = 0

    def __len__(self):
        return len(self.labels)

    @property
    def lengths(self):
        return np.tile([self.inputs["token_ids"].shape[1], self.labels.shape[1]], (len(self), 1))

    @property
    def token_ids(self):
        return {**self.inputs, "labels": self.labels}

    def take(self, rows):
        """The rows numbered `rows`, in that order."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return dataclasses.replace(
            self, inputs=inputs, labels=self.labels[rows], sample_weight=self.sample_weight[rows]
        )

    def batch(self, rows, size, lengths, rng=None):
        """These rows, filled up to `size` rows and to these lengths with padding that has no weight."""
        taken = self.take(rows)

        def filled(array, length, value=self.padding_id):
            shape = ((0, size - len(rows)), (0, length - array.shape[1]))
            return np.pad(array, shape, constant_values=value)

        wide = dict(zip(("token_ids", "decoder_token_ids"), lengths, strict=True))
        inputs = {name: filled(array, wide[name]) for name, array in taken.inputs.items()}
        return inputs, filled(taken.labels, lengths[1]), filled(taken.sample_weight, lengths[1], 0)


def encode_pairs(
    source, target=None, *, tokenizer=None, max_length=None, start_id=None, padding_id=None, sample_weight=None
):
    """Read a source of sentence pairs to its end and keep it as token ids.

    Args:
        source: what to translate from, or both sides at once. One of
            a list, tuple or array of strings, with `target` alike;
            a tuple `(sources, targets)` of two of these;
            a list (or other iterable) of `(source, target)` pairs of strings;
            a `tf.data.Dataset`, `keras.utils.PyDataset`, torch `DataLoader` or generator of such pairs, or of
            `(sources, targets)` batches of them. It must come to an end;
            a dict of prepared arrays, `token_ids` `[N, S]` and `decoder_token_ids` `[N, T]`, with the labels `[N, T]`
            as `target`; or any of the above that yields batches `(dict, labels)` or `(dict, labels, sample_weight)`.
        target: the translations, one for each source, where `source` holds one side only.
        tokenizer: a `Tokenizer`: `encode_sources`, `encode_targets`, `padding_id`, `start_id`, `end_id`. Arrays need
            none.
        max_length: the most tokens a side may have, its end token included. Longer ones are cut, counted, and reported
            by a warning. `None` cuts nothing.
        start_id: what the decoder starts from; the tokenizer's start token if not given.
        padding_id: what fills arrays up; the tokenizer's padding token if not given.
        sample_weight: float `[N, T]`, how much each label of an array counts; by default 1, and padding 0.

    Returns:
        `Pairs` (`Arrays` for a dict), with `truncated`, the number of pairs that were cut.

    Raises:
        TypeError: for what is no string, naming the row, or a source of unknown kind.
        ValueError: for unequal counts, no pairs at all, a source without end, or a tokenizer without the tokens that
            are needed.

    Example:
        >>> pairs = encode_pairs(["A dog.", "A cat."], ["Un chien.", "Un chat."], tokenizer=tokenizer, max_length=128)
        >>> train, validation = split(pairs, 0.5)
    """
    if isinstance(source, (Pairs, Arrays)):
        return source
    if padding_id is None and tokenizer is not None:
        padding_id = tokenizer.padding_id
    if isinstance(source, dict):
        return prepared(source, target, sample_weight, padding_id)
    if sample_weight is not None:
        raise ValueError("Expected sample_weight with a dict of arrays only: text has no tokens to weigh yet.")
    if target is None and not isinstance(source, (list, tuple, np.ndarray)):
        read = iter(items(source))
        first = next(read, None)
        source = () if first is None else itertools.chain([first], read)
        if isinstance(first, (list, tuple)) and isinstance(first[0], dict):
            return _joined([prepared(*_arrays(*item), padding_id) for item in source])
    if tokenizer is None:
        raise ValueError("Expected a tokenizer to encode the pairs with, got None. Pass tokenizer=, or encoded Pairs.")
    start_id = tokenizer.start_id if start_id is None else start_id
    special = {"padding_id": tokenizer.padding_id, "start_id": start_id, "end_id": tokenizer.end_id}
    missing = [name for name, token_id in special.items() if token_id is None]
    if missing:
        raise ValueError(
            f"Expected a tokenizer with padding, start and end tokens, got {', '.join(missing)} = None. "
            "Train or load the tokenizer with these tokens, or pass start_id=."
        )
    if max_length is not None and max_length < 2:
        raise ValueError(f"Expected max_length of at least 2 (a token and the end token), got {max_length}.")

    def encode(sources, targets):
        sides = []
        cut = np.zeros(len(sources), bool)
        for texts, encode_side in ((sources, tokenizer.encode_sources), (targets, tokenizer.encode_targets)):
            side = encode_side(texts)
            long = [row for row, ids in enumerate(side) if max_length is not None and len(ids) > max_length]
            for row, ids in zip(long, encode_side([texts[row] for row in long], max_length=max_length), strict=True):
                side[row] = ids
            cut[long] = True
            sides.append([np.array(ids, "int32") for ids in side])
        return *sides, int(cut.sum())

    source_arrays, target_arrays, truncated = [], [], 0
    for sources, targets, cut in in_background(encode, _chunks(source, target), ahead=2, threads=1):
        source_arrays += sources
        target_arrays += targets
        truncated += cut
    if not source_arrays:
        raise ValueError("Expected at least one sentence pair, got none. Is the generator used up, or the file empty?")
    if truncated:
        warnings.warn(
            f"{truncated} of {len(source_arrays)} sentence pairs are longer than max_length={max_length} tokens and "
            "were cut.",
            stacklevel=2,
        )
    return Pairs(Ragged.join(source_arrays), Ragged.join(target_arrays), tokenizer.padding_id, int(start_id), truncated)


def split(pairs, fraction, seed=0):
    """Set apart a random `fraction` of `pairs`: `(the rest, the part set apart)`.

    Args:
        pairs: what `encode_pairs` returns.
        fraction: between 0 and 1, both excluded; at least one pair lands on each side.
        seed: the same seed sets the same pairs apart.

    Raises:
        ValueError: for a fraction out of range, or fewer than two pairs.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"Expected a fraction between 0 and 1, got {fraction}. 0.1 sets a tenth apart.")
    if len(pairs) < 2:
        raise ValueError(f"Expected at least 2 pairs to split, got {len(pairs)}.")
    rows = np.random.default_rng(seed).permutation(len(pairs))
    count = min(max(round(fraction * len(pairs)), 1), len(pairs) - 1)
    return pairs.take(np.sort(rows[count:])), pairs.take(np.sort(rows[:count]))


def _chunks(source, target):
    """Lists of strings, (sources, targets), of any source of pairs."""
    if target is None and isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], (str, bytes)):
        source, target = source
    if target is not None:
        source, target = _side(source, "source"), _side(target, "target")
        if len(source) != len(target):
            raise ValueError(
                f"Expected as many targets as sources, got {len(source)} sources and {len(target)} targets. "
                "Each source needs its own translation, in the same order."
            )
        pairs = zip(source, target, strict=True)
    else:
        pairs = _pairs(source)
    numbered = enumerate(pairs)
    while chunk := list(itertools.islice(numbered, CHUNK)):
        yield (
            [as_text(pair[0], f"source {row}") for row, pair in chunk],
            [as_text(pair[1], f"target {row}") for row, pair in chunk],
        )


def _side(texts, name):
    if hasattr(texts, "numpy"):  # a tensor of strings
        texts = texts.numpy()
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"Expected {name} to be a list of strings, got one string, {texts[:40]!r}. Write [{name}].")
    if not hasattr(texts, "__len__") or not hasattr(texts, "__getitem__"):
        raise TypeError(
            f"Expected {name} to be a list, tuple or array of strings beside the other side, got "
            f"{type(texts).__name__}. Pass a generator or dataset that yields (source, target) alone, as the source."
        )
    return texts


def _pairs(source):
    """(source, target), one by one, of what yields pairs or batches of pairs."""
    for number, item in enumerate(items(source)):
        if isinstance(item, (str, bytes, dict)) or not hasattr(item, "__len__") or len(item) != 2:
            raise TypeError(
                f"Expected (source, target) pairs of strings, or (sources, targets) batches of them, got "
                f"{short(item)} as item {number}. Where the two sides are apart, pass target= too."
            )
        first, second = (side.numpy() if hasattr(side, "numpy") else side for side in item)
        if _is_batch(first) != _is_batch(second):
            raise TypeError(f"Expected two strings or two batches, got {short(item)} as item {number}.")
        if not _is_batch(first):
            yield first, second
            continue
        if len(first) != len(second):
            raise ValueError(
                f"Expected as many targets as sources, got a batch of {len(first)} sources and {len(second)} "
                f"targets as item {number}. Each source needs its own translation."
            )
        yield from zip(first, second, strict=True)


def _is_batch(side):
    return isinstance(side, (list, tuple)) or getattr(side, "ndim", 0) > 0


def items(source):
    """One item after the other of a source that comes to an end: `PyDataset`, `tf.data`, `DataLoader`, generator."""
    if isinstance(source, keras.utils.PyDataset):
        if source.num_batches is None:
            raise ValueError(
                "Expected a source that comes to an end, got a PyDataset without __len__. Define it, or cut the source."
            )
        return (source[index] for index in range(source.num_batches))
    if hasattr(source, "as_numpy_iterator"):  # tf.data.Dataset
        if int(source.cardinality()) == -1:
            raise ValueError(
                "Expected a source that comes to an end, got a tf.data.Dataset that repeats without end. Leave out "
                "repeat(): epochs are counted here."
            )
        return source.as_numpy_iterator()
    if isinstance(source, (str, bytes)) or not hasattr(source, "__iter__"):
        raise TypeError(
            "Expected lists of strings, (source, target) pairs, a tf.data.Dataset, PyDataset, DataLoader or generator, "
            f"got {short(source)}."
        )
    return source


def as_text(value, name):
    """A `str`, from what the frameworks make of one."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Expected {name} in UTF-8, got {short(value)}: {error}. Convert the file first."
            ) from None
    if isinstance(value, str):
        return value
    raise TypeError(f"Expected {name} to be a string, got {short(value)}. Leave it out, or give it a text.")


def short(value):
    """A value and its type, for a message."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def _arrays(inputs, labels=None, sample_weight=None):
    """The parts of one prepared batch, as NumPy arrays."""

    def array(value):
        return value.numpy() if hasattr(value, "numpy") else value

    return {name: array(value) for name, value in inputs.items()}, array(labels), array(sample_weight)


def prepared(inputs, labels, sample_weight, padding_id):
    """`Arrays` of prepared inputs (a dict of `token_ids` `[N, S]`, `decoder_token_ids` `[N, T]`), labels `[N, T]` and
    their weights `[N, T]`, by default 0 for padding and 1 for the rest.

    Raises:
        ValueError: for other names, dtypes or shapes.
    """
    names = ("token_ids", "decoder_token_ids")
    if set(inputs) != set(names) or labels is None:
        raise ValueError(
            f"Expected prepared inputs with {' and '.join(names)}, and their labels as target, got {sorted(inputs)} "
            f"and target={'None' if labels is None else 'an array'}."
        )
    inputs = {name: np.asarray(inputs[name]) for name in names}
    labels = np.asarray(labels)
    arrays = {**inputs, "labels": labels}
    shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
    if any(array.ndim != 2 or array.dtype.kind not in "iu" for array in arrays.values()):
        raise ValueError(f"Expected token_ids [N, S], decoder_token_ids and labels [N, T] of integers, got {shapes}.")
    if labels.shape != inputs["decoder_token_ids"].shape or len(labels) != len(inputs["token_ids"]) or not len(labels):
        raise ValueError(f"Expected token_ids [N, S], decoder_token_ids and labels [N, T] with N > 0, got {shapes}.")
    inputs = {name: array.astype("int32") for name, array in inputs.items()}
    weight = (labels != padding_id if sample_weight is None else np.asarray(sample_weight)).astype("float32")
    if weight.shape != labels.shape:
        raise ValueError(f"Expected sample_weight [N, T], one for each label, got {weight.shape} for {labels.shape}.")
    return Arrays(inputs, labels.astype("int32"), weight, padding_id)


def _joined(parts):
    """One `Arrays` of several, of the longest's lengths."""
    lengths = np.max([part.lengths[0] for part in parts], axis=0)
    grown = [part.batch(np.arange(len(part)), len(part), lengths) for part in parts]
    inputs = {name: np.concatenate([batch[0][name] for batch in grown]) for name in parts[0].inputs}
    labels, weight = (np.concatenate([batch[place] for batch in grown]) for place in (1, 2))
    return Arrays(inputs, labels, weight, parts[0].padding_id)


def in_background(function, arguments, *, ahead, threads):
    """Like `itertools.starmap`, computed on threads, at most `ahead` results ahead of the reader."""
    arguments = iter(arguments)
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
        waiting = collections.deque()
        try:
            for one in itertools.islice(arguments, ahead):
                waiting.append(executor.submit(function, *one))
            while waiting:
                result = waiting.popleft().result()
                for one in itertools.islice(arguments, 1):
                    waiting.append(executor.submit(function, *one))
                yield result
        finally:
            for future in waiting:
                future.cancel()
