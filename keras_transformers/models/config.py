"""What a model is: data.

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
    """How a decoder reads the text that its encoder reads, where it is given no other: shifted right by one token, so
    that it comes to each token last. The first is `start_id`, or where that is None the text's own last token (mBART,
    whose last token names the language)."""

    start_id: Count | None = None


@record
class ModelConfig:
    """A Transformer: an encoder, a decoder, or both.

    Attributes:
        hidden_dim: model width.
        embeddings: of the source, or of the only stack.
        encoder: an encoder stack, or None.
        decoder: a decoder stack, or None; it attends to the encoder if there is one.
        decoder_embeddings: the decoder's own; None when it reads the encoder's table.
        head: what scores the vocabulary.
        padding_id: the token id that fills short rows; None where no token is for that, as in many decoders, which are
            told where their texts begin.
        pooler: what makes one vector of a text, for a classifier of texts or for the vector itself.
        token_head, span_head: what stands before a classifier of tokens, and before one of first and last tokens.
        reading: how the decoder of two stacks reads a text by itself, for classifiers; None where it does not.

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
        """The id that stands in the rest of a short row, where masks and starts hide it if it is no padding."""
        return self.padding_id or 0

    @property
    def output_dim(self) -> int:
        """Width of what the last stack gives, and heads read."""
        last = self.decoder or self.encoder
        return (last and last.output_dim) or self.hidden_dim

    @property
    def target_embeddings(self) -> EmbeddingsConfig:
        """The embeddings that the decoder reads, and whose vocabulary the head scores."""
        return self.decoder_embeddings or self.embeddings
