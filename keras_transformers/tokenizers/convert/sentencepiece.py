"""SentencePiece models, `*.model` and `*.spm`: Unigram or BPE, numbered anew as each class does."""

import functools
import pathlib
from collections.abc import Callable

import tokenizers
from tokenizers import AddedToken, decoders, models

from keras_transformers.files.reading import read_object
from keras_transformers.tokenizers.convert import pipelines
from keras_transformers.tokenizers.convert.pipelines import Options, Special
from keras_transformers.tokenizers.convert.readers import Engine, Read, built
from keras_transformers.tokenizers.convert.sentencepiece_model import (
    SentencePieceModel,
    merges_of,
    read_sentencepiece,
)
from keras_transformers.tokenizers.languages import M2M100, MARIAN, NLLB, WMT21, LanguageRules

Pieces = list[tuple[str, float]]  # with their scores, by id


def _sentencepiece(paths: list[pathlib.Path], algorithm: str) -> SentencePieceModel:
    model = read_sentencepiece(paths[0])
    if model.algorithm != algorithm:
        raise ValueError(
            f"Expected a {algorithm} model in {paths[0]} for this class of tokenizers, got {model.algorithm}. Check "
            "tokenizer_class in tokenizer_config.json."
        )
    return model


def unigram(
    pieces: Callable[[Pieces, Options, Special], Pieces],
    pipeline: pipelines.MakePipeline,
) -> Read:
    """A reader of Unigram models for one class.

    Args:
        pieces: makes the pieces in the order of their ids, of those of the file.
        pipeline: makes the pipeline of the class.
    """

    def read(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
        model = _sentencepiece(paths, "unigram")
        numbered = pieces(list(model.pieces), options, special)
        unknown = next((i for i, (piece, _) in enumerate(numbered) if piece == special["unk_token"]), None)
        if unknown is None:
            raise ValueError(
                f"Expected the unknown token {special['unk_token']!r} among the pieces in {paths[0]}, got none such. "
                "Name the model's own as unk_token in tokenizer_config.json."
            )
        engine = tokenizers.Tokenizer(models.Unigram(numbered, unk_id=unknown, byte_fallback=False))
        built(paths, lambda: pipeline(options, special, model.character_map).put_on(engine))
        return engine, _marked(model)

    return read


def _marked(model: SentencePieceModel) -> list[AddedToken]:
    """The pieces that a SentencePiece model itself sets apart from text."""
    return [AddedToken(piece, special=True) for piece in model.control] + [
        AddedToken(piece, normalized=False) for piece in model.user_defined
    ]


def fairseq_pieces(pieces: Pieces, options: Options, special: Special, codes: tuple[str, ...] = ()) -> Pieces:
    """The pieces as fairseq numbers them (XLM-RoBERTa, mBART); `codes` are languages, behind them."""
    # The four tokens of fairseq come first. The first three of SentencePiece are unknown, start and end.
    first = [
        special.get("bos_token", special["cls_token"]),
        *(special[role] for role in ("pad_token", "eos_token", "unk_token")),
    ]
    last = [*codes, special["mask_token"]]
    return [*((token, 0.0) for token in first), *pieces[3:], *((token, 0.0) for token in last)]


def with_languages(rules: LanguageRules, pipeline: pipelines.MakePipeline) -> Read:
    """A reader of mBART's models, whose languages stand behind the pieces."""
    read = unigram(functools.partial(fairseq_pieces, codes=rules.codes), pipeline)

    def read_with_languages(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
        engine, marked = read(paths, options, special)
        engine.add_special_tokens(list(rules.codes))
        return engine, marked

    return read_with_languages


def nllb(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """NLLB: BPE with fairseq's four tokens in front and the languages behind."""
    model = _sentencepiece(paths, "bpe")
    first = [special[role] for role in ("bos_token", "pad_token", "eos_token", "unk_token")]
    ids = {piece: i for i, piece in enumerate(dict.fromkeys([*first, *(piece for piece, _ in model.pieces)]))}
    merges = merges_of(piece for piece, _ in model.pieces)
    engine = tokenizers.Tokenizer(models.BPE(ids, merges, unk_token=special["unk_token"], fuse_unk=True))
    built(paths, lambda: pipelines.nllb(options, special, model.character_map).put_on(engine))
    if "added_tokens_decoder" not in options:
        engine.add_special_tokens([*NLLB.codes, AddedToken(special["mask_token"], lstrip=True, special=True)])
    return engine, _marked(model)


def _numbered(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """The vocabulary that numbers the pieces of SentencePiece models, which stand before it in `paths`."""
    path, vocabulary = paths[-1], read_object(paths[-1])
    if sorted(vocabulary.values(), key=str) != sorted(range(len(vocabulary)), key=str):
        raise ValueError(
            f"Expected in {path} the ids 0 to {len(vocabulary) - 1}, each of one piece, got others. Fetch it again."
        )
    if special["unk_token"] not in vocabulary:
        raise ValueError(
            f"Expected the unknown token {special['unk_token']!r} in {path}, got none such. Name the vocabulary's own "
            "as unk_token in tokenizer_config.json."
        )
    engine = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return engine, []


def m2m100(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """M2M100: `vocab.json` numbers the pieces; the languages come behind."""
    engine, marked = _numbered(paths, options, special)
    rules = WMT21 if options.get("language_codes") == "wmt21" else M2M100
    engine.add_special_tokens([rules.token.format(code) for code in rules.codes])
    return engine, marked


def marian(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """Marian: `vocab.json` numbers the pieces, and has the languages among them."""
    engine, marked = _numbered(paths, options, special)
    found = MARIAN.languages(engine.get_vocab().items())
    engine.add_special_tokens([MARIAN.token.format(code.strip("<>")) for code in found])
    return engine, marked


def pegasus(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """Pegasus: Unigram, ids moved by 103 tokens of its pre-training."""
    # The masks of whole sentences and of words in pre-training, and 101 tokens that were never used.
    sentence, unused = options.get("mask_token_sent", "<mask_1>"), range(2, options.get("offset", 103))
    extra = [*([sentence] if sentence else []), *(f"<unk_{i}>" for i in unused)]

    def pieces(pieces: Pieces, options: Options, special: Special) -> Pieces:
        masks = [token for token in (sentence, special.get("mask_token")) if token]
        first = [special["pad_token"], special["eos_token"], *masks]
        return [*((token, 0.0) for token in first), *((f"<unk_{i}>", -100.0) for i in unused), *pieces[2:]]

    engine, marked = unigram(pieces, pipelines.PEGASUS)(paths, options, special)
    return engine, marked + [AddedToken(token, special=True) for token in extra]


def same_pieces(pieces: Pieces, options: Options, special: Special) -> Pieces:
    """The pieces as the model itself numbers them."""
    return pieces


def deberta_v2(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """DeBERTa v2 and v3: Unigram with the special tokens that the model lacks, usually the mask, behind."""
    engine, marked = unigram(same_pieces, pipelines.deberta_v2)(paths, options, special)
    engine.add_special_tokens([token for token in special.values() if engine.token_to_id(token) is None])
    return engine, marked


def camembert_pieces(pieces: Pieces, options: Options, special: Special) -> Pieces:
    """The pieces as CamemBERT numbers them."""
    first = [("<s>NOTUSED", 0.0), (special["pad_token"], 0.0), ("</s>NOTUSED", 0.0), (special["unk_token"], 0.0)]
    return [*first, ("<unk>NOTUSED", -100.0), *pieces[1:], (special["mask_token"], 0.0)]


def t5(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """T5: Unigram with extra ids behind, the last first."""
    extra = [f"<extra_id_{i}>" for i in reversed(range(options.get("extra_ids", 100)))]
    read = unigram(lambda pieces, *_: [*pieces, *((piece, 0.0) for piece in extra)], pipelines.WORDS)
    engine, marked = read(paths, options, special)
    return engine, marked + [AddedToken(piece, special=True) for piece in extra]


def xlnet(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """XLNet: Unigram, and the ends of paragraphs and of documents."""
    engine, marked = unigram(same_pieces, pipelines.XLNET)(paths, options, special)
    return engine, marked + [AddedToken(piece, special=True) for piece in ("<eop>", "<eod>")]


def llama(paths: list[pathlib.Path], options: Options, special: Special) -> Engine:
    """Llama: BPE with bytes for unknown characters."""
    model = _sentencepiece(paths, "bpe")
    ids = {piece: i for i, (piece, _) in enumerate(model.pieces)}
    engine = tokenizers.Tokenizer(models.BPE(ids, merges_of(list(ids)), fuse_unk=True, byte_fallback=True))
    pipelines.spaces(options, special).put_on(engine)
    return engine, _marked(model)
