"""The result of generation, a record of arrays.

Legend: `B` sentences, `L` generated length.
"""

import typing
from collections.abc import Iterable, Sequence

import numpy as np


class Generated(typing.NamedTuple):
    """The result of `generate`: NumPy arrays. The results of a sentence are adjacent, the best first.

    token_ids: int32 `[B * num_return_sequences, L]`: the generated tokens without the prompt, with the end token if
        there is one, then padding up to the longest.
    lengths: int `[B * num_return_sequences]`: the number of tokens before the padding.
    scores: float32 `[B * num_return_sequences]`: sum of log-probabilities / length ** length_penalty. None without a
        beam search and without `log_probabilities`.
    log_probabilities: float32 `[B * num_return_sequences, L]`: the log-probability of each token before any setting
        changed it; 0 after the end. None unless the settings ask for it.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray | None = None
    log_probabilities: np.ndarray | None = None

    @classmethod
    def joined(
        cls, parts: Sequence["Generated"], padding_id: int, groups: Sequence[np.ndarray] | None = None
    ) -> "Generated":
        """Join the results of several batches to one, in the order of the sentences.

        Args:
            parts: the `Generated` of each batch.
            padding_id: an int, the padding of shorter results.
            groups: the sentences of each batch, a list of int arrays; by default consecutive sentences.
        """

        def join(arrays: Iterable[np.ndarray], value: float) -> np.ndarray:
            longest = max(array.shape[1] for array in arrays)
            return np.concatenate(
                [np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=value) for array in arrays]
            )

        token_ids, lengths, scores, details = zip(*parts, strict=True)
        whole = cls(
            join(token_ids, padding_id),
            np.concatenate(lengths),
            None if scores[0] is None else np.concatenate(scores),
            None if details[0] is None else join(details, 0.0),
        )
        if groups is None:
            return whole
        sentences = np.concatenate(groups)
        count = len(whole.lengths) // len(sentences)
        return whole.select(np.argsort((sentences[:, None] * count + np.arange(count)).ravel()))

    def select(self, rows: np.ndarray | slice) -> "Generated":
        """The results of the given rows, a NumPy index."""
        return Generated._make(None if each is None else each[rows] for each in self)
