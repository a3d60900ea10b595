"""A decoder reads a text token by token, or beside others in its row, as it reads it alone and whole."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.conformance import checkpoints, outputs
from tests.conformance.cases import CHECKPOINTS
from tests.layers.reference import relative_error
from tests.quick_compilation import fast

DECODERS = [name for name, (_, head) in CHECKPOINTS.items() if head.task == "CausalLM"]
if keras.backend.backend() != "torch":  # of each kind of attention: other backends compile each operation first
    DECODERS = list({CHECKPOINTS[name][0].attention: name for name in reversed(DECODERS)}.values())


def computed(model):
    """A function of inputs: what `outputs.ours` gives, of a whole model."""
    call = fast(lambda inputs: model(inputs))
    return lambda inputs: ops.convert_to_numpy(
        call({name: ops.convert_to_tensor(array) for name, array in inputs.items()})
    )


@pytest.mark.parametrize("name", DECODERS)
def test_token_by_token_is_the_same(name):
    """Several tokens into an empty cache, several more, then one by one: texts that begin at different places."""
    case, _ = CHECKPOINTS[name]
    model, inputs = checkpoints.model(name), outputs.inputs(case)
    token_ids = inputs["token_ids"]
    length = token_ids.shape[1]
    backbone = model.backbone

    @fast
    def decode(token_ids, cache):
        x, cache = backbone.decode(token_ids, cache)
        return model.head(x, embedding=backbone.embedding), cache

    cache = backbone.start_cache(len(token_ids), length, starts=ops.convert_to_tensor(inputs["starts"]))
    found, done = [], 0
    for end in (length // 2, length - 4, *range(length - 3, length + 1)):
        logits, cache = decode(ops.convert_to_tensor(token_ids[:, done:end]), cache)
        found.append(ops.convert_to_numpy(logits))
        done = end
    found, wanted = np.concatenate(found, axis=1), computed(model)(inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.parametrize("name", DECODERS)
def test_texts_in_one_row_are_what_each_is_alone(name):
    case, _ = CHECKPOINTS[name]
    model, row = checkpoints.model(name), outputs.inputs(case)["token_ids"][:1]
    length = row.shape[1]
    bounds = [0, length // 3, length // 2, length]
    starts = np.repeat(bounds[:-1], np.diff(bounds))[None].astype("int32")
    compute = computed(model)
    found = compute({"token_ids": row, "starts": starts})
    for begin, end in zip(bounds, bounds[1:], strict=False):
        alone = compute({"token_ids": row[:, begin:end]})
        assert relative_error(found[:, begin:end], alone) <= 1e-5


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("name", DECODERS)
def test_without_kerass_bookkeeping_it_is_the_same(name):
    import torch

    from keras_transformers.backends.torch.direct import direct

    case, _ = CHECKPOINTS[name]
    model, inputs = checkpoints.model(name), outputs.inputs(case)
    view, token_ids = direct(model), torch.from_numpy(inputs["token_ids"])
    cache = model.backbone.start_cache(len(token_ids), token_ids.shape[1], starts=torch.from_numpy(inputs["starts"]))
    found = []
    with torch.no_grad():
        for begin, end in ((0, 20), (20, 21), (21, token_ids.shape[1])):
            x, cache = view.backbone.decode(token_ids[:, begin:end], cache)
            found.append(view.head(x, embedding=view.backbone.embedding).numpy())
    found, wanted = np.concatenate(found, axis=1), outputs.ours(model, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.one_backend("torch")  # others take half a minute to compile one
@pytest.mark.parametrize("name", DECODERS)
def test_what_is_generated_is_what_whole_texts_say(name):
    """Prompts of unequal length, by layers called directly."""
    case, _ = CHECKPOINTS[name]
    model, row = checkpoints.model(name), outputs.inputs(case)["token_ids"][0]
    prompts = [row[:6].tolist(), row[6:10].tolist()]
    generated = model.generate_ids(prompts, kt.GenerationConfig(max_new_tokens=2)).token_ids
    for prompt, token_ids in zip(prompts, generated, strict=True):
        logits = outputs.ours(model, {"token_ids": np.array([[*prompt, *token_ids]], "int32")})
        np.testing.assert_array_equal(logits[0, len(prompt) - 1 : -1].argmax(axis=-1), token_ids)
