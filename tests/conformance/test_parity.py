"""transformers computes the same from the same checkpoint: hidden states of every layer, and each head's outputs."""

import numpy as np
import pytest
from keras import ops

from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CHECKPOINTS, ONE_HEAD, soon
from tests.conformance.variety import OF_EVERY_PART, ONE_HEAD_OR_ANOTHER
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")


@pytest.mark.parametrize("name", soon(ONE_HEAD_OR_ANOTHER))
def test_outputs_agree(name):
    case, _ = CHECKPOINTS[name]
    inputs = outputs.inputs(case)
    found, wanted = outputs.ours(checkpoints.model(name), inputs), outputs.theirs(reference.model(name), case, inputs)
    assert np.abs(wanted).max() > 0.1
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.parametrize("name", ONE_HEAD)
def test_each_layer_agrees(name):
    case, _ = CHECKPOINTS[name]
    inputs = outputs.inputs(case)
    found = checkpoints.model(name).backbone(inputs, return_hidden_states=True)
    wanted = outputs.their_outputs(reference.model(name), case, inputs, output_hidden_states=True)
    stacks = {"decoder_hidden_states": "hidden_states", "encoder_hidden_states": "encoder_hidden_states"}
    if "hidden_states" in wanted:  # of one stack
        stacks = {"hidden_states": "hidden_states"}
    for theirs, ours in stacks.items():
        real = outputs.real(case, inputs, ours)
        assert len(found[ours]) == len(wanted[theirs])
        for layer, other in zip(found[ours], wanted[theirs], strict=True):
            assert relative_error(ops.convert_to_numpy(layer)[real], other.numpy()[real]) <= 1e-5


@pytest.mark.parametrize("name", ONE_HEAD)
@pytest.mark.parametrize("length", [1, 7])
def test_short_texts_without_segments_agree(name, length):
    case, _ = CHECKPOINTS[name]
    inputs = outputs.inputs(case, segments=False, length=length)
    found, wanted = outputs.direct(checkpoints.model(name), inputs), outputs.theirs(reference.model(name), case, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.parametrize("name", [name for name in ONE_HEAD if not CHECKPOINTS[name][0].decodes])
def test_the_model_finds_the_padding_mask_by_itself(name):
    case, _ = CHECKPOINTS[name]
    inputs, model = outputs.inputs(case), checkpoints.model(name)
    given = {**inputs, "padding_mask": outputs.real(case, inputs, "encoder_hidden_states")}
    np.testing.assert_array_equal(outputs.direct(model, given), outputs.direct(model, inputs))


@pytest.mark.parametrize("name", OF_EVERY_PART)
def test_tasks_predict_what_their_models_compute(name):
    """By layers called directly, without what Keras does around each call (`backends/torch/direct.py`)."""
    case, _ = CHECKPOINTS[name]
    inputs, model = outputs.inputs(case), checkpoints.model(name)
    found, wanted = outputs.direct(model, inputs), outputs.ours(model, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5
