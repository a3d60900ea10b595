"""The encoders and embedders among the hundred most used repositories: a folder of the layout of each, with small
sizes, does its users' work as transformers or sentence-transformers does it."""

import csv
import json
import warnings

import numpy as np
import pytest

import keras_transformers as kt
from tests.conformance import hundred, own_code
from tests.conformance.hundred import ROWS
from tests.layers.reference import relative_error
from tests.tasks import gliner
from tests.tasks.checkpoints import TEXTS, outputs, softmax

pytestmark = pytest.mark.one_backend("torch")
BOUND = 1e-5
# Of the other lines of the table: decoders and encoder-decoders.
OTHERS = "gpt2 opt gpt_neox llama qwen gemma mistral phi t5 marian m2m bart deepseek gpt_oss ministral".split()


def _check(found, wanted):
    assert relative_error(np.asarray(found), np.asarray(wanted)) <= BOUND


# Vectors


def _options(layout):
    """Arguments of `embed` here, and of `encode` there."""
    yield {}
    yield {"prompt": "query: "}
    for name in layout.prompts:
        yield {"prompt_name": name}
    yield {"truncate_dim": 16}


def embed(layout, folder):
    model = _opened(kt.TextEmbedder, folder)
    theirs = _sentence_transformers("SentenceTransformer", folder)
    if not layout.modules:
        model.normalize = False  # they do not of a folder without modules
    for options in _options(layout):
        _check(model.embed(TEXTS, **options), theirs.encode(TEXTS, **options))


def embed_by_own_code(layout, folder, model=None):
    """The code of the folder is not run: its published definition is written out in own_code.py."""
    model, theirs = model or _opened(kt.TextEmbedder, folder), own_code.OwnCode(folder)
    tokenizer = _tokenizer(folder)
    for options in _options(layout):
        prompt = layout.prompts.get(options.get("prompt_name"), options.get("prompt", ""))
        wanted = []
        for text in TEXTS:
            states = _states(theirs, tokenizer(prompt + text, truncation=True, max_length=120)["input_ids"])
            wanted.append(states[0] if "cls" in layout.modules else states.mean(0))
        wanted = np.stack(wanted)
        if "unit" in layout.modules:
            wanted /= np.linalg.norm(wanted, axis=-1, keepdims=True)
        _check(model.embed(TEXTS, **options), wanted[:, : options.get("truncate_dim")])


def embed_as_gte(layout, folder):
    """The keys and tensors of `new`, under the `model_type` of transformers."""
    written = folder.parent / "gte"
    hundred.write(layout, written)
    values = json.loads((written / "config.json").read_text("utf-8")) | {"model_type": "gte"}
    values |= {"architectures": ["GteModel"], "auto_map": {"AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel"}}
    (written / "config.json").write_text(json.dumps(values), "utf-8")
    embed_by_own_code(layout, folder, _opened(kt.TextEmbedder, written))


def embed_by_an_adapter(layout, folder):
    """Jina's files hold matrices beside their adapters, one for each task."""
    import safetensors.numpy

    written, values, random = folder.parent / "adapted", layout.values, np.random.default_rng(0)
    hundred.write(layout, written)
    tensors, merged, rank = {}, safetensors.numpy.load_file(folder / "model.safetensors"), values["lora_rank"]
    for name, array in list(merged.items()):
        if array.ndim == 1:
            tensors[name] = array
            continue
        path = f"{name.removesuffix('.weight')}.parametrizations.weight"
        sides = [(rank, array.shape[1]), (array.shape[0], rank)]
        sides = sides[::-1] if "_embeddings" in name else sides
        a, b = (random.normal(size=(2, *shape)).astype("float32") * 0.1 for shape in sides)
        product = a[0] @ b[0] if "_embeddings" in name else b[0] @ a[0]
        merged[name] = array + product * np.float32(values["lora_alpha"] / rank)
        tensors |= {f"{path}.original": array, f"{path}.0.lora_A": a, f"{path}.0.lora_B": b}
    hundred.write_tensors(folder, merged)
    hundred.write_tensors(written, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kt.TextEmbedder.from_preset(written, adapter="retrieval.query")
    embed_by_own_code(layout, folder, model)


def embed_by_a_table(layout, folder):
    """A table and a tokenizer: potion's, at the top of the folder, is written by model2vec."""
    import transformers

    inner = folder / layout.modules
    inner.mkdir(parents=True, exist_ok=True)
    engine = transformers.AutoTokenizer.from_pretrained(hundred.tokenizer(layout.tokenizer)).backend_tokenizer
    engine.save(str(inner / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(engine.get_vocab_size(), 32)).astype("float32")
    kinds = ["StaticEmbedding"]
    if layout.modules == ".":
        kinds.append("Normalize")
        (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}), "utf-8")
    hundred.write_tensors(inner, {"embeddings" if layout.modules == "." else "embedding.weight": table})
    modules = [
        {"idx": n, "name": str(n), "path": "1_Normalize" if n else layout.modules, "type": f"{_PACKAGE}{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    embed(layout, folder)


_PACKAGE = "sentence_transformers.models."


def embed_from_a_discriminator(layout, folder):
    """Of ELECTRA people take the body, from a file that has the head of replaced tokens too."""
    import safetensors.numpy

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["discriminator_predictions.dense.weight"] = np.ones((32, 32), "float32")
    tensors["discriminator_predictions.dense_prediction.weight"] = np.ones((1, 32), "float32")
    hundred.write_tensors(folder, tensors)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"architectures": ["ElectraForPreTraining"]}), "utf-8")
    embed(layout, folder)


