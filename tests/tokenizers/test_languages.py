"""Sources and targets of translation models, and their languages."""

import re

import pytest
import tokenizers
from tokenizers import models, processors

from keras_transformers.tokenizers import Tokenizer
from keras_transformers.tokenizers.languages import LANGUAGE_RULES, rules_by_tokens

pytestmark = pytest.mark.one_backend  # no tensor is touched

# start, padding, end and unknown have the ids 0 to 3, "a" to "e" the next five.
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *"abcde"]
A, B = 4, 5


def _tokenizer(languages=(), **config):
    """Of characters, with tokens for languages behind them."""
    engine = tokenizers.Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="<unk>"))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    engine.add_special_tokens(list(languages))
    tokenizer = Tokenizer(engine)
    tokenizer._options |= config
    return tokenizer


def _with(name):
    rules = next(rules for rules in LANGUAGE_RULES if rules.default == name and rules.codes)
    return _tokenizer([rules.token.format(code) for code in rules.codes])


def test_a_text_and_its_end():
    tokenizer = _tokenizer()
    assert tokenizer.encode_sources(["ab", ""]) == [[A, B, 2], [2]]
    assert tokenizer.encode_targets(["ab", ""]) == [[A, B, 2], [2]]
    assert (tokenizer.languages, tokenizer.language_place) == ({}, None)
    assert (tokenizer.source_language, tokenizer.target_language) == (None, None)


def test_what_the_engine_puts_around_counts_unless_it_ends_nothing():
    tokenizer = _tokenizer()
    around = processors.TemplateProcessing(single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.engine.post_processor = around
    assert tokenizer.encode_sources(["ab"]) == tokenizer.encode_targets(["ab"]) == [[0, A, B, 2]]
    assert tokenizer.encode_sources(["abab"], max_length=4) == [[0, A, B, 2]]
    starts = processors.TemplateProcessing(single="<s> $A", pair="$A $B", special_tokens=[("<s>", 0)])
    other = _tokenizer()
    other.engine.post_processor = starts
    assert other.encode_sources(["ab"]) == [[A, B, 2]]


def test_the_end_stays_when_a_text_is_cut():
    tokenizer = _tokenizer()
    assert tokenizer.encode_sources(["ababa", "a", "ab"], max_length=3) == [[A, B, 2], [A, 2], [A, B, 2]]
    assert tokenizer.encode_targets(["ababa"], max_length=1) == [[2]]
    with pytest.raises(ValueError, match="Expected max_length of at least 1, for the tokens around a text, got 0."):
        tokenizer.encode_sources(["a"], max_length=0)


@pytest.mark.parametrize(
    ("tokens", "place", "count"),
    [
        (["ab_CD"], None, 0),  # not the languages of any class
        ([">>fra<<", ">>deu<<", "<x>"], "source", 2),
        (LANGUAGE_RULES[0].codes, "start", 25),
        (LANGUAGE_RULES[1].codes, "forced", 52),
        ([f"__{code}__" for code in LANGUAGE_RULES[2].codes], "forced", 100),
        ([f"__{code}__" for code in LANGUAGE_RULES[3].codes], "forced", 8),
        ([*LANGUAGE_RULES[4].codes, "abc_Defg"], "forced", 203),
    ],
)
def test_languages_are_found_among_the_special_tokens(tokens, place, count):
    tokenizer = _tokenizer(tokens)
    assert (tokenizer.language_place, len(tokenizer.languages)) == (place, count)
    assert list(tokenizer.languages.values()) == list(range(9, 9 + count))
    assert rules_by_tokens([]) is rules_by_tokens([("</s>", 2)])


def test_a_language_in_front_of_both_sides():
    tokenizer = _with("eng_Latn")
    english, french = tokenizer.languages["eng_Latn"], tokenizer.languages["fra_Latn"]
    assert tokenizer.encode_sources(["ab"]) == [[english, A, B, 2]]
    assert tokenizer.encode_sources(["ab"], "fra_Latn", max_length=3) == [[french, A, 2]]
    assert tokenizer.encode_targets(["ab"], "fra_Latn") == [[french, A, B, 2]]
    with pytest.raises(ValueError, match=re.escape("got 'fra_Latn': this tokenizer puts none in a source.")):
        tokenizer.encode_sources(["ab"], target_language="fra_Latn")
    with pytest.raises(ValueError, match="Expected target_language to be one of the 202 languages .*, got None"):
        tokenizer.encode_targets(["ab"])
    tokenizer.target_language, tokenizer.source_language = "fra_Latn", "deu_Latn"
    assert tokenizer.encode_targets(["ab"]) == [[french, A, B, 2]]
    assert tokenizer.encode_sources(["ab"]) == [[tokenizer.languages["deu_Latn"], A, B, 2]]


def test_a_language_behind_both_sides():
    tokenizer = _with("en_XX")
    assert tokenizer.encode_sources(["ab", ""]) == [[A, B, 2, 12], [2, 12]]
    assert tokenizer.encode_targets(["abab"], "ro_RO", max_length=4) == [[A, B, 2, tokenizer.languages["ro_RO"]]]


def test_the_target_s_language_in_the_source():
    tokenizer = _tokenizer([">>fra<<", ">>deu<<"])
    assert tokenizer.encode_sources(["ab"], target_language=">>deu<<") == [[10, A, B, 2]]
    assert tokenizer.encode_sources(["ab"], target_language="deu") == [[10, A, B, 2]]
    assert tokenizer.encode_sources([">>fra<<ab", "ab"]) == [[9, A, B, 2], [A, B, 2]]
    assert tokenizer.encode_targets(["ab"]) == [[A, B, 2]]
    with pytest.raises(ValueError, match=re.escape("got 'fra': the model is told the target's alone.")):
        tokenizer.encode_sources(["ab"], "fra")
    tokenizer.target_language = "fra"
    assert tokenizer.encode_sources(["ab"]) == [[9, A, B, 2]]


def test_a_token_names_its_language_too():
    tokenizer = _with("en")
    assert tokenizer.encode_sources(["a"], "__fr__") == tokenizer.encode_sources(["a"], "fr")


def test_languages_are_kept(tmp_path):
    tokenizer = _with("eng_Latn")
    tokenizer.source_language, tokenizer.target_language = "deu_Latn", "fra_Latn"
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.languages == tokenizer.languages
    assert (again.source_language, again.target_language) == ("deu_Latn", "fra_Latn")
    again.add_tokens(["abc_Defg"], special=True)
    assert "abc_Defg" in again.languages


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("French", "fr_XX"), ("fr", "fr_XX"), ("en_xx", "en_XX"), ("ro_R0", "ro_RO"), (7, "ar_AR")]
)
def test_an_unknown_language_is_told_those_that_are_known(wrong, nearest):
    tokenizer = _with("en_XX")
    message = f"Expected source_language to be one of the 25 languages that this tokenizer knows, got {wrong!r}. They "
    with pytest.raises(ValueError, match=re.escape(f"{message}are: {nearest}, ")) as error:
        tokenizer.encode_sources(["a"], wrong)
    assert all(code in str(error.value) for code in tokenizer.languages)


def test_a_language_for_a_tokenizer_without():
    with pytest.raises(ValueError, match="Expected no target_language, got 'fr': this tokenizer has no tokens for la"):
        _tokenizer().encode_targets(["a"], "fr")
    broken = _with("en_XX")
    broken._options["src_lang"] = "xx"
    with pytest.raises(ValueError, match=re.escape("Expected src_lang in tokenizer_config.json to be one of the 25")):
        broken.encode_sources(["a"])
