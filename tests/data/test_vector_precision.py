import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.vector_precision import PRECISIONS

pytestmark = pytest.mark.one_backend("torch")
VECTORS = np.random.default_rng(0).normal(size=(120, 12)).astype("float32")
VECTORS[:, 3] = 0.5  # no range at all


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bits_are_those_of_sentence_transformers(precision):
    theirs = pytest.importorskip("sentence_transformers").quantize_embeddings
    ranges = np.stack([VECTORS.min(0) / 2, VECTORS.max(0) / 2])
    several = [VECTORS[:70], VECTORS[70:71], VECTORS[71:]]
    for ours, other in (
        (kt.quantize_embeddings(VECTORS, precision), theirs(VECTORS, precision)),
        (kt.quantize_embeddings(VECTORS[:3], precision, ranges=ranges), theirs(VECTORS[:3], precision, ranges)),
        (kt.quantize_embeddings(VECTORS[0], precision, ranges=ranges), theirs(VECTORS[0], precision, ranges)),
        (
            kt.quantize_embeddings(VECTORS[:3], precision, calibration=VECTORS),
            theirs(VECTORS[:3], precision, calibration_embeddings=VECTORS),
        ),
        *zip(kt.quantize_embeddings(several, precision), theirs(several, precision), strict=True),
        (kt.quantize_embeddings(VECTORS[:0], precision), theirs(VECTORS[:0], precision)),
    ):
        assert ours.dtype == other.dtype
        np.testing.assert_array_equal(ours, other)


def test_what_cannot_be_quantized():
    for arguments, error, message in (
        ((VECTORS, "int4"), ValueError, "one of int8, uint8, binary, ubinary, got 'int4' .did you mean 'int8'"),
        ((VECTORS.astype("int8"), "int8"), TypeError, "Expected vectors of floats to quantize, got int8"),
        ((VECTORS[0], "int8"), ValueError, "Expected ranges or calibration vectors to quantize a single vector"),
    ):
        with pytest.raises(error, match=message):
            kt.quantize_embeddings(*arguments)
    with pytest.raises(ValueError, match=r"Expected ranges of shape \(2, 12\), as wide as the vectors, got \(2, 3\)"):
        kt.quantize_embeddings(VECTORS, ranges=VECTORS[:2, :3])
    with pytest.warns(UserWarning, match="The ranges of 12 columns are taken from 9 vectors"):
        kt.quantize_embeddings(VECTORS[:9])