def embed_from_a_body(layout, folder):
    """DeBERTa v3 has no architectures in its `config.json`, and its heads of training have names of their own."""
    import torch
    from safetensors.torch import load_file

    old = folder / ("pytorch_model.bin" if layout.pickled else "model.safetensors")
    tensors = torch.load(old, weights_only=True) if layout.pickled else load_file(old)
    names = {"cls.predictions.transform.": "lm_predictions.lm_head.", "cls.predictions.": "lm_predictions.lm_head."}
    for before, after in names.items():
        tensors = {name.replace(before, after): array for name, array in tensors.items()}
    tensors["mask_predictions.dense.weight"] = torch.ones(32, 32)
    old.unlink()
    hundred.write_tensors(folder, {name: array.numpy() for name, array in tensors.items()}, layout.pickled)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    del values["architectures"]
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    embed(layout, folder)


def _sparse_modules(folder, path, pooling, prefix=""):
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 120, "do_lower_case": False}))
    inner = folder / pooling
    inner.mkdir()
    values = {"pooling_strategy": "max", "activation_function": "log1p_relu" if prefix else "relu"}
    values |= {"word_embedding_dimension": json.loads((path / "config.json").read_text("utf-8"))["vocab_size"]}
    (inner / "config.json").write_text(json.dumps(values), "utf-8")


def embed_sparsely(layout, folder):
    _sparse_modules(folder, folder, "1_SpladePooling")
    kinds = [("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling")]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.sparse_encoder.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    settings = {"model_type": "SparseEncoder", "prompts": {}, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), "utf-8")
    _check_sparse(folder)


def embed_documents_sparsely(layout, folder):
    """Documents by a model, queries by a weight for each token."""
    inner = folder.parent / "routed" / "document_0_MLMTransformer"
    hundred.write(layout, inner)
    folder, package = inner.parent, "sentence_transformers.sparse_encoder.models"
    _sparse_modules(folder, inner, "document_1_SpladePooling", "document")
    query = folder / "query_0_SparseStaticEmbedding"
    query.mkdir()
    for name in ("vocab.txt", "tokenizer_config.json"):
        content = (inner / name).read_bytes()
        if name == "tokenizer_config.json":
            content = json.dumps(json.loads(content) | {"tokenizer_class": "BertTokenizer"}).encode()
        (query / name).write_bytes(content)
    (query / "config.json").write_text(json.dumps({"frozen": False}), "utf-8")
    size = json.loads((inner / "config.json").read_text("utf-8"))["vocab_size"]
    hundred.write_tensors(query, {"weight": np.random.default_rng(0).random(size).astype("float32")})
    structure = {"query": [query.name], "document": [inner.name, "document_1_SpladePooling"]}
    paths = [each for route in structure.values() for each in route]
    types = {path: f"{package}.{path.split('_')[-1]}" for path in paths}
    parameters = {"default_route": "document", "allow_empty_key": True}
    router = {"types": types, "structure": structure, "parameters": parameters}
    (folder / "router_config.json").write_text(json.dumps(router), "utf-8")
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}Router"}]
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    settings = {"model_type": "SparseEncoder", "prompts": {}, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), "utf-8")
    _check_sparse(folder)


