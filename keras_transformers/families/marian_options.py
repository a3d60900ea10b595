"""Marian's own models: the options of a model as rows, and the names of its parameters. `bart.py` has the form in which
transformers publishes some of them.

They differ from transformers' Marian in three numbers: the wavelengths of positions end at 10,000 (`endpoint`), norms
have an epsilon of 1e-6, and the decoder starts from zeros. This library gives the start, and the padding, an id behind
the vocabulary, whose vector is zero and whose logit is -100.

    options                                    architecture
    transformer-decoder-autoreg: rnn           students of Firefox and Bergamot (tiny, base, base-memory)
    transformer-decoder-autoreg: self-attention   OPUS-MT and other teachers

Source: https://github.com/browsermt/marian-dev, src/models/transformer.h, src/layers/generic.h and src/rnn/cells.h
"""

import collections.abc
import dataclasses
import typing

import numpy as np

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Group, Key, Keys, expect, inert, key, state
from keras_transformers.families.spellings import Choice
from keras_transformers.families.two_stacks import both, in_both
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Sinusoidal
from keras_transformers.layers.simple_recurrence import SimpleRecurrence
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import arguments_of, is_record

_LONGEST = 1024  # tokens; Marian computes positions as they come
_NORM = LayerNorm(1e-6)
NO_LOGIT = -100.0  # of the start token, which is never written: exp(-100) is nothing beside any other

# transformer-preprocess and transformer-postprocess, without dropout, and where a block has its norms.
_PLACEMENTS = {("", "an"): "post", ("n", "a"): "pre", ("n", "na"): "around", ("", "na"): "branch"}


def _without_dropout(operations: typing.Any) -> typing.Any:
    return operations.replace("d", "") if isinstance(operations, str) else operations


def _read_vocabularies(read: ConfigReader, values: Values) -> None:
    sizes = read("dim-vocabs", None)
    if not isinstance(sizes, list) or len(sizes) != 2 or not all(type(each) is int and each > 0 for each in sizes):
        read.problems.append(f"dim-vocabs: expected two numbers of tokens, got {sizes!r:.80}")
        sizes = [1, 1]
    start = max(sizes)
    values |= {"padding_id": start, "embeddings.vocabulary_size": start + 1, "embeddings.zero_id": start}
    shares_all, shares_source, ties = (
        read(name, False) for name in ("tied-embeddings-all", "tied-embeddings-src", "tied-embeddings")
    )
    values["head.tied"] = shares_all or ties
    if (shares_all or shares_source) and sizes[0] != sizes[1]:
        read.problems.append(f"dim-vocabs: expected equal numbers of tokens with shared embeddings, got {sizes}")
    shared = shares_all or shares_source
    if not shared or values["embeddings.norm"] is not None:  # each side has a norm of its own
        source = {path: value for path, value in values.items() if path.startswith("embeddings.")}
        values |= {f"decoder_{path}": value for path, value in source.items()}
        values["decoder_embeddings.shared_tokens"] = shared


def _write_vocabularies(fields: Fields) -> Values:
    shared, tied = _shares_tokens(fields.config), fields("head.tied")
    return {
        "dim-vocabs": [fields("embeddings.vocabulary_size") - 1] * 2,
        "tied-embeddings": tied and not shared,
        "tied-embeddings-all": tied and shared,
        "tied-embeddings-src": shared and not tied,
    }


def _shares_tokens(config: ModelConfig) -> bool:
    """Whether source and target have one table."""
    return config.decoder_embeddings is None or config.decoder_embeddings.shared_tokens


def _read_norms(read: ConfigReader, values: Values) -> None:
    before, after = read("transformer-preprocess", ""), read("transformer-postprocess", "dan")
    placement = _PLACEMENTS.get((_without_dropout(before), _without_dropout(after)))
    if placement is None:
        known = ", ".join(f"{a!r} with {b!r}" for a, b in _PLACEMENTS)
        read.problems.append(
            f"transformer-preprocess and transformer-postprocess: only {known} are supported, with or without 'd', got "
            f"{before!r} with {after!r}"
        )
    values |= in_both({"block.norm_placement": placement or "post"})
    top = read("transformer-postprocess-top", "")
    if _without_dropout(top) not in ("", "n"):
        read.problems.append(f"transformer-postprocess-top: only '' or 'n' is supported, got {top!r}")
    values |= in_both({"final_norm": "n" in top})
    embedded = read("transformer-postprocess-emb", "d")
    if _without_dropout(embedded) not in ("", "n"):
        read.problems.append(f"transformer-postprocess-emb: only '', 'd' or 'n' is supported, got {embedded!r}")
    values["embeddings.norm"] = _NORM if "n" in embedded else None


