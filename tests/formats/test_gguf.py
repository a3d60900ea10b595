"""GGUF files: the same model as transformers' own, of each architecture and kind of tensor; bad files are refused."""

import dataclasses
import pathlib
import struct
import sys
import time

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.files.gguf import KINDS, NO_TOKEN, GGUFFile
from keras_transformers.formats import gguf as checkpoints
from keras_transformers.formats import sources
from keras_transformers.formats.gguf_config import ARCHITECTURES
from tests.formats import gguf_files
from tests.layers.reference import relative_error

# Files are read alike on every backend.
pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).parents[2]
TOKENS = np.random.default_rng(0).integers(0, 96, (3, 40)).astype("int32")
_HEADS = {".attention.head_count": 4, ".attention.head_count_kv": 2}
_SIZES = {".context_length": 64, ".embedding_length": 32, ".feed_forward_length": 48, ".block_count": 3, **_HEADS}
_RMS = {**_SIZES, ".attention.layer_norm_rms_epsilon": 1e-3}
_THEIRS = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
    "pad_token_id": None,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A small model of an architecture: what a file's metadata says, and what transformers' configuration says."""

    architecture: str
    model_type: str
    metadata: dict
    values: dict
    extra: dict = dataclasses.field(default_factory=dict)  # tensors besides


def _llama(metadata=None, values=None, extra=None):
    return Case("llama", "llama", {**_RMS, **(metadata or {})}, {**_THEIRS, **(values or {})}, extra or {})


def llama3_divisors(base, width, factor):
    """What the converter writes of Llama 3.1's scaling: by how much each frequency is divided."""
    divisors = []
    for frequency in base ** (-np.arange(0, width, 2) / width):
        turns = 8192 * frequency / (2 * np.pi)
        share = np.clip((turns - 1) / (4 - 1), 0, 1)
        divisors.append(1 / ((1 - share) / factor + share))
    return np.array(divisors, "float32")


