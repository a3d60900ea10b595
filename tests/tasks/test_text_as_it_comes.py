"""Texts as people have them, and settings as they give them: nothing is invented, cut or passed over in silence."""

import re
import warnings

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.apps.files import translate_file
from keras_transformers.generation.settings import names_a_limit
from keras_transformers.tasks import notices
from tests.layers.reference import fill

once = pytest.mark.one_backend("torch")
SOURCES = ["a red house", "the cat", "the dog sleeps", "I see a blue car."]
TARGETS = ["une maison rouge", "le chat", "le chien dort", "Je vois une voiture bleue."]
LETTERLESS = ["-", "…", "1", "", "\U0001f600", "12:30", "—", "½ + ①", "!?", "3 000 €", "\u200b"]


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(SOURCES + TARGETS, vocabulary_size=300, normalization="nmt_nfc")


def make(tokenizer, **fields):
    fields = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0, "max_length": 40, **fields}
    return kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **fields), tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer):
    """One that says something of some length."""
    return fill(make(tokenizer, tied_head=False), scale=0.6)


@pytest.fixture(scope="module")
def embedded():
    return kt.Seq2SeqLM.from_preset("english-french")


@pytest.fixture(scope="module")
def writer():
    texts = kt.Tokenizer.train(SOURCES, vocabulary_size=280, end_token="</s>", start_token=None)
    config = kt.models.gpt(texts.vocabulary_size, num_layers=1, hidden_dim=16, num_heads=2, max_length=64)
    return fill(kt.CausalLM(config, texts), scale=0.6)


