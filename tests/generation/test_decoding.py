import itertools

import keras
import numpy as np
import pytest

from keras_transformers.generation import GenerationConfig, from_hugging_face, generate, stream, to_hugging_face
from keras_transformers.generation.penalties import (
    BadWords,
    Forced,
    NoRepeatNgram,
    RepetitionPenalty,
    Suppressed,
)
from keras_transformers.generation.samplers import MinP, Temperature, TopK, TopP
from keras_transformers.generation.settings import penalties, samplers
from keras_transformers.layers import cache as caches
from keras_transformers.records import from_json, to_json
from tests.generation.models import END, HistoryModel, issue_table, likeliest_hypotheses
from tests.parameters import few

SOURCES = np.random.default_rng(5).normal(size=(11, 8)).astype("float32") * 2


@pytest.fixture(scope="module")
def model():
    return HistoryModel(end_logit=-2.0, end_growth=0.5)


def run(model, sources, config, prompts=None, length=1, **options):
    prompts = np.zeros((len(sources), 1), int) if prompts is None else prompts
    return generate(model, model.step, model.cache(sources, length), prompts, config, **options)


def rows_alone(model, sources, config, prompts=None, **options):
    """What each sentence gives by itself, as lists of ids without padding, and scores."""
    return [
        run(model, sources[i : i + 1], config, None if prompts is None else prompts[i : i + 1], **options)
        for i in range(len(sources))
    ]


def trimmed(token_ids, end_ids=(END,)):
    """Each row up to its end token, as lists."""
    ends = [np.flatnonzero(np.isin(row, end_ids)) for row in token_ids]
    return [row[: end[0] + 1 if len(end) else None].tolist() for row, end in zip(token_ids, ends, strict=True)]


# --- the issue's table ---


@pytest.mark.parametrize("length_penalty, ids, score", [(0.0, [1], -0.511), (1.0, [2, 3, 1], -0.305)])
def test_a_finished_hypothesis_leaves_the_beam_and_is_kept(length_penalty, ids, score):
    table = issue_table()
    config = GenerationConfig(num_beams=2, end_ids=(END,), length_penalty=length_penalty, max_new_tokens=8)
    generated = generate(table, table.step, table.cache(), [[0]], config)
    assert trimmed(generated.token_ids) == [ids]
    assert generated.scores == pytest.approx([score], abs=1e-3)


def test_greedy_takes_the_likeliest_token():
    table = issue_table()
    generated = generate(
        table, table.step, table.cache(), [[0], [2], [3]], GenerationConfig(end_ids=(END,), max_new_tokens=8)
    )
    assert generated.token_ids.tolist() == [[1, 0], [3, 1], [1, 0]]
    assert generated.token_ids.dtype == np.int32
    assert generated.scores is None


def test_weights_are_read_at_each_call():
    table = issue_table()
    config = GenerationConfig(end_ids=(END,), max_new_tokens=4)
    assert generate(table, table.step, table.cache(), [[0]], config).token_ids.tolist() == [[1]]
    traced = table.traced
    table.logits.assign(np.eye(4, k=1, dtype="float32"))
    assert generate(table, table.step, table.cache(), [[1]], config).token_ids.tolist() == [[2, 3, 0, 1]]
    if keras.backend.backend() != "torch":
        assert table.traced == traced, "new weights must not compile again"


# --- caches, batches, segments ---


def test_greedy_with_a_cache_is_greedy_without(model):
    ids = run(model, SOURCES[:4], GenerationConfig(end_ids=(END,), max_new_tokens=40)).token_ids
    for source, row in zip(SOURCES, trimmed(ids), strict=False):
        expected = [0]
        while len(expected) <= 40 and END not in expected:
            expected.append(int(np.argmax(model.numpy_logits(source, expected))))
        assert row == expected[1:]


@pytest.mark.parametrize(
    "early_stopping, length_penalty", few([(False, 1.0), (True, 0.0), ("never", 2.0)], (False, 1.0))
)
def test_beams_as_wide_as_the_space_find_the_best_hypotheses(early_stopping, length_penalty):
    small = HistoryModel(vocabulary_size=4, end_logit=0.3, seed=3)
    config = GenerationConfig(
        num_beams=64,
        end_ids=(END,),
        max_new_tokens=3,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        num_return_sequences=3,
    )
    generated = run(small, SOURCES[:2], config)
    for i in range(2):
        best = likeliest_hypotheses(small, SOURCES[i], length_penalty, 3, END, 3)
        assert trimmed(generated.token_ids[3 * i : 3 * i + 3]) == [list(ids) for _, ids in best]
        assert generated.scores[3 * i : 3 * i + 3] == pytest.approx([score for score, _ in best], rel=1e-5)


