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


# --- tables of embeddings ---


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The folder of a tokenizer.json alone."""
    folder = tmp_path_factory.mktemp("words")
    checkpoints.save(folder, "BertModel")
    checkpoints.tokenizer_of(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def table(words, width=32, **truncation):
    import tokenizers
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    engine = tokenizers.Tokenizer.from_file(str(words / "tokenizer.json"))
    if truncation:
        engine.enable_truncation(**truncation)
    return StaticEmbedding(engine, embedding_dim=width)


@pytest.mark.parametrize("kinds", ["", "unit", "tanh norm"])
def test_tables_of_embeddings(st, words, tmp_path, kinds):
    made = save([table(words), *steps(kinds)], tmp_path / "source", prompts={"query": "Who? "})
    texts = ["", *TEXTS]
    model = check(made, tmp_path / "source", tmp_path, texts)
    expected = made.encode_query(texts)
    assert np.abs(model.embed(texts, task="query") - expected).max() < 1e-6 * np.abs(expected).max()
    kernel = model.backbone.embedding.token.embeddings
    kernel.assign(kernel * 2)
    model.save_to_preset(tmp_path / "source")  # in the place of what was there
    opened = st.SentenceTransformer(str(tmp_path / "source")).encode(texts)
    assert np.abs(model.embed(texts) - opened).max() < 1e-6 * np.abs(opened).max()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.embed(texts), model.embed(texts), atol=1e-5)
    model.fit(TEXTS, [text.lower() for text in TEXTS], batch_size=6, verbose=0)


def test_a_table_that_cuts(st, words, tmp_path):
    made = save([table(words, max_length=5)], tmp_path / "source")
    with pytest.warns(UserWarning, match="6 of 6 texts are longer than 5 tokens and were cut"):
        model = check(made, tmp_path / "source", tmp_path)
    assert model.max_length == 5


@pytest.mark.parametrize("parts", ["", "mapping", "weights", "mapping weights"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tables_of_model2vec(st, words, tmp_path, parts, dtype):
    """Their config.json is not of a model, and several tokens may share a row."""
    import safetensors.numpy

    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_bytes((words / "tokenizer.json").read_bytes())
    (source / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    modules = [("", "StaticEmbedding"), ("1_Normalize", "Normalize")]
    entries = [{"path": path, "name": kind, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules]
    (source / "modules.json").write_text(json.dumps([{**entries[0], "path": "."}, entries[1]]))
    size = json.loads((words / "tokenizer.json").read_text())["model"]["vocab"].__len__()
    tensors = {"embeddings": rng.normal(size=(40 if "mapping" in parts else size, 16)).astype(dtype)}
    if "mapping" in parts:
        tensors["mapping"] = rng.integers(0, 40, size)
    if "weights" in parts:
        tensors["weights"] = rng.random(size)
    safetensors.numpy.save_file(tensors, source / "model.safetensors")
    made = st.SentenceTransformer(str(source))
    model = kt.TextEmbedder.from_preset(source)
    bound = 1e-6 if dtype == "float32" else 2e-3
    assert np.abs(model.embed(TEXTS) - made.encode(TEXTS)).max() < bound
    model.save_to_preset(tmp_path / "again")
    for name in ("model.safetensors", "modules.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (source / name).read_bytes(), name


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({"embeddings": np.zeros((3, 2)), "mapping": np.full(219, 9)}, "rows from 0 to 2 in the mapping"),
        (
            {"embeddings": np.zeros((3, 2)), "weights": np.zeros(2)},
            r"Expected floats .*, got embeddings \[3, 2\], weights",
        ),
        ({"embedding.weight": np.zeros(3)}, r"got embedding.weight \[3\]"),
        ({"embeddings": np.zeros((219, 2), "int8")}, r"Expected floats .*, got embeddings \[219, 2\]"),
        ({"table": np.zeros((3, 2))}, r"got table \[3, 2\]"),
    ],
)
def test_damaged_tables(st, words, tmp_path, tensors, message):
    import safetensors.numpy

    save([table(words)], tmp_path)
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        kt.TextEmbedder.from_preset(tmp_path)


# --- sparse ---


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    checkpoints.save(folder, "BertForMaskedLM")
    return folder


def sparse_modules(masked, routed, *pooling):
    import torch
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    documents = [transformer(masked, transformer_task="fill-mask"), SpladePooling(*pooling)]
    if not routed:
        return documents
    tokenizer = checkpoints.tokenizer_of(masked)
    weights = torch.rand(len(tokenizer)) * (torch.rand(len(tokenizer)) > 0.2)
    return [Router.for_query_document([SparseStaticEmbedding(tokenizer, weights, frozen=True)], documents)]


def check_sparse(made, source, tmp_path, **options):
    model = kt.SparseEmbedder.from_preset(source, **options)
    for task, encode in (("query", made.encode_query), ("document", made.encode_document)):
        expected = encode(TEXTS).to_dense().numpy()
        vectors = model.embed(TEXTS, task=task)
        assert vectors.shape == expected.shape and 0 < len(vectors.values) < expected.size
        assert np.abs(vectors.dense() - expected).max() < 2e-6 * np.abs(expected).max()
    return model


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("pooling", [("max", "relu"), ("sum", "log1p_relu")], ids=str)
def test_sparse_vectors(st, masked, tmp_path, routed, pooling):
    prompts = {"query": "Who? ", "document": ""}
    made = save(sparse_modules(masked, routed, *pooling), tmp_path / "source", "SparseEncoder", prompts=prompts)
    model = check_sparse(made, tmp_path / "source", tmp_path)
    model.save_to_preset(tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "source")
    table = made.similarity(made.encode_query(TEXTS[:2]), made.encode_document(TEXTS[1:])).numpy()
    np.testing.assert_allclose(model.similarity(TEXTS[:2], TEXTS[1:]), table, rtol=1e-4, atol=1e-5)
    # a copy, whose folder is a new one
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.set_weights(model.get_weights())
    again.save_to_preset(tmp_path / "new")
    check_sparse(st.SparseEncoder(str(tmp_path / "new")), tmp_path / "new", tmp_path)


def test_sparse_vectors_of_few_numbers(st, masked, tmp_path):
    made = save(sparse_modules(masked, False), tmp_path, "SparseEncoder", max_active_dims=7)
    model = check_sparse(made, tmp_path, tmp_path)
    vectors = model.embed(TEXTS)
    assert np.diff(vectors.starts).tolist() == [7] * 6 and model.max_active_dims == 7
    (tokens,) = model.tokens(model.embed(TEXTS[0]), top=3)
    assert len(tokens) == 3 and list(tokens.values()) == sorted(tokens.values(), reverse=True)
    assert list(tokens.values())[0] == pytest.approx(vectors[0][1].max(), rel=1e-5)
    assert model.embed([]).shape == (0, model.config.embeddings.vocabulary_size)
    assert [len(row) for row, _ in model.embed(TEXTS, max_active_dims=2)] == [2] * 6
    with pytest.raises(IndexError, match="Expected a row below 6, got 6"):
        vectors[6]
    assert model.embed("a", prompt="").shape[0] == 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("document_1_SpladePooling/config.json", {"pooling_strategy": "mean"}, "max or sum, .*, got 'mean'"),
        ("document_1_SpladePooling/config.json", {"activation_function": "gelu"}, "got 'max' and 'gelu'"),
        ("router_config.json", {"structure": {"query": []}}, "Expected a route query of SparseStaticEmbedding"),
        ("router_config.json", {"parameters": {"route_mappings": {"a": "b"}}}, "and route_mappings"),
        ("router_config.json", {"structure": {"query": ["../x"], "document": []}}, "paths inside of the folder"),
        ("query_0_SparseStaticEmbedding/config.json", {"path": "idf.json"}, "key frozen alone in .*, got path"),
        ("config_sentence_transformers.json", {"max_active_dims": 0}, "max_active_dims to be a number above 0, got 0"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "maxsim"}, "one of dot, cosine, .*, got 'maxsim'"),
        ("document_0_Transformer/sentence_bert_config.json", {"transformer_task": "x"}, "to be 'fill-mask', got 'x'"),
    ],
)
def test_sparse_folders_that_cannot_be_followed(st, masked, tmp_path, name, change, message):
    save(sparse_modules(masked, True), tmp_path, "SparseEncoder")
    path = tmp_path / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        kt.SparseEmbedder.from_preset(tmp_path)


# --- a vector for each token ---


def token_modules(body, words=(".", ","), tasks="document", **options):
    import torch
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    dense = Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    mask = MultiVectorMask(list(words), skiplist_tasks=tasks)
    return [transformer(body, **options), dense, mask, Normalize("token_embeddings")]


def check_tokens(made, source, bound=1e-6):
    model = kt.MultiVectorEmbedder.from_preset(source)
    for task, encode in (("query", made.encode_query), ("document", made.encode_document)):
        expected = encode(TEXTS, convert_to_numpy=True)
        vectors = model.embed(TEXTS, task=task, batch_size=4)
        assert [each.shape for each in vectors] == [each.shape for each in expected]
        assert max(np.abs(a - b).max() for a, b in zip(vectors, expected, strict=True)) < bound
    table = made.similarity(made.encode_query(TEXTS[:2]), made.encode_document(TEXTS)).numpy()
    np.testing.assert_allclose(model.similarity(TEXTS[:2], TEXTS), table, rtol=1e-5)
    return model


EXPANSIONS = [
    None,
    {"strategy": "fixed", "length": 40},
    {"strategy": "fixed", "length": 40, "attend": True},
    {"strategy": "min", "length": 24, "token": "[SEP]"},
]


@pytest.mark.parametrize("expansion", EXPANSIONS, ids=str)
def test_vectors_of_tokens(st, body, tmp_path, expansion):
    tasks = ["document"] if expansion is None else ["query", "document"]
    modules = token_modules(body, tasks=tasks, document_length=None if expansion else 40, query_expansion=expansion)
    prompts = {"query": "q: ", "document": "[MASK] "}
    options = {"similarity_fn_name": "meanmaxsim"} if expansion else {}
    made = save(modules, tmp_path / "source", "MultiVectorEncoder", prompts=prompts, **options)
    model = check_tokens(made, tmp_path / "source")
    model.save_to_preset(tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "source")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.set_weights(model.get_weights())
    again.save_to_preset(tmp_path / "new")
    check_tokens(st.MultiVectorEncoder(str(tmp_path / "new")), tmp_path / "new")


@pytest.mark.filterwarnings("ignore:The vocabulary has no token for")
def test_folders_of_pylate(st, body, tmp_path):
    """Version 3: two modules, and the rest in one file; markers are tokens, whatever the tokenizer makes of them."""
    from sentence_transformers.base.modules.dense import Dense

    save([transformer(body), Dense(32, 16, bias=False)], tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    dense = json.loads((tmp_path / "1_Dense" / "config.json").read_text())
    dense = {name: value for name, value in dense.items() if not name.startswith("module_")}
    (tmp_path / "1_Dense" / "config.json").write_text(json.dumps(dense))
    marker = "[MASK] "
    settings = {
        **{"model_type": "ColBERT", "query_prefix": marker, "document_prefix": "d: ", "query_length": 36},
        **{"document_length": 40, "attend_to_expansion_tokens": False, "prompts": {}, "do_query_expansion": True},
    }
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    made = st.MultiVectorEncoder(str(tmp_path))
    model = check_tokens(made, tmp_path)
    assert model.expansion.length == 36 and len(model.skip_words) == 32
    model.save_to_preset(tmp_path / "new")
    check_tokens(st.MultiVectorEncoder(str(tmp_path / "new")), tmp_path / "new")


@pytest.mark.filterwarnings("ignore:The vocabulary has no token for")
def test_folders_of_colbert_itself(st, body, tmp_path):
    import safetensors.numpy

    (tmp_path / "tokenizer_config.json").write_bytes((body / "tokenizer_config.json").read_bytes())
    words = (body / "vocab.txt").read_text().split()
    (tmp_path / "vocab.txt").write_text("\n".join([*words[:-2], "[unused0]", "[unused1]"]) + "\n")
    config = json.loads((body / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    tensors = safetensors.numpy.load_file(body / "model.safetensors")
    tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    tensors["linear.weight"] = np.random.default_rng(0).normal(size=(16, 32)).astype("float32")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    settings = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 30, "doc_maxlen": 40}
    (tmp_path / "artifact.metadata").write_text(json.dumps(settings))
    model = check_tokens(st.MultiVectorEncoder(str(tmp_path)), tmp_path)
    model.save_to_preset(tmp_path / "new")
    check_tokens(st.MultiVectorEncoder(str(tmp_path / "new")), tmp_path / "new")


def test_queries_that_are_longer_than_their_length(st, body, tmp_path):
    modules = token_modules(body, query_expansion={"strategy": "fixed", "length": 6})
    save(modules, tmp_path, "MultiVectorEncoder")
    model = kt.MultiVectorEmbedder.from_preset(tmp_path)
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 6 tokens and were cut"):
        assert model.embed(TEXTS[0], task="query").shape == (6, 16)
    assert model.embed([]) == []
    with pytest.raises(ValueError, match="one of query, document, got 'passage'"):
        model.embed("a", task="passage")
    least = float(np.finfo("float32").min)
    assert kt.tasks.multi_vector_embedding.max_similarities([np.ones((2, 3))], [np.ones((0, 3))]) == [[least]]
    for options, message in (
        ({"query_length": 3, "expansion": model.expansion}, "query_length of at least the 6 tokens of the expansion"),
        ({"skip_tasks": ["passage"]}, "Expected skip_tasks among query, document, got passage"),
        ({"projections": [kt.layers.LayerNorm()]}, "Expected no norm on the vectors of tokens"),
        ({"measure": "dot"}, "Expected measure to be one of maxsim, meanmaxsim, got 'dot'"),
    ):
        with pytest.raises(ValueError, match=message):
            kt.MultiVectorEmbedder(model.config, **options)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("2_MultiVectorMask/config.json", {"keep_only_token_ids": [3]}, "Expected no keep_only_token_ids"),
        ("2_MultiVectorMask/config.json", {"skiplist_tasks": ["image"]}, "tasks of query and document"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "all"}}, "a strategy, fixed or min"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "min"}}, "query_expansion: .*'length' is None"),
        ("1_Dense/config.json", {"module_input_name": "sentence_embedding"}, "to be 'token_embeddings'"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "cosine"}, "one of maxsim, meanmaxsim"),
    ],
)
def test_token_folders_that_cannot_be_followed(st, body, tmp_path, name, change, message):
    save(token_modules(body), tmp_path, "MultiVectorEncoder")
    path = tmp_path / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        kt.MultiVectorEmbedder.from_preset(tmp_path)
