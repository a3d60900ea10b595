"""Options of translators, alike for encoder-decoders and decoders: scores, streams, terms, documents, test sets."""

import dataclasses
import warnings

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.apps.files import translate_file
from tests.tasks.test_translator import decoder as decoder  # a fixture

pytest.importorskip("jinja2")

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore:.* cut at the limit of")]
LANGUAGES = ("English", "French")


@pytest.fixture(scope="module")
def seq2seq():
    return kt.Translator.from_preset("english-french")


@pytest.fixture(scope="module")
def translator(decoder):
    return kt.Translator(decoder)


def told(translator):
    return () if isinstance(translator.model, kt.Seq2SeqLM) else LANGUAGES


@pytest.fixture(params=["encoder-decoder", "decoder"])
def either(request, seq2seq, translator):
    return seq2seq if request.param == "encoder-decoder" else translator


def test_a_stream_is_the_translation(either):
    text, languages = "The house is small. ", told(either)
    whole = either.translate(text, *languages, num_beams=1, max_new_tokens=20)
    pieces = list(either.stream(text, *languages, max_new_tokens=20))
    assert "".join(pieces) == whole and len(pieces) > 1
    assert list(either.stream("12:30", *languages)) == ["12:30"] and list(either.stream(" ", *languages)) == []
    with pytest.raises(TypeError, match="got 'protect'.*protect, glossary, rerank .* use translate"):
        list(either.stream(text, *languages, protect=True))
    with pytest.raises(ValueError, match="Expected num_beams=1 to stream"):
        list(either.stream(text, *languages, num_beams=2))


def test_scores_are_those_of_the_tokens(translator):
    model, end = translator.model, translator.model.generation.end_ids[0]
    prompt = translator._part._ids("The cat", translator._part._around(*LANGUAGES))
    target = model.tokenizer.encode(["Le chat"])[0]
    ids = [*prompt, *target, end]
    logits = np.asarray(model({"token_ids": np.array([ids], "int32")}).detach())[0].astype("float64")
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [logs[place - 1, ids[place]] for place in range(len(prompt), len(ids))]
    assert translator.score("The cat", "Le chat", *LANGUAGES, per_token=True) == pytest.approx(expected, rel=1e-4)
    both = translator.score(["The cat", " The cat "], ["Le chat", ""], *LANGUAGES)
    assert both[0] == pytest.approx(sum(expected), rel=1e-4) and both[1] > both[0]
    with pytest.raises(ValueError, match="Expected some text in each source, got an empty one at index 1"):
        translator.score(["a", " "], ["b", "c"], *LANGUAGES)


def test_the_end_of_a_plain_answer_is_where_it_is_cut(decoder):
    template = kt.tasks.PromptTemplate("{text} in {target}:", in_chat=False, cut=("\n",))
    translator = kt.Translator(decoder, template)
    whole = decoder.score("The cat in French: Le chat\n", per_token=True)
    count = len(decoder.tokenizer.encode(["The cat in French:"])[0])
    assert translator.score("The cat", "Le chat", None, "fr") == pytest.approx(whole[count:].sum(), rel=1e-4)


def test_a_prefix_and_forced_words(either):
    languages, texts = told(either), ["The house is small.", "The dog ran."]
    options = {"num_beams": 6, "max_new_tokens": 24}
    made = either.translate(texts, *languages, prefix=["Notre", ""], **options)
    assert made[0].startswith("Notre") and made[1] == either.translate(texts[1], *languages, **options)
    made = either.translate(texts, *languages, forced_words=[["chat"], []], **options)
    assert "chat" in made[0] and made[1] == either.translate(texts[1], *languages, **options)
    with pytest.raises(ValueError, match="Expected num_beams of 2 or more for words"):
        either.translate(texts, *languages, forced_words="chat", num_beams=1)
    with pytest.raises(ValueError, match="Expected one prefix, or one for each of 2 texts, got 1"):
        either.translate(texts, *languages, prefix=["Notre"])


def test_words_of_the_prompt_have_to_be_said_again(translator):
    made = translator.translate("The cat", *LANGUAGES, forced_words="French", num_beams=8, max_new_tokens=24)
    assert "French" in made  # which stands in the prompt, too


def test_terms_are_forced_words(seq2seq):
    texts = ["The house is small.", "We live in a house.", "Hello!"]
    plain = seq2seq.translate(texts, num_beams=8)
    made = seq2seq.translate(texts, num_beams=8, glossary={"house": "demeure", "cat": "chat"})
    assert "demeure" in made[0] and "demeure" in made[1] and made[2] == plain[2]
    assert seq2seq.translate(texts[0], num_beams=8, glossary=kt.data.Glossary({"house": "demeure"})) == made[0]
    one, score = seq2seq.translate(texts[:1], num_beams=8, glossary={"house": "demeure"}, return_scores=True)
    assert one == made[:1] and score[0] < 0
    with pytest.raises(ValueError, match="Expected num_beams of 2 or more with a glossary"):
        seq2seq.translate(texts, glossary={"house": "demeure"}, num_beams=1)
    assert seq2seq.translate(texts[2], glossary={"house": "demeure"}, num_beams=1) == plain[2]


