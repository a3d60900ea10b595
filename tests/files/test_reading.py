"""Files of strangers: only plain ones are opened, and only what JSON can say is read."""

import os
import pathlib

import pytest

from keras_transformers.files.reading import is_plain, parse, read_bytes, read_object, read_text, shown

pytestmark = pytest.mark.one_backend("torch")


def test_a_file_and_a_link_to_one_are_plain_and_nothing_is_not(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "link").symlink_to(file)
    assert is_plain(file) and is_plain(tmp_path / "link") and not is_plain(tmp_path / "none" / "file")
    assert read_text(tmp_path / "link") == "x"


@pytest.mark.skipif(os.name != "posix", reason="named pipes and devices")
def test_what_is_no_file_is_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "lost").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    kinds = {"pipe": "a named pipe", "folder": "a folder", "lost": "a link to nothing", "zeros": "a device"}
    for name, kind in kinds.items():
        with pytest.raises(ValueError, match=f"Expected a file at .*{name}, got {kind}"):
            read_bytes(tmp_path / name)
    with pytest.raises(ValueError, match="Expected a file at .*loop, got: "):
        is_plain(tmp_path / "loop")
    with pytest.raises(FileNotFoundError, match="Expected a file at .*none, found nothing"):
        read_bytes(tmp_path / "none")


def test_a_text_of_gigabytes_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**31)
    with pytest.raises(ValueError, match="Expected at most 1073741824 bytes in .*large, got 2147483648"):
        read_bytes(tmp_path / "large")


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "Expected JSON in x, got Expecting property name"),
        ("[" * 100_000, "nested thousands deep"),
        ('{"a": ' + "9" * 6000 + "}", "got a number of 6000 digits"),
        ('{"a": NaN}', "got NaN, which is no finite number"),
        ('{"a": [-Infinity]}', "got -Infinity, which is no finite number"),
        ('{"a": 1e400}', "got 1e400, which is no finite number"),
        ('{"a": "\\ud800"}', "got a lone surrogate"),
        ('{"a": 1, "b": 2, "a": 3}', "got 'a' twice, with different values"),
    ],
)
def test_json_that_no_program_should_go_on_with(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, "x")


def test_json_that_is_fine():
    values = parse('{"a": 1, "a": 1, "b": 1000000000000000019884624838656, "c": "\\ud83d\\ude00", "d": "NaN"}', "x")
    assert values == {"a": 1, "b": 10**30 + 19884624838656, "c": "😀", "d": "NaN"}


def test_an_object_is_asked_for(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"Expected a JSON object .* in .*list.json, got a list"):
        read_object(tmp_path / "list.json")
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(ValueError, match="Expected UTF-8 text in .*latin.json, got byte 0xe9 at 1"):
        read_object(tmp_path / "latin.json")
    assert read_object(tmp_path / "none.json", missing={}) == {}
    assert read_object(pathlib.Path(tmp_path / "none.json"), missing={"a": 1}) == {"a": 1}


def test_values_are_shown_in_short():
    bomb = ["x"] * 9
    for _ in range(30):
        bomb = [bomb] * 9
    assert len(shown(bomb)) <= 81 and len(shown("y" * 10**6)) <= 81
    assert shown(3) == "3" and shown("x") == "'x'"
