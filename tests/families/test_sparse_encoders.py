"""BigBird in rows that are no multiple of its blocks, and of the lengths that transformers computes by other code."""

import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")
VALUES = {
    "model_type": "big_bird",
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


@pytest.mark.parametrize("block_size, num_random, length", [(2, 1, 17), (4, 2, 39), (16, 3, 1024)])
def test_rows_of_other_lengths(tmp_path, block_size, num_random, length):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import torch

    sizes = {"block_size": block_size, "num_random_blocks": num_random, "max_position_embeddings": length + block_size}
    torch.manual_seed(0)
    theirs = transformers.BigBirdModel(transformers.BigBirdConfig(**VALUES, **sizes, initializer_range=1.0)).eval()
    theirs.save_pretrained(tmp_path)
    token_ids = np.random.default_rng(length).integers(1, 30, (2, length))
    token_ids[1, -length // 3 :] = 0
    real = token_ids != 0
    with torch.no_grad():
        wanted = theirs(torch.tensor(token_ids), attention_mask=torch.tensor(real).long()).last_hidden_state.numpy()
    found, _ = kt.TextEmbedder.from_preset(tmp_path).hidden_states({"token_ids": token_ids.astype("int32")})
    assert relative_error(found.detach().numpy()[real], wanted[real]) <= 1e-5
