"""Beam search over a batch: pure functions on a state, for compiled loops and for Python loops.

Every sentence has `W` running hypotheses, and separately the best `W` that have ended:

    running [B, W] ──► W·V continuations ──► the best C = W · (1 + number of end tokens) candidates, at least 2·W
                                               │
                  neither ended nor at the limit: the best W run on
                                               │
                  ended, and among the best W candidates: compete with the finished [B, W]
                  by sum of log-probabilities / length ** length_penalty

Forced words change the order of the candidates: see `forced_words`.

C is large enough that W candidates continue even if every hypothesis proposes all of its end tokens. An ended
hypothesis never returns to the beam. The length counts generated tokens, including the end token. A sentence is done
when its finished hypotheses cannot improve any more, by the rule of `early_stopping`. Its results then stay fixed
whatever the other sentences do, so that a batch gives the same results as its sentences alone.

The semantics, including the constant for "impossible", are those of transformers 5 (`_beam_search` in
`transformers/generation/utils.py`).

Legend: `B` sentences, `W` beams, `R = B·W` rows, `C` candidates, `V` vocabulary, `L` room for generated tokens.
"""

import typing

import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor
from keras_transformers.generation import forced_words
from keras_transformers.generation.penalties import History, RepetitionPenalty, penalized
from keras_transformers.records import record

# Added to scores that must not win. It is finite, so that ruled-out hypotheses still have an order, and no NaN arises.
IMPOSSIBLE = -1.0e9


class BeamState(typing.NamedTuple):
    """The state of the loop. `position` counts the tokens generated so far."""

    position: typing.Any  # int32 scalar, a Python int on PyTorch
    begin: typing.Any  # likewise: where the generated tokens begin in `running`, after the prompt if it is kept
    token_ids: typing.Any  # int32 [R, 1]: the newest tokens of the running hypotheses
    running: typing.Any  # int32 [B, W, L], best first; with forced words, in the order of `forced_words`
    running_scores: typing.Any  # float32 [B, W]: sums of log-probabilities
    finished: typing.Any  # int32 [B, W, L], best first
    finished_scores: typing.Any  # float32 [B, W]: sum / length ** length_penalty
    is_finished: typing.Any  # bool [B, W]: which places of `finished` are taken
    improvable: typing.Any  # bool [B]: whether a running hypothesis may still beat a finished one
    sources: typing.Any  # int32 [B, S], ids that the encoder has read, -1 for padding; [B, 0] if no penalty needs them
    words: typing.Any  # int32 [B, K, M], forced words, -1 after shorter ones; K is 0 for none


