"""Examples run small, on data of their own."""

import runpy

import pytest

import keras_transformers as kt
from tests.test_readme import ROOT

pytestmark = pytest.mark.one_backend("torch")


@pytest.mark.filterwarnings("ignore")
def test_a_gpt_is_trained_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    sizes = "--num-layers 1 --hidden-dim 16 --num-heads 2 --vocabulary-size 300 --context 32 --batch-size 8".split()

    def run(epochs):
        arguments = [*sizes, "--work", str(tmp_path), "--epochs", str(epochs)]
        monkeypatch.setattr("sys.argv", ["train_gpt.py", *arguments])
        runpy.run_path(str(ROOT / "examples" / "train_gpt.py"), run_name="__main__")
        return capsys.readouterr().out

    assert "held out: " in run(1)
    again = run(2)
    assert "Epoch 2/2" in again and "Epoch 1/2" not in again
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    model = kt.CausalLM.from_preset(tmp_path / "preset")
    assert isinstance(model.generate("FIRST VOICE:", max_new_tokens=5), str)


def test_what_is_saved_of_the_gpt_recipe_transformers_opens(tmp_path):
    import numpy as np
    import transformers

    tokenizer = kt.Tokenizer.train(["to be or not to be"] * 3, vocabulary_size=300)
    model = kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, num_layers=2, hidden_dim=16, num_heads=2), tokenizer)
    model.save_to_preset(tmp_path / "preset")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "preset")
    assert type(theirs).__name__ == "GPT2LMHeadModel"
    ids = np.array(tokenizer.encode(["to be or not"]))
    import torch

    expected = theirs.eval()(torch.tensor(ids)).logits.detach().numpy()
    np.testing.assert_allclose(model(ids).detach().numpy(), expected, atol=1e-5)
