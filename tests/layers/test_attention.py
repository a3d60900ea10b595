import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import (
    Alibi,
    LayerNorm,
    MultiHeadAttention,
    QueryKeyNorm,
    RelativeBuckets,
    RMSNorm,
    Rotary,
)
from keras_transformers.layers import cache as caches
from tests.layers.reference import attention, fill, merge, numbers, projections, relative_error, split
from tests.parameters import few
from tests.quick_compilation import fast

B, T, S, D = 3, 6, 5, 16


def built(*shapes, **settings):
    layer = MultiHeadAttention(**{"num_heads": 4, **settings})
    layer.build(*(shapes or ((B, T, D),)))
    return fill(layer)


def expected_output(layer, query, source=None, **settings):
    """What the layer should compute for float `query`, positions left out: the output and the weights."""
    to_query, to_key, to_value, to_output = projections(layer)
    source = query if source is None else source
    norms = layer.query_key_norm
    if norms is not None and not norms.by_head:
        to_query, to_key = normed(to_query, layer.query_norm), normed(to_key, layer.key_norm)
    heads = split(to_query(query), layer.num_heads)
    keys, values = (split(project(source), layer.num_key_value_heads) for project in (to_key, to_value))
    if norms is not None and norms.by_head:
        heads, keys = normed(lambda x: x, layer.query_norm)(heads), normed(lambda x: x, layer.key_norm)(keys)
    output, scores = attention(heads, keys, values, **{"scale": heads.shape[-1] ** -0.5, **settings})
    return to_output(merge(output)), scores


def normed(function, norm):
    """A function followed by an RMS norm over the last axis, with one more than the layer's scale."""
    scale = 1 + np.asarray(ops.convert_to_numpy(norm.scale), "float64")

    def result(x):
        y = function(x)
        return y / np.sqrt((y**2).mean(-1, keepdims=True) + norm.epsilon) * scale

    return result


