"""Reading of untrusted files: only plain files are opened, and their content is checked at every step.

    path ──► is_plain ──► bytes ──► text ──► JSON         each step that fails has its own message

A named pipe would make a reader wait for ever, a device never ends, and a link may lead to nothing: all of these are
refused. A link to a plain file is accepted, wherever it leads: the Hugging Face cache consists of such links.
"""

import json
import math
import pathlib
import re
import stat
from typing import Any

# The most bytes of a text file, which is read as a whole. The largest published tokenizer.json has 40 MB.
MOST_TEXT = 2**30
_AGAIN = "Download or save it again."
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Signs of a number beyond all floats, or of a lone surrogate. Only texts with these signs get the expensive checks.
_ODD = re.compile(r"NaN|Infinity|[0-9]{300}|[eE]\+?[0-9]{3}|\\u[dD][89a-fA-F]")


def is_plain(path: pathlib.Path) -> bool:
    """Return whether a plain file is at `path`; False if nothing is.

    Raises:
        ValueError: if something else is there, such as a folder, a named pipe, or a link to nothing.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ValueError(f"Expected a file at {path}, got a link to nothing. {_AGAIN}") from None
        return False
    except OSError as error:  # a link to itself
        raise ValueError(f"Expected a file at {path}, got: {error.strerror}. {_AGAIN}") from None
    if stat.S_ISREG(mode):
        return True
    kind = next((name for test, name in _KINDS if test(mode)), "something else")
    raise ValueError(f"Expected a file at {path}, got {kind}. {_AGAIN}")


def read_bytes(path: pathlib.Path) -> bytes:
    """Read the content of a plain file.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if something else is there, or a file too large for text.
    """
    if not is_plain(path):
        raise FileNotFoundError(f"Expected a file at {path}, found nothing. Check the path.")
    if (size := path.stat().st_size) > MOST_TEXT:
        raise ValueError(f"Expected at most {MOST_TEXT} bytes in {path}, got {size}. {_AGAIN}")
    return path.read_bytes()


def read_text(path: pathlib.Path) -> str:
    """Read the content of a plain file as text.

    Raises:
        FileNotFoundError, ValueError: as `read_bytes`; also a ValueError if the content is not UTF-8.
    """
    content = read_bytes(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected UTF-8 text in {path}, got byte {content[error.start]:#04x} at {error.start}. {_AGAIN}"
        ) from None


def read_object(path: pathlib.Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read the object in a JSON file as a dictionary; return `missing`, unless it is None, if there is no file.

    Raises:
        FileNotFoundError, ValueError: as `read_text` and `parse`; also a ValueError if the value is not an object.
    """
    if missing is not None and not is_plain(path):
        return missing
    value = parse(read_text(path), path)
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object ({{…}}) in {path}, got a {type(value).__name__}. {_AGAIN}")
    return value


def parse(text: str, where: object) -> Any:
    """Parse a JSON text with finite numbers, whole characters, and no key twice with different values.

    Args:
        text: the text of a whole file.
        where: the file's name in messages.

    Raises:
        ValueError: for any other text.

    Example:
        >>> parse('{"epochs": 3}', "state.json")
        {'epochs': 3}
    """
    odd = _ODD.search(text) is not None
    numbers: dict[str, Any] = {"parse_constant": _finite, "parse_float": _finite, "parse_int": _whole} if odd else {}
    try:
        value = json.loads(text, object_pairs_hook=_object, **numbers)
        if odd:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected JSON in {where}, got {error.msg} at line {error.lineno}, column {error.colno}. {_AGAIN}"
        ) from None
    except UnicodeEncodeError:
        problem = "a lone surrogate, which is half of a character"
    except RecursionError:
        problem = "lists or objects nested thousands deep"
    except ValueError as error:
        problem = str(error)
    raise ValueError(f"Expected JSON that a program can hold in {where}, got {problem}. {_AGAIN}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20}, which is no finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > 300:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        for name, value in pairs:
            if values[name] != value:
                raise ValueError(f"{name!r} twice, with different values")
    return values


def shown(value: object, most: int = 80) -> str:
    """Return the `repr` of a value, cut to `most` characters; quick even if the value's parts are shared."""
    import reprlib

    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = 6
    short.maxlevel = 4
    text = short.repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
