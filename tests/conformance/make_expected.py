"""Makes expected/, what transformers computes from the cases' checkpoints, and so every backend must, a file for each
family: `KERAS_BACKEND=torch python -m tests.conformance.make_expected`, or only some families, by their names."""

import pathlib
import sys

import numpy as np

from tests.conformance import outputs
from tests.conformance.cases import CHECKPOINTS

FOLDER = pathlib.Path(__file__).with_name("expected")


def kept(computed, name):
    """The part of a checkpoint's outputs that is stored: of those for each token some, over all of the texts."""
    case, _ = CHECKPOINTS[name]
    part = outputs.compared(computed, case, outputs.inputs(case))
    return part[:: len(part) // 12] if computed.ndim == 3 else part


def stored():
    """The outputs of all checkpoints by their names."""
    return {name: array for path in sorted(FOLDER.glob("*.npz")) for name, array in np.load(path).items()}


if __name__ == "__main__":
    from tests.conformance import reference

    families = {case.model_type for case, _ in CHECKPOINTS.values()}
    for family in sys.argv[1:] or sorted(families):
        expected = {}
        for name, (case, _) in CHECKPOINTS.items():
            if case.model_type == family:
                computed = outputs.theirs(reference.model(name), case, outputs.inputs(case))
                expected[name] = kept(computed, name)
        path = FOLDER / f"{family}.npz"
        np.savez_compressed(path, **expected)
        print(f"{path}: {path.stat().st_size} bytes")
