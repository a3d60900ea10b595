"""Keras's options of `compile` and `fit` mean here what they mean in Keras, or are refused before the first step."""

import warnings

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.batches import Batches
from keras_transformers.data.examples import Examples
from keras_transformers.data.pairs import Ragged
from keras_transformers.layers.feed_forward import FeedForward
from tests.parameters import few
from tests.training.small_tasks import CLASSES, TASKS, batches, examples, moved, task, weights

BACKEND = keras.backend.backend()
once = pytest.mark.one_backend("torch")


def standing(name, **options):
    """A task whose weights stay where they are in `fit`."""
    model = task(name)
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


# Losses that layers and weights add


@pytest.mark.each_keras
def test_regularizers_count_in_training_and_evaluation(name="TextClassifier"):
    plain = standing(name).evaluate(batches(name), verbose=0)["loss"]
    model = task(name)
    model.classifier.kernel_regularizer = keras.regularizers.L2(0.5)  # its weights are there already
    model.compile(keras.optimizers.SGD(0.1))
    kernel = keras.ops.convert_to_numpy(model.classifier.kernel).copy()
    added = 0.5 * (kernel**2).sum()
    assert model.evaluate(batches(name), verbose=0)["loss"] == pytest.approx(plain + added, rel=1e-5)

    other = task(name)
    other.compile(keras.optimizers.SGD(0.1))
    one = batches(name, count=4)
    history = model.fit(one, verbose=0).history["loss"][0]
    assert history == pytest.approx(other.fit(one, verbose=0).history["loss"][0] + added, rel=1e-5)
    one, without = (keras.ops.convert_to_numpy(each.classifier.kernel) for each in (model, other))
    np.testing.assert_allclose(one - without, -0.1 * kernel, atol=1e-6)  # the gradient of what was added


@pytest.mark.parametrize("name", few(TASKS, "TextClassifier"))
def test_what_layers_add_counts_in_each_task(name, monkeypatch):
    plain = standing(name).evaluate(batches(name), verbose=0)["loss"]
    call = FeedForward.call

    def asking(self, *arguments, **options):
        self.add_loss(keras.ops.convert_to_tensor(2.0))
        return call(self, *arguments, **options)

    monkeypatch.setattr(FeedForward, "call", asking)
    added = 4.0 if name in ("Seq2SeqLM", "TextEmbedder") else 2.0  # of two stacks, or of two texts
    model = standing(name)
    assert model.evaluate(batches(name), verbose=0)["loss"] == pytest.approx(plain + added, rel=1e-5)
    for options in ({}, {"rematerialize": True})[: 2 if name == "TextClassifier" else 1]:
        model.compile(keras.optimizers.SGD(0.0), **options)
        history = model.fit(batches(name), verbose=0).history["loss"][0]
        assert history == pytest.approx(plain + added, rel=1e-5 if name != "MaskedLM" else 0.1)


# Metrics


def hit(y_true, y_pred):
    """1 for each label that has the highest output."""
    return keras.ops.cast(keras.ops.equal(keras.ops.argmax(y_pred, -1), keras.ops.cast(y_true, "int32")), "float32")


def mean_hit(y_true, y_pred):
    return keras.ops.mean(hit(y_true, y_pred))


BUILT_IN = {"QuestionAnswerer": None, "CausalLM": "token_accuracy", "Seq2SeqLM": "token_accuracy"}


