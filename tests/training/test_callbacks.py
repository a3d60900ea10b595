import os
import pathlib
import random
import time

import keras
import numpy as np
import pytest

from keras_transformers.data.batches import Position, translation_batches
from keras_transformers.training.callbacks import LearningCurve, Speed, TranslationQuality
from keras_transformers.training.checkpoints import Checkpoint, average_weights, checkpoints
from keras_transformers.training.curves import read_curve
from keras_transformers.training.fitting import fit_batches
from tests.training import interrupted_run
from tests.training.stand_in import CharacterTokenizer, StepLosses, compiled, sentences

ROOT = pathlib.Path(__file__).parents[2]
once = pytest.mark.one_backend("torch")  # of files, or of what is computed elsewhere too


def batches(count=100):
    return translation_batches(
        *sentences(count), tokenizer=CharacterTokenizer(), batch_tokens=128, num_buckets=2, seed=3
    )


def values(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


class Stop(Exception):
    pass


class StopBefore(keras.callbacks.Callback):
    """Raises before the step with this number (from 0) begins."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        if self.left == 0:
            raise Stop
        self.left -= 1


def interrupted(folder, step, adam=None, **options):
    """Train a new model until `step`, saving into `folder`."""
    model = compiled(adam)
    with pytest.raises(Stop):
        callbacks = [Checkpoint(folder, **options), StopBefore(step)]
        fit_batches(model.fit, batches(), epochs=3, callbacks=callbacks, verbose=0)
    return model


AVERAGE = {"use_ema": True, "ema_momentum": 0.9}


@pytest.mark.parametrize(
    ("stop", "adam"),
    [
        ("within an epoch", {}),
        pytest.param("between two epochs", {}, marks=once),
        ("within an epoch", AVERAGE),
        pytest.param("between two epochs", AVERAGE, marks=once),
        pytest.param("within an epoch", {**AVERAGE, "ema_overwrite_frequency": 4}, marks=once),
    ],
)
def test_resumes_as_if_nothing_had_happened(tmp_path, stop, adam):
    data = batches()
    step = len(data) + (3 if stop == "within an epoch" else 0)
    whole, losses = compiled(adam), StepLosses()
    history = fit_batches(whole.fit, data, epochs=3, callbacks=[losses], verbose=0)

    interrupted(tmp_path, step, adam, every_seconds=None, every_steps=3 if stop == "within an epoch" else None)
    resumed, checkpoint, rest = compiled(adam), Checkpoint(tmp_path), StepLosses()
    position = checkpoint.restore(resumed)
    assert position == Position(1, step - len(data), step)
    assert int(resumed.optimizer.iterations) == step
    again = fit_batches(resumed.fit, data, position=position, epochs=3, callbacks=[checkpoint, rest], verbose=0)

    np.testing.assert_allclose(rest.losses, losses.losses[step:], rtol=1e-5)
    np.testing.assert_allclose(again.history["loss"], history.history["loss"][1:], rtol=1e-5)
    np.testing.assert_allclose(again.history["perplexity"], history.history["perplexity"][1:], rtol=1e-5)
    for ours, expected in zip(values(resumed.variables), values(whole.variables), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    for ours, expected in zip(values(resumed.optimizer.variables), values(whole.optimizer.variables), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert Checkpoint(tmp_path).restore(compiled(adam)) == Position(3, 0, 3 * len(data))


def test_averages_take_the_place_of_weights_when_training_ends_and_it_may_go_on():
    """On JAX Keras's own second `fit` fails: a weight and its average were one array, given away twice."""
    model, data = compiled(AVERAGE), batches(40)
    for epochs in (1, 2):
        fit_batches(model.fit, data, position=Position(epochs - 1, 0, 0), epochs=epochs, verbose=0)
        averages = model.optimizer._model_variables_moving_average
        for ours, average in zip(values(model.trainable_variables), values(averages), strict=True):
            np.testing.assert_array_equal(ours, average)


def kill_while_it_writes(process, folder, rng, deadline=120):
    """SIGKILL one of the first saves at some point of it. Says whether files were found half written."""
    saves, limit = rng.randrange(3), time.monotonic() + deadline
    seen = set()
    while not process.has_ended() and time.monotonic() < limit:
        now = {path.name for path in folder.glob(".step-*.partial")} - seen
        if now and len(seen) >= saves:
            time.sleep(rng.random() * 0.01)
            break
        seen |= now
    if not process.has_ended():
        process.kill()
    process.wait()
    return bool(list(folder.glob(".step-*.partial")))


@once
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_run_killed_while_it_saves_comes_to_the_same_losses(tmp_path, forks):
    def start():
        return forks.start("tests.training.interrupted_run", str(folder), str(losses))

    rng = random.Random(0)
    folder, losses = tmp_path / "run", tmp_path / "losses"
    folder.mkdir()
    half_written = 0
    for kill in range(1, 6):
        half_written += kill_while_it_writes(start(), folder, rng)
        for path in checkpoints(folder):  # whatever bears a checkpoint's name is whole
            assert {item.name for item in path.iterdir()} == {"SHA256SUMS", "model.safetensors", "state.json"}
        if half_written and kill >= 2:
            break
    assert half_written >= 1
    assert start().wait(120) == 0
    assert not list(folder.glob(".step-*"))

    model, data = interrupted_run.train(tmp_path / "whole", tmp_path / "expected")
    expected = np.loadtxt(tmp_path / "expected")
    assert len(expected) == interrupted_run.EPOCHS * len(data)
    lines = [line.split() for line in losses.read_text().splitlines()]
    assert {int(line[0]) for line in lines if len(line) == 3} == set(range(1, len(expected) + 1))
    for step, *numbers in lines:
        np.testing.assert_allclose([float(number) for number in numbers], expected[int(step) - 1, 1:], rtol=1e-5)
    resumed = compiled(interrupted_run.AVERAGE, vocabulary_size=4000, hidden_dim=128)
    Checkpoint(folder).restore(resumed)
    resumed.optimizer.finalize_variable_values(resumed.trainable_variables)  # as when training ends
    for ours, value in zip(values(resumed.trainable_variables), values(model.trainable_variables), strict=True):
        np.testing.assert_allclose(ours, value, rtol=1e-5, atol=1e-6)


@once
def test_keeps_the_newest(tmp_path):
    interrupted(tmp_path, 7, every_seconds=None, every_steps=2, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000004", "step-000000006"]


@once
def test_what_only_time_asked_for_stays_until_the_next(tmp_path):
    interrupted(tmp_path, 7, every_seconds=0, every_steps=2, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000004", "step-000000006", "step-000000007"]
    with pytest.raises(ValueError, match="Expected 3 checkpoints .* got 2"):
        average_weights(compiled(), tmp_path, last=3)


@once
def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    interrupted(tmp_path, 5, every_seconds=None, every_steps=2, keep=2)
    newest = checkpoints(tmp_path)[-1]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.warns(UserWarning, match="step-000000004 is damaged"):
        assert Checkpoint(tmp_path).restore(compiled()).step == 2
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002"]


def test_an_empty_folder_restores_nothing(tmp_path):
    assert Checkpoint(tmp_path / "new").restore(compiled()) is None


@once
def test_refuses_to_train_over_checkpoints_that_were_not_restored(tmp_path):
    interrupted(tmp_path, 3, every_seconds=None, every_steps=2)
    with pytest.raises(ValueError, match=r"got step-000000002 in it\. Call restore"):
        fit_batches(compiled().fit, batches(), callbacks=[Checkpoint(tmp_path)], verbose=0)


def test_refuses_another_model(tmp_path):
    interrupted(tmp_path, 3, every_seconds=None, every_steps=2)
    with pytest.raises(ValueError, match=r"embeddings is \(31, 8\) in the model, \(31, 16\) in the checkpoint"):
        Checkpoint(tmp_path).restore(compiled(hidden_dim=8))
    other = compiled()
    other.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="variables in optimizer, the checkpoint"):
        Checkpoint(tmp_path).restore(other)
    with pytest.raises(ValueError, match="built and compiled"):
        Checkpoint(tmp_path).restore(keras.Sequential([keras.layers.Dense(1)]))


@pytest.mark.parametrize("option", ["every_steps", "keep"])
def test_refuses_sizes_below_one(tmp_path, option):
    with pytest.raises(ValueError, match=f"Expected {option} of at least 1, got 0"):
        Checkpoint(tmp_path, **{option: 0})


def test_average_weights_is_their_mean(tmp_path):
    interrupted(tmp_path, 8, every_seconds=None, every_steps=2, keep=3)
    every = []
    for path in checkpoints(tmp_path):
        model, alone = compiled(), tmp_path / "alone" / path.name
        alone.mkdir(parents=True)
        (alone / path.name).symlink_to(path)
        Checkpoint(alone).restore(model)
        every.append(values(model.weights))
    averaged = compiled()
    average_weights(averaged, tmp_path, last=2)
    for ours, *others in zip(values(averaged.weights), *every[-2:], strict=True):
        np.testing.assert_allclose(ours, np.mean(others, axis=0), rtol=1e-6, atol=1e-7)
    assert len(every) == 3 and not np.allclose(every[1][0], every[2][0])
    with pytest.raises(
        ValueError, match=r"Expected 10 checkpoints .* got 3\. Train with Checkpoint\(folder, keep=10\)"
    ):
        average_weights(averaged, tmp_path)
    with pytest.raises(ValueError, match="does not fit the model"):
        average_weights(compiled(hidden_dim=8), tmp_path, last=2)


class Translator:
    """Says the sources themselves."""

    def translate(self, texts, **options):
        self.options = options
        return list(texts)


def test_translation_quality_puts_the_scores_into_the_logs():
    quality = TranslationQuality(["a b c d e"] * 2, ["a b c d e", "a b c d f"], every_epochs=2, num_beams=1)
    quality.set_model(Translator())
    logs = {}
    quality.on_epoch_end(0, logs)
    assert logs == {}
    quality.on_epoch_end(1, logs)
    assert 0 < logs["val_bleu"] < 100 and 0 < logs["val_chrf"] < 100
    assert quality.model.options == {"num_beams": 1}
    assert quality.signatures["val_bleu"].startswith("nrefs:1|") and quality.hypotheses == quality.sources
    with pytest.raises(ValueError, match="got 1 sources and 0 references"):
        TranslationQuality(["a"], [])
    with pytest.raises(ValueError, match="every_epochs of at least 1"):
        TranslationQuality(["a"], ["b"], every_epochs=0)


def test_scores_reach_the_history():
    model = compiled()
    model.translate = lambda texts: list(texts)
    history = fit_batches(model.fit, batches(), epochs=2, callbacks=[TranslationQuality(["a b"], ["a b"])], verbose=0)
    assert len(history.history["val_bleu"]) == len(history.history["val_chrf"]) == 2


@once
def test_learning_curve_survives_resuming(tmp_path):
    data, folder = batches(), tmp_path / "run"
    model = compiled()
    whole = LearningCurve(tmp_path / "whole.png", every_steps=2, title="a stand-in")
    history = fit_batches(model.fit, data, epochs=3, validation=data, callbacks=[whole], verbose=0)

    picture = tmp_path / "curve.png"
    stopped = compiled()
    with pytest.raises(Stop):
        callbacks = [
            Checkpoint(folder, every_steps=4),
            LearningCurve(picture, every_steps=2),
            StopBefore(len(data) + 7),
        ]
        fit_batches(stopped.fit, data, epochs=3, validation=data, callbacks=callbacks, verbose=0)
    with open(picture.with_suffix(".csv"), "a") as file:
        file.write("99,1,lo")  # cut by a kill
    resumed, checkpoint, curve = compiled(), Checkpoint(folder), LearningCurve(picture, every_steps=2)
    position = checkpoint.restore(resumed)
    callbacks = [checkpoint, curve]
    fit_batches(resumed.fit, data, position=position, epochs=3, validation=data, callbacks=callbacks, verbose=0)

    again, expected = read_curve(curve.records_path), read_curve(whole.records_path)
    assert [record[:3] for record in again] == [record[:3] for record in expected]
    np.testing.assert_allclose([record[3] for record in again], [record[3] for record in expected], rtol=1e-4)
    steps = [step for step, _, name, _ in expected if name == "epoch_loss"]
    assert steps == [len(data), 2 * len(data), 3 * len(data)]
    assert [v for _, _, name, v in expected if name == "val_perplexity"] == history.history["val_perplexity"]
    for path in (picture, tmp_path / "whole.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="every_steps of at least 1"):
        LearningCurve(picture, every_steps=0)


def test_variables_that_changed_places_are_restored_by_their_paths(tmp_path):
    """A model whose layers are made in another order is the same model."""

    def model(names):
        layers = {name: keras.layers.Dense(3, name=name) for name in names}
        inputs = keras.Input((3,), name="inputs")
        model = keras.Model(inputs, [layers[name](inputs) for name in names])
        model.compile("adam", loss=["mse", "mse"])
        return model

    before, after = model(["up", "down"]), model(["down", "up"])
    x = np.eye(3, dtype="float32")
    before.fit(x, [x, 2 * x], verbose=0, callbacks=[Checkpoint(tmp_path)])
    assert Checkpoint(tmp_path).restore(after).step == 1
    for name in ("up", "down"):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(after.get_layer(name).kernel),
            keras.ops.convert_to_numpy(before.get_layer(name).kernel),
        )


def test_speed_counts_tokens_and_waiting(monkeypatch):
    data = batches()
    options = {"epochs": 2, "validation": batches(8), "verbose": 0}
    history = fit_batches(compiled().fit, data, callbacks=[Speed()], **options).history
    assert all(0 < each < 1 for each in history["input_wait"])
    assert "val_input_wait" not in history
    with pytest.raises(ValueError, match="Use a task's fit"):
        compiled().fit(*data.batch(0, 0)[:2], callbacks=[Speed()], verbose=0)
    inputs, labels, weights = data.batch(0, 0)
    compiled().evaluate(inputs, labels, sample_weight=weights, callbacks=[Speed()], verbose=0)
    make = data.batch

    def slow(epoch, index):
        time.sleep(0.2)
        return make(epoch, index)

    monkeypatch.setattr(data, "batch", slow)
    begin = time.perf_counter()
    history = fit_batches(compiled().fit, data, callbacks=[Speed()], epochs=1, verbose=0).history
    seconds = time.perf_counter() - begin  # more than the epoch's own
    assert history["tokens_per_second"][0] >= data.pairs.lengths.sum() / seconds
    assert history["input_wait"][0] >= 0.15 / seconds  # the first batch alone takes 0.2
