"""A family of published models: how its `config.json` is read and written, and what its tensors are called.

    config.json ── Family.read ──► ModelConfig          tensors ── Family.table ──► weights
                ◄─ Family.write ──                              ◄───────────────

A family is data. It holds no layer, and nothing anywhere asks for its name: `bert.py` and its neighbours register
records, and what there is to do with a family is done here and in `formats/hugging_face.py`.
"""

import collections.abc
import dataclasses
import re
import warnings

from keras_transformers.families.unknown_keys import hint, sort_unknown
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import shown
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import Range

# Keys of a config.json that change nothing of what a model computes from token ids in inference or in `fit`, whatever
# they hold: names, files' history, other programs' settings, training's and generation's defaults of old versions.
INERT = frozenset(
    """
    architectures auto_map model_type _name_or_path name_or_path _commit_hash transformers_version torch_dtype dtype
    finetuning_task task_specific_params id2label label2id num_labels _num_labels problem_type tokenizer_class prefix
    name language
    bos_token_id eos_token_id eos_token_ids sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
    initializer_range initializer_factor initializer_cutoff_factor use_cache gradient_checkpointing output_past
    output_attentions output_hidden_states return_dict return_dict_in_generate torchscript use_bfloat16
    tf_legacy_loss tie_encoder_decoder
    attn_implementation attn_implementation_internal _attn_implementation _attn_implementation_autoset
    experts_implementation _experts_implementation tie_last_hidden_states ignore_keys_at_rope_validation
    chunk_size_feed_forward deterministic_flash_attn reference_compile transformers.js_config sentence_transformers
    sbert_ce_default_activation_function
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences output_scores forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens epsilon_cutoff eta_cutoff
    """.split()
)

# Hugging Face's names of activations, and ours.
HUGGING_FACE_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


@dataclasses.dataclass(frozen=True)
class Head:
    """What a task adds to a body: the architecture that transformers calls it by, and its tensors.

    Attributes:
        task: which of our tasks computes it.
        architecture: transformers' class.
        entries: its tensors, besides those of the body.
        others: other architectures that hold this head, with more besides.
        labels: of its classes, where no configuration names them.
        prefix: what stands before the body's tensors, where that is another than for the family's other heads.
        num_classes: how many it has where a configuration does not say; None for two, as nearly all have.
    """

    task: str
    architecture: str
    entries: tuple[Entry, ...] = ()
    others: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    prefix: str | None = None
    num_classes: int | None = None


