"""A decoder alone: texts beside each other, behind padding, and token by token are what each is by itself."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig
from keras_transformers.layers.positions import Alibi, Learned, RelativeBuckets, Rotary, Sinusoidal
from keras_transformers.layers.stack import StackConfig
from tests.layers.reference import fill, relative_error
from tests.parameters import few
from tests.quick_compilation import fast

once = pytest.mark.one_backend("torch")  # what strings become is no matter of a backend

POSITIONS = {
    "rotary": (None, Rotary()),
    "alibi": (None, Alibi()),
    "buckets": (None, RelativeBuckets(8, 16)),
    "learned": (Learned(12), None),
    "sinusoidal": (Sinusoidal(12), None),
}


def make(name, **attention):
    absolute, relative = POSITIONS[name]
    block = BlockConfig(
        AttentionConfig(4, 2, positions=relative, **attention), FeedForwardConfig(24), norm_placement="pre"
    )
    return kt.CausalLM(kt.ModelConfig(16, EmbeddingsConfig(40, absolute), decoder=StackConfig(2, block, True)))


@pytest.fixture(params=few(POSITIONS, "rotary"))
def model(request):
    return make(request.param)


def logits(model, token_ids, **inputs):
    inputs = {"token_ids": token_ids, **inputs}
    inputs = {name: ops.convert_to_tensor(each, "int32") for name, each in inputs.items()}
    return ops.convert_to_numpy(fast(lambda inputs: model(inputs))(inputs))


TEXTS = [[5, 9, 3, 7, 2], [8, 4, 11], [1, 30, 22, 6]]


def test_padding_before_a_text_changes_nothing(model):
    for text in TEXTS:
        padded = [[0] * 4 + text]
        found = logits(model, padded, starts=[[4]])[:, 4:]
        assert relative_error(found, logits(model, [text])) <= 1e-5


def test_texts_in_one_row_do_not_see_each_other(model):
    row = sum(TEXTS, [])
    starts = np.repeat(np.cumsum([0, *map(len, TEXTS[:-1])]), [len(text) for text in TEXTS])
    found = logits(model, [row], starts=[starts])
    wanted = np.concatenate([logits(model, [text]) for text in TEXTS], axis=1)
    assert relative_error(found, wanted) <= 1e-5


def test_prompts_of_unequal_length_go_on_as_they_do_alone(model):
    config = kt.GenerationConfig(max_new_tokens=6)
    together = model.generate_ids(TEXTS, config).token_ids
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(model.generate_ids([text], config).token_ids, together[row : row + 1])
        # each is the likeliest after those before it, which a causal model computes in one call
        whole = logits(model, [[*text, *together[row]]])[0]
        np.testing.assert_array_equal(whole[len(text) - 1 : -1].argmax(-1), together[row])


@pytest.mark.each_keras
def test_a_window_counts_from_the_query(model):
    windowed = dataclasses.replace(model.config.decoder.block.attention, window=2)
    block = dataclasses.replace(model.config.decoder.block, attention=windowed)
    model = kt.CausalLM(
        dataclasses.replace(model.config, decoder=dataclasses.replace(model.config.decoder, block=block))
    )
    found = logits(model, [[0, 0, 0, *TEXTS[0]]], starts=[[3]])[:, 3:]
    assert relative_error(found, logits(model, TEXTS[:1])) <= 1e-5


def test_a_model_with_an_encoder_is_refused():
    with pytest.raises(ValueError, match="with a decoder and no encoder"):
        kt.CausalLM(kt.models.encoder(40, num_layers=1, hidden_dim=16, num_heads=4))


# --- Text to text ---

SENTENCES = [
    "The cat sat on the mat.",
    "The dog ran after the cat, and the cat ran home.",
    "Once upon a time there was a small house.",
    "Où est le vélo ? Là-bas.",
]
LONGEST = 64


def decoder_alone(vocabulary_size, tokenizer=None, *, num_layers=2, context_length=None):
    block = BlockConfig(AttentionConfig(4, 2, positions=Rotary()), FeedForwardConfig(24), norm_placement="pre")
    embeddings = EmbeddingsConfig(vocabulary_size, context_length=context_length)
    decoder = StackConfig(num_layers, block, True)
    return kt.CausalLM(kt.ModelConfig(16, embeddings, decoder=decoder, head=HeadConfig(tied=False)), tokenizer)


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(SENTENCES, vocabulary_size=320)


@pytest.fixture(scope="module")
def writer(tokenizer):
    """With weights that make it say something, if nothing sensible."""
    return fill(decoder_alone(tokenizer.vocabulary_size, tokenizer, context_length=LONGEST), scale=0.6)


@once
def test_a_string_for_a_string_and_a_list_for_a_list(writer):
    results = writer.generate(SENTENCES, max_new_tokens=8)
    assert isinstance(results, list) and len(set(results)) == len(SENTENCES)
    assert writer.generate(SENTENCES[1], max_new_tokens=8) == results[1]
    assert writer.generate(tuple(SENTENCES), max_new_tokens=8, batch_size=3) == results
    assert writer.generate([]) == []
    whole = writer.generate(SENTENCES, max_new_tokens=8, return_prompt=True)
    assert whole == [prompt + text for prompt, text in zip(SENTENCES, results, strict=True)]
    assert writer.generate(SENTENCES[1], max_new_tokens=8, return_prompt=True) == whole[1]


@pytest.mark.each_keras
def test_a_text_goes_on_as_its_ids_do(writer, tokenizer):
    (ids,) = tokenizer.encode(SENTENCES[:1])
    config = writer.generation_config(max_new_tokens=6)
    generated = writer.generate_ids([[tokenizer.start_id, *ids]], config)
    assert writer.generate(SENTENCES[0], max_new_tokens=6) == tokenizer.decode(generated.token_ids[0])
    whole = logits(writer, [[tokenizer.start_id, *ids, *generated.token_ids[0]]])[0]
    np.testing.assert_array_equal(whole[len(ids) : -1].argmax(-1), generated.token_ids[0])


@pytest.mark.each_keras
@pytest.mark.parametrize(
    "options",
    few([{}, {"do_sample": True, "seed": 3, "temperature": 2.0}, {"stop": ("e", "at")}], {"stop": ("e", "at")}),
)
def test_a_stream_joins_to_what_generate_returns(writer, options):
    for prompt in SENTENCES:
        pieces = list(writer.stream(prompt, max_new_tokens=24, **options))
        assert "".join(pieces) == writer.generate(prompt, max_new_tokens=24, **options)
        assert all(pieces)


@pytest.mark.each_keras
def test_a_text_ends_before_a_stop_string(writer):
    texts = writer.generate(SENTENCES, max_new_tokens=24)
    for text in texts:
        stop = text[5:8]  # which may begin in one token and end in another
        options = {"max_new_tokens": 24, "stop": (stop, "never to be found")}
        wanted = [each[: each.find(stop)] if stop in each else each for each in texts]
        assert writer.generate(SENTENCES, **options) == wanted
        assert ["".join(writer.stream(sentence, **options)) for sentence in SENTENCES] == wanted
    for stop in ("never to be found", ["never to be found"], ("never to be found",)):
        assert writer.generate(SENTENCES, max_new_tokens=24, stop=stop) == texts
    ids = writer.tokenizer.encode([texts[0]])[0]
    assert writer.generate(SENTENCES[0], max_new_tokens=24, bad_words_ids=[ids[:1]]) != texts[0]


def test_sampling_hangs_on_seed_and_place_alone(writer):
    options = {"max_new_tokens": 8, "do_sample": True, "temperature": 2.0, "num_return_sequences": 3, "seed": 5}
    results = writer.generate(SENTENCES, **options)
    assert [len(set(each)) for each in results] == [3] * len(SENTENCES)
    assert writer.generate(SENTENCES, batch_size=1, **options) == results
    assert writer.generate(SENTENCES[0], **options) == results[0]


@once
def test_scores_are_mean_log_probabilities(writer, tokenizer):
    texts, scores = writer.generate(SENTENCES, max_new_tokens=5, return_scores=True, end_ids=())
    assert texts == writer.generate(SENTENCES, max_new_tokens=5, end_ids=())
    config = writer.generation_config(max_new_tokens=5, log_probabilities=True, end_ids=())
    for sentence, score in zip(SENTENCES, scores, strict=True):
        ids = [tokenizer.start_id, *tokenizer.encode([sentence])[0]]
        generated = writer.generate_ids([ids], config)
        found = logits(writer, [[*ids, *generated.token_ids[0]]])[0, len(ids) - 1 : -1].astype("float64")
        likely = found - np.log(np.exp(found).sum(-1, keepdims=True))
        wanted = likely[range(5), generated.token_ids[0]]
        np.testing.assert_allclose(generated.log_probabilities[0], wanted, rtol=1e-4)
        np.testing.assert_allclose([score, generated.scores[0]], wanted.mean(), rtol=1e-4)
    _, with_beams = writer.generate(SENTENCES, max_new_tokens=5, return_scores=True, end_ids=(), num_beams=4)
    assert all(beam >= greedy - 1e-5 for beam, greedy in zip(with_beams, scores, strict=True))


@pytest.mark.each_keras
def test_the_context_is_the_longest_text(writer, tokenizer):
    ids = tokenizer.encode(["The cat ran home. " * 30])[0]
    config = writer.generation_config(max_new_tokens=200, end_ids=())
    generated = writer.generate_ids([ids[:LONGEST], ids[: LONGEST - 4], ids[:7]], config)
    assert generated.lengths.tolist() == [1, 5, LONGEST + 1 - 7]
    for row, length in enumerate((LONGEST, LONGEST - 4, 7)):
        alone = writer.generate_ids([ids[:length]], config).token_ids
        np.testing.assert_array_equal(generated.token_ids[row, : alone.shape[1]], alone[0])
    with pytest.raises(ValueError, match=f"prompts of at most {LONGEST} tokens, .* got {LONGEST + 1}"):
        writer.generate_ids([ids[: LONGEST + 1]], config)
    with pytest.raises(ValueError, match=f"prompts of at most {LONGEST} tokens"):
        writer.stream("The cat ran home. " * 30)
    with pytest.raises(ValueError, match="prompts shorter than max_length=7, got 7 tokens"):
        writer.generate_ids([ids[:7], ids[:3]], writer.generation_config(max_length=7))


def test_what_cannot_be_continued(writer, tokenizer):
    for amount in (0, -3):
        with pytest.raises(ValueError, match=f"max_new_tokens to be an int of at least 1, got {amount}"):
            writer.generate("a", max_new_tokens=amount)
    with pytest.raises(ValueError, match="at least one token in each prompt"):
        writer.generate_ids([[5], []])
    with pytest.raises(TypeError, match=r"Expected lists of strings.* got 3 \(int\)"):
        writer.generate(3)
    with pytest.raises(ValueError, match="num_beams=1 with stop, got num_beams=2"):
        writer.generate("a", stop=("b",), num_beams=2)
    with pytest.raises(ValueError, match="stop to be a tuple of strings that are not empty"):
        writer.generate("a", stop=("",))
    with pytest.raises(ValueError, match="num_beams=1 to stream tokens"):
        writer.stream("a", num_beams=2)
    assert writer.generate("", max_new_tokens=3) == tokenizer.decode(
        writer.generate_ids([[tokenizer.start_id]], writer.generation_config(max_new_tokens=3)).token_ids[0]
    )


@pytest.mark.each_keras
def test_of_two_limits_a_call_names_the_one_that_holds(writer):
    changed = kt.CausalLM(writer.config, writer.tokenizer, kt.GenerationConfig(max_new_tokens=3))
    assert changed.generate_ids([[5] * 4], changed.generation_config()).lengths.tolist() == [3]
    assert changed.generate_ids([[5] * 4], changed.generation_config(max_length=9)).lengths.tolist() == [5]


@pytest.mark.each_keras
def test_beams_of_prompts_with_limits_of_their_own_are_as_alone(writer, tokenizer):
    prompts = [[tokenizer.start_id, *ids] for ids in tokenizer.encode(SENTENCES)]
    config = writer.generation_config(num_beams=3, num_return_sequences=2, max_length=max(map(len, prompts)) + 3)
    together = writer.generate_ids(prompts, config)
    assert len(set(together.lengths)) > 1
    for row, prompt in enumerate(prompts):
        alone = writer.generate_ids([prompt], config)
        assert alone.lengths.tolist() == together.lengths[2 * row : 2 * row + 2].tolist()
        np.testing.assert_array_equal(
            alone.token_ids, together.token_ids[2 * row : 2 * row + 2, : alone.token_ids.shape[1]]
        )
        np.testing.assert_allclose(alone.scores, together.scores[2 * row : 2 * row + 2], rtol=1e-5)


@once
def test_an_empty_prompt_needs_a_start_token():
    tokenizer = kt.Tokenizer.train(SENTENCES, vocabulary_size=320, start_token=None)
    model = decoder_alone(tokenizer.vocabulary_size, tokenizer)
    for function in (model.generate, model.stream):
        with pytest.raises(ValueError, match="there is no start token to begin with"):
            function("")
