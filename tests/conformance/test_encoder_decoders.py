"""A decoder beside an encoder writes token by token what it computes whole, whatever pads the source."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.conformance import checkpoints, outputs
from tests.conformance.cases import CHECKPOINTS
from tests.layers.reference import relative_error
from tests.quick_compilation import fast

WRITERS = [name for name, (_, head) in CHECKPOINTS.items() if head.task == "Seq2SeqLM"]
if keras.backend.backend() != "torch":  # of each kind of attention: other backends compile each operation first
    WRITERS = list({CHECKPOINTS[name][0].attention: name for name in WRITERS}.values())


def _token_by_token(case, model, view, inputs, convert):
    """Logits by a cache: several tokens into an empty one, several more, then one by one. `view` is what decodes."""
    target, backbone = inputs["decoder_token_ids"], model.backbone
    mask = convert(outputs.real(case, inputs, "encoder"))
    length = target.shape[1]

    @fast
    def begin(token_ids, mask):
        return backbone.start_cache(*target.shape, backbone.encode(token_ids, mask), mask)

    cache = begin(convert(inputs["token_ids"]), mask)

    @fast
    def decode(token_ids, cache):
        x, cache = view.backbone.decode(token_ids, cache)
        return view.head(x, embedding=view.backbone.decoder_embedding), cache

    found, done = [], 0
    for end in (length // 2, length - 4, *range(length - 3, length + 1)):
        logits, cache = decode(convert(target[:, done:end]), cache)
        found.append(ops.convert_to_numpy(logits))
        done = end
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("name", WRITERS)
def test_token_by_token_is_the_same(name):
    case, _ = CHECKPOINTS[name]
    model, inputs = checkpoints.model(name), outputs.inputs(case)
    found = _token_by_token(case, model, model, inputs, ops.convert_to_tensor)
    wanted = outputs.ours(model, inputs, lambda model: fast(lambda inputs: model(inputs)))
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("name", WRITERS)
def test_without_kerass_bookkeeping_it_is_the_same(name):
    import torch

    from keras_transformers.backends.torch.direct import direct

    case, _ = CHECKPOINTS[name]
    model, inputs = checkpoints.model(name), outputs.inputs(case)
    with torch.no_grad():
        found = _token_by_token(case, model, direct(model), inputs, torch.from_numpy)
    wanted = outputs.ours(model, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.one_backend("torch")  # others take half a minute to compile one
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_generated_is_what_whole_texts_say(name):
    """Sources of unequal length, by layers called directly."""
    case, _ = CHECKPOINTS[name]
    model, row = checkpoints.model(name), outputs.inputs(case)["token_ids"][0]
    sources = [row[:9].tolist(), row[9:13].tolist()]
    generated = model.generate(sources, kt.GenerationConfig(start_id=3, max_new_tokens=3)).token_ids
    for source, token_ids in zip(sources, generated, strict=True):
        inputs = {"token_ids": np.array([source], "int32"), "decoder_token_ids": np.array([[3, *token_ids]], "int32")}
        np.testing.assert_array_equal(outputs.ours(model, inputs)[0, :-1].argmax(axis=-1), token_ids)
