"""Adapters of a language model: what `fit` teaches them, on float and on quantized weights, and what it writes then."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.transforms import add_lora, load_lora, merge_lora, quantize, save_lora

needs_quantization = pytest.mark.skipif(
    not hasattr(keras.quantizers, "Int8QuantizationConfig"), reason="Keras has no quantization configurations"
)
once = pytest.mark.one_backend("torch")
TEXTS = ["to be or not to be", "that is the question", "whether tis nobler in the mind", "to suffer the slings"]


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS * 3, vocabulary_size=300)


def make(tokenizer, mode=None):
    keras.utils.set_random_seed(1)
    config = kt.models.gpt(
        tokenizer.vocabulary_size, num_layers=2, hidden_dim=32, num_heads=2, max_length=32, dropout=0.0
    )
    model = kt.CausalLM(config, tokenizer)
    if mode is not None:
        quantize(model, mode, block_size=16)
    return model


@pytest.mark.each_keras
@pytest.mark.parametrize("mode", [pytest.param(None, marks=once), pytest.param("int8", marks=needs_quantization)])
def test_adapters_learn_texts_and_the_rest_stays(tokenizer, mode, tmp_path):
    model = make(tokenizer, mode)
    add_lora(model, rank=8, targets="all", seed=0)
    assert all("lora" in weight.path for weight in model.trainable_variables)
    before = {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.non_trainable_variables}
    first = model.evaluate(TEXTS, verbose=0)["loss"]
    model.compile(keras.optimizers.Adam(2e-2))
    model.fit(TEXTS * 4, epochs=4, batch_size=4, verbose=0)
    last = model.evaluate(TEXTS, verbose=0)["loss"]
    assert last < 0.6 * first
    for weight in model.non_trainable_variables:
        if "seed" not in weight.path:
            assert (ops.convert_to_numpy(weight) == before[weight.path]).all(), weight.path
    written = model.generate(["to be", "that"], max_new_tokens=6)
    save_lora(model, tmp_path / "adapter")
    again = make(tokenizer, mode)
    load_lora(again, tmp_path / "adapter")
    assert again.generate(["to be", "that"], max_new_tokens=6) == written
    if mode is None:
        merge_lora(again)
        assert again.evaluate(TEXTS, verbose=0)["loss"] == pytest.approx(last, rel=1e-5)


@once
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_fit_trains_a_language_model_as_peft_does(model_type, tmp_path):
    """The same rows in the same order, from the same adapters: the same adapters."""
    import torch
    import transformers

    peft = pytest.importorskip("peft")
    sizes = {
        "llama": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0},
    }[model_type]
    targets = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_fc"]}[model_type]
    config = transformers.CONFIG_MAPPING[model_type](vocab_size=67, bos_token_id=1, eos_token_id=2, **sizes)
    torch.manual_seed(0)
    base = transformers.AutoModelForCausalLM.from_config(config)
    base.save_pretrained(tmp_path / "base")
    theirs = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    theirs.save_pretrained(tmp_path / "begin")
    model = kt.CausalLM.from_preset(tmp_path / "base")
    load_lora(model, tmp_path / "begin")
    rows = np.random.default_rng(0).integers(3, 67, (4, 9)).astype("int32")
    model.compile(keras.optimizers.SGD(0.3))
    optimizer = torch.optim.SGD([weight for weight in theirs.parameters() if weight.requires_grad], lr=0.3)
    for _ in range(5):
        model.train_on_batch({"token_ids": rows[:, :-1]}, rows[:, 1:])
        ids = torch.tensor(rows).long()
        theirs(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.save_pretrained(tmp_path / "end")
    begin, end = (kt.CausalLM.from_preset(tmp_path / "base") for _ in range(2))
    load_lora(begin, tmp_path / "begin")
    load_lora(end, tmp_path / "end")
    for ours, expected, was in zip(
        model.trainable_variables, end.trainable_variables, begin.trainable_variables, strict=True
    ):
        ours, expected, was = (ops.convert_to_numpy(each) for each in (ours, expected, was))
        moved = np.abs(expected - was).max()
        assert moved > 0 and np.abs(ours - expected).max() < 1e-2 * moved
