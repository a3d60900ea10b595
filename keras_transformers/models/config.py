"""Model configurations, as data.

ModelConfig ─┬─ embeddings, decoder_embeddings ─ Learned │ Sinusoidal, norm
             ├─ encoder, decoder ─ StackConfig ─ BlockConfig ─┬─ AttentionConfig ─ Rotary │ Alibi │ RelativeBuckets │ …
             │                                                ├─ FeedForwardConfig
             │                                                └─ LayerNorm │ RMSNorm
             └─ head, pooler, token_head, span_head, reading
"""

import dataclasses

from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig
from keras_transformers.layers.relative_sinusoids import RelativeSinusoids
from keras_transformers.layers.stack import StackConfig
from keras_transformers.records import Count, Size, record


@record
class ShiftedSource:
    """The decoder inputs if a decoder reads the same text as its encoder: the text shifted right by one token. It
    begins with `start_id`, or with the last token of the text if that is None (in mBART it names the language)."""

    start_id: Count | None = None


@record
class ModelConfig:
    """A Transformer: an encoder, a decoder, or both.

    Attributes:
        hidden_dim: model width.
        embeddings: the embeddings of the source, or of the only stack.
        encoder: an encoder stack, or None.
        decoder: a decoder stack, or None; it attends to the encoder if the model has one.
        decoder_embeddings: the decoder's own embeddings; None if it shares those of the encoder.
        head: the head over the vocabulary.
        padding_id: the token id that fills short rows; None if there is no such token, as in many decoders, which need
            `starts` instead.
        pooler: the pooler that makes one vector of a text, for text classifiers and text embeddings.
        token_head, span_head: the layers before a token classifier, and before a classifier of first and last tokens.
        reading: how the decoder of two stacks reads the same text as its encoder, for classifiers; or None.

    Raises:
        ValueError: naming every contradiction at once.
    """

    hidden_dim: Size
    embeddings: EmbeddingsConfig
    encoder: StackConfig | None = None
    decoder: StackConfig | None = None
    decoder_embeddings: EmbeddingsConfig | None = None
    head: HeadConfig = HeadConfig()
    padding_id: Count | None = 0
    pooler: PoolerConfig = PoolerConfig()
    token_head: TokenHeadConfig = TokenHeadConfig()
    span_head: TokenHeadConfig = TokenHeadConfig()
    reading: ShiftedSource | None = None

    def __post_init__(self) -> None:
        problems = [*self._contradictions_of_embeddings(), *self._contradictions_of_stacks()]
        if problems:
            raise ValueError(f"This ModelConfig contradicts itself: {'; '.join(problems)}.")

    def _contradictions_of_embeddings(self) -> list[str]:
        """Return a sentence for each contradiction between the embeddings, or between them and the rest."""
        target = self.target_embeddings
        sizes = {self.embeddings.vocabulary_size, target.vocabulary_size}
        contradictions = {
            "decoder_embeddings without both an encoder and a decoder": self.decoder_embeddings and not self._has_both,
            "embeddings with shared_tokens, which are for decoder_embeddings": self.embeddings.shared_tokens,
            "decoder_embeddings that share tokens, and another vocabulary or width than embeddings": (
                target.shared_tokens and _table_shape(target) != _table_shape(self.embeddings)
            ),
            "positions that skip padding, in a decoder, whose texts begin where `starts` say, or have it at their "
            "ends": self.decoder and getattr(target.positions, "skip_padding", False),
            "trigrams, of which the next token is one, in a decoder": self.decoder and target.projected == "trigrams",
            "an encoder without a padding_id, by which it knows its padding": self.encoder and self.padding_id is None,
            **{
                f"padding_id={self.padding_id} outside the vocabulary of {size} tokens": not 0 <= self.filler < size
                for size in sizes
            },
        }
        return [sentence for sentence, holds in contradictions.items() if holds]

    def _contradictions_of_stacks(self) -> list[str]:
        """Return a sentence for each contradiction between the stacks, or between them and the model width."""
        encoder, decoder = self.encoder, self.decoder
        contradictions = {
            "neither an encoder nor a decoder": not self._stacks,
            "reading without both an encoder and a decoder": self.reading and not self._has_both,
            **dict.fromkeys(self._uneven_heads(), True),
            **dict.fromkeys(self._empty_stacks(), decoder is not None),
            "an output_dim of the encoder, whose decoder reads hidden_dim numbers": (
                encoder and self._has_both and encoder.output_dim
            ),
            "bidirectional=True, which is for a decoder without an encoder": (
                encoder and any(stack.bidirectional for stack in self._stacks.values())
            ),
        }
        return [sentence for sentence, holds in contradictions.items() if holds]

    @property
    def _has_both(self) -> bool:
        return self.encoder is not None and self.decoder is not None

    @property
    def _stacks(self) -> dict[str, StackConfig]:
        """The stacks that there are, by their names."""
        stacks = {"encoder": self.encoder, "decoder": self.decoder}
        return {name: stack for name, stack in stacks.items() if stack is not None}

    def _empty_stacks(self) -> list[str]:
        """Return a sentence for each stack without layers."""
        return [
            f"{name}: field 'num_layers' is 0, and only an encoder without a decoder may have no layers"
            for name, stack in self._stacks.items()
            if not stack.num_layers
        ]

    def _uneven_heads(self) -> list[str]:
        """Return a sentence for each stack whose heads have no width that follows from the model width."""
        attentions = {name: stack.block.attention for name, stack in self._stacks.items()}
        return [
            f"{name}: hidden_dim={self.hidden_dim} is no multiple of num_heads={attention.num_heads}, and head_dim is "
            "not given"
            for name, attention in attentions.items()
            if attention.head_dim is None and self.hidden_dim % attention.num_heads
        ]

    @property
    def filler(self) -> int:
        """The id that fills short rows. If it is not a padding token, masks and starts hide it."""
        return self.padding_id or 0

    @property
    def output_dim(self) -> int:
        """Width of the output of the last stack, which heads read."""
        last = self.decoder or self.encoder
        return (last and last.output_dim) or self.hidden_dim

    @property
    def head_dim(self) -> int | None:
        """Width that the transform of a vocabulary head narrows to; None for the width of the output, and for a head
        without a transform."""
        return None if self.head.transform is None else self.head.embedding_dim or self.embeddings.embedding_dim

    @property
    def compares_segments(self) -> bool:
        """Whether the encoder compares the segments of tokens, which then need no embeddings."""
        positions = None if self.encoder is None else self.encoder.block.attention.positions
        return isinstance(positions, RelativeSinusoids)

    @property
    def num_segments(self) -> int:
        """The number of segments that a text may have; 0 if the model knows none."""
        return 2**31 - 1 if self.compares_segments else self.embeddings.num_segments

    @property
    def is_static(self) -> bool:
        """Whether the model is a table of token embeddings alone, without positions, norms and layers."""
        table = dataclasses.replace(self.embeddings, vocabulary_size=1, context_length=None)
        stack = self.encoder
        return stack is not None and stack.num_layers == 0 and not stack.final_norm and table == EmbeddingsConfig(1)

    @property
    def target_embeddings(self) -> EmbeddingsConfig:
        """The embeddings of the decoder. The head scores their vocabulary."""
        return self.decoder_embeddings or self.embeddings


def _table_shape(embeddings: EmbeddingsConfig) -> tuple[int, int | None]:
    return embeddings.vocabulary_size, embeddings.embedding_dim
