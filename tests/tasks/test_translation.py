"""Translating as people do: languages, prefixes, documents, what is unknown; scores and alignments."""

import re
import warnings

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.tasks import alignment
from keras_transformers.tasks.scoring import pair_log_probabilities
from keras_transformers.tokenizers.languages import LANGUAGE_RULES
from tests.layers.reference import fill
from tests.tasks.test_seq2seq_lm import SOURCES, TARGETS, make

once = pytest.mark.one_backend("torch")


def translator(languages=(), **settings):
    tokenizer = kt.Tokenizer.train(SOURCES + TARGETS, vocabulary_size=300)
    if languages:
        tokenizer.add_tokens(list(languages), special=True)
    return fill(make(tokenizer, tied_head=False, **settings), scale=0.6)


@pytest.fixture(scope="module")
def model():
    return translator()


def codes(default):
    rules = next(rules for rules in LANGUAGE_RULES if rules.default == default and rules.codes)
    return [rules.token.format(code) for code in rules.codes]


@pytest.fixture(scope="module")
def multilingual():
    """A model that is forced to write a language first."""
    return translator(codes("en"))


OPTIONS = {"max_new_tokens": 8, "num_beams": 2}


# --- languages ---


@once
def test_a_language_is_forced(multilingual):
    tokenizer = multilingual.tokenizer
    assert tokenizer.language_place == "forced"
    english, french = tokenizer.languages["en"], tokenizer.languages["fr"]
    results = multilingual.translate(SOURCES, "English", "French", **OPTIONS)
    sources = [[english, *ids, tokenizer.end_id] for ids in tokenizer.encode(SOURCES)]
    config = multilingual.generation_config(forced_start_id=french, **OPTIONS)
    generated = multilingual.generate(sources, config)
    assert (generated.token_ids[:, 0] == french).all()
    assert results == tokenizer.decode(generated.token_ids)
    for source, target in (("en", "fr"), ("eng", "fra"), ("__en__", "__fr__"), (None, "french")):
        assert multilingual.translate(SOURCES, source, target, **OPTIONS) == results
    assert multilingual.translate(SOURCES, "German", "French", **OPTIONS) != results
    assert multilingual.translate(SOURCES, "English", "German", **OPTIONS) != results
    assert "".join(multilingual.stream(SOURCES[0], "en", "fr", max_new_tokens=8)) == multilingual.translate(
        SOURCES[0], "en", "fr", max_new_tokens=8, num_beams=1
    )
    assert multilingual.translate(SOURCES[0], forced_start_id=french, **OPTIONS) == results[0]


@once
def test_a_language_that_is_missing_or_unknown(multilingual, model):
    with pytest.raises(ValueError, match="Expected target_language to be one of the 100 languages .* got None"):
        multilingual.translate("a", "English")
    with pytest.raises(ValueError, match="source_language to be one of the 100 languages .*got 'Klingon'.* fr,"):
        multilingual.translate("a", "Klingon", "French")
    with pytest.raises(
        ValueError, match="Expected no target_language, or its own, got 'French': this model is told no"
    ):
        model.translate("a", target_language="French")


@once
def test_a_language_to_start_with():
    translating = translator(codes("en_XX"))
    tokenizer = translating.tokenizer
    assert tokenizer.language_place == "start"
    romanian = tokenizer.languages["ro_RO"]
    sources = tokenizer.encode_sources(SOURCES, "en_XX")
    generated = translating.generate(sources, translating.generation_config(start_id=romanian, **OPTIONS))
    assert translating.translate(SOURCES, "English", "Romanian", **OPTIONS) == tokenizer.decode(generated.token_ids)
    with pytest.raises(ValueError, match="target_language to be one of the 25"):
        translating.translate(SOURCES, "English", **OPTIONS)


@once
def test_a_language_in_the_source():
    translating = translator([">>fra<<", ">>deu<<"])
    results = translating.translate(SOURCES, "English", "French", **OPTIONS)
    assert translating.translate([f">>fra<<{text}" for text in SOURCES], **OPTIONS) == results
    assert translating.translate(SOURCES, target_language="German", **OPTIONS) != results


class Origin:
    """What a model remembers of its `config.json`."""

    def __init__(self, **params):
        self.values = {"task_specific_params": params}


