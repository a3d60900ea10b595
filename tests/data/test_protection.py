"""Placeholders, tags, URLs and addresses survive a translation, wherever it puts them."""

import random
import re
import time
import types

import pytest

from keras_transformers.data import protection
from keras_transformers.data.protection import (
    Masked,
    Protection,
    Words,
    find_parts,
    masked,
    missing,
    patterns,
    restored,
)
from keras_transformers.tasks.protected import translate_protected

pytestmark = pytest.mark.one_backend("torch")

ALL = patterns(True)


@pytest.mark.parametrize(
    "text, parts",
    [
        (
            "Hi {name}, ${total} of {{ all }} and %(n)s, %s, %1$s, {}",
            ["{name}", "${total}", "{{ all }}", "%(n)s", "%s", "%1$s", "{}"],
        ),
        ('<a href="x y">1</a><br/><b>2</b> 3 < 4 > 2', ['<a href="x y">', "</a>", "<br/>", "<b>", "</b>"]),
        (
            "See https://a.org/b?c=1. Or (www.b.org/x), ftp://c.de!",
            ["https://a.org/b?c=1", "www.b.org/x", "ftp://c.de"],
        ),
        ("Ask tom.x+y@mail.example.org, not @tom.", ["tom.x+y@mail.example.org"]),
        ("100 % sure, 50%discount, a & b, {not this\n}", []),
        ('<a href="https://a.org/{x}">', ['<a href="https://a.org/{x}">']),
        ("Hi 👍🏽 👨\u200d👩\u200d👧 🇫🇷❤\ufe0f, 3 × 4 → é …", ["👍🏽", "👨\u200d👩\u200d👧", "🇫", "🇷", "❤\ufe0f"]),
    ],
)
def test_parts_are_found(text, parts):
    assert [part.text for part in find_parts(text, ALL)] == parts


def test_own_patterns_and_wrong_ones():
    assert [part.text for part in find_parts("ACME {x}", patterns(re.compile("ACME")))] == ["ACME"]
    assert list(patterns("urls")) == ["urls"]
    with pytest.raises(
        ValueError, match="Expected protect to name tags, urls, emails, placeholders, emoji, .* got 'url'"
    ):
        patterns(["url"])
    with pytest.raises(TypeError, match="Expected protect to be True, names of tags"):
        patterns(3)


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("I like it 😀", "J'aime ça.", "J'aime ça. 😀"),
        ("😀 Good morning!", "Bonjour !", "😀 Bonjour !"),
        ("It works!😀🎉", "Ça marche !", "Ça marche !😀🎉"),
        ("I love 🍕 a lot", "J'adore beaucoup", "J'adore 🍕 beaucoup"),
    ],
)
def test_an_emoji_keeps_its_place_and_its_spaces(source, translation, expected):
    mask = masked(source, find_parts(source, ALL))
    assert mask.text.strip() == re.sub(r" ?[😀🎉🍕]", "", source).strip()
    spans = [[match.span() for match in re.finditer(r"[\w']+", text)] for text in (mask.text, translation)]
    last = [len(side) - 1 for side in spans]
    words = Words([(last[0], last[1]), (last[0] - 1, last[1])], [], *spans)  # the last words, "a lot", are aligned
    assert restored(mask, translation, words) == (expected, 0)


def test_stand_ins_are_no_words_of_the_text():
    text = "Tom and Sami know {name}{other}."
    mask = masked(text, find_parts(text, ALL))
    assert mask.text == "Tom and Sami know Layla Jim."
    assert restored(mask, "Tom et Sami connaissent Layla Jim.").text == "Tom et Sami connaissent {name} {other}."
    many = " ".join(f"{{{number}}}" for number in range(150))
    assert len({word for word, _ in masked(many, find_parts(many, ALL)).stand_ins}) == 150


def test_a_missing_stand_in_is_appended_and_a_second_one_removed():
    mask = Masked("Tom and Sami", (("Tom", "{a}"), ("Sami", "{b}")))
    assert restored(mask, "Tom, Tom et Tommy") == ("{a}, et Tommy {b}", 1)
    assert missing(mask, "Tom, Tom et Tommy") == 2
    assert restored(mask, "") == ("{a} {b}", 2)


def test_tags_go_to_the_aligned_words():
    text = 'I see <a href="x">the <b>red</b> car</a>.<br/>'
    mask = masked(text, find_parts(text, ALL))
    assert mask.text == "I see the red car."
    source = [(match.start(), match.end()) for match in re.finditer(r"\w+|\.", mask.text)]
    made = "Je vois la voiture rouge."
    target = [(match.start(), match.end()) for match in re.finditer(r"\w+|\.", made)]
    words = Words([(0, 0), (1, 1), (2, 2), (3, 4), (5, 5)], [(4, 3)], source, target)
    assert restored(mask, made, words) == ('Je vois <a href="x">la voiture <b>rouge</b></a>.<br/>', 0)
    assert restored(mask, made) == ('Je vois la voiture rouge.<br/> <a href="x"> <b> </b> </a>', 4)


def test_tags_around_the_whole_text_need_no_alignment():
    text = "<p><i>Hi!</i></p>"
    assert restored(masked(text, find_parts(text, ALL)), "Salut !") == ("<p><i>Salut !</i></p>", 0)


