"""Published T5s: they load, compute what transformers does, and do what they were made for."""

import json
import pathlib

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.families.registry import families
from tests.conformance import reference
from tests.formats import onnx_t5
from tests.layers.reference import relative_error

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("default:The tokenizer files in")]

TEXTS = [
    "translate English to German: The house is wonderful.",
    "translate English to German: A man is riding a bike in the rain.",
    "summarize: The old clock in the kitchen has been wrong since the spring, and nobody has repaired it.",
]


@pytest.fixture(scope="module")
def flan(asset_folder, tmp_path_factory):
    """flan-t5-small, fine-tuned: our model of it, its folder, and transformers' model of that."""
    source = asset_folder("traceforge-title-model") / "traceforge_title_model" / "data" / "span"
    folder = onnx_t5.to_folder(source, tmp_path_factory.mktemp("flan"))
    theirs = reference.load(folder, families()["t5"].head("Seq2SeqLM"))
    return kt.Seq2SeqLM.from_preset(folder), folder, theirs


def test_it_translates(flan):
    model, _, _ = flan
    assert model.translate(TEXTS[0], max_new_tokens=12) == "Das Haus ist wunderbar."


def test_its_tokens_are_those_of_transformers(flan):
    transformers = pytest.importorskip("transformers")
    model, folder, _ = flan
    # A space at the end, which this file keeps and version 5 of transformers drops whatever a file says, is left out.
    texts = [*TEXTS, "", "  two  spaces", "Was kostet's? 5 €", "<extra_id_0> and </s>"]
    expected = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)(texts)["input_ids"]
    assert model.tokenizer.encode_sources(texts[:-1]) == expected[:-1]


def test_logits_are_those_of_transformers(flan):
    import torch

    model, _, theirs = flan
    source, target = model.tokenizer.encode_sources([TEXTS[2]]), [[0, 37, 867, 9900, 19, 1786, 5, 1]]
    found = model({"token_ids": np.array(source), "decoder_token_ids": np.array(target)})
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor(source), decoder_input_ids=torch.tensor(target)).logits.numpy()
    assert relative_error(ops.convert_to_numpy(found), wanted) <= 1e-5


@pytest.mark.parametrize("num_beams", [1, 3])
def test_what_it_writes_is_what_transformers_does(flan, num_beams):
    import torch

    model, _, theirs = flan
    sources = model.tokenizer.encode_sources(TEXTS[:2])
    width = max(map(len, sources))
    padded = torch.tensor([[*source, *[0] * (width - len(source))] for source in sources])
    options = {"num_beams": num_beams, "max_new_tokens": 8}
    with torch.no_grad():
        wanted = theirs.generate(padded, attention_mask=padded != 0, do_sample=False, **options)[:, 1:].tolist()
    assert model.translate(TEXTS[:2], **options) == model.tokenizer.decode(wanted)


def test_it_comes_back_byte_for_byte(flan, tmp_path):
    model, folder, _ = flan
    model.save_to_preset(tmp_path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_separate_vocabularies(tmp_path):
    """The mT5 of chemical-converters 0.0.1, whose class is its own: transformers' with a table on each side."""
    import torch
    import transformers

    torch.manual_seed(0)
    values = {"d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 3}
    theirs = transformers.MT5ForConditionalGeneration(transformers.MT5Config(vocab_size=30, **values)).eval()
    tables = {"encoder": torch.nn.Embedding(30, 16), "decoder": torch.nn.Embedding(50, 16)}
    theirs.encoder.embed_tokens, theirs.decoder.embed_tokens = tables["encoder"], tables["decoder"]
    theirs.lm_head = torch.nn.Linear(16, 50, bias=False)
    spelled = {"encoder_embedding.weight": tables["encoder"], "decoder_emebedding.weight": tables["decoder"]}
    tensors = {
        name: tensor for name, tensor in theirs.state_dict().items() if "embed" not in name and "shared" not in name
    }
    tensors |= {name: table.weight for name, table in spelled.items()}
    _save(
        tmp_path,
        tensors,
        {
            **values,
            "model_type": "mt5",
            "tie_word_embeddings": False,
            "shared_embedding": False,
            "encoder_vocab_size": 30,
            "decoder_vocab_size": 50,
            "decoder_start_token_id": 2,
            "architectures": ["MT5ForConditionalGeneration"],
        },
    )
    model = kt.Seq2SeqLM.from_preset(tmp_path)
    source, target = np.arange(1, 30)[None], np.arange(2, 50)[None]
    found = model({"token_ids": source, "decoder_token_ids": target})
    with torch.no_grad():
        wanted = theirs(input_ids=torch.tensor(source), decoder_input_ids=torch.tensor(target)).logits.numpy()
    assert relative_error(ops.convert_to_numpy(found), wanted) <= 1e-5
    before = (tmp_path / "model.safetensors").read_bytes()
    model.save_to_preset(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def _save(folder, tensors, values):
    from safetensors.torch import save_file

    save_file(
        {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
        pathlib.Path(folder) / "model.safetensors",
    )
    (pathlib.Path(folder) / "config.json").write_text(json.dumps(values), "utf-8")