@once
def test_words_before_the_source():
    """As T5 wants them, with the settings that it has for them."""
    translating = translator(max_length=80)
    translating.origin = Origin(
        translation_en_to_fr={"prefix": "a cat ", "num_beams": 3, "max_length": 7},
        translation_en_to_de={"prefix": "a dog ", "num_beams": 1, "max_length": 5},
        summarization={"prefix": "the ", "num_beams": 2, "max_length": 6, "min_length": 5},
    )
    texts = ["red house", "the car", " "]
    expected = translating.translate(["a cat red house", "a cat the car", ""], num_beams=3, max_length=7)
    assert translating.translate(texts, "English", "French") == expected
    assert translating.translate(texts, target_language="fra") == expected
    assert translating.translate(texts, "en", "fr", num_beams=1, max_length=9) == translating.translate(
        ["a cat red house", "a cat the car", ""], num_beams=1, max_length=9
    )
    with pytest.raises(
        ValueError, match="target_language to be one of the 2 languages .*got 'Russian'. They are: fr, de"
    ):
        translating.translate(texts, "English", "Russian")
    with pytest.raises(ValueError, match="got 'English' and None. The model knows: en to fr, en to de"):
        translating.translate(texts, "English")
    expected = translating.translate(["the red house", "the the car", " "], num_beams=2, max_length=6, min_length=5)
    assert translating.summarize(texts) == expected
    assert translating.summarize(texts[0]) == expected[0]
    summary, score = translating.summarize(texts[0], return_scores=True)
    assert summary == expected[0] and score < 0


@once
def test_a_model_of_one_pair_knows_it(model):
    translating = translator()
    translating.tokenizer._options |= {"source_lang": "eng", "target_lang": "fra"}
    results = translating.translate(SOURCES, **OPTIONS)
    assert translating.translate(SOURCES, "English", "fr", **OPTIONS) == results
    with pytest.raises(ValueError, match="or its own, fra, got 'de': this model translates from eng to fra"):
        translating.translate(SOURCES, "English", "de")


# --- prefixes ---


@pytest.mark.each_keras
def test_translations_begin_as_they_are_told(model):
    prefixes = ["une", "", "le chat rouge", "le", "une", "", "x", "Je"]
    results, scores = model.translate(SOURCES, prefix=prefixes, return_scores=True, **OPTIONS)
    assert all(result.startswith(prefix) for result, prefix in zip(results, prefixes, strict=True))
    assert results[1] == model.translate(SOURCES[1], **OPTIONS) and max(scores) < 0
    together = model.translate(SOURCES, prefix="une", **OPTIONS)
    assert all(result.startswith("une") for result in together) and together[0] == results[0]


@once
def test_a_prefix_is_the_decoders_prompt(model):
    """One token at a time: what follows is what would follow if the model had written it."""
    config = model.generation_config(max_new_tokens=10)
    (source,) = model.encode_sources(SOURCES[4:5])
    whole = model.generate([source], config).token_ids[0].tolist()
    for length in (1, 3):
        rest = model.generate([source], config, prefixes=[whole[:length]]).token_ids[0].tolist()
        assert rest[: len(whole) - length] == whole[length:]
    with pytest.raises(ValueError, match="Expected one prefix, or one for each of 8 texts, got 2"):
        model.translate(SOURCES, prefix=["a", "b"])


@once
def test_prefixes_in_a_model_of_languages(multilingual):
    results = multilingual.translate(SOURCES[:2], "English", "French", prefix=["une", ""], **OPTIONS)
    assert results[0].startswith("une")
    assert results[1] == multilingual.translate(SOURCES[1], "English", "French", **OPTIONS)


# --- what limits a result is said ---


@once
def test_unknown_tokens_are_said():
    tokenizer = kt.Tokenizer.train(SOURCES + TARGETS, kind="wordpiece", vocabulary_size=300)
    translating = fill(make(tokenizer, tied_head=False), scale=0.6)
    expected = "3 tokens in 2 of 4 texts are unknown to this model, which cannot translate them: 'жж', '\U0001f600'."
    with pytest.warns(UserWarning, match=re.escape(expected)) as caught:
        translating.translate(["a cat", "жж cat жж", "a \U0001f600", ""], max_new_tokens=3)
    (told,) = (each for each in caught if "unknown" in str(each.message))
    assert told.filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*unknown")
        translating.translate(["a cat", ""], max_new_tokens=3)


# --- documents ---


@once
def test_a_document_keeps_its_form(model):
    options = {"num_beams": 1, "max_new_tokens": 30}
    text = "  The house. The cat!\n\n\n* I see a dog.\n-----\n\tthe car\r\n"
    sentences = ["The house.", "The cat!", "I see a dog.", "the car"]
    said = model.translate(sentences, **options)
    done = []
    result = model.translate_document(text, progress=done.append, **options)
    assert result == "  {} {}\n\n\n* {}\n-----\n\t{}\r\n".format(*said) and sum(done) == 5
    assert model.translate_document([text, "", "\n"], **options) == [result, "", "\n"]
    with pytest.raises(ValueError, match="Expected num_return_sequences=1 for a document, got 2"):
        model.translate_document(text, num_beams=2, num_return_sequences=2)
    with pytest.raises(TypeError, match="Expected"):
        model.translate_document([3])


