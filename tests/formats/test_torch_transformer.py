"""A `torch.nn.Transformer` and ours: the same weights, the same numbers."""

import json
import math

import numpy as np
import pytest
import torch
from keras import ops

import keras_transformers as kt
from keras_transformers.formats.torch_transformer import torch_transformer
from keras_transformers.models.weights import assign, named_weights
from tests.layers.reference import numbers, relative_error

pytestmark = pytest.mark.one_backend("torch")  # `test_backends_agree` holds the others to the same

PADDING, START, END = 0, 2, 3


class Reference(torch.nn.Module):
    """Sinusoids, two embeddings, a `torch.nn.Transformer`, a head with a bias."""

    def __init__(self, source_size, target_size, width, heads, layers, inner, norm_first):
        super().__init__()
        self.src = torch.nn.Embedding(source_size, width)
        self.trg = torch.nn.Embedding(target_size, width)
        self.transformer = torch.nn.Transformer(
            width, heads, *layers, inner, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.generator = torch.nn.Linear(width, target_size)
        angles = torch.arange(64)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("pe", torch.stack([angles.sin(), angles.cos()], -1).reshape(64, width))

    def forward(self, source, target):
        def embed(table, ids):
            return table(ids) * math.sqrt(self.pe.shape[1]) + self.pe[: ids.shape[1]]

        future = torch.full((target.shape[1],) * 2, float("-inf")).triu(1)
        padding = torch.zeros(source.shape).masked_fill(source == PADDING, float("-inf"))
        output = self.transformer(
            embed(self.src, source),
            embed(self.trg, target),
            tgt_mask=future,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return self.generator(output)

    def arrays(self):
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}


@pytest.fixture(scope="module", params=["post", "pre"])
def pair(request):
    """The reference, ours with its weights, and the table between them."""
    reference = Reference(50, 40, 16, 4, (2, 3), 24, request.param == "pre").eval().requires_grad_(False)
    for index, parameter in enumerate(reference.parameters()):
        parameter.copy_(torch.from_numpy(numbers(tuple(parameter.shape), index, 0.3)) + (parameter == 1))
    config = kt.models.transformer(
        50,
        target_vocabulary_size=40,
        num_layers=(2, 3),
        hidden_dim=16,
        num_heads=4,
        intermediate_dim=24,
        norm_placement=request.param,
        final_norm=True,
        max_length=64,
        shared_embeddings=False,
        tied_head=False,
        head_bias=True,
    )
    model = kt.Seq2SeqLM(config)
    table = torch_transformer(
        "transformer.", embedding="src", decoder_embedding="trg", head="generator", ignored=("pe",)
    )
    assign(model, table.read(reference.arrays(), named_weights(model)), "a torch.nn.Transformer")
    return reference, model, table


def test_the_logits_are_the_same(pair):
    reference, model, _ = pair
    source = np.random.default_rng(0).integers(1, 50, (3, 20))
    source[1, 7:] = source[2, 1:] = PADDING
    target = np.random.default_rng(1).integers(1, 40, (3, 17))
    expected = reference(torch.from_numpy(source), torch.from_numpy(target))
    assert relative_error(model({"token_ids": source, "decoder_token_ids": target}), expected.numpy()) < 1e-5


def test_what_is_read_and_written_again_is_equal_to_the_bit(pair):
    reference, model, table = pair
    theirs = {name: array for name, array in reference.arrays().items() if name != "pe"}
    written = table.write(named_weights(model))
    assert written.keys() == theirs.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
        assert array.dtype == theirs[name].dtype and array.flags.c_contiguous


def test_what_does_not_fit_is_listed(pair):
    reference, model, table = pair
    arrays = reference.arrays()
    del arrays["transformer.encoder.layers.1.linear1.bias"]
    arrays["transformer.decoder.layers.0.self_attn.in_proj_bias"] = np.zeros(40, "float32")
    arrays["transformer.extra"] = np.zeros(3, "float32")
    before = {name: ops.convert_to_numpy(weight) for name, weight in named_weights(model).items()}
    with pytest.raises(ValueError) as error:
        assign(model, table.read(arrays, named_weights(model)), "there")
    for expected in (
        "missing encoder.block_1.feed_forward.up.bias [24]",
        "decoder.block_0.self_attention.key.bias: expected shape [16], got [40]",
        "unknown transformer.extra [3]",
    ):
        assert expected in str(error.value)
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), before[name])


