import itertools
import threading

import keras
import numpy as np
import pytest

from keras_transformers.training.datasets import (
    Arrays,
    Position,
    encode_pairs,
    fit_batches,
    keras_data,
    split,
    translation_batches,
)
from tests.training.stand_in import CharacterTokenizer, StepLosses, compiled, sentences

TOKENIZER = CharacterTokenizer()


def texts(pairs):
    """The pairs that `pairs` holds, back as letters."""

    def side(ragged):
        ids = [ragged.token_ids[a : b - 1] for a, b in itertools.pairwise(ragged.offsets)]
        return ["".join(" " if token_id == 30 else chr(token_id + 93) for token_id in row) for row in ids]

    return side(pairs.sources), side(pairs.targets)


def make(count=200, **options):
    options = {"batch_tokens": 256, "num_buckets": 4, "seed": 3} | options
    return translation_batches(*sentences(count), tokenizer=TOKENIZER, **options)


def rows_of(batches, epoch):
    """Every pair that an epoch deals out, as tuples of ids."""
    rows = []
    for inputs, labels, weight in batches.epoch(epoch):
        for source, label, there in zip(inputs["token_ids"], labels, weight, strict=True):
            if there.any():
                rows.append((tuple(source[source != 0].tolist()), tuple(label[there > 0].tolist())))
    return rows


