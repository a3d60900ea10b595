import csv
import gzip

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.batches import Batches
from tests.layers.reference import fill
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS, softmax

once = pytest.mark.one_backend("torch")
MASKED = [
    "the quick [MASK] fox",
    "[MASK] wrote the book about engines in 1843.",
    "a film of [MASK] and often [MASK]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    checkpoints.save(folder, "BertForMaskedLM")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return kt.MaskedLM.from_preset(folder)


def small(tokenizer, **arguments):
    config = kt.models.encoder(
        tokenizer.vocabulary_size, num_layers=2, hidden_dim=32, num_heads=4, max_length=96, dropout=0.0
    )
    return kt.MaskedLM(config, tokenizer, **arguments)


@pytest.mark.each_keras
def test_masks_are_filled_as_transformers_does(folder, model):
    import torch
    import transformers

    reference = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    tokenizer = checkpoints.tokenizer_of(folder)
    for text, answer in zip(MASKED, model.fill_mask(MASKED, top=4), strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            logits = reference(**encoded).logits[0].numpy().astype("float64")
        places = np.flatnonzero(encoded["input_ids"][0].numpy() == tokenizer.mask_token_id)
        answers = [answer] if len(places) == 1 else answer
        assert len(answers) == len(places)
        for place, each in zip(places, answers, strict=True):
            scores = softmax(logits[place])
            best = np.argsort(-scores)[:4]
            assert [one["token"] for one in each] == [tokenizer.decode([n]) for n in best]
            np.testing.assert_allclose([one["score"] for one in each], scores[best], atol=2e-6)
            for one, n in zip(each, best, strict=True):
                ids = encoded["input_ids"][0].numpy().copy()
                ids[place] = n
                assert one["text"] == model.tokenizer.decode(ids[1:-1])
                assert "[MASK]" not in one["text"] or len(places) > 1


@once
def test_batches_change_nothing(model):
    def flat(answers):
        return [one for each in answers for one in (each if isinstance(each[0], dict) else sum(each, []))]

    together = flat(model.fill_mask(MASKED, top=4))
    for again in (model.fill_mask(MASKED, top=4, batch_size=2), [model.fill_mask(text, top=4) for text in MASKED]):
        assert [each["text"] for each in flat(again)] == [each["text"] for each in together]
        np.testing.assert_allclose([e["score"] for e in flat(again)], [e["score"] for e in together], rtol=1e-4)


@once
def test_the_pipeline_agrees(folder, model):
    import transformers

    pipeline = transformers.pipeline("fill-mask", str(folder), tokenizer=checkpoints.tokenizer_of(folder))
    for text in MASKED[:2]:
        ours, theirs = model.fill_mask(text), pipeline(text)
        assert [each["token"] for each in ours] == [each["token_str"] for each in theirs]
        np.testing.assert_allclose([e["score"] for e in ours], [e["score"] for e in theirs], rtol=1e-5)


@once
def test_texts_without_a_mask_and_what_is_no_text(model):
    assert model.fill_mask([]) == []
    for text in ("", "  ", "no mask", "[mask]"):
        with pytest.raises(ValueError, match=r"Expected \[MASK\] in each text, got none in text 0\. Write it where"):
            model.fill_mask(text)
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 48 tokens"):
        with pytest.raises(ValueError, match=r"got none in text 0 \(or it was cut off\)"):
            model.fill_mask("word " * 200_000 + "[MASK]")
    with pytest.raises(ValueError, match="lone surrogate"):
        model.fill_mask("[MASK] \ud800")
    for wrong in (3, None, b"[MASK]"):
        with pytest.raises(
            TypeError, match="Expected lists of strings|Expected a list of texts|Expected a list, array"
        ):
            model.fill_mask(wrong)
    for top in (0, None, True):
        with pytest.raises(ValueError, match="Expected top of at least 1, got"):
            model.fill_mask("[MASK]", top=top)


@once
def test_what_has_no_mask_token(model):
    tokenizer = kt.Tokenizer.train(TEXTS, vocabulary_size=300)
    other = small(tokenizer)
    for call in (lambda: other.fill_mask("a"), lambda: other.fit(TEXTS, verbose=0)):
        with pytest.raises(ValueError, match="Expected a tokenizer with a mask token, got none. Give mask_token="):
            call()
    for rate in (0.0, 1.0, 15):
        with pytest.raises(ValueError, match=f"Expected mask_rate between 0 and 1, got {rate}"):
            small(tokenizer, mask_rate=rate)
    with pytest.raises(ValueError, match="Expected texts alone, as their own tokens are the labels, got y too"):
        model.fit(TEXTS, TEXTS, verbose=0)
    with pytest.raises(ValueError, match="no tokenizer to read text with"):
        kt.MaskedLM(model.config).fill_mask("a")


# --- masking ---


@once
def test_fifteen_percent_are_hidden_in_three_ways(model):
    size, mask_id = model.tokenizer.vocabulary_size, model.tokenizer.mask_id
    examples = model._examples(TEXTS * 400, None, None, None)
    batches = Batches(examples, batch_size=len(examples), num_buckets=1, shuffle=False)
    inputs, labels, weights = batches.batch(0, 0)
    _, packed = model.encode_texts(TEXTS * 400)
    rows, places = np.nonzero(weights)
    positions = inputs["masked_positions"][rows, places]
    original = np.array([packed.token_ids[row][place] for row, place in zip(rows, positions, strict=True)])
    assert (original == labels[rows, places]).all()
    assert all(packed.text_ids[row][place] == 0 for row, place in zip(rows, positions, strict=True))
    assert len({*zip(rows.tolist(), positions.tolist(), strict=True)}) == len(rows)  # none twice
    lengths = np.array([len(ids) - 2 for ids in packed.token_ids])
    assert (weights.sum(1) == [max(round(0.15 * n), 1) for n in lengths]).all()
    shown = inputs["token_ids"][rows, positions]
    count = len(shown)
    assert abs((shown == mask_id).mean() - 0.8) < 4 * np.sqrt(0.16 / count)
    assert abs((shown == original).mean() - 0.1 - 0.1 / size) < 4 * np.sqrt(0.09 / count)
    random = shown[(shown != mask_id) & (shown != original)]
    assert random.min() >= 0 and random.max() < size and len(np.unique(random)) > size / 2
    assert (shown != model.config.padding_id).all()  # which the model would not see
    # nothing else is touched
    expected = np.full_like(inputs["token_ids"], model.config.padding_id)
    for row, ids in enumerate(packed.token_ids):
        expected[row, : len(ids)] = ids
    changed = np.zeros(expected.shape, bool)
    changed[rows, positions] = True
    assert (inputs["token_ids"] == expected)[~changed].all()


@once
def test_masks_are_drawn_anew_in_each_epoch_and_the_same_for_a_seed(model):
    def drawn(seed, epoch):
        batches = Batches(model._examples(TEXTS, None, None, None), batch_size=6, shuffle=False, seed=seed)
        inputs, labels, _ = batches.batch(epoch, 0)
        return inputs["token_ids"].tobytes() + labels.tobytes() + inputs["masked_positions"].tobytes()

    assert drawn(0, 0) == drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 1) == drawn(0, 1) != drawn(1, 1)


@once
def test_a_text_of_nothing_hides_nothing(model):
    examples = model._examples(["", "a", "  "], None, None, None)
    inputs, _, weights = Batches(examples, batch_size=3, num_buckets=1, shuffle=False).batch(0, 0)
    assert weights.sum(1).tolist() == [0.0, 1.0, 0.0]
    assert examples.take([1]).maskable.token_ids.tolist() == [1]
    assert np.isfinite(model.evaluate(["", " "], verbose=0)["loss"])


@pytest.mark.each_keras
def test_logits_are_made_for_masked_positions_alone(model):
    token_ids = np.array([[5, 6, 7, 8], [9, 6, 0, 0]], "int32")
    whole = keras.ops.convert_to_numpy(model({"token_ids": token_ids}))
    some = model({"token_ids": token_ids, "masked_positions": np.array([[1, 3], [0, 0]], "int32")})
    assert whole.shape == (2, 4, model.config.embeddings.vocabulary_size)
    some = keras.ops.convert_to_numpy(some)
    np.testing.assert_allclose(some, np.stack([whole[0, [1, 3]], whole[1, [0, 0]]]), atol=1e-5)


@pytest.mark.each_keras
def test_the_loss_is_the_one_written_in_numpy(model):
    inputs, labels, weights = Batches(
        model._examples(TEXTS, None, [1, 0.5, 0.1, 1, 2, 0], None), batch_size=4, num_buckets=1, shuffle=False
    ).batch(0, 0)
    logits = keras.ops.convert_to_numpy(model(inputs)).astype("float64")
    losses = -np.log(np.take_along_axis(softmax(logits), labels[..., None], -1)[..., 0])
    y = [keras.ops.convert_to_tensor(each) for each in (labels, logits, weights)]
    loss = model.compute_loss(inputs, *y)
    assert float(loss) == pytest.approx((losses * weights).sum() / weights.sum(), rel=1e-4)


@once
def test_learns_a_real_task(data_folder):
    with gzip.open(data_folder / "sst2" / "dev.tsv.gz", "rt", encoding="utf-8") as file:
        texts = [row[0] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:201]
    keras.utils.set_random_seed(0)
    tokenizer = kt.Tokenizer.train(texts, kind="wordpiece", vocabulary_size=800, mask_token="[MASK]")
    model = small(tokenizer)
    model.compile(keras.optimizers.AdamW(3e-3))
    before = model.evaluate(texts, verbose=0)
    history = model.fit(texts, epochs=8, batch_size=25, num_buckets=1, verbose=0).history
    after = model.evaluate(texts, verbose=0)
    assert set(history) == {"loss", "perplexity", "token_accuracy"}
    assert after["perplexity"] == pytest.approx(np.exp(after["loss"]), rel=1e-4)
    assert after["loss"] < 0.9 * before["loss"] and after["token_accuracy"] > before["token_accuracy"]
    answer = model.fill_mask("a [MASK] film", top=3)
    assert len(answer) == 3 and answer[0]["score"] >= answer[1]["score"] and "film" in answer[0]["text"]


@once
def test_every_source_of_texts(model):
    from tests.tasks.sources import HuggingFaceDataset

    model = fill(small(model.tokenizer), seed=1)
    expected = model.evaluate(TEXTS, verbose=0)["loss"]
    for source in (
        tuple(TEXTS),
        np.array(TEXTS),
        {"text": TEXTS},
        HuggingFaceDataset({"text": TEXTS}),
        iter(TEXTS),
        (TEXTS[n : n + 4] for n in (0, 4)),
    ):
        assert model.evaluate(source, verbose=0)["loss"] == pytest.approx(expected, rel=1e-5)
    history = model.fit(TEXTS, epochs=2, validation_split=0.3, verbose=0).history
    assert len(history["val_loss"]) == 2
    # validation masks the same in each epoch
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(TEXTS, epochs=2, validation_data=TEXTS, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(history["val_loss"][1], rel=1e-6)
    assert history["loss"][0] != pytest.approx(history["loss"][1], rel=1e-6)
