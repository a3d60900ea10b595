"""Our weights by another library's names, there and back, as one table.

    ours                                          theirs
    encoder.block_{n}.feed_forward.up             encoder.layers.{n}.linear1              layer to layer
    …self_attention.query, .key, .value           …self_attn.in_proj_{leaf}               several to one, stacked
    …self_attention.query, .key, .value           …attention.query_key_value              the same, group by group
    decoder.block_{n}.feed_forward.up             layers.{n}.experts.*.w3                 one of ours to several
                                                  positional_encoding.pe                  nothing of ours: ignored

An entry names layers, or one weight. Which weights a layer has, and what they are called over there, follows from
ours: `kernel`, `embeddings`, `gamma` and `scale` are their `weight`, `bias` and `beta` their `bias`; a kernel `[in,
out]` is their weight `[out, in]`, transposed. Attention's heads may lie on an axis of their own over there, `[in,
heads, width]` for our `[in, out]`. Nothing is done to a number, so what is read and written again is equal to the bit.

Several layers in one of theirs lie there as a whole, or a part of each by turns, for 2 groups of heads

    groups=1   q q q q k k v v              groups=2   q q k v q q k v
"""

import collections.abc
import dataclasses
import re
import typing

import numpy as np
from keras import ops

from keras_transformers.records import record

LEAVES = {
    "kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "scale": "weight",
    "bias": "bias",
    "beta": "bias",
}


# What a tensor may be that nothing of ours comes from.
_KINDS = ("unknown", "ignored", "heads", "outside")


@record
class Entry:
    """One of our layers and one of theirs.

    Args:
        ours: the path of our layer, `{n}` for the number of a block; or several layers, whose outputs lie one after the
            other in theirs; or the name of one weight, which ends in `.kernel`, `.bias` or the like.
        theirs: the path of theirs, `{n}` likewise. `.weight` and `.bias` follow it, or stand in it at `{leaf}`; of one
            weight it is the whole name. With a `*` there are several of theirs, numbered from 0 in its place, and ours
            has them on its first axis.
        transposed: whether their weight is `[out, in]`, as `torch.nn.Linear` has it.
        groups: in how many groups theirs holds several of ours, with an equal part of each in every group.
        input_heads, output_heads: how many heads theirs keeps apart on an axis of their own, among the inputs or the
            outputs, as `keras.layers.EinsumDense` does; 0 where there are none. Then it is not transposed.
        zero: whether a file without theirs means zeros.
    """

    ours: str | tuple[str, ...]
    theirs: str
    transposed: bool = True
    groups: int = 1
    input_heads: int = 0
    output_heads: int = 0
    zero: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether it names one weight of a layer."""
        return isinstance(self.ours, str) and self.ours.rpartition(".")[2] in LEAVES

    @property
    def name(self) -> str:
        """The name of theirs, `{leaf}` in it where it is a layer's."""
        return self.theirs if self.is_weight or "{leaf}" in self.theirs else f"{self.theirs}.{{leaf}}"