@dataclasses.dataclass(frozen=True)
class Family:
    """One `model_type` of Hugging Face's.

    Attributes:
        model_type: as in `config.json`.
        read: `ConfigReader` → `ModelConfig`; it may be another for another task, which the reader names.
        write: `ModelConfig` → the keys of a `config.json` that `read` reads. What it makes of another family's
            configuration does not matter: `describes` compares.
        weights: the body's table, or a function that makes it of a `ModelConfig`, where heads are fused or names
            depend on what there is. What is in it and that a model has no weight for, such as a pooler, is ignored only
            where it says so.
        heads: for one task the first is written, unless a file had another. The body alone is a "TextEmbedder".
        links: where configuration and model are defined.
        inert: keys that change nothing, besides `INERT`.
        aliases: other names of keys that `read` reads, which transformers understands as well.
    """

    model_type: str
    read: collections.abc.Callable[["ConfigReader"], ModelConfig]
    write: collections.abc.Callable[[ModelConfig], dict]
    weights: WeightMap | collections.abc.Callable[[ModelConfig], WeightMap]
    heads: tuple[Head, ...]
    links: tuple[str, ...]
    inert: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    def config(self, values, task=None, where="config.json"):
        """The `ModelConfig` that a `config.json` of this family describes.

        Args:
            values: the file's content, a dictionary.
            task: the task that is to compute with it; by default the one that the file was made for.
            where: what to call the file in warnings.

        Raises:
            ValueError: listing every key that is set to what this library does not compute.

        Warns:
            UserWarning: once for all keys that neither this library nor transformers knows, once for those that change
                only how transformers trains, and once for an `auto_map`.
        """
        config, reader = self.reading(values, task)
        if reader.passing:
            known = reader.seen | INERT | set(self.inert)
            names = ", ".join(f"{name!r}{hint(name, known)}" for name in reader.passing)
            warnings.warn(
                f"{where}: neither this library nor transformers' {self.model_type!r} computes with {names}. Such keys "
                "change nothing, and stay in the file when the model is saved.",
                stacklevel=2,
            )
        if reader.in_training_only:
            warnings.warn(
                f"{where}: {' and '.join(reader.in_training_only)} changes how transformers trains the model, and not "
                "its outputs. `fit` trains without it.",
                stacklevel=2,
            )
        code = values.get("auto_map")
        if isinstance(code, dict) and (code := [each for name, each in code.items() if name.startswith("AutoModel")]):
            warnings.warn(
                f"{where}: auto_map names the folder's own code ({code[0]!s:.80}), which is not executed: the model is "
                f"computed as transformers' {self.model_type!r}. If that code computes something else, such as "
                "attention to both sides, the results differ from it.",
                stacklevel=2,
            )
        return config

    def reading(self, values, task=None):
        """As `config`, without warnings: the `ModelConfig`, and the `ConfigReader` that read it."""
        architectures = values.get("architectures")
        reader = ConfigReader(values, task or self.task(architectures), self.aliases)
        try:
            config = self.read(reader)
        except (TypeError, ValueError) as error:
            reader.problems.append(str(error))
            reader.finish(values.keys())  # what else it would have read is not known
        known = reader.seen | INERT | set(self.inert)
        problems, passing = sort_unknown(values, known, decodes=config.decoder is not None)
        reader.passing += passing
        reader.problems += problems
        if reader.problems and (others := _named(architectures).keys() - {self.model_type}):
            told = " or ".join(map(repr, sorted(others)))
            reader.problems.append(f"architectures: {architectures} belongs to model_type {told}")
        reader.finish(values.keys())
        return config, reader

    def describes(self, config):
        """Whether `write(config)` says all that `config` is."""
        try:
            return self.config(self.write(config)) == config
        except (ValueError, TypeError, AttributeError, LookupError):
            return False

    def head(self, task, architectures=()):
        """The `Head` of a task, of those the one that a file's `architectures` name; None for a task without."""
        heads = [head for head in self.heads if head.task == task]
        named = [head for head in heads if {head.architecture, *head.others} & set(architectures or ())]
        return next(iter((*named, *heads)), None)

    def task(self, architectures):
        """The task that a file's `architectures` belong to, or None."""
        named = [head for head in self.heads if {head.architecture, *head.others} & set(architectures or ())]
        return named[0].task if named else None

    def table(self, config, head=None, apart=()):
        """The `WeightMap` of a model's body with a head, or without: other heads' tensors are of no use.

        Args:
            config: a `ModelConfig`.
            head: a `Head`, or None.
            apart: names of copies of the head's bias that hold other numbers in a file: the head has theirs.
        """
        body = self.weights if isinstance(self.weights, WeightMap) else self.weights(config)
        entries = () if head is None else head.entries
        others = dict.fromkeys(entry.name for each in self.heads for entry in each.entries)
        prefix = body.prefix if head is None or head.prefix is None else head.prefix
        prefixes = (body.prefix, *(each.prefix for each in self.heads if each.prefix is not None))
        copies = dict.fromkeys((*(body.scores if config.head.tied else ()), *body.copies))
        return dataclasses.replace(
            body,
            entries=(*(Entry("head.bias", name) for name in apart), *body.entries, *entries),
            copies=tuple(pair for pair in copies if pair[0] not in apart),
            ignored=(*body.ignored, *(original for copy, original in body.copies if copy in apart)),
            heads=tuple(others),
            prefix=prefix,
            other_prefixes=tuple(dict.fromkeys(each for each in prefixes if each != prefix)),
        )


_families: dict[str, Family] = {}

_SOURCE = "https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/models"


def links(name):
    """Where transformers defines configuration and model, by the name of the folder there."""
    return tuple(f"{_SOURCE}/{name}/{kind}_{name}.py" for kind in ("configuration", "modeling"))


def register(*families):
    """Make families known: to `from_preset`, to saving, and to the conformance suite."""
    for family in families:
        if family.model_type in _families:
            raise ValueError(f"Expected one family of each model_type, got two of {family.model_type!r}.")
        _families[family.model_type] = family


