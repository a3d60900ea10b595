import dataclasses
import json
import time

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.formats import preset, safetensors_files
from keras_transformers.layers.heads import HeadConfig
from tests.layers.reference import fill, relative_error

PAIRS = [
    ("a red house", "une maison rouge"),
    ("a blue house", "une maison bleue"),
    ("a red car", "une voiture rouge"),
    ("the cat", "le chat"),
    ("the red cat sleeps", "le chat rouge dort"),
    ("the dog sleeps", "le chien dort"),
    ("I see a dog.", "Je vois un chien."),
    ("I see a blue car.", "Je vois une voiture bleue."),
]
SOURCES, TARGETS = ([pair[side] for pair in PAIRS] for side in (0, 1))
LONGEST = 40

# What is settled before anything is computed, or computed by layers that are tested by themselves: where nothing is
# compiled, it is tested soonest.
once = pytest.mark.one_backend("torch")


def on_torch(*values):
    """Parameters of a test that one backend is enough for."""
    return [pytest.param(value, marks=once) for value in values]


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(SOURCES + TARGETS, vocabulary_size=300)


def make(tokenizer, **settings):
    settings = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0, "max_length": LONGEST, **settings}
    return kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **settings), tokenizer=tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer):
    """With weights that make it say something of some length, if nothing sensible."""
    return fill(make(tokenizer, tied_head=False), scale=0.6)


# --- translate ---


@once
def test_a_string_for_a_string_and_a_list_for_a_list(model):
    results = model.translate(SOURCES, max_new_tokens=8)
    assert isinstance(results, list) and len(results) == len(SOURCES)
    assert all(isinstance(result, str) for result in results)
    assert len(set(results)) > 1
    assert model.translate(SOURCES[3], max_new_tokens=8) == results[3]
    assert model.translate(np.array(SOURCES), max_new_tokens=8) == results
    assert model.translate(tuple(SOURCES), max_new_tokens=8) == results


@pytest.mark.each_keras
@pytest.mark.parametrize("num_beams", [3, *on_torch(1)])
def test_batches_change_nothing(model, num_beams):
    options = {"max_new_tokens": 8, "num_beams": num_beams}
    together = model.translate(SOURCES, **options)
    done = []
    assert model.translate(SOURCES, batch_size=3, progress=done.append, **options) == together
    assert sum(done) == len(SOURCES)
    assert model.translate(SOURCES[::-1], batch_size=5, **options) == together[::-1]


@pytest.mark.each_keras
def test_nothing_in_nothing_out(model):
    assert model.translate([]) == []
    assert model.translate("") == ""
    assert model.translate([""]) == [""]
    assert model.translate([" ", "\n\t", "\u3000"]) == ["", "", ""]
    assert model.translate([], return_scores=True, num_beams=2) == ([], [])
    results = model.translate(["", SOURCES[0], "  "], max_new_tokens=4)
    assert results == ["", model.translate(SOURCES[0], max_new_tokens=4), ""]
    results, scores = model.translate(["", SOURCES[0]], max_new_tokens=4, num_beams=2, return_scores=True)
    assert results[0] == "" and scores[0] == 0.0 and scores[1] < 0


@once
def test_a_million_characters_are_cut_and_it_says_so(model):
    begin = time.perf_counter()
    with pytest.warns(UserWarning, match=f"1 of 2 texts are longer than the {LONGEST} tokens"):
        results = model.translate(["the cat " * 125_000, "the cat"], max_new_tokens=4)
    assert time.perf_counter() - begin < 60
    assert len(results) == 2 and results[1] == model.translate("the cat", max_new_tokens=4)


@once
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfffy", "\U0001f600", "ﷺ\u0301\u200b", "</s><s><pad>"])
@pytest.mark.filterwarnings("default:Special tokens that a text spells")
def test_odd_text_is_translated_or_refused_by_name(model, text):
    try:
        result = model.translate([text, "the cat"], max_new_tokens=4)
    except ValueError as error:
        assert "a lone surrogate" in str(error) and "text 0" in str(error)
    else:
        assert len(result) == 2 and result[1] == model.translate("the cat", max_new_tokens=4)


@once
@pytest.mark.parametrize("texts", [[1], [None], ["fine", 2.5], b"bytes", [["nested"]], None, 3])
def test_what_is_no_text_is_an_error(model, texts):
    with pytest.raises(TypeError, match="[Ee]xpected"):
        model.translate(texts)


