"""COMET's and MetricX's published definitions, written out in PyTorch, and folders of their layouts with small sizes.

Source: comet/models (base.py, regression, multitask), comet/modules and comet/encoders,
https://github.com/Unbabel/COMET; metricx24/models.py and predict.py, https://github.com/google-research/metricx
"""

import json

import numpy as np
import torch
import transformers
import yaml
from torch import nn

from tests.tasks.checkpoints import TEXTS
from tests.tokenizers import folders

WIDTH, LAYERS, POSITIONS = 16, 2, 40
SOURCES = ["Angela Merkel was born in Hamburg.", "The quick brown fox", "", "Who wrote the book?", "a film of charm"]
TRANSLATIONS = ["Ada wrote the book about engines.", "Il y a des choses", "a film", "", "fox " * 60]
REFERENCES = ["Ada wrote the book.", "Il y a des choses que l'on n'oublie pas", "a film", "Who wrote", "The quick"]

REGRESSION = {
    "class_identifier": "regression_metric",
    "encoder_model": "XLM-RoBERTa",
    "pretrained_model": "authors/small-encoder",
    "pool": "avg",
    "layer": "mix",
    "layer_transformation": "sparsemax",
    "layer_norm": False,
    "hidden_sizes": [24, 8],
    "activations": "Tanh",
    "final_activation": None,
    "dropout": 0.1,
    "optimizer": "AdamW",
    "nr_frozen_epochs": 0.3,
    "train_data": ["data/train.csv"],
}
KIWI = REGRESSION | {
    "class_identifier": "unified_metric",
    "sent_layer": "mix",
    "word_layer": 2,
    "input_segments": ["mt", "src"],
    "word_level_training": True,
}
KIWI = {key: value for key, value in KIWI.items() if key not in ("pool", "layer")}


def sparsemax(z):
    """Weights by the definition: the nearest point of the simplex, by trying every size of the support."""
    ordered = torch.sort(z, descending=True).values
    for size in range(len(z), 0, -1):
        threshold = (ordered[:size].sum() - 1) / size
        if ordered[size - 1] > threshold:
            return torch.clamp(z - threshold, min=0)
    raise AssertionError


