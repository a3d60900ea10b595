"""The functions of a model for generation: reading a source, and computing the logits after the newest tokens.

Legend: `B` sources, `R` rows (`B` times beams), `S` source length, `T` new tokens, `V` vocabulary,
`U` choices.
"""

import typing

from keras_transformers.layers.cache import Cache
from keras_transformers.models.sizes import SMALLEST_ROOM


class Steps:
    """Mixin with the functions that `generation.generate` calls, for models with a `backbone` and a `head` over the
    vocabulary."""

    backbone: typing.Any
    head: typing.Any

    def _read(self, token_ids: typing.Any, cache: None) -> tuple[None, Cache]:
        """A new cache after the encoder has read sources, int32 `[B, S]`; no token is written yet."""
        mask = self.backbone.padding_mask(token_ids)
        encoded = self.backbone.encode(token_ids, mask)
        return None, self.backbone.start_cache(token_ids.shape[0], SMALLEST_ROOM, encoded, mask)

    def _step(self, token_ids: typing.Any, cache: Cache) -> tuple[typing.Any, Cache]:
        """Logits `[R, V]` after the newest of the tokens, int32 `[R, T]`, and the cache with the tokens written. If the
        cache has `choices`, tokens are places among these, and logits are `[R, U]`."""
        choices = cache.choices
        if choices is None:
            x, cache = self.backbone.decode(token_ids, cache)
            return self.head(x[:, -1:], embedding=self.backbone.decoder_embedding)[:, 0], cache
        x, cache = self.backbone.decode(choices.whole(token_ids), cache)
        return self.head.of_choices(x[:, -1:], choices, self.backbone.decoder_embedding)[:, 0], cache

    def _step_through(self, token_ids: typing.Any, cache: Cache) -> tuple[typing.Any, Cache]:
        """The result of `_step`, but with the logits after every token, `[R, T, V]`."""
        x, cache = self.backbone.decode(token_ids, cache)
        return self.head(x, embedding=self.backbone.decoder_embedding), cache