@pytest.mark.each_keras
def test_several_translations_with_scores(model):
    options = {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 6}
    results, scores = model.translate(SOURCES[:2] + [""], return_scores=True, **options)
    assert [len(each) for each in results] == [len(each) for each in scores] == [3, 3, 3]
    for translations, values in zip(results[:2], scores[:2], strict=True):
        assert len(set(translations)) > 1
        assert values == sorted(values, reverse=True) and values[0] < 0
    best, best_scores = model.translate(SOURCES[:2], num_beams=4, max_new_tokens=6, return_scores=True)
    assert best == [each[0] for each in results[:2]]
    np.testing.assert_allclose(best_scores, [each[0] for each in scores[:2]], rtol=1e-4)
    single, score = model.translate(SOURCES[0], return_scores=True, **options)
    assert single == results[0] and np.allclose(score, scores[0], rtol=1e-4)


@pytest.mark.each_keras
def test_a_score_is_the_sum_of_log_probabilities_by_length(model):
    """Found again by teacher forcing."""
    config = dataclasses.replace(model.generation, num_beams=3, max_new_tokens=6, length_penalty=0.7)
    source = model.tokenizer.encode(["the red cat"])[0] + [model.tokenizer.end_id]
    generated = model.generate([source], config)
    row = [int(token_id) for token_id in generated.token_ids[0]]
    ends = [place for place, token_id in enumerate(row) if token_id == model.tokenizer.end_id]
    row = row[: ends[0] + 1] if ends else row
    x = {"token_ids": [source], "decoder_token_ids": [[model.tokenizer.start_id] + row[:-1]]}
    logits = ops.convert_to_numpy(model({name: np.array(ids, "int32") for name, ids in x.items()}))[0]
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = sum(log_probabilities[place, token_id] for place, token_id in enumerate(row))
    assert float(generated.scores[0]) == pytest.approx(total / len(row) ** 0.7, rel=1e-4)


@pytest.mark.parametrize("text", [SOURCES[0], "", *on_torch(*SOURCES[1:4], "  ", "zzz \U0001f600")])
def test_a_stream_joins_to_the_translation(model, text):
    pieces = list(model.stream(text, max_new_tokens=20))
    assert "".join(pieces) == model.translate(text, num_beams=1, max_new_tokens=20)
    assert all(isinstance(piece, str) for piece in pieces)


@once
def test_a_stream_that_ends_inside_a_character(tokenizer):
    """A model that says one byte of several, again and again."""
    babbler = fill(make(tokenizer, tied_head=False, head_bias=True), scale=0.01)
    first_byte = tokenizer.encode(["\U0001f600"])[0][0]
    bias = np.zeros(tokenizer.vocabulary_size, "float32")
    bias[first_byte] = 9.0
    babbler.head.dense.bias.assign(bias)
    expected = babbler.translate("the cat", max_new_tokens=3)
    assert "\ufffd" in expected
    assert "".join(babbler.stream("the cat", max_new_tokens=3)) == expected


@once
def test_settings_that_do_not_exist_or_contradict(model, tokenizer):
    with pytest.raises(TypeError, match="settings among num_beams.*got 'beams'.* 'top'"):
        model.translate("a", beams=3, top=1)
    with pytest.raises(ValueError, match="num_return_sequences to be at most num_beams=1, got 2"):
        model.translate("a", num_beams=1, num_return_sequences=2)
    with pytest.raises(TypeError, match="num_beam"):
        list(model.stream("a", num_beam=3))
    with pytest.raises(ValueError, match="beam"):
        list(model.stream("a", num_beams=3))
    without = kt.Seq2SeqLM(model.config)
    with pytest.raises(ValueError, match="no tokenizer|start_id"):
        without.translate("a")


@pytest.mark.each_keras
def test_sampling_repeats_itself_by_its_seed(model):
    options = {"do_sample": True, "max_new_tokens": 8, "temperature": 2.0}
    first = model.translate(SOURCES, seed=1, **options)
    assert model.translate(SOURCES, seed=1, **options) == first
    assert model.translate(SOURCES, seed=2, **options) != first
    assert model.translate(SOURCES, seed=1, batch_size=3, **options) == first
    assert model.translate(SOURCES[:5], seed=1, **options) == first[:5]


@once
def test_stop_strings_penalties_and_scores_serve_translation_too(model):
    options = {"max_new_tokens": 12, "end_ids": ()}
    texts = model.translate(SOURCES, **options)
    stop = texts[0][4:7]
    wanted = [text[: text.find(stop)] if stop in text else text for text in texts]
    assert model.translate(SOURCES, stop=(stop,), **options) == wanted
    assert "".join(model.stream(SOURCES[0], stop=(stop,), **options)) == wanted[0]
    assert model.translate(SOURCES, no_repeat_ngram_size=1, **options) != texts
    greedy, scores = model.translate(SOURCES, return_scores=True, **options)
    _, with_beams = model.translate(SOURCES, return_scores=True, num_beams=4, num_return_sequences=1, **options)
    assert greedy == texts and all(score < 0 for score in scores)
    assert sum(with_beams) >= sum(scores)