def _check_sparse(folder):
    model = _opened(kt.SparseEmbedder, folder)
    theirs = _sentence_transformers("SparseEncoder", folder)
    for task, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        _check(model.embed(TEXTS, task=task).dense(), encode(TEXTS).to_dense().numpy())


def embed_tokens(layout, folder):
    """As ColBERT's authors save: a linear layer beside the body, and settings in artifact.metadata."""
    import safetensors.numpy

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["linear.weight"] = np.random.default_rng(0).normal(size=(16, 32)).astype("float32")
    hundred.write_tensors(folder, tensors)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"architectures": ["HF_ColBERT"]}), "utf-8")
    words = (folder / "vocab.txt").read_text("utf-8").split()
    (folder / "vocab.txt").write_text("\n".join([*words[:-2], "[unused0]", "[unused1]"]) + "\n", "utf-8")
    settings = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 32, "doc_maxlen": 60}
    (folder / "artifact.metadata").write_text(json.dumps(settings), "utf-8")
    theirs = _sentence_transformers("MultiVectorEncoder", folder)
    model = kt.MultiVectorEmbedder.from_preset(folder)
    for task, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        _check(np.concatenate(model.embed(TEXTS, task=task)), np.concatenate(encode(TEXTS, convert_to_numpy=True)))


def _states(model, ids):
    """The last hidden states `[T, D]` of a text."""
    import torch

    x = torch.tensor([ids])
    with torch.no_grad():
        return model(x, torch.ones_like(x), output_hidden_states=True)["hidden_states"][-1][0].numpy()


# Rankings


def rank(layout, folder):
    query = TEXTS[3].split("?")[0]
    theirs = _sentence_transformers("CrossEncoder", folder).rank(query, TEXTS)
    ours = _opened(kt.TextClassifier, folder).rank(query, TEXTS)
    assert [each["index"] for each in ours] == [each["corpus_id"] for each in theirs]
    _check([each["score"] for each in ours], [each["score"] for each in theirs])


def rank_by_yes_and_no(layout, folder):
    template = kt.tasks.YesNo()
    model, tokenizer, theirs = _opened(kt.CausalLM, folder), _tokenizer(folder), _transformers(layout, folder)
    (yes,), (no,) = model.tokenizer.encode(["yes", "no"])
    scores = []
    for text in TEXTS:
        parts = [template.prefix, template.question("Who?", text), template.suffix]
        ids = [
            each for part in parts for each in tokenizer.backend_tokenizer.encode(part, add_special_tokens=False).ids
        ]
        logits = _logits(theirs, ids)[-1]
        scores.append(softmax(logits[[no, yes]])[1])
    ranked = model.rank("Who?", TEXTS)
    assert [each["index"] for each in ranked] == np.argsort(-np.array(scores)).tolist()
    _check([each["score"] for each in ranked], sorted(scores, reverse=True))


def _logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy().astype("float64")


# Classes, words, labels, answers


def classify(layout, folder):
    tokenizer, theirs = _tokenizer(folder), _transformers(layout, folder)
    for text, found in zip(TEXTS, _opened(kt.TextClassifier, folder).classify(TEXTS, top=None), strict=True):
        scores = softmax(outputs(theirs, tokenizer, text))
        assert [each["label"] for each in found] == [layout.classes[n] for n in np.argsort(-scores)]
        _check([each["score"] for each in found], sorted(scores, reverse=True))


def classify_by_labels(layout, folder):
    import transformers

    labels = ["a book", "a film", "a fox"]
    pipeline = transformers.pipeline("zero-shot-classification", str(folder), device="cpu")
    found = _opened(kt.TextClassifier, folder).classify(TEXTS, labels=labels, top=None)
    for ours, theirs in zip(found, pipeline(TEXTS, labels), strict=True):
        assert [each["label"] for each in ours] == theirs["labels"]
        _check([each["score"] for each in ours], theirs["scores"])


def fill(layout, folder):
    model, tokenizer, theirs = _opened(kt.MaskedLM, folder), _tokenizer(folder), _transformers(layout, folder)
    masked = [f"The quick {tokenizer.mask_token} fox.", f"{tokenizer.mask_token} wrote the book about engines."]
    for text, answers in zip(masked, model.fill_mask(masked, top=3), strict=True):
        ids = tokenizer(text)["input_ids"]
        scores = softmax(outputs(theirs, tokenizer, text)[ids.index(tokenizer.mask_token_id)])
        best = np.argsort(-scores)[:3]
        assert [each["token"] for each in answers] == [tokenizer.decode([n]).strip() for n in best]
        _check([each["score"] for each in answers], scores[best])


