"""Folders that sentence-transformers writes: the same vectors, and the same files again."""

import json

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.tasks.prompts import find_prompt
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def st():
    return pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    folder = tmp_path_factory.mktemp("body")
    checkpoints.save(folder, "BertModel")
    return folder


def transformer(folder, **options):
    from sentence_transformers.base.modules import Transformer

    return Transformer(str(folder), **options)


def pooling(mode="mean", **options):
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(32, mode, **options)


def save(modules, folder, model="SentenceTransformer", safe=True, **options):
    """A folder of sentence-transformers, and its model, whose weights are larger than at the beginning."""
    import sentence_transformers
    import torch

    torch.manual_seed(0)
    made = getattr(sentence_transformers, model)(modules=modules, **options)
    with torch.no_grad():
        for module in modules[1:]:
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    made.save_pretrained(str(folder), create_model_card=False, safe_serialization=safe)
    return made


def files(folder):
    """The files of a folder that are kept byte for byte, by name."""
    others = ("SHA256SUMS", "tokenizer_config.json")
    names = [each for each in folder.rglob("*") if each.is_file() and each.name not in others]
    return {str(each.relative_to(folder)): each.read_bytes() for each in names}


def check(made, source, tmp_path, texts=TEXTS, cls=kt.TextEmbedder, **options):
    """A folder's vectors are equal, and its files come back byte for byte."""
    model = cls.from_preset(source)
    expected = made.encode(texts, **options)
    assert np.abs(model.embed(texts, **options) - expected).max() < 1e-6 * max(1.0, np.abs(expected).max())
    model.save_to_preset(tmp_path / "again")
    assert files(tmp_path / "again") == files(source)
    return model


MODES = [
    "cls",
    "mean",
    "max",
    "mean_sqrt_len_tokens",
    "weightedmean",
    "lasttoken",
    ["max", "cls"],
    ["mean", "weightedmean"],
]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("include_prompt", [True, False])
def test_poolings(st, body, tmp_path, mode, include_prompt):
    modules = [transformer(body), pooling(mode, include_prompt=include_prompt)]
    prompts = {"query": "Who said it? ", "document": ""}
    made = save(modules, tmp_path / "source", prompts=prompts, default_prompt_name="query")
    model = check(made, tmp_path / "source", tmp_path)
    for options in ({"prompt_name": "document"}, {"prompt": "Say: "}):
        expected = made.encode(TEXTS, **options)
        assert np.abs(model.embed(TEXTS, **options) - expected).max() < 1e-6 * np.abs(expected).max()


def test_older_files_of_poolings(st, body, tmp_path):
    """Several modes are concatenated in one order, whatever the order of their keys."""
    save([transformer(body), pooling()], tmp_path)
    values = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(values))
    model = kt.TextEmbedder.from_preset(tmp_path)
    assert model.pooler.pooling == ("first", "mean")
    expected = st.SentenceTransformer(str(tmp_path)).encode(TEXTS)
    assert np.abs(model.embed(TEXTS) - expected).max() < 1e-6 * np.abs(expected).max()
    for name, written in ((("first", "mean"), "pooling_mode_cls_token"), (["mean", "first"], "pooling_mode")):
        small = kt.TextEmbedder(model.config, model.tokenizer, pooling=name)
        small.save_to_preset(tmp_path / written)
        assert written in json.loads((tmp_path / written / "1_Pooling" / "config.json").read_text())
        opened = st.SentenceTransformer(str(tmp_path / written)).encode(TEXTS)
        assert np.abs(small.embed(TEXTS) - opened).max() < 1e-6 * np.abs(opened).max()


def steps(kinds):
    import torch
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    known = {
        "wide": lambda: Dense(32, 48, bias=False, activation_function=torch.nn.Identity()),
        "narrow": lambda: Dense(48, 32, bias=False, activation_function=torch.nn.Identity()),
        "tanh": lambda: Dense(32, 32),
        "gelu": lambda: Dense(32, 16, activation_function=torch.nn.GELU(), use_residual=True),
        "relu": lambda: Dense(32, 32, activation_function=torch.nn.ReLU(), use_residual=True),
        "norm": lambda: LayerNorm(32),
        "unit": Normalize,
    }
    return [known[kind]() for kind in kinds.split()]


