"""Decoders of random weights, float32: one geometry, made by transformers, by ours and by KerasHub."""

import dataclasses


class Decoder:
    @property
    def weights(self):
        """Those that each token is multiplied by."""
        return self.layers_weights + self.vocabulary_size * self.hidden_dim


@dataclasses.dataclass(frozen=True)
class GPT2(Decoder):
    """By default GPT-2's smallest model; `dropout` is that of branches and of attention weights."""

    num_layers: int = 12
    hidden_dim: int = 768
    num_heads: int = 12
    vocabulary_size: int = 50257
    context_length: int = 1024
    dropout: float = 0.1

    @property
    def key_value_dim(self):
        return self.hidden_dim

    @property
    def layers_weights(self):
        return 12 * self.num_layers * self.hidden_dim**2

    def transformers(self):
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=self.vocabulary_size,
                n_embd=self.hidden_dim,
                n_layer=self.num_layers,
                n_head=self.num_heads,
                n_positions=self.context_length,
                resid_pdrop=self.dropout,
                embd_pdrop=self.dropout,
                attn_pdrop=self.dropout,
                eos_token_id=None,
                pad_token_id=0,
            )
        )

    def ours(self):
        import keras_transformers as kt

        return kt.CausalLM(
            kt.models.gpt(
                self.vocabulary_size,
                num_layers=self.num_layers,
                hidden_dim=self.hidden_dim,
                num_heads=self.num_heads,
                max_length=self.context_length,
                dropout=self.dropout,
            )
        )

    def keras_hub(self):
        import keras_hub

        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=self.vocabulary_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            hidden_dim=self.hidden_dim,
            intermediate_dim=4 * self.hidden_dim,
            max_sequence_length=self.context_length,
            dropout=self.dropout,
        )
        return keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)


@dataclasses.dataclass(frozen=True)
class Llama(Decoder):
    """By default of SmolLM2-135M's size; one matrix for embeddings and head, no dropout."""

    num_layers: int = 30
    hidden_dim: int = 576
    num_heads: int = 9
    num_key_value_heads: int = 3
    intermediate_dim: int = 1536
    vocabulary_size: int = 49152
    context_length: int = 2048

    @property
    def key_value_dim(self):
        return self.hidden_dim * self.num_key_value_heads // self.num_heads

    @property
    def layers_weights(self):
        attention = 2 * self.hidden_dim * (self.hidden_dim + self.key_value_dim)
        return self.num_layers * (attention + 3 * self.hidden_dim * self.intermediate_dim)

    def transformers(self):
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(
            LlamaConfig(
                num_hidden_layers=self.num_layers,
                hidden_size=self.hidden_dim,
                num_attention_heads=self.num_heads,
                num_key_value_heads=self.num_key_value_heads,
                intermediate_size=self.intermediate_dim,
                vocab_size=self.vocabulary_size,
                max_position_embeddings=self.context_length,
                tie_word_embeddings=True,
                eos_token_id=None,
                pad_token_id=0,
            )
        )

    def ours(self):
        import keras_transformers as kt
        from keras_transformers.layers.attention import AttentionConfig
        from keras_transformers.layers.blocks import BlockConfig
        from keras_transformers.layers.embeddings import EmbeddingsConfig
        from keras_transformers.layers.feed_forward import FeedForwardConfig
        from keras_transformers.layers.norms import RMSNorm
        from keras_transformers.layers.positions import Rotary
        from keras_transformers.layers.stack import StackConfig

        block = BlockConfig(
            AttentionConfig(self.num_heads, self.num_key_value_heads, positions=Rotary(), use_bias=False),
            FeedForwardConfig(self.intermediate_dim, "silu", gated=True, use_bias=False),
            norm=RMSNorm(),
            norm_placement="pre",
        )
        embeddings = EmbeddingsConfig(self.vocabulary_size, context_length=self.context_length)
        decoder = StackConfig(self.num_layers, block, final_norm=True)
        return kt.CausalLM(kt.ModelConfig(self.hidden_dim, embeddings, decoder=decoder))

    def keras_hub(self):
        import keras_hub

        backbone = keras_hub.models.LlamaBackbone(
            vocabulary_size=self.vocabulary_size,
            num_layers=self.num_layers,
            num_query_heads=self.num_heads,
            hidden_dim=self.hidden_dim,
            intermediate_dim=self.intermediate_dim,
            num_key_value_heads=self.num_key_value_heads,
            tie_word_embeddings=True,
        )
        return keras_hub.models.LlamaCausalLM(backbone, preprocessor=None)
