"""Shapes without computing: symbolic calls agree with real ones, in every layer and with every option of a call."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers import layers
from keras_transformers.layers import (
    AffineTransform,
    Alibi,
    AttentionConfig,
    BlockConfig,
    BlockSparse,
    Bottleneck,
    BottleneckBlock,
    Convolution,
    ConvolutionConfig,
    ConvolutionHeads,
    Decoder,
    DecoderBlock,
    Disentangled,
    DistanceTable,
    DynamicConvolution,
    Encoder,
    EncoderBlock,
    FeedForward,
    FeedForwardConfig,
    FourierMixing,
    GroupedDense,
    LayerMix,
    Learned,
    MultiHeadAttention,
    Pooler,
    PositionalEmbedding,
    RelativeBuckets,
    RelativePosition,
    RelativeScores,
    RelativeSinusoids,
    RMSNormalization,
    Rotary,
    SimpleRecurrentUnit,
    Sinusoidal,
    Transform,
    VocabularyHead,
)
from keras_transformers.layers.experts import StackedDense
from keras_transformers.layers.state import KeysAndValues
from tests.layers.reference import numbers
from tests.quick_compilation import fast

B, T, S, D, N = 2, 5, 7, 16, 4
BLOCK = BlockConfig(AttentionConfig(N, 2), FeedForwardConfig(24))
DISENTANGLED = Disentangled(DistanceTable(12, 8))


def ids(*shape):
    return np.ones(shape, "int32")


def cache():
    return KeysAndValues.empty(B, 2, 9, D // N, "float32")


SCORES = {"return_attention_scores": True}
MORE = {**SCORES, "return_hidden_states": True}
# A layer, its tensors, and the options of the call.
CALLS = {
    "attention": (lambda: MultiHeadAttention(N), [numbers((B, T, D))], {}),
    "attention, scores": (lambda: MultiHeadAttention(N, causal=True), [numbers((B, T, D))], SCORES),
    "attention, source": (lambda: MultiHeadAttention(N), [numbers((B, T, D)), numbers((B, S, 6))], SCORES),
    "attention, cache": (
        lambda: MultiHeadAttention(N, 2, causal=True),
        [numbers((B, T, D))],
        lambda: {"cache": cache(), "offset": 2, **SCORES},
    ),
    "feed-forward": (lambda: FeedForward(24), [numbers((B, T, D))], {}),
    "experts": (lambda: StackedDense(3, 6), [numbers((B, D))], {}),
    "one expert": (lambda: StackedDense(3, 6), [numbers((B, D))], {"experts": 1}),
    "chosen experts": (lambda: StackedDense(3, 6), [numbers((B, D)), ids(B, 2)], {}),
    "affine": (lambda: AffineTransform(), [numbers((B, T, D))], {}),
    "block with a bottleneck": (
        lambda: BottleneckBlock(BlockConfig(AttentionConfig(N, head_dim=2), FeedForwardConfig(24)), Bottleneck(8)),
        [numbers((B, T, D))],
        SCORES,
    ),
    "norm": (lambda: RMSNormalization(), [numbers((B, T, D))], {}),
    "transform": (lambda: Transform(output_dim=6), [numbers((B, T, D))], {}),
    "head": (lambda: VocabularyHead(30, tied=False), [numbers((B, T, D))], {}),
    "pooler": (lambda: Pooler("mean"), [numbers((B, T, D))], {}),
    "embedding": (lambda: PositionalEmbedding(30, D, 8), [ids(B, T)], {}),
    "angles": (lambda: RelativePosition(Rotary(fraction=0.5), N, 8), [ids(1, T), ids(1, S)], {}),
    "angles of starts": (lambda: RelativePosition(Rotary(), N, 8), [ids(1, T), ids(1, S), ids(B, 1)], {}),
    "slopes": (lambda: RelativePosition(Alibi(), N, 8), [ids(1, T), ids(1, S)], {}),
    "rounded slopes": (lambda: RelativePosition(Alibi(True), N, 8), [ids(1, T), ids(1, S)], {}),
    "buckets": (lambda: RelativePosition(RelativeBuckets(8, 20), N, 8), [ids(B, T), ids(B, S)], {}),
    "convolution": (lambda: Convolution(ConvolutionConfig()), [numbers((B, T, D)), numbers((B, T, D))], {}),
    "disentangled attention": (lambda: MultiHeadAttention(N, positions=DISENTANGLED), [numbers((B, T, D))], SCORES),
    "scores of distances": (
        lambda: RelativeScores(RelativeSinusoids(3), N, 6, D),
        [numbers((B, N, T, 6)), numbers((B, N, S, 6)), np.ones((B, T, S), bool)],
        {},
    ),
    "attention, global tokens": (
        lambda: MultiHeadAttention(N, window=2, global_tokens=2),
        [numbers((B, T, D))],
        SCORES,
    ),
    "attention, blocks": (
        lambda: MultiHeadAttention(N, blocks=BlockSparse(1, 0)),
        [numbers((B, T, D))],
        SCORES,
    ),
    "attention, convolution": (
        lambda: MultiHeadAttention(N, head_dim=2, convolution=DynamicConvolution(3)),
        [numbers((B, T, D))],
        SCORES,
    ),
    "convolution heads": (lambda: ConvolutionHeads(N, 4, 3), [numbers((B, T, D)), numbers((B, N, T, 4))], {}),
    "dense layer in groups": (lambda: GroupedDense(24, 2), [numbers((B, T, D))], {}),
    "Fourier transform": (lambda: FourierMixing(), [numbers((B, T, D))], {}),
    "recurrence": (lambda: SimpleRecurrentUnit(), [numbers((B, T, D))], {}),
    "encoder block": (lambda: EncoderBlock(N, 24), [numbers((B, T, D))], SCORES),
    "decoder block": (lambda: DecoderBlock(N, 24), [numbers((B, T, D)), numbers((B, S, D))], SCORES),
    "encoder": (lambda: Encoder(2, BLOCK), [numbers((B, T, D))], MORE),
    "encoder of no layers": (lambda: Encoder(0, BLOCK, final_norm=True), [numbers((B, T, D))], MORE),
    "narrow encoder": (lambda: Encoder(2, BLOCK, output_dim=6), [numbers((B, T, D))], {}),
    "decoder": (lambda: Decoder(2, BLOCK), [numbers((B, T, D)), numbers((B, S, D))], MORE),
    "decoder, cache": (
        lambda: Decoder(2, BLOCK, cross_attention=False),
        [numbers((B, T, D))],
        lambda: {"cache": (cache(), cache()), "offset": 2, **MORE},
    ),
}


def described(result):
    """Shapes and dtypes, in the result's own structure."""
    return keras.tree.map_structure(
        lambda x: None if x is None else (tuple(x.shape), keras.backend.standardize_dtype(x.dtype)), result
    )


