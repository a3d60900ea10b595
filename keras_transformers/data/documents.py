"""Training documents of a language model as token ids: texts, prompts with answers, and chats, from any source.

documents                learnt tokens
texts, files             every token, and the end
prompts and answers      the answers, and their end
chats                    the assistant's messages, and the end of its turns
"""

import collections.abc
import os
import pathlib
import typing

import numpy as np

from keras_transformers.data.columns import renamed
from keras_transformers.data.containers import is_chat, rows, short
from keras_transformers.data.examples import read_columns, row_weights
from keras_transformers.data.sources import Block, Form, Source
from keras_transformers.files.lines import read_text


class Document(typing.NamedTuple):
    """One document: its token ids, and which of them are learnt.

    Attributes:
        token_ids: int32 `[T]`, end token included.
        learnt: bool `[T]`, whether the model learns to predict a token; None for all.
        weight: the document's weight in training.
    """

    token_ids: np.ndarray
    learnt: np.ndarray | None = None
    weight: float = 1.0


# Names of columns: prompts and answers, and texts.
_INPUTS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("question", "answer"),
    ("instruction", "response"),
    ("text",),
    ("sentence",),
    ("content",),
)
_ROLES = ("text",), ("prompt", "answer"), ("messages",)


def read_documents(
    x: typing.Any,
    y: typing.Any = None,
    sample_weight: typing.Any = None,
    *,
    tokenizer: typing.Any,
    columns: collections.abc.Mapping[str, str] | None = None,
) -> tuple[str, list[Document]]:
    """Read documents from a source to its end.

    Args:
        x, y: as for `CausalLM.fit`; or a `Source` as `x`.
        sample_weight: float `[N]`, the weight of each document; 1 by default.
        tokenizer: a `Tokenizer`.
        columns: the table's names of the columns `text`, or `prompt` and `answer`, or `messages`.

    Returns: `(kind, documents)`: "texts", "answers" or "chats", and a list of `Document`s. The tokens of the
        tokenizer's template precede each text; the end token follows each text and each answer.

    Raises:
        TypeError, ValueError: for values that are not texts, chats whose template does not mark turns, and unequal
            counts.
    """
    source = x if isinstance(x, Source) else document_source(x, y, sample_weight)
    block = source.whole()
    if (chats := _chats(block, columns)) is not None:
        if source.has_labels:
            raise ValueError("Expected chats alone, whose answers are in them, got y too. Leave it out.")
        return "chats", _of_chats(chats, block.weights, tokenizer)
    inputs = next((each for each in _ROLES if not set(each).isdisjoint(columns or ())), None)
    unread = Source(block.inputs, block.labels if source.has_labels else None, block.weights, source.form)
    read = read_columns(
        unread, labelled=False, inputs=_INPUTS if inputs is None else (inputs,), labels=(), columns=columns
    )
    before, after = around(tokenizer)
    answers = read.labels if source.has_labels else read.seconds
    if source.has_labels and read.seconds is not None:
        raise ValueError("Expected prompts with y, got pairs of prompts and answers too. Leave y out.")
    encoded = tokenizer.encode(read.texts)
    if answers is None:
        weighted = zip(encoded, read.sample_weight, strict=True)
        return "texts", [Document(_joined(before, ids, after), None, weight) for ids, weight in weighted]
    documents = []
    for prompt, answer, weight in zip(encoded, tokenizer.encode(answers), read.sample_weight, strict=True):
        token_ids = _joined(before, prompt, answer, after)
        documents.append(Document(token_ids, np.arange(len(token_ids)) >= len(before) + len(prompt), weight))
    return "answers", documents


def _of_chats(chats: typing.Any, weights: typing.Any, tokenizer: typing.Any) -> list[Document]:
    """Return the `Document` of each chat."""
    weights = np.ones(len(chats)) if weights is None else row_weights(weights)
    if len(weights) != len(chats):
        raise ValueError(f"Expected a sample_weight for each chat, got {len(weights)} for {len(chats)} chats.")
    return [_of_chat(chat, tokenizer, weight) for chat, weight in zip(chats, weights, strict=True)]


def around(tokenizer: typing.Any) -> tuple[list[int], list[int]]:
    """Return the template's ids before a text and after it: `(before, after)`, with the end token last."""
    parts = [part for part, _ in tokenizer.template.single]
    place = parts.index("A")
    before, after = parts[:place], parts[place + 1 :]
    if tokenizer.end_id is not None and tokenizer.end_id not in after:
        after = [*after, tokenizer.end_id]
    return before, after


def cut(document: Document, length: int) -> Document:
    """Cut a document to at most `length` tokens."""
    learnt = None if document.learnt is None else document.learnt[:length]
    return document._replace(token_ids=document.token_ids[:length], learnt=learnt)


def _joined(*parts: collections.abc.Sequence[int]) -> np.ndarray:
    return np.concatenate([np.asarray(part, "int32") for part in parts])


def document_source(x: typing.Any, y: typing.Any = None, sample_weight: typing.Any = None) -> Source:
    """Return a `Source` of documents; paths are replaced by the texts of their files."""
    if isinstance(x, os.PathLike):
        x = [x]
    if isinstance(x, (list, tuple)) and any(isinstance(each, os.PathLike) for each in x):
        x = [read_text(pathlib.Path(each)) if isinstance(each, os.PathLike) else each for each in x]
    return Source(x, y, sample_weight, Form(labelled=False))


def _chats(block: Block, columns: collections.abc.Mapping[str, str] | None) -> typing.Any:
    """Return lists of messages if a block holds chats; None otherwise."""
    if not isinstance(block.inputs, collections.abc.Mapping):
        return block.inputs if len(block.inputs) and is_chat(block.inputs[0]) else None
    table = renamed(block.inputs, columns)
    return rows(table["messages"]) if "messages" in table else None


def _of_chat(messages: typing.Any, tokenizer: typing.Any, weight: float) -> Document:
    """Return a chat as a `Document`, in its template. An assistant's message begins after the template's prompt for
    it."""
    text, spans = tokenizer.apply_chat_template(messages), []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(messages[:number], add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[: number + 1])
        if not whole.startswith(prompt) or not text.startswith(whole.rstrip()):
            raise ValueError(
                f"Expected a chat template that only adds the words of the assistant, got one that writes "
                f"{short(messages[number])} otherwise. Render the chats yourself, and pass prompts and answers."
            )
        spans.append((len(prompt), len(whole)))
    (token_ids,), (places,) = tokenizer.encode_with_offsets([text], parse_special=True)
    learnt = np.zeros(len(token_ids), bool)
    for begin, end in spans:
        learnt |= (places[:, 0] >= begin) & (places[:, 0] < end)
    return Document(np.asarray(token_ids, "int32"), learnt, weight)
