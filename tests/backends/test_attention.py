import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.backends import attention
from tests.layers import reference

B, T, S, H = 2, 5, 7, 8


def some_mask(*shape):
    mask = np.random.default_rng(shape).random(shape) < 0.6
    mask[..., 0] = True  # every query sees one key
    return mask


MASKS = {
    "none": None,
    "padding": some_mask(B, 1, 1, S),
    "queries and keys": some_mask(1, 1, T, S),
    "each row's own": some_mask(B, 1, T, S),
    "each head's own": some_mask(B, 4, T, S),
}


def random_heads(heads, key_value_heads, length=T, key_length=S, dtype="float32"):
    shapes = (B, heads, length, H), (B, key_value_heads, key_length, H), (B, key_value_heads, key_length, H)
    return [reference.numbers(shape, seed).astype(dtype) for seed, shape in enumerate(shapes)]


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", ["plain", "bias", "soft_cap", "scores", "all"])
def test_attention_is_what_numpy_computes(key_value_heads, mask, options):
    query, key, value = random_heads(4, key_value_heads)
    settings = {"scale": 0.3, "mask": MASKS[mask]}
    if options in ("bias", "all"):
        settings["bias"] = reference.numbers((1, 4, T, S), 9)
    if options in ("soft_cap", "all"):
        settings["soft_cap"] = 0.7
    return_scores = options in ("scores", "all")
    output, scores = attention.attend(
        tensor(query), tensor(key), tensor(value), return_scores=return_scores, **tensors(settings)
    )
    expected, expected_scores = reference.attention(query, key, value, **settings)
    assert reference.relative_error(output, expected) < 1e-5
    if return_scores:
        assert reference.relative_error(scores, expected_scores) < 1e-5
    else:
        assert scores is None


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", [None, "padding"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("return_scores", [False, True])
def test_causal_attention_sees_no_later_key(key_value_heads, mask, bias, return_scores):
    query, key, value = random_heads(4, key_value_heads, length=S)
    settings = {"scale": 0.3, "mask": MASKS[mask] if mask else None, "causal": True}
    settings["bias"] = reference.numbers((1, 4, S, S), 9) if bias else None
    output, scores = attention.attend(
        tensor(query), tensor(key), tensor(value), return_scores=return_scores, **tensors(settings)
    )
    expected, expected_scores = reference.attention(query, key, value, **settings)
    assert reference.relative_error(output, expected) < 1e-5
    if return_scores:
        assert reference.relative_error(scores, expected_scores) < 1e-5


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_one_query_with_a_bias_or_a_mask_for_each_head(key_value_heads, bias):
    query, key, value = random_heads(4, key_value_heads, length=1)
    settings = {"scale": 0.3, "mask": some_mask(B, 4, 1, S)}
    settings["bias"] = reference.numbers((1, 4, 1, S), 9) if bias else None
    output, _ = attention.attend(tensor(query), tensor(key), tensor(value), **tensors(settings))
    expected, _ = reference.attention(query, key, value, **settings)
    assert reference.relative_error(output, expected) < 1e-5


