import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import (
    Alibi,
    AttentionConfig,
    BlockConfig,
    ConvolutionConfig,
    Decoder,
    DecoderBlock,
    EmbeddingsConfig,
    Encoder,
    EncoderBlock,
    FeedForwardConfig,
    LayerNorm,
    RelativeBuckets,
    RMSNorm,
    Rotary,
    StackConfig,
)
from keras_transformers.layers import cache as caches
from keras_transformers.layers.state import KeysAndValues
from keras_transformers.models import ModelConfig
from tests.layers.reference import fill, numbers, relative_error
from tests.parameters import few
from tests.quick_compilation import fast

B, T, S, D = 3, 6, 5, 16
PADDING = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)
SOURCE_PADDING = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
FUTURE = np.tri(T, dtype=bool)


def branch(block, name, placement, x, *arguments, **options):
    """One residual branch, written out: the layer and the norms are the block's own."""
    before, after = (getattr(block, f"{name}_norm_{place}") for place in ("before", "after"))
    layer = getattr(block, name)
    if placement == "post":
        return after(x + layer(x, *arguments, **options))
    if placement == "pre":
        return x + layer(before(x), *arguments, **options)
    if placement == "branch":
        return x + after(layer(x, *arguments, **options))
    return x + after(layer(before(x), *arguments, **options))


@pytest.mark.parametrize("placement", ["post", "pre", "around", "branch"])
@pytest.mark.parametrize("norm", few([LayerNorm(), RMSNorm()], RMSNorm()))
def test_where_norms_stand(placement, norm):
    x, source = numbers((B, T, D)), numbers((B, S, D))
    block = EncoderBlock(4, 24, norm_placement=placement, norm=norm)
    block.build(x.shape)
    fill(block)
    expected = branch(block, "self_attention", placement, ops.convert_to_tensor(x), padding_mask=PADDING)
    expected = branch(block, "feed_forward", placement, expected)
    assert relative_error(block(x, padding_mask=PADDING), expected) < 1e-5

    block = DecoderBlock(4, 24, norm_placement=placement, norm=norm)
    block.build(x.shape, source.shape)
    fill(block)
    expected = branch(block, "self_attention", placement, ops.convert_to_tensor(x), attention_mask=FUTURE)
    expected = branch(block, "cross_attention", placement, expected, source, padding_mask=SOURCE_PADDING)
    expected = branch(block, "feed_forward", placement, expected)
    assert relative_error(block(x, source, source_padding_mask=SOURCE_PADDING), expected) < 1e-5
    norms = 3 * (2 if placement == "around" else 1)
    assert sum("norm" in weight.path for weight in block.weights) == norms * (2 if norm == LayerNorm() else 1)


@pytest.mark.parametrize("block_class, extra", [(EncoderBlock, {}), (DecoderBlock, {"cross_attention": False})])
def test_what_branches_read(block_class, extra):
    x = ops.convert_to_tensor(numbers((B, T, D)))
    for residual in ("sequential", "parallel", "parallel_shared"):
        block = block_class(4, 24, norm_placement="pre", residual=residual, **extra)
        block.build(x.shape)
        fill(block)
        read = block.self_attention_norm_before(x)
        attended = x + block.self_attention(read, padding_mask=PADDING)
        if residual != "parallel_shared":
            read = block.feed_forward_norm_before(attended if residual == "sequential" else x)
        assert relative_error(block(x, padding_mask=PADDING), attended + block.feed_forward(read)) < 1e-5
        norms = {weight.path.split("/")[-2] for weight in block.weights if "norm" in weight.path}
        assert len(norms) == (1 if residual == "parallel_shared" else 2)


def test_the_source_of_a_block_may_have_another_width():
    block = DecoderBlock(4, 24)
    assert tuple(block(numbers((B, T, D)), numbers((B, S, 10))).shape) == (B, T, D)
    assert tuple(block.cross_attention.key.kernel.shape) == (10, D)


