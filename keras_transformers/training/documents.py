"""What a language model learns from, as ids: texts, prompts with their answers, and chats, of any source.

texts, files             every token is learnt, and the end
prompts and answers      the answers, and their end
chats                    what the assistant says, and the end of its turn
"""

import collections.abc
import pathlib
import typing

import numpy as np

from keras_transformers.line_files import read_text
from keras_transformers.training.examples import as_table, listed, read_columns
from keras_transformers.training.pairs import short


class Document(typing.NamedTuple):
    """One document as ids, int32 `[T]`, and how it is learnt from.

    Attributes:
        token_ids: its ids, end token included.
        learnt: bool `[T]`, which of them the model is to say; None for all.
        weight: how much it counts.
    """

    token_ids: np.ndarray
    learnt: np.ndarray | None = None
    weight: float = 1.0


def read_documents(x, y=None, sample_weight=None, *, tokenizer):
    """Read a source to its end.

    Args:
        x, y: as for `CausalLM.fit`.
        sample_weight: float `[N]`, how much each counts; 1 by default.
        tokenizer: a `Tokenizer`.

    Returns: `(kind, documents)`: "texts", "answers" or "chats", and a list of `Document`s. What stands before a text is
        what the tokenizer's template puts there; the end token follows each text and each answer.

    Raises:
        TypeError, ValueError: for what is no text, chats whose template says nothing of turns, and unequal counts.
    """
    if (chats := _chats(x)) is not None:
        if y is not None:
            raise ValueError("Expected chats alone, whose answers are in them, got y too. Leave it out.")
        weights = np.ones(len(chats)) if sample_weight is None else sample_weight
        documents = [_of_chat(chat, tokenizer, weight) for chat, weight in zip(chats, weights, strict=True)]
        return "chats", documents
    columns = read_columns(_file_texts(x), y, sample_weight, labelled=False)
    before, after = around(tokenizer)
    answers = columns.seconds
    if (
        answers is None
        and columns.labels is not None
        and (y is not None or isinstance(columns.labels[0], (str, bytes)))
    ):
        answers = columns.labels
    encoded = tokenizer.encode(columns.texts)
    if answers is None:
        rows = zip(encoded, columns.sample_weight, strict=True)
        return "texts", [Document(_joined(before, ids, after), None, weight) for ids, weight in rows]
    documents = []
    for prompt, answer, weight in zip(encoded, tokenizer.encode(answers), columns.sample_weight, strict=True):
        token_ids = _joined(before, prompt, answer, after)
        documents.append(Document(token_ids, np.arange(len(token_ids)) >= len(before) + len(prompt), weight))
    return "answers", documents


def around(tokenizer):
    """The ids before a text and after it: `(before, after)`, as the template has it, with the end token last."""
    parts = [part for part, _ in tokenizer.template.single]
    place = parts.index("A")
    before, after = parts[:place], parts[place + 1 :]
    if tokenizer.end_id is not None and tokenizer.end_id not in after:
        after = [*after, tokenizer.end_id]
    return before, after


def cut(document, length):
    """A document of at most so many tokens."""
    learnt = None if document.learnt is None else document.learnt[:length]
    return document._replace(token_ids=document.token_ids[:length], learnt=learnt)


def _joined(*parts):
    return np.concatenate([np.asarray(part, "int32") for part in parts])


def _file_texts(x):
    """Paths as the texts of their files."""
    if isinstance(x, pathlib.Path):
        x = [x]
    if isinstance(x, (list, tuple)) and any(isinstance(each, pathlib.Path) for each in x):
        return [read_text(each) if isinstance(each, pathlib.Path) else each for each in x]
    return x


def _chats(x):
    """Lists of messages, where that is what `x` holds; None otherwise."""
    if isinstance(x, (list, tuple)) and len(x) and _is_chat(x[0]):
        return x
    if isinstance(x, (str, bytes, pathlib.Path)):
        return None
    table = as_table(x)
    return listed(table["messages"]) if table is not None and "messages" in table else None


def _is_chat(value):
    messages = isinstance(value, (list, tuple)) and len(value) > 0
    return messages and all(isinstance(each, collections.abc.Mapping) and "role" in each for each in value)


def _of_chat(messages, tokenizer, weight):
    """A chat as its template writes it. What the assistant says begins where the template asks for it."""
    text, spans = tokenizer.apply_chat_template(messages), []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(messages[:number], add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[: number + 1])
        if not whole.startswith(prompt) or not text.startswith(whole.rstrip()):
            raise ValueError(
                f"Expected a chat template that only adds what the assistant says, got one that writes "
                f"{short(messages[number])} otherwise. Render the chats yourself, and pass prompts and answers."
            )
        spans.append((len(prompt), len(whole)))
    (token_ids,), (places,) = tokenizer.encode_with_offsets([text], parse_special=True)
    learnt = np.zeros(len(token_ids), bool)
    for begin, end in spans:
        learnt |= (places[:, 0] >= begin) & (places[:, 0] < end)
    return Document(np.asarray(token_ids, "int32"), learnt, weight)
