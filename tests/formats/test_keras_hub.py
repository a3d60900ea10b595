"""KerasHub's presets here and there: the same outputs, and the same ids."""

import collections
import json
import os
import re
import shutil

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.formats import keras_hub
from keras_transformers.tokenizers import Tokenizer
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

# KerasHub has one way to compute on all backends, and it takes seconds to import.
pytestmark = pytest.mark.one_backend("torch")

NAMES = ("Bert", "Roberta", "DistilBert", "XLMRoberta", "DebertaV3")
SIZES = {
    "vocabulary_size": 60,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 48,
    "max_sequence_length": 24,
}
LENGTHS = (24, 13, 7, 1)
Small = collections.namedtuple("Small", "name folder classifier masked_lm inputs real")


def perturb(model, random):
    """Move every weight, so that none is at a value where a mistake would not show."""
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if value.dtype.kind == "f" and "optimizer" not in weight.path:
            weight.assign(value + random.normal(0, 0.2, value.shape).astype(value.dtype))


@pytest.fixture(scope="module", params=NAMES)
def small(request, hub, tmp_path_factory):
    """A small random model of one kind, its inputs, and the presets of three of its tasks."""
    name, random, folder = request.param, np.random.default_rng(0), tmp_path_factory.mktemp(request.param)
    layers = 11 if name == "DistilBert" else 2  # once, a number of two digits
    sizes = {**SIZES, "num_layers": layers} | ({"bucket_size": 8} if name == "DebertaV3" else {})
    backbone = getattr(hub, f"{name}Backbone")(**sizes)
    classifier = getattr(hub, f"{name}TextClassifier")(backbone, num_classes=3)
    masked_lm = getattr(hub, f"{name}MaskedLM")(backbone)
    for model in (backbone, classifier.output_dense, masked_lm.masked_lm_head):
        perturb(model, random)
    if name != "Bert":
        perturb(classifier.pooled_dense, random)
    backbone.save_to_preset(folder / "backbone")
    classifier.save_to_preset(folder / "classifier")
    masked_lm.save_to_preset(folder / "masked_lm")
    real = np.arange(24)[None] < np.array(LENGTHS)[:, None]
    inputs = {
        "token_ids": np.where(real, random.integers(5, 60, real.shape), "oberta" in name).astype("int32"),
        "padding_mask": real.astype("int32"),
    }
    if name == "Bert":
        inputs["segment_ids"] = (real & (np.arange(24) > 5)).astype("int32")
    return Small(name, folder, classifier, masked_lm, inputs, real)


def assert_close(ours, theirs):
    ours, theirs = (keras.ops.convert_to_numpy(each) for each in (ours, theirs))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_a_backbone(small):
    theirs = small.classifier.backbone(small.inputs)
    theirs = theirs["sequence_output"] if isinstance(theirs, dict) else theirs
    model = kt.TextEmbedder.from_preset(small.folder / "backbone")
    ours, _ = model.hidden_states(small.inputs)
    assert_close(ours[small.real], theirs[small.real])
    assert model.max_length == 24


def test_a_text_classifier(small):
    model = kt.TextClassifier.from_preset(small.folder / "classifier")
    assert model.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert model.config.pooler.dropout == {"Bert": 0.1, "DistilBert": 0.2, "DebertaV3": 0.1}.get(small.name, 0.0)
    assert_close(model(small.inputs), small.classifier(small.inputs))


POSITIONS = np.array([[0, 5, 23], [12, 0, 3], [6, 6, 0], [0, 0, 0]], "int32")


def test_a_masked_language_model(small):
    model = kt.MaskedLM.from_preset(small.folder / "masked_lm")
    assert_close(
        model({**small.inputs, "masked_positions": POSITIONS}),
        small.masked_lm({**small.inputs, "mask_positions": POSITIONS}),
    )


