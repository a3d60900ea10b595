"""Ids outside of the vocabulary are an error on every backend, called eagerly."""

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.models.token_ids import check_token_ids


@pytest.mark.each_keras
@pytest.mark.parametrize("wrong", [-1, 40, 2**30])
def test_ids_outside_of_the_vocabulary_are_refused(wrong):
    model = kt.CausalLM(kt.models.gpt(40, num_layers=1, hidden_dim=8, num_heads=2, max_length=12))
    ids = np.array([[1, 2, 39], [4, wrong, 0]], "int32")
    for inputs in (ids, {"token_ids": ids}, {"token_ids": ops.convert_to_tensor(ids)}):
        with pytest.raises(ValueError, match=r"Expected token ids in \[0, 40\) in token_ids, got ids from"):
            model(inputs)
    ids[1, 1] = 39
    assert np.isfinite(ops.convert_to_numpy(model(ids))).all()


def test_what_has_no_numbers_yet_passes():
    check_token_ids(None, 3)
    check_token_ids(np.zeros((0, 4), "int32"), 3)
