import numpy as np
import pytest

from keras_transformers.data.batches import Batches
from keras_transformers.data.examples import NO_LABEL, Examples, read_columns
from keras_transformers.data.pairs import Ragged
from tests.tasks.sources import HuggingFaceDataset, framework_sources, sources

# What is read before any backend computes.
pytestmark = pytest.mark.one_backend("torch")

TEXTS = ["one", "two words", "", "four", "five é"]
LABELS = [0, 1, 1, 0, 2]
PAIRS = [("a", "b"), ("c", "d"), ("e f", "g"), ("h", ""), ("i", "j")]


@pytest.mark.parametrize("xs", [TEXTS, PAIRS, TEXTS[:2], PAIRS[:2], TEXTS[:1], PAIRS[:1]])
def test_every_source_gives_the_same(xs):
    ys = LABELS[: len(xs)]
    for name, source in [*sources(xs, ys), *framework_sources(xs, ys)]:
        texts, seconds, labels, weight = read_columns(source)
        assert (texts if seconds is None else list(zip(texts, seconds, strict=True))) == list(xs), name
        assert [int(label) for label in labels] == ys, name
        assert weight.tolist() == [1.0] * len(xs), name
    for source in (xs, tuple(xs), np.array(xs)):
        columns = read_columns(source, ys)
        assert columns.labels == ys and len(columns.texts) == len(xs)
        assert (columns.seconds is None) == isinstance(xs[0], str)


@pytest.mark.parametrize("xs", [TEXTS, PAIRS])
def test_labels_are_left_out_where_none_are_needed(xs):
    ys = LABELS
    for name, source in [*sources(xs, ys), *framework_sources(xs, ys)]:
        if name == "list of pairs":
            continue
        texts, seconds, *_ = read_columns(source, labelled=False)
        assert (texts if seconds is None else list(zip(texts, seconds, strict=True))) == list(xs), name


def test_texts_alone():
    import tensorflow as tf
    import torch

    for source in (
        TEXTS,
        np.array(TEXTS),
        {"text": TEXTS},
        (text for text in TEXTS),
        (TEXTS[n : n + 2] for n in range(0, 5, 2)),
        tf.data.Dataset.from_tensor_slices(TEXTS),
        tf.data.Dataset.from_tensor_slices(TEXTS).batch(2),
        torch.utils.data.DataLoader(TEXTS, batch_size=2),
    ):
        texts, seconds, labels, _ = read_columns(source, labelled=False)
        assert texts == TEXTS and seconds is None and labels is None
    texts, seconds, *_ = read_columns(PAIRS, labelled=False)
    assert list(zip(texts, seconds, strict=True)) == PAIRS
    # if nothing is to be learnt, two strings are a pair
    assert read_columns(iter(PAIRS), labelled=False).seconds == [second for _, second in PAIRS]


def test_words_and_their_labels():
    import tensorflow as tf
    import torch

    words, tags = [["A", "b"], ["c"], ["d", "e"]], [[1, 0], [2], [0, 0]]
    rows = list(zip(words, tags, strict=True))
    ragged = tf.data.Dataset.from_tensor_slices((tf.ragged.constant(words), tf.ragged.constant(tags)))
    for source in (
        {"tokens": words, "ner_tags": tags},
        HuggingFaceDataset({"tokens": words, "tags": tags}),
        rows,
        iter(rows),
        ({"ner_tags": tag, "words": word} for word, tag in rows),
        ((words[n : n + 2], tags[n : n + 2]) for n in (0, 2)),
        tf.data.Dataset.from_generator(
            lambda: rows,
            output_signature=(tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.int32)),
        ),
        ragged,
        ragged.batch(2),
        torch.utils.data.DataLoader(rows, batch_size=None),
    ):
        columns = read_columns(source, words=True)
        assert columns.texts == words
        assert [[int(tag) for tag in each] for each in columns.labels] == tags
    assert read_columns(words, tags, words=True).texts == words
    spans = [[(0, 1, "X")], []]
    for source in ([("a b", spans[0]), ("c", [])], iter([(["a b", "c"], spans)])):
        columns = read_columns(source, words=True)
        assert columns.texts == ["a b", "c"] and columns.labels == spans


def test_several_labels_of_one_text():
    rows = [("a", ["x"]), ("b", ["x", "y"]), (("c"), [])]
    for source in (rows, iter(rows), iter([(["a", "b", "c"], [["x"], ["x", "y"], []])])):
        assert read_columns(source).labels == [["x"], ["x", "y"], []]
    assert read_columns(iter([(("a", "b"), [1, 0, 1])])).seconds == ["b"]


