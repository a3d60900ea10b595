import itertools
import threading

import keras
import numpy as np
import pytest

from keras_transformers.data.batches import Position, keras_data, translation_batches
from keras_transformers.data.examples import Examples
from keras_transformers.training.fitting import fit_batches
from tests.training.stand_in import CharacterTokenizer, StepLosses, compiled, sentences

TOKENIZER = CharacterTokenizer()


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
    assert sum(bucket.lengths[0] > 16 for bucket in batches.buckets) == 1
    assert min(bucket.size for bucket in batches.buckets) == 1  # 1000 tokens: a row of its own
    assert sorted(np.concatenate([bucket.rows for bucket in batches.buckets])) == list(range(401))


def test_buckets_save_padding():
    padded = [
        sum(bucket.num_batches * bucket.size * sum(bucket.lengths) for bucket in make(1000, num_buckets=n).buckets)
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


def test_prepared_arrays_go_straight_through():
    inputs = {"token_ids": np.array([[5, 3, 0], [6, 7, 3]]), "decoder_token_ids": np.array([[2, 9], [2, 0]])}
    labels = np.array([[9, 3], [3, 0]])
    batches = translation_batches(inputs, labels, tokenizer=TOKENIZER, batch_size=4, shuffle=False)
    assert isinstance(batches.pairs, Examples) and len(batches) == 1
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


class Told(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.heard = []

    def on_train_begin(self, logs=None):
        self.heard.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append(epoch)

    def on_train_end(self, logs=None):
        self.heard.append("end")


@pytest.mark.each_keras
@pytest.mark.parametrize("epochs, expected", [(2, ["begin", 1, "end"]), (4, ["begin", 1, 2, 3, "end"])])
def test_a_resumed_training_is_one_to_the_callbacks(epochs, expected):
    told, model = Told(), compiled()
    history = fit_batches(model.fit, make(60), position=Position(1, 2, 9), epochs=epochs, callbacks=[told], verbose=0)
    assert told.heard == expected and history.epoch == expected[1:-1] and model.history is history


def test_progress_is_shown(capsys):
    batches = make(40)
    fit_batches(compiled().fit, batches, position=Position(0, 1, 1), epochs=2, verbose=2)
    shown = capsys.readouterr().out
    assert "Epoch 1/2" in shown and "Epoch 2/2" in shown
    assert f"{len(batches) - 1}/{len(batches) - 1} - " in shown and f"\n{len(batches)}/{len(batches)} - " in shown


def test_stopping_in_a_resumed_epoch_ends_the_training():
    told, model = Told(), compiled()
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    fit_batches(model.fit, make(60), position=Position(1, 2, 9), epochs=4, callbacks=[told, stop], verbose=0)
    assert told.heard == ["begin", 1, "end"]


def test_refuses_executions_that_do_not_divide_an_epoch():
    model, batches = compiled(), make(60)
    model.steps_per_execution = len(batches) - 1
    with pytest.raises(ValueError, match=f"steps_per_execution to divide the {len(batches)} batches"):
        fit_batches(model.fit, batches)


@pytest.mark.each_keras
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


@pytest.mark.parametrize("option", ["batch_tokens", "batch_size", "num_buckets"])
def test_refuses_sizes_below_one(option):
    with pytest.raises(ValueError, match=f"Expected {option} of at least 1, got 0"):
        make(**{option: 0})


def test_an_index_out_of_the_epoch_is_an_error():
    batches = make(20)
    with pytest.raises(IndexError, match="Expected a batch index in"):
        batches.batch(0, len(batches))
