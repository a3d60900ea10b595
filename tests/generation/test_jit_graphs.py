"""PyTorch traces a layer, and a model with a padding mask, as one graph.

These tests stand beside those of `jit_compile`: the first trace of a process takes PyTorch several seconds.
"""

import keras
import numpy as np
import pytest

from keras_transformers import models
from keras_transformers.layers import AttentionConfig, BlockConfig, Decoder, FeedForwardConfig, Rotary
from keras_transformers.models import Backbone
from tests.layers.reference import fill, numbers, relative_error

pytestmark = pytest.mark.one_backend("torch")


@pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="older Kerases break the graph in their own calls",
)
def test_torch_compile_breaks_no_graph():
    """Traced whole, without the code generator, which takes long."""
    import torch

    block = BlockConfig(AttentionConfig(4, 2, positions=Rotary(), window=3), FeedForwardConfig(24))
    decoder = Decoder(1, block)
    decoder.build((2, 6, 16))
    fill(decoder)
    x, source = (torch.from_numpy(numbers((2, length, 16))) for length in (6, 5))
    traced = torch.compile(decoder, backend="eager", fullgraph=True)  # a break would be an error
    assert relative_error(traced(x, source), decoder(x, source)) < 1e-5


def test_a_mask_breaks_no_compiled_graph():
    import torch

    config = models.encoder(30, num_layers=1, hidden_dim=16, num_heads=2, max_length=12)
    token_ids = torch.from_numpy(np.array([[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]], "int32"))
    explained = torch._dynamo.explain(Backbone(config))(token_ids)
    assert explained.graph_break_count == 0, explained.break_reasons
