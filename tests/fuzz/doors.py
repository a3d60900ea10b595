"""The doors through which files come in: for each, small folders that are whole, and how they are opened.

`open` returns arrays, which tell whether a damaged folder gave the same.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np

import keras_transformers as kt

TEXTS = ["the film is a delight", "it was dull and far too long", "A man rides a bike.", "naïve élan, 3,14 € …"] * 4
WORDS = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_length": 20}


@dataclasses.dataclass(frozen=True)
class Door:
    """`make(folder)` writes folders that are whole inside of `folder`; `open(folder)` reads one of them. `files` are
    patterns of those that are damaged; `verified` tells whether they have a manifest. If `make` only names the folders,
    since they are many, `write(folder)` writes one of them."""

    make: Callable[[pathlib.Path], None]
    open: Callable[[pathlib.Path], object]
    files: tuple[str, ...] = ("*.json", "*.safetensors")
    verified: bool = False
    write: Callable[[pathlib.Path], None] = lambda folder: None


@functools.cache
def _tokenizer(**options):
    return kt.Tokenizer.train(TEXTS, vocabulary_size=300, **options)


def _around():
    return _tokenizer(class_token="[CLS]", separator_token="[SEP]", mask_token="[MASK]")


def _moved(model):
    """The model, every weight away from where it begins."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(keras.ops.convert_to_numpy(weight) + random.normal(0, 0.2, weight.shape).astype("float32"))
    return model


def _classifier():
    keras.utils.set_random_seed(0)
    tokenizer = _around()
    return _moved(kt.TextClassifier(kt.models.encoder(tokenizer.vocabulary_size, **WORDS), tokenizer, ["bad", "good"]))


def _causal():
    tokenizer = _tokenizer()
    return _moved(kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, **WORDS), tokenizer))


def _make_classifiers(folder):
    _classifier().save_to_preset(folder / "classifier")
    tokenizer = _around()
    config = kt.models.encoder(tokenizer.vocabulary_size, **WORDS)
    _moved(kt.TextEmbedder(config, tokenizer)).save_to_preset(folder / "embedder")
    _moved(kt.TokenClassifier(config, tokenizer, ["O", "B-X", "I-X"])).save_to_preset(folder / "tokens")


def _open_classifier(folder):
    name = folder.name
    if name == "embedder":
        return kt.TextEmbedder.from_preset(folder).embed(TEXTS[:2])
    task = kt.TokenClassifier if name == "tokens" else kt.TextClassifier
    model = task.from_preset(folder)
    return model.predict(TEXTS[:2])


def _make_generators(folder):
    model = _causal()
    model.save_to_preset(folder / "causal")
    sources, targets = _tokenizer(), _tokenizer(lowercase=True)
    tokenizer = sources.with_target(targets)
    from keras_transformers.apps.runs.models import config_for

    fields = {**WORDS, "max_length": 32}
    _moved(kt.Seq2SeqLM(config_for(tokenizer, **fields), tokenizer)).save_to_preset(folder / "translator")
    kt.transforms.quantize(model)
    model.save_to_preset(folder / "quantized")
    _split(folder / "causal", folder / "parts")


def _split(whole, folder):
    """The same weights in two files and an index."""
    import safetensors.numpy

    from keras_transformers.formats import preset

    tensors = safetensors.numpy.load_file(whole / preset.WEIGHTS)
    names = sorted(tensors)
    files = {
        path.name: path.read_bytes() for path in whole.iterdir() if path.name not in (preset.WEIGHTS, "SHA256SUMS")
    }
    halves = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for file, half in halves.items():
        files[file] = safetensors.numpy.save({name: tensors[name] for name in half}, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}
    preset.save_folder(folder, {**files, preset.INDEX: preset.json_bytes(index)})


def _open_generator(folder):
    if folder.name == "translator":
        model = kt.Seq2SeqLM.from_preset(folder)
        return [model.translate(TEXTS[:1], max_new_tokens=3), _ids(model, model.tokenizer.encode_sources(TEXTS[:1]))]
    model = kt.CausalLM.from_preset(folder)
    return [model.generate(TEXTS[:1], max_new_tokens=3), _ids(model, model.tokenizer.encode(TEXTS[:1]))]


