"""Their tensors by our names, each read when it is asked for: two mappings over the tensors of a file.

Stacked    numbered tensors of a file, such as the matrices of experts, as one tensor
Renamed    those tensors by our names, in our shapes
"""

import collections.abc
import re
import typing

import numpy as np

from keras_transformers.families.weight_entries import Place


class Stacked(collections.abc.Mapping):
    """Their tensors. Numbered tensors are one tensor, stacked on access, whose name has `*` for the number.

    Args:
        tensors: their tensors by name.
        patterns: patterns of the names of numbered tensors; the group `one` is the number.
    """

    def __init__(self, tensors: collections.abc.Mapping[str, typing.Any], patterns: list[re.Pattern[str]]) -> None:
        self._tensors = tensors
        self._names: dict[str, dict[int, str]] = {}
        for name in tensors:
            match = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
            begin, end = match.span("one") if match else (0, 0)
            stack = f"{name[:begin]}*{name[end:]}" if match else name
            self._names.setdefault(stack, {})[int(name[begin:end] or 0)] = name

    def _parts(self, name: str) -> list[str]:
        """Return the names of the tensors that make one stack, or the name of a single tensor."""
        return [self._names[name][number] for number in sorted(self._names[name])]

    def __getitem__(self, name: str) -> np.ndarray:
        parts = self._parts(name)
        return self._tensors[name] if parts == [name] else np.stack([self._tensors[each] for each in parts])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one tensor, without reading the tensor if the file knows its shape."""
        parts, shape_of = self._parts(name), getattr(self._tensors, "shape", None)
        shape = tuple(self._tensors[parts[0]].shape if shape_of is None else shape_of(parts[0]))
        return shape if parts == [name] else (len(parts), *shape)

    def dtype(self, name: str) -> str | None:
        """Return the dtype of one tensor in its file, without reading the tensor; None if the file does not know it."""
        dtype_of = getattr(self._tensors, "dtype", None)
        return None if dtype_of is None else dtype_of(self._parts(name)[0])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Renamed(collections.abc.Mapping):
    """Their tensors by our names: the result of `WeightMap.read`. Each is read on access."""

    def __init__(
        self,
        tensors: Stacked,
        places: dict[str, Place],
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
        return place.read(self._tensors[place.theirs])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array if the tensors know their shapes."""
        if name in self._zeros:
            return self._zeros[name]
        place = self._places.get(name)
        theirs = name if place is None else place.theirs
        shape = tuple(self._tensors.shape(theirs))
        return shape if place is None else place.read_shape(shape)

    def dtype(self, name: str) -> str | None:
        """Return the dtype of one array in its file, without reading the array; None if the tensors do not know it."""
        return None if name in self._zeros else self._tensors.dtype(getattr(self._places.get(name), "theirs", name))

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self._places or name in self._zeros or name in self._rest

    def __iter__(self) -> collections.abc.Iterator[str]:
        yield from self._places
        yield from self._zeros
        yield from self._rest

    def __len__(self) -> int:
        return len(self._places) + len(self._zeros) + len(self._rest)
