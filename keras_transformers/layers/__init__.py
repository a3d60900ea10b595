"""Transformer layers: tensors in, tensors out, each usable alone in anyone's Keras model."""

from keras_transformers import lazy
from keras_transformers.layers.attention import AttentionConfig, MultiHeadAttention, QueryKeyNorm
from keras_transformers.layers.blocks import BlockConfig, DecoderBlock, EncoderBlock
from keras_transformers.layers.cache import Cache
from keras_transformers.layers.embeddings import EmbeddingsConfig, PositionalEmbedding
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.layers.feed_forward import FeedForward, FeedForwardConfig
from keras_transformers.layers.heads import (
    HeadConfig,
    Pooler,
    PoolerConfig,
    TokenHeadConfig,
    Transform,
    TransformConfig,
    VocabularyHead,
)
from keras_transformers.layers.norms import LayerNorm, RMSNorm, RMSNormalization
from keras_transformers.layers.positions import (
    Alibi,
    Learned,
    RelativeBuckets,
    RelativePosition,
    Rotary,
    Sinusoidal,
    sinusoids,
)
from keras_transformers.layers.rotary_scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    YarnScaling,
)
from keras_transformers.layers.stack import Decoder, Encoder, StackConfig

__all__ = [
    "Alibi",
    "AttentionConfig",
    "BlockConfig",
    "Cache",
    "Decoder",
    "DecoderBlock",
    "DynamicScaling",
    "EmbeddingsConfig",
    "Encoder",
    "EncoderBlock",
    "ExpertsConfig",
    "FeedForward",
    "FeedForwardConfig",
    "HeadConfig",
    "LayerNorm",
    "Learned",
    "LinearScaling",
    "Llama3Scaling",
    "LongScaling",
    "MultiHeadAttention",
    "Pooler",
    "PoolerConfig",
    "PositionalEmbedding",
    "QueryKeyNorm",
    "RMSNorm",
    "RMSNormalization",
    "RelativeBuckets",
    "RelativePosition",
    "Rotary",
    "Sinusoidal",
    "StackConfig",
    "TokenHeadConfig",
    "Transform",
    "TransformConfig",
    "VocabularyHead",
    "YarnScaling",
    "sinusoids",
]

__getattr__ = lazy.refusal(__name__, __all__)
