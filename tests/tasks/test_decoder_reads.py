"""A decoder that reads texts as an encoder does: classifiers of texts and of tokens, vectors, answers to questions."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.layers.reference import fill, numbers, relative_error
from tests.tasks.checkpoints import TEXTS

once = pytest.mark.one_backend("torch")
WORDS = [text.split() for text in TEXTS]
QUESTIONS = [("What was it?", text) for text in TEXTS]


@pytest.fixture(scope="module")
def tokenizer():
    """Without a padding token, as GPT-2's, or any that it puts around a text: its id 0 is a piece of words."""
    without = dict.fromkeys(("padding_token", "start_token", "end_token", "unknown_token"))
    return kt.Tokenizer.train(TEXTS * 3, kind="bpe", vocabulary_size=300, **without)


def config_of(tokenizer):
    sizes = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4, "max_length": 96}
    return kt.models.gpt(tokenizer.vocabulary_size, **sizes, padding_id=None)


def make(task, tokenizer, **arguments):
    return fill(getattr(kt, task)(config_of(tokenizer), tokenizer, **arguments), scale=0.1)


@pytest.mark.each_keras
@pytest.mark.parametrize("task", ["TextClassifier", pytest.param("TokenClassifier", marks=once), "TextEmbedder"])
def test_a_text_is_read_as_it_is_alone(task, tokenizer):
    """However long the others of its batch are, and whatever stands for their padding."""
    model = make(task, tokenizer, **({"pooling": "last"} if task == "TextEmbedder" else {}))
    together = model.predict(TEXTS)
    for text, found in zip(TEXTS, together, strict=True):
        ids = np.array([tokenizer.encode([text])[0]])
        alone = model({"token_ids": ids, "padding_mask": np.ones_like(ids)})
        assert relative_error(found[None], alone) < 1e-5


@once
def test_the_last_token_speaks_for_the_text(tokenizer):
    model = make("TextClassifier", tokenizer, num_classes=3)
    ids = np.array([tokenizer.encode(TEXTS[:1])[0]])
    states = ops.convert_to_numpy(model.backbone(ids))
    expected = states[:, -1] @ ops.convert_to_numpy(model.classifier.kernel)
    assert relative_error(model.predict(TEXTS[:1]), expected) < 1e-5
    assert model.classifier.bias is None


@pytest.mark.each_keras
@pytest.mark.parametrize(
    ("task", "x", "y"),
    [
        ("TextClassifier", TEXTS, [0, 1] * 3),
        pytest.param("TokenClassifier", WORDS, [[0] * len(words) for words in WORDS], marks=once),
        pytest.param("TextEmbedder", TEXTS, [text[:20] for text in TEXTS], marks=once),
        pytest.param("QuestionAnswerer", QUESTIONS, [(4, 9)] * 5 + [None], marks=once),
    ],
)
def test_it_learns(task, x, y, tokenizer):
    model = make(task, tokenizer)
    model.compile(keras.optimizers.Adam(1e-2))
    losses = model.fit(x, y, epochs=4, batch_size=3, num_buckets=1, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@once
def test_freezing(tokenizer):
    model = make("TextClassifier", tokenizer)
    model.freeze(layers=1)
    paths = {weight.path for weight in model.trainable_variables}
    assert not any("embedding" in path or "block_0" in path for path in paths)
    assert any("block_1" in path for path in paths)
    with pytest.raises(ValueError, match="Expected from 0 to 2 layers, as the decoder has, got 3"):
        model.freeze(layers=3)


@once
def test_transformers_classifies_a_text_the_same(tokenizer, tmp_path):
    import torch
    import transformers

    model = make("TextClassifier", tokenizer, labels=["good", "bad", "neither"])
    model.save_to_preset(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["GPT2ForSequenceClassification"]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    for text, found in zip(TEXTS, model.predict(TEXTS), strict=True):
        with torch.no_grad():
            expected = theirs(torch.tensor([tokenizer.encode([text])[0]])).logits[0].numpy()
        assert relative_error(found, expected) < 1e-5
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] is None
    again = kt.TextClassifier.from_preset(tmp_path)
    assert again.labels == model.labels and relative_error(again.predict(TEXTS), model.predict(TEXTS)) < 1e-6


@once
def test_transformers_finds_the_same_answers(tokenizer, tmp_path):
    import torch
    import transformers

    model = make("QuestionAnswerer", tokenizer)
    model.save_to_preset(tmp_path)
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "GPT2ForQuestionAnswering"
    for pair, found in zip(QUESTIONS, model.predict(QUESTIONS), strict=True):
        ids = [token for text in pair for token in tokenizer.encode([text])[0]]
        with torch.no_grad():
            result = theirs(torch.tensor([ids]))
        assert relative_error(found, torch.stack([result.start_logits[0], result.end_logits[0]], -1).numpy()) < 1e-5
    (answer, *_) = model.answer(*map(list, zip(*QUESTIONS, strict=True)))
    assert answer["text"] == TEXTS[0][answer["start"] : answer["end"]] != ""


@once
def test_a_loss_leaves_out_the_padding(tokenizer):
    """Of a decoder no id says what is padding: with other texts in its batch, an example costs what it does alone."""
    model = make("QuestionAnswerer", tokenizer)
    model.compile()
    answers = [(4, 9)] * len(QUESTIONS)
    together = model.evaluate(QUESTIONS, answers, batch_size=6, verbose=0, return_dict=True)
    alone = model.evaluate(QUESTIONS, answers, batch_size=1, verbose=0, return_dict=True)
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)


