"""Texts that continue each other: a chat, or prompts with the same beginning.

read     You are a bot. | Hi.          | Hello!
to read  You are a bot. | Hi.          | Hello!       | And who are you?
         ── in the cache, as it was read and written ──  ── read now ──
"""

import typing
from collections.abc import Callable, Sequence

from keras_transformers.backends import arrays, execution
from keras_transformers.generation.decoding import Decoding, Numbers, StopRule, checked_prompts
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.layers import cache as caches
from keras_transformers.layers.cache import Cache
from keras_transformers.models.sizes import SMALLEST_ROOM


class Reader:
    """Reads texts in turn, and keeps the cache of the last one (prefix caching). The beginning that the next text
    shares with it is not computed again.

    Args:
        model, step, longest, vocabulary_size: as for `generation.generate`.
        start_cache: a function from rows and length to an empty `Cache`.
    """

    def __init__(
        self,
        model: typing.Any,
        step: execution.Step,
        start_cache: Callable[[int, int], Cache],
        *,
        longest: int | None = None,
        vocabulary_size: int | None = None,
    ) -> None:
        self.longest = longest
        self._model, self._step, self._start_cache = model, step, start_cache
        self._vocabulary_size = vocabulary_size
        self._prompt: list[int] = []
        self._decoding: Decoding | None = None

    def read(
        self,
        token_ids: Sequence[int],
        config: GenerationConfig,
        *,
        numbers: Numbers | None = None,
        stop_rule: StopRule | None = None,
    ) -> Decoding:
        """A `Decoding` that continues one text, a list of ids. It is valid until the next text is read."""
        prompts = checked_prompts([token_ids], config, self._vocabulary_size)
        last, known = self._decoding, self.common(token_ids)
        if last is not None and known:
            cache = caches.trim(last.cache, arrays.scalar(known))
        else:
            cache = self._start_cache(1, SMALLEST_ROOM)
        self._decoding = None  # its cache was overwritten
        decoding = Decoding(
            self._model, self._step, cache, prompts, config, longest=self.longest, numbers=numbers, stop_rule=stop_rule
        )
        self._prompt, self._decoding = list(token_ids), decoding
        return decoding

    def common(self, token_ids: Sequence[int]) -> int:
        """The number of first tokens that are in the cache, at most all but one: the last one is needed to compute the
        next. 0 if the cache cannot be trimmed to them."""
        if self._decoding is None:
            return 0
        written = int(self._decoding.cache.offset)
        cached = [*self._prompt, *self._decoding.token_ids()][:written]
        known = 0
        for old, new in zip(cached, token_ids[:-1], strict=False):
            if old != new:
                break
            known += 1
        return known if written - known <= caches.reach(self._decoding.cache) else 0