def _ids(model, rows):
    inputs = {"token_ids": np.array(rows, "int32")[:, :16]}
    if isinstance(model, kt.Seq2SeqLM):
        inputs["decoder_token_ids"] = np.array([[2, 3]], "int32")
    return keras.ops.convert_to_numpy(model(inputs))


def _make_torch(folder):
    import torch

    _classifier().save_to_preset(folder / "classifier")
    weights = folder / "classifier" / "model.safetensors"
    import safetensors.torch

    state = safetensors.torch.load_file(weights)
    weights.unlink()
    (folder / "classifier" / "SHA256SUMS").unlink(missing_ok=True)
    torch.save(state, folder / "classifier" / "pytorch_model.bin")


def _name_families(folder):
    from tests.conformance.cases import CHECKPOINTS

    seen = set()
    for name, (case, head) in CHECKPOINTS.items():
        many = case.model_type in ("bert", "bart", "gpt2", "t5", "roberta")  # whose heads stand for the others'
        kind = case.model_type, head.task if many else head.task in ("Seq2SeqLM", "CausalLM")
        if kind not in seen:
            seen.add(kind)
            target = folder / name.replace("/", "-")
            target.mkdir()
            (target / "name.txt").write_text(name)


def _write_family(folder):
    from tests.conformance import checkpoints

    if not (folder / "config.json").is_file():
        written = checkpoints.folder((folder / "name.txt").read_text())
        for file in ("config.json", "model.safetensors"):
            (written / file).rename(folder / file)


