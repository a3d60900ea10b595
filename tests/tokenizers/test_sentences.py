import time

import numpy as np
import pytest

from keras_transformers.tokenizers.sentences import cut_to_fit, split_document

pytestmark = pytest.mark.one_backend("torch")


@pytest.mark.parametrize(
    "language, sentences",
    [
        (None, ["He came.", "She left!", "Why?!", "“Who knows?”", "(No one.)", "So it goes…", "End"]),
        (None, ["Dr. Smith met J. S. Bach at 5 p.m. in Washington.", "Mr. and Mrs. Li did not."]),
        (None, ["See No. 5, pp. 3 and fig. 2.", "I said no.", "Then he left."]),
        (None, ["It costs 3.50 at example.com.", "That is e.g. cheap, i.e. not dear.", "Version 2.0 is out."]),
        (None, ["It was in 1999.", "The rest is known...", "Is it?"]),
        (None, ["“Really?” she asked.", "Yahoo! is not meant here, e.g. by them."]),
        ("de", ["Am 3. Mai kam z. B. Herr Dr. Müller.", "Das war es.", "Es war 1999.", "Gut."]),
        ("fr", ["M. Dupont et Mme Curie arrivent.", "« C'est vrai ? »", "Oui, dit-il."]),
        ("es", ["¿Qué tal?", "¡Muy bien!", "La Sra. García no vino."]),
        ("ru", ["Он живёт на ул. Ленина.", "А. С. Пушкин писал.", "Да?"]),
        ("hi", ["वह आया।", "वह गई।"]),
        ("ar", ["هل أنت بخير؟", "نعم."]),
    ],
)
def test_sentences(language, sentences):
    assert split_document(" ".join(sentences), language).sentences == sentences


def test_chinese_and_japanese_need_no_space():
    text = "他来了。她走了！为什么？“我不知道。”他说3.5元。"
    assert split_document(text).sentences == ["他来了。", "她走了！", "为什么？", "“我不知道。”", "他说3.5元。"]
    document = split_document("「そうです。」と彼は言った。「はい。」「いいえ。」")
    assert document.sentences == ["「そうです。」と彼は言った。", "「はい。」", "「いいえ。」"]
    assert document.joined() == "「そうです。」と彼は言った。「はい。」「いいえ。」"


def test_the_language_says_whether_a_stop_makes_a_number_an_ordinal():
    text = "It was chapter 3. Then it ended."
    assert len(split_document(text, "en").sentences) == 2
    assert len(split_document(text, "de").sentences) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\r\n",
        "  Indented. Here.\n\n\n\tA tab. \r\n1. An item. Of a list.\n2. Another.\u2028Last\x0cpage \n ",
        "One.  Two.\t Three.\u3000Four.",
        "\ufeffA mark. \u200bB.",
        "a.b.c. D. " * 50,
    ],
)
def test_what_is_put_together_is_the_text(text):
    document = split_document(text)
    assert document.joined() == text
    assert all(sentence == sentence.strip() and sentence for sentence in document.sentences)
    assert not any(set(sentence) & set("\n\r\x0c\u2028") for sentence in document.sentences)


def test_the_marks_of_a_list_are_no_text():
    document = split_document("1. An item. Of a list.\n  b) Another.\n- Third\n## A heading\n5 apples.")
    assert document.sentences == ["An item.", "Of a list.", "Another.", "Third", "A heading", "5 apples."]
    assert document.gaps == ["1. ", " ", "\n  b) ", "\n- ", "\n## ", "\n"]
    assert split_document("3. Mai war es.", "de").sentences == ["3. Mai war es."]


def test_spaces_follow_the_writing_of_the_translation():
    document = split_document("他来了。她走了。\n好。")
    assert document.joined(["He came.", "She left.", "Good."]) == "He came. She left.\nGood."
    document = split_document("He came. She left.\nGood.")
    assert document.joined(["他来了。", "她走了。", "好。"]) == "他来了。她走了。\n好。"


def characters(texts):
    """Each character a token."""
    return [np.stack([np.arange(len(text)), np.arange(1, len(text) + 1)], axis=1) for text in texts]


def test_what_is_too_long_is_cut_where_it_hurts_least():
    document = split_document("He came, and she left, and so on. Short. " + "X" * 25 + "  y")
    fitting = cut_to_fit(document, characters, 24)
    assert fitting.sentences == ["He came, and she left,", "and so on.", "Short.", "X" * 24, "X  y"]
    assert fitting.joined() == document.joined()
    assert cut_to_fit(document, characters, 100) == document


def test_random_texts_lose_nothing():
    random = np.random.default_rng(0)
    alphabet = np.array(list("ab.!?,;: \n\t\"'()。，é—"))
    for length in (1, 2, 5, 20, 200):
        for _ in range(10):
            text = "".join(random.choice(alphabet, length))
            document = split_document(text)
            assert document.joined() == text
            for most in (1, 2, 7, 30):
                fitting = cut_to_fit(document, characters, most)
                assert fitting.joined(fitting.sentences).replace(" ", "") == text.replace(" ", "")
                assert all(len(sentence) <= most for sentence in fitting.sentences)


@pytest.mark.parametrize("unit", ["a", ".", " ", "A. ", "。", '."'])
def test_a_million_characters_take_seconds(unit):
    text = (unit * 1_000_000)[:1_000_000]
    begin = time.perf_counter()
    document = split_document(text)
    assert document.joined() == text
    fitting = cut_to_fit(document, characters, 500)
    assert "".join(fitting.sentences).count("a") == text.count("a")
    assert time.perf_counter() - begin < 60


def test_parts_that_stay_whole():
    text = "See {a. B} now. He <b title='Mr. X.  Y'>left</b>. Bye."
    document = split_document(text)
    spans = [(text.index("{"), text.index("}") + 1), (text.index("<b"), text.index("'>") + 2)]
    whole = document.without_cuts(spans)
    assert whole.sentences == ["See {a. B} now.", "He <b title='Mr. X.  Y'>left</b>.", "Bye."]
    assert whole.joined() == document.joined() == text and document.without_cuts([]) == document


def test_lines_stay_together():
    document = split_document("- One. Two.\nThree. Four.", together=lambda line: line.startswith("One"))
    assert document.sentences == ["One. Two.", "Three.", "Four."] and document.gaps[0] == "- "
