"""What a server asks a task for. Each operation is a record of options; jobs of equal operations share one call."""

import dataclasses
import typing
from collections.abc import Iterator, Sequence

import numpy as np

from keras_transformers.apps.serving.batching import Job
from keras_transformers.generation.decoding import Decoding, limits
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks.answers import Prompt, Wording
from keras_transformers.tasks.starts import filled, start_prompts

STEPS = 8  # tokens that are written between two looks at the queue, if nobody reads a stream
Options = tuple[tuple[str, typing.Any], ...]
"""Keyword arguments, in order, so that equal ones compare equal."""


def options(**given: typing.Any) -> Options:
    """The keyword arguments that are not None."""
    return tuple(sorted((name, value) for name, value in given.items() if value is not None))


@dataclasses.dataclass(frozen=True)
class Translate:
    """`translate_document`; `translate` for several translations of each text.

    Args:
        given: arguments of these methods.
        whole: whether the texts are documents, which are read sentence by sentence.
    """

    given: Options = ()
    whole: bool = True

    def prepare(self, task: typing.Any, inputs: list[str]) -> tuple[list[str], list[int]]:
        return inputs, [len(ids) for ids in task.tokenizer.encode(inputs)]

    def run(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        translate = task.translate_document if self.whole else task.translate
        _share(jobs, translate([text for job in jobs for text in job.prepared], **dict(self.given)))
        yield


@dataclasses.dataclass(frozen=True)
class Embed:
    """`TextEmbedder.embed`.

    Args:
        given: its arguments.
        cut: whether texts that are longer than the model reads are cut, or refused.
    """

    given: Options = ()
    cut: bool = False

    def prepare(self, task: typing.Any, inputs: list[str]) -> tuple[list[str], list[int]]:
        return inputs, _checked(task, _lengths(task, inputs), self.cut)

    def run(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        _share(jobs, task.embed([text for job in jobs for text in job.prepared], **dict(self.given)))
        yield


@dataclasses.dataclass(frozen=True)
class Classify:
    """`TextClassifier.classify`, of texts or of pairs of texts.

    Args:
        given: its arguments.
        pairs: whether the inputs are pairs.
        cut: as for `Embed`.
    """

    given: Options = ()
    pairs: bool = False
    cut: bool = False

    def prepare(self, task: typing.Any, inputs: list[typing.Any]) -> tuple[list[typing.Any], list[int]]:
        if not self.pairs:
            return inputs, _checked(task, _lengths(task, inputs), self.cut)
        return inputs, _checked(task, _lengths(task, *map(list, zip(*inputs, strict=True))), self.cut)

    def run(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        texts = [each for job in jobs for each in job.prepared]
        columns = zip(*texts, strict=True) if self.pairs else (texts,)
        _share(jobs, task.classify(*map(list, columns), **dict(self.given)))
        yield


@dataclasses.dataclass(frozen=True)
class Rank:
    """`rank` of a reranker: a query, and texts. Each job is a call of its own.

    Args:
        cut: as for `Embed`.
    """

    cut: bool = False

    def prepare(self, task: typing.Any, inputs: list[str]) -> tuple[list[str], list[int]]:
        query, *texts = inputs
        return inputs, _checked(task, _lengths(task, [query] * len(texts), texts), self.cut)

    def run(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        for job in jobs:
            query, *texts = job.prepared
            job.finish(task.rank(query, texts))
            yield


def _lengths(task: typing.Any, texts: list[str], seconds: list[str] | None = None) -> list[int]:
    """The tokens of each text, or pair of texts, with special tokens."""
    special = task._template().num_special(seconds is not None) if hasattr(task, "_template") else 0
    firsts = [len(ids) + special for ids in task.tokenizer.encode(texts)]
    if seconds is None:
        return firsts
    return [a + len(b) for a, b in zip(firsts, task.tokenizer.encode(seconds), strict=True)]


def _checked(task: typing.Any, lengths: list[int], cut: bool) -> list[int]:
    """The lengths, if the model reads texts of them.

    Raises:
        ValueError: for a text that the model would cut.
    """
    longest = getattr(task, "max_length", None)
    if cut or longest is None or max(lengths, default=0) <= longest:
        return lengths
    place = int(np.argmax(lengths))
    raise ValueError(
        f"Expected texts of at most {longest} tokens, which the model reads, got {lengths[place]} at index {place}. "
        "Send truncate=true to have longer ones cut."
    )


def _share(jobs: Sequence[Job], results: Sequence[typing.Any]) -> None:
    """Give each job its part of the results."""
    begin = 0
    for job in jobs:
        job.finish(results[begin : begin + len(job.prepared)])
        begin += len(job.prepared)


# Texts that go on


class Choice(typing.NamedTuple):
    """One continuation.

    text: the text.
    reason: "stop" for an end token or a stop string, "length" for the limit.
    tokens: the number of its tokens, with the end token.
    """

    text: str
    reason: str
    tokens: int


class Piece(typing.NamedTuple):
    """New text of the choice of that number."""

    number: int
    text: str


@dataclasses.dataclass(frozen=True)
class Continue:
    """`CausalLM.generate`, or a reply in a chat. The answer of a job is a list of `Choice`; before it come pieces.

    Args:
        config: the generation settings.
        chat: whether an input is the messages of a chat, or a prompt.
    """

    config: GenerationConfig
    chat: bool = False

    def prepare(self, task: typing.Any, inputs: list[typing.Any]) -> tuple[list[list[int]], list[int]]:
        if self.chat:
            template = task.tokenizer.apply_chat_template
            prompts = [template(each, tokenize=True, add_generation_prompt=True) for each in inputs]
        else:
            prompts = task._encode(inputs)
        lengths = list(map(len, prompts))
        limits(self.config, np.array(lengths), task._longest("embeddings"))  # refuses prompts without room to go on
        return prompts, lengths

    def run(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        if self.config.num_beams > 1:
            return self._searched(task, jobs)
        return self._written(task, jobs)

    def _numbers(self, count: int) -> list[int]:
        """The random stream of each prompt. With a seed, a text does not depend on its neighbours."""
        return list(range(count)) if self.config.seed is None else [0] * count

    def _searched(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        prompts = [ids for job in jobs for ids in job.prepared]
        generated = task.generate_ids(prompts, self.config, numbers=self._numbers(len(prompts)))
        wording, count, choices = task._wording(self.config), self.config.num_return_sequences, []
        for row, (ids, length) in enumerate(zip(generated.token_ids.tolist(), generated.lengths, strict=True)):
            prompt, written = Prompt(prompts[row // count]), ids[:length]
            reason = "length" if wording.is_cut(prompt, written) else "stop"
            choices.append(Choice(wording.text(prompt, written), reason, int(length)))
        begin = 0
        for job in jobs:
            end = begin + len(job.prepared) * count
            job.finish(choices[begin:end])
            begin = end
        yield

    def _written(self, task: typing.Any, jobs: Sequence[Job]) -> Iterator[None]:
        prompts = [ids for job in jobs for ids in job.prepared]
        rows = filled(len(prompts), 32) - len(prompts)  # in few sizes on backends that compile each
        cache, token_ids = start_prompts(task, prompts + prompts[:1] * rows, self.config)
        longest, numbers = task._longest("embeddings"), self._numbers(len(prompts) + rows)
        decoding = Decoding(task, task._step, cache, token_ids, self.config, longest=longest, numbers=numbers)
        count, wording = self.config.num_return_sequences, task._wording(self.config)
        texts = [_Text(wording, prompts[n // count], self.config, decoding.limits[n // count])
                 for n in range(len(prompts) * count)]  # fmt: skip
        places = np.cumsum([0, *(len(job.prepared) * count for job in jobs)]).tolist()
        waiting = list(
            zip(jobs, (texts[begin:end] for begin, end in zip(places, places[1:], strict=False)), strict=True)
        )
        steps = 1 if any(job.streamed for job in jobs) else STEPS
        for tokens in decoding.stream(steps):
            for text, token_id in zip(texts, tokens.tolist(), strict=False):
                text.add(token_id)
            waiting = [(job, own) for job, own in waiting if not _tell(job, own)]
            if not waiting:
                return
            yield


def _tell(job: Job, texts: Sequence["_Text"]) -> bool:
    """Give a job the new pieces of its texts, and the answer at their end. Returns whether nothing is left to do."""
    if job.streamed:
        for index, text in enumerate(texts):
            if piece := text.new_piece():
                job.say(Piece(index, piece))
    is_done = all(text.reason for text in texts)
    if is_done:
        job.finish([Choice(text.said, text.reason, text.tokens) for text in texts])
    return is_done or job.gone


class _Text:
    """One continuation while it grows.

    Args:
        wording: the `Wording`.
        prompt: the ids of the prompt.
        config: the generation settings.
        limit: the most tokens.
    """

    def __init__(self, wording: Wording, prompt: list[int], config: GenerationConfig, limit: int) -> None:
        self.said, self.reason, self.tokens = "", "", 0
        self._wording, self._ends, self._limit = wording, config.end_ids, limit
        self._text, self._told = wording.continuation(prompt), 0

    def add(self, token_id: int) -> None:
        """Add a token, unless the text has ended."""
        if self.reason:
            return
        self.tokens += 1
        if token_id in self._ends:
            self.reason = "stop"
        for word in self._wording.words([token_id]):
            piece, stopped = self._text.add(word)
            self.said += piece
            self.reason = "stop" if stopped else ""
        if not self.reason and self.tokens == self._limit:
            self.reason = "length"
        if self.reason:
            self.said += self._text.rest()

    def new_piece(self) -> str:
        """The text since the last call."""
        begin, self._told = self._told, len(self.said)
        return self.said[begin:]
