"""What users of embedders may get wrong: a clear error, and nothing loaded half-way."""

import json

import numpy as np
import pytest

import keras_transformers as kt
from tests.tasks import checkpoints

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of sentence-transformers: BERT of width 32, and the mean of its tokens."""
    folder = tmp_path_factory.mktemp("embedder")
    checkpoints.save(folder, "BertModel")
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    return folder


def pool(folder, width):
    values = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(values))


def test_a_pooling_of_another_width_is_refused(folder):
    pool(folder, 48)
    with pytest.raises(ValueError, match=r"1_Pooling.config.json to read vectors of the 32 .* got 48"):
        kt.TextEmbedder.from_preset(folder)
    pool(folder, 32)
    assert kt.TextEmbedder.from_preset(folder).output_dim == 64


def test_prompts_are_texts_by_name(folder):
    pool(folder, 32)
    with pytest.raises(TypeError, match=r"Expected prompts by name, .* got \['query: '\]"):
        kt.TextEmbedder.from_preset(folder, prompts=["query: "])
    embedder = kt.TextEmbedder.from_preset(folder)
    with pytest.raises(TypeError, match="Expected a prompt to be a name or a text, a string, got 3"):
        embedder.embed(["a"], prompt=3)


def test_a_file_of_vectors_that_is_missing_or_cut(tmp_path):
    queries = np.ones((1, 8), "float32")
    with pytest.raises(FileNotFoundError, match="Expected the corpus at .*corpus.npy, found nothing"):
        kt.search(queries, tmp_path / "corpus.npy", k=1)
    np.save(tmp_path / "corpus.npy", np.ones((5, 8), "float32"))
    (tmp_path / "corpus.npy").write_bytes((tmp_path / "corpus.npy").read_bytes()[:150])
    with pytest.raises(ValueError, match="Expected the corpus in .*corpus.npy as a whole array"):
        kt.search(queries, tmp_path / "corpus.npy", k=1)


def test_scores_that_are_all_equal_correlate_with_nothing():
    with pytest.raises(ValueError, match="Expected scores that differ, got 1 for each pair"):
        kt.training.SimilarityQuality(["a", "b"], ["c", "d"], [1.0, 1.0])
