"""Folders as Hugging Face's models have them, without a tokenizer.json, of vocabularies learnt here."""

import json

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

SQUARE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ANGLE = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MASK = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
END = {"content": "<|endoftext|>", "lstrip": False, "rstrip": False, "normalized": True, "single_word": False}


def word_pieces(folder, texts, special, size, **normalizer):
    engine = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(**normalizer)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    engine.train_from_iterator(texts, trainer)
    pieces = engine.get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.get)) + "\n", "utf-8")


def byte_pairs(folder, texts, special, size):
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(texts, trainer)
    model = json.loads(engine.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", "utf-8")


def sentence_pieces(folder, texts, name, size, **options):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / name),
        vocab_size=size,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    (folder / f"{name}.vocab").unlink()


ALBERT = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": "[CLS],[SEP]",
    "user_defined_symbols": "[MASK]",
}
DEBERTA = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
DEBERTA |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}

# name → (how the vocabulary is learnt, its options, the folder's further files)
FOLDERS = {
    "bert": (word_pieces, {"special": SQUARE}, {"config.json": {"model_type": "bert"}}),
    "bert_cased": (
        word_pieces,
        {"special": SQUARE, "lowercase": False},
        {
            "tokenizer_config.json": {
                "tokenizer_class": "BertTokenizer",
                "do_lower_case": False,
                "strip_accents": None,
                "tokenize_chinese_chars": False,
                "never_split": None,
            }
        },
    ),
    "distilbert": (
        word_pieces,
        {"special": SQUARE, "strip_accents": False},
        {"tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizerFast", "strip_accents": False}},
    ),
    "electra": (
        word_pieces,
        {"special": SQUARE},
        {
            "config.json": {"model_type": "electra"},
            "special_tokens_map.json": {"cls_token": "[CLS]", "mask_token": {**MASK, "content": "[MASK]"}},
        },
    ),
    "mpnet": (
        word_pieces,
        {"special": ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]},
        {"config.json": {"model_type": "mpnet"}},
    ),
    "roberta": (byte_pairs, {"special": ANGLE}, {"config.json": {"model_type": "roberta"}}),
    "roberta_prefix": (
        byte_pairs,
        {"special": ANGLE},
        {
            "tokenizer_config.json": {
                "tokenizer_class": "RobertaTokenizer",
                "add_prefix_space": True,
                "trim_offsets": False,
                "mask_token": {"__type": "AddedToken", **MASK},
            }
        },
    ),
    "gpt2": (byte_pairs, {"special": ["<|endoftext|>"]}, {"config.json": {"model_type": "gpt2"}}),
    "gpt2_start": (
        byte_pairs,
        {"special": ["<|endoftext|>"]},
        {
            "tokenizer_config.json": {
                "tokenizer_class": "GPT2Tokenizer",
                "add_bos_token": True,
                "added_tokens_decoder": {"0": {**END, "special": True}},
            }
        },
    ),
    "qwen2": (byte_pairs, {"special": ["<|endoftext|>"]}, {"config.json": {"model_type": "qwen2"}}),
    "gpt_neox": (
        byte_pairs,
        {"special": ["<|endoftext|>", "<|padding|>"]},
        {"config.json": {"model_type": "gpt_neox"}},
    ),
    "xlm_roberta": (
        sentence_pieces,
        {"name": "sentencepiece.bpe"},
        {"config.json": {"model_type": "xlm-roberta"}},
    ),
    "camembert": (sentence_pieces, {"name": "sentencepiece.bpe"}, {"config.json": {"model_type": "camembert"}}),
    "albert": (sentence_pieces, {"name": "spiece", **ALBERT}, {"config.json": {"model_type": "albert"}}),
    "albert_cased": (
        sentence_pieces,
        {"name": "spiece", **ALBERT, "normalization_rule_name": "identity"},
        {
            "tokenizer_config.json": {
                "tokenizer_class": "AlbertTokenizer",
                "do_lower_case": False,
                "keep_accents": True,
                "remove_space": True,
            }
        },
    ),
    "deberta": (
        byte_pairs,
        {"special": ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]},
        {"config.json": {"model_type": "deberta"}},
    ),
    "deberta_v2": (
        sentence_pieces,
        {"name": "spm", **DEBERTA},
        {"config.json": {"model_type": "deberta-v2"}, "tokenizer_config.json": {"do_lower_case": False}},
    ),
    "deberta_v2_lowercase": (
        sentence_pieces,
        {"name": "spm", **DEBERTA},
        {
            "tokenizer_config.json": {
                "tokenizer_class": "DebertaV2Tokenizer",
                "do_lower_case": True,
                "split_by_punct": True,
                "add_prefix_space": False,
            }
        },
    ),
    "xlnet": (
        sentence_pieces,
        {
            "name": "spiece",
            **{"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": 5},
            "control_symbols": "<cls>,<sep>",
            "user_defined_symbols": "<mask>,<eod>,<eop>",
        },
        {"config.json": {"model_type": "xlnet"}},
    ),
    "big_bird": (
        sentence_pieces,
        {
            "name": "spiece",
            **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 4},
            "user_defined_symbols": "[CLS],[SEP],[MASK]",
        },
        {"config.json": {"model_type": "big_bird"}},
    ),
    "t5": (
        sentence_pieces,
        {"name": "spiece", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        {"config.json": {"model_type": "t5"}},
    ),
    "mt5": (
        sentence_pieces,
        {"name": "spiece", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "byte_fallback": True},
        {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": []}},
    ),
    "pegasus": (
        sentence_pieces,
        {"name": "spiece", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        {"config.json": {"model_type": "pegasus"}},
    ),
    "mbart": (
        sentence_pieces,
        {"name": "sentencepiece.bpe"},
        {"tokenizer_config.json": {"tokenizer_class": "MBartTokenizer", "src_lang": "de_DE", "tgt_lang": "fr_XX"}},
    ),
    "mbart50": (
        sentence_pieces,
        {"name": "sentencepiece.bpe"},
        {"tokenizer_config.json": {"tokenizer_class": "MBart50Tokenizer", "src_lang": "de_DE", "tgt_lang": "sl_SI"}},
    ),
    "llama": (
        sentence_pieces,
        {"name": "tokenizer", "model_type": "bpe", "byte_fallback": True, "user_defined_symbols": "<user>"},
        {"tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}},
    ),
}


def numbered(folder, texts, files, size, languages=(), separate=False, drop=0, tokenizer_class="MarianTokenizer"):
    """A folder whose `vocab.json` numbers the pieces of SentencePiece models, by another order, without every
    `drop`-th of them."""
    import sentencepiece

    pieces, vocabularies = [], []
    for place, file in enumerate(files):
        learnt_from = texts[place * len(texts) // len(files) : (place + 1) * len(texts) // len(files)]
        sentence_pieces(folder, learnt_from, file, size)
        if tokenizer_class == "MarianTokenizer":
            (folder / f"{file}.model").rename(folder / f"{file}.spm")
        model = sentencepiece.SentencePieceProcessor(model_file=str(next(folder.glob(f"{file}.*"))))
        pieces.append([model.id_to_piece(i) for i in range(3, model.get_piece_size())])
    for each in pieces if separate else [sum(pieces, [])]:
        kept = sorted({piece for i, piece in enumerate(each) if not drop or i % drop}, key=lambda piece: piece[::-1])
        first = ["</s>", "<unk>", *languages, "<pad>"] if tokenizer_class == "MarianTokenizer" else ANGLE[:4]
        vocabularies.append({piece: i for i, piece in enumerate([*first, *kept])})
    for file, vocabulary in zip(("vocab.json", "target_vocab.json"), vocabularies, strict=False):
        (folder / file).write_text(json.dumps(vocabulary), "utf-8")
    config = {"tokenizer_class": tokenizer_class, "separate_vocabs": separate, "model_max_length": 512}
    if tokenizer_class != "MarianTokenizer":
        config = {"tokenizer_class": tokenizer_class, "src_lang": "de", "tgt_lang": "fr"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def nllb(folder, texts, size, codes, **config):
    """NLLB's: a BPE model, with the languages and the mask listed behind its pieces."""
    sentence_pieces(folder, texts, "sentencepiece.bpe", size, model_type="bpe")
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    tokens = dict(enumerate(["<s>", "<pad>", "</s>", "<unk>"]))
    tokens |= dict(enumerate([*codes, "<mask>"], start=model.get_piece_size() + 1))
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    added = {str(i): {"content": token, **flags, "lstrip": token == "<mask>"} for i, token in tokens.items()}
    config = {"src_lang": "eng_Latn", "tgt_lang": "fra_Latn", "additional_special_tokens": list(codes), **config}
    config |= {"tokenizer_class": "NllbTokenizer", "added_tokens_decoder": added}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def bytes_alone(folder, texts, size):
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))


def write(name, folder, texts, size):
    """Learn the vocabulary of one of `FOLDERS` from texts, and write the folder."""
    learn, options, files = FOLDERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    learn(folder, texts, size=size, **options)
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content), "utf-8")
    return folder
