"""What all tasks of an encoder share: training by default, freezing, precision, files."""

import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.families.registry import describing
from keras_transformers.tasks.data_task import batch_shape, batches_by_length, bucket
from keras_transformers.tasks.encoder_task import windows
from keras_transformers.training.checkpoints import Checkpoint
from tests.layers.reference import fill, numbers, relative_error
from tests.parameters import few
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS

once = pytest.mark.one_backend("torch")
WORDS = [text.split() for text in TEXTS]
QUESTIONS = [("where", text) for text in TEXTS]
# task → what `fit` takes
EXAMPLES = {
    "MaskedLM": (TEXTS, None),
    "TextClassifier": (TEXTS, [0, 1] * 3),
    "TokenClassifier": (WORDS, [[0] * len(words) for words in WORDS]),
    "QuestionAnswerer": (QUESTIONS, [(0, len(text.split()[0])) for text in TEXTS]),
    "TextEmbedder": (TEXTS, [text[:20] for text in TEXTS]),
}
HEADS = {
    "MaskedLM": "head",
    "TextClassifier": "classifier",
    "TokenClassifier": "classifier",
    "QuestionAnswerer": "span",
}


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS * 3, kind="wordpiece", vocabulary_size=300, mask_token="[MASK]")


def config_of(tokenizer, **settings):
    settings = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4, "max_length": 128, "dropout": 0.0} | settings
    return kt.models.encoder(tokenizer.vocabulary_size, **settings)


def make(task, tokenizer, dtype=None, **settings):
    return getattr(kt, task)(config_of(tokenizer, **settings), tokenizer, dtype=dtype)


def weights_of(model):
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.trainable_variables}


# --- the recipe ---


@once
def test_the_recipe_is_berts_base_model():
    import transformers

    config = kt.models.encoder(30522)
    assert describing(config).model_type == "bert"
    theirs = transformers.BertConfig().to_dict()
    written = describing(config).write(config)
    for name in set(written) & set(theirs) - {"classifier_dropout"}:
        assert written[name] == theirs[name], name
    assert describing(kt.models.encoder(100, activation="relu", tied_head=False, padding_id=3)).model_type == "bert"
    with pytest.raises(ValueError, match="num_segments of at least 1, got 0. Give 1 if texts come alone"):
        kt.models.encoder(100, num_segments=0)
    with pytest.raises(ValueError, match="hidden_dim=30 is no multiple of num_heads=4"):
        kt.models.encoder(100, hidden_dim=30, num_heads=4)


@once
def test_a_configuration_without_segments_is_no_bert(tokenizer):
    """transformers adds segment 0 to each token of a BERT. DeBERTa may have neither segments nor relative positions."""
    config = config_of(tokenizer)
    bare = dataclasses.replace(config, embeddings=dataclasses.replace(config.embeddings, num_segments=0))
    assert describing(config).model_type == "bert" and describing(bare).model_type == "deberta-v2"


@pytest.mark.parametrize("task", EXAMPLES)
@once
def test_transformers_opens_a_model_made_here(task, tokenizer, tmp_path):
    import torch
    import transformers

    model = fill(make(task, tokenizer))
    model.save_to_preset(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert config["model_type"] == "bert"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        reference = getattr(transformers, config["architectures"][0]).from_pretrained(tmp_path / "mine").eval()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "mine")
    columns, packed = model.encode_texts(TEXTS[:2], TEXTS[1:3])
    encoded = theirs(TEXTS[:2], TEXTS[1:3])
    assert encoded["input_ids"] == [ids.tolist() for ids in packed.token_ids]
    with torch.no_grad():
        result = reference(**{name: torch.tensor(rows[:1]) for name, rows in encoded.items()})
    ours = model.run({name: column.take([0]) for name, column in columns.items()})
    if task == "TextEmbedder":
        expected = result.last_hidden_state.mean(1)
        assert relative_error(ours, expected / expected.norm()) < 1e-5
    elif task == "QuestionAnswerer":
        assert relative_error(ours[0], torch.stack([result.start_logits[0], result.end_logits[0]], -1)) < 1e-5
    else:
        assert relative_error(ours[0], result.logits[0]) < 1e-5


