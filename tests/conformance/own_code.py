"""What the code computes that published folders bring along and that is not in transformers: its definitions, written
out once more in PyTorch, with the keys and the tensors of such a folder.

new                https://huggingface.co/Alibaba-NLP/new-impl
hf_nomic_bert      https://huggingface.co/nomic-ai/nomic-bert-2048
jina_xlm_roberta   https://huggingface.co/jinaai/xlm-roberta-flash-implementation
jina_bert          https://huggingface.co/jinaai/jina-bert-implementation and jina-bert-v2-qk-post-norm
"""

import json
import math
import pathlib
import shutil
import types

from keras_transformers.families.registry import family_of


class OwnCode:
    """A model of a folder: called as one of transformers is, with as much as tests ask of it."""

    def __init__(self, folder):
        from safetensors.torch import load_file

        self.folder = pathlib.Path(folder)
        self.values = json.loads((self.folder / "config.json").read_text("utf-8"))
        family = family_of(self.values, folder)
        told = {name: self.values[name] for name in ("model_type", "architectures")}
        told |= family.write(family.config(self.values))
        self.config = types.SimpleNamespace(to_dict=lambda: told)
        body, prefix, self.layers, self.vocabulary = FORMS[family.model_type]
        self.tensors = load_file(self.folder / "model.safetensors")
        self.prefix = prefix if any(name.startswith(prefix) for name in self.tensors) else ""
        self.body = body

    def eval(self):
        return self

    def save_pretrained(self, folder):
        shutil.copytree(self.folder, folder)

    def tensor(self, name):
        found = self.tensors.get(self.prefix + name)
        return self.tensors.get(name) if found is None else found

    def words(self):
        """The token embeddings, or the matrix of the head if the file has that name alone: tied, they are one parameter
        when the file is loaded."""
        found = self.tensor("embeddings.word_embeddings.weight")
        heads = (array for name, array in self.tensors.items() if name.endswith("decoder.weight"))
        return next(heads) if found is None else found

    def linear(self, name, x):
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return x @ weight.T if bias is None else x @ weight.T + bias

    def norm(self, name, x, epsilon):
        import torch

        return torch.nn.functional.layer_norm(
            x, x.shape[-1:], self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), epsilon
        )

    def __call__(self, input_ids, attention_mask, token_type_ids=None, output_hidden_states=False, **_):
        import torch

        x = self.words()[input_ids]
        segments = self.tensor("embeddings.token_type_embeddings.weight")
        if segments is not None:
            x = x + segments[torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids]
        mask = torch.where(attention_mask[:, None, None, :] > 0, 0.0, -math.inf)
        states = self.body(self, x, mask)
        return self.answer(states[-1]) | ({"hidden_states": states} if output_hidden_states else {})

    def answer(self, x):
        head = self.values["architectures"][0]
        if "ForMaskedLM" in head or "ForPreTraining" in head:
            return _Outputs(logits=self.vocabulary(self, x))
        if "ForSequenceClassification" in head and self.tensor("classifier.dense.weight") is not None:
            return _Outputs(logits=self.linear("classifier.out_proj", self.linear("classifier.dense", x[:, 0]).tanh()))
        if "ForSequenceClassification" in head:
            return _Outputs(logits=self.linear("classifier", self.linear("pooler.dense", x[:, 0]).tanh()))
        if "ForTokenClassification" in head:
            return _Outputs(logits=self.linear("classifier", x))
        if "ForQuestionAnswering" in head:
            ends = self.linear("qa_outputs", x)
            return _Outputs(start_logits=ends[..., 0], end_logits=ends[..., 1])
        return _Outputs(last_hidden_state=x)

    def scores(self, dense, norm, decoder, x, function, epsilon, bias=None):
        """A head over the vocabulary, whose matrix is the token embeddings if the file has no other. Two names of its
        bias are one parameter, into which the tensor of the decoder is loaded last."""
        x = self.norm(norm, function(self.linear(dense, x)), epsilon)
        biases = (self.tensor(f"{each}.bias") for each in (decoder, bias) if each)
        bias, matrix = next((each for each in biases if each is not None), None), self.tensor(f"{decoder}.weight")
        scores = x @ (self.words() if matrix is None else matrix).T
        return scores if bias is None else scores + bias

    def encoded(self, x, attention, feed_forward, norms):
        """The states of all layers: each adds its two branches, and norms the sum."""
        states = [x]
        for n in range(self.values.get("num_hidden_layers", self.values.get("n_layer"))):
            path = self.layers.format(n=n)
            x = norms[0](path, x + attention(path, x))
            x = norms[1](path, x + feed_forward(path, x))
            states.append(x)
        return states


class _Outputs(dict):
    __getattr__ = dict.__getitem__

    def __or__(self, other):
        return _Outputs({**self, **other})


