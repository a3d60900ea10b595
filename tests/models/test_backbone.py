import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.layers import (
    Alibi,
    AttentionConfig,
    BlockConfig,
    ConvolutionConfig,
    Disentangled,
    DistanceTable,
    EmbeddingsConfig,
    ExpertsConfig,
    FeedForwardConfig,
    HeadConfig,
    LayerNorm,
    Learned,
    LinearScaling,
    QueryKeyNorm,
    RelativeBuckets,
    RMSNorm,
    Rotary,
    Sinusoidal,
    StackConfig,
)
from keras_transformers.records import from_json, to_json
from tests.layers.reference import fill, relative_error
from tests.parameters import few
from tests.quick_compilation import fast

D, V = 16, 30
once = pytest.mark.one_backend("torch")  # nothing is computed


def stack(attention=(), **block):
    attention = AttentionConfig(**{"num_heads": 4, **dict(attention)})
    return StackConfig(2, BlockConfig(attention, FeedForwardConfig(24), norm_placement="pre", **block), final_norm=True)


def config(kind, attention=(), positions=None, **fields):
    stacks = {name: stack(attention) for name in ("encoder", "decoder") if name in kind}
    return kt.ModelConfig(D, EmbeddingsConfig(V, positions), **stacks, **fields)


def token_ids(rows, length, seed=0):
    ids = np.random.default_rng(seed).integers(1, V, (rows, length)).astype("int32")
    for row in range(1, rows):
        ids[row, max(1, length - 2 * row) :] = 0
    return ids


def inputs(kind):
    if kind == "encoder and decoder":
        return {"token_ids": token_ids(3, 7), "decoder_token_ids": token_ids(3, 6, 1)}
    return token_ids(3, 7)


# --- every shape of Transformer ---


@pytest.mark.each_keras
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder and decoder"])
def test_hidden_states_and_scores_of_any_backbone(kind):
    backbone = fill(kt.Backbone(config(kind)))
    x = inputs(kind)
    plain = backbone(x)
    found = backbone(x, return_hidden_states=True, return_attention_scores=True)
    length = 6 if "and" in kind else 7
    assert tuple(plain.shape) == (3, length, D)
    assert relative_error(found["output"], plain) < 1e-5
    names = {"output", "hidden_states", "attention_scores"}
    if "and" in kind:
        names |= {"cross_attention_scores"} | {f"encoder_{name}" for name in names}
    assert set(found) == names
    for name, value in found.items():
        if name.endswith("hidden_states"):
            assert [tuple(each.shape) for each in value] == [(3, 7 if name.startswith("enc") else length, D)] * 3
        if name.endswith("scores"):
            queries = 7 if name.startswith("encoder") else length
            keys = length if name == "attention_scores" else 7
            assert [tuple(each.shape) for each in value] == [(3, 4, queries, keys)] * 2
            for scores in value:
                np.testing.assert_allclose(ops.convert_to_numpy(scores).sum(-1), 1, rtol=1e-5)
    assert set(backbone(x, return_hidden_states=True)) == {name for name in names if "scores" not in name}
    assert set(backbone(x, return_attention_scores=True)) == {name for name in names if "hidden" not in name}


@pytest.mark.each_keras
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder and decoder"])
def test_padding_changes_nothing_that_is_real(kind):
    backbone = fill(kt.Backbone(config(kind)))
    short = inputs(kind)
    longer = keras.tree.map_structure(lambda ids: np.pad(ids, ((0, 0), (0, 3))), short)
    output, padded = (ops.convert_to_numpy(backbone(x)) for x in (short, longer))
    real = (short["decoder_token_ids"] if "and" in kind else short) != 0
    assert relative_error(padded[:, : real.shape[1]][real], output[real]) < 1e-5


def test_a_padding_mask_of_ones_own():
    backbone = fill(kt.Backbone(config("encoder")))
    ids = token_ids(2, 7)
    mask = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]], bool)
    given = ops.convert_to_numpy(backbone({"token_ids": ids, "padding_mask": mask}))
    alone = ops.convert_to_numpy(backbone(np.where(mask, ids, 0)))
    assert relative_error(given[mask], alone[mask]) < 1e-5
    with pytest.raises(ValueError, match=r"padding mask of shape \[B, S\] = \[2, 7\], got shape \(2, 6\)"):
        backbone({"token_ids": ids, "padding_mask": mask[:, 1:]})


