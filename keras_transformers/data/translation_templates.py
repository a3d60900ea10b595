"""Prompts by which decoders translate, as their authors published them. Text alone, no model.

name             asked                                         of
chat             in a chat, in our words                       any chat model
hy-mt, hy-mt2    in a chat; in Chinese if Chinese is a side    Tencent HY-MT 1.5, Hunyuan-MT; HY-MT 2
tower, tower+    in a chat, with the languages as labels       Unbabel TowerInstruct; Tower+
alma             as a plain text that the model continues      ALMA, ALMA-R, GemmaX2
translate-gemma  in a chat whose message has fields            TranslateGemma
"""

import dataclasses
import string
import typing
from collections.abc import Sequence

from keras_transformers.data.glossary import Term
from keras_transformers.data.language_names import Language, language_of, languages_by_name
from keras_transformers.spelling import did_you_mean, nearest


@dataclasses.dataclass(frozen=True)
class Terminology:
    r"""How a decoder is told the terms of a glossary.

    Attributes:
        prompt: the prompt of a text with terms: that of a `PromptTemplate`, and `{terms}`.
        line: the line of a term, with `{term}` and `{translation}`.

    Example:
        >>> Terminology("{terms}\n{target}: {text}", "{term} is {translation}").lines([("cat", "chat")])
        'cat is chat'
    """

    prompt: str
    line: str

    def __post_init__(self) -> None:
        _check_fields(self.prompt, {"target", "text", "terms"}, {"source"})
        _check_fields(self.line, {"term", "translation"}, set())

    def lines(self, terms: Sequence[Term]) -> str:
        """Return the lines of some terms."""
        return "\n".join(self.line.format(term=term, translation=translation) for term, translation in terms)


@dataclasses.dataclass(frozen=True)
class PromptTemplate:
    """How a decoder is asked for a translation.

    Attributes:
        text: the prompt, with `{target}`, `{text}` and perhaps `{source}`; the languages are English names.
        in_chat: whether the prompt is a message of the user in the model's chat template, or else a plain text.
        of_chinese: the prompt if one of the languages is Chinese, which has the Chinese name of the target; or None.
        coded: whether the message is a record of the text and the codes of both languages, in place of `text`.
        cut: strings that end a translation, besides the model's end token.
        languages: the codes of the languages that the model was trained on; none means any.
        terms: the prompt of a text with terms of a glossary; None if the model knows no such prompt.
        terms_of_chinese: the same with the Chinese name of the target: if one of the languages is Chinese, or for all
            languages without `terms`.

    Example:
        >>> PromptTemplate("{source}: {text} = {target}:", in_chat=False, cut=("\\n",)).prompt("Hi", "en", "fr")
        'English: Hi = French:'
    """

    text: str
    in_chat: bool = True
    of_chinese: str | None = None
    coded: bool = False
    cut: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    terms: Terminology | None = None
    terms_of_chinese: Terminology | None = None

    def __post_init__(self) -> None:
        for prompt in (self.text, self.of_chinese):
            if prompt is not None and not self.coded:
                _check_fields(prompt, {"target", "text"}, {"source"})
        for name in ("cut", "languages"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(each, str) and each for each in value):
                raise TypeError(f"Expected {name} to be a tuple of texts, got {value!r:.80}.")
        if unknown := [each for each in self.languages if language_of(each) is None]:
            raise ValueError(f"Expected languages by codes of two or three letters, got {', '.join(unknown)}.")
        for each in (self.terms, self.terms_of_chinese):
            if not isinstance(each, Terminology | None):
                raise TypeError(f"Expected terms to be a Terminology, got {each!r:.80}.")

    @property
    def takes_terms(self) -> bool:
        """Whether a prompt can state the terms of a glossary."""
        return self.terms is not None or self.terms_of_chinese is not None

    def prompt(self, text: str, source: str | None, target: str | None, terms: Sequence[Term] = ()) -> typing.Any:
        """Return the prompt of a text: a string, or the content of a message with fields.

        Args:
            text: the text to translate.
            source, target: languages by their English name, or by a code of two or three letters.
            terms: pairs of a term and its translation, if the template takes terms.

        Raises:
            ValueError: for a language that is unknown, or that the template needs and does not get.
        """
        needs_source = self.coded or "{source}" in self.text
        wanted = [self._language("source_language", source, needs_source)]
        wanted.append(self._language("target_language", target, True))
        if self.coded:
            codes = [_code(*each) for each in zip((source, target), wanted, strict=True)]
            return [{"type": "text", "source_lang_code": codes[0], "target_lang_code": codes[1], "text": text}]
        names = [each.names[0] if each else "" for each in wanted]
        prompt, is_chinese, lines = self.text, self.of_chinese is not None and "Chinese" in names, ""
        if terms and (
            terminology := (self.terms_of_chinese if is_chinese else None) or self.terms or self.terms_of_chinese
        ):
            prompt, lines = terminology.prompt, terminology.lines(terms)
            is_chinese = terminology is self.terms_of_chinese
        elif is_chinese:
            prompt = self.of_chinese or ""
        if is_chinese:
            names[1] = _CHINESE_NAMES.get(wanted[1].codes[0] if wanted[1] else "", names[1])
        return prompt.format(source=names[0], target=names[1], text=text, terms=lines)

    def _language(self, argument: str, wanted: str | None, needed: bool) -> Language | None:
        known = {code: language_of(code) for code in self.languages}
        if wanted is None:
            if needed:
                raise ValueError(f"Expected {argument}, which the prompt names, got None. Give a language.")
            return None
        found = language_of(str(wanted).replace("-", "_"))
        if found is not None and (not known or found in known.values()):
            return found
        names = [each.names[0] for each in known.values() if each] or list(languages_by_name())
        near = nearest(str(wanted).casefold(), {each.casefold(): each for each in names}, 3, 0.5)
        spelled = {each.casefold(): each for each in names}
        similar = f" Near it: {', '.join(spelled[each] for each in near)}." if near else ""
        listed = f" They are: {', '.join(names)}." if known else ""
        raise ValueError(
            f"Expected {argument} to be one of the {len(names)} languages that the template knows, got {wanted!r}."
            f"{similar}{listed}"
        )