class PairDataset(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class EndlessDataset(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return ["a"], ["b"]


def in_batches(sources, targets, size=64):
    return [(sources[i : i + size], targets[i : i + size]) for i in range(0, len(sources), size)]


def tensorflow_dataset(*arguments, batch_size=None):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(arguments)
    return dataset if batch_size is None else dataset.batch(batch_size)


def data_loader(sources, targets, **options):
    data = pytest.importorskip("torch.utils.data")
    return data.DataLoader(list(zip(sources, targets, strict=True)), **options)


SOURCES = {
    "lists": lambda s, t: (s, t),
    "tuples": lambda s, t: (tuple(s), tuple(t)),
    "arrays": lambda s, t: (np.array(s), np.array(t)),
    "object arrays": lambda s, t: (np.array(s, object), np.array(t, object)),
    "tuple of lists": lambda s, t: ((s, t), None),
    "list of pairs": lambda s, t: (list(zip(s, t, strict=True)), None),
    "array of pairs": lambda s, t: (np.array([s, t]).T, None),
    "tf.data of pairs": lambda s, t: (tensorflow_dataset(s, t), None),
    "tf.data of batches": lambda s, t: (tensorflow_dataset(s, t, batch_size=64), None),
    "PyDataset of batches": lambda s, t: (PairDataset(in_batches(s, t)), None),
    "PyDataset of pairs": lambda s, t: (PairDataset(list(zip(s, t, strict=True))), None),
    "generator of pairs": lambda s, t: (((a, b) for a, b in zip(s, t, strict=True)), None),
    "generator of batches": lambda s, t: ((batch for batch in in_batches(s, t)), None),
    "DataLoader of batches": lambda s, t: (data_loader(s, t, batch_size=64), None),
    "DataLoader of pairs": lambda s, t: (data_loader(s, t, batch_size=None), None),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_pairs(kind):
    sources, targets = sentences(150)
    pairs = encode_pairs(*SOURCES[kind](sources, targets), tokenizer=TOKENIZER)
    assert texts(pairs) == (sources, targets)


def test_more_than_a_chunk_keeps_its_order():
    sources, targets = sentences(9000, longest=3)
    assert texts(encode_pairs(sources, targets, tokenizer=TOKENIZER)) == (sources, targets)


def test_a_batch_is_teacher_forcing():
    batches = translation_batches([("abc", "de")], tokenizer=TOKENIZER, batch_tokens=8)
    inputs, labels, weight = batches.batch(0, 0)
    assert inputs["token_ids"].tolist() == [[4, 5, 6, 3], [0, 0, 0, 0]]
    assert inputs["decoder_token_ids"].tolist() == [[2, 7, 8, 0], [0, 0, 0, 0]]
    assert labels.tolist() == [[7, 8, 3, 0], [0, 0, 0, 0]]
    assert weight.tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
    assert {array.dtype.name for array in (*inputs.values(), labels)} == {"int32"} and weight.dtype == "float32"


def test_an_epoch_deals_out_every_pair_once_in_few_shapes():
    batches = make()
    sources, targets = sentences(200)
    ids = zip(TOKENIZER.encode(sources), TOKENIZER.encode(targets), strict=True)
    expected = [((*a, 3), (*b, 3)) for a, b in ids]
    for epoch in (0, 1):
        assert sorted(rows_of(batches, epoch)) == sorted(expected)
    shapes = {(i["token_ids"].shape, labels.shape) for i, labels, _ in batches.epoch(0)}
    assert 1 < len(shapes) <= 4
    for (rows, source_length), (_, target_length) in shapes:
        assert rows * max(source_length, target_length) <= 256
        assert source_length % 4 == target_length % 4 == 0
        assert rows % 8 == 0


def test_one_long_sentence_does_not_stretch_the_others():
    sources, targets = sentences(400, longest=10)
    batches = translation_batches([*sources, "a" * 1000], [*targets, "b"], tokenizer=TOKENIZER, batch_tokens=1024)
    assert sum(bucket.source_length > 16 for bucket in batches.buckets) == 1
    assert min(bucket.size for bucket in batches.buckets) == 1  # 1000 tokens: a row of its own
    assert sorted(np.concatenate([bucket.rows for bucket in batches.buckets])) == list(range(401))


def test_buckets_save_padding():
    padded = [
        sum(
            bucket.num_batches * bucket.size * (bucket.source_length + bucket.target_length)
            for bucket in make(1000, num_buckets=n).buckets
        )
        for n in (1, 2, 8)
    ]
    assert padded[0] > padded[1] > padded[2]


def test_batch_size_counts_rows():
    batches = make(batch_size=10)
    assert {bucket.size for bucket in batches.buckets} <= {10, 8}


def test_deterministic_in_seed_and_epoch():
    def same(a, b):
        return all(np.array_equal(x[1], y[1]) for x, y in zip(a, b, strict=True))

    assert same(make().epoch(5), make().epoch(5))
    assert not same(make().epoch(0), make().epoch(1))
    assert not same(make().epoch(0), make(seed=4).epoch(0))
    still = make(shuffle=False)
    assert same(still.epoch(0), still.epoch(1))


def test_resumes_at_an_epoch_and_batch():
    batches = make()
    whole = list(batches.epoch(0)) + list(batches.epoch(1))
    tail = itertools.islice(make().stream(Position(0, 3)), len(whole) - 3)
    for (inputs, labels, weight), (other_inputs, other_labels, other_weight) in zip(whole[3:], tail, strict=True):
        np.testing.assert_array_equal(inputs["token_ids"], other_inputs["token_ids"])
        np.testing.assert_array_equal(inputs["decoder_token_ids"], other_inputs["decoder_token_ids"])
        np.testing.assert_array_equal(labels, other_labels)
        np.testing.assert_array_equal(weight, other_weight)


def test_batches_are_prepared_on_other_threads_ahead_of_their_use():
    batches, seen, ahead = make(), [], threading.Event()
    plain = batches.pairs

    class Watched:
        def batch(self, *arguments):
            seen.append(threading.current_thread())
            if len(seen) >= 4:
                ahead.set()
            return plain.batch(*arguments)

    batches.pairs = Watched()
    iterator = batches.epoch(0)
    next(iterator)
    assert ahead.wait(10) and threading.main_thread() not in seen
    iterator.close()


def test_an_error_on_a_thread_reaches_the_reader():
    batches = make()
    batches.pairs = None
    with pytest.raises(AttributeError):
        next(batches.epoch(0))


def test_truncation_is_counted_and_reported():
    with pytest.warns(UserWarning, match="2 of 3 sentence pairs are longer than max_length=4 tokens and were cut"):
        batches = translation_batches(["abcdefg", "a", "ab"], ["a", "abcd", "b"], tokenizer=TOKENIZER, max_length=4)
    assert batches.truncated == 2
    assert ((4, 5, 6, 3), (4, 3)) in rows_of(batches, 0)


def test_split_is_seeded_and_loses_nothing():
    pairs = encode_pairs(*sentences(100), tokenizer=TOKENIZER)
    train, validation = split(pairs, 0.2, seed=1)
    assert (len(train), len(validation)) == (80, 20)
    assert sorted(texts(train)[0] + texts(validation)[0]) == sorted(texts(pairs)[0])
    assert texts(split(pairs, 0.2, seed=1)[1]) == texts(validation) != texts(split(pairs, 0.2, seed=2)[1])
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        split(pairs, 1.5)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        split(pairs.take(np.array([0])), 0.5)


def test_prepared_arrays_go_straight_through():
    inputs = {"token_ids": np.array([[5, 3, 0], [6, 7, 3]]), "decoder_token_ids": np.array([[2, 9], [2, 0]])}
    labels = np.array([[9, 3], [3, 0]])
    batches = translation_batches(inputs, labels, tokenizer=TOKENIZER, batch_size=4, shuffle=False)
    assert isinstance(batches.pairs, Arrays) and len(batches) == 1
    got, got_labels, weight = batches.batch(0, 0)
    np.testing.assert_array_equal(got["token_ids"][:2, :3], inputs["token_ids"])
    np.testing.assert_array_equal(got_labels[:2, :2], labels)
    assert weight[:2, :2].tolist() == [[1, 1], [1, 0]] and weight.sum() == 3


def assert_same_weights(model, other):
    for variable, expected in zip(model.trainable_variables, other.trainable_variables, strict=True):
        value = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(value, keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-5)


def test_fit_sees_exactly_these_batches():
    """`fit` over two epochs does what the same batches fed by hand do, and validates on the same batches each time."""
    batches, validation = make(100), make(40, shuffle=False)
    by_hand = compiled()
    means = []
    for epoch in (0, 1):
        losses, rows = [], []
        for batch in batches.epoch(epoch):
            by_hand.reset_metrics()
            losses.append(by_hand.train_on_batch(*batch, return_dict=True)["loss"])
            rows.append(len(batch[1]))
        means.append(np.average(losses, weights=rows))  # as Keras averages
    recorder, model = StepLosses(), compiled()
    history = fit_batches(model.fit, batches, epochs=2, validation=validation, callbacks=[recorder], verbose=0)
    assert len(recorder.losses) == 2 * len(batches)
    np.testing.assert_allclose(history.history["loss"], means, rtol=1e-4)
    assert_same_weights(model, by_hand)
    again = model.evaluate(keras_data(validation), steps=len(validation), verbose=0, return_dict=True)
    assert history.history["val_loss"][-1] == pytest.approx(again["loss"], rel=1e-5)


def test_fit_finishes_an_interrupted_epoch():
    batches = make(100)
    by_hand = compiled()
    stream = itertools.islice(batches.stream(Position(1, 2)), 2 * len(batches) - 2)
    for batch in stream:
        by_hand.train_on_batch(*batch)
    model = compiled()
    history = fit_batches(model.fit, batches, position=Position(1, 2), epochs=3, verbose=0)
    assert history.epoch == [1, 2] and len(history.history["loss"]) == 2
    assert_same_weights(model, by_hand)


@pytest.mark.parametrize(
    "source, target, error, message",
    [
        (["a"], ["b", "c"], ValueError, "got 1 sources and 2 targets"),
        ("a", "b", TypeError, "got one string, 'a'"),
        (["a", None], ["b", "c"], TypeError, "source 1 to be a string, got None"),
        (["a"], [7], TypeError, "target 0 to be a string, got 7"),
        (["a"], [float("nan")], TypeError, "target 0 to be a string, got nan"),
        ([b"\xff"], ["a"], ValueError, "source 0 in UTF-8"),
        ([], [], ValueError, "at least one sentence pair"),
        (iter(()), None, ValueError, "at least one sentence pair"),
        (["a", "b"], None, TypeError, "pairs of strings"),
        ([("a", "b", "c")], None, TypeError, "pairs of strings"),
        ([("a", ["b"])], None, TypeError, "two strings or two batches"),
        ([(["a"], ["b", "c"])], None, ValueError, "a batch of 1 sources and 2 targets"),
        (EndlessDataset(), None, ValueError, "comes to an end, got a PyDataset"),
        (7, None, TypeError, "Expected lists of strings"),
        ((x for x in "a"), ["b"], TypeError, "list, tuple or array of strings beside the other side"),
        ({"token_ids": [[1]]}, [[1]], ValueError, "prepared inputs with token_ids and decoder_token_ids"),
        ({"token_ids": [[1]], "decoder_token_ids": [[1]]}, [[1, 2]], ValueError, r"labels \[N, T\] with N > 0"),
        ({"token_ids": [[1.0]], "decoder_token_ids": [[1]]}, [[1]], ValueError, "of integers, got"),
    ],
)
def test_refuses_bad_input(source, target, error, message):
    with pytest.raises(error, match=message):
        encode_pairs(source, target, tokenizer=TOKENIZER)


def test_refuses_an_endless_tensorflow_dataset():
    with pytest.raises(ValueError, match="repeats without end"):
        encode_pairs(tensorflow_dataset(["a"], ["b"]).repeat(), tokenizer=TOKENIZER)


@pytest.mark.parametrize("option", ["batch_tokens", "batch_size", "num_buckets"])
def test_refuses_sizes_below_one(option):
    with pytest.raises(ValueError, match=f"Expected {option} of at least 1, got 0"):
        make(**{option: 0})


def test_refuses_a_tokenizer_without_a_start_token():
    class NoStart(CharacterTokenizer):
        start_id = None

    with pytest.raises(ValueError, match="start_id = None"):
        encode_pairs(["a"], ["b"], tokenizer=NoStart())
    assert encode_pairs(["a"], ["b"], tokenizer=NoStart(), start_id=5).start_id == 5
    with pytest.raises(ValueError, match="Expected a tokenizer"):
        translation_batches(["a"], ["b"])


@pytest.mark.parametrize("max_length", [0, 1])
def test_refuses_a_length_without_room_for_a_token(max_length):
    with pytest.raises(ValueError, match=f"max_length of at least 2 .* got {max_length}"):
        encode_pairs(["a"], ["b"], tokenizer=TOKENIZER, max_length=max_length)


def test_an_index_out_of_the_epoch_is_an_error():
    batches = make(20)
    with pytest.raises(IndexError, match="Expected a batch index in"):
        batches.batch(0, len(batches))