def test_nothing_is_ever_lost():
    chance = random.Random(0)
    pieces = ["{a}", "<b>", "</b>", "<br/>", "https://a.org", "x@y.org", "%s", "word", "Tom", ".", "</i>", "<i>"]
    for _ in range(300):
        text = " ".join(chance.choices(pieces, k=chance.randrange(1, 9)))
        parts = find_parts(text, ALL)
        mask = masked(text, parts)
        made = chance.sample(mask.text.split(), k=chance.randrange(len(mask.text.split()) + 1))
        spans = [match.span() for match in re.finditer(r"\w+|\.", mask.text)]
        found = [match.span() for match in re.finditer(r"\w+|\.", " ".join(made))]
        pairs = [(chance.randrange(len(spans)), n) for n in range(len(found))] if spans else []
        text = restored(mask, " ".join(made), chance.choice([None, Words(pairs, [], spans, found)])).text
        for part in {part.text for part in parts}:
            assert text.count(part) >= [each.text for each in parts].count(part), (mask, made)


@pytest.mark.parametrize(
    "text, parts",
    [
        ('<a href="x" title="a > b">Click</a>', ['<a href="x" title="a > b">', "</a>"]),
        ("<a title='x>y'/> <b x=\"1>2", ["<a title='x>y'/>", '<b x="1>']),
        (
            "{n, plural, one {# day} other {# days}} { x } {{ y }} ${a}",
            ["{n, plural, one {# day} other {# days}}", "{{ y }}", "${a}"],
        ),
        ("<!-- a\nb --> &#39; 50% sure %1$s", ["<!-- a\nb -->", "&#39;", "%1$s"]),
    ],
)
def test_parts_with_parts_inside(text, parts):
    assert [each.text for each in find_parts(text, ALL)] == parts


@pytest.mark.parametrize("piece", ["{", "{a", "<a ", '<a b="', "<!--", "a.", "a@", "http://", "%("])
def test_hostile_texts_take_no_longer_than_others(piece):
    begin = time.perf_counter()
    find_parts(piece * 10_000, ALL)
    assert time.perf_counter() - begin < 2


def test_parts_and_what_became_of_them_are_counted():
    kept = Protection(["placeholders", re.compile("ACME")])
    assert repr(kept) == "Protection(['placeholders', re.compile('ACME')])"
    translate_protected(Copier(), ["{a} ACME", "x"], kept, {})
    with pytest.warns(UserWarning, match="1 protected parts had no place"):
        translate_protected(Copier(("Tom", "Alice", "X1")), ["see {a}"], kept, {"names": ["line 9"]})
    assert kept.values() == {"parts": 3, "appended": 1, "texts": 1, "first": ["line 9"]}
    again = Protection.like(kept)
    again.add(kept.values())
    assert again.values() == kept.values() and again.patterns == kept.patterns


# A model


class Copier:
    """Says each word but some."""

    def __init__(self, forgets: tuple[str, ...] = ()) -> None:
        self.forgets, self.calls = forgets, []

    def translate(self, texts, return_scores, num_return_sequences=1, **options):
        self.calls.append((texts, options))
        made = [" ".join(word for word in text.split() if word not in self.forgets).upper() for text in texts]
        for place, text in enumerate(texts):
            for word in text.split():
                if word not in self.forgets:
                    made[place] = made[place].replace(word.upper(), word)
        if num_return_sequences == 1:
            return made, [-1.0] * len(made)
        return [[each] * num_return_sequences for each in made], [[-1.0] * num_return_sequences] * len(made)


def test_other_stand_ins_are_tried():
    model = Copier(("Tom", "Alice"))
    assert translate_protected(model, ["see {x}", "none", "{y}", ""], True, {"prefix": ["a", "b", "c", "d"]}) == [
        "see {x}",
        "none",
        "{y}",
        "",
    ]
    assert [texts for texts, _ in model.calls] == [["see Tom", "none", ""], ["see Alice"], ["see X1"]]
    assert [options["prefix"] for _, options in model.calls] == [["a", "b", "d"], ["a"], ["a"]]


def test_parts_without_a_place_are_counted():
    model = Copier((*protection.STAND_INS[0], "X1", "X2"))
    with pytest.warns(UserWarning, match=r"2 protected parts had no place in 1 of 2 translations, .* \(line 8\)"):
        made = translate_protected(model, ["none", "see {x} {y}"], True, {"names": ["line 7", "line 8"]})
    assert made == ["none", "see {x} {y}"]


def test_results_have_the_shape_of_translate():
    options = {"num_return_sequences": 2, "return_scores": True}
    assert translate_protected(Copier(), "see {x}", True, options) == (["see {x}"] * 2, [-1.0] * 2)
    assert translate_protected(Copier(), ["see {x}", "{y}"], True, {"return_scores": True}) == (
        ["see {x}", "{y}"],
        [-1.0, 0.0],
    )
    assert translate_protected(Copier(), [], True, {}) == []


def test_tags_are_aligned():
    alignment = types.SimpleNamespace(
        pairs=[(0, 0), (1, 1)], scores=[], source_spans=[[0, 1], [2, 3]], target_spans=[[0, 1], [2, 3]]
    )
    made = translate_protected(Copier(), ["a <b>b</b>"], True, {}, lambda *texts, method: [alignment])
    assert made == ["a <b>b</b>"]
