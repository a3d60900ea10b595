"""Names of formats that this library does not read, with advice, for the errors about them.

qweight, qzeros, scales, g_idx       weights that another tool quantized
tf_model.h5, model.onnx, *.gguf      a model in another format
adapter_config.json                  an adapter without its model
"""

import pathlib
import re
from typing import Any

from keras_transformers.spelling import listed

# Quantization methods by the endings of their tensors' names. If several match, the first whose endings are all there
# is reported.
_QUANTIZED = (
    ("GPTQ", (r"\.qweight", r"\.qzeros", r"\.g_idx")),
    ("AWQ, or GPTQ", (r"\.qweight", r"\.qzeros")),
    ("GPTQ, AWQ or a relative", (r"\.qweight",)),
    ("bitsandbytes, 4 bits", (r"\.weight\.(absmax|quant_map|quant_state\..+)",)),
    ("bitsandbytes, 8 bits", (r"\.(SCB|weight_format)",)),
    ("NVFP4", (r"\.weight_(scale_2|global_scale)",)),
    ("compressed-tensors", (r"\.weight_(packed|shape|zero_point)",)),
    ("FP8, in blocks", (r"\.weight_scale_inv",)),
    ("FP8, or integers with a scale", (r"\.(weight|input|output|[kqv])_scales?",)),
    ("MXFP4", (r"_blocks", r"_scales")),
    ("HQQ", (r"\.W_q",)),
    ("torchao or quanto", (r"\.weight(\._data|\._scale|:?_weight_.+|\.(qdata|tensor_data.*))",)),
    ("AQLM", (r"\.codebooks",)),
    ("QuIP#", (r"\.Qidxs.*",)),
    ("MLX", (r"\.scales", r"\.biases")),
)
# Weight files that this library reads.
_WEIGHTS = re.compile(r"(model\.safetensors|pytorch_model\.bin)(\.index\.json)?")
_NARROW = re.compile(r"F[468](_|$)|float[48]_")

# Files of other formats: patterns, descriptions, and advice.
_TRANSFORMERS_4 = (
    "With transformers 4 and that library, `AutoModel.from_pretrained(folder, {}=True).save_pretrained(other)` makes "
    "safetensors of them"
)
_FORMATS = (
    (
        ("adapter_config.json",),
        "an adapter and no model",
        "Load the model that its base_model_name_or_path names, then call `kt.transforms.load_lora(model, folder)`",
    ),
    (("*.gguf",), "GGUF files", "Give the path of one of them"),
    (("tf_model*.h5",), "TensorFlow's weights", _TRANSFORMERS_4.format("from_tf")),
    (("flax_model*.msgpack",), "Flax's weights", _TRANSFORMERS_4.format("from_flax")),
    (
        ("*.ckpt", "*.ckpt-*", "*.ckpt.index"),
        "a checkpoint of TensorFlow 1 or of a trainer",
        "Convert it to safetensors with the tool that wrote it",
    ),
    (
        ("*.onnx", "onnx/*.onnx"),
        "an ONNX model",
        "Run it with onnxruntime, or take the folder that it was exported from",
    ),
    (("openvino_model*", "openvino/*"), "an OpenVINO model", "Take the folder that it was exported from"),
    (
        ("*.mlmodel", "*.mlpackage", "coreml/*", "*.tflite"),
        "a model for another runtime",
        "Take the folder that it was exported from",
    ),
    (
        ("consolidated*.pth", "consolidated*.safetensors", "params.json"),
        "the authors' own format",
        "Take the folder that is converted for transformers, often called -hf",
    ),
    (("weights*.npz", "weights*.safetensors"), "weights for MLX", "Take the folder that they were converted from"),
    (("rust_model.ot",), "weights for rust-bert", "Take the folder that they were converted from"),
    (("*.pdparams",), "weights for Paddle", "Take the folder that they were converted from"),
    (
        ("global_step*", "*.distcp", "pytorch_model_fsdp*"),
        "a training checkpoint in parts",
        "Make safetensors of it with the tool that wrote it, such as zero_to_fp32.py",
    ),
    (
        ("model-*-of-*.safetensors",),
        "parts of weights without the index that names them",
        "Add model.safetensors.index.json",
    ),
    (("*.safetensors",), "safetensors by other names", "Call one of them model.safetensors if it is the whole model"),
    (
        ("*.pt", "*.pth", "*.bin", "*.ckpt"),
        "PyTorch's weights by another name",
        "Call it pytorch_model.bin if it is a dictionary of tensors of the whole model",
    ),
)


def refuse_quantized(tensors: Any, where: object) -> None:
    """Raise an error if tensors are quantized by another tool, whether the configuration says so or not.

    Args:
        tensors: a mapping of names to arrays, with a method `dtype(name)`.
        where: the name of the tensors' source in the message.

    Raises:
        ValueError: naming the quantization method and the tensors.
    """
    narrow = [name for name in tensors if _NARROW.match(str(tensors.dtype(name)))]
    for method, endings in _QUANTIZED:
        found = [[name for name in tensors if re.search(f"{ending}$", name)] for ending in endings]
        if all(found):
            _refuse(method, [name for names in found for name in names], tensors, where)
    if narrow:
        _refuse(f"{tensors.dtype(narrow[0])} numbers", narrow, tensors, where)


def _refuse(method: str, names: list[str], tensors: Any, where: object) -> None:
    shown = [f"{name} ({tensors.dtype(name)})" for name in names[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise ValueError(
        f"Expected floating-point weights in {where}, got quantized ones ({method}): {', '.join(shown)}{more}. Load "
        "the folder that they were quantized from, or a GGUF file; `kt.transforms.quantize` makes them small again."
    )


def way_on(path: pathlib.Path) -> str | None:
    """Describe the content of a path without a preset, with advice, for the end of a message.

    Args:
        path: a folder without configuration or without weights, or a file.

    Returns: "found GGUF files (a.gguf, b.gguf). Give the path of one of them."; None if nothing is known.
    """
    if path.is_dir() and (path / "gliner_config.json").is_file() and not (path / "config.json").is_file():
        return "found a model of GLiNER (gliner_config.json). Open it by kt.EntityTagger.from_preset."
    there = [path] if path.is_file() else path.iterdir()
    if any(_WEIGHTS.fullmatch(each.name) for each in there):
        return None
    for patterns, kind, advice in _FORMATS:
        if path.is_file():
            names = [path.name] if any(path.match(pattern) for pattern in patterns) else []
        else:
            names = sorted(str(each.relative_to(path)) for pattern in patterns for each in path.glob(pattern))
        if names:
            return f"found {kind} ({listed(names, 5)}). {advice}."
    return None
