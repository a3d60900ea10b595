"""Pipelines: how the tokenizer classes of transformers normalize, split and decode, by their options.

A class makes its pipeline of the options in `tokenizer_config.json`, even if a `tokenizer.json` holds another one.
`folders` uses these for folders without a `tokenizer.json`, and `agreement` to compare the two files. Each function
below takes the options, the special tokens by role, and the compiled table of characters of a SentencePiece model
(empty for none), and returns a `Pipeline`.

    pipeline      normalizer                pre-tokenizer                        classes
    word_piece    BERT's                    BERT's                               BERT, DistilBERT, ELECTRA, MPNet
    byte_level    none                      byte-level                           RoBERTa, BART, GPT-2, CodeGen
    gpt_neox      NFC                       byte-level                           GPT-NeoX
    qwen          NFC                       a pattern, then byte-level           Qwen2, Qwen3
    unigram       the model's characters    "▁" before words                     XLM-RoBERTa, T5, ALBERT, Pegasus, …
    rembert       quotes, spaces, the same  "▁" for spaces                       RemBERT
    deberta_v2    NFC, single spaces        "▁" before words                     DeBERTa v2 and v3
    big_bird      "▁" for several spaces    "▁" for spaces                       BigBird
    spaces        none                      "▁" for spaces                       Llama, Code Llama
    gemma         "▁" for spaces            none                                 Gemma

Source: the tokenizers of transformers 5.
"""

import base64
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers

Options = dict[str, Any]  # tokenizer_config.json
Special = Mapping[str, str]  # role → how the token is written

_QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PLAIN_QUOTES: tuple[normalizers.Normalizer, ...] = (normalizers.Replace("``", '"'), normalizers.Replace("''", '"'))
_ONE_SPACE = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
# The settings of a BPE model besides its vocabulary.
_BPE = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """All that an engine does to a text, but for its vocabulary and its post-processor.

    Attributes:
        model: the kind of the model, as the engine names it.
        normalizer, pre_tokenizer, decoder: parts of the engine, or None.
        settings: attributes of the model.
    """

    model: str
    normalizer: normalizers.Normalizer | None
    pre_tokenizer: pre_tokenizers.PreTokenizer | None
    decoder: decoders.Decoder | None
    settings: Mapping[str, Any]

    def put_on(self, engine: tokenizers.Tokenizer) -> None:
        """Give the parts and settings to an engine."""
        engine.normalizer = self.normalizer
        engine.pre_tokenizer = self.pre_tokenizer
        engine.decoder = self.decoder
        for name in self._other_settings(engine):
            setattr(engine.model, name, self.settings[name])

    def differences(self, engine: tokenizers.Tokenizer) -> list[str]:
        """The names of the parts and settings that an engine has otherwise."""
        parts = ("normalizer", "pre_tokenizer", "decoder")
        different = [name for name in parts if state(getattr(self, name)) != state(getattr(engine, name))]
        return different + self._other_settings(engine)

    def _other_settings(self, engine: tokenizers.Tokenizer) -> list[str]:
        # None, False and "" all mean "not set"
        found = {name: getattr(engine.model, name) or None for name in self.settings}
        return [name for name, value in self.settings.items() if found[name] != (value or None)]


MakePipeline = Callable[[Options, Special, bytes], Pipeline]


def state(part: Any) -> Any:
    """A part of an engine as plain data, to compare."""
    return None if part is None else json.loads(part.__getstate__())


