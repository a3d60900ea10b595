"""A student learns the probabilities of a teacher, token by token."""

import keras
import numpy as np
import pytest

import keras_transformers as kt

X = {
    "token_ids": np.array([[5, 6, 2, 0], [3, 4, 5, 2]], "int32"),
    "decoder_token_ids": np.array([[1, 7], [1, 8]], "int32"),
}
Y = np.array([[9, 2], [8, 2]], "int32")


def small(vocabulary_size=20, seed=0, **options):
    keras.utils.set_random_seed(seed)
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 16, "dropout": 0.0, **options}
    return kt.Seq2SeqLM(kt.models.transformer(vocabulary_size, **sizes))


def log_softmax(logits, temperature):
    scaled = keras.ops.convert_to_numpy(logits).astype("float64") / temperature
    return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))


def test_the_loss_is_the_published_one_and_the_teacher_stays():
    student, teacher = small(), small(seed=1)
    before = [keras.ops.convert_to_numpy(each) for each in teacher.weights]
    taught, learnt = (log_softmax(each(X), 2.0) for each in (teacher, student))
    divergence = (np.exp(taught) * (taught - learnt)).sum(-1) * 4.0
    entropy = -np.take_along_axis(log_softmax(student(X), 1.0), Y[..., None], -1)[..., 0]
    student.compile(
        keras.optimizers.SGD(0.5),
        label_smoothing=0.0,
        teacher=kt.training.Teacher(teacher, weight=0.75, temperature=2.0),
    )
    history = student.fit(X, Y, epochs=4, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], (0.25 * entropy + 0.75 * divergence).mean(), rtol=1e-5)
    assert history["loss"][-1] < history["loss"][0]
    for old, new in zip(before, teacher.weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    assert len(student.weights) == len(small().weights)  # the teacher is no part of the student
    alone = -np.take_along_axis(log_softmax(student(X), 1.0), Y[..., None], -1).mean()
    np.testing.assert_allclose(student.evaluate(X, Y, verbose=0)["loss"], alone, rtol=1e-5)


@pytest.mark.one_backend("torch")
def test_refusals(tmp_path):
    student = small()
    with pytest.raises(ValueError, match="vocabulary of the student, of 20 tokens, got 21"):
        student.compile(teacher=kt.training.Teacher(small(21)))
    with pytest.raises(TypeError, match="got the student itself"):
        student.compile(teacher=kt.training.Teacher(student))
    with pytest.raises(TypeError, match=r"a kt.training.Teacher\(model\), got Seq2SeqLM"):
        student.compile(teacher=small())
    with pytest.raises(ValueError, match=r"weight of a teacher in \(0, 1\], got 2"):
        kt.training.Teacher(student, weight=2)
    with pytest.raises(ValueError, match="temperature of a teacher above 0, got 0"):
        kt.training.Teacher(student, temperature=0)


@pytest.mark.one_backend("torch")
def test_other_tokens_under_the_same_ids_are_refused():
    texts = [["a b c a b c"] * 4, ["x y z x y z"] * 4]
    tokenizers = [kt.Tokenizer.train(each, vocabulary_size=265, kind="bpe") for each in texts]
    size = max(each.vocabulary_size for each in tokenizers)
    models = []
    for tokenizer in tokenizers:
        config = kt.models.transformer(size, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=8)
        models.append(kt.Seq2SeqLM(config, tokenizer))
    with pytest.raises(ValueError, match="whose ids stand for other tokens"):
        models[0].compile(teacher=kt.training.Teacher(models[1]))
