"""Checks of translations: each kind is found, and what only looks like it is not."""

import pytest

import keras_transformers as kt
from keras_transformers.data.translation_checks import KINDS, TranslationChecks, check_translations

pytestmark = pytest.mark.one_backend("torch")
FINE = [
    ("The dog barks at the cat.", "Le chien aboie contre le chat."),
    ("I bought a red car yesterday.", "J'ai acheté une voiture rouge hier."),
    ("Microsoft Windows", "Microsoft Windows"),
    ("No, no, no!", "Non, non, non !"),
    ("", ""),
    ("Hahahahahahahaha!", "Hahahahahahahaha !"),
    ("12:30", "12:30"),
]
WRONG = {
    "empty": ("Who wrote the book?", " "),
    "short": ("She told me that she would not come to the party on Friday.", "Elle."),
    "long": ("Come here.", "Viens ici, mon ami, parce que je veux te montrer quelque chose de beau."),
    "repeated": ("He is at home now.", "Il est à la à la à la maison."),
    "untranslated": ("The house is small and red.", "the house is small, and red"),
    "script": ("We live in a big house.", "Мы живём в большом доме."),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_kind_is_found(kind):
    sources, translations = zip(*FINE * 2, WRONG[kind], strict=True)
    report = check_translations(sources, translations)
    assert report.found == {name: int(name == kind) for name in KINDS}
    assert (report.checked, report.failed) == (2 * len(FINE) + 1, 1)
    (suspect,) = report.first[kind]
    assert suspect == (2 * len(FINE) + 1, *WRONG[kind], None)


def test_a_stutter_within_a_word():
    assert check_translations(["A dog."], ["Un chiennnnnnnnn."]).found["repeated"] == 1
    assert check_translations(["狗在家。"], ["犬犬犬犬"]).found["repeated"] == 1


def test_references_say_what_is_usual():
    sources, translations = ["We live in a big house."] * 3, ["Мы живём в большом доме."] * 3
    assert check_translations(sources, translations).failed == 0
    report = check_translations(sources, translations, references=["Nous vivons dans une grande maison."] * 3)
    assert report.found["script"] == 3


def test_scores_switches_and_the_first_lines():
    sources, translations = zip(*[WRONG["untranslated"]] * 9, strict=True)
    checks = TranslationChecks(max_copied_share=None, min_score=-1.0, examples=2)
    report = kt.data.check_translations(sources, translations, scores=[-0.5, *[-2.0] * 8], checks=checks)
    assert report.found == dict.fromkeys(KINDS, 0) | {"low score": 8}
    assert [each.line for each in report.first["low score"]] == [2, 3]
    assert report.values()["first"]["low score"][0]["score"] == -2.0
    assert "low score              8   88.89%" in report.table()
    with pytest.raises(ValueError, match="lists of equal length, got 9, 8 sources"):
        check_translations(sources, translations[:8])
