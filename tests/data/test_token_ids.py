"""Token ids of one's own are fitted by every task, and batches of texts are taken by every `…_on_batch`."""

import keras
import numpy as np
import pandas as pd
import pytest

import keras_transformers as kt
from tests.parameters import few

once = pytest.mark.one_backend("torch")
TEXTS = ["A man rides a bike.", "two dogs, é", "rain now", "the house is small"]
OPTIONS = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 64, "dropout": 0.0}
TOKENIZER = kt.Tokenizer.train(TEXTS * 3, kind="wordpiece", vocabulary_size=200, mask_token="[MASK]")
IDS = TOKENIZER.encode(TEXTS)
WIDTH = max(map(len, IDS)) + 2
PADDED = np.array([[*ids, *[0] * (WIDTH - len(ids))] for ids in IDS])
LEFT = np.array([[*[0] * (WIDTH - len(ids)), *ids] for ids in IDS])
MASK = (PADDED != 0).astype(int)


def beside(rows):
    """Rows that lie beside `PADDED`, -100 for its padding."""
    return np.array([[*row, *[-100] * (WIDTH - len(row))] for row in rows])


def encoder(task, tokenizer=None, **arguments):
    return getattr(kt, task)(kt.models.encoder(TOKENIZER.vocabulary_size, **OPTIONS), tokenizer, **arguments)


def decoder(task, tokenizer=None, **arguments):
    return getattr(kt, task)(kt.models.gpt(TOKENIZER.vocabulary_size, **OPTIONS), tokenizer, **arguments)


def translator(tokenizer=None):
    config = kt.models.transformer(
        TOKENIZER.vocabulary_size, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=16, dropout=0.0
    )
    generation = kt.GenerationConfig(start_id=2, end_ids=(3,), padding_id=0, max_new_tokens=4)
    return kt.Seq2SeqLM(config, tokenizer, generation=generation)


SAYS = [[*ids[1:], 3] for ids in IDS]  # what follows each token
TAGS = [[1] * len(ids) for ids in IDS]
WRITES = [[*ids, 3] for ids in IDS]
READS = [[2, *ids] for ids in IDS]
# task → the model, labels, and `(inputs, labels)` that all stand for the same examples
SAME = {
    "TextClassifier": (
        lambda: encoder("TextClassifier", labels=["n", "p"]),
        [
            ({"token_ids": IDS}, [0, 1, 1, 0]),
            ({"token_ids": PADDED}, np.array([0, 1, 1, 0])),
            (PADDED, ["n", "p", "p", "n"]),
            ({"token_ids": PADDED, "padding_mask": MASK}, [0, 1, 1, 0]),
            ({"token_ids": LEFT, "label": [0, 1, 1, 0]}, None),
            ({"input_ids": PADDED, "attention_mask": MASK, "token_type_ids": PADDED * 0, "label": [0, 1, 1, 0]}, None),
            (pd.DataFrame({"token_ids": IDS, "label": [0, 1, 1, 0]}), None),
            ([{"token_ids": ids, "label": label} for ids, label in zip(IDS, [0, 1, 1, 0], strict=True)], None),
            (iter([({"token_ids": PADDED[:2]}, [0, 1]), ({"token_ids": PADDED[2:]}, [1, 0])]), None),
            (iter([({"token_ids": ids}, label) for ids, label in zip(IDS, [0, 1, 1, 0], strict=True)]), None),
        ],
    ),
    "TokenClassifier": (
        lambda: encoder("TokenClassifier", labels=["O", "B", "I"]),
        [
            ({"token_ids": IDS}, TAGS),
            ({"token_ids": IDS}, [["B"] * len(ids) for ids in IDS]),
            ({"token_ids": PADDED}, beside(TAGS)),
            ({"token_ids": PADDED, "padding_mask": MASK}, beside(TAGS)),
            ({"token_ids": PADDED, "labels": beside(TAGS)}, None),
        ],
    ),
    "QuestionAnswerer": (
        lambda: encoder("QuestionAnswerer"),
        [
            ({"token_ids": IDS}, [(0, 1)] * 4),
            ({"token_ids": PADDED}, np.array([(0, 1)] * 4)),
            ({"input_ids": PADDED, "start_positions": [0] * 4, "end_positions": [1] * 4}, None),
            ({"token_ids": LEFT}, [(WIDTH - len(ids), WIDTH - len(ids) + 1) for ids in IDS]),
        ],
    ),
    "TextEmbedder": (
        lambda: encoder("TextEmbedder", scale=1.0),  # of larger ones the loss is nearly 0 at some seeds from the start
        [
            ({"token_ids": IDS, "positive_token_ids": IDS[::-1]}, None),
            ({"token_ids": PADDED, "positive_token_ids": PADDED[::-1], "positive_padding_mask": MASK[::-1]}, None),
        ],
    ),
    "MaskedLM": (
        lambda: encoder("MaskedLM"),
        [
            ({"token_ids": IDS}, IDS),
            ({"token_ids": PADDED}, beside(IDS)),
            ({"input_ids": PADDED, "attention_mask": MASK, "labels": beside(IDS)}, None),
        ],
    ),
    "CausalLM": (
        lambda: decoder("CausalLM"),
        [
            ({"token_ids": IDS}, SAYS),
            ({"token_ids": PADDED, "padding_mask": MASK}, beside(SAYS)),
            ({"token_ids": PADDED, "padding_mask": MASK, "labels": beside(SAYS)}, None),
        ],
    ),
    "Seq2SeqLM": (
        translator,
        [
            ({"token_ids": IDS}, WRITES),
            ({"token_ids": IDS, "decoder_token_ids": [[2, *ids, 3] for ids in IDS]}, None),
            ({"token_ids": PADDED, "decoder_token_ids": READS}, WRITES),
            ({"token_ids": PADDED, "decoder_token_ids": READS, "labels": WRITES}, None),
            ({"token_ids": PADDED}, beside(WRITES)[:, :WIDTH]),
        ],
    ),
}