@once
def test_no_more_tokens_than_there_are_positions(model):
    with pytest.warns(UserWarning, match=f"limit of {LONGEST} tokens, .* The model has positions for no more"):
        model.translate(SOURCES[:2], max_new_tokens=10 * LONGEST)
    endless = kt.GenerationConfig(start_id=model.generation.start_id, padding_id=model.config.padding_id)
    assert model.generate([[5, 6]], endless).token_ids.shape == (1, LONGEST)


@once
def test_settings_that_the_model_cannot_follow(model):
    size = model.config.embeddings.vocabulary_size
    for change in ({"start_id": size}, {"end_ids": (size,)}, {"padding_id": size}):
        with pytest.raises(ValueError, match=rf"token ids in \[0, {size}\) in the generation settings"):
            model.translate("a", **change)
    with pytest.raises(ValueError, match="nothing to start with"):
        model.generate([[5]], kt.GenerationConfig())
    with pytest.raises(ValueError, match="got an empty source"):
        model.generate([[5], []])
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size of at least 1, got {batch_size}"):
            model.translate(SOURCES, batch_size=batch_size)


@once
def test_a_vocabulary_rounded_up_says_nothing_of_what_the_tokenizer_has_not(tokenizer):
    beyond = tokenizer.vocabulary_size + 30
    config = kt.models.transformer(
        tokenizer.vocabulary_size + 60, num_layers=1, hidden_dim=16, num_heads=2, tied_head=False, head_bias=True
    )
    babbler = fill(kt.Seq2SeqLM(config, tokenizer), scale=0.1)
    babbler.head.dense.bias.assign(np.eye(tokenizer.vocabulary_size + 60)[beyond] * 50)
    assert set(babbler.generate([[5]], babbler.generation_config(max_new_tokens=4)).token_ids[0]) == {beyond}
    assert babbler.translate("the cat", max_new_tokens=4) == "".join(babbler.stream("the cat", max_new_tokens=4)) == ""


# --- token ids ---


def test_generate_refuses_ids_that_do_not_exist(model):
    size = model.config.embeddings.vocabulary_size
    with pytest.raises(ValueError, match=rf"token ids in \[0, {size}\) in sources, got ids from 2 to {size}"):
        model.generate([[5, size, 2]])
    for wrong in (-1, 2**40):
        with pytest.raises(ValueError, match=f"got {wrong} in the sequence at index 0"):
            model.generate([[5, wrong, 2]])


def test_generate_refuses_what_is_too_long(model):
    with pytest.raises(ValueError, match=f"at most {LONGEST} tokens"):
        model.generate([[5] * (LONGEST + 1)])


def test_generate_of_nothing(model):
    generated = model.generate([])
    assert generated.token_ids.shape[0] == 0


# --- training ---


class PairsOfBatches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return SOURCES[index * 4 : index * 4 + 4], TARGETS[index * 4 : index * 4 + 4]


def as_tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((SOURCES, TARGETS))


def as_loader():
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(PAIRS, batch_size=3)


def as_arrays(tokenizer):
    from keras_transformers.tokenizers.packing import pack

    sources, targets = tokenizer.encode(SOURCES), tokenizer.encode(TARGETS)
    start, end, padding = tokenizer.start_id, tokenizer.end_id, tokenizer.padding_id
    x = {
        "token_ids": pack(sources, padding_id=padding, end_id=end).token_ids,
        "decoder_token_ids": pack(targets, padding_id=padding, start_id=start).token_ids,
    }
    return x, pack(targets, padding_id=padding, end_id=end).token_ids


def in_halves(tokenizer, weighted=False):
    """The prepared arrays as two batches of their own lengths."""
    x, y = as_arrays(tokenizer)
    for half in (slice(4), slice(4, None)):
        length = (y[half] != 0).sum(1).max()
        batch = {name: ids[half] for name, ids in x.items()}
        batch["decoder_token_ids"] = batch["decoder_token_ids"][:, :length]
        yield (batch, y[half, :length], (y[half, :length] != 0).astype("float32"))[: 3 if weighted else 2]


def batches_as_tf_data(tokenizer):
    tf = pytest.importorskip("tensorflow")
    x, y = as_arrays(tokenizer)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(3)


