"""Attention windows of some layers in a `config.json`: a width, and a list of the kind of each layer.

"sliding_window": 4096, "layer_types": ["sliding_attention", "full_attention", …]
"""

import collections.abc
import dataclasses
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, PerLayer, Values

KINDS = ("full_attention", "sliding_attention")
Slides = collections.abc.Callable[[int], bool]

_WINDOW = "decoder.block.attention.window"


def layer_types(read: ConfigReader, layers: int, slides: Slides) -> list[str]:
    """Return the kind of each layer, one of `KINDS`; if the file has no list, layer `n` has a window if `slides(n)`.

    Raises:
        ValueError: for a list with unknown kinds, or of another length.
    """
    types = read("layer_types", None) or [KINDS[slides(n)] for n in range(layers)]
    if len(types) != layers or not set(types) <= set(KINDS):
        raise ValueError(
            f"layer_types: expected num_hidden_layers={layers} of {' and '.join(KINDS)}, got {types!r:.80}"
        )
    return types


def written_layer_types(windows: collections.abc.Iterable[int | None]) -> list[str]:
    """Return the kind of each layer, given its window."""
    return [KINDS[window is not None] for window in windows]


def checked_window(window: int | None, values: Values) -> int | None:
    """Return a window, which is None in a decoder whose tokens see later ones: transformers then counts it otherwise.

    Raises:
        ValueError: for another window.
    """
    if window is not None and values.get("decoder.bidirectional"):
        raise ValueError(f"sliding_window: expected none with is_causal: false, got {window}")
    return window


@dataclasses.dataclass(frozen=True)
class WindowKeys:
    """The row of a decoder whose layers may have a window or not.

    Attributes:
        usual: a function of the reader, the values so far and the width of a window. It returns the width, or None for
            no windows, and a function that tells which layers have a window if the file does not list them.
        default: the width if the file does not have it.
        switched: whether the family has a key that switches windows on; they are off by default.
        otherwise: the width that is written if no layer has a window.
        others: further keys that `usual` reads.
    """

    usual: collections.abc.Callable[[ConfigReader, Values, int | None], tuple[int | None, Slides]]
    default: int | None = 4096
    switched: bool = False
    otherwise: int | None = None
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The keys."""
        return ("layer_types", "sliding_window", *(["use_sliding_window"] if self.switched else []), *self.others)

    def read(self, read: ConfigReader, values: Values) -> None:
        """Set the window of each layer.

        Raises:
            ValueError: for a list that does not fit the layers, or windows without a width.
        """
        window = read.optional("sliding_window", int, self.default)
        window, slides = self.usual(read, values, window)
        types = layer_types(read, values["decoder.num_layers"], slides)
        if window is None and "sliding_attention" in types:
            raise ValueError("layer_types: expected a sliding_window for sliding_attention, got none")
        windows = tuple(window if kind == "sliding_attention" else None for kind in types)
        values[_WINDOW] = PerLayer(tuple(checked_window(each, values) for each in windows))

    def write(self, fields: Fields) -> dict[str, Any]:
        """Return the keys: the width of the first window, and the kind of each layer."""
        windows = fields.layers(_WINDOW)
        window = next((each for each in windows if each is not None), self.otherwise)
        switch = {"use_sliding_window": window is not None} if self.switched else {}
        return {**switch, "sliding_window": window, "layer_types": written_layer_types(windows)}
