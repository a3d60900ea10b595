"""Folders that disagree with themselves, on purpose, over the registry: a flag and a tensor, two names of one tensor,
tensors that the configuration knows nothing of. Each computes what transformers computes and says so, or is refused."""

import dataclasses
import functools
import json
import warnings

import numpy as np
import pytest
import safetensors.numpy
from keras import ops

from keras_transformers.formats import preset
from keras_transformers.formats.ties import _names
from keras_transformers.layers.positions import Rotary, sinusoids
from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CHECKPOINTS, FIRST, soon
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

SCORERS = ("CausalLM", "MaskedLM", "Seq2SeqLM")


def _may_tie(case):
    """Whether the flag decides anything: RemBERT's head has a matrix of its own in any case."""
    return case.family.config(case.values | {"tie_word_embeddings": True}).head.tied


def _tensors_of_head(name):
    """What decides how the tensors of a model's embeddings and of its head are tied."""
    case, head = CHECKPOINTS[name]
    table = case.family.table(case.config, head)
    return head.task, repr(head.entries), len(table.copies), case.config.decoder is None


# The first case of each family, with its head over the vocabulary.
NAMES = [
    name
    for name, (case, head) in CHECKPOINTS.items()
    if head.task in SCORERS and name.partition("/")[0] == FIRST[case.model_type] and _may_tie(case)
]
ONE_OF_EACH = {_tensors_of_head(name): name for name in reversed(NAMES)}.values()


def each_head(names):
    """Names as a test's parameters: one of each kind of head; the others wait for `make test-all`."""
    return soon(ONE_OF_EACH, names)


@functools.cache
def flagged(name, tied):
    """A case whose flag is as given, and its head."""
    case, head = CHECKPOINTS[name]
    return dataclasses.replace(case, values=case.values | {"tie_word_embeddings": tied}), head


@functools.cache
def made(name, tied):
    """A case whose flag is as given, its head, and the tensors of its checkpoint."""
    case, head = flagged(name, tied)
    return case, head, checkpoints.tensors(case, head)


def names_of(name, tied=True):
    """The names of a checkpoint's token embeddings, of its head's matrix, of its bias, and of that bias's copies."""
    case, head, tensors = made(name, tied)
    table = case.family.table(case.config, head)
    first = next(each for each in _names(table, (head,), "head.dense", "weight"))
    words = next(original for copy, original in table.copies if copy == first and original in made(name, True)[2])
    biases = biases_of(name, tied)
    return words, first, dict(table.copies)[biases[0]] if biases else None, biases


def biases_of(name, tied=True):
    """The names of the copies of a head's bias."""
    case, head = flagged(name, tied)
    table = case.family.table(case.config, head)
    return [name for name in _names(table, (head,), "head", "bias") if name in dict(table.copies)]


BIASED = [name for name in NAMES if biases_of(name)]


def folder(path, name, tensors, tied=True):
    case, head, _ = made(name, tied)
    path.mkdir()
    (path / "config.json").write_bytes(preset.json_bytes(case.config_file(head)))
    safetensors.numpy.save_file(tensors, path / "model.safetensors", {"format": "pt"})
    return path


def other(array, seed=0):
    return (np.random.default_rng(seed).normal(size=array.shape) * 0.2).astype("float32")


def inputs_of(name):
    return outputs.inputs(CHECKPOINTS[name][0])