@once
@pytest.mark.parametrize("task", SAME)
def test_ids_are_read_alike_in_every_form(task):
    make, forms = SAME[task]
    model = make()
    first = None
    for x, y in forms:
        examples = model._examples(x, y, None)
        batch = examples.batch(np.arange(4), 4, examples.lengths.max(axis=0))
        batch[0].pop("segment_ids", None)
        first = first or batch
        for ours, theirs in zip(keras.tree.flatten(batch), keras.tree.flatten(first), strict=True):
            assert np.asarray(ours).tolist() == np.asarray(theirs).tolist(), x


@pytest.mark.each_keras
@pytest.mark.parametrize("task", few(SAME, "TextClassifier", "Seq2SeqLM"))
def test_a_model_without_a_tokenizer_trains_on_ids(task):
    make, forms = SAME[task]
    model, (x, y) = make(), forms[0]
    before = model.evaluate(x, y, 4, verbose=0)["loss"]
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(x, y, 4, 3, verbose=0, num_buckets=1)
    loss = model.evaluate(x, y, 4, verbose=0)["loss"]
    assert np.isfinite([before, loss]).all() and loss < before
    seen = {"token_ids": IDS} if task != "Seq2SeqLM" else {"token_ids": IDS, "decoder_token_ids": READS}
    assert len(model.predict(seen)) == 4
    assert np.isfinite(model.train_on_batch(x, y)).all()


@once
def test_ids_are_what_texts_become():
    """Of one's own ids, a model makes what it makes of the texts."""
    model = encoder("TextClassifier", TOKENIZER)
    columns, _ = model.encode_texts(TEXTS)
    rows = np.split(columns["token_ids"].token_ids, columns["token_ids"].offsets[1:-1])
    np.testing.assert_allclose(model.predict({"token_ids": rows}), model.predict(TEXTS), atol=1e-5)
    lm = decoder("CausalLM", TOKENIZER)
    texts, ids = lm._examples(TEXTS, None, None), lm._examples({"token_ids": [[2, *ids, 3] for ids in IDS]}, None, None)
    assert texts.columns["token_ids"].token_ids.tolist() == ids.columns["token_ids"].token_ids.tolist()
    masked = encoder("MaskedLM", TOKENIZER)._examples({"token_ids": IDS}, None, None)
    assert masked.maskable.lengths.tolist() == [len(ids) for ids in IDS]


@once
def test_weights_of_tokens_and_of_rows():
    lm = decoder("CausalLM")
    each = [[0.5] * len(ids) for ids in IDS]
    for weights in (each, [0.5] * 4, np.full((4, 1), 0.5)):
        examples = lm._examples({"token_ids": IDS}, SAYS, weights)
        _, _, weight = examples.batch(np.arange(4), 4, examples.lengths.max(axis=0))
        assert weight[0, : len(IDS[0])].tolist() == [0.5] * len(IDS[0]) and weight.sum() == 0.5 * sum(map(len, IDS))
        assert examples.take([1]).batch(np.arange(1), 1, examples.lengths.max(axis=0))[2].sum() == 0.5 * len(IDS[1])
    examples = translator()._examples({"token_ids": IDS}, WRITES, [2.0] * 4)
    assert examples.batch(np.arange(4), 4, examples.lengths.max(axis=0))[2].max() == 2.0


