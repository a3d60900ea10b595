"""Rerankers: models that read a query together with each text, and say how relevant the text is.

    a cross-encoder     [CLS] query [SEP] text [SEP]                    ──► one number ──► sigmoid, or as it is
    a decoder           instructions, query and text, "answer yes/no"   ──► logits of "yes" and "no" ──► softmax

Legend: `N` texts, `B` batch, `T` length, `V` vocabulary.
"""

import typing
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_transformers.backends.types import Tensor
from keras_transformers.callers import outside
from keras_transformers.data.containers import short
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation import executors
from keras_transformers.records import record
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.data_task import batch_shape, batches_by_length

# Names in folders of sentence-transformers.
_ACTIVATIONS = {
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.Identity": "identity",
}
ACTIVATIONS = ("sigmoid", "identity")
SETTINGS = "config_sentence_transformers.json"
Ranking: typing.TypeAlias = list[dict[str, typing.Any]]
"""Dictionaries `{"index": place in texts, "score": …}`, the best first."""


def read_activation(values: dict[str, typing.Any], where: object) -> str | None:
    """The activation of a cross-encoder's score, from `config.json` or `config_sentence_transformers.json`; None if it
    is not said.

    Raises:
        ValueError: for another activation.
    """
    own = values.get("sentence_transformers")
    name = own.get("activation_fn") if isinstance(own, dict) else None
    name = name or values.get("activation_fn") or values.get("sbert_ce_default_activation_function")
    if name is None:
        return None
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ValueError(
            f"Expected the activation of scores in {where} to be one of {known}, got {name!r:.80}. Set it to one."
        )
    return _ACTIVATIONS[name]


def activation_values(activation: str | None) -> dict[str, typing.Any]:
    """The inverse of `read_activation`, for `config.json`."""
    return {} if activation is None else {"sentence_transformers": flat_values(activation)}


def flat_values(activation: str | None) -> dict[str, typing.Any]:
    """The inverse of `read_activation`, for `config_sentence_transformers.json`."""
    return {"activation_fn": next(name for name, ours in _ACTIVATIONS.items() if ours == activation)}


def check_activation(activation: str | None) -> None:
    """Refuse an unknown activation."""
    if activation not in (None, *ACTIVATIONS):
        raise ValueError(f"Expected activation to be one of {', '.join(ACTIVATIONS)}, or None, got {activation!r}.")


def activated(logits: np.ndarray, activation: str | None) -> np.ndarray:
    """The scores of logits, float64 `[N]`. By default a sigmoid, as in sentence-transformers."""
    if activation == "identity":
        return logits
    exponentials = np.exp(-np.abs(logits))  # cannot overflow
    return np.where(logits >= 0, 1.0, exponentials) / (1.0 + exponentials)


def read_query(query: typing.Any, texts: Texts, top: int | None) -> list[str]:
    """The texts of a ranking.

    Raises:
        TypeError: for a query that is not a string, and texts that are one.
        ValueError: for a `top` below 1.
    """
    if not isinstance(query, str) or isinstance(texts, str):
        raise TypeError(f"Expected a query and a list of texts, got {short(query)} and {short(texts)}.")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ValueError(f"Expected top of at least 1, or None for all, got {top!r}.")
    return texts_of(texts)[0]


def ranked(scores: Sequence[float] | np.ndarray, top: int | None = None) -> Ranking:
    """Texts in the order of their scores, the best first; equal ones keep their order."""
    order = np.argsort(-np.asarray(scores), kind="stable")[:top]
    return [{"index": int(n), "score": float(scores[n])} for n in order]


