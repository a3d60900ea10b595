"""`run.py` beside exported graphs: a program of a few lines that runs them without this library.

It needs the runtime, NumPy and tokenizers, and reads `export.json`.
"""

import typing

SCRIPT = "run.py"

_HEAD = '''"""{title}

    python run.py "A text." "Another one."

Needs: pip install numpy tokenizers onnxruntime
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
import tokenizers

folder = pathlib.Path(__file__).resolve().parent
settings = json.loads((folder / "export.json").read_text("utf-8"))
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.encode_special_tokens = True  # special tokens that a text spells are text
tokenizer.enable_truncation(settings["max_length"] or 2**31 - 1)
'''

_ONE_PASS = '''session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")


def outputs(texts):
    """The outputs of the model by name, and which positions are tokens."""
    tokenizer.enable_padding(pad_id=settings["padding_id"])
    rows = tokenizer.encode_batch(texts)
    inputs = {
        "input_ids": np.array([row.ids for row in rows], "int64"),
        "attention_mask": np.array([row.attention_mask for row in rows], "int64"),
        "token_type_ids": np.array([row.type_ids for row in rows], "int64"),
    }
    read = {each.name: inputs[each.name] for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, read))), inputs["attention_mask"] == 1


'''

_CLASSIFY = '''def run(texts):
    """The label of each text, and its score."""
    logits = outputs(texts)[0]["logits"].astype("float64")
    if settings["problem"] == "regression":
        return [dict(zip(settings["labels"], row.tolist())) for row in logits]
    if settings["problem"] == "multi_label":
        scores = 1 / (1 + np.exp(-logits))
        return [dict(zip(settings["labels"], row.tolist())) for row in scores]
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    return [{"label": settings["labels"][row.argmax()], "score": float(row.max())} for row in scores]
'''

_TAG = '''def run(texts):
    """The label of each token."""
    found, real = outputs(texts)
    rows = [logits[mask].argmax(-1).tolist() for logits, mask in zip(found["logits"], real)]
    tokens = [row.tokens for row in tokenizer.encode_batch(texts)]
    return [[(token, settings["labels"][n]) for token, n in zip(*pair)] for pair in zip(tokens, rows)]
'''

_PLAIN = '''def run(texts):
    """The output of the model for each text."""
    (found,) = outputs(texts)[0].values()
    return [row.tolist() for row in found]
'''

_WRITE = '''encoder, decoder = (
    onnxruntime.InferenceSession(folder / "onnx" / f"{name}.onnx") for name in ("encoder_model", "decoder_model_merged")
)
target = folder / "target_tokenizer.json"
writer = tokenizers.Tokenizer.from_file(str(target)) if target.exists() else tokenizer
names = [each.name for each in decoder.get_outputs()]
shapes = {each.name: each.shape for each in decoder.get_inputs() if each.name.startswith("past_key_values")}


def write(text):
    """The text that greedy search writes for a text."""
    if not any(map(str.isalpha, text)):
        return text if text.strip() else ""
    ids = np.array([tokenizer.encode(text).ids])
    mask = np.ones_like(ids)
    (source,) = encoder.run(None, {"input_ids": ids, "attention_mask": mask})
    past = {name: np.zeros((1, shape[1], 0, shape[3]), "float32") for name, shape in shapes.items()}
    written, next_id = [], settings["start_id"]
    while len(written) < settings["max_new_tokens"]:
        inputs = {"input_ids": np.array([[next_id]]), "encoder_hidden_states": source, "encoder_attention_mask": mask}
        outputs = dict(zip(names, decoder.run(names, inputs | past)))
        past = {name: outputs[name.replace("past_key_values", "present")] for name in past}
        logits = outputs["logits"][0, -1]
        logits[settings["suppressed_ids"]] = -np.inf
        next_id = int(logits.argmax()) if written or settings["first_id"] is None else settings["first_id"]
        if next_id in settings["end_ids"]:
            break
        written.append(next_id)
    return writer.decode(written)


def run(texts):
    """The text that greedy search writes for each text."""
    return [write(text) for text in texts]
'''

_TAIL = """

if __name__ == "__main__":
    for answer in run(sys.argv[1:]):
        print(answer)
"""

_BODIES = {
    "classify": ("Classify texts with ONNX Runtime.", _ONE_PASS + _CLASSIFY),
    "tag": ("Label the tokens of texts with ONNX Runtime.", _ONE_PASS + _TAG),
    "plain": ("Run a model on texts with ONNX Runtime.", _ONE_PASS + _PLAIN),
    "write": ("Write texts from texts with ONNX Runtime, by greedy search.", _WRITE),
}


def script(kind: str) -> bytes:
    """The program for a kind of task: "classify", "tag", "plain" or "write"."""
    title, body = _BODIES[kind]
    return (_HEAD.replace("{title}", title) + body + _TAIL).encode()


def kinds() -> typing.Iterable[str]:
    """The kinds of programs."""
    return _BODIES
