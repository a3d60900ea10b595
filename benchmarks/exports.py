"""Exports each task in each format that the running backend writes, and prints how far the graphs are from the model.

    KERAS_BACKEND=torch python benchmarks/exports.py            # onnx, openvino, torch
    KERAS_BACKEND=tensorflow python benchmarks/exports.py       # tf_saved_model
    python benchmarks/exports.py --table                        # a table of the results

Models are small and random: what counts is each operation. Results are kept in benchmarks/results/exports.json, so that
the runs of several backends make one table.
"""

import argparse
import json
import pathlib
import tempfile
import time
import warnings

RESULTS = pathlib.Path(__file__).resolve().parent / "results" / "exports.json"
FORMATS = ("onnx", "openvino", "torch", "tf_saved_model")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 80}


def config(name, **values):
    from keras_transformers.families.registry import families

    return families()[name].config(values)


def tasks():
    """A function that makes a small model of each kind, by name."""
    import keras_transformers as kt

    def quantized(model):
        kt.transforms.quantize(model, "int8")
        return model

    def transformer():
        return kt.models.transformer(90, hidden_dim=16, num_heads=2, intermediate_dim=32, num_layers=1)

    def llama():
        return config("llama", **SIZES, num_key_value_heads=1)

    return {
        "TextClassifier": lambda: kt.TextClassifier(config("bert", **SIZES), num_classes=3),
        "TokenClassifier": lambda: kt.TokenClassifier(config("bert", **SIZES), num_classes=3),
        "QuestionAnswerer": lambda: kt.QuestionAnswerer(config("bert", **SIZES)),
        "MaskedLM": lambda: kt.MaskedLM(config("bert", **SIZES)),
        "TextEmbedder": lambda: kt.TextEmbedder(config("bert", **SIZES)),
        "SparseEmbedder": lambda: kt.SparseEmbedder(config("bert", **SIZES)),
        "MultiVectorEmbedder": lambda: kt.MultiVectorEmbedder(config("bert", **SIZES)),
        "Seq2SeqLM": lambda: kt.Seq2SeqLM(transformer()),
        "Seq2SeqLM (T5)": lambda: kt.Seq2SeqLM(
            config("t5", vocab_size=80, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        ),
        "CausalLM (Llama)": lambda: kt.CausalLM(llama()),
        "CausalLM (Gemma 2)": lambda: kt.CausalLM(
            config("gemma2", **SIZES, num_key_value_heads=1, head_dim=8, sliding_window=4, query_pre_attn_scalar=8)
        ),
        "TextClassifier, int8": lambda: quantized(kt.TextClassifier(config("bert", **SIZES), num_classes=3)),
        "CausalLM (Llama), int8": lambda: quantized(kt.CausalLM(llama())),
    }


def measure(names, formats):
    """Export the tasks, and keep the differences."""
    import keras

    from keras_transformers.backends import NAME, graphs

    known = tasks()
    formats = formats or [
        each for each in FORMATS if each in graphs.FORMATS or (each == "openvino" and "onnx" in graphs.FORMATS)
    ]
    for name in names or known:
        keras.utils.set_random_seed(0)
        model = known[name]()
        model.pretrained = True
        for format in formats:
            started = time.time()
            with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    exported = model.export(pathlib.Path(scratch) / "model", format=format)
                    result = {"difference": exported.difference}
                except (ValueError, RuntimeError, ImportError) as error:
                    result = {"error": f"{type(error).__name__}: {error}"[:300]}
            print(f"{NAME} | {name} | {format} | {result} | {time.time() - started:.1f} s", flush=True)
            keep(f"{name}/{format}/{NAME}", result)


def keep(key, result):
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, key: result}, indent=1, sort_keys=True) + "\n", "utf-8")


def table():
    """The table: a row for each task, the difference in each format. One backend writes a format."""
    results = json.loads(RESULTS.read_text("utf-8"))
    names = list(dict.fromkeys(key.split("/")[0] for key in results))
    lines = [f"| task | {' | '.join(FORMATS)} |", f"|---|{'---|' * len(FORMATS)}"]
    for name in names:
        cells = []
        for format in FORMATS:
            found = [each for key, each in results.items() if key.startswith(f"{name}/{format}/")]
            cells.append(", ".join(map(cell, found)) or "–")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(result):
    return f"{result['difference']:.0e}".replace("0e+00", "0") if "difference" in result else "refused"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--formats", nargs="*", choices=FORMATS)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
    else:
        measure(arguments.tasks, arguments.formats)
