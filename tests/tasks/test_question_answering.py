import gzip
import json
import warnings

import keras
import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import fill
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS, outputs, softmax
from tests.tasks.sources import HuggingFaceDataset

once = pytest.mark.one_backend("torch")
QUESTIONS = ["Who wrote the book?", "Where was Angela born?", "What jumps?", "a film"]
CONTEXTS = [TEXTS[3], TEXTS[0], TEXTS[1], TEXTS[2]]
ANSWERS = [(20, 23), (26, 33), (4, 19), None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    checkpoints.save(folder, "BertForQuestionAnswering")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return kt.QuestionAnswerer.from_preset(folder, overlap=8)


def small(tokenizer, length=64, **arguments):
    config = kt.models.encoder(
        tokenizer.vocabulary_size, num_layers=2, hidden_dim=32, num_heads=4, max_length=length, dropout=0.0
    )
    return kt.QuestionAnswerer(config, tokenizer, **arguments)


def rows(ragged):
    return [ragged.token_ids[a:b] for a, b in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)]


def spans_of(reference, tokenizer, question, context):
    """From transformers' logits: `{(start, end): score}` of all spans of pieces, and the score of no answer beside."""
    import torch

    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].numpy()
    here = [n for n, text in enumerate(encoded.sequence_ids()) if text == 1]
    with torch.no_grad():
        result = reference(**encoded)
    first, last = (np.array(each[0], "float64") for each in (result.start_logits, result.end_logits))
    found = {}
    for positions in (here, [0, *here]):
        p, q = np.zeros(len(first)), np.zeros(len(first))
        p[positions], q[positions] = softmax(first[positions]), softmax(last[positions])
        found[len(positions)] = {
            (int(offsets[a][0]), int(offsets[b][1])): p[a] * q[b] for a in here for b in here if a <= b < a + 30
        }
    return found[len(here)], found[len(here) + 1], p[0] * q[0]


@pytest.mark.each_keras
def test_answers_are_those_of_transformers_logits(folder, model):
    import transformers

    reference = transformers.BertForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = checkpoints.tokenizer_of(folder)
    answers = model.answer(QUESTIONS, CONTEXTS, top=3)
    nothing = model.answer(QUESTIONS, CONTEXTS, top=3, no_answer=True)
    for n, (question, context) in enumerate(zip(QUESTIONS, CONTEXTS, strict=True)):
        alone, beside, null = spans_of(reference, tokenizer, question, context)
        best = sorted(alone, key=alone.get, reverse=True)[:3]
        assert [(each["start"], each["end"]) for each in answers[n]] == best
        np.testing.assert_allclose([each["score"] for each in answers[n]], [alone[span] for span in best], rtol=1e-4)
        assert all(each["text"] == context[each["start"] : each["end"]] for each in answers[n])
        beside[0, 0] = null
        best = sorted(beside, key=beside.get, reverse=True)[:3]
        assert [(each["start"], each["end"]) for each in nothing[n]] == best
        np.testing.assert_allclose([each["score"] for each in nothing[n]], [beside[span] for span in best], rtol=1e-4)
        assert all(each["text"] == "" for each in nothing[n] if each["end"] == 0)
        assert model.answer(question, context)["start"] == answers[n][0]["start"]
    for options in ({"batch_size": 1}, {"batch_size": 3}):
        again = model.answer(QUESTIONS[::-1], CONTEXTS[::-1], top=3, **options)[::-1]
        for one, two in zip(answers, again, strict=True):
            assert [each["text"] for each in one] == [each["text"] for each in two]
            np.testing.assert_allclose([e["score"] for e in one], [e["score"] for e in two], rtol=1e-4)


@pytest.mark.each_keras
def test_predict_gives_both_logits_of_each_token(folder, model):
    import transformers

    reference = transformers.BertForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = checkpoints.tokenizer_of(folder)
    pairs = list(zip(QUESTIONS, CONTEXTS, strict=True))
    for source in (pairs, {"question": QUESTIONS, "context": CONTEXTS}):
        for (question, context), ours in zip(pairs, model.predict(source), strict=True):
            expected = outputs(reference, tokenizer, question, context)
            assert ours.shape == (len(expected), 2)
            np.testing.assert_allclose(ours[:, 0], expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"Expected pairs \(question, context\), got single texts"):
        model.predict(QUESTIONS)


# --- windows ---


