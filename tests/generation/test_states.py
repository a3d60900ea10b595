"""Layers with other states than keys and values go through generation, which knows the protocol of states alone."""

import typing

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.generation import DraftModel, GenerationConfig, PromptLookup, generate
from keras_transformers.layers import (
    AttentionConfig,
    BlockConfig,
    Cache,
    FeedForwardConfig,
    Rotary,
    StackConfig,
    blocks,
)
from keras_transformers.layers import cache as caches
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.scope import positions_of
from keras_transformers.layers.state import ANY_NUMBER, KeysAndValues, write
from keras_transformers.models.sizes import pieces_to_read
from tests.layers.reference import fill
from tests.parameters import few

V, D = 40, 16
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 5]]


class Mixer(keras.layers.Layer):
    """A layer in the place of self-attention."""

    def __init__(self, *args, causal=True, name=None, dtype=None, **of_attention):
        super().__init__(name=name, dtype=dtype)

    def build(self, shape, *others):
        self.dense = keras.layers.Dense(D, name="dense", dtype=self.dtype_policy)
        self.dense.build(shape)

    def compute_output_spec(self, query, cache=None, **others):
        return keras.KerasTensor(query.shape, dtype=self.compute_dtype)

    def call(
        self,
        query,
        padding_mask=None,
        attention_mask=None,
        cache=None,
        offset=0,
        scope=None,
        return_attention_scores=False,
        training=None,
    ):
        x = self.dense(query)
        if scope.starts is not None:  # nothing comes of the padding before a text
            x = ops.where((positions_of(query.shape[1], offset) >= scope.starts)[..., None], x, 0.0)
        state = self.start_state(query.shape[0], 0) if cache is None else cache
        x, state = self.mix(x, state)
        return x if cache is None else (x, state)


class Mean(typing.NamedTuple):
    """One vector a row, `[R, D]`: nothing can be taken back."""

    vector: typing.Any

    room = None
    reach = 0

    def reorder(self, rows):
        return Mean(rows.take(self.vector))

    def trim(self, written, length):
        return self

    def grow(self, length):
        return self


class RunningMean(Mixer):
    """Recurrent: `h = decay h + x`, for several tokens at once as a product with the powers of the decay."""

    decay = 0.7

    def start_state(self, rows, length):
        return Mean(ops.zeros((rows, D)))

    def mix(self, x, state):
        length = x.shape[1]
        distance = np.arange(length)[:, None] - np.arange(length)
        powers = np.where(distance >= 0, self.decay ** np.maximum(distance, 0), 0.0).astype("float32")
        before = (self.decay ** np.arange(1, length + 1)).astype("float32")[:, None]
        powers, before = ops.convert_to_tensor(powers), ops.convert_to_tensor(before)
        mixed = ops.einsum("ts,bsd->btd", powers, x) + before * state.vector[:, None]
        return mixed, Mean(mixed[:, -1])


class Newest(typing.NamedTuple):
    """The newest inputs, `[R, N, D]`, more than a convolution reads: as many can be taken back."""

    inputs: typing.Any

    room = None

    @property
    def reach(self):
        return self.inputs.shape[1] - (Convolution.width - 1)

    def reorder(self, rows):
        return Newest(rows.take(self.inputs))

    def trim(self, written, length):
        shifted = ops.arange(self.inputs.shape[1]) - (written - length)
        kept = ops.take(self.inputs, ops.maximum(shifted, 0), axis=1)
        return Newest(ops.where((shifted >= 0)[:, None], kept, 0.0))

    def grow(self, length):
        return self


class Convolution(Mixer):
    """The sum of the last inputs, each with a weight."""

    width = 3

    def start_state(self, rows, length):
        return Newest(ops.zeros((rows, self.width - 1 + 8, D)))

    def mix(self, x, state):
        inputs = ops.concatenate([state.inputs, x], axis=1)
        length = inputs.shape[1]
        mixed = sum(
            ops.cast(0.5**n, x.dtype) * inputs[:, length - x.shape[1] - n : length - n] for n in range(self.width)
        )
        return mixed, Newest(inputs[:, x.shape[1] :])


@pytest.fixture(params=few(["recurrent", "convolution", "attention and recurrent"], "attention and recurrent"))
def model(request, monkeypatch):
    mixers = {"recurrent": [RunningMean] * 2, "convolution": [Convolution] * 2}
    mixers = iter(mixers.get(request.param, [blocks.MultiHeadAttention, RunningMean]))
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "MultiHeadAttention", lambda *args, **options: next(mixers)(*args, **options))
        return decoder(2)


def decoder(num_layers):
    keras.utils.set_random_seed(0)
    block = BlockConfig(AttentionConfig(4, positions=Rotary()), FeedForwardConfig(24), norm_placement="pre")
    config = kt.ModelConfig(D, EmbeddingsConfig(V), decoder=StackConfig(num_layers, block, final_norm=True))
    return fill(kt.CausalLM(config), scale=0.6)