@record
class YesNo:
    """How a decoder is asked whether a text is relevant. The defaults are those of Qwen3-Reranker.

    Special tokens are read as such in `prefix` and `suffix`, and as text in everything between them.

    Attributes:
        instruction: what to look for.
        prefix: the text before the question.
        content: the question, with `{instruction}`, `{query}` and `{document}`.
        suffix: the text after it, up to the answer.
        yes, no: the answers, one token each.

    Source: https://huggingface.co/Qwen/Qwen3-Reranker-0.6B (model card); Zhang et al. 2025, section 2.
    """

    instruction: str = "Given a web search query, retrieve relevant passages that answer the query"
    prefix: str = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    content: str = "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
    suffix: str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    yes: str = "yes"
    no: str = "no"

    def __post_init__(self) -> None:
        for name in ("query", "document"):
            if f"{{{name}}}" not in self.content:
                raise ValueError(f"Expected {{{name}}} in the content of YesNo, got {self.content!r:.200}.")

    def question(self, query: str, document: str) -> str:
        """The question about one text."""
        parts = self.content.replace("{instruction}", self.instruction).split("{query}")
        return query.join(part.replace("{document}", document) for part in parts)


def yes_scores(
    model: typing.Any,
    query: str,
    texts: Sequence[str],
    template: YesNo,
    *,
    max_length: int | None,
    batch_size: int,
    progress: Progress | None,
) -> np.ndarray:
    """The probability of "yes" for each text, among "yes" and "no", float64 `[N]`.

    Args:
        model: a `CausalLM`.
        query, texts: a query, and the texts to judge.
        template: how the model is asked.
        max_length: the most tokens of a row; longer questions are cut at their end, and a warning says how many.
        batch_size: rows computed together.
        progress: a function called with the number of finished rows, after each batch.
    """
    tokenizer = model._tokenizer()
    prefix, suffix = tokenizer.encode([template.prefix, template.suffix], parse_special=True)
    answers = [_one_token(tokenizer, each) for each in (template.no, template.yes)]
    longest = min((each for each in (max_length, model._longest("embeddings")) if each), default=None)
    room = None if longest is None else longest - len(prefix) - len(suffix)
    if room is not None and room < 1:
        raise ValueError(
            f"Expected max_length above the {len(prefix) + len(suffix)} tokens around a question, got {longest}."
        )
    questions = tokenizer.encode([template.question(query, text) for text in texts])
    if cut := sum(len(ids) > room for ids in questions) if room is not None else 0:
        warnings.warn(
            f"{cut} of {len(questions)} questions are longer than {room} tokens and were cut.", stacklevel=outside()
        )
    rows = Ragged.join(np.array([*prefix, *ids[:room], *suffix], "int32") for ids in questions)
    model._check_ids("texts", rows.token_ids, "embeddings")
    results, compute = np.zeros(len(texts)), executors.forward(model, model.answer_logits)
    for chosen in batches_by_length(rows.lengths, batch_size):
        shape = batch_shape(rows.lengths[chosen], model._longest("embeddings"))
        inputs = {
            "token_ids": rows.padded(chosen, shape, 0)[0],
            "last": np.resize(rows.lengths[chosen] - 1, shape[0]).astype("int32"),
            "answers": np.tile(np.array(answers, "int32"), (shape[0], 1)),
        }
        logits = np.asarray(compute(inputs), "float64")[: len(chosen)]
        results[chosen] = activated(logits[:, 1] - logits[:, 0], "sigmoid")
        if progress is not None:
            progress(len(chosen))
    return results


def _one_token(tokenizer: typing.Any, answer: str) -> int:
    (ids,) = tokenizer.encode([answer])
    if len(ids) != 1:
        raise ValueError(
            f"Expected an answer of one token, got {answer!r}, which has {len(ids)}. Name others in YesNo."
        )
    return ids[0]


def answer_logits(model: typing.Any, inputs: dict[str, Tensor]) -> Tensor:
    """The logits of a few `answers`, int32 `[B, A]`, after the token at place `last`, int32 `[B]`, of `token_ids [B,
    T]`. Returns `[B, A]`. The logits of the other places are not computed."""
    ops = keras.ops
    x = model.backbone({"token_ids": inputs["token_ids"]})
    x = ops.take_along_axis(x, ops.reshape(inputs["last"], (-1, 1, 1)), axis=1)
    logits = model.head(x, embedding=model.backbone.decoder_embedding)[:, 0]
    return ops.take_along_axis(logits, inputs["answers"], axis=-1)