@once
def test_windows_cover_what_transformers_windows_do(folder, model):
    tokenizer = checkpoints.tokenizer_of(folder)
    context = " ".join(TEXTS * 3)
    question = QUESTIONS[0]
    inputs, packed, places, spans = model._windows([question], [context])
    expected = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=checkpoints.LENGTH,
        stride=8,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    ours = [row.tolist() for row in rows(inputs["token_ids"])]
    theirs = expected["input_ids"]
    assert len(ours) == len(theirs) > 3
    assert ours[:-1] == theirs[:-1]  # our last is as long as the others, and begins earlier
    assert len(ours[-1]) == checkpoints.LENGTH and ours[-1][-len(theirs[-1]) + 20 :] == theirs[-1][20:]
    assert rows(inputs["segment_ids"])[0].tolist() == expected["token_type_ids"][0]
    covered = {
        (first + n) for (_, first), ids in zip(places, packed.text_ids, strict=True) for n in range((ids == 1).sum())
    }
    assert covered == set(range(len(spans[0])))
    offsets = [o for o, s in zip(expected["offset_mapping"][1], expected.sequence_ids(1), strict=True) if s == 1]
    assert spans[0][places[1][1]].tolist() == list(offsets[0])


@pytest.mark.each_keras
def test_a_long_context_is_read_whole(model):
    question, needle = "where", "Hamburg"
    filler = "the lazy dog of charm and often a film about engines . " * 20
    context = filler + needle + " " + filler
    window_answers = model.answer(question, context, top=5)
    assert all(each["text"] == context[each["start"] : each["end"]] for each in window_answers)
    scores = [each["score"] for each in window_answers]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1
    assert len({(each["start"], each["end"]) for each in window_answers}) == 5
    # the answer of all windows is the best of the best
    inputs, packed, places, spans = model._windows([question], [context])
    sums = []
    for (_, first), ids, logits in zip(places, packed.text_ids, model.run(inputs), strict=True):
        logits = logits[ids == 1].astype("float64")
        sums += [
            (logits[a, 0] + logits[b, 1], spans[0][first + a][0], spans[0][first + b][1])
            for a in range(len(logits))
            for b in range(a, min(a + 30, len(logits)))
        ]
    chosen = (window_answers[0]["start"], window_answers[0]["end"])
    # the filler repeats: where two places score alike, rounding decides
    assert max(logit for logit, *span in sums if tuple(span) == chosen) > max(sums)[0] - 1e-4


@once
def test_no_answer_is_what_every_window_says():
    from keras_transformers.tasks.question_answering import _best_spans

    spans = np.array([[0, 1], [2, 3], [4, 5]])
    low, high = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[5.0, 5.0]])
    windows = [(0, low, np.array([9.0, 9.0])), (2, high, np.array([0.0, 0.0]))]
    (answer,) = _best_spans("a b c", spans, windows, 1, 30, True)
    assert answer["text"] == "c"  # the second window holds an answer, whatever the first says
    windows = [(0, low, np.array([9.0, 9.0])), (2, high, np.array([6.0, 6.0]))]
    answers = _best_spans("a b c", spans, windows, 10, 2, True)
    assert answers[0]["text"] == "" and answers[0]["start"] == answers[0]["end"] == 0
    assert [each["text"] for each in answers] == ["", "c", "b", "a b", "a"]
    total = np.exp([6, 5, 1, 0]).sum() ** 2
    np.testing.assert_allclose([each["score"] for each in answers], np.exp([12, 10, 2, 1, 0]) / total)
    assert _best_spans("\u200b", np.zeros((0, 2)), [(0, np.zeros((0, 2)), np.zeros(2))], 1, 30, False) == [
        {"text": "", "score": 0.0, "start": 0, "end": 0}
    ]


@once
def test_answers_have_no_spaces_around(model):
    from keras_transformers.tasks.question_answering import _trimmed

    assert _trimmed("a b c", 1, 4) == (2, 3) and _trimmed("a b", 0, 3) == (0, 3) and _trimmed("  ", 0, 2) == (0, 2)
    tokenizer = kt.Tokenizer.train(TEXTS, vocabulary_size=300)  # whose pieces hold the space before them
    other = fill(small(tokenizer))
    for answer in other.answer(QUESTIONS, CONTEXTS, max_answer_tokens=3):
        assert answer["text"] == answer["text"].strip() != ""


# --- bad input ---


