"""Whatever holds texts is read alike, by everything that takes texts."""

import collections
import itertools
import pathlib

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import keras_transformers as kt
from keras_transformers.data.containers import as_text, rows
from keras_transformers.data.examples import read_columns
from keras_transformers.data.sources import Form, Source, texts_of
from tests.data.containers import COLUMNS, TABLES, all_of

pytestmark = pytest.mark.one_backend("torch")
TEXTS = ["A man rides a bike.", "two dogs, é", "rain", "the house is small"]
LABELS = [1, 0, 0, 1]
MASKED = [f"{text} [MASK]" for text in TEXTS]


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS * 3, kind="wordpiece", vocabulary_size=200, mask_token="[MASK]")


@pytest.fixture(scope="module")
def models(tokenizer):
    size, options = tokenizer.vocabulary_size, {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 64}
    encoder = kt.models.encoder(size, **options, dropout=0.0)
    return {
        "classifier": kt.TextClassifier(encoder, tokenizer, labels=["bad", "good"]),
        "tagger": kt.TokenClassifier(encoder, tokenizer, labels=["O", "B-X", "I-X"]),
        "answerer": kt.QuestionAnswerer(encoder, tokenizer),
        "embedder": kt.TextEmbedder(encoder, tokenizer),
        "masked": kt.MaskedLM(encoder, tokenizer),
        "lm": kt.CausalLM(kt.models.gpt(size, **options), tokenizer),
        "translator": kt.Seq2SeqLM(
            kt.models.transformer(size, num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=16), tokenizer
        ),
    }


# Everything that takes texts: by name, what it makes of `x`, something that `numpy` compares.
TAKES_TEXTS = {
    "Tokenizer.encode": lambda m, x: m["lm"].tokenizer.encode(x),
    "Tokenizer.train": lambda m, x: kt.Tokenizer.train(x, kind="bpe", vocabulary_size=300).files()["tokenizer.json"],
    "TextClassifier.predict": lambda m, x: m["classifier"].predict(x),
    "TextClassifier.predict_on_batch": lambda m, x: m["classifier"].predict_on_batch(x),
    "classify": lambda m, x: [each["label"] for each in m["classifier"].classify(x)],
    "tag": lambda m, x: [[each["text"] for each in row] for row in m["tagger"].tag(x, aggregate=False)],
    "embed": lambda m, x: m["embedder"].embed(x),
    "TextEmbedder.predict": lambda m, x: m["embedder"].predict(x),
    "similarity": lambda m, x: m["embedder"].similarity("rain", x),
    "rank": lambda m, x: [each["index"] for each in m["classifier"].rank("rain", x)],
    "score": lambda m, x: m["lm"].score(x),
    "perplexity": lambda m, x: m["lm"].perplexity(x),
    "CausalLM.predict": lambda m, x: [logits[-1] for logits in m["lm"].predict(x)],
    "generate": lambda m, x: m["lm"].generate(x, max_new_tokens=2),
    "translate": lambda m, x: m["translator"].translate(x, max_new_tokens=2),
    "translate_document": lambda m, x: m["translator"].translate_document(x, max_new_tokens=2),
    "CausalLM.fit": lambda m, x: ids_of(m["lm"]._examples(x, None, None)),
    "MaskedLM.fit": lambda m, x: ids_of(m["masked"]._examples(x, None, None)),
    "TextClassifier.fit": lambda m, x: ids_of(m["classifier"]._examples(x, LABELS, None)),
    "TextEmbedder.fit": lambda m, x: ids_of(m["embedder"]._examples(x, TEXTS[::-1], None)),
    "Seq2SeqLM.fit": lambda m, x: ids_of(m["translator"]._examples(x, TEXTS[::-1], None)),
}
NO_STREAM_BESIDE_LABELS = ("tf.data of dictionaries",)


def ids_of(examples):
    return [array.tolist() for array in examples.token_ids.values()]


