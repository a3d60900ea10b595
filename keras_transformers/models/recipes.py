"""Model configurations for training from scratch."""

import dataclasses

from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig, TransformConfig
from keras_transformers.layers.norms import LayerNorm, Norm, RMSNorm
from keras_transformers.layers.positions import Learned, RelativePositions, Rotary, Sinusoidal
from keras_transformers.layers.simple_recurrence import SimpleRecurrence
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.spelling import spelled


@spelled
def transformer(
    vocabulary_size: int,
    *,
    num_layers: int | tuple[int, int] = 6,
    hidden_dim: int = 512,
    num_heads: int = 8,
    intermediate_dim: int | None = None,
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    activation: str = "relu",
    norm_placement: str = "post",
    norm: Norm = LayerNorm(),
    final_norm: bool | None = None,
    max_length: int = 1024,
    position_layout: str = "interleaved",
    shared_embeddings: bool = True,
    target_vocabulary_size: int | None = None,
    tied_head: bool = True,
    head_bias: bool = False,
    padding_id: int = 0,
    recurrence: SimpleRecurrence | None = None,
) -> ModelConfig:
    """The original encoder-decoder (Vaswani et al. 2017); its defaults are the paper's base model.

    Args:
        vocabulary_size: number of tokens of the source, and of the target unless `target_vocabulary_size` is given.
        num_layers: number of layers of the encoder and of the decoder; a pair if they differ.
        hidden_dim, num_heads: model width and number of heads.
        intermediate_dim: feed-forward width; by default `4 * hidden_dim`.
        dropout, attention_dropout: dropout of branches and embeddings, and of attention weights.
        activation, norm, norm_placement: see `FeedForward` and `EncoderBlock`.
        final_norm: whether a norm follows each stack; by default if blocks normalise before branches, not after.
        max_length: longest source or target, in tokens.
        position_layout: see `Sinusoidal`.
        shared_embeddings: whether source and target share one embedding table.
        target_vocabulary_size: number of tokens of the target, if it has its own embeddings.
        tied_head: whether the head is the target embeddings transposed.
        head_bias: whether the head has a bias.
        padding_id: the id that fills short rows.
        recurrence: a `SimpleRecurrence` record for a decoder without self-attention, or None.

    Returns: a `ModelConfig`.

    Raises:
        ValueError: for a contradiction, named.

    Example:
        >>> kt.models.transformer(vocabulary_size=8000, num_layers=3, hidden_dim=256, num_heads=4).hidden_dim
        256
    """
    if shared_embeddings and target_vocabulary_size not in (None, vocabulary_size):
        raise ValueError(
            f"Shared embeddings have one vocabulary: got vocabulary_size={vocabulary_size} and "
            f"target_vocabulary_size={target_vocabulary_size}. Give shared_embeddings=False, or one size."
        )

    def embeddings(size: int) -> EmbeddingsConfig:
        return EmbeddingsConfig(size, Sinusoidal(max_length, position_layout), scale=True, dropout=dropout)

    block = BlockConfig(
        AttentionConfig(num_heads, dropout=attention_dropout),
        FeedForwardConfig(4 * hidden_dim if intermediate_dim is None else intermediate_dim, activation),
        norm=norm,
        norm_placement=norm_placement,
        dropout=dropout,
    )
    final_norm = norm_placement == "pre" if final_norm is None else final_norm
    both = tuple(num_layers) if isinstance(num_layers, (tuple, list)) else (num_layers, num_layers)
    if len(both) != 2:
        raise ValueError(f"Expected num_layers to be a number or a pair (encoder, decoder), got {num_layers}.")
    encoder_layers, decoder_layers = both
    return ModelConfig(
        hidden_dim,
        embeddings(vocabulary_size),
        encoder=StackConfig(encoder_layers, block, final_norm),
        decoder=StackConfig(decoder_layers, dataclasses.replace(block, recurrence=recurrence), final_norm),
        decoder_embeddings=None if shared_embeddings else embeddings(target_vocabulary_size or vocabulary_size),
        head=HeadConfig(tied_head, head_bias),
        padding_id=padding_id,
    )


