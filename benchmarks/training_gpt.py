"""Training steps of a GPT-2 of 4 layers of width 768, as GPT-2 small's, vocabulary 50,257, batches of 4 × 256, and of
one of 2 layers of width 512 with a large vocabulary, 128,256, batches of 8 × 256; float32.

Forward, backward and AdamW, dropout 0.1 on branches and attention weights, beside transformers' GPT-2 on PyTorch, run
eagerly (the reference), and KerasHub's through its own `fit`. Ours counts token accuracy and perplexity in each step,
as it always does.

    python benchmarks/training_gpt.py --only torch --rounds 3
"""

import dataclasses

import numpy as np
import steps
from harness import Benchmark, Contestant

STEPS = 2  # of one run


@dataclasses.dataclass(frozen=True)
class Case:
    vocabulary_size: int = 50257
    num_layers: int = 4
    hidden_dim: int = 768
    num_heads: int = 12
    rows: int = 4
    length: int = 256
    dropout: float = 0.1

    def ids(self):
        """Inputs and labels of all steps, int32 `[STEPS * rows, length]` each."""
        shape = (STEPS * self.rows, self.length + 1)
        ids = np.random.default_rng(0).integers(0, self.vocabulary_size, shape, dtype="int32")
        return ids[:, :-1], ids[:, 1:]


def transformers_model(case):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=case.vocabulary_size,
        n_embd=case.hidden_dim,
        n_layer=case.num_layers,
        n_head=case.num_heads,
        n_positions=case.length,
        resid_pdrop=case.dropout,
        embd_pdrop=case.dropout,
        attn_pdrop=case.dropout,
        use_cache=False,
    )
    model = GPT2LMHeadModel(config).train()
    return steps.pytorch(
        model,
        case.ids(),
        case.rows,
        lambda inputs, labels: model(input_ids=inputs, labels=labels, shift_labels=labels).loss,
    )


def keras_transformers_model(case):
    import keras_transformers as kt
    from keras_transformers.training.datasets import Batches
    from keras_transformers.training.examples import Examples
    from keras_transformers.training.pairs import Ragged

    config = kt.models.gpt(
        case.vocabulary_size,
        num_layers=case.num_layers,
        hidden_dim=case.hidden_dim,
        num_heads=case.num_heads,
        max_length=case.length,
        dropout=case.dropout,
    )
    model = kt.CausalLM(config)
    model.compile(steps.optimizer())
    inputs, labels = (Ragged.join(rows) for rows in case.ids())
    examples = Examples({"token_ids": inputs}, labels, np.ones(STEPS * case.rows, "float32"), 0)
    batches = Batches(examples, batch_size=case.rows)
    return lambda: model.fit(batches, verbose=0)


def keras_hub_model(case):
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=case.vocabulary_size,
        num_layers=case.num_layers,
        num_heads=case.num_heads,
        hidden_dim=case.hidden_dim,
        intermediate_dim=4 * case.hidden_dim,
        max_sequence_length=case.length,
        dropout=case.dropout,
    )
    model = keras_hub.models.GPT2CausalLM(backbone)
    ids, labels = case.ids()
    return steps.keras_hub(model, {"token_ids": ids, "padding_mask": np.ones_like(ids)}, labels, case.rows)


def limit(case, machine):
    """Multiplying, three times what a forward pass takes: blocks of twelve matrices, half of all pairs, the logits."""
    weights = 12 * case.num_layers * case.hidden_dim**2 + case.vocabulary_size * case.hidden_dim
    attention = 2 * case.num_layers * case.hidden_dim * case.length
    return machine.seconds(3 * STEPS * case.rows * case.length * (2 * weights + attention))


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="training-gpt",
    unit="tokens/s",
    cases={
        "gpt2": Case(),
        "large_vocabulary": Case(128256, num_layers=2, hidden_dim=512, num_heads=8, rows=8),
    },
    smoke_cases={"tiny": Case(num_layers=1, hidden_dim=16, vocabulary_size=50, num_heads=2, rows=2, length=8)},
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
