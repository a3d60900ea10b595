"""CTranslate2 translates what we export as we do: token by token, greedily and by beam search, with the same scores."""

import dataclasses

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.formats.ctranslate2 import specification
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.norms import LayerNorm, RMSNorm
from keras_transformers.layers.positions import Alibi, Learned, RelativeBuckets
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.weights import named_weights

pytestmark = pytest.mark.one_backend("torch")

TEXTS = ["a man rides a bike", "two dogs run over the green grass", "the house", "a child in a red coat eats"]
SIZE = 300
NEW = 24  # tokens of a translation


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS * 3, vocabulary_size=SIZE)


def vaswani(**changes):
    return kt.models.transformer(SIZE + 5, num_layers=2, hidden_dim=32, num_heads=4, max_length=40, **changes)


def with_embeddings(config, **changes):
    return dataclasses.replace(config, embeddings=dataclasses.replace(config.embeddings, **changes))


def t5():
    """Without positions but for the buckets, norms without means, gates, and queries that are not scaled."""
    attention = AttentionConfig(4, head_dim=6, positions=RelativeBuckets(8, 20), use_bias=False, scale=1.0)
    block = BlockConfig(
        attention, FeedForwardConfig(48, "gelu_tanh", gated=True, use_bias=False), RMSNorm(1e-6), norm_placement="pre"
    )
    base, stack = vaswani(tied_head=False), StackConfig(2, block, final_norm=True)
    config = ModelConfig(32, base.embeddings, stack, stack, head=base.head)
    return with_embeddings(config, positions=None, scale=False)


CONFIGS = {
    "as published": vaswani,
    "norms before, unequal halves": lambda: kt.models.transformer(
        SIZE,
        num_layers=(1, 2),
        hidden_dim=32,
        num_heads=2,
        activation="gelu",
        norm_placement="pre",
        position_layout="halves",
        shared_embeddings=False,
        target_vocabulary_size=SIZE + 20,
        tied_head=False,
        head_bias=True,
        max_length=40,
    ),
    "norms after, and one more at the end": lambda: vaswani(final_norm=True, head_bias=True, activation="silu"),
    "positions learned, embeddings normalised": lambda: with_embeddings(
        vaswani(norm=LayerNorm(1e-3)), positions=Learned(40, offset=2), norm=LayerNorm(1e-3), scale=False
    ),
    "no positions, no biases of norms": lambda: with_embeddings(
        vaswani(norm=LayerNorm(use_bias=False)), positions=None
    ),
    "relative": t5,
}