@pytest.mark.parametrize(
    "block", [EncoderBlock(4, 24, dropout=0.5), DecoderBlock(4, 24, dropout=0.5, cross_attention=False)]
)
def test_dropout_of_branches_in_training(block):
    x = numbers((B, T, D))
    quiet = ops.convert_to_numpy(block(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(block(x, training=False)), quiet)
    assert relative_error(block(x, training=True), quiet) > 1e-2


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "num_heads or attention, and intermediate_dim or feed_forward"),
        ({"num_heads": 4}, "num_heads or attention"),
        ({"num_heads": 4, "intermediate_dim": 8, "attention": AttentionConfig(4)}, "one of each"),
        (
            {"num_heads": 4, "intermediate_dim": 8, "norm_placement": "middle"},
            "post, pre, around, branch, got 'middle'",
        ),
        (
            {"num_heads": 4, "intermediate_dim": 8, "residual": "none"},
            "one of sequential, parallel, parallel_shared, got 'none'",
        ),
        (
            {"num_heads": 4, "intermediate_dim": 8, "residual": "parallel"},
            "norm_placement=\"pre\" with residual='parallel', got 'post'",
        ),
    ],
)
@pytest.mark.parametrize("block_class", [EncoderBlock, DecoderBlock])
def test_blocks_that_cannot_be(block_class, settings, expected):
    with pytest.raises(ValueError, match=expected):
        block_class(**settings)


def test_a_decoder_block_wants_a_source_exactly_where_it_attends_to_one():
    x = numbers((B, T, D))
    with pytest.raises(ValueError, match="got cross_attention=True and no source"):
        DecoderBlock(4, 24)(x)
    with pytest.raises(ValueError, match="got cross_attention=False and a source"):
        DecoderBlock(4, 24, cross_attention=False)(x, x)


def test_a_block_with_cross_attention_is_sequential():
    with pytest.raises(ValueError, match="Expected residual=\"sequential\" with cross-attention, got 'parallel'"):
        DecoderBlock(4, 24, norm_placement="pre", residual="parallel")


# --- stacks ---

POSITIONS = {
    "none": {},
    "rotary, grouped": {"positions": Rotary(), "num_key_value_heads": 2},
    "alibi in a window": {"positions": Alibi(), "window": 3},
    "buckets": {"positions": RelativeBuckets(8, 6)},
    "window": {"window": 2, "num_key_value_heads": 1},
}


def stack(stack_class, attention, **options):
    block = BlockConfig(AttentionConfig(4, **attention), FeedForwardConfig(24), norm_placement="pre")
    layer = stack_class(2, block, final_norm=True, **options)
    layer.build((B, T, D))
    return fill(layer)


@pytest.mark.parametrize("attention", POSITIONS.values(), ids=POSITIONS)
def test_a_stack_is_its_blocks_in_a_row(attention):
    """Positions and masks that a stack computes once are those that blocks compute by themselves."""
    x = numbers((B, T, D))
    for stack_class, block_class, extra in (
        (Encoder, EncoderBlock, {}),
        (Decoder, DecoderBlock, {"cross_attention": False}),
    ):
        layer = stack(stack_class, attention, **extra)
        expected = ops.convert_to_tensor(x)
        for n in range(2):
            block = block_class(
                attention=AttentionConfig(4, **attention),
                feed_forward=FeedForwardConfig(24),
                norm_placement="pre",
                **extra,
            )
            block.build(x.shape)
            if isinstance(attention.get("positions"), RelativeBuckets):
                block.self_attention.relative.embeddings.assign(layer.relatives[0].embeddings)
            for name in ("self_attention", "feed_forward", "self_attention_norm_before", "feed_forward_norm_before"):
                own, given = getattr(block, name), getattr(layer.blocks[n], name)
                for weight, value in zip(own.weights[: len(given.weights)], given.weights, strict=True):
                    weight.assign(value)
            expected = block(expected, padding_mask=PADDING)
        assert relative_error(layer(x, padding_mask=PADDING), layer.norm(expected)) < 1e-5


def test_what_a_stack_can_return_in_a_functional_model():
    inputs, source = keras.Input((None, D)), keras.Input((None, D))
    found = stack(Decoder, {})(inputs, source, return_hidden_states=True, return_attention_scores=True)
    model = keras.Model([inputs, source], found)
    results = model([numbers((B, T, D)), numbers((B, S, D))])
    assert [tuple(x.shape) for x in results["hidden_states"]] == [(B, T, D)] * 3
    assert [tuple(x.shape) for x in results["cross_attention_scores"]] == [(B, 4, T, S)] * 2