class Texts(typing.NamedTuple):
    """The ids so far, `[R, 1, S, 1]`: a state for a model that computes everything again."""

    ids: typing.Any

    @property
    def room(self):
        return self.ids.shape[2]

    reach = ANY_NUMBER

    def reorder(self, rows):
        return Texts(rows.take_written(self.ids))

    def trim(self, written, length):
        return self

    def grow(self, length):
        return Texts(ops.pad(self.ids, ((0, 0), (0, 0), (0, length - self.room), (0, 0))))


def generated_without_states(model, prompt, config):
    """The same, each step from the whole text."""

    def step(token_ids, cache):
        ids, _ = write(cache.states[0].ids, ops.cast(token_ids, "float32")[:, None, :, None], cache.offset)
        end = cache.offset + token_ids.shape[1]
        logits = model({"token_ids": ops.cast(ids[:, 0, :, 0], "int32")})
        return ops.take(logits, end - 1, axis=1), cache._replace(offset=end, states=(Texts(ids),))

    cache = Cache(caches.start(), (Texts(ops.zeros((1, 1, 32, 1))),))
    return generate(model, step, cache, [prompt], config)


CONFIGS = {
    "greedy": GenerationConfig(max_new_tokens=9, end_ids=(3, 7)),
    "beams": GenerationConfig(num_beams=3, max_new_tokens=9, end_ids=(3, 7), num_return_sequences=2),
}


@pytest.mark.parametrize("name", few(CONFIGS, "beams"))
def test_any_state_goes_through_generation(model, name):
    """Prompts of unequal length, together; each is what the whole text says alone."""
    config = CONFIGS[name]
    together = model.generate_ids(PROMPTS, config)
    rows = config.num_return_sequences
    alone_too = PROMPTS if keras.backend.backend() == "torch" else PROMPTS[1:2]  # each is compiled anew
    for n, prompt in enumerate(PROMPTS):
        if prompt not in alone_too:
            continue
        alone = generated_without_states(model, prompt, config)
        found = together.select(slice(n * rows, (n + 1) * rows))
        for mine, its, length in zip(found.token_ids, alone.token_ids, alone.lengths, strict=True):
            assert mine[:length].tolist() == its[:length].tolist()
        if name == "beams":
            np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-4)


def test_guesses_are_taken_back_or_refused(model):
    config = GenerationConfig(max_new_tokens=24)
    prompt = PROMPTS[0] * 3
    expected = model.generate_ids([prompt], config).token_ids.tolist()
    states = model.backbone.start_cache(1, 8).states
    drafts = (PromptLookup(length=4), DraftModel(decoder(1), length=3))
    if any(isinstance(state, Mean) for state in states):
        with pytest.raises(ValueError, match="take back a draft's 4 guesses.*trimmed by 0 tokens"):
            model.generate_ids([prompt], config, draft=drafts[0])
        return
    for draft in drafts:
        assert model.generate_ids([prompt], config, draft=draft).token_ids.tolist() == expected
    with pytest.raises(ValueError, match="take back a draft's 9 guesses.*trimmed by 8 tokens"):
        model.generate_ids([prompt], config, draft=PromptLookup(length=9))


@pytest.mark.each_keras
def test_a_reader_goes_back_as_far_as_states_can(model):
    """Where they cannot, it reads from the beginning; the text is the same."""
    config, reader = GenerationConfig(max_new_tokens=5), model.reader()
    for prompt in (PROMPTS[0], [*PROMPTS[0], 20, 21], [*PROMPTS[0][:3], 30, 31], PROMPTS[1]):
        decoding = reader.read(prompt, config)
        found = [int(token_id) for (token_id,) in decoding.stream()]
        assert found == model.generate_ids([prompt], config).token_ids[0].tolist()


def test_prompts_are_read_in_few_lengths():
    assert pieces_to_read(37, spare=100, reach=ANY_NUMBER) == [48]
    assert pieces_to_read(37, spare=5, reach=ANY_NUMBER) == [42]
    assert pieces_to_read(37, spare=100, reach=10) == [32, 4, 1]
    assert pieces_to_read(48, spare=100, reach=0) == [48]
    assert pieces_to_read(256 + 37, spare=100, reach=0) == [256, 32, 4, 1]
    assert pieces_to_read(512, spare=0, reach=0) == [256, 256]


def test_the_least_of_all_layers_counts():
    states = (KeysAndValues.empty(2, 1, 6, 4, "float32"), Newest(ops.zeros((2, 10, D))))
    cache = Cache(caches.start(), states)
    assert (caches.room(cache), caches.reach(cache)) == (6, 8)
    assert (caches.room(Cache(0, ())), caches.reach(Cache(0, ()))) == (0, ANY_NUMBER)
    grown = caches.grow(cache, 9)
    assert (caches.room(grown), caches.reach(grown)) == (9, 8)
