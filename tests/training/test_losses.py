import keras
import numpy as np
import pytest

from keras_transformers.training.losses import token_cross_entropy


def reference(logits, labels, label_smoothing):
    logits = logits.astype("float64")
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    target = np.eye(logits.shape[-1])[labels] * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    return -(target * log_probabilities).sum(-1), -np.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0]


def example(vocabulary_size=50):
    rng = np.random.default_rng(0)
    logits = (5 * rng.standard_normal((3, 7, vocabulary_size))).astype("float32")
    return logits, rng.integers(0, vocabulary_size, (3, 7)).astype("int32")


def gradient(logits, labels, label_smoothing):
    """d(sum of loss + sum of nll) / d(logits), by the backend's own means."""

    def total(value):
        loss, negative_log_likelihood = token_cross_entropy(value, labels, label_smoothing)
        return keras.ops.sum(loss) + keras.ops.sum(negative_log_likelihood)

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(total)(jax.numpy.asarray(logits)))
    if backend == "tensorflow":
        import tensorflow as tf

        value = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(value)
            result = total(value)
        return tape.gradient(result, value).numpy()
    import torch

    value = torch.tensor(logits, requires_grad=True)
    total(value).backward()
    return value.grad.numpy()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.4])
def test_equals_the_definition(label_smoothing):
    logits, labels = example()
    loss, negative_log_likelihood = token_cross_entropy(
        keras.ops.convert_to_tensor(logits), keras.ops.convert_to_tensor(labels), label_smoothing
    )
    expected_loss, expected_nll = reference(logits, labels, label_smoothing)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected_loss, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(negative_log_likelihood), expected_nll, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_keras(label_smoothing):
    logits, labels = example()
    loss, _ = token_cross_entropy(logits, labels, label_smoothing)
    one_hot = keras.ops.one_hot(labels, logits.shape[-1])
    expected = keras.losses.categorical_crossentropy(one_hot, logits, from_logits=True, label_smoothing=label_smoothing)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(loss), keras.ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_torch(label_smoothing):
    torch = pytest.importorskip("torch")
    logits, labels = example()
    loss, _ = token_cross_entropy(logits, labels, label_smoothing)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits).flatten(0, 1),
        torch.tensor(labels).flatten().long(),
        reduction="none",
        label_smoothing=label_smoothing,
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(loss), expected.reshape(labels.shape).numpy(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradient_is_softmax_less_target_and_not_of_the_likelihood(label_smoothing):
    logits, labels = example()
    softmax = np.exp(logits - logits.max(-1, keepdims=True))
    softmax /= softmax.sum(-1, keepdims=True)
    target = np.eye(logits.shape[-1])[labels] * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    np.testing.assert_allclose(gradient(logits, labels, label_smoothing), softmax - target, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_no_nan(dtype):
    logits, labels = example()
    logits = np.where(logits > 0, 60000.0, -60000.0)
    loss, negative_log_likelihood = token_cross_entropy(keras.ops.cast(logits, dtype), labels, 0.1)
    assert (
        keras.backend.standardize_dtype(loss.dtype)
        == keras.backend.standardize_dtype(negative_log_likelihood.dtype)
        == "float32"
    )
    assert (
        np.isfinite(keras.ops.convert_to_numpy(loss)).all()
        and np.isfinite(keras.ops.convert_to_numpy(negative_log_likelihood)).all()
    )


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0])
def test_refuses_a_smoothing_out_of_range(label_smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing in \[0, 1\), got"):
        token_cross_entropy(*example(), label_smoothing)


def test_refuses_shapes_that_do_not_fit():
    logits, labels = example()
    with pytest.raises(ValueError, match="Labels are token ids, not one-hot"):
        token_cross_entropy(logits, np.eye(50)[labels])
    with pytest.raises(ValueError, match="Pad both to the same length"):
        token_cross_entropy(logits, labels[:, :-1])