@spelled
def student(
    vocabulary_size: int,
    *,
    num_layers: tuple[int, int] = (6, 2),
    hidden_dim: int = 256,
    num_heads: int = 8,
    intermediate_dim: int = 1536,
    dropout: float = 0.0,
) -> ModelConfig:
    """A small, fast translator as Firefox has them, which `Seq2SeqLM.export_marian` writes for Marian. Its decoder has
    an SSRU in the place of self-attention. Its last token starts a translation and fills short rows, and has no vector.

    Args:
        vocabulary_size: number of tokens of both languages, with that last one: `tokenizer.vocabulary_size` of a
            tokenizer of Marian.
        num_layers: numbers of layers of the encoder and of the decoder.
        hidden_dim, num_heads, intermediate_dim: sizes; the defaults are those of "tiny". "base-memory" has `(6, 4)`
            layers of 384 and 1536, "base" `(6, 2)` of 512 and 2048.
        dropout: dropout of branches and embeddings.

    Returns: a `ModelConfig`.

    Example:
        >>> kt.models.student(vocabulary_size=32001).hidden_dim
        256

    Source: Kim et al. 2019, From Research to Production and Back: Ludicrously Fast Neural Machine Translation;
    pipeline/train/configs/model of https://github.com/mozilla/translations
    """
    config = transformer(
        vocabulary_size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        intermediate_dim=intermediate_dim,
        dropout=dropout,
        norm=LayerNorm(1e-6),
        head_bias=True,
        padding_id=vocabulary_size - 1,
        recurrence=SimpleRecurrence(),
    )
    positions = Sinusoidal(1024, "halves", endpoint=True)
    embeddings = dataclasses.replace(config.embeddings, positions=positions, zero_id=vocabulary_size - 1)
    return dataclasses.replace(config, embeddings=embeddings)


@spelled
def encoder(
    vocabulary_size: int,
    *,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    intermediate_dim: int | None = None,
    dropout: float = 0.1,
    attention_dropout: float | None = None,
    activation: str = "gelu",
    norm: Norm = LayerNorm(1e-12),
    max_length: int = 512,
    num_segments: int = 2,
    tied_head: bool = True,
    padding_id: int = 0,
) -> ModelConfig:
    """An encoder with a head for each task (Devlin et al. 2019); its defaults are the base model of BERT.

    transformers can open saved models, as the family "bert".

    Args:
        vocabulary_size: the number of tokens.
        num_layers, hidden_dim, num_heads: number of layers, model width and number of heads.
        intermediate_dim: feed-forward width; by default `4 * hidden_dim`.
        dropout: dropout of branches, embeddings and heads.
        attention_dropout: dropout of attention weights; by default `dropout`.
        activation: activation of the feed-forward branches, see `FeedForward`, and of the head over the vocabulary.
        norm: a `LayerNorm` with a bias.
        max_length: longest text, in tokens, including special ones. Positions are learned.
        num_segments: how many texts a row may hold.
        tied_head: whether the head over the vocabulary is the embeddings transposed.
        padding_id: the id that fills short rows.

    Returns: a `ModelConfig`.

    Raises:
        ValueError: for a contradiction, named.

    Example:
        >>> config = kt.models.encoder(vocabulary_size=8000, num_layers=4, hidden_dim=256, num_heads=4)
        >>> model = kt.MaskedLM(config)
    """
    if num_segments < 1:
        raise ValueError(f"Expected num_segments of at least 1, got {num_segments}. Give 1 if texts come alone.")
    attention_dropout = dropout if attention_dropout is None else attention_dropout
    block = BlockConfig(
        AttentionConfig(num_heads, dropout=attention_dropout),
        FeedForwardConfig(4 * hidden_dim if intermediate_dim is None else intermediate_dim, activation),
        norm=norm,
        dropout=dropout,
    )
    return ModelConfig(
        hidden_dim,
        EmbeddingsConfig(vocabulary_size, Learned(max_length), norm=norm, dropout=dropout, num_segments=num_segments),
        encoder=StackConfig(num_layers, block),
        head=HeadConfig(tied_head, True, TransformConfig(activation, norm)),
        padding_id=padding_id,
        pooler=PoolerConfig("first", TransformConfig("tanh", None), dropout=dropout),
        token_head=TokenHeadConfig(dropout=dropout),
    )


@spelled
def gpt(
    vocabulary_size: int,
    *,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    intermediate_dim: int | None = None,
    dropout: float = 0.1,
    attention_dropout: float | None = None,
    activation: str = "gelu_tanh",
    norm: Norm = LayerNorm(),
    max_length: int = 1024,
    tied_head: bool = True,
    padding_id: int | None = 0,
) -> ModelConfig:
    """A decoder for causal language models (Radford et al. 2019); its defaults are the smallest GPT-2 model.

    transformers can open saved models, as the family "gpt2".

    Args:
        vocabulary_size: the number of tokens.
        num_layers, hidden_dim, num_heads: number of layers, model width and number of heads.
        intermediate_dim: feed-forward width; by default `4 * hidden_dim`.
        dropout: dropout of branches and embeddings.
        attention_dropout: dropout of attention weights; by default `dropout`.
        activation: activation of the feed-forward branches, see `FeedForward`.
        norm: a `LayerNorm` with a bias, applied before each branch and after the last layer.
        max_length: longest text, in tokens. Positions are learned.
        tied_head: whether the head over the vocabulary is the embeddings transposed.
        padding_id: the id that fills short rows; None if there is no such token.

    Returns: a `ModelConfig`.

    Raises:
        ValueError: for a contradiction, named.

    Example:
        >>> config = kt.models.gpt(vocabulary_size=1000, num_layers=4, hidden_dim=256, num_heads=4, max_length=256)
        >>> model = kt.CausalLM(config)
    """
    attention_dropout = dropout if attention_dropout is None else attention_dropout
    block = BlockConfig(
        AttentionConfig(num_heads, dropout=attention_dropout),
        FeedForwardConfig(4 * hidden_dim if intermediate_dim is None else intermediate_dim, activation),
        norm=norm,
        norm_placement="pre",
        dropout=dropout,
    )
    return ModelConfig(
        hidden_dim,
        EmbeddingsConfig(vocabulary_size, Learned(max_length), dropout=dropout),
        decoder=StackConfig(num_layers, block, final_norm=True),
        head=HeadConfig(tied_head),
        padding_id=padding_id,
        pooler=PoolerConfig("last", classifier_bias=False),
        token_head=TokenHeadConfig(dropout=dropout),
    )


