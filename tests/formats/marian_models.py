"""Models of Marian in NumPy: the parameters that its options ask for, their logits in float64, and folders of both.

Written after src/models/transformer.h, src/layers/generic.h and src/rnn/cells.h of marian-dev, by Marian's own names.
"""

import math

import numpy as np

from keras_transformers.files import flat_yaml, marian_items

STUDENT = {
    "dec-cell": "ssru",
    "dec-depth": 2,
    "dim-emb": 16,
    "dim-vocabs": [40, 40],
    "enc-depth": 2,
    "tied-embeddings-all": True,
    "transformer-decoder-autoreg": "rnn",
    "transformer-dim-ffn": 24,
    "transformer-ffn-activation": "relu",
    "transformer-heads": 2,
    "type": "transformer",
    "version": "v1.9.56 94aeaa46 2021-04-28 00:28:35 +0100",
}
TEACHER = {
    **{name: value for name, value in STUDENT.items() if name != "dec-cell"},
    "transformer-decoder-autoreg": "self-attention",
    "transformer-ffn-activation": "swish",
    "transformer-guided-alignment-layer": "last",
}
PRE_NORM = {"transformer-preprocess": "n", "transformer-postprocess": "da", "transformer-postprocess-top": "n"}
OPTIONS = {
    "student": STUDENT,
    "student with norms before": {**STUDENT, **PRE_NORM, "transformer-tied-layers": [1, 1]},
    "student with two vocabularies": {**STUDENT, "tied-embeddings-all": False, "tied-embeddings": True},
    "teacher": TEACHER,
    "teacher with norms before": {**TEACHER, **PRE_NORM, "transformer-postprocess-emb": "nd"},
    "teacher with norms around": {**TEACHER, "transformer-preprocess": "n", "transformer-postprocess": "dna"},
    "teacher with its own output": {**TEACHER, "tied-embeddings-all": False, "tied-embeddings-src": True},
}


def _get(options, name):
    defaults = {
        "transformer-preprocess": "",
        "transformer-postprocess": "dan",
        "transformer-postprocess-emb": "d",
        "transformer-postprocess-top": "",
        "transformer-tied-layers": [],
        "tied-embeddings": False,
        "tied-embeddings-src": False,
        "tied-embeddings-all": False,
    }
    return options.get(name, defaults.get(name))