def test_terms_without_a_place_are_counted(seq2seq):
    many = {"house": "demeure ancienne", "small": "minuscule", "old": "vieillot"}
    texts, names = ["My old house is small.", "Hello!"], ["line 7", "line 8"]
    with pytest.warns(UserWarning, match=r"\d terms of the glossary are missing in 1 of 2 translations \(line 7\): '"):
        made = seq2seq.translate(texts, num_beams=4, max_new_tokens=8, glossary=many, names=names)
    assert made[0]
    (word,) = seq2seq.tokenizer.encode_targets(["une demeure"])
    options = {"num_beams": 2, "max_new_tokens": 12, "bad_words_ids": [[each] for each in word[1:-1]]}
    with pytest.warns(UserWarning, match="1 terms of .* translations .index 0.: 'house' as 'demeure'. More beams"):
        made = seq2seq.translate(texts, glossary={"house": "demeure"}, **options)
    assert made == seq2seq.translate(texts, **options)


def test_further_translations_without_terms_are_counted(seq2seq, monkeypatch):
    monkeypatch.setattr(
        seq2seq.model, "_translate", lambda texts, request: [["La demeure.", "", ""], ["Salut !", "Salut."]]
    )
    options = {"num_beams": 4, "num_return_sequences": 3, "glossary": {"house": "demeure"}}
    with pytest.warns(UserWarning, match="2 further translations of the num_return_sequences are empty"):
        seq2seq.translate(["The house.", "Hi!"], **options)


def test_terms_of_a_published_prompt(decoder):
    translator = kt.Translator(decoder, "hy-mt")
    asked = []

    class Stop(Exception):
        pass

    def generate_ids(ids, *_, **options):
        asked.append((translator.tokenizer.decode(ids[0]), options))
        raise Stop

    part = translator._part
    part.model = type("Model", (), {name: getattr(decoder, name) for name in dir(decoder) if name in NEEDED})()
    part.model.generate_ids = generate_ids
    with pytest.raises(Stop):
        translator.translate("The House is small.", "en", "fr", glossary={"house": "demeure", "dog": "chien"})
    assert "参考下面的翻译：\nhouse 翻译成 demeure\n\n将以下文本翻译为法语" in asked[0][0] and not any(
        asked[0][1]["words"]
    )


NEEDED = ("_tokenizer", "generation_config", "_check_effect", "_wording", "_longest")


def test_a_term_that_a_prompt_did_not_bring_is_counted(translator):
    with pytest.warns(UserWarning, match="1 terms of the glossary are missing in 1 of 1 translations"):
        translator.translate("The cat", *LANGUAGES, glossary={"cat": "félin"}, num_beams=1)


def test_documents_of_a_decoder(translator):
    long = "The cat sat. The dog ran. " * 6
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".* cut at the limit of")
        made = translator.translate_document(f"- The cat\n\n{long}\n", *LANGUAGES, max_new_tokens=30)
    lines = made.split("\n")
    assert lines[0].startswith("- ") and lines[1] == "" and len(lines) == 4
    documents = translator._part._documents([f"- The cat\n{long}"], *LANGUAGES, None, 512, {"max_new_tokens": 30})
    assert len(documents.sentences) == 13 and documents.names[1] == "part 2 of index 0"
    with pytest.raises(ValueError, match="translate_document takes long texts in pieces"):
        translator.translate(["cat", long * 20], *LANGUAGES)
    for options in ({"return_scores": True}, {"prefix": "a"}, {"forced_words": ["a"]}):
        with pytest.raises(ValueError, match=f"Expected no {next(iter(options))} for a document"):
            translator.translate_document("a", *LANGUAGES, **options)


def test_a_test_set_is_evaluated(either):
    pytest.importorskip("sacrebleu")
    texts, references = ["The house is small.", "The dog ran."], [["La maison est petite."], ["Le chien courait."]]
    judge = type("Judge", (), {"name": "Length", "references": "optional", "lower_is_better": False})()
    judge.score = lambda sources, translations, references: [float(len(each)) for each in references]
    found = either.evaluate(texts, references, *told(either), metrics=("chrf++", "ter"), scorer=judge, num_beams=2)
    assert found.translations == either.translate(texts, *told(either), num_beams=2)
    assert [each.name for each in found.scores] == ["chrF2++", "TER", "Length"] and found.scores[2].score == 19.0
    assert found.table().splitlines()[2] == "Length\t19.0000" and "nw:2" in found.table()
    for given, message in (
        (([], []), "Expected texts to evaluate by, got none"),
        ((texts, references[:1]), "Expected as many references as sources, got 1 for 2"),
    ):
        with pytest.raises(ValueError, match=message):
            either.evaluate(*given)
    with pytest.raises(ValueError, match="Expected a metric of bleu"):
        either.evaluate(texts, references, metrics=("blue",))
    assert [each.name for each in either.evaluate(texts, references, *told(either), metrics="ter").scores] == ["TER"]
    with pytest.raises(TypeError, match="num_beam"):
        either.evaluate(texts, references, *told(either), num_beam=2)


