"""A T5 that was exported as two ONNX graphs with 8-bit weights, as a folder of Hugging Face's: the same weights under
their own names again.

The graphs name norms, tables of positions and token embeddings as the model did; of matrix products they keep only the
order, which is that of the layers.

Source: https://github.com/onnx/onnx/blob/v1.17.0/onnx/onnx.proto (`ModelProto.graph` is 7, `GraphProto.initializer` 5).
"""

import json
import pathlib
import re
import shutil

import numpy as np
from safetensors.numpy import save_file

from keras_transformers.tokenizers.convert.sentencepiece_model import _fields as fields
from keras_transformers.tokenizers.convert.sentencepiece_model import _integer as integer

_DIMS, _TYPE, _FLOATS, _INTEGERS, _NAME, _RAW = 1, 2, 4, 5, 8, 9
_TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8"}
_ATTENTION = ("q", "k", "v", "o")
_CONFIG = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}


def to_folder(source, folder):
    """Write the folder.

    Args:
        source: with `encoder.onnx`, `decoder.onnx` and `tokenizer.json`.
        folder: made where there is none.
    """
    source, folder = pathlib.Path(source), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = (_arrays(source / f"{side}.onnx") for side in ("encoder", "decoder"))
    tensors = {"shared.weight": encoder["enc.embed_tokens.weight"]}
    tensors |= _stack("encoder", "enc", encoder, (_ATTENTION,))
    tensors |= _stack("decoder", "m.decoder", decoder, (_ATTENTION, _ATTENTION))
    tensors["lm_head.weight"] = _products(decoder)[-1]
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_CONFIG), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}), "utf-8")
    shutil.copy(source / "tokenizer.json", folder)
    return folder


def _stack(side, prefix, arrays, attentions):
    """The tensors of one stack."""
    products, tensors = iter(_products(arrays)), {}
    for n in range(_CONFIG["num_layers"]):
        block, branches = f"{side}.block.{n}.layer", len(attentions) + 1
        for branch, names in enumerate(attentions):
            kind = ("SelfAttention", "EncDecAttention")[branch]
            tensors |= {f"{block}.{branch}.{kind}.{name}.weight": next(products) for name in names}
        dense = f"{block}.{branches - 1}.DenseReluDense"
        tensors |= {f"{dense}.{name}.weight": next(products) for name in ("wi_0", "wi_1", "wo")}
        for branch in range(branches):
            name = f"layer.{branch}.layer_norm.weight"
            tensors[f"{side}.block.{n}.{name}"] = arrays[f"{prefix}.block.{n}.{name}"]
    name = "final_layer_norm.weight"
    tensors[f"{side}.{name}"] = arrays[f"{prefix}.{name}"]
    (bias,) = [name for name in arrays if "relative_attention_bias" in name and arrays[name].ndim == 2]
    return tensors | {f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight": arrays[bias]}


def _products(arrays):
    """The matrices `[out, in]` of matrix products, in the order in which the graph was traced."""
    named = {
        int(match[1]): array for name, array in arrays.items() if (match := re.fullmatch(r"onnx::MatMul_(\d+)", name))
    }
    return [named[number].T for number in sorted(named)]


def _arrays(path):
    """The weights in a graph by name, in float32: what is quantized is multiplied out."""
    (graph,) = [value for field, value in fields(path.read_bytes()) if field == 7]
    stored = dict(_array(value) for field, value in fields(graph) if field == 5)
    arrays = {name: array for name, array in stored.items() if array.dtype == "float32"}
    for name in [name.removesuffix("_quantized") for name in stored if name.endswith("_quantized")]:
        whole, zero = (stored[f"{name}_{part}"].astype("float32") for part in ("quantized", "zero_point"))
        arrays[name] = (whole - zero) * stored[f"{name}_scale"]
    return arrays


def _array(message):
    """The name and the array of a `TensorProto`."""
    dims, values = [], {}
    for field, value in fields(message):
        dims += [value] if field == _DIMS else []
        values[field] = value
    dtype = np.dtype(_TYPES[values[_TYPE]])
    if _RAW in values or _FLOATS in values:
        array = np.frombuffer(values.get(_RAW, values.get(_FLOATS)), dtype)
    else:
        integers = values[_INTEGERS]
        integers = [integers] if isinstance(integers, int) else list(_packed(integers))
        array = np.array(integers, "uint64").astype("int64").astype(dtype)
    return values[_NAME].decode(), array.reshape(dims)


def _packed(message):
    """The integers of a field that holds several in a row."""
    at = 0
    while at < len(message):
        value, at = integer(message, at)
        yield value
