"""Small models of each family, for the suite to run its properties over.

A case is what a `config.json` says. Together, a family's cases set every key that it reads away from its default, and
their texts are long enough for each of them to matter: `test_cases.py` and `test_corruptions.py` see to it.
"""

import dataclasses
import functools

import pytest

import keras_transformers as kt
from keras_transformers.families.registry import families
from tests.conformance import bart_cases, deberta_cases, embedder_cases, encoder_cases, llama_cases, t5_cases

_READ = {}


@dataclasses.dataclass(frozen=True)
class Case:
    """One small model. `values` are keys of its `config.json`, `length` is how long its texts are; `task` is that of
    its head, in `CHECKPOINTS`."""

    model_type: str
    values: dict
    length: int = 30
    num_classes: int = 3
    task: str | None = None

    @property
    def family(self):
        return families()[self.model_type]

    @property
    def config(self):
        return self._read(self.values)

    def config_with(self, head):
        """The configuration that a `config.json` with a `Head` means."""
        return self._read(self.config_file(head))

    def _read(self, values):
        """Once for all cases with these values, which are hundreds: it is what importing this module takes."""
        key = self.model_type, repr(values)
        if key not in _READ:
            _READ[key] = self.family.config(values)
        return _READ[key]

    @property
    def decodes(self):
        """Whether it is a decoder, whose texts begin where `starts` say."""
        return self.config.encoder is None

    @functools.cached_property
    def attention(self):
        """What of a model one backend may mask or remember otherwise than another; all else looks at one token."""
        stacks = self.config.encoder, self.config.decoder
        attentions = [each for stack in stacks if stack is not None for each in stack.attentions]
        kinds = frozenset(type(each.positions) for each in attentions)
        windows = any(each.window is not None for each in attentions)
        return tuple(stack is None for stack in stacks), kinds, windows

    @property
    def writes(self):
        """Whether it has a decoder that reads a text of its own beside the source."""
        return self.task == "Seq2SeqLM"

    def config_file(self, head):
        """The content of a `config.json` for this model with a `Head`."""
        count = len(head.labels) or (2 if head.task == "QuestionAnswerer" else self.num_classes)
        names = [f"CLASS_{number}" for number in range(count)]
        return {
            "model_type": self.family.written_type or self.model_type,
            "architectures": [head.architecture],
            **self.values,
            "id2label": {str(number): name for number, name in enumerate(names)},
            "label2id": {name: number for number, name in enumerate(names)},
        }


def _bert(model_type, **changes):
    values = {
        "vocab_size": 67,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.3,
        "max_position_embeddings": 40,
        "type_vocab_size": 3,
        "layer_norm_eps": 1e-3,
        "pad_token_id": 5,
        "classifier_dropout": 0.4,
        "tie_word_embeddings": True,
    }
    values = {name: value for name, value in (values | changes).items() if value is not None}
    return Case(model_type, values)