def _check_fields(prompt: str, needed: set[str], possible: set[str]) -> None:
    """Refuse a text whose fields are not those that are needed, and perhaps those that are possible."""
    expected = f"Expected a template with {{{'}, {'.join(sorted(needed))}}}"
    expected += f" and perhaps {{{'}, {'.join(sorted(possible))}}}" if possible else ""
    if not isinstance(prompt, str):
        raise TypeError(f"{expected}, a text, got {prompt!r:.80}.")
    try:
        parsed = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        raise ValueError(f"{expected}, got {prompt!r:.80}: {error}.") from None
    fields = {name for name, _, _ in parsed}
    if not needed <= fields <= needed | possible or any(spec or how for _, spec, how in parsed):
        raise ValueError(
            f"{expected}, got {prompt!r:.80}, with {', '.join(sorted(fields)) or 'none'}. Write a brace of the text as "
            "two."
        )


def _code(wanted: str | None, language: Language | None) -> str:
    """Return a code with its region, if the user gave one ("pt-BR"), or else the shortest code."""
    region = str(wanted).replace("_", "-")
    return region if "-" in region and language is not None else language.codes[0] if language is not None else ""


# Names as HY-MT's authors list them for the prompts in Chinese.
_CHINESE_NAMES = {
    **{"zh": "中文", "en": "英语", "fr": "法语", "pt": "葡萄牙语", "es": "西班牙语", "ja": "日语", "tr": "土耳其语"},
    **{"ru": "俄语", "ar": "阿拉伯语", "ko": "韩语", "th": "泰语", "it": "意大利语", "de": "德语", "vi": "越南语"},
    **{
        "ms": "马来语",
        "id": "印尼语",
        "tl": "菲律宾语",
        "hi": "印地语",
        "pl": "波兰语",
        "cs": "捷克语",
        "nl": "荷兰语",
    },
    **{"km": "高棉语", "my": "缅甸语", "fa": "波斯语", "gu": "古吉拉特语", "ur": "乌尔都语", "te": "泰卢固语"},
    **{"mr": "马拉地语", "he": "希伯来语", "bn": "孟加拉语", "ta": "泰米尔语", "uk": "乌克兰语", "bo": "藏语"},
    **{"kk": "哈萨克语", "mn": "蒙古语", "ug": "维吾尔语", "yue": "粤语"},
}
_HY_LANGUAGES = tuple(_CHINESE_NAMES)
_TOWER_LANGUAGES = ("en", "pt", "es", "fr", "de", "nl", "it", "ko", "zh", "ru")

_CHINESE_LINE = "{term} 翻译成 {translation}"
_IN_CHINESE = "将以下文本翻译为{target}，注意只需要输出翻译后的结果，不要额外解释："