CONFIGS = {
    "greedy": GenerationConfig(end_ids=(END,), max_new_tokens=24),
    "beams": GenerationConfig(num_beams=3, end_ids=(END,), max_new_tokens=24, num_return_sequences=2),
    "beams, early": GenerationConfig(num_beams=4, end_ids=(END, 5), max_new_tokens=24, early_stopping=True),
    "beams, never": GenerationConfig(
        num_beams=2, end_ids=(END,), max_new_tokens=24, early_stopping="never", length_penalty=2.0
    ),
    "no end": GenerationConfig(num_beams=2, max_new_tokens=21),
}


@pytest.mark.parametrize("name", few(["greedy", "beams, early", "beams, never"], "beams, early"))
def test_a_batch_equals_its_rows_alone(model, name):
    config = CONFIGS[name]
    prompts = np.random.default_rng(0).integers(6, 13, (7, 2))
    together = run(model, SOURCES[:7], config, prompts)
    expected = trimmed(together.token_ids, config.end_ids)
    lengths = {len(row) for row in expected}
    assert len(lengths) > 2, "the sentences must end at different steps for this to test anything"
    alone = rows_alone(model, SOURCES[:7], config, prompts)
    assert [row for generated in alone for row in trimmed(generated.token_ids, config.end_ids)] == expected
    if config.num_beams > 1:
        assert together.scores == pytest.approx(np.concatenate([generated.scores for generated in alone]), rel=1e-5)


@pytest.fixture
def odd(monkeypatch):
    """Room that grows from 8 positions, and a list that notes each compaction."""
    compactions = []

    def select(cache, rows, sentences):
        compactions.append(len(sentences))
        return caches_select(cache, rows, sentences)

    caches_select = caches.select
    monkeypatch.setattr(caches, "select", select)
    monkeypatch.setattr("keras_transformers.models.sizes.SMALLEST_ROOM", 8)
    monkeypatch.setattr("keras_transformers.models.sizes.LARGE_ROOM", 16)
    monkeypatch.setattr("keras_transformers.generation.decoding.SEGMENT_LENGTH", 3)
    return compactions


@pytest.mark.parametrize("name", few(["greedy", "beams", "beams, early", "no end"], "beams, early"))
def test_segments_room_and_compaction_change_nothing(model, name, odd):
    config, sources = CONFIGS[name], SOURCES[:5]
    in_one = run(model, sources, config, length=32, segment_length=1000)
    assert not odd
    in_pieces = run(model, sources, config, segment_length=3)
    assert bool(odd) == (name != "no end"), "sentences must have been dropped for this to test anything"
    assert in_pieces.token_ids.tolist() == in_one.token_ids.tolist()
    if config.num_beams > 1:
        assert in_pieces.scores == pytest.approx(in_one.scores, rel=1e-6)


def test_sampling_does_not_depend_on_segments_room_or_compaction(model, odd):
    config = GenerationConfig(
        do_sample=True, num_return_sequences=2, end_ids=(END, 5), max_new_tokens=24, temperature=1.5, seed=3
    )
    in_one = run(model, SOURCES[:5], config, length=32, segment_length=1000).token_ids
    assert in_one.shape[0] == 10
    assert run(model, SOURCES[:5], config, segment_length=3).token_ids.tolist() == in_one.tolist()
    assert odd


def test_a_long_prompt_is_continued_as_if_it_had_been_generated(model):
    whole = run(model, SOURCES[:2], GenerationConfig(max_new_tokens=50)).token_ids
    prompts = np.concatenate((np.zeros((2, 1), int), whole[:, :39]), axis=1)
    assert (
        run(model, SOURCES[:2], GenerationConfig(max_new_tokens=11), prompts).token_ids.tolist()
        == whole[:, 39:].tolist()
    )
    assert (
        run(model, SOURCES[:2], GenerationConfig(max_length=51), prompts).token_ids.tolist() == whole[:, 39:].tolist()
    )