_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_PLAIN = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
_WIDE = {".attention.key_length": 16, ".attention.value_length": 16}
_GEMMA = {**_THEIRS, "head_dim": 16, "tie_word_embeddings": True, "pad_token_id": 0}
_GEMMA2 = {**_GEMMA, "query_pre_attn_scalar": 16, "sliding_window": 12}
_PHI3 = {".attention.sliding_window": 12, ".rope.scaling.original_context_length": 16}
_ALONE = {".attention.head_count_kv": 4, ".attention.layer_norm_epsilon": 1e-3}
_GPT2 = {"vocab_size": 96, "n_positions": 64, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48}
_PARTLY = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
_LONG = {".rope.scaling.factor": 4.0, ".rope.scaling.original_context_length": 16}
CASES = {
    "llama": _llama({".rope.freq_base": 5e3, ".rope.dimension_count": 8, ".vocab_size": 96}, {"rope_theta": 5e3}),
    "llama, tied": _llama({}, {"tie_word_embeddings": True}),
    "llama, wide heads": _llama({".attention.key_length": 16, ".attention.value_length": 16}, {"head_dim": 16}),
    "llama, biases": _llama({}, {"attention_bias": True, "mlp_bias": True}),
    "llama, linear": _llama(
        {".rope.scaling.type": "linear", ".rope.scaling.factor": 4.0},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "llama, yarn": _llama(
        {".rope.scaling.type": "yarn", **_LONG},
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "rope_theta": 1e4,
            }
        },
    ),
    "llama 3": _llama(
        {".rope.freq_base": 5e5},
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5, **_LLAMA3}},
        {"rope_freqs.weight": llama3_divisors(5e5, 8, 8.0)},
    ),
    "mixtral": Case(
        "llama",
        "mixtral",
        {**_RMS, ".expert_count": 5, ".expert_used_count": 3},
        {**_THEIRS, **_PLAIN, "num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": None},
    ),
    "qwen3moe": Case(
        "qwen3moe",
        "qwen3_moe",
        {**_RMS, **_WIDE, ".expert_count": 5, ".expert_used_count": 3, ".expert_feed_forward_length": 24},
        {
            **_THEIRS,
            "head_dim": 16,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
        },
    ),
    "smollm3": Case("smollm3", "smollm3", {**_RMS, ".block_count": 5}, {**_THEIRS, **_PLAIN, "num_hidden_layers": 5}),
    "qwen2": Case("qwen2", "qwen2", {**_RMS, ".rope.freq_base": 1e6}, {**_THEIRS, "rope_theta": 1e6}),
    "qwen3": Case("qwen3", "qwen3", {**_RMS, **_WIDE}, {**_THEIRS, "head_dim": 16}),
    "olmo2": Case("olmo2", "olmo2", _RMS, _THEIRS),
    "phi3": Case(
        "phi3",
        "phi3",
        {**_RMS, **_PHI3, ".rope.dimension_count": 6, ".rope.scaling.attn_factor": (1 + np.log(4) / np.log(16)) ** 0.5},
        {
            **_THEIRS,
            "sliding_window": 12,
            "original_max_position_embeddings": 16,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0, 1.1, 1.3],
                "long_factor": [1.0, 2.1, 3.3],
                "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 16,
            },
        },
        {
            "rope_factors_short.weight": np.array([1.0, 1.1, 1.3], "float32"),
            "rope_factors_long.weight": np.array([1.0, 2.1, 3.3], "float32"),
        },
    ),
    "phi3, short": Case("phi3", "phi3", {**_RMS, **_PHI3, ".attention.sliding_window": 0}, {**_THEIRS, **_PLAIN}),
    "gemma": Case("gemma", "gemma", {**_RMS, **_WIDE}, _GEMMA),
    "gemma2": Case("gemma2", "gemma2", {**_RMS, **_WIDE, ".attention.sliding_window": 12}, _GEMMA2),
    "gemma3": Case(
        "gemma3",
        "gemma3_text",
        {
            **_RMS,
            **_WIDE,
            ".block_count": 7,
            ".attention.sliding_window": 12,
            ".rope.freq_base": 1e6,
            ".rope.scaling.type": "linear",
            ".rope.scaling.factor": 8.0,
        },
        {
            **_GEMMA2,
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "gemma3, windows listed": Case(
        "gemma3",
        "gemma3_text",
        {
            **_RMS,
            **_WIDE,
            ".attention.sliding_window": 12,
            ".attention.sliding_window_pattern": [True, False, False],
            ".rope.freq_base": 1e6,
        },
        {**_GEMMA2, "layer_types": ["sliding_attention", "full_attention", "full_attention"]},
    ),
    "gemma3, no windows": Case(
        "gemma3",
        "gemma3_text",
        {**_RMS, **_WIDE, ".rope.freq_base": 1e6},
        {**_GEMMA2, "layer_types": ["full_attention"] * 3},
    ),
    "gpt2": Case("gpt2", "gpt2", {**_SIZES, **_ALONE}, {**_GPT2, "layer_norm_epsilon": 1e-3}),
    "gptneox": Case(
        "gptneox",
        "gpt_neox",
        {**_SIZES, **_ALONE, ".rope.dimension_count": 4, ".use_parallel_residual": True},
        {**_THEIRS, **_PARTLY, "layer_norm_eps": 1e-3},
    ),
    "gptneox, sequential": Case(
        "gptneox",
        "gpt_neox",
        {**_SIZES, **_ALONE, ".rope.dimension_count": 4, ".use_parallel_residual": False},
        {**_THEIRS, **_PARTLY, "layer_norm_eps": 1e-3, "use_parallel_residual": False},
    ),
    "bloom": Case(
        "bloom",
        "bloom",
        {**_SIZES, **_ALONE, ".feed_forward_length": 128, ".attention.head_count_kv": 4},
        {"vocab_size": 96, "hidden_size": 32, "n_layer": 3, "n_head": 4, "layer_norm_epsilon": 1e-3},
    ),
    "falcon": Case(
        "falcon",
        "falcon",
        {**_SIZES, **_ALONE, ".attention.head_count_kv": 1},
        {**_THEIRS, "ffn_hidden_size": 48, "layer_norm_epsilon": 1e-3},
    ),
    "falcon, groups": Case(
        "falcon",
        "falcon",
        {**_SIZES, **_ALONE, ".attention.head_count_kv": 2},
        {
            **_THEIRS,
            "ffn_hidden_size": 48,
            "layer_norm_epsilon": 1e-3,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
        },
    ),
    "phi2": Case(
        "phi2",
        "phi",
        {**_SIZES, **_ALONE, ".attention.head_count_kv": 2, ".rope.dimension_count": 4},
        {**_THEIRS, **_PARTLY, "layer_norm_eps": 1e-3},
    ),
}


def theirs(case):
    """Transformers' model of a case, with random weights."""
    import torch
    import transformers

    config = transformers.CONFIG_MAPPING[case.model_type](**case.values)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model


def logits(model, token_ids=TOKENS):
    import torch

    with torch.no_grad():
        return model(torch.tensor(token_ids).long()).logits.numpy()


def write(path, case, model, **options):
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    heads, groups = (case.metadata.get(f".attention.{each}", 4) for each in ("head_count", "head_count_kv"))
    tensors = gguf_files.converted(state, case.architecture, case.metadata[".block_count"], heads, groups)
    return gguf_files.write(path, case.architecture, case.metadata, {**tensors, **case.extra}, **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small Llama, its file, and transformers' model of it."""
    model = theirs(CASES["llama"])
    return write(tmp_path_factory.mktemp("small") / "small.gguf", CASES["llama"], model), model


@pytest.mark.parametrize("name", CASES)
def test_an_architecture_computes_what_transformers_does(name, tmp_path):
    model = theirs(CASES[name])
    path = write(tmp_path / "model.gguf", CASES[name], model)
    ours = kt.CausalLM.from_preset(path)
    wanted = logits(model)
    assert relative_error(ops.convert_to_numpy(ours(TOKENS)), wanted) <= 1e-5
    ours.save_to_preset(tmp_path / "saved")
    assert relative_error(logits(type(model).from_pretrained(tmp_path / "saved")), wanted) <= 1e-5


def test_a_head_that_is_the_table_of_tokens_again_is_tied(small, tmp_path):
    model = theirs(CASES["llama, tied"])
    table = model.state_dict()["model.embed_tokens.weight"].numpy()
    case = dataclasses.replace(CASES["llama, tied"], extra={"output.weight": table})
    ours = kt.CausalLM.from_preset(write(tmp_path / "model.gguf", case, model))
    assert ours.config.head.tied
    assert relative_error(ops.convert_to_numpy(ours(TOKENS)), logits(model)) <= 1e-5


# Kinds of tensors


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_each_kind_are_read(kind, tmp_path):
    import gguf

    random, number = np.random.default_rng(0), gguf.GGMLQuantizationType[kind]
    array = random.normal(0, 1, (5, 3, 512)).astype("float32")
    only_read = kind.endswith("_K")
    written = gguf_files.random_blocks(kind, array.shape, random) if only_read else gguf.quantize(array, number)
    path = gguf_files.write(tmp_path / "kinds.gguf", "llama", {}, {"one": array[0], "a": written}, {"a": kind})
    file = GGUFFile(path)
    found = file["a"]
    assert found.dtype == np.float32 and file.shape("a") == found.shape == array.shape
    np.testing.assert_array_equal(found, gguf.dequantize(written, number).reshape(array.shape))
    np.testing.assert_array_equal(file.part("a", 2), found[2])
    if not only_read:
        assert relative_error(found, array) < 0.2


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_halves_are_saved_as_halves(kind, tmp_path):
    import torch

    dtype = {"F16": torch.float16, "BF16": torch.bfloat16}[kind]
    model = theirs(CASES["llama"]).to(dtype).float()
    matrices = [name for name, tensor in model.state_dict().items() if tensor.ndim == 2]
    kinds = {
        name: kind for name in GGUFFile(write(tmp_path / "plain.gguf", CASES["llama"], model)) if "norm" not in name
    }
    assert len(kinds) == len(matrices)
    ours = kt.CausalLM.from_preset(write(tmp_path / "model.gguf", CASES["llama"], model, kinds=kinds))
    ours.save_to_preset(tmp_path / "saved")
    saved = type(model).from_pretrained(tmp_path / "saved")
    assert saved.dtype == dtype
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(saved.state_dict()[name].float().numpy(), tensor.numpy())


def test_kinds_that_are_not_read_are_refused_by_name(tmp_path):
    import gguf

    blocks = np.zeros((4, 84), "uint8")
    names = {f"blk.{n}.attn_q.weight": "Q2_K" for n in range(7)}
    path = gguf_files.write(tmp_path / "kinds.gguf", "llama", {}, dict.fromkeys(names, blocks), names)
    with pytest.raises(ValueError, match=r"of the kinds F32, F16.* got blk\.0\.attn_q\.weight \(Q2_K\).* and 2 more"):
        GGUFFile(path)
    content = path.read_bytes()
    number = struct.pack("<I", gguf.GGMLQuantizationType.Q2_K)
    path.write_bytes(content.replace(number, struct.pack("<I", 99)))
    with pytest.raises(ValueError, match=r"got blk\.0\.attn_q\.weight \(kind 99\)"):
        GGUFFile(path)


# Files that are damaged


def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(small, tmp_path):
    content = small[0].read_bytes()
    path = tmp_path / "cut.gguf"
    for length in [*range(0, 3000, 7), *range(3000, len(content), 1009), len(content) - 33]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="Expected a (whole )?GGUF file"):
            GGUFFile(path)


NAME = struct.pack("<Q", 1) + b"a"


def header(tensors, values, *rest):
    """A header of so many tensors and values."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + b"".join(rest)


def test_a_file_that_claims_more_than_it_holds_is_refused_at_once(tmp_path):
    many = 1 << 60
    for number, content in enumerate(
        (
            header(many, 0),
            header(0, many),
            header(0, 1, struct.pack("<Q", many), bytes(64)),  # a name
            header(0, 1, NAME, struct.pack("<IIQ", 9, 4, many), bytes(64)),  # a list of numbers
            header(0, 1, NAME, struct.pack("<IIQ", 9, 8, many), bytes(64)),  # a list of strings
            header(0, 1, NAME, struct.pack("<IQ", 8, many), bytes(64)),  # a string
            header(1, 0, NAME, struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0), bytes(64)),  # a tensor's shape
            header(1, 0, NAME, struct.pack("<IQIQ", 1, 4, 0, many), bytes(64)),  # a tensor's place
        )
    ):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(content)
        start = time.perf_counter()
        with pytest.raises(ValueError, match="which claims to hold"):
            GGUFFile(path)
        assert time.perf_counter() - start < 1


def test_what_contradicts_the_format_is_refused(tmp_path):
    path = tmp_path / "odd.gguf"
    for content, message in {
        b"PK" + bytes(30): r"one that starts with b'PK",
        b"GGUF" + struct.pack(">I", 3) + bytes(16): "for big-endian machines",
        b"GGUF" + struct.pack("<I", 1) + bytes(16): "Expected version 2 or 3 .* got 1",
        header(0, 2, 2 * (NAME + struct.pack("<IB", 0, 1))): "'a' twice",
        header(0, 1, NAME, struct.pack("<II", 77, 0)): "a value of type 77",
        header(0, 1, NAME, struct.pack("<IIQ", 9, 9, 0)): "a list of type 9",
        header(0, 1, struct.pack("<Q", 1), b"\xff", bytes(8)): "not UTF-8",
        header(1, 0, NAME, struct.pack("<IQIQ", 1, 0, 0, 0)): r"of shape \[0\]",
        header(1, 0, NAME, struct.pack("<IIQ", 9, 0, 0), bytes(72)): "of 9 axes",
        header(1, 0, NAME, struct.pack("<IQIQ", 1, 33, 8, 0), bytes(64)): "rows of 33 numbers",
        header(2, 0, 2 * (NAME + struct.pack("<IQIQ", 1, 1, 0, 0)), bytes(64)): "two tensors 'a'",
    }.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            GGUFFile(path)
    with pytest.raises(FileNotFoundError, match="Expected a GGUF file at"):
        GGUFFile(tmp_path / "none.gguf")


# Metadata


def test_metadata_that_is_not_understood_is_refused_by_name(tmp_path):
    tensors = {name: np.zeros((8, 4), "float32") for name in ("token_embd.weight", "a", "b")}
    for message, metadata in {
        "unknown key 'attention.clamp_kqv'": {".attention.clamp_kqv": 8.0},
        "rope.dimension_count: only 8 is supported, got 4": {".rope.dimension_count": 4},
        "attention.value_length: only 8 is supported, got 4": {
            ".attention.key_length": 8,
            ".attention.value_length": 4,
        },
        "rope.scaling.type: expected none, linear or yarn, got 'longrope'": {".rope.scaling.type": "longrope"},
        "rope.scaling.attn_factor: only 1.0 is supported, got 2.0": {".rope.scaling.attn_factor": 2.0},
        r"one number for all layers as feed_forward_length, got \[array": {".feed_forward_length": [48, 48, 32]},
        "one number for all layers as embedding_length, got": {".embedding_length": "32"},
        "block_count: expected a number from 0 to 1000, got 1000000000": {".block_count": 10**9},
        "division or modulo by zero": {".attention.head_count": 0},
    }.items():
        path = gguf_files.write(tmp_path / "odd.gguf", "llama", {**_RMS, **metadata}, tensors)
        with pytest.raises(ValueError, match=message):
            checkpoints.read(path)
    lacking = {name: value for name, value in _RMS.items() if name != ".block_count"}
    with pytest.raises(ValueError, match="Expected block_count, token_embd.weight in the file, got none such"):
        checkpoints.read(gguf_files.write(tmp_path / "odd.gguf", "llama", lacking, {"a": np.zeros(4, "float32")}))
    with pytest.raises(ValueError, match="general.architecture .* to be one of llama.* got 'mamba'"):
        checkpoints.read(gguf_files.write(tmp_path / "odd.gguf", "mamba", {}, tensors))


@pytest.fixture
def parts(small, tmp_path):
    """The same model in parts."""
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts" / "small.gguf", CASES["llama"], small[1], split_max_tensors=10, small_first_shard=True)
    return sorted((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("named", ["first", "last", "folder", "package"])
def test_a_model_in_parts_is_one(named, small, parts, monkeypatch):
    assert [path.name for path in parts] == [f"small-{n}-of-00004.gguf" for n in ("00001", "00002", "00003", "00004")]
    monkeypatch.syspath_prepend(parts[0].parents[1])
    places = {"first": parts[0], "last": parts[-1], "folder": parts[0].parent, "package": "package://parts"}
    ours, whole = kt.CausalLM.from_preset(places[named]), GGUFFile(small[0])
    assert relative_error(ops.convert_to_numpy(ours(TOKENS)), logits(small[1])) <= 1e-5
    file = GGUFFile(parts[2])
    assert {name: file[name].tobytes() for name in file} == {name: whole[name].tobytes() for name in whole}
    assert {name: value for name, value in file.metadata.items() if not name.startswith("split.")} == whole.metadata


def test_parts_that_are_missing_are_named(parts):
    for path in parts[:3:2]:
        path.unlink()
    message = r"all 4 parts of a GGUF file in .*parts, found no small-00001-of-00004.gguf, small-00003-of-00004.gguf\."
    for named in (parts[1], parts[0].parent):
        with pytest.raises(FileNotFoundError, match=message):
            kt.CausalLM.from_preset(named)


def test_parts_that_do_not_belong_together_are_refused(small, parts, tmp_path):
    with pytest.raises(ValueError, match=r"part 1 of 1 in .*, got split.no=1, counted from 0, of split.count=4. Name"):
        GGUFFile(parts[1].rename(tmp_path / "renamed.gguf"))
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(ValueError, match=r"part 2 of 4 in .*small-00002-of-00004.gguf, .* got split.no=2"):
        GGUFFile(parts[0])
    parts[1].write_bytes(small[0].read_bytes())
    with pytest.raises(ValueError, match=r"part 2 of 4 in .*small-00002-of-00004.gguf, .* got split.no=0"):
        GGUFFile(parts[0])
    two = [tmp_path / f"two-0000{n + 1}-of-00002.gguf" for n in range(2)]
    told = {"split.count": 2, "split.tensors.count": 3}
    vector = np.ones(4, "float32")
    gguf_files.write(two[0], "llama", {**told, "split.no": 0}, {"a": vector})
    gguf_files.write(two[1], "llama", {**told, "split.no": 1}, {"b": vector})
    with pytest.raises(
        ValueError, match="split.tensors.count=3 tensors in .*two-00001-of-00002.gguf and its parts, got 2"
    ):
        GGUFFile(two[0])
    gguf_files.write(two[1], "llama", {**told, "split.no": 1}, {"a": vector})
    with pytest.raises(ValueError, match="each tensor in one part, got 'a' again in .*two-00002-of-00002.gguf"):
        GGUFFile(two[0])


def test_of_a_model_in_parts_on_the_hub_all_are_asked_for(monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, name, **rest: asked.append(name) or name)
    names = [f"deep/large-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert str(sources.resolve(f"hf://org/name/{names[1]}")) == names[0] and asked == names


def test_frequencies_of_no_llama_are_refused(tmp_path):
    divisors = {"rope_freqs.weight": np.array([1, 2, 3, 4], "float32")}
    model = theirs(CASES["llama"])
    path = write(tmp_path / "odd.gguf", dataclasses.replace(CASES["llama"], extra=divisors), model)
    with pytest.raises(ValueError, match="rope_freqs.weight: expected the frequencies of Llama 3.1"):
        checkpoints.read(path)


def test_tensors_that_are_missing_or_too_many_are_listed(small, tmp_path):
    file = GGUFFile(small[0])
    tensors = {name.replace("blk.1.attn_q.", "blk.1.attn_qq."): file[name] for name in file}
    path = gguf_files.write(tmp_path / "odd.gguf", "llama", _RMS, tensors)
    with pytest.raises(
        ValueError, match=r"(?s)missing decoder\.block_1\.self_attention\.query.*unknown blk\.1\.attn_qq"
    ):
        kt.CausalLM.from_preset(path)


# Where files lie


def test_a_file_in_a_package_or_on_the_hub_is_found(small, tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "small.gguf").write_bytes(small[0].read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    wanted = logits(small[1])
    found = kt.CausalLM.from_preset("package://carrier/small.gguf")
    assert relative_error(ops.convert_to_numpy(found(TOKENS)), wanted) <= 1e-5
    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(small[0]))
    assert sources.resolve("hf://org/name/deep/small.gguf@v2") == small[0]
    assert asked == [(("org/name", "deep/small.gguf"), {"revision": "v2"})]
    with pytest.raises(ValueError, match="Give the repository's two names and no file, unless it is a GGUF file"):
        sources.resolve("hf://org/name/config.json")


def test_without_the_package_it_is_said(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'keras-transformers\[gguf\]'"):
        GGUFFile(small[0])


def test_the_guide_names_what_is_read():
    guide = (ROOT / "docs" / "guides" / "gguf.md").read_text("utf-8")
    assert [name for name in ARCHITECTURES if f"`{name}`" not in guide] == []
    assert f"{', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}" in guide
    assert {case.architecture for case in CASES.values()} == set(ARCHITECTURES)


def test_ids_that_are_minus_one_are_no_tokens(small, tmp_path):
    ids = {f"tokenizer.ggml.{name}_token_id": NO_TOKEN for name in ("padding", "bos", "eot")}
    ids["tokenizer.ggml.eos_token_id"] = 2
    case = dataclasses.replace(CASES["llama"], metadata=CASES["llama"].metadata | ids)
    model = kt.CausalLM.from_preset(write(tmp_path / "model.gguf", case, small[1]))
    assert model.config.padding_id is None
    assert (model.generation.end_ids, model.generation.start_id) == ((2,), None)
