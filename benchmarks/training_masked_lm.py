"""Training steps of a BERT on masked words: 4 layers of width 512, vocabulary 30,522, batches of 16 × 128, float32.

Forward, backward and AdamW, dropout 0.1 on branches and attention weights; 19 tokens of a row are to be found. Ours
(which draws them anew in each step) and KerasHub's task score these positions alone; transformers, eagerly on PyTorch
(the reference), scores all of them, as its model does. Ours counts token accuracy and perplexity in each step, as it
always does.

    python benchmarks/training_masked_lm.py --only jax --rounds 3
"""

import dataclasses

import numpy as np
import steps
from harness import Benchmark, Contestant

STEPS = 2  # of one run


@dataclasses.dataclass(frozen=True)
class Case:
    vocabulary_size: int = 30522
    num_layers: int = 4
    hidden_dim: int = 512
    num_heads: int = 8
    rows: int = 16
    length: int = 128
    masked: int = 19
    dropout: float = 0.1

    def examples(self):
        """Ids `[STEPS * rows, length]`, which of their positions are masked and what stood there `[…, masked]`."""
        draw, count = np.random.default_rng(0), STEPS * self.rows
        ids = draw.integers(1, self.vocabulary_size, (count, self.length), dtype="int32")
        positions = np.stack([np.sort(draw.permutation(self.length)[: self.masked]) for _ in range(count)])
        labels = np.take_along_axis(ids, positions, axis=1)
        np.put_along_axis(ids, positions, 0, axis=1)
        return ids, positions.astype("int32"), labels


def transformers_model(case):
    import torch
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=case.vocabulary_size,
        hidden_size=case.hidden_dim,
        num_hidden_layers=case.num_layers,
        num_attention_heads=case.num_heads,
        intermediate_size=4 * case.hidden_dim,
        max_position_embeddings=case.length,
        hidden_dropout_prob=case.dropout,
        attention_probs_dropout_prob=case.dropout,
    )
    model = BertForMaskedLM(config).train()
    ids, positions, masked = case.examples()
    labels = np.full_like(ids, -100)
    np.put_along_axis(labels, positions, masked, axis=1)
    mask = torch.ones(case.rows, case.length, dtype=torch.long)
    return steps.pytorch(
        model,
        (ids, labels),
        case.rows,
        lambda inputs, labels: model(input_ids=inputs, attention_mask=mask, labels=labels).loss,
    )


def keras_transformers_model(case):
    import keras_transformers as kt
    from keras_transformers.data.batches import Batches
    from keras_transformers.data.pairs import Ragged
    from keras_transformers.tasks.masked_lm import MaskedExamples

    config = kt.models.encoder(
        case.vocabulary_size,
        num_layers=case.num_layers,
        hidden_dim=case.hidden_dim,
        num_heads=case.num_heads,
        max_length=case.length,
        dropout=case.dropout,
    )
    model = kt.MaskedLM(config)
    model.compile(steps.optimizer())
    ids = case.examples()[0]
    examples = MaskedExamples(
        {"token_ids": Ragged.join(ids)},
        None,
        np.ones(len(ids), "float32"),
        padding_id=0,
        maskable=Ragged.join(np.tile(np.arange(case.length, dtype="int32"), (len(ids), 1))),
        mask_rate=case.masked / case.length,
        vocabulary_size=case.vocabulary_size,
    )
    batches = Batches(examples, batch_size=case.rows)
    return lambda: model.fit(batches, verbose=0)


def keras_hub_model(case):
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=case.vocabulary_size,
        num_layers=case.num_layers,
        num_heads=case.num_heads,
        hidden_dim=case.hidden_dim,
        intermediate_dim=4 * case.hidden_dim,
        max_sequence_length=case.length,
        dropout=case.dropout,
    )
    model = keras_hub.models.BertMaskedLM(backbone)
    ids, positions, labels = case.examples()
    inputs = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
        "mask_positions": positions,
    }
    return steps.keras_hub(model, inputs, labels, case.rows)


def limit(case, machine):
    """Multiplying, three times what a forward pass takes: blocks of twelve matrices, all pairs, the masked logits."""
    blocks = 12 * case.num_layers * case.hidden_dim**2
    attention = 4 * case.num_layers * case.hidden_dim * case.length
    head = 2 * (case.vocabulary_size + case.hidden_dim) * case.hidden_dim * case.masked
    return machine.seconds(3 * STEPS * case.rows * (case.length * (2 * blocks + attention) + head))


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="training-masked-lm",
    unit="tokens/s",
    cases={"bert": Case()},
    smoke_cases={"tiny": Case(50, num_layers=1, hidden_dim=16, num_heads=2, rows=2, length=8, masked=2)},
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
