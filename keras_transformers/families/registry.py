"""The registry of families. A family's module is imported on the first request for the family, and registers it.

family_of({"model_type": "qwen2"}, …)  imports llama.py
families()                             imports all of them
"""

import collections.abc
import importlib
from typing import Any

from keras_transformers.files.reading import shown

# The modules, and the `model_type` of each family that a module registers. If several families can express a model, the
# first is written.
MODULES = {
    "bart": ("bart", "mbart", "marian", "pegasus", "m2m_100"),
    "bert": (
        *("bert", "roberta", "xlm-roberta", "camembert", "distilbert"),
        *("electra", "albert", "mpnet"),
    ),
    "modernbert": ("modernbert",),
    "bert_relatives": (
        *("ernie", "megatron-bert", "rembert", "bert-generation"),
        *("roberta-prelayernorm", "xlm-roberta-xl", "data2vec-text", "luke"),
    ),
    "convolutional_encoders": ("squeezebert", "convbert"),
    "deberta": ("deberta", "deberta-v2"),
    "fnet": ("fnet",),
    "gpt": ("gpt2", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi"),
    "embedders": ("gte", "eurobert", "new"),
    "jina": ("jina_embeddings_v3", "jina_xlm_roberta", "jina_bert"),
    "llama": ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2", "olmo3", "phi3"),
    "hunyuan": ("hunyuan_v1_dense",),
    "gemma": ("gemma", "gemma2", "gemma3_text"),
    "mixtures": ("mixtral", "qwen3_moe"),
    "mobilebert": ("mobilebert",),
    "nllb_moe": ("nllb-moe",),
    "nomic": ("nomic_bert", "hf_nomic_bert"),
    "rotary_encoders": ("esm", "roformer"),
    "sparse_encoders": ("longformer", "big_bird"),
    "t5": ("t5", "mt5", "umt5"),
    "xlnet": ("xlnet",),
}
# Published code that is not in transformers, and whose files name a `model_type` of transformers for another model: the
# key that tells them, its value (None for any), and the family.
FORMS = {
    "bert": ("position_embedding_type", "alibi", "jina_bert"),
    "nomic_bert": ("n_embd", None, "hf_nomic_bert"),
    "xlm-roberta": ("position_embedding_type", "rotary", "jina_xlm_roberta"),
}
_HOMES = {model_type: module for module, model_types in MODULES.items() for model_type in model_types}

_families: dict[str, Any] = {}  # `Family` records; their module imports this one


def register(*families: Any) -> None:
    """Register `Family` records for `from_preset`, saving, and the conformance suite.

    Raises:
        ValueError: for a `model_type` that is registered already.
    """
    for family in families:
        if family.model_type in _families:
            raise ValueError(f"Expected one family of each model_type, got two of {family.model_type!r}.")
        _families[family.model_type] = family


def families() -> dict[str, Any]:
    """Return all families by their `model_type`."""
    for module in MODULES:
        importlib.import_module(f"keras_transformers.families.{module}")
    return {model_type: _families[model_type] for model_type in dict.fromkeys((*_HOMES, *_families))}


def family(model_type: str) -> Any:
    """Return the `Family` of one `model_type`.

    Raises:
        KeyError: for an unknown `model_type`.
    """
    if model_type not in _families:
        importlib.import_module(f"keras_transformers.families.{_HOMES[model_type]}")
    return _families[model_type]


def family_of(values: collections.abc.Mapping[str, Any], where: object) -> Any:
    """Return the `Family` of a `config.json`.

    Args:
        values: the content of the file, a dictionary.
        where: the file's name in messages.

    Raises:
        ValueError: for a missing or unknown `model_type`.
    """
    forms = {form for _, _, form in FORMS.values()}
    model_type, known = values.get("model_type"), {**_HOMES, **_families}.keys() - forms
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(each, str) for each in architectures):
        raise ValueError(f"Expected a list of names as architectures in {where}, got {shown(architectures)}.")
    if not isinstance(model_type, str | None):
        raise ValueError(f"Expected a name as model_type in {where}, got {shown(model_type)}.")
    if model_type is None:  # files of 2019 have none
        named = named_by(architectures)
        if len(named) == 1:
            return next(iter(named.values()))
    if model_type not in known:
        got = "none: pass model_type=" if model_type is None else repr(model_type)
        raise ValueError(
            f"Expected a model_type in {where} that this library knows ({', '.join(sorted(known))}), got {got}"
            f"{_spelled_otherwise(model_type, known)}{_part(values, known)}."
        )
    return family(_form_of(values, model_type))


def _form_of(values: collections.abc.Mapping[str, Any], model_type: str) -> str:
    """Return the name of the family of a file with this `model_type`: another one for the files of `FORMS`."""
    name, value, form = FORMS.get(model_type, ("", None, ""))
    given = values.get(name)
    return model_type if given is None or (value is not None and given != value) else form


def named_by(architectures: collections.abc.Iterable[str] | None) -> dict[str, Any]:
    """Return the families that have one of these `architectures`, by their `model_type`."""
    named = set(architectures or ())
    heads = ((each, {head.architecture, *head.others}) for each in families().values() for head in each.heads)
    return {each.model_type: each for each, names in heads if names & named}


def describing(config: Any, preferred: Any = None) -> Any:
    """Return a `Family` whose `config.json` can express all of a `ModelConfig`, or None; `preferred` is tried first."""
    if preferred is not None and preferred.describes(config):
        return preferred
    return next((each for each in families().values() if each.describes(config)), None)


def _spelled_otherwise(name: str | None, known: collections.abc.Iterable[str]) -> str:
    """Return a hint at a known `model_type` that differs only in hyphens and the like. Another letter may mean another
    architecture."""

    def letters(text: object) -> str:
        return "".join(each for each in str(text).lower() if each.isalnum())

    same = [each for each in known if letters(each) == letters(name)]
    return f" (did you mean {same[0]!r}?)" if same else ""


def _part(values: collections.abc.Mapping[str, Any], known: collections.abc.Container[str]) -> str:
    """Return a hint at the known parts of a composite model, such as one of texts and images."""
    parts = {key: value.get("model_type") for key, value in values.items() if isinstance(value, dict)}
    parts = {
        key: model_type for key, model_type in parts.items() if isinstance(model_type, str) and model_type in known
    }
    if not parts:
        return ""
    listed = " and ".join(f"a {model_type!r} in its {key}" for key, model_type in parts.items())
    return f", which holds {listed}: this library reads such a part from a folder of its own"