def test_without_a_limit_there_are_256_new_tokens(model):
    assert run(model, SOURCES[:1], GenerationConfig(), [[0] * 40]).token_ids.shape == (1, 256)


def test_one_new_token_and_no_prompts(model):
    config = GenerationConfig(num_beams=2, end_ids=(END,), max_new_tokens=1, num_return_sequences=2)
    generated = run(model, SOURCES[:1], config)
    logits = model.numpy_logits(SOURCES[0], [0])
    assert generated.token_ids[:, 0].tolist() == np.argsort(-logits)[:2].tolist()
    assert run(model, SOURCES[:0], config, np.zeros((0, 1), int)).token_ids.shape == (0, 0)


# --- streaming ---


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "seed": 1, "num_return_sequences": 2}])
def test_streaming_gives_what_generate_gives(model, options):
    config = GenerationConfig(end_ids=(END,), max_new_tokens=36, **options)
    prompts = np.zeros((3, 1), int)
    streamed = list(stream(model, model.step, model.cache(SOURCES[:3]), prompts, config))
    generated = run(model, SOURCES[:3], config).token_ids
    assert np.stack(streamed, axis=1).tolist() == generated.tolist()


def test_streaming_makes_tokens_as_they_are_asked_for(model):
    config = GenerationConfig(max_new_tokens=500)
    tokens = stream(model, model.step, model.cache(SOURCES[:1]), [[0]], config)
    first = [int(token[0]) for token in itertools.islice(tokens, 3)]
    assert first == run(model, SOURCES[:1], GenerationConfig(max_new_tokens=3)).token_ids[0].tolist()


