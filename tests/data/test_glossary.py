"""Terms that a text has, and those that its translation lacks."""

import time

import pytest

from keras_transformers.data.glossary import Glossary

pytestmark = pytest.mark.one_backend("torch")


def test_terms_are_found_as_whole_words():
    glossary = Glossary({"house": "demeure", "house cat": "chat domestique", "US": "États-Unis", "us": "nous"})
    assert glossary.found("The House of houses") == [("house", "demeure")]
    assert glossary.found("A house\ncat in the US.") == [("house cat", "chat domestique"), ("US", "États-Unis")]
    assert glossary.found("US, us, Us: US") == [("US", "États-Unis"), ("us", "nous")]
    assert Glossary([("US", "x")]).found("for us") == []
    assert Glossary({"猫": "cat"}).found("这只猫很小") == [("猫", "cat")]
    assert Glossary({"C++": "C++", ".NET": "dotNET"}).found("C++ and .NET, not C") == [
        ("C++", "C++"),
        (".NET", "dotNET"),
    ]
    assert Glossary({"straße": "rue"}).found("STRASSE") == []
    assert Glossary({"café": "coffee"}).found("un cafe\u0301 noir") == [("café", "coffee")]
    assert Glossary({"don't": "ne"}).found("I don’t") == [("don't", "ne")]
    assert Glossary({"北京": "Beijing", "AI": "IA"}).found("我在北京学AI。") == [("北京", "Beijing"), ("AI", "IA")]


def test_large_glossaries_are_quick():
    glossary = Glossary({f"word{number}": str(number) for number in range(5000)})
    begin = time.perf_counter()
    assert len(glossary.found(" ".join(f"word{number}" for number in range(0, 8000, 4)))) == 1250
    assert time.perf_counter() - begin < 1


def test_a_translation_lacks_terms():
    glossary = Glossary({"house": "demeure", "cat": "chat noir"})
    assert glossary.missing("The cat's house", "La Demeure du chat  noir") == []
    assert glossary.missing("The cat's house", "La maison") == [("cat", "chat noir"), ("house", "demeure")]
    assert glossary.missing("A house", "Les demeures") == []  # with an ending
    assert Glossary({"art": "art"}).missing("Art?", "Une partie.") == [("art", "art")]  # inside of another word
    assert Glossary({"street": "Straße", "cat": "猫"}).missing("A cat in the street", "STRASSE 黒猫") == []
    assert glossary == Glossary.of(glossary) == Glossary.of([["house", "demeure"], ["cat", "chat  noir"]])
    assert "demeure" in repr(glossary)


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ("house", TypeError, "Expected a dictionary of terms and their translations, got 'house'"),
        (3, TypeError, "Expected a dictionary of terms"),
        ({"house": 3}, TypeError, r"Expected a term and its translation, two texts, got \('house', 3\)"),
        (["ab"], TypeError, "two texts, got 'ab'"),
        ({"house": " "}, ValueError, "with nothing on one side"),
        ([("a", "b"), ("a", "c")], ValueError, "Expected one translation of each term, got 'b' and 'c' for 'a'"),
        ({}, ValueError, "Expected at least one term in a glossary, got none"),
    ],
)
def test_mistakes(terms, error, message):
    with pytest.raises(error, match=message):
        Glossary(terms)