@once
def test_what_cannot_be_answered(model):
    assert model.answer([], []) == []
    for question, context, which in (("q", "", "context"), ("", "c", "question"), ("q", " \n", "context")):
        with pytest.raises(ValueError, match=f"a question and a context, got an empty {which} as number 0"):
            model.answer(question, context)
    with pytest.raises(ValueError, match="Expected a context for each question, got 2 questions and 1 contexts"):
        model.answer(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="a question that leaves room for the context, got .* of 45 in question 1"):
        model.answer(["a", "long " * 100], ["c", "c"])
    for options in ({"top": 0}, {"max_answer_tokens": 0}, {"top": 1.5}):
        with pytest.raises(ValueError, match=f"Expected {next(iter(options))} of at least 1, got"):
            model.answer("a", "b", **options)
    for wrong in (3, None, b"a"):
        with pytest.raises(
            TypeError, match="Expected lists of strings|Expected a list of texts|Expected a list, array"
        ):
            model.answer(wrong, "b")
    with pytest.raises(TypeError, match="Expected context 0 to be a string, got 3"):
        model.answer(["a"], [3])
    with pytest.raises(ValueError, match="lone surrogate"):
        model.answer("a", "b \ud800")
    assert model.answer("a", "\u200b") == {"text": "", "score": 0.0, "start": 0, "end": 0}
    with pytest.raises(ValueError, match="Expected overlap of at least 0, got -1"):
        kt.QuestionAnswerer(model.config, overlap=-1)


@once
def test_a_text_as_long_as_a_book_is_windows(model, monkeypatch):
    seen = []

    def run(columns, *_):
        seen.append(len(rows(columns["token_ids"])))
        return [np.zeros((len(ids), 2), "float32") for ids in rows(columns["token_ids"])]

    monkeypatch.setattr(model, "run", run)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        answer = model.answer("where", "word " * 50_000)
    assert answer["text"] == "w" and seen[0] > 500


@once
@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            [("q", "c")],
            [(0, 2)],
            ValueError,
            "context of 1 characters, got 0 to 2 in row 0. Count characters",
        ),
        ([("q", "c")], [(1, 1)], ValueError, "inside its context"),
        ([("q", "c")], ["c"], TypeError, r"an answer as \(start, end\), .* or None, got 'c' \(str\) in row 0"),
        ([("q", "c")], [], ValueError, "columns of one length, got 1 questions, 1 second texts, 0 labels"),
        ([], [], ValueError, "at least one question, got none"),
        (["q"], [None], TypeError, r"Expected pairs \(question, context\), got single texts"),
        (["q"], None, TypeError, r"Expected \(\(question, context\), answer\) .* got 'q' \(str\) as item 0"),
        ("q", None, TypeError, "Expected a list of texts, got one string, 'q'"),
        (
            {"question": ["q"]},
            None,
            ValueError,
            "Expected a column of answers, called answers or answer, got question. Say which",
        ),
        (iter(["q"]), None, TypeError, "or batches of them, got 'q' .* as item 0"),
        (
            iter([{"question": "q"}]),
            None,
            ValueError,
            "Expected a column of answers, called answers or answer, got question",
        ),
        (
            [("q", "c")],
            [{"text": ["c"], "answer_start": []}],
            ValueError,
            "as many texts as answer_starts, got 1 and 0",
        ),
        ([("q", "")], [None], ValueError, "got an empty context as number 0"),
    ],
)
def test_examples_that_are_none(model, x, y, error, message):
    with pytest.raises(error, match=message):
        model.fit(x, y, verbose=0)


@once
def test_weights_of_unequal_count(model):
    with pytest.raises(ValueError, match="columns of one length, got 1 questions, .* 2 weights"):
        model.fit([("q", "c")], [None], sample_weight=[1, 1], verbose=0)


# --- training ---


@once
def test_labels_are_the_pieces_of_the_answer(model):
    examples = model._examples(list(zip(QUESTIONS, CONTEXTS, strict=True)), ANSWERS, None, None)
    encoded = model.tokenizer.encode_with_offsets(CONTEXTS)
    for row, (answer, label) in enumerate(zip(ANSWERS, examples.labels, strict=True)):
        if answer is None:
            assert label.tolist() == [0, 0]
            continue
        begin = 2 + len(model.tokenizer.encode(QUESTIONS)[row])
        first, last = (encoded.spans[row][n - begin] for n in label)
        assert (first[0], last[1]) == answer
    long = " ".join(TEXTS * 2)
    start = long.rindex("Hamburg")
    examples = model._examples([("where", long)], [(start, start + 7)], None, None)
    assert (examples.labels.any(axis=1)).sum() in (1, 2) and len(examples) > 3
    assert examples.sample_weight.tolist() == [1.0] * len(examples)


