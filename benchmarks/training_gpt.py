"""Training steps of a GPT-2 of 4 layers of width 768, as GPT-2 small's, vocabulary 50,257, batches of 4 × 256, and of
one of 2 layers of width 512 with a large vocabulary, 128,256, batches of 8 × 256; float32. Then of one of 8 layers of
width 384, batches of 8 × 512, as it is and with each block computed again in the backward pass.

Forward, backward and AdamW, dropout 0.1 on branches and attention weights, beside transformers' GPT-2 on PyTorch, run
eagerly (the reference), and KerasHub's through its own `fit`. Ours counts token accuracy and perplexity in each step,
as it always does.

    python benchmarks/training_gpt.py --only torch --rounds 3
"""

import dataclasses

import numpy as np
import steps
from decoders import GPT2
from harness import Benchmark, Contestant, NotMeant

STEPS = 2  # of one run


@dataclasses.dataclass(frozen=True)
class Case:
    model: GPT2
    rows: int = 4
    length: int = 256
    rematerialize: bool = False

    def ids(self):
        """Inputs and labels of all steps, int32 `[STEPS * rows, length]` each."""
        shape = (STEPS * self.rows, self.length + 1)
        ids = np.random.default_rng(0).integers(0, self.model.vocabulary_size, shape, dtype="int32")
        return ids[:, :-1], ids[:, 1:]


def transformers_model(case):
    model = case.model.transformers().train()
    if case.rematerialize:
        model.gradient_checkpointing_enable()
    return steps.pytorch(
        model,
        case.ids(),
        case.rows,
        lambda inputs, labels: model(input_ids=inputs, labels=labels, shift_labels=labels, use_cache=False).loss,
    )


def keras_transformers_model(case):
    from keras_transformers.data.batches import Batches
    from keras_transformers.data.examples import Examples
    from keras_transformers.data.pairs import Ragged

    model = case.model.ours()
    model.compile(steps.optimizer(), rematerialize=case.rematerialize)
    inputs, labels = (Ragged.join(rows) for rows in case.ids())
    examples = Examples({"token_ids": inputs}, labels, np.ones(STEPS * case.rows, "float32"), 0)
    batches = Batches(examples, batch_size=case.rows)
    return lambda: model.fit(batches, verbose=0)


def keras_hub_model(case):
    if case.rematerialize:
        raise NotMeant("keeps all")
    ids, labels = case.ids()
    return steps.keras_hub(
        case.model.keras_hub(), {"token_ids": ids, "padding_mask": np.ones_like(ids)}, labels, case.rows
    )


def limit(case, machine):
    """Multiplying, three times what a forward pass takes: blocks of twelve matrices, half of all pairs, the logits."""
    attention = 2 * case.model.num_layers * case.model.hidden_dim * case.length
    return machine.seconds(3 * STEPS * case.rows * case.length * (2 * case.model.weights + attention))


LONG = Case(GPT2(8, 384, 6, 8192, context_length=512), rows=8, length=512)
BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="training-gpt",
    unit="tokens/s",
    cases={
        "gpt2": Case(GPT2(num_layers=4, context_length=256)),
        "large_vocabulary": Case(GPT2(2, 512, 8, 128256, context_length=256), rows=8),
        "long": LONG,
        "long_rematerialized": dataclasses.replace(LONG, rematerialize=True),
    },
    smoke_cases={"tiny": Case(GPT2(1, 16, 2, 50, context_length=8), rows=2, length=8)},
    work=lambda case: STEPS * case.rows * case.length,
    contestants=(
        Contestant("transformers", transformers_model),
        *(Contestant(f"ours_{backend}", keras_transformers_model, backend) for backend in BACKENDS),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
