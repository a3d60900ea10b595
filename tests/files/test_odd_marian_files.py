"""Archives and YAML of Marian that are damaged, odd, or that claim memory."""

import io
import zipfile

import numpy as np
import pytest

from keras_transformers.files import flat_yaml, marian_folder, marian_items

pytestmark = pytest.mark.one_backend("torch")
OPTIONS = ("special:model.yml", np.zeros(3, "int8"))


def npy(array):
    content = io.BytesIO()
    np.lib.format.write_array(content, array)
    return content.getvalue()


def head(shape, kind="<f4"):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": kind, "fortran_order": False, "shape": shape})
    return content.getvalue()


def archive(path, *members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members:
            file.writestr(f"{name}.npy", content if isinstance(content, bytes) else npy(content))
    return path


def test_order_of_bytes_and_of_axes(tmp_path):
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    items = marian_items.MarianItems(archive(tmp_path / "m.npz", ("a", np.asfortranarray(array)), OPTIONS))
    assert np.array_equal(items["a"], array)
    with pytest.raises(ValueError, match="a of >f4, where float32, little-endian,"):
        marian_items.MarianItems(archive(tmp_path / "m.npz", ("a", array.astype(">f4"))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (head((10**13,)), r"0 bytes for a, whose shape \[10000000000000\] needs"),
        (head((10**30, 2)), "0 bytes for a, whose shape"),
        (head((0, 3)), "0 bytes for a, whose shape"),
        (head((2,)) + bytes(9), "9 bytes for a, whose shape"),
        (head((2,), "<f8") + bytes(16), "a of float64"),
        (b"\x93NUMPY\x01\x00\x05\x00(((((", "a broken head"),
        (b"\x93NUMPY\x02\x00\x05\x00(((((", r"a of version \(2, 0\)"),
        (b"", "a broken head"),
    ],
)
def test_an_array_that_claims_more_than_it_holds(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"Expected a model of Marian in .*{message}"):
        marian_items.MarianItems(archive(tmp_path / "m.npz", ("a", content)))


def test_two_members_of_a_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(tmp_path / "m.npz", ("a", np.zeros(2, "f4")), ("a", np.ones(2, "f4")))
    with pytest.raises(ValueError, match="two members 'a.npy'"):
        marian_items.MarianItems(tmp_path / "m.npz")


def test_a_folder_with_a_damaged_archive_is_another_kind_of_folder(tmp_path):
    content = archive(tmp_path / "m.npz", OPTIONS).read_bytes()
    assert marian_folder.is_marian(tmp_path)
    directory = content.rindex(b"PK\x01\x02")
    for at, value in ((6, 99), (46, 0xFF)):  # a version of zip that none has; a name that is no UTF-8
        damaged = bytearray(content)
        damaged[directory + at], damaged[directory + 9] = value, 8
        (tmp_path / "m.npz").write_bytes(damaged)
        assert not marian_folder.is_marian(tmp_path)
        with pytest.raises(ValueError, match="a broken or truncated archive"):
            marian_items.MarianItems(tmp_path / "m.npz")


def test_int8_cannot_hold_what_is_not_finite():
    with pytest.raises(ValueError, match="Expected finite numbers in encoder_l1_self_Wq for int8"):
        marian_items.int8("encoder_l1_self_Wq", np.array([[np.nan, 1.0]], "f4"))


@pytest.mark.parametrize("piece", ["\u3000", "\xa0", "a\x85b", "a\u2028b"])
def test_only_spaces_and_line_feeds_of_ascii_separate(piece):
    assert flat_yaml.parse(f"{piece}: 17\r\nb: 1", "vocab.yml") == {piece: 17, "b": 1}


@pytest.mark.parametrize("text", ["a:", "http:", "a ", "_ :", "#", "# a", "\u3000", "~", "1e5", "a: b"])
def test_texts_with_signs_of_yaml_come_back(text):
    values = {text: text, "list": [text]}
    assert flat_yaml.parse(flat_yaml.dump(values), "a file") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("? x\ny: 1", "no value for 'x'"),
        ("y: 1\n? x", "a value for 'x' at the end"),
        ("normalize: 1e999", "a number that is too large"),
    ],
)
def test_yaml_that_would_lose_something(text, message):
    with pytest.raises(ValueError, match=message):
        flat_yaml.parse(text, "a file")


def test_a_comment_is_no_value():
    assert flat_yaml.parse("a: # later\nb: 1 # one", "a file") == {"a": None, "b": 1}


@pytest.mark.parametrize("name", ["~", "5", r'"a\0b"', "../m.npz"])
def test_names_that_no_file_has(tmp_path, name):
    (tmp_path / "decoder.yml").write_text(f"models: [{name}]\nvocabs: [a, b]\n")
    with pytest.raises(ValueError, match="Expected files in the folder of"):
        marian_folder.find(tmp_path)