def model(config, tokenizer, seed=0):
    """A task whose weights are random, biases and norms too, and large enough that translations differ."""
    task = kt.Seq2SeqLM(config, tokenizer)
    rng = np.random.default_rng(seed)
    for name, weight in named_weights(task).items():
        base = 1.0 if name.endswith("gamma") else 0.0
        width = weight.shape[-1 if name.endswith("token.embeddings") else 0]
        scale = 0.3 if len(weight.shape) < 2 else 1.5 * width**-0.5
        weight.assign(base + scale * rng.standard_normal(weight.shape))
    return task


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_translations_and_scores_are_the_same(config, tokenizer, tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    task = model(config(), tokenizer)
    task.export_ctranslate2(tmp_path / "exported")
    theirs = ctranslate2.Translator(str(tmp_path / "exported"), compute_type="float32", intra_threads=1)
    sources = tokenizer.encode_sources(TEXTS)
    target_tokens = [*tokenizer.to_pieces(range(tokenizer.vocabulary_size))]
    target_tokens += [f"<unused_{number}>" for number in range(len(target_tokens), SIZE + 20)]
    different = set()
    for beams in (1, 4):
        # CTranslate2 stops at so many finished hypotheses as there are beams
        options = {"num_beams": beams, "max_new_tokens": NEW, "early_stopping": True, "log_probabilities": beams == 1}
        found = task.generate(sources, task.generation_config(**options))
        results = theirs.translate_batch(
            [tokenizer.to_pieces(ids) for ids in sources],
            beam_size=beams,
            min_decoding_length=0,
            max_decoding_length=NEW,
            return_scores=True,
            return_end_token=True,
        )
        for row, result in enumerate(results):
            ids = [target_tokens.index(piece) for piece in result.hypotheses[0]]
            assert ids == found.token_ids[row, : found.lengths[row]].tolist()
            assert result.scores[0] == pytest.approx(float(found.scores[row]), abs=1e-5)
            different.add(tuple(ids))
    assert len(different) > 2


def test_a_vocabulary_for_each_side(tokenizer, tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    both = tokenizer.with_target(kt.Tokenizer.train([text[::-1] for text in TEXTS], vocabulary_size=SIZE))
    sizes = {"target_vocabulary_size": both.target_vocabulary_size, "shared_embeddings": False}
    options = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 40, "tied_head": False}
    task = model(kt.models.transformer(both.vocabulary_size, **sizes, **options), both)
    task.export_ctranslate2(tmp_path / "exported")
    theirs = ctranslate2.Translator(str(tmp_path / "exported"), compute_type="float32", intra_threads=1)
    pieces = [both.to_pieces(ids) for ids in both.encode_sources(TEXTS)]
    results = theirs.translate_batch(pieces, beam_size=1, min_decoding_length=0, max_decoding_length=NEW)
    found = [both.decode(both.from_pieces(each.hypotheses[0], target=True)) for each in results]
    assert found == task.translate(TEXTS, num_beams=1, max_new_tokens=NEW)
    assert kt.Tokenizer.load(tmp_path / "exported").target_vocabulary_size == both.target_vocabulary_size


def test_an_exported_preset_translates_alike(tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    task = kt.Seq2SeqLM.from_preset("english-french")
    task.export_ctranslate2(tmp_path / "exported")
    task.export_ctranslate2(tmp_path / "exported", quantization="int8")  # in place of the other
    assert kt.Tokenizer.load(tmp_path / "exported").decode([5, 6]) == task.tokenizer.decode([5, 6])
    quantized = ctranslate2.Translator(str(tmp_path / "exported"), intra_threads=1)
    sources = ["The house is small.", "Where do you live?"]
    pieces = [task.tokenizer.to_pieces(ids) for ids in task.tokenizer.encode_sources(sources)]
    results = [each.hypotheses[0] for each in quantized.translate_batch(pieces, beam_size=4)]
    assert [task.tokenizer.decode(task.tokenizer.from_pieces(each)) for each in results] == task.translate(sources)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").touch()
    with pytest.raises(FileExistsError, match=r"found a folder without model\.bin"):
        task.export_ctranslate2(tmp_path / "other")


def test_what_the_settings_forbid_stays_forbidden(tokenizer, tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    task = model(vaswani(), tokenizer)
    first = int(task.generate(tokenizer.encode_sources(TEXTS[:1])).token_ids[0, 0])
    task.generation = dataclasses.replace(task.generation, bad_words_ids=((first,),))
    task.export_ctranslate2(tmp_path / "exported")
    theirs = ctranslate2.Translator(str(tmp_path / "exported"), compute_type="float32", intra_threads=1)
    (source,) = tokenizer.encode_sources(TEXTS[:1])
    (result,) = theirs.translate_batch([tokenizer.to_pieces(source)], beam_size=1, max_decoding_length=NEW)
    expected = task.generate([source], task.generation_config(max_new_tokens=NEW)).token_ids[0].tolist()
    ids = tokenizer.from_pieces(result.hypotheses[0])
    assert first not in ids and ids == expected[: len(ids)]


def test_what_has_no_place_there_is_listed(tokenizer):
    pytest.importorskip("ctranslate2")
    config = vaswani()
    attention = AttentionConfig(4, num_key_value_heads=2, positions=Alibi(), window=8)
    block = dataclasses.replace(config.encoder.block, attention=attention, norm_placement="branch")
    config = dataclasses.replace(config, encoder=StackConfig(2, block))
    task = kt.Seq2SeqLM(config, tokenizer)
    task.generation = dataclasses.replace(task.generation, end_ids=(3, 4))
    with pytest.raises(ValueError, match="Expected a model that CTranslate2 can express, got ") as caught:
        specification(task)
    for problem in (
        "encoder.block.attention.num_key_value_heads=2",
        "encoder.block.attention.window=8",
        "encoder.block.attention.positions=Alibi",
        "encoder.block.norm_placement='branch'",
        "generation.end_ids=(3, 4), where one is expected",
    ):
        assert problem in str(caught.value)


def test_pieces_come_back_and_unknown_ones_are_refused(tokenizer):
    ids = tokenizer.encode([TEXTS[0]])[0]
    assert tokenizer.from_pieces(tokenizer.to_pieces(ids)) == ids
    assert tokenizer.to_pieces([0, 2]) == ["<pad>", "<s>"]
    with pytest.raises(ValueError, match="Expected pieces of the vocabulary, got 'no such piece'"):
        tokenizer.from_pieces(["no such piece"])


def test_without_ctranslate2_the_message_says_what_to_install(tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'keras-transformers\[ctranslate2\]'"):
        model(vaswani(), tokenizer).export_ctranslate2(tmp_path / "exported")