@once
@pytest.mark.parametrize("task", EXAMPLES)
def test_explain_shows_the_head(task, tokenizer):
    shown = kt.explain(make(task, tokenizer, dropout=0.1)).splitlines()[-2:]
    assert (
        shown
        == {
            "MaskedLM": [
                "",
                "head       dense → 32, gelu, LayerNorm ε=1e-12, 32 → 228, the embeddings transposed, bias",
            ],
            "TextClassifier": [
                "pooler     the first token, dense → 32, tanh, dropout 0.1",
                "classifier 32 → 2, bias, single_label: LABEL_0, LABEL_1",
            ],
            "TokenClassifier": ["", "classifier 32 → 2, bias, after dropout 0.1, single_label: LABEL_0, LABEL_1"],
            "QuestionAnswerer": ["", "span       32 → 2, bias, first and last token of the answer"],
            "TextEmbedder": ["", "pooler     the mean of all tokens, of length 1"],
        }[task]
    )


@once
def test_models_that_no_task_of_an_encoder_takes(tokenizer):
    config = kt.models.transformer(tokenizer.vocabulary_size, num_layers=1, hidden_dim=16, num_heads=2)
    for task in EXAMPLES:
        with pytest.raises(ValueError, match="Expected a ModelConfig with .*, such as kt.models.encoder makes"):
            getattr(kt, task)(config)
    with pytest.raises(ValueError, match="an encoder and no decoder, such as kt.models.encoder makes"):
        kt.MaskedLM(dataclasses.replace(config, encoder=None))
    with pytest.raises(ValueError, match="The tokenizer does not belong to this model: .* a vocabulary of"):
        kt.TextClassifier(kt.models.encoder(50, num_layers=1, hidden_dim=16, num_heads=2), tokenizer)


# --- training by default ---


@pytest.mark.each_keras
@pytest.mark.parametrize("task", ["TextClassifier"] + [pytest.param(t, marks=once) for t in EXAMPLES])
def test_norms_and_biases_do_not_decay(task, tokenizer):
    """With a gradient of 0, of examples that count for nothing, weight decay alone is left."""
    model = fill(make(task, tokenizer))
    model.compile()
    model.optimizer.weight_decay = 10.0
    before = weights_of(model)
    x, y = EXAMPLES[task]
    model.fit(x, y, sample_weight=np.zeros(6), verbose=0, num_buckets=1, batch_size=8)
    after = weights_of(model)
    still = {path for path in before if np.array_equal(before[path], after[path])}
    assert still == {path for path, value in before.items() if value.ndim < 2}
    assert any("norm" in path and path.endswith(("gamma", "scale")) for path in still)
    assert any(path.endswith("bias") for path in still)


