"""Names of other libraries (transformers, KerasHub, PyTorch) and this library's names for the same. Data only."""

import re

# Names of arguments and settings in other libraries and in this library: the first that a function has is suggested.
NAMES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_dim",),
    "d_model": ("hidden_dim",),
    "n_embd": ("hidden_dim",),
    "embed_dim": ("hidden_dim", "embedding_dim"),
    "num_attention_heads": ("num_heads",),
    "n_head": ("num_heads",),
    "n_heads": ("num_heads",),
    "nhead": ("num_heads",),
    "num_kv_heads": ("num_key_value_heads",),
    "num_hidden_layers": ("num_layers",),
    "n_layer": ("num_layers",),
    "n_layers": ("num_layers",),
    "intermediate_size": ("intermediate_dim",),
    "dim_feedforward": ("intermediate_dim",),
    "d_ff": ("intermediate_dim",),
    "ffn_dim": ("intermediate_dim",),
    "n_inner": ("intermediate_dim",),
    "vocab_size": ("vocabulary_size",),
    "max_position_embeddings": ("max_length",),
    "n_positions": ("max_length",),
    "sequence_length": ("max_length", "length"),
    "max_sequence_length": ("max_length",),
    "max_seq_length": ("max_length",),
    "hidden_dropout_prob": ("dropout",),
    "dropout_rate": ("dropout",),
    "attention_probs_dropout_prob": ("attention_dropout",),
    "hidden_act": ("activation",),
    "activation_function": ("activation",),
    "type_vocab_size": ("num_segments",),
    "tie_word_embeddings": ("tied_head", "tied"),
    "normalize_first": ("norm_placement",),
    "layer_norm_eps": ("norm", "epsilon"),
    "layer_norm_epsilon": ("norm", "epsilon"),
    "num_labels": ("num_classes",),
    "id2label": ("labels",),
    "class_names": ("labels",),
    "problem_type": ("problem",),
    "preprocessor": ("tokenizer",),
    "pad_token_id": ("padding_id",),
    "bos_token_id": ("start_id",),
    "eos_token_id": ("end_ids", "end_id"),
    "input_ids": ("token_ids",),
    "attention_mask": ("padding_mask",),
    "token_type_ids": ("segment_ids",),
    "torch_dtype": ("dtype",),
    "r": ("rank",),
    "lora_rank": ("rank",),
    "lora_alpha": ("alpha",),
    "lora_dropout": ("dropout",),
    "target_modules": ("targets",),
    "modules_to_save": ("train",),
    "bits": ("mode",),
    # values
    "cls": ("first",),
    "lasttoken": ("last",),
    "gelu_new": ("gelu_tanh",),
    "gelu_pytorch_tanh": ("gelu_tanh",),
    "swish": ("silu",),
    "swiglu": ("silu",),
    "geglu": ("gelu",),
    "single_label_classification": ("single_label",),
    "multi_label_classification": ("multi_label",),
    "bf16": ("bfloat16",),
    "fp16": ("float16",),
    "half": ("float16",),
    "fp32": ("float32",),
    "single": ("float32",),
    "mixed_bf16": ("mixed_bfloat16",),
    "mixed_fp16": ("mixed_float16",),
    "mixed_precision": ("mixed_bfloat16",),
    "pytorch": ("torch",),
    "tf": ("tensorflow",),
    "max_tokens": ("max_new_tokens",),
    "stop_strings": ("stop",),
    "stop_sequences": ("stop",),
    "src_lang": ("source_language",),
    "tgt_lang": ("target_language",),
    "source_lang": ("source_language",),
    "target_lang": ("target_language",),
    "learning_rate": ("optimizer",),
    "lr": ("optimizer",),
    "metric": ("metrics",),
    "num_train_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "per_device_train_batch_size": ("batch_size",),
    "train_dataset": ("x",),
    "eval_dataset": ("validation_data",),
    "validation": ("validation_data",),
    "texts": ("x",),
    "add_special_tokens": ("parse_special",),
    "num_merges": ("vocabulary_size",),
    "corpus": ("texts",),
}
# Advice on arguments, besides the name.
ADVICE = {
    "learning_rate": "A learning rate belongs to an optimizer: compile(keras.optimizers.AdamW(5e-5)).",
    "lr": "A learning rate belongs to an optimizer: compile(keras.optimizers.AdamW(5e-5)).",
    "return_tensors": "Ids come as lists; methods of a model take texts, and make tensors themselves.",
    "padding": "Methods of a model take texts, and pad them themselves.",
    "truncation": "Methods of a model take texts, and cut texts that are longer than the model reads.",
    "device_map": "Keras chooses the device.",
    "trust_remote_code": "No code of a preset is ever run.",
}