def test_every_public_layer_is_here():
    public = {getattr(layers, name) for name in layers.__all__}
    public = {each for each in public if inspect.isclass(each) and issubclass(each, keras.layers.Layer)}
    assert public <= {type(make()) for make, *_ in CALLS.values()} | {LayerMix}  # takes a list: test_layer_mix


def test_a_layer_that_takes_a_list():
    layer, states = LayerMix(), [numbers((B, T, D))] * 3
    spec = layer(list(map(keras.KerasTensor, [each.shape for each in states])))
    assert described(spec) == described(layer(states))


@pytest.mark.parametrize("call", CALLS)
def test_symbolic_calls_have_the_shapes_and_dtypes_of_real_ones(call):
    make, tensors, options = CALLS[call]
    options = options() if callable(options) else options
    layer = make()
    layer.build(*(tensor.shape for tensor in tensors[: len(inspect.signature(layer.build).parameters)]))
    spec = layer.compute_output_spec(*map(keras.KerasTensor, [x.shape for x in tensors]), **options)
    tensors = [ops.convert_to_tensor(tensor) for tensor in tensors]
    expected = described(fast(lambda *tensors: layer(*tensors, **options))(*tensors))
    assert described(spec) == expected
    if not options:
        shapes = keras.tree.map_structure(lambda x: None if x is None else tuple(x.shape), spec)
        assert layer.compute_output_shape(*(tuple(tensor.shape) for tensor in tensors)) == shapes


@pytest.mark.parametrize("call", [name for name, (_, _, options) in CALLS.items() if not options])
def test_unknown_sizes_stay_unknown(call):
    make, tensors, _ = CALLS[call]
    known = make().compute_output_shape(*(tuple(tensor.shape) for tensor in tensors))
    unknown = make().compute_output_shape(*((None, *tensor.shape[1:]) for tensor in tensors))
    flat = [shape for shape in keras.tree.flatten(unknown)]
    assert None in flat
    assert all(size in (None, other) for size, other in zip(flat, keras.tree.flatten(known), strict=True))


