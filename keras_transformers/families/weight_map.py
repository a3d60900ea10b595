"""One table that maps this library's weights ("ours") to another library's tensors ("theirs"), in both directions.

    ours                                          theirs
    encoder.block_{n}.feed_forward.up             encoder.layers.{n}.linear1              layer to layer
    …self_attention.query, .key, .value           …self_attn.in_proj_{leaf}               several to one, stacked
    …self_attention.query, .key, .value           …attention.query_key_value              the same, group by group
    …self_attention.query                         …self_attn.q_proj, or a part of …Wqkv   the one that a file has
    decoder.block_{n}.feed_forward.up             layers.{n}.experts.*.w3                 one of ours to several
    encoder.block_{n}.feed_forward.up             layers.{n}.experts.w1                   the same, in one matrix
                                                  positional_encoding.pe                  no weight of ours: ignored

An entry names layers, or one weight. The weights of a layer and their names follow from ours: `kernel`, `embeddings`,
`gamma` and `scale` are their `weight`; `bias` and `beta` are their `bias`. Our kernel `[in, out]` is their weight
`[out, in]`, transposed. Their attention heads may have a separate axis: `[in, heads, width]` for our `[in, out]`.
Numbers are never changed, so reading and writing again gives the same bits.

If several of our layers share one of theirs, each is stored whole, or in parts by turns; here with 2 groups of heads:

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


_OLD_LEAVES = LEAVES | {"gamma": "gamma", "beta": "beta"}  # in old files, of norms that are called LayerNorm

# The kinds of tensors that no weight of ours comes from.
_KINDS = ("unknown", "ignored", "heads", "outside")


@record
class Entry:
    """The correspondence of one of our layers and one of theirs.

    Args:
        ours: the path of our layer, with `{n}` for the number of a block; or several layers, whose outputs are
            concatenated in theirs; or the name of one weight, which ends in `.kernel`, `.bias` or the like.
        theirs: the path of their layer, with `{n}` likewise. `.weight` and `.bias` follow it, or replace `{leaf}` in
            it. For one weight it is the whole name. With a `*` there are several of their layers, numbered from 0 in
            its place, and our weight stacks them on its first axis.
        transposed: whether their weight is `[out, in]`, as in `torch.nn.Linear`.
        groups: the number of groups in which theirs holds several of ours, with an equal part of each in every group.
        input_heads, output_heads: the number of heads on a separate axis of theirs, among the inputs or the outputs, as
            in `keras.layers.EinsumDense`; 0 for none. Of a transposed kernel, `output_heads` are among the inputs.
        zero: whether a file that lacks theirs means zeros.
        merged: whether theirs is a matrix that holds ours, which has an axis of experts, expert below expert.
        convolution: whether the kernel is of `keras.layers.Conv1D`, `[size, in, out]`, and of `torch.nn.Conv1d`,
            `[out, in, size]`.
    """

    ours: str | tuple[str, ...]
    theirs: str
    transposed: bool = True
    groups: int = 1
    input_heads: int = 0
    output_heads: int = 0
    zero: bool = False
    merged: bool = False
    convolution: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether the entry names one weight of a layer."""
        return isinstance(self.ours, str) and self.ours.rpartition(".")[2] in LEAVES

    @property
    def name(self) -> str:
        """The name of their tensor; for a layer, with `{leaf}` in it."""
        return self.theirs if self.is_weight or "{leaf}" in self.theirs else f"{self.theirs}.{{leaf}}"


