"""Extractive question answering: the answer to a question is a part of a text.

Legend: `B` batch, `T` length.
"""

import collections.abc
import typing
import warnings

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.callers import outside
from keras_transformers.data.columns import renamed
from keras_transformers.data.containers import as_text, holds_many, is_empty, is_missing, rows, short
from keras_transformers.data.examples import Columns, Examples, read_columns
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source, Texts, texts_of
from keras_transformers.data.token_ids import Ids, numbers
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.heads import make_transform
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.encoder_task import EncoderTask, windows
from keras_transformers.tokenizers.packing import PackedTexts
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import TokenMean

_INPUTS, _ANSWERS = (("question", "context"),), ("answers", "answer")
_POSITIONS = ("start_positions", "end_positions")


@keras.saving.register_keras_serializable("keras_transformers")
class QuestionAnswerer(EncoderTask):
    """Extractive question answering: finds the answer to a question in a context.

    A context that is longer than the model reads is split into overlapping windows.

    Args:
        config: a `ModelConfig` with only an encoder or only a decoder. The classifier of tokens reads the output of its
            `span_head`.
        tokenizer: a `Tokenizer`.
        overlap: the number of tokens that neighbouring windows share.

    Call arguments: as for `TextClassifier`; the question comes first, then the context.

    Returns: logits `[B, T, 2]`, for the first and for the last token of the answer.

    Example:
        >>> model = kt.QuestionAnswerer.from_preset("hf://distilbert/distilbert-base-cased-distilled-squad")
        >>> model.answer("Who wrote it?", "The book was written by Ada.")  # doctest: +SKIP
        {'text': 'Ada', 'score': 0.98, 'start': 24, 'end': 27}

    Source: Devlin et al. 2019, sections 4.2 and 4.3 (no answer).
    """

    def __init__(
        self, config: ModelConfig, tokenizer: Tokenizer | None = None, overlap: int = 128, **kwargs: typing.Any
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        if overlap < 0:
            raise ValueError(f"Expected overlap of at least 0, got {overlap}.")
        self.overlap = overlap
        head, options, shape = config.span_head, {"dtype": self.dtype_policy}, (None, None, config.output_dim)
        self.transform = None
        if head.transform is not None:
            self.transform = make_transform(head.transform, name="transform", **options)
            self.transform.build(shape)
        self.dropout = Dropout(head.dropout, name="dropout", **options)
        self.dropout.build(shape)
        self.span = keras.layers.Dense(2, name="span", **options)
        self.span.build(shape)
        self.exact_match = TokenMean(name="exact_match")
        self.built = True

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "overlap": self.overlap}

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        return self.span.compute_output_spec(self.backbone.compute_output_spec(inputs))

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        x, _ = self.hidden_states(inputs, training)
        x = x if self.transform is None else self.transform(x)
        return self.span(self.dropout(x, training=training))

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The mean of two cross-entropies, over the positions of the first and of the last token."""
        logits_B2T = self._by_ends(x, y_pred)
        losses, _ = token_cross_entropy(logits_B2T, y)
        found = ops.all(ops.equal(ops.cast(y, "int32"), ops.cast(ops.argmax(logits_B2T, -1), "int32")), axis=-1)
        self.exact_match.update_state(ops.cast(found, "float32"), sample_weight)
        return self.weighted_mean(ops.mean(losses, axis=-1), sample_weight)

    def _by_ends(self, x: Tensor, logits_BT2: Tensor) -> Tensor:
        """Logits, float32 `[B, 2, T]`, with padding masked out."""
        real_B1T = ops.cast(self.padding_mask(x), "bool")[:, None, :]
        return ops.where(real_B1T, ops.transpose(ops.cast(logits_BT2, "float32"), (0, 2, 1)), -1e9)

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, None, Tensor]:
        """The two ends as separate rows: positions `[2B]`, and logits over positions `[2B, T]`."""
        y, logits_B2T = ops.convert_to_tensor(y), self._by_ends(x, y_pred)
        if sample_weight is not None:
            sample_weight = ops.repeat(ops.cast(sample_weight, "float32"), 2)
        return ops.reshape(y, (-1,)), ops.reshape(logits_B2T, (-1, ops.shape(logits_B2T)[-1])), None, sample_weight

    def _input_columns(self, columns: Columns) -> dict[str, Ragged]:
        if columns.seconds is None:
            raise ValueError("Expected pairs (question, context), got single texts.")
        return self.encode_texts(columns.texts, columns.seconds, truncate="second")[0]

    def _windows(
        self,
        questions: collections.abc.Sequence[str],
        contexts: collections.abc.Sequence[str],
        max_length: int | None = None,
    ) -> tuple[dict[str, Ragged], PackedTexts, list[tuple[int, int]], list[np.ndarray]]:
        """Split contexts into windows. Returns `(inputs, packed, windows, spans)`: `(row, first piece)` for each
        window, and the spans of characters of the pieces of each context."""
        tokenizer = self._tokenizer()
        question_ids = tokenizer.encode(questions)
        encoded = tokenizer.encode_with_offsets(contexts)
        room = self.room(pair=True)
        if max_length is not None:
            room = min(room or max_length, max_length - tokenizer.template.num_special(True))
        firsts, seconds, places = [], [], []
        for row, (question, ids) in enumerate(zip(question_ids, encoded.token_ids, strict=True)):
            left = None if room is None else room - len(question)
            if left is not None and left < 1:
                raise ValueError(
                    f"Expected a question that leaves room for the context, got {len(question)} tokens of {room} in "
                    f"question {row}. Shorten it."
                )
            overlap = 0 if left is None else min(self.overlap, left // 2)
            for begin, end in windows(len(ids), left, overlap):
                firsts.append(question)
                seconds.append(ids[begin:end])
                places.append((row, begin))
        inputs, packed = self.encode_texts(firsts, seconds, max_length, truncate="second")
        return inputs, packed, places, encoded.spans

    form = Form(pairs="must", parts=("(question, context)", "answer"))
    seen_form = Form(labelled=False, pairs="must")

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Examples:
        """Examples of questions with contexts and answers.

        `x` is a list of `(question, context)` with the answers in `y`; or a data frame, dictionary or Hugging Face
        dataset with the columns `question`, `context` and `answers` of SQuAD; or an iterable of `((question, context),
        answer)`. An answer is `(start, end)` in characters; or `{"text": […], "answer_start": […]}` as in SQuAD, whose
        first answer is learnt; or None for no answer. Each window is an example. A window without the answer learns to
        point at the first token.
        """
        read = read_columns(source, pairs="must", inputs=_INPUTS, labels=_ANSWERS, columns=columns, what="question")
        questions, contexts = _checked(read)
        answers = read.labels or []  # `read_columns` has refused a source without any
        spans = [
            _span(answer, context, row) for row, (answer, context) in enumerate(zip(answers, contexts, strict=True))
        ]
        inputs, packed, places, offsets = self._windows(questions, contexts, max_length)
        labels = np.zeros((len(places), 2), "int32")
        found = [span is None for span in spans]
        for window, ((row, first), text_ids) in enumerate(zip(places, packed.text_ids, strict=True)):
            here = np.flatnonzero(text_ids == 1)
            pieces = offsets[row][first : first + len(here)]
            span = spans[row]
            if span is None or not len(pieces):
                continue
            start, end = span
            inside = np.flatnonzero((pieces[:, 0] < end) & (pieces[:, 1] > start))
            if len(inside) and pieces[0, 0] <= start and pieces[-1, 1] >= end:
                labels[window] = here[inside[0]], here[inside[-1]]
                found[row] = True
        if not all(found):
            warnings.warn(
                f"{len(found) - sum(found)} of {len(found)} answers are whole in no window of their context, and count "
                "for nothing. Give a larger max_length, or shorter answers.",
                stacklevel=outside(),
            )
        weight = np.where(found, read.sample_weight, 0.0)[[row for row, _ in places]].astype("float32")
        return self._labelled(inputs, labels, weight, packed)

    def _read_ids(
        self, source: Source, columns: dict[str, str] | None = None, sides: collections.abc.Sequence[str] | None = None
    ) -> Ids:
        block = source.whole()
        table = renamed(typing.cast(dict, block.inputs), columns)  # ids come by name
        if set(_POSITIONS) <= set(table):  # as Hugging Face models take them
            table["answers"] = list(zip(*(rows(table.pop(name)) for name in _POSITIONS), strict=True))
        ids = Source(table, block.labels, block.weights, self.form)
        return super()._read_ids(ids, sides=sides)

    label_columns = ("answers", "answer", "label", "labels")

    def _of_ids(self, ids: Ids, max_length: int | None) -> Examples:
        """Examples of ids, labelled with the positions of the first and last token of the answer, `[N, 2]`."""
        self._check_cut(ids.columns["token_ids"].lengths, max_length)
        if ids.labels is None:
            raise ValueError("Expected the positions (first, last) of each answer's tokens, got none. Pass y=.")
        labels = np.zeros((len(ids.labels), 2), "int32")
        for row, (label, (begin, end, _)) in enumerate(zip(ids.labels, ids.spans["token_ids"], strict=True)):
            first, last = numbers(label, "positions", row, "int32") if len(rows(label)) == 2 else (-1, -1)
            if not begin <= first <= last < end:
                raise ValueError(
                    f"Expected the positions (first, last) of an answer's tokens, from {begin} to {end - 1}, got "
                    f"{short(label)} in row {row}. No answer is the first token's, twice."
                )
            labels[row] = first - begin, last - begin
        return Examples(ids.columns, labels, ids.row_weights(), self.config.filler)

    def _seen(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        read = read_columns(
            source, labelled=False, pairs="must", inputs=_INPUTS, labels=_ANSWERS, columns=columns, what="question"
        )
        return self._input_columns(read)

    def answer(
        self,
        questions: Texts,
        contexts: Texts = None,
        *,
        no_answer: bool = False,
        top: int = 1,
        max_answer_tokens: int = 30,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> dict[str, typing.Any] | list[typing.Any]:
        """Answer questions from their contexts. Returns plain Python values.

        Args:
            questions, contexts: two strings, or two lists (arrays, series) of equal length; or, without contexts, pairs
                `(question, context)`, or columns `question` and `context`.
            no_answer: whether a question may have no answer, for models trained with such questions (SQuAD 2.0). It has
                none if the first token scores higher than any span.
            top: how many answers to return, best first.
            max_answer_tokens: the longest answer, in tokens.
            batch_size, progress: as for `TextClassifier.classify`, in windows.

        Returns: `{"text", "score", "start", "end"}`: `start` and `end` count characters of the context, `score` is the
            probability of both ends. For no answer, the text is empty, and `start` and `end` are 0. With `top` above 1
            a list of such answers; for lists, a list of such results.

        Raises:
            TypeError: for values that are not texts.
            ValueError: for unequal counts, an empty question or context, and a question that fills the whole input.
        """
        for name, value in (("top", top), ("max_answer_tokens", max_answer_tokens)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Expected {name} of at least 1, got {value!r}.")
        single = isinstance(questions, str)
        if contexts is not None:
            questions, contexts = (
                texts_of(each, what=what)[0] for each, what in ((questions, "question"), (contexts, "context"))
            )
            if len(questions) != len(contexts):
                raise ValueError(
                    f"Expected a context for each question, got {len(questions)} questions and {len(contexts)} "
                    "contexts."
                )
            questions = list(zip(questions, contexts, strict=True))
        if is_empty(questions):
            return []
        source = Source(questions, form=self.seen_form)
        questions, contexts = _checked(
            read_columns(source, labelled=False, pairs="must", inputs=_INPUTS, labels=_ANSWERS, what="question")
        )
        inputs, packed, places, offsets = self._windows(questions, contexts)
        logits = self.run(inputs, batch_size, progress)
        windows_of: list[list[tuple[int, np.ndarray, np.ndarray]]] = [[] for _ in questions]
        for (row, first), text_ids, each in zip(places, packed.text_ids, logits, strict=True):
            each = np.asarray(each, "float64")
            windows_of[row].append((first, each[text_ids == 1], each[0]))
        best = [
            _best_spans(context, spans, each, top, max_answer_tokens, no_answer)
            for context, spans, each in zip(contexts, offsets, windows_of, strict=True)
        ]
        answers: list[typing.Any] = best if top > 1 else [each[0] for each in best]
        return answers[0] if single else answers


def _best_spans(
    context: str,
    spans: np.ndarray,
    windows_of: collections.abc.Sequence[tuple[int, np.ndarray, np.ndarray]],
    top: int,
    longest: int,
    no_answer: bool,
) -> list[dict[str, typing.Any]]:
    """The best answers from one context, at least one.

    Args:
        context, spans: the text, and the span of characters of each of its pieces, `[P, 2]`.
        windows_of: for each window the number of its first piece, the logits of its pieces, `[p, 2]`, and the logits of
            the first token, `[2]`.
        top, longest, no_answer: as for `answer`.

    The logits of a piece are the highest over all windows. The logits of "no answer" are the lowest, since a window
    with the answer denies it.
    """
    pieces = np.full((len(spans), 2), -np.inf)
    candidates = []
    for first, logits, _ in windows_of:
        pieces[first : first + len(logits)] = np.maximum(pieces[first : first + len(logits)], logits)
        candidates += [(sums, first + start, first + end) for sums, start, end in _spans(logits, top, longest)]
    nothing = min((logits for _, _, logits in windows_of), key=lambda each: each.sum())
    total = _log_sum(np.concatenate([pieces, nothing[None]]) if no_answer else pieces)
    answers, seen = [(nothing.sum(), 0, 0)] if no_answer else [], set()
    for sums, first, last in candidates:
        start, end = _trimmed(context, int(spans[first][0]), int(spans[last][1]))
        if (start, end) not in seen:
            seen.add((start, end))
            answers.append((sums, start, end))
    answers.sort(key=lambda each: -each[0])
    named = [
        {"text": context[start:end], "score": float(np.exp(sums - total)), "start": start, "end": end}
        for sums, start, end in answers[:top]
    ]
    return named or [{"text": "", "score": 0.0, "start": 0, "end": 0}]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Trim the spaces at both ends of a span of a text: the pieces of some tokenizers include them."""
    inside = text[start:end]
    return (
        (start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())) if inside.strip() else (start, end)
    )


