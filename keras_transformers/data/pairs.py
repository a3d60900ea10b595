"""Sentence pairs as token ids: any source is read once, encoded in chunks on a thread, and kept as flat int32 ids.

`N` pairs, `B` rows of a batch, `S` source tokens, `T` target tokens, as in `datasets`.
"""

import collections
import collections.abc
import concurrent.futures
import dataclasses
import itertools
import typing
import warnings

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.data.columns import WEIGHT, choose, renamed
from keras_transformers.data.containers import as_text, holds_texts, named, rows
from keras_transformers.data.examples import Examples, row_weights
from keras_transformers.data.language_names import language_of
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Block, Form, Source
from keras_transformers.data.token_ids import pair_ids

CHUNK = 4096  # pairs encoded at once


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Encoded sentence pairs; each side has its end token."""

    sources: Ragged
    targets: Ragged
    padding_id: int
    start_id: int
    truncated: int = 0
    sample_weight: np.ndarray | None = None  # float32 [N]

    def __len__(self) -> int:
        return len(self.sources.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[N, 2]`: source and target lengths in tokens, with the end token."""
        return np.stack([self.sources.lengths, self.targets.lengths], axis=1)

    @property
    def token_ids(self) -> dict[str, np.ndarray]:
        """All ids, by their use."""
        return {"token_ids": self.sources.token_ids, "labels": self.targets.token_ids}

    def take(self, rows: np.ndarray) -> typing.Self:
        """Return the pairs numbered `rows`, in that order."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        sources, targets = self.sources.take(rows), self.targets.take(rows)
        return dataclasses.replace(self, sources=sources, targets=targets, sample_weight=weight)

    def batch(
        self,
        rows: np.ndarray,
        size: int,
        lengths: collections.abc.Sequence[int],
        rng: np.random.Generator | None = None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return a batch for teacher forcing: the decoder reads start + target and learns to predict target + end."""
        source_length, target_length = lengths
        token_ids, _ = self.sources.padded(rows, (size, source_length), self.padding_id)
        labels, there = self.targets.padded(rows, (size, target_length), self.padding_id)
        decoder_token_ids = np.full_like(labels, self.padding_id)
        decoder_token_ids[:, 1:] = np.where(there[:, 1:], labels[:, :-1], self.padding_id)
        decoder_token_ids[: len(rows), 0] = self.start_id
        weight = there.astype("float32")
        if self.sample_weight is not None:
            weight[: len(rows)] *= self.sample_weight[rows, None]
        return {"token_ids": token_ids, "decoder_token_ids": decoder_token_ids}, labels, weight


FORM = Form(pairs="never", parts=("source", "target"))
PAIRS = (
    ("source", "target"),
    ("sources", "targets"),
    ("src", "tgt"),
    ("source_text", "target_text"),
    ("text", "summary"),
    ("document", "summary"),
    ("dialogue", "summary"),
    ("article", "highlights"),
    ("question", "answer"),
)
TARGETS = tuple((name,) for name in ("target", "translation", "text", "targets", "tgt", "target_text", "sentence"))
SOURCES = tuple((name,) for name in ("source", "text", "sources", "src", "source_text", "sentence"))