def test_weights():
    assert read_columns(["a", "b"], [0, 1], [0.5, 2]).sample_weight.tolist() == [0.5, 2.0]
    assert read_columns([("a", 0, 0.5), ("b", 1, 2.0)]).sample_weight.tolist() == [0.5, 2.0]
    batch = (["a", "b"], np.array([0, 1]), np.array([0.5, 2.0]))
    assert read_columns(iter([batch])).sample_weight.tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("text", [1]), TypeError, "Expected a list of texts, got one string, 'text'. Put it in a list"),
        (("text",), TypeError, "Expected a list of texts, got one string"),
        ((["a", 3], [0, 1]), TypeError, r"Expected text 1 to be a string, got 3 \(int\)"),
        ((["a", None], [0, 1]), TypeError, "Expected text 1 to be a string, got None"),
        (([("a", "b"), ("a", 2)], [0, 1]), TypeError, "Expected second text 1 to be a string, got 2"),
        (([("a", "b"), ("a",)], [0, 1]), TypeError, "Expected pairs of texts throughout, got .* as text 1"),
        ((["a", "b"], [0]), ValueError, "Expected columns of one length, got 2 texts, 1 labels, 2 weights"),
        ((["a"], [0], [1, 1]), ValueError, "got 1 texts, 1 labels, 2 weights"),
        (([], []), ValueError, "at least one text, got none. Is the generator used up"),
        ((iter([]),), ValueError, "at least one text, got none"),
        (
            ({"label": [1]},),
            ValueError,
            "Expected a column of texts, called text or sentence or question, got the columns label",
        ),
        (({"text": ["a"]},), ValueError, "Expected a column of labels, called label or labels or score, got text"),
        ((iter(["a"]),), TypeError, r"Expected \(text, label\) .* got 'a' \(str\) as item 0"),
        ((iter([("a", 1), ("a", 1, 1, 1)]),), TypeError, "as item 1"),
        ((3,), TypeError, "Expected lists of strings"),
        (([{"text": "a", "label": 1}, {"text": "b"}],), ValueError, "dictionaries of the same keys, got text, label"),
        ((np.array([b"\xff"]), [0]), ValueError, "Expected text 0 in UTF-8"),
    ],
)
def test_what_is_no_source_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        read_columns(*arguments)


def test_words_that_are_none():
    with pytest.raises(TypeError, match="Expected a list of words as text 1, got 'c d'.*Split it"):
        read_columns([["a"], "c d"], [[0], [0, 0]], words=True)
    with pytest.raises(TypeError, match="Expected word 1 of text 0 to be a string, got 1"):
        read_columns([["a", 1]], [[0, 0]], words=True)


def test_a_stream_without_end():
    import tensorflow as tf

    with pytest.raises(ValueError, match="comes to an end"):
        read_columns(tf.data.Dataset.from_tensors(("a", 1)).repeat())


def test_padding_has_no_weight_and_no_label():
    columns = {"token_ids": Ragged.join([np.array([4, 5, 6], "int32"), np.array([7], "int32")])}
    columns["segment_ids"] = Ragged.join([np.array([0, 0, 1], "int32"), np.array([1], "int32")])
    tags = Ragged.join([np.array([NO_LABEL, 2, NO_LABEL], "int32"), np.array([1], "int32")])
    examples = Examples(columns, tags, np.array([1.0, 0.5], "float32"), 9)
    assert len(examples) == 2 and examples.lengths.tolist() == [[3], [1]]
    inputs, labels, weights = examples.batch(np.array([1, 0]), 3, (4,))
    assert inputs["token_ids"].tolist() == [[7, 9, 9, 9], [4, 5, 6, 9], [9, 9, 9, 9]]
    assert inputs["segment_ids"].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert labels.tolist() == [[1, 0, 0, 0], [0, 2, 0, 0], [0] * 4]
    assert weights.tolist() == [[0.5, 0, 0, 0], [0, 1, 0, 0], [0] * 4]
    taken = examples.take([1])
    assert len(taken) == 1 and taken.labels.token_ids.tolist() == [1]
    assert set(examples.token_ids) == {"token_ids", "segment_ids", "labels"}
    whole = Examples(columns, np.array([3, 4], "int32"), np.ones(2, "float32"), 9)
    _, labels, weights = whole.batch(np.array([0, 1]), 4, (4,))
    assert labels.tolist() == [3, 4, 0, 0] and weights.tolist() == [1, 1, 0, 0]
    batches = Batches(whole, batch_size=2, shuffle=False, num_buckets=1)
    assert len(batches) == 1
