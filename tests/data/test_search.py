import re

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data import search as module
from keras_transformers.data import vector_files
from keras_transformers.data.sparse_vectors import SparseVectors

pytestmark = pytest.mark.one_backend("torch")
DRAW = np.random.default_rng(0)
QUERIES, CORPUS = DRAW.standard_normal((7, 24)), DRAW.standard_normal((300, 24)).astype("float32")


def by_hand(queries, corpus, k, measure):
    """The whole table of similarities, float64, sorted."""
    a, b = np.asarray(queries, "float64"), np.asarray(corpus, "float64")
    if measure == "hamming":
        bits = [np.unpackbits(np.asarray(each).view("uint8"), axis=1) for each in (queries, corpus)]
        table = -(bits[0][:, None] != bits[1]).sum(-1).astype("float64")
    elif measure in ("euclidean", "manhattan"):
        table = -np.linalg.norm(a[:, None] - b, ord=2 if measure == "euclidean" else 1, axis=-1)
    else:
        if measure == "cosine":
            a, b = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (a, b))
        table = a @ b.T
    order = np.argsort(-table, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(table, order, axis=1)


@pytest.mark.parametrize("block", [module.BLOCK, 24 * 41, 24])
@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_finds_what_the_whole_table_says(monkeypatch, measure, block):
    monkeypatch.setattr(module, "BLOCK", block)
    for k in (1, 10, 300):
        found = kt.search(QUERIES, CORPUS, k, measure=measure)
        indices, scores = by_hand(QUERIES, CORPUS, k, measure)
        assert (found.indices == indices).all() and found.indices.dtype == "int64" and found.scores.dtype == "float32"
        np.testing.assert_allclose(found.scores, scores, atol=1e-4)


@pytest.mark.parametrize("block", [module.BLOCK, 100])
def test_bits_and_int8(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    bits = [np.packbits(each > 0, axis=1) for each in (QUERIES, CORPUS)]
    for given in (bits, [(each.astype("int16") - 128).astype("int8") for each in bits]):  # as sentence-transformers has
        found = kt.search(*given, k=20, measure="hamming")
        indices, scores = by_hand(*bits, 20, "hamming")
        assert (found.indices == indices).all() and (found.scores == scores).all()  # ties: the first comes first
    whole = DRAW.integers(-128, 128, (300, 24)).astype("int8")
    for measure in ("dot", "cosine"):
        found = kt.search(whole[:5], whole, 4, measure=measure)
        assert (found.indices == by_hand(whole[:5], whole, 4, measure)[0]).all()
    monkeypatch.delattr(np, "bitwise_count", raising=False)  # NumPy 1
    assert (kt.search(*bits, k=20, measure="hamming").scores == scores).all()


def test_one_query_and_equal_vectors():
    found = kt.search(QUERIES[0], CORPUS, 3)
    assert found.indices.shape == (3,) and (found.indices == kt.search(QUERIES, CORPUS, 3).indices[0]).all()
    assert kt.search(np.ones(4), np.ones((50, 4)), 5).indices.tolist() == [0, 1, 2, 3, 4]
    assert kt.search(np.zeros((0, 24)), CORPUS, 3).scores.shape == (0, 3)
    assert kt.search(np.zeros(24), CORPUS, 2).scores.tolist() == [0, 0]


def test_files_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 24 * 50)
    np.save(tmp_path / "corpus.npy", CORPUS)
    np.save(tmp_path / "queries.npy", QUERIES)
    vector_files.npy_to_parquet(tmp_path / "corpus.npy", tmp_path / "corpus.parquet", rows=90)
    expected = kt.search(QUERIES, CORPUS, 5)
    for name in ("corpus.npy", "corpus.parquet"):
        found = kt.search(tmp_path / "queries.npy", str(tmp_path / name), 5)
        assert (found.indices == expected.indices).all() and (found.scores == expected.scores).all()
    rows = vector_files.open_vectors(np.load(tmp_path / "corpus.npy", mmap_mode="r"), "x")
    assert all(isinstance(block, np.memmap) for _, block in rows.blocks(64))
    header = vector_files.npy_header(300, 24, np.dtype("float32"))
    (tmp_path / "own.npy").write_bytes(header + CORPUS.tobytes())
    assert len(header) == 128 and (np.load(tmp_path / "own.npy") == CORPUS).all()


def test_parquet_of_others(tmp_path):
    import pyarrow
    import pyarrow.parquet

    lists = pyarrow.array(CORPUS.tolist(), pyarrow.list_(pyarrow.float32()))
    pyarrow.parquet.write_table(pyarrow.table({"id": range(300), "vector": lists}), tmp_path / "one.parquet")
    assert (kt.search(QUERIES, tmp_path / "one.parquet").indices == kt.search(QUERIES, CORPUS).indices).all()
    pyarrow.parquet.write_table(pyarrow.table({"a": lists, "b": lists}), tmp_path / "two.parquet")
    ragged = pyarrow.array([[1.0], [1.0, 2.0]])
    pyarrow.parquet.write_table(pyarrow.table({"a": ragged}), tmp_path / "ragged.parquet")
    for name, message in (("two", "one column of vectors in .*, got a, b among a, b"), ("ragged", "of width 1 in .*")):
        with pytest.raises(ValueError, match=message):
            kt.search(np.ones(1), tmp_path / f"{name}.parquet", 1)


def test_clear_errors():
    for arguments, error, message in (
        (
            (QUERIES, []),
            ValueError,
            "Expected at least one vector in the corpus, got none. Is the list of texts empty?",
        ),
        ((QUERIES, CORPUS[:0]), ValueError, "Expected at least one vector in the corpus, got none"),
        (
            (QUERIES[:, :8], CORPUS),
            ValueError,
            "Expected queries of the width of the corpus, 24, got 8. Were both made",
        ),
        ((QUERIES, CORPUS, 301), ValueError, "Expected k from 1 to the 300 vectors of the corpus, got 301"),
        ((QUERIES, CORPUS, 0), ValueError, "Expected k from 1 to the 300 vectors of the corpus, got 0"),
        ((["a", "b"], CORPUS), TypeError, "Expected queries to be vectors .* got <U1 (2,). Texts are made vectors by"),
        ((QUERIES, ["a"]), TypeError, "Expected the corpus to be vectors [M, D], got <U1 (1,). Texts are made vec"),
        ((QUERIES, "corpus.txt"), ValueError, "Expected the corpus in a .npy or .parquet file, got corpus.txt"),
        ((QUERIES * np.nan, CORPUS), ValueError, "Expected queries of finite numbers, got NaN or infinity"),
        ((QUERIES, CORPUS * np.inf), ValueError, "Expected a corpus of finite numbers, got NaN or infinity in it"),
    ):
        with pytest.raises(error, match=re.escape(message).replace(r"\.\*", ".*")):
            kt.search(*arguments)
    with pytest.raises(
        ValueError, match="Expected measure to be one of cosine, dot, .*, got 'cos' .did you mean 'cosine"
    ):
        kt.search(QUERIES, CORPUS, measure="cos")
    with pytest.raises(ValueError, match=r'packed bits \(uint8\) with measure="hamming", got float32 and float64'):
        kt.search(QUERIES, CORPUS, measure="hamming")


# --- sparse vectors, and vectors of tokens ---


def sparse(count, width=50, filled=0.2, seed=0):
    draw = np.random.default_rng(seed)
    table = draw.random((count, width)).astype("float32") * (draw.random((count, width)) < filled)
    table[count // 2] = 0  # a text without any number
    rows = [(places := np.flatnonzero(row), row[places]) for row in table]
    return table, SparseVectors.of_rows(rows, width)


@pytest.mark.parametrize("block", [module.BLOCK, 130, 7])
@pytest.mark.parametrize("measure", [None, "cosine", "euclidean"])
def test_sparse_vectors_are_found_as_dense_ones_are(monkeypatch, measure, block):
    monkeypatch.setattr(module, "BLOCK", block)
    (asked, queries), (table, corpus) = sparse(9, seed=1), sparse(200)
    found = kt.search(queries, corpus, 12, measure=measure)
    indices, scores = by_hand_of_any(asked, table, 12, measure or "dot")
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    assert (
        found.indices[np.arange(9) != 4] == indices[np.arange(9) != 4]
    ).mean() > 0.99  # rounding may swap equal ones
    assert kt.search(queries.rows(0, 0), corpus, 3).scores.shape == (0, 3)


def by_hand_of_any(queries, corpus, k, measure):
    with np.errstate(invalid="ignore"):
        a, b = (np.asarray(each, "float64") for each in (queries, corpus))
        table = -np.linalg.norm(a[:, None] - b, axis=-1) if measure == "euclidean" else a @ b.T
        if measure == "cosine":
            table = np.nan_to_num(table / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1))
    order = np.argsort(-table, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(table, order, axis=1)


@pytest.mark.parametrize("block", [module.BLOCK, 90, 8])
def test_vectors_of_tokens_are_found_by_maxsim(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    draw = np.random.default_rng(0)
    queries, corpus = (
        [draw.normal(size=(n % 5, 8)).astype("float32") for n in range(*each)] for each in ((1, 8), (60,))
    )
    table = np.full((7, 60), np.finfo("float32").min)
    for row, query in enumerate(queries):
        for column, text in enumerate(corpus):
            if len(text):
                table[row, column] = (query @ text.T).max(axis=1).sum()
    order = np.argsort(-table, axis=1, kind="stable")[:, :6]
    found = kt.search(queries, corpus, 6)
    assert (found.indices == order).all()
    np.testing.assert_allclose(found.scores, np.take_along_axis(table, order, axis=1), rtol=1e-4)
    mean = kt.search(queries, corpus, 6, measure="meanmaxsim")
    np.testing.assert_allclose(mean.scores[0], found.scores[0] / len(queries[0]), rtol=1e-5)
    one = kt.search(queries[0], corpus, 6)
    assert one.indices.shape == (6,) and (one.indices == order[0]).all()
    assert kt.search([], corpus, 6).indices.shape == (0, 6)
    whole = np.stack([text for text in corpus if len(text) == 4])  # as an array [M, T, P]
    assert (kt.search(queries[0], whole, 2).indices == kt.search(queries[0], list(whole), 2).indices).all()
    assert kt.search([queries[0]], corpus, 60).scores[0, -1] == np.finfo("float32").min  # without vectors: last


def test_kinds_do_not_mix():
    _, vectors = sparse(5)
    tokens = [np.ones((3, 8)), np.ones((2, 8))]
    for arguments, error, message in (
        (
            (vectors, CORPUS),
            TypeError,
            "of one kind, got sparse vectors and dense vectors. Embed both with the same mo",
        ),
        ((QUERIES, vectors), TypeError, "of one kind, got dense vectors and sparse vectors"),
        ((tokens, CORPUS), TypeError, "of one kind, got vectors of tokens and dense vectors"),
        ((tokens, vectors), TypeError, "of one kind, got vectors of tokens and sparse vectors"),
        ((QUERIES[0], tokens), TypeError, "of one kind, got dense vectors and vectors of tokens"),
        ((vectors, sparse(5, 40)[1]), ValueError, "queries of the width of the corpus, 40, got 50"),
        ((QUERIES, tokens), ValueError, "queries of the width of the corpus, 8, got 24"),
        ((tokens, [*tokens, np.ones((2, 7))]), ValueError, "of one width in the corpus, 8, got 7 for text 2"),
        ((vectors, vectors.rows(0, 0)), ValueError, "Expected at least one vector in the corpus, got none"),
        ((tokens, tokens, 3), ValueError, "Expected k from 1 to the 2 vectors of the corpus, got 3"),
        (
            (tokens, [np.ones((1, 8)) * np.nan]),
            ValueError,
            "corpus of finite numbers, got NaN or infinity in texts 0 to",
        ),
        (([np.ones((1, 8)) * np.inf], tokens), ValueError, "Expected queries of finite numbers, got NaN or infinity"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            kt.search(*arguments, **({"k": 1} if len(arguments) == 2 else {}))
    for given, measure, known in (
        (vectors, "hamming", "dot, cosine, euclidean"),
        (tokens, "dot", "maxsim, meanmaxsim"),
    ):
        with pytest.raises(ValueError, match=f"Expected measure to be one of {known}, got '{measure}'"):
            kt.search(given, given, 1, measure=measure)