def silent(call, *arguments, **options):
    """The result of a call that warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return call(*arguments, **options)


# --- invisible characters


@pytest.mark.each_keras
def test_dirty_text_translates_as_clean(embedded):
    clean = "Où est-il ? The house is small."
    variants = [
        "\ufeffThe\u00a0house is small.",
        "The\u200b house is\tsmall.\r",
        "The hou\u00adse\nis\u3000small.\0",
        " The \u202ahouse\u202c is  small\u2060. ",
        "The house is smal\u200dl.",
    ]
    assert embedded.translate(variants) == ["La maison est petite."] * len(variants)
    assert "".join(embedded.stream(variants[0])) == "".join(embedded.stream("The house is small."))
    decomposed = clean.replace("ù", "u\u0300")
    assert embedded.tokenizer.encode([decomposed]) == embedded.tokenizer.encode([clean])


# --- texts without a letter


@pytest.mark.each_keras
@pytest.mark.parametrize("num_beams", [1, 2])
def test_texts_without_a_letter_come_back_as_they_are(model, num_beams):
    options = {"num_beams": num_beams, "max_new_tokens": 6}
    texts = [*LETTERLESS, "the cat"]
    results, scores = model.translate(texts, return_scores=True, **options)
    assert results[:-1] == LETTERLESS and list(scores[:-1]) == [0.0] * len(LETTERLESS) and scores[-1] < 0
    assert results[-1] == model.translate("the cat", **options)
    assert silent(model.translate, LETTERLESS) == LETTERLESS and silent(model.translate, "12:30") == "12:30"
    assert [type(each) for each in model.translate(np.array(["1", "…"]))] == [str, str]
    asked = model.translate("12:30", keep_letterless=False, **options)
    assert asked and asked != "12:30"


@once
def test_texts_without_a_letter_in_all_that_a_translator_does(model, tmp_path):
    options = {"max_new_tokens": 6}
    assert model.translate(["…"], num_beams=2, num_return_sequences=2, **options) == [["…", "…"]]
    assert list(model.stream("…")) == ["…"] and list(model.stream("")) == []
    assert "".join(model.stream("…", keep_letterless=False, **options)) == model.translate(
        "…", num_beams=1, keep_letterless=False, **options
    )
    assert silent(model.translate_document, "1\n-----\n\n12:30 …\n") == "1\n-----\n\n12:30 …\n"
    (tmp_path / "in").write_text("…\n\n1\n", "utf-8")
    translate_file(model, tmp_path / "in", tmp_path / "out", **options)
    assert (tmp_path / "out").read_text("utf-8") == "…\n\n1\n"
    # who asks for words wants them
    (begun,) = model.translate(["1"], prefix="le", **options)
    assert begun.startswith("le")
    (forced,) = model.translate(["1"], forced_words=["chat"], num_beams=4, max_new_tokens=12)
    assert "chat" in forced
    with pytest.raises(TypeError, match="Expected text 1 to be a string, got None"):
        model.translate(["…", None])
    with pytest.raises(ValueError, match="a lone surrogate .* of text 1"):
        model.translate(["…", "\ud800"])


@once
def test_a_language_token_is_no_letter():
    tokenizer = kt.Tokenizer.train(SOURCES + TARGETS, vocabulary_size=300)
    tokenizer.add_tokens([">>fra<<", ">>deu<<"], special=True)
    model = fill(make(tokenizer), scale=0.6)
    assert tokenizer.language_place == "source"
    assert model.translate([">>fra<< 12:30", ">>fra<< …"]) == ["12:30", "…"]
    assert model.translate("12:30", target_language=">>deu<<") == "12:30"


@once
def test_who_trains_on_figures_is_told_that_they_are_kept():
    figures = [f"{a} {b}" for a in range(5) for b in range(5)]
    tokenizer = kt.Tokenizer.train(figures, vocabulary_size=300)
    model = make(tokenizer)
    with pytest.warns(UserWarning, match="25 of 25 sources .* hold no letter.* keep_letterless=False"):
        model.fit(figures, figures[::-1], verbose=0)
    silent(make(tokenizer).fit, SOURCES * 2, TARGETS * 2, verbose=0)
    for sources, targets in (([*SOURCES, ""], [*TARGETS, "le"]), ([*SOURCES, "the"], [*TARGETS, ""])):
        with pytest.warns(UserWarning, match="1 of 5 pairs to learn from have nothing on one side"):
            make(tokenizer).fit(sources, targets, verbose=0)


# --- limits


@pytest.mark.each_keras
@pytest.mark.parametrize("num_beams", [1, 3])
def test_translations_that_are_cut_are_said(embedded, num_beams):
    texts = ["Yes.", "I don't know where she lives.", "My friend lives in Paris."]
    options = {"num_beams": num_beams, "max_new_tokens": 5}
    expected = (
        "2 of 3 translations were cut at the limit of 5 tokens, before they ended: index 1, 2. Raise max_new_tokens."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(expected)}$") as caught:
        embedded.translate(texts, **options)
    assert [each.filename for each in caught if "cut" in str(each.message)] == [__file__]
    silent(embedded.translate, texts[0], **options)
    silent(embedded.translate, texts, num_beams=num_beams)


@once
def test_what_is_cut_is_said_by_its_name(embedded, tmp_path):
    text = "I don't know where she lives."
    with pytest.warns(UserWarning, match="1 of 2 translations were cut at the limit of 4 tokens, .*: line 8. Raise"):
        embedded.translate(["", text], names=["line 7", "line 8"], max_new_tokens=4)
    with pytest.warns(UserWarning, match=r"sentence 2 of index 0, sentence 3 of index 0\. Raise"):
        embedded.translate_document(f"Yes.\n{text}", num_beams=1, max_new_tokens=8)
    with pytest.warns(UserWarning, match="1 of 1 translations were cut at the limit of 4 tokens"):
        list(embedded.stream(text, max_new_tokens=4))
    with pytest.warns(UserWarning, match="1 of 1 translations were cut at the limit of 4 tokens"):
        embedded.translate(text, num_beams=3, num_return_sequences=2, max_new_tokens=4)
    (tmp_path / "in").write_text(f"Yes.\n\n{text}\n", "utf-8")
    with pytest.warns(UserWarning, match="1 of 3 translations were cut .*: line 3. Raise max_new_tokens"):
        translate_file(embedded, tmp_path / "in", tmp_path / "out", max_new_tokens=4)
    # one that ends before a stop string is whole, and an end that the limit forces is none
    silent(embedded.translate, text, num_beams=1, max_new_tokens=8, stop="sais")
    silent(lambda: list(embedded.stream(text, max_new_tokens=8, stop="sais")))
    forced = {"forced_end_id": embedded.tokenizer.end_id, "max_new_tokens": 4}
    with pytest.warns(UserWarning, match="1 of 1 translations were cut at the limit of 4 tokens"):
        embedded.translate(text, **forced)
    silent(embedded.translate, "Yes.", **{**forced, "max_new_tokens": 20})


@once
def test_a_text_that_is_too_long_is_named(model):
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than the 40 tokens .* is left out: line 2\."):
        model.translate(["the cat", "the cat " * 50], names=["line 1", "line 2"], max_new_tokens=3)
    with pytest.warns(UserWarning, match=r"The model has positions for no more; translate_document takes"):
        model.translate("the cat", max_new_tokens=100)


@once
def test_many_that_were_cut_are_not_all_listed():
    with pytest.warns(UserWarning, match=r"12 of 20 texts .*: index 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …\. The model has"):
        notices.warn_of_cut(dict.fromkeys(range(12), 8), 20, None, 8, "texts")


@once
def test_a_language_model_says_that_it_stopped_at_a_limit_that_nobody_named(writer):
    with pytest.warns(
        UserWarning, match=r"1 of 1 texts were cut at the limit of \d+ tokens, before they ended: index 0"
    ):
        writer.generate("the cat")
    with pytest.warns(UserWarning, match="1 of 1 texts were cut"):
        list(writer.stream("the cat"))
    silent(writer.generate, "the cat", max_new_tokens=5)
    silent(writer.generate, "the cat", max_length=20)
    silent(lambda: list(writer.stream("the cat", max_new_tokens=5)))


@once
def test_an_empty_prompt(writer):
    with pytest.raises(ValueError, match="got an empty one at index 1, and there is no start token"):
        writer.generate(["the cat", ""], max_new_tokens=2)
    with pytest.raises(ValueError, match="got an empty one at index 0"):
        list(writer.stream("", max_new_tokens=2))
    assert isinstance(writer.generate(" ", max_new_tokens=2), str)


# --- settings that change nothing


@once
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"temperature": 0.7},
            "temperature=0.7 changes nothing without sampling: .* Add do_sample=True, or leave it out",
        ),
        ({"top_k": 1}, None),  # which is what is done
        ({"top_p": 0.9, "top_k": 5}, "top_k=5, top_p=0.9 changes nothing without sampling"),
        ({"min_p": 0.1}, "min_p=0.1 changes nothing without sampling"),
        ({"num_beams": 2, "top_p": 0.9}, "top_p=0.9 changes nothing without sampling"),
        (
            {"length_penalty": 2.0},
            "length_penalty=2.0 changes nothing with num_beams=1. Raise num_beams, or leave it out",
        ),
        ({"early_stopping": True}, "early_stopping=True changes nothing with num_beams=1"),
        ({"temperature": 1.0, "top_p": 1.0, "top_k": None, "early_stopping": False, "length_penalty": 1.0}, None),
        ({"do_sample": True, "temperature": 0.7, "top_p": 0.9, "seed": 1}, None),
        ({"num_beams": 2, "length_penalty": 2.0, "early_stopping": True}, None),
        ({"return_scores": True, "length_penalty": 2.0}, None),
    ],
)
def test_settings_that_change_nothing_are_said(model, writer, settings, message):
    streamed = {name: value for name, value in settings.items() if name != "return_scores"}
    calls = [lambda: writer.generate("the cat", max_new_tokens=2, **settings)]
    calls += [lambda: model.translate("the cat", max_new_tokens=30, **settings)]
    if settings.keys() == streamed.keys() and settings.get("num_beams", 1) == 1:
        calls += [lambda: list(model.stream("the cat", max_new_tokens=30, **settings))]
        calls += [lambda: list(writer.stream("the cat", max_new_tokens=2, **settings))]
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        said = [str(each.message) for each in caught if "changes nothing" in str(each.message)]
        assert [each.filename for each in caught if "changes nothing" in str(each.message)] == [__file__] * len(said)
        assert len(said) == (message is not None) and all(re.search(message, each) for each in said)


@once
def test_settings_of_a_checkpoint_are_nothing_to_warn_of(tokenizer):
    model = fill(make(tokenizer, tied_head=False), scale=0.6)
    model.generation = model.generation_config(max_new_tokens=4)
    told = kt.GenerationConfig(**{**vars(model.generation), "temperature": 0.6, "top_p": 0.9, "length_penalty": 2.0})
    model.generation = told
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.translate("the cat")
        model._task_params = lambda: {"summarization": {"num_beams": 3, "early_stopping": True, "length_penalty": 3.0}}
        model.summarize(["the cat"])
        model.summarize(["the cat"], num_beams=1)
        assert not [each for each in caught if "changes nothing" in str(each.message)]
        model.summarize(["the cat"], num_beams=1, length_penalty=0.5)
        assert [each for each in caught if "length_penalty=0.5 changes nothing" in str(each.message)]


@once
def test_lengths_are_of_numbers():
    assert names_a_limit({"max_new_tokens": np.int64(3)}) and not names_a_limit({"max_length": None})
