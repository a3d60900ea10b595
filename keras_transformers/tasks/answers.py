"""From prompts to texts: batches of prompts for the model, and the texts of the generated tokens.

    texts ──► Prompt, Prompt, … ──► batches of similar length ──► token ids ──► Answers: texts, scores
              (the task)            (Answers.batches)             (the task)    (Answers.add)

A text is decoded together with the last tokens of its prompt, so that it keeps its first space. While a text grows, its
end may be uncertain:

    stop "\\n\\n"    "One line.\\n"  ─►  "One line." is certain, "\\n" is held back: it may be the first half
"""

import collections.abc
import typing

import numpy as np

from keras_transformers.generation.decoding import Generated, limits
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tokenizers.tokenizer import Tokenizer

Progress: typing.TypeAlias = collections.abc.Callable[[int], object]
"""A function called with the number of finished texts, after each batch."""
Report = collections.abc.Callable[[dict[int, int], int], None]


class Prompt(typing.NamedTuple):
    """One text for the model to answer.

    token_ids: the ids of a source, or the ids that a decoder continues. Empty if the model is not needed.
    prefix: ids that each result begins with, if an encoder reads the source.
    words: forced words, a list of ids each.
    answer: the result, if the model is not needed.
    """

    token_ids: list[int]
    prefix: list[int] = []
    words: list[list[int]] = []
    answer: str = ""


class Continuation:
    """The text of one row, while it grows.

    Args:
        decode: a function from ids, a list of ints, to a string.
        stop: a tuple of stop strings; the text ends before the first one in it.
        context: the ids before the row that the decoding of its first token depends on.
    """

    def __init__(
        self,
        decode: collections.abc.Callable[[collections.abc.Sequence[int]], str],
        stop: tuple[str, ...] = (),
        context: collections.abc.Iterable[int] = (),
    ) -> None:
        self._decode, self._stop, self._context = decode, stop, list(context)
        self._before = len(decode(self._context))
        self._ids: list[int] = []
        self._said = ""

    def _whole(self, ids: list[int]) -> str:
        return self._decode([*self._context, *ids])[self._before :]

    def text(self, ids: list[int]) -> str:
        """The text of `ids`, up to the first stop string."""
        text = self._whole(ids)
        return text[: min((text.find(each) for each in self._stop if each in text), default=None)]

    def stops(self, ids: list[int]) -> bool:
        """Whether the text of `ids` contains a stop string."""
        text = self._whole(ids) if self._stop else ""
        return any(each in text for each in self._stop)

    def add(self, token_id: int) -> tuple[str, bool]:
        """Add a token. Returns the new certain text, and whether a stop string was found."""
        self._ids.append(token_id)
        if self.stops(self._ids):
            return self.rest(), True
        text = self._whole(self._ids)
        if text.endswith("\ufffd"):  # in the middle of a character
            return "", False
        return self._say(text[: len(text) - self._undecided(text)]), False

    def rest(self) -> str:
        """The text that was held back, returned after the last token."""
        return self._say(self.text(self._ids))

    def _say(self, text: str) -> str:
        piece = text[len(self._said) :]
        self._said += piece
        return piece

    def _undecided(self, text: str) -> int:
        """The number of characters at the end that may begin a stop string."""
        longest = min(max(map(len, self._stop), default=1) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if any(each.startswith(text[-n:]) for each in self._stop)), 0)