KINDS = {
    "generator of arrays": lambda tokenizer: (in_halves(tokenizer), None),
    "list of arrays with weights": lambda tokenizer: (iter([*in_halves(tokenizer, weighted=True)]), None),
    "tf.data of arrays": lambda tokenizer: (batches_as_tf_data(tokenizer), None),
    "lists": lambda tokenizer: (SOURCES, TARGETS),
    "pairs": lambda tokenizer: (PAIRS, None),
    "arrays of strings": lambda tokenizer: (np.array(SOURCES), np.array(TARGETS)),
    "generator": lambda tokenizer: ((pair for pair in PAIRS), None),
    "tf.data": lambda tokenizer: (as_tf_data(), None),
    "PyDataset": lambda tokenizer: (PairsOfBatches(), None),
    "DataLoader": lambda tokenizer: (as_loader(), None),
    "arrays": as_arrays,
}
ONE_SHAPE = {"batch_size": len(PAIRS), "num_buckets": 1}


@pytest.fixture(scope="module")
def fitted(tokenizer):
    """The weights after one step on all pairs, from lists, and what `evaluate` says then."""
    trained = fill(make(tokenizer), scale=0.3)
    trained.compile(keras.optimizers.SGD(0.1))
    loss = trained.fit(SOURCES, TARGETS, verbose=0, **ONE_SHAPE).history["loss"]
    return trained.get_weights(), loss, trained.evaluate(SOURCES, TARGETS, verbose=0, batch_size=8)


@pytest.mark.each_keras
@pytest.mark.parametrize("kind", ["lists", "arrays", *on_torch(*sorted(KINDS.keys() - {"lists", "arrays"}))])
def test_every_source_trains_alike(kind, tokenizer, fitted):
    weights, loss, scores = fitted
    trained = fill(make(tokenizer), scale=0.3)
    trained.compile(keras.optimizers.SGD(0.1))
    history = trained.fit(*KINDS[kind](tokenizer), verbose=0, **ONE_SHAPE)
    np.testing.assert_allclose(history.history["loss"], loss, rtol=1e-4)
    for ours, theirs in zip(trained.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    found = trained.evaluate(*KINDS[kind](tokenizer), verbose=0, batch_size=8)
    assert found.keys() == scores.keys() == {"loss", "perplexity", "token_accuracy"}
    for name, value in found.items():
        assert value == pytest.approx(scores[name], rel=1e-3), name


def test_training_learns_the_pairs(tokenizer):
    keras.utils.set_random_seed(1)
    trained = make(tokenizer, hidden_dim=32, num_heads=4)
    trained.compile(keras.optimizers.Adam(1e-2), label_smoothing=0.0)
    history = trained.fit(SOURCES, TARGETS, epochs=60, verbose=0, **ONE_SHAPE).history
    assert history["loss"][-1] < 0.1 and history["token_accuracy"][-1] > 0.99
    assert history["perplexity"][-1] == pytest.approx(np.exp(history["loss"][-1]), rel=1e-2)
    assert trained.translate(SOURCES) == TARGETS
    assert trained.translate(SOURCES, num_beams=3) == TARGETS
    assert "".join(trained.stream(SOURCES[4])) == TARGETS[4]


@pytest.mark.each_keras
def test_the_loss_is_the_mean_over_tokens_however_they_are_batched(tokenizer):
    trained = fill(make(tokenizer), scale=0.3)
    trained.compile(keras.optimizers.SGD(0.0), label_smoothing=0.0)
    for options in ({"batch_size": 8}, {"batch_tokens": 24}, *({"batch_size": n} for n in (1, 3))):
        scores = trained.evaluate(PAIRS, verbose=0, **options)
        assert scores["loss"] == pytest.approx(np.log(scores["perplexity"]), rel=1e-5)
        assert scores["loss"] == pytest.approx(trained.evaluate(PAIRS, verbose=0)["loss"], rel=1e-4)
    history = trained.fit(PAIRS, batch_tokens=24, validation_data=PAIRS, verbose=0).history
    assert history["val_loss"] == pytest.approx([scores["loss"]], rel=1e-4)
    assert history["loss"] == pytest.approx([scores["loss"]], rel=1e-4)


@once
def test_weights_of_labels(tokenizer):
    trained = fill(make(tokenizer), scale=0.3)
    x, y = as_arrays(tokenizer)
    first = np.zeros(y.shape)
    first[:, 0] = 1
    trained.compile(keras.optimizers.SGD(0.0), label_smoothing=0.0)
    logits = ops.convert_to_numpy(trained(x))[:, 0].astype("float64")
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(y)), y[:, 0]]
    assert trained.evaluate(x, y, sample_weight=first, verbose=0)["loss"] == pytest.approx(expected.mean(), rel=1e-4)
    history = trained.fit(x, y, sample_weight=first, validation_data=(x, y, first), verbose=0).history
    assert history["loss"] == pytest.approx(history["val_loss"], rel=1e-4)
    assert history["loss"] == pytest.approx([expected.mean()], rel=1e-4)
    for wrong in ({"sample_weight": first[:, 1:]}, {"sample_weight": first[0]}):
        with pytest.raises(
            ValueError,
            match=r"sample_weight \[N\], or \[N, T\]|Expected as many rows in each column, .* 13 sample_weight",
        ):
            trained.fit(x, y, **wrong)
    with pytest.raises(ValueError, match="a finite number as sample_weight 0"):
        trained.fit(SOURCES, TARGETS, sample_weight=first)


