"""Beam search and greedy decoding beside transformers' own, over many settings: a small random BART, called without a
cache as our step function."""

import functools
import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.one_backend("torch")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from keras_transformers.generation import GenerationConfig, generate  # noqa: E402
from keras_transformers.layers.cache import Cache  # noqa: E402
from keras_transformers.layers.state import KeysAndValues  # noqa: E402

START, END, OTHER_END, PADDING = 2, 3, 7, 1
VOCABULARY = 23


@pytest.fixture(scope="module")
def bart():
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        init_std=0.8,  # distributions far from even, so that sentences differ
        bos_token_id=0,
        pad_token_id=PADDING,
        eos_token_id=END,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
    )
    model = transformers.BartForConditionalGeneration(config).eval()
    model.generation_config.forced_eos_token_id = None
    with torch.no_grad():
        model.final_logits_bias[:] = torch.randn(1, VOCABULARY) * 0.5
    return model


@pytest.fixture(scope="module")
def source(bart):
    token_ids = torch.randint(8, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(token_ids)
    for row, length in enumerate((9, 7, 5, 3, 9, 2)):
        token_ids[row, length:], mask[row, length:] = PADDING, 0
    with torch.no_grad():
        states = bart.get_encoder()(token_ids, attention_mask=mask).last_hidden_state
    return token_ids, mask, states


class Step:
    """BART as a step function: the cache holds the tokens so far, and everything is computed again."""

    def __init__(self, bart):
        self.bart = bart

    def cache(self, source):
        _, mask, states = source
        history = torch.zeros(len(states), 1, 1, 1)
        return Cache(0, (KeysAndValues(history, history.clone()),), ((states[:, None], states[:, None]),), mask)

    def __call__(self, token_ids, cache):
        history = cache.states[0].key
        end = cache.offset + token_ids.shape[1]
        history[:, 0, cache.offset : end, 0] = token_ids.float()
        states, mask = cache.cross_attention[0][0][:, 0], cache.source_padding_mask
        beams = len(history) // len(states)
        output = self.bart(
            encoder_outputs=transformers.modeling_outputs.BaseModelOutput(states.repeat_interleave(beams, dim=0)),
            attention_mask=mask.repeat_interleave(beams, dim=0),
            decoder_input_ids=history[:, 0, :end, 0].long(),
            use_cache=False,
        )
        return output.logits[:, -1], cache._replace(offset=end)


THEIR_NAMES = {"forced_start_id": "forced_bos_token_id", "forced_end_id": "forced_eos_token_id"}


def theirs(bart, source, prompts, **settings):
    token_ids, mask, _ = source
    settings = {THEIR_NAMES.get(name, name): value for name, value in settings.items()}
    for name in {"bad_words_ids", "suppress_tokens", "begin_suppress_tokens"} & set(settings):
        settings[name] = [list(each) if isinstance(each, tuple) else each for each in settings[name]]
    with torch.no_grad():
        output = bart.generate(
            input_ids=token_ids,
            attention_mask=mask,
            decoder_input_ids=torch.as_tensor(prompts),
            do_sample=False,
            pad_token_id=PADDING,
            output_scores=True,
            return_dict_in_generate=True,
            **settings,
        )
    scores = None if settings["num_beams"] == 1 else output.sequences_scores.numpy()
    return output.sequences[:, prompts.shape[1] :].tolist(), scores


def up_to_end(rows, end_ids):
    """Without what follows the end: their padding token is not always the padding token."""
    cut = [next((i + 1 for i, token_id in enumerate(row) if token_id in end_ids), len(row)) for row in rows]
    return [list(row)[:end] for row, end in zip(rows, cut, strict=True)]


def compare(bart, source, end_ids, prompt_length=1, **settings):
    rows = len(source[0])
    prompts = np.full((rows, prompt_length), START)
    prompts[:, 1:] = np.random.default_rng(0).integers(8, VOCABULARY, (rows, prompt_length - 1))
    expected, expected_scores = theirs(bart, source, prompts, eos_token_id=list(end_ids), **settings)
    config = GenerationConfig(end_ids=end_ids, padding_id=PADDING, **settings)
    step = Step(bart)
    read = np.where(source[1].numpy() == 1, source[0].numpy(), -1)
    generated = generate(None, step, step.cache(source), prompts, config, segment_length=5, sources=read)
    assert up_to_end(generated.token_ids.tolist(), end_ids) == up_to_end(expected, end_ids)
    if expected_scores is None:
        assert generated.scores is None
    else:
        assert np.abs(generated.scores - expected_scores).max() <= 1e-5 * max(1, np.abs(expected_scores).max())
    return up_to_end(expected, end_ids), expected_scores


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_beam_search(bart, source, num_beams, early_stopping):
    lengths = set()
    penalties, ends = (-1.0, 0.0, 0.7, 1.0, 2.0), ((END,), (END, OTHER_END))
    settings = [*itertools.product(penalties, ends)]
    if early_stopping and num_beams > 2:  # half of them with three, the other half with five
        settings = [(penalty, ends[(n + num_beams // 2) % 2]) for n, penalty in enumerate(penalties)]
    for length_penalty, end_ids in settings:
        texts, _ = compare(
            bart,
            source,
            end_ids,
            num_beams=num_beams,
            early_stopping=early_stopping,
            length_penalty=length_penalty,
            num_return_sequences=num_beams - 1,
            max_new_tokens=14,
        )
        lengths |= set(map(len, texts))
    assert len(lengths) > 4, "sentences must end at different steps for this to test anything"


@pytest.mark.parametrize("settings", [{"max_new_tokens": 1}, {"max_new_tokens": 2}, {"max_length": 12}])
@pytest.mark.parametrize("num_beams", [1, 4])
def test_limits_and_longer_prompts(bart, source, num_beams, settings):
    compare(bart, source, (END,), prompt_length=4, num_beams=num_beams, num_return_sequences=num_beams, **settings)


def test_without_an_end_token(bart, source):
    settings = {"num_beams": 3, "max_new_tokens": 8}
    prompts = np.full((6, 1), START)
    theirs_config = transformers.GenerationConfig(pad_token_id=PADDING, decoder_start_token_id=START, **settings)
    token_ids, mask, _ = source
    expected = bart.generate(
        token_ids, attention_mask=mask, generation_config=theirs_config, eos_token_id=None, output_scores=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    step = Step(bart)
    config = GenerationConfig(padding_id=PADDING, **settings)
    generated = generate(None, step, step.cache(source), prompts, config)
    assert generated.scores == pytest.approx(expected.sequences_scores.numpy(), rel=1e-5)
    assert generated.token_ids.tolist() == expected.sequences[:, 1:].tolist()


def test_greedy(bart, source):
    texts, _ = compare(bart, source, (END, OTHER_END), num_beams=1, max_new_tokens=20)
    assert len(set(map(len, texts))) > 1


PENALTIES = {
    "repetition": {"repetition_penalty": 1.7},
    "encouraged repetition": {"repetition_penalty": 0.6},
    "n-gram of one": {"no_repeat_ngram_size": 1},
    "n-gram": {"no_repeat_ngram_size": 2},
    "long n-gram": {"no_repeat_ngram_size": 4},
    "bad words": {"bad_words_ids": ((9,), (12, 15), (15, 12, 20), (20,))},
    "not too short": {"min_new_tokens": 9},
    "not too short in all": {"min_length": 12},
    "n-grams of the source": {"encoder_no_repeat_ngram_size": 2},
    "words of the source": {"encoder_no_repeat_ngram_size": 1},
    "suppressed": {"suppress_tokens": (9, 12), "begin_suppress_tokens": (20, 15)},
    "a forced end": {"forced_end_id": END, "min_length": 15},
    "a forced start": {"forced_start_id": 21, "begin_suppress_tokens": (20, 15)},
    "scaled anew": {"renormalize_logits": True, "bad_words_ids": ((20,), (12,)), "suppress_tokens": (9,)},
    "Marian's": {"renormalize_logits": True, "bad_words_ids": ((PADDING,),), "forced_end_id": END},
    "BART's summaries": {
        "forced_start_id": 0,
        "forced_end_id": END,
        "no_repeat_ngram_size": 3,
        "min_length": 10,
        "length_penalty": 2.0,
    },
    "scaled anew, with repetition": {"renormalize_logits": True, "repetition_penalty": 1.4, "bad_words_ids": ((20,),)},
    "all": {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "bad_words_ids": ((11, 9), (14,)),
        "min_new_tokens": 4,
    },
}


@pytest.fixture(scope="module")
def plainly(bart, source):
    """What transformers finds without penalties, by a number of beams, once for each."""

    @functools.cache
    def found(num_beams):
        settings = {"num_beams": num_beams, "num_return_sequences": num_beams, "max_new_tokens": 20}
        texts, scores = theirs(bart, source, np.full((6, 1), START), eos_token_id=[END, OTHER_END], **settings)
        return up_to_end(texts, (END, OTHER_END)), scores

    return found


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("num_beams", [1, 4])
def test_penalties(bart, source, plainly, num_beams, name):
    settings = {"num_beams": num_beams, "num_return_sequences": num_beams, "max_new_tokens": 20}
    compare(bart, source, (END, OTHER_END), 6, **settings, **PENALTIES[name])
    changed, scores = compare(bart, source, (END, OTHER_END), **settings, **PENALTIES[name])
    plain, plain_scores = plainly(num_beams)
    seldom = num_beams == 1 and name in ("Marian's", "n-grams of the source")  # greedily, none is met with here
    assert plain != changed or seldom or (scores is not None and np.abs(plain_scores - scores).max() > 1e-3)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_translation_settings_hold_for_a_batch_of_one_and_of_many(bart, source, early_stopping):
    """The settings that translation models have, over the numbers of beams and length penalties in use."""
    named = {"forced_end_id": END, "bad_words_ids": ((PADDING,), (9, 12)), "min_length": 5, "forced_start_id": 21}
    for num_beams, length_penalty in itertools.product((2, 4, 5), (0.6, 1.0, 2.0)):
        settings = {"early_stopping": early_stopping, "length_penalty": length_penalty, "num_beams": num_beams}
        settings |= {"num_return_sequences": num_beams, "max_length": 13, "no_repeat_ngram_size": 2, **named}
        compare(bart, source, (END,), **settings)
    for row in (1, 5):  # alone, without the padding that the batch put behind it
        length = int(source[1][row].sum())
        compare(bart, tuple(each[row : row + 1, :length] for each in source), (END,), **settings)


@pytest.mark.parametrize("seed", range(4))
def test_other_random_weights(bart, source, seed):
    """Perturbed weights: ends happen at other steps, early, late or never."""
    before = {name: weight.clone() for name, weight in bart.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in bart.model.decoder.layers.parameters():
            weight += torch.randn(weight.shape, generator=generator) * 0.3
        bart.final_logits_bias[:, END] += 1
    try:
        compare(bart, source, (END,), num_beams=1, max_new_tokens=20)
        for early_stopping, length_penalty in itertools.product((False, True, "never"), (0.5, 1.5)):
            settings = {"early_stopping": early_stopping, "length_penalty": length_penalty}
            compare(bart, source, (END,), num_beams=4, num_return_sequences=4, max_new_tokens=20, **settings)
    finally:
        bart.load_state_dict(before)