@pytest.mark.each_keras
@pytest.mark.parametrize("name", few(TASKS, "TextClassifier", "CausalLM"))
def test_a_metric_of_the_user_s_sees_what_the_user_gave(name):
    """Neither rows that fill a batch up nor padding count; so the batching changes nothing."""
    results = []
    for size in (3, 8):
        model = standing(name, metrics=["acc", hit], weighted_metrics=[keras.metrics.MeanMetricWrapper(hit, "weighed")])
        data = batches(name, size)
        trained = {key: value[0] for key, value in model.fit(data, verbose=0).history.items()}
        # Keras 3.12 gives tensors on PyTorch
        results.append({key: float(value) for key, value in model.evaluate(data, verbose=0).items()})
        if name != "MaskedLM":  # which hides others in each epoch
            assert trained == pytest.approx(results[-1], rel=1e-5)
        own = BUILT_IN.get(name, "token_accuracy" if name == "MaskedLM" else "accuracy")
        for key in ("acc", "hit", "weighed"):
            assert own is None or results[-1][key] == pytest.approx(results[-1][own], abs=1e-6)
    if name not in ("MaskedLM", "TextEmbedder"):  # whose batches are the task
        assert results[0] == pytest.approx(results[1], rel=1e-5)


@once
def test_f1_does_not_move_with_the_batch_size():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (13, CLASSES)).astype("float32")
    data = examples("TextClassifier")
    data = Examples(data.columns, labels, data.sample_weight, 0)
    scores = []
    for size in (2, 4, 13):
        model = task("TextClassifier", problem="multi_label")
        model.compile(metrics=[keras.metrics.F1Score("macro", threshold=0.5), "acc"])
        scores.append(model.evaluate(Batches(data, batch_size=size, shuffle=False), verbose=0))
        assert scores[-1]["acc"] == pytest.approx(scores[-1]["accuracy"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-5) and scores[0] == pytest.approx(scores[2], rel=1e-5)


@once
def test_metrics_are_unweighted_and_weighted_metrics_weighted():
    counts = np.array([0.0] * 6 + [2.0] * 7, "float32")
    model = standing("TextClassifier", metrics=["accuracy"], weighted_metrics=[hit])
    data = examples("TextClassifier", sample_weight=counts)
    result = model.evaluate(Batches(data, batch_size=4, shuffle=False), verbose=0)
    inputs, labels, _ = Batches(data, batch_size=13, num_buckets=1, shuffle=False).changed(filled=False).batch(0, 0)
    hits = keras.ops.convert_to_numpy(model(inputs)).argmax(-1) == labels
    assert result["accuracy"] == pytest.approx(hits.mean())
    assert result["hit"] == pytest.approx(hits[6:].mean())


@once
def test_a_mean_of_the_user_s_own_may_stand_for_rows_but_not_for_tokens():
    assert "mean_hit" in standing("TextClassifier", metrics=[mean_hit]).evaluate(batches("TextClassifier"), verbose=0)
    for name in ("TokenClassifier", "CausalLM"):
        model = standing(name, metrics=[mean_hit])
        before = weights(model)
        with pytest.raises(ValueError, match="heed sample_weight, which is 0 for padding, got 'mean_hit'"):
            model.fit(batches(name), verbose=0)
        assert moved(before, weights(model)) == 0


@once
def test_metrics_that_cannot_be():
    with pytest.raises(ValueError, match="metric by another name than 'loss'"):
        standing("TextClassifier", metrics=[keras.metrics.Mean("loss")])
    model = task("TextClassifier", labels=["score"])
    with pytest.raises(ValueError, match="Expected metrics of numbers, got 'accuracy' with problem='regression'"):
        model.compile(metrics=["accuracy"])


# Weights of classes


@pytest.mark.each_keras
@pytest.mark.parametrize("name", few(["TextClassifier", "TokenClassifier"], "TokenClassifier"))
def test_class_weights_are_weights_of_labels(name):
    by_name = task(name)
    by_name.compile(keras.optimizers.SGD(0.5))
    by_name.fit(batches(name), class_weight={"low": 3.0, 2: 0.5}, verbose=0)
    data, given = batches(name), np.array([3.0, 1.0, 0.5], "float32")
    by_hand, by_batch = task(name), task(name)
    for model in (by_hand, by_batch):
        model.compile(keras.optimizers.SGD(0.5))
    for index in range(len(data)):
        inputs, labels, counts = data.batch(0, index)
        by_hand.train_on_batch(inputs, labels, sample_weight=counts * given[labels])
        by_batch.train_on_batch(inputs, labels, sample_weight=counts, class_weight={0: 3.0, "high": 0.5})
    for ours, one, expected in zip(weights(by_name), weights(by_batch), weights(by_hand), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)
        np.testing.assert_allclose(one, expected, atol=1e-6)
    assert np.all(data.batch(0, 0)[2] <= 1)  # the user's own batches are as they were


@once
def test_class_weights_that_mean_nothing_are_refused():
    data = batches("TextClassifier")
    for value, error, message in [
        ({"lowest": 2.0}, ValueError, "one of the labels low, middle, high, got 'lowest' as a key of class_weight"),
        ({3: 2.0}, ValueError, "label from 0 to 2"),
        ({"low": 1.0, 0: 2.0}, ValueError, "one weight for each class, got two of 'low'"),
        ({"low": -1.0}, ValueError, "finite weight of at least 0 for class 'low', got -1.0"),
        ("balanced", TypeError, "class_weight to be a dictionary such as {'low': 2.0}, got 'balanced'"),
    ]:
        with pytest.raises(error, match=message):
            standing("TextClassifier").fit(data, class_weight=value, verbose=0)
    several = task("TextClassifier", problem="multi_label")
    with pytest.raises(ValueError, match="no class_weight: with problem='multi_label' a text has no single class"):
        several.fit(data, class_weight={0: 1.0}, verbose=0)
    for name in ("QuestionAnswerer", "TextEmbedder", "MaskedLM", "CausalLM", "Seq2SeqLM"):
        with pytest.raises(ValueError, match=f"no class_weight: a {name} learns no classes"):
            standing(name).fit(batches(name), class_weight={0: 1.0}, verbose=0)


# Accumulated gradients


@pytest.mark.parametrize("name", few([name for name in TASKS if name not in ("MaskedLM", "TextEmbedder")], "CausalLM"))
def test_accumulated_gradients_are_a_mean_over_all_tokens(name):
    """Of batches of 4 and 1 rows, and of two updates: as of one batch of all."""
    data = examples(name, count=5)
    results = []
    for size, steps in ((5, None), (4, 2)):
        model = task(name)
        model.compile(keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps, global_clipnorm=100.0))
        model.fit(Batches(data, batch_size=size, num_buckets=1, shuffle=False), epochs=2, verbose=0)
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 2
        results.append(weights(model))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, atol=2e-6)


