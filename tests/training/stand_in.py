"""A tokenizer and a translation model that take what the real ones take, small enough to train in a test."""

import keras

from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import Perplexity, TokenAccuracy


class CharacterTokenizer:
    """Letters a to z are 4 to 29, a space is 30, all else is unknown."""

    vocabulary_size, padding_id, unknown_id, start_id, end_id = 31, 0, 1, 2, 3

    def encode(self, texts):
        return [[ord(c) - 93 if "a" <= c <= "z" else 30 if c == " " else 1 for c in text] for text in texts]

    def encode_sources(self, texts, max_length=None):
        return [[*(ids if max_length is None else ids[: max_length - 1]), self.end_id] for ids in self.encode(texts)]

    encode_targets = encode_sources


@keras.saving.register_keras_serializable(package="keras_transformers_tests")
class StandIn(keras.Model):
    """The mean of the source's embeddings, added to each decoder token's, through a dense layer."""

    def __init__(self, vocabulary_size=31, hidden_dim=16, label_smoothing=0.1):
        super().__init__()
        initializer = keras.initializers.RandomUniform(seed=7)
        self.embedding = keras.layers.Embedding(vocabulary_size, hidden_dim, embeddings_initializer=initializer)
        self.hidden = keras.layers.Dense(
            hidden_dim, activation="tanh", kernel_initializer=keras.initializers.GlorotUniform(8)
        )
        self.head = keras.layers.Dense(vocabulary_size, kernel_initializer=keras.initializers.GlorotUniform(9))
        self.label_smoothing = label_smoothing
        self.token_accuracy, self.perplexity = TokenAccuracy(), Perplexity()

    def build(self, input_shape=None):
        self.embedding.build((None, None))
        self.hidden.build((None, None, self.embedding.output_dim))
        self.head.build((None, None, self.embedding.output_dim))
        self.built = True

    def call(self, inputs):
        there = keras.ops.cast(keras.ops.expand_dims(inputs["token_ids"] != 0, -1), "float32")
        total = keras.ops.sum(self.embedding(inputs["token_ids"]) * there, axis=1, keepdims=True)
        mean = total / keras.ops.maximum(keras.ops.sum(there, axis=1, keepdims=True), 1.0)
        return self.head(self.hidden(self.embedding(inputs["decoder_token_ids"]) + mean))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        sample_weight = keras.ops.convert_to_tensor(sample_weight)  # train_on_batch on torch hands on numpy
        loss, negative_log_likelihood = token_cross_entropy(y_pred, y, self.label_smoothing)
        self.token_accuracy.update_state(y, y_pred, sample_weight)
        self.perplexity.update_likelihood(negative_log_likelihood, sample_weight)
        return keras.ops.sum(loss * sample_weight) / keras.ops.maximum(keras.ops.sum(sample_weight), 1.0)


class StepLosses(keras.callbacks.Callback):
    """The running loss after each step."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def compiled(adam=None, **options):
    """A stand-in with Adam, built."""
    model = StandIn(**options)
    model.build()
    model.compile(optimizer=keras.optimizers.Adam(1e-2, **(adam or {})), loss=None)
    return model


def sentences(count, seed=0, longest=20):
    """`count` pairs of random letters: (sources, targets), a target being its source backwards."""
    import numpy as np

    rng = np.random.default_rng(seed)
    sources = ["".join(rng.choice(list("abcdefg "), rng.integers(1, longest + 1))) for _ in range(count)]
    return sources, [text[::-1] for text in sources]
