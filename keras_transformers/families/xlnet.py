"""XLNet: relative positions and segments, compared by each attention. Data only: `family.py` explains the records.

It is the content stream, as transformers computes it without `target_mapping`. Its head of a language model is not
here: it predicts through a second stream, in an order of tokens that is drawn for each text.
"""

from keras_transformers.families.bert import ACTIVATION, ATTENTION, BLOCK, FEED_FORWARD, not_negative
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Values
from keras_transformers.families.keys import OMITTED, ONE_STACK, Keys, activation, expect, inert, key, optional, repeat
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.relative_sinusoids import RelativeSinusoids
from keras_transformers.models.config import ModelConfig

_DROPOUTS = (BLOCK + "dropout", ATTENTION + "dropout", FEED_FORWARD + "dropout")


def _longest(length: int, values: Values) -> int | None:
    if length < -1:
        raise ValueError(f"clamp_len: expected -1 for none, or a distance, got {length}")
    return length if length > 0 else None


_KEYS = Keys(
    (
        *ONE_STACK,
        expect("is_decoder", False),
        expect("attn_type", "bi"),
        expect("bi_data", False),
        key(("vocab_size", "n_token"), 32000, "embeddings.vocabulary_size"),
        key(("d_model", "hidden_size"), 1024, "hidden_dim"),
        key(("n_layer", "num_hidden_layers"), 24, "encoder.num_layers"),
        key(("n_head", "num_attention_heads"), 16, ATTENTION + "num_heads"),
        key("d_inner", 4096, FEED_FORWARD + "intermediate_dim"),
        activation("ff_activation", "gelu", ACTIVATION),
        key("layer_norm_eps", 1e-12, BLOCK + "norm.epsilon"),
        key("dropout", 0.1, *_DROPOUTS, "embeddings.dropout", "encoder.final_dropout"),
        key(
            "clamp_len",
            -1,
            ATTENTION + "positions.max_distance",
            adapt=_longest,
            restore=lambda fields: fields(ATTENTION + "positions.max_distance") or -1,
        ),
        repeat(
            "d_head",
            lambda values: values["hidden_dim"] // values[ATTENTION + "num_heads"],
            "d_model / n_head",
        ),
        expect("summary_type", "last"),
        expect("summary_use_proj", True),
        expect("summary_activation", "tanh"),
        expect("summary_proj_to_labels", False),
        key(
            *("summary_first_dropout", 0.0, "pooler.input_dropout"),
            restore=lambda fields: fields("pooler.input_dropout") or OMITTED,
        ),
        key("summary_last_dropout", 0.1, "pooler.dropout"),
        optional("pad_token_id", int, 5, "padding_id", null=lambda values: 5, adapt=not_negative),
        # Keys of memories, of one direction, of beams for answers, and of its head of a language model.
        inert("mem_len", "reuse_len", "use_mems_eval", "use_mems_train", "use_mems", "same_length", "untie_r"),
        inert("start_n_top", "end_n_top", "tie_word_embeddings", "max_position_embeddings"),
    ),
    {
        BLOCK + "norm": LayerNorm,
        ATTENTION + "positions": RelativeSinusoids,
        ATTENTION + "use_bias": False,
        "pooler.pooling": "last",
        "pooler.transform": TransformConfig("tanh", None),
    },
)


def _weights(config: ModelConfig) -> WeightMap:
    """Return the table. Heads have an axis of their own."""
    heads = 1 if config.encoder is None else config.encoder.block.attention.num_heads
    ours, theirs = "encoder.block_{n}.", "layer.{n}."
    parts = {"query": "q", "key": "k", "value": "v", "relative_scores.position_key": "r"}
    tables = {"content_bias": "r_w_bias", "position_bias": "r_r_bias", "segment_bias": "r_s_bias"}
    attention = (
        *(
            Entry(f"{ours}self_attention.{a}.kernel", f"{theirs}rel_attn.{b}", transposed=False, output_heads=heads)
            for a, b in parts.items()
        ),
        Entry(f"{ours}self_attention.output.kernel", f"{theirs}rel_attn.o", output_heads=heads),
        *(
            Entry(f"{ours}self_attention.relative_scores.{a}.embeddings", f"{theirs}rel_attn.{b}")
            for a, b in tables.items()
        ),
        Entry(
            f"{ours}self_attention.relative_scores.segment_key.embeddings",
            f"{theirs}rel_attn.seg_embed",
            output_heads=heads,
        ),
    )
    return WeightMap(
        (),
        ("mask_emb", "lm_loss.{leaf}"),
        (
            Entry("embedding.token", "word_embedding"),
            *attention,
            Entry(f"{ours}self_attention_norm_after", f"{theirs}rel_attn.layer_norm"),
            Entry(f"{ours}feed_forward.up", f"{theirs}ff.layer_1"),
            Entry(f"{ours}feed_forward.down", f"{theirs}ff.layer_2"),
            Entry(f"{ours}feed_forward_norm_after", f"{theirs}ff.layer_norm"),
        ),
        "transformer.",
    )


register(
    Family(
        "xlnet",
        _KEYS,
        _weights,
        (
            Head("TextEmbedder", "XLNetModel"),
            Head(
                "TextClassifier",
                "XLNetForSequenceClassification",
                (
                    Entry("pooler.transform.dense", "sequence_summary.summary"),
                    Entry("classifier", "logits_proj"),
                ),
            ),
            Head("TokenClassifier", "XLNetForTokenClassification", (Entry("classifier", "classifier"),)),
            Head("QuestionAnswerer", "XLNetForQuestionAnsweringSimple", (Entry("span", "qa_outputs"),)),
        ),
        links("xlnet"),
    ),
)
