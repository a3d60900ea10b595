"""Languages of SMALL-100 and MADLAD-400, which the source alone is told."""

import json

import pytest

import keras_transformers as kt
from keras_transformers.tasks.directions import find_direction
from keras_transformers.tokenizers import Tokenizer
from tests.layers.reference import fill
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

pytest.importorskip("sentencepiece")

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore:.* cut at the limit of")]


def config(tokenizer):
    options = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "padding_id": tokenizer.padding_id}
    return kt.models.transformer(tokenizer.vocabulary_size, **options)


@pytest.fixture(scope="module")
def small100(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small100")
    folders.numbered(folder, SENTENCES * 3, size=400, files=("sentencepiece.bpe",), tokenizer_class="M2M100Tokenizer")
    m2m100 = Tokenizer.load(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "tokenizer_class": "SMALL100Tokenizer", "tgt_lang": None})
    )
    return Tokenizer.load(folder), m2m100


def test_small_100_puts_the_target_in_front_of_the_source(small100, tmp_path):
    tokenizer, m2m100 = small100
    (text,) = m2m100.encode(["The boats. en"])
    assert tokenizer.language_place == "source" and "__fr__" in tokenizer.languages
    expected = [m2m100.languages["fr"], *text, m2m100.end_id]
    assert tokenizer.encode_sources(["The boats. en"], target_language="fr") == [expected]
    assert tokenizer.encode_sources(["__fr__The boats. en"]) == [expected]
    assert tokenizer.encode_targets(["The boats. en"]) == [[*text, m2m100.end_id]]
    assert tokenizer.encode_sources(["en route"]) == [[*m2m100.encode(["en route"])[0], m2m100.end_id]]
    model = kt.Seq2SeqLM(config(tokenizer), tokenizer)
    fill(model, scale=0.6)
    assert model.direction("English", "French")[0][:2] == (None, "__fr__")
    translator = kt.Translator(model)
    made = translator.translate("The boats.", "English", "French", max_new_tokens=5)
    source = tokenizer.encode_sources(["The boats."], target_language="fr")
    generated = model.generate(source, model.generation_config(max_new_tokens=5))
    assert made == tokenizer.decode(model._wording(model.generation).words(generated.token_ids[0].tolist()))
    with pytest.raises(ValueError, match="Expected target_language to be one of the 100 languages"):
        translator.translate("The boats.", "English", "Klingon")
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode_sources(["The boats. en"], target_language="fr") == [expected]


def test_madlad_400_puts_a_piece_in_front_of_the_source():
    tokenizer = Tokenizer.train(SENTENCES, vocabulary_size=320)
    tokenizer.add_tokens(["<2en>", "<2fr>", "<2zh_Hant>"])
    direction = find_direction(tokenizer, None, {}, "English", "French")
    assert direction == (None, None, "<2fr> ", {})
    assert find_direction(tokenizer, None, {}, None, "<2en>").prefix == "<2en> "
    assert find_direction(tokenizer, None, {}, None, "zh_Hant").prefix == "<2zh_Hant> "
    model = kt.Seq2SeqLM(config(tokenizer), tokenizer)
    (ids,) = model.encode_sources(["The boats."], direction)
    assert ids[0] == tokenizer.engine.token_to_id("<2fr>")
    with pytest.raises(ValueError, match=r"Expected target_language to be one of the 3 languages .* got 'Klingon'"):
        find_direction(tokenizer, None, {}, None, "Klingon")