def test_half_precision_is_what_symbolic_calls_say():
    x = ops.cast(numbers((B, T, D)), "bfloat16")
    for layer in (Encoder(1, BLOCK, dtype="mixed_bfloat16"), MultiHeadAttention(N, dtype="mixed_bfloat16")):
        real = layer(x, return_attention_scores=True)
        symbolic = layer.compute_output_spec(keras.KerasTensor((B, T, D), "bfloat16"), return_attention_scores=True)
        assert described(symbolic) == described(real)


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("call", CALLS)
def test_no_symbolic_call_computes(call, monkeypatch):
    """Keras's fallback traces `call` with made-up sizes."""
    make, tensors, options = CALLS[call]
    options = options() if callable(options) else options
    layer = make()
    layer.build(*(tensor.shape for tensor in tensors[: len(inspect.signature(layer.build).parameters)]))
    monkeypatch.setattr(layer, "call", lambda *args, **kwargs: pytest.fail("was called"))
    layer.compute_output_spec(*map(keras.KerasTensor, [x.shape for x in tensors]), **options)


# --- in Keras's own containers ---


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: EncoderBlock(N, 24), (B, 3, T, D)),
        (lambda: MultiHeadAttention(N), (B, 3, T, D)),
        (lambda: FeedForward(24), (B, 3, T, D)),
        (lambda: Pooler("mean"), (B, 3, T, D)),
        (lambda: Encoder(1, BLOCK), (B, 3, T, D)),
    ],
)
def test_time_distributed_is_the_layer_at_each_step(make, shape):
    layer = make()
    x = numbers(shape)
    wrapped = keras.layers.TimeDistributed(layer)
    symbolic = wrapped(keras.Input(shape[1:]))
    y = ops.convert_to_numpy(wrapped(x))
    assert symbolic.shape == (None, *y.shape[1:])
    expected = np.stack([ops.convert_to_numpy(layer(x[:, n])) for n in range(shape[1])], axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert wrapped.compute_output_shape((None, 3, T, D)) == (None, 3, *y.shape[2:])


def sequential():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            PositionalEmbedding(30, D, 12, padding_id=0),
            EncoderBlock(N, 24),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.each_keras
def test_a_sequential_model_leaves_padding_out_and_shows_its_shapes():
    model = sequential()
    short, long = np.array([[4, 5, 6]], "int32"), np.array([[4, 5, 6, 0, 0]], "int32")
    np.testing.assert_allclose(*(ops.convert_to_numpy(model(x)) for x in (short, long)), rtol=1e-5, atol=1e-6)
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "?" not in "".join(lines) and "(None, None, 16)" in "".join(lines)


def test_rematerialized_layers_compute_and_learn_the_same():
    with keras.RematScope(mode="list_of_layers", layer_names=["encoder_block"]):
        block = EncoderBlock(N, 24, name="encoder_block")
    plain = EncoderBlock.from_config(block.get_config())
    x = numbers((B, T, D))
    models = []
    for each in (block, plain):
        inputs = keras.Input((T, D))
        models.append(keras.Model(inputs, each(inputs)))
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, numbers((B, T, D)))
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    rematerialized = keras.remat(lambda x: plain(x))
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(each(ops.convert_to_tensor(x))) for each in (rematerialized, plain)),
        rtol=1e-5,
        atol=1e-6,
    )


# --- fewer positions than Keras tries ---


class Own(keras.layers.Layer):
    """Anyone's layer around one of ours: Keras traces it, on PyTorch with 83 and 89 tokens."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


@pytest.mark.parametrize("positions", [Learned(12), Sinusoidal(12), Learned(12, 1, True), Sinusoidal(12, offset=1)])
@pytest.mark.parametrize("wrap", [lambda layer: layer, Own])
def test_few_positions_go_with_inputs_of_any_length(positions, wrap):
    layer = PositionalEmbedding(30, D, positions=positions, padding_id=0)
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, wrap(layer)(inputs))
    assert model.output.shape == (None, None, D)
    token_ids = np.array([[3, 4, 5, 0]], "int32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(token_ids)), ops.convert_to_numpy(layer(token_ids)), rtol=1e-6, atol=1e-6
    )


def test_a_known_length_past_the_positions_is_refused_at_once():
    layer = PositionalEmbedding(30, D, 12)
    with pytest.raises(ValueError, match="Expected at most 12 tokens.*got 13"):
        layer(keras.Input((13,), dtype="int32"))


def test_a_mask_goes_to_the_output_and_not_to_scores():
    x = PositionalEmbedding(30, D, 12, padding_id=0)(np.array([[3, 4, 0]], "int32"))
    results = Encoder(1, BLOCK)(x, **MORE)
    assert ops.convert_to_numpy(results["output"]._keras_mask).tolist() == [[True, True, False]]
    assert all(getattr(scores, "_keras_mask", None) is None for scores in results["attention_scores"])
