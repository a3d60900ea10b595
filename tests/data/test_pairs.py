import itertools

import keras
import numpy as np
import pytest

from keras_transformers.data.batches import translation_batches
from keras_transformers.data.pairs import encode_pairs, split
from tests.training.stand_in import CharacterTokenizer, sentences

pytestmark = pytest.mark.one_backend("torch")  # no tensor is computed
TOKENIZER = CharacterTokenizer()


def texts(pairs):
    """The pairs that `pairs` holds, back as letters."""

    def side(ragged):
        ids = [ragged.token_ids[a : b - 1] for a, b in itertools.pairwise(ragged.offsets)]
        return ["".join(" " if token_id == 30 else chr(token_id + 93) for token_id in row) for row in ids]

    return side(pairs.sources), side(pairs.targets)


class PairDataset(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class EndlessDataset(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return ["a"], ["b"]


def in_batches(sources, targets, size=64):
    return [(sources[i : i + size], targets[i : i + size]) for i in range(0, len(sources), size)]


def tensorflow_dataset(*arguments, batch_size=None):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(arguments)
    return dataset if batch_size is None else dataset.batch(batch_size)


def data_loader(sources, targets, **options):
    data = pytest.importorskip("torch.utils.data")
    return data.DataLoader(list(zip(sources, targets, strict=True)), **options)


SOURCES = {
    "lists": lambda s, t: (s, t),
    "tuples": lambda s, t: (tuple(s), tuple(t)),
    "arrays": lambda s, t: (np.array(s), np.array(t)),
    "object arrays": lambda s, t: (np.array(s, object), np.array(t, object)),
    "tuple of lists": lambda s, t: ((s, t), None),
    "list of pairs": lambda s, t: (list(zip(s, t, strict=True)), None),
    "array of pairs": lambda s, t: (np.array([s, t]).T, None),
    "tf.data of pairs": lambda s, t: (tensorflow_dataset(s, t), None),
    "tf.data of batches": lambda s, t: (tensorflow_dataset(s, t, batch_size=64), None),
    "PyDataset of batches": lambda s, t: (PairDataset(in_batches(s, t)), None),
    "PyDataset of pairs": lambda s, t: (PairDataset(list(zip(s, t, strict=True))), None),
    "generator of pairs": lambda s, t: (((a, b) for a, b in zip(s, t, strict=True)), None),
    "generator of batches": lambda s, t: ((batch for batch in in_batches(s, t)), None),
    "DataLoader of batches": lambda s, t: (data_loader(s, t, batch_size=64), None),
    "DataLoader of pairs": lambda s, t: (data_loader(s, t, batch_size=None), None),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_pairs(kind):
    sources, targets = sentences(150)
    pairs = encode_pairs(*SOURCES[kind](sources, targets), tokenizer=TOKENIZER)
    assert texts(pairs) == (sources, targets)


def test_more_than_a_chunk_keeps_its_order():
    sources, targets = sentences(9000, longest=3)
    assert texts(encode_pairs(sources, targets, tokenizer=TOKENIZER)) == (sources, targets)


def test_split_is_seeded_and_loses_nothing():
    pairs = encode_pairs(*sentences(100), tokenizer=TOKENIZER)
    train, validation = split(pairs, 0.2, seed=1)
    assert (len(train), len(validation)) == (80, 20)
    assert sorted(texts(train)[0] + texts(validation)[0]) == sorted(texts(pairs)[0])
    assert texts(split(pairs, 0.2, seed=1)[1]) == texts(validation) != texts(split(pairs, 0.2, seed=2)[1])
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        split(pairs, 1.5)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        split(pairs.take(np.array([0])), 0.5)


@pytest.mark.parametrize(
    "source, target, error, message",
    [
        (["a"], ["b", "c"], ValueError, "got 1 sources and 2 targets"),
        ("a", "b", TypeError, "got one string, 'a'"),
        (["a", None], ["b", "c"], TypeError, "source 1 to be a string, got None"),
        (["a"], [7], TypeError, "target 0 to be a string, got 7"),
        (["a"], [float("nan")], TypeError, "target 0 to be a string, got nan"),
        ([b"\xff"], ["a"], ValueError, "source 0 in UTF-8"),
        ([], [], ValueError, "at least one sentence pair"),
        (iter(()), None, ValueError, "at least one sentence pair"),
        (["a", "b"], None, TypeError, r"Expected \(source, target\) .* got 'a' \(str\) as item 0"),
        ([("a", "b", "c")], None, ValueError, "a finite number as sample_weight 0, got 'c'"),
        ([("a", ["b"])], None, TypeError, "target 0 to be a string, got .* several in the place of one"),
        ([(["a"], ["b", "c"])], None, ValueError, "a batch of 1 inputs and 2 labels as item 0"),
        (EndlessDataset(), None, ValueError, "comes to an end, got a PyDataset"),
        (7, None, TypeError, "Expected lists of strings"),
        ({"token_ids": [[1]]}, None, ValueError, "token_ids with labels, decoder_token_ids or both, got token_ids"),
        (
            {"token_ids": [[1]], "decoder_token_ids": [[1]]},
            [[1, 2]],
            ValueError,
            "got 2 labels for 1 decoder_token_ids in row 0",
        ),
        (
            {"token_ids": [[1.0]], "decoder_token_ids": [[1]]},
            [[1]],
            ValueError,
            "Expected token_ids of integers, .* as row 0",
        ),
    ],
)
def test_refuses_bad_input(source, target, error, message):
    with pytest.raises(error, match=message):
        encode_pairs(source, target, tokenizer=TOKENIZER)


def test_refuses_an_endless_tensorflow_dataset():
    with pytest.raises(ValueError, match="repeats without end"):
        encode_pairs(tensorflow_dataset(["a"], ["b"]).repeat(), tokenizer=TOKENIZER)


def test_refuses_a_tokenizer_without_a_start_token():
    class NoStart(CharacterTokenizer):
        start_id = None

    with pytest.raises(ValueError, match="start_id = None"):
        encode_pairs(["a"], ["b"], tokenizer=NoStart())
    assert encode_pairs(["a"], ["b"], tokenizer=NoStart(), start_id=5).start_id == 5
    with pytest.raises(ValueError, match="Expected a tokenizer"):
        translation_batches(["a"], ["b"])


@pytest.mark.parametrize("max_length", [0, 1])
def test_refuses_a_length_without_room_for_a_token(max_length):
    with pytest.raises(ValueError, match=f"max_length of at least 2 .* got {max_length}"):
        encode_pairs(["a"], ["b"], tokenizer=TOKENIZER, max_length=max_length)