_DISTILBERT = {
    "vocab_size": 67,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "activation": "relu",
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "seq_classif_dropout": 0.4,
    "qa_dropout": 0.25,
    "max_position_embeddings": 40,
    "pad_token_id": 5,
    "tie_word_embeddings": True,
}
_GPT2 = {
    "vocab_size": 67,
    "n_positions": 40,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 48,
    "activation_function": "gelu",
    "resid_pdrop": 0.2,
    "embd_pdrop": 0.3,
    "attn_pdrop": 0.25,
    "layer_norm_epsilon": 1e-3,
    "pad_token_id": 5,
    "classifier_dropout": 0.4,
    "tie_word_embeddings": True,
}
_GPT_NEOX = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu_new",
    "rotary_emb_base": 500.0,
    "rotary_pct": 0.5,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "attention_bias": False,
    "attention_dropout": 0.25,
    "hidden_dropout": 0.2,
    "classifier_dropout": 0.4,
    "max_position_embeddings": 40,
    "layer_norm_eps": 1e-3,
    "use_parallel_residual": False,
    "pad_token_id": 5,
    "tie_word_embeddings": True,
}
_GPTJ = {
    "vocab_size": 67,
    "n_positions": 40,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "rotary_dim": 4,
    "n_inner": 48,
    "activation_function": "gelu",
    "resid_pdrop": 0.2,
    "embd_pdrop": 0.3,
    "attn_pdrop": 0.25,
    "layer_norm_epsilon": 1e-3,
    "pad_token_id": 5,
}
_OPT = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "ffn_dim": 48,
    "max_position_embeddings": 40,
    "dropout": 0.2,
    "attention_dropout": 0.25,
    "num_attention_heads": 4,
    "activation_function": "gelu",
    "enable_bias": False,
    "pad_token_id": 5,
}
_BLOOM = {
    "vocab_size": 67,
    "hidden_size": 36,
    "n_layer": 3,
    "n_head": 6,
    "layer_norm_epsilon": 1e-3,
    "hidden_dropout": 0.2,
    "attention_dropout": 0.25,
    "classifier_dropout": 0.4,
    "pad_token_id": 5,
}
_FALCON = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "layer_norm_epsilon": 1e-3,
    "hidden_dropout": 0.2,
    "classifier_dropout": 0.4,
    "max_position_embeddings": 40,
    "rope_theta": 500.0,
    "ffn_hidden_size": 48,
    "activation": "gelu_new",
    "pad_token_id": 5,
}
_PHI = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "resid_pdrop": 0.2,
    "embd_pdrop": 0.3,
    "attention_dropout": 0.25,
    "classifier_dropout": 0.4,
    "hidden_act": "gelu",
    "max_position_embeddings": 40,
    "layer_norm_eps": 1e-3,
    "rope_theta": 500.0,
    "partial_rotary_factor": 0.75,
    "pad_token_id": 5,
}
_MODERNBERT = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "hidden_activation": "silu",
    "classifier_activation": "gelu_new",
    "norm_eps": 1e-3,
    "pad_token_id": 5,
    "local_attention": 8,
    "embedding_dropout": 0.2,
    "mlp_dropout": 0.3,
    "classifier_dropout": 0.4,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
    "tie_word_embeddings": True,
}
_MODERNBERT_BIASES = {
    "attention_bias": True,
    "mlp_bias": True,
    "norm_bias": True,
    "classifier_bias": True,
    "decoder_bias": False,
    "classifier_pooling": "mean",
    "layer_types": [f"{kind}_attention" for kind in ("sliding", "full", "full", "sliding", "full")],
}