def same(a, b):
    if isinstance(a, (bytes, str)) or isinstance(a, list) and not isinstance(a[0], (np.ndarray, float)):
        return a == b
    return len(np.atleast_1d(a)) == len(np.atleast_1d(b)) and np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("entry", TAKES_TEXTS)
def test_every_container_is_read_as_a_list_is(entry, models):
    take = TAKES_TEXTS[entry]
    expected = take(models, TEXTS)
    for name, container in all_of(TEXTS):
        assert same(take(models, container), expected), name


def test_every_container_of_masks(models):
    expected = models["masked"].fill_mask(MASKED, top=1)
    for name, container in all_of(MASKED):
        assert [each[0]["token"] for each in models["masked"].fill_mask(container, top=1)] == [
            each[0]["token"] for each in expected
        ], name


def test_every_table_of_a_task_is_read_as_lists_are(models):
    """Columns by name: labels, pairs, questions, weights."""
    weights = [1.0, 0.5, 0.0, 2.0]
    spans = [{"text": [text[:3]], "answer_start": [0]} for text in TEXTS]
    questions = ["who", "what", "which one", "where"]
    cases = {
        "classifier": ({"text": TEXTS, "label": LABELS}, (TEXTS, LABELS)),
        "classifier, names": ({"id": [7, 8, 9, 1], "review": TEXTS, "label": LABELS}, (TEXTS, LABELS)),
        "classifier, pairs": (
            {"premise": TEXTS, "hypothesis": TEXTS[::-1], "label": LABELS},
            (list(zip(TEXTS, TEXTS[::-1], strict=True)), LABELS),
        ),
        "classifier, weights": ({"text": TEXTS, "label": LABELS, "sample_weight": weights}, (TEXTS, LABELS, weights)),
        "embedder": ({"anchor": TEXTS, "positive": TEXTS[::-1]}, (TEXTS, TEXTS[::-1])),
        "translator": ({"source": TEXTS, "target": TEXTS[::-1]}, (TEXTS, TEXTS[::-1])),
        "lm": ({"text": TEXTS, "label": LABELS}, (TEXTS,)),
        "lm, answers": ({"prompt": TEXTS, "completion": TEXTS[::-1]}, (TEXTS, TEXTS[::-1])),
        "masked": ({"text": TEXTS, "label": LABELS}, (TEXTS,)),
        "answerer": (
            {"question": questions, "context": TEXTS, "answers": spans},
            (list(zip(questions, TEXTS, strict=True)), [(0, 3)] * 4),
        ),
    }
    for case, (columns, lists) in cases.items():
        model = models[case.partition(",")[0]]
        expected = model._examples(*lists, *[None] * (3 - len(lists)))
        for name, make in TABLES.items():
            if case == "answerer" and name == "structured array":
                continue
            got = model._examples(make(columns), None, None)
            assert ids_of(got) == ids_of(expected), (case, name)
            if got.sample_weight is not None:
                assert got.sample_weight.tolist() == expected.sample_weight.tolist(), (case, name)


def test_words_and_labels_in_tables(models):
    words = [text.split() for text in TEXTS]
    tags = [[0] * len(row) for row in words]
    expected = ids_of(models["tagger"]._examples(words, tags, None))
    outputs = models["tagger"].predict(words)
    for name, make in TABLES.items():
        if name in ("structured array", "dictionary of arrays"):
            continue
        assert ids_of(models["tagger"]._examples(make({"tokens": words, "ner_tags": tags}), None, None)) == expected, (
            name
        )
        for ours, theirs in zip(models["tagger"].predict(make({"tokens": words})), outputs, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for column in (pd.Series(words), pl.Series(words), pa.array(words), datasets.Dataset.from_dict({"w": words})["w"]):
        assert ids_of(models["tagger"]._examples(column, tags, None)) == expected


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, dict, datasets.Dataset.from_dict])
def test_columns_are_named(make, models):
    table = make({"title": ["x"] * 4, "body": TEXTS, "stars": LABELS, "score": [9] * 4})
    expected = ids_of(models["classifier"]._examples(TEXTS, LABELS, None))
    columns = {"text": "body", "label": "stars"}
    assert ids_of(models["classifier"]._examples(table, None, None, columns=columns)) == expected
    np.testing.assert_allclose(
        models["classifier"].predict(table, columns={"text": "body"}), models["classifier"].predict(TEXTS), atol=1e-5
    )
    with pytest.raises(ValueError, match="got the columns title, body, stars, score: title or body could be meant"):
        models["classifier"].predict(table)
    with pytest.raises(ValueError, match="could be meant. Say which: columns={'text': …, 'text_pair': …}"):
        models["classifier"].fit(table, LABELS)
    with pytest.raises(ValueError, match=r"to name one of the columns .*, got 'bdy' \(did you mean 'body'\?\)"):
        models["classifier"].fit(table, columns={"text": "bdy"})
    with pytest.raises(ValueError, match="Expected columns= beside a table only"):
        models["classifier"].fit(TEXTS, LABELS, columns=columns)


