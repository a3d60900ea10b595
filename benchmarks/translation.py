"""Translation of random source ids: 24 source tokens to exactly 24 target tokens, weights random, float32.

Two sizes, `marian` (6+6 layers, width 512, 32,000 tokens) and `small` (3+3, 256, 8,000), beside transformers' Marian on
PyTorch, run eagerly (the reference), KerasHub's BART of the same geometry, which has learned positions and norms on its
embeddings besides, and CTranslate2 on what ours exports, in float32 and with weights of eight bits.

    python benchmarks/translation.py --cases small/beam4
"""

import dataclasses
import os
import pathlib
import tempfile

import numpy as np
from harness import Benchmark, Contestant

LENGTH = 24


@dataclasses.dataclass(frozen=True)
class Size:
    num_layers: int
    hidden_dim: int
    vocabulary_size: int
    num_heads: int = 8


@dataclasses.dataclass(frozen=True)
class Case:
    size: Size
    num_beams: int
    batch_size: int

    def sources(self):
        shape = (self.batch_size, LENGTH)
        return np.random.default_rng(0).integers(10, self.size.vocabulary_size, shape, dtype="int32")


SIZES = {"marian": Size(6, 512, 32000), "small": Size(3, 256, 8000)}


def transformers_model(case):
    import torch
    from transformers import MarianConfig, MarianMTModel

    size = case.size
    config = MarianConfig(
        vocab_size=size.vocabulary_size,
        d_model=size.hidden_dim,
        encoder_layers=size.num_layers,
        decoder_layers=size.num_layers,
        encoder_attention_heads=size.num_heads,
        decoder_attention_heads=size.num_heads,
        encoder_ffn_dim=4 * size.hidden_dim,
        decoder_ffn_dim=4 * size.hidden_dim,
        max_position_embeddings=512,
        activation_function="relu",
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=None,
        forced_eos_token_id=None,
        decoder_start_token_id=1,
    )
    model = MarianMTModel(config).eval()
    token_ids = torch.tensor(case.sources().astype("int64"))
    mask = torch.ones_like(token_ids)

    def run():
        with torch.inference_mode():
            generated = model.generate(
                input_ids=token_ids,
                attention_mask=mask,
                do_sample=False,
                num_beams=case.num_beams,
                max_new_tokens=LENGTH,
            )
        check(case, generated[:, 1:])

    return run


def task(case, tokenizer=None):
    import keras_transformers as kt

    size = case.size
    config = kt.models.transformer(
        size.vocabulary_size,
        num_layers=size.num_layers,
        hidden_dim=size.hidden_dim,
        num_heads=size.num_heads,
        max_length=512,
    )
    return kt.Seq2SeqLM(config, tokenizer)


def keras_transformers_model(case, compiled=False, int8=False):
    import keras_transformers as kt
    from keras_transformers.generation.settings import GenerationConfig

    model = task(case)
    if int8:
        kt.transforms.quantize(model, "int8", activations=True)
    model.jit_compile = compiled  # PyTorch alone asks
    generation = GenerationConfig(num_beams=case.num_beams, max_new_tokens=LENGTH, start_id=1)
    sources = case.sources().tolist()

    def run():
        check(case, model.generate(sources, generation).token_ids)

    return run


def keras_transformers_compiled(case):
    return keras_transformers_model(case, compiled=True)


def keras_transformers_int8(case):
    return keras_transformers_model(case, int8=True)


def ctranslate2_model(case, quantization=None):
    import ctranslate2
    import tokenizers

    import keras_transformers as kt

    pieces = ["<pad>", "<s>", "</s>", "<unk>", *(f"t{number}" for number in range(4, case.size.vocabulary_size))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    engine = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        task(case, kt.Tokenizer(engine)).export_ctranslate2(folder, quantization=quantization)
        threads = len(os.sched_getaffinity(0))
        translator = ctranslate2.Translator(str(folder), compute_type=quantization or "float32", intra_threads=threads)
    sources = [[pieces[number] for number in row] for row in case.sources()]
    lengths = {"max_decoding_length": LENGTH, "min_decoding_length": LENGTH}

    def run():
        results = translator.translate_batch(sources, beam_size=case.num_beams, **lengths)
        check(case, np.array([result.hypotheses[0] for result in results]))

    return run


def ctranslate2_int8(case):
    return ctranslate2_model(case, "int8")


def keras_hub_model(case):
    import keras_hub

    size = case.size
    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=size.vocabulary_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        hidden_dim=size.hidden_dim,
        intermediate_dim=4 * size.hidden_dim,
        max_sequence_length=512,
    )
    model = keras_hub.models.BartSeq2SeqLM(backbone)
    model.compile(sampler="greedy" if case.num_beams == 1 else keras_hub.samplers.BeamSampler(case.num_beams))
    sources = case.sources()
    targets = np.zeros((case.batch_size, LENGTH + 1), "int32")
    given = targets.copy()
    targets[:, 0] = given[:, 0] = 1

    def run():
        inputs = {
            "encoder_token_ids": sources,
            "encoder_padding_mask": np.ones_like(sources),
            "decoder_token_ids": targets,
            "decoder_padding_mask": given,
        }
        check(case, np.asarray(model.generate(inputs, stop_token_ids=None)["decoder_token_ids"])[:, 1:])

    return run


def limit(case, machine):
    """An encoder's block has twelve matrices of width × width, a decoder's sixteen, two of which read the source; in
    float32, so that weights of eight bits may go beyond it."""
    size, sources, rows = case.size, case.batch_size * LENGTH, case.batch_size * case.num_beams
    matrix, vocabulary = size.num_layers * size.hidden_dim**2, size.vocabulary_size * size.hidden_dim
    source = machine.seconds(operations=2 * (12 + 2) * matrix * sources)
    step = 14 * matrix + vocabulary
    return source + LENGTH * machine.seconds(2 * step * rows, machine.width * step)


def check(case, token_ids):
    if tuple(token_ids.shape) != (case.batch_size, LENGTH):
        raise ValueError(
            f"Expected {LENGTH} tokens for each of {case.batch_size} sources, got {tuple(token_ids.shape)}."
        )


BACKENDS = ("jax", "tensorflow", "torch")

BENCHMARK = Benchmark(
    name="translation",
    unit="target tokens/s",
    cases={
        f"{name}/beam{num_beams}/batch{batch_size}": Case(size, num_beams, batch_size)
        for name, size in SIZES.items()
        for num_beams in (1, 4)
        for batch_size in (1, 8, 32)
    },
    smoke_cases={f"tiny/beam{num_beams}": Case(Size(1, 16, 50, 2), num_beams, 2) for num_beams in (1, 2)},
    work=lambda case: case.batch_size * LENGTH,
    contestants=(
        Contestant("transformers", transformers_model),
        *(Contestant(f"ours_{backend}", keras_transformers_model, backend) for backend in BACKENDS),
        Contestant("ours_torch_compiled", keras_transformers_compiled, "torch"),
        *(Contestant(f"ours_{backend}_int8", keras_transformers_int8, backend) for backend in BACKENDS),
        *(Contestant(f"kerashub_{backend}", keras_hub_model, backend) for backend in BACKENDS),
        Contestant("ctranslate2", ctranslate2_model),
        Contestant("ctranslate2_int8", ctranslate2_int8),
    ),
    limit=limit,
)

if __name__ == "__main__":
    BENCHMARK.main()