def encode_pairs(
    source: typing.Any,
    target: typing.Any = None,
    *,
    tokenizer: typing.Any = None,
    max_length: int | None = None,
    start_id: int | None = None,
    padding_id: int | None = None,
    sample_weight: typing.Any = None,
    columns: collections.abc.Mapping[str, str] | None = None,
) -> typing.Any:
    """Read a source of sentence pairs to its end and keep it as token ids.

    Args:
        source: the source side, or both sides at once: anything that `data.sources` reads. One of
            a list, tuple, array or series of strings, with `target` alike;
            a tuple `(sources, targets)` of two of these;
            a list (or other iterable) of `(source, target)` pairs of strings;
            a data frame, dictionary of columns, list of dictionaries or Hugging Face dataset with the columns `source`
            and `target`, two languages, or `translation` that holds two languages;
            a `tf.data.Dataset`, `keras.utils.PyDataset`, torch `DataLoader` or generator of such pairs or dictionaries,
            or of batches of them. It must come to an end;
            token ids of your own: `{"token_ids": …}` with the labels as `target`, or with `decoder_token_ids`, arrays
            `[N, S]` and `[N, T]` or lists of lists: see `data.token_ids.pair_ids`.
        target: the translations, one for each source, if `source` holds one side only.
        tokenizer: a `Tokenizer`: `encode_sources`, `encode_targets`, `padding_id`, `start_id`, `end_id`. Token ids need
            none.
        max_length: the most tokens of a side, its end token included. Longer sides are cut, counted, and reported by a
            warning. `None` cuts nothing.
        start_id: the id that the decoder starts from; by default the tokenizer's start token.
        padding_id: the id that fills arrays up; by default the tokenizer's padding token.
        sample_weight: float `[N]`, the weight of each pair; for token ids also `[N, T]`, the weight of each label.
        columns: the table's names of the columns: `{"source": "en", "target": "fr"}`.

    Returns:
        `Pairs` (`Examples` for token ids), with `truncated`, the number of pairs that were cut.

    Raises:
        TypeError: for a value that is not a string, naming the row, or a source of unknown kind.
        ValueError: for unequal counts, no pairs, a source without end, an ambiguous choice of columns, or a tokenizer
            that lacks needed tokens.

    Example:
        >>> pairs = encode_pairs(["A dog.", "A cat."], ["Un chien.", "Un chat."], tokenizer=tokenizer, max_length=128)
        >>> train, validation = split(pairs, 0.5)
    """
    if isinstance(source, (Pairs, Examples)):
        return source
    start: typing.Any = getattr(tokenizer, "start_id", None) if start_id is None else start_id
    read = source if isinstance(source, Source) else Source(source, target, sample_weight, FORM)
    if read.holds_ids:
        padding_id = getattr(tokenizer, "padding_id", None) if padding_id is None else padding_id
        return pair_ids(read.whole(), padding_id=padding_id, start_id=start, columns=columns)
    if tokenizer is None:
        raise ValueError("Expected a tokenizer to encode the pairs with, got None. Pass tokenizer=, or encoded Pairs.")
    _check_special_tokens(tokenizer, start)
    if max_length is not None and max_length < 2:
        raise ValueError(f"Expected max_length of at least 2 (a token and the end token), got {max_length}.")

    def encode(sources: list[str], targets: list[str], weights: list[float]) -> typing.Any:
        source_ids, long_sources = _encoded(sources, tokenizer.encode_sources, max_length)
        target_ids, long_targets = _encoded(targets, tokenizer.encode_targets, max_length)
        return source_ids, target_ids, weights, len(long_sources | long_targets)

    pair = tuple(getattr(tokenizer, "language_pair", (None, None)))
    source_arrays, target_arrays, all_weights, truncated = [], [], [], 0
    chunks = _chunks(read.blocks(), columns, pair)
    for sources, targets, weights, cut in in_background(encode, chunks, ahead=2, threads=1):
        source_arrays += sources
        target_arrays += targets
        all_weights += weights
        truncated += cut
    if not source_arrays:
        raise ValueError("Expected at least one sentence pair, got none. Is the generator used up, or the file empty?")
    if truncated:
        warnings.warn(
            f"{truncated} of {len(source_arrays)} sentence pairs are longer than max_length={max_length} tokens and "
            "were cut.",
            stacklevel=2,
        )
    weight = np.array(all_weights, "float32") if all_weights else None
    sides = Ragged.join(source_arrays), Ragged.join(target_arrays)
    return Pairs(*sides, tokenizer.padding_id, int(start), truncated, weight)


def _encoded(
    texts: list[str], encode: collections.abc.Callable[..., typing.Any], max_length: int | None
) -> tuple[list[np.ndarray], set[int]]:
    """Return the ids of one side, int32 arrays, and the rows that were too long and are cut."""
    side = encode(texts)
    long = [row for row, ids in enumerate(side) if max_length is not None and len(ids) > max_length]
    for row, ids in zip(long, encode([texts[row] for row in long], max_length=max_length), strict=True):
        side[row] = ids
    return [np.array(ids, "int32") for ids in side], set(long)