@pytest.mark.parametrize(
    "kind, given, expected",
    [
        ("encoder and decoder", ["token_ids"], r"\['decoder_token_ids', 'token_ids'\].*got \['token_ids'\]"),
        ("encoder", ["token_ids", "decoder_token_ids"], r"Expected inputs \['token_ids'\]"),
        ("decoder", ["ids"], r"got \['ids'\]"),
    ],
)
def test_other_inputs_are_an_error(kind, given, expected):
    with pytest.raises(ValueError, match=expected):
        kt.Backbone(config(kind))({name: token_ids(2, 5) for name in given})


# --- the cache ---

POSITIONS = {
    "sinusoidal": ((), Sinusoidal(16)),
    "learned, in a window": ({"window": 2}, Learned(16)),
    "rotary, grouped": ({"positions": Rotary(), "num_key_value_heads": 2}, None),
    "alibi, one key head, in a window": ({"positions": Alibi(), "num_key_value_heads": 1, "window": 3}, None),
    "buckets, capped": ({"positions": RelativeBuckets(8, 6), "soft_cap": 3.0}, None),
}


@pytest.mark.parametrize("positions", few(POSITIONS, "alibi, one key head, in a window"))
@pytest.mark.parametrize("kind", few(["decoder", "encoder and decoder"], "encoder and decoder"))
def test_decoding_with_a_cache_is_decoding_without(kind, positions):
    """Three hypotheses a sentence, each with its own prompt, in pieces of several tokens and of one."""
    attention, absolute = POSITIONS[positions]
    backbone = fill(kt.Backbone(config(kind, attention, absolute)))
    sentences, beams, length = 2, 3, 6
    target = np.random.default_rng(2).integers(1, V, (sentences * beams, length)).astype("int32")
    compute, encode, decode = fast(lambda inputs: backbone(inputs)), fast(backbone.encode), fast(backbone.decode)
    if kind == "decoder":
        whole = compute({"token_ids": ops.convert_to_tensor(target)})
        cache = backbone.start_cache(len(target), 8)
    else:
        source = token_ids(sentences, 7)
        inputs = {"token_ids": np.repeat(source, beams, axis=0), "decoder_token_ids": target}
        whole = compute({name: ops.convert_to_tensor(each) for name, each in inputs.items()})
        mask = backbone.padding_mask(ops.convert_to_tensor(source))
        cache = backbone.start_cache(len(target), 8, encode(ops.convert_to_tensor(source), mask), mask)
        assert cache.cross_attention[0][0].shape[0] == sentences
    whole = ops.convert_to_numpy(whole)
    for begin, end in ((0, 1), (1, 4), (4, 5), (5, 6)):
        output, cache = decode(ops.convert_to_tensor(target[:, begin:end]), cache)
        assert relative_error(output, whole[:, begin:end]) < 1e-5
    assert int(cache.offset) == length


# --- configurations ---


def everything_else():
    """A configuration with no field at its default."""
    attention = AttentionConfig(4, 2, 8, Rotary(500.0, 0.5), 3, 5.0, False, 0.1)
    block = BlockConfig(attention, FeedForwardConfig(24, "silu", True, False, 0.1), RMSNorm(1e-4, True), "around", 0.2)
    own = EmbeddingsConfig(20, Learned(9), True, LayerNorm(1e-3, False), 0.3)
    encoder, decoder = StackConfig(2, block, True), StackConfig(3, dataclasses.replace(block, norm_placement="pre"))
    return kt.ModelConfig(
        D, EmbeddingsConfig(V, Sinusoidal(8, "halves")), encoder, decoder, own, HeadConfig(False, True), 3
    )


@once
def test_a_configuration_survives_json():
    import json

    original = everything_else()
    assert from_json(json.loads(json.dumps(to_json(original)))) == original
    for changed in (dataclasses.replace(original, hidden_dim=32), dataclasses.replace(original, padding_id=4)):
        assert changed != original


@once
@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda value: value.update(widht=3), "unknown field 'widht'"),
        (lambda value: value.pop("embeddings"), "missing field 'embeddings'"),
        (lambda value: value["encoder"]["block"].update(norm_placment="pre"), "did you mean 'norm_placement'"),
        (lambda value: value["encoder"]["block"]["norm"].update(kind="RMSnorm"), "did you mean 'RMSNorm'"),
    ],
)
def test_json_that_does_not_fit_is_an_error(change, expected):
    value = to_json(everything_else())
    change(value)
    with pytest.raises(ValueError, match=expected):
        from_json(value)


