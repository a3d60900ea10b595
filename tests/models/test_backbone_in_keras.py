"""Backbones and tasks as Keras models among others: shapes, masks, summaries, copies and `.keras` files."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers import layers, models, tasks
from keras_transformers.models import Backbone
from tests.parameters import few

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 12}
CONFIGS = {
    "encoder": models.encoder(30, **SIZE),
    "gpt": models.gpt(30, **SIZE),
    "decoder": models.decoder(30, **SIZE),
    "transformer": models.transformer(30, **SIZE),
}
IDS = np.array([[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]], "int32")
REAL = IDS != 0


def array(x):
    return ops.convert_to_numpy(x)


def inputs_of(config, ids=IDS):
    both = config.encoder is not None and config.decoder is not None
    return {"token_ids": ids, "decoder_token_ids": ids} if both else ids


def symbolic(config):
    inputs = inputs_of(config)
    if not isinstance(inputs, dict):
        return keras.Input((None,), dtype="int32")
    return {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}


@pytest.mark.each_keras
@pytest.mark.parametrize("name", CONFIGS)
def test_pooling_after_a_backbone_leaves_padding_out(name):
    """The model has 12 positions, fewer than the 83 tokens that Keras tries."""
    backbone = Backbone(CONFIGS[name])
    output = array(backbone(inputs_of(CONFIGS[name])))
    expected = np.stack([row[real].mean(axis=0) for row, real in zip(output, REAL, strict=True)])
    pooling = keras.layers.GlobalAveragePooling1D()
    eager = pooling(backbone(inputs_of(CONFIGS[name])))
    inputs = symbolic(CONFIGS[name])
    functional = keras.Model(inputs, pooling(backbone(inputs)))
    for pooled in (
        eager,
        functional(inputs_of(CONFIGS[name])),
        functional.predict(inputs_of(CONFIGS[name]), verbose=0),
    ):
        np.testing.assert_allclose(array(pooled), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name, more, mask",
    [
        ("encoder", {"padding_mask": [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]}, [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]),
        ("gpt", {"padding_mask": [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]}, [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]),
        ("gpt", {"starts": [[1], [0]]}, [[0, 1, 1, 0, 0], [1, 1, 1, 1, 1]]),
        ("transformer", {"decoder_token_ids": [[0, 6, 7, 0], [0, 6, 0, 0]]}, [[1, 1, 1, 0], [1, 1, 0, 0]]),
    ],
)
def test_the_mask_is_what_the_inputs_say(name, more, mask):
    backbone = Backbone(CONFIGS[name])
    inputs = {"token_ids": IDS, **{key: np.array(value, "int32") for key, value in more.items()}}
    assert array(backbone(inputs)._keras_mask).tolist() == np.array(mask, bool).tolist()
    symbolic_inputs = {key: keras.Input(value.shape[1:], dtype="int32", name=key) for key, value in inputs.items()}
    assert keras.Model(symbolic_inputs, backbone(symbolic_inputs))(inputs).shape[0] == 2


def test_a_decoder_without_a_padding_id_takes_each_token_for_real():
    backbone = Backbone(models.gpt(30, **SIZE, padding_id=None))
    assert getattr(backbone(IDS), "_keras_mask", None) is None


def test_the_mask_is_on_the_output_and_not_on_scores():
    results = Backbone(CONFIGS["encoder"])(IDS, return_hidden_states=True, return_attention_scores=True)
    assert array(results["output"]._keras_mask).tolist() == REAL.tolist()
    assert all(getattr(scores, "_keras_mask", None) is None for scores in results["attention_scores"])


@pytest.mark.parametrize("name", CONFIGS)
def test_everything_asked_for_has_its_shape_before_anything_is_computed(name):
    backbone = Backbone(CONFIGS[name])
    returns = {"return_hidden_states": True, "return_attention_scores": True}
    real = backbone(inputs_of(CONFIGS[name]), **returns)
    inputs = keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, "int32"), inputs_of(CONFIGS[name]))
    spec = backbone.compute_output_spec(inputs, **returns)
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape), real)
    assert keras.tree.map_structure(lambda x: tuple(x.shape), spec) == shapes
    unknown = keras.tree.map_structure(lambda x: (None, None), inputs_of(CONFIGS[name]))
    assert backbone.compute_output_shape(unknown) == (None, None, 16)


def test_unknown_inputs_are_refused_of_symbolic_ones_too():
    with pytest.raises(ValueError, match=r"Expected inputs \['token_ids'\].*got \['input_ids'\]"):
        Backbone(CONFIGS["encoder"])({"input_ids": keras.Input((None,), dtype="int32")})


def test_time_distributed_reads_several_texts_of_a_row():
    backbone = Backbone(CONFIGS["encoder"])
    wrapped = keras.layers.TimeDistributed(backbone)
    texts = np.stack([IDS, IDS + 1], axis=1)
    assert wrapped(keras.Input((2, 5), dtype="int32")).shape == (None, 2, 5, 16)
    expected = np.stack([array(backbone(texts[:, n])) for n in range(2)], axis=1)
    np.testing.assert_allclose(array(wrapped(texts)), expected, rtol=1e-5, atol=1e-5)


TASKS = {
    tasks.TextClassifier: ("encoder", (None, 2)),
    tasks.TokenClassifier: ("encoder", (None, None, 2)),
    tasks.TextEmbedder: ("encoder", (None, 16)),
    tasks.MaskedLM: ("encoder", (None, None, 30)),
    tasks.QuestionAnswerer: ("encoder", (None, None, 2)),
    tasks.CausalLM: ("gpt", (None, None, 30)),
    tasks.Seq2SeqLM: ("transformer", (None, None, 30)),
}


@pytest.mark.parametrize("task", few(TASKS, tasks.TextClassifier, tasks.CausalLM))
def test_a_task_is_a_layer_of_a_functional_model(task):
    name, shape = TASKS[task]
    made = task(CONFIGS[name])
    inputs = symbolic(CONFIGS[name])
    output = made(inputs)
    assert output.shape == shape
    assert (
        made.compute_output_shape(keras.tree.map_structure(lambda x: (None, None), inputs_of(CONFIGS[name]))) == shape
    )
    model = keras.Model(inputs, output)
    real = inputs_of(CONFIGS[name])
    np.testing.assert_allclose(array(model(real)), array(made(real)), rtol=1e-5, atol=1e-5)


def test_options_of_tasks_have_shapes_too():
    pair = {"token_ids": (2, None), "positive_token_ids": (2, 4)}
    assert tasks.TextEmbedder(CONFIGS["encoder"]).compute_output_shape(pair) == (2, 2, 16)
    some = {"token_ids": (2, None), "masked_positions": (2, 3)}
    assert tasks.MaskedLM(CONFIGS["encoder"]).compute_output_shape(some) == (2, 3, 30)


@pytest.mark.parametrize("task", few(TASKS, tasks.TextClassifier, tasks.CausalLM))
def test_what_a_task_gives_carries_no_mask_that_would_count_beside_its_weights(task):
    made = task(CONFIGS[TASKS[task][0]])
    mask = getattr(made(inputs_of(made.config)), "_keras_mask", None)
    if task in (tasks.TokenClassifier, tasks.MaskedLM):  # a vector for each token, and what is real by the ids
        assert array(mask).tolist() == REAL.tolist()
    else:
        assert mask is None


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("task", few(TASKS, tasks.TextClassifier, tasks.CausalLM))
@pytest.mark.parametrize("expand_nested", [False, True])
def test_a_summary_shows_shapes(task, expand_nested):
    lines = []
    made = task(CONFIGS[TASKS[task][0]])
    made.summary(print_fn=lambda line, **_: lines.append(line), expand_nested=expand_nested)
    text = "".join(lines)
    assert "?" not in text and "unbuilt" not in text and "(None, None, 16)" in text


@pytest.mark.one_backend("torch")
def test_a_mask_breaks_no_compiled_graph():
    import torch

    explained = torch._dynamo.explain(Backbone(CONFIGS["encoder"]))(torch.from_numpy(IDS))
    assert explained.graph_break_count == 0, explained.break_reasons


@pytest.mark.each_keras
def test_a_model_around_a_backbone_learns_and_comes_back_from_its_file(tmp_path):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(Backbone(CONFIGS["encoder"])(inputs))
    model = keras.Model(inputs, layers.Transform(output_dim=1)(x))
    model.compile("adam", "mse")
    model.fit(IDS, np.ones((2, 1), "float32"), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(again(IDS)), array(model(IDS)), rtol=1e-6, atol=1e-6)
    model.save_weights(tmp_path / "mine.weights.h5")
    copy = keras.models.clone_model(model)
    copy.load_weights(tmp_path / "mine.weights.h5")
    np.testing.assert_allclose(array(copy(IDS)), array(model(IDS)), rtol=1e-6, atol=1e-6)
