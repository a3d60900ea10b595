"""What all layers share: configurations, saving, Keras masks, compilation, and a place in anyone's Keras model."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers import layers
from keras_transformers.layers import (
    Affine,
    AffineTransform,
    Alibi,
    AttentionConfig,
    BlockConfig,
    Bottleneck,
    BottleneckBlock,
    Convolution,
    ConvolutionConfig,
    ConvolutionHeads,
    Decoder,
    DecoderBlock,
    Encoder,
    EncoderBlock,
    ExpertsConfig,
    FeedForward,
    FeedForwardConfig,
    FourierMixing,
    GroupedDense,
    LayerMix,
    LayerNorm,
    Learned,
    LinearScaling,
    MultiHeadAttention,
    Pooler,
    PositionalEmbedding,
    QueryKeyNorm,
    RelativeBuckets,
    RelativePosition,
    RelativeScores,
    RelativeSinusoids,
    RMSNorm,
    RMSNormalization,
    Rotary,
    SimpleRecurrentUnit,
    Sinusoidal,
    TokenDropout,
    Transform,
    TransformConfig,
    VocabularyHead,
)
from tests.layers.reference import fill, numbers, relative_error
from tests.quick_compilation import fast

B, T, D = 2, 6, 16
QUERY_KEY_NORM = QueryKeyNorm(RMSNorm(1e-4, True), by_head=False)
ROTARY = Rotary(500.0, 0.5, "interleaved", LinearScaling(2.0))
ATTENTION = AttentionConfig(4, 2, 8, ROTARY, 3, 5.0, "inputs", 0.25, 0.3, QUERY_KEY_NORM)
FEED_FORWARD = FeedForwardConfig(24, "gelu_tanh", True, False, 0.25, ExpertsConfig(5, 3, False))
BLOCK = BlockConfig(ATTENTION, FEED_FORWARD, RMSNorm(1e-4, True), "pre", 0.25, "parallel")

NARROW = BlockConfig(AttentionConfig(4, head_dim=2), FeedForwardConfig(24), Affine(), dropout=0.25)

OTHER_ATTENTION = dataclasses.replace(ATTENTION, positions=Alibi(), window=None)
STACK = {
    "num_layers": 2,
    "block": BLOCK,
    "final_norm": True,
    "pattern": (ATTENTION, OTHER_ATTENTION),
    "layer_dropout": 0.2,
    "final_dropout": 0.3,
    "output_dim": 6,
    "feed_forward_pattern": (FEED_FORWARD, dataclasses.replace(FEED_FORWARD, experts=None)),
    "bidirectional": True,
}


def fields(record):
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def without(arguments, *names):
    return {each: value for each, value in arguments.items() if each not in names}


ENCODERS_ALONE = {"global_tokens", "groups", "blocks", "convolution"}
# Each layer with every argument away from its default.
CASES = {
    MultiHeadAttention: {**without(fields(ATTENTION), *ENCODERS_ALONE), "causal": True},
    FeedForward: without(fields(FEED_FORWARD), "groups"),
    AffineTransform: {},
    RMSNormalization: {"epsilon": 1e-4, "unit_offset": True},
    PositionalEmbedding: {
        "vocabulary_size": 20,
        "hidden_dim": D,
        "positions": Learned(10),
        "scale": False,
        "norm": LayerNorm(1e-3, False),
        "dropout": 0.25,
        "num_segments": 2,
        "embedding_dim": 6,
        "num_tasks": 3,
        "token_dropout": TokenDropout(7, 0.25),
        "zero_id": 4,
        "padding_id": 3,
        "trainable_embeddings": False,
    },
    VocabularyHead: {
        "vocabulary_size": 20,
        "tied": False,
        "use_bias": True,
        "transform": TransformConfig("relu", RMSNorm(1e-4), False),
        "soft_cap": 3.0,
        "scale": True,
        "embedding_dim": 6,
        "wide": True,
    },
    Transform: {"activation": "relu", "norm": RMSNorm(1e-4), "use_bias": False, "output_dim": 6},
    Pooler: {
        "pooling": "mean",
        "transform": TransformConfig("tanh", None),
        "input_dropout": 0.25,
        "dropout": 0.125,
        "by_token": True,
    },
    RelativePosition: {"positions": RelativeBuckets(8, 20), "num_heads": 4, "head_dim": 6, "causal": True},
    RelativeScores: {"positions": RelativeSinusoids(3), "num_heads": 4, "head_dim": 6, "hidden_dim": D},
    FourierMixing: {},
    LayerMix: {"transformation": "sparsemax", "layer_norm": True},
    SimpleRecurrentUnit: {},
    ConvolutionHeads: {"num_heads": 4, "head_dim": 6, "kernel_size": 5},
    GroupedDense: {"units": 12, "groups": 4, "use_bias": False},
    EncoderBlock: {**without(fields(BLOCK), "recurrence"), "attention_norm": False},
    DecoderBlock: {**without(fields(BLOCK), "recurrence"), "attention_norm": False, "cross_attention": False},
    BottleneckBlock: {"block": NARROW, "bottleneck": Bottleneck(8, 2)},
    Convolution: {"config": ConvolutionConfig(5, "relu", 0.25), "norm": RMSNorm(1e-4)},
    Encoder: {**STACK, "convolution": ConvolutionConfig(5)},
    Decoder: {**STACK, "cross_attention": False},
}
# Arguments that stand in another's place, or that weights carry.
OTHER_ARGUMENTS = {
    MultiHeadAttention: ENCODERS_ALONE,  # not beside the others: further cases have them
    FeedForward: {"groups"},
    GroupedDense: {"kernel_initializer"},
    FourierMixing: {"causal"},  # is refused
    SimpleRecurrentUnit: {"causal"},  # is always True
    PositionalEmbedding: {"max_length", "embeddings_initializer", "token", "projected"},  # the last has its own test
    EncoderBlock: {"num_heads", "intermediate_dim", "recurrence"},  # the last is refused
    DecoderBlock: {"num_heads", "intermediate_dim", "recurrence"},  # not beside positions: a further case has it
    Encoder: {"num_distinct", "first_norm", "bottleneck"},  # not both at once: test_blocks has them
    Decoder: {"num_distinct", "first_norm", "convolution", "bottleneck"},  # the last two are refused
}
RECURRENT = {"num_heads": 4, "intermediate_dim": 24}
FURTHER = [
    (MultiHeadAttention, {"num_heads": 4, "window": 3, "global_tokens": 2}),
    (MultiHeadAttention, {"num_heads": 4, "groups": layers.AttentionGroups(2, 1, 4, 2), "use_bias": "output"}),
    (MultiHeadAttention, {"num_heads": 4, "blocks": layers.BlockSparse(1, 0)}),
    (MultiHeadAttention, {"num_heads": 4, "head_dim": 2, "convolution": layers.DynamicConvolution(3)}),
    (Encoder, {"num_layers": 2, "block": NARROW, "bottleneck": Bottleneck(8)}),
    (DecoderBlock, {**RECURRENT, "recurrence": layers.SimpleRecurrence(), "cross_attention": False}),
    (FeedForward, {"intermediate_dim": 24, "groups": layers.FeedForwardGroups(2, 4)}),
]


def call_arguments(layer):
    if isinstance(layer, PositionalEmbedding):
        return (np.arange(B * 5, dtype="int32").reshape(B, 5),)
    if isinstance(layer, RelativePosition):
        return np.arange(9, dtype="int32")[None], np.arange(9, dtype="int32")[None]
    if isinstance(layer, RelativeScores):
        return numbers((B, 4, T, 6)), numbers((B, 4, 5, 6), 1), np.ones((B, T, 5), bool)
    if isinstance(layer, ConvolutionHeads):
        return numbers((B, T, D)), numbers((B, 4, T, 6), 1)
    if isinstance(layer, LayerMix):
        return ([numbers((B, T, D)), numbers((B, T, D), 1)],)
    if isinstance(layer, Convolution):
        return numbers((B, T, D)), numbers((B, T, D), 1)
    return (numbers((B, T, D)),)


def first(result):
    return result[0] if isinstance(result, tuple) else result


def test_every_layer_is_here():
    public = {getattr(layers, name) for name in layers.__all__}
    assert {each for each in public if inspect.isclass(each) and issubclass(each, keras.layers.Layer)} == set(CASES)


@pytest.mark.parametrize("layer_class", CASES)
def test_the_case_leaves_no_argument_at_its_default(layer_class):
    parameters = dict(inspect.signature(layer_class).parameters)
    names = set(parameters) - {"self", "kwargs"} - OTHER_ARGUMENTS.get(layer_class, set())
    assert set(CASES[layer_class]) == names
    for name in names:
        assert CASES[layer_class][name] != parameters[name].default, name


@pytest.mark.parametrize(
    "layer_class, record, others",
    [
        (MultiHeadAttention, AttentionConfig, {"causal"}),
        (FeedForward, FeedForwardConfig, set()),
        (EncoderBlock, BlockConfig, {"num_heads", "intermediate_dim", "attention_norm"}),
        (DecoderBlock, BlockConfig, {"num_heads", "intermediate_dim", "attention_norm", "cross_attention"}),
        (Encoder, layers.StackConfig, set()),
        (Decoder, layers.StackConfig, {"cross_attention"}),
        (RMSNormalization, RMSNorm, set()),
        (VocabularyHead, layers.HeadConfig, {"vocabulary_size"}),
        (Transform, TransformConfig, {"output_dim"}),
        (Pooler, layers.PoolerConfig, set()),
    ],
)
def test_a_layer_and_its_record_have_the_same_fields_and_defaults(layer_class, record, others):
    parameters = dict(inspect.signature(layer_class).parameters)
    names = {field.name for field in dataclasses.fields(record)} - {
        "classifier_bias",
        "end_id",
    }  # of what reads the vector
    assert set(parameters) - {"self", "kwargs"} - others == names
    for field in (field for field in dataclasses.fields(record) if field.name in names):
        default = parameters[field.name].default
        if field.default is not dataclasses.MISSING:
            assert default == field.default, field.name
        else:  # required; of a block, a number may stand in its place
            assert default in (inspect.Parameter.empty, None), field.name


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("layer_class, arguments", [*CASES.items(), *FURTHER])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_configuration_makes_the_same_layer_again(layer_class, arguments, dtype):
    layer = layer_class(**arguments, name="mine", dtype=dtype)
    config = layer.get_config()
    again = layer_class.from_config(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(config)))
    assert again.get_config() == config
    assert again.name == "mine" and again.dtype_policy.name == dtype
    arguments = call_arguments(layer)
    first(layer(*arguments)), first(again(*arguments))
    assert [(weight.path, tuple(weight.shape)) for weight in layer.weights] == [
        (weight.path, tuple(weight.shape)) for weight in again.weights
    ]
    again.set_weights(layer.get_weights())
    for ours, theirs in zip(flat(layer(*arguments)), flat(again(*arguments)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def flat(result):
    return [ops.convert_to_numpy(ops.cast(x, "float32")) for x in keras.tree.flatten(result) if x is not None]


def test_word_vectors_are_not_in_the_configuration():
    layer = PositionalEmbedding(20, 6, embeddings_initializer=numbers((20, 6)))
    assert "embeddings_initializer" not in layer.get_config()


def test_an_unknown_argument_is_an_error():
    with pytest.raises((TypeError, ValueError), match="heads"):
        MultiHeadAttention(4, heads=4)


# --- in anyone's Keras model ---


def functional_model(dtype=None):
    """Token ids to an encoding, and other ids read against it: nothing but our layers, and masks by themselves."""
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    embedding = PositionalEmbedding(30, D, 12, padding_id=0, dtype=dtype, name="embedding")
    encoded = EncoderBlock(4, 24, dtype=dtype, name="encoder_block")(embedding(source))
    encoded = Encoder(1, BLOCK, dtype=dtype, name="encoder")(encoded)
    x = embedding(target)
    x = DecoderBlock(4, 24, dtype=dtype, name="decoder_block")(x, encoded)
    x = FeedForward(24, dtype=dtype, name="feed_forward")(RMSNormalization(dtype=dtype, name="norm")(x))
    x = MultiHeadAttention(4, causal=True, dtype=dtype, name="own")(x)
    x = MultiHeadAttention(4, dtype=dtype, name="across")(x, encoded)
    logits = VocabularyHead(30, tied=False, dtype=dtype, name="head")(x)
    return keras.Model([source, target], logits)


def token_ids(rows, length, seed):
    ids = np.random.default_rng(seed).integers(1, 30, (rows, length)).astype("int32")
    for row in range(1, rows):
        ids[row, max(1, length - 2 * row) :] = 0
    return ids


def test_keras_masks_reach_every_layer():
    """What padding holds changes nothing that is not padding."""
    model = functional_model()
    source, target = token_ids(3, 8, 0), token_ids(3, 7, 1)
    plain = ops.convert_to_numpy(fast(lambda ids: model(ids))([source, target]))
    longer = np.pad(source, ((0, 0), (0, 4))), np.pad(target, ((0, 0), (0, 3)))
    padded = ops.convert_to_numpy(fast(lambda ids: model(ids))(list(longer)))[:, :7]
    real = target != 0
    assert relative_error(padded[real], plain[real]) < 1e-5
    # And padding ids are real tokens to a model whose masks are cut off.
    embedding = model.get_layer("embedding")
    embedding.padding_id = None
    unmasked = ops.convert_to_numpy(fast(lambda ids: model(ids))(list(longer)))[:, :7]
    assert relative_error(unmasked[real], plain[real]) > 1e-3


def test_masks_leave_with_the_output():
    ids = token_ids(3, 8, 0)
    x = PositionalEmbedding(30, D, 12, padding_id=0)(ids)
    for layer in (
        EncoderBlock(4, 24),
        Encoder(1, BLOCK),
        DecoderBlock(4, 24, cross_attention=False),
        Decoder(1, BLOCK, cross_attention=False),
        MultiHeadAttention(4),
        FeedForward(24),
        RMSNormalization(),
        VocabularyHead(20, tied=False),
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)._keras_mask), ids != 0, err_msg=layer.name)


def test_scores_of_a_symbolic_layer():
    x = keras.Input((T, D))
    output, scores = MultiHeadAttention(4)(x, return_attention_scores=True)
    assert output.shape == (None, T, D) and scores.shape == (None, 4, T, T)
    model = keras.Model(x, [output, scores])
    found = model(numbers((B, T, D)))
    assert tuple(found[1].shape) == (B, 4, T, T)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", pytest.param("float32", marks=pytest.mark.one_backend("torch"))])
def test_a_functional_model_learns(dtype):
    """Each target token is the source's at the same place."""
    keras.utils.set_random_seed(0)
    model = functional_model(dtype)
    ids = token_ids(64, 6, 0)
    shifted = np.concatenate([np.ones((64, 1), "int32"), ids[:, :-1]], axis=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    history = model.fit([ids, shifted], ids, batch_size=32, epochs=12, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < 0.8 * history[0]


def test_a_model_of_our_layers_is_saved_and_loaded(tmp_path):
    model = functional_model("mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = [token_ids(3, 8, 0), token_ids(3, 7, 1)]
    for ours, theirs in zip(flat(model(inputs)), flat(again(inputs)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.get_layer("encoder").get_config() == model.get_layer("encoder").get_config()


# --- compiled ---


@pytest.mark.parametrize("positions", [None, Rotary(), Alibi(), RelativeBuckets(8, 6)])
def test_a_compiled_stack_computes_the_same(positions):
    attention = AttentionConfig(4, 2, positions=positions, window=4)
    block = BlockConfig(attention, FeedForwardConfig(24), dropout=0.1)
    decoder = Decoder(1, block)
    decoder.build((B, T, D))
    fill(decoder)
    x, source = (ops.convert_to_tensor(numbers((B, length, D))) for length in (T, 5))
    mask = ops.convert_to_tensor(np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool))

    def function(x, source, mask):
        return decoder(x, source, source_padding_mask=mask)

    expected = ops.convert_to_numpy(function(x, source, mask))
    assert relative_error(compiled(function)(x, source, mask), expected) < 1e-5


def compiled(function):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    return function


@pytest.mark.one_backend("torch")
@pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="older Kerases break the graph in their own calls",
)
def test_torch_compile_breaks_no_graph():
    """Traced whole, without the code generator, which takes long."""
    import torch

    block = BlockConfig(AttentionConfig(4, 2, positions=Rotary(), window=3), FeedForwardConfig(24))
    decoder = Decoder(1, block)
    decoder.build((B, T, D))
    fill(decoder)
    x, source = (torch.from_numpy(numbers((B, length, D))) for length in (T, 5))
    traced = torch.compile(decoder, backend="eager", fullgraph=True)  # a break would be an error
    assert relative_error(traced(x, source), decoder(x, source)) < 1e-5


# --- the head ---


@pytest.mark.parametrize("use_bias", [False, True])
def test_a_tied_head_is_the_embeddings_transposed(use_bias):
    embedding = PositionalEmbedding(20, D)
    embedding.build()
    head = VocabularyHead(20, use_bias=use_bias)
    head.build((B, T, D))
    fill(head, 1)
    x = numbers((B, T, D))
    expected = x @ ops.convert_to_numpy(embedding.token.embeddings).T
    if use_bias:
        expected = expected + ops.convert_to_numpy(head.bias)
    assert relative_error(head(x, embedding=embedding), expected) < 1e-5
    assert len(head.weights) == int(use_bias)


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_bounds_its_scores(tied):
    embedding, x = PositionalEmbedding(20, D), 10 * numbers((B, T, D))
    embedding.build()
    plain, bounded = (VocabularyHead(20, tied=tied, soft_cap=cap) for cap in (None, 3.0))
    for head in (plain, bounded):
        head.build((B, T, D))
        fill(head)
    expected = 3 * np.tanh(ops.convert_to_numpy(plain(x, embedding=embedding)) / 3)
    assert relative_error(bounded(x, embedding=embedding), expected) < 1e-5
    with pytest.raises(ValueError, match="'soft_cap' is 0.0, expected float above 0 or None"):
        VocabularyHead(20, soft_cap=0.0)


def test_sinusoidal_embeddings_work_at_any_length_up_to_their_own():
    layer = PositionalEmbedding(20, D, positions=Sinusoidal(10))
    assert tuple(layer(np.zeros((1, 0), "int32")).shape) == (1, 0, D)


@pytest.mark.parametrize("rows", [1, 2, 8, 16, 17])
def test_a_tied_head_scores_by_the_token_embeddings_however_many_rows(rows):
    embedding = PositionalEmbedding(30, 8, max_length=5)
    embedding.build((None, None))
    head = VocabularyHead(30)
    head.build((None, None, 8))
    x = np.random.default_rng(0).standard_normal((rows, 1, 8)).astype("float32")
    expected = x @ ops.convert_to_numpy(embedding.token.embeddings).T
    np.testing.assert_allclose(ops.convert_to_numpy(head(x, embedding=embedding)), expected, rtol=1e-5, atol=1e-6)
