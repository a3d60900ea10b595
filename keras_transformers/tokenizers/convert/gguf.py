"""Tokenizers in the metadata of GGUF files: pieces in order, and the name of a way to split a text.

    tokenizer.ggml.model    pieces                             first, a text is
    "gpt2"                  BPE of bytes, with merges          split as tokenizer.ggml.pre names it: `SPLITS`
    "llama"                 SentencePiece's BPE: merges by     given a space in front; each space is "▁"
                            score, bytes for the rest

Control tokens are special tokens. Tokens that the user defined are found in a text as a whole, and the text after one
is given a space again, as in llama.cpp. Start and end tokens go around a text if `add_bos_token` and `add_eos_token`
say so; if they say nothing, llama.cpp's default counts.

Transformers 5 reads the same files differently in two cases; llama.cpp and the models' authors agree with this module.
SmolLM, StarCoder and Falcon split numbers before words. SentencePiece puts its space in front of a text that begins
with a space, too.

Source: https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

import dataclasses
from typing import Any, NoReturn

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from keras_transformers.files.gguf import NO_TOKEN, GGUFFile
from keras_transformers.tokenizers.convert.around import around_as_asked
from keras_transformers.tokenizers.convert.sentencepiece_model import merges_of

# The pattern of GPT-2 (Radford et al. 2019): a word with the space before it, numbers, signs.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# The pattern of GPT-4: any sign before a word, numbers by {digits}, line ends with the signs before them.
_WORDS_AND_LINES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The pattern of GPT-4o: words split where capitals begin, too, {ending} an English ending.
_CASED_WORDS = (
    r"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{ending}"
    r"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{ending}"
    r"|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclasses.dataclass(frozen=True)
class Split:
    """How a text is split before its bytes are merged.

    Attributes:
        names: the names of it in `tokenizer.ggml.pre`.
        patterns: split the text one after the other, at their matches.
        composed: whether accents are composed with their letters first (NFC).
        whole: whether a part that is a piece stays whole, whatever the merges say.
        start: whether a start token goes in front of a text if the file does not say.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    composed: bool = False
    whole: bool = False
    start: bool = False


SPLITS = (
    Split(("gpt-2", "phi-2"), (_WORDS,)),
    Split(("mpt", "olmo"), (_WORDS,), composed=True),
    Split(("smollm", "starcoder", "refact"), (r"\p{N}", _WORDS)),
    Split(("command-r",), (r"\p{N}", _WORDS), composed=True),
    Split(("falcon",), (r"[\p{P}$+<=>^~|`]+", _WORDS, r"[0-9][0-9][0-9]")),
    Split(("bloom",), (r" ?[^(\s|[.,!?…。，、।۔،])]+",)),
    Split(("dbrx", "smaug-bpe"), (_WORDS_AND_LINES.format(digits="{1,3}"),)),
    Split(
        ("llama-bpe", "llama3", "llama-v3", "falcon3"),
        (_WORDS_AND_LINES.format(digits="{1,3}"),),
        whole=True,
        start=True,
    ),
    Split(("qwen2", "deepseek-r1-qwen", "megrez"), (_WORDS_AND_LINES.format(digits=""),), composed=True),
    Split(("stablelm2",), (_WORDS_AND_LINES.format(digits=""),)),
    Split(("gpt-4o", "llama4"), (_CASED_WORDS.format(ending="(?i:'s|'t|'re|'ve|'m|'ll|'d)?", digits="{1,3}"),)),
    Split(("tekken",), (_CASED_WORDS.format(ending="", digits=""),), whole=True, start=True),
)

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6  # tokenizer.ggml.token_type
_IDS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # as they spell it
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}
# The ids that SentencePiece's trainer gives, if the file has none.
_SENTENCEPIECE_IDS = {"bos_token": 1, "eos_token": 2, "unk_token": 0}


