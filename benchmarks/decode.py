"""Greedy decoding of random prompts by a decoder of Llama's kind, weights random, float32: 128 new tokens.

Of SmolLM2-135M's size (30 layers, width 576, 9 query heads and 3 key/value heads, 49,152 tokens, one matrix for
embeddings and head), beside transformers on PyTorch, run eagerly (the reference) and compiled with a static cache, and
KerasHub's Llama.

A step cannot be faster than its weights and its keys and values are read, or, at larger batches, than the weights are
multiplied by: that is the limit. A prompt of 512 tokens is part of the time, and of the limit.

    python benchmarks/decode.py --only ours_jax,kerashub_jax --cases batch1/ --threads 1 --clock cpu --rounds 3
"""

import dataclasses

import numpy as np
from harness import Benchmark, Contestant


@dataclasses.dataclass(frozen=True)
class Size:
    num_layers: int
    hidden_dim: int
    num_heads: int
    num_key_value_heads: int
    intermediate_dim: int
    vocabulary_size: int

    @property
    def key_value_dim(self):
        return self.hidden_dim * self.num_key_value_heads // self.num_heads

    @property
    def layers_weights(self):
        attention = 2 * self.hidden_dim * (self.hidden_dim + self.key_value_dim)
        return self.num_layers * (attention + 3 * self.hidden_dim * self.intermediate_dim)

    @property
    def weights(self):
        return self.layers_weights + self.vocabulary_size * self.hidden_dim


@dataclasses.dataclass(frozen=True)
class Case:
    size: Size
    batch_size: int
    prompt: int
    new: int = 128

    @property
    def longest(self):
        return max(2048, self.prompt + self.new)

    def prompts(self):
        shape = (self.batch_size, self.prompt)
        return np.random.default_rng(0).integers(10, self.size.vocabulary_size, shape, dtype="int32")


SMOL = Size(30, 576, 9, 3, 1536, 49152)


def transformers_model(case, compiled=False):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = case.size
    config = LlamaConfig(
        num_hidden_layers=size.num_layers,
        hidden_size=size.hidden_dim,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_key_value_heads,
        intermediate_size=size.intermediate_dim,
        vocab_size=size.vocabulary_size,
        max_position_embeddings=case.longest,
        tie_word_embeddings=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
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


def keras_transformers_model(case):
    import keras_transformers as kt
    from keras_transformers.generation import executors
    from keras_transformers.layers.attention import AttentionConfig
    from keras_transformers.layers.blocks import BlockConfig
    from keras_transformers.layers.embeddings import EmbeddingsConfig
    from keras_transformers.layers.feed_forward import FeedForwardConfig
    from keras_transformers.layers.norms import RMSNorm
    from keras_transformers.layers.positions import Rotary
    from keras_transformers.layers.stack import StackConfig

    size = case.size
    block = BlockConfig(
        AttentionConfig(size.num_heads, size.num_key_value_heads, positions=Rotary(), use_bias=False),
        FeedForwardConfig(size.intermediate_dim, "silu", gated=True, use_bias=False),
        norm=RMSNorm(),
        norm_placement="pre",
    )
    embeddings = EmbeddingsConfig(size.vocabulary_size, context_length=case.longest)
    model = kt.CausalLM(
        kt.ModelConfig(size.hidden_dim, embeddings, decoder=StackConfig(size.num_layers, block, final_norm=True))
    )
    config = kt.GenerationConfig(max_new_tokens=case.new)
    prompts = case.prompts().tolist()

    def run():
        before = executors.compilations.total()
        check(case, model.generate_ids(prompts, config).token_ids)
        return {"compilations": executors.compilations.total() - before}

    return run


def keras_hub_model(case):
    import keras_hub

    size = case.size
    backbone = keras_hub.models.LlamaBackbone(
        vocabulary_size=size.vocabulary_size,
        num_layers=size.num_layers,
        num_query_heads=size.num_heads,
        hidden_dim=size.hidden_dim,
        intermediate_dim=size.intermediate_dim,
        num_key_value_heads=size.num_key_value_heads,
        tie_word_embeddings=True,
    )
    model = keras_hub.models.LlamaCausalLM(backbone, preprocessor=None)
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
    size, tokens = case.size, case.batch_size * case.prompt
    attention = 2 * size.num_layers * size.hidden_dim * tokens * case.prompt  # half the pairs, scores and sums
    prompt = machine.seconds(operations=2 * size.layers_weights * tokens + attention)
    positions = case.batch_size * (case.prompt + case.new / 2)
    keys_and_values = 2 * size.num_layers * size.key_value_dim * positions
    multiplied = 2 * size.weights * case.batch_size
    return prompt + case.new * machine.seconds(multiplied, 4 * (size.weights + keys_and_values))


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
        f"batch{batch_size}/prompt{prompt}": Case(SMOL, batch_size, prompt)
        for prompt in (32, 512)
        for batch_size in (1, 8, 32)
    },
    smoke_cases={"tiny": Case(Size(1, 16, 2, 1, 24, 50), 2, 5, 4)},
    work=lambda case: case.batch_size * case.new,
    contestants=(
        Contestant("transformers", transformers_model),
        Contestant("transformers_compiled", transformers_compiled),
        *(Contestant(f"ours_{backend}", keras_transformers_model, backend) for backend in BACKENDS),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
