"""Published prompts, to the letter, and languages that they do not know."""

import pytest

from keras_transformers.data.translation_templates import TEMPLATES, PromptTemplate, Terminology, find_template

pytestmark = pytest.mark.one_backend("torch")


@pytest.mark.parametrize(
    "name, source, target, prompt",
    [
        ("hy-mt", None, "French", "Translate the following segment into French, without additional explanation.\n\nHi"),
        ("hy-mt", "zh", "en", "将以下文本翻译为英语，注意只需要输出翻译后的结果，不要额外解释：\n\nHi"),
        ("hy-mt2", "en", "Chinese", "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nHi"),
        ("tower", "pt", "eng", "Translate the following text from Portuguese into English.\nPortuguese: Hi\nEnglish:"),
        ("alma", "German", "en", "Translate this from German to English:\nGerman: Hi\nEnglish:"),
        (
            "translate-gemma",
            "en",
            "pt-BR",
            [{"type": "text", "source_lang_code": "en", "target_lang_code": "pt-BR", "text": "Hi"}],
        ),
    ],
)
def test_published_prompts(name, source, target, prompt):
    assert TEMPLATES[name].prompt("Hi", source, target) == prompt


def test_a_text_with_braces_is_no_template():
    assert TEMPLATES["hy-mt"].prompt("{text} {x}", "en", "fr").endswith("\n\n{text} {x}")


@pytest.mark.parametrize(
    "name, source, target, message",
    [
        ("tower", "en", "Portugese", r"one of the 10 languages .* got 'Portugese'. Near it: Portuguese. They are: En"),
        ("hy-mt", "en", "Klingon", "one of the 37 languages that the template knows, got 'Klingon'"),
        ("alma", "English", "Germn", "got 'Germn'. Near it: German"),
        ("tower", None, "English", "Expected source_language, which the prompt names, got None"),
        ("chat", "en", None, "Expected target_language, which the prompt names, got None"),
    ],
)
def test_an_unknown_language_is_refused_with_the_nearest_names(name, source, target, message):
    with pytest.raises(ValueError, match=message):
        TEMPLATES[name].prompt("Hi", source, target)


def test_templates_are_found():
    assert find_template(None, "{{ messages }}") is TEMPLATES["chat"]
    assert find_template(None, "{{ content.source_lang_code }}") is TEMPLATES["translate-gemma"]
    assert find_template(None, "{{ messages }}", "hunyuan_v1_dense") is TEMPLATES["hy-mt"]
    assert find_template("alma", None) is TEMPLATES["alma"]
    assert find_template("{target}: {text}", None) == PromptTemplate("{target}: {text}", in_chat=False)
    assert find_template("{target}: {text}", "{{ messages }}").in_chat
    for template, chat, message in [
        (None, None, "Expected a template for a decoder without a chat template"),
        ("towr", "x", "Expected template to be one of chat, .*did you mean 'tower'"),
        ("tower", None, "Expected a tokenizer with a chat template for this template"),
        ("Translate {text}", "x", r"Expected a template with \{target\}, \{text\}"),
        ("{target} {text} {tone}", "x", r"Expected a template with .*with target, text, tone"),
        ("{target} {text", "x", "Expected a template with"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_template(template, chat)
    with pytest.raises(TypeError, match="Expected template to be a name, a text or a PromptTemplate, got 3"):
        find_template(3, None)


TERMS = [("cat", "chat"), ("dog", "chien")]


@pytest.mark.parametrize(
    "name, source, target, prompt",
    [
        (
            *("hy-mt", "en", "fr"),
            "参考下面的翻译：\ncat 翻译成 chat\ndog 翻译成 chien\n\n"
            "将以下文本翻译为法语，注意只需要输出翻译后的结果，不要额外解释：\nHi",
        ),
        (
            *("hy-mt2", "en", "fr"),
            "Reference the following translations:\ncat translates to chat\ndog translates to chien\n\nTranslate the "
            "following text into French. Note that you must ONLY output the translated result without any additional "
            "explanation:\n\nHi",
        ),
        (
            *("hy-mt2", "en", "zh"),
            "参考下面的翻译：\ncat 翻译成 chat\ndog 翻译成 chien\n"
            "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nHi",
        ),
        (
            *("chat", "en", "fr"),
            "Translate the following text from English into French. Answer with the translation alone. Translate these "
            "terms as follows:\ncat: chat\ndog: chien\n\nHi",
        ),
    ],
)
def test_published_prompts_with_terms(name, source, target, prompt):
    assert TEMPLATES[name].takes_terms and TEMPLATES[name].prompt("Hi", source, target, TERMS) == prompt


def test_records_that_are_no_templates():
    for fields, error, message in (
        ({"cut": "\n"}, TypeError, "Expected cut to be a tuple of texts"),
        ({"languages": ("fr", "xx")}, ValueError, "Expected languages by codes of two or three letters, got xx"),
        ({"terms": "{terms}"}, TypeError, "Expected terms to be a Terminology, got '{terms}'"),
    ):
        with pytest.raises(error, match=message):
            PromptTemplate("{text} {target}", **fields)
    with pytest.raises(ValueError, match=r"Expected a template with \{term\}, \{translation\}, got"):
        Terminology("{terms} {target} {text}", "{term}")
    with pytest.raises(ValueError, match=r"Expected a template with \{target\}, \{terms\}, \{text\}"):
        Terminology("{target} {text}", "{term} {translation}")
