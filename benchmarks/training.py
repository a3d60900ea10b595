"""Training steps of a small encoder-decoder: 3+3 layers, width 256, 8,000 tokens, batches of 32 × (32 + 32), float32.

Forward, backward and AdamW, dropout 0.1, beside transformers' BART on PyTorch, run eagerly (the reference), and
KerasHub's BART through its own `fit`. KerasHub drops attention weights too whenever it drops anything:
`attention_dropout` is the case in which all do; in `branch_dropout` ours and transformers drop the branches alone. Ours
counts token accuracy and perplexity in each step, as it always does.

    python benchmarks/training.py --only ours --cases branch
"""

import dataclasses

import numpy as np
import steps
from harness import Benchmark, Contestant

STEPS = 4  # of one run


@dataclasses.dataclass(frozen=True)
class Case:
    attention_dropout: float
    dropout: float = 0.1
    num_layers: int = 3
    hidden_dim: int = 256
    vocabulary_size: int = 8000
    num_heads: int = 8
    rows: int = 32
    length: int = 32

    def batches(self):
        """Sources, decoder inputs and labels of all steps, int32 `[STEPS * rows, length]` each."""
        shape = (STEPS * self.rows, self.length + 1)
        source, target = np.random.default_rng(0).integers(5, self.vocabulary_size, (2, *shape), dtype="int32")
        return source[:, :-1], target[:, :-1], target[:, 1:]


def transformers_model(case):
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=case.vocabulary_size,
        d_model=case.hidden_dim,
        encoder_layers=case.num_layers,
        decoder_layers=case.num_layers,
        encoder_attention_heads=case.num_heads,
        decoder_attention_heads=case.num_heads,
        encoder_ffn_dim=4 * case.hidden_dim,
        decoder_ffn_dim=4 * case.hidden_dim,
        max_position_embeddings=128,
        dropout=case.dropout,
        attention_dropout=case.attention_dropout,
        use_cache=False,
    )
    model = BartForConditionalGeneration(config).train()

    def loss(source, target, labels):
        mask = torch.ones_like(source)
        return model(input_ids=source, attention_mask=mask, decoder_input_ids=target, labels=labels).loss

    return steps.pytorch(model, case.batches(), case.rows, loss)


def keras_transformers_model(case):
    import keras_transformers as kt

    config = kt.models.transformer(
        case.vocabulary_size,
        num_layers=case.num_layers,
        hidden_dim=case.hidden_dim,
        num_heads=case.num_heads,
        dropout=case.dropout,
        attention_dropout=case.attention_dropout,
        max_length=128,
    )
    model = kt.Seq2SeqLM(config)
    model.compile(steps.optimizer(), label_smoothing=0.0)
    source, target, labels = case.batches()
    inputs = {"token_ids": source, "decoder_token_ids": target}

    def run():
        model.fit(inputs, labels, batch_size=case.rows, verbose=0)

    return run


def keras_hub_model(case):
    import keras_hub

    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=case.vocabulary_size,
        num_layers=case.num_layers,
        num_heads=case.num_heads,
        hidden_dim=case.hidden_dim,
        intermediate_dim=4 * case.hidden_dim,
        max_sequence_length=128,
        dropout=case.dropout,
    )
    model = keras_hub.models.BartSeq2SeqLM(backbone)
    source, target, labels = case.batches()
    inputs = {
        "encoder_token_ids": source,
        "encoder_padding_mask": np.ones_like(source),
        "decoder_token_ids": target,
        "decoder_padding_mask": np.ones_like(target),
    }
    return steps.keras_hub(model, inputs, labels, case.rows)


def limit(case, machine):
    """Multiplying, three times what a forward pass takes: blocks of twelve and sixteen matrices, and the logits."""
    weights = 28 * case.num_layers * case.hidden_dim**2 + case.vocabulary_size * case.hidden_dim
    attention = (4 + 4 + 2) * case.num_layers * case.hidden_dim * case.length
    return machine.seconds(3 * STEPS * case.rows * case.length * (2 * weights + attention))


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="training",
    unit="tokens/s",
    cases={"branch_dropout": Case(attention_dropout=0.0), "attention_dropout": Case(attention_dropout=0.1)},
    smoke_cases={"tiny": Case(0.1, num_layers=1, hidden_dim=16, vocabulary_size=50, num_heads=2, rows=2, length=4)},
    work=lambda case: STEPS * case.rows * 2 * case.length,
    contestants=(
        Contestant("transformers", transformers_model),
        *(Contestant(f"ours_{backend}", keras_transformers_model, backend) for backend in BACKENDS),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
