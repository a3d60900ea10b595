"""A vocabulary for each language, end to end: trained, translated with, scored, aligned, saved."""

import pickle

import keras
import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import fill
from tests.tasks.test_seq2seq_lm import SOURCES, TARGETS
from tests.tasks.test_translation import codes
from tests.tokenizers.folders import numbered

once = pytest.mark.one_backend("torch")
OPTIONS = {"max_new_tokens": 8, "num_beams": 2}


@pytest.fixture(scope="module")
def tokenizer():
    source = kt.Tokenizer.train(SOURCES, vocabulary_size=280)
    return source.with_target(kt.Tokenizer.train(TARGETS, vocabulary_size=300))


def make(tokenizer, **settings):
    settings = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0, "max_length": 32, **settings}
    sizes = {"target_vocabulary_size": tokenizer.target_vocabulary_size, "shared_embeddings": False}
    return kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **sizes, **settings), tokenizer)


@once
def test_each_side_has_its_own_pieces(tokenizer):
    source, target = kt.Tokenizer.train(SOURCES, vocabulary_size=280), tokenizer.target
    assert (tokenizer.vocabulary_size, tokenizer.target_vocabulary_size) == (280, target.vocabulary_size)
    assert tokenizer.encode(SOURCES) == source.encode(SOURCES) != target.encode(SOURCES)
    end = [tokenizer.end_id]
    assert tokenizer.encode_sources(SOURCES) == [ids + end for ids in source.encode(SOURCES)]
    assert tokenizer.encode_targets(TARGETS) == [ids + end for ids in target.encode(TARGETS)]
    assert tokenizer.decode(tokenizer.encode_targets([" Où  ? "])) == [" Où  ? "]
    (ids,), (spans,) = tokenizer.encode_with_offsets(["un chat"], target=True)
    assert ids == target.encode(["un chat"])[0] and spans[-1, 1] == 7
    pieces = tokenizer.to_pieces(ids, target=True)
    assert tokenizer.from_pieces(pieces, target=True) == ids and pieces == target.to_pieces(ids)
    assert tokenizer.tokens(np.array(ids), target=True) == tokenizer.tokens("un chat", target=True)
    assert "".join(tokenizer.tokens("un chat", target=True)) == "un chat"


@once
def test_it_is_saved_byte_by_byte_and_pickled(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "first")
    again = kt.Tokenizer.load(tmp_path / "first")
    again.save(tmp_path / "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["target_tokenizer.json", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    for each in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert each.encode_targets(["</s> a"]) == tokenizer.encode_targets(["</s> a"])
        assert each.encode_targets(TARGETS) == tokenizer.encode_targets(TARGETS)
    (tmp_path / "first" / "target_tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="Expected JSON in .*target_tokenizer.json, got Expecting"):
        kt.Tokenizer.load(tmp_path / "first")


@once
def test_what_makes_no_pair(tokenizer):
    other = kt.Tokenizer.train(TARGETS, vocabulary_size=300, end_token="<end>")
    with pytest.raises(ValueError, match="Expected the same special tokens, by the same ids.*'<end>', 3"):
        tokenizer.target.with_target(other)
    with pytest.raises(ValueError, match="Expected two tokenizers of one vocabulary each"):
        tokenizer.with_target(tokenizer.target)
    with pytest.raises(ValueError, match="Expected embeddings of the target's own with a tokenizer of two vocab"):
        kt.Seq2SeqLM(kt.models.transformer(300, num_layers=1, hidden_dim=16, num_heads=2), tokenizer)
    told = kt.Tokenizer.train(TARGETS, vocabulary_size=300)
    told.add_tokens(codes("en"), special=True)
    with pytest.raises(ValueError, match="Expected languages that the source alone is told"):
        tokenizer.target.with_target(told)


@pytest.mark.each_keras
def test_it_learns_and_comes_back(tokenizer, tmp_path):
    model = make(tokenizer)
    model.compile(keras.optimizers.Adam(1e-2), label_smoothing=0.0)
    history = model.fit(SOURCES, TARGETS, epochs=30, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < history[0] / 3
    expected = model.translate(SOURCES, **OPTIONS)
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    for again in (kt.Seq2SeqLM.from_preset(tmp_path / "preset"), keras.saving.load_model(tmp_path / "model.keras")):
        assert again.translate(SOURCES, **OPTIONS) == expected
        np.testing.assert_allclose(again.score(SOURCES, TARGETS), model.score(SOURCES, TARGETS), rtol=1e-4)


@once
def test_all_that_a_translator_does(tokenizer):
    model = fill(make(tokenizer, tied_head=False), scale=0.6)
    (scores,) = model.score(SOURCES[:1], TARGETS[:1], per_token=True)
    assert len(scores) == len(tokenizer.encode_targets(TARGETS[:1])[0])
    (alignment,) = model.align(SOURCES[:1], TARGETS[:1])
    assert " ".join(alignment.target_words).startswith(TARGETS[0].split()[0])
    options = {"num_beams": 4, "max_new_tokens": 30}
    (result,) = model.translate(SOURCES[:1], prefix="une maison", forced_words="chien", **options)
    assert result.startswith("une maison") and " chien" in result
    assert "".join(model.stream(SOURCES[0], max_new_tokens=8)) == model.translate(SOURCES[0], max_new_tokens=8)
    assert kt.plot_attention(model, SOURCES[0], TARGETS[0]) is not None


@once
def test_a_keras_file_keeps_two_vocabularies_of_sentencepiece(tmp_path):
    pytest.importorskip("sentencepiece")
    folder = tmp_path / "marian"
    folder.mkdir()
    numbered(folder, (SOURCES + TARGETS) * 3, ("source", "target"), size=60, separate=True)
    model = make(kt.Tokenizer.load(folder), padding_id=kt.Tokenizer.load(folder).padding_id)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.tokenizer.encode_targets(TARGETS) == model.tokenizer.encode_targets(TARGETS)
    assert again.tokenizer.files() == model.tokenizer.files()