@once
def test_a_line_of_a_million_characters_is_translated_whole(model, monkeypatch):
    """By a model that repeats what it reads, so that each word can be counted; nothing is cut, so nothing warns."""
    seen = []

    def repeat(sources, config, batch_size, numbers, **given):
        seen.extend(map(len, sources))
        rows = [np.array(ids) for ids in sources]
        padded = np.zeros((len(rows), max(map(len, rows))), "int32")
        for into, row in zip(padded, rows, strict=True):
            into[: len(row)] = row
        return kt.generation.Generated(padded, np.array(list(map(len, rows))))

    monkeypatch.setattr(model, "generate", repeat)
    for unit in ("the cat ", "x", "the cat, "):
        text = (unit * 1_000_000)[:100_000].strip()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert model.translate_document(text, batch_size=512) == text
    assert max(seen) <= 40


# --- scores of given translations ---


@pytest.mark.each_keras
@pytest.mark.parametrize("batch_size", [32, 3])
def test_scores_are_log_probabilities_of_the_labels(model, batch_size):
    scores = model.score(SOURCES, TARGETS, batch_size=batch_size)
    parts = model.score(SOURCES, TARGETS, per_token=True, batch_size=batch_size)
    assert scores.shape == (8,) and np.allclose(scores, [each.sum() for each in parts], rtol=1e-5)
    tokenizer = model.tokenizer
    for row in (0, 4):
        (source,), (label,) = tokenizer.encode_sources([SOURCES[row]]), tokenizer.encode_targets([TARGETS[row]])
        x = {"token_ids": np.array([source]), "decoder_token_ids": np.array([[tokenizer.start_id, *label[:-1]]])}
        logits = ops.convert_to_numpy(model(x))[0].astype("float64")
        expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        np.testing.assert_allclose(parts[row], expected[np.arange(len(label)), label], rtol=1e-4, atol=1e-5)
    assert model.score(SOURCES[0], TARGETS[0]) == pytest.approx(scores[0], rel=1e-5)


@once
def test_a_beam_search_scores_as_score_does(model):
    options = {"length_penalty": 0.0, "max_new_tokens": 30, "num_beams": 3, "forced_end_id": model.tokenizer.end_id}
    sources = model.encode_sources(SOURCES[:4])
    generated = model.generate(sources, model.generation_config(**options, renormalize_logits=False))
    for source, ids, length, score in zip(sources, *generated[:3], strict=True):
        ids = ids[:length].tolist()
        parts = pair_log_probabilities(model, [source], [ids], start_id=model.generation.start_id, batch_size=1)
        forced = length == 30  # the last token then costs nothing
        assert score == pytest.approx(parts[0][:-1].sum() if forced else parts[0].sum(), rel=1e-4)


@once
def test_pairs_that_do_not_fit(model):
    assert model.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="Expected as many targets as sources, got 1 for 2"):
        model.score(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="Expected as many"):
        model.score("a", ["c"])
    with pytest.raises(ValueError, match="some text in each source, got an empty one at index 1"):
        model.score(["a", " "], ["c", "d"])
    with pytest.raises(ValueError, match="Expected targets of at most 40 tokens.*at index 0"):
        model.score(["a"], ["le chat " * 40])


# --- alignments ---


@once
def test_an_alignment_is_the_attention_by_words(model):
    source, target = "The red house.", "La maison est rouge."
    alignment = model.align(source, target)
    assert alignment.source_words == ["The", "red", "house", "."]
    assert alignment.target_words == ["La", "maison", "est", "rouge", "."]
    for text, words, spans in (
        (source, alignment.source_words, alignment.source_spans),
        (target, alignment.target_words, alignment.target_spans),
    ):
        assert [text[begin:end] for begin, end in spans] == words
    assert [target_word for _, target_word in alignment.pairs] == list(range(5))
    assert [source_word for source_word, _ in alignment.pairs] == alignment.scores.argmax(axis=1).tolist()
    tokenizer = model.tokenizer
    (ids,), (label,) = tokenizer.encode_sources([source]), tokenizer.encode_targets([target])
    x = {"token_ids": np.array([ids]), "decoder_token_ids": np.array([[tokenizer.start_id, *label]])}
    scores = model.backbone(x, return_attention_scores=True)["cross_attention_scores"][0]
    mean = ops.convert_to_numpy(scores)[0].mean(axis=0)
    (first_token,) = tokenizer.encode(["La"])
    expected = mean[1 : 1 + len(first_token)].mean(axis=0)
    of_words = [bool(tokenizer.decode([i]).strip()) for i in ids[:-1]]  # some tokens are a space
    assert alignment.scores[0].sum() == pytest.approx(expected[:-1][of_words].sum(), rel=1e-4)
    surer = model.align(source, target, method="both")
    assert set(surer.pairs) <= set(alignment.pairs)
    assert all(alignment.scores[:, i].argmax() == j for i, j in surer.pairs)
    both = model.align([source, "the cat"], [target, ""])
    assert both[0].pairs == alignment.pairs and both[1].pairs == [] and both[1].scores.shape == (0, 2)


