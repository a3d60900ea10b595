"""The suite notices every field: with any one changed, and the same weights, a model is refused or computes something
else. Two kinds of fields are left out: dropouts, which have a test of their own, and the longest length of a text.

Building a model costs most of the time, so a change is tried with the heads that read its field alone, and once in an
encoder, once in a decoder and once in a model with both. `make test-all` tries it in each model. A change of a block is
tried in stacks with one layer of each kind, and if nothing notices it there, in those of the case.
"""

import contextlib
import dataclasses
import functools
import re
from unittest import mock

import keras
import pytest

from keras_transformers.layers.positions import Sinusoidal
from keras_transformers.models.weights import assign, build_empty, named_weights
from keras_transformers.records import is_record
from tests.conformance import checkpoints, outputs
from tests.conformance.cases import CASES, CHECKPOINTS, FIRST, MODELS, task_class
from tests.conformance.changes import PATTERNS, corruptions
from tests.conformance.variety import READ_BY
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

TRAINING_ONLY = ("dropout", "input_dropout", "layer_dropout", "final_dropout")


def _fields(name):
    """The fields of a model's configuration that one of its heads computes with; where a head has a configuration of
    its own, those that are its own alone."""
    (config, names), usual = MODELS[name], CHECKPOINTS[name][0].config
    tasks = {CHECKPOINTS[each][1].task for each in names}
    fields = {field.name for field in dataclasses.fields(config)}
    own = {each for each in fields if getattr(config, each) != getattr(usual, each)}
    if config.decoder is None is not usual.decoder:  # an encoder without its decoder: all of it
        own = fields
    return {each for each in own or fields if READ_BY.get(each, tasks) & tasks}


@functools.cache
def _corruptions(name):
    """A model's configuration with each of those fields changed; of a family's later cases, those that its first has
    not. A token without a vector changes only the texts that hold it (tests/formats/test_marian.py)."""
    (config, _), usual = MODELS[name], CHECKPOINTS[name][0].config
    first, read = CASES[FIRST[CHECKPOINTS[name][0].model_type]].config, _fields(name)
    changed = [(path, each) for path, each in corruptions(config) if path.split(".")[0] in read]
    if usual != first:
        changed = [(path, each) for path, each in changed if _at(path, first) != _at(path, config)]
    return [(path, each) for path, each in changed if not (_is_a_length(path, config) or path.endswith(".zero_id"))]


def _kind(name, path="", before="", after=""):
    """What decides whether a change is noticed in one model as in another: its stacks, which one class computes. Two
    forms of GELU are nearly the same function, so that each family tries to exchange them in its blocks."""
    if ".block." in path and "gelu" in before and "gelu" in after:
        return CHECKPOINTS[name][0].model_type
    config, _ = MODELS[name]
    return config.encoder is None, config.decoder is None


@functools.cache
def _tried_before():
    """`(name, path, value)` of each change that an earlier model of the same kind has tried."""
    seen, repeated = set(), set()
    for name, (config, _) in MODELS.items():
        for path, changed in _corruptions(name):
            before, value = repr(_at(path, config)), repr(_at(path, changed))
            tried = _kind(name, path, before, value), path, before, value
            if tried in seen:
                repeated.add((name, path, value))
            seen.add(tried)
    return repeated


