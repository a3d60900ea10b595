"""One `translate`, as a reader follows it: from the task down to the layers, through few files, and never back up."""

import contextlib
import pathlib
import sys

import pytest

import keras_transformers as kt
from tests.tasks.test_seq2seq_lm import SOURCES, TARGETS, make
from tests.test_layout import PACKAGE, ROOMS, room

MOST_FILES = 20  # of one call, beside the model that computes (layers, models, backends) and the wrappers
# Modules beside the rooms wrap functions of every room: checks of arguments and of records, advice on memory.
WRAPPERS = ("", "files")
# Views of layers stand between the layers, and look attributes up. They are part of the model that computes. The loops
# of a backend run the functions that they are given.
VIEWS = ("arrays.py", "direct.py", "execution.py")
LOOKED_UP = ("__getattr__",)


@contextlib.contextmanager
def followed():
    """The pairs of files, calling and called, of all calls inside of the package."""
    calls, stack, prefix = set(), [], f"{PACKAGE}{pathlib.os.sep}"

    def follow(frame, event, argument):
        file = frame.f_code.co_filename
        if event not in ("call", "return") or not file.startswith(prefix) or frame.f_code.co_name in LOOKED_UP:
            return
        if event == "return":
            stack.pop()
            return
        file = pathlib.Path(file).relative_to(PACKAGE).as_posix()
        if stack:
            calls.add((stack[-1], file))
        stack.append(stack[-1] if stack and file.endswith(VIEWS) else file)

    sys.setprofile(follow)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def room_of(file):
    return room(file.removesuffix(".py").replace("/", "."))


@pytest.mark.one_backend("torch")  # where each step is a call
@pytest.mark.parametrize("num_beams", [1, 2])
def test_translate_reads_forward(num_beams):
    translator = make(kt.Tokenizer.train(SOURCES + TARGETS, vocabulary_size=300))
    # Without end ids no text is cut, and no warning is given.
    settings = {"num_beams": num_beams, "max_new_tokens": 4, "end_ids": ()}
    translator.translate(SOURCES[:2], **settings)
    with followed() as calls:
        translator.translate(SOURCES[:2], **settings)
    files = {file for pair in calls for file in pair if not file.endswith(VIEWS)}
    beside = {file for file in files if room_of(file) not in ("backends", "layers", "models", *WRAPPERS)}
    assert len(beside) <= MOST_FILES, sorted(beside)
    between = {pair for pair in calls if not any(room_of(file) in WRAPPERS or file.endswith(VIEWS) for file in pair)}
    up = {(one, other) for one, other in between if ROOMS.index(room_of(other)) > ROOMS.index(room_of(one))}
    assert not up
    back = {(one, other) for one, other in between if one < other and (other, one) in between}
    assert not back