def test_two_languages(tokenizer):
    pairs = kt.data.encode_pairs(TEXTS, TEXTS[::-1], tokenizer=tokenizer)
    nested = [{"translation": {"en": a, "fr": b}} for a, b in zip(TEXTS, TEXTS[::-1], strict=True)]
    dataset = datasets.Dataset.from_list(nested)
    sources = [nested, iter(nested), dataset, dataset.to_iterable_dataset(), dataset.iter(2), pd.DataFrame(nested)]
    sources += [pl.DataFrame(nested), pa.Table.from_pylist(nested), {"translation": {"en": TEXTS, "fr": TEXTS[::-1]}}]
    sources += [make({"id": [1, 2, 3, 4], "en": TEXTS, "fr": TEXTS[::-1]}) for make in TABLES.values()]
    for source in sources:
        with pytest.warns(UserWarning, match="called en and fr, .* en is read as the source") as caught:
            assert ids_of(kt.data.encode_pairs(source, tokenizer=tokenizer)) == ids_of(pairs)
        assert caught[0].filename == __file__
    columns = {"source": "fr", "target": "en"}
    turned = kt.data.encode_pairs(nested, tokenizer=tokenizer, columns=columns)
    assert turned.sources.token_ids.tolist() == pairs.targets.token_ids.tolist()
    three = {"en": TEXTS, "fr": TEXTS, "de": TEXTS}
    with pytest.raises(ValueError, match="columns of texts, called source and target .* got the columns en, fr, de"):
        kt.data.encode_pairs(three, tokenizer=tokenizer)


def test_labels_in_every_container_and_form(models):
    model = models["classifier"]
    expected = model._examples(TEXTS, LABELS, None).labels.tolist()
    names = [["bad", "good"][label] for label in LABELS]
    one_hot = np.eye(2, dtype="int64")[LABELS]
    forms = [
        make(LABELS)
        for name, make in COLUMNS.items()
        if "categories" not in name and "String" not in name and "bytes" not in name
    ]
    forms += [make(names) for make in COLUMNS.values()]
    forms += [np.array(LABELS)[:, None], np.array(LABELS, bool), [bool(label) for label in LABELS]]
    forms += [np.array(LABELS, "float32"), one_hot, one_hot.astype("float32"), one_hot.astype(bool), one_hot.tolist()]
    forms += [pd.DataFrame({"label": LABELS}), pl.DataFrame({"label": names}), pa.table({"label": LABELS})]
    forms += [pd.DataFrame(one_hot[:, ::-1], columns=["good", "bad"]), {"good": one_hot[:, 1], "bad": one_hot[:, 0]}]
    forms += [iter(LABELS), pd.Series(LABELS, index=[9, 8, 7, 6]), pd.Series(LABELS, dtype="Int64")]
    for form in forms:
        assert model._examples(TEXTS, form, None).labels.tolist() == expected, form