@pytest.mark.each_keras
def test_alignments_in_batches_are_those_of_each(model, monkeypatch):
    sources = [*SOURCES, "The small house is red and the cat sleeps in it."]
    targets = [*TARGETS, ""]
    alone = [model.align(*pair) for pair in zip(sources, targets, strict=True)]
    done = []
    together = model.align(sources, targets, batch_size=4, progress=done.append)
    assert sum(done) == len(sources) and max(done) == 4
    monkeypatch.setattr(alignment, "CHUNK", 1)
    done.clear()
    assert [each.pairs for each in model.align(sources, targets, progress=done.append)] == [e.pairs for e in alone]
    assert done == [1] * len(sources)
    for one, other in zip(alone, together, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    assert model.align([], []) == []


@once
def test_a_target_as_long_as_the_positions_is_aligned():
    short = translator(max_length=16)
    target = next(" a" * n for n in range(20) if len(short.tokenizer.encode_targets([" a" * n])[0]) == 16)
    assert len(short.align("the cat", target).target_words) == target.count("a")


@once
def test_words_of_an_alignment():
    from keras_transformers.tasks.alignment import membership, words

    text = "L'homme, vice-roi: 我爱 Tokyo東京 3.5!"
    assert [text[begin:end] for begin, end in words(text)] == [
        "L'homme", ",", "vice-roi", ":", "我", "爱", "Tokyo", "東", "京", "3", ".", "5", "!",
    ]  # fmt: skip
    tokens = np.array([[0, 2], [2, 7], [7, 9], [8, 9]])
    spans = np.array([[0, 7], [7, 8]])
    assert membership(tokens, spans).tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]


@once
def test_what_cannot_be_aligned(model):
    with pytest.raises(ValueError, match="Expected layer to be None or from -1 to 0, got 1"):
        model.align("a", "b", layer=1)
    with pytest.raises(ValueError, match='method to be "argmax" or "both"'):
        model.align("a", "b", method="mean")


@once
def test_the_embedded_translator_aligns_words():
    translating = kt.Seq2SeqLM.from_preset("english-french")
    alignment = translating.align("The small house is red.", "La petite maison est rouge.")
    pairs = [(alignment.source_words[i], alignment.target_words[j]) for i, j in alignment.pairs]
    assert {("small", "petite"), ("house", "maison"), ("is", "est"), ("red", "rouge")} <= set(pairs)
    assert translating.score("The house is small.", "La maison est petite.") > translating.score(
        "The house is small.", "Le chat dort."
    )


# --- words that have to occur ---


@pytest.mark.each_keras
def test_forced_words_occur(model):
    options = {"num_beams": 4, "max_new_tokens": 30}
    words = [["chien"], [], ["voiture bleue", "le"], []]
    results, scores = model.translate(SOURCES[:4], forced_words=words, return_scores=True, **options)
    assert all(f" {word}" in result for result, each in zip(results, words, strict=True) for word in each)
    assert min(scores) > -1000
    assert not any(
        word in result for word in ("chien", "voiture") for result in model.translate(SOURCES[:4], **options)
    )


@once
def test_forced_words_and_prefixes(model):
    options = {"num_beams": 4, "max_new_tokens": 30}
    (result,) = model.translate(SOURCES[:1], prefix="une maison", forced_words="chien", **options)
    assert result.startswith("une maison") and " chien" in result
    assert model.translate(SOURCES[0], prefix="une maison", forced_words=["maison"], **options).startswith("une maison")
    with pytest.raises(ValueError, match="a list of forced words, or one for each of 8 texts, got 2"):
        model.translate(SOURCES, forced_words=[["a"], ["b"]], **options)
    with pytest.raises(ValueError, match="Expected forced words that the model can write, got ' '"):
        model.translate(SOURCES, forced_words=[" "], **options)
    with pytest.raises(ValueError, match="num_beams of 2 or more"):
        model.translate(SOURCES, forced_words=["le"], num_beams=1)
    never = tuple((token_id,) for token_id in model.tokenizer.encode(["a chien"])[0][1:])
    with pytest.warns(UserWarning, match="1 of 1 results could not be made with the words"):
        assert model.translate(SOURCES[0], forced_words=["chien"], bad_words_ids=never, **options) == ""