class Wording:
    """Turns generated ids into text.

    Args:
        tokenizer: a `Tokenizer`.
        config: a `GenerationConfig`: end tokens are dropped, and stop strings end a text.
        longest: the most positions of the decoder, or None.
        source: whether an encoder reads the prompt. Otherwise the text continues the prompt.
    """

    def __init__(self, tokenizer: Tokenizer, config: GenerationConfig, longest: int | None, source: bool) -> None:
        self._tokenizer, self._config, self._longest, self._source = tokenizer, config, longest, source
        self._decode = typing.cast(collections.abc.Callable[[collections.abc.Sequence[int]], str], tokenizer.decode)

    def words(self, token_ids: collections.abc.Iterable[int]) -> list[int]:
        """The ids that stand for text: without end tokens, and without ids beyond the tokenizer's vocabulary (a model
        may round its vocabulary up)."""
        size = self._tokenizer.target_vocabulary_size
        return [token_id for token_id in token_ids if token_id not in self._config.end_ids and token_id < size]

    def continuation(self, token_ids: list[int], prefix: list[int] | tuple[()] = ()) -> Continuation:
        """A `Continuation` for the text after a prompt, or after its prefix."""
        # Decoding strips the space before the first word. These tokens before it show that the word is not the first.
        context = prefix if self._source else self.words(token_ids[-16:])
        return Continuation(self._decode, self._config.stop, context)

    def text(self, prompt: Prompt, token_ids: list[int]) -> str:
        """A complete result: its prefix, and the text of the generated ids."""
        following = self.continuation(prompt.token_ids, prompt.prefix).text(self.words(token_ids))
        return self._decode(prompt.prefix) + following if prompt.prefix else following

    def is_cut(self, prompt: Prompt, token_ids: list[int]) -> bool:
        """Whether the token limit cut a result before its end."""
        if not self._config.end_ids or not token_ids:
            return False
        if token_ids[-1] in self._config.end_ids and not self._end_is_forced(prompt, len(token_ids)):
            return False
        return not self.continuation(prompt.token_ids, prompt.prefix).stops(self.words(token_ids))

    def _end_is_forced(self, prompt: Prompt, length: int) -> bool:
        """Whether the token limit forced the end of a result of this length."""
        if self._config.forced_end_id is None:
            return False
        count = 1 + len(prompt.prefix) if self._source else len(prompt.token_ids)
        return length == limits(self._config, np.array([count]), self._longest)[0]

    def stop_rule(
        self, prompts: collections.abc.Sequence[list[int]]
    ) -> collections.abc.Callable[[int, np.ndarray], bool] | None:
        """The function that `generation.generate` calls to find stop strings; None without stop strings."""
        if not self._config.stop:
            return None
        texts = [self.continuation(prompt) for prompt in prompts]

        def stops(sentence: int, token_ids: np.ndarray) -> bool:
            text = texts[sentence if sentence < len(texts) else 0]  # rows that fill up a batch are copies of the first
            return text.stops(self.words(token_ids.tolist()))

        return stops

    def pieces(
        self, prompt: list[int], tokens: collections.abc.Iterable[np.ndarray], report: Report | None = None
    ) -> collections.abc.Iterator[str]:
        """Stream the text of one row.

        Args:
            prompt: the ids of the prompt.
            tokens: an iterator over the new tokens of the row, int `[1]` each.
            report: a function called at the end with the cut texts, as in `Answers.cut`, and their number.
        """
        text, ids = self.continuation(prompt), []
        for (token_id,) in tokens:
            ids.append(int(token_id))
            if token_id in self._config.end_ids:
                break
            for word in self.words([int(token_id)]):
                piece, stopped = text.add(word)
                if piece:
                    yield piece
                if stopped:
                    return
        rest = text.rest()  # half a character, or half a stop string
        if rest:
            yield rest
        if report is not None and self.is_cut(Prompt(prompt), ids):
            report({0: len(ids)}, 1)


class Answers:
    """The results of prompts, in their order.

    Args:
        prompts: a list of `Prompt`.
        config: the `GenerationConfig`.
        wording: the `Wording`.

    Attributes:
        cut: the number of tokens of each result that was cut at the limit, by the index of its prompt.
    """

    def __init__(self, prompts: list[Prompt], config: GenerationConfig, wording: Wording) -> None:
        self.cut: dict[int, int] = {}
        self._prompts, self._count, self._wording = prompts, config.num_return_sequences, wording
        self._texts = [[prompt.answer] * self._count for prompt in prompts]
        self._scores = [[0.0] * self._count for _ in prompts]
        order = np.argsort([-len(prompt.token_ids) for prompt in prompts], kind="stable")
        self._asked = [int(index) for index in order if prompts[index].token_ids]

    def batches(self, size: int, progress: Progress | None = None) -> collections.abc.Iterator[list[int]]:
        """Batches of indices of the prompts for the model, with similar lengths in each.

        Args:
            size: the most prompts of a batch.
            progress: a function called with the number of finished prompts, after each batch.

        Raises:
            ValueError: for a size below 1.
        """
        if size < 1:
            raise ValueError(f"Expected batch_size of at least 1, got {size}.")
        if progress is not None and len(self._asked) < len(self._prompts):
            progress(len(self._prompts) - len(self._asked))
        for begin in range(0, len(self._asked), size):
            batch = self._asked[begin : begin + size]
            yield batch
            if progress is not None:
                progress(len(batch))

    def rows(self, size: int) -> int:
        """The number of rows of each batch; the last one is filled up to it."""
        return min(size, len(self._asked))

    def add(self, batch: list[int], generated: Generated) -> None:
        """Add the results of one of the `batches`."""
        for row, (ids, length) in enumerate(zip(generated.token_ids.tolist(), generated.lengths, strict=True)):
            index, place = batch[row // self._count], row % self._count
            self._texts[index][place] = self._wording.text(self._prompts[index], ids[:length])
            if self._wording.is_cut(self._prompts[index], ids[:length]):
                self.cut[index] = int(length)
            if generated.scores is not None:
                self._scores[index][place] = float(generated.scores[row])

    def put_before(self, texts: list[str]) -> None:
        """Put the text of each prompt in front of its results."""
        self._texts = [[text + each for each in results] for text, results in zip(texts, self._texts, strict=True)]

    def results(self, single: bool, scored: bool) -> typing.Any:
        """The texts: a list, or a list of lists if each prompt has several results. With `scored`, a pair of the texts
        and the scores in the same shape. With `single`, the text and score of the only prompt."""
        texts: list[typing.Any] = self._texts
        scores: list[typing.Any] = self._scores
        if self._count == 1:
            texts, scores = [each[0] for each in texts], [each[0] for each in scores]
        if single:
            texts, scores = texts[0], scores[0]
        return (texts, scores) if scored else texts