def test_truth_goes_by_its_names(models, tokenizer):
    model = kt.TextClassifier(models["classifier"].config, tokenizer, labels=["True", "False"])
    assert model._examples(["a", "b"], [True, False], None).labels.tolist() == [0, 1]
    model = kt.TextClassifier(models["classifier"].config, tokenizer, num_classes=3)
    with pytest.raises(ValueError, match=r"from 0 to 2, or its name, got True \(bool\) as label 0"):
        model.fit(["a"], [True])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 0]] * 4, r"exactly one 1 and else 0, got \[0, 0\] .* problem='multi_label'"),
        ([[0.3, 0.7]] * 4, "exactly one 1 and else 0"),
        ([[0, 0, 1]] * 4, "one label, or a 1 among 1 times 0, got"),
        (pd.Series([1, None, 0, 0]), "got nan .* as label 1"),
        (pd.Series([1, None, 0, 0], dtype="Int64"), "got <NA> .* as label 1"),
        (pl.Series(["good", None, "bad", "bad"]), "got None .* as label 1"),
        ([0, 1], "Expected columns of one length, got 4 texts, 2 labels"),
        (pd.DataFrame({"x": LABELS, "y": LABELS}), "a value for each of the labels bad, good, got x, y as label 0"),
        (["good", "Bad", "bad", "bad"], "Expected one of the labels bad, good, got 'Bad' as label 1"),
    ],
)
def test_labels_that_are_none(labels, message, models):
    with pytest.raises(ValueError, match=message):
        models["classifier"].fit(TEXTS, labels)


def test_zero_and_one_for_each_class_stay_what_they_are(models, tokenizer):
    model = kt.TextClassifier(models["classifier"].config, tokenizer, labels=["a", "b"], problem="multi_label")
    table = [[1, 0], [1, 1], [0, 0], [0, 1]]
    for form in (table, np.array(table), np.array(table, bool), pd.DataFrame(table, columns=["a", "b"])):
        assert model._examples(TEXTS, form, None).labels.tolist() == table
    named = [["a"], {"a", "b"}, (), ["b"]]
    assert model._examples(TEXTS, named, None).labels.tolist() == table
    one = kt.TextClassifier(models["classifier"].config, tokenizer, labels=["a"], problem="multi_label")
    assert one._examples(TEXTS, np.array(LABELS)[:, None], None).labels.tolist() == [[label] for label in LABELS]


ERRORS = {
    "string": ("text", TypeError, "got one string, 'text'. Put it in a list"),
    "bytes": (b"text", TypeError, "one string"),
    "number": (5, TypeError, r"data frame, .* got 5 \(int\)"),
    "nothing": (None, TypeError, "got None"),
    "set": ({"a"}, TypeError, "got a set, which has none. Give a list"),
    "function": (lambda: ["a"], TypeError, "Call it: pass what it returns"),
    "path": (pathlib.Path("texts.txt"), TypeError, "got a path, 'texts.txt'. Read the file first"),
    "endless": (itertools.cycle("ab"), ValueError, "comes to an end, got cycle"),
    "no UTF-8": ([b"\xff"], ValueError, "text 0 in UTF-8, got b'.xff'"),
    "surrogate": (["a", "\ud800"], ValueError, "a lone surrogate .* of text 1"),
    "NaN": (
        pd.Series(["a", "b", float("nan")], index=[5, 6, 7]),
        TypeError,
        "text 2 to be a string, got nan.* missing",
    ),
    "NA": (pd.Series(["a", None], dtype="string"), TypeError, "text 1 .* The value is missing: leave the row out"),
    "null": (pl.Series(["a", None]), TypeError, "text 1 to be a string, got None"),
    "null in a table": (pa.table({"text": ["a", None]}), TypeError, "text 1 to be a string, got None"),
    "NaN in a frame": (pd.DataFrame({"text": ["a", None]}), TypeError, "text 1 .* The value is missing"),
    "masked": (np.ma.array(["a", "b"], mask=[0, 1]), TypeError, "text 1 to be a string, got None"),
    "number among texts": (["a", 3], TypeError, r"text 1 to be a string, got 3 \(int\)"),
    "splits": (
        datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})}),
        ValueError,
        "one data set, got several by name: train. Give one, such as x\\['train'\\]",
    ),
    "no texts": (pd.DataFrame({"x": [1, 2]}), ValueError, "a column of texts, called text .* got the columns x"),
    "two known names": ({"text": ["a"], "sentence": ["b"]}, ValueError, "text or sentence could be meant"),
    "two texts": (pl.DataFrame({"x": ["a"], "y": ["b"]}), ValueError, "columns x, y: x or y could be meant"),
    "two of one name": (pd.DataFrame([["a", "b"]], columns=["x", "x"]), ValueError, "different names, got x, x"),
    "names are numbers": (pd.DataFrame([["a", "b"]]), ValueError, "columns 0, 1: 0 or 1 could be meant"),
    "other keys": ([{"text": "a"}, {"txt": "b"}], ValueError, "same keys, got text first and txt as item 1"),
    "other keys in a stream": (iter([{"text": "a"}, {"txt": "b"}]), ValueError, "same keys, got text first and txt"),
    "ids": ([[1, 2, 3], [4]], TypeError, "Token ids are read by name: {'token_ids': …}"),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("entry", ["embed", "TextClassifier.predict", "Tokenizer.encode", "CausalLM.fit"])