def word_piece(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """BERT: clean text, Chinese characters and punctuation apart, lowercase unless `do_lower_case` is false."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents", None),  # None: if it lowercases
        lowercase=options.get("do_lower_case", True),
    )
    settings = {"unk_token": special["unk_token"], "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    decoder = decoders.WordPiece(prefix="##")
    return Pipeline("WordPiece", normalizer, pre_tokenizers.BertPreTokenizer(), decoder, settings)


def byte_level(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """GPT-2 and RoBERTa: words with the space before them, as bytes."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.get("add_prefix_space", False)))
    return Pipeline("BPE", None, words, decoders.ByteLevel(), _BPE)


def gpt_neox(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """GPT-NeoX: `byte_level` with composed accents (NFC)."""
    return dataclasses.replace(byte_level(options, special), normalizer=normalizers.NFC())


def qwen(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """Qwen2 and Qwen3: composed accents (NFC), words by a pattern of their own with single digits, as bytes."""
    prefix = bool(options.get("add_prefix_space", False))
    words = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_QWEN_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
        ]
    )
    return Pipeline("BPE", normalizers.NFC(), words, decoders.ByteLevel(), _BPE)


def spaces(options: Options, special: Special, characters: bytes = b"", *, legacy: bool | None = None) -> Pipeline:
    """Llama: "▁" for spaces, one in front of a text, bytes for unknown characters.

    Args:
        options, special, characters: as for all.
        legacy: whether "▁" goes in front of each part between special tokens; None: as the option of that name says.
    """
    prefix = options.get("add_prefix_space", None)
    prefix = True if prefix is None else prefix
    legacy = bool(options.get("legacy", False)) if legacy is None else legacy
    scheme = ("always" if legacy else "first") if prefix else "never"
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)
    settings = {**_BPE, "fuse_unk": True, "byte_fallback": True}
    return Pipeline("BPE", None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False), decoder, settings)


