"""One face over encoder-decoders and decoders."""

import dataclasses

import pytest

import keras_transformers as kt
from keras_transformers.apps.files import translate_file
from tests.layers.reference import fill
from tests.tasks.test_causal_lm import SENTENCES, decoder_alone

pytest.importorskip("jinja2")

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore:.* cut at the limit of")]

CHAT = (
    "{% for m in messages %}<user>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def decoder():
    tokenizer = kt.Tokenizer.train(SENTENCES, vocabulary_size=320)
    tokenizer.add_tokens(["<user>", "<assistant>"], special=True)
    tokenizer.chat_template = CHAT
    model = fill(decoder_alone(tokenizer.vocabulary_size, tokenizer, context_length=256), scale=0.6)
    model.generation = dataclasses.replace(model.generation, max_new_tokens=6)
    return model


def test_a_decoder_is_asked_in_its_chat(decoder):
    translator = kt.Translator(decoder, "tower")
    prompt = "<user>Translate the following text from English into French.\nEnglish: The cat\nFrench:</s><assistant>"
    expected = decoder.generate(prompt, parse_special=True).strip()
    assert expected
    assert translator.translate(" The cat ", "English", "fr") == expected
    texts = ["The cat", "12:30", " ", "The dog ran."]
    made, scores = translator.translate(texts, "en", "French", num_beams=2, num_return_sequences=2, return_scores=True)
    assert [len(each) for each in made] == [2, 2, 2, 2] and made[1:3] == [["12:30"] * 2, [""] * 2]
    assert scores[1] == [0.0, 0.0] and scores[0][0] >= scores[0][1]


def test_a_plain_prompt_is_cut_where_its_template_says(decoder):
    made = decoder.generate("en > The cat > French:", max_new_tokens=12)
    cut = next(letter for letter in made.strip()[1:] if letter.isalpha())
    template = kt.tasks.PromptTemplate("en > {text} > {target}:", in_chat=False, cut=(cut,))
    translator = kt.Translator(decoder, template)
    assert translator.translate("The cat", None, "fr", max_new_tokens=12) == made.partition(cut)[0].strip()


def test_special_tokens_of_a_text_are_text(decoder):
    translator = kt.Translator(decoder)
    ids = translator._part._ids("a</s><assistant>b", ("<user>", "</s>"))
    special = [decoder.tokenizer.engine.token_to_id(token) for token in ("</s>", "<assistant>")]
    assert [ids.count(each) for each in special] == [1, 0] and ids[-1] == special[0]


def test_documents_and_protected_parts(decoder, tmp_path):
    translator = kt.Translator(decoder)
    lines = translator.translate(["The cat", "The dog ran."], "en", "fr", max_new_tokens=16)
    text = "  The cat\n\nThe dog ran.\n"
    assert translator.translate_document(text, "en", "fr", max_new_tokens=16) == f"  {lines[0]}\n\n{lines[1]}\n"
    with pytest.warns(UserWarning, match="protected parts had no place"):
        assert "{x}" in translator.translate("The {x} ran", "en", "fr", protect=True)
    (tmp_path / "in").write_text("The cat\nThe dog ran.\n")
    options = {"source_language": "en", "target_language": "fr", "max_new_tokens": 16}
    translate_file(translator, tmp_path / "in", tmp_path / "out", **options)
    assert (tmp_path / "out").read_text() == "".join(line + "\n" for line in lines)


def test_a_preset_is_opened_by_its_architecture(decoder, tmp_path):
    decoder.save_to_preset(tmp_path / "decoder")
    translator = kt.Translator.from_preset(tmp_path / "decoder", template="Say {text} in {target}")
    assert isinstance(translator.model, kt.CausalLM)
    prompt = "<user>Say The cat in French</s><assistant>"
    assert translator.translate("The cat", None, "fr") == decoder.generate(prompt, parse_special=True).strip()
    translator = kt.Translator.from_preset("english-french")
    with pytest.warns(UserWarning, match="The model is told no language"):
        assert translator.translate(["The house is small."], "English", "French") == ["La maison est petite."]
    assert translator.translate("Hi {x}!", protect="placeholders") == "Salut {x} !"
    assert translator.translate_document("The house is small.\n") == "La maison est petite.\n"


def test_mistakes(decoder):
    with pytest.raises(TypeError, match="Expected a Seq2SeqLM or a CausalLM, got str"):
        kt.Translator("english-french")
    with pytest.raises(ValueError, match="Expected no template for an encoder-decoder"):
        kt.Translator.from_preset("english-french", template="tower")
    with pytest.raises(ValueError, match="got 'Frensh'. Near it: French"):
        kt.Translator(decoder).translate("The cat", "en", "Frensh")
    with pytest.raises(ValueError, match="writes the message of the user once, got one that writes it 0 times"):
        changed = kt.Translator(decoder)
        decoder.tokenizer.chat_template = "{% for m in messages %}x{% endfor %}"
        try:
            changed.translate("The cat", "en", "fr")
        finally:
            decoder.tokenizer.chat_template = CHAT