_MODEL = 'kt.TextClassifier.from_preset("hf://org/name"), or another task'
# Advice on attributes, for classes whose names end in the given text ("" for all).
_ATTRIBUTES = {
    "from_pretrained": {
        "Tokenizer": 'The tokenizer comes with its model: kt.CausalLM.from_preset("hf://org/name").tokenizer; of a '
        "folder: kt.Tokenizer.load(folder).",
        "": f"Load a model by from_preset: {_MODEL}.",
    },
    "from_preset": {
        "Tokenizer": 'The tokenizer comes with its model: kt.CausalLM.from_preset("hf://org/name").tokenizer; of a '
        "folder: kt.Tokenizer.load(folder).",
        "Backbone": 'A backbone comes with a task: kt.TextEmbedder.from_preset("hf://org/name").backbone.',
    },
    "save_pretrained": {
        "Tokenizer": "Save it by save(folder).",
        "": "Save it by save_to_preset(folder), which transformers opens too.",
    },
    "train": {"": "Keras knows by itself when it trains; train by fit."},
    "translate": {"": "kt.Seq2SeqLM translates."},
    "summarize": {"": "kt.Seq2SeqLM summarizes."},
    "generate": {
        "": "kt.CausalLM writes on, and kt.Seq2SeqLM answers a text by translate; this task writes no text.",
    },
    "stream": {"": "kt.CausalLM and kt.Seq2SeqLM write text piece by piece."},
    "chat": {"": "kt.CausalLM chats."},
    "classify": {"": "kt.TextClassifier classifies texts, kt.TokenClassifier their words (tag)."},
    "rank": {"": "kt.TextClassifier ranks."},
    "tag": {"": "kt.TokenClassifier tags; kt.EntityTagger takes labels of your own."},
    "embed": {"": "kt.TextEmbedder embeds."},
    "encode": {"": "kt.TextEmbedder makes vectors of texts by embed; model.tokenizer.encode makes ids."},
    "similarity": {"": "kt.TextEmbedder compares."},
    "fill_mask": {"": "kt.MaskedLM fills masks."},
    "answer": {"": "kt.QuestionAnswerer answers."},
    "preprocessor": {"": "Texts are read by model.tokenizer."},
    "predict_entities": {"": "kt.EntityTagger finds entities by tag(texts, labels=[…])."},
    "batch_decode": {"Tokenizer": "decode takes one list of ids, or several."},
    "tokenize": {"Tokenizer": "tokens(text) gives the pieces as strings, encode([text]) their ids."},
    "detokenize": {"Tokenizer": "decode(ids) makes text of ids."},
    "encode_plus": {"Tokenizer": "encode([text]) gives ids; methods of a model take texts."},
    "vocab_size": {"Tokenizer": "It is vocabulary_size."},
    "pad_token_id": {"Tokenizer": "It is padding_id."},
    "eos_token_id": {"Tokenizer": "It is end_id."},
    "bos_token_id": {"Tokenizer": "It is start_id."},
    "mask_token_id": {"Tokenizer": "It is mask_id."},
    "model_max_length": {"Tokenizer": "It is max_length."},
    "get_vocab": {"Tokenizer": "to_pieces(ids) and from_pieces(pieces) say which piece has which id."},
    "convert_tokens_to_ids": {"Tokenizer": "It is from_pieces(pieces)."},
    "convert_ids_to_tokens": {"Tokenizer": "It is to_pieces(ids)."},
}
CALLED = (
    "A tokenizer is not called: encode([text]) gives ids, decode(ids) text. Methods of a model, such as classify and "
    "generate, take texts."
)

