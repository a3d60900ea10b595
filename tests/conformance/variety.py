"""The fewest models that hold every kind of part, for what need not be tried with every model.

A backend can compute a part otherwise than another backend does, such as a kind of attention, of norm or of positions.
That two families are made of the same parts is no reason to compile both. A part is a class of record with those of its
fields that differ from their defaults, and each name, switch and class of record that a field holds.
"""

import dataclasses

from keras_transformers.records import is_record
from tests.conformance.cases import CHECKPOINTS, MODELS, ONE_HEAD

# Which tasks compute with a field, where not all do.
READ_BY = {
    "head": {"MaskedLM", "CausalLM", "Seq2SeqLM"},
    "pooler": {"TextClassifier"},
    "token_head": {"TokenClassifier"},
    "span_head": {"QuestionAnswerer"},
    "padding_id": {"MaskedLM", "TextClassifier", "Seq2SeqLM"},  # a decoder alone is told where its texts begin
    "reading": {"TextEmbedder", "TextClassifier", "QuestionAnswerer"},
}


def _parts(record):
    """All parts of a configuration."""
    set_fields = set()
    for field in dataclasses.fields(record):
        value, place = getattr(record, field.name), (type(record).__name__, field.name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value != field.default and not is_number:
            set_fields.add(field.name)
        for each in value if isinstance(value, tuple) else (value,):
            if is_record(each):
                yield (*place, type(each).__name__)
                yield from _parts(each)
            elif each is None or isinstance(each, (bool, str)):
                yield (*place, each)
            else:  # of numbers, whether there is one
                yield (*place, bool(each))
    yield type(record).__name__, frozenset(set_fields)


def fewest(parts):
    """Of names with their sets of parts, by turns the one that has most of the parts which none has yet."""
    left, chosen = set().union(*parts.values()), []
    while left:
        chosen.append(max(parts, key=lambda name: len(parts[name] & left)))
        left -= parts[chosen[-1]]
    return chosen


def _first(keys):
    """The first name of each key."""
    return list({key: name for name, key in reversed(keys.items())}.values())


def _written(name):
    """What decides how the tensors of a head are written."""
    head = CHECKPOINTS[name][1]
    return head.task, repr(head.entries)


def _read_by_its_head(name):
    """A checkpoint's architecture, and the fields that not all heads read: those that this one does."""
    case, head = CHECKPOINTS[name]
    config = case.config_with(head)
    fields = [field for field, tasks in READ_BY.items() if head.task in tasks]
    return case.model_type, head.architecture, [repr(getattr(config, field)) for field in fields]


OF_EVERY_PART = fewest(
    {
        name: {*_parts(config), (CHECKPOINTS[name][1].task, config.encoder is None, config.decoder is None)}
        for name, (config, _) in zip(ONE_HEAD, MODELS.values(), strict=True)
    }
)
# And of every kind of head.
OF_EVERY_HEAD = [*OF_EVERY_PART, *_first({name: _written(name) for name in CHECKPOINTS})]
# One of each model, and each head as often as it reads other fields: a head sees of its model nothing but vectors.
ONE_HEAD_OR_ANOTHER = [
    *dict.fromkeys([*ONE_HEAD, *_first({name: repr(_read_by_its_head(name)) for name in CHECKPOINTS})])
]
# And of every family: each has rows of its own for its configuration and its tensors.
OF_EVERY_FAMILY = [*OF_EVERY_HEAD, *_first({name: CHECKPOINTS[name][0].model_type for name in ONE_HEAD})]