def _dropouts(config, path=()):
    """The paths of all dropouts of a record, as tuples of names."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if is_record(value):
            yield from _dropouts(value, (*path, field.name))
        elif field.name in TRAINING_ONLY:
            yield (*path, field.name)


@functools.cache
def _of_new_dropouts():
    """The paths of dropouts, by model: those that no earlier model of the same kind has."""
    seen, found = set(), {}
    for name, (config, _) in MODELS.items():
        kinds = {path: (_kind(name), path) for path in _dropouts(config) if path[0] in _fields(name)}
        paths = [path for path, kind in kinds.items() if kind not in seen]
        seen.update(kinds.values())
        if paths:
            found[name] = paths
    return found


def _at(path, record):
    """The value of a field of a record or of one inside it, or in a pattern; `...` where there is no such record."""
    for name, number in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
        record = getattr(record, name, ...)
        if number:
            record = record[int(number)] if record is not ... and int(number) < len(record) else ...
    return record


def _is_a_length(path, config):
    """Whether a field says how long texts may be, and nothing of what is computed."""
    sinusoidal = isinstance(config.embeddings.positions, Sinusoidal)
    return path.endswith(".context_length") or (sinusoidal and path.endswith(".max_length"))


def _changed(name, again=False):
    return [
        (path, config)
        for path, config in _corruptions(name)
        if not _is_for_training(path) and ((name, path, repr(_at(path, config))) in _tried_before()) == again
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_changed_field_is_noticed(name):
    assert _corruptions(name)
    assert _unnoticed(name, _changed(name)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_changed_field_is_noticed_again(name):
    assert _unnoticed(name, _changed(name, again=True)) == set()


def test_a_changed_field_that_does_nothing_would_be_told():
    name = next(iter(MODELS))
    changed = [(path, config) for path, config in _corruptions(name) if _is_for_training(path)]
    assert _unnoticed(name, changed) == {path for path, _ in changed} != set()


@pytest.mark.parametrize("name", _of_new_dropouts())
def test_each_dropout_changes_what_is_computed_in_training(name):
    (config, _), dropouts = MODELS[name], _of_new_dropouts()[name]
    without = functools.reduce(lambda config, path: _with(config, path, 0.0), _dropouts(config), config)
    assert not any(_differs_in_training(each, without) for each in _readers(name, *(path[0] for path in dropouts)))
    for path in dropouts:
        changed = _with(without, path, 0.999 if path[-1] == "layer_dropout" else 0.5)  # of few layers each goes
        assert any(_differs_in_training(each, changed) for each in _readers(name, path[0])), path


def _is_for_training(path):
    return path.split(".")[-1] in TRAINING_ONLY


def _unnoticed(name, changed):
    read = {path: _readers(name, path.split(".")[0]) for path, _ in changed}
    return {path for path, config in changed if not any(_notices(each, path, config) for each in read[path])}


def _readers(name, *fields):
    """The checkpoints of a model whose heads read one of these fields of its configuration."""
    _, names = MODELS[name]
    tasks = {each: CHECKPOINTS[each][1].task for each in names}
    return [each for each in names if any(tasks[each] in READ_BY.get(field, tasks.values()) for field in fields)]


def _differs_in_training(name, config):
    return relative_error(_computed(name, config, training=True), _right(name)) > 1e-4


def _notices(name, path, config):
    """Whether a checkpoint's weights are refused by a model of `config`, or it computes something else."""
    if ".block." in path and _differs(name, _shortened(config), _right(name, shortened=True)):
        return True
    return _differs(name, config, _right(name))


def _differs(name, config, right):
    case, _ = CHECKPOINTS[name]
    inputs = outputs.inputs(case)
    try:
        found = _computed(name, config)
    except ValueError:
        return True
    return relative_error(outputs.compared(found, case, inputs), outputs.compared(right, case, inputs)) > 1e-4


@functools.cache
def _right(name, shortened=False):
    model = checkpoints.model(name)
    if shortened:
        return _computed(name, _shortened(model.config))
    return outputs.direct(model, outputs.inputs(CHECKPOINTS[name][0]))


def _shortened(config):
    """A configuration whose stacks have one layer of each kind."""
    stacks = {name: getattr(config, name) for name in ("encoder", "decoder")}
    shorter = {
        name: dataclasses.replace(stack, num_layers=max(1, len(stack.pattern), len(stack.feed_forward_pattern)))
        for name, stack in stacks.items()
        if stack is not None and stack.num_distinct is None
    }
    return dataclasses.replace(config, **shorter)


def _computed(name, config, training=False):
    """What a model of `config` computes with a checkpoint's weights, those of layers that it lacks left out."""
    case, head = CHECKPOINTS[name]
    cls, values = task_class(head), case.config_file(head)
    weights = named_weights(checkpoints.model(name))
    with _refused_at_once(weights):
        model = build_empty(lambda: cls(config, **cls._read_values(values)))
    assign(model, {each: weight for each, weight in weights.items() if not _is_past_the_end(each, config)}, name)
    inputs = outputs.inputs(case)
    return outputs.ours(model, inputs, training=True) if training else outputs.direct(model, inputs)


@contextlib.contextmanager
def _refused_at_once(weights):
    """The first weight that is none of `weights` ends the building of a model, which `assign` would refuse in the
    end."""
    add_weight = keras.layers.Layer.add_weight

    def checked(layer, *args, **kwargs):
        weight = add_weight(layer, *args, **kwargs)
        known = weights.get(weight.path.replace("/", "."))
        if known is None or known.shape != weight.shape:
            raise ValueError(f"{weight.path} {weight.shape}")
        return weight

    with mock.patch.object(keras.layers.Layer, "add_weight", checked):
        yield


def _is_past_the_end(weight, config):
    """Whether a weight is one of a layer that a shortened stack leaves out."""
    found = re.match(r"(encoder|decoder)\.(?:block|positions)_(\d+)", weight)
    return found is not None and int(found[2]) >= getattr(config, found[1]).num_layers


def _with(record, path, value):
    """A record with another value at a path; a stack's patterns follow its block."""
    name, *rest = path
    new = _with(getattr(record, name), rest, value) if rest else value
    changed = {name: new}
    for pattern, field, _ in PATTERNS if name == "block" else ():
        dropout = {"dropout": getattr(new, field).dropout}
        changed[pattern] = tuple(dataclasses.replace(each, **dropout) for each in getattr(record, pattern))
    return dataclasses.replace(record, **changed)
