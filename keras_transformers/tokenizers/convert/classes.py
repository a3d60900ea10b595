"""The tokenizer classes of transformers whose files can be read: one record each.

A class that only reads `tokenizer.json` here has no `files`.
"""

import dataclasses

from keras_transformers.tokenizers.convert import pipelines
from keras_transformers.tokenizers.convert.around import (
    Wrap,
    around,
    around_as_asked,
    around_language,
    around_like_roberta,
)
from keras_transformers.tokenizers.convert.byte_level import byt5, byte_pairs, luke, no_conversion
from keras_transformers.tokenizers.convert.pipelines import Special
from keras_transformers.tokenizers.convert.readers import Read
from keras_transformers.tokenizers.convert.sentencepiece import (
    camembert_pieces,
    deberta_v2,
    fairseq_pieces,
    llama,
    m2m100,
    marian,
    nllb,
    pegasus,
    same_pieces,
    t5,
    unigram,
    with_languages,
    xlnet,
)
from keras_transformers.tokenizers.convert.word_piece import jieba, letters, word_piece
from keras_transformers.tokenizers.languages import (
    M2M100,
    MARIAN,
    MBART,
    MBART50,
    NLLB,
    NO_LANGUAGES,
    SMALL100,
    LanguageRules,
)


@dataclasses.dataclass(frozen=True)
class TokenizerClass:
    """The rules of one class of tokenizers.

    Attributes:
        names: as `tokenizer_class` writes it, without "Fast".
        model_types: the `model_type`s of `config.json` that use it.
        files: the files that it is read from.
        read: makes the engine, and lists the further pieces that the files set apart from text.
        wrap: makes the post-processor, which puts special tokens around a text.
        special: the special tokens by role ("pad_token"); the folder's own files may replace them.
        mask_takes_space: whether a mask token includes the space in front of it.
        languages: how it writes languages.
        split_by: the SentencePiece models that split a source and a target, if `vocab.json` numbers their pieces.
        pipeline: makes the pipeline, whatever `tokenizer.json` says; None if that file is not read.
    """

    names: tuple[str, ...]
    model_types: tuple[str, ...]
    files: tuple[str, ...]
    read: Read
    wrap: Wrap
    special: Special
    mask_takes_space: bool = False
    languages: LanguageRules = NO_LANGUAGES
    split_by: tuple[str, ...] = ()
    pipeline: pipelines.MakePipeline | None = None


_SQUARE = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ANGLE = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_ALBERT = {**_SQUARE, "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>"}
_DEBERTA = {"bos_token": "[CLS]", "eos_token": "[SEP]", **_SQUARE}
_END_OF_TEXT = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")

_SEGMENTS = around("cls_token:0 $A:0 sep_token:0", "cls_token:0 $A:0 sep_token:0 $B:1 sep_token:1")
_TWO_SEPARATORS = around("cls_token:0 $A:0 sep_token:0", "cls_token:0 $A:0 sep_token:0 sep_token:0 $B:0 sep_token:0")
_TWO_ENDS = around("bos_token:0 $A:0 eos_token:0", "bos_token:0 $A:0 eos_token:0 eos_token:0 $B:0 eos_token:0")
_ENDS = around("$A:0 eos_token:0", "$A:0 eos_token:0 $B:0 eos_token:0")

_END = around("$A:0 eos_token:0", "$A:0 $B:0 eos_token:0")
_ALONE = around("$A:0", "$A:0 $B:0")

_BPE = ("vocab.json", "merges.txt")
_THREE = {role: _ANGLE[role] for role in ("eos_token", "unk_token", "pad_token")}