def opened(path, head, message=None):
    """Our model of a folder, which warns of one thing, or of nothing."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = checkpoints.load(path, head)
    told = [str(each.message) for each in told if issubclass(each.category, UserWarning)]
    if message is None:
        assert not told
    else:
        assert len(told) == 1 and message in told[0] and str(path) in told[0], told
    return model


def agrees(model, path, name, tied=True):
    """Whether transformers computes the same from a folder, and whether it comes back to the byte."""
    case, head, _ = made(name, tied)
    inputs = outputs.inputs(case)
    found, wanted = outputs.direct(model, inputs), outputs.theirs(reference.load(path, head), case, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5
    comes_back(model, path)


def comes_back(model, path):
    back = path.parent / "back"
    model.save_to_preset(back)
    for file in ("config.json", "model.safetensors"):
        assert (back / file).read_bytes() == (path / file).read_bytes(), file


@pytest.mark.parametrize("name", each_head(NAMES))
def test_a_tied_flag_beside_another_head(name, tmp_path):
    _, head, tensors = made(name, True)
    words, matrix, _, _ = names_of(name)
    tensors = tensors | {matrix: other(tensors[words])}
    path = folder(tmp_path / "theirs", name, tensors)
    model = opened(path, head, f"config.json says that {matrix} is {words} (tie_word_embeddings)")
    agrees(model, path, name)
    head_matrix = model.head.dense.kernel  # trained, both matrices are written
    head_matrix.assign(head_matrix + 1.0)
    model.save_to_preset(tmp_path / "trained")
    again = opened(tmp_path / "trained", head, f"config.json says that {matrix}")
    assert np.array_equal(ops.convert_to_numpy(again.head.dense.kernel), ops.convert_to_numpy(head_matrix))
    assert np.array_equal(safetensors.numpy.load_file(tmp_path / "trained/model.safetensors")[words], tensors[words])


@pytest.mark.parametrize("name", each_head(NAMES))
def test_a_tied_flag_beside_the_same_head(name, tmp_path):
    _, head, tensors = made(name, True)
    words, matrix, bias, biases = names_of(name)
    tensors = tensors | {matrix: tensors[words]} | {each: tensors[bias] for each in biases}
    path = folder(tmp_path / "theirs", name, tensors)
    agrees(opened(path, head), path, name)


@pytest.mark.parametrize("name", each_head(NAMES))
def test_a_tied_flag_beside_the_head_alone(name, tmp_path):
    _, head, tensors = made(name, True)
    words, matrix, _, _ = names_of(name)
    tensors = {matrix if each == words else each: array for each, array in tensors.items()}
    path = folder(tmp_path / "theirs", name, tensors)
    agrees(opened(path, head), path, name)


@pytest.mark.parametrize("name", each_head(NAMES))
def test_an_untied_flag_without_a_head_is_refused(name, tmp_path):
    _, head, tensors = made(name, False)
    matrix = names_of(name)[1]
    tensors = {each: array for each, array in tensors.items() if each != matrix}
    path = folder(tmp_path / "theirs", name, tensors, tied=False)
    with pytest.raises(ValueError, match=r"Expected .*since config.json says tie_word_embeddings: false, got none"):
        checkpoints.load(path, head)


@pytest.mark.parametrize("name", each_head(BIASED))
@pytest.mark.parametrize("with_matrix", [False, True])
def test_two_names_of_one_bias(name, with_matrix, tmp_path):
    _, head, tensors = made(name, True)
    words, matrix, bias, biases = names_of(name)
    tensors = tensors | {biases[0]: other(tensors[bias])} | ({matrix: tensors[words]} if with_matrix else {})
    path = folder(tmp_path / "theirs", name, tensors)
    model = opened(path, head, f"{biases[0]} and {bias} are two names of one bias, and hold other numbers")
    agrees(model, path, name)


@pytest.mark.parametrize("name", each_head(BIASED))
def test_an_untied_flag_beside_one_bias(name, tmp_path):
    """Version 4 of transformers wrote one tensor for the two names, and read it for both."""
    _, head, tensors = made(name, False)
    _, _, bias, biases = names_of(name)
    wanted = outputs.direct(
        checkpoints.load(folder(tmp_path / "two", name, tensors, tied=False), head), inputs_of(name)
    )
    tensors = {bias if each == biases[0] else each: array for each, array in tensors.items()}
    path = folder(tmp_path / "theirs", name, tensors, tied=False)
    model = opened(path, head, f"the head has no {biases[0]}, though config.json says tie_word_embeddings: false")
    np.testing.assert_array_equal(outputs.direct(model, inputs_of(name)), wanted)
    comes_back(model, path)


@pytest.mark.parametrize("name", each_head(BIASED))
def test_an_untied_flag_beside_two_biases(name, tmp_path):
    """Nothing says that they are one: the head has its own, and the other comes back."""
    _, head, tensors = made(name, False)
    _, _, bias, biases = names_of(name)
    path = folder(tmp_path / "theirs", name, tensors | {bias: other(tensors[biases[0]])}, tied=False)
    agrees(opened(path, head), path, name, tied=False)


BOTH = [name for name in NAMES if CHECKPOINTS[name][1].task == "Seq2SeqLM"]


def _tables(name, tied=True):
    """The names of the tables of encoder and decoder that are copies."""
    case, head, _ = made(name, tied)
    words = names_of(name)[0]
    copies = case.family.table(case.config, head).copies
    return [copy for copy, original in copies if original == words and "embed_tokens" in copy]


@pytest.mark.parametrize("name", BOTH)
def test_tables_of_two_stacks_that_are_one(name, tmp_path):
    _, head, tensors = made(name, True)
    words, (encoder, decoder) = names_of(name)[0], sorted(_tables(name), reverse=True)
    same = tensors | {encoder: tensors[words], decoder: tensors[words]}
    path = folder(tmp_path / "same", name, same)
    agrees(opened(path, head), path, name)
    for each in (encoder, decoder):
        path = folder(tmp_path / each, name, same | {each: other(tensors[words])})
        with pytest.raises(ValueError, match=f"Expected the same numbers under two names of one tensor.*{each}"):
            checkpoints.load(path, head)


@pytest.mark.parametrize("name", [name for name in BOTH if name.partition("/")[0] in ("t5", "mt5", "umt5")])
@pytest.mark.parametrize("tied", [True, False])
def test_the_decoders_table_and_a_head_without_a_shared_table(name, tied, tmp_path):
    """MADLAD's T5."""
    case, head, tensors = made(name, False)
    words, matrix, _, _ = names_of(name)
    tensors = {_tables(name)[-1] if each == words else each: array for each, array in tensors.items()}
    path = folder(tmp_path / "theirs", name, tensors, tied)
    model = opened(path, head, "tie_word_embeddings" if tied else None)
    agrees(model, path, name, tied)