@once
def test_an_optimizer_of_several_accumulates_so_too():
    data = examples("CausalLM", count=5)
    results = []
    for size, steps in ((5, None), (4, 2)):
        model = task("CausalLM")
        inner = [keras.optimizers.SGD(rate, gradient_accumulation_steps=steps) for rate in (0.5, 0.1)]
        model.compile(keras.optimizers.MultiOptimizer(lambda variable, inner=inner: inner[len(variable.shape) > 1]))
        model.fit(Batches(data, batch_size=size, num_buckets=1, shuffle=False), epochs=2, verbose=0)
        results.append(weights(model))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, atol=2e-6)


@pytest.mark.one_backend("tensorflow")
def test_a_step_is_traced_once():
    """An optimizer that makes its variables within the first trace needs a second one."""
    model, traced = task("TextClassifier"), []
    step = model.train_step
    model.train_step = lambda *arguments: traced.append(arguments) or step(*arguments)
    model.compile()
    model.fit(batches("TextClassifier", 13), epochs=2, verbose=0)
    assert len(traced) == 1


# Narrow weights


@pytest.mark.parametrize("dtype", few(["bfloat16", "float16"], "bfloat16"))
def test_narrow_weights_move_as_far_as_wide_ones(dtype):
    """With the default optimizer too, whose steps are smaller than what separates two numbers."""
    far = {}
    for each in ("float32", dtype):
        model = task("TextClassifier", dtype=each)
        model.set_weights([np.round(array * 64) / 64 if array.dtype.kind == "f" else array for array in _start()])
        before = weights(model)
        model.compile()
        model.fit(batches("TextClassifier", 13), epochs=40, verbose=0)
        assert {each.dtype for each in model.trainable_weights} == {model.dtype_policy.variable_dtype}
        far[each] = moved(before, weights(model))
    assert far[dtype] == pytest.approx(far["float32"], rel=0.25)


