"""Layers that differ from each other, as a `config.json` says it: a list of the kind of each."""

KINDS = ("full_attention", "sliding_attention")


def layer_types(read, layers, usual):
    """The kind of each of so many layers, one of `KINDS`; `usual(n)` is that of layer `n` where the file says none."""
    types = read("layer_types", None) or [usual(n) for n in range(layers)]
    if len(types) != layers or not set(types) <= set(KINDS):
        raise ValueError(
            f"layer_types: expected num_hidden_layers={layers} of {' and '.join(KINDS)}, got {types!r:.80}"
        )
    return types


def written_layer_types(stack):
    """The inverse: what has a window slides."""
    return [KINDS[attention.window is not None] for attention in stack.attentions]


def repeating(items):
    """The first of what one layer after the other has, and the pattern of a stack of them: the shortest beginning whose
    repetition gives all items, `()` where they are the same."""
    length = next(length for length in range(1, len(items) + 1) if _repeats(items, length))
    return items[0], tuple(items[:length]) if length > 1 else ()


def _repeats(items, length):
    return all(item == items[n % length] for n, item in enumerate(items))
