"""Damage, chosen by a seed: what a download, a disk, an editor or an attacker makes of a file.

Every mutation takes a `random.Random` and the file's path, changes the file in place, and returns a few words that say
what was done.
"""

import json
import os
import struct

_DEEP = "[" * 100_000 + "]" * 100_000
# Values that stand where they do not belong. Each is JSON text, since some of them no JSON writer writes.
_VALUES = [
    *("null", "true", "false", "0", "-1", "1", "3", "7", "2147483648", "9223372036854775808", "100000000000000000000"),
    *("100000", "10000000", "100000000", "-0.5", "1.5", "1e308", "1e-320", "1e400", "NaN", "Infinity", "-Infinity"),
    *('""', '"x"', '"True"', '"1"', '"\\ud800"', '"../x"', '"/dev/zero"', '"a\\u0000b"', '"\\u202e"'),
    *("[]", "[1]", "[[]]", "[null]", "{}", '{"a": 1}', '{"0": "a", "1": "a"}', '[[1, "a"], {"b": [2]}]', "[-1, 5]"),
    "9" * 6000,
    "[" * 60 + "]" * 60,
    _DEEP,
    '"' + "y" * 300_000 + '"',
]
_PLACE = "\ue000"  # stands for a value until the text is written


def mutate(random, path):
    """Damage one file, in a way that fits its kind."""
    size = path.stat().st_size
    kinds = [(_bytes, 2), (_no_file, 0.15)]
    if path.suffix == ".json":
        kinds += [(_json_value, 9), (_json_text, 3)]
    elif path.suffix == ".safetensors" and size > 8:
        kinds += [(_header, 4), (_data_bits, 2)]
    elif path.suffix in (".yaml", ".txt", ".jinja"):
        kinds += [(_text, 4)]
    elif path.suffix == ".gguf":
        kinds += [(_start, 4), (_data_bits, 1)]
    else:
        kinds += [(_start, 2), (_data_bits, 1)]
    kinds, weights = zip(*kinds, strict=True)
    (kind,) = random.choices(kinds, weights)
    return f"{path.name}: {kind(random, path)}"


# Any file