@once
@pytest.mark.parametrize(
    ("make", "x", "y", "message"),
    [
        (
            encoder,
            {"token_ids": IDS, "text": TEXTS},
            [0] * 4,
            "the columns token_ids, and perhaps .*, got token_ids, text",
        ),
        (encoder, {"token_ids": [[1.5]]}, [0], r"token_ids of integers, a list for each row, got \[1.5\] .* as row 0"),
        (encoder, {"token_ids": [[1], []]}, [0, 0], "tokens in each row of token_ids, got padding alone in row 1"),
        (encoder, {"token_ids": [[1], [0, 0]]}, [0, 0], "got padding alone in row 1"),
        (encoder, {"token_ids": IDS}, [0], "as many rows in each column, .* got 4 token_ids, 1 labels"),
        (encoder, {"token_ids": IDS}, None, "a label for each text, got none"),
        (encoder, {"token_ids": [[9999]]}, [0], "Expected token ids in"),
        (encoder, {"token_ids": [[1] * 65]}, [0], "Expected at most 64 token_ids"),
        (
            encoder,
            {"token_ids": [[1, 2]], "padding_mask": [[1]]},
            [0],
            "padding_mask one for each .* got 1 for 2 in row 0",
        ),
        (decoder, {"token_ids": IDS}, IDS, "Expected labels to be the ids that follow, got each id as its own label"),
        (decoder, {"token_ids": IDS}, TAGS[:3] + [[1]], "labels one for each of the token_ids, got 1 for"),
        (decoder, {"token_ids": [[1, 2]]}, [[2, 9999]], "Expected token ids in .* in labels"),
        (translator, {"token_ids": IDS}, None, "token_ids with labels, decoder_token_ids or both, got token_ids"),
        (translator, {"token_ids": IDS, "decoder_token_ids": [[2]] * 4}, None, "a start, and something to say"),
    ],
)
def test_what_is_wrong_with_ids_is_said(make, x, y, message):
    model = make("TextClassifier") if make is encoder else make("CausalLM") if make is decoder else make()
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)


@once
def test_only_texts_are_cut():
    with pytest.raises(ValueError, match="of at most max_length=2 a row, got .* only texts are cut"):
        encoder("TextClassifier").fit({"token_ids": IDS}, [0] * 4, max_length=2)
    with pytest.raises(ValueError, match="labels beside token_ids, -100 for tokens that are not hidden"):
        encoder("MaskedLM").fit({"token_ids": IDS})


WORDS = [text.split() for text in TEXTS]
TEXT_TASKS = {
    "TextClassifier": (lambda: encoder("TextClassifier", TOKENIZER), TEXTS, [0, 1, 1, 0]),
    "TokenClassifier": (lambda: encoder("TokenClassifier", TOKENIZER), WORDS, [[0] * len(row) for row in WORDS]),
    "QuestionAnswerer": (
        lambda: encoder("QuestionAnswerer", TOKENIZER),
        [("who", text) for text in TEXTS],
        [(0, 2), None, (0, 4), (0, 3)],
    ),
    "TextEmbedder": (lambda: encoder("TextEmbedder", TOKENIZER), TEXTS, TEXTS[::-1]),
    "MaskedLM": (lambda: encoder("MaskedLM", TOKENIZER), TEXTS, None),
    "CausalLM": (lambda: decoder("CausalLM", TOKENIZER), TEXTS, None),
    "Seq2SeqLM": (lambda: translator(TOKENIZER), TEXTS, TEXTS[::-1]),
}


@pytest.mark.each_keras
@pytest.mark.parametrize("task", few(TEXT_TASKS, "TextClassifier", "Seq2SeqLM"))
def test_batches_of_texts(task):
    make, x, y = TEXT_TASKS[task]
    model = make()
    seen = list(zip(x, y, strict=True)) if task == "Seq2SeqLM" else x
    outputs = model.predict_on_batch(seen)
    for ours, theirs in zip(outputs, model.predict(seen, 2), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    model.compile(keras.optimizers.SGD(0.01))  # small steps go down from every start
    if task != "MaskedLM":  # which draws its masks
        told = model.evaluate(x, y, 8, verbose=0)
        tested = model.test_on_batch(x, y, return_dict=True)
        assert tested["loss"] == pytest.approx(told["loss"], rel=1e-4)
    losses = [model.train_on_batch(x, y, return_dict=True)["loss"] for _ in range(5)]
    assert np.isfinite(losses).all()
    if task != "MaskedLM":  # without dropout, which moves the loss of a step
        assert model.test_on_batch(x, y, return_dict=True)["loss"] < tested["loss"]


@once
@pytest.mark.parametrize("task", TEXT_TASKS)
def test_arguments_stand_where_keras_has_them(task):
    make, x, y = TEXT_TASKS[task]
    model, same = make(), make()
    same.set_weights(model.get_weights())
    for each in (model, same):
        each.compile(keras.optimizers.SGD(0.1))
    tuples = model.fit(x, y, 2, 1, verbose=0, validation_data=(x, y)).history
    lists = same.fit(x, y, batch_size=2, epochs=1, verbose=0, validation_data=[x, y]).history
    assert tuples.keys() == lists.keys() >= {"val_loss", "loss"}
    for name, values in tuples.items():
        assert values == pytest.approx(lists[name], rel=1e-4), name
    assert model.evaluate(x, y, 2, verbose=0).keys() == model.evaluate(x, y, batch_size=2, verbose=0).keys()
