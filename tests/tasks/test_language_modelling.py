"""Training a decoder on text, and how likely it finds texts."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.data.batches import Batches
from keras_transformers.data.documents import read_documents
from keras_transformers.data.examples import NO_LABEL
from keras_transformers.data.rows import best_fit
from keras_transformers.tasks.scoring import windows
from keras_transformers.training.schedules import LinearDecay
from tests.tasks.sources import HuggingFaceDataset, Py

once = pytest.mark.one_backend("torch")
TEXTS = ["to be or not to be", "that is the question", "whether", "tis nobler in the mind to suffer", "to be"]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = kt.Tokenizer.train(TEXTS * 2, vocabulary_size=300)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make(tokenizer, **options):
    options = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 30, "dropout": 0.0, **options}
    keras.utils.set_random_seed(1)
    return kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, **options), tokenizer)


def losses(model, texts):
    """The loss of each token of each text, end token included, one text at a time and by whole logits."""
    parts = []
    for document in read_documents(texts, tokenizer=model.tokenizer)[1]:
        ids = document.token_ids
        logits = ops.convert_to_numpy(model(ids[None, :-1]))[0].astype("float64")
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        parts.append(-logits[np.arange(len(ids) - 1), ids[1:]])
    return parts


@pytest.mark.each_keras
def test_packed_texts_do_not_see_each_other(tokenizer):
    model = make(tokenizer)
    expected = np.concatenate(losses(model, TEXTS))
    for packing in (True, False):
        found = model.evaluate(TEXTS, packing=packing, verbose=0)
        np.testing.assert_allclose(found["loss"], expected.mean(), rtol=1e-5)
        np.testing.assert_allclose(found["perplexity"], np.exp(expected.mean()), rtol=1e-5)
    examples = model._examples(TEXTS, None, None, None)
    assert "starts" in examples.columns and len(examples) < len(TEXTS)


@once
def test_rows_hold_every_token_once(tokenizer):
    model = make(tokenizer)
    long = " ".join(TEXTS * 4)
    kind, documents = read_documents([long, *TEXTS], tokenizer=tokenizer)
    assert kind == "texts" and documents[0].token_ids[0] == tokenizer.start_id
    assert all(document.token_ids[-1] == tokenizer.end_id for document in documents)
    said = sorted(token for document in documents for token in document.token_ids[1:].tolist())
    for packing in (True, False):
        labels = model._examples([long, *TEXTS], None, None, 20, packing=packing).labels.token_ids
        assert sorted(labels[labels != NO_LABEL].tolist()) == said
    rows = best_fit(np.array([5, 3, 9, 9, 1, 7, 2]), 10)
    assert sorted(number for row in rows for number in row) == list(range(7))
    assert sorted(sorted(row) for row in rows) == [[0], [1, 5], [2, 4], [3], [6]] or len(rows) == 4


@once
def test_texts_come_from_any_source(tokenizer, tmp_path):
    model = make(tokenizer)
    path = tmp_path / "text.txt"
    path.write_text(TEXTS[1], encoding="utf-8")

    def said(x, y=None):
        return sorted(model._examples(x, y, None, None).labels.token_ids.tolist())

    expected = said(TEXTS)
    labelled = {"text": TEXTS, "label": [0, 1, 0, 1, 1]}  # labels of another task are no answers
    sources = [np.array(TEXTS), {"text": TEXTS}, labelled, HuggingFaceDataset(labelled), (text for text in TEXTS)]
    sources += [[TEXTS[0], path, *TEXTS[2:]], ({"text": text} for text in TEXTS)]
    for source in sources:
        assert said(source) == expected
    assert said(path) == said([TEXTS[1]])
    pairs = list(zip(TEXTS[::2], TEXTS[::2], strict=True))
    expected = said(TEXTS[::2], TEXTS[::2])
    columns = {"prompt": TEXTS[::2], "completion": TEXTS[::2]}
    for source in (pairs, iter(pairs), columns, HuggingFaceDataset(columns), Py(TEXTS[::2], np.array(TEXTS[::2]))):
        assert said(source) == expected


@once
def test_of_prompts_and_chats_the_answers_are_learnt(tokenizer):
    model = make(tokenizer)

    def learnt(x, y=None):
        (document,) = read_documents(x, y, tokenizer=tokenizer)[1]
        return document.token_ids.tolist(), document.token_ids[document.learnt].tolist()

    ids = tokenizer.encode(["to be", " or not"])
    whole, answer = learnt(["to be"], [" or not"])
    assert whole == [tokenizer.start_id, *ids[0], *ids[1], tokenizer.end_id]
    assert answer == [*ids[1], tokenizer.end_id]
    chat = [
        {"role": "user", "content": "to be?"},
        {"role": "assistant", "content": "or not"},
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": "that is"},
    ]
    for source in ([chat], {"messages": [chat]}, HuggingFaceDataset({"messages": [chat]})):
        whole, answer = learnt(source)
        assert whole == tokenizer.apply_chat_template(chat, tokenize=True)
        assert answer == [token for each in tokenizer.encode(["or not</s>", "that is</s>"], True) for token in each]
    with pytest.warns(UserWarning, match="1 of 2 chats are longer than 30 tokens and were cut"):
        model.fit([chat, chat[:2]], epochs=1, verbose=0)
    with pytest.raises(ValueError, match="Expected something to learn"):
        model._examples([chat[:1]], None, None, None)
    with pytest.raises(ValueError, match="got y too"):
        model.fit([chat], ["x"])


@once
def test_a_template_that_changes_what_was_said_is_refused(tokenizer):
    other = kt.Tokenizer.train(TEXTS * 2, vocabulary_size=300)
    other.chat_template = "{{ messages[-1].content }}{% if add_generation_prompt %}x{% endif %}"
    with pytest.raises(ValueError, match="Render the chats yourself"):
        read_documents([[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]], tokenizer=other)


@pytest.mark.each_keras
def test_a_step_in_chunks_is_a_step_by_whole_logits(tokenizer):
    weights = []
    for metrics in (None, [keras.metrics.MeanMetricWrapper(lambda y, p: ops.mean(p, axis=-1), name="logits")]):
        model = make(tokenizer)
        model.compile(keras.optimizers.SGD(0.5), weighted_metrics=metrics, label_smoothing=0.1)
        history = model.fit(TEXTS, epochs=3, verbose=0).history
        weights.append([ops.convert_to_numpy(weight) for weight in model.trainable_variables])
        assert ("logits" in history) == (metrics is not None)
        weights[-1].append(np.array([history[name] for name in ("loss", "perplexity", "token_accuracy")]))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert model(np.ones((1, 3), "int32")).shape == (1, 3, tokenizer.vocabulary_size)


@once
def test_a_text_is_learnt_and_training_goes_on_where_it_stopped(tokenizer, tmp_path):
    from keras_transformers.training import Checkpoint

    model = make(tokenizer, hidden_dim=32)
    model.fit(TEXTS[:1] * 8, epochs=40, verbose=0)
    assert model.generate("to be or") == " not to be"
    whole, halves = make(tokenizer), make(tokenizer)
    options = {"verbose": 0, "batch_size": 1, "seed": 3}
    for each in (whole, halves):
        each.compile(keras.optimizers.Adam(1e-2))
    whole.fit(TEXTS * 3, epochs=2, **options)
    halves.fit(TEXTS * 3, epochs=1, callbacks=[Checkpoint(tmp_path)], **options)
    again = make(tokenizer)
    again.compile(keras.optimizers.Adam(1e-2))
    again.fit(TEXTS * 3, epochs=2, callbacks=[Checkpoint(tmp_path)], **options)
    for one, other in zip(whole.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=1e-6)


@once
def test_batches_are_the_same_for_the_same_seed(tokenizer):
    model = make(tokenizer)
    one, other = (Batches(model._examples(TEXTS, None, None, None), batch_size=2, seed=4) for _ in range(2))
    for epoch in range(2):
        for (x, y, w), (x2, y2, w2) in zip(one.epoch(epoch), other.epoch(epoch), strict=True):
            assert all((x[name] == x2[name]).all() for name in x) and (y == y2).all() and (w == w2).all()
    assert one.fingerprint() == other.fingerprint()


@once
def test_a_new_model_learns_fast_and_a_loaded_one_slowly(tokenizer, tmp_path):
    model = make(tokenizer, hidden_dim=512, num_heads=8)
    model.compile()
    assert isinstance(model.optimizer._learning_rate, LinearDecay)
    assert model.optimizer._learning_rate.peak == pytest.approx(0.5 / 512)
    assert not model.optimizer._use_weight_decay(model.backbone.decoder.blocks[0].self_attention.query.bias)
    make(tokenizer).save_to_preset(tmp_path / "preset")
    loaded = kt.CausalLM.from_preset(tmp_path / "preset")
    loaded.compile()
    assert loaded.optimizer._learning_rate.peak == 5e-5


@pytest.mark.each_keras
def test_scores_are_the_logarithms_of_probabilities(tokenizer):
    model = make(tokenizer)
    expected = [-loss[:-1] for loss in losses(model, TEXTS)]  # without the end token
    for found, wanted in zip(model.score(TEXTS, per_token=True), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(model.score(TEXTS), [each.sum() for each in expected], rtol=1e-5)
    assert model.score(TEXTS[0]) == pytest.approx(expected[0].sum(), rel=1e-5)
    assert model.score([]).shape == (0,)
    perplexity = model.perplexity(TEXTS)
    assert perplexity == pytest.approx(np.exp(-np.concatenate(expected).mean()), rel=1e-5)


@once
def test_windows_are_those_of_transformers_guide():
    for length, longest, stride in ((10, 4, 2), (9, 4, 4), (3, 4, 2), (25, 8, 3)):
        done, expected = 0, []
        for begin in range(0, length, stride):  # https://huggingface.co/docs/transformers/perplexity
            end = min(begin + longest, length)
            expected.append((begin, max(end - (end - done), begin + 1), end))
            done = end
            if end == length:
                break
        assert windows(length, longest, stride) == expected
    assert windows(9, 4, 2) == [(0, 1, 4), (2, 4, 6), (4, 6, 8), (6, 8, 9)]


@once
def test_the_perplexity_of_a_long_text_is_that_of_its_windows(tokenizer):
    model, text = make(tokenizer), " ".join(TEXTS * 3)
    ids = [tokenizer.start_id, *tokenizer.encode([text])[0]]
    for longest, stride in ((30, 15), (12, 5), (12, 12)):
        logs = []
        for begin, first, end in windows(len(ids), longest, stride):
            logits = ops.convert_to_numpy(model(np.array([ids[begin:end]])))[0].astype("float64")
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            logs += [logits[place - begin - 1, ids[place]] for place in range(first, end)]
        found = model.perplexity(text, max_length=longest, stride=stride)
        assert found == pytest.approx(np.exp(-np.mean(logs)), rel=1e-5)
    tokens = model.score(text, per_token=True, max_length=12, stride=12)
    assert len(tokens) == len(ids) - 1 and np.isnan(tokens[11])


@once
def test_what_cannot_be_scored_is_refused(tokenizer):
    model = make(tokenizer)
    for options in ({"max_length": 31}, {"max_length": 1}, {"stride": 0}, {"max_length": 8, "stride": 9}):
        with pytest.raises(ValueError, match="Expected max_length from 2 to 30, and stride"):
            model.score(TEXTS, **options)
    with pytest.raises(ValueError, match="Expected texts of two tokens or more, got none"):
        model.perplexity([])
    with pytest.raises(TypeError, match="Expected text 0 to be a string"):
        model.score([1])
