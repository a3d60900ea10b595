"""Dense layers in groups of channels."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import (
    AttentionGroups,
    ExpertsConfig,
    FeedForward,
    FeedForwardGroups,
    GroupedDense,
    MultiHeadAttention,
)
from tests.layers.reference import fill, numbers, relative_error


def test_each_group_has_a_matrix_of_its_own():
    layer = GroupedDense(12, groups=2)
    x = numbers((2, 5, 8))
    layer.build(x.shape)
    fill(layer)
    kernel, bias = map(ops.convert_to_numpy, (layer.kernel, layer.bias))
    wanted = np.concatenate([x[..., :4] @ kernel[0], x[..., 4:] @ kernel[1]], axis=-1) + bias
    assert kernel.shape == (2, 4, 6)
    assert relative_error(ops.convert_to_numpy(layer(x)), wanted) <= 1e-6


def test_the_projections_of_a_record_are_grouped():
    layer = MultiHeadAttention(2, groups=AttentionGroups(query=2, key=4, value=1, output=2))
    layer.build((None, None, 8))
    shapes = [tuple(each.kernel.shape) for each in (layer.query, layer.key, layer.value, layer.output_projection)]
    assert shapes == [(2, 4, 4), (4, 2, 2), (8, 8), (2, 4, 4)]
    layer = FeedForward(12, groups=FeedForwardGroups(4, 1))
    layer.build((None, None, 8))
    assert [tuple(each.kernel.shape) for each in (layer.up, layer.down)] == [(4, 2, 3), (12, 8)]


def test_widths_that_do_not_divide():
    with pytest.raises(ValueError, match="Expected both widths to be multiples of groups=3, got 8 → 12"):
        GroupedDense(12, groups=3).build((None, None, 8))


@pytest.mark.parametrize("other", [{"gated": True}, {"experts": ExpertsConfig(2)}])
def test_groups_with_a_gate_or_experts(other):
    with pytest.raises(ValueError, match="Expected neither a gate nor experts with FeedForwardGroups"):
        FeedForward(12, groups=FeedForwardGroups(), **other)