def _open_family(folder):
    from tests.conformance.cases import CHECKPOINTS, task_class

    _, head = CHECKPOINTS[(folder / "name.txt").read_text()]
    task = task_class(head)
    model = task.from_preset(folder)
    random, sizes = np.random.default_rng(0), [model.config.embeddings, model.config.target_embeddings]
    ids = [random.integers(3, min(each.vocabulary_size, 30), (2, 12)).astype("int32") for each in sizes]
    inputs = {"token_ids": ids[0]}
    if task is kt.Seq2SeqLM:
        inputs["decoder_token_ids"] = ids[1][:, :5]
    if task is kt.MaskedLM:
        inputs["masked_positions"] = np.array([[1, 2], [3, 1]], "int32")
    outputs = model(inputs)
    return [keras.ops.convert_to_numpy(each) for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _make_gguf(folder):
    from tests.formats import gguf_files

    random = np.random.default_rng(0)
    sizes = {".context_length": 32, ".embedding_length": 32, ".feed_forward_length": 48, ".block_count": 2}
    metadata = {**sizes, ".attention.head_count": 4, ".attention.head_count_kv": 2}
    metadata[".attention.layer_norm_rms_epsilon"] = 1e-5
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz"]
    metadata |= {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [0.0] * len(pieces),
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * (len(pieces) - 259)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    shapes = {"token_embd.weight": (len(pieces), 32), "output_norm.weight": (32,)}
    for n in range(2):
        block = {"attn_norm": (32,), "ffn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32)}
        block |= {"attn_output": (32, 32), "ffn_up": (48, 32), "ffn_gate": (48, 32), "ffn_down": (32, 48)}
        shapes |= {f"blk.{n}.{name}.weight": shape for name, shape in block.items()}
    tensors = {name: random.normal(0, 0.3, shape).astype("float32") for name, shape in shapes.items()}
    kinds = {name: "Q8_0" for name in tensors if name.startswith("blk.1.ffn_up")}
    (folder / "llama").mkdir()
    gguf_files.write(folder / "llama" / "small.gguf", "llama", metadata, tensors, kinds)


def _open_gguf(folder):
    model = kt.CausalLM.from_preset(folder / "small.gguf")
    return [model.generate(["a man"], max_new_tokens=3), _ids(model, model.tokenizer.encode(["a man"]))]


def _make_adapters(folder):
    model = _classifier()
    kt.transforms.add_lora(model, rank=2)
    _moved(model)
    kt.transforms.save_lora(model, folder / "adapter")


def _open_adapter(folder):
    model = _classifier()
    kt.transforms.load_lora(model, folder)
    return model.predict(TEXTS[:2])


def _make_keras_hub(folder):
    import keras_hub

    sizes = {"vocabulary_size": 60, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 48}
    for name in ("Bert", "Roberta"):
        backbone = getattr(keras_hub.models, f"{name}Backbone")(**sizes, max_sequence_length=24)
        model = getattr(keras_hub.models, f"{name}TextClassifier")(_moved(backbone), num_classes=3)
        model.save_to_preset(folder / name)


def _open_keras_hub(folder):
    model = kt.TextClassifier.from_preset(folder)
    return _ids(model, [[5, 7, 9, 4, 8]])


def _make_checkpoints(folder):
    from keras_transformers.training.checkpoints import Checkpoint
    from keras_transformers.training.fitting import fit_batches
    from tests.training.test_callbacks import batches, compiled

    model = compiled()
    fit_batches(model.fit, batches(), epochs=2, callbacks=[Checkpoint(folder / "run", keep=3)], verbose=0)


def _open_checkpoint(folder):
    from keras_transformers.training.checkpoints import Checkpoint
    from tests.training.stand_in import compiled

    model = compiled()
    position = Checkpoint(folder).restore(model)
    # Which of them it was is right either way.
    return [] if position is None else [np.isfinite(keras.ops.convert_to_numpy(each)) for each in model.weights]


_RUN = {
    "output": "run",
    "data": {"pairs": "pairs.tsv", "held_out": 20},
    "cleaning": {"max_ratio": 2.5},
    "vocabulary": {"size": 290},
    "model": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2},
    "training": {"epochs": 3, "learning_rate": 1e-3, "average": 2, "dtype": None},
    "decoding": {"num_beams": 2},
}


def _make_runs(folder):
    import yaml

    (folder / "run").mkdir()
    (folder / "run" / "run.yaml").write_text(yaml.safe_dump(_RUN, sort_keys=False), "utf-8")


def _open_run(folder):
    from keras_transformers.apps.runs import read_run

    return [repr(read_run(folder / "run.yaml"))]


def _make_tokenizers(folder):
    from tests.tokenizers import folders

    for name in folders.FOLDERS:
        folders.write(name, folder / name, TEXTS * 3, 400)
    for name, options in {"bpe": {}, "unigram": {"kind": "unigram"}, "wordpiece": {"kind": "wordpiece"}}.items():
        _tokenizer(**options).save(folder / f"trained-{name}")


def _open_tokenizer(folder):
    tokenizer = kt.Tokenizer.load(folder)
    ids = tokenizer.encode(TEXTS[:2])
    return [json.dumps([ids, tokenizer.decode(ids)])]


DOORS = {
    "classifiers": Door(_make_classifiers, _open_classifier, ("*.json", "*.safetensors", "*/*.json"), verified=True),
    "generators": Door(_make_generators, _open_generator, verified=True),
    "families": Door(_name_families, _open_family, write=_write_family),
    "torch": Door(_make_torch, _open_classifier, ("*.json", "*.bin", "*.bin")),
    "gguf": Door(_make_gguf, _open_gguf, ("*.gguf",)),
    "adapters": Door(_make_adapters, _open_adapter, verified=True),
    "keras_hub": Door(_make_keras_hub, _open_keras_hub, ("*.json", "*.h5")),
    "checkpoints": Door(_make_checkpoints, _open_checkpoint, ("step-*/*",)),
    "runs": Door(_make_runs, _open_run, ("*.yaml",)),
    "tokenizers": Door(_make_tokenizers, _open_tokenizer, ("*",)),
}


def folders(door, root):
    """The folders that a door's `make` wrote, in order."""
    return sorted(path for path in (root / door).glob("*") if path.is_dir())


def files(door, folder):
    """The files of a folder that may be damaged, in order."""
    found = itertools.chain.from_iterable(folder.glob(pattern) for pattern in DOORS[door].files)
    return sorted({path for path in found if path.is_file()})