@once
def test_contradictions_are_listed_together():
    with pytest.raises(ValueError) as error:
        kt.ModelConfig(
            10,
            EmbeddingsConfig(V),
            encoder=stack(),
            decoder_embeddings=EmbeddingsConfig(V),
            padding_id=V,
        )
    for expected in (
        "decoder_embeddings without both an encoder and a decoder",
        "encoder: hidden_dim=10 is no multiple of num_heads=4, and head_dim is not given",
        "padding_id=30 outside the vocabulary of 30 tokens",
    ):
        assert expected in str(error.value)
    narrower = dataclasses.replace(stack(), output_dim=8)
    with pytest.raises(ValueError, match="an output_dim of the encoder, whose decoder reads hidden_dim numbers"):
        kt.ModelConfig(D, EmbeddingsConfig(V), encoder=narrower, decoder=stack())
    with pytest.raises(ValueError, match="neither an encoder nor a decoder"):
        kt.ModelConfig(D, EmbeddingsConfig(V))


@once
@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16", "float16"])
def test_a_backbone_from_its_configuration(dtype):
    backbone = kt.Backbone(everything_else(), dtype=dtype)
    again = kt.Backbone.from_config(backbone.get_config())
    assert again.config == backbone.config
    assert again.dtype_policy.name == backbone.dtype_policy.name == (dtype or "float32")
    assert [weight.path for weight in again.weights] == [weight.path for weight in backbone.weights]
    assert {weight.dtype for weight in again.trainable_weights} == {"float16" if dtype == "float16" else "float32"}


@pytest.mark.each_keras
def test_a_backbone_is_saved_and_loaded(tmp_path):
    backbone = fill(kt.Backbone(everything_else()))
    backbone.save(tmp_path / "backbone.keras")
    again = keras.models.load_model(tmp_path / "backbone.keras")
    x = {"token_ids": token_ids(2, 7), "decoder_token_ids": token_ids(2, 6) % 20}
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), ops.convert_to_numpy(backbone(x)))


def test_a_backbone_in_a_functional_model():
    backbone = kt.Backbone(config("encoder"))
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(backbone(ids))
    model = keras.Model(ids, keras.layers.Dense(2)(x))
    assert tuple(model(token_ids(3, 7)).shape) == (3, 2)


# --- the recipe of the paper ---


@once
def test_the_papers_base_model():
    """65 million parameters (table 3), a vocabulary of about 37,000, one matrix for both embeddings and the head."""
    base = kt.models.transformer(37000)
    assert (base.hidden_dim, base.encoder.num_layers, base.decoder.num_layers) == (512, 6, 6)
    block = base.encoder.block
    assert (block.attention.num_heads, block.feed_forward.intermediate_dim, block.dropout) == (8, 2048, 0.1)
    assert block.norm_placement == "post" and not base.encoder.final_norm
    assert base.head == HeadConfig(tied=True, use_bias=False) and base.decoder_embeddings is None
    with keras.StatelessScope(initialize_variables=False):
        count = sum(int(np.prod(weight.shape)) for weight in kt.Seq2SeqLM(base).trainable_weights)
    assert 62e6 < count < 66e6


@once
def test_choices_of_the_recipe():
    chosen = kt.models.transformer(
        V,
        target_vocabulary_size=20,
        num_layers=(2, 1),
        hidden_dim=D,
        num_heads=2,
        shared_embeddings=False,
        norm_placement="pre",
        norm=RMSNorm(),
        position_layout="halves",
        tied_head=False,
        head_bias=True,
        padding_id=4,
        max_length=9,
    )
    assert (chosen.encoder.num_layers, chosen.decoder.num_layers) == (2, 1)
    assert chosen.encoder.final_norm and chosen.encoder.block.norm == RMSNorm()
    assert chosen.target_embeddings.vocabulary_size == 20
    assert chosen.embeddings.positions == Sinusoidal(9, "halves")
    assert chosen.head == HeadConfig(False, True) and chosen.padding_id == 4
    assert chosen.encoder.block.feed_forward.intermediate_dim == 4 * D
    with pytest.raises(ValueError, match="vocabulary_size=30 and target_vocabulary_size=20. Give shared_embeddings=F"):
        kt.models.transformer(V, target_vocabulary_size=20)