def _write_norms(fields: Fields) -> Values:
    placement = fields("decoder.block.norm_placement")
    before, after = next(each for each, name in _PLACEMENTS.items() if name == placement)
    return {
        "transformer-preprocess": before,
        "transformer-postprocess": f"d{after}",
        "transformer-postprocess-top": "n" if fields("decoder.final_norm") else "",
        "transformer-postprocess-emb": "nd" if fields("embeddings.norm") is not None else "d",
    }


def _read_decoder(read: ConfigReader, values: Values) -> None:
    read.expect("transformer-decoder-autoreg", "self-attention", "rnn")
    recurrent = read("transformer-decoder-autoreg", "self-attention") == "rnn"
    if recurrent:
        read.expect("dec-cell", "ssru")
        read.expect("layer-normalization", False)
    values["decoder.block.recurrence"] = SimpleRecurrence() if recurrent else None
    layers, tied = values["decoder.num_layers"], read("transformer-tied-layers", [])
    distinct = len(set(tied)) if isinstance(tied, list) and all(type(each) is int for each in tied) else 0
    if tied and distinct and tied == [1 + n * distinct // layers for n in range(layers)]:
        values["decoder.num_distinct"] = distinct
    elif tied:
        read.problems.append(
            f"transformer-tied-layers: only [] or numbers such as [1, 1, 2, 2], for each of {layers} layers, are "
            f"supported, got {tied!r:.80}"
        )


def _write_decoder(fields: Fields) -> Values:
    layers, distinct = fields("decoder.num_layers"), fields("decoder.num_distinct")
    recurrent = fields("decoder.block.recurrence") is not None
    return {
        "transformer-decoder-autoreg": "rnn" if recurrent else "self-attention",
        "dec-cell": "ssru" if recurrent else "gru",
        "layer-normalization": False,
        "transformer-tied-layers": [1 + n * distinct // layers for n in range(layers)] if distinct else [],
    }


# The rows, with Marian's defaults.
KEYS = Keys(
    (
        state("type", "transformer"),
        key("dim-emb", 512, "hidden_dim"),
        key("enc-depth", 1, "encoder.num_layers"),
        key("dec-depth", 1, "decoder.num_layers"),
        key("transformer-heads", 8, *both("block.attention.num_heads")),
        key("transformer-dim-ffn", 2048, *both("block.feed_forward.intermediate_dim")),
        Key(  # "gelu" of Marian is an approximation that nobody else has
            ("transformer-ffn-activation",),
            "swish",
            both("block.feed_forward.activation"),
            Choice((("swish", "silu"), ("relu", "relu"))),
        ),
        Group(
            (
                *("transformer-preprocess", "transformer-postprocess"),
                *("transformer-postprocess-top", "transformer-postprocess-emb"),
            ),
            _read_norms,
            _write_norms,
        ),
        Group(
            ("dim-vocabs", "tied-embeddings", "tied-embeddings-all", "tied-embeddings-src"),
            _read_vocabularies,
            _write_vocabularies,
        ),
        Group(
            ("transformer-decoder-autoreg", "dec-cell", "layer-normalization", "transformer-tied-layers"),
            _read_decoder,
            _write_decoder,
        ),
        state("transformer-ffn-depth", 2),
        state("transformer-no-projection", False),
        state("transformer-pool", False),
        state("transformer-train-position-embeddings", False),
        state("output-omit-bias", False),
        state("right-left", False),
        state("ulr", False),
        state("input-types", []),
        state("lemma-dim-emb", 0),
        expect("transformer-train-positions", False),
        expect("transformer-decoder-dim-ffn", 0),
        expect("transformer-decoder-ffn-depth", 0),
        expect("transformer-rnn-projection", False),
        expect("lemma-dependency", ""),
        expect("factors-combine", "sum"),
        expect("factors-dim-emb", 0),
        expect("special-vocab", []),
        expect("output-approx-knn", []),
        inert("version", "skip", "ulr-dim-emb", "ulr-trainable-transformation"),
        inert("dim-rnn", "enc-cell", "enc-cell-depth", "enc-type", "dec-cell-base-depth", "dec-cell-high-depth"),
        inert("transformer-dim-aan", "transformer-aan-depth", "transformer-aan-activation", "transformer-aan-nogate"),
        inert("transformer-depth-scaling", "transformer-guided-alignment-layer", "guided-alignment"),
        inert("bert-train-type-embeddings", "bert-type-vocab-size"),
    ),
    {
        "embeddings.positions": Sinusoidal(_LONGEST, "halves", endpoint=True),
        "embeddings.scale": True,
        "head.use_bias": True,
        **in_both({"block.norm": _NORM}),
    },
)
# Options that change nothing in a Transformer, and that its files state.
_STATED = {
    "bert-train-type-embeddings": True,
    "bert-type-vocab-size": 2,
    "dec-cell-base-depth": 2,
    "dec-cell-high-depth": 1,
    "dim-rnn": 1024,
    "enc-cell": "gru",
    "enc-cell-depth": 1,
    "enc-type": "bidirectional",
    "skip": False,
    "transformer-aan-activation": "swish",
    "transformer-aan-depth": 2,
    "transformer-aan-nogate": False,
    "transformer-dim-aan": 2048,
    "transformer-guided-alignment-layer": "last",
    "ulr-dim-emb": 0,
    "ulr-trainable-transformation": False,
}


def read_options(options: collections.abc.Mapping[str, typing.Any], where: object) -> ModelConfig:
    """The `ModelConfig` of a model's options.

    Raises:
        ValueError: listing every option that this library does not know, or does not compute.
    """
    reader = ConfigReader(options)
    try:
        config = KEYS.read(reader)
    except (TypeError, ValueError) as error:
        reader.problems.append(str(error))
        config = None
    try:
        reader.finish(KEYS.known)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return typing.cast(ModelConfig, config)


def write_options(config: ModelConfig) -> dict[str, typing.Any]:
    """The options of a model, sorted by name: the inverse of `read_options`. Dropout and the longest text, which Marian
    has among its options of training, are left out.

    Raises:
        ValueError: naming the fields of the configuration that Marian cannot express.
    """
    options = dict(sorted({**_STATED, **KEYS.write(config)}.items()))
    wanted, found = _without_training(config), read_options(options, "the options written")
    if found != wanted:
        raise ValueError(
            f"Expected a model that Marian can express, got one that differs in {_differences(wanted, found)}."
        )
    return options


def _without_training(record: typing.Any) -> typing.Any:
    """A record without dropout, and with positions as long as those that are read."""
    if isinstance(record, Sinusoidal):
        return dataclasses.replace(record, max_length=_LONGEST)
    if not is_record(record):
        return record
    values = {name: _without_training(value) for name, value in arguments_of(record).items()}
    return dataclasses.replace(
        record, **{name: 0.0 if "dropout" in name and type(value) is float else value for name, value in values.items()}
    )


def _differences(config: typing.Any, found: typing.Any, path: str = "") -> str:
    """The fields in which two records differ, with both values."""
    if type(config) is not type(found) or not is_record(config):
        return f"{path[:-1]}={config!r:.80} (Marian: {found!r:.80})"
    names = [name for name, value in arguments_of(config).items() if value != getattr(found, name)]
    return ", ".join(_differences(getattr(config, name), getattr(found, name), f"{path}{name}.") for name in names)


# Parameters

_OUT = "decoder_ff_logit_out"
_ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}


def _parameters(ours: str, theirs: str) -> list[Entry]:
    """The entries of an attention."""
    entries = []
    for part, letter in _ATTENTION.items():
        entries.append(Entry(f"{ours}.{part}.kernel", f"{theirs}_W{letter}", transposed=False))
        entries.append(_vector(f"{ours}.{part}.bias", f"{theirs}_b{letter}"))
    return entries


def _vector(ours: str, theirs: str) -> Entry:
    """The entry of a vector, which is a matrix of one row in a file."""
    return Entry(ours, theirs, output_heads=1)


def _norm(ours: str, theirs: str, suffix: str = "") -> list[Entry]:
    return [
        _vector(f"{ours}.gamma", f"{theirs}_ln_scale{suffix}"),
        _vector(f"{ours}.beta", f"{theirs}_ln_bias{suffix}"),
    ]


def weights(config: ModelConfig) -> WeightMap:
    """The table of a model's parameters."""
    entries: list[Entry] = []
    for side in ("encoder", "decoder"):
        stack = getattr(config, side)
        for n in range(stack.num_distinct or stack.num_layers):
            entries += _layer(f"{side}.block_{n}", f"{side}_l{n + 1}", stack.block.recurrence is not None)
        entries += _norm(f"{side}.norm", f"{side}_top")
    shared = _shares_tokens(config)
    entries.append(Entry("embedding.token.embeddings", "Wemb" if shared else "encoder_Wemb"))
    entries.append(Entry("decoder_embedding.token.embeddings", "decoder_Wemb"))
    entries += _norm("embedding.norm", "encoder_emb", "_pre")
    entries += _norm("decoder_embedding.norm", "decoder_emb", "_pre")
    entries += [_vector("head.bias", f"{_OUT}_b"), _vector("head.dense.bias", f"{_OUT}_b")]
    entries += [Entry("head.dense.kernel", f"{_OUT}_Wt"), Entry("head.dense.kernel", f"{_OUT}_W", transposed=False)]
    return WeightMap(tuple(entries), heads=(f"{_OUT}_b", f"{_OUT}_Wt", f"{_OUT}_W"))


def _layer(ours: str, theirs: str, recurrent: bool) -> list[Entry]:
    """The entries of a layer. Its norms are before its branches, after them, or at both places."""
    rnn, own, across, feed = f"{theirs}_rnn", f"{theirs}_self", f"{theirs}_context", f"{theirs}_ffn"
    entries = _parameters(f"{ours}.cross_attention", across) if "decoder" in ours else []
    if recurrent:
        mixer = f"{ours}.self_attention"
        entries.append(Entry(f"{mixer}.candidate.kernel", f"{rnn}_W", transposed=False))
        entries.append(Entry(f"{mixer}.forget.kernel", f"{rnn}_Wf", transposed=False))
        entries.append(_vector(f"{mixer}.forget.bias", f"{rnn}_bf"))
    else:
        entries += _parameters(f"{ours}.self_attention", own)
    for part, number in (("up", 1), ("down", 2)):
        entries.append(Entry(f"{ours}.feed_forward.{part}.kernel", f"{feed}_W{number}", transposed=False))
        entries.append(_vector(f"{ours}.feed_forward.{part}.bias", f"{feed}_b{number}"))
    before, after = (rnn, f"{rnn}_ffn") if recurrent else (f"{own}_Wo", f"{own}_Wo")
    places = {
        "self_attention": (before, after),
        "cross_attention": (f"{across}_Wo",) * 2,
        "feed_forward": (f"{feed}_ffn",) * 2,
    }
    for branch, (name_before, name_after) in places.items():
        entries += _norm(f"{ours}.{branch}_norm_before", name_before, "_pre")
        entries += _norm(f"{ours}.{branch}_norm_after", name_after)
    return entries


# The parameters that have a row, or a column, for each token: the axis, the side, and the value behind the vocabulary.
_OF_TOKENS = {
    "Wemb": (0, "source", 0.0),
    "encoder_Wemb": (0, "source", 0.0),
    "decoder_Wemb": (0, "target", 0.0),
    f"{_OUT}_Wt": (0, "target", 0.0),
    f"{_OUT}_W": (1, "target", 0.0),
    f"{_OUT}_b": (1, "target", NO_LOGIT),
}


class Sizes(typing.NamedTuple):
    """The numbers of tokens of a file, `dim-vocabs`. The start token of a model comes behind both."""

    source: int
    target: int


class WithStart(collections.abc.Mapping):
    """The parameters of a file with the start token behind the vocabularies.

    Args:
        tensors: a mapping of names to arrays, with a method `shape(name)`.
        sizes: the numbers of tokens. Parameters of other numbers of tokens stay as they are.
    """

    def __init__(self, tensors: typing.Any, sizes: Sizes) -> None:
        self._tensors, self._sizes = tensors, sizes

    def _missing(self, name: str) -> tuple[int, int, float]:
        """The axis of tokens, the number of tokens to add, and their value."""
        axis, side, value = _OF_TOKENS.get(name, (0, "source", 0.0))
        shape, size = self._tensors.shape(name), getattr(self._sizes, side)
        fits = name in _OF_TOKENS and len(shape) == 2 and shape[axis] == size
        return axis, max(self._sizes) + 1 - size if fits else 0, value

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._tensors[name]
        axis, missing, value = self._missing(name)
        widths = [(0, missing if each == axis else 0) for each in range(array.ndim)]
        return np.pad(array, widths, constant_values=value) if missing else array

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple."""
        axis, missing, _ = self._missing(name)
        return tuple(size + missing * (each == axis) for each, size in enumerate(self._tensors.shape(name)))


def without_start(arrays: collections.abc.Mapping[str, np.ndarray], sizes: Sizes) -> dict[str, np.ndarray]:
    """The parameters of a model without the tokens behind the vocabularies: the inverse of `WithStart`."""
    found = {}
    for name, array in arrays.items():
        axis, side, _ = _OF_TOKENS.get(name, (0, None, 0.0))
        kept = slice(None if side is None else getattr(sizes, side))
        found[name] = array[kept] if axis == 0 else array[:, kept]
    return found