@record
class WeightMap:
    """A table of entries, and what else there is to know of their tensors.

    Files of one family differ in how they spell: those of a body alone leave out its prefix, old ones say `gamma` and
    `beta`, and of a tensor and its copy one may be there or both.

    Args:
        entries: layer to layer.
        ignored: patterns of their tensors that hold nothing of ours, with the prefix or without: `{n}` is a number,
            `{leaf}` weight or bias.
        body: entries whose tensors stand behind `prefix` where there is a head, and without it where there is none.
        prefix: see `body`.
        other_prefixes: what stands there in files of other heads.
        copies: pairs of their names, the first a copy of the second. If the second is missing, the first of its copies
            that is there is read in its place, in this order, as transformers does; and the second where the first is
            missing.
        scores: pairs that are copies only if the head over the vocabulary is tied; they come before `copies`.
        stand_ins: pairs of their names, the first of which is read where the second is missing. Where both are there
            they need not be the same, and the first is `ignored`.
        heads: patterns of the tensors of other heads, as `ignored`.

    Example:
        >>> table = WeightMap((Entry("head.dense", "lm_head"),))
        >>> sorted(table.write({"head.dense.kernel": np.ones((2, 3)), "head.dense.bias": np.zeros(3)}))
        ['lm_head.bias', 'lm_head.weight']
    """

    entries: tuple[Entry, ...]
    ignored: tuple[str, ...] = ()
    body: tuple[Entry, ...] = ()
    prefix: str = ""
    copies: tuple[tuple[str, str], ...] = ()
    other_prefixes: tuple[str, ...] = ()
    stand_ins: tuple[tuple[str, str], ...] = ()
    scores: tuple[tuple[str, str], ...] = ()
    heads: tuple[str, ...] = ()

    def read(
        self,
        tensors: collections.abc.Mapping[str, typing.Any],
        weights: collections.abc.Mapping[str, typing.Any],
        closed: bool = False,
    ) -> "_Renamed":
        """Their tensors under our names.

        Args:
            tensors: a mapping of their names to numpy arrays; with a method `shape(name)`, shapes are had without
                reading.
            weights: ours by name, as `models.weights.named_weights` gives them; only names and shapes count.
            closed: whether no tensor may lie outside.

        Returns: a mapping of our names to numpy arrays, each read when it is asked for, with a method `shape(name)`.
            Its attributes list the tensors that no weight of ours comes from: `ignored`, those of other `heads`, and
            those that lie `outside` of the body and of this head. All others are in it under their own names, so that
            `models.weights.assign` reports them.
        """
        tensors = _Stacked(tensors, self._numbered())
        places = self._places(weights, *self._spelling(tensors))
        present, zeros, named = {}, {}, set()
        for name, place in places.items():
            theirs = self._stored(place.theirs, tensors)
            if theirs in tensors:
                present[name] = dataclasses.replace(place, theirs=theirs)
                named |= {place.theirs, theirs}
            elif place.zero:
                zeros[name] = tuple(weights[name].shape)
        used = named | {copy for copy, original in self.copies if original in named}
        used |= {original for copy, original in self.copies if copy in named}
        rest = {name: self._kind(name, closed) for name in tensors if name not in used}
        kinds = {kind: [name for name, each in rest.items() if each == kind] for kind in _KINDS}
        return _Renamed(tensors, present, zeros, **kinds)

    def contradictions(self, tensors: collections.abc.Mapping[str, typing.Any]) -> list[tuple[str, str]]:
        """Pairs of names, a copy and what it is a copy of, that are both in a file with other numbers.

        Args:
            tensors: a mapping of names to numpy arrays, as for `read`.

        Returns: a list of such pairs of `copies`. An original that is missing is the copy that is read for it.
        """
        found = []
        for copy, original in self.copies:
            stored = self._stored(original, tensors)
            if copy in tensors and stored in tensors and copy != stored and not _equal(tensors, copy, stored):
                found.append((copy, stored))
        return found

    def _stored(self, theirs: str, names: collections.abc.Collection[str]) -> str:
        """The name in a file of the tensor `theirs`, or of one that is the same; itself if there is neither."""
        if theirs in names:
            return theirs
        copies = (copy for copy, original in (*self.copies, *self.stand_ins) if original == theirs and copy in names)
        originals = (original for copy, original in self.copies if copy == theirs and original in names)
        return next(copies, None) or next(originals, theirs)

    def _kind(self, name: str, closed: bool) -> str:
        """Which of `_KINDS` a tensor is that nothing of ours comes from."""
        prefixes = (self.prefix, *self.other_prefixes)
        spelled = {name, *(name.removeprefix(prefix) for prefix in prefixes)}
        for kind, patterns in (("ignored", self.ignored), ("heads", self.heads)):
            if any(_pattern(each).fullmatch(one) for each in patterns for one in spelled):
                return kind
        roots = {entry.theirs.partition(".")[0] for entry in self.body}
        is_body = not roots or any(prefix and name.startswith(prefix) for prefix in prefixes)
        is_body = is_body or any(one.partition(".")[0] in roots for one in spelled)
        is_own = any(name == entry.name or name.startswith(f"{entry.theirs}.") for entry in self.entries)
        return "unknown" if closed or is_body or is_own else "outside"

    def write(
        self, weights: collections.abc.Mapping[str, typing.Any], like: collections.abc.Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Our weights under their names: the inverse of `read`.

        Args:
            weights: our weights by name, Keras variables or arrays.
            like: the names of a file to spell as; by default with prefixes, new names and no copies.

        Returns: a dictionary of their names to numpy arrays. What is ignored when reading is not in it.

        Raises:
            ValueError: listing the weights that the table does not name.
        """
        places = self._places(weights, *((self.prefix, False) if like is None else self._spelling(like)))
        unnamed = [name for name in weights if name not in places]
        if unnamed:
            raise ValueError(f"Expected an entry of the table for each weight, got none for {', '.join(unnamed)}.")
        parts: dict[str, dict[int, tuple[_Place, np.ndarray]]] = {}
        for name, place in places.items():
            parts.setdefault(place.theirs, {})[place.start] = (place, ops.convert_to_numpy(weights[name]))
        written: dict[str, np.ndarray] = {}
        for theirs, pieces in parts.items():
            in_order = [pieces[start] for start in sorted(pieces)]
            place, array = in_order[0]
            if len(in_order) > 1:
                array = place.flat(np.concatenate([place.grouped(each) for _, each in in_order], axis=-1))
            array = array.reshape(place.apart(array.shape))
            array = _transposed(array) if place.transposed else array
            if place.zero and like is not None and theirs not in like and not array.any():
                continue
            if "*" in theirs:
                written |= {theirs.replace("*", str(n)): np.ascontiguousarray(each) for n, each in enumerate(array)}
            else:
                written[theirs] = np.ascontiguousarray(array)
        return written if like is None else self._with_copies(written, like)

    def _with_copies(
        self, written: dict[str, np.ndarray], like: collections.abc.Collection[str]
    ) -> dict[str, np.ndarray]:
        """What was written, with the copies that a file had, some of them in the place of their originals."""
        copies: dict[str, list[str]] = {}
        replaced: set[str] = set()
        for copy, original in self.copies:
            if copy in written and original in like and original not in written:
                written[original] = written[copy]
                replaced |= {copy} - set(like)
        for copy, original in (*self.copies, *self.stand_ins):
            if copy in like and copy not in written and original in written:
                copies.setdefault(copy, []).append(original)
        for copy, originals in copies.items():
            missing = [original for original in originals if original not in like]
            if all(np.array_equal(written[original], written[missing[0]]) for original in missing[1:]):
                if missing or any(each == copy for each, _ in self.copies):
                    written[copy] = written[(missing or originals)[0]]
                replaced |= set(missing)
        return {name: array for name, array in written.items() if name not in replaced}

    def places(
        self, weights: collections.abc.Mapping[str, typing.Any], like: collections.abc.Collection[str] | None = None
    ) -> dict[str, "_Place"]:
        """Where `write` puts our weights, by our names: each has `theirs`, the name of a tensor, which several weights
        may share, and tells whether that is `transposed`. What the table does not name is left out."""
        return self._places(weights, *((self.prefix, False) if like is None else self._spelling(like)))

    def _spelling(self, names: collections.abc.Collection[str]) -> tuple[str, bool]:
        """The prefix of a file's names, which may be none, and whether they are old."""
        prefixes = (self.prefix, *self.other_prefixes)
        found = (prefix for prefix in prefixes if any(name.startswith(prefix) for name in names))
        return next(found, ""), any(name.endswith(".gamma") for name in names)

    def _numbered(self) -> list[re.Pattern[str]]:
        """Patterns of the names of theirs of which several are one of ours; their number is the group `one`."""
        spellings = dict.fromkeys((self.prefix, *self.other_prefixes, ""))
        entries = [(entry, spellings) for entry in self.body] + [(entry, [""]) for entry in self.entries]
        names = [prefix + entry.name for entry, prefixes in entries for prefix in prefixes if "*" in entry.theirs]
        return [_pattern(name) for name in names]

    def _places(self, weights: collections.abc.Mapping[str, typing.Any], prefix: str, old: bool) -> dict[str, "_Place"]:
        """Where each of our weights is found, by our name; names that no entry fits are left out."""
        prefixed = [(entry, prefix) for entry in self.body]
        patterns = [
            (_pattern(ours), position, entry, before)
            for entry, before in (*prefixed, *((entry, "") for entry in self.entries))
            for position, ours in enumerate(_several(entry.ours))
        ]
        leaves = LEAVES | ({"gamma": "gamma", "beta": "beta"} if old else {})
        places = {}
        for name in weights:
            layer, _, leaf = name.rpartition(".")
            for pattern, position, entry, before in patterns:
                match = pattern.fullmatch(name if entry.is_weight else layer)
                if match and leaf in LEAVES:
                    numbers = match.groupdict()
                    named = "" if entry.is_weight else f".{leaf}"
                    widths = [weights[f"{each.format(**numbers)}{named}"].shape[-1] for each in _several(entry.ours)]
                    start, whole = sum(widths[:position]), len(widths) == 1
                    in_kernel = entry.input_heads and leaf == "kernel"
                    places[name] = _Place(
                        before + entry.name.format(leaf=leaves[leaf], **numbers),
                        entry.transposed and leaf == "kernel",
                        start,
                        None if whole else start + widths[position],
                        sum(widths),
                        entry.groups,
                        entry.input_heads if in_kernel else entry.output_heads,
                        0 if in_kernel else len(weights[name].shape) - 1,
                        entry.zero,
                    )
                    break
        return places


@record
class _Place:
    """A weight of ours: the part `start:stop` (all of it with `stop` None) of the last axis, `width` long, of one of
    their tensors, the axis being `groups` side by side that hold an equal share each; whose `axis` is two, `heads` and
    the rest, unless `heads` is 0. `zero`: see `Entry`."""

    theirs: str
    transposed: bool
    start: int
    stop: int | None
    width: int
    groups: int = 1
    heads: int = 0
    axis: int = 0
    zero: bool = False

    def part(self, array: np.ndarray) -> np.ndarray:
        """The part of one of their tensors, transposed already, that is this weight."""
        if self.stop is None:
            return array
        start, stop = self.start // self.groups, self.stop // self.groups
        return self.flat(self.grouped(array)[..., start:stop])

    def grouped(self, array: np.ndarray) -> np.ndarray:
        """An array with the groups on an axis before the last."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-1], self.groups, -1)

    def flat(self, array: np.ndarray) -> np.ndarray:
        """The inverse."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-2], -1)

    def joined(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape of theirs with its heads on the axis that we have them on; one without that many heads as it is."""
        at = self.axis
        if not self.heads or len(shape) < at + 2 or shape[at] != self.heads:
            return shape
        return (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])

    def apart(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The inverse."""
        at = self.axis
        return (*shape[:at], self.heads, shape[at] // self.heads, *shape[at + 1 :]) if self.heads else shape


class _Renamed(collections.abc.Mapping):
    """What `WeightMap.read` returns."""

    def __init__(
        self,
        tensors: "_Stacked",
        places: dict[str, _Place],
        zeros: dict[str, tuple[int, ...]],
        unknown: list[str],
        ignored: list[str],
        heads: list[str],
        outside: list[str],
    ) -> None:
        self._tensors = tensors
        self._places = places
        self._zeros = zeros  # shapes by name
        self._rest = unknown
        self.ignored = ignored
        self.heads = heads
        self.outside = outside

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._rest:
            return self._tensors[name]
        if name in self._zeros:
            return np.zeros(self._zeros[name], "float32")
        place = self._places[name]
        array = self._tensors[place.theirs]
        array = array.reshape(place.joined(array.shape))
        return place.part(_transposed(array) if place.transposed else array)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one array, as a tuple, without reading it where the tensors can tell."""
        if name in self._zeros:
            return self._zeros[name]
        place = self._places.get(name)
        theirs = name if place is None else place.theirs
        shape = self._tensors.shape(theirs) if hasattr(self._tensors, "shape") else self._tensors[theirs].shape
        if place is None:
            return tuple(shape)
        shape = place.joined(tuple(shape))
        *others, width = (*shape[:-2], *shape[:-3:-1]) if place.transposed else shape
        # Of a stack of another width no part is right: it is shown whole.
        return (*others, width if place.stop is None or width != place.width else place.stop - place.start)

    def dtype(self, name: str) -> str | None:
        """The dtype of one array as its file has it, without reading it; None where the tensors cannot tell."""
        dtype_of = getattr(self._tensors, "dtype", None)
        return (
            None
            if dtype_of is None or name in self._zeros
            else dtype_of(getattr(self._places.get(name), "theirs", name))
        )

    def __contains__(self, name: object) -> bool:  # without reading it
        return name in self._places or name in self._zeros or name in self._rest

    def __iter__(self) -> collections.abc.Iterator[str]:
        yield from self._places
        yield from self._zeros
        yield from self._rest

    def __len__(self) -> int:
        return len(self._places) + len(self._zeros) + len(self._rest)


class _Stacked(collections.abc.Mapping):
    """Their tensors, those that are numbered as one with `*` for the number: a stack, made when it is asked for."""

    def __init__(self, tensors: collections.abc.Mapping[str, typing.Any], patterns: list[re.Pattern[str]]) -> None:
        self._tensors = tensors
        self._names: dict[str, dict[int, str]] = {}
        for name in tensors:
            match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
            begin, end = match.span("one") if match else (0, 0)
            stack = f"{name[:begin]}*{name[end:]}" if match else name
            self._names.setdefault(stack, {})[int(name[begin:end] or 0)] = name

    def _parts(self, name: str) -> list[str]:
        return [self._names[name][number] for number in sorted(self._names[name])]

    def __getitem__(self, name: str) -> np.ndarray:
        parts = self._parts(name)
        return self._tensors[name] if parts == [name] else np.stack([self._tensors[each] for each in parts])

    def shape(self, name: str) -> tuple[int, ...]:
        parts, own = self._parts(name), getattr(self._tensors, "shape", lambda each: self._tensors[each].shape)
        shape = tuple(own(parts[0]))
        return shape if parts == [name] else (len(parts), *shape)

    def dtype(self, name: str) -> str | None:
        dtype_of = getattr(self._tensors, "dtype", None)
        return None if dtype_of is None else dtype_of(self._parts(name)[0])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def both_ways(prefix: str, pairs: collections.abc.Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Pairs of names with the prefix, and without: for `WeightMap.copies` and `stand_ins`."""
    return tuple((f"{each}{a}", f"{each}{b}") for each in (prefix, "") for a, b in pairs)


def _equal(tensors: collections.abc.Mapping[str, typing.Any], *names: str) -> bool:
    """Whether two tensors hold the same numbers, whatever their dtypes."""
    first, second = (np.asarray(tensors[name]) for name in names)
    if first.shape != second.shape:
        return False
    if first.dtype != second.dtype:
        first, second = first.astype("float32"), second.astype("float32")
    return bool(np.array_equal(first, second)) or first.tobytes() == second.tobytes()  # NaN is what it is


def _transposed(array: np.ndarray) -> np.ndarray:
    """An array with its last two axes the other way round; one of fewer as it is."""
    return array.swapaxes(-1, -2) if array.ndim > 1 else array


def _several(ours: str | tuple[str, ...]) -> tuple[str, ...]:
    return ours if isinstance(ours, tuple) else (ours,)


def _pattern(name: str) -> re.Pattern[str]:
    pattern = re.escape(name).replace(r"\{n\}", r"(?P<n>\d+)")
    return re.compile(pattern.replace(r"\{leaf\}", "(?:weight|bias)").replace(r"\*", r"(?P<one>\d+)"))
