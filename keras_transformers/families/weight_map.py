"""One table that maps this library's weights ("ours") to another library's tensors ("theirs"), in both directions.

    ours                                          theirs
    encoder.block_{n}.feed_forward.up             encoder.layers.{n}.linear1              layer to layer
    …self_attention.query, .key, .value           …self_attn.in_proj_{leaf}               several to one, stacked
    …self_attention.query, .key, .value           …attention.query_key_value              the same, group by group
    …self_attention.query                         …self_attn.q_proj, or a part of …Wqkv   the one that a file has
    decoder.block_{n}.feed_forward.up             layers.{n}.experts.*.w3                 one of ours to several
    encoder.block_{n}.feed_forward.up             layers.{n}.experts.w1                   the same, in one matrix
                                                  positional_encoding.pe                  no weight of ours: ignored

An entry names layers, or one weight. `weight_entries` says where a weight of ours lies in one of their tensors.
"""

import collections.abc
import dataclasses
import re
import typing

import numpy as np
from keras import ops

from keras_transformers.families.renamed_tensors import Renamed, Stacked
from keras_transformers.families.weight_entries import LEAVES, Entry, Place
from keras_transformers.records import record

_OLD_LEAVES = LEAVES | {"gamma": "gamma", "beta": "beta"}  # in old files, of norms that are called LayerNorm

# The kinds of tensors that no weight of ours comes from.
_KINDS = ("unknown", "ignored", "heads", "outside")


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
    ) -> Renamed:
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
        tensors = Stacked(tensors, self._numbered())
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
        return Renamed(tensors, present, zeros, **kinds)

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
        spellings = {name, *(name.removeprefix(prefix) for prefix in self._prefixes)}
        for kind, patterns in (("ignored", self.ignored), ("heads", self.heads)):
            if any(_pattern(each).fullmatch(one) or each == one for each in patterns for one in spellings):
                return kind
        belongs = closed or self._is_in_body(name, spellings) or self._is_in_entries(name)
        return "unknown" if belongs else "outside"

    @property
    def _prefixes(self) -> tuple[str, ...]:
        """The prefixes that tensors of the body may have, in the order in which they are tried; "" for none."""
        return (self.prefix, *self.other_prefixes)

    def _is_in_body(self, name: str, spellings: set[str]) -> bool:
        """Return whether a tensor's name, or a spelling of it, belongs to the body."""
        roots = {entry.theirs.partition(".")[0] for entry in self.body}
        is_prefixed = any(prefix and name.startswith(prefix) for prefix in self._prefixes)
        return not roots or is_prefixed or any(one.partition(".")[0] in roots for one in spellings)

    def _is_in_entries(self, name: str) -> bool:
        """Return whether a tensor belongs to a layer of the entries without a prefix."""
        return any(name == entry.name or name.startswith(f"{entry.theirs}.") for entry in self.entries)

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
        pieces: dict[str, dict[int, tuple[Place, np.ndarray]]] = {}
        for name, place in places.items():
            pieces.setdefault(place.theirs, {})[place.start] = (place, ops.convert_to_numpy(weights[name]))
        optional = {} if like is None else {place.theirs for place in places.values() if place.zero} - set(like)
        written: dict[str, np.ndarray] = {}
        for theirs, each in pieces.items():
            array = Place.write(each)
            if theirs not in optional or array.any():
                written |= _unstacked(theirs, array)
        return written if like is None else self._with_copies(written, like)

    def _with_copies(
        self, written: dict[str, np.ndarray], like: collections.abc.Collection[str]
    ) -> dict[str, np.ndarray]:
        """Return the written tensors with the copies that a file had, some of them instead of their originals."""
        replaced: set[str] = set()
        for copy, original in self.copies:
            if copy in written and original in like and original not in written:
                written[original] = written[copy]
                replaced |= {copy} - set(like)
        for copy, originals in self._missing_copies(written, like).items():
            missing = [original for original in originals if original not in like]
            if all(np.array_equal(written[original], written[missing[0]]) for original in missing[1:]):
                written[copy] = written[(missing or originals)[0]]
                replaced |= set(missing)
        return {name: array for name, array in written.items() if name not in replaced}

    def _missing_copies(
        self, written: collections.abc.Collection[str], like: collections.abc.Collection[str]
    ) -> dict[str, list[str]]:
        """Return the copies that a file had and that are not written, each with its originals. A stand-in counts only
        if the file lacks the original, since the two may differ."""
        pairs = [*self.copies, *(pair for pair in self.stand_ins if pair[1] not in like)]
        missing: dict[str, list[str]] = {}
        for copy, original in pairs:
            if copy in like and copy not in written and original in written:
                missing.setdefault(copy, []).append(original)
        return missing

    def places(
        self, weights: collections.abc.Mapping[str, typing.Any], like: collections.abc.Collection[str] | None = None
    ) -> dict[str, Place]:
        """Return the places of our weights in their tensors, by our names, for `write`.

        A place has `theirs`, the name of a tensor, which several weights may share, and `transposed`. Weights that are
        not in the table are left out."""
        if like is None:
            return self._places(weights, self.prefix, False, ())
        return self._places(weights, *self._spelling(like), like)

    def _spelling(self, names: collections.abc.Collection[str]) -> tuple[str, bool]:
        """Return the prefix of a file's names, which may be empty, and whether the file has old names."""
        found = (prefix for prefix in self._prefixes if any(name.startswith(prefix) for name in names))
        return next(found, ""), any(name.endswith(".gamma") for name in names)

    def _numbered(self) -> list[re.Pattern[str]]:
        """Return patterns of numbered tensors that one weight of ours stacks; the group `one` is the number."""
        spellings = dict.fromkeys((*self._prefixes, ""))
        entries = [(entry, spellings) for entry in self.body] + [(entry, [""]) for entry in self.entries]
        names = [prefix + entry.name for entry, prefixes in entries for prefix in prefixes if "*" in entry.theirs]
        return [_pattern(name) for name in names]

    def _places(
        self,
        weights: collections.abc.Mapping[str, typing.Any],
        prefix: str,
        old: bool,
        names: collections.abc.Collection[str],
    ) -> dict[str, Place]:
        """Return the place of each of our weights, by our name, in a file with tensors of these `names`; weights that
        match no entry are left out."""
        prefixed = [(entry, prefix) for entry in self.body]
        rows = [
            _Row(_pattern(ours), position, entry, before)
            for entry, before in (*prefixed, *((entry, "") for entry in self.entries))
            for position, ours in enumerate(entry.parts)
        ]
        places: dict[str, Place] = {}
        for name in weights:
            found = list(_matches(rows, name, old))
            stored = (each for each in found if each.theirs in names or each.theirs.replace("*", "0") in names)
            if (match := next(stored, found[0] if found else None)) is not None:
                shapes = [weights[part].shape for part in match.ours]
                places[name] = Place.of(match.theirs, match.row.entry, match.leaf, match.row.position, shapes)
        return places