@pytest.mark.parametrize("key_value_heads", [4, 1])
@pytest.mark.parametrize("dtype, tolerance", [("float16", 3e-3), ("bfloat16", 3e-2)])
def test_half_precision_stays_near_the_exact_answer(key_value_heads, dtype, tolerance):
    query, key, value = random_heads(4, key_value_heads)
    settings = {"scale": H**-0.5, "mask": MASKS["each row's own"], "bias": reference.numbers((1, 4, T, S), 9)}
    halves = [ops.cast(x, dtype) for x in (query, key, value)]
    for return_scores in (False, True):
        output, _ = attention.attend(*halves, return_scores=return_scores, **tensors(settings))
        assert keras.backend.standardize_dtype(output.dtype) == dtype
        expected, _ = reference.attention(*(ops.convert_to_numpy(ops.cast(x, "float32")) for x in halves), **settings)
        assert reference.relative_error(ops.cast(output, "float32"), expected) < tolerance


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("return_scores", [False, True])
def test_a_query_that_sees_no_key_gets_zeros_and_passes_no_gradient(dtype, bias, return_scores):
    mask = MASKS["each row's own"].copy()
    mask[0, 0, 2] = False
    mask[1] = False

    def output_of(query, key, value):
        settings = tensors({"mask": mask, "bias": reference.numbers((1, 4, T, S), 9) if bias else None})
        return attention.attend(query, key, value, scale=0.3, return_scores=return_scores, **settings)[0]

    inputs = [ops.cast(x, dtype) for x in random_heads(4, 2)]
    output = ops.convert_to_numpy(ops.cast(output_of(*inputs), "float32"))
    assert np.isfinite(output).all()
    assert not output[1].any() and not output[0, :, 2].any()
    assert output[0, :, [0, 1, 3, 4]].all()
    for name, gradient in zip(("query", "key", "value"), gradients(output_of, inputs), strict=True):
        assert np.isfinite(gradient).all(), name
        assert not gradient[1].any(), name
        assert gradient[0].any(), name


def test_attention_of_large_scores_in_float16_is_finite():
    """Products up to about 4e4, near the end of float16's range."""
    inputs = [ops.cast(x * 70, "float16") for x in random_heads(4, 4)]
    for return_scores in (False, True):
        output, _ = attention.attend(
            *inputs, scale=H**-0.5, mask=ops.convert_to_tensor(MASKS["padding"]), return_scores=return_scores
        )
        assert np.isfinite(ops.convert_to_numpy(output)).all()


def test_heads_and_rows_fold_and_unfold():
    x = reference.numbers((6, 3, 8))
    heads = attention.split_heads(tensor(x), 4)
    np.testing.assert_array_equal(ops.convert_to_numpy(heads), reference.split(x, 4))
    np.testing.assert_array_equal(ops.convert_to_numpy(attention.merge_heads(heads)), x)
    folded = attention.fold_rows(heads, 2)  # three hypotheses a sentence
    assert tuple(folded.shape) == (2, 4, 9, 2)
    for row in range(6):
        first = (row % 3) * 3
        np.testing.assert_array_equal(
            ops.convert_to_numpy(folded)[row // 3, :, first : first + 3], reference.split(x, 4)[row]
        )
    np.testing.assert_array_equal(ops.convert_to_numpy(attention.unfold_rows(folded, 6)), reference.split(x, 4))


def tensor(x):
    return ops.convert_to_tensor(x)


def tensors(settings):
    return {name: ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x for name, x in settings.items()}


def gradients(function, inputs):
    """Of the sum of the output's squares, in float32, as float32 arrays."""

    def loss(*inputs):
        return ops.sum(ops.square(ops.cast(function(*inputs), "float32")))

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        found = jax.grad(loss, argnums=tuple(range(len(inputs))))(*inputs)
    elif backend == "torch":
        inputs = [x.detach().requires_grad_() for x in inputs]
        loss(*inputs).backward()
        found = [x.grad for x in inputs]
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        found = tape.gradient(value, inputs)
    return [ops.convert_to_numpy(ops.cast(x, "float32")) for x in found]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the other backends look at no mask")
def test_a_graph_made_with_a_mask_that_hides_nothing_obeys_others():
    import torch

    class Attend(torch.nn.Module):
        def forward(self, query, key, value, mask):
            return attention.attend(query, key, value, scale=0.5, mask=mask)[0]

    tensors = torch.randn(3, 2, 4, 5, 8, generator=torch.manual_seed(0)).unbind()
    nothing, some = torch.ones(2, 1, 1, 5, dtype=torch.bool), torch.tensor([[[[1, 0, 1, 1, 0]]]] * 2).bool()
    graph = torch.export.export(Attend(), (*tensors, nothing)).module()
    expected = attention.attend(*tensors, scale=0.5, mask=some)[0]
    np.testing.assert_allclose(graph(*tensors, some), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected, attention.attend(*tensors, scale=0.5, mask=nothing)[0])