def test_transformers_opens_what_is_saved(small, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import torch

    model = kt.TextClassifier.from_preset(small.folder / "classifier")
    model.save_to_preset(tmp_path / "saved")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    model_types = {"DistilBert": "distilbert", "Bert": "bert", "DebertaV3": "deberta-v2"}
    assert theirs.config.model_type == model_types.get(small.name, "roberta")
    renamed = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
    with torch.no_grad():
        logits = theirs(**{renamed[name]: torch.tensor(each).long() for name, each in small.inputs.items()}).logits
    assert_close(logits, small.classifier(small.inputs))
    assert_close(kt.TextClassifier.from_preset(tmp_path / "saved")(small.inputs), logits)


def test_a_saved_masked_language_model_is_the_same(small, tmp_path):
    model = kt.MaskedLM.from_preset(small.folder / "masked_lm")
    model.save_to_preset(tmp_path / "saved")
    # No configuration of Hugging Face's gives the head another activation and epsilon than the body.
    model_type = json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"]
    assert (model_type == "keras_transformers") == (small.name in ("Bert", "DistilBert", "DebertaV3"))
    inputs = {**small.inputs, "masked_positions": POSITIONS}
    assert_close(kt.MaskedLM.from_preset(tmp_path / "saved")(inputs), model(inputs))


def test_another_head_begins_anew(small):
    with pytest.warns(UserWarning, match=r"no head of this task \(it was made for MaskedLM\).*classifier.kernel.*anew"):
        model = kt.TextClassifier.from_preset(small.folder / "masked_lm")
    if small.name == "Bert":  # whose pooler belongs to the body
        kernel = small.classifier.backbone.pooled_dense.kernel
        assert_close(model.pooler.transform.dense.kernel, kernel)
    with pytest.warns(UserWarning, match="a head of other classes"):
        kt.TextClassifier.from_preset(small.folder / "classifier", num_classes=5)
    with pytest.warns(UserWarning, match="no head of this task: .*head.transform"):
        kt.MaskedLM.from_preset(small.folder / "backbone")


# Files, of BERT


@pytest.fixture(scope="module")
def bert(hub, tmp_path_factory):
    """A function that saves a small BERT's backbone with options of its constructor or of `save_to_preset`."""

    def save(dtype=None, **options):
        folder = tmp_path_factory.mktemp("bert")
        backbone = hub.BertBackbone(**SIZES, dtype=dtype)
        backbone.save_to_preset(folder, **options)
        return backbone, folder

    return save


@pytest.fixture(scope="module")
def saved(bert):
    return bert()[1]


@pytest.fixture
def preset_folder(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "preset")


def change(folder, file="config.json", **config):
    values = json.loads((folder / file).read_text())
    values["config"] |= config
    (folder / file).write_text(json.dumps(values))


def refuses(folder, message, error=ValueError, task=kt.TextEmbedder):
    with pytest.raises(error, match=message):
        task.from_preset(folder)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_weights(bert, dtype):
    backbone, folder = bert(dtype)
    model = kt.TextEmbedder.from_preset(folder)
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(backbone.transformer_layers[1].weights[0], "float32"))
    ours = model.backbone.encoder.blocks[1].self_attention.query.kernel
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), kernel.reshape(32, 32))


def test_weights_in_several_files(bert, tmp_path):
    backbone, folder = bert(max_shard_size=5e-5)
    shards = sorted(folder.glob("model_*.weights.h5"))
    assert len(shards) > 1 and not (folder / "model.weights.h5").exists()
    ours = kt.TextEmbedder.from_preset(folder).backbone.embedding.position.embeddings
    assert_close(ours, backbone.get_layer("position_embedding").position_embeddings)
    broken = shutil.copytree(folder, tmp_path / "missing")
    (broken / shards[1].name).unlink()
    refuses(broken, f"Expected all {len(shards)} files that .* missing: {shards[1].name}", FileNotFoundError)
    (broken / "model.weights.json").write_text('{"weight_map": {"/layers/dense/vars": ["../other.h5"]}}')
    refuses(broken, r"to name .h5 files beside it, got '../other.h5'")


