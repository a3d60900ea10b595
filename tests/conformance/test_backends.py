"""Each backend computes what transformers did (see make_expected.py), compiled too, and about that in bfloat16.

On PyTorch `test_parity.py` compares every checkpoint with transformers itself. Here the models are compared that hold
every kind of part between them (`variety.py`); `make test-all` compares all on each backend.
"""

import contextlib

import keras
import numpy as np
import pytest

from tests.conformance import checkpoints, make_expected, outputs
from tests.conformance.cases import CHECKPOINTS, soon
from tests.conformance.variety import OF_EVERY_PART, fewest
from tests.layers.reference import relative_error
from tests.quick_compilation import fast


def _one_of_each_family():
    """The last case of each family, with its classifier of texts, where it has one, or with what a decoder writes."""
    last = {}
    for name, (case, head) in CHECKPOINTS.items():
        writes = head.task in ("CausalLM", "Seq2SeqLM")
        reads = head.task == "TextClassifier" and case.config.decoder is None
        if writes or reads or case.model_type not in last:
            last[case.model_type] = name
    return list(last.values())


def _one_of_each_attention():
    """Of every kind of attention in every kind of stack; `make test-all` takes one of each family."""
    kinds = {name: CHECKPOINTS[name][0].attention for name in _one_of_each_family()}
    parts = {name: {(stacks, each) for each in (*found, windows)} for name, (stacks, found, windows) in kinds.items()}
    return fewest(parts), kinds


BACKEND = keras.backend.backend()
ON_TORCH = BACKEND == "torch"


@pytest.fixture(scope="module")
def expected():
    return make_expected.stored()


def test_every_checkpoint_has_its_outputs(expected):
    assert set(expected) == set(CHECKPOINTS), "Run python -m tests.conformance.make_expected."


@pytest.mark.parametrize("name", soon(OF_EVERY_PART))
def test_the_backends_agree(name, expected):
    # JAX compiles each operation of a model that is called by itself: one function costs it a fifth of that.
    through = compiled if BACKEND == "jax" else None
    found = outputs.ours(checkpoints.model(name), outputs.inputs(CHECKPOINTS[name][0]), through)
    assert relative_error(make_expected.kept(found, name), expected[name]) <= 1e-5


CHOSEN = soon(*_one_of_each_attention())
# Which of them JAX compiles as it does for users, and not as for other tests: one of every kind of stack.
OPTIMIZED = {CHECKPOINTS[name][0].attention[0]: name for name in _one_of_each_attention()[0]}.values()


# PyTorch takes half a minute to trace a model, and its tests of layers compile layers.
@pytest.mark.parametrize("name", soon((), _one_of_each_family()) if ON_TORCH else CHOSEN)
def test_compiled_is_the_same(name, expected):
    model, inputs = checkpoints.model(name), outputs.inputs(CHECKPOINTS[name][0])
    # The test above has compiled each on JAX, as tests do. Left are compiling as for users, and calling each operation.
    through = None if BACKEND == "jax" and name not in OPTIMIZED else compiled
    with _optimized() if name in OPTIMIZED else contextlib.nullcontext():
        found = outputs.ours(model, inputs, through)
    assert relative_error(make_expected.kept(found, name), expected[name]) <= 1e-5


@contextlib.contextmanager
def _optimized():
    if BACKEND != "jax":
        yield
        return
    import jax

    usual = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", usual)


def compiled(model):
    """A model as one compiled function of its inputs."""
    if BACKEND == "jax":
        return fast(lambda inputs: model(inputs))
    if BACKEND == "tensorflow":
        import tensorflow

        return tensorflow.function(lambda inputs: model(inputs), jit_compile=True)
    import torch

    torch._dynamo.reset()  # it compiles one function 8 times at most
    # traced as a whole; what a compiler makes of the trace is torch's own
    return torch.compile(lambda inputs: model(inputs), backend="eager", fullgraph=True)


# bfloat16 rounds by up to 2**-9 of a number. A dozen roundings a layer, over 5 layers, add up as a random walk does, to
# about 8 times that, and the worst of all outputs is about 4 times the usual one.
BFLOAT16 = 32 * 2**-9


def _in_bfloat16():
    """One head of each model, of a decoder that which writes. Other backends compile each operation first."""
    if not ON_TORCH:
        return CHOSEN
    names = [name for name, (case, head) in CHECKPOINTS.items() if not case.decodes or head.task == "CausalLM"]
    last = {CHECKPOINTS[name][0].config: name for name in names}
    parts = {CHECKPOINTS[name][0].config for name in OF_EVERY_PART}
    return soon([name for config, name in last.items() if config in parts], names)


@pytest.mark.parametrize("name", _in_bfloat16())
def test_in_bfloat16_it_is_about_the_same(name, expected):
    case, head = CHECKPOINTS[name]
    model = checkpoints.load(checkpoints.folder(name), head, dtype="bfloat16")
    assert {str(weight.dtype) for weight in model.weights if "seed" not in weight.path} == {"bfloat16"}
    found = outputs.ours(model, outputs.inputs(case), compiled if BACKEND == "jax" else None)
    assert np.isfinite(found).all()
    found, wanted = make_expected.kept(found, name), expected[name]
    errors = np.abs(found - wanted).max(axis=-1) / np.abs(wanted).max()
    # where experts are chosen, a rounding may choose another for some token
    decoder = case.config.decoder
    chooses = decoder is not None and any(each.experts is not None for each in decoder.feed_forwards)
    assert (np.median(errors) if chooses else errors.max()) <= BFLOAT16
