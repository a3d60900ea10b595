"""GGUF files of small models, written as llama.cpp's converter writes them."""

import re

import gguf
import numpy as np

from keras_transformers.files.gguf import KINDS


def write(path, architecture, metadata, tensors, kinds=None, **options):
    """Write a file.

    Args:
        metadata: values by name, those of the architecture without it, as ".block_count".
        tensors: arrays by name: float32, or bytes of a kind in `kinds`.
        kinds: kinds by name, where it is not F32. An array of numbers is made into one.
        options: of the `gguf` package's writer, such as `split_max_tensors`.
    """
    writer = gguf.GGUFWriter(path, architecture, **options)
    for name, value in metadata.items():
        key = architecture + name if name.startswith(".") else name
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, array in tensors.items():
        kind = gguf.GGMLQuantizationType[(kinds or {}).get(name, "F32")]
        array = np.ascontiguousarray(array)
        writer.add_tensor(name, array if array.dtype == np.uint8 else gguf.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_blocks(kind, shape, random):
    """The bytes of a tensor of a kind that the `gguf` package only reads: random, with scales that are small."""
    numbers, size = KINDS[kind]
    blocks = random.integers(0, 256, (*shape[:-1], shape[-1] // numbers, size), "uint8")
    scales = {"Q6_K": [slice(208, 210)]}.get(kind, [slice(0, 2), slice(2, 4)])
    for scale in scales:
        values = random.uniform(0.5e-4, 2e-4, (*blocks.shape[:-1], 1)).astype("float16")
        blocks[..., scale] = values.view("uint8")
    return blocks.reshape(*shape[:-1], -1)


# What the converter does to Hugging Face's tensors, in its own terms: reshape and reorder, with the numbers of heads.


def _neighbours(array, heads):
    """Rotary pairs, of which the halves of a head hold the first and the second, next to each other."""
    first, second = (
        array.reshape(heads, 2, -1, *array.shape[1:])[:, 0],
        array.reshape(heads, 2, -1, *array.shape[1:])[:, 1],
    )
    return np.stack([first, second], axis=2).reshape(array.shape)


def _taken_apart(array, heads, groups):
    """All queries, then all keys, then all values, of groups that have some queries, one key and one value each."""
    grouped = array.reshape(groups, heads // groups + 2, -1, *array.shape[1:])
    parts = grouped[:, :-2], grouped[:, -2:-1], grouped[:, -1:]
    return np.concatenate([part.reshape(-1, *array.shape[1:]) for part in parts])


CHANGES = {
    "llama": {
        r"attn_q\.": lambda array, heads, groups: _neighbours(array, heads),
        r"attn_k\.": lambda array, heads, groups: _neighbours(array, groups),
    },
    "gemma": {r"norm\.weight": lambda array, heads, groups: array + 1},
    "gpt2": {r"(attn_qkv|attn_output|ffn_up|ffn_down)\.weight": lambda array, heads, groups: array.T},
    "bloom": {r"attn_qkv\.": _taken_apart},
}
for same, as_this in {
    "smollm3": "llama",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "gptneox": "bloom",
    "falcon": "bloom",
}.items():
    CHANGES[same] = CHANGES[as_this]


def converted(state, architecture, layers, heads, groups):
    """The tensors of a model of transformers' under their names in GGUF, and as they are there.

    Args:
        state: its state, arrays by name.
        layers, heads, groups: how many it has; groups are the heads of keys and values.
    """
    number = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, layers)
    tensors = {}
    for name, array in _split_experts(state).items():
        # The converter asks for the names of some without what stands before them in a model with a head.
        asked = (name, name.removeprefix("transformer."))
        theirs = next(filter(None, (names.get_name(each, try_suffixes=(".weight", ".bias")) for each in asked)), None)
        if theirs is None:
            raise ValueError(f"{architecture} has no {name}")
        for pattern, change in CHANGES.get(architecture, {}).items():
            if re.search(pattern, theirs):
                array = change(array, heads, groups)
        tensors[theirs] = np.ascontiguousarray(array)
    return tensors


def _split_experts(state):
    """Experts' gates and ups, which transformers keeps in one."""
    split = {}
    for name, array in state.items():
        if name.endswith("experts.gate_up_proj"):
            for part, each in zip(("gate", "up"), np.split(array, 2, axis=1), strict=True):
                split[name.replace("gate_up_proj", f"{part}_proj.weight")] = each
        else:
            split[f"{name}.weight" if name.endswith("experts.down_proj") else name] = array
    return split
