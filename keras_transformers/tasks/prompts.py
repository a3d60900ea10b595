"""Prompts of embedders: texts put in front of the embedded text, which tell queries from documents."""

from collections.abc import Mapping, Sequence

from keras_transformers.data.containers import short
from keras_transformers.spelling import did_you_mean
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.tokenizer import Tokenizer

# Names of prompts for each kind of text, in the order in which they are tried.
TASKS = {"query": ("query",), "document": ("document", "passage", "corpus")}


def checked_prompts(prompts: Mapping[str, str] | None) -> dict[str, str]:
    """A model's prompts by name.

    Raises:
        TypeError: for another value than texts by name.
    """
    known = {} if prompts is None else prompts
    if not isinstance(known, Mapping) or not all(isinstance(each, str) for pair in known.items() for each in pair):
        raise TypeError(f'Expected prompts by name, such as {{"query": "query: "}}, got {short(prompts)}.')
    return dict(known)


def find_prompt(
    prompts: Mapping[str, str],
    default: str | None,
    prompt: str | None = None,
    name: str | None = None,
    task: str | None = None,
) -> str:
    """The prompt to put in front of texts; "" for none.

    Args:
        prompts, default: the model's prompts by name, and the name of its default prompt.
        prompt: the name of a prompt, or a text.
        name: the name of a prompt.
        task: "query" or "document", whose prompt is used unless another is named.

    Raises:
        TypeError: for a prompt or a name that is not a string.
        ValueError: for unknown names, and a prompt that is given twice.
    """
    for given in (prompt, name):
        if not isinstance(given, str | None):
            raise TypeError(f"Expected a prompt to be a name or a text, a string, got {short(given)}.")
    if prompt is not None and name is not None:
        raise ValueError(f"Expected prompt or prompt_name, got both: {prompt!r} and {name!r}. Give one of the two.")
    if task is not None and task not in TASKS:
        raise ValueError(f"Expected task to be one of {', '.join(TASKS)}, got {task!r}{did_you_mean(task, TASKS)}.")
    if prompt is not None and prompt not in prompts and not _is_word(prompt):
        return prompt
    name = prompt if name is None else name
    if name is None and task is not None:
        return next((prompts[each] for each in TASKS[task] if each in prompts), "")
    name = default if name is None else name
    return "" if name is None else _named(prompts, name)


def _is_word(prompt: str) -> bool:
    """Whether a prompt is a single word: it must be a name, since it would run into the first word of each text."""
    return prompt.isascii() and prompt.isidentifier()


def _named(prompts: Mapping[str, str], name: str) -> str:
    if name not in prompts:
        raise ValueError(
            f"Expected the name of one of the model's prompts ({', '.join(prompts) or 'it has none'}), got "
            f"{name!r}{did_you_mean(name, prompts)}. A text of your own needs a space or colon at its end."
        )
    return prompts[name]


def encode_prompted(tokenizer: Tokenizer, prompt: str, texts: Sequence[str]) -> list[list[int]]:
    """The ids of texts with a prompt in front, without start and end.

    Special tokens in the prompt are special tokens. Special tokens in a text are text.
    """
    if not prompt:
        return tokenizer.encode(texts)
    prompted = [prompt + each for each in texts]
    if tokenizer.encode([prompt]) == tokenizer.encode([prompt], parse_special=True):
        return tokenizer.encode(prompted)
    ids = tokenizer.encode(prompted, parse_special=True)
    plain, parsed = tokenizer.encode(texts), tokenizer.encode(texts, parse_special=True)
    odd = [row for row, (one, other) in enumerate(zip(plain, parsed, strict=True)) if one != other]
    if odd:
        (start,) = tokenizer.encode([prompt], parse_special=True)
        ids = [[*start, *plain[row]] if row in odd else each for row, each in enumerate(ids)]
    return ids


def prompt_length(tokenizer: Tokenizer, template: Template, prompt: str) -> int:
    """How many tokens of a row belong to a prompt, those at its start included, as sentence-transformers counts."""
    parts = template.single
    ends_in_special = bool(parts) and not isinstance(parts[-1][0], str)
    (ids,) = tokenizer.encode([prompt], parse_special=True)
    return len(ids) + template.num_special() - ends_in_special