def activation(name):
    import torch

    functional = torch.nn.functional
    tanh = {each: True for each in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh")}
    if name in ("gelu", *tanh):
        return lambda x: functional.gelu(x, approximate="tanh" if name in tanh else "none")
    return {"silu": functional.silu, "swiglu": functional.silu, "geglu": functional.gelu, "relu": torch.relu}[name]


def attended(query, key, value, heads, mask, bias=0.0, turned=lambda x: x):
    """Attention `[B, T, D]`, scores divided by the root of a head's width."""
    import torch

    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    query, key = turned(query), turned(key)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + mask + bias
    return (torch.nan_to_num(torch.softmax(scores, -1)) @ value).transpose(1, 2).flatten(-2)


def turning(frequencies, length, interleaved=False):
    """A function that rotates heads `[B, N, T, H]`."""
    import torch

    angles = torch.outer(torch.arange(length).float(), frequencies)
    cos, sin = angles.cos(), angles.sin()
    width = 2 * len(frequencies)

    def turned(x):
        x, rest = x[..., :width], x[..., width:]
        first, second = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
        pair = first * cos - second * sin, second * cos + first * sin
        x = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
        return torch.cat([x, rest], -1)

    return turned


def frequencies(base, width):
    import torch

    return 1.0 / (base ** (torch.arange(0, width, 2).float() / width))


def new(model, x, mask):
    import torch

    told, epsilon = model.values, model.values["layer_norm_eps"]
    heads, act = told["num_attention_heads"], activation(told["hidden_act"])
    width, scaling = told["hidden_size"] // heads, told.get("rope_scaling")
    turns = frequencies(told["rope_theta"], width)
    if scaling:
        factor = scaling["factor"]
        turns = frequencies(told["rope_theta"] * factor, width) / factor ** (2 / width)
    turned = turning(turns, x.shape[1])

    def attention(path, x):
        parts = model.linear(f"{path}.attention.qkv_proj", x).chunk(3, -1)
        return model.linear(f"{path}.attention.o_proj", attended(*parts, heads, mask, turned=turned))

    def feed_forward(path, x):
        up, gate = model.linear(f"{path}.mlp.up_gate_proj", x).chunk(2, -1)
        return model.linear(f"{path}.mlp.down_proj", act(gate) * up)

    def norm(name):
        def of_layer(path, x):
            if told.get("layer_norm_type") != "rms_norm":
                return model.norm(f"{path}.{name}", x, epsilon)
            root = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
            return model.tensor(f"{path}.{name}.weight") * (x * root)

        return of_layer

    x = model.norm("embeddings.LayerNorm", x, epsilon)
    return model.encoded(x, attention, feed_forward, (norm("attn_ln"), norm("mlp_ln")))


def new_vocabulary(model, x):
    act, epsilon = activation(model.values["hidden_act"]), model.values["layer_norm_eps"]
    return model.scores("lm_head.dense", "lm_head.norm", "lm_head.decoder", x, act, epsilon)


def nomic(model, x, mask):
    import torch

    told, epsilon = model.values, model.values["layer_norm_epsilon"]
    heads, width = told["n_head"], told["n_embd"] // told["n_head"]
    act, base, length = activation(told["activation_function"]), told["rotary_emb_base"], x.shape[1]
    factor, trained = told.get("rotary_scaling_factor"), told.get("max_trained_positions")
    turned_width = int(width * told["rotary_emb_fraction"])
    if factor and length > trained:
        base = base * (factor * length / trained - (factor - 1)) ** (turned_width / (turned_width - 2))
    turned = turning(frequencies(base, turned_width), length, told["rotary_emb_interleaved"])

    def attention(path, x):
        parts = model.linear(f"{path}.attn.Wqkv", x).chunk(3, -1)
        return model.linear(f"{path}.attn.out_proj", attended(*parts, heads, mask, turned=turned))

    def feed_forward(path, x):
        path = f"{path}.mlp"
        if model.tensor(f"{path}.router.layer.weight") is not None:
            return experts(path, x)
        if model.tensor(f"{path}.fc11.weight") is not None:
            return model.linear(f"{path}.fc2", model.linear(f"{path}.fc11", x) * act(model.linear(f"{path}.fc12", x)))
        return model.linear(f"{path}.fc2", act(model.linear(f"{path}.fc1", x)))

    def experts(path, x):
        shares = torch.softmax(model.linear(f"{path}.router.layer", x), -1)
        weights, chosen = torch.topk(shares, told["moe_top_k"], -1)
        if told["moe_normalize_expert_weights"]:
            weights = weights / weights.sum(-1, keepdim=True)
        total = torch.zeros_like(x) + model.tensor(f"{path}.experts.bias")
        into, out = (model.tensor(f"{path}.experts.mlp.{name}").chunk(told["num_experts"]) for name in ("w1", "w2"))
        for number in range(told["num_experts"]):
            share = torch.where(chosen == number, weights, 0.0).sum(-1, keepdim=True)
            total = total + share * (act(x @ into[number].T) @ out[number])
        return total

    norms = [lambda path, x, n=n: model.norm(f"{path}.norm{n}", x, epsilon) for n in (1, 2)]
    return model.encoded(model.norm("emb_ln", x, epsilon), attention, feed_forward, norms)


def nomic_vocabulary(model, x):
    told = model.values
    act = activation("silu" if told["activation_function"] == "swiglu" else "gelu")
    transform = "cls.predictions.transform"
    names = f"{transform}.dense", f"{transform}.layer_norm", "cls.predictions.decoder"
    return model.scores(*names, x, act, told["layer_norm_epsilon"])


def jina_xlm_roberta(model, x, mask):
    told, epsilon = model.values, model.values["layer_norm_eps"]
    heads, act = told["num_attention_heads"], activation(told["hidden_act"])
    turned = turning(frequencies(told["rotary_emb_base"], told["hidden_size"] // heads), x.shape[1])

    def attention(path, x):
        parts = model.linear(f"{path}.mixer.Wqkv", x).chunk(3, -1)
        return model.linear(f"{path}.mixer.out_proj", attended(*parts, heads, mask, turned=turned))

    def feed_forward(path, x):
        return model.linear(f"{path}.mlp.fc2", act(model.linear(f"{path}.mlp.fc1", x)))

    norms = [lambda path, x, n=n: model.norm(f"{path}.norm{n}", x, epsilon) for n in (1, 2)]
    return model.encoded(model.norm("emb_ln", x, epsilon), attention, feed_forward, norms)


def roberta_vocabulary(model, x):
    names = "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"
    return model.scores(*names, x, activation("gelu"), model.values["layer_norm_eps"], "lm_head")


def slopes(heads):
    """Geometric for a power of two; then every other one of twice as many."""
    if not math.log2(heads).is_integer():
        power = 2 ** math.floor(math.log2(heads))
        return slopes(power) + slopes(2 * power)[::2][: heads - power]
    return [2 ** (-8 / heads * (n + 1)) for n in range(heads)]


def jina_bert(model, x, mask):
    import torch

    told, epsilon = model.values, model.values["layer_norm_eps"]
    heads, act = told["num_attention_heads"], activation({"geglu": "gelu", "reglu": "relu"}[told["feed_forward_type"]])
    places = torch.arange(x.shape[1])
    bias = -torch.tensor(slopes(heads))[:, None, None] * (places[:, None] - places[None]).abs()
    normed = any("qk-post-norm" in each for each in told.get("auto_map", {}).values())

    def attention(path, x):
        path = f"{path}.attention"
        query, key, value = (model.linear(f"{path}.self.{name}", x) for name in ("query", "key", "value"))
        if normed:
            query, key = (
                model.norm(f"{path}.self.layer_norm_{name}", each, epsilon) for name, each in (("q", query), ("k", key))
            )
        return model.linear(f"{path}.output.dense", attended(query, key, value, heads, mask, bias))

    def feed_forward(path, x):
        if normed:
            up, gate = model.linear(f"{path}.mlp.up_gated_layer", x).chunk(2, -1)
            return model.linear(f"{path}.mlp.down_layer", up * act(gate))
        gate, up = model.linear(f"{path}.mlp.gated_layers", x).chunk(2, -1)
        return model.linear(f"{path}.mlp.wo", act(gate) * up)

    names = ("layer_norm_1", "layer_norm_2") if normed else ("attention.output.LayerNorm", "mlp.layernorm")
    norms = [lambda path, x, name=name: model.norm(f"{path}.{name}", x, epsilon) for name in names]
    return model.encoded(model.norm("embeddings.LayerNorm", x, epsilon), attention, feed_forward, norms)


def bert_vocabulary(model, x):
    transform = "cls.predictions.transform"
    names = f"{transform}.dense", f"{transform}.LayerNorm", "cls.predictions.decoder"
    act = activation(model.values["hidden_act"])
    return model.scores(*names, x, act, model.values["layer_norm_eps"], "cls.predictions")


# By family: the body, the prefix of its tensors, the path of a layer, and the head over the vocabulary.
FORMS = {
    "new": (new, "new.", "encoder.layer.{n}", new_vocabulary),
    "hf_nomic_bert": (nomic, "bert.", "encoder.layers.{n}", nomic_vocabulary),
    "jina_xlm_roberta": (jina_xlm_roberta, "roberta.", "encoder.layers.{n}", roberta_vocabulary),
    "jina_bert": (jina_bert, "bert.", "encoder.layer.{n}", bert_vocabulary),
}