def _start():
    return [np.asarray(each) for each in task("TextClassifier").get_weights()]


# Others, each of which works or is refused


@once
def test_options_that_would_be_passed_over_are_refused():
    data = batches("TextClassifier")
    with pytest.raises(ValueError, match="no loss_weights: a TextClassifier has one loss"):
        task("TextClassifier").compile(loss_weights=[2.0])
    with pytest.raises(ValueError, match="no loss: a TextClassifier has its own"):
        task("TextClassifier").compile(loss="mse")
    for options, message in [
        ({"steps_per_epoch": 2}, "no steps_per_epoch: an epoch is all the examples"),
        ({"validation_steps": 2, "validation_data": data}, "no validation_steps: validation is on all"),
        ({"shuffle": "batch"}, "shuffle to be True or False, got 'batch'"),
    ]:
        with pytest.raises(ValueError, match=message):
            standing("TextClassifier").fit(data, verbose=0, **options)
    with pytest.raises(ValueError, match="no steps: evaluate is of all the examples"):
        standing("TextClassifier").evaluate(data, steps=1)


@once
@pytest.mark.parametrize("callback", ["ReduceLROnPlateau", "LearningRateScheduler"])
def test_a_callback_that_sets_a_schedule_is_refused_before_the_first_step(callback):
    make = {
        "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=9.0),
        "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
    }[callback]
    model = task("TextClassifier")
    before = weights(model)
    with pytest.raises(ValueError, match=f"learning rate that {callback} can set, got the schedule LinearDecay"):
        model.fit(batches("TextClassifier"), callbacks=[make()], verbose=0)
    assert moved(before, weights(model)) == 0
    model.compile(keras.optimizers.AdamW(1.0))
    model.fit(batches("TextClassifier"), epochs=2, callbacks=[make()], verbose=0)
    assert float(model.optimizer.learning_rate) < 1


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
def test_several_steps_at_once_are_those_steps():
    name = "TextClassifier"
    results = []
    for steps in (1, 2):
        model = task(name)
        model.compile(keras.optimizers.SGD(0.5), steps_per_execution=steps, metrics=["acc"])
        data = batches(name, 4, count=16)
        assert len(data) % 2 == 0
        history = model.fit(data, epochs=2, validation_data=data, verbose=0).history
        results.append((history, weights(model)))
    for key, value in results[0][0].items():
        assert value == pytest.approx(results[1][0][key], rel=1e-5)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    model.compile(keras.optimizers.SGD(0.5), steps_per_execution=3)
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"steps_per_execution to divide the \d+ batches .* got 3. Compile with"):
            call(data, verbose=0)


@once
def test_several_steps_at_once_are_refused_on_pytorch():
    model = standing("TextClassifier", steps_per_execution=2)
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1 with the PyTorch backend"):
        model.fit(batches("TextClassifier", 4, count=16), verbose=0)