@once
def test_ready_batches_must_fit_the_model(tokenizer):
    from keras_transformers.data import translation_batches

    trained = make(tokenizer)
    long = translation_batches(["the cat " * LONGEST], ["le chat"], tokenizer=tokenizer)
    with pytest.raises(ValueError, match=rf"at most {LONGEST} token_ids.*max_length={LONGEST}"):
        trained.fit(long)
    with pytest.raises(ValueError, match=rf"at most {LONGEST} decoder_token_ids"):
        trained.evaluate(translation_batches(["a"], ["le chat " * LONGEST], tokenizer=tokenizer))
    other = kt.models.transformer(100, target_vocabulary_size=300, shared_embeddings=False, num_layers=1, hidden_dim=16)
    with pytest.raises(ValueError, match="300 tokens, where the model has 100"):
        kt.Seq2SeqLM(other, tokenizer)
    batches = translation_batches(PAIRS, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"token ids in \[0, 100\) in token_ids"):
        kt.Seq2SeqLM(other).fit(batches)
    history = trained.fit(batches, validation_data=batches, verbose=0).history
    assert history["val_loss"] == pytest.approx([trained.evaluate(batches, verbose=0)["loss"]], rel=1e-4)


@once
def test_options_that_contradict_each_other(tokenizer):
    from keras_transformers.data import translation_batches

    trained, batches = make(tokenizer), translation_batches(PAIRS, tokenizer=tokenizer)
    for arguments, expected in (
        ({"x": batches, "validation_split": 0.5}, "validation_split alone, got it together with Batches"),
        ({"x": PAIRS, "validation_split": 0.5, "validation_data": PAIRS}, "together with validation_data"),
        ({"x": batches, "max_length": 4}, "Batches alone"),
        ({"x": batches, "y": TARGETS}, "Batches alone"),
        ({"x": PAIRS, "steps_per_epoch": 3}, "no steps_per_epoch"),
    ):
        with pytest.raises(ValueError, match=expected):
            trained.fit(**arguments)
    with pytest.raises(ValueError, match="Expected no loss"):
        trained.compile(loss="mse")
    for wrong in (-0.1, 1.0, 1.5):
        with pytest.raises(ValueError, match=rf"label_smoothing in \[0, 1\), got {wrong}"):
            trained.compile(label_smoothing=wrong)
    assert trained.fit(PAIRS, initial_epoch=2, epochs=4, verbose=0).epoch == [2, 3]


@once
def test_a_folder_of_checkpoints_belongs_to_its_data(tokenizer, tmp_path):
    from keras_transformers.training import Checkpoint

    make(tokenizer).fit(PAIRS, epochs=2, verbose=0, callbacks=[Checkpoint(tmp_path)])
    for change in ({"seed": 1}, {"batch_size": 3}, {"x": PAIRS[::-1]}):
        with pytest.raises(ValueError, match="Expected the data, batch sizes and seed that"):
            make(tokenizer).fit(**{"x": PAIRS, "epochs": 3, "verbose": 0, **change}, callbacks=[Checkpoint(tmp_path)])
    with pytest.warns(UserWarning, match="Nothing is trained: 2 epochs are done"):
        history = make(tokenizer).fit(PAIRS, epochs=2, verbose=0, callbacks=[Checkpoint(tmp_path)])
    assert history.epoch == []
    assert make(tokenizer).fit(PAIRS, epochs=3, verbose=0, callbacks=[Checkpoint(tmp_path)]).epoch == [2]


@once
def test_a_part_for_validation(tokenizer):
    trained = make(tokenizer)
    history = trained.fit(SOURCES, TARGETS, validation_split=0.25, epochs=2, verbose=0, **ONE_SHAPE).history
    assert {"val_loss", "val_perplexity", "val_token_accuracy"} <= set(history)
    history = trained.fit(PAIRS, validation_data=PAIRS[:2], verbose=0, **ONE_SHAPE).history
    alone = trained.evaluate(PAIRS[:2], verbose=0)
    assert history["val_loss"] == pytest.approx([alone["loss"]], rel=1e-4)
    history = trained.fit(PAIRS, validation_data=(SOURCES[:2], TARGETS[:2]), verbose=0, **ONE_SHAPE).history
    alone = trained.evaluate(SOURCES[:2], TARGETS[:2], verbose=0)
    assert history["val_loss"] == pytest.approx([alone["loss"]], rel=1e-4)