def families():
    """All registered families by their `model_type`."""
    from keras_transformers.families import bart, bert, gpt, llama, t5  # noqa: F401  they register their families

    return dict(_families)


def family_of(values, where):
    """The family of a `config.json`.

    Args:
        values: its content, a dictionary.
        where: what to call it in messages.

    Raises:
        ValueError: for no `model_type`, or an unknown one.
    """
    model_type, known = values.get("model_type"), families()
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(each, str) for each in architectures):
        raise ValueError(f"Expected a list of names as architectures in {where}, got {shown(architectures)}.")
    if not isinstance(model_type, str | None):
        raise ValueError(f"Expected a name as model_type in {where}, got {shown(model_type)}.")
    if model_type is None:  # files of 2019 have none
        named = _named(values.get("architectures"))
        if len(named) == 1:
            return next(iter(named.values()))
    if model_type not in known:
        told = "none: pass model_type=" if model_type is None else repr(model_type)
        raise ValueError(
            f"Expected a model_type in {where} that this library knows ({', '.join(sorted(known))}), got {told}"
            f"{_spelled_otherwise(model_type, known)}{_part(values, known)}."
        )
    return known[model_type]


def _named(architectures):
    """The families that have a class of these names, by their `model_type`."""
    named = set(architectures or ())
    heads = ((family, {head.architecture, *head.others}) for family in families().values() for head in family.heads)
    return {family.model_type: family for family, names in heads if names & named}


def _spelled_otherwise(name, known):
    """The known `model_type` that differs in hyphens and the like alone: another letter is another architecture."""

    def letters(text):
        return "".join(each for each in str(text).lower() if each.isalnum())

    same = [each for each in known if letters(each) == letters(name)]
    return f" (did you mean {same[0]!r}?)" if same else ""


def _part(values, known):
    """What a model of several parts, such as one of texts and images, holds that is known."""
    parts = {key: value.get("model_type") for key, value in values.items() if isinstance(value, dict)}
    parts = {
        key: model_type for key, model_type in parts.items() if isinstance(model_type, str) and model_type in known
    }
    if not parts:
        return ""
    told = " and ".join(f"a {model_type!r} in its {key}" for key, model_type in parts.items())
    return f", which holds {told}: this library reads such a part from a folder of its own"


def describing(config, preferred=None):
    """The family whose `config.json` can say all that a `ModelConfig` is, or None; `preferred` is tried first."""
    candidates = ([preferred] if preferred else []) + list(families().values())
    return next((family for family in candidates if family.describes(config)), None)


# What numbers may be by the ends of their keys. A model of more layers than any has would take minutes to refuse.
_LIMITS = (
    (r"drop(out)?(_p|_prob|_rate)?|dropout_p(rob)?|_pdrop|layerdrop", Range(0, 1)),
    (r"_eps|_epsilon|\bepsilon", Range(0, 1)),
    (r"theta|rotary_emb_base|freq_base|base_freq|freq_base_swa", Range(1, above=True)),
    (r"(hidden|encoder|decoder|num|n|num_decoder)_layers?|block_count", Range(0, 1000)),
    (r"(hidden|(?<!type_)vocab|intermediate)_size|d_model|d_ff|d_kv|n_embd|_heads?|head_dim", Range(1, 2**31 - 1)),
)


def _limits(name):
    return next((limits for pattern, limits in _LIMITS if re.search(f"({pattern})$", name)), None)