BY_HEAD, OVER_WIDTH = (QueryKeyNorm(RMSNorm(1e-3, unit_offset=True), by_head) for by_head in (True, False))
SETTINGS = [
    {},
    {"num_key_value_heads": 2},
    {"num_key_value_heads": 1},
    {"head_dim": 6, "num_key_value_heads": 2},
    {"use_bias": False},
    {"use_bias": "inputs"},
    {"scale": 0.7},
    {"query_key_norm": BY_HEAD, "num_key_value_heads": 2},
    {"query_key_norm": OVER_WIDTH, "num_key_value_heads": 2, "scale": 0.7},
    {"soft_cap": 0.5},
    {"causal": True},
    {"causal": True, "num_key_value_heads": 2},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("return_scores", [False, True])
def test_self_attention_is_what_numpy_computes(settings, return_scores):
    layer, x = built(**settings), numbers((B, T, D))
    result = layer(x, return_attention_scores=return_scores)
    output, scores = result if return_scores else (result, None)
    options = {name: settings[name] for name in ("soft_cap", "causal", "scale") if name in settings}
    expected, expected_scores = expected_output(layer, x, **options)
    assert relative_error(output, expected) < 1e-5
    if return_scores:
        assert relative_error(scores, expected_scores) < 1e-5


def test_widths_of_heads_and_projections():
    layer = built(head_dim=6, num_key_value_heads=2, use_bias=False)
    shapes = [
        tuple(projection.kernel.shape) for projection in (layer.query, layer.key, layer.value, layer.output_projection)
    ]
    assert shapes == [(D, 24), (D, 12), (D, 12), (24, D)]
    assert len(layer.weights) == 4


def test_biases_of_the_inputs_alone():
    layer = built(use_bias="inputs")
    assert [each.bias is not None for each in (layer.query, layer.key, layer.value)] == [True] * 3
    assert layer.output_projection.bias is None


@pytest.mark.parametrize("by_head", [True, False])
@pytest.mark.parametrize("norm", [RMSNorm(), LayerNorm(use_bias=False)])
def test_norms_of_queries_and_keys_have_weights_of_their_own(by_head, norm):
    layer = built(head_dim=6, num_key_value_heads=2, query_key_norm=QueryKeyNorm(norm, by_head))
    shapes = [tuple(each.weights[0].shape) for each in (layer.query_norm, layer.key_norm)]
    assert shapes == [(6,), (6,)] if by_head else [(24,), (12,)]


distance = np.arange(T)[None, :] - np.arange(T)[:, None]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_a_window_hides_what_is_farther_away(causal, window):
    layer, x = built(causal=causal, window=window), numbers((B, T, D))
    mask = (abs(distance) < window)[None, None]
    expected, _ = expected_output(layer, x, mask=mask, causal=causal)
    assert relative_error(layer(x), expected) < 1e-5


PADDING = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("dtype", ["bool", "int32"])
def test_padding_is_not_seen(causal, window, dtype):
    layer, x = built(causal=causal, window=window), numbers((B, T, D))
    mask = PADDING[:, None, None]
    if window:
        mask = mask & (abs(distance) < window)[None, None]
    expected, _ = expected_output(layer, x, mask=mask, causal=causal)
    assert relative_error(layer(x, padding_mask=PADDING.astype(dtype)), expected) < 1e-5


@pytest.mark.parametrize("shape", [(T, T), (B, T, T), (B, 4, T, T), (1, T, T), (B, 1, T, T)])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_masks_of_every_rank(shape, causal):
    layer, x = built(causal=causal), numbers((B, T, D))
    mask = np.random.default_rng(1).random(shape) < 0.5
    full = mask if len(shape) == 4 else mask.reshape((-1, 1, T, T))
    expected, scores = expected_output(layer, x, mask=full & PADDING[:, None, None], causal=causal)
    output, found = layer(x, padding_mask=PADDING, attention_mask=mask, return_attention_scores=True)
    assert relative_error(output, expected) < 1e-5
    assert relative_error(found, scores) < 1e-5


@pytest.mark.parametrize(
    "masks, expected",
    [
        (
            {"padding_mask": np.ones((B, T, T), bool)},
            r"padding mask of shape \[B, S\] = \[3, 6\], got shape \(3, 6, 6\)",
        ),
        ({"padding_mask": np.ones((1, T), bool)}, r"padding mask of shape \[B, S\] = \[3, 6\], got shape \(1, 6\)"),
        ({"padding_mask": np.ones((B, T - 1), bool)}, r"padding mask of shape \[B, S\] = \[3, 6\], got shape \(3, 5\)"),
        ({"attention_mask": np.ones(T, bool)}, r"attention_mask of shape.*got shape \(6,\)"),
        ({"attention_mask": np.ones((T, T + 1), bool)}, r"where \[B, N, T, S\] = \[3, 4, 6, 6\], got shape \(6, 7\)"),
        ({"attention_mask": np.ones((B, 3, T, T), bool)}, r"got shape \(3, 3, 6, 6\)"),
    ],
)
def test_a_mask_of_another_shape_is_an_error(masks, expected):
    with pytest.raises(ValueError, match=expected):
        built()(numbers((B, T, D)), **masks)


# --- to a source ---


SOURCE_PADDING = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("settings", [{}, {"num_key_value_heads": 2}, {"num_key_value_heads": 1}])
@pytest.mark.parametrize("projected", [False, True])
def test_cross_attention_is_what_numpy_computes(settings, projected):
    layer = built((B, T, D), (B, S, 10), **settings)
    query, source = numbers((B, T, D)), numbers((B, S, 10))
    given = layer.project_source(source) if projected else source
    output, scores = layer(query, given, padding_mask=SOURCE_PADDING, return_attention_scores=True)
    expected, expected_scores = expected_output(layer, query, source, mask=SOURCE_PADDING[:, None, None])
    assert relative_error(output, expected) < 1e-5
    assert relative_error(scores, expected_scores) < 1e-5
    assert not ops.convert_to_numpy(scores)[2].any()
    assert relative_error(output[2], np.tile(layer.output_projection.bias, (T, 1))) < 1e-5


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("return_scores", [False, True])
@pytest.mark.parametrize("settings", [{}, {"num_key_value_heads": 2}])
def test_the_hypotheses_of_a_sentence_share_its_source(length, return_scores, settings):
    layer = built((B, T, D), (B, S, D), **settings)
    query, source = numbers((B * 4, length, D)), numbers((B, S, D))
    result = layer(
        query, layer.project_source(source), padding_mask=SOURCE_PADDING, return_attention_scores=return_scores
    )
    output, scores = result if return_scores else (result, None)
    repeated, padding = np.repeat(source, 4, axis=0), np.repeat(SOURCE_PADDING, 4, axis=0)
    expected, expected_scores = expected_output(layer, query, repeated, mask=padding[:, None, None])
    assert relative_error(output, expected) < 1e-5
    if return_scores:
        assert relative_error(scores, expected_scores) < 1e-5


# --- numbers that are hard ---


@pytest.mark.parametrize(
    "policy, compute",
    [("float16", "float16"), ("bfloat16", "bfloat16"), ("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")],
)
@pytest.mark.parametrize(
    "positions, return_scores", [(None, False), (Rotary(), True), (Alibi(), False), (RelativeBuckets(), True)]
)
def test_half_precision_and_padding_everywhere(policy, compute, positions, return_scores):
    exact = built(positions=positions, causal=True)
    layer = MultiHeadAttention(4, positions=positions, causal=True, dtype=policy)
    layer.build((B, T, D))
    fill(layer)
    padding = PADDING & (np.arange(B)[:, None] != 1)  # the second row is padding alone
    x = numbers((B, T, D))
    result = fast(lambda x: layer(x, padding_mask=padding, return_attention_scores=return_scores))(x)
    output = result[0] if return_scores else result
    assert keras.backend.standardize_dtype(output.dtype) == compute
    assert {weight.dtype for weight in layer.trainable_weights} == {"float32" if "mixed" in policy else policy}
    output = ops.convert_to_numpy(ops.cast(output, "float32"))
    expected = ops.convert_to_numpy(fast(lambda x: exact(x, padding_mask=padding))(x))
    assert np.isfinite(output).all()
    assert relative_error(output, expected) < (5e-3 if compute == "float16" else 4e-2)
    np.testing.assert_allclose(output[1], np.tile(expected[1, :1], (T, 1)), atol=2e-2)


def test_dropout_works_in_training_alone():
    layer, x = built(dropout=0.5), numbers((B, T, D))
    plain = ops.convert_to_numpy(built()(x))
    for quiet in ({}, {"training": False}):
        assert relative_error(layer(x, **quiet), plain) < 1e-6
    first, second = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert relative_error(first, plain) > 1e-2
    assert relative_error(first, second) > 1e-2
    output, scores = layer(x, training=True, return_attention_scores=True)
    np.testing.assert_allclose(ops.convert_to_numpy(scores).sum(-1), 1.0, rtol=1e-5)  # as they were before dropout


def test_dropout_keeps_the_mean():
    layer = MultiHeadAttention(1, dropout=0.25, use_bias=False)
    layer.build((1, 1, 64))
    for projection in (layer.query, layer.key, layer.value, layer.output_projection):
        projection.kernel.assign(np.eye(64))
    x = np.ones((1, 400, 64), "float32")
    output = ops.convert_to_numpy(layer(x, training=True))
    assert abs(output.mean() - 1) < 0.02
    assert 0.01 < output.std() < 0.1


# --- the cache ---


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"window": 3},
        {"num_key_value_heads": 1},
        {"soft_cap": 0.5, "num_key_value_heads": 2},
        {"positions": Rotary()},
        {"query_key_norm": BY_HEAD, "positions": Rotary(), "num_key_value_heads": 2},
        {"query_key_norm": OVER_WIDTH, "num_key_value_heads": 2},
        {"positions": Rotary(fraction=0.5), "num_key_value_heads": 2, "window": 3},
        {"positions": Alibi()},
        {"positions": Alibi(), "num_key_value_heads": 1},
        {"positions": RelativeBuckets(8, 6), "num_key_value_heads": 2, "window": 2},
    ],
)
@pytest.mark.parametrize("pieces", few([[1] * T, [3, 1, 2]], [3, 1, 2]))
def test_a_cache_changes_nothing(settings, pieces):
    layer = built(causal=True, **settings)
    x = numbers((B, T, D))
    with_scores = fast(lambda x, **state: layer(x, **state, return_attention_scores=True))
    alone = fast(lambda x, cache, offset: layer(x, cache=cache, offset=offset))
    whole, whole_scores = (ops.convert_to_numpy(each) for each in with_scores(x))
    cache, offset = layer.start_state(B, 8), caches.start()
    for piece in pieces:
        begin = int(offset)
        part = x[:, begin : begin + piece]
        output, _, scores = with_scores(part, cache=cache, offset=offset)
        output_alone, cache = alone(part, cache, offset)
        seen = min(scores.shape[-1], T)
        assert relative_error(output, whole[:, begin : begin + piece]) < 1e-5
        assert relative_error(output_alone, whole[:, begin : begin + piece]) < 1e-5
        assert relative_error(scores[..., :seen], whole_scores[:, :, begin : begin + piece, :seen]) < 1e-5
        offset = offset + piece