@record
class BeamSearch:
    """Keeps the `num_beams` best hypotheses of each sentence.

    Args:
        num_beams: int, at least 1.
        length_penalty: float; hypotheses compare by `sum / length ** length_penalty`, so that above 0 longer ones are
            favoured.
        early_stopping: when a sentence is done. `True`: when `num_beams` hypotheses have ended. `False`: when in
            addition the best running hypothesis, scored as if it ended now, is no better than the worst ended one.
            `"never"`: when it is no better even at its best possible length.
        end_ids: tuple of ints, the tokens that end a hypothesis.
        padding_id: int, the token after the end.
        num_return_sequences: int, the number of returned hypotheses of a sentence, best first.
        penalties: a tuple of records such as `RepetitionPenalty`, applied to log-probabilities.
        renormalize: whether the probabilities after penalties are scaled to a sum of 1 again.
        prompt_counts: whether forced words that occur in the prompt need not occur after it.
    """

    num_beams: int
    end_ids: tuple
    padding_id: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    penalties: tuple = ()
    renormalize: bool = False
    prompt_counts: bool = True

    reorders = True

    @property
    def rows_per_sentence(self) -> int:
        return self.num_beams

    def start(
        self,
        token_ids: np.ndarray,
        written: np.ndarray,
        begin: int,
        sources: np.ndarray,
        words: np.ndarray | None = None,
    ) -> BeamState:
        """The state before the first token. `token_ids` are the last tokens of the prompts, int32 NumPy `[B, 1]`, and
        `words` the forced words, int32 NumPy `[B, K, M]`. The other arguments are those of `Sampling.start`.

        All hypotheses of a sentence begin alike, so only the first may be continued: otherwise all would stay equal.
        """
        size = (len(token_ids), self.num_beams)
        scores = np.full(size, IMPOSSIBLE, "float32")
        scores[:, 0] = 0

        words = np.zeros((size[0], 0, 1), "int32") if words is None else words

        def hypotheses() -> Tensor:
            # Make separate buffers: a compiled loop overwrites the buffers it gets.
            return arrays.tensor(np.repeat(written[:, None], self.num_beams, axis=1))

        return BeamState(
            position=arrays.scalar(0),
            begin=arrays.scalar(begin),
            token_ids=arrays.tensor(np.repeat(token_ids, self.num_beams, axis=0)),
            running=hypotheses(),
            running_scores=arrays.tensor(scores),
            finished=hypotheses(),
            finished_scores=arrays.tensor(np.full(size, IMPOSSIBLE, "float32")),
            is_finished=arrays.tensor(np.zeros(size, bool)),
            improvable=arrays.tensor(np.ones(size[0], bool)),
            sources=arrays.tensor(sources),
            words=arrays.tensor(words),
        )

    def noise(self, seed: int, sentences: np.ndarray, length: int) -> None:
        """None: beam search uses no random numbers."""
        return None

    def advance(
        self, state: BeamState, logits: Tensor, limit: Tensor, noise: Tensor = None
    ) -> tuple[BeamState, Tensor]:
        """Advance by one token.

        Args:
            state: a `BeamState`.
            logits: float `[R, V]`, for the token after `state.token_ids`.
            limit: int scalar; hypotheses with this many tokens end.

        Returns: the next state, and int32 `[R]`: the row that each running hypothesis continues, for reordering the
        cache.
        """
        scores_BC, beams_BC, tokens_BC = self._candidates(state, logits, limit)
        end = state.begin + state.position
        candidates_BCL = arrays.put(arrays.within(state.running, beams_BC), end, tokens_BC)
        ended_BC = finishing_BC = arrays.one_of(tokens_BC, self.end_ids) | (state.position + 1 >= limit)
        if state.words.shape[1]:
            found_BCK = forced_words.progress(candidates_BCL, end + 1, state.words, self._first(state))
            complete_BC = ops.all(found_BCK == forced_words.lengths(state.words)[:, None], axis=-1)
            finishing_BC = ended_BC & complete_BC
            ruled_out_BC = (ended_BC & ~complete_BC) | (scores_BC <= IMPOSSIBLE / 2)
            highest = state.words.shape[1] * state.words.shape[2]
            order = forced_words.by_banks(scores_BC, ops.sum(found_BCK, axis=-1), highest, ruled_out_BC)
            columns = (scores_BC, beams_BC, tokens_BC, candidates_BCL, ended_BC, finishing_BC)
            scores_BC, beams_BC, tokens_BC, candidates_BCL, ended_BC, finishing_BC = (
                arrays.within(each, order) for each in columns
            )

        finished, finished_scores, is_finished = self._finish(state, scores_BC, candidates_BCL, finishing_BC)

        running_scores, places_BW = arrays.ranked(scores_BC + _impossible(ended_BC), self.num_beams)
        if state.words.shape[1]:  # in the order of the banks
            _, places_BW = arrays.ranked(_impossible(ended_BC), self.num_beams)
            running_scores = arrays.within(scores_BC + _impossible(ended_BC), places_BW)
        first_rows_B1 = arrays.rows(state.improvable)[:, None] * self.num_beams
        rows = arrays.within(beams_BC, places_BW) + first_rows_B1

        state = BeamState(
            position=state.position + 1,
            begin=state.begin,
            token_ids=arrays.reshape(arrays.within(tokens_BC, places_BW), (-1, 1)),
            running=arrays.within(candidates_BCL, places_BW),
            running_scores=running_scores,
            finished=finished,
            finished_scores=finished_scores,
            is_finished=is_finished,
            improvable=state.improvable,
            sources=state.sources,
            words=state.words,
        )
        return state._replace(improvable=state.improvable & self._may_improve(state, limit)), arrays.reshape(
            rows, (-1,)
        )

    def _first(self, state: BeamState) -> Tensor | int:
        """The place from which on a text is searched for forced words."""
        return 0 if self.prompt_counts else state.begin

    def _candidates(self, state: BeamState, logits: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best C continuations of each sentence: their scores, the beams that they continue, and their tokens,
        all `[B, C]`, best first."""
        beams = state.running_scores.shape[1]
        num_candidates = beams * max(2, 1 + len(self.end_ids))
        # The best C of a sentence are among the best C of each of its rows, which have the C highest logits: only those
        # need log-probabilities.
        logits = arrays.float32(logits)
        best = min(num_candidates, logits.shape[-1])
        if self.penalties:
            written = arrays.reshape(state.running, (-1, ops.shape(state.running)[2]))
            sources = ops.repeat(state.sources, beams, axis=0)
            history = History.of(written, state.begin, state.begin + state.position, limit, sources)
            # A penalty that depends on the sign needs log-probabilities. The others give the same result for logits,
            # also after renormalization.
            if not self.renormalize or any(isinstance(each, RepetitionPenalty) for each in self.penalties):
                logits = logits - arrays.log_normalizer(logits)
            logits = penalized(self.penalties, logits, history)
        normalizer = arrays.log_normalizer(logits) if self.renormalize or not self.penalties else 0.0
        values, tokens = arrays.top_k(logits, best)
        log_probabilities = arrays.reshape(values - normalizer, (-1, beams, best))
        scores = log_probabilities + state.running_scores[:, :, None]
        if state.words.shape[1]:
            return self._with_missing(state, scores, arrays.reshape(tokens, scores.shape), logits, normalizer)
        scores, places = arrays.ranked(arrays.reshape(scores, (-1, beams * best)), num_candidates)
        tokens = arrays.within(arrays.reshape(tokens, (-1, beams * best)), places)
        return scores, places // best, arrays.int32(tokens)

    def _with_missing(
        self, state: BeamState, scores_BWC: Tensor, tokens_BWC: Tensor, logits: Tensor, normalizer: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The result of `_candidates`, from the continuations `[B, W, C]` and the next tokens of missing words."""
        sentences, beams, count = scores_BWC.shape
        next_BWK = forced_words.missing(state.running, state.begin + state.position, state.words, self._first(state))
        rows_RK = arrays.reshape(ops.maximum(next_BWK, 0), (sentences * beams, -1))
        values = arrays.reshape(ops.take_along_axis(logits, rows_RK, axis=1) - normalizer, next_BWK.shape)
        there = next_BWK < 0
        known = ops.concatenate((arrays.int32(tokens_BWC), next_BWK), axis=-1)
        for place in range(next_BWK.shape[2]):  # no token twice
            same = arrays.any_(known[..., : count + place] == next_BWK[..., place : place + 1])
            there = there | ((arrays.count(next_BWK.shape[2], next_BWK) == place) & same[..., None])
        scores = ops.concatenate((scores_BWC, values + state.running_scores[..., None] + _impossible(there)), axis=-1)
        beams_BWC = arrays.count(beams, known)[None, :, None] + ops.zeros_like(known)
        return tuple(arrays.reshape(each, (sentences, -1)) for each in (scores, beams_BWC, ops.maximum(known, 0)))

    def _finish(
        self, state: BeamState, scores_BC: Tensor, candidates_BCL: Tensor, ended_BC: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best W of the finished hypotheses and of those that have just ended among the best W candidates."""
        # The candidates after the best W only keep the beam full.
        just_finished_BC = ended_BC & (arrays.count(scores_BC.shape[1], scores_BC) < self.num_beams)
        scores_BC = scores_BC / arrays.power(state.position + 1, self.length_penalty)
        scores_BC = scores_BC + _impossible(self.done(state))[:, None] + _impossible(~just_finished_BC)
        scores, places = arrays.ranked(arrays.join(state.finished_scores, scores_BC), self.num_beams)
        hypotheses = arrays.within(arrays.join(state.finished, candidates_BCL), places)
        return hypotheses, scores, arrays.within(arrays.join(state.is_finished, just_finished_BC), places)

    def _may_improve(self, state: BeamState, limit: Tensor) -> Tensor:
        """bool `[B]`: whether the best running hypothesis may still beat a finished one, scored at the length that
        `early_stopping` assumes."""
        never = self.early_stopping == "never" and self.length_penalty > 0
        length = limit if never else state.position
        best_B1 = arrays.largest(state.running_scores) / arrays.power(length, self.length_penalty)
        worst_BW = arrays.where(state.is_finished, arrays.smallest(state.finished_scores), IMPOSSIBLE)
        return arrays.any_(best_B1 > worst_BW)

    def done(self, state: BeamState) -> Tensor:
        """bool `[B]`: the sentences whose results cannot change any more."""
        stuck = ~state.improvable
        return stuck | arrays.all_(state.is_finished) if self.early_stopping is True else stuck

    def grow(self, state: BeamState, missing: int) -> BeamState:
        """The state with room for `missing` more tokens."""
        padding = ((0, 0), (0, 0), (0, missing))
        running, finished = (
            ops.pad(x, padding, constant_values=self.padding_id) for x in (state.running, state.finished)
        )
        return state._replace(running=running, finished=finished)

    def select(self, state: BeamState, rows: Tensor, sentences: Tensor) -> BeamState:
        """The state of fewer sentences."""
        token_ids, *others = state[2:]
        return BeamState(*state[:2], arrays.take(token_ids, rows), *(arrays.take(field, sentences) for field in others))

    def results(self, state: BeamState) -> tuple[Tensor, Tensor, None]:
        """The written tokens, int32 `[B, num_return_sequences, L]`, and their scores, float32
        `[B, num_return_sequences]`, best first; and None, since log-probabilities of tokens are not kept."""
        count = self.num_return_sequences
        return state.finished[:, :count], state.finished_scores[:, :count], None


def _impossible(condition: Tensor) -> Tensor:
    return arrays.float32(condition) * IMPOSSIBLE