# --- settings and errors ---


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_beams": 0}, "Expected num_beams to be an int of at least 1, got 0"),
        ({"num_beams": 1.5}, "'num_beams' is 1.5, expected int"),
        ({"max_new_tokens": 0}, "Expected max_new_tokens to be an int of at least 1, got 0"),
        ({"max_length": 0}, "Expected max_length to be an int of at least 1, got 0"),
        ({"num_beams": 2, "num_return_sequences": 3}, "Expected num_return_sequences to be at most num_beams=2, got 3"),
        ({"num_return_sequences": 2}, "Expected num_return_sequences to be at most num_beams=1, got 2"),
        ({"early_stopping": "always"}, "Expected early_stopping to be False, True or \"never\", got 'always'"),
        ({"early_stopping": 1}, "'early_stopping' is 1, expected bool"),
        ({"do_sample": True, "num_beams": 2}, "Expected num_beams=1 with do_sample=True, got num_beams=2"),
        ({"temperature": 0.0}, "Expected temperature > 0, got 0.0"),
        ({"temperature": -1.0}, "Expected temperature > 0, got -1.0"),
        ({"top_k": 0}, "Expected top_k to be an int of at least 1, got 0"),
        ({"top_p": 0.0}, r"Expected top_p in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, r"Expected top_p in \(0, 1\], got 1.1"),
        ({"min_p": -0.1}, r"Expected min_p in \(0, 1\], got -0.1"),
        ({"end_ids": 2}, "'end_ids' is 2, expected tuple"),
        ({"end_ids": (-1,)}, "Expected end_ids to be a tuple of token ids"),
        ({"padding_id": None}, "'padding_id' is None, expected int"),
        ({"length_penalty": float("nan")}, "'length_penalty' is nan, expected finite float"),
        ({"do_sample": "no"}, "'do_sample' is 'no', expected bool"),
        ({"seed": -1}, "Expected seed to be None or at least 0"),
        ({"repetition_penalty": 0.0}, "Expected repetition_penalty > 0, got 0.0"),
        ({"presence_penalty": float("inf")}, "'presence_penalty' is inf, expected finite float"),
        ({"no_repeat_ngram_size": -1}, "Expected no_repeat_ngram_size to be at least 0, got -1"),
        ({"bad_words_ids": ((3,), ())}, r"Expected bad_words_ids to be a tuple of tuples of token ids .* a word \(\)"),
        ({"bad_words_ids": ([3],)}, r"a word \[3\]"),
        ({"min_new_tokens": -1}, "Expected min_new_tokens to be at least 0, got -1"),
        ({"min_new_tokens": 3, "max_new_tokens": 2}, "Expected min_new_tokens to be at most max_new_tokens=2, got 3"),
        (
            {"num_beams": 2, "do_sample": True, "stop": ("a",), "top_k": 0},
            "Expected num_beams=1 with do_sample=True and stop, got num_beams=2; top_k to be an int of at least 1",
        ),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        GenerationConfig(**settings)


@pytest.mark.parametrize(
    "prompts, message",
    [
        ([0, 1], r"Expected prompts \[B, T\] with T at least 1, got shape \(2,\)"),
        ([[[0]]], r"got shape \(1, 1, 1\)"),
        (np.zeros((2, 0), int), r"got shape \(2, 0\)"),
        ([[0.0]], "Expected prompts of token ids, an int dtype, got float64"),
        ([[True]], "an int dtype, got bool"),
        ([[-1]], r"Expected token ids in \[0, 13\), got ids from -1 to -1"),
        ([[0, 13]], r"Expected token ids in \[0, 13\), got ids from 0 to 13"),
        ([[0] * 9], "Expected prompts shorter than max_length=9, got 9 tokens"),
    ],
)
def test_wrong_prompts(model, prompts, message):
    for function in (generate, stream):
        with pytest.raises(ValueError, match=message):
            function(
                model, model.step, model.cache(SOURCES[:1]), prompts, GenerationConfig(max_length=9), vocabulary_size=13
            )


def test_special_tokens_out_of_range(model):
    with pytest.raises(ValueError, match=r"Expected end_ids and padding_id in \[0, 13\), got \[13, 99\]"):
        run(model, SOURCES[:1], GenerationConfig(end_ids=(1, 13), padding_id=99), vocabulary_size=13)


def test_beams_cannot_be_streamed(model):
    with pytest.raises(ValueError, match="Expected num_beams=1 to stream tokens, got num_beams=2"):
        stream(model, model.step, model.cache(SOURCES[:1]), [[0]], GenerationConfig(num_beams=2))


def test_config_json():
    config = GenerationConfig(num_beams=4, end_ids=(2, 3), early_stopping="never", top_k=7, max_length=9)
    assert from_json(to_json(config)) == config
    values = to_hugging_face(config)
    assert values["eos_token_id"] == [2, 3] and "seed" not in values
    assert from_hugging_face(values) == config
    assert from_hugging_face(to_hugging_face(GenerationConfig())) == GenerationConfig(max_new_tokens=256)


def test_config_of_a_hugging_face_file():
    values = {
        "_from_model_config": True,
        "bos_token_id": 7,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "max_length": 200,
        "no_repeat_ngram_size": 0,
    }
    assert from_hugging_face(values) == GenerationConfig(
        start_id=7, end_ids=(2,), padding_id=1, max_length=200, top_k=50
    )
    assert from_hugging_face({**values, "decoder_start_token_id": 4, "top_k": 0}).start_id == 4
    with pytest.raises(ValueError, match="got also {'watermark_token_id': 0}"):
        from_hugging_face({**values, "watermark_token_id": 0})
    with pytest.raises(ValueError, match="got also {'typical_p': 0.5, 'sequence_bias': {'a': 1}}"):
        from_hugging_face({**values, "forced_eos_token_id": 0, "typical_p": 0.5, "sequence_bias": {"a": 1}})


def test_what_translation_models_say():
    """Marian's, BART's for summaries, and mBART-50's files."""
    marian = {
        "bad_words_ids": [[58100]],
        "bos_token_id": 0,
        "decoder_start_token_id": 58100,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "max_length": 512,
        "num_beams": 6,
        "pad_token_id": 58100,
        "renormalize_logits": True,
    }
    config = from_hugging_face(marian)
    assert (config.start_id, config.forced_end_id, config.renormalize_logits) == (58100, 0, True)
    assert penalties(config) == (BadWords(((58100,),)), Forced((0,), at_end=True))
    summaries = {
        "decoder_start_token_id": 2,
        "early_stopping": True,
        "encoder_no_repeat_ngram_size": 3,
        "eos_token_id": 2,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": [2, 5],
        "length_penalty": 2.0,
        "max_length": 142,
        "min_length": 56,
        "no_repeat_ngram_size": 3,
        "num_beams": 4,
        "pad_token_id": 1,
        "suppress_tokens": [7],
        "begin_suppress_tokens": [8, 9],
    }
    config = from_hugging_face(summaries)
    assert penalties(config) == (
        NoRepeatNgram(3),
        NoRepeatNgram(3, of_source=True),
        Suppressed((2,), until=56, with_prompt=True),
        Forced((0,)),
        Forced((2, 5), at_end=True),
        Suppressed((7,)),
        Suppressed((8, 9), until=1, after_forced=True),
    )
    for values in (marian, summaries):
        config = from_hugging_face(values)
        written = to_hugging_face(config)
        assert from_hugging_face(written) == config
        assert {name: value for name, value in values.items() if name != "bos_token_id"}.items() <= written.items()


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"forced_start_id": -1}, "forced_start_id to be token ids"),
        ({"forced_end_id": (1, -2)}, "forced_end_id to be token ids"),
        ({"suppress_tokens": (1, 2.5)}, "suppress_tokens to be token ids"),
        ({"begin_suppress_tokens": ("a",)}, "begin_suppress_tokens to be token ids"),
        ({"min_length": -1}, "min_length to be at least 0"),
        ({"encoder_no_repeat_ngram_size": -1}, "encoder_no_repeat_ngram_size to be at least 0"),
    ],
)
def test_forced_and_suppressed_ids_that_are_none(settings, expected):
    with pytest.raises(ValueError, match=expected):
        GenerationConfig(**settings)