def test_what_a_stack_can_return():
    x, source = numbers((B, T, D)), numbers((B, S, D))
    encoder = stack(Encoder, {})
    plain = encoder(x, padding_mask=PADDING)
    found = encoder(x, padding_mask=PADDING, return_hidden_states=True, return_attention_scores=True)
    assert found.keys() == {"output", "hidden_states", "attention_scores"}
    assert relative_error(found["output"], plain) < 1e-5
    np.testing.assert_allclose(ops.convert_to_numpy(found["hidden_states"][0]), x, rtol=1e-6)
    assert relative_error(found["hidden_states"][2], plain) < 1e-5
    assert relative_error(encoder.blocks[0](x, padding_mask=PADDING), found["hidden_states"][1]) < 1e-5
    assert len(found["hidden_states"]) == 3 and len(found["attention_scores"]) == 2
    for scores in found["attention_scores"]:
        scores = ops.convert_to_numpy(scores)
        assert scores.shape == (B, 4, T, T)
        np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)
        assert not scores[1, :, :, 3:].any()

    decoder = stack(Decoder, {})
    found = decoder(x, source, source_padding_mask=SOURCE_PADDING, return_attention_scores=True)
    assert found.keys() == {"output", "attention_scores", "cross_attention_scores"}
    for scores, across in zip(found["attention_scores"], found["cross_attention_scores"], strict=True):
        assert not ops.convert_to_numpy(scores)[..., ~FUTURE].any()
        assert tuple(across.shape) == (B, 4, T, S)
        assert not ops.convert_to_numpy(across)[2].any()
    assert relative_error(found["output"], decoder(x, source, source_padding_mask=SOURCE_PADDING)) < 1e-5


@pytest.mark.parametrize("attention", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("across", few([False, True], True))
def test_a_cached_stack_computes_what_the_whole_does(attention, across):
    decoder = stack(Decoder, attention, cross_attention=across)
    x, source = numbers((B, T, D)), numbers((B, S, D))
    options = {"source_padding_mask": SOURCE_PADDING} if across else {}
    whole = ops.convert_to_numpy(fast(lambda *read: decoder(*read, **options))(x, *([source] if across else [])))
    projected = [decoder.project_source(ops.convert_to_tensor(source))] if across else []
    read = fast(lambda x, cache, offset: decoder(x, *projected, cache=cache, offset=offset, **options))
    cache, offset = decoder.start_states(B, 8), caches.start()
    for length in (1, 3, 1, 1):
        begin = int(offset)
        found = read(x[:, begin : begin + length], cache, offset)
        assert relative_error(found["output"], whole[:, begin : begin + length]) < 1e-5
        cache, offset = found["cache"], offset + length
    assert len(cache) == 2


def test_rows_of_a_cache_are_reordered_selected_and_grown():
    own = [[numbers((4, 2, 6, 4), 2 * layer + part) for part in range(2)] for layer in range(2)]
    across = [[numbers((2, 2, 3, 4), 2 * layer + part) for part in range(2)] for layer in range(2)]
    mask = np.array([[1, 1, 1], [1, 0, 0]], bool)

    def tensors(pairs):  # copies: a cache may be written in place
        return tuple(KeysAndValues(*(ops.convert_to_tensor(x.copy()) for x in pair)) for pair in pairs)

    def same(ours, theirs, change):
        for our_pair, pair in zip(ours, theirs, strict=True):
            for one, other in zip(our_pair, pair, strict=True):
                np.testing.assert_array_equal(ops.convert_to_numpy(one), change(other))

    cache = caches.Cache(caches.start() + 6, tensors(own), tensors(across), ops.convert_to_tensor(mask))
    order = ops.convert_to_tensor(np.array([1, 1, 3, 2], "int32"))
    reordered = caches.reorder(cache._replace(states=tensors(own)), order)
    same(reordered.states, own, lambda x: x[[1, 1, 3, 2]])
    assert reordered.cross_attention is cache.cross_attention
    one_more = ops.convert_to_tensor(np.array([0, 0, 1, 2, 3], "int32"))
    same(caches.reorder(cache, one_more).states, own, lambda x: x[[0, 0, 1, 2, 3]])

    selected = caches.select(cache, *(ops.convert_to_tensor(np.array(each, "int32")) for each in ([2, 3], [1])))
    same(selected.states, own, lambda x: x[2:])
    same(selected.cross_attention, across, lambda x: x[1:])
    np.testing.assert_array_equal(ops.convert_to_numpy(selected.source_padding_mask), mask[1:])

    grown = caches.grow(cache, 9)
    same(grown.states, own, lambda x: np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 0))))
    assert caches.grow(cache, 6) is cache


