"""Small models that decoding can be checked on by hand: a table, and one whose next token hangs on all that came
before."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_transformers.layers import cache as caches
from keras_transformers.layers.state import KeysAndValues

START, END, A, B = range(4)


class TableModel:
    """`P(next | newest token)` as a table `[V, V]`; the cache only counts."""

    def __init__(self, probabilities):
        with np.errstate(divide="ignore"):
            self.logits = keras.Variable(np.log(np.asarray(probabilities, "float32")))
        self.variables = [self.logits]
        self.traced = 0

    def step(self, token_ids, cache):
        self.traced += 1
        return ops.take(self.logits, token_ids[:, -1], axis=0), cache._replace(offset=cache.offset + token_ids.shape[1])

    def cache(self, batch_size=1):
        return caches.Cache(caches.start(), ())


def issue_table():
    """After the start P(end) = .6 and P(A) = .4; A → B → end."""
    table = np.zeros((4, 4))
    table[START, [END, A]] = 0.6, 0.4
    table[A, B] = table[B, END] = table[END, END] = 1
    return TableModel(table)


class HistoryModel:
    """Attends to nothing: adds up what it has seen, each position in its own direction, and its sentence's source. It
    uses a cache as a decoder does."""

    def __init__(self, vocabulary_size=13, hidden_dim=8, end_logit=1.0, end_growth=0.0, seed=0):
        random = np.random.default_rng(seed)
        self.vocabulary_size, self.hidden_dim = vocabulary_size, hidden_dim
        # Added to the end token's logit for every position, so that sentences end, and at different steps.
        self.end_growth = end_growth * np.eye(vocabulary_size, dtype="float32")[END]
        self.embeddings = keras.Variable(random.normal(size=(vocabulary_size, hidden_dim)).astype("float32"))
        self.head = keras.Variable(random.normal(size=(hidden_dim, vocabulary_size)).astype("float32"))
        bias = np.zeros(vocabulary_size, "float32")
        bias[END] = end_logit
        self.bias = keras.Variable(bias)
        self.variables = [self.embeddings, self.head, self.bias]
        self.angles = random.normal(size=(1024, hidden_dim)).astype("float32")

    def cache(self, sources, length=1):
        """For sources, float `[B, hidden_dim]`."""
        states = tuple(KeysAndValues.empty(len(sources), 1, length, self.hidden_dim, "float32") for _ in range(2))
        source = ops.convert_to_tensor(np.asarray(sources, "float32")[:, None, None])
        return caches.Cache(caches.start(), states, ((source, source),), ops.ones((len(sources), 1), "bool"))

    def step(self, token_ids, cache):
        new = ops.expand_dims(ops.take(self.embeddings, token_ids, axis=0), 1)
        (first, keys, _), (second, _, values) = (state.write(new, new, cache.offset) for state in cache.states)
        offset = cache.offset + token_ids.shape[1]
        length = keys.shape[2]
        directions = ops.cos(ops.convert_to_tensor(self.angles[:length]))
        written = ops.cast(ops.arange(length) < offset, "float32")[:, None]
        seen = ops.sum((keys + values)[:, 0] * directions * written, axis=1)
        sources = cache.cross_attention[0][0][:, 0, 0]
        beams = seen.shape[0] // sources.shape[0]
        hidden = ops.tanh(seen / 3 + ops.repeat(sources, beams, axis=0))
        growth = ops.cast(offset, "float32") * ops.convert_to_tensor(self.end_growth)
        logits = ops.matmul(hidden, self.head) + self.bias + growth
        return logits, cache._replace(offset=offset, states=(first, second))

    def numpy_logits(self, source, token_ids):
        """The same for one sequence, from the beginning, without a cache."""
        embeddings, head, bias = (keras.ops.convert_to_numpy(variable) for variable in self.variables)
        seen = (2 * embeddings[token_ids] * np.cos(self.angles[: len(token_ids)])).sum(axis=0)
        return np.tanh(seen / 3 + source) @ head + bias + len(token_ids) * self.end_growth


def likeliest_hypotheses(model, source, length_penalty, max_new_tokens, end_id, count):
    """All hypotheses of up to a few tokens, by trying each: the `count` best as (score, ids)."""
    scored = []
    for length in range(1, max_new_tokens + 1):
        for ids in itertools.product(range(model.vocabulary_size), repeat=length):
            if end_id in ids[:-1] or (ids[-1] != end_id and length < max_new_tokens):
                continue
            total = 0.0
            for position, token_id in enumerate(ids):
                logits = model.numpy_logits(source, [0, *ids[:position]]).astype("float64")
                total += logits[token_id] - np.log(np.exp(logits).sum())
            scored.append((total / length**length_penalty, ids))
    return sorted(scored, reverse=True)[:count]