TEMPLATES = {
    "chat": PromptTemplate(
        "Translate the following text from {source} into {target}. Answer with the translation alone.\n\n{text}",
        terms=Terminology(
            "Translate the following text from {source} into {target}. Answer with the translation alone. Translate "
            "these terms as follows:\n{terms}\n\n{text}",
            "{term}: {translation}",
        ),
    ),
    # https://huggingface.co/tencent/HY-MT1.5-1.8B
    "hy-mt": PromptTemplate(
        "Translate the following segment into {target}, without additional explanation.\n\n{text}",
        of_chinese=_IN_CHINESE + "\n\n{text}",
        languages=_HY_LANGUAGES,
        terms_of_chinese=Terminology("参考下面的翻译：\n{terms}\n\n" + _IN_CHINESE + "\n{text}", _CHINESE_LINE),
    ),
    # https://github.com/Tencent-Hunyuan/Hy-MT2
    "hy-mt2": PromptTemplate(
        "Translate the following text into {target}. Note that you should only output the translated result without "
        "any additional explanation:\n\n{text}",
        of_chinese=_IN_CHINESE + "\n\n{text}",
        languages=_HY_LANGUAGES,
        terms=Terminology(
            "Reference the following translations:\n{terms}\n\nTranslate the following text into {target}. Note that "
            "you must ONLY output the translated result without any additional explanation:\n\n{text}",
            "{term} translates to {translation}",
        ),
        terms_of_chinese=Terminology("参考下面的翻译：\n{terms}\n" + _IN_CHINESE + "\n\n{text}", _CHINESE_LINE),
    ),
    # https://huggingface.co/Unbabel/TowerInstruct-7B-v0.2
    "tower": PromptTemplate(
        "Translate the following text from {source} into {target}.\n{source}: {text}\n{target}:",
        languages=_TOWER_LANGUAGES,
    ),
    # https://huggingface.co/Unbabel/Tower-Plus-9B
    "tower+": PromptTemplate(
        "Translate the following {source} source text to {target}:\n{source}: {text}\n{target}: ",
    ),
    # https://github.com/fe1ixxu/ALMA, https://huggingface.co/ModelSpace/GemmaX2-28-2B-v0.1
    "alma": PromptTemplate(
        "Translate this from {source} to {target}:\n{source}: {text}\n{target}:", in_chat=False, cut=("\n",)
    ),
    # https://huggingface.co/google/translategemma-4b-it
    "translate-gemma": PromptTemplate("", coded=True),
}


def find_template(template: typing.Any, chat_template: str | None, model_type: str | None = None) -> PromptTemplate:
    """Return the template of a decoder.

    Args:
        template: a `PromptTemplate`, the name of a published one, a text with `{source}`, `{target}` and `{text}`, or
            None for the one that the model's files show.
        chat_template: the model's chat template, or None.
        model_type: of the model's `config.json`, or None.

    Raises:
        TypeError, ValueError: for another value, an unknown name, and None for a model without a chat template.
    """
    if isinstance(template, PromptTemplate):
        found = template
    elif isinstance(template, str) and ("{" in template or " " in template):
        found = PromptTemplate(template, in_chat=chat_template is not None)
    elif isinstance(template, str):
        if template not in TEMPLATES:
            raise ValueError(
                f"Expected template to be one of {', '.join(TEMPLATES)}, or a text with {{target}} and {{text}}, got "
                f"{template!r}{did_you_mean(template, TEMPLATES)}."
            )
        found = TEMPLATES[template]
    elif template is None:
        found = TEMPLATES[_shown(chat_template, model_type)]
    else:
        raise TypeError(f"Expected template to be a name, a text or a PromptTemplate, got {template!r:.80}.")
    if found.in_chat and chat_template is None:
        raise ValueError(
            "Expected a tokenizer with a chat template for this template, got one without. Give a template for plain "
            'texts: template="alma", or PromptTemplate(…, in_chat=False).'
        )
    return found


def _shown(chat_template: str | None, model_type: str | None) -> str:
    """Return the name of the template that the files of a model show."""
    if model_type in ("hunyuan_v1_dense", "hunyuan_v1_moe"):
        return "hy-mt"
    if chat_template is None:
        raise ValueError(
            "Expected a template for a decoder without a chat template, got None. Give the name of a published one "
            f"({', '.join(TEMPLATES)}), or a text with {{source}}, {{target}} and {{text}}."
        )
    return "translate-gemma" if "source_lang_code" in chat_template else "chat"
