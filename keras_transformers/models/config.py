"""Model configurations, as data.

ModelConfig ─┬─ embeddings, decoder_embeddings ─ Learned │ Sinusoidal, norm
             ├─ encoder, decoder ─ StackConfig ─ BlockConfig ─┬─ AttentionConfig ─ Rotary │ Alibi │ RelativeBuckets
             │                                                ├─ FeedForwardConfig
             │                                                └─ LayerNorm │ RMSNorm
             └─ head, pooler, token_head, span_head, reading
"""

from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig
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
        decoder: a decoder stack, or None; it attends to the encoder if there is one.
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
        problems = []
        if self.encoder is None and self.decoder is None:
            problems.append("neither an encoder nor a decoder")
        if self.decoder_embeddings is not None and (self.encoder is None or self.decoder is None):
            problems.append("decoder_embeddings without both an encoder and a decoder")
        if self.reading is not None and (self.encoder is None or self.decoder is None):
            problems.append("reading without both an encoder and a decoder")
        if self.embeddings.shared_tokens:
            problems.append("embeddings with shared_tokens, which are for decoder_embeddings")
        if self.target_embeddings.shared_tokens:
            both = self.embeddings, self.target_embeddings
            if len({(each.vocabulary_size, each.embedding_dim) for each in both}) > 1:
                problems.append("decoder_embeddings that share tokens, and another vocabulary or width than embeddings")
        if self.decoder is not None and getattr(self.target_embeddings.positions, "skip_padding", False):
            problems.append(
                "positions that skip padding, in a decoder, whose texts begin where `starts` say, or have it at their "
                "ends"
            )
        for name in ("encoder", "decoder"):
            stack = getattr(self, name)
            if stack is None:
                continue
            attention = stack.block.attention
            if attention.head_dim is None and self.hidden_dim % attention.num_heads:
                problems.append(
                    f"{name}: hidden_dim={self.hidden_dim} is no multiple of num_heads={attention.num_heads}, "
                    "and head_dim is not given"
                )
        if self.encoder is not None and self.decoder is not None and self.encoder.output_dim is not None:
            problems.append("an output_dim of the encoder, whose decoder reads hidden_dim numbers")
        if self.padding_id is None and self.encoder is not None:
            problems.append("an encoder without a padding_id, by which it knows its padding")
        for vocabulary_size in {each.vocabulary_size for each in (self.embeddings, self.target_embeddings)}:
            if not 0 <= self.filler < vocabulary_size:
                problems.append(f"padding_id={self.padding_id} outside the vocabulary of {vocabulary_size} tokens")
        if problems:
            raise ValueError(f"This ModelConfig contradicts itself: {'; '.join(problems)}.")

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
    def target_embeddings(self) -> EmbeddingsConfig:
        """The embeddings of the decoder. The head scores their vocabulary."""
        return self.decoder_embeddings or self.embeddings