@once
def test_answers_that_no_window_holds_count_for_nothing(model):
    long = " ".join(TEXTS * 2)
    with pytest.warns(UserWarning, match="1 of 2 answers are whole in no window of their context, and count") as caught:
        examples = model._examples([("where", long), ("q", "c")], [(0, len(long)), (0, 1)], None, None)
    assert caught[0].filename == __file__
    assert examples.sample_weight.tolist() == [0.0] * (len(examples) - 1) + [1.0]


@once
def test_every_source_gives_the_same(model):
    import tensorflow as tf
    import torch

    questions, contexts, spans = QUESTIONS[:3], CONTEXTS[:3], ANSWERS[:3]
    pairs = list(zip(questions, contexts, strict=True))
    squad = [{"text": [context[a:b]], "answer_start": [a]} for context, (a, b) in zip(contexts, spans, strict=True)]
    columns = {"question": questions, "context": contexts, "answers": squad}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    by_columns = {name: [each[name] for each in squad] for name in squad[0]}
    items = list(zip(pairs, spans, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices(((questions, contexts), spans))
    nested = tf.data.Dataset.from_tensor_slices({**columns, "answers": by_columns})
    expected = model.evaluate(pairs, spans, verbose=0)
    for number, source in enumerate(
        [
            columns,
            {**columns, "answers": by_columns},
            {**columns, "answers": spans},
            HuggingFaceDataset(columns),
            records,
            iter(records),
            items,
            iter(items),
            iter([((questions, contexts), spans)]),
            dataset,
            dataset.batch(2),
            nested,
            nested.batch(2),
            torch.utils.data.DataLoader(items, batch_size=2),
            torch.utils.data.DataLoader(items, batch_size=None),
        ]
    ):
        assert model.evaluate(source, verbose=0)["loss"] == pytest.approx(expected["loss"], rel=1e-5), number


@pytest.mark.each_keras
def test_the_loss_is_the_one_written_in_numpy(model):
    weights = np.array([0.1, 0.2, 0.3, 0.1])
    pairs = list(zip(QUESTIONS, CONTEXTS, strict=True))
    labels = model._examples(pairs, ANSWERS, None, None).labels
    losses, hits = [], []
    for logits, label in zip(model.predict(pairs), labels, strict=True):
        scores = softmax(logits.T.astype("float64"))
        losses.append(-np.log(scores[[0, 1], label]).mean())
        hits.append((scores.argmax(-1) == label).all())
    results = model.evaluate(pairs, ANSWERS, sample_weight=weights, batch_size=3, verbose=0)
    assert results["loss"] == pytest.approx((losses * weights).sum() / weights.sum(), rel=1e-5)
    assert results["exact_match"] == pytest.approx((np.array(hits) * weights).sum() / weights.sum(), abs=1e-6)


def squad(path, count):
    """Columns of the first questions of a file of SQuAD's format, of short contexts."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    found = [
        (question["question"], paragraph["context"], question["answers"])
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        if len(paragraph["context"]) < 700
    ][:count]
    answers = [{name: [each[name] for each in row[2]] for name in ("text", "answer_start")} for row in found]
    return {"question": [row[0] for row in found], "context": [row[1] for row in found], "answers": answers}


@once
def test_learns_a_real_task(data_folder):
    columns = squad(data_folder / "xquad" / "xquad.en.json.gz", 24)
    keras.utils.set_random_seed(0)
    tokenizer = kt.Tokenizer.train(columns["context"] + columns["question"], kind="wordpiece", vocabulary_size=800)
    model = small(tokenizer, length=160, overlap=40)
    model.compile(keras.optimizers.AdamW(3e-3))
    before = model.evaluate(columns, verbose=0)
    history = model.fit(columns, epochs=15, batch_size=16, num_buckets=1, verbose=0).history
    after = model.evaluate(columns, verbose=0)
    assert set(history) == {"loss", "exact_match"}
    assert after["loss"] < before["loss"] / 2
    answer = model.answer(columns["question"][0], columns["context"][0], no_answer=True)
    assert set(answer) == {"text", "score", "start", "end"}


@once
def test_unanswerable_questions(data_folder):
    columns = squad(data_folder / "squad2-dev-half" / "dev-v2.0.json.gz", 300)
    unanswered = [not each["text"] for each in columns["answers"]]
    assert any(unanswered) and not all(unanswered)
    wide = small(kt.Tokenizer.train(columns["context"], vocabulary_size=1000), length=512)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        examples = wide._examples(columns, None, None, None)
    assert len(examples) == 300
    assert (~examples.labels.any(axis=1)).tolist() == unanswered