def _bytes(random, path):
    data = bytearray(path.read_bytes())
    kind = random.choice(["flip", "flip", "cut", "empty", "zeros", "noise", "more", "twice", "drop", "insert"])
    at = random.randrange(len(data) + 1)
    if kind == "flip":
        for _ in range(random.choice([1, 1, 2, 8])):
            if data:
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "empty":
        data.clear()
    elif kind in ("zeros", "noise"):
        length = min(random.choice([1, 8, 100, 4096]), len(data) - at)
        data[at : at + length] = bytes(length) if kind == "zeros" else random.randbytes(length)
    elif kind == "more":
        data += random.randbytes(random.choice([1, 9, 5000]))
    elif kind == "twice":
        data *= 2
    elif kind == "drop":
        del data[at : at + random.choice([1, 2, 8, 64])]
    else:
        data[at:at] = random.choice([b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\xc3\x28", b"\xed\xa0\x80", b"{", b'"'])
    path.write_bytes(data)
    return f"{kind} at {at} of {len(data)}"


def _no_file(random, path):
    """What has the name is no file, or none that can be read."""
    path.unlink()
    kind = random.choice(["fifo", "folder", "loop", "lost link", "device", "gone"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.symlink_to({"loop": path.name, "lost link": "nowhere", "device": "/dev/zero"}[kind])
    return kind


def _data_bits(random, path):
    """Bits of numbers, behind any header: the last two thirds."""
    data = bytearray(path.read_bytes())
    first = len(data) // 3
    if path.suffix == ".safetensors":
        first = min(8 + struct.unpack("<Q", data[:8])[0], len(data) - 1)
    for _ in range(random.choice([1, 1, 3, 50])):
        data[random.randrange(first, len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)
    return "bits of numbers"


def _start(random, path):
    """Bytes near the beginning, where formats keep what they are."""
    data = bytearray(path.read_bytes())
    at = random.randrange(min(len(data), random.choice([32, 400, 4000])))
    length = random.choice([1, 1, 2, 4, 8])
    new = random.choice([b"\xff" * length, bytes(length), random.randbytes(length), (2**62).to_bytes(8, "little")])
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return f"{new.hex()} at {at}"


# JSON


def _json_value(random, path):
    value = json.loads(path.read_bytes())
    text = []
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        text.append(_change(random, value))
    path.write_bytes(_filled(random, json.dumps(value)).encode("utf-8", "surrogatepass"))
    return "; ".join(text)


def _change(random, value):
    """Change something in a structure, which is no value of its own."""
    places = list(_places(value, most=random.choice([40, 4000])))
    if not places:
        return "nothing"
    # The upper levels say more than the vocabulary below them.
    holder, key, depth = random.choices(places, [10.0**-depth for _, _, depth in places])[0]
    kind = random.choice(["replace"] * 6 + ["delete", "rename", "add", "nest"])
    if kind == "replace":
        holder[key] = _PLACE
    elif kind == "delete":
        del holder[key]
    elif kind == "nest":
        holder[key] = random.choice([[holder[key]], {"content": holder[key]}, [holder[key], holder[key]]])
    elif isinstance(holder, dict):
        new = random.choice(
            [f"{key}x", key.upper(), "", "num_labels", "rope_scaling", "auto_map", "quantization_config"]
        )
        holder[new] = holder.pop(key) if kind == "rename" else _PLACE
    else:
        holder.insert(key, _PLACE)
    return f"{kind} {key!r} at depth {depth}"


def _places(value, depth=0, most=4000):
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in items[:most]:
        yield value, key, depth
        yield from _places(inner, depth + 1, most)


def _filled(random, text):
    quoted = json.dumps(_PLACE)
    while quoted in text:
        text = text.replace(quoted, random.choice(_VALUES), 1)
    return text


def _json_text(random, path):
    """What no writer of JSON writes: doubled keys, odd numbers, another encoding."""
    text = path.read_text("utf-8")
    kind = random.choice(["twice", "number", "utf-16", "bom", "latin-1", "list", "comment", "key"])
    if kind == "twice":
        text = "{" + f'"model_type": {random.choice(_VALUES)}, ' + text.lstrip()[1:]
    elif kind == "number":
        places = [place for place, each in enumerate(text) if each in "0123456789"]
        at = random.choice(places or [0])
        text = text[:at] + random.choice(["9" * 6000, "1e999", "-", "0x1", "1_0", "00"]) + text[at + 1 :]
    elif kind == "list":
        text = random.choice([f"[{text}]", "null", "3", '"x"', _DEEP, "{}", "[]"])
    elif kind == "comment":
        text = f"// {text}"
    elif kind == "key":
        text = text.replace('"', random.choice(["'", '"\\ud800', '"\\u0000']), 2)
    encoding = {"utf-16": "utf-16", "bom": "utf-8-sig", "latin-1": "latin-1"}.get(kind, "utf-8")
    text = f'{{"é": 1, {text.lstrip()[1:]}' if kind == "latin-1" else text
    path.write_bytes(text.encode(encoding, "replace"))
    return kind


# Others


def _header(random, path):
    """The header of a safetensors file, written anew over the same data."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data):
        return "nothing"
    header = json.loads(data[8 : 8 + length])
    name = random.choice([each for each in header if each != "__metadata__"])
    kind = random.choice(["dtype", "shape", "offsets", "name", "any", "length"])
    if kind == "dtype":
        header[name]["dtype"] = random.choice(
            ["I32", "I64", "U8", "BOOL", "F16", "BF16", "F64", "F8_E4M3", "C64", "X", 3]
        )
    elif kind == "shape":
        header[name]["shape"] = random.choice([[], [0], [-1], [2**40], [1, 2, 3, 4, 5, 6], "x", [1.5], [2**70], None])
    elif kind == "offsets":
        header[name]["data_offsets"] = random.choice([[0, 0], [0, 2**60], [5, 1], [-1, 4], "x", [0], [0.0, 4.0]])
    elif kind == "name":
        header[random.choice(["x", "", "\ud800", "../y"])] = header.pop(name)
    elif kind == "any":
        _change(random, header)
    text = _filled(random, json.dumps(header)).encode("utf-8", "surrogatepass")
    length = random.choice([0, 1, 2**63, len(data) * 2]) if kind == "length" else len(text)
    path.write_bytes(struct.pack("<Q", length) + text + data[8 + struct.unpack("<Q", data[:8])[0] :])
    return f"{kind} of {name}"


_WORDS = [
    "&a [*a]",
    "!!python/object/apply:os.system ['true']",
    "1e400",
    ".nan",
    "{",
    "[" * 2000,
    "\t",
    "0o9",
    "~",
    "- x",
]
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


def _text(random, path):
    """Lines of a text file, and the words in them."""
    lines = path.read_text("utf-8").split("\n")
    kind = random.choice(["drop", "twice", "word", "number", "swap", "latin-1", "bomb", "long"])
    at = random.randrange(len(lines))
    if kind == "drop":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind in ("word", "number"):
        new = random.choice(
            _WORDS if kind == "word" else ["-1", "0", "1e400", "9" * 6000, "0.5", "true", "null", "[1, 2]"]
        )
        lines[at] = f"{lines[at].partition(':')[0]}: {new}"
    elif kind == "swap":
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "latin-1":
        lines.insert(at, "naïve: é")
    elif kind == "bomb":
        lines = [*_BOMB.split("\n"), *(f"{line.rstrip()} *j" if line.endswith(":") else line for line in lines)]
    else:
        lines[at] += "z" * 200_000
    path.write_bytes("\n".join(lines).encode("latin-1" if kind == "latin-1" else "utf-8", "replace"))
    return f"{kind} at line {at}"