@pytest.mark.parametrize("name", each_head(NAMES))
def test_tensors_outside_of_the_body_come_back(name, tmp_path):
    _, head, tensors = made(name, True)
    extra = {"cls.species.weight": np.ones((3, 32), "float32"), "v_head.summary.bias": np.ones(1, "float32")}
    path = folder(tmp_path / "theirs", name, tensors | extra)
    agrees_without_unexpected = f"has no use for: {', '.join(extra)}. They change nothing, and come back"
    comes_back(opened(path, head, agrees_without_unexpected), path)


@pytest.mark.parametrize("name", each_head(NAMES))
def test_tensors_of_the_body_that_are_too_many_are_refused(name, tmp_path):
    _, head, tensors = made(name, True)
    inside = next(each for each in tensors if ".1." in each and "experts" not in each and each.endswith("weight"))
    more = [inside.replace(".1.", ".7.", 1), f"{inside.rpartition('.')[0]}_norm.weight", f"{inside[:-6]}zero_point"]
    path = folder(tmp_path / "theirs", name, tensors | dict.fromkeys(more, np.ones(3, "float32")))
    with pytest.raises(ValueError, match="do not fit the model") as error:
        checkpoints.load(path, head)
    for each in more:
        assert f"unknown {each} [" in str(error.value)


def test_a_config_says_what_it_said(tmp_path):
    """A contradiction that nobody resolved is not resolved on saving either."""
    name = next(name for name in NAMES if name.startswith("llama/"))
    _, head, tensors = made(name, True)
    words, matrix, _, _ = names_of(name)
    path = folder(tmp_path / "theirs", name, tensors | {matrix: other(tensors[words])})
    opened(path, head, "tie_word_embeddings").save_to_preset(tmp_path / "back")
    assert json.loads((tmp_path / "back" / "config.json").read_bytes())["tie_word_embeddings"] is True


@pytest.mark.parametrize("name", each_head([name for name in NAMES if CHECKPOINTS[name][1].task == "CausalLM"]))
def test_ids_of_minus_one_are_no_tokens(name, tmp_path):
    case, head, tensors = made(name, True)
    path = folder(tmp_path / "theirs", name, tensors)
    ids = {"pad_token_id": -1, "bos_token_id": -1, "eos_token_id": -1}
    (path / "config.json").write_bytes(preset.json_bytes(case.config_file(head) | ids))
    (path / "generation_config.json").write_bytes(preset.json_bytes(ids | {"eos_token_id": [-1, 7]}))
    model = opened(path, head)
    assert model.config.padding_id is None and model.generation.end_ids == (7,)
    inputs = outputs.inputs(case)
    inputs = {"token_ids": inputs["token_ids"][:1]}
    found, wanted = outputs.direct(model, inputs), outputs.theirs(reference.load(path, head), case, inputs)
    assert relative_error(found, wanted) <= 1e-5
    comes_back(model, path)