# --- bad settings ---


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"num_heads": 4, "num_key_value_heads": 3}, "multiple of num_key_value_heads, got 4 and 3"),
        ({"num_heads": 0}, "'num_heads' is 0, expected int of at least 1"),
        ({"num_heads": 4, "window": 0}, "'window' is 0, expected int of at least 1 or None"),
        ({"num_heads": 4, "scale": -0.5}, "'scale' is -0.5, expected float above 0 or None"),
        (
            {"num_heads": 4, "use_bias": "outputs"},
            "use_bias to be one of True, False, 'inputs', 'all_but_keys', 'output', got 'outputs'",
        ),
    ],
)
def test_settings_that_cannot_be(settings, expected):
    with pytest.raises(ValueError, match=expected):
        MultiHeadAttention(**settings)


def test_a_width_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="multiple of num_heads=3, got 16. Or give head_dim"):
        MultiHeadAttention(3)(numbers((B, T, D)))
    assert MultiHeadAttention(3, head_dim=4)(numbers((B, T, D))).shape == (B, T, D)


@pytest.mark.parametrize("option", [{"causal": True}, {"window": 2}, {"positions": RelativeBuckets()}])
def test_what_orders_one_sequence_takes_no_other(option):
    x = numbers((B, T, D))
    with pytest.raises(ValueError, match="leave source out"):
        MultiHeadAttention(4, **option)(x, x)