@once
def test_a_decoder_is_a_llama(tmp_path):
    import torch
    import transformers

    sizes = {"num_layers": 2, "hidden_dim": 48, "num_heads": 4, "num_key_value_heads": 2, "max_length": 16}
    model = fill(kt.CausalLM(kt.models.decoder(V, **sizes, positions=Rotary(500.0), tied_head=True, padding_id=4)))
    model.save_to_preset(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM" and theirs.config.max_position_embeddings == 16
    token_ids = np.arange(12)[None] % V
    with torch.no_grad():
        assert relative_error(model(token_ids), theirs(torch.tensor(token_ids)).logits.numpy()) < 1e-5


@once
def test_the_feed_forward_branches_of_a_decoder_weigh_what_two_wide_matrices_do():
    assert kt.models.decoder(V).decoder.block.feed_forward.intermediate_dim == 2048  # 3 of 768 × 2048, 2 of 768 × 3072
    assert kt.models.decoder(V, hidden_dim=64, num_heads=4).decoder.block.feed_forward.intermediate_dim == 192
    with pytest.raises(ValueError, match="hidden_dim=10 is no multiple of num_heads=3"):
        kt.models.decoder(V, hidden_dim=10, num_heads=3)


# --- explain ---


@once
def test_explain_takes_a_model():
    with pytest.raises(TypeError, match="a Backbone or a task, got ModelConfig"):
        kt.explain(everything_else())


def test_explain_says_all_that_is_on():
    text = kt.explain(kt.Seq2SeqLM(everything_else()))
    for expected in (
        "Seq2SeqLM: width 16",
        "Sinusoidal(max_length=8, layout='halves')",
        "Learned(max_length=9)",
        "Rotary(base=500.0, fraction=0.5)",
        "4 heads of 8, 2 key/value heads",
        "window 3",
        "±5",
        "silu",
        "RMSNorm ε=0.0001 with unit offset",
        "LayerNorm ε=0.001 without bias",
        "x + norm(f(norm(x)))",
        "x + f(norm(x))",
        "dropout 0.3",
        "16 → 20, its own matrix, bias",
    ):
        assert expected in text, text
    assert max(map(len, text.splitlines())) < 200


@once
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_explain_of_one_stack(kind):
    text = kt.explain(kt.Backbone(config(kind), dtype="mixed_bfloat16"))
    assert text.split()[:3] == ["Backbone:", "width", "16,"] and text.splitlines()[0].endswith("mixed_bfloat16")
    assert "cross-attention" not in text
    assert ("causal" in text) == (kind == "decoder")
    count = sum(int(np.prod(weight.shape)) for weight in kt.Backbone(config(kind)).trainable_weights)
    assert f"{count:,} parameters" in text


def test_explain_says_what_is_projected():
    embeddings = EmbeddingsConfig(20, scale=True, embedding_dim=8, projected="tokens")
    stack = dataclasses.replace(config("decoder").decoder, output_dim=8)
    text = kt.explain(kt.CausalLM(kt.ModelConfig(16, embeddings, decoder=stack)))
    for expected in ("times √8, projected from 8, no positions", "  then 16 → 8, no biases", "8 → 20, the target"):
        assert expected in text, text


def test_explain_says_how_contents_and_positions_meet():
    positions = Disentangled(DistanceTable(12, 8), "content_to_position")
    encoder = dataclasses.replace(
        stack({"positions": positions, "use_bias": "all_but_keys"}), convolution=ConvolutionConfig(5)
    )
    embeddings = EmbeddingsConfig(20, embedding_dim=8, projected="sum_before_norm")
    text = kt.explain(kt.Backbone(kt.ModelConfig(16, embeddings, encoder)))
    for expected in (
        "8 wide, projected before the norm",
        "biases of all but keys",
        "Disentangled(table=DistanceTable(max_distance=12, num_buckets=8, norm=None), terms='content_to_position')",
        "convolution of the input over 5 tokens, added after the first block, tanh",
    ):
        assert expected in text, text


def test_explain_says_what_decoders_have_of_their_own():
    norm = RMSNorm(1e-5)
    attention = AttentionConfig(
        4, positions=Rotary(scaling=LinearScaling(2.0)), use_bias="inputs", scale=0.3, query_key_norm=QueryKeyNorm(norm)
    )
    pattern = (attention, dataclasses.replace(attention, positions=None, window=3))
    block = BlockConfig(attention, FeedForwardConfig(24, experts=ExpertsConfig(5, 2, False)), norm, "branch")
    feed_forwards = (block.feed_forward, FeedForwardConfig(40))
    stack = StackConfig(3, block, pattern=pattern, feed_forward_pattern=feed_forwards)
    model = kt.CausalLM(kt.ModelConfig(16, EmbeddingsConfig(20), decoder=stack, head=HeadConfig(soft_cap=7.0)))
    text = kt.explain(model)
    for expected in (
        "x = x + norm(f(x))",
        "biases of queries, keys and values",
        "scores times 0.3",
        "queries and keys normalised head by head (RMSNorm ε=1e-05)",
        "in layers 0, 2: Rotary(scaling=LinearScaling(factor=2.0))",
        "in layers 1: no relative positions, window 3",
        "  feed-forward in layers 0, 2: 16 → 24 → 16, relu, biases, 2 of 5 experts for each token, by their shares",
        "  feed-forward in layers 1: 16 → 40 → 16, relu, biases",
        "no bias, scores capped at ±7",
    ):
        assert expected in text, text


@pytest.mark.each_keras
def test_token_ids_that_come_as_floats_are_not_rounded():
    model = kt.Backbone(kt.models.transformer(2000, num_layers=1, hidden_dim=16, num_heads=2), dtype="mixed_bfloat16")
    ids = {"token_ids": np.array([[1001, 1003]]), "decoder_token_ids": np.array([[1005]])}
    found = model({name: array.astype("float32") for name, array in ids.items()})
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(found, "float32")), ops.convert_to_numpy(ops.cast(model(ids), "float32"))
    )


