"""The encoders and embedders among the hundred most used repositories of texts: the layout of each, with small sizes.

A layout is what a folder's files say: the keys of its `config.json` that change a number, its kind of tokenizer, the
modules of sentence-transformers, and the use that people make of the model.

Sources: the files of the repositories on https://huggingface.co, under the names of `ROWS`.
"""

import dataclasses
import functools
import json
import pathlib
import shutil
import tempfile

import numpy as np

import keras_transformers as kt
from keras_transformers.formats import safetensors_files
from tests.conformance import checkpoints
from tests.conformance.cases import Case
from tests.tasks.checkpoints import TEXTS
from tests.tokenizers import folders

LENGTH = 130
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": LENGTH,
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """One folder.

    Attributes:
        family: the name of the family here.
        architecture: the class in its `config.json`.
        values: further keys of its `config.json`.
        tokenizer: a name of `TOKENIZERS`.
        work: the use of the model, a name of `test_hundred.WORK`.
        modules: the modules behind the transformer, in words; none for a folder without `modules.json`.
        prompts: prompts by name.
        classes: the names of its classes.
        pickled: whether its weights lie in `pytorch_model.bin`.
    """

    family: str
    architecture: str
    values: dict
    tokenizer: str
    work: str
    modules: str = ""
    prompts: dict = dataclasses.field(default_factory=dict)
    classes: tuple = ()
    pickled: bool = False

    def but(self, **changes):
        return dataclasses.replace(self, **{**changes, "values": self.values | changes.get("values", {})})


# Tokenizers: a folder of tests/tokenizers/folders.py or a function, and what tokenizer_config.json says.