def test_n_grams_of_a_source_want_a_source(model):
    with pytest.raises(ValueError, match="Expected sources for encoder_no_repeat_ngram_size, got none"):
        run(model, SOURCES[:1], GenerationConfig(encoder_no_repeat_ngram_size=2))


def test_penalties_and_stop_strings_in_a_hugging_face_file():
    values = {
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": [[4], [5, 6]],
        "min_new_tokens": 3,
        "stop_strings": "end",
        "max_new_tokens": 9,
    }
    config = from_hugging_face(values)
    assert config == GenerationConfig(
        repetition_penalty=1.3,
        no_repeat_ngram_size=2,
        bad_words_ids=((4,), (5, 6)),
        min_new_tokens=3,
        stop=("end",),
        max_new_tokens=9,
        top_k=50,
    )
    assert penalties(config) == (
        RepetitionPenalty(1.3),
        NoRepeatNgram(2),
        BadWords(((4,), (5, 6))),
        Suppressed((), until=3),
    )
    written = to_hugging_face(config)
    assert written["bad_words_ids"] == [[4], [5, 6]] and written["stop_strings"] == ["end"]
    assert from_hugging_face(written) == config
    config = GenerationConfig(presence_penalty=0.5, frequency_penalty=-0.25, max_new_tokens=9)
    assert from_hugging_face(to_hugging_face(config)) == config
    assert not {"repetition_penalty", "bad_words_ids", "stop_strings"} & set(to_hugging_face(GenerationConfig()))


def test_samplers_of_a_config():
    assert samplers(GenerationConfig()) == ()
    config = GenerationConfig(min_p=0.1, top_p=0.9, top_k=5, temperature=0.5)
    assert samplers(config) == (Temperature(0.5), TopK(5), TopP(0.9), MinP(0.1))


@pytest.mark.parametrize("length", few([8, 9, 12, 21, 25], 9, 21))
def test_a_long_prompt_is_read_in_pieces(model, length, monkeypatch):
    prompts = np.random.default_rng(length).integers(4, 13, (3, length))
    config = GenerationConfig(end_ids=(END,), max_new_tokens=6, num_beams=2)
    whole = run(model, SOURCES[:3], config, prompts)
    monkeypatch.setattr("keras_transformers.models.sizes.READ_AT_ONCE", 8)
    for name in ("ROOM_TO_READ", "LARGE_ROOM"):  # rooms between powers of two, too
        monkeypatch.setattr(f"keras_transformers.models.sizes.{name}", 8)
    pieces = run(model, SOURCES[:3], config, prompts)
    np.testing.assert_array_equal(pieces.token_ids, whole.token_ids)
    np.testing.assert_allclose(pieces.scores, whole.scores, rtol=1e-5)