@pytest.mark.each_keras
def test_padding_is_out_of_the_loss_and_the_metrics(tokenizer):
    trained = fill(make(tokenizer), scale=0.3)
    trained.compile(keras.optimizers.SGD(0.0), label_smoothing=0.1)
    x, y = as_arrays(tokenizer)
    plain = trained.train_on_batch(x, y, return_dict=True)
    longer = {name: np.pad(ids, ((0, 0), (0, 5))) for name, ids in x.items()}
    padded = trained.train_on_batch(longer, np.pad(y, ((0, 0), (0, 5))), return_dict=True)
    assert plain.keys() == {"loss", "perplexity", "token_accuracy"}
    logits = ops.convert_to_numpy(trained(x)).astype("float64")
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    real = y != 0
    likelihoods = np.take_along_axis(log_probabilities, y[..., None], -1)[..., 0][real]
    smoothed = 0.9 * likelihoods + 0.1 * log_probabilities.mean(-1)[real]
    assert float(plain["loss"]) == pytest.approx(-smoothed.mean(), rel=1e-4)
    assert float(plain["perplexity"]) == pytest.approx(np.exp(-likelihoods.mean()), rel=1e-4)
    assert float(plain["token_accuracy"]) == pytest.approx((logits.argmax(-1) == y)[real].mean(), rel=1e-4)
    for name, value in plain.items():
        assert float(padded[name]) == pytest.approx(float(value), rel=1e-4), name


@pytest.mark.each_keras
@pytest.mark.parametrize("policy", ["mixed_bfloat16", *on_torch("mixed_float16")])
def test_training_in_mixed_precision(tokenizer, policy):
    keras.utils.set_random_seed(0)
    trained = kt.Seq2SeqLM(make(tokenizer).config, tokenizer, dtype=policy)
    trained.compile(keras.optimizers.Adam(1e-2))
    history = trained.fit(PAIRS, epochs=4, verbose=0, **ONE_SHAPE).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert {weight.dtype for weight in trained.trainable_weights} == {"float32"}
    assert all(isinstance(each, str) for each in trained.translate(SOURCES[:2], num_beams=2, max_new_tokens=5))


@once
def test_training_needs_a_tokenizer_for_text(tokenizer):
    with pytest.raises(ValueError, match="Expected a tokenizer to encode the pairs with"):
        kt.Seq2SeqLM(make(tokenizer).config).fit(SOURCES, TARGETS)
    with pytest.raises(ValueError, match="8.*7|7.*8"):
        make(tokenizer).fit(SOURCES, TARGETS[1:])


@pytest.mark.each_keras
def test_a_scaled_heads_step_in_chunks_is_a_step_by_whole_logits(tokenizer):
    weights = []
    for metrics in (None, [keras.metrics.MeanMetricWrapper(lambda y, p: ops.mean(p, axis=-1), name="logits")]):
        keras.utils.set_random_seed(1)
        config = make(tokenizer).config
        model = kt.Seq2SeqLM(dataclasses.replace(config, head=HeadConfig(scale=True)), tokenizer)
        assert model.head.matrix(model.backbone.decoder_embedding) is not None
        model.compile(keras.optimizers.SGD(0.5), weighted_metrics=metrics)
        history = model.fit(SOURCES, TARGETS, epochs=3, verbose=0).history
        weights.append([ops.convert_to_numpy(weight) for weight in model.trainable_variables])
        weights[-1].append(np.array([history[name] for name in ("loss", "perplexity", "token_accuracy")]))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


# --- what does not belong together ---


@once
def test_models_that_cannot_be(tokenizer):
    config = make(tokenizer).config
    with pytest.raises(TypeError, match="to be a ModelConfig .*got 3"):
        kt.Seq2SeqLM(3)
    with pytest.raises(ValueError, match="with an encoder and a decoder"):
        kt.Seq2SeqLM(dataclasses.replace(config, decoder=None))
    small = kt.models.transformer(20, num_layers=1, hidden_dim=16, num_heads=2, padding_id=3)
    with pytest.raises(
        ValueError, match=r"does not belong.*where the model has 20 and padding_id=\d, where the model has 3"
    ):
        kt.Seq2SeqLM(small, tokenizer)


# --- presets ---