@record
class WeightMap:
    """A table of entries, with the spellings and the further tensors of files.

    Files of one family differ in spelling: files of a body alone lack the prefix, old files have `gamma` and `beta`,
    and a file may have a tensor, its copy, or both. If several entries name one weight of ours, the first whose tensor
    a file has counts; without a file, the first of all counts.

    Args:
        entries: entries whose tensors have no prefix.
        ignored: patterns of tensors that no weight of ours comes from, with the prefix or without: `{n}` is a number,
            `{leaf}` weight or bias, `*` a number or itself.
        body: entries whose tensors have the `prefix` in files with a head, and no prefix in files without.
        prefix: see `body`.
        other_prefixes: prefixes of the body in files of other heads.
        copies: pairs of names, the first a copy of the second. If the second is missing, its first copy in this order
            that the file has is read instead, as in transformers. If the first is missing, the second is read.
        scores: pairs that are copies only if the vocabulary head is tied; they come before `copies`.
        stand_ins: pairs of names; if the second is missing, the first is read instead. If a file has both, they may
            differ, and the first is `ignored`.
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
        """Return their tensors by our names.

        Args:
            tensors: a mapping of their names to numpy arrays. If it has a method `shape(name)`, arrays are not read for
                their shapes.
            weights: our weights by name, from `models.weights.named_weights`; only names and shapes are used.
            closed: whether tensors outside of the body and this head are refused.

        Returns: a mapping of our names to numpy arrays, each read on access, with a method `shape(name)`. Its
            attributes list unused tensors: `ignored`, tensors of other `heads`, and tensors `outside` of the body and
            this head. All other unused tensors keep their own names, so that `models.weights.assign` reports them.
        """
        tensors = _Stacked(tensors, self._numbered())
        places = self._places(weights, *self._spelling(tensors), tensors)
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
        """Return pairs of a copy and its original that differ in a file.

        Args:
            tensors: a mapping of names to numpy arrays, as for `read`.

        Returns: a list of such pairs of `copies`. If an original is missing, the copy that is read instead counts as
            the original.
        """
        found = []
        for copy, original in self.copies:
            stored = self._stored(original, tensors)
            if copy in tensors and stored in tensors and copy != stored and not _equal(tensors, copy, stored):
                found.append((copy, stored))
        return found

    def _stored(self, theirs: str, names: collections.abc.Collection[str]) -> str:
        """Return the name in a file of the tensor `theirs` or of its copy; `theirs` if the file has neither."""
        if theirs in names:
            return theirs
        copies = (copy for copy, original in (*self.copies, *self.stand_ins) if original == theirs and copy in names)
        originals = (original for copy, original in self.copies if copy == theirs and original in names)
        return next(copies, None) or next(originals, theirs)

    def _kind(self, name: str, closed: bool) -> str:
        """Return the kind, one of `_KINDS`, of an unused tensor."""
        prefixes = (self.prefix, *self.other_prefixes)
        spelled = {name, *(name.removeprefix(prefix) for prefix in prefixes)}
        for kind, patterns in (("ignored", self.ignored), ("heads", self.heads)):
            if any(_pattern(each).fullmatch(one) or each == one for each in patterns for one in spelled):
                return kind
        roots = {entry.theirs.partition(".")[0] for entry in self.body}
        is_body = not roots or any(prefix and name.startswith(prefix) for prefix in prefixes)
        is_body = is_body or any(one.partition(".")[0] in roots for one in spelled)
        is_own = any(name == entry.name or name.startswith(f"{entry.theirs}.") for entry in self.entries)
        return "unknown" if closed or is_body or is_own else "outside"

    def write(
        self, weights: collections.abc.Mapping[str, typing.Any], like: collections.abc.Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return our weights by their names: the inverse of `read`.

        Args:
            weights: our weights by name, Keras variables or arrays.
            like: the names in a file whose spelling to follow; by default with prefixes, new names and no copies.

        Returns: a dictionary of their names to numpy arrays, without tensors that `read` ignores.

        Raises:
            ValueError: listing weights that are not in the table.
        """
        places = self.places(weights, like)
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
            array = place.turned(array)
            array = array.reshape(place.apart(array.shape))
            if place.experts:
                array = array.reshape(-1, array.shape[-1])
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
        """Return the written tensors with the copies that a file had, some of them instead of their originals."""
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
        """Return the places of our weights in their tensors, by our names, for `write`.

        A place has `theirs`, the name of a tensor, which several weights may share, and `transposed`. Weights that are
        not in the table are left out."""
        if like is None:
            return self._places(weights, self.prefix, False, ())
        return self._places(weights, *self._spelling(like), like)

    def _spelling(self, names: collections.abc.Collection[str]) -> tuple[str, bool]:
        """Return the prefix of a file's names, which may be empty, and whether the file has old names."""
        prefixes = (self.prefix, *self.other_prefixes)
        found = (prefix for prefix in prefixes if any(name.startswith(prefix) for name in names))
        return next(found, ""), any(name.endswith(".gamma") for name in names)

    def _numbered(self) -> list[re.Pattern[str]]:
        """Return patterns of numbered tensors that one weight of ours stacks; the group `one` is the number."""
        spellings = dict.fromkeys((self.prefix, *self.other_prefixes, ""))
        entries = [(entry, spellings) for entry in self.body] + [(entry, [""]) for entry in self.entries]
        names = [prefix + entry.name for entry, prefixes in entries for prefix in prefixes if "*" in entry.theirs]
        return [_pattern(name) for name in names]

    def _places(
        self,
        weights: collections.abc.Mapping[str, typing.Any],
        prefix: str,
        old: bool,
        names: collections.abc.Collection[str],
    ) -> dict[str, "_Place"]:
        """Return the place of each of our weights, by our name, in a file with tensors of these `names`; weights that
        match no entry are left out."""
        prefixed = [(entry, prefix) for entry in self.body]
        patterns = [
            (_pattern(ours), position, entry, before)
            for entry, before in (*prefixed, *((entry, "") for entry in self.entries))
            for position, ours in enumerate(_several(entry.ours))
        ]
        places: dict[str, _Place] = {}
        for name in weights:
            layer, _, leaf = name.rpartition(".")
            for pattern, position, entry, before in patterns if leaf in LEAVES else ():
                match = pattern.fullmatch(name if entry.is_weight else layer)
                if match is None:
                    continue
                leaves = _OLD_LEAVES if old and "LayerNorm" in entry.theirs else LEAVES
                theirs = before + entry.name.format(leaf=leaves[leaf], **match.groupdict())
                is_there = theirs in names or theirs.replace("*", "0") in names
                if name not in places or is_there:
                    named = "" if entry.is_weight else f".{leaf}"
                    parts = [f"{each.format(**match.groupdict())}{named}" for each in _several(entry.ours)]
                    places[name] = _place(theirs, entry, leaf, position, [weights[part].shape for part in parts])
                if is_there:
                    break
        return places