def _check_special_tokens(tokenizer: typing.Any, start_id: int | None) -> None:
    special = {"padding_id": tokenizer.padding_id, "start_id": start_id, "end_id": tokenizer.end_id}
    missing = [name for name, token_id in special.items() if token_id is None]
    if missing:
        raise ValueError(
            f"Expected a tokenizer with padding, start and end tokens, got {', '.join(missing)} = None. "
            "Train or load the tokenizer with these tokens, or pass start_id=."
        )


def split(pairs: typing.Any, fraction: float, seed: int = 0) -> tuple[typing.Any, typing.Any]:
    """Hold out a random `fraction` of `pairs`: return `(the rest, the held-out part)`.

    Args:
        pairs: the result of `encode_pairs`.
        fraction: between 0 and 1, both excluded; each part gets at least one pair.
        seed: the seed; the same seed holds out the same pairs.

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


def _chunks(
    blocks: collections.abc.Iterable[Block],
    columns: collections.abc.Mapping[str, str] | None,
    languages: collections.abc.Sequence[str | None],
) -> collections.abc.Iterator[tuple[list[str], list[str], list[float]]]:
    """Yield chunks `(sources, targets, weights)`: lists of strings, and a list of floats or None."""
    first = 0
    for block in blocks:
        sources, targets, weights = _sides(block, columns, languages)
        if len(sources) != len(targets):
            raise ValueError(
                f"Expected as many targets as sources, got {len(sources)} sources and {len(targets)} targets. "
                "Each source needs its own translation, in the same order."
            )
        if weights is not None and len(weights) != len(sources):
            raise ValueError(f"Expected a sample_weight for each pair, got {len(weights)} for {len(sources)} pairs.")
        for begin in range(0, len(sources), CHUNK):
            here = slice(begin, begin + CHUNK)
            yield (
                [as_text(text, f"source {row}") for row, text in enumerate(sources[here], first + begin)],
                [as_text(text, f"target {row}") for row, text in enumerate(targets[here], first + begin)],
                [] if weights is None else row_weights(weights[here]).tolist(),
            )
        first += len(sources)


def _sides(
    block: Block, columns: collections.abc.Mapping[str, str] | None, languages: collections.abc.Sequence[str | None]
) -> tuple[typing.Any, typing.Any, typing.Any]:
    """Return the sources, targets and weights of a block."""
    inputs, targets, weights = block
    if not isinstance(inputs, collections.abc.Mapping):
        return inputs, targets or [], weights
    table = dict(inputs)
    if "translation" in table and (translations := named(rows(table["translation"]))):  # a Hugging Face dataset
        del table["translation"]
        table |= translations
    table = renamed(table, columns)
    weights = rows(table.pop(WEIGHT)) if weights is None and WEIGHT in table else weights
    if targets is not None:
        (sources,) = choose(table, SOURCES, columns=columns or {}).values()
        return sources, targets, weights
    names = _by_language(table, languages) if not any(set(each) <= set(table) for each in PAIRS) else None
    sources, targets = choose(table, PAIRS if names is None else (names,), columns=columns or {}).values()
    return sources, targets, weights


def _by_language(
    table: collections.abc.Mapping[str, typing.Any], languages: collections.abc.Sequence[str | None]
) -> tuple[str, str] | None:
    """Return the names of the source and target columns in a table whose columns are named by languages, or None."""
    known = {name: language for name in table if (language := language_of(str(name))) and holds_texts(table[name])}
    names: dict[object, str] = {language: name for name, language in reversed(known.items())}
    found = [names.get(language_of(code)) if code else None for code in languages]
    if len(known) == 2 and any(found) and not all(found):
        (other,) = set(known) - set(found)
        found = [name or other for name in found]
    source, target = found
    if source and target:
        return source, target
    if len(known) != 2:
        return None
    source, target = known
    warnings.warn(
        f"The columns are called {source} and {target}, and the tokenizer does not say which is which: {source} is "
        f"read as the source, {target} as the target. Say it: columns={{'source': {source!r}, 'target': {target!r}}}.",
        stacklevel=outside(),
    )
    return source, target


def in_background(
    function: collections.abc.Callable[..., typing.Any],
    arguments: collections.abc.Iterable[tuple],
    *,
    ahead: int,
    threads: int,
) -> collections.abc.Generator[typing.Any, None, None]:
    """Yield results like `itertools.starmap`, computed on threads, up to `ahead` results before they are read."""
    arguments = iter(arguments)
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
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