@pytest.mark.each_keras
def test_a_preset_gives_the_same_model(model, tmp_path):
    model.save_to_preset(tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    expected = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert names == expected | {"SHA256SUMS"}
    again = kt.Seq2SeqLM.from_preset(tmp_path / "mine")
    assert again.config == model.config and again.generation == model.generation
    assert {weight.dtype for weight in again.weights if "seed" not in weight.path} <= {"float32"}
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), err_msg=ours.path)
    assert again.translate(SOURCES, num_beams=2, max_new_tokens=6) == model.translate(
        SOURCES, num_beams=2, max_new_tokens=6
    )
    again.compile(keras.optimizers.SGD(0.1))
    again.fit(PAIRS, verbose=0, **ONE_SHAPE)


@once
@pytest.mark.parametrize("stored", [None, "float16"])
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16", "mixed_bfloat16"])
def test_precision_of_presets(model, tmp_path, stored, dtype):
    model.save_to_preset(tmp_path / "mine", dtype=stored)
    kinds = {
        safetensors_files.read_tensors(tmp_path / "mine").dtype(name)
        for name in safetensors_files.read_tensors(tmp_path / "mine")
    }
    assert kinds == {"F16" if stored else "F32"}
    again = kt.Seq2SeqLM.from_preset(tmp_path / "mine", dtype=dtype)
    kept = dtype if dtype in ("float16", "bfloat16") else "float32"
    assert {weight.dtype for weight in again.trainable_weights} == {kept}
    x = {"token_ids": np.array([[5, 6, 2]]), "decoder_token_ids": np.array([[1, 7, 8]])}
    error = relative_error(ops.cast(again(x), "float32"), ops.convert_to_numpy(model(x)))
    assert error < (5e-2 if "bfloat16" in str(dtype) else 5e-3 if stored or dtype else 1e-6)


@once
def test_a_preset_with_dropout_trains(tokenizer, tmp_path):
    make(tokenizer, dropout=0.3, attention_dropout=0.1).save_to_preset(tmp_path / "mine")
    again = kt.Seq2SeqLM.from_preset(tmp_path / "mine")
    history = again.fit(PAIRS, epochs=2, verbose=0, **ONE_SHAPE).history
    assert np.isfinite(history["loss"]).all()
    x, _ = as_arrays(tokenizer)
    first, second = (ops.convert_to_numpy(again(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@once
def test_weights_that_do_not_fit_are_listed_together(model, tmp_path):
    model.save_to_preset(tmp_path / "mine")
    path = tmp_path / "mine" / preset.WEIGHTS
    tensors = dict(safetensors_files.read_tensors(tmp_path / "mine"))
    del tensors["encoder.block_0.feed_forward.up.bias"]
    tensors["encoder.block_0.feed_forward.up.bais"] = np.zeros(64, "float32")
    tensors["decoder.block_0.feed_forward.down.bias"] = np.zeros(3, "float32")
    safetensors_files.write_tensors(path, tensors)
    with pytest.raises(ValueError) as error:
        kt.Seq2SeqLM.from_preset(tmp_path / "mine")
    for expected in (
        str(tmp_path / "mine"),
        "missing encoder.block_0.feed_forward.up.bias [64] (did you mean 'encoder.block_0.feed_forward.up.bais'?)",
        "decoder.block_0.feed_forward.down.bias: expected shape [16], got [3]",
        "unknown encoder.block_0.feed_forward.up.bais [64]",
    ):
        assert expected in str(error.value)
    # and the next model is none the worse for it
    assert np.isfinite(
        ops.convert_to_numpy(
            make(model.tokenizer)({name: np.ones((1, 2), "int32") for name in ("token_ids", "decoder_token_ids")})
        )
    ).all()


@once
@pytest.mark.parametrize(
    "change, expected",
    [
        (
            lambda value: value.update(model_type="bert"),
            "Expected a configuration of the content of .* Nothing was built",
        ),
        (lambda value: value.update(model_type="brt"), "a model_type in .*config.json that this library knows .*'brt'"),
        (lambda value: value.update(colour="red"), r"unknown keys \['colour'\]"),
        (lambda value: value.pop("config"), "a preset of this library in .*config.json, got no config"),
        (lambda value: value["config"].update(hiden_dim=3), "config.json: ModelConfig.*unknown field 'hiden_dim'"),
        (lambda value: value["config"].update(padding_id=10**6), "config.json: This ModelConfig contradicts itself"),
        (lambda value: value["config"].update(decoder=None), "an encoder and a decoder"),
        (lambda value: value.update(config=[]), r"Expected a ModelConfig as config in .*config.json, got \[\]"),
        (lambda value: value["config"].update(hidden_dim="wide"), "'hidden_dim' is 'wide', expected int"),
        (lambda value: value["config"].update(padding_id=True), "'padding_id' is True, expected int"),
        (lambda value: value["config"]["encoder"].update(block=None), "'block' is None, expected BlockConfig"),
        (
            lambda value: value["config"]["encoder"].update(num_layers=0),
            "encoder: field 'num_layers' is 0, and only an encoder without a decoder may have no layers",
        ),
        (
            lambda value: value["config"]["encoder"]["block"]["attention"].update(num_heads=0),
            "'num_heads' is 0",
        ),
        (
            lambda value: value["config"]["encoder"]["block"]["attention"].update(window=-1),
            "'window' is -1, expected",
        ),
        (
            lambda value: value["config"]["encoder"]["block"]["norm"].update(epsilon=-1),
            "'epsilon' is -1, expected float from 0 to 1",
        ),
        (lambda value: value["config"]["encoder"]["block"]["feed_forward"].update(activation="x"), "activation to be"),
    ],
)
@pytest.mark.filterwarnings("default:.*neither this library nor transformers")
def test_a_configuration_that_does_not_fit(model, tmp_path, change, expected):
    model.save_to_preset(tmp_path / "mine")
    path = tmp_path / "mine" / "config.json"
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(ValueError, match=expected):
        kt.Seq2SeqLM.from_preset(tmp_path / "mine")


@once
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_file_that_is_missing_or_cut_short(model, tmp_path, name):
    model.save_to_preset(tmp_path / "mine")
    path = tmp_path / "mine" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=name):
        kt.Seq2SeqLM.from_preset(tmp_path / "mine")
    path.unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=name):
        kt.Seq2SeqLM.from_preset(tmp_path / "mine")


@once
@pytest.mark.parametrize(
    "name, change",
    [
        ("generation_config.json", {"temperature": "hot"}),
        ("generation_config.json", {"length_penalty": "long"}),
        ("generation_config.json", {"decoder_start_token_id": "x"}),
        ("tokenizer_config.json", {"eos_token": 5}),
        ("tokenizer_config.json", {"pad_token": {"x": [1]}}),
    ],
)
def test_values_of_a_wrong_kind_name_the_file(model, tmp_path, name, change):
    model.save_to_preset(tmp_path / "mine")
    path = tmp_path / "mine" / name
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ValueError, match=name if "x" not in str(change) or name[0] == "g" else "padding|token"):
        kt.Seq2SeqLM.from_preset(tmp_path / "mine")


