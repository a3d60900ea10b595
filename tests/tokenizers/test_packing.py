import re

import numpy as np
import pytest

from keras_transformers.tokenizers import pack

pytestmark = pytest.mark.one_backend  # NumPy alone


def test_start_end_and_padding():
    packed = pack([[7, 9, 5, 4], [8, 4], []], padding_id=0, start_id=2, end_id=3)
    np.testing.assert_array_equal(packed.token_ids, [[2, 7, 9, 5, 4, 3], [2, 8, 4, 3, 0, 0], [2, 3, 0, 0, 0, 0]])
    np.testing.assert_array_equal(packed.lengths, [6, 4, 2])
    assert packed.token_ids.dtype == packed.lengths.dtype == np.int32
    assert packed.truncated == 0


def test_truncation_keeps_start_and_end_and_is_counted():
    packed = pack([[4, 5, 6, 7], [4, 5], [4, 5, 6]], padding_id=0, start_id=2, end_id=3, max_length=4)
    np.testing.assert_array_equal(packed.token_ids, [[2, 4, 5, 3]] * 3)
    assert packed.truncated == 2


def test_max_length_without_special_tokens():
    packed = pack([[4, 5, 6]], padding_id=0, max_length=2)
    np.testing.assert_array_equal(packed.token_ids, [[4, 5]])
    assert pack([[4, 5, 6]], padding_id=0, max_length=3).truncated == 0
    assert pack([[4]], padding_id=0, max_length=0).truncated == 1


def test_length_is_exact_and_limits_too():
    assert pack([[4]], padding_id=0, length=8).token_ids.shape == (1, 8)
    assert pack([[4]], padding_id=0, max_length=2, length=8).token_ids.shape == (1, 8)
    packed = pack([[4, 5, 6]], padding_id=0, end_id=3, max_length=9, length=3)
    np.testing.assert_array_equal(packed.token_ids, [[4, 5, 3]])
    assert packed.truncated == 1


def test_the_start_may_be_the_padding():
    np.testing.assert_array_equal(pack([[4], [4, 5]], padding_id=0, start_id=0).token_ids, [[0, 4, 0], [0, 4, 5]])


def test_rows_may_be_arrays():
    rows = [np.array([4, 5], dtype=np.uint16), np.array([], dtype=np.int64), (6,)]
    np.testing.assert_array_equal(pack(iter(rows), padding_id=0).token_ids, [[4, 5], [0, 0], [6, 0]])


def test_no_sequences_give_no_rows():
    assert pack([], padding_id=0).token_ids.shape == (0, 0)
    packed = pack([], padding_id=0, length=5)
    assert packed.token_ids.shape == (0, 5)
    assert packed.lengths.shape == (0,)


@pytest.mark.parametrize(
    ("sequences", "options", "error", "message"),
    [
        (
            [[4]],
            {"padding_id": None},
            ValueError,
            "Expected padding_id to be an integer from 0 to 2147483647, got None",
        ),
        ([[4]], {"padding_id": -1}, ValueError, "Expected padding_id to be an integer from 0 to 2147483647, got -1"),
        ([[4]], {"padding_id": 0, "end_id": True}, ValueError, "Expected end_id to be an integer"),
        ([[4]], {"padding_id": 0, "start_id": 1.0}, ValueError, "Expected start_id to be an integer"),
        (
            [[4]],
            {"padding_id": 0, "start_id": 2, "end_id": 3, "max_length": 1},
            ValueError,
            "Expected max_length to be an integer of at least 2 (the start and end ids take 2 positions), got 1",
        ),
        ([[4]], {"padding_id": 0, "length": -1}, ValueError, "Expected length to be an integer of at least 0"),
        ([[4]], {"padding_id": 0, "length": 4.0}, ValueError, "got 4.0. Give a larger one, or None for no limit."),
        ([[4], [1.5]], {"padding_id": 0}, TypeError, "got float64 of shape (1,) at index 1"),
        ([[True]], {"padding_id": 0}, TypeError, "got bool of shape (1,) at index 0"),
        ([4, 5], {"padding_id": 0}, TypeError, "got int64 of shape () at index 0"),
        (["text"], {"padding_id": 0}, TypeError, "Encode strings with Tokenizer.encode first."),
        ([[4], [5, -2]], {"padding_id": 0}, ValueError, "Expected ids from 0 to 2147483647, got -2 in the sequence at"),
        ([[2**40]], {"padding_id": 0}, ValueError, "got 1099511627776 in the sequence at index 0"),
        ([[4, 0]], {"padding_id": 0}, ValueError, "got padding_id 0 at position 1 of the sequence at index 0"),
    ],
)
def test_errors(sequences, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        pack(sequences, **options)
