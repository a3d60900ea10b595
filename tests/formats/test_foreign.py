"""Folders of what this library does not read: each is named for what it is, with the way on."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch

import keras_transformers as kt
from keras_transformers.files.git_lfs import is_pointer, refuse_pointers
from keras_transformers.formats import foreign
from tests.conformance import checkpoints
from tests.conformance.cases import CHECKPOINTS

pytestmark = pytest.mark.one_backend("torch")

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 267967963\n"
LLAMA = "llama/LlamaForCausalLM"
LAYER = "model.layers.0.self_attn.q_proj"


def config_of(name):
    return (checkpoints.folder(name) / "config.json").read_bytes()


def folder_of(path, files, config=True):
    """A folder with files of a few bytes, and the configuration of a Llama."""
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"\x00" * 16)
    if config:
        (path / "config.json").write_bytes(config_of(LLAMA))
    return path


# Other formats


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize(
    ("file", "kind", "advice"),
    [
        ("tf_model.h5", "TensorFlow's weights", "from_tf=True"),
        ("tf_model-00001-of-00002.h5", "TensorFlow's weights", "from_tf=True"),
        ("flax_model.msgpack", "Flax's weights", "from_flax=True"),
        ("model.onnx", "an ONNX model", "onnxruntime"),
        ("onnx/model_quantized.onnx", "an ONNX model", "onnxruntime"),
        ("openvino_model.xml", "an OpenVINO model", "exported from"),
        ("consolidated.00.pth", "the authors' own format", "converted for transformers"),
        ("consolidated.safetensors", "the authors' own format", "converted for transformers"),
        ("weights.npz", "weights for MLX", "converted from"),
        ("weights.00.safetensors", "weights for MLX", "converted from"),
        ("rust_model.ot", "weights for rust-bert", "converted from"),
        ("model_state.pdparams", "weights for Paddle", "converted from"),
        ("bert_model.ckpt.index", "a checkpoint of TensorFlow 1", "Convert it"),
        ("adapter_config.json", "an adapter and no model", "load_lora"),
        ("model-00001-of-00002.safetensors", "parts of weights without the index", "model.safetensors.index.json"),
        ("diffusion_model.safetensors", "safetensors by other names", "Call one of them model.safetensors"),
        ("checkpoint.pt", "PyTorch's weights by another name", "pytorch_model.bin"),
        ("global_step100/mp_rank_00_model_states.pt", "a training checkpoint in parts", "zero_to_fp32"),
    ],
)
def test_another_format_is_named(file, kind, advice, config, tmp_path):
    path = folder_of(tmp_path / "theirs", [file], config)
    with pytest.raises(FileNotFoundError) as error:
        kt.CausalLM.from_preset(path)
    message = str(error.value)
    assert kind in message and advice in message and file.split("/")[0] in message and str(path) in message


def test_gguf_files_are_named(tmp_path):
    path = folder_of(tmp_path / "several", ["a.Q4.gguf", "b.Q8.gguf"], config=False)
    with pytest.raises(FileNotFoundError, match=r"GGUF files \(a.Q4.gguf, b.Q8.gguf\). Give the path of one of them"):
        kt.CausalLM.from_preset(path)
    path = folder_of(tmp_path / "with-config", ["a.gguf"])
    with pytest.raises(FileNotFoundError, match=r"Expected model.safetensors in .*found GGUF files \(a.gguf\)"):
        kt.CausalLM.from_preset(path)


def test_a_file_of_another_format_is_named(tmp_path):
    path = folder_of(tmp_path, ["model.onnx"]) / "model.onnx"
    with pytest.raises(FileNotFoundError, match="found an ONNX model .*Give a folder"):
        kt.CausalLM.from_preset(path)


def test_weights_are_not_taken_for_others(tmp_path):
    """A folder without a `config.json` says that that is missing, whatever weights are there."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        path = folder_of(tmp_path / name, [name, "training_args.bin"], config=False)
        with pytest.raises(FileNotFoundError, match=f"Expected config.json in .*, found .*{name}"):
            kt.CausalLM.from_preset(path)


def test_parts_that_are_missing_are_named(tmp_path):
    path = folder_of(tmp_path, [])
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="names, missing: model-00001-of-00002.safetensors"):
        kt.CausalLM.from_preset(path)


# Quantized weights


