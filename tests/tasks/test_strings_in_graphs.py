"""Tasks as TensorFlow SavedModels from strings to strings, loaded and run."""

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.families.registry import families
from tests.layers.reference import fill

pytestmark = pytest.mark.one_backend("tensorflow")

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_text")

TEXTS = ["The rain in Spain stays mainly in the plain.", "A man rides a bike.", "Two dogs play in the snow."]
ODD = ["", "Été – naïve, ½ 猫", "the rain " * 30]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
BERT = {"padding_token": "[PAD]", "unknown_token": "[UNK]", "class_token": "[CLS]", "separator_token": "[SEP]"}
BERT |= {"mask_token": "[MASK]", "start_token": None, "end_token": None}
CHECKED = {"check": [*TEXTS, *ODD], "difficult_texts": False}  # the difficult texts take longer


def with_one_graph(tokenizer):
    """The tokenizer, whose graph is compiled once for all tests."""
    graph = tokenizer.in_graph(texts=[*TEXTS, *ODD])
    tokenizer.in_graph = lambda **options: graph
    return tokenizer


@pytest.fixture(scope="module")
def wordpiece():
    return with_one_graph(kt.Tokenizer.train(TEXTS * 2, kind="wordpiece", vocabulary_size=90, **BERT))


@pytest.fixture(scope="module")
def byte_level():
    return with_one_graph(kt.Tokenizer.train(TEXTS * 3, vocabulary_size=300))


def bert(task, tokenizer, **arguments):
    model = task(families()["bert"].config({"vocab_size": tokenizer.vocabulary_size, **SIZES}), tokenizer, **arguments)
    fill(model)
    return model


def served(model, folder, **options):
    model.export_with_text(folder, **{**CHECKED, **options})
    return tf.saved_model.load(str(folder))


def strings(tensor):
    return np.vectorize(bytes.decode, otypes=[object])(tensor.numpy()).tolist()


def test_a_classifier_of_texts_and_pairs(wordpiece, tmp_path):
    model = bert(kt.TextClassifier, wordpiece, labels=["bad", "good", "odd"])
    graph = served(model, tmp_path)
    found = graph.serve(tf.constant([text.encode() for text in TEXTS] + [b"A \xff man"]))
    expected = model.classify([*TEXTS, "A \ufffd man"], top=None)
    assert strings(found["labels"]) == [[one["label"] for one in each] for each in expected]
    np.testing.assert_allclose(found["scores"], [[one["score"] for one in each] for each in expected], atol=1e-5)
    assert strings(found["label"]) == [each[0]["label"] for each in expected]
    pairs = graph.signatures["pairs"](texts=tf.constant(["A man?"] * 3), seconds=tf.constant(TEXTS))
    ranking = {one["index"]: one["score"] for one in model.rank("A man?", TEXTS)}
    np.testing.assert_allclose(pairs["relevance"], [ranking[n] for n in range(3)], atol=1e-5)
    nothing = graph.serve(tf.constant([], tf.string))
    assert nothing["labels"].shape == (0, 3) and nothing["label"].shape == (0,)


@pytest.mark.slow
def test_an_embedder_has_a_signature_for_each_prompt(wordpiece, tmp_path):
    model = bert(kt.TextEmbedder, wordpiece, prompts={"query": "the man "}, include_prompt=False, truncate_dim=8)
    graph = served(model, tmp_path, length=12)
    query = graph.signatures["query"](texts=tf.constant(TEXTS[1:]))["vectors"]
    np.testing.assert_allclose(query, model.embed(TEXTS[1:], prompt="query"), atol=1e-5)
    np.testing.assert_allclose(graph.serve(tf.constant(TEXTS[1:]))["vectors"], model.embed(TEXTS[1:]), atol=1e-5)


