"""Mistakes of newcomers, and of those who come from another library: each error names the way on."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_transformers as kt
from keras_transformers import other_libraries, spelling, tasks

pytestmark = pytest.mark.one_backend("torch")

TEXTS = ["the cat sat", "on the mat", "a dog ran far"] * 8
SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 16}
ROOT = pathlib.Path(__file__).resolve().parents[1]


class World:
    """What a newcomer has: a tokenizer, a model of each kind, and their folders."""

    def __init__(self, folder):
        self.folder = folder
        self.tokenizer = kt.Tokenizer.train(TEXTS, vocabulary_size=300)
        self.size = self.tokenizer.vocabulary_size
        sizes = {**SIZE, "padding_id": self.tokenizer.padding_id}
        self.config = kt.models.encoder(self.size, **sizes)
        self.classifier = kt.TextClassifier(self.config, self.tokenizer, labels=["bad", "good"])
        self.lm = kt.CausalLM(kt.models.gpt(self.size, **sizes), self.tokenizer)
        self.translator = kt.Seq2SeqLM(kt.models.transformer(self.size, **sizes), self.tokenizer)
        for name in ("classifier", "lm", "translator"):
            getattr(self, name).save_to_preset(folder / name)
        self.tokenizer.save(folder / "tokenizer")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


# What is done, the error, and the words that name the way on, in order.
MISTAKES = {
    # a preset and its task
    "CausalLM of an encoder": (
        lambda w: kt.CausalLM.from_preset(w.folder / "classifier"),
        ValueError,
        ["a decoder and no encoder", "an encoder alone", "This model is for kt.MaskedLM, kt.TextClassifier"],
    ),
    "Seq2SeqLM of a decoder": (
        lambda w: kt.Seq2SeqLM.from_preset(w.folder / "lm"),
        ValueError,
        ["an encoder and a decoder", "a decoder alone", "This model is for kt.CausalLM"],
    ),
    "MaskedLM of a decoder": (
        lambda w: kt.MaskedLM.from_preset(w.folder / "lm"),
        ValueError,
        ["a decoder alone", "This model is for kt.CausalLM"],
    ),
    "TextClassifier of a translator": (
        lambda w: kt.TextClassifier.from_preset(w.folder / "translator"),
        ValueError,
        ["one stack", "This model is for kt.Seq2SeqLM"],
    ),
    "a hub's name without hf://": (
        lambda w: kt.CausalLM.from_preset("openai-community/gpt2"),
        FileNotFoundError,
        ["'openai-community/gpt2'", "hf://openai-community/gpt2."],
    ),
    "an old name without its organization": (
        lambda w: kt.TextClassifier.from_preset("distilbert-base-uncased"),
        FileNotFoundError,
        ["hf://distilbert/distilbert-base-uncased."],
    ),
    "an old name behind hf://": (
        lambda w: kt.TextClassifier.from_preset("hf://bert-base-uncased"),
        ValueError,
        ["two names", "hf://google-bert/bert-base-uncased."],
    ),
    "a preset of KerasHub": (
        lambda w: kt.TextClassifier.from_preset("bert_base_en"),
        FileNotFoundError,
        ["kaggle://keras/bert/keras/bert_base_en."],
    ),
    "another preset of KerasHub": (
        lambda w: kt.CausalLM.from_preset("gpt2_base_en"),
        FileNotFoundError,
        ["kaggle://keras/gpt2/keras/gpt2_base_en."],
    ),
    "an embedded preset misspelled": (
        lambda w: kt.Seq2SeqLM.from_preset("english-frensh"),
        FileNotFoundError,
        ["did you mean 'english-french'?"],
    ),
    "a folder without config.json": (
        lambda w: kt.TextClassifier.from_preset(w.folder / "tokenizer"),
        FileNotFoundError,
        ["Expected config.json", "found tokenizer.json"],
    ),
    # names of other libraries
    "hidden_size": (lambda w: kt.models.encoder(100, hidden_size=32), TypeError, ["encoder", "'hidden_dim'?"]),
    "n_layer": (lambda w: kt.models.gpt(100, n_layer=3), TypeError, ["gpt", "'num_layers'?"]),
    "vocab_size": (lambda w: kt.models.decoder(vocab_size=100), TypeError, ["'vocabulary_size'?"]),
    "max_position_embeddings": (
        lambda w: kt.models.transformer(100, max_position_embeddings=9),
        TypeError,
        ["'max_length'?"],
    ),
    "num_hidden_layers": (lambda w: kt.models.encoder(100, num_hidden_layers=2), TypeError, ["'num_layers'?"]),
    "num_attention_heads": (
        lambda w: kt.layers.EncoderBlock(num_attention_heads=2, intermediate_dim=8),
        TypeError,
        ["EncoderBlock", "'num_heads'?"],
    ),
    "intermediate_size": (
        lambda w: kt.layers.FeedForwardConfig(intermediate_size=8),
        TypeError,
        ["FeedForwardConfig", "'intermediate_dim'?"],
    ),
    "num_labels": (
        lambda w: kt.TextClassifier.from_preset(w.folder / "classifier", num_labels=3),
        TypeError,
        ["TextClassifier.from_preset", "'num_classes'?"],
    ),
    "preprocessor": (
        lambda w: kt.TextClassifier(w.config, preprocessor=w.tokenizer),
        TypeError,
        ["TextClassifier", "'tokenizer'?"],
    ),
    "num_classes alone": (lambda w: kt.TextClassifier(num_classes=2), TypeError, ["kt.TextClassifier.from_preset"]),
    "torch_dtype": (
        lambda w: kt.CausalLM.from_preset(w.folder / "lm", torch_dtype="bfloat16"),
        TypeError,
        ["'dtype'?"],
    ),
    "return_tensors": (
        lambda w: w.tokenizer.encode(["a"], return_tensors="pt"),
        TypeError,
        ["Tokenizer.encode", "Ids come as lists"],
    ),
    "truncation": (lambda w: w.classifier.classify(["a"], truncation=True), TypeError, ["cut texts that are longer"]),
    "max_tokens": (lambda w: w.lm.generate("the", max_tokens=3), TypeError, ["'max_new_tokens'?"]),
    "top_k of a classifier": (lambda w: w.classifier.classify("a", top_k=2), TypeError, ["'top'?"]),
    "tgt_lang": (lambda w: w.translator.translate("a", tgt_lang="fr"), TypeError, ["'target_language'?"]),
    "learning_rate": (
        lambda w: w.classifier.compile(learning_rate=1e-3),
        TypeError,
        ["'optimizer'?", "compile(keras.optimizers.AdamW(5e-5))"],
    ),
    "num_train_epochs": (lambda w: w.classifier.fit(["a"], ["bad"], num_train_epochs=3), TypeError, ["'epochs'?"]),
    "from_pretrained": (lambda w: kt.CausalLM.from_pretrained("gpt2"), AttributeError, ["by from_preset"]),
    "from_pretrained of a tokenizer": (
        lambda w: kt.Tokenizer.from_pretrained("gpt2"),
        AttributeError,
        ["comes with its model", "kt.Tokenizer.load(folder)"],
    ),
    "from_preset of a tokenizer": (
        lambda w: kt.Tokenizer.from_preset("gpt2"),
        AttributeError,
        ["comes with its model"],
    ),
    "from_preset of a backbone": (
        lambda w: kt.Backbone.from_preset("bert_base_en"),
        AttributeError,
        ["'from_preset'", "kt.TextEmbedder.from_preset", ".backbone"],
    ),
    "save_pretrained": (lambda w: w.classifier.save_pretrained("x"), AttributeError, ["save_to_preset(folder)"]),
    "a tokenizer called": (lambda w: w.tokenizer("x"), TypeError, ["encode([text])"]),
    "batch_decode": (lambda w: w.tokenizer.batch_decode([[5]]), AttributeError, ["decode takes"]),
    "pad_token_id": (lambda w: w.tokenizer.pad_token_id, AttributeError, ["padding_id"]),
    "AutoModel": (lambda w: kt.AutoModelForCausalLM, AttributeError, ["A class is a task", "kt.CausalLM"]),
    "AutoTokenizer": (lambda w: kt.AutoTokenizer, AttributeError, ["from_preset(…).tokenizer"]),
    "BertClassifier": (lambda w: kt.BertClassifier, AttributeError, ["kt.TextClassifier.from_preset"]),
    "GPT2CausalLM": (lambda w: kt.models.GPT2CausalLM, AttributeError, ["kt.CausalLM.from_preset"]),
    "pipeline": (lambda w: kt.pipeline, AttributeError, ["A pipeline is a task"]),
    "TransformerEncoder": (lambda w: kt.layers.TransformerEncoder, AttributeError, ["kt.layers.EncoderBlock"]),
    "r of LoRA": (lambda w: kt.transforms.add_lora(w.classifier, r=4), TypeError, ["add_lora", "'rank'?"]),
    "swiglu": (lambda w: kt.layers.FeedForward(8, activation="swiglu"), ValueError, ["did you mean 'silu'?"]),
    "cls pooling": (lambda w: kt.TextEmbedder(w.config, pooling="cls"), ValueError, ["did you mean 'first'?"]),
    # misspelled
    "an activation": (lambda w: kt.layers.FeedForward(8, activation="gleu"), ValueError, ["did you mean 'gelu'?"]),
    "a problem": (lambda w: kt.TextClassifier(w.config, problem="multilabel"), ValueError, ["'multi_label'?"]),
    "a class of a lazy package": (lambda w: kt.training.Checkpont, AttributeError, ["did you mean 'Checkpoint'?"]),
    "Seq2SeqLm": (lambda w: kt.Seq2SeqLm, AttributeError, ["did you mean 'Seq2SeqLM'?"]),
    "MultiheadAttention": (
        lambda w: kt.layers.MultiheadAttention,
        AttributeError,
        ["keras_transformers.layers", "did you mean 'MultiHeadAttention'?"],
    ),
    "a recipe": (lambda w: kt.models.encodr, AttributeError, ["did you mean 'encoder'?"]),
    "a method": (lambda w: w.classifier.clasify("a"), AttributeError, ["did you mean 'classify'?"]),
    "num_beam": (lambda w: w.translator.translate("a", num_beam=3), TypeError, ["did you mean 'num_beams'?"]),
    "a setting": (lambda w: kt.GenerationConfig(do_sampel=True), TypeError, ["did you mean 'do_sample'?"]),
    "an argument beside settings": (lambda w: w.lm.generate("a", batchsize=3), TypeError, ["'batch_size'?"]),
    "epoch": (lambda w: w.classifier.fit(["a"], ["bad"], epoch=3), TypeError, ["TextClassifier.fit", "'epochs'?"]),
    "an option of evaluate": (lambda w: w.lm.evaluate(["a"], paking=True), TypeError, ["did you mean 'packing'?"]),
    "a dtype": (
        lambda w: kt.TextClassifier.from_preset(w.folder / "classifier", dtype="bf16"),
        ValueError,
        ["Expected dtype", "did you mean 'bfloat16'?"],
    ),
    "a layer's dtype": (lambda w: kt.layers.EncoderBlock(2, 8, dtype="flaot32"), ValueError, ["'float32'?"]),
    # the wrong kind of thing
    "progress=True": (lambda w: w.classifier.classify(["a"], progress=True), TypeError, ["a function", "tqdm"]),
    "one string to fit": (lambda w: w.classifier.fit("a b c", "bad"), TypeError, ["Put it in a list"]),
    "a list to stream": (lambda w: list(w.lm.stream(["a"])), TypeError, ["to be a string, got ['a'] (list)"]),
    "one string to encode": (lambda w: w.tokenizer.encode("x"), TypeError, ["encode([text])"]),
    "a label that there is not": (lambda w: w.classifier.fit(["a"], ["Good"]), ValueError, ["bad, good", "'Good'"]),
    "no labels": (lambda w: w.classifier.fit(["a", "b"]), TypeError, ["Expected (text, label)", "pass y too"]),
    "labels as one string": (
        lambda w: kt.TextClassifier(w.config, labels="positive"),
        TypeError,
        ["a list of names", "'positive'"],
    ),
    "labels as a number": (lambda w: kt.TextClassifier(w.config, labels=3), TypeError, ["num_classes="]),
    "labels as numbers": (lambda w: kt.TextClassifier(w.config, labels=[0, 1]), ValueError, ["num_classes="]),
    "labels of a preset as a number": (
        lambda w: kt.TextClassifier.from_preset(w.folder / "classifier", labels=3),
        TypeError,
        ["num_classes="],
    ),
    "a loss": (lambda w: w.classifier.compile(loss="mse"), ValueError, ["has its own", "Leave it out"]),
    "a name for a configuration": (lambda w: kt.CausalLM("gpt2"), TypeError, ["kt.CausalLM.from_preset"]),
    "tokenizer and configuration swapped": (
        lambda w: kt.TextClassifier(w.tokenizer, w.config),
        TypeError,
        ["a ModelConfig", "Tokenizer("],
    ),
    "generate of a classifier": (lambda w: w.classifier.generate("a"), AttributeError, ["kt.CausalLM"]),
    "generate of a translator": (lambda w: w.translator.generate("a"), TypeError, ["translate(texts"]),
    "generate of a translator with settings": (
        lambda w: w.translator.generate(["a"], max_new_tokens=3),
        TypeError,
        ["translate(texts"],
    ),
    "translate of a language model": (lambda w: w.lm.translate("a"), AttributeError, ["kt.Seq2SeqLM translates"]),
    "a number as text": (
        lambda w: w.lm.generate("the", temperature="0.7"),
        ValueError,
        ["temperature", "expected float"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_error_names_the_way_on(world, mistake):
    make, error, words = MISTAKES[mistake]
    with pytest.raises(error) as caught:
        make(world)
    text = str(caught.value)
    assert re.search(".*".join(map(re.escape, words)), text, re.DOTALL), text


def test_there_are_many():
    assert len(MISTAKES) >= 30


def test_a_backend_misspelled_is_refused_at_once():
    environment = {**os.environ, "KERAS_BACKEND": "pytorch", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import keras_transformers"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "got 'pytorch' (did you mean 'torch'?)" in done.stderr


def test_an_unknown_argument_is_refused_before_anything_is_read(world):
    def texts():
        pytest.fail("was read")
        yield

    with pytest.raises(TypeError, match="did you mean 'validation_data'"):
        world.classifier.fit(texts(), validation_date=None)


def test_arguments_of_ones_own_subclasses_are_known(world):
    class Mine(kt.TextClassifier):
        def __init__(self, config, tokenizer=None, depth=1, **kwargs):
            super().__init__(config, tokenizer, **kwargs)
            self.depth = depth

        def classify(self, texts, shout=False, **kwargs):
            return [shout, super().classify(texts, **kwargs)]

    class Block(kt.layers.EncoderBlock):
        def __init__(self, *args, depth=1, **kwargs):
            super().__init__(*args, **kwargs)
            self.depth = depth

    mine = Mine(world.config, world.tokenizer, depth=2, num_classes=3, name="mine")
    assert mine.depth == 2 and mine.classify("a", shout=True, top=1)[0] is True
    assert Block(2, 8, depth=3, trainable=False).depth == 3
    with pytest.raises(TypeError, match="Mine among .*got 'dept' .did you mean 'depth'"):
        Mine(world.config, dept=2)


def test_what_the_tables_advise_exists():
    """A name that is advised is a name of ours."""
    every = set(kt.__all__) | set(kt.layers.__all__) | set(kt.models.__all__) | set(dir(kt.transforms))
    told = [text for _, text in other_libraries._CLASSES]
    told += [text for each in other_libraries._ATTRIBUTES.values() for text in each.values()]
    for text in told:
        for name in re.findall(r"kt\.(?:layers\.|transforms\.)?(\w+)", text):
            assert name in every, text
    for name, owners in other_libraries._ATTRIBUTES.items():
        for cls in (kt.Tokenizer, kt.Backbone):
            assert cls.__name__ not in owners or not hasattr(cls, name), name
    methods = {
        "translate": tasks.Seq2SeqLM,
        "summarize": tasks.Seq2SeqLM,
        "generate": tasks.CausalLM,
        "chat": tasks.CausalLM,
        "stream": tasks.Seq2SeqLM,
        "classify": tasks.TextClassifier,
        "rank": tasks.TextClassifier,
        "tag": tasks.TokenClassifier,
        "embed": tasks.TextEmbedder,
        "similarity": tasks.TextEmbedder,
        "fill_mask": tasks.MaskedLM,
        "answer": tasks.QuestionAnswerer,
    }
    for name, task in methods.items():
        assert task.__name__ in other_libraries._ATTRIBUTES[name][""] and callable(getattr(task, name))


def test_names_near_and_far():
    assert spelling.did_you_mean("num_beam", ["num_beams", "top_k"]) == " (did you mean 'num_beams'?)"
    assert spelling.did_you_mean("hidden_size", ["hidden_dim", "hidden_sizes"]) == " (did you mean 'hidden_dim'?)"
    assert spelling.did_you_mean("colour", ["num_beams", "top_k"]) == ""


def test_warnings_stay_at_the_users_own_line(world):
    with pytest.warns(UserWarning, match="a head of other classes") as caught:
        kt.TextClassifier.from_preset(world.folder / "classifier", num_classes=5)
    assert caught[0].filename == __file__