def _float8(torch):
    return {f"{LAYER}.weight": torch.zeros(2, 2).to(torch.float8_e4m3fn)}


def _integers(*leaves, dtype="int32"):
    return lambda torch: {f"{LAYER}.{leaf}": torch.zeros(2, 2, dtype=getattr(torch, dtype)) for leaf in leaves}


@pytest.mark.parametrize(
    ("tensors", "method"),
    [
        (_float8, "F8_E4M3 numbers"),
        (lambda torch: _float8(torch) | {f"{LAYER}.weight_scale_inv": torch.ones(1)}, "FP8, in blocks"),
        (lambda torch: _float8(torch) | {f"{LAYER}.weight_scale": torch.ones(1)}, "FP8, or integers with a scale"),
        (_integers("qweight", "qzeros", "scales", "g_idx"), "GPTQ"),
        (_integers("qweight", "qzeros", "scales"), "AWQ, or GPTQ"),
        (_integers("weight", "weight.absmax", "weight.quant_map", dtype="uint8"), "bitsandbytes, 4 bits"),
        (_integers("weight", "SCB", dtype="int8"), "bitsandbytes, 8 bits"),
        (_integers("weight_packed", "weight_scale", "weight_shape"), "compressed-tensors"),
        (_integers("weight", "weight_scale", "weight_scale_2", dtype="uint8"), "NVFP4"),
        (_integers("weight", "weight_scale", dtype="int8"), "integers with a scale"),
        (_integers("W_q", "meta", dtype="uint8"), "HQQ"),
        (_integers("weight._data", "weight._scale", dtype="int8"), "torchao or quanto"),
        (_integers("weight", "scales", "biases"), "MLX"),
        (
            lambda torch: {f"model.mlp.experts.down_proj_{leaf}": torch.zeros(2) for leaf in ("blocks", "scales")},
            "MXFP4",
        ),
    ],
)
def test_quantized_weights_are_named(tensors, method, tmp_path):
    import torch

    path = folder_of(tmp_path, [])
    safetensors.torch.save_file(tensors(torch), path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="Expected floating-point weights in .*, got quantized ones") as error:
        kt.CausalLM.from_preset(path)
    assert f"({method})" in str(error.value).replace("FP8, or ", "") or method in str(error.value)
    assert "Load the folder that they were quantized from" in str(error.value)


def test_quantized_weights_of_pytorch_are_named(tmp_path):
    import torch

    path = folder_of(tmp_path, [])
    torch.save(_float8(torch), path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"got quantized ones \(float8_e4m3fn numbers\): model.layers.0.self_attn"):
        kt.CausalLM.from_preset(path)


def test_no_family_writes_what_looks_quantized():
    class Tensors(dict):
        def dtype(self, name):
            return "F64"

    seen = set()
    for name, (case, _) in CHECKPOINTS.items():
        if case.model_type in seen:
            continue
        seen.add(case.model_type)
        tensors = safetensors.numpy.load_file(checkpoints.folder(name) / "model.safetensors")
        foreign.refuse_quantized(Tensors(tensors), name)


# Git LFS


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"])
def test_a_pointer_is_named(file, tmp_path):
    safetensors.numpy.save_file({"w": np.zeros(2, "float32")}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(config_of(LLAMA))
    (tmp_path / file).write_bytes(POINTER)
    (tmp_path / "tf_model.h5").write_bytes(POINTER)  # nobody reads it
    message = f"Expected the content of {file} in .*, got Git LFS pointers.*git lfs pull"
    with pytest.raises(ValueError, match=message):
        kt.CausalLM.from_preset(tmp_path)
    if file.startswith(("tokenizer", "vocab")):
        with pytest.raises(ValueError, match=message):
            kt.Tokenizer.load(tmp_path)


def test_a_pointer_in_the_place_of_one_file(tmp_path):
    for name in ("model.gguf", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(POINTER)
    assert is_pointer(tmp_path / "model.gguf") and not is_pointer(tmp_path / "none")
    with pytest.raises(ValueError, match="Expected the content of model.gguf"):
        kt.CausalLM.from_preset(tmp_path / "model.gguf")
    with pytest.raises(ValueError, match="Expected the content of pytorch_model.bin"):
        refuse_pointers(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)  # these are read, and no others
    refuse_pointers(tmp_path)
