"""The model without its head: one class for all Transformers.

Legend: `B` batch, `R` rows (`B` times beams), `S` source length, `T` target length, `D` model width, `N` heads.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.layers import cache as caches
from keras_transformers.layers.cache import Cache
from keras_transformers.layers.embeddings import EmbeddingsConfig, PositionalEmbedding
from keras_transformers.layers.layer import ShapesOfSpec
from keras_transformers.layers.stack import Decoder, Encoder
from keras_transformers.models import changes
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.explanation import explain
from keras_transformers.models.token_ids import check_token_ids
from keras_transformers.records import arguments_of, from_json, to_json
from keras_transformers.spelling import Elsewhere, check_constructor

_OPTIONAL = ("padding_mask", "segment_ids", "starts")


@keras.saving.register_keras_serializable("keras_transformers")
class Backbone(ShapesOfSpec, keras.Model):
    """The embeddings and stacks of a `ModelConfig`: an encoder, a decoder, or both.

    Args:
        config: a `ModelConfig`.

    Call arguments:
        inputs: token ids, int32 `[B, T]`, or a dictionary of these:
            `token_ids [B, S]`.
            `decoder_token_ids [B, T]`, if there are an encoder and a decoder. Pad them on the right. They may be left
            out if `config.reading` is set.
            `padding_mask [B, S]`, True where a token is real. By default, for an encoder, True where it is not
            `config.padding_id`; for a causal decoder alone, True everywhere.
            `segment_ids [B, T]`, if the embeddings have segments; by default all 0.
            `starts`, int32 `[B, 1]` or `[B, T]`, for a decoder alone: the position in the row at which the text of each
            token begins. Padding may then be on the left, and several texts may share a row without seeing each other.
        return_hidden_states, return_attention_scores: return a dictionary instead, with `output`, `hidden_states`,
            `attention_scores`, `cross_attention_scores`, and the same of the encoder under `encoder_…`: tuples over
            layers of `[B, T, D]` and `[B, N, T, S]`.

    Returns: `[B, T, D]`, the output of the last stack, where `D` is `config.output_dim`. Its Keras mask is True for
        real tokens: by `padding_mask` and `starts`, else those that are not `config.padding_id`. With decoder inputs it
        is their mask, and their first token is always real.

    Example:
        >>> config = kt.models.transformer(vocabulary_size=100, num_layers=2, hidden_dim=32, num_heads=4)
        >>> backbone = kt.Backbone(config)
        >>> backbone({"token_ids": np.ones((2, 7), "int32"), "decoder_token_ids": np.ones((2, 5), "int32")}).shape
        (2, 5, 32)
    """

    from_preset, from_pretrained = Elsewhere(), Elsewhere()

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        check_constructor(cls, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, config: ModelConfig, name: str = "backbone", **kwargs: typing.Any) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False  # token ids given as floats must not be rounded
        self.supports_masking = True
        self.config = config
        options = {"dtype": self.dtype_policy}
        width = config.hidden_dim

        def embedding(
            embeddings: EmbeddingsConfig, name: str, token: keras.layers.Layer | None = None
        ) -> PositionalEmbedding:
            # A layer that knows its padding id gives its output a Keras mask. Here the caller gives the mask.
            counts = getattr(embeddings.positions, "skip_padding", False) or embeddings.token_dropout is not None
            counted = {"padding_id": config.padding_id} if counts else {}
            arguments = arguments_of(embeddings) | counted
            arguments.pop("context_length")  # describes the training; the layer does not need it
            token = token if arguments.pop("shared_tokens") else None
            layer = PositionalEmbedding(hidden_dim=width, name=name, token=token, **arguments, **options)
            layer.build((None, None))
            return layer

        def stack(stack_class: type, name: str, **more: bool) -> typing.Any:
            layer = stack_class(name=name, **arguments_of(getattr(config, name)), **more, **options)
            shape = (None, None, width)
            layer.build(shape, shape) if more.get("cross_attention") else layer.build(shape)
            return layer

        self.embedding = embedding(config.embeddings, "embedding")
        self.decoder_embedding = self.embedding
        if config.decoder_embeddings is not None:
            self.decoder_embedding = embedding(config.decoder_embeddings, "decoder_embedding", self.embedding.token)
        self.encoder: typing.Any = stack(Encoder, "encoder") if config.encoder is not None else None
        self.decoder: typing.Any = None
        if config.decoder is not None:
            self.decoder = stack(Decoder, "decoder", cross_attention=self.encoder is not None)
        self.built = True
        names = ["token_ids", "decoder_token_ids"] if self.encoder is not None and self.decoder is not None else []
        ids = (None, None)
        self._build_shapes_dict = {"inputs_shape": {name: ids for name in names} or ids}  # as `build` would set it

    def __repr__(self) -> str:
        return explain(self).rstrip() if self.built else super().__repr__()

    def get_config(self) -> dict[str, typing.Any]:
        return {
            "config": to_json(self.config),
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            **changes.in_config(self),
        }

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Any:
        values = {"config": from_json(config["config"]), "dtype": keras.dtype_policies.get(config["dtype"])}
        return changes.from_config(config, lambda rest: cls(**{**rest, **values}))

    def padding_mask(self, token_ids: Tensor) -> Tensor:
        """True where `token_ids [B, T]` is not padding."""
        if self.config.padding_id is None:
            return ops.ones_like(token_ids, dtype="bool")
        return ops.not_equal(token_ids, self.config.padding_id)

    def shifted_right(self, token_ids: Tensor) -> Tensor:
        """The decoder's input `[B, T]` if only a source `token_ids [B, T]` is given: the source shifted right."""
        start_id = None if self.config.reading is None else self.config.reading.start_id
        first_B1 = ops.full_like(token_ids[:, :1], start_id or 0)
        if start_id is None:
            places = ops.arange(ops.shape(token_ids)[1], dtype="int32")
            last_B = ops.max(ops.where(self.padding_mask(token_ids), places, 0), axis=1)
            first_B1 = ops.take_along_axis(token_ids, last_B[:, None], axis=1)
        return ops.concatenate([first_B1, token_ids[:, :-1]], axis=1)

    def encode(
        self,
        token_ids: Tensor,
        padding_mask: Tensor = None,
        segment_ids: Tensor = None,
        training: bool | None = None,
        **returns: bool,
    ) -> typing.Any:
        """The encoder's output for `token_ids [B, S]`: `[B, S, D]`, or the dictionary of `Encoder` with `returns`."""
        if padding_mask is None:
            padding_mask = self.padding_mask(token_ids)
        x = self.embedding(token_ids, segment_ids, training=training)
        if self.config.compares_segments:
            returns = {**returns, "segment_ids": segment_ids}
        return self.encoder(x, padding_mask=padding_mask, training=training, **returns)

    def start_cache(
        self,
        rows: int,
        length: int,
        encoder_output: Tensor = None,
        source_padding_mask: Tensor = None,
        starts: Tensor = None,
    ) -> Cache:
        """An empty `Cache`.

        Args:
            rows: the number of hypotheses, `R`.
            length: the number of positions to make room for.
            encoder_output: the source `[B, S, D]`, projected here once; None for a decoder alone.
            source_padding_mask: bool `[B, S]`, True where a token of the source is real.
            starts: int32 `[R, 1]`, the positions where the texts begin, if there is padding in front.
        """
        source = () if encoder_output is None else self.decoder.project_source(encoder_output)
        return Cache(caches.start(), self.decoder.start_states(rows, length), source, source_padding_mask, starts)

    def decode(self, token_ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """The decoder's output `[R, T, D]` for the next `token_ids [R, T]`, and the cache with these tokens added."""
        x = self.decoder_embedding(token_ids, offset=cache.offset, starts=cache.starts)
        results = self.decoder(
            x,
            cache.cross_attention or None,
            source_padding_mask=cache.source_padding_mask,
            cache=cache.states,
            offset=cache.offset,
            starts=cache.starts,
        )
        offset = cache.offset + ops.shape(token_ids)[1]
        return results["output"], cache._replace(offset=offset, states=results["cache"])

    def _named(self, inputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        """The inputs by name.

        Raises:
            ValueError: for unknown or missing inputs.
        """
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        expected, optional = {"token_ids"}, {"padding_mask"}
        if self.encoder is not None and self.decoder is not None:
            (optional if self.config.reading is not None else expected).add("decoder_token_ids")
        if self.config.num_segments:
            optional.add("segment_ids")
        if self.encoder is None:
            optional.add("starts")
        if set(inputs) - expected - optional or expected - set(inputs):
            raise ValueError(
                f"Expected inputs {sorted(expected)} and perhaps {sorted(optional)}, got {sorted(inputs)}."
            )
        return inputs

    def compute_output_spec(
        self,
        inputs: Tensor | dict[str, Tensor],
        training: bool | None = None,
        return_hidden_states: bool = False,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        inputs = self._named(inputs)
        returns = {"return_hidden_states": return_hidden_states, "return_attention_scores": return_attention_scores}
        token_ids = inputs["token_ids"]
        x = self.embedding.compute_output_spec(token_ids, starts=inputs.get("starts"))
        if self.encoder is None:
            return self.decoder.compute_output_spec(x, **returns)
        source = self.encoder.compute_output_spec(x, **returns)
        if self.decoder is None:
            return source
        read = inputs.get("decoder_token_ids")
        y = self.decoder_embedding.compute_output_spec(token_ids if read is None else read)
        return _of_both(source, self.decoder.compute_output_spec(y, x, **returns))

    def compute_mask(self, inputs: Tensor | dict[str, Tensor], previous_mask: Tensor = None) -> Tensor:
        """Which tokens of the output `[B, T, D]` are real, bool `[B, T]`; None if all are."""
        inputs = self._named(inputs)
        read = inputs.get("decoder_token_ids")
        if read is not None:  # the first token may even have the id of padding
            return ops.logical_or(self.padding_mask(read), ops.equal(_numbered(read), 1))
        mask, starts = inputs.get("padding_mask"), inputs.get("starts")
        if mask is not None:
            mask = ops.cast(mask, "bool")
        elif self.config.padding_id is not None:
            mask = self.padding_mask(inputs["token_ids"])
        if starts is None:
            return mask
        after_start = ops.greater(_numbered(inputs["token_ids"]), starts)
        return after_start if mask is None else ops.logical_and(after_start, mask)

    def call(
        self,
        inputs: Tensor | dict[str, Tensor],
        training: bool | None = None,
        return_hidden_states: bool = False,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        inputs = self._named(inputs)
        for name, embeddings in (
            ("token_ids", self.config.embeddings),
            ("decoder_token_ids", self.config.target_embeddings),
        ):
            check_token_ids(inputs.get(name), embeddings.vocabulary_size, name)
        options: dict[str, typing.Any] = {"training": training}
        if return_hidden_states or return_attention_scores:
            options["return_hidden_states"] = return_hidden_states
            options["return_attention_scores"] = return_attention_scores
        if self.encoder is None:
            return self._decoder_alone(inputs, options)
        return self._encoder_first(inputs, options)

    def _decoder_alone(self, inputs: dict[str, Tensor], options: dict[str, typing.Any]) -> typing.Any:
        token_ids, padding_mask, segment_ids, starts = (inputs.get(each) for each in ("token_ids", *_OPTIONAL))
        if padding_mask is None and self.decoder.bidirectional:  # else no token sees the padding behind it
            padding_mask = self.padding_mask(token_ids)
        x = self.decoder_embedding(token_ids, segment_ids, starts=starts, training=options["training"])
        return self.decoder(x, padding_mask=padding_mask, starts=starts, **options)

    def _encoder_first(self, inputs: dict[str, Tensor], options: dict[str, typing.Any]) -> typing.Any:
        token_ids, padding_mask, segment_ids, _ = (inputs.get(each) for each in ("token_ids", *_OPTIONAL))
        if padding_mask is None:
            padding_mask = self.padding_mask(token_ids)
        encoded = self.encode(token_ids, padding_mask, segment_ids, **options)
        if self.decoder is None:
            return encoded
        read = inputs.get("decoder_token_ids")
        read = self.shifted_right(token_ids) if read is None else read
        x = self.decoder_embedding(read, training=options["training"])
        source = encoded["output"] if isinstance(encoded, dict) else encoded
        decoded = self.decoder(x, source, source_padding_mask=padding_mask, **options)
        return _of_both(encoded, decoded)


def _of_both(encoded: typing.Any, decoded: typing.Any) -> typing.Any:
    """The decoder's results. Two dictionaries become one, with the encoder's results under `encoder_…`."""
    if not isinstance(decoded, dict):
        return decoded
    return {**{f"encoder_{name}": each for name, each in encoded.items()}, **decoded}


def _numbered(token_ids: Tensor) -> Tensor:
    """The number of each token of `token_ids [B, T]` in its row, from 1. Takes symbolic ids of unknown length too."""
    return ops.cumsum(ops.ones_like(token_ids, dtype="int32"), axis=1)
