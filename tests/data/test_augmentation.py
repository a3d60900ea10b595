"""Changed copies of sentence pairs."""

import pytest

from keras_transformers.data import Augmentation, augment

pytestmark = pytest.mark.one_backend("torch")

SOURCES = ["Tom is here.", "Where is it?", "The cat sleeps."]
TARGETS = ["Tom est ici.", "Où est-ce ?", "Le chat dort."]


def added(**shares):
    sources, targets, counts = augment(SOURCES, TARGETS, Augmentation(**shares))
    assert (sources[:3], targets[:3]) == (SOURCES, TARGETS)
    return list(zip(sources[3:], targets[3:], strict=True)), counts


def test_each_kind_changes_both_sides_alike():
    assert ("WHERE IS IT?", "OÙ EST-CE ?") in added(capitals=1.0)[0]
    assert ("where is it?", "Où est-ce ?") in added(lowercase=1.0)[0]
    assert ("Where is it", "Où est-ce") in added(unfinished=1.0)[0]
    joined, counts = added(joined=1.0)
    assert counts["joined"] == 3
    for source, target in joined:
        parts = [(one, other) for one in range(3) for other in range(3)]
        assert (source, target) in [
            (f"{SOURCES[one]} {SOURCES[other]}", f"{TARGETS[one]} {TARGETS[other]}") for one, other in parts
        ]


def test_a_mark_is_the_same_on_both_sides():
    names = 0
    for seed in range(20):
        for source, target in added(marked=1.0, seed=seed)[0]:
            original = next((pair for pair in zip(SOURCES, TARGETS, strict=True) if pair[0] in source), None)
            if original is None:  # the name that both sides share was replaced
                mark = source.removesuffix(" is here.")
                assert target == f"{mark} est ici." and mark != "Tom"
                names += 1
            else:
                assert source.replace(original[0], "") == target.replace(original[1], "") != ""
    assert names > 5


def test_shares_are_shares_and_the_seed_decides():
    pairs = [f"Line {number}." for number in range(100)]
    sources, _, counts = augment(pairs, pairs, Augmentation(capitals=0.1, marked=0.25))
    assert (
        counts == {"capitals": 10, "lowercase": 0, "unfinished": 0, "joined": 0, "marked": 25} and len(sources) == 135
    )
    assert augment(pairs, pairs, Augmentation(capitals=0.1, marked=0.25))[0] == sources
    assert augment(pairs, pairs, Augmentation(capitals=0.1, marked=0.25, seed=1))[0] != sources
    assert augment([], [], Augmentation(joined=1.0)) == (
        [],
        [],
        {"capitals": 0, "lowercase": 0, "unfinished": 0, "joined": 0, "marked": 0},
    )
    with pytest.raises(ValueError, match="joined"):
        Augmentation(joined=1.5)


def test_an_unchanged_or_empty_copy_is_none():
    assert augment(["OK", "..."], ["OK", "..."], Augmentation(capitals=1.0, unfinished=1.0))[0] == ["OK", "..."]


def test_a_mark_replaces_whole_words_alone():
    for seed in range(20):
        added = augment(["In Bonn."], ["Ein Ingenieur aus Bonn."], Augmentation(marked=1.0, seed=seed))[1][1]
        assert "Ingenieur" in added