def read_gguf(file: GGUFFile) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The engine that a file's metadata describes, and the `tokenizer_config.json` of such a tokenizer.

    Args:
        file: the file, opened.

    Raises:
        ValueError: for a file without a tokenizer, an unknown kind or split, and metadata that contradict themselves.

    Example:
        >>> engine, config = read_gguf(GGUFFile("SmolLM2-135M-Instruct.Q4_1.gguf"))  # doctest: +SKIP
        >>> config["eos_token"]  # doctest: +SKIP
        '<|im_end|>'
    """
    values = _Values(file)
    kind = values("model", str)
    if kind not in ("gpt2", "llama"):
        raise ValueError(
            f"Expected tokenizer.ggml.model in {file.path} to be 'gpt2' or 'llama', got {kind!r}. Load the tokenizer "
            "of the model that it was made from."
        )
    tokens, types = values("tokens", list), values.numbers("token_type", None)
    types = [_NORMAL] * len(tokens) if types is None else types
    values.expect(len(types) == len(tokens), f"{len(types)} types of {len(tokens)} tokens")
    if kind == "llama":  # they are found in a text before its spaces become "▁"
        pairs = zip(tokens, types, strict=True)
        tokens = [token.replace("▁", " ") if type == _USER_DEFINED else token for token, type in pairs]
    ids = {token: i for i, token in enumerate(tokens)}
    values.expect(len(ids) == len(tokens), "two tokens that are spelled the same")
    config = _special_tokens(values, tokens, _SENTENCEPIECE_IDS if kind == "llama" else {})
    build = _byte_level if kind == "gpt2" else _sentencepiece
    try:
        engine, start = build(values, tokens, types, config)
    except ValueError:
        raise
    except Exception as error:  # the engine raises plain `Exception`s
        raise ValueError(f"Expected a tokenizer in {file.path}, got {error}. Convert the model again.") from None
    marked = {_CONTROL: True, _USER_DEFINED: False}
    for token, type in zip(tokens, types, strict=True):
        if type in marked:
            engine.add_tokens([AddedToken(token, normalized=False, special=marked[type])])
    config |= {
        "add_bos_token": values("add_bos_token", bool, start),
        "add_eos_token": values("add_eos_token", bool, False),
    }
    engine.post_processor = around_as_asked(engine, config, config)
    template = file.metadata.get("tokenizer.chat_template")
    return engine, config | ({} if template is None else {"chat_template": template})


def _special_tokens(values: "_Values", tokens: list[str], defaults: dict[str, int]) -> dict[str, Any]:
    """The special tokens by role, for a `tokenizer_config.json`."""
    config: dict[str, Any] = {}
    for role, name in _IDS.items():
        i = values(name, int, defaults.get(role))
        if i is not None and i != NO_TOKEN:
            values.expect(0 <= i < len(tokens), f"{name}={i} of {len(tokens)} tokens")
            config[role] = tokens[i]
    return config


class _Values:
    """The metadata under `tokenizer.ggml.` in a file."""

    def __init__(self, file: GGUFFile):
        self._metadata = file.metadata
        self._path = file.path

    def __call__(self, name: str, kind: type, *default: Any) -> Any:
        """A value of a kind; without a default it must be there."""
        value = self._metadata.get(f"tokenizer.ggml.{name}", *default)
        if value is None and default:
            return None
        self.expect(isinstance(value, kind), f"{'none' if value is None else repr(value)[:40]} as {name}")
        return value

    def numbers(self, name: str, *default: Any) -> Any:
        """A list of numbers; without a default it must be there."""
        value = self._metadata.get(f"tokenizer.ggml.{name}", *default)
        if value is None and default:
            return None
        self.expect(hasattr(value, "tolist"), f"{'none' if value is None else repr(value)[:40]} as {name}")
        return value.tolist()

    def expect(self, fits: bool, got: str) -> None:
        """Refuse the file unless it `fits`, and name its value."""
        if not fits:
            raise ValueError(
                f"Expected a tokenizer under tokenizer.ggml in {self._path}, got {got}. Convert the model again, or "
                "give a tokenizer."
            )

    def refuse_split(self, name: str | None) -> NoReturn:
        """Refuse a way to split that is not among `SPLITS`."""
        known = ", ".join(name for split in SPLITS for name in split.names)
        raise ValueError(
            f"Expected tokenizer.ggml.pre in {self._path} to be one of {known}, got {name!r}. Load the tokenizer of "
            "the model that it was made from."
        )


def _byte_level(
    values: _Values, tokens: list[str], types: list[int], special: dict[str, str]
) -> tuple[tokenizers.Tokenizer, bool]:
    """The engine of byte-level BPE, and whether a text begins with the start token by default."""
    name = values("pre", str, None)
    split = next((split for split in SPLITS if name in split.names), None)
    if split is None:
        values.refuse_split(name)
    merges = [tuple(merge.split(" ")) for merge in values("merges", list)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    engine = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=split.whole))
    if split.composed:
        engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine, split.start


def _sentencepiece(
    values: _Values, tokens: list[str], types: list[int], special: dict[str, str]
) -> tuple[tokenizers.Tokenizer, bool]:
    """The same for SentencePiece's BPE, in which pieces with higher scores were merged earlier."""
    scores = values.numbers("scores")
    values.expect(len(scores) == len(tokens), f"{len(scores)} scores of {len(tokens)} tokens")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pieces = [(-score, i) for i, (score, type) in enumerate(zip(scores, types, strict=True)) if type == _NORMAL]
    merges = merges_of([tokens[i] for _, i in sorted(pieces)])
    model = models.BPE(
        vocabulary, merges, unk_token=special.get("unk_token"), fuse_unk=True, byte_fallback=_BYTE in types
    )
    engine = tokenizers.Tokenizer(model)
    prefix = values("add_space_prefix", bool, True)
    spaces = normalizers.Replace(" ", "▁")
    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    engine.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)
    return engine, True