_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _with_template(special, start, end, kind="bytes"):
    """A tokenizer.json whose template puts tokens around a text: byte-level, also with the words of Qwen, or as Gemma's
    with bytes as a fallback."""

    def learn(folder):
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

        gemma = kind == "gemma"
        engine = tokenizers.Tokenizer(
            models.BPE(byte_fallback=gemma, fuse_unk=gemma, unk_token="<unk>" if gemma else None)
        )
        if gemma:
            engine.normalizer = normalizers.Replace(" ", "▁")
            engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
            engine.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
            alphabet = []
            special_tokens = [*special, *(f"<0x{n:02X}>" for n in range(256))]
        else:
            engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
            if kind == "qwen":
                engine.normalizer = normalizers.NFC()
                words = pre_tokenizers.Split(tokenizers.Regex(_QWEN_WORDS), "isolated")
                engine.pre_tokenizer = pre_tokenizers.Sequence(
                    [words, pre_tokenizers.ByteLevel(False, use_regex=False)]
                )
            alphabet, special_tokens = pre_tokenizers.ByteLevel.alphabet(), special
        trainer = trainers.BpeTrainer(
            vocab_size=620 if gemma else 400,
            special_tokens=special_tokens,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        engine.train_from_iterator([*TEXTS * 3, *["yes", "no"] * 20], trainer)
        values = json.loads(engine.to_str())
        values["added_tokens"] = [each for each in values["added_tokens"] if not each["content"].startswith("<0x")]
        engine = tokenizers.Tokenizer.from_str(json.dumps(values))
        around = [*(f"{each}:0" for each in start), "$A:0", *(f"{each}:0" for each in end)]
        pair = [*around, *["$B:1", *(f"{each}:1" for each in end)]]
        tokens = [(each, engine.token_to_id(each)) for each in {*start, *end}]
        engine.post_processor = processors.TemplateProcessing(single=around, pair=pair, special_tokens=tokens)
        engine.save(str(folder / "tokenizer.json"))

    return learn


def _json_of(kind):
    """The tokenizer.json alone of another tokenizer, as fast tokenizers are saved."""

    def learn(folder):
        import transformers

        engine = transformers.AutoTokenizer.from_pretrained(tokenizer(kind)).backend_tokenizer
        engine.save(str(folder / "tokenizer.json"))

    return learn


def _names(**names):
    return {f"{name}_token": token for name, token in names.items()}


_GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
_FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
_ANGLE = _names(bos="<s>", eos="</s>", cls="<s>", sep="</s>", unk="<unk>", pad="<pad>", mask="<mask>")
_SQUARE = _names(cls="[CLS]", sep="[SEP]", unk="[UNK]", pad="[PAD]", mask="[MASK]")
_QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|mask|>"]
TOKENIZERS = {
    "bert": ("bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
    "bert-cased": ("bert_cased", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
    "distilbert": ("bert", {"do_lower_case": True}),
    "mpnet": (
        "mpnet",
        {"tokenizer_class": "MPNetTokenizer", "do_lower_case": True}
        | _names(bos="<s>", eos="</s>", cls="<s>", sep="</s>", unk="[UNK]", pad="<pad>", mask="<mask>"),
    ),
    "roberta": ("roberta", {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False}),
    "roberta-by-type": ("roberta", {}),
    "xlm-roberta": ("xlm_roberta", {"tokenizer_class": "XLMRobertaTokenizer"} | _ANGLE),
    "xlm-roberta-json": (_json_of("xlm-roberta"), _FAST | _ANGLE),
    "camembert": ("camembert", {"tokenizer_class": "CamembertTokenizer"}),
    "albert": ("albert", {"tokenizer_class": "AlbertTokenizer"}),
    "t5": ("t5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 100}),
    "deberta": ("deberta_v2", {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False}),
    "modernbert": (
        _with_template(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], ["[CLS]"], ["[SEP]"]),
        _FAST | _SQUARE,
    ),
    "mmbert": (
        _with_template(_GEMMA, ["<bos>"], ["<eos>"], "gemma"),
        _FAST | _names(bos="<bos>", eos="<eos>", cls="<bos>", sep="<eos>", unk="<unk>", pad="<pad>", mask="<mask>"),
    ),
    "gemma": (
        _with_template(_GEMMA, ["<bos>"], ["<eos>"], "gemma"),
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": True}
        | _names(bos="<bos>", eos="<eos>", unk="<unk>", pad="<pad>", mask="<mask>"),
    ),
    "eurobert": (
        _with_template(_LLAMA, _LLAMA[:1], _LLAMA[1:2]),
        _FAST | _names(bos=_LLAMA[0], eos=_LLAMA[1], pad=_LLAMA[2], mask=_LLAMA[3]),
    ),
    "qwen": (
        _with_template(_QWEN, [], _QWEN[:1], "qwen"),
        {"tokenizer_class": "Qwen2Tokenizer"} | _names(eos=_QWEN[2], pad=_QWEN[0]),
    ),
}


@functools.cache
def _scratch():
    return tempfile.TemporaryDirectory(prefix="hundred-")


@functools.cache
def tokenizer(kind):
    """The folder of a tokenizer, learnt from a few texts; it stays until the program ends."""
    learn, values = TOKENIZERS[kind]
    folder = pathlib.Path(_scratch().name) / kind
    folder.mkdir()
    if callable(learn):
        learn(folder)
    else:
        folders.write(learn, folder, TEXTS * 3, 320)
    values = {**values, "model_max_length": LENGTH - 2}
    (folder / "tokenizer_config.json").write_text(json.dumps(values), "utf-8")
    return folder


@functools.cache
def vocabulary_size(kind):
    return kt.Tokenizer.load(tokenizer(kind)).vocabulary_size


# Folders


def write(layout, folder):
    """Write the folder of a layout, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(tokenizer(layout.tokenizer), folder, dirs_exist_ok=True)
    values = {"vocab_size": vocabulary_size(layout.tokenizer), **layout.values}
    case = Case(layout.family, values)
    head = next(each for each in case.family.heads if layout.architecture in (each.architecture, *each.others))
    tensors = checkpoints.tensors(case, head)
    told = case.config_file(head) | {"architectures": [layout.architecture]}
    del told["id2label"], told["label2id"]
    if layout.classes:
        names = dict(enumerate(layout.classes))
        told |= {"id2label": names, "label2id": {name: number for number, name in names.items()}}
        tensors = checkpoints.tensors(dataclasses.replace(case, num_classes=len(names)), head)
    (folder / "config.json").write_text(json.dumps(told), "utf-8")
    write_tensors(folder, tensors, layout.pickled)
    if layout.modules:
        _write_modules(layout, folder)
    return folder


def write_tensors(folder, tensors, pickled=False):
    if not pickled:
        safetensors_files.write_tensors(folder / "model.safetensors", tensors)
        return
    import torch

    torch.save({name: torch.tensor(array) for name, array in tensors.items()}, folder / "pytorch_model.bin")


_DENSE = {
    "tanh": ("torch.nn.modules.activation.Tanh", True),
    "linear": ("torch.nn.modules.linear.Identity", False),
    "narrow": ("torch.nn.modules.activation.Tanh", True),
}
WIDTHS = {"wide": (32, 48), "back": (48, 32), "narrow": (32, 24)}
_POOLINGS = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}


def _write_modules(layout, folder):
    """Write modules.json and the folders of the modules, as versions 2 to 5 of sentence-transformers did."""
    words, first = layout.modules.split(), "Transformer"
    kinds = ["Normalize" if word == "unit" else "Pooling" if word in _POOLINGS else "Dense" for word in words]
    package = "sentence_transformers.models."
    modules = [{"idx": 0, "name": "0", "path": "", "type": package + first}]
    if layout.family == "jina_xlm_roberta":
        modules[0]["type"] = "custom_st.Transformer"
    random = np.random.default_rng(0)
    for number, (word, kind) in enumerate(zip(words, kinds, strict=True), 1):
        path = folder / f"{number}_{kind}"
        path.mkdir()
        modules.append({"idx": number, "name": str(number), "path": path.name, "type": package + kind})
        if kind == "Pooling":
            modes = {f"pooling_mode_{name}": name == _POOLINGS[word] for name in _POOLINGS.values()}
            values = {"word_embedding_dimension": 32, **modes}
            (path / "config.json").write_text(json.dumps(values), "utf-8")
        elif kind == "Dense":
            name, bias = _DENSE.get(word, _DENSE["linear"])
            width, output = WIDTHS.get(word, (32, 32))
            values = {"in_features": width, "out_features": output, "bias": bias, "activation_function": name}
            (path / "config.json").write_text(json.dumps(values), "utf-8")
            tensors = {"linear.weight": random.normal(size=(output, width)).astype("float32") * 0.2}
            if bias:
                tensors["linear.bias"] = random.normal(size=output).astype("float32")
            write_tensors(path, tensors, layout.pickled)
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 120, "do_lower_case": False}))
    settings = {"__version__": {"sentence_transformers": "2.4.0"}}
    if layout.prompts:
        settings |= {"prompts": layout.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), "utf-8")


# Layouts

_HEADS = {
    "embed": "Model",
    "fill": "ForMaskedLM",
    "rank": "ForSequenceClassification",
    "classify": "ForSequenceClassification",
    "zero-shot": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
}
_BERT = SIZES | {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}
_ROBERTA = _BERT | {"layer_norm_eps": 1e-5, "pad_token_id": 1, "type_vocab_size": 1, "bos_token_id": 0}
_MPNET = SIZES | {"layer_norm_eps": 1e-5, "pad_token_id": 1, "relative_attention_num_buckets": 32}
_DISTILBERT = {
    "activation": "gelu",
    "dim": 32,
    "hidden_dim": 48,
    "max_position_embeddings": LENGTH,
    "n_heads": 4,
    "n_layers": 2,
    "pad_token_id": 0,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
}
_T5 = {
    "d_ff": 48,
    "d_kv": 8,
    "d_model": 32,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
    "feed_forward_proj": "relu",
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-6,
    "num_heads": 4,
    "num_layers": 2,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
}
_DEBERTA = _BERT | {
    "layer_norm_eps": 1e-7,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "pooler_dropout": 0,
    "pooler_hidden_act": "gelu",
    "pooler_hidden_size": 32,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "position_buckets": 8,
    "relative_attention": True,
    "share_att_key": True,
    "type_vocab_size": 0,
}
del _DEBERTA["position_embedding_type"]
_MODERNBERT = {
    **SIZES,
    "num_hidden_layers": 4,
    "classifier_pooling": "mean",
    "decoder_bias": True,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "local_attention": 16,
    "local_rope_theta": 10000.0,
    "hidden_activation": "gelu",
    "norm_eps": 1e-5,
    "pad_token_id": 3,
}
_MMBERT = {
    "global_rope_theta": 160000,
    "local_rope_theta": 160000,
    "pad_token_id": 0,
    "position_embedding_type": "sans_pos",
}
_NEW = SIZES | {
    "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_scale": False,
    "pack_qkv": True,
    "pad_token_id": 0,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 500000,
    "type_vocab_size": 2,
    "unpad_inputs": False,
}
_NOMIC = {
    "activation_function": "swiglu",
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 256,
    "n_layer": 2,
    "n_positions": 8192,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_scaling_factor": 2,
    "type_vocab_size": 2,
    "use_rms_norm": False,
}
_EXPERTS = {
    "activation_function": "gelu",
    "layer_norm_epsilon": 1e-5,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "moe_every_n_layers": 2,
    "moe_normalize_expert_weights": False,
    "moe_top_k": 2,
    "n_inner": 48,
    "n_positions": 2048,
    "num_experts": 8,
    "num_shared_experts": 0,
    "pad_token_id": 1,
    "qkv_proj_bias": True,
    "rotary_emb_base": 10000,
    "rotary_scaling_factor": None,
    "type_vocab_size": 1,
}
_JINA_V2 = _BERT | {
    "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"},
    "emb_pooler": "mean",
    "feed_forward_type": "geglu",
    "position_embedding_type": "alibi",
}
_JINA_V3 = _ROBERTA | {
    "auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_xlm_roberta.XLMRobertaModel"},
    "emb_pooler": "mean",
    "load_trained_adapters": True,
    "lora_adaptations": ["retrieval.query", "text-matching"],
    "lora_alpha": 2,
    "lora_rank": 4,
    "matryoshka_dimensions": [16, 32],
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20000.0,
}
_EUROBERT = SIZES | {
    "auto_map": {"AutoModelForMaskedLM": "modeling_eurobert.EuroBertForMaskedLM"},
    "attention_bias": False,
    "clf_pooling": "late",
    "head_dim": 8,
    "hidden_act": "silu",
    "mask_token_id": 3,
    "mlp_bias": False,
    "num_key_value_heads": 4,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 250000,
    "tie_word_embeddings": False,
}
_QWEN = SIZES | {
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}
_GEMMA = SIZES | {
    "attention_bias": False,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "layer_types": ["sliding_attention", "full_attention"],
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 16,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 9,
    "use_bidirectional_attention": True,
}
_ALBERT = _BERT | {
    "embedding_size": 16,
    "hidden_act": "gelu_new",
    "inner_group_num": 1,
    "num_hidden_groups": 1,
    "net_structure_type": 0,
}
_BART = {
    "activation_function": "gelu",
    "add_final_layer_norm": False,
    "bos_token_id": 0,
    "d_model": 32,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "encoder_layers": 2,
    "eos_token_id": 2,
    "is_encoder_decoder": True,
    "max_position_embeddings": LENGTH,
    "normalize_before": False,
    "pad_token_id": 1,
    "scale_embedding": False,
}


def _layout(family, name, values, tokenizer):
    def make(work="embed", modules="", **options):
        return Layout(family, name + _HEADS.get(work, "Model"), values, tokenizer, work, modules, **options)

    return make


_bert = _layout("bert", "Bert", _BERT, "bert")
_cased = _layout("bert", "Bert", _BERT, "bert-cased")
_mpnet = _layout("mpnet", "MPNet", _MPNET, "mpnet")
_roberta = _layout("roberta", "Roberta", _ROBERTA, "roberta")
_xlm_roberta = _layout("xlm-roberta", "XLMRoberta", _ROBERTA, "xlm-roberta")
_distilbert = _layout("distilbert", "DistilBert", _DISTILBERT, "distilbert")
_t5 = _layout("t5", "T5Encoder", _T5, "t5")
_deberta = _layout("deberta-v2", "DebertaV2", _DEBERTA, "deberta")
_modernbert = _layout("modernbert", "ModernBert", _MODERNBERT, "modernbert")
_new = _layout("new", "New", _NEW, "bert")
_nomic = _layout("hf_nomic_bert", "NomicBert", _NOMIC, "bert")

_RETRIEVAL = {"query": "Represent this sentence for searching relevant passages: "}
_NLI = ("contradiction", "entailment", "neutral")
_SENTIMENT = ("negative", "neutral", "positive")
_NER = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_ONE = ("LABEL_0",)
_IDENTITY = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}

ROWS = {
    "all-MiniLM-L6-v2": _bert("embed", "mean unit"),
    "all-mpnet-base-v2": _mpnet("embed", "mean unit"),
    "paraphrase-multilingual-MiniLM-L12-v2": _bert("embed", "mean").but(tokenizer="xlm-roberta-json"),
    "all-MiniLM-L12-v2": _bert("embed", "mean unit"),
    "paraphrase-multilingual-mpnet-base-v2": _xlm_roberta("embed", "mean"),
    "multi-qa-mpnet-base-dot-v1": _mpnet("embed", "cls"),
    "all-distilroberta-v1": _roberta("embed", "mean unit"),
    "LaBSE": _cased("embed", "cls tanh unit", pickled=True),
    "distiluse-base-multilingual-cased-v2": _distilbert("embed", "mean narrow").but(tokenizer="bert-cased"),
    "sentence-t5-base": _t5("embed", "mean linear unit", pickled=True),
    "gtr-t5-base": _t5("embed", "mean linear unit"),
    "static-retrieval-mrl-en-v1": Layout("", "", {}, "bert", "static", "0_StaticEmbedding"),
    "potion-base-8M": Layout("", "", {}, "bert", "static", "."),
    "bge-small-en-v1.5": _bert("embed", "cls unit"),
    "bge-base-en-v1.5": _bert("embed", "cls unit"),
    "bge-large-en-v1.5": _bert("embed", "cls unit"),
    "bge-m3": _xlm_roberta("embed", "cls unit", pickled=True),
    "bge-reranker-v2-m3": _xlm_roberta("rank", classes=_ONE),
    "bge-reranker-base": _xlm_roberta("rank", classes=_ONE),
    "multilingual-e5-large": _xlm_roberta("embed", "mean unit"),
    "multilingual-e5-large-instruct": _xlm_roberta("embed", "mean unit"),
    "e5-base-v2": _bert("embed", "mean unit"),
    "nomic-embed-text-v1.5": _nomic("own", "mean", prompts={"query": "search_query: "}),
    "nomic-embed-text-v1": _nomic("own", "mean unit"),
    "nomic-embed-text-v2-moe": _nomic("own", "mean unit", prompts={"query": "search_query: "}).but(
        values=_EXPERTS, tokenizer="xlm-roberta"
    ),
    "gte-large-en-v1.5": _new("own", "cls"),
    "gte-multilingual-base": _new("own", "cls unit").but(
        values={"type_vocab_size": 1, "pad_token_id": 1}, tokenizer="xlm-roberta"
    ),
    "gte-modernbert-base": _modernbert("embed", "cls"),
    "gte-Qwen2-1.5B-instruct": Layout(
        *("qwen2", "Qwen2Model", _QWEN | {"is_causal": False}, "qwen", "embed", "last unit"),
        {"query": "Instruct: Find it\nQuery: "},
    ),
    "jina-embeddings-v2-base-en": Layout("jina_bert", "JinaBertForMaskedLM", _JINA_V2, "bert", "own", "mean"),
    "jina-embeddings-v3": Layout(
        *("jina_xlm_roberta", "XLMRobertaModel", _JINA_V3, "xlm-roberta", "adapter", "mean unit"),
        {"retrieval.query": "Represent the query for retrieving evidence documents: "},
    ),
    "mxbai-embed-large-v1": _bert("embed", "cls", prompts=_RETRIEVAL),
    "mxbai-rerank-base-v1": _deberta("rank", classes=_ONE),
    "snowflake-arctic-embed-m-v1.5": _bert("embed", "cls unit", prompts=_RETRIEVAL),
    "snowflake-arctic-embed-l-v2.0": _xlm_roberta("embed", "cls unit", prompts={"query": "query: "}),
    "snowflake-arctic-embed-m-v2.0": _new("gte", "cls unit", prompts={"query": "query: "}).but(
        values={"rope_scaling": None, "rope_theta": 160000, "type_vocab_size": 1, "pad_token_id": 1},
        tokenizer="xlm-roberta",
    ),
    "embeddinggemma-300m": Layout(
        *("gemma3_text", "Gemma3TextModel", _GEMMA, "gemma", "embed", "mean wide back unit"),
        {"query": "task: search result | query: ", "document": "title: none | text: "},
    ),
    "Qwen3-Embedding-0.6B": Layout(
        *("qwen3", "Qwen3Model", _QWEN | {"head_dim": 16}, "qwen", "embed", "last unit"),
        {"query": "Instruct: Find it\nQuery:", "document": ""},
    ),
    "Qwen3-Reranker-0.6B": Layout("qwen3", "Qwen3ForCausalLM", _QWEN | {"head_dim": 16}, "qwen", "yes-no"),
    "ms-marco-MiniLM-L6-v2": _bert("rank", classes=_ONE).but(values=_IDENTITY),
    "nli-deberta-v3-base": _deberta("zero-shot", classes=_NLI),
    "splade-v3": _bert("fill", pickled=False).but(work="sparse"),
    "opensearch-neural-sparse-encoding-doc-v3": _distilbert("fill").but(work="sparse-documents"),
    "colbertv2.0": _bert("embed").but(work="tokens"),
    "answerai-colbert-small-v1": _bert("embed").but(work="tokens"),
    "bert-base-uncased": _bert("fill"),
    "bert-base-multilingual-cased": _cased("fill"),
    "bert-base-cased": _cased("fill"),
    "roberta-base": _roberta("fill").but(tokenizer="roberta-by-type"),
    "roberta-large": _roberta("fill").but(tokenizer="roberta-by-type"),
    "xlm-roberta-base": _xlm_roberta("fill"),
    "xlm-roberta-large": _xlm_roberta("fill"),
    "distilbert-base-uncased": _distilbert("fill"),
    "distilbert-base-uncased-finetuned-sst-2-english": _distilbert("classify", classes=("NEGATIVE", "POSITIVE")),
    "electra-base-discriminator": Layout(
        "electra", "ElectraModel", _BERT | {"embedding_size": 32}, "bert", "discriminator"
    ),
    "albert-base-v2": Layout("albert", "AlbertForMaskedLM", _ALBERT, "albert", "fill"),
    "camembert-base": Layout("camembert", "CamembertForMaskedLM", _ROBERTA, "camembert", "fill"),
    "deberta-v3-base": _deberta("fill", pickled=True).but(work="body"),
    "deberta-v3-large": _deberta("fill").but(work="body"),
    "mdeberta-v3-base": _deberta("fill", pickled=True).but(work="body"),
    "ModernBERT-base": _modernbert("fill"),
    "mmBERT-base": _modernbert("fill").but(values=_MMBERT, tokenizer="mmbert"),
    "EuroBERT-210m": Layout("eurobert", "EuroBertForMaskedLM", _EUROBERT, "eurobert", "fill"),
    "twitter-roberta-base-sentiment-latest": _roberta("classify", classes=_SENTIMENT, pickled=True),
    "finbert": _bert("classify", classes=("positive", "negative", "neutral")),
    "bert-base-NER": _cased("tag", classes=_NER),
    "roberta-base-squad2": _roberta("answer"),
    "bart-large-mnli": Layout(
        *("bart", "BartForSequenceClassification", _BART, "roberta-by-type", "zero-shot"),
        classes=("contradiction", "neutral", "entailment"),
    ),
    "deberta-v3-base-zeroshot": _deberta("zero-shot", classes=("entailment", "not_entailment")),
    "gliner_medium-v2.1": Layout("", "", {}, "deberta", "entities", pickled=True),
    "Prompt-Guard-86M": _deberta("classify", classes=("BENIGN", "INJECTION", "JAILBREAK")),
}