CLASSES = (
    TokenizerClass(
        names=("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "SqueezeBertTokenizer", "ConvBertTokenizer"),
        model_types=(
            *("bert", "distilbert", "electra", "nomic_bert", "ernie", "megatron-bert"),
            *("squeezebert", "convbert"),
        ),
        files=("vocab.txt",),
        read=word_piece,
        pipeline=pipelines.word_piece,
        wrap=_SEGMENTS,
        special=_SQUARE,
    ),
    TokenizerClass(
        names=("MobileBertTokenizer",),
        model_types=("mobilebert",),
        files=("vocab.txt",),
        read=word_piece,
        pipeline=pipelines.word_piece,
        wrap=_SEGMENTS,
        special=_SQUARE,
    ),
    TokenizerClass(
        names=("MPNetTokenizer",),
        model_types=("mpnet",),
        files=("vocab.txt",),
        read=word_piece,
        pipeline=pipelines.word_piece,
        wrap=around_like_roberta,
        special={**_ANGLE, "unk_token": "[UNK]"},
        mask_takes_space=True,
    ),
    TokenizerClass(
        names=("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"),
        model_types=("roberta", "bart", "roberta-prelayernorm", "data2vec-text", "longformer"),
        files=_BPE,
        read=byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=around_like_roberta,
        special=_ANGLE,
    ),
    TokenizerClass(
        names=("LukeTokenizer",),
        model_types=("luke",),
        files=_BPE,
        read=luke,
        pipeline=pipelines.byte_level,
        wrap=around_like_roberta,
        special=_ANGLE,
    ),
    TokenizerClass(
        names=("GPT2Tokenizer",),
        model_types=("gpt2", "opt", "gptj", "phi"),
        files=_BPE,
        read=byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=around_as_asked,
        special=_END_OF_TEXT,
    ),
    TokenizerClass(
        names=("XLMRobertaTokenizer",),
        model_types=("xlm-roberta", "gte", "jina_embeddings_v3"),
        files=("*.model",),
        read=unigram(fairseq_pieces, pipelines.PREFIXED),
        pipeline=pipelines.PREFIXED,
        wrap=_TWO_ENDS,
        special=_ANGLE,
    ),
    TokenizerClass(
        names=("CamembertTokenizer",),
        model_types=("camembert",),
        files=("*.model",),
        read=unigram(camembert_pieces, pipelines.PREFIXED),
        pipeline=pipelines.PREFIXED,
        wrap=_TWO_ENDS,
        special=_ANGLE,
        mask_takes_space=True,
    ),
    TokenizerClass(
        names=("AlbertTokenizer",),
        model_types=("albert",),
        files=("*.model",),
        read=unigram(same_pieces, pipelines.ALBERT_WORDS),
        pipeline=pipelines.ALBERT_WORDS,
        wrap=_SEGMENTS,
        special=_ALBERT,
    ),
    TokenizerClass(
        names=("FNetTokenizer",),
        model_types=("fnet",),
        files=("*.model",),
        read=unigram(same_pieces, pipelines.ALBERT_WORDS),
        pipeline=pipelines.ALBERT_WORDS,
        wrap=_SEGMENTS,
        special=_ALBERT,
    ),
    TokenizerClass(
        names=("XLNetTokenizer",),
        model_types=("xlnet",),
        files=("*.model",),
        read=xlnet,
        pipeline=pipelines.XLNET,
        wrap=around(
            "$A:0 sep_token:0 cls_token:2",
            "$A:0 sep_token:0 $B:1 sep_token:1 cls_token:2",
        ),
        special={**_ANGLE, "sep_token": "<sep>", "cls_token": "<cls>"},
    ),
    TokenizerClass(
        names=("RemBertTokenizer",),
        model_types=("rembert",),
        files=("*.model",),
        read=unigram(same_pieces, pipelines.rembert),
        pipeline=pipelines.rembert,
        wrap=_SEGMENTS,
        special=_ALBERT,
    ),
    TokenizerClass(
        names=("BigBirdTokenizer",),
        model_types=("big_bird",),
        files=("*.model",),
        read=unigram(same_pieces, pipelines.big_bird),
        pipeline=pipelines.big_bird,
        wrap=_SEGMENTS,
        special={**_SQUARE, **{role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token", "pad_token")}},
    ),
    TokenizerClass(
        names=("BertGenerationTokenizer",),
        model_types=("bert-generation",),
        files=("*.model",),
        read=unigram(same_pieces, pipelines.ONE_SPACE_WORDS),
        wrap=_ALONE,
        special={
            **{role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token", "pad_token")},
            "sep_token": "<::::>",
        },
    ),
    TokenizerClass(
        names=("EsmTokenizer",),
        model_types=("esm",),
        files=("vocab.txt",),
        read=letters,
        wrap=around("cls_token:0 $A:0 eos_token:0", "cls_token:0 $A:0 eos_token:0 $B:0 eos_token:0"),
        special={
            "unk_token": "<unk>",
            "cls_token": "<cls>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
            "eos_token": "<eos>",
        },
    ),
    TokenizerClass(
        names=("RoFormerTokenizer",),
        model_types=("roformer",),
        files=("vocab.txt",),
        read=jieba,
        pipeline=pipelines.jieba,
        wrap=_SEGMENTS,
        special=_SQUARE,
    ),
    TokenizerClass(
        names=("DebertaTokenizer",),
        model_types=("deberta",),
        files=_BPE,
        read=byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=_TWO_SEPARATORS,
        special=_DEBERTA,
    ),
    TokenizerClass(
        names=("DebertaV2Tokenizer",),
        model_types=("deberta-v2",),
        files=("*.model",),
        read=deberta_v2,
        pipeline=pipelines.deberta_v2,
        wrap=_SEGMENTS,
        special=_DEBERTA,
    ),
    TokenizerClass(
        names=("T5Tokenizer", "MT5Tokenizer"),
        model_types=("t5", "mt5", "umt5"),
        files=("*.model",),
        read=t5,
        pipeline=pipelines.WORDS,
        wrap=_ENDS,
        special=_THREE,
    ),
    TokenizerClass(
        names=("ByT5Tokenizer",),
        model_types=(),
        files=(),
        read=byt5,
        wrap=_ENDS,
        special=_THREE,
    ),
    TokenizerClass(
        names=("PegasusTokenizer",),
        model_types=("pegasus",),
        files=("*.model",),
        read=pegasus,
        pipeline=pipelines.PEGASUS,
        wrap=_END,
        special={**_THREE, "mask_token": "<mask_2>"},
    ),
    TokenizerClass(
        names=("MBartTokenizer",),
        model_types=("mbart",),
        files=("*.model",),
        read=with_languages(MBART, pipelines.MBART),
        pipeline=pipelines.MBART,
        wrap=around_language(MBART),
        special=_ANGLE,
        mask_takes_space=True,
        languages=MBART,
    ),
    TokenizerClass(
        names=("MBart50Tokenizer",),
        model_types=(),
        files=("*.model",),
        read=with_languages(MBART50, pipelines.ONE_SPACE_WORDS),
        pipeline=pipelines.ONE_SPACE_WORDS,
        wrap=around_language(MBART50),
        special={role: token for role, token in _ANGLE.items() if role != "bos_token"},
        mask_takes_space=True,
        languages=MBART50,
    ),
    TokenizerClass(
        names=("NllbTokenizer",),
        model_types=("nllb-moe",),
        files=("*.model",),
        read=nllb,
        pipeline=pipelines.nllb,
        wrap=around_language(NLLB),
        special=_ANGLE,
        mask_takes_space=True,
        languages=NLLB,
    ),
    TokenizerClass(
        names=("M2M100Tokenizer",),
        model_types=("m2m_100",),
        files=("sentencepiece.bpe.model", "vocab.json"),
        read=m2m100,
        wrap=around_language(M2M100),
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "sep_token", "pad_token", "unk_token")},
        languages=M2M100,
        split_by=("sentencepiece.bpe.model", "sentencepiece.bpe.model"),
    ),
    TokenizerClass(
        names=("SMALL100Tokenizer",),
        model_types=(),
        files=("sentencepiece.bpe.model", "vocab.json"),
        read=m2m100,
        wrap=_END,
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "sep_token", "pad_token", "unk_token")},
        languages=SMALL100,
        split_by=("sentencepiece.bpe.model", "sentencepiece.bpe.model"),
    ),
    TokenizerClass(
        names=("MarianTokenizer",),
        model_types=("marian",),
        files=("source.spm", "target.spm", "vocab.json"),
        read=marian,
        wrap=_END,
        special=_THREE,
        languages=MARIAN,
        split_by=("source.spm", "target.spm"),
    ),
    TokenizerClass(
        names=("LlamaTokenizer",),
        model_types=("llama",),
        files=("*.model",),
        read=llama,
        pipeline=pipelines.spaces,
        wrap=around_as_asked,
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token")},
    ),
    TokenizerClass(
        names=("CodeGenTokenizer",),
        model_types=(),
        files=_BPE,
        read=byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=around_as_asked,
        special=_END_OF_TEXT,
    ),
    TokenizerClass(
        names=("GPTNeoXTokenizer",),
        model_types=("gpt_neox",),
        files=_BPE,
        read=byte_pairs(pipelines.gpt_neox),
        pipeline=pipelines.gpt_neox,
        wrap=around_as_asked,
        special={**_END_OF_TEXT, "pad_token": "<|padding|>"},
    ),
    TokenizerClass(
        names=("Qwen2Tokenizer",),
        model_types=("qwen2", "qwen3", "qwen3_moe"),
        files=_BPE,
        read=byte_pairs(pipelines.qwen),
        pipeline=pipelines.qwen,
        wrap=around_as_asked,
        special=dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"),
    ),
    TokenizerClass(
        names=("GemmaTokenizer",),
        model_types=("gemma", "gemma2", "gemma3_text"),
        files=(),
        read=no_conversion,
        pipeline=pipelines.gemma,
        wrap=around_as_asked,
        special={
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
    ),
    TokenizerClass(
        names=("CodeLlamaTokenizer",),
        model_types=(),
        files=(),
        read=no_conversion,
        pipeline=pipelines.code_llama,
        wrap=around_as_asked,
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token")},
    ),
)