# As EmbeddingGemma; LaBSE and sentence-t5; others that fit no published model
@pytest.mark.parametrize("kinds", ["wide narrow unit", "tanh unit", "norm", "unit relu norm gelu", ""])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickled"])
def test_modules_after_the_pooling(st, body, tmp_path, kinds, safe):
    made = save([transformer(body), pooling(), *steps(kinds)], tmp_path / "source", safe=safe)
    if not safe:  # the body is not written as a pickle any more
        (tmp_path / "source" / "model.safetensors").write_bytes((body / "model.safetensors").read_bytes())
    model = check(made, tmp_path / "source", tmp_path)
    assert model.output_dim == model.embed("a").shape[-1] == made.get_embedding_dimension()
    # a copy through Keras, and a new folder of the same settings
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.set_weights(model.get_weights())
    again.save_to_preset(tmp_path / "new")
    opened = st.SentenceTransformer(str(tmp_path / "new")).encode(TEXTS)
    assert np.abs(model.embed(TEXTS) - opened).max() < 1e-6 * max(1.0, np.abs(opened).max())


def test_what_changed_is_written(st, body, tmp_path):
    save([transformer(body), pooling(), *steps("tanh norm unit")], tmp_path / "source", truncate_dim=24)
    model = kt.TextEmbedder.from_preset(tmp_path / "source")
    assert model.embed("a").shape == (24,) and model.embed([]).shape == (0, 24)
    model.truncate_dim = 8
    kernel = model.get_layer("projection_0").dense.kernel
    kernel.assign(kernel * 2)
    model.save_to_preset(tmp_path / "saved")
    changed = {
        name for name, content in files(tmp_path / "saved").items() if files(tmp_path / "source")[name] != content
    }
    assert changed == {"2_Dense/model.safetensors", "config_sentence_transformers.json"}
    opened = st.SentenceTransformer(str(tmp_path / "saved"))
    assert opened.truncate_dim == 8
    assert np.abs(opened.encode(TEXTS) - model.embed(TEXTS)).max() < 1e-6
    assert np.abs(opened.encode(TEXTS, truncate_dim=16) - model.embed(TEXTS, truncate_dim=16)).max() < 1e-6
    model.save_to_preset(tmp_path / "saved", dtype="float16")
    half = kt.TextEmbedder.from_preset(tmp_path / "saved")
    assert np.abs(half.embed(TEXTS) - model.embed(TEXTS)).max() < 1e-2


def test_quantized_models_hold_every_weight_in_one_file(st, body, tmp_path):
    save([transformer(body), pooling(), *steps("tanh unit")], tmp_path / "source")
    model = kt.TextEmbedder.from_preset(tmp_path / "source")
    kt.transforms.quantize(model, "int8")
    model.save_to_preset(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("2_Dense/*.safetensors"))
    again = kt.TextEmbedder.from_preset(tmp_path / "saved")
    np.testing.assert_allclose(again.embed(TEXTS), model.embed(TEXTS), atol=1e-6)


def test_modules_train(st, body, tmp_path):
    save([transformer(body), pooling(), *steps("tanh unit")], tmp_path / "source")
    model = kt.TextEmbedder.from_preset(tmp_path / "source")
    before = [keras.ops.convert_to_numpy(weight) for weight in model.get_layer("projection_0").weights]
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(TEXTS, [text.lower() for text in TEXTS], batch_size=6, verbose=0)
    for old, new in zip(before, model.get_layer("projection_0").weights, strict=True):
        assert np.abs(old - keras.ops.convert_to_numpy(new)).max() > 0