def test_files_of_older_versions(preset_folder):
    """Keras 2 called the list of layers otherwise, and KerasHub itself was called KerasNLP; both kept random states."""
    import h5py

    expected = kt.TextEmbedder.from_preset(preset_folder).backbone.embedding.token.embeddings
    with h5py.File(preset_folder / "model.weights.h5", "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
        file["_layer_checkpoint_dependencies/dropout/seed_generator/vars/0"] = np.zeros(2, "uint32")[:0].astype("f4")
        file["optimizer/vars/0"] = np.zeros((), "int64")
    values = json.loads((preset_folder / "config.json").read_text())
    values["registered_name"] = "keras_nlp>BertBackbone"
    values["config"]["dtype"] = "float32"
    (preset_folder / "config.json").write_text(json.dumps(values))
    assert_close(kt.TextEmbedder.from_preset(preset_folder).backbone.embedding.token.embeddings, expected)


def test_a_text_embedder(hub, saved, tmp_path):
    backbone = hub.Backbone.from_preset(str(saved))
    theirs = hub.BertTextEmbedder(backbone, pooling_mode="max", normalize=False)
    theirs.save_to_preset(tmp_path)
    model = kt.TextEmbedder.from_preset(tmp_path)
    inputs = {name: np.array([[5, 6, 7, 8]]) for name in ("token_ids", "segment_ids", "padding_mask")}
    inputs = {name: (each > 6).astype("int32") + (name == "token_ids") for name, each in inputs.items()}
    assert_close(model(inputs), theirs(inputs))
    change(tmp_path, "task.json", pooling_mode="last")
    refuses(tmp_path, "Expected pooling_mode in .*task.json to be one of cls, mean, max, got 'last'")


# Errors


def test_all_that_is_wrong_with_a_configuration_is_said(preset_folder):
    change(preset_folder, rotary=True, num_segments="2", dtype={"class_name": "DTypePolicyMap", "config": {}})
    values = json.loads((preset_folder / "config.json").read_text())
    del values["config"]["num_layers"]
    (preset_folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError) as raised:
        kt.TextEmbedder.from_preset(preset_folder)
    for part in (
        "config.json: ",
        "unknown key 'rotary'",
        "num_segments: expected int, got '2'",
        "no num_layers",
        "dtype: only float32, ",
    ):
        assert part in str(raised.value)


def test_a_configuration_that_contradicts_itself(preset_folder):
    change(preset_folder, num_heads=5)
    refuses(preset_folder, "config.json: .*hidden_dim=32 is no multiple of num_heads=5")


def test_a_class_that_is_not_known_is_never_imported(preset_folder):
    change(preset_folder)
    values = json.loads((preset_folder / "config.json").read_text())
    (preset_folder / "config.json").write_text(
        json.dumps({**values, "module": "tests.interrupted", "registered_name": "mine>GemmaBackbone"})
    )
    refuses(preset_folder, "one of KerasHub's classes BertBackbone, .* got 'GemmaBackbone'. Load it with KerasHub")


def test_a_file_without_a_configuration(preset_folder):
    (preset_folder / "config.json").write_text('{"registered_name": "keras_hub>BertBackbone"}')
    refuses(preset_folder, "Expected a JSON object as 'config' in .*config.json, got None")


def test_no_weights(preset_folder):
    (preset_folder / "model.weights.h5").unlink()
    refuses(
        preset_folder, "Expected model.weights.h5 or model.weights.json in .*, found config.json", FileNotFoundError
    )


def test_damaged_weights(preset_folder):
    path = preset_folder / "model.weights.h5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refuses(preset_folder, rf"Expected a whole HDF5 file, got .*h5 of {len(content) // 2} bytes .*Download")
    path.write_bytes(b"")
    refuses(preset_folder, "Expected a whole HDF5 file, got .*h5 of 0 bytes")


def test_quantized_weights(preset_folder):
    import h5py

    with h5py.File(preset_folder / "model.weights.h5", "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.zeros((32, 32), "int8")
    refuses(preset_folder, "Expected floating-point numbers as layers/dense/vars/0 in .*, got int8.*quantization")


def test_numbers_in_another_file(preset_folder, tmp_path):
    import h5py

    (tmp_path / "secret").write_bytes(bytes(32 * 4))
    with h5py.File(preset_folder / "model.weights.h5", "r+") as file:
        del file["layers/dense/vars/1"]
        outside = [(os.fspath(tmp_path / "secret"), 0, 32 * 4)]
        file.create_dataset("layers/dense/vars/1", (32,), "float32", external=outside)
    refuses(preset_folder, "layers/dense/vars/1 in .*, got data of another file")


def test_weights_that_do_not_fit(preset_folder):
    import h5py

    with h5py.File(preset_folder / "model.weights.h5", "r+") as file:
        del file["layers/transformer_encoder_1/_feedforward_output_dense/vars/1"], file["layers/embedding/vars/0"]
        file["layers/embedding/vars/0"] = np.zeros((3, 32), "float32")
        file["layers/other/vars/0"] = np.zeros((3, 2), "float32")
    with pytest.raises(ValueError) as raised:
        kt.TextEmbedder.from_preset(preset_folder)
    for part in (
        "missing encoder.block_1.feed_forward.down.bias",
        "segment.embeddings: expected shape [2, 32], got [3, 32]",
        "model.other",
    ):
        assert part in str(raised.value)
    # As many numbers, dealt to other heads.
    change(preset_folder, num_heads=2)
    refuses(preset_folder, re.escape("query.kernel: expected shape [32, 32], got [32, 4, 8]"))


def test_a_classifier_with_other_options(hub, tmp_path):
    folder = tmp_path
    hub.RobertaTextClassifier(hub.RobertaBackbone(**SIZES), 3, hidden_dim=16).save_to_preset(folder)
    change(folder, "task.json", activation="relu", num_classes=0)
    with pytest.raises(ValueError) as raised:
        kt.TextClassifier.from_preset(folder)
    for part in ("activation: only 'linear' or ", "hidden_dim: only None or 32", "num_classes: expected at least 1"):
        assert part in str(raised.value)
    with pytest.warns(UserWarning, match="made for TextClassifier"):  # another task does not look at them
        kt.MaskedLM.from_preset(folder)


# Tokenizers


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    # Padding is not the first, as in KerasHub's own examples.
    folders.word_pieces(folder, SENTENCES, ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], 300, lowercase=False)
    folders.byte_pairs(folder, SENTENCES, folders.ANGLE, 400)
    return folder


TEXTS = [
    "Two young, White males are outside near many bushes.",
    "A man's hat -- it is 25.5 cm (or more)?",
    "Où est-ce que l'été commence ? Ça dépend: Zürich, Ålesund.",
    "汉字 and emoji 😀!",
    "un unseen☃snowman",
    "",
]


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("strip_accents", [False, True])
@pytest.mark.parametrize("name", ["Bert", "DistilBert"])
def test_word_pieces(hub, vocabulary, tmp_path, name, lowercase, strip_accents):
    pieces = (vocabulary / "vocab.txt").read_text("utf-8").splitlines()
    theirs = getattr(hub, f"{name}Tokenizer")(pieces, lowercase=lowercase, strip_accents=strip_accents)
    theirs.save_to_preset(tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert ours.encode(TEXTS) == [np.asarray(theirs(text)).tolist() for text in TEXTS]
    assert (ours.padding_id, ours.unknown_id, ours.mask_id) == (3, 0, 4)


@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_byte_pairs(hub, vocabulary, tmp_path, add_prefix_space):
    pieces = json.loads((vocabulary / "vocab.json").read_text("utf-8"))
    merges = (vocabulary / "merges.txt").read_text("utf-8").splitlines()
    theirs = hub.RobertaTokenizer(pieces, merges, add_prefix_space=add_prefix_space)
    theirs.save_to_preset(tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert ours.encode(TEXTS[:-1]) == [np.asarray(theirs(text)).tolist() for text in TEXTS[:-1]]
    assert ours.padding_id == 1


def test_sentence_pieces(hub, tmp_path):
    pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    folders.sentence_pieces(tmp_path, SENTENCES, "pieces", 200)
    theirs = hub.XLMRobertaTokenizer((tmp_path / "pieces.model").read_bytes())
    theirs.save_to_preset(tmp_path / "preset")
    ours = Tokenizer.load(tmp_path / "preset")
    texts = TEXTS[:3]
    assert ours.encode(texts) == [np.asarray(theirs(text)).tolist() for text in texts]
    assert (ours.vocabulary_size, ours.mask_id) == (theirs.vocabulary_size(), theirs.mask_token_id)


def test_from_text_to_answer(hub, vocabulary, tmp_path):
    """KerasHub's preprocessor packs texts and pairs; so do we, with the same padding token, the third of its
    vocabulary."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pieces = (vocabulary / "vocab.txt").read_text("utf-8").splitlines()
    tokenizer = hub.BertTokenizer(pieces, lowercase=True)
    preprocessor = hub.BertTextClassifierPreprocessor(tokenizer, sequence_length=96)
    backbone = hub.BertBackbone(**{**SIZES, "vocabulary_size": len(pieces), "max_sequence_length": 96})
    theirs = hub.BertTextClassifier(backbone, 3, preprocessor=preprocessor)
    perturb(theirs, np.random.default_rng(0))
    theirs.save_to_preset(tmp_path / "theirs")
    firsts, seconds = TEXTS[:3], TEXTS[:3][::-1]
    ours = kt.TextClassifier.from_preset(tmp_path / "theirs")
    assert ours.config.padding_id == 3
    assert_close(ours.predict(firsts), theirs.predict(firsts, verbose=0))
    pairs = list(zip(firsts, seconds, strict=True))
    assert_close(ours.predict(pairs), theirs.predict((firsts, seconds), verbose=0))
    ours.save_to_preset(tmp_path / "ours")
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    packed = [[int(i) for i in saved(text)["input_ids"]] for text in firsts]
    assert packed == [ids.tolist() for ids in ours.encode_texts(firsts)[1].token_ids]


def test_tokenizers_that_are_refused(hub, vocabulary, tmp_path):
    pieces = (vocabulary / "vocab.txt").read_text("utf-8").splitlines()
    hub.BertTokenizer(pieces).save_to_preset(tmp_path)
    change(tmp_path, "tokenizer.json", split=False, lowercase="yes", greedy=1)
    with pytest.raises(ValueError) as raised:
        Tokenizer.load(tmp_path)
    for part in ("split: only True", "lowercase: expected bool, got 'yes'", "unknown option 'greedy'"):
        assert part in str(raised.value)
    (tmp_path / "tokenizer.json").write_text('{"class_name": "GemmaTokenizer"}')
    with pytest.raises(ValueError, match="one of KerasHub's tokenizers BertTokenizer, .* got 'GemmaTokenizer'"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"class_name": "RobertaTokenizer"}')
    with pytest.raises(FileNotFoundError, match="Expected a tokenizer's file at .*vocabulary.json"):
        Tokenizer.load(tmp_path)


def test_what_is_a_preset_of_kerashub():
    assert keras_hub.is_preset({"registered_name": "keras_hub>BertBackbone"})
    assert keras_hub.is_preset({"class_name": "BertBackbone"})
    assert not keras_hub.is_preset({"model_type": "bert", "class_name": "BertBackbone"})
    assert not keras_hub.is_preset({})
