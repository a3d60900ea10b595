"""Configurations as they lie on the hub, and as old releases of transformers wrote them: each opens, or is refused for
a reason that stands here, and what is read of it is what transformers reads."""

import copy
import gzip
import json
import warnings

import pytest

from keras_transformers.families.config_reader import HUGGING_FACE_ACTIVATIONS
from keras_transformers.families.registry import family_of
from tests.conformance.cases import OWN_CODE

pytestmark = pytest.mark.one_backend("torch")

_QUANTIZED = "quantization_config: the weights are quantized \\("
_MARIAN = "architectures: \\['MarianMTModel'\\] belongs to model_type 'marian'"  # of 2020, before that had a model_type
REFUSED = {
    "1B-building-engineering-llm": _QUANTIZED,
    "Genz-70b-GPTQ": _QUANTIZED,
    "Llama-3.1-8B-Computer-Networks-LLM": _QUANTIZED,
    "OP-GPT-Discord-Bot__model": _QUANTIZED,
    "Orpheus_3B_Quantized": _QUANTIZED,
    "Qwen3-14B-MLX-4bit": "quantization: the weights are quantized \\(4 bits\\)",
    "Qwen3-32B-FP8": _QUANTIZED,
    "llama_2_13_B_chat_GPTQ": _QUANTIZED,
    "qwen3_8b_fp8": _QUANTIZED,
    # the parts of a model of images and texts
    "bert.vnone.5": "add_cross_attention: only False is supported, got True",
    # others' changes to the code of gte-v1.5
    "gte-large-en-v1.5": "rope_scaling: expected a rope_type of 'default', 'ntk', got 'yarn'",
    "gte-new": "unknown key 'num_kv_heads': the folder's own code",
    # other names alone, by which transformers computes with its defaults
    "Llama-3-from-scratch__mlx_model": "n_kv_heads: expected 32, as num_key_value_heads says, got 8",
    "opus-mt-cmn+cn+yue+ze_zh+zh_cn+zh_CN+zh_HK+zh_tw+zh_TW+zh_yue+zhs+zht+zh-de": _MARIAN,
    "opus-mt-en+el+es+fi-en+el+es+fi": _MARIAN,
    "opus-mt-en-fr+fr_BE+fr_CA+fr_FR+wa+frp+oc+ca+rm+lld+fur+lij+lmo+es+es_AR+es": _MARIAN,
    # transformers' own default before 4.21, of which it builds no model
    **dict.fromkeys(
        (f"marian.4.{release}" for release in ("2.2", "5.1", "11.3", "16.2", "20.1")),
        "padding_id=58100 outside the vocabulary of 50265 tokens",
    ),
}


def _published(folder):
    for path in sorted(folder.glob("configs/*/config.json")):
        yield path.parent.name, json.loads(path.read_text(encoding="utf-8"))


def _by_version(folder):
    with gzip.open(folder / "configs-by-version.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            each = json.loads(line)
            yield each["written_by"], each["config"]


def _claimed(files):
    return [(name, values) for name, values in files if _family(values) is not None]


def _family(values):
    try:
        return family_of(values, "config.json")
    except ValueError:
        return None


def test_published_files_open_or_are_refused_for_a_known_reason(data_folder):
    wrong = {}
    files = _claimed(_published(data_folder))
    for name, values in files:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wrong |= _opened(name, values)
        if len(caught) > 1:
            wrong[name] = [str(each.message) for each in caught]
    assert not wrong
    assert len(files) > 200


def test_files_of_all_releases_of_transformers_open_without_a_warning(data_folder):
    wrong = {}
    files = _claimed(_by_version(data_folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, values in files:
            wrong |= _opened(name, values)
    assert not wrong
    assert len(files) > 700


def _opened(name, values):
    """What is wrong with how a file opens, by its name: nothing, or one entry."""
    try:
        _family(values).config(values)
    except ValueError as error:
        with pytest.raises(ValueError, match=REFUSED.get(name, "none is known")):
            raise error
        return {}
    return {name: "it opens"} if name in REFUSED else {}


def test_what_is_read_is_what_transformers_reads(data_folder):
    wrong = {}
    for name, values in (*_claimed(_published(data_folder)), *_claimed(_by_version(data_folder))):
        if name not in REFUSED and (different := _different(values)):
            wrong[name] = different
    assert not wrong


def _different(values):
    """The keys of which this library and transformers read different values."""
    import transformers

    family = _family(values)
    ours = family.write(family.reading(values)[0])
    if family.model_type in OWN_CODE:  # whose files are the reference, wherever their code lies
        told = {key: (value, values.get(key, value)) for key, value in ours.items() if key != "auto_map"}
        return {key: pair for key, pair in told.items() if not _same(key, *pair)}
    theirs = transformers.CONFIG_MAPPING[family.model_type].from_dict(copy.deepcopy(values))
    pairs = {key: (value, getattr(theirs, key, None)) for key, value in ours.items() if key not in _OTHERWISE}
    if family.model_type in (
        "t5",
        "mt5",
        "umt5",
    ):  # version 5 ties the head whatever the file says, and version 4 does not
        del pairs["tie_word_embeddings"]
    if ours.get("use_bidirectional_attention"):  # transformers holds half of it
        pairs["sliding_window"] = ours["sliding_window"], theirs.to_dict()["sliding_window"]
    pairs |= _rotary(ours, getattr(theirs, "rope_parameters", None) or {})
    return {key: pair for key, pair in pairs.items() if not _same(key, *pair)}


# Keys that transformers holds otherwise: an encoder by its class, and positions, which `_rotary` compares.
_BASE, _PART = ("rope_theta", "rotary_emb_base"), ("partial_rotary_factor", "rotary_pct")
_OTHERWISE = {"is_encoder_decoder", "scale_decoder_outputs", "rope_scaling", "rope_local_base_freq", *_BASE, *_PART}
# What a null means to the classes that read it.
_NULLS = ("classifier_dropout", "cls_dropout", "n_inner", "ffn_hidden_size", "decoder_start_token_id")


def _same(key, ours, theirs):
    if theirs is None and key in _NULLS:
        return True
    if key == "pad_token_id" and ours is None and theirs == -1:  # no token has that number
        return True
    names = HUGGING_FACE_ACTIVATIONS
    return ours == theirs or (isinstance(theirs, str) and ours in names and names[ours] == names.get(theirs))


def _rotary(ours, theirs):
    """Pairs of what this library writes of rotary positions, and what transformers holds of them."""
    base, part = (next((ours[name] for name in names if name in ours), None) for names in (_BASE, _PART))
    scaling = dict(ours.get("rope_scaling", {}))
    flat = theirs.get("full_attention", theirs)
    if base is None or not flat:
        return {}
    pairs = {"base": (base, flat["rope_theta"]), "part": (part or 1.0, flat.get(_PART[0]) or 1.0)}
    pairs["kind"] = (scaling.pop("type", scaling.pop("rope_type", "default")), flat["rope_type"])
    pairs |= {name: (value, flat.get(name)) for name, value in scaling.items()}
    if "rope_local_base_freq" in ours:
        pairs["local"] = (ours["rope_local_base_freq"], theirs["sliding_attention"]["rope_theta"])
    return pairs
