"""Flat YAML: Marian's options and vocabularies, and all else refused with its line."""

import pytest

from keras_transformers.files import flat_yaml

pytestmark = pytest.mark.one_backend("torch")

TEXT = """# options
dim-vocabs:
  - 32000
  - 31999
input-types:
  []
tied: [1, 2]
transformer-preprocess: ""
skip: false
learn-rate: 0.0003
after: 0e
none: ~
version: v1.9.56 94aeaa46 2021-04-28 00:28:35 +0100
quoted: 'it''s'
"""
VALUES = {
    "dim-vocabs": [32000, 31999],
    "input-types": [],
    "tied": [1, 2],
    "transformer-preprocess": "",
    "skip": False,
    "learn-rate": 0.0003,
    "after": "0e",
    "none": None,
    "version": "v1.9.56 94aeaa46 2021-04-28 00:28:35 +0100",
    "quoted": "it's",
}


def test_options():
    assert flat_yaml.parse(TEXT + "\0junk: [", "model.yml") == VALUES
    assert flat_yaml.parse(flat_yaml.dump(VALUES), "again") == VALUES


def test_vocabularies():
    pieces = [
        "</s>",
        "<unk>",
        ",",
        '"',
        "\\",
        "'",
        ":",
        "- x",
        "#",
        "▁a: b",
        "\u2028",
        "\x92",
        "😀",
        "true",
        "12",
        "~",
        "a b",
    ]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    assert flat_yaml.parse(flat_yaml.dump(numbers), "vocab.yml") == numbers
    text = '"\\x92": 0\n"\\u00e9\\"": 1\n? "long"\n: 2\n</s>: 3\n'
    assert flat_yaml.parse(text, "vocab.yml") == {"\x92": 0, 'é"': 1, "long": 2, "</s>": 3}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "line 2 of x.yml, got 'a' twice"),
        ("a:\n  b: 1", "line 2 of x.yml, got nesting"),
        ("- 1", "an item of no list"),
        ("a: 1\n- 1", "an item of no list"),
        ("nothing", "no key with a value"),
        ("a: &b 1", "no plain scalar"),
        ("a: [[1]]", "lists in a list"),
        ("a: [1", "a list that does not end"),
        ('a: "\\q"', "the escape"),
        ('"\\ud800": 1', "the escape"),
    ],
)
def test_all_else_is_refused(text, problem):
    with pytest.raises(ValueError, match="Expected flat YAML, such as 'enc-depth: 6', in line") as error:
        flat_yaml.parse(text, "x.yml")
    assert problem in str(error.value)