def test_what_holds_no_texts_is_refused(entry, case, models):
    source, error, message = ERRORS[case]
    if entry in ("embed", "Tokenizer.encode") and case in ("string", "bytes"):
        return  # one text by itself is embedded; the tokenizer has a message of its own
    if entry == "CausalLM.fit" and case == "path":
        return  # it reads files
    if case in ("endless", "other keys in a stream"):
        source = itertools.cycle("ab") if case == "endless" else iter([{"text": "a"}, {"txt": "b"}])
    with pytest.raises(error, match=message):
        TAKES_TEXTS[entry](models, source)


def test_a_sentence_pair_is_no_text(models):
    for pair in ([("a", "b")], {"sentence1": ["a"], "sentence2": ["b"]}, zip(["a"], ["b"], strict=True)):
        with pytest.raises(TypeError, match="several in the place of one|got pairs of them"):
            models["embedder"].embed(pair)


def test_pairs_of_texts_are_seen_from_any_container(models):
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    model = models["classifier"]
    expected = model.predict(pairs)
    import torch

    for source in (
        zip(TEXTS, TEXTS[::-1], strict=True),
        np.array(pairs),
        pairs,
        [list(pair) for pair in pairs],
        pd.DataFrame({"sentence1": TEXTS, "sentence2": TEXTS[::-1]}),
        torch.utils.data.DataLoader(pairs, batch_size=2),
        torch.utils.data.DataLoader(pairs, batch_size=None),
        iter([(TEXTS[:2], TEXTS[::-1][:2]), (TEXTS[2:], TEXTS[::-1][2:])]),
    ):
        np.testing.assert_allclose(model.predict(source), expected, atol=1e-5)
    # a label's name is no second text
    np.testing.assert_allclose(
        model.predict(zip(TEXTS, ["good", "bad"] * 2, strict=True)), model.predict(TEXTS), atol=1e-5
    )


