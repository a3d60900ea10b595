"""An LSTM in two directions, and scores of spans, compared with NumPy."""

import numpy as np
from keras import ops

from keras_transformers.layers.recurrent import BidirectionalLSTM
from keras_transformers.layers.spans import SpanScores
from tests.layers.reference import fill, numbers, relative_error


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _states(layer, x):
    """The states `[T, U]` of one direction over one text `[T, D]` without padding."""
    kernel, bias, state_kernel, state_bias = (
        ops.convert_to_numpy(weight).astype("float64") for weight in layer.weights
    )
    hidden = cell = np.zeros(layer.units)
    states = []
    for row in x:
        gates = row @ kernel + bias + hidden @ state_kernel + state_bias
        reads, keeps, candidate, writes = np.split(gates, 4)
        cell = _sigmoid(keeps) * cell + _sigmoid(reads) * np.tanh(candidate)
        hidden = _sigmoid(writes) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states)


def test_an_lstm_in_two_directions_sees_no_padding():
    layer, x, lengths = BidirectionalLSTM(3), numbers((3, 5, 4)), [5, 2, 1]
    layer.build(x.shape)
    fill(layer)
    found = ops.convert_to_numpy(layer(x, np.arange(5) < np.array(lengths)[:, None]))
    assert found.shape == layer.compute_output_shape(x.shape, (3, 5))
    for row, length in enumerate(lengths):
        text = x[row, :length]
        wanted = np.concatenate([_states(layer.to_end, text), _states(layer.to_start, text[::-1])[::-1]], -1)
        assert relative_error(found[row, :length], wanted) <= 1e-6


def _two_layers(layer, x):
    up, bias, down, last = map(ops.convert_to_numpy, layer.weights)
    return np.maximum(x @ up + bias, 0) @ down + last


def test_scores_of_spans():
    layer, words, labels = SpanScores(4, max_width=3), numbers((2, 5, 4)), numbers((2, 2, 4), seed=1)
    layer.build(words.shape)
    fill(layer)
    found = ops.convert_to_numpy(layer(words, labels))
    assert found.shape == layer.compute_output_shape(words.shape, labels.shape) == (2, 5, 3, 2)
    starts, ends = _two_layers(layer.start, words), _two_layers(layer.end, words)
    for first in range(5):
        for more in range(min(3, 5 - first)):
            both = np.maximum(np.concatenate([starts[:, first], ends[:, first + more]], -1), 0)
            wanted = np.einsum("bh,blh->bl", _two_layers(layer.out, both), _two_layers(layer.label, labels))
            assert relative_error(found[:, first, more], wanted) <= 1e-5