# --- Keras's own file ---


@pytest.mark.each_keras
def test_a_keras_file_keeps_everything(tokenizer, tmp_path):
    trained = make(tokenizer)
    trained.generation = dataclasses.replace(trained.generation, num_beams=3, max_new_tokens=7)
    trained.compile(keras.optimizers.Adam(1e-3, beta_2=0.98), label_smoothing=0.2)
    trained.fit(PAIRS, verbose=0, **ONE_SHAPE)
    trained.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.compiled and again.label_smoothing == 0.2
    assert again.generation == trained.generation and again.config == trained.config
    assert again.optimizer.get_config() == trained.optimizer.get_config()
    assert int(again.optimizer.iterations) == int(trained.optimizer.iterations) == 1
    assert again.translate(SOURCES) == trained.translate(SOURCES)
    losses = [each.fit(PAIRS, verbose=0, **ONE_SHAPE).history["loss"] for each in (trained, again)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@once
def test_the_default_optimizer_is_the_papers(tokenizer):
    compiled = make(tokenizer)
    compiled.compile()
    schedule = compiled.optimizer._learning_rate
    rates = [float(schedule(update - 1)) for update in (1, 2000, 4000, 16000)]
    peak = 16**-0.5 * 4000**-0.5
    np.testing.assert_allclose(rates[1:], [peak / 2, peak, peak / 2], rtol=1e-5)
    assert rates[0] < peak / 1000 and compiled.label_smoothing == 0.1
    assert compiled.optimizer.beta_2 == 0.98 and compiled.optimizer.epsilon == 1e-9


@once
def test_special_tokens_in_a_source_are_parsed_on_request_and_warned_of_otherwise(model, recwarn):
    text = "A man </s> rides."
    ids = [model.encode_sources([text], parse_special=parse)[0] for parse in (True, False)]
    assert [row.count(model.tokenizer.end_id) for row in ids] == [2, 1]
    warned = [str(each.message) for each in recwarn.list]
    assert [each for each in warned if "special" in each.lower()] == [
        "Special tokens that a text spells are read as text: '</s>'. Give parse_special=True to have them read as "
        "tokens, as a prompt of apply_chat_template needs it."
    ]
    recwarn.clear()
    model.translate("A man </s> rides.", parse_special=True)
    assert not any("special" in str(each.message).lower() for each in recwarn.list)
    with pytest.warns(UserWarning, match="that a text spells are read as text"):
        model.translate("A man </s> rides.")