@record
class _Place:
    """The place of a weight of ours in one of their tensors.

    The weight is the part `start:stop` of the tensor's last axis, which is `width` long; with `stop` None it is the
    whole tensor. The last axis consists of `groups`, which hold an equal share of the part each. Unless `heads` is 0,
    `axis` is split in two in their tensor: `heads` and the rest. Unless `experts` is 0, their tensor joins the axis of
    so many experts with the next. `zero`, `convolution`: see `Entry`."""

    theirs: str
    transposed: bool
    start: int
    stop: int | None
    width: int
    groups: int = 1
    heads: int = 0
    axis: int = 0
    zero: bool = False
    experts: int = 0
    convolution: bool = False

    def turned(self, array: np.ndarray) -> np.ndarray:
        """Return an array of theirs in our order of axes, or one of ours in theirs."""
        if not self.transposed or array.ndim < 2:
            return array
        return array.transpose() if self.convolution else array.swapaxes(-1, -2)

    def part(self, array: np.ndarray) -> np.ndarray:
        """Return this weight from their tensor, which is transposed already."""
        if self.stop is None:
            return array
        start, stop = self.start // self.groups, self.stop // self.groups
        return self.flat(self.grouped(array)[..., start:stop])

    def grouped(self, array: np.ndarray) -> np.ndarray:
        """Return an array with the groups on a separate axis before the last."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-1], self.groups, -1)

    def flat(self, array: np.ndarray) -> np.ndarray:
        """Return the array without the axis of groups: the inverse of `grouped`."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-2], -1)

    def joined(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of theirs with the axis of heads merged and that of experts apart, as in ours; unchanged if it
        has others."""
        at = self.axis
        if self.experts and len(shape) == 2 and shape[0] % self.experts == 0:
            return (self.experts, shape[0] // self.experts, shape[1])
        if not self.heads or len(shape) < at + 2 or shape[at] != self.heads:
            return shape
        return (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])

    def apart(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of ours with a separate axis of heads: the inverse of `joined`."""
        at = self.axis
        return (*shape[:at], self.heads, shape[at] // self.heads, *shape[at + 1 :]) if self.heads else shape


class _Renamed(collections.abc.Mapping):
    """The result of `WeightMap.read`."""

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
        return place.part(place.turned(array))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array if the tensors know their shapes."""
        if name in self._zeros:
            return self._zeros[name]
        place = self._places.get(name)
        theirs = name if place is None else place.theirs
        shape = self._tensors.shape(theirs) if hasattr(self._tensors, "shape") else self._tensors[theirs].shape
        if place is None:
            return tuple(shape)
        shape = place.joined(tuple(shape))
        if place.transposed:
            shape = shape[::-1] if place.convolution else (*shape[:-2], *shape[:-3:-1])
        *others, width = shape
        # A tensor of another width has no right part: its whole width is shown.
        return (*others, width if place.stop is None or width != place.width else place.stop - place.start)

    def dtype(self, name: str) -> str | None:
        """Return the dtype of one array in its file, without reading the array; None if the tensors do not know it."""
        dtype_of = getattr(self._tensors, "dtype", None)
        return (
            None
            if dtype_of is None or name in self._zeros
            else dtype_of(getattr(self._places.get(name), "theirs", name))
        )

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self._places or name in self._zeros or name in self._rest

    def __iter__(self) -> collections.abc.Iterator[str]:
        yield from self._places
        yield from self._zeros
        yield from self._rest

    def __len__(self) -> int:
        return len(self._places) + len(self._zeros) + len(self._rest)


class _Stacked(collections.abc.Mapping):
    """Their tensors, with numbered tensors as one, a stack made on access, whose name has `*` for the number."""

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


def _place(theirs: str, entry: Entry, leaf: str, position: int, shapes: list[tuple[int, ...]]) -> _Place:
    """Return the place in the tensor `theirs` of one of several weights of ours, whose `shapes` these are."""
    widths = [shape[-1] for shape in shapes]
    start, in_kernel = sum(widths[:position]), entry.input_heads and leaf == "kernel"
    return _Place(
        theirs,
        entry.transposed and leaf == "kernel",
        start,
        None if len(widths) == 1 else start + widths[position],
        sum(widths),
        entry.groups,
        entry.input_heads if in_kernel else entry.output_heads,
        0 if in_kernel else len(shapes[position]) - 1,
        entry.zero,
        shapes[0][0] if entry.merged else 0,
        entry.convolution,
    )


def both_ways(prefix: str, pairs: collections.abc.Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return pairs of names with the prefix and without, for `WeightMap.copies` and `stand_ins`."""
    return tuple((f"{each}{a}", f"{each}{b}") for each in (prefix, "") for a, b in pairs)


def _equal(tensors: collections.abc.Mapping[str, typing.Any], *names: str) -> bool:
    """Return whether two tensors hold the same numbers, whatever their dtypes."""
    first, second = (np.asarray(tensors[name]) for name in names)
    if first.shape != second.shape:
        return False
    if first.dtype != second.dtype:
        first, second = first.astype("float32"), second.astype("float32")
    return bool(np.array_equal(first, second)) or first.tobytes() == second.tobytes()  # by bytes, NaN equals itself


def _several(ours: str | tuple[str, ...]) -> tuple[str, ...]:
    return ours if isinstance(ours, tuple) else (ours,)


def _pattern(name: str) -> re.Pattern[str]:
    pattern = re.escape(name).replace(r"\{n\}", r"(?P<n>\d+)")
    return re.compile(pattern.replace(r"\{leaf\}", "(?:weight|bias)").replace(r"\*", r"(?P<one>\d+)"))