def code_llama(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """Code Llama: `spaces` without the option `legacy`."""
    pipeline = spaces(options, special, legacy=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    settings = {**pipeline.settings, "unk_token": special["unk_token"]}
    return dataclasses.replace(pipeline, decoder=decoders.Sequence(steps), settings=settings)


def gemma(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """Gemma: "▁" for spaces, none in front of a text, bytes for unknown characters."""
    words = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    settings = {**_BPE, "unk_token": special["unk_token"], "fuse_unk": True, "byte_fallback": True}
    return Pipeline("BPE", normalizers.Replace(" ", "▁"), words, decoder, settings)


def nllb(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """NLLB: mapped characters, single spaces, "▁" in front of words."""
    normalizer = normalizers.Sequence([normalizers.Precompiled(characters), _ONE_SPACE]) if characters else None
    always: dict[str, Any] = {"prepend_scheme": "always"}
    settings = {**_BPE, "unk_token": special["unk_token"], "fuse_unk": True}
    return Pipeline("BPE", normalizer, pre_tokenizers.Metaspace(**always), decoders.Metaspace(**always), settings)


def unigram(
    clean: Callable[[Options], list[normalizers.Normalizer]] | None = None,
    *,
    maps_characters: bool = True,
    splits_at_any_space: bool = True,
    may_lack_prefix: bool = False,
    without_characters: tuple[normalizers.Normalizer, ...] = (),
) -> MakePipeline:
    """The pipeline of a class with a Unigram model of SentencePiece.

    Args:
        clean: makes, of the options, the normalizers that come first.
        maps_characters: whether the class uses the model's table of characters.
        splits_at_any_space: whether it splits at white space of any kind, and not only at spaces.
        may_lack_prefix: whether `add_prefix_space` decides if a space is put in front; otherwise it always is.
        without_characters: the normalizers in place of the table, if the model has none.
    """

    def make(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
        steps = [] if clean is None else clean(options)
        if characters and maps_characters:
            steps.append(normalizers.Precompiled(characters))
        elif not characters:
            steps += without_characters
        prefix = options.get("add_prefix_space", True) if may_lack_prefix else True
        scheme = "always" if prefix else "never"
        words: pre_tokenizers.PreTokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        if splits_at_any_space:
            words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
        else:
            steps.append(_ONE_SPACE)
        normalizer = None
        if steps:
            alone = len(steps) == 1 and splits_at_any_space and clean is None
            normalizer = steps[0] if alone else normalizers.Sequence(steps)
        return Pipeline("Unigram", normalizer, words, decoders.Metaspace(prepend_scheme=scheme), {})

    return make


def deberta_v2(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """DeBERTa v2 and v3: composed accents (NFC), single spaces, "▁" in front of words; not the model's characters."""
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if options.get("do_lower_case") else []
    steps += [
        normalizers.Replace(tokenizers.Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    scheme = "always" if options.get("add_prefix_space", True) else "first"
    words: list[pre_tokenizers.PreTokenizer] = [pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    if options.get("split_by_punct"):
        words.insert(0, pre_tokenizers.Punctuation(behavior="isolated"))
    decoder = decoders.Metaspace(prepend_scheme=scheme)
    return Pipeline("Unigram", normalizers.Sequence(steps), pre_tokenizers.Sequence(words), decoder, {})


def albert_steps(options: Options) -> list[normalizers.Normalizer]:
    """ALBERT: plain quotes, no accents unless `keep_accents`, lowercase unless `do_lower_case` is false."""
    steps = list(_PLAIN_QUOTES)
    if not options.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if options.get("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    return steps


def xlnet_steps(options: Options) -> list[normalizers.Normalizer]:
    """XLNet: plain quotes, no accents, lowercase if `do_lower_case`."""
    steps = [*_PLAIN_QUOTES, normalizers.NFKD(), normalizers.StripAccents()]
    return [*steps, normalizers.Lowercase()] if options.get("do_lower_case", False) else steps


def rembert(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """RemBERT: plain quotes, single spaces, no accents if `keep_accents` is false, lowercase if `do_lower_case`."""
    steps: list[normalizers.Normalizer] = [*_PLAIN_QUOTES, _ONE_SPACE]
    if not options.get("keep_accents", True):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if options.get("do_lower_case", False):
        steps.append(normalizers.Lowercase())
    if characters:
        steps.append(normalizers.Precompiled(characters))
    scheme = "always" if options.get("add_prefix_space", True) else "never"
    words = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return Pipeline("Unigram", normalizers.Sequence(steps), words, decoders.Metaspace(prepend_scheme=scheme), {})


def big_bird(options: Options, special: Special, characters: bytes = b"") -> Pipeline:
    """BigBird: "▁" for spaces, and for several of them once; not the model's characters."""
    steps = [
        normalizers.Strip(left=False, right=False),
        normalizers.Replace(tokenizers.Regex(" {2,}"), "▁"),
    ]
    scheme = "always" if options.get("add_prefix_space", True) else "never"
    words = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return Pipeline("Unigram", normalizers.Sequence(steps), words, decoders.Metaspace(prepend_scheme=scheme), {})


def jieba(options: Options, special: Special, characters: bytes = b"") -> NoReturn:
    """Refuse RoFormer's pipeline: it splits Chinese text into words with a library of its own.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "Expected a tokenizer of another class, got a RoFormerTokenizer, which finds Chinese words with jieba. "
        'If the folder has a tokenizer.json that is right without jieba, write "tokenizer_class": '
        '"PreTrainedTokenizerFast" in tokenizer_config.json.'
    )


_NEWLINES_ARE_SPACES = (normalizers.Replace(tokenizers.Regex(r"\n"), " "),)

WORDS = unigram()
PREFIXED = unigram(may_lack_prefix=True)
XLNET = unigram(xlnet_steps)
ALBERT_WORDS = unigram(albert_steps, may_lack_prefix=True)
PEGASUS = unigram(splits_at_any_space=False, without_characters=_NEWLINES_ARE_SPACES)
MBART = unigram(maps_characters=False)
ONE_SPACE_WORDS = unigram(splits_at_any_space=False)  # mBART-50, BERT for sequence generation


def characters_of(engine: tokenizers.Tokenizer) -> bytes:
    """The compiled table of characters that an engine's normalizer holds; empty for none."""
    steps = state(engine.normalizer) or {}
    steps = steps.get("normalizers", []) if steps.get("type") == "Sequence" else [steps]
    found: dict[str, Any] = next((step for step in steps if step.get("type") == "Precompiled"), {})
    return base64.b64decode(found.get("precompiled_charsmap") or "")
