"""The Fourier transform in the place of attention."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import EncoderBlock, FeedForwardConfig, Fourier, FourierMixing
from keras_transformers.layers.blocks import DecoderBlock
from tests.layers.reference import numbers, relative_error


@pytest.mark.parametrize("length", [1, 7, 12])
def test_it_is_the_real_part_of_two_transforms(length):
    x = numbers((2, length, 6))
    wanted = np.fft.fft(np.fft.fft(x, axis=2), axis=1).real
    assert relative_error(ops.convert_to_numpy(FourierMixing()(x)), wanted) <= 1e-6


def test_a_block_may_have_it_in_the_place_of_attention():
    block = EncoderBlock(attention=Fourier(), feed_forward=FeedForwardConfig(12))
    assert block(numbers((2, 5, 8))).shape == (2, 5, 8)
    assert block.compute_output_shape((None, None, 8)) == (None, None, 8)
    assert not block.self_attention.weights
    with pytest.raises(ValueError, match="Expected return_attention_scores=False, since a Fourier transform has no"):
        block(numbers((2, 5, 8)), return_attention_scores=True)
    with pytest.raises(ValueError, match="Expected an attention in a decoder, got a Fourier transform"):
        DecoderBlock(attention=Fourier(), feed_forward=FeedForwardConfig(12), cross_attention=False)
