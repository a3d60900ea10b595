"""GLiNER's published definition, written out in PyTorch, and folders of its layout with small sizes.

Source: gliner/modeling/base.py, layers.py and span_rep.py, gliner/data_processing/processor.py and
gliner/decoding/decoder.py, https://github.com/urchade/GLiNER (Zaratiana et al. 2023).
"""

import json
import re

import torch
import transformers
from torch import nn
from torch.nn.utils import rnn

from tests.tasks.checkpoints import TEXTS
from tests.tokenizers import folders

ADDED = ["[FLERT]", "<<ENT>>", "<<SEP>>"]
ENCODER = {
    "model_type": "deberta-v2",
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 24,
    "initializer_range": 0.02,
    "intermediate_size": 32,
    "layer_norm_eps": 1e-7,
    "max_position_embeddings": 64,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "pooler_dropout": 0,
    "pooler_hidden_act": "gelu",
    "pooler_hidden_size": 24,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "position_buckets": 8,
    "relative_attention": True,
    "share_att_key": True,
    "type_vocab_size": 0,
}
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
}
SETTINGS = {
    "model_name": "authors/small-encoder",
    "name": "span level gliner",
    "dropout": 0.4,
    "fine_tune": True,
    "hidden_size": 16,
    "lr_encoder": "1e-5",
    "max_len": 30,
    "max_types": 25,
    "max_width": 3,
    "span_mode": "markerV0",
    "subtoken_pooling": "first",
}


def _two_layers(width, output):
    return nn.Sequential(nn.Linear(width, 4 * output), nn.ReLU(), nn.Dropout(0.4), nn.Linear(4 * output, output))


class Gliner(nn.Module):
    """The model, in evaluation mode, with random weights that are large enough for scores on both sides of a half."""

    def __init__(self, settings, encoder, vocabulary_size):
        super().__init__()
        values = {**encoder, "vocab_size": vocabulary_size}
        config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        width = settings["hidden_size"]
        self.width = settings["max_width"]
        torch.manual_seed(0)
        parts = {name: _two_layers(width, width) for name in ("project_start", "project_end")}
        parts["out_project"] = _two_layers(2 * width, width)
        self.token_rep_layer = nn.ModuleDict(
            {"bert_layer": nn.ModuleDict({"model": transformers.AutoModel.from_config(config)})}
        )
        if width != config.hidden_size:
            self.token_rep_layer["projection"] = nn.Linear(config.hidden_size, width)
        layers = settings.get("num_rnn_layers", 1)
        if layers:
            lstm = nn.LSTM(width, width // 2, layers, batch_first=True, bidirectional=True)
            self.rnn = nn.ModuleDict({"lstm": lstm})
        self.span_rep_layer = nn.ModuleDict({"span_rep_layer": nn.ModuleDict(parts)})
        self.prompt_rep_layer = _two_layers(width, width)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        self.eval()

    @torch.no_grad()
    def forward(self, ids, mask, words, labels):
        """Logits `[B, W, K, L]`. `words` and `labels` are the places of their first tokens, lists of lists; of words
        None for one without a token."""
        states = self.token_rep_layer["bert_layer"]["model"](ids, attention_mask=mask)[0]
        if "projection" in self.token_rep_layer:
            states = self.token_rep_layer["projection"](states)
        lengths = [len(each) for each in words]
        x = states.new_zeros(len(ids), max(lengths), states.shape[-1])
        for row, places in enumerate(words):
            for number, place in enumerate(places):
                if place is not None:
                    x[row, number] = states[row, place]
        if hasattr(self, "rnn"):
            packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
            x, _ = rnn.pad_packed_sequence(self.rnn["lstm"](packed)[0], batch_first=True)
        parts = self.span_rep_layer["span_rep_layer"]
        start, end = parts["project_start"](x), parts["project_end"](x)
        places = torch.arange(x.shape[1])[:, None] + torch.arange(self.width)
        places = places.clamp(max=x.shape[1] - 1)
        pairs = torch.cat([start[:, :, None].expand(-1, -1, self.width, -1), end[:, places]], -1)
        spans = parts["out_project"](pairs.relu())
        label_states = torch.stack([states[row, each] for row, each in enumerate(labels)])
        return torch.einsum("bwkh,blh->bwkl", spans, self.prompt_rep_layer(label_states))


class Pipeline:
    """A tokenizer of transformers and the model."""

    def __init__(self, tokenizer, model):
        self.tokenizer, self.model = tokenizer, model

    def inputs(self, texts, labels):
        """The tensors and places of texts, and the words of each as spans of characters."""
        splits = [[match.span() for match in re.finditer(r"\w+(?:[-_]\w+)*|\S", text)] for text in texts]
        prompt = [token for label in labels for token in (ADDED[1], label)] + [ADDED[2]]
        rows = [[*prompt, *(text[start:end] for start, end in each)] for text, each in zip(texts, splits, strict=True)]
        encoded = self.tokenizer(rows, is_split_into_words=True, return_tensors="pt", padding="longest")
        words, places = [], []
        for row, each in enumerate(rows):
            of_tokens = encoded.word_ids(row)
            found = [of_tokens.index(n) if n in of_tokens else None for n in range(len(each))]
            words.append(found[len(prompt) :])
            places.append(found[: 2 * len(labels) : 2])
        return encoded["input_ids"], encoded["attention_mask"], words, places, splits

    def tag(self, texts, labels, threshold=0.5):
        """The entities of each text: (label, score, start, end)."""
        *inputs, splits = self.inputs(texts, labels)
        probabilities = torch.sigmoid(self.model(*inputs).double())
        return [self._greedy(*each, labels, threshold) for each in zip(probabilities, splits, strict=True)]

    def _greedy(self, probabilities, words, labels, threshold):
        found = [
            (float(probabilities[w, k, n]), w, w + k, labels[n])
            for w, k, n in (probabilities > threshold).nonzero().tolist()
            if w + k < len(words)
        ]
        kept = []
        for score, first, last, label in sorted(found, key=lambda each: -each[0]):
            if all(last < other[1] or other[2] < first for other in kept):
                kept.append((score, first, last, label))
        kept.sort(key=lambda each: each[1])
        return [(label, score, words[first][0], words[last][1]) for score, first, last, label in kept]


def write_encoder(folder, encoder=ENCODER):
    """Write the configuration and tokenizer of an encoder, as its own repository has them."""
    if encoder["model_type"] == "bert":
        folders.write("bert", folder, TEXTS * 3, 400)
        values = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    else:
        folders.write("deberta_v2", folder, TEXTS * 3, 320)
        values = {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(values), "utf-8")
    (folder / "config.json").write_text(json.dumps({**encoder, "vocab_size": 400}), "utf-8")
    return folder


def write(folder, encoder_folder, *, encoder=ENCODER, newer=True, pickled=False, **settings):
    """Write a folder of GLiNER, and return its `Pipeline`. Newer folders hold the encoder's configuration and the
    tokenizer; older ones name the encoder alone."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder_folder)
    tokenizer.add_tokens(ADDED, special_tokens=True)
    settings = {**SETTINGS, **settings}
    model = Gliner(settings, encoder, len(tokenizer))
    if newer:
        tokenizer.save_pretrained(folder)
        settings |= {"class_token_index": len(tokenizer) - 2, "vocab_size": len(tokenizer)}
        settings["encoder_config"] = {**encoder, "vocab_size": len(tokenizer)}
    (folder / "gliner_config.json").write_text(json.dumps(settings, indent=2), "utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    return Pipeline(tokenizer, model)
