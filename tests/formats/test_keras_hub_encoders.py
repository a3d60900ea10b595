"""Further encoders of KerasHub's presets: the same outputs here and there, of the installed KerasHub."""

import collections
import json

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.tokenizers import Tokenizer
from tests.formats.test_keras_hub import POSITIONS, SIZES, TEXTS, assert_close, change, perturb, refuses
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

pytestmark = pytest.mark.one_backend("torch")

# name → the arguments besides `SIZES`, those that it lacks, and the endings of its tasks.
USUAL = ("TextClassifier", "MaskedLM")
MODELS = {
    "Albert": ({"embedding_dim": 16, "num_groups": 2}, (), USUAL),
    "Electra": ({"vocab_size": 60, "embedding_dim": 16}, ("vocabulary_size",), ()),
    "FNet": ({}, ("num_heads",), USUAL),
    "ESM": ({"max_wavelength": 50, "layer_norm_eps": 1e-3}, (), ("ProteinClassifier", "MaskedPLM")),
    "RoformerV2": ({"head_size": 8, "max_wavelength": 50}, ("max_sequence_length",), USUAL),
}
Small = collections.namedtuple("Small", "name folder backbone classifier masked_lm inputs real")


@pytest.fixture(scope="module", params=MODELS)
def small(request, hub, tmp_path_factory):
    """A small random model of one kind, its inputs, and the presets of its tasks."""
    name, random, folder = request.param, np.random.default_rng(0), tmp_path_factory.mktemp(request.param)
    more, lacks, tasks = MODELS[name]
    sizes = {each: size for each, size in SIZES.items() if each not in lacks} | more
    backbone = getattr(hub, f"{name}Backbone")(**sizes)
    models = [getattr(hub, f"{name}{task}")(backbone, *([3] if "Class" in task else [])) for task in tasks]
    for model in (models[0], models[1].masked_lm_head) if models else (backbone,):
        perturb(model, random)
    for each, model in zip(("backbone", "classifier", "masked_lm"), (backbone, *models), strict=False):
        model.save_to_preset(folder / each)
    real = np.arange(24)[None] < np.array((24, 13, 7, 1))[:, None]
    inputs = {"token_ids": np.where(real, random.integers(5, 60, real.shape), 0).astype("int32")}
    inputs["padding_mask"] = real.astype("int32")
    if name != "ESM":
        inputs["segment_ids"] = (real & (np.arange(24) > 5)).astype("int32")
    return Small(name, folder, backbone, *(models or (None, None)), inputs, real)


def theirs(model, inputs):
    names = {each.name for each in model.inputs}
    found = model({name: each for name, each in inputs.items() if name in names})
    return found["sequence_output"] if isinstance(found, dict) else found


def test_a_backbone(small):
    model = kt.TextEmbedder.from_preset(small.folder / "backbone")
    found, _ = model.hidden_states(small.inputs)
    assert_close(found[small.real], theirs(small.backbone, small.inputs)[small.real])


def test_a_text_classifier(small):
    if small.classifier is None:
        pytest.skip("KerasHub has no tasks of it")
    model = kt.TextClassifier.from_preset(small.folder / "classifier")
    assert_close(model(small.inputs), theirs(small.classifier, small.inputs))
    model.save_to_preset(small.folder / "saved")
    again = kt.TextClassifier.from_preset(small.folder / "saved")
    assert again.config == model.config
    assert_close(again(small.inputs), model(small.inputs))


def test_a_masked_language_model(small):
    if small.masked_lm is None:
        pytest.skip("KerasHub has no tasks of it")
    model = kt.MaskedLM.from_preset(small.folder / "masked_lm")
    found = model({**small.inputs, "masked_positions": POSITIONS})
    assert_close(found, theirs(small.masked_lm, {**small.inputs, "mask_positions": POSITIONS}))


def test_transformers_opens_what_is_saved(small, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import torch

    model = kt.TextEmbedder.from_preset(small.folder / "backbone")
    model.save_to_preset(tmp_path)
    model_type = json.loads((tmp_path / "config.json").read_text())["model_type"]
    if small.name == "RoformerV2":  # no class of transformers has its norms
        assert model_type == "keras_transformers"
        return
    other = transformers.AutoModel.from_pretrained(tmp_path).eval()
    renamed = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
    with torch.no_grad():
        found = other(
            **{renamed[name]: torch.tensor(each).long() for name, each in small.inputs.items()}
        ).last_hidden_state
    assert_close(found[small.real], theirs(small.backbone, small.inputs)[small.real])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("Albert", {"num_inner_repetitions": 2}, "num_inner_repetitions: only 1"),
        ("ESM", {"position_embedding_type": "absolute"}, "position_embedding_type: only 'rotary'"),
        ("ESM", {"use_pre_layer_norm": True}, "use_pre_layer_norm: only False"),
        ("RoformerV2", {"use_bias": True}, "use_bias: only False"),
        ("RoformerV2", {"head_size": 6}, "head_size: expected 8"),
    ],
)
def test_options_that_are_refused(name, options, message, hub, tmp_path):
    more, lacks, _ = MODELS[name]
    sizes = {each: size for each, size in SIZES.items() if each not in lacks} | more
    getattr(hub, f"{name}Backbone")(**sizes).save_to_preset(tmp_path)
    change(tmp_path, **options)
    refuses(tmp_path, message)


@pytest.mark.parametrize("name", ["Albert", "FNet"])
def test_sentence_pieces(name, hub, tmp_path):
    pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    folders.sentence_pieces(tmp_path, SENTENCES, "pieces", 200, **folders.ALBERT)
    tokenizer = getattr(hub, f"{name}Tokenizer")((tmp_path / "pieces.model").read_bytes())
    tokenizer.save_to_preset(tmp_path / "preset")
    found = Tokenizer.load(tmp_path / "preset")
    assert found.encode(TEXTS[:3]) == [np.asarray(tokenizer(text)).tolist() for text in TEXTS[:3]]
    assert (found.padding_id, found.mask_id) == (tokenizer.pad_token_id, tokenizer.mask_token_id)


@pytest.mark.parametrize("name", ["Electra", "RoformerV2"])
def test_word_pieces(name, hub, tmp_path):
    folders.word_pieces(tmp_path, SENTENCES, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], 300, lowercase=True)
    pieces = (tmp_path / "vocab.txt").read_text("utf-8").splitlines()
    tokenizer = getattr(hub, f"{name}Tokenizer")(pieces, lowercase=True)
    tokenizer.save_to_preset(tmp_path / "preset")
    assert Tokenizer.load(tmp_path / "preset").encode(TEXTS[:2]) == [
        np.asarray(tokenizer(text)).tolist() for text in TEXTS[:2]
    ]


def test_amino_acids(hub, tmp_path):
    """KerasHub knows letters with spaces between them; here a letter is a token in any text, as in transformers."""
    pieces = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]
    tokenizer = hub.ESMTokenizer(pieces)
    tokenizer.save_to_preset(tmp_path)
    found = Tokenizer.load(tmp_path)
    texts = ["M K T A Y I A K Q R", "L - ."]
    assert found.encode(texts) == [np.asarray(tokenizer(text)).tolist() for text in texts]
    assert found.encode(["LAG"]) == [[4, 5, 6]]
    assert (found.padding_id, found.mask_id) == (1, 32)