def test_rows_and_sources_that_do_not_go_together():
    layer = MultiHeadAttention(4)
    source = numbers((2, S, D))
    with pytest.raises(ValueError, match="as many queries as sources, got 4 and 2"):
        layer(numbers((4, T, D)), source)
    projected = layer.project_source(ops.convert_to_tensor(source))
    assert layer(numbers((4, T, D)), projected).shape == (4, T, D)
    with pytest.raises(ValueError, match="as many queries as sources, got 3 and 2"):
        layer(numbers((3, T, D)), projected)
    assert layer(numbers((0, T, D)), numbers((0, S, D))).shape == (0, T, D)
    with pytest.raises(ValueError, match="to be built"):
        MultiHeadAttention(4).project_source(source)


def test_a_mask_to_add_is_no_mask_to_look_through():
    with pytest.raises(ValueError, match="pass `mask == 0`"):
        MultiHeadAttention(4)(numbers((B, T, D)), attention_mask=np.where(np.tri(T), 0.0, -np.inf).astype("float32"))


def test_its_arguments_go_by_name_in_a_functional_model():
    x = keras.Input((None, D))
    assert MultiHeadAttention(4)(query=x).shape == (None, None, D)


def test_a_padding_mask_with_a_cache_is_over_the_buffers():
    layer, x = MultiHeadAttention(4), numbers((2, 3, D))
    whole = layer(x, attention_mask=np.tri(3, dtype=bool), padding_mask=np.array([[1, 1, 1], [0, 1, 1]], bool))
    mask = ops.convert_to_tensor(np.array([[1] * 8, [0] + [1] * 7], bool))
    offset, cache = caches.start(), layer.start_state(2, 8)
    for place in range(3):
        y, cache = layer(x[:, place : place + 1], cache=cache, offset=offset, padding_mask=mask)
        np.testing.assert_allclose(ops.convert_to_numpy(y)[:, 0], ops.convert_to_numpy(whole)[:, place], atol=1e-5)
        offset = offset + 1


def test_global_tokens_see_all_and_are_seen_by_all():
    """The others see a window; the first two, by projections of their own, all that is no padding."""
    layer = MultiHeadAttention(2, window=2, global_tokens=2)
    x = numbers((2, 6, 8))
    layer.build(x.shape)
    fill(layer)
    real = np.array([[True] * 6, [True] * 4 + [False] * 2])
    found, weights = layer(x, padding_mask=real, return_attention_scores=True)
    places = np.arange(6)
    near = (np.abs(places[:, None] - places) < 2) | (places < 2)

    def of(query, key, value, mask):
        heads = [split(ops.convert_to_numpy(each(x)), 2) for each in (query, key, value)]
        return attention(*heads, scale=0.5, mask=mask & real[:, None, None, :])

    local, local_weights = of(layer.query, layer.key, layer.value, near[None, None])
    whole, whole_weights = of(layer.global_query, layer.global_key, layer.global_value, np.ones((1, 1, 6, 6), bool))
    heads = np.concatenate([whole[:, :, :2], local[:, :, 2:]], axis=2)
    wanted = ops.convert_to_numpy(layer.output_projection(merge(heads).astype("float32")))
    assert relative_error(ops.convert_to_numpy(found)[real], wanted[real]) <= 1e-5
    wanted = np.concatenate([whole_weights[:, :, :2], local_weights[:, :, 2:]], axis=2)
    assert relative_error(ops.convert_to_numpy(weights)[0], wanted[0]) <= 1e-5


@pytest.mark.parametrize("options", [{"causal": True}, {"positions": Rotary()}])
def test_global_tokens_that_cannot_be(options):
    with pytest.raises(ValueError, match="to both sides without positions with global_tokens=1, got causal="):
        MultiHeadAttention(2, global_tokens=1, **options)