class Model:
    """Marian's Transformer. Without `parameters` each parameter gets random numbers when it is asked for."""

    def __init__(self, options, parameters=None):
        self.options, self.given = options, parameters
        self.parameters = {} if parameters is None else parameters
        self.width, self.heads = options["dim-emb"], options["transformer-heads"]

    def p(self, name, *shape):
        if name not in self.parameters:
            if self.given is not None:
                raise KeyError(name)
            generator = np.random.default_rng([len(self.parameters), len(name)])
            scale = 0.4 if "_ln_" in name or shape[0] == 1 else 1.5 / math.sqrt(shape[-1])
            numbers = generator.normal(size=shape) * scale + ("_ln_scale" in name)
            self.parameters[name] = numbers.astype("float32")
        found = self.parameters[name]
        assert found.shape == shape, (name, found.shape, shape)
        return found.astype("float64")

    def affine(self, x, w, b, width):
        return x @ self.p(w, x.shape[-1], width) + self.p(b, 1, width)

    def norm(self, x, prefix, suffix=""):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)
        scale, bias = (self.p(f"{prefix}_ln_{kind}{suffix}", 1, x.shape[-1]) for kind in ("scale", "bias"))
        return x * scale + bias

    def before(self, x, prefix, operations):
        for operation in operations:
            x = self.norm(x, prefix, "_pre") if operation == "n" else x
        return x

    def after(self, x, previous, prefix, operations):
        for operation in operations:
            x = {"d": lambda x: x, "a": lambda x: x + previous, "n": lambda x: self.norm(x, prefix)}[operation](x)
        return x

    def branch(self, x, before, after, compute):
        y = compute(self.before(x, before, _get(self.options, "transformer-preprocess")))
        return self.after(y, x, after, _get(self.options, "transformer-postprocess"))

    def attention(self, x, keys, prefix, causal=False):
        def attend(query):
            source = query if keys is None else keys

            def split(y):
                return y.reshape(len(y), self.heads, -1).transpose(1, 0, 2)

            q, k, v = (
                split(self.affine(y, f"{prefix}_W{part}", f"{prefix}_b{part}", self.width))
                for part, y in (("q", query), ("k", source), ("v", source))
            )
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
            if causal:
                scores = np.where(np.tri(len(query), dtype=bool), scores, -1e9)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            joined = (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(query), -1)
            return self.affine(joined, f"{prefix}_Wo", f"{prefix}_bo", self.width)

        return self.branch(x, f"{prefix}_Wo", f"{prefix}_Wo", attend)

    def recurrence(self, x, prefix):
        def read(y):
            forget = 1 / (1 + np.exp(-self.affine(y, f"{prefix}_Wf", f"{prefix}_bf", self.width)))
            candidate, state, found = y @ self.p(f"{prefix}_W", self.width, self.width), 0.0, []
            for kept, new in zip(forget, candidate, strict=True):
                state = kept * state + (1 - kept) * new
                found.append(np.maximum(state, 0))
            return np.stack(found)

        return self.branch(x, prefix, f"{prefix}_ffn", read)

    def feed_forward(self, x, prefix):
        def compute(y):
            y = self.affine(y, f"{prefix}_W1", f"{prefix}_b1", self.options["transformer-dim-ffn"])
            swish = self.options["transformer-ffn-activation"] == "swish"
            y = y / (1 + np.exp(-y)) if swish else np.maximum(y, 0)
            return self.affine(y, f"{prefix}_W2", f"{prefix}_b2", self.width)

        return self.branch(x, f"{prefix}_ffn", f"{prefix}_ffn", compute)

    def embedded(self, vectors, side):
        half = self.width // 2
        angles = np.arange(len(vectors))[:, None] * np.exp(np.arange(half) * -(math.log(10000.0) / (half - 1)))
        x = vectors * math.sqrt(self.width) + np.concatenate([np.sin(angles), np.cos(angles)], -1)
        return self.before(x, f"{side}_emb", _get(self.options, "transformer-postprocess-emb"))

    def table(self, side):
        shared = _get(self.options, "tied-embeddings-all") or _get(self.options, "tied-embeddings-src")
        size = self.options["dim-vocabs"][side == "decoder"]
        return self.p("Wemb" if shared else f"{side}_Wemb", size, self.width)

    def top(self, x, side):
        return self.after(x, None, f"{side}_top", _get(self.options, "transformer-postprocess-top"))

    def logits(self, source, target):
        """The logits `[T + 1, V]` after the start and each of the target ids `[T]`, for source ids `[S]`."""
        x = self.embedded(self.table("encoder")[source], "encoder")
        for n in range(self.options["enc-depth"]):
            x = self.feed_forward(self.attention(x, None, f"encoder_l{n + 1}_self"), f"encoder_l{n + 1}_ffn")
        x = self.top(x, "encoder")
        table = self.table("decoder")
        y = self.embedded(np.concatenate([np.zeros((1, self.width)), table[target]]), "decoder")
        numbers = _get(self.options, "transformer-tied-layers") or range(1, self.options["dec-depth"] + 1)
        for number in numbers:
            prefix = f"decoder_l{number}"
            if self.options["transformer-decoder-autoreg"] == "rnn":
                y = self.recurrence(y, f"{prefix}_rnn")
            else:
                y = self.attention(y, None, f"{prefix}_self", causal=True)
            y = self.feed_forward(self.attention(y, x, f"{prefix}_context"), f"{prefix}_ffn")
        y = self.top(y, "decoder")
        size = self.options["dim-vocabs"][1]
        tied = _get(self.options, "tied-embeddings") or _get(self.options, "tied-embeddings-all")
        out = table if tied else self.p("decoder_ff_logit_out_Wt", size, self.width)
        return y @ out.T + self.p("decoder_ff_logit_out_b", 1, size)


def made(options):
    """A model with random parameters."""
    model = Model(options)
    model.logits([2, 3, 0], [4, 5])
    return model


def write(folder, model, vocabularies, kind="npz", quantized=False, shortlist=None, **settings):
    """A folder of a model: its parameters as float32 or int8, its vocabularies (files by name) and its settings."""
    items = []
    for name, array in sorted(model.parameters.items()):
        is_int8 = quantized and array.shape[0] > 1
        items.append((marian_items.int8 if is_int8 else marian_items.float32)(name, array))
    items.append(marian_items.characters(flat_yaml.dump(model.options).rstrip("\n").encode()))
    folder.mkdir(exist_ok=True)
    (marian_items.write_npz if kind == "npz" else marian_items.write_bin)(folder / f"model.{kind}", items)
    for name, content in vocabularies.items():
        (folder / name).write_bytes(content)
    names = [name for name in vocabularies if name.endswith((".yml", ".spm")) and not name.startswith("source.")]
    values = {
        "relative-paths": True,
        "models": [f"model.{kind}"],
        "vocabs": [names[0], names[-1]],
        "beam-size": 2,
        "normalize": 0.6,
        "mini-batch": 64,
        **({"shortlist": [shortlist, False]} if shortlist else {}),
        **settings,
    }
    (folder / "decoder.yml").write_text(flat_yaml.dump(values), encoding="utf-8")
    return folder