@pytest.mark.slow
def test_masks_are_filled(wordpiece, tmp_path):
    model = bert(kt.MaskedLM, wordpiece)
    graph = served(model, tmp_path, top=3)
    texts = ["The [MASK] in [MASK][SEP] [MASK]", "no mask", "[MASK]"]
    found = graph.serve(tf.constant(texts))
    expected = [*model.fill_mask(texts[0], top=3), model.fill_mask(texts[2], top=3)]
    assert found["row"].numpy().tolist() == [0, 0, 0, 2]
    assert strings(found["tokens"]) == [[one["token"] for one in each] for each in expected]
    np.testing.assert_allclose(found["scores"], [[one["score"] for one in each] for each in expected], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wordpiece", "byte_level"])
def test_entities_and_words(kind, tmp_path, request):
    sizes = {**SIZES, "max_position_embeddings": 30}  # a longer text is read in windows
    tokenizer = request.getfixturevalue(kind)
    config = families()["bert"].config({"vocab_size": tokenizer.vocabulary_size, **sizes})
    model = kt.TokenClassifier(config, tokenizer, labels=["O", "B-X", "I-X", "B-Y", "I-Y", "S-Y"])
    fill(model)
    graph = served(model, tmp_path)
    texts = [*TEXTS, *ODD, "Été, Anna-Lena und \ufffd"]
    for function, aggregate in ((graph.serve, True), (graph.words, False)):
        found = function(tf.constant(texts))
        rows = found["row"].numpy()
        for number, expected in enumerate(model.tag(texts, aggregate=aggregate)):
            here = {name: each[rows == number] for name, each in found.items()}
            assert strings(here["label"]) == [one["label"] for one in expected]
            assert strings(here["text"]) == [one["text"] for one in expected]
            assert here["start"].numpy().tolist() == [one["start"] for one in expected]
            assert here["end"].numpy().tolist() == [one["end"] for one in expected]
            np.testing.assert_allclose(here["score"], [one["score"] for one in expected], atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 9, "stop": "e", "no_repeat_ngram_size": 2},
        pytest.param(
            {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2, "repetition_penalty": 1.3},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_prompts_are_continued(byte_level, tmp_path, settings):
    model = kt.CausalLM(kt.models.gpt(byte_level.vocabulary_size, num_layers=2, hidden_dim=16, num_heads=2), byte_level)
    fill(model)
    graph = served(model, tmp_path, **settings)
    prompts = ["A man", "", "The rain in Spain stays"]
    assert strings(graph.serve(tf.constant(prompts))["continuations"]) == model.generate(prompts, **settings)
    shorter = graph.generate(tf.constant(prompts), tf.constant(4))["continuations"]
    assert strings(shorter) == model.generate(prompts, **{**settings, "max_new_tokens": 4})
    assert graph.serve(tf.constant([], tf.string))["continuations"].shape[0] == 0


@pytest.mark.parametrize("num_beams", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_translator(byte_level, tmp_path, num_beams):
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    model = kt.Seq2SeqLM(kt.models.transformer(byte_level.vocabulary_size, **sizes), byte_level)
    fill(model)
    settings = {"max_new_tokens": 7, "num_beams": num_beams, "num_return_sequences": num_beams}
    graph = served(model, tmp_path, **settings)
    texts = [*TEXTS, "12:30", " ", "Été \x00?"]
    with pytest.warns(UserWarning, match="were cut at the limit of 7 tokens"):
        expected = model.translate(texts, **settings)
    assert strings(graph.serve(tf.constant(texts))["translations"]) == expected


@pytest.mark.slow
@pytest.mark.parametrize("codes", ["__en__ __ha__ __is__ __ja__ __cs__ __ru__ __zh__ __de__", ">>fra<< >>deu<<"])
def test_languages_are_a_second_and_a_third_string(tmp_path, codes):
    tokenizer = kt.Tokenizer.train(TEXTS * 3, vocabulary_size=300)
    tokenizer.add_tokens(codes.split(), special=True)
    with_one_graph(tokenizer)
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    model = kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **sizes), tokenizer)
    fill(model)
    settings = {"max_new_tokens": 5, "num_beams": 2}
    graph = served(model, tmp_path, **settings)
    assert list(graph.signatures) == ["translate"]
    languages = list(tokenizer.languages)[:2]
    told = tokenizer.language_place != "source"
    with pytest.warns(UserWarning, match="were cut at the limit"):
        expected = [
            model.translate(text, languages[0] if told else None, target, **settings)
            for text, target in zip(TEXTS[:2], languages, strict=True)
        ]
    texts, source = tf.constant(TEXTS[:2]), tf.constant(languages[:1] * 2)
    found = graph.translate(texts, source, tf.constant(languages))
    assert strings(found["translations"]) == expected
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected languages among"):
        graph.translate(texts, source, tf.constant(["Klingon"] * 2))


@pytest.mark.slow
def test_the_preset_translates_with_beams(tmp_path):
    model = kt.Seq2SeqLM.from_preset("english-french")
    graph = served(model, tmp_path, max_length=40)
    texts = ["The house is small.", "12:30", "", "  ", "😀", "A man\u00a0rides a bike. " * 9]
    found = graph.serve(tf.constant(texts))
    assert strings(found["translations"]) == model.translate(texts, max_length=40)
    assert found["scores"][1] == 0.0 and found["scores"][0] < 0.0


def test_what_a_graph_does_not_follow_is_refused(byte_level, tmp_path):
    model = kt.CausalLM(kt.models.gpt(byte_level.vocabulary_size, num_layers=1, hidden_dim=8, num_heads=2), byte_level)
    with pytest.raises(ValueError, match="Expected greedy search or beams in a graph, got do_sample=True"):
        model.export_with_text(tmp_path, do_sample=True, **CHECKED)