def test_rows_of_other_libraries(tokenizer):
    """Rows as people get them from data bases, csv files, frames and loaders."""
    import csv
    import dataclasses
    import io
    import sqlite3

    import tensorflow as tf
    import torch

    @dataclasses.dataclass
    class Row:
        text: str
        label: int

    base = sqlite3.connect(":memory:")
    base.execute("create table x(text, label)")
    base.executemany("insert into x values(?, ?)", list(zip(TEXTS, LABELS, strict=True)))
    named_rows = base.cursor()
    named_rows.row_factory = sqlite3.Row
    frame, table = pd.DataFrame({"text": TEXTS, "label": LABELS}), pa.table({"text": TEXTS, "label": LABELS})
    dataset = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    pairs = list(zip(TEXTS, LABELS, strict=True))
    columns = (np.array(TEXTS)[:, None], np.array(LABELS)[:, None])
    for source in (
        [Row(*pair) for pair in pairs],
        base.execute("select text, label from x"),
        named_rows.execute("select text, label from x"),
        frame.itertuples(),
        frame.values,
        frame.to_dict("records"),
        pl.DataFrame(frame).iter_rows(),
        pl.DataFrame(frame).iter_rows(named=True),
        pl.DataFrame(frame).to_struct("rows"),
        table.to_batches(),
        table.to_struct_array(),
        dataset.with_format("torch"),
        dataset.with_format("numpy"),
        dataset[:4],
        dataset.to_tf_dataset(columns="text", label_cols="label", batch_size=3),
        torch.utils.data.DataLoader(dataset, batch_size=3),
        torch.utils.data.Subset(pairs, range(4)),
        torch.utils.data.DataLoader(pairs, batch_size=3, collate_fn=lambda each: each),
        torch.utils.data.DataLoader(pairs, batch_size=3, collate_fn=lambda each: tuple(zip(*each, strict=True))),
        tf.data.Dataset.from_tensor_slices(({"text": TEXTS}, LABELS)).batch(3),
        tf.data.Dataset.from_tensor_slices(columns).batch(3),
        dict(pairs).items(),
        collections.ChainMap({"text": TEXTS}, {"label": LABELS}),
        (TEXTS, LABELS),
    ):
        read = read_columns(source)
        labels = [int(np.ravel(label)[0]) for label in read.labels]
        assert (read.texts, labels) == (TEXTS, LABELS), type(source)
    assert read_columns(csv.reader(io.StringIO("a,0\nb,1\n"))).labels == ["0", "1"]
    for wrong, message in (
        (frame.groupby("label"), "Expected"),
        (frame.iterrows(), "text 0 to be a string, got 0"),
        (enumerate(TEXTS), "text 0 to be a string, got 0"),
        (zip(TEXTS, LABELS, LABELS, LABELS, strict=True), r"Expected \(text, label\)"),
        (list, "Expected lists of strings"),
        (dict(pairs), "Expected a column of labels, called label"),
        (pl.col("text"), "Expected lists of strings"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            read_columns(wrong)


def test_given_twice(models):
    batches = iter([(["a", "b"], [0, 1])])
    with pytest.raises(ValueError, match="Expected labels once, got some in x and others beside it"):
        models["classifier"].fit(batches, [0, 1])
    with pytest.raises(ValueError, match="not |Expected a label, or weight, for each, or for none"):
        read_columns(iter([("a", 0), ("b", 1, 0.5)]))
    with pytest.raises(ValueError, match="got labels too, which may say that some do not"):
        models["embedder"].fit({"sentence1": TEXTS, "sentence2": TEXTS, "label": LABELS})
    with pytest.raises(ValueError, match="both token_ids and its other name, input_ids"):
        models["lm"].fit({"token_ids": [[1, 2]], "input_ids": [[1, 2]]})


def test_a_stream_is_read_in_blocks():
    source = Source((f"text {n}" for n in range(10_000)), form=Form(labelled=False))
    counts = [len(block.inputs) for block in source.blocks()]
    assert sum(counts) == 10_000 and max(counts) <= 4096


def test_rows_are_python_values():
    assert rows(np.array([1, 2])) == [1, 2] and isinstance(rows(np.array([1, 2]))[0], int)
    assert rows(pa.chunked_array([["a"], ["b"]])) == ["a", "b"]
    assert rows({"a": [1, 2], "b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(TypeError, match="Expected a list, array or series with a value for each row, got 3"):
        rows(3)
    for value in ("a", np.str_("a"), b"a", np.array("a"), np.bytes_(b"a"), pa.scalar("a")):
        assert as_text(value, "it") == "a" and type(as_text(value, "it")) is str
    assert texts_of("one") == (["one"], True) and texts_of([]) == ([], False)
    assert texts_of(collections.deque(["a"])) == (["a"], False)
