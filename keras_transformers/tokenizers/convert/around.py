"""Which special tokens a class puts around a text, and around two: the engine's post-processors."""

from collections.abc import Callable

import tokenizers
from tokenizers import processors

from keras_transformers.data.language_names import known_language
from keras_transformers.tokenizers.convert.pipelines import Options, Special
from keras_transformers.tokenizers.languages import LanguageRules

# Called with the engine, tokenizer_config.json and the special tokens.
Wrap = Callable[[tokenizers.Tokenizer, Options, Special], processors.PostProcessor]


def around(single: str, pair: str) -> Wrap:
    """Put the tokens of templates such as "cls_token:0 $A:0 sep_token:0" around a text, and around two.

    A part is a role, or "$A" or "$B" for a text, and its segment.
    """

    def wrap(engine: tokenizers.Tokenizer, options: Options, special: Special) -> processors.PostProcessor:
        roles = sorted({part.split(":")[0] for part in f"{single} {pair}".split()} - {"$A", "$B"})
        ids = _ids(engine, special, roles)

        def filled(template: str) -> list[str]:
            parts = (part.split(":") for part in template.split())
            return [f"{special.get(name, name)}:{segment}" for name, segment in parts]

        return processors.TemplateProcessing(
            single=filled(single), pair=filled(pair), special_tokens=[(special[role], ids[role]) for role in roles]
        )

    return wrap


def around_like_roberta(engine: tokenizers.Tokenizer, options: Options, special: Special) -> processors.PostProcessor:
    """Put the class token in front of a text, a separator after it, and two separators between two texts."""
    ids = _ids(engine, special, ["sep_token", "cls_token"])
    return processors.RobertaProcessing(
        (special["sep_token"], ids["sep_token"]),
        (special["cls_token"], ids["cls_token"]),
        options.get("trim_offsets", True),
        options.get("add_prefix_space", False),
    )


def around_language(
    rules: LanguageRules,
) -> Wrap:
    """Put the end token and the source language around a text, or around two in a row."""

    def wrap(engine: tokenizers.Tokenizer, options: Options, special: Special) -> processors.PostProcessor:
        own = rules.chosen(options)
        added = engine.get_added_tokens_decoder().items()
        known = own.languages((token.content, i) for i, token in added)
        code = known_language("src_lang in tokenizer_config.json", options.get("src_lang") or own.default, known)
        token = own.token.format(code)
        parts = {"language": "language:0", "text": "$A:0", "end": "eos_token:0"}
        single = " ".join(parts[part] for part in own.source)
        wrap_text = around(single, single.replace("$A:0", "$A:0 $B:0"))
        return wrap_text(engine, options, {**special, "language": token})

    return wrap


def around_as_asked(engine: tokenizers.Tokenizer, options: Options, special: Special) -> processors.PostProcessor:
    """Put the start token in front of a text if `add_bos_token` asks for it, and the end token behind it if
    `add_eos_token` does. A token that `special` lacks is left out."""
    start = "bos_token:{0} " if options.get("add_bos_token") and "bos_token" in special else ""
    end = " eos_token:{0}" if options.get("add_eos_token") and "eos_token" in special else ""
    first, second = ((start + text + end).format(i) for i, text in enumerate(("$A:{0}", "$B:{0}")))
    return around(first, f"{first} {second}")(engine, options, special)


def _ids(engine: tokenizers.Tokenizer, special: Special, roles: list[str]) -> dict[str, int]:
    ids = {role: engine.token_to_id(special[role]) for role in roles if role in special}
    missing = ", ".join(f"{role}={special.get(role)!r}" for role in roles if ids.get(role) is None)
    if missing:
        raise ValueError(
            f"Expected the special tokens that this class of tokenizers puts around a text in the vocabulary, got "
            f"{missing}, which it lacks. Name the vocabulary's own in tokenizer_config.json, or mend the vocabulary."
        )
    return {role: i for role, i in ids.items() if i is not None}