def test_an_encoder_alone_may_have_no_layers():
    block, x = BlockConfig(AttentionConfig(4), FeedForwardConfig(24)), numbers((2, 3, 8))
    np.testing.assert_array_equal(ops.convert_to_numpy(Encoder(0, block)(x)), x)
    with pytest.raises(ValueError, match="Expected num_layers of at least 1 in a decoder, got 0"):
        Decoder(0, block)
    for encoder, decoder in ((0, 1), (1, 0), (None, 0)):
        stacks = {"encoder": encoder, "decoder": decoder}
        stacks = {name: None if layers is None else StackConfig(layers, block) for name, layers in stacks.items()}
        with pytest.raises(ValueError, match="only an encoder without a decoder may have no layers"):
            ModelConfig(8, EmbeddingsConfig(20), **stacks)


@pytest.mark.parametrize("options", [{"num_distinct": 2}, {"convolution": ConvolutionConfig()}])
def test_what_needs_a_layer_is_refused_without(options):
    with pytest.raises(ValueError, match="num_distinct to divide num_layers=0, got 2|a first layer, to whose output"):
        StackConfig(0, BlockConfig(AttentionConfig(4), FeedForwardConfig(24)), **options)


def test_patterns_that_do_not_fit_are_all_told():
    attention, feed_forward = AttentionConfig(4), FeedForwardConfig(24)
    with pytest.raises(ValueError) as error:
        StackConfig(
            4,
            BlockConfig(attention, feed_forward),
            pattern=(AttentionConfig(4, window=3), AttentionConfig(2)),
            feed_forward_pattern=(FeedForwardConfig(48), feed_forward),
            num_distinct=2,
        )
    for expected in (
        "the pattern to begin with block.attention",
        "the attentions of the pattern to differ in positions, window and scale alone",
        "the feed_forward_pattern to begin with block.feed_forward",
        "no feed_forward_pattern where a block serves several layers, as num_distinct says",
    ):
        assert expected in str(error.value)


@pytest.mark.parametrize("stack_class", few([Encoder, Decoder], Decoder))
def test_whole_layers_are_left_out_in_training_alone(stack_class):
    x, options = numbers((B, T, D)), {"cross_attention": False} if stack_class is Decoder else {}
    block = BlockConfig(AttentionConfig(4), FeedForwardConfig(24))
    layer = stack_class(3, block, layer_dropout=0.5, **options)
    layer.build(x.shape)
    whole = ops.convert_to_numpy(fill(layer)(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), whole)
    keras.utils.set_random_seed(0)
    found = [ops.convert_to_numpy(layer(x, training=True)) for _ in range(20)]
    some = {()}
    for block in layer.blocks:
        some |= {(*each, block) for each in some}
    wanted = []
    for each in some:
        y = ops.convert_to_tensor(x)
        for block in each:
            y = block(y)
        wanted.append(ops.convert_to_numpy(y))
    nearest = [np.argmin([np.abs(each - other).max() for other in wanted]) for each in found]
    assert max(np.abs(each - wanted[n]).max() for each, n in zip(found, nearest, strict=True)) < 1e-5
    assert len(set(nearest)) > 3
    always = stack_class(3, layer.block, layer_dropout=0.9999, **options)
    np.testing.assert_array_equal(ops.convert_to_numpy(always(x, training=True)), x)


@pytest.mark.parametrize(
    "policy", few(["mixed_bfloat16", "mixed_float16", "float16", "bfloat16"], "mixed_bfloat16", "float16")
)
@pytest.mark.parametrize("stack_class", [Encoder, Decoder])
def test_stacks_in_half_precision(policy, stack_class):
    """With rows of nothing but padding, and each scheme of positions."""
    x, padding = numbers((B, T, D)), PADDING & (np.arange(B)[:, None] != 2)
    extra = {"cross_attention": False} if stack_class is Decoder else {}
    for attention in itertools.islice(POSITIONS.values(), 1, 4):
        exact = ops.convert_to_numpy(stack(stack_class, attention, **extra)(x, padding_mask=padding))
        half = ops.cast(stack(stack_class, attention, dtype=policy, **extra)(x, padding_mask=padding), "float32")
        assert relative_error(half, exact) < (0.1 if "bfloat16" in policy else 0.02)