def test_a_body_gets_projections(body):
    with pytest.warns(UserWarning, match="projection_0.dense.kernel, projection_0.dense.bias begin anew"):
        model = kt.TextEmbedder.from_preset(body, projections=[kt.layers.Projection(8, "tanh")])
    assert model.embed("a").shape == (8,)
    assert "32 → 8" in kt.explain(model)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("2_Dense", {"in_features": 31}, "to read vectors of the 32 numbers that 1_Pooling gives, got 31"),
        ("2_Dense", {"out_features": 48}, "3_LayerNorm/config.json to read vectors of the 48 .* 2_Dense gives, got 32"),
        ("2_Dense", {"bias": False}, "unknown linear.bias"),
        ("2_Dense", {"in_features": "a"}, "Expected in_features in .* to be a number above 0, got 'a'"),
        ("2_Dense", {"bias": 1}, "Expected bias in .* to be true or false, got 1"),
        ("2_Dense", {"use_residual": True, "rank": 3}, "Expected the keys .*, got rank too"),
        ("2_Dense", {"activation_function": "torch.nn.modules.activation.ELU"}, "one of torch.nn.*ELU'. Others"),
        ("2_Dense", {"activation_function": "mine.GELU"}, "got 'mine.GELU'. Others"),
        ("2_Dense", {"module_input_name": "token_embeddings"}, "to be 'sentence_embedding', got 'token_embeddings'"),
        ("1_Pooling", {"embedding_dimension": 64}, "to read vectors of the 64 numbers that 1_Pooling gives, got 32"),
        ("1_Pooling", {"pooling_mode": ["mean", "sum"]}, "got mean and sum. Others"),
        ("1_Pooling", {"include_prompt": "no"}, "include_prompt .* to be true or false, got 'no'"),
        ("1_Pooling", {"weights": []}, "Expected the keys of a pooling in .*, got weights too"),
        ("", {"transformer_task": "fill-mask"}, "transformer_task in .* to be 'feature-extraction', got 'fill-mask'"),
        ("", {"modality_config": {"message": {}}}, "modality_config in .* to be of texts alone"),
        ("", {"tokenizer_args": {"add_eos_token": True}}, "Expected no tokenizer_args in .* that change a vector"),
    ],
)
def test_folders_that_cannot_be_followed(st, body, tmp_path, name, change, message):
    save([transformer(body), pooling(), *steps("tanh norm")], tmp_path)
    path = tmp_path / name / ("config.json" if name else "sentence_bert_config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        kt.TextEmbedder.from_preset(tmp_path)


def test_missing_weights_of_a_module(st, body, tmp_path):
    save([transformer(body), pooling(), *steps("tanh")], tmp_path)
    (tmp_path / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="Expected model.safetensors in .*2_Dense"):
        kt.TextEmbedder.from_preset(tmp_path)


def test_prompts_by_name_and_task(st, body, tmp_path):
    prompts = {"query": "Who said it? ", "document": "Text: "}
    made = save([transformer(body), pooling()], tmp_path, prompts=prompts)
    model = kt.TextEmbedder.from_preset(tmp_path)
    for options, expected in (
        ({"prompt": "query"}, made.encode_query(TEXTS)),
        ({"task": "query"}, made.encode_query(TEXTS)),
        ({"task": "document"}, made.encode_document(TEXTS)),
        ({"task": "document", "prompt": "query"}, made.encode(TEXTS, prompt_name="query")),
        ({}, made.encode(TEXTS)),
    ):
        assert np.abs(model.embed(TEXTS, **options) - expected).max() < 1e-6 * np.abs(expected).max()
    for options, message in (
        ({"prompt": "querry"}, r"\(document, query\), got 'querry' \(did you mean 'query'"),
        ({"task": "queries"}, "Expected task to be one of query, document, got 'queries'"),
        ({"truncate_dim": 33}, "Expected truncate_dim from 1 to 32, the width of the vectors, got 33"),
        ({"truncate_dim": 0}, "Expected truncate_dim from 1 to 32"),
    ):
        with pytest.raises(ValueError, match=message):
            model.embed(TEXTS, **options)
    assert find_prompt({"corpus": "c ", "passage": "p "}, None, task="document") == "p "
    assert find_prompt({"passage": "p "}, "passage", task="query") == ""
    with pytest.raises(ValueError, match="Expected truncate_dim from 1 to 32"):
        kt.TextEmbedder(model.config, truncate_dim=40)


def test_special_tokens_of_prompts_are_special(st, body, tmp_path):
    made = save([transformer(body), pooling()], tmp_path, prompts={"mask": "[MASK] "})
    model = kt.TextEmbedder.from_preset(tmp_path)
    expected = made.encode(TEXTS, prompt_name="mask")
    assert np.abs(model.embed(TEXTS, prompt="mask") - expected).max() < 1e-6 * np.abs(expected).max()
    odd = model.embed(["a [MASK] b", TEXTS[0]], prompt="mask")  # in a text it is text
    assert np.abs(odd[1] - expected[0]).max() < 1e-5 and np.abs(odd[0] - made.encode("[MASK] a [MASK] b")).max() > 1e-3
