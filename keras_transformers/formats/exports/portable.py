r"""Regular expressions of a `tokenizer.json` that both of its readers understand: tokenizers and transformers.js.

tokenizers has the syntax of Oniguruma, transformers.js that of JavaScript with the flag `u`. Both know `\u00a0`, a
character as it is, and `(?![\s\S])`.

    Oniguruma       both
    \x{a0}          the character
    \A   \z         (?<![\s\S])   (?![\s\S])
    \p{Greek}       the ranges of its characters, as tokenizers finds them
"""

import json
import re
import typing

# The characters of the scripts that `tokenizers.normalization` names, as tokenizers 0.22 finds them: the first and the
# last code point of each range.
_SCRIPTS = {
    "Latin": (
        "41-5a 61-7a aa ba c0-d6 d8-f6 f8-2b8 2e0-2e4 1d00-1d25 1d2c-1d5c 1d62-1d65 1d6b-1d77 1d79-1dbe 1e00-1eff "
        "2071 207f 2090-209c 212a-212b 2132 214e 2160-2188 2c60-2c7f a722-a787 a78b-a7cd a7d0-a7d1 a7d3 a7d5-a7dc "
        "a7f2-a7ff ab30-ab5a ab5c-ab64 ab66-ab69 fb00-fb06 ff21-ff3a ff41-ff5a 10780-10785 10787-107b0 107b2-107ba "
        "1df00-1df1e 1df25-1df2a"
    ),
    "Greek": (
        "370-373 375-377 37a-37d 37f 384 386 388-38a 38c 38e-3a1 3a3-3e1 3f0-3ff 1d26-1d2a 1d5d-1d61 1d66-1d6a 1dbf "
        "1f00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fc4 1fc6-1fd3 "
        "1fd6-1fdb 1fdd-1fef 1ff2-1ff4 1ff6-1ffe 2126 ab65 10140-1018e 101a0 1d200-1d245"
    ),
    "Cyrillic": "400-484 487-52f 1c80-1c8a 1d2b 1d78 2de0-2dff a640-a69f fe2e-fe2f 1e030-1e06d 1e08f",
    "Armenian": "531-556 559-58a 58d-58f fb13-fb17",
    "Georgian": "10a0-10c5 10c7 10cd 10d0-10fa 10fc-10ff 1c90-1cba 1cbd-1cbf 2d00-2d25 2d27 2d2d",
    "Hebrew": "591-5c7 5d0-5ea 5ef-5f4 fb1d-fb36 fb38-fb3c fb3e fb40-fb41 fb43-fb44 fb46-fb4f",
    "Han": (
        "2e80-2e99 2e9b-2ef3 2f00-2fd5 3005 3007 3021-3029 3038-303b 3400-4dbf 4e00-9fff f900-fa6d fa70-fad9 "
        "16fe2-16fe3 16ff0-16ff1 20000-2a6df 2a700-2b739 2b740-2b81d 2b820-2cea1 2ceb0-2ebe0 2ebf0-2ee5d 2f800-2fa1d "
        "30000-3134a 31350-323af"
    ),
    "Hiragana": "3041-3096 309d-309f 1b001-1b11f 1b132 1b150-1b152 1f200",
    "Katakana": (
        "30a1-30fa 30fd-30ff 31f0-31ff 32d0-32fe 3300-3357 ff66-ff6f ff71-ff9d 1aff0-1aff3 1aff5-1affb 1affd-1affe "
        "1b000 1b120-1b122 1b155 1b164-1b167"
    ),
    "Hangul": (
        "1100-11ff 302e-302f 3131-318e 3200-321e 3260-327e a960-a97c ac00-d7a3 d7b0-d7c6 d7cb-d7fb ffa0-ffbe "
        "ffc2-ffc7 ffca-ffcf ffd2-ffd7 ffda-ffdc"
    ),
}
_SPECIAL = set("\\]^-[&~#/(){}.*+?$|")


def portable(content: bytes) -> bytes:
    """The bytes of a `tokenizer.json` with the same rules in both syntaxes."""
    values = json.loads(content)
    found = False

    def walk(value: typing.Any) -> typing.Any:
        nonlocal found
        if isinstance(value, dict):
            pattern = value.get("Regex")
            if isinstance(pattern, str):
                new = portable_pattern(pattern)
                found = found or new != pattern
                return {**value, "Regex": new}
            return {name: each if name == "vocab" else walk(each) for name, each in value.items()}
        return [walk(each) for each in value] if isinstance(value, list) else value

    rules = {name: walk(values.get(name)) for name in ("normalizer", "pre_tokenizer", "decoder") if name in values}
    if not found:
        return content
    return (json.dumps({**values, **rules}, indent=2, ensure_ascii=False) + "\n").encode()


def portable_pattern(pattern: str) -> str:
    r"""A regular expression of Oniguruma as one that JavaScript reads too.

    Example:
        >>> print(portable_pattern(r"[\x{2000}-\x{200a}]+\z"))
        [\u2000-\u200a]+(?![\s\S])
    """
    pattern = re.sub(r"\\p\{(\w+)\}", lambda match: _property(match[1]), pattern)
    pattern = re.sub(r"\\x\{([0-9a-fA-F]+)\}", lambda match: _character(int(match[1], 16)), pattern)
    return pattern.replace(r"\A", r"(?<![\s\S])").replace(r"\z", r"(?![\s\S])")


def _character(code: int) -> str:
    character = chr(code)
    return f"\\{character}" if character in _SPECIAL else f"\\u{code:04x}" if code < 0x10000 else character


def _property(name: str) -> str:
    r"""The property `\p{name}` inside a class of characters."""
    if name not in _SCRIPTS:
        return f"\\p{{{name}}}"
    ranges = [[_character(int(code, 16)) for code in each.split("-")] for each in _SCRIPTS[name].split()]
    return "".join("-".join(ends) for ends in ranges)