@once
def test_validation_has_its_own_batches_and_frequency():
    model = standing("TextClassifier")
    seen = []

    class Count(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            seen.append(batch)

    ids = Examples({"token_ids": Ragged.join([np.full(5, 4, "int32")] * 6)}, np.zeros(6, "int32"), np.ones(6), 0)
    model.fit(
        Batches(ids, batch_size=3),
        validation_data=ids,
        validation_batch_size=2,
        validation_freq=2,
        epochs=2,
        callbacks=[Count()],
        verbose=0,
    )
    assert seen == [0, 1, 2]


@once
def test_keras_s_callbacks_work(tmp_path):
    name = "TextClassifier"

    def callbacks(folder):
        return [
            keras.callbacks.EarlyStopping("loss", mode="max", patience=0, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(
                str(folder / "best.keras"), monitor="loss", mode="max", save_best_only=True
            ),
        ]

    model = task(name)
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(batches(name), epochs=5, callbacks=callbacks(tmp_path), verbose=0)
    best = keras.models.load_model(tmp_path / "best.keras")
    assert moved(weights(model), weights(best)) == 0


@once
def test_a_backup_of_keras_s_goes_on_with_its_epoch_s_batches(tmp_path):
    name = "TextClassifier"

    def trained(epochs, *callbacks):
        model = task(name)
        model.compile(keras.optimizers.SGD(0.5))
        for stop in epochs:
            model.fit(batches(name, shuffle=True), epochs=stop, callbacks=list(callbacks), verbose=0)
        return weights(model)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    backup = tmp_path / "backup"
    with pytest.raises(InterruptedError):
        trained([4], keras.callbacks.BackupAndRestore(backup), Stop())
    for ours, expected in zip(trained([4], keras.callbacks.BackupAndRestore(backup)), trained([4]), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


@once
@pytest.mark.parametrize("options", [{"clipnorm": 1e-3}, {"clipvalue": 1e-4}, {"global_clipnorm": 1e-3}])
def test_gradients_are_clipped(options):
    model = task("TextClassifier")
    before = weights(model)
    model.compile(keras.optimizers.SGD(1.0, **options))
    model.fit(batches("TextClassifier", 13), verbose=0)
    largest = max(np.abs(a - b).max() for a, b in zip(before, weights(model), strict=True))
    assert 0 < largest <= 1.001e-3


@once
def test_frozen_layers_stay():
    model = task("TextClassifier")
    model.backbone.trainable = False
    frozen = [keras.ops.convert_to_numpy(each).copy() for each in model.backbone.weights]
    before = weights(model)
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(batches("TextClassifier"), verbose=0)
    assert moved(before, weights(model)) > 0
    assert moved(frozen, [keras.ops.convert_to_numpy(each) for each in model.backbone.weights]) == 0


class Counted(kt.CausalLM):
    """A training step of the user's own, around the task's."""

    steps = 0

    def train_step(self, *arguments):
        type(self).steps += 1
        return super().train_step(*arguments)


@once
def test_a_step_of_the_user_s_own_is_taken():
    model = Counted(task("CausalLM").config)
    model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    data = batches("CausalLM")
    model.fit(data, verbose=0)
    assert Counted.steps == len(data)


@pytest.mark.parametrize("name", few(["TextClassifier", "CausalLM"], "CausalLM"))
def test_a_half_that_is_mixed_learns_by_a_scaled_loss(name):
    model = task(name, dtype="mixed_float16")
    model.compile(keras.optimizers.SGD(0.5, gradient_accumulation_steps=2))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = weights(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(batches(name, 4, count=16), epochs=3, verbose=0)
    assert 0 < moved(before, weights(model)) and np.isfinite(moved(before, weights(model)))


@once
def test_without_a_scaled_loss_on_request():
    model = task("TextClassifier", dtype="float16")
    model.compile("sgd")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.compile("sgd", auto_scale_loss=False)
    assert isinstance(model.optimizer, keras.optimizers.SGD)


@once
@pytest.mark.parametrize("name", ["TextClassifier", "CausalLM"])
def test_keras_s_own_lora_is_saved_merged(name, tmp_path):
    model = task(name)
    stack = model.backbone.encoder or model.backbone.decoder
    stack.blocks[0].self_attention.query.enable_lora(2)
    before = weights(model)
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(batches(name), verbose=0)
    assert moved(before, weights(model)) > 0
    ids = np.array([[4, 5, 6, 7]])
    expected = keras.ops.convert_to_numpy(model(ids))
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    for saved in (
        getattr(kt, name).from_preset(tmp_path / "preset"),
        keras.models.load_model(tmp_path / "model.keras"),
    ):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(saved(ids)), expected, atol=1e-5)