def _log_sum(logits: np.ndarray) -> float:
    """The log of the sum of exponentials over all pairs of a first and a last token, from logits `[P, 2]`."""
    highest = logits.max(axis=0, initial=-1e30)
    return float((highest + np.log(np.exp(logits - highest).sum(axis=0))).sum()) if len(logits) else 0.0


def _spans(logits: np.ndarray, count: int, longest: int) -> list[tuple[float, int, int]]:
    """The `count` best spans `(sum of logits, first, last)` of the pieces of a window, best first."""
    size = len(logits)
    firsts, lasts = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    fits = (lasts >= firsts) & (lasts - firsts < longest)
    firsts, lasts = firsts[fits], lasts[fits]
    sums = logits[firsts, 0] + logits[lasts, 1]
    # The sort is stable, so that the first of equal sums wins. Take more than `count`: if several pieces belong to one
    # character, several spans are one answer.
    best = np.argsort(-sums, kind="stable")[: 4 * count]
    return [(float(sums[n]), int(firsts[n]), int(lasts[n])) for n in best]


def _checked(read: Columns) -> tuple[list[str], list[str]]:
    """The questions and contexts in the result of `read_columns`. Refuses empty ones."""
    if read.seconds is None:
        raise TypeError("Expected pairs (question, context), got single texts. Pass each question with its context.")
    for row, (question, context) in enumerate(zip(read.texts, read.seconds, strict=True)):
        if not question.strip() or not context.strip():
            which = "question" if not question.strip() else "context"
            raise ValueError(f"Expected a question and a context, got an empty {which} as number {row}.")
    return read.texts, read.seconds


def _span(answer: typing.Any, context: str, row: int) -> tuple[int, int] | None:
    """Convert an answer in any of its forms to `(start, end)` in characters, or None."""
    if isinstance(answer, collections.abc.Mapping):
        texts, starts = (answer.get(name, ()) for name in ("text", "answer_start"))
        texts, starts = (rows(each) if holds_many(each) else [each] for each in (texts, starts))
        if len(texts) != len(starts):
            raise ValueError(
                f"Expected as many texts as answer_starts, got {len(texts)} and {len(starts)} in row {row}."
            )
        answer = (starts[0], starts[0] + len(as_text(texts[0], f"answer {row}"))) if len(starts) else None
    if is_missing(answer):
        return None
    if not holds_many(answer) or len(answer) != 2:
        raise TypeError(
            f"Expected an answer as (start, end), {{'text': …, 'answer_start': …}} or None, got {short(answer)} in row "
            f"{row}."
        )
    start, end = (int(each) for each in answer)
    if not 0 <= start < end <= len(context):
        raise ValueError(
            f"Expected an answer inside its context of {len(context)} characters, got {start} to {end} in row {row}. "
            "Count characters, not bytes."
        )
    return start, end