# --- a trained one: lemmaturk, characters of a Turkish word to its lemma ---


@pytest.fixture(scope="module")
def lemmaturk(asset_folder):
    folder = asset_folder("lemmaturk") / "lemmaturk" / "weights"
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    tensors = torch.load(folder / "best_transformer.pth", map_location="cpu", weights_only=True)
    config = kt.models.transformer(
        len(vocabulary),
        num_layers=3,
        hidden_dim=256,
        num_heads=8,
        intermediate_dim=512,
        dropout=0.0,
        final_norm=True,
        shared_embeddings=False,
        tied_head=False,
        head_bias=True,
    )
    model = kt.Seq2SeqLM(config)
    table = torch_transformer(
        "transformer.",
        embedding="src_tok_emb.embedding",
        decoder_embedding="trg_tok_emb.embedding",
        head="generator",
        ignored=("positional_encoding.pe",),
    )
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    assign(model, table.read(arrays, named_weights(model)), folder)
    reference = Reference(len(vocabulary), len(vocabulary), 256, 8, (3, 3), 512, norm_first=False).eval()
    names = {"src_tok_emb.embedding": "src", "trg_tok_emb.embedding": "trg"}
    renamed = {
        names.get(name.rpartition(".")[0], name.rpartition(".")[0]) + "." + name.rpartition(".")[2]: tensor
        for name, tensor in tensors.items()
    }
    reference.pe = renamed.pop("positional_encoding.pe")[0, :64]
    reference.load_state_dict({**renamed, "pe": reference.pe})
    return model, reference.requires_grad_(False), vocabulary


WORDS = {"kitaplarımızdan": "kitap", "gidiyorum": "gitmek", "okuyacaktım": "okumak"}


def test_lemmaturk_gives_the_logits_of_pytorch(lemmaturk):
    model, reference, vocabulary = lemmaturk
    rows = [[vocabulary.get(character, 1) for character in word] + [END] for word in WORDS]
    length = max(map(len, rows))
    source = np.array([row + [PADDING] * (length - len(row)) for row in rows])
    target = np.array([[START] + row[: length - 1] + [PADDING] * (length - 1 - len(row)) for row in rows])
    expected = reference(torch.from_numpy(source), torch.from_numpy(target)).numpy()
    real = target != PADDING
    logits = ops.convert_to_numpy(model({"token_ids": source, "decoder_token_ids": target}))
    assert relative_error(logits[real], expected[real]) < 1e-5


@pytest.mark.parametrize("num_beams", [1, 4])
def test_lemmaturk_finds_the_lemmas(lemmaturk, num_beams):
    model, _, vocabulary = lemmaturk
    characters = {token_id: character for character, token_id in vocabulary.items()}
    sources = [[vocabulary.get(character, 1) for character in word] + [END] for word in WORDS]
    config = kt.GenerationConfig(start_id=START, end_ids=(END,), max_new_tokens=30, num_beams=num_beams)
    token_ids = model.generate(sources, config).token_ids
    lemmas = ["".join(characters[token_id] for token_id in row if token_id > END) for row in token_ids.tolist()]
    assert lemmas == list(WORDS.values())


def test_lemmaturk_gives_the_words_of_pytorch(lemmaturk):
    """Greedily, for words that PyTorch decodes one by one, without a cache."""
    model, reference, vocabulary = lemmaturk
    words = [*WORDS, "evlerimizde", "çocukların", "gelmişti", "güzelliğini", "a"]
    sources = [[vocabulary.get(character, 1) for character in word] + [END] for word in words]
    config = kt.GenerationConfig(start_id=START, end_ids=(END,), max_new_tokens=30)
    rows = model.generate(sources, config).token_ids.tolist()
    for word, source, row in zip(words, sources, rows, strict=True):
        target = [START]
        while len(target) <= 30 and target[-1] != END:
            target.append(int(reference(torch.tensor([source]), torch.tensor([target]))[0, -1].argmax()))
        assert [token_id for token_id in row if token_id != PADDING] == target[1:], word
