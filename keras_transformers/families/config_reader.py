"""Reading of the values of one `config.json`, with all problems reported at once."""

import collections.abc
import re
from typing import Any

from keras_transformers.families.unknown_keys import hint
from keras_transformers.files.reading import shown
from keras_transformers.records import Range

# Names of activations in transformers, and this library's names.
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

# The range of a number, by the end of its key. A model of more layers than any has would take minutes to refuse.
_LIMITS = (
    (r"sliding_window_pattern|_layer_interval|_every_n_layers|decoder_sparse_step", Range(1, 2**31 - 1)),
    (r"(?<!token_)drop(out)?(_p|_prob|_rate)?|dropout_p(rob)?|_pdrop|layerdrop", Range(0, 1)),
    (r"_eps|_epsilon|\bepsilon", Range(0, 1)),
    (r"theta|rotary_emb_base|freq_base|base_freq|freq_base_swa", Range(1, above=True)),
    (r"(hidden|encoder|decoder|num|n|num_decoder)_layers?|block_count", Range(0, 1000)),
    (r"(hidden|(?<!type_)vocab|intermediate)_size|d_model|d_ff|d_kv|n_embd|_heads?|head_dim", Range(1, 2**31 - 1)),
)


def _limits(name: str) -> Range | None:
    return next((limits for pattern, limits in _LIMITS if re.search(f"({pattern})$", name)), None)


class ConfigReader:
    """The keys of one `config.json`: each is read, inert, or refused, and all problems are reported at once.

    Args:
        values: the content of the file, a dictionary.
        task: the task that uses the configuration.
        aliases: pairs of a second name of a key, and its usual name.

    Attributes:
        seen: the keys that were read.
        problems: all problems, a sentence each.
        passing: unused keys that are accepted.
        in_training_only: the keys, with their values, that change only how transformers trains.

    Example:
        >>> read = ConfigReader({"hidden_size": 32, "is_decoder": False})
        >>> read("hidden_size", 768), read("layer_norm_eps", 1e-12)
        (32, 1e-12)
        >>> read.expect("is_decoder", False)
        >>> read.finish({"torch_dtype"})
    """

    def __init__(
        self,
        values: collections.abc.Mapping[str, Any],
        task: str | None = None,
        aliases: collections.abc.Iterable[tuple[str, str]] = (),
    ) -> None:
        self.values = dict(values)
        self.task = task
        self.seen: set[str] = set()
        self.problems: list[str] = []
        self.passing: list[str] = []
        self.in_training_only: list[str] = []
        for alias, name in aliases:
            self.seen.add(alias)
            given, usual = values.get(alias), values.get(name)
            if given is None:
                continue
            self.values[name] = given if usual is None else usual
            if given != self.values[name]:
                self.problems.append(f"{name} and {alias}: expected one value, got {usual!r} and {given!r}")

    def __call__(self, name: str, default: Any) -> Any:
        """Return the value of `name`, of the type of `default` unless that is None; `default` if the key is absent."""
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

    def optional(self, name: str, kind: type, default: Any = None) -> Any:
        """Return the value of `name`, a `kind`, or None if the file has null; `default` if the key is absent."""
        if self.values.get(name, default) is None:
            return self(name, None)
        known = len(self.problems)
        value = self(name, kind() if default is None else default)
        return value if len(self.problems) == known else default

    def token_id(self, name: str, default: int | None = None) -> int | None:
        """Return the token id of the key `name`; None for null and for a negative number, which no token has."""
        value = self.optional(name, int, default)
        return None if value is not None and value < 0 else value

    def expect(self, name: str, *allowed: Any) -> None:
        """Refuse any value that is not allowed. The first allowed value is the default."""
        self.seen.add(name)
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            wanted = " or ".join(repr(each) for each in allowed)
            self.problems.append(f"{name}: only {wanted} is supported, got {shown(value)}")

    def in_training(self, name: str, default: Any) -> None:
        """Note a key that changes only how transformers trains, unless it has the `default`, which changes nothing."""
        value = self(name, default)
        if value != default:
            self.in_training_only.append(f"{name}={value!r}")

    def repeats(self, name: str, value: Any, of: str) -> None:
        """Accept the key `name` if it repeats the `value` of the key `of`; refuse it if it contradicts."""
        self.seen.add(name)
        given = self.values.get(name)
        if given is not None:
            if given != value:
                self.problems.append(f"{name}: expected {value!r}, as {of} says, got {given!r:.80}")

    def pass_by(self, name: str) -> None:
        """Note an unused parameter inside of a key: it is accepted unless the folder's own code may read it."""
        if self.values.get("auto_map"):
            self.problems.append(f"{name}: unknown, and the folder's own code, which auto_map names, may read it")
        else:
            self.passing.append(name)

    def activation(self, name: str, default: str) -> str:
        """Return this library's name of the activation in the key `name`."""
        value = self(name, default)
        if value not in HUGGING_FACE_ACTIVATIONS:
            self.problems.append(f"{name}: expected one of {', '.join(HUGGING_FACE_ACTIVATIONS)}, got {value!r}")
            return HUGGING_FACE_ACTIVATIONS[default]
        return HUGGING_FACE_ACTIVATIONS[value]

    def finish(self, inert: collections.abc.Iterable[str]) -> None:
        """Raise `ValueError` for all problems, and for keys that were not read and are not inert."""
        known = self.seen | set(inert)
        for name in self.values:
            if name not in known:
                self.problems.append(f"unknown key {name!r}{hint(name, known)}")
        if self.problems:
            raise ValueError("The configuration does not fit: " + "; ".join(self.problems) + ".")


def activation_name(activation: str) -> str:
    """Return transformers' name of an activation; each of this library's activations has one."""
    return {ours: theirs for theirs, ours in reversed(HUGGING_FACE_ACTIVATIONS.items())}[activation]