class Rates(keras.callbacks.Callback):
    """The learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        self.rates.append(float(ops.convert_to_numpy(optimizer.learning_rate)))


@pytest.mark.each_keras
def test_the_schedule_is_as_long_as_fit(tokenizer):
    model = make("TextClassifier", tokenizer, num_layers=1)
    x, y = TEXTS * 4, [0, 1] * 12
    for epochs in (1, 1, 2):  # the second is as long as the first, and begins anew
        rates = Rates()
        before = weights_of(model)
        model.fit(x, y, epochs=epochs, batch_size=2, num_buckets=1, verbose=0, callbacks=[rates])
        steps = epochs * 12
        assert len(rates.rates) == steps
        warmup = 0.1 * steps
        expected = [5e-5 * min((n + 1) / warmup, (steps - n) / (steps - warmup), 1.0) for n in range(steps)]
        np.testing.assert_allclose(rates.rates, expected, rtol=1e-5)
        moved = [np.abs(weights_of(model)[path] - before[path]).max() for path in before]
        assert max(moved) > 1e-5
    assert kt.training.LinearDecay(1.0).get_config()["total_steps"] is None


@once
def test_the_schedule_goes_on_where_training_does(tokenizer):
    whole, parts = Rates(), Rates()
    x, y = TEXTS * 2, [0, 1] * 6
    options = {"batch_size": 2, "num_buckets": 1, "verbose": 0}
    model = make("TextClassifier", tokenizer, num_layers=1)
    model.fit(x, y, epochs=4, callbacks=[whole], **options)
    model = make("TextClassifier", tokenizer, num_layers=1)
    model.fit(x, y, epochs=4, initial_epoch=2, callbacks=[parts], **options)
    np.testing.assert_allclose(parts.rates, whole.rates[12:], rtol=1e-5)


@once
def test_the_schedule_is_found_behind_loss_scaling(tokenizer):
    model = make("TextClassifier", tokenizer, "mixed_float16", num_layers=1)
    rates = Rates()
    model.fit(TEXTS, [0, 1] * 3, batch_size=1, verbose=0, callbacks=[rates])
    assert rates.rates[-1] < 2.5e-5  # steps that overflow are not counted


@once
def test_batches_are_of_32_texts_or_as_asked(tokenizer):
    model = make("TextClassifier", tokenizer)
    assert model._batching(None, None) == {"batch_tokens": 4096, "batch_size": 32}
    assert model._batching(1000, None) == {"batch_tokens": 1000, "batch_size": None}
    assert make("MaskedLM", tokenizer)._batching(None, None) == {"batch_tokens": 4096, "batch_size": None}


@once
@pytest.mark.parametrize("task", EXAMPLES)
def test_a_loss_is_a_tasks_own(task, tokenizer):
    expected = f"Expected no loss: a {task} has its own. Leave it out"
    expected = "Expected a loss of vectors" if task == "TextEmbedder" else expected
    with pytest.raises((TypeError, ValueError), match=expected):
        make(task, tokenizer).compile(loss="mse")


@pytest.mark.each_keras
def test_parts_that_are_frozen_stay(tokenizer):
    model = make("TextClassifier", tokenizer)
    model.freeze(layers=1)
    model.compile(keras.optimizers.SGD(0.1))
    before = weights_of(model)
    assert not any("embedding" in path or "block_0" in path for path in before)
    all_before = {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.weights}
    model.fit(TEXTS, [0, 1] * 3, num_buckets=1, verbose=0)
    changed = {
        weight.path
        for weight in model.weights
        if "seed" not in weight.path and not np.array_equal(ops.convert_to_numpy(weight), all_before[weight.path])
    }
    assert changed and changed <= set(before)
    assert any("block_1" in path for path in changed) and any("classifier" in path for path in changed)


@once
def test_freezing_again_replaces_the_first(tokenizer):
    model = make("TextClassifier", tokenizer)
    every = len(model.trainable_variables)
    model.freeze(layers=True)
    assert {path.split("/")[1] for path in weights_of(model)} <= {"pooler", "classifier", "transform"} or not any(
        "encoder" in path or "embedding" in path for path in weights_of(model)
    )
    model.freeze(embeddings=False)
    assert len(model.trainable_variables) == every
    for wrong in (-1, 3, 1.5, "all"):
        with pytest.raises(ValueError, match=f"Expected from 0 to 2 layers, as the encoder has, got {wrong}"):
            model.freeze(layers=wrong)
    config = config_of(tokenizer, num_layers=4)
    shared = kt.TextClassifier(
        dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, num_distinct=2)), tokenizer
    )
    shared.freeze(layers=2)
    assert not any("block_0" in path for path in weights_of(shared))
    assert any("block_1" in path for path in weights_of(shared))
    with pytest.raises(ValueError, match="a multiple of 2 layers, which share their weights, got 1. Give True for all"):
        shared.freeze(layers=1)


@once
@pytest.mark.parametrize("task", EXAMPLES)
def test_training_says_nothing_and_resumes(task, tokenizer, tmp_path):
    """No warning in normal use; and what was stopped after an epoch goes on as if it had not been."""
    x, y = EXAMPLES[task]
    options = {"batch_size": 2, "num_buckets": 1, "verbose": 0}

    def trained(epochs, folder=None, model=None):
        keras.utils.set_random_seed(3)
        model = model or make(task, tokenizer, num_layers=1)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, y, epochs=epochs, callbacks=[Checkpoint(folder)] if folder else None, **options)
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        whole = trained(2)
        trained(1, tmp_path / "run")
        resumed = trained(2, tmp_path / "run")
        resumed.predict(x)
    for path, value in weights_of(whole).items():
        np.testing.assert_allclose(weights_of(resumed)[path], value, atol=2e-5, err_msg=path)


@pytest.mark.each_keras
@pytest.mark.parametrize("dtype", few(["mixed_float16", "bfloat16"], "mixed_float16"))
@pytest.mark.parametrize("task", ["TextEmbedder"] + [pytest.param(t, marks=once) for t in EXAMPLES])
def test_half_precision_is_finite(task, dtype, tokenizer):
    whole = fill(make(task, tokenizer), scale=0.1)
    half = make(task, tokenizer, dtype)
    for mine, theirs in zip(half.weights, whole.weights, strict=True):
        if "seed_generator" not in mine.path:
            mine.assign(ops.cast(ops.convert_to_numpy(theirs), mine.dtype))
    x, y = EXAMPLES[task]
    ours, expected = half.predict(x), whole.predict(x)
    for a, b in zip(ours, expected, strict=True):
        assert np.isfinite(a.astype("float32")).all()
        assert relative_error(np.asarray(a, "float32"), b) < 0.1
    if task == "TextClassifier":
        assert 0 < half.classify("a")["score"] <= 1
    assert np.isfinite(half.evaluate(x, y, verbose=0)["loss"])


# --- files ---


@pytest.mark.each_keras
@pytest.mark.parametrize("task", ["TextClassifier"] + [pytest.param(t, marks=once) for t in EXAMPLES])
def test_a_keras_file_holds_it_all(task, tokenizer, tmp_path):
    arguments = {
        "MaskedLM": {"mask_rate": 0.3},
        "TextClassifier": {"labels": ["x", "y"], "problem": "multi_label"},
        "TokenClassifier": {"labels": ["O", "B-x", "I-x"]},
        "QuestionAnswerer": {"overlap": 5},
        "TextEmbedder": {"pooling": "max", "normalize": False, "max_length": 7, "scale": 3.0},
    }[task]
    model = fill(getattr(kt, task)(config_of(tokenizer), tokenizer, **arguments))
    model.compile()
    x, y = EXAMPLES[task]
    y = [["x"], []] * 3 if task == "TextClassifier" else y
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*longer than 7 tokens")
        model.fit(x, y, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert type(again) is type(model) and again.get_config() == model.get_config()
        for ours, theirs in zip(again.predict(x), model.predict(x), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert again.tokenizer.encode(TEXTS) == tokenizer.encode(TEXTS)
        # what is left out of weight decay still is
        decayed = {weight.path for weight in again.trainable_variables if again.optimizer._use_weight_decay(weight)}
        assert decayed == {path for path, value in weights_of(again).items() if value.ndim > 1}
        assert again.optimizer.iterations == model.optimizer.iterations
        again.fit(x, y, verbose=0)


@pytest.mark.each_keras
@pytest.mark.parametrize("task", ["TextClassifier"] + [pytest.param(t, marks=once) for t in EXAMPLES])
def test_a_preset_of_our_own(task, tokenizer, tmp_path):
    """Of a model that no family describes."""
    config = config_of(tokenizer)
    block = dataclasses.replace(config.encoder.block, norm_placement="pre")
    encoder = dataclasses.replace(config.encoder, block=block, final_norm=True)
    config = dataclasses.replace(config, encoder=encoder)
    assert describing(config) is None
    arguments = {"labels": ["O", "B-x", "I-x"]} if "Classifier" in task else {}
    arguments |= {"pooling": "max", "normalize": False, "max_length": 40} if task == "TextEmbedder" else {}
    model = fill(getattr(kt, task)(config, tokenizer, **arguments))
    model.save_to_preset(tmp_path / "mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again = getattr(kt, task).from_preset(tmp_path / "mine")
    assert again.get_config()["config"] == model.get_config()["config"]
    assert getattr(again, "labels", None) == getattr(model, "labels", None)
    for ours, theirs in zip(again.predict(EXAMPLES[task][0]), model.predict(EXAMPLES[task][0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    again.save_to_preset(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "mine" / name).read_bytes()
    for other in EXAMPLES:
        if other in (task, "TextEmbedder"):
            continue
        with pytest.warns(UserWarning, match=f"holds no head of this task .it was made for {task}.: .*begin anew"):
            changed = getattr(kt, other).from_preset(tmp_path / "mine")
        hidden = [m.backbone(np.array([[5, 6]], "int32")) for m in (model, changed)]
        assert relative_error(*hidden) < 1e-6


@once
def test_a_new_head_is_said(tmp_path):
    checkpoints.save(tmp_path, "BertForSequenceClassification", id2label={0: "a", 1: "b", 2: "c"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        same = kt.TextClassifier.from_preset(tmp_path)
        renamed = kt.TextClassifier.from_preset(tmp_path, labels=["x", "y", "z"])
        counted = kt.TextClassifier.from_preset(tmp_path, num_classes=3, problem="multi_label")
        kt.TextEmbedder.from_preset(tmp_path)
    assert same.labels == counted.labels == ("a", "b", "c") and renamed.labels == ("x", "y", "z")
    assert counted.problem == "multi_label" and same.problem == "single_label"
    np.testing.assert_allclose(same.predict(TEXTS), renamed.predict(TEXTS))
    counted.save_to_preset(tmp_path / "several")
    assert kt.TextClassifier.from_preset(tmp_path / "several", labels=["x", "y", "z"]).problem == "multi_label"
    with pytest.warns(UserWarning, match="holds a head of other classes .* classifier.kernel.*begin anew") as caught:
        other = kt.TextClassifier.from_preset(tmp_path, num_classes=2)
    assert caught[0].filename == __file__ and other.labels == ("LABEL_0", "LABEL_1")
    with pytest.warns(UserWarning, match="holds no head of this task .it was made for TextClassifier."):
        kt.TokenClassifier.from_preset(tmp_path)


@once
def test_labels_that_a_file_damages(tmp_path):
    checkpoints.save(tmp_path, "BertForSequenceClassification")
    values = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"id2label": {"a": "b"}}, "Expected id2label to give numbers names, got {'a': 'b'}"),
        ({"id2label": ["a"]}, "Expected id2label to give numbers names"),
        (
            {"problem_type": "ranking"},
            "problem_type to be one of single_label_classification, .*got 'ranking'",
        ),
    ):
        (tmp_path / "config.json").write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=message):
            kt.TextClassifier.from_preset(tmp_path)


# --- rows ---


@once
def test_prepared_arrays_go_to_keras(tokenizer):
    model = fill(make("TextClassifier", tokenizer))
    rows = tokenizer.encode(TEXTS)
    width = max(map(len, rows)) + 2
    token_ids = np.zeros((6, width), "int32")
    for n, row in enumerate(rows):
        token_ids[n, : len(row) + 2] = [tokenizer.start_id, *row, tokenizer.end_id]
    expected = model.predict(TEXTS)
    for x in (token_ids, {"token_ids": token_ids}, ops.convert_to_tensor(token_ids)):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)

    class Rows(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return ({"token_ids": token_ids[2 * index : 2 * index + 2]},)

    np.testing.assert_allclose(model.predict(Rows(), verbose=0), expected, atol=1e-5)


@once
def test_ids_outside_of_the_vocabulary(tokenizer):
    from keras_transformers.data.pairs import Ragged

    model = make("TextClassifier", tokenizer)
    size = tokenizer.vocabulary_size
    with pytest.raises(ValueError, match=rf"token ids in \[0, {size}\) in token_ids, got ids from 3 to {size}"):
        model.run({"token_ids": Ragged.join([np.array([3, size], "int32")])})
    with pytest.raises(ValueError, match="Expected at most 128 token_ids, for which the model has positions, got 129"):
        model.run({"token_ids": Ragged.join([np.full(129, 5, "int32")])})
    narrow = make("TokenClassifier", tokenizer, max_length=2)
    with pytest.raises(ValueError, match="reads more than the 2 special tokens of a row, got one of 2"):
        narrow.tag("a b")


@once
def test_texts_of_similar_length_are_computed_together_with_little_padding():
    lengths = np.random.default_rng(0).integers(1, 513, 1000)
    batches = list(batches_by_length(lengths, 32))
    shapes = [batch_shape(lengths[rows]) for rows in batches]
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(1000))
    for rows, (size, width) in zip(batches, shapes, strict=True):
        assert len(rows) <= size and lengths[rows].max() <= width
    assert sum(size * width for size, width in shapes) < 1.12 * lengths.sum()
    assert len(batches) < 1000 / 32 + 30  # one more for each eighth that lengths lose, whatever their number


@once
def test_lengths_are_few_and_windows_cover():
    assert [bucket(n) for n in (0, 1, 8, 9, 32, 33, 48, 49, 65, 100, 512)] == [
        8,
        8,
        8,
        16,
        32,
        48,
        48,
        64,
        96,
        128,
        512,
    ]
    assert windows(5, None, 0) == [(0, 5)] and windows(5, 5, 2) == [(0, 5)] and windows(0, 5, 2) == [(0, 0)]
    for length, room, overlap in ((6, 5, 2), (100, 10, 4), (101, 10, 9), (11, 10, 0)):
        found = windows(length, room, overlap)
        assert found[0][0] == 0 and found[-1][1] == length and {end - begin for begin, end in found} == {room}
        assert all(a < c <= b - overlap for (a, b), (c, _) in zip(found, found[1:], strict=False))
    with pytest.raises(ValueError, match="an overlap from 0 to below the 5 tokens of a window, got 5"):
        windows(9, 5, 5)


@pytest.mark.each_keras
def test_padding_changes_nothing(tokenizer):
    model = fill(make("TextClassifier", tokenizer))
    token_ids = np.abs(numbers((3, 10)) * 100).astype("int32") % 290 + 5
    narrow = model({"token_ids": token_ids})
    wide = model({"token_ids": np.pad(token_ids, ((0, 2), (0, 7)))})
    assert relative_error(wide[:3], narrow) < 1e-5
    assert np.isfinite(ops.convert_to_numpy(wide)).all()