def tag(layout, folder):
    import transformers

    texts = [text for text in TEXTS if "'" not in text]  # "l'on" is one word to the pipeline
    theirs = _transformers(layout, folder)
    pipeline = transformers.pipeline(
        "token-classification", theirs, tokenizer=_tokenizer(folder), aggregation_strategy="first"
    )
    model = _opened(kt.TokenClassifier, folder)
    for text, ours in zip(texts, model.tag(texts), strict=True):
        expected = [each for each in pipeline(text) if each["entity_group"] != "O"]
        assert [(e["label"], e["start"], e["end"]) for e in ours] == [
            (e["entity_group"], e["start"], e["end"]) for e in expected
        ]
        _check([each["score"] for each in ours], [each["score"] for each in expected])


def find_entities(layout, folder):
    """The folder names the encoder alone, which has the tokenizer. GLiNER's definition is written out in gliner.py."""
    encoder = gliner.write_encoder(folder.parent / "encoder")
    theirs = gliner.write(folder, encoder, newer=False, pickled=layout.pickled, model_name=str(encoder))
    labels = ["person", "city"]
    ours, wanted = _opened(kt.EntityTagger, folder).tag(TEXTS, labels), theirs.tag(TEXTS, labels)
    for each, others in zip(ours, wanted, strict=True):
        assert [(e["label"], e["start"], e["end"]) for e in each] == [(label, a, b) for label, _, a, b in others]
    _check([e["score"] for each in ours for e in each], [score for each in wanted for _, score, _, _ in each])


def answer(layout, folder):
    import torch

    model, tokenizer, theirs = _opened(kt.QuestionAnswerer, folder), _tokenizer(folder), _transformers(layout, folder)
    pairs = [("Who wrote the book?", TEXTS[3]), ("Where?", TEXTS[0])]
    for (question, context), ours in zip(pairs, model.predict(pairs), strict=True):
        with torch.no_grad():
            found = theirs(**tokenizer(question, context, return_tensors="pt"))
        _check(ours, np.stack([found.start_logits[0].numpy(), found.end_logits[0].numpy()], axis=-1))
        best = model.answer(question, context)
        assert best["text"] == context[best["start"] : best["end"]] and best["text"]


WORK = {
    "embed": embed,
    "own": embed_by_own_code,
    "gte": embed_as_gte,
    "adapter": embed_by_an_adapter,
    "static": embed_by_a_table,
    "discriminator": embed_from_a_discriminator,
    "body": embed_from_a_body,
    "sparse": embed_sparsely,
    "sparse-documents": embed_documents_sparsely,
    "tokens": embed_tokens,
    "rank": rank,
    "yes-no": rank_by_yes_and_no,
    "classify": classify,
    "zero-shot": classify_by_labels,
    "fill": fill,
    "tag": tag,
    "entities": find_entities,
    "answer": answer,
}


def _opened(cls, folder):
    """A folder opens in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cls.from_preset(folder)


def _tokenizer(folder):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


def _transformers(layout, folder):
    import transformers

    return getattr(transformers, layout.architecture).from_pretrained(folder).eval()


def _sentence_transformers(name, folder):
    return getattr(pytest.importorskip("sentence_transformers"), name)(str(folder), device="cpu")


def _distinct():
    """Each layout once, with the names of all of its repositories."""
    layouts = []
    for name, layout in ROWS.items():
        names = next((names for other, names in layouts if other == layout), None)
        names.append(name) if names else layouts.append((layout, [name]))
    return [pytest.param(layout, id="+".join(names)) for layout, names in layouts]


@pytest.mark.filterwarnings("ignore:The vocabulary has no token for")  # of ColBERT's skip list
@pytest.mark.parametrize("layout", _distinct())
def test_a_folder_of_each_layout_works(layout, tmp_path):
    folder = tmp_path / "model"
    if layout.family:
        hundred.write(layout, folder)
    WORK[layout.work](layout, folder)


def test_each_encoder_of_the_table_has_a_row(data_folder):
    with open(data_folder / "hundred.tsv", encoding="utf-8") as file:
        lines = {name: kind for name, kind, _ in csv.reader(file, delimiter="\t")}
    rest = set(lines) - set(ROWS)
    assert set(ROWS) <= set(lines)
    assert not [name for name in rest if not lines[name].startswith(tuple(OTHERS))]