CASES = {
    "bert": _bert("bert"),
    "bert-untied": _bert("bert", hidden_act="relu", type_vocab_size=2, tie_word_embeddings=False),
    "roberta": _bert("roberta"),
    "roberta-untied": _bert("roberta", hidden_act="silu", type_vocab_size=1, tie_word_embeddings=False),
    "xlm-roberta": _bert("xlm-roberta", tie_word_embeddings=False),
    "camembert": _bert("camembert", tie_word_embeddings=False),
    "distilbert": Case("distilbert", _DISTILBERT),
    "distilbert-untied": Case("distilbert", _DISTILBERT | {"activation": "gelu", "tie_word_embeddings": False}),
    "electra": _bert("electra", embedding_size=16, num_attention_heads=2),
    "electra-wide": _bert("electra", embedding_size=32, hidden_act="silu", tie_word_embeddings=False),
    "albert": _bert(
        "albert",
        embedding_size=16,
        hidden_act="gelu",
        num_hidden_layers=4,
        num_hidden_groups=2,
        classifier_dropout=None,
        classifier_dropout_prob=0.4,
    ),
    "albert-untied": _bert(
        "albert", embedding_size=16, classifier_dropout=None, classifier_dropout_prob=0.2, tie_word_embeddings=False
    ),
    # twice as long as its buckets tell apart
    "mpnet": dataclasses.replace(
        _bert("mpnet", type_vocab_size=None, classifier_dropout=None, pad_token_id=1, max_position_embeddings=300),
        length=260,
    ),
    "mpnet-untied": _bert(
        "mpnet", type_vocab_size=None, classifier_dropout=None, pad_token_id=1, tie_word_embeddings=False
    ),
    "modernbert": Case("modernbert", _MODERNBERT),
    "modernbert-biases": Case("modernbert", _MODERNBERT | _MODERNBERT_BIASES | {"tie_word_embeddings": False}),
    **{name: Case(*case) for name, case in encoder_cases.CASES.items()},
    "gpt2": Case("gpt2", _GPT2),
    "gpt2-untied": Case(
        "gpt2", _GPT2 | {"activation_function": "relu", "scale_attn_weights": False, "tie_word_embeddings": False}
    ),
    "gpt2-by-layer": Case("gpt2", _GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt_neox": Case("gpt_neox", _GPT_NEOX),
    "gpt_neox-parallel": Case(
        "gpt_neox",
        _GPT_NEOX
        | {"rope_scaling": None, "attention_bias": True, "use_parallel_residual": True, "tie_word_embeddings": False},
    ),
    "gptj": Case("gptj", _GPTJ),
    "gptj-tied": Case("gptj", _GPTJ | {"rotary_dim": 8, "tie_word_embeddings": True}),
    "opt": Case("opt", _OPT | {"word_embed_proj_dim": 16}),
    "opt-post": Case("opt", _OPT | {"do_layer_norm_before": False, "enable_bias": True, "word_embed_proj_dim": 16}),
    "opt-post-untied": Case(
        "opt",
        _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 40, "tie_word_embeddings": False},
    ),
    "opt-wide": Case("opt", _OPT),
    "opt-without-final-norm": Case("opt", _OPT | {"_remove_final_layer_norm": True}),
    "bloom": Case("bloom", _BLOOM),
    "bloom-untied": Case("bloom", _BLOOM | {"tie_word_embeddings": False}),
    "falcon": Case("falcon", _FALCON),
    "falcon-grouped": Case("falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-grouped-shared": Case(
        "falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}
    ),
    # last, so that its rounding (slopes of 12 heads are no powers of 2) is compiled: a compiler might leave it out
    "falcon-alibi": Case(
        "falcon",
        _FALCON
        | {"hidden_size": 36, "num_attention_heads": 12, "alibi": True, "bias": True, "multi_query": False}
        | {"parallel_attn": False, "rope_theta": 10000.0, "tie_word_embeddings": False},
    ),
    "phi": Case("phi", _PHI),
    "phi-tied": Case("phi", _PHI | {"partial_rotary_factor": 1.0, "qk_layernorm": True, "tie_word_embeddings": True}),
    **{
        name: Case(*case)
        for cases in (embedder_cases, deberta_cases, llama_cases, bart_cases, t5_cases)
        for name, case in cases.CASES.items()
    },
}

# Families that transformers has no class for: their references are in own_code.py.
OWN_CODE = [name for name, family in families().items() if "/huggingface/transformers/" not in family.links[0]]
IN_TRANSFORMERS = [name for name in families() if name not in OWN_CODE]

FIRST = {case.model_type: name for name, case in reversed(CASES.items())}


def _has(name, case, head):
    """Whether a case is tried with a head: the first of a family and all encoders with each, others where it counts."""
    both = case.config.encoder is not None
    if not both and case.config.decoder.bidirectional:
        return head.task == "TextEmbedder"
    usual = ("Seq2SeqLM",) if both else ("TextEmbedder", "CausalLM")
    return case.config.decoder is None or head.task in usual or name == FIRST[case.model_type]


# Each case with the heads of its family, by name.
CHECKPOINTS = {
    f"{name}/{head.architecture}": (dataclasses.replace(case, task=head.task), head)
    for name, case in CASES.items()
    for head in case.family.heads
    if _has(name, case, head)
}


def _by_config():
    """Checkpoints by their configurations: heads of one family may have several, and two families the same."""
    checkpoints = {}
    for name, (case, head) in CHECKPOINTS.items():
        checkpoints.setdefault(case.config_with(head), []).append(name)
    return {names[0]: (config, names) for config, names in checkpoints.items()}


# The first checkpoint of each configuration, with the configuration and the names of all.
MODELS = _by_config()


# A checkpoint of each model: the heads of a family take turns, so that each kind of head is among them.
ONE_HEAD = [names[number % len(names)] for number, (_, names) in enumerate(MODELS.values())]
# All heads of each family's first case, and one head of each other model.
EACH_HEAD = [
    name
    for name, (case, _) in CHECKPOINTS.items()
    if name in ONE_HEAD or name.partition("/")[0] == FIRST[case.model_type]
]


def soon(chosen, names=CHECKPOINTS):
    """Names as a test's parameters; those that are not chosen wait for `make test-all`."""
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


def task_class(head):
    """Our class for a `Head`."""
    return getattr(kt, head.task)
