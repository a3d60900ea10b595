"""The SSRU compared with its definition in NumPy, in pieces, with padding, and in generation."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.generation import DraftModel, GenerationConfig, PromptLookup
from keras_transformers.layers import SimpleRecurrence, SimpleRecurrentUnit
from keras_transformers.layers.scope import Scope
from keras_transformers.layers.state import Rows
from tests.layers.reference import fill, numbers, relative_error
from tests.parameters import few

B, T, D = 3, 7, 6


def unit():
    layer = SimpleRecurrentUnit()
    layer.build((B, T, D))
    return fill(layer, scale=1.0)


def states(layer, x):
    """The states `[T, D]` of one text `[T, D]`."""
    kernel, forget, bias = (ops.convert_to_numpy(weight).astype("float64") for weight in layer.weights)
    state, found = np.zeros(D), []
    for row in x:
        kept = 1 / (1 + np.exp(-(row @ forget + bias)))
        state = kept * state + (1 - kept) * (row @ kernel)
        found.append(state)
    return np.stack(found)


def wanted(layer, x):
    return np.stack([np.maximum(states(layer, text), 0) for text in x])


def test_whole_texts_and_pieces_are_what_numpy_computes():
    layer, x = unit(), numbers((B, T, D))
    assert relative_error(layer(x), wanted(layer, x)) <= 1e-6
    pieces, state, offset = [], layer.start_state(B, T), 0
    for length in (1, 3, 1, 2):
        y, state = layer(x[:, offset : offset + length], cache=state, offset=offset)
        pieces.append(ops.convert_to_numpy(y))
        offset += length
    assert relative_error(np.concatenate(pieces, 1), wanted(layer, x)) <= 1e-6


def test_guesses_are_taken_back_and_rows_change_places():
    layer, x = unit(), numbers((B, T, D))
    _, state = layer(x[:, :6], cache=layer.start_state(B, T), offset=0)
    state = state.trim(6, 3).reorder(Rows(ops.convert_to_tensor(np.array([2, 0, 0], "int32")), 3))
    y, _ = layer(x[:, 3:4], cache=state, offset=3)
    rows = np.concatenate([x[[2, 0, 0], :3], x[:, 3:4]], 1)
    assert relative_error(y, wanted(layer, rows)[:, 3:]) <= 1e-6
    assert state.trim(3, 0).vectors.shape == state.vectors.shape
    assert not ops.convert_to_numpy(state.trim(3, 0).vectors)[:, -1].any()


def test_padding_and_other_texts_change_no_state():
    layer, x = unit(), numbers((1, T, D))
    real = np.array([[False, False, True, True, False, True, True]])
    y = ops.convert_to_numpy(layer(x, padding_mask=real))
    assert relative_error(y[real], wanted(layer, x[real][None])[0]) <= 1e-6
    starts = ops.convert_to_tensor(np.array([[2, 2, 2, 2, 4, 4, 4]], "int32"))  # padding, then two texts
    y = layer(x, scope=Scope(starts=starts))
    assert relative_error(y[:, 2:4], wanted(layer, x[:, 2:4])) <= 1e-6
    assert relative_error(y[:, 4:], wanted(layer, x[:, 4:])) <= 1e-6


def translator():
    keras.utils.set_random_seed(0)
    config = kt.models.transformer(
        30, num_layers=1, hidden_dim=16, num_heads=2, dropout=0.0, max_length=32, recurrence=SimpleRecurrence()
    )
    return fill(kt.Seq2SeqLM(config), scale=0.6)


SOURCES = [[5, 6, 7, 8, 9, 2], [12, 13, 2], [14, 15, 16, 2]]
CONFIG = GenerationConfig(start_id=1, end_ids=(2,), max_new_tokens=9)


@pytest.mark.parametrize("num_beams", few([1, 3], 3))
def test_a_batch_is_each_text_alone(num_beams):
    model, config = translator(), dataclasses.replace(CONFIG, num_beams=num_beams)
    together = model.generate(SOURCES, config)
    rows = [ids[:length].tolist() for ids, length in zip(together.token_ids, together.lengths, strict=True)]
    if num_beams > 1:
        for source, ids in list(zip(SOURCES, rows, strict=True))[1:]:
            assert model.generate([source], config).token_ids[0].tolist()[: len(ids)] == ids
    else:  # each token is the best one after the whole text before it
        read = np.array([[1, *ids[:-1]] + [0] * (9 - len(ids)) for ids in rows], "int32")
        sources = np.array([[*source, *[0] * (6 - len(source))] for source in SOURCES], "int32")
        best = ops.convert_to_numpy(model({"token_ids": sources, "decoder_token_ids": read})).argmax(-1)
        assert [ids[: len(row)].tolist() for ids, row in zip(best, rows, strict=True)] == rows


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_texts_of_unknown_length(jit_compile):
    import tensorflow as tf

    layer, x = unit(), numbers((B, T, D))
    signature = [tf.TensorSpec((None, None, D))]
    found = tf.function(lambda x: layer(x), input_signature=signature, jit_compile=jit_compile)(x)
    assert relative_error(found, wanted(layer, x)) <= 1e-6


@pytest.mark.one_backend("torch")
def test_a_decoder_alone_with_guesses():
    block = dataclasses.replace(translator().config.decoder.block, norm_placement="pre")
    stack = kt.layers.StackConfig(2, block)

    def model(num_layers):
        return fill(kt.CausalLM(kt.ModelConfig(16, kt.layers.EmbeddingsConfig(30), decoder=stack)), scale=0.6)

    model, prompts = model(2), [[5, 6, 7, 8, 5, 6], [9, 10]]
    config = GenerationConfig(max_new_tokens=12)
    together = model.generate_ids(prompts, config).token_ids.tolist()
    for prompt, ids in zip(prompts, together, strict=True):
        assert model.generate_ids([prompt], config).token_ids[0].tolist() == ids
        for draft in (PromptLookup(), DraftModel(model, length=3)):
            assert model.generate_ids([prompt], config, draft=draft).token_ids[0].tolist() == ids


@pytest.mark.one_backend("torch")
def test_training_files_and_scores_of_cross_attention(tmp_path):
    model = translator()
    data = {"token_ids": np.array([SOURCES[0]]), "decoder_token_ids": np.array([[1, 5, 6, 7]])}
    scores = model.backbone(data, return_attention_scores=True)
    assert [each.shape for each in scores["cross_attention_scores"]] == [(1, 2, 4, 6)]
    assert "attention_scores" not in scores
    spec = model.backbone.compute_output_spec(data, return_attention_scores=True)
    assert keras.tree.map_structure(lambda x: tuple(x.shape), spec) == keras.tree.map_structure(
        lambda x: tuple(x.shape), scores
    )
    assert "SSRU" in repr(model)
    model.compile(keras.optimizers.Adam(0.01), label_smoothing=0.0)
    labels = np.array([[5, 6, 7, 2]])
    losses = [model.train_on_batch(data, labels)[0] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    logits = ops.convert_to_numpy(model(data))
    for again in (keras.saving.load_model(tmp_path / "model.keras"), kt.Seq2SeqLM.from_preset(tmp_path / "preset")):
        np.testing.assert_array_equal(ops.convert_to_numpy(again(data)), logits)


@pytest.mark.one_backend("torch")
def test_refusals():
    with pytest.raises(ValueError, match="Expected an attention in an encoder, got an SSRU"):
        kt.layers.EncoderBlock(2, 8, recurrence=SimpleRecurrence())
    with pytest.raises(ValueError, match="describes the cross-attention alone, got .*window=3"):
        attention = kt.layers.AttentionConfig(2, window=3)
        kt.layers.BlockConfig(attention, kt.layers.FeedForwardConfig(8), recurrence=SimpleRecurrence())
    block = translator().config.decoder.block
    with pytest.raises(ValueError, match="neither a pattern nor bidirectional=True"):
        kt.layers.StackConfig(2, block, bidirectional=True)
    with pytest.raises(ValueError, match="attends to nothing, got return_attention_scores=True"):
        unit()(numbers((1, 2, D)), return_attention_scores=True)
    decoder = kt.layers.Decoder(1, block, cross_attention=False)
    with pytest.raises(ValueError, match="Expected no attention_mask for a recurrence"):
        decoder(numbers((1, 2, 16)), attention_mask=np.ones((2, 2), bool))


@pytest.mark.one_backend("torch")
def test_a_token_without_a_vector():
    layer = kt.layers.PositionalEmbedding(5, 4, zero_id=3)
    found = ops.convert_to_numpy(layer(np.array([[3, 1, 3]])))
    assert not found[0, [0, 2]].any()
    assert found[0, 1].any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_long_running_mean_in_half_precision_does_not_drift(dtype):
    random = np.random.default_rng(0)
    layer = SimpleRecurrentUnit(dtype=dtype)
    layer.build((None, None, 8))
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape) * 0.05)
    layer.forget.bias.assign(np.full(8, 4.0))  # keeps 98 % of the state
    x = ops.cast(random.normal(size=(1, 90, 8)) + 1, dtype)
    whole, state = ops.convert_to_numpy(ops.cast(layer(x), "float32")), layer.start_state(1, 90)
    for position in range(90):
        step, state = layer(x[:, position : position + 1], cache=state, offset=position)
        if position % 30 == 7:  # eight tokens are taken back, and read again
            state = state.trim(position + 1, position - 7)
            _, state = layer(x[:, position - 7 : position + 1], cache=state, offset=position - 7)
    assert relative_error(step[0, 0], whole[0, -1]) < 0.003
