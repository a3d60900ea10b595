"""Decoding with a lexical shortlist, compared with decoding in which all other tokens are suppressed."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.backends import execution
from keras_transformers.files.marian_shortlist import Shortlist
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.generation.smaller_vocabulary import SmallerVocabulary
from keras_transformers.models.vocabularies import Vocabularies
from tests.parameters import few

SIZE, START, END = 40, 40, 0
SOURCES = [[5, 6, 7, 8, 2, 0], [9, 4, 0], [30, 31, 32, 0]]


def shortlist():
    random = np.random.default_rng(1)
    return Shortlist.of([random.choice(SIZE, 3, replace=False) for _ in range(SIZE)], first=5)


def with_random_weights(model):
    random = np.random.default_rng(0)
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        array = array + random.normal(size=array.shape).astype("float32")
        if array.shape == (SIZE + 1,):  # the head's bias: let texts go on
            array[END] -= 3
        weight.assign(array)
    return model


@pytest.fixture(scope="module")
def model():
    config = kt.models.student(SIZE + 1, num_layers=(1, 1), hidden_dim=16, num_heads=2, intermediate_dim=16)
    return with_random_weights(kt.Seq2SeqLM(config, shortlist=shortlist()))


def settings(**changes):
    defaults = {"start_id": START, "end_ids": (END,), "padding_id": START, "max_new_tokens": 9}
    return GenerationConfig(**{**defaults, "suppress_tokens": (1, START), **changes})


def rows(generated):
    return [row[:length].tolist() for row, length in zip(generated.token_ids, generated.lengths, strict=True)]


def allowed(model, source):
    return model.shortlist.words(source, *Vocabularies.of(model.config)[1:]).tolist()


def suppressing(model, source, config):
    """The settings that rule out all tokens but the shortlist's, with the probabilities that its softmax has."""
    others = set(range(SIZE + 1)) - set(allowed(model, source))
    suppressed = tuple(sorted({*others, *config.suppress_tokens}))
    return dataclasses.replace(config, suppress_tokens=suppressed, shortlist=False)