def test_a_file_with_terms_and_protected_parts_goes_on(either, tmp_path):
    lines = [f"The house {{x{number}}} is small." for number in range(6)]
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
    given = dict(zip(("source_language", "target_language"), told(either), strict=False))
    options = {**given, "protect": kt.data.Protection("placeholders"), "max_new_tokens": 8, "num_beams": 1}
    options |= {"batch_size": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        translate_file(either, tmp_path / "in", tmp_path / "whole", **options)
        counts = options["protect"].counts
        assert counts["parts"] == 6

        class Killed(Exception):
            pass

        def kill(lines, share):
            if lines == 4:
                raise Killed

        again = options | {"protect": kt.data.Protection("placeholders")}
        kt_files = pytest.MonkeyPatch()
        kt_files.setattr("keras_transformers.apps.files.BATCHES", 3)
        with pytest.raises(Killed):
            translate_file(either, tmp_path / "in", tmp_path / "out", progress=kill, **again)
        with pytest.raises(ValueError, match=r"options.protect: Protection\(\['urls'\]\) instead of"):
            translate_file(either, tmp_path / "in", tmp_path / "out", **again | {"protect": kt.data.Protection("urls")})
        translate_file(either, tmp_path / "in", tmp_path / "out", **again)
        kt_files.undo()
    assert (tmp_path / "out").read_text() == (tmp_path / "whole").read_text()
    assert again["protect"].counts == counts
    for line, made in zip(lines, (tmp_path / "out").read_text().splitlines(), strict=True):
        assert line[10:14] in made


def test_empty_lists(either):
    assert either.translate([], *told(either)) == [] == either.translate([], *told(either), protect=True)
    assert either.translate([], *told(either), return_scores=True) == ([], [])
    assert either.translate([], *told(either), glossary={"a": "b"}, num_beams=2) == []
    assert either.translate_document([], *told(either)) == []
    assert len(either.score([], [], *told(either))) == 0


def test_mistakes(decoder, translator, seq2seq):
    with pytest.raises(AttributeError, match="but its model has: translator.model.fit"):
        translator.fit  # noqa: B018
    with pytest.raises(ValueError, match="Expected max_length of at least 1, got 0"):
        seq2seq.translate_document("a", max_length=0)
    with pytest.raises(ValueError, match="Expected an encoder-decoder to align words .* got a decoder"):
        translator.align("a", "b", *LANGUAGES)
    assert seq2seq.align("The house is small.", "La maison est petite.").pairs
    with pytest.raises(ValueError, match="Expected parse_special=False for a decoder"):
        translator.translate("a", *LANGUAGES, parse_special=True)
    with pytest.raises(TypeError, match="did you mean 'num_beams'"):
        translator.translate("a", *LANGUAGES, num_beam=3)
    with pytest.raises(TypeError, match="Expected a dictionary of terms"):
        translator.translate("a", *LANGUAGES, glossary="house")
    template = kt.tasks.PromptTemplate("{target}: {text}", in_chat=False)
    bare = kt.Translator(decoder, dataclasses.replace(template, languages=("fr", "de")))
    with pytest.raises(ValueError, match="one of the 2 languages that the template knows, got 'Spanish'"):
        bare.translate("a", None, "Spanish")
    with pytest.raises(ValueError, match="Expected target_language, which the prompt names, got None"):
        translator.translate("a", "English")
    for words in (3, [3], [["a"], 3]):
        with pytest.raises(TypeError, match="Expected forced words to be texts"):
            translator.translate(["a", "b"], *LANGUAGES, forced_words=words, num_beams=2)
    with pytest.raises(TypeError, match="Expected scorer to be a TranslationScorer, got str: 'comet'"):
        seq2seq.evaluate(["a"], ["b"], scorer="comet")


def test_a_decoder_is_watched_in_training(decoder):
    pytest.importorskip("sacrebleu")
    quality = kt.training.TranslationQuality(["The cat"], ["Le chat"], source_language="en", target_language="fr")
    quality.set_model(decoder)
    with pytest.raises(ValueError, match="Expected a model that translates, got CausalLM. Give the one that asks it"):
        quality.on_train_begin()
    quality.translator, logs = kt.Translator(decoder), {}
    quality.on_train_begin()
    quality.on_epoch_end(0, logs)
    assert list(logs) == ["val_bleu", "val_chrf"] and len(quality.hypotheses) == 1