@once
def test_a_llama_becomes_a_finder_of_answers_by_the_names_that_transformers_gives_it(tokenizer, tmp_path):
    """There alone the body is called `transformer`, in version 5 as in version 4."""
    import safetensors
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    theirs = transformers.LlamaConfig(vocab_size=tokenizer.vocabulary_size, **sizes)
    transformers.LlamaForCausalLM(theirs).save_pretrained(tmp_path / "language-model")
    with pytest.warns(UserWarning, match="holds no head of this task .* begin anew"):
        model = kt.QuestionAnswerer.from_preset(tmp_path / "language-model", tokenizer=tokenizer)
    model.save_to_preset(tmp_path / "answers")
    with safetensors.safe_open(tmp_path / "answers" / "model.safetensors", "numpy") as file:
        assert {name.split(".")[0] for name in file.keys()} == {"transformer", "qa_outputs"}  # noqa: SIM118
    back = kt.CausalLM.from_preset(tmp_path / "language-model", tokenizer=tokenizer)
    body = kt.TextEmbedder.from_preset(tmp_path / "answers")
    ids = np.arange(12)[None]
    assert relative_error(body.backbone(ids), ops.convert_to_numpy(back.backbone(ids))) < 1e-6
    transformers.LlamaForQuestionAnswering.from_pretrained(tmp_path / "answers")


@once
def test_a_language_model_becomes_a_classifier(tokenizer, tmp_path):
    fill(kt.CausalLM(config_of(tokenizer), tokenizer), scale=0.1).save_to_preset(tmp_path)
    with pytest.warns(UserWarning, match="holds no head of this task .* begin anew"):
        model = kt.TextClassifier.from_preset(tmp_path, num_classes=2)
    assert model.predict(TEXTS).shape == (6, 2)


@once
def test_explain_says_what_reads_the_text(tokenizer):
    text = kt.explain(make("TextClassifier", tokenizer))
    assert "pooler     the last token" in text
    assert "classifier 32 → 2, no bias, single_label: LABEL_0, LABEL_1" in text


@once
def test_padding_before_a_text_is_told_by_starts(tokenizer):
    model = make("TextClassifier", tokenizer)
    ids = numbers((2, 7)).argsort(axis=1).astype("int32")
    mask = np.ones_like(ids)
    expected = ops.convert_to_numpy(model({"token_ids": ids, "padding_mask": mask}))
    padded, real = (np.pad(each, ((0, 0), (3, 0))) for each in (ids, mask))
    found = model({"token_ids": padded, "padding_mask": real, "starts": np.full((2, 1), 3, "int32")})
    assert relative_error(found, expected) < 1e-5