@pytest.mark.each_keras
def test_unequal_counts_are_no_beams():
    model = kt.Backbone(kt.models.transformer(50, num_layers=1, hidden_dim=16, num_heads=2))
    with pytest.raises(ValueError, match="as many queries as sources, got 4 and 2"):
        model({"token_ids": np.ones((2, 7), "int32"), "decoder_token_ids": np.ones((4, 5), "int32")})
    empty = model({"token_ids": np.ones((0, 7), "int32"), "decoder_token_ids": np.ones((0, 5), "int32")})
    assert empty.shape == (0, 5, 16)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_layers": (1, 2, 3)}, "a number or a pair"),
        (
            {"vocabulary_size": 30, "shared_embeddings": False, "target_vocabulary_size": 20, "padding_id": 25},
            "of 20 tokens",
        ),
        ({"hidden_dim": "wide"}, "expected int"),
    ],
)
def test_recipes_that_cannot_be(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        kt.models.transformer(**{"vocabulary_size": 50, **arguments})


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("residual", "told"),
    [
        ("sequential", "x = x + f(norm(x)), LayerNorm"),
        ("parallel", "x = x + f(norm(x)), both branches read the block's input, LayerNorm"),
        ("parallel_shared", "both branches read the block's input, through one norm, LayerNorm"),
    ],
)
def test_explain_says_what_branches_read(residual, told):
    block = BlockConfig(AttentionConfig(4), FeedForwardConfig(24), norm_placement="pre", residual=residual)
    config = kt.ModelConfig(16, EmbeddingsConfig(20), decoder=StackConfig(2, block))
    assert told in kt.explain(kt.Backbone(config))


@pytest.mark.one_backend
def test_a_decoder_without_padding():
    config = kt.models.gpt(20, num_layers=1, hidden_dim=16, num_heads=4, max_length=8, padding_id=None)
    assert config.filler == 0
    assert ops.convert_to_numpy(kt.Backbone(config).padding_mask(np.zeros((2, 3), "int32"))).all()
    with pytest.raises(ValueError, match="an encoder without a padding_id, by which it knows its padding"):
        dataclasses.replace(kt.models.encoder(20, num_layers=1, hidden_dim=16, num_heads=4), padding_id=None)
    skipping = EmbeddingsConfig(20, Learned(8, 1, skip_padding=True))
    with pytest.raises(ValueError, match="positions that skip padding, in a decoder"):
        dataclasses.replace(config, embeddings=skipping)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only PyTorch has layers built without values")
def test_positions_are_there_where_keras_builds_without_values():
    from keras_transformers.layers import PositionalEmbedding

    with keras.device("meta"):  # as Keras does to infer shapes
        layer = PositionalEmbedding(vocabulary_size=5, hidden_dim=4, max_length=8)
    other = PositionalEmbedding(vocabulary_size=5, hidden_dim=4, max_length=8)
    np.testing.assert_array_equal(np.asarray(layer._table), np.asarray(other._table))
