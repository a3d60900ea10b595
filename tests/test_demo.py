"""The demo, on a model that has learnt next to nothing: it shows, times and draws."""

import runpy
import sys

import keras
import pytest

import keras_transformers as kt
from tests.test_readme import ROOT

pytestmark = pytest.mark.one_backend("torch")


def test_the_demo_translates_and_draws(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    keras.utils.set_random_seed(0)
    tokenizer = kt.Tokenizer.train(["The house is [small].", "La maison est petite."] * 3, vocabulary_size=300)
    config = kt.models.transformer(tokenizer.vocabulary_size, num_layers=1, hidden_dim=16, num_heads=2)
    kt.Seq2SeqLM(config, tokenizer=tokenizer).save_to_preset(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--preset", "tiny", "The house is [small]."])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "The house is [small]." in shown and "tiny on torch: " in shown and "loaded in" in shown
    assert str(tmp_path / "outputs" / "attention.png") in shown
    assert "a scene by shakespeare" in shown and "ROMEO:\n" in shown
    assert (tmp_path / "outputs" / "attention.png").read_bytes().startswith(b"\x89PNG")