class _Row(typing.NamedTuple):
    """One of our layers in an entry: the pattern of its path, its position among the entry's layers, the entry, and the
    prefix of their tensor in a file."""

    pattern: re.Pattern[str]
    position: int
    entry: Entry
    prefix: str


class _Match(typing.NamedTuple):
    """A row that matches one of our weights: the name of their tensor, the names of all our weights in that tensor, and
    the kind of weight."""

    row: _Row
    theirs: str
    ours: list[str]
    leaf: str


def _matches(rows: list[_Row], name: str, old: bool) -> collections.abc.Iterator[_Match]:
    """Yield each row that matches the weight `name` of ours; `old` is whether the file has old names."""
    layer, _, leaf = name.rpartition(".")
    for row in rows if leaf in LEAVES else ():
        match = row.pattern.fullmatch(name if row.entry.is_weight else layer)
        if match is not None:
            number = match.groupdict()
            leaves = _OLD_LEAVES if old and "LayerNorm" in row.entry.theirs else LEAVES
            theirs = row.prefix + row.entry.name.format(leaf=leaves[leaf], **number)
            own_leaf = "" if row.entry.is_weight else f".{leaf}"
            yield _Match(row, theirs, [f"{part.format(**number)}{own_leaf}" for part in row.entry.parts], leaf)


def _unstacked(theirs: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Return a tensor by its name; the numbered tensors that a stack holds, if the name has a `*`."""
    if "*" not in theirs:
        return {theirs: np.ascontiguousarray(array)}
    return {theirs.replace("*", str(n)): np.ascontiguousarray(each) for n, each in enumerate(array)}


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


def _pattern(name: str) -> re.Pattern[str]:
    pattern = re.escape(name).replace(r"\{n\}", r"(?P<n>\d+)")
    return re.compile(pattern.replace(r"\{leaf\}", "(?:weight|bias)").replace(r"\*", r"(?P<one>\d+)"))