ALL = {
    "greedy": {},
    "penalties": {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_new_tokens": 4, "presence_penalty": 0.5},
    "words of the source": {"encoder_no_repeat_ngram_size": 1, "bad_words_ids": ((2,), (3, 4)), "forced_end_id": END},
    "sampling": {"do_sample": True, "seed": 3, "top_k": 4},
    "beams": {"num_beams": 3, "renormalize_logits": True, "suppress_tokens": (START,)},
}


@pytest.mark.parametrize("name", few(ALL, "beams"))
def test_only_the_shortlist_is_written_as_if_all_else_was_suppressed(name, model):
    config = settings(**ALL[name])
    together = model.generate(SOURCES, config)
    compared = SOURCES if execution.SHAPES_MAY_VARY else SOURCES[:1]  # each is compiled for itself
    for place, source in enumerate(compared):
        (row,) = rows(together.select(slice(place, place + 1)))
        assert set(row) <= {*allowed(model, source), END}
        wanted = model.generate([source], suppressing(model, source, config), numbers=[place])
        assert [row] == rows(wanted)
        if config.num_beams > 1:
            np.testing.assert_allclose(together.scores[place], wanted.scores[0], rtol=1e-5)


@pytest.mark.one_backend("torch")
def test_scores_are_those_of_the_shortlist(model):
    config = settings(log_probabilities=True, suppress_tokens=(START,))
    found = model.generate(SOURCES[:1], config)
    own = np.array(allowed(model, SOURCES[0]))
    data = {"token_ids": np.array(SOURCES[:1]), "decoder_token_ids": np.array([[START, *rows(found)[0][:-1]]])}
    logits = keras.ops.convert_to_numpy(model(data))[0][:, own].astype("float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = [row[own.tolist().index(i)] for row, i in zip(logits, rows(found)[0], strict=True)]
    np.testing.assert_allclose(found.log_probabilities[0], wanted, atol=2e-5)


@pytest.mark.one_backend("torch")
def test_without_it_the_whole_vocabulary_is_scored(model):
    plain = kt.Seq2SeqLM(model.config)
    plain.set_weights(model.get_weights())
    for config in (settings(), settings(num_beams=2)):
        off = model.generate(SOURCES, dataclasses.replace(config, shortlist=False))
        assert rows(off) == rows(plain.generate(SOURCES, config)) != rows(model.generate(SOURCES, config))


@pytest.mark.one_backend("torch")
def test_prefixes_are_known_and_forced_words_are_allowed(model):
    others = [i for i in range(2, SIZE) if i not in {i for source in SOURCES for i in allowed(model, source)}]
    config = settings(num_beams=4, no_repeat_ngram_size=1)
    words = [[[others[0], others[1]]], [[others[2]]], []]
    for row, each in zip(rows(model.generate(SOURCES, config, words=words)), words, strict=True):
        text = " ".join(map(str, row))
        assert all(" ".join(map(str, word)) in text for word in each)
    prefixes = [[others[0], 3]] * 3
    config = settings(no_repeat_ngram_size=1)
    found = model.generate(SOURCES, config, prefixes=prefixes)
    for place, source in enumerate(SOURCES):
        wanted = model.generate([source], suppressing(model, source, config), prefixes=prefixes[:1])
        assert rows(found)[place] == rows(wanted)[0]


@pytest.mark.one_backend("torch")
def test_heads_that_are_no_plain_product(model):
    """A quantized table gives its rows as floats; a head of its own that is quantized scores all tokens."""
    block = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 16}
    untied = kt.models.transformer(SIZE + 1, shared_embeddings=False, tied_head=False, max_length=16, **block)
    for config, end in ((model.config, 0), (untied, 2)):
        sources = [[*source[:-1], end] for source in SOURCES]
        made = with_random_weights(kt.Seq2SeqLM(config, shortlist=shortlist()))
        start = START if config is model.config else 1
        at = settings(start_id=start, padding_id=start, suppress_tokens=(start,), end_ids=(end,))
        for mode in (None, "int8"):
            if mode is not None:
                kt.transforms.quantize(made, mode)
            for place, source in enumerate(sources):
                found = rows(made.generate(sources, at))[place]
                (wanted,) = rows(made.generate([source], suppressing(made, source, at)))
                assert found == wanted or mode is not None and config is model.config


@pytest.mark.one_backend("torch")
def test_a_shortlist_stays_with_a_model(model, tmp_path):
    model.save_to_preset(tmp_path / "preset")
    saved = kt.Seq2SeqLM.from_preset(tmp_path / "preset")
    copied = kt.Seq2SeqLM.from_config(model.get_config())
    copied.set_weights(model.get_weights())
    for each in (saved, copied):
        assert each.shortlist.content == model.shortlist.content
        assert rows(each.generate(SOURCES, settings())) == rows(model.generate(SOURCES, settings()))
    assert model.with_vocabulary(SIZE + 3).shortlist is None  # it would rule out the new tokens
    assert kt.Seq2SeqLM.from_preset(tmp_path / "preset", shortlist=None).shortlist is None
    (tmp_path / "preset" / "shortlist.bin").write_bytes(model.shortlist.content[:-1])
    with pytest.raises(ValueError, match="Expected a whole shortlist in .*shortlist.bin, got a truncated one"):
        kt.Seq2SeqLM.from_preset(tmp_path / "preset")
    with pytest.raises(ValueError, match="Expected a shortlist for 40 source and 40 target tokens in the arguments"):
        kt.Seq2SeqLM(model.config, shortlist=Shortlist.of([[40]], first=2))
    with pytest.raises(TypeError, match="Expected shortlist to be a Shortlist or None, got 'lex.bin'"):
        kt.Seq2SeqLM(model.config, shortlist="lex.bin")
    with pytest.raises(ValueError, match="field 'shortlist' is 'no', expected bool"):
        settings(shortlist="no")


@pytest.mark.one_backend("torch")
def test_words_are_those_of_marian():
    made = Shortlist.of([[7], [3, 9], []], first=2)
    assert made.words([1, 2], 20, shared=False).tolist() == [0, 1, 2, 3, 4, 5, 6, 9]  # filled up to eight
    assert made.words([1, 8], 20, shared=True).tolist() == [0, 1, 2, 3, 4, 5, 8, 9]
    assert made.words([0, 99], 5 + 3, shared=True).tolist() == list(range(8))
    assert made.words([], 6, shared=True).tolist() == list(range(6))  # there are no more


@pytest.mark.one_backend("torch")
def test_settings_say_the_same_in_each_batch():
    """So that one compilation serves all batches."""
    config = settings(forced_start_id=12, num_beams=2)
    made = [SmallerVocabulary.of([np.array(each)], config, SIZE + 1) for each in ([0, 3, 5], [7, 8, 9, 39])]
    assert made[0].config == made[1].config != config
    assert made[0].at_places([-1, 5, 39]).tolist() == [-1, 5, -2]
    for each in made:
        assert each.token_ids[list(each.config.end_ids)].tolist() == [END]
        assert each.token_ids[each.config.forced_start_id] == 12
        assert each.allowed[0, each.config.forced_start_id]
