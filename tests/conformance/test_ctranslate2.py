"""CTranslate2 gives what is exported of each family the same log-probabilities as we do."""

import dataclasses

import numpy as np
import pytest
import tokenizers

import keras_transformers as kt
from keras_transformers.formats.ctranslate2 import specification
from tests.conformance import checkpoints, outputs
from tests.conformance.cases import CHECKPOINTS

pytestmark = pytest.mark.one_backend("torch")

EXPERTS = "nllb-moe"  # which CTranslate2 does not have
NAMES = [name for name, (_, head) in CHECKPOINTS.items() if head.task == "Seq2SeqLM"]
WRITERS = [name for name in NAMES if not name.startswith(EXPERTS)]
START, END = 3, 7


def words(size, padding_id):
    """A tokenizer whose tokens are numbered words."""
    special = {padding_id: "<pad>", 0: "<unk>", START: "<s>", END: "</s>"}
    if padding_id == 0:
        special = {**special, 0: "<pad>", 1: "<unk>"}
    vocabulary = {special.get(number, f"word{number}"): number for number in range(size)}
    return kt.Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>")))


@pytest.mark.parametrize("name", WRITERS)
def test_log_probabilities_are_the_same(name, tmp_path):
    ctranslate2 = pytest.importorskip("ctranslate2")
    case, head = CHECKPOINTS[name]
    model = checkpoints.load(checkpoints.folder(name), head)
    sizes = [model.config.embeddings.vocabulary_size, model.config.target_embeddings.vocabulary_size]
    model.tokenizer = words(min(sizes), model.config.padding_id)
    model.generation = dataclasses.replace(model.generation, start_id=START, end_ids=(END,))
    spec = specification(model)
    pieces = spec._vocabularies["source"][0], spec._vocabularies["target"][0]
    model.export_ctranslate2(tmp_path / "exported")
    theirs = ctranslate2.Translator(str(tmp_path / "exported"), compute_type="float32", intra_threads=1)
    rng = np.random.default_rng(0)
    usual = [number for number in range(10, min(sizes))]
    for length in (3, 20):
        source, target = rng.choice(usual, length).tolist() + [END], rng.choice(usual, length).tolist()
        (found,) = theirs.score_batch([[pieces[0][i] for i in source]], [[pieces[1][i] for i in target]])
        inputs = {"token_ids": np.array([source], "int32"), "decoder_token_ids": np.array([[START, *target]], "int32")}
        logits = outputs.ours(model, inputs)[0].astype("float64")
        ours = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(found.log_probs, [ours[t, i] for t, i in enumerate([*target, END])], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(WRITERS)))
def test_experts_are_refused_by_name(name):
    _, head = CHECKPOINTS[name]
    with pytest.raises(ValueError, match="a model that CTranslate2 can express, got encoder.*experts=ExpertsConfig"):
        specification(checkpoints.load(checkpoints.folder(name), head))
