"""A decoder whose tokens see later ones is an encoder in all but its recipe and its padding."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.layers.reference import numbers, relative_error

DECODER = kt.models.decoder(
    vocabulary_size=50, num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=24, max_length=32
)
CONFIG = dataclasses.replace(DECODER, decoder=dataclasses.replace(DECODER.decoder, bidirectional=True))
TOKEN_IDS = np.random.default_rng(0).integers(1, 50, (2, 9)).astype("int32")


@pytest.fixture(scope="module")
def backbone():
    return kt.Backbone(CONFIG)


@pytest.mark.each_keras
def test_it_computes_what_an_encoder_computes(backbone):
    stack = dataclasses.replace(CONFIG.decoder, bidirectional=False)
    encoder = kt.Backbone(dataclasses.replace(CONFIG, decoder=None, encoder=stack))
    encoder.set_weights(backbone.get_weights())
    padded = TOKEN_IDS.copy()
    padded[1, 6:] = CONFIG.padding_id
    found, wanted = (ops.convert_to_numpy(each(padded)) for each in (backbone, encoder))
    assert relative_error(found[padded != 0], wanted[padded != 0]) <= 1e-6
    causal = kt.Backbone(DECODER)
    causal.set_weights(backbone.get_weights())
    assert relative_error(ops.convert_to_numpy(causal(padded))[0], wanted[0]) > 1e-2


@pytest.mark.each_keras
def test_padding_in_front_changes_nothing(backbone):
    alone = ops.convert_to_numpy(backbone(TOKEN_IDS[:1, 3:]))
    behind = ops.convert_to_numpy(backbone({"token_ids": TOKEN_IDS[:1], "starts": np.array([[3]], "int32")}))
    assert relative_error(behind[:, 3:], alone) <= 1e-5


def test_it_reads_whole_texts_in_rows_of_their_own(backbone):
    with pytest.raises(
        ValueError, match="one text in each row of a bidirectional decoder.* got several starts in a row"
    ):
        backbone({"token_ids": TOKEN_IDS, "starts": np.zeros_like(TOKEN_IDS)})
    with pytest.raises(ValueError, match="and no cache, got a cache: its tokens see later ones"):
        backbone.decode(ops.convert_to_tensor(TOKEN_IDS), backbone.start_cache(2, 9))


@pytest.mark.one_backend
def test_it_writes_no_texts():
    with pytest.raises(ValueError, match="Expected a causal decoder, got one whose tokens see later ones .*kt.TextEmb"):
        kt.CausalLM(CONFIG)
    assert kt.TextEmbedder(CONFIG).config == CONFIG


@pytest.mark.one_backend
@pytest.mark.parametrize("encoder", [CONFIG.decoder, DECODER.decoder])
def test_beside_an_encoder_it_contradicts(encoder):
    with pytest.raises(ValueError, match="bidirectional=True, which is for a decoder without an encoder"):
        dataclasses.replace(CONFIG, encoder=encoder)


@pytest.mark.one_backend
def test_explain_says_so(backbone):
    assert "causal" not in kt.models.explain(backbone)
    assert "causal self-attention" in kt.models.explain(kt.Backbone(DECODER))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_pooler_transforms_each_token(pooling):
    transform = kt.layers.TransformConfig("gelu", None)
    by_token, after = (kt.layers.Pooler(pooling, transform, by_token=each) for each in (True, False))
    for layer in (by_token, after):
        layer.build((None, None, 8))
    after.set_weights(by_token.get_weights())
    x, mask = numbers((2, 5, 8)), np.arange(5)[None] < [[5], [3]]
    plain = kt.layers.Pooler(pooling)
    wanted = plain(by_token.transform(x), padding_mask=mask)
    assert relative_error(by_token(x, padding_mask=mask), wanted) <= 1e-6
    if pooling == "mean":
        assert relative_error(after(x, padding_mask=mask), wanted) > 1e-3


@pytest.mark.one_backend
def test_a_pooler_by_token_needs_a_transform():
    with pytest.raises(ValueError, match="a transform and pooling=.* with by_token=True, got None and 'mean'"):
        kt.layers.Pooler("mean", by_token=True)
    with pytest.raises(ValueError, match="with by_token=True, got TransformConfig.* and 'first'"):
        kt.layers.PoolerConfig("first", kt.layers.TransformConfig(), by_token=True)
