"""Each rule of cleaning takes what it is for, and is counted; off, it takes nothing."""

import dataclasses

import pytest

from keras_transformers.data.cleaning import RULES, Cleaning, clean, common_scripts, script_share

pytestmark = pytest.mark.one_backend("torch")

GOOD = [(f"Sentence {number} is here.", f"Предложение {number} стоит тут.") for number in range(50)]
BAD = {
    "empty": (" ", "Слово."),
    "long": ("word " * 300, "слово " * 300),
    "lengths": ("A short one.", "Очень длинное предложение, в котором куда больше слов, чем там."),
    "script": ("This is English.", "This is English too."),
    "copy": ("1234567", "1234567"),
    "duplicate": GOOD[3],
    "held out": ("Where is it?", "Где это находится?"),
}
HELD_OUT = [("where is it", "Куда?")]
OFF = {
    "long": {"max_characters": None},
    "lengths": {"max_ratio": None},
    "script": {"min_script_share": 0.0},
    "copy": {"copies": True},
    "duplicate": {"duplicates": True},
    "held out": {"held_out": True},
}


def cleaned(pairs, **changes):
    sources, targets = zip(*pairs, strict=True)
    return clean(list(sources), list(targets), dataclasses.replace(Cleaning(), **changes), HELD_OUT)


def test_each_rule_takes_its_pair_and_no_other():
    assert list(BAD) == list(RULES)
    result = cleaned([*GOOD, *BAD.values()])
    assert result.dropped == dict.fromkeys(RULES, 1)
    assert list(zip(result.sources, result.targets, strict=True)) == GOOD
    lines = result.table().splitlines()
    assert lines[0].split() == ["read", "57", "100.00%"] and lines[-1].split() == ["kept", "50", "87.72%"]


@pytest.mark.parametrize("rule", OFF)
def test_a_rule_that_is_off_takes_nothing(rule):
    result = cleaned([*GOOD, BAD[rule]], **OFF[rule])
    assert result.dropped == dict.fromkeys(RULES, 0) and len(result.sources) == 51


def test_lengths_are_measured_by_how_the_whole_text_is():
    pairs = [("word " * 10 + str(number), "字" * 12 + str(number)) for number in range(20)]
    assert cleaned(pairs).dropped["lengths"] == 0
    assert cleaned([*pairs, ("word " * 10, "字" * 60)]).dropped["lengths"] == 1


def test_scripts_are_those_of_the_text_or_those_that_are_given():
    japanese = ["日本語のテキストです", "カタカナ"]
    assert common_scripts(japanese) == {"CJK", "HIRAGANA", "KATAKANA"}
    assert script_share("Привет, world 12", {"CYRILLIC"}) == 6 / 11 and script_share("12!", {"LATIN"}) == 1.0
    mixed = [("Hello there.", "Hello there again.")] * 3 + GOOD
    assert cleaned(mixed[:4]).dropped["script"] == 0
    assert cleaned(mixed[:4], target_scripts=("CYRILLIC",)).dropped["script"] == 3


def test_nothing_is_left_of_nothing():
    assert clean([], []).sources == []