class Comet(nn.Module):
    """The model in evaluation mode, and its scores of texts."""

    def __init__(self, settings, encoder):
        super().__init__()
        self.settings = settings
        config = transformers.AutoConfig.from_pretrained(encoder)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
        self.encoder = nn.Module()
        self.encoder.model = transformers.AutoModel.from_config(config, add_pooling_layer=False)
        unified = settings["class_identifier"] == "unified_metric"
        parts = {"regression_metric": 6, "referenceless_regression_metric": 4}.get(settings["class_identifier"], 1)
        self.layer = settings.get("sent_layer" if unified else "layer", "mix")
        if self.layer == "mix":
            mix = self.layerwise_attention = nn.Module()
            mix.scalar_parameters = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(LAYERS + 1)])
            mix.gamma = nn.Parameter(torch.ones(1))
            mix.register_buffer("dropout_mask", torch.zeros(LAYERS + 1))
            mix.register_buffer("dropout_fill", torch.full((LAYERS + 1,), -1e20))
        sizes = [parts * WIDTH, *settings["hidden_sizes"]]
        hidden = [
            layer
            for one, other in zip(sizes[:-1], sizes[1:], strict=True)
            for layer in (nn.Linear(one, other), nn.Tanh(), nn.Dropout(0.1))
        ]
        self.estimator = nn.Module()
        self.estimator.ff = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))
        if settings.get("word_level_training"):
            self.hidden2tag = nn.Linear(WIDTH, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        self.eval()

    def embed(self, ids, mask):
        states = self.encoder.model(ids, mask, output_hidden_states=True).hidden_states
        if self.layer != "mix":
            return states[self.layer]
        numbers = torch.cat(list(self.layerwise_attention.scalar_parameters))
        plain = self.settings["layer_transformation"] != "sparsemax"
        weights = torch.softmax(numbers, 0) if plain else sparsemax(numbers)
        if self.settings["layer_norm"]:
            states = [self.normalized(each, mask) for each in states]
        return self.layerwise_attention.gamma * sum(w * x for w, x in zip(weights, states, strict=True))

    @staticmethod
    def normalized(x, mask):
        rows = []
        for row, seen in zip(x, mask.bool(), strict=True):
            real = row[seen]
            rows.append((row - real.mean()) / torch.sqrt(real.var(unbiased=False) + 1e-12))
        return torch.stack(rows)

    def sentences(self, texts):
        limit = POSITIONS - 4
        encoded = self.tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=limit)
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        x, pool = self.embed(ids, mask), self.settings["pool"]
        if pool == "cls":
            return x[:, 0]
        if pool == "max":
            return x.masked_fill(~mask.bool()[:, :, None], -torch.inf).max(1).values
        return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)

    def together(self, *sides):
        limit, rows = POSITIONS - 2, []
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        for texts in zip(*sides, strict=True):
            inner = [self.tokenizer(each, truncation=True, max_length=limit - 2)["input_ids"][1:-1] for each in texts]
            row = [start, *inner[0]]
            for each in inner[1:]:
                row += [end, end, *each]
            rows.append([*row, end][:limit])
        width = max(map(len, rows))
        ids = torch.tensor([row + [self.tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return self.estimator.ff(self.embed(ids, mask)[:, 0])[:, 0]

    @torch.no_grad()
    def score(self, sources, translations, references=None):
        if self.settings["class_identifier"] == "unified_metric":
            if references is None or len(self.settings["input_segments"]) == 2:
                return self.together(translations, sources).double().numpy()
            sides = (translations, sources), (translations, references), (translations, sources, references)
            return np.mean([self.together(*each).double().numpy() for each in sides], axis=0)
        mt, src = self.sentences(translations), self.sentences(sources)
        parts = [mt, src, mt * src, (mt - src).abs()]
        if self.settings["class_identifier"] == "regression_metric":
            ref = self.sentences(references)
            parts = [mt, ref, mt * ref, (mt - ref).abs(), mt * src, (mt - src).abs()]
        return self.estimator.ff(torch.cat(parts, 1))[:, 0].double().numpy()


def write_encoder(folder):
    """A folder of XLM-RoBERTa's configuration and tokenizer."""
    folders.write("xlm_roberta", folder, TEXTS * 3, 150)
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    config = transformers.XLMRobertaConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        pad_token_id=1,
        layer_norm_eps=1e-5,
    )
    config.save_pretrained(folder)
    return folder


def write_comet(folder, encoder, settings):
    """A folder of COMET with random weights, and its reference."""
    torch.manual_seed(0)
    model = Comet(settings, encoder)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "hparams.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    content = {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "1.8.2",
        "state_dict": model.state_dict() | {"encoder.model.embeddings.position_ids": torch.arange(POSITIONS)[None]},
        "hparams_name": "kwargs",
        "hyper_parameters": settings,
    }
    torch.save(content, folder / "checkpoints" / "model.ckpt")
    return model


def write_metricx(folder):
    """A folder of MetricX with random weights and a tokenizer, and a function that scores texts."""
    folders.write("mt5", folder, TEXTS * 3, 400)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.MT5Config(
        vocab_size=250112,
        d_model=8,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        tie_word_embeddings=False,
        architectures=["MT5ForRegression"],
    )
    torch.manual_seed(0)
    model = transformers.MT5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        model.lm_head.weight[250089] *= 6  # numbers around 13
    model.save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"architectures": ["MT5ForRegression"]}))

    @torch.no_grad()
    def score(sources, translations, references=None):
        ends = [""] * len(sources) if references is None else [f" reference: {each}" for each in references]
        found = []
        for source, translation, end in zip(sources, translations, ends, strict=True):
            ids = tokenizer(f"source: {source} candidate: {translation}{end}", return_tensors="pt")["input_ids"]
            logits = model(input_ids=ids[:, :-1], decoder_input_ids=torch.zeros((1, 1), dtype=torch.long)).logits
            found.append(float(torch.clamp(logits[0, 0, 250089], 0, 25)))
        return np.array(found)

    return score