@spelled
def decoder(
    vocabulary_size: int,
    *,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    num_key_value_heads: int | None = None,
    intermediate_dim: int | None = None,
    attention_dropout: float = 0.0,
    activation: str = "silu",
    norm: Norm = RMSNorm(1e-5),
    positions: RelativePositions = Rotary(),
    max_length: int = 2048,
    tied_head: bool = False,
    padding_id: int | None = 0,
) -> ModelConfig:
    """A decoder for causal language models in the style of Llama (Touvron et al. 2023): RMS norms before each branch,
    rotary positions, gated feed-forward branches, and no biases.

    transformers can open saved models, as the family "llama".

    Args:
        vocabulary_size: the number of tokens.
        num_layers, hidden_dim, num_heads: number of layers, model width and number of heads.
        num_key_value_heads: number of key/value heads, each shared by equally many query heads (Ainslie et al. 2023);
            by default `num_heads`.
        intermediate_dim: feed-forward width; by default 8/3 of `hidden_dim`, rounded up to a multiple of 64, so that
            three matrices have as many weights as two of width `4 * hidden_dim`.
        attention_dropout: dropout of attention weights; there is no other dropout.
        activation: activation of the gates of the feed-forward branches, see `FeedForward`.
        norm: an `RMSNorm`, applied before each branch and after the last layer.
        positions: a `Rotary`; use a larger `base` for longer texts.
        max_length: longest text, in tokens.
        tied_head: whether the head over the vocabulary is the embeddings transposed, as in small models.
        padding_id: the id that fills short rows; None if there is no such token.

    Returns: a `ModelConfig`.

    Raises:
        ValueError: for a contradiction, named.

    Example:
        >>> config = kt.models.decoder(vocabulary_size=1000, num_layers=4, hidden_dim=256, num_heads=4)
        >>> model = kt.CausalLM(config)
    """
    attention = AttentionConfig(
        num_heads,
        num_heads if num_key_value_heads is None else num_key_value_heads,
        hidden_dim // num_heads if num_heads and hidden_dim % num_heads == 0 else None,
        positions,
        use_bias=False,
        dropout=attention_dropout,
    )
    width = -(-8 * hidden_dim // 3 // 64) * 64 if intermediate_dim is None else intermediate_dim
    feed_forward = FeedForwardConfig(width, activation, gated=True, use_bias=False)
    return ModelConfig(
        hidden_dim,
        EmbeddingsConfig(vocabulary_size, context_length=max_length),
        decoder=StackConfig(num_layers, BlockConfig(attention, feed_forward, norm, "pre"), final_norm=True),
        head=HeadConfig(tied_head),
        padding_id=padding_id,
        pooler=PoolerConfig("last", classifier_bias=False),
        token_head=TokenHeadConfig(),
    )


@spelled
def static(vocabulary_size: int, *, hidden_dim: int = 256, max_length: int | None = None) -> ModelConfig:
    """A table of token embeddings and no layer, for text embeddings that cost a look-up and a mean.

    Args:
        vocabulary_size: number of tokens.
        hidden_dim: width of the embeddings.
        max_length: the longest text in tokens; None for any length.

    Returns: a `ModelConfig`.

    Example:
        >>> embedder = kt.TextEmbedder(kt.models.static(tokenizer.vocabulary_size), tokenizer)

    Source: `StaticEmbedding` of sentence-transformers; Model2Vec, https://github.com/MinishLab/model2vec
    """
    return ModelConfig(
        hidden_dim,
        EmbeddingsConfig(vocabulary_size, context_length=max_length),
        encoder=StackConfig(0, BlockConfig(AttentionConfig(1), FeedForwardConfig(1))),
    )
