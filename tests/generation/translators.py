"""Small translation models of other families, and what transformers' own write: in translations.json, for backends
beside which transformers does not run. `KERAS_BACKEND=torch python -m tests.generation.translators` makes it."""

import functools
import json
import pathlib
import tempfile

import numpy as np

import keras_transformers as kt
from keras_transformers.formats import preset, safetensors_files
from tests.conformance import checkpoints
from tests.conformance.cases import CHECKPOINTS

PATH = pathlib.Path(__file__).with_name("translations.json")
START, END, PADDING = 9, 7, 5
FAMILIES = ("bart", "mbart", "marian", "pegasus", "m2m_100")
# Of each a part: what its checkpoints set.
STORED = {
    "bart": {
        "num_beams": 5,
        "length_penalty": 2.0,
        "early_stopping": True,
        "no_repeat_ngram_size": 2,
        "min_length": 5,
        "forced_end_id": END,
    },
    "marian": {"num_beams": 4, "length_penalty": 0.6, "renormalize_logits": True, "bad_words_ids": ((PADDING,),)},
    "m2m_100": {"num_beams": 1, "forced_start_id": 20, "forced_end_id": END},
}
THEIR_NAMES = {"forced_start_id": "forced_bos_token_id", "forced_end_id": "forced_eos_token_id"}


def named(family):
    return next(name for name in CHECKPOINTS if name.startswith(f"{family}/") and task(name) == "Seq2SeqLM")


def task(name):
    return CHECKPOINTS[name][1].task


@functools.cache
def folder(family):
    """A checkpoint whose distributions are far from even, so that no rounding decides, and whose texts end."""
    case, head = CHECKPOINTS[named(family)]
    path = pathlib.Path(_scratch().name) / family
    tensors = checkpoints.tensors(case, head)
    for name, array in tensors.items():
        if array.ndim == 2 and "decoder.layers" in name:
            array *= 4
        if name.endswith(("shared.weight", "embed_tokens.weight", "lm_head.weight")):
            array *= 1.5
        if name == "final_logits_bias":
            array[..., END] += 5 if family == "pegasus" else 3
    files = {"config.json": preset.json_bytes(case.config_file(head))}
    preset.save_folder(path, files | {preset.WEIGHTS: lambda file: safetensors_files.write_tensors(file, tensors)})
    return path


@functools.cache
def _scratch():
    return tempfile.TemporaryDirectory(prefix="translators-")


def sources(vocabulary_size):
    """Six, of several lengths, each with its end token."""
    random = np.random.default_rng(0)
    return [[*random.integers(10, vocabulary_size, length).tolist(), END] for length in (9, 7, 5, 3, 9, 2)]


def ours(model, texts, settings):
    """Ids up to the end, and scores or None."""
    options = {"max_new_tokens": 14, "start_id": START, "end_ids": (END,), "padding_id": PADDING, **settings}
    generated = model.generate(texts, kt.generation.GenerationConfig(**options))
    rows = [row[:length].tolist() for row, length in zip(generated.token_ids, generated.lengths, strict=True)]
    return rows, None if generated.scores is None else generated.scores.tolist()


def theirs(model, texts, settings):
    import torch

    settings = {THEIR_NAMES.get(name, name): value for name, value in settings.items()}
    if "bad_words_ids" in settings:
        settings["bad_words_ids"] = list(map(list, settings["bad_words_ids"]))
    longest = max(map(len, texts))
    token_ids = torch.tensor([text + [PADDING] * (longest - len(text)) for text in texts])
    options = {"max_new_tokens": 14, "decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": PADDING}
    with torch.no_grad():
        output = model.generate(
            input_ids=token_ids,
            attention_mask=(token_ids != PADDING).long(),
            output_scores=True,
            return_dict_in_generate=True,
            **{**options, **settings},
        )
    rows = [row[: row.index(END) + 1] if END in row else row for row in output.sequences[:, 1:].tolist()]
    return rows, output.sequences_scores.tolist() if settings["num_beams"] > 1 else None


def their_model(family):
    from tests.conformance import reference

    return reference.load(folder(family), CHECKPOINTS[named(family)][1])


def stored(family):
    """What transformers writes with the settings of `STORED`."""
    model = their_model(family)
    return theirs(model, sources(model.config.vocab_size), STORED[family])


if __name__ == "__main__":
    results = {family: dict(zip(("rows", "scores"), stored(family), strict=True)) for family in STORED}
    PATH.write_text(json.dumps(results, indent=1) + "\n")