@pytest.mark.parametrize("name", each_head([name for name in NAMES if CHECKPOINTS[name][1].task != "CausalLM"]))
def test_an_encoder_without_a_padding_id_is_refused(name, tmp_path):
    case, head, tensors = made(name, True)
    path = folder(tmp_path / "theirs", name, tensors)
    (path / "config.json").write_bytes(preset.json_bytes(case.config_file(head) | {"pad_token_id": -1}))
    with pytest.raises(ValueError, match="pad_token_id: |an encoder without a padding_id"):
        checkpoints.load(path, head)


def _turning(name):
    """The name and the numbers of the frequencies that an old file of a case stores; None for a case without."""
    case, head = flagged(name, True)
    table = case.family.table(case.config, head)
    names = [each for each in table.ignored if each.endswith("rotary_emb.inv_freq")]
    attention = case.config.decoder.block.attention if names else None
    if attention is None or not isinstance(attention.positions, Rotary) or attention.positions.scaling is not None:
        return None
    width = int((attention.head_dim or case.config.hidden_dim // attention.num_heads) * attention.positions.fraction)
    frequencies = attention.positions.base ** (-np.arange(0, width, 2) / width)
    return table.prefix + names[0].format(n=0), frequencies.astype("float32")


@pytest.mark.parametrize("name", [name for name in NAMES if _turning(name)])
def test_frequencies_that_a_file_stores(name, tmp_path):
    case, head, tensors = made(name, True)
    stored, frequencies = _turning(name)
    for dtype in ("float32", "float16"):
        path = folder(tmp_path / dtype, name, tensors | {stored: frequencies.astype(dtype)})
        comes_back(opened(path, head), path)
    path = folder(tmp_path / "other", name, tensors | {stored: frequencies * 2})
    model = opened(path, head, f"stores other numbers as {stored} than its configuration describes")
    comes_back(model, path)
    inputs = outputs.inputs(case)
    plain = folder(tmp_path / "plain", name, tensors)
    found, wanted = outputs.direct(model, inputs), outputs.theirs(reference.load(plain, head), case, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5


@pytest.mark.parametrize("name", [name for name in BOTH if name.partition("/")[0] in ("marian", "pegasus")])
def test_sines_that_a_file_stores(name, tmp_path):
    case, head, tensors = made(name, True)
    positions = case.config.embeddings.positions
    sines = sinusoids(positions.max_length, case.config.hidden_dim, positions.layout)
    names = [f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")]
    path = folder(tmp_path / "theirs", name, tensors | dict.fromkeys(names, sines))
    agrees(opened(path, head), path, name)
    path = folder(tmp_path / "rounded", name, tensors | {names[0]: sines.astype("float16")})
    comes_back(opened(path, head), path)
    path = folder(tmp_path / "near", name, tensors | {names[0]: sines + np.float32(1e-4)})
    comes_back(opened(path, head, f"stores other numbers as {names[0]} than its configuration describes"), path)
    for count, other_sines in enumerate((sines[::-1].copy(), sines[:-1].copy())):
        path = folder(tmp_path / str(count), name, tensors | {names[1]: other_sines})
        with pytest.raises(ValueError, match=f"Expected sines and cosines as {names[1]} in .*, got other numbers"):
            checkpoints.load(path, head)


@pytest.mark.parametrize(
    ("name", "stored", "right"),
    [
        ("bert/BertForMaskedLM", "bert.embeddings.position_ids", np.arange(40)[None]),
        ("gpt2/GPT2LMHeadModel", "transformer.h.0.attn.bias", np.tril(np.ones((1, 1, 40, 40), "uint8"))),
    ],
)
def test_numbers_and_masks_that_a_file_stores(name, stored, right, tmp_path):
    _, head, tensors = made(name, True)
    path = folder(tmp_path / "right", name, tensors | {stored: right})
    comes_back(opened(path, head), path)
    path = folder(tmp_path / "other", name, tensors | {stored: right[..., ::-1].copy()})
    comes_back(opened(path, head, f"stores other numbers as {stored} than its configuration describes"), path)