class ConfigReader:
    """The keys of one `config.json`: each is read, inert, or refused, and everything wrong is said at once.

    Args:
        values: the file's content, a dictionary.
        task: the task that is to compute with it.
        aliases: pairs of a name that a key may have besides, and its usual name.

    Attributes:
        seen: the keys that were read.
        problems: what is wrong, a sentence each.
        passing: the keys that nobody reads and that may stand.

    Example:
        >>> read = ConfigReader({"hidden_size": 32, "is_decoder": False})
        >>> read("hidden_size", 768), read("layer_norm_eps", 1e-12)
        (32, 1e-12)
        >>> read.expect("is_decoder", False)
        >>> read.finish(INERT)
    """

    def __init__(self, values, task=None, aliases=()):
        self.values = dict(values)
        self.task = task
        self.seen = set()
        self.problems = []
        self.passing = []
        self.in_training_only = []
        for alias, name in aliases:
            self.seen.add(alias)
            given, usual = values.get(alias), values.get(name)
            if given is None:
                continue
            self.values[name] = given if usual is None else usual
            if given != self.values[name]:
                self.problems.append(f"{name} and {alias}: expected one value, got {usual!r} and {given!r}")

    def __call__(self, name, default):
        """What `name` holds, of the type of `default`, where that has one; where it is absent, `default` itself."""
        self.seen.add(name)
        value, limits = self.values.get(name, default), _limits(name)
        if isinstance(default, (bool, int, float, str, dict)):
            fits = type(value) is type(default) or (type(default) is float and type(value) is int)
            if not fits:
                self.problems.append(f"{name}: expected {type(default).__name__}, got {shown(value)}")
                return default
        if name in self.values and limits is not None and value is not None:
            if type(value) not in (int, float) or not limits.holds(value):
                self.problems.append(f"{name}: expected a number {limits}, got {shown(value)}")
                return default
        return float(value) if type(default) is float else value

    def optional(self, name, kind, default=None):
        """What `name` holds, a `kind` or None, which a file may say where the default is another."""
        if self.values.get(name, default) is None:
            return self(name, None)
        return self(name, kind() if default is None else default)

    def token_id(self, name, default=None):
        """The token id that `name` holds, or None: a negative one is no token's."""
        value = self.optional(name, int, default)
        return None if value is not None and value < 0 else value

    def expect(self, name, *allowed):
        """Refuse any other value than those allowed, the first of which is the default."""
        self.seen.add(name)
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            self.problems.append(f"{name}: only {wanted} is supported, got {shown(value)}")

    def in_training(self, name, default):
        """Note a key that changes only how transformers trains, if its value is not the `default`, which does not."""
        value = self(name, default)
        if value != default:
            self.in_training_only.append(f"{name}={value!r}")

    def repeats(self, name, value, of):
        """Accept `name`, which may repeat the `value` that the key `of` holds, but not contradict it."""
        self.seen.add(name)
        given = self.values.get(name)
        if given is not None:
            if given != value:
                self.problems.append(f"{name}: expected {value!r}, as {of} says, got {given!r:.80}")

    def pass_by(self, name):
        """Note a parameter that nobody reads, inside of a key: it stands, unless the folder's own code may read it."""
        if self.values.get("auto_map"):
            self.problems.append(f"{name}: unknown, and the folder's own code, which auto_map names, may read it")
        else:
            self.passing.append(name)

    def activation(self, name, default):
        """Our name of the activation that `name` holds."""
        value = self(name, default)
        if value not in HUGGING_FACE_ACTIVATIONS:
            self.problems.append(f"{name}: expected one of {', '.join(HUGGING_FACE_ACTIVATIONS)}, got {value!r}")
            return HUGGING_FACE_ACTIVATIONS[default]
        return HUGGING_FACE_ACTIVATIONS[value]

    def finish(self, inert):
        """Raise `ValueError` for all that was wrong, and for keys that were not read and are not inert."""
        known = self.seen | set(inert)
        for name in self.values:
            if name not in known:
                self.problems.append(f"unknown key {name!r}{hint(name, known)}")
        if self.problems:
            raise ValueError("The configuration does not fit: " + "; ".join(self.problems) + ".")


def expect_one_stack(read):
    """What every configuration may say of an encoder with a decoder, and that of one stack alone does not."""
    for name in ("is_encoder_decoder", "add_cross_attention"):
        read.expect(name, False)
    read.expect("cross_attention_hidden_size", None)
    read.expect("pruned_heads", {}, None)


def expect_two_stacks(read, is_encoder_decoder=(True,)):
    """The same of a model that has both, as all files say, or not all."""
    read.expect("is_encoder_decoder", *is_encoder_decoder)
    for name in ("is_decoder", "add_cross_attention"):
        read.expect(name, False)
    read.expect("cross_attention_hidden_size", None)
    read.expect("pruned_heads", {}, None)


def activation_name(activation):
    """Hugging Face's name of one of our activations."""
    return {ours: theirs for theirs, ours in reversed(HUGGING_FACE_ACTIVATIONS.items())}[activation]