# Names of classes and functions, as regular expressions, and this library's counterparts.
_CLASSES = (
    (r"\w+Tokenizer(Fast)?", "A tokenizer comes with its model: from_preset(…).tokenizer; or kt.Tokenizer."),
    (r"AutoModel(For\w+)?|TFAutoModel\w*|\w+For\w+|\w+Model", "A class is a task, of any family: {tasks}."),
    (r"\w*TextClassifier|\w+Classifier", 'Any family: kt.TextClassifier.from_preset("hf://org/name").'),
    (r"\w*CausalLM|\w+LMHeadModel", 'Any family: kt.CausalLM.from_preset("hf://org/name").'),
    (r"\w*MaskedLM", 'Any family: kt.MaskedLM.from_preset("hf://org/name").'),
    (r"\w*Seq2SeqLM", 'Any family: kt.Seq2SeqLM.from_preset("hf://org/name").'),
    (r"\w*Backbone", "Any family: kt.Backbone(config), or the `backbone` of a task from from_preset."),
    (r"\w*(Preprocessor|PackInput|DataCollator\w*)", "Tasks read texts by themselves: model.fit(texts, labels)."),
    (r"GLiNER", 'It is kt.EntityTagger.from_preset("hf://org/name").tag(texts, labels=[…]).'),
    (r"pipeline", "A pipeline is a task: {tasks}."),
    (r"\w*Trainer|\w*TrainingArguments", "Train as Keras does: model.compile(…), model.fit(texts, labels)."),
    (r"TransformerEncoder|TransformerEncoderLayer", "It is kt.layers.EncoderBlock, and kt.layers.Encoder of several."),
    (r"TransformerDecoder|TransformerDecoderLayer", "It is kt.layers.DecoderBlock, and kt.layers.Decoder of several."),
    (r"TokenAndPositionEmbedding|PositionEmbedding|SinePositionEncoding", "It is kt.layers.PositionalEmbedding."),
    (r"RotaryEmbedding", "It is a record, kt.layers.Rotary, of an attention."),
    (r"LoraConfig|get_peft_model", "It is kt.transforms.add_lora(model, rank=…)."),
    (r"BitsAndBytesConfig", "It is kt.transforms.quantize(model, …)."),
    (r"AutoConfig|\w+Config", "A configuration is a kt.ModelConfig; kt.models has recipes."),
)
_TASKS = (
    "kt.TextClassifier, kt.TokenClassifier, kt.QuestionAnswerer, kt.TextEmbedder, kt.MaskedLM, kt.CausalLM and "
    "kt.Seq2SeqLM"
)
OUR_CLASSES = {"MultiHeadAttention": ("GroupedQueryAttention", "GroupQueryAttention", "CachedMultiHeadAttention")}
# Organizations of early Hugging Face models, whose names had no organization at first.
ORGANIZATIONS = {
    "bert-": "google-bert",
    "distilbert-": "distilbert",
    "distilgpt2": "distilbert",
    "distilroberta": "distilbert",
    "gpt2": "openai-community",
    "roberta-": "FacebookAI",
    "xlm-roberta-": "FacebookAI",
    "albert-": "albert",
    "t5-": "google-t5",
    "camembert-": "almanach",
}


def attribute_advice(owner: str, name: str) -> str:
    """Return advice on an attribute of another library: a space and a sentence, or an empty string."""
    texts = _ATTRIBUTES.get(name, {})
    text = texts.get(owner, "" if owner == "Tokenizer" else texts.get("", ""))
    return text and f" {text}"


def class_advice(name: str) -> str:
    """Return advice on a class or function of another library, or an empty string."""
    for ours, theirs in OUR_CLASSES.items():
        if name in theirs:
            return f" It is kt.layers.{ours}."
    for pattern, text in _CLASSES:
        if re.fullmatch(pattern, name):
            return f" {text.format(tasks=_TASKS)}"
    return ""


def preset_advice(name: str) -> str:
    """Return advice on how to write the preset's name if it looks like one of a hub."""
    families = "bert|gpt2|roberta|xlm_roberta|distil_bert|albert|t5|gemma|gemma2|llama|llama2|llama3|mistral|phi3|bart"
    keras_hub = re.fullmatch(rf"({families})_\w+", name)
    if keras_hub:
        return f"a preset of KerasHub is written kaggle://keras/{keras_hub[1]}/keras/{name}."
    organization = next((each for start, each in ORGANIZATIONS.items() if name.startswith(start)), "org")
    repository = name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else f"{organization}/name"
    if organization != "org" and "/" not in name:
        repository = f"{organization}/{name}"
    return f"a Hugging Face repository is written hf://{repository}."
