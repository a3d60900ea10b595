"""Greedy decoding of random prompts, weights random, float32: 128 new tokens.

By a decoder of SmolLM2-135M's size (30 layers, width 576, 9 query heads and 3 key/value heads, 49,152 tokens) and by
one of GPT-2 small's (12 layers, width 768, 50,257 tokens), one matrix for embeddings and head, beside transformers on
PyTorch, run eagerly (the reference) and compiled with a static cache, and KerasHub's Llama and GPT-2.

A step cannot be faster than its weights and its keys and values are read, or, at larger batches, than the weights are
multiplied by: that is the limit. A prompt of 512 tokens is part of the time, and of the limit.

    python benchmarks/decode.py --only ours_jax,kerashub_jax --cases batch1/ --threads 1 --clock cpu --rounds 3
"""

import dataclasses

import numpy as np
from decoders import GPT2, Decoder, Llama
from harness import Benchmark, Contestant


@dataclasses.dataclass(frozen=True)
class Case:
    model: Decoder
    batch_size: int
    prompt: int
    new: int = 128

    def prompts(self):
        shape = (self.batch_size, self.prompt)
        return np.random.default_rng(0).integers(10, self.model.vocabulary_size, shape, dtype="int32")


def transformers_model(case, compiled=False):
    import torch

    model = case.model.transformers().eval()
    options = {}
    if compiled:
        options["cache_implementation"] = "static"
        model.forward = torch.compile(model.forward, dynamic=False)
    token_ids = torch.tensor(case.prompts().astype("int64"))

    def run():
        with torch.inference_mode():
            generated = model.generate(
                input_ids=token_ids,
                attention_mask=torch.ones_like(token_ids),
                do_sample=False,
                max_new_tokens=case.new,
                **options,
            )
        check(case, generated[:, case.prompt :])

    return run


def transformers_compiled(case):
    return transformers_model(case, compiled=True)


def keras_transformers_model(case, compiled=False, int8=False):
    import keras_transformers as kt
    from keras_transformers.generation import executors

    model = case.model.ours()
    if int8:
        kt.transforms.quantize(model, "int8", activations=True)
    model.jit_compile = compiled  # PyTorch alone asks
    config = kt.GenerationConfig(max_new_tokens=case.new)
    prompts = case.prompts().tolist()

    def run():
        before = executors.compilations.total()
        check(case, model.generate_ids(prompts, config).token_ids)
        return {"compilations": executors.compilations.total() - before}

    return run


def keras_transformers_compiled(case):
    return keras_transformers_model(case, compiled=True)


def keras_transformers_int8(case):
    return keras_transformers_model(case, int8=True)


def keras_hub_model(case):
    model = case.model.keras_hub()
    model.compile(sampler="greedy")
    token_ids = np.zeros((case.batch_size, case.prompt + case.new), "int32")
    token_ids[:, : case.prompt] = case.prompts()
    given = np.zeros_like(token_ids)
    given[:, : case.prompt] = 1

    def run():
        generated = model.generate({"token_ids": token_ids, "padding_mask": given}, stop_token_ids=None)
        check(case, np.asarray(generated["token_ids"])[:, case.prompt :])

    return run


def limit(case, machine):
    model, tokens = case.model, case.batch_size * case.prompt
    attention = 2 * model.num_layers * model.hidden_dim * tokens * case.prompt  # half the pairs, scores and sums
    prompt = machine.seconds(operations=2 * model.layers_weights * tokens + attention)
    positions = case.batch_size * (case.prompt + case.new / 2)
    keys_and_values = 2 * model.num_layers * model.key_value_dim * positions
    multiplied = 2 * model.weights * case.batch_size
    return prompt + case.new * machine.seconds(multiplied, machine.width * (model.weights + keys_and_values))


def check(case, token_ids):
    if tuple(token_ids.shape) != (case.batch_size, case.new):
        raise ValueError(
            f"Expected {case.new} tokens for each of {case.batch_size} prompts, got {tuple(token_ids.shape)}."
        )


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="decode",
    unit="new tokens/s",
    cases={
        **{
            f"smollm2/batch{batch_size}/prompt{prompt}": Case(Llama(), batch_size, prompt)
            for prompt in (32, 512)
            for batch_size in (1, 8, 32)
        },
        **{f"gpt2/batch{batch_size}/prompt32": Case(GPT2(), batch_size, 32) for batch_size in (1, 8)},
    },
    smoke_cases={
        "tiny": Case(Llama(1, 16, 2, 1, 24, 50), 2, 5, 4),
        "tiny_gpt2": Case(GPT2(1, 16, 2, 50, context_length=16), 2, 5, 4),
    },
    work=lambda case: case.batch_size * case.new,
    contestants=(
        Contestant("transformers", transformers_model),
        Contestant("transformers_compiled", transformers_compiled),
        *(Contestant(f"ours_{backend}", keras_transformers_model, backend) for backend in BACKENDS),
        Contestant("ours_torch_compiled", keras_transformers_compiled, "torch"),
        *(Contestant(f"ours_{backend}_int8", keras_transformers_int8, backend) for backend in BACKENDS),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
