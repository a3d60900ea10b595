"""One entry of a table of weights, and the place of one of our weights in one of their tensors.

The weights of a layer and their names follow from ours: `kernel`, `embeddings`, `gamma` and `scale` are their
`weight`; `bias` and `beta` are their `bias`. Our kernel `[in, out]` is their weight `[out, in]`, transposed. Their
attention heads may have a separate axis: `[in, heads, width]` for our `[in, out]`. Numbers are never changed, so
reading and writing again gives the same bits.

If several of our layers share one of theirs, each is stored whole, or in parts by turns; here with 2 groups of heads:

    groups=1   q q q q k k v v              groups=2   q q k v q q k v
"""

import collections.abc

import numpy as np

from keras_transformers.records import record

LEAVES = {
    "kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "scale": "weight",
    "bias": "bias",
    "beta": "bias",
}


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
        pointwise: whether their kernel, or the one weight that the entry names, has a last axis of 1, as in a
            `torch.nn.Conv1d` of size 1. If our kernel has an axis of groups, `[groups, in, out]`, theirs is
            `[groups * out, in, 1]`.
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
    pointwise: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Our layers, or our weight, in their order in theirs."""
        return self.ours if isinstance(self.ours, tuple) else (self.ours,)

    @property
    def is_weight(self) -> bool:
        """Whether the entry names one weight of a layer."""
        return isinstance(self.ours, str) and self.ours.rpartition(".")[2] in LEAVES

    @property
    def name(self) -> str:
        """The name of their tensor; for a layer, with `{leaf}` in it."""
        return self.theirs if self.is_weight or "{leaf}" in self.theirs else f"{self.theirs}.{{leaf}}"


@record
class Place:
    """The place of a weight of ours in one of their tensors.

    The weight is the part `start:stop` of the tensor's last axis, which is `width` long; with `stop` None it is the
    whole tensor. The last axis consists of `groups`, which hold an equal share of the part each. Unless `heads` is 0,
    `axis` is split in two in their tensor: `heads` and the rest. Unless `experts` is 0, their tensor joins the axis of
    so many experts or groups with the next. `zero`, `convolution`, `pointwise`: see `Entry`."""

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
    pointwise: bool = False

    @classmethod
    def of(cls, theirs: str, entry: Entry, leaf: str, position: int, shapes: list[tuple[int, ...]]) -> "Place":
        """Return the place in the tensor `theirs` of one of several weights of ours.

        Args:
            theirs: the name of their tensor.
            entry: the entry that names both.
            leaf: the kind of weight, one of `LEAVES`.
            position: the weight's position among the weights of ours in their tensor.
            shapes: the shapes of all weights of ours in their tensor.
        """
        widths = [shape[-1] for shape in shapes]
        start, in_kernel = sum(widths[:position]), entry.input_heads and leaf == "kernel"
        pointwise = entry.pointwise and (leaf == "kernel" or entry.is_weight)
        return cls(
            theirs,
            entry.transposed and leaf == "kernel",
            start,
            None if len(widths) == 1 else start + widths[position],
            sum(widths),
            entry.groups,
            entry.input_heads if in_kernel else entry.output_heads,
            0 if in_kernel else len(shapes[position]) - 1,
            entry.zero,
            shapes[0][0] if entry.merged or (pointwise and len(shapes[0]) == 3) else 0,
            entry.convolution,
            pointwise,
        )

    def read(self, tensor: np.ndarray) -> np.ndarray:
        """Return our weight from their tensor."""
        array = self._transpose(tensor.reshape(self._as_ours(tensor.shape)))
        if self.stop is None:
            return array
        start, stop = self.start // self.groups, self.stop // self.groups
        return self._ungrouped(self._grouped(array)[..., start:stop])

    def read_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of our weight from the shape of their tensor."""
        shape = self._as_ours(shape)
        if self.transposed:
            shape = shape[::-1] if self.convolution else (*shape[:-2], *shape[:-3:-1])
        *others, width = shape
        # A tensor of another width has no right part: its whole width is shown.
        return (*others, width if self.stop is None or width != self.width else self.stop - self.start)

    @staticmethod
    def write(pieces: collections.abc.Mapping[int, tuple["Place", np.ndarray]]) -> np.ndarray:
        """Return their tensor from all weights of ours that it holds: the inverse of `read`.

        Args:
            pieces: each weight with its place, by the place's `start`.
        """
        in_order = [pieces[start] for start in sorted(pieces)]
        place, array = in_order[0]
        if len(in_order) > 1:
            array = place._ungrouped(np.concatenate([place._grouped(each) for _, each in in_order], axis=-1))
        array = place._transpose(array)
        array = array.reshape(place._as_theirs(array.shape))
        array = array.reshape(-1, array.shape[-1]) if place.experts else array
        return array[..., None] if place.pointwise else array

    def _transpose(self, array: np.ndarray) -> np.ndarray:
        """Return an array of theirs in our order of axes, or one of ours in theirs."""
        if not self.transposed or array.ndim < 2:
            return array
        return array.transpose() if self.convolution else array.swapaxes(-1, -2)

    def _grouped(self, array: np.ndarray) -> np.ndarray:
        """Return an array with the groups on a separate axis before the last."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-1], self.groups, -1)

    def _ungrouped(self, array: np.ndarray) -> np.ndarray:
        """Return the array without the axis of groups: the inverse of `_grouped`."""
        return array if self.groups == 1 else array.reshape(*array.shape[:-2], -1)

    def _as_ours(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of theirs with the axis of heads merged and that of experts apart, as in ours; unchanged if it
        has others."""
        at = self.axis
        if self.pointwise and shape[-1] == 1:
            shape = shape[:-1]
        if self.experts and len(shape) == 2 and shape[0] % self.experts == 0:
            return (self.experts, shape[0] // self.experts, shape[1])
        if not self.heads or len(shape) < at + 2 or shape[at] != self.heads:
            return shape
        return (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])

    def _as_theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of ours with a separate axis of heads."""
        at = self.axis
        return (*shape[:at], self.heads, shape[at] // self.heads, *shape[at + 1 :]) if self.heads else shape
