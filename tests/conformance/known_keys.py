"""Which keys of a `config.json` transformers reads, family by family, found in its own source."""

import ast
import dataclasses
import functools
import importlib
import inspect
import textwrap

from keras_transformers.families.registry import families

# Of a wrapper's own classes, which stand in the same module: they read the wrapper's configuration.
_WRAPPERS = {"gemma3_text": {"image_token_id", "mm_tokens_per_image", "text_config", "vision_config"}}


@functools.cache
def known(model_type):
    """All keys that transformers reads of files of this `model_type`."""
    import transformers
    from transformers import cache_utils, masking_utils, modeling_layers

    cls = transformers.CONFIG_MAPPING[model_type]
    names = {field.name for field in dataclasses.fields(cls)} | set(cls.attribute_map)
    names |= {name for name, value in vars(cls).items() if isinstance(value, property) and value.fset}
    for each in cls.__mro__:
        names |= _popped(vars(each)["__post_init__"]) if "__post_init__" in vars(each) else set()
    names -= {"rope_theta", "rope_scaling"}  # there, only to say that the model has no rotary positions
    if "rope_parameters" in names:
        names |= _popped(cls.convert_rope_params_to_dict)
    model = importlib.import_module(cls.__module__.replace("configuration_", "modeling_"))
    used = [each for name, each in vars(modeling_layers).items() if name.startswith("GenericFor")]
    used = [each for each in used if each.__name__ in vars(model)]
    if families()[model_type].config({}).decoder is not None:  # an encoder's mask depends on nothing, and is not kept
        used += [cache_utils, masking_utils]
    read = set().union(*(_read(each) for each in (model, *used)))
    others = {name for name in dir(cls) if _is_other(inspect.getattr_static(cls, name))}
    return (names | {name for name in read - others if not name.startswith("_")}) - _WRAPPERS.get(model_type, set())


def _tree(code):
    return ast.parse(textwrap.dedent(inspect.getsource(code)))


def _is_other(attribute):
    """Whether it is no key: a method, or what a method computes."""
    return callable(attribute) or (isinstance(attribute, property) and attribute.fset is None)


def _popped(function):
    """Keys that a configuration's class takes from what its fields leave over: those of older files."""
    calls = [node for node in ast.walk(_tree(function)) if isinstance(node, ast.Call) and node.args]
    calls = [call for call in calls if getattr(getattr(call.func, "value", None), "id", None) == "kwargs"]
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def _read(code):
    """Attributes of `config` and `….config`."""
    found = set()
    for node in ast.walk(_tree(code)):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("getattr", "hasattr"):
            if _is_config(node.args[0]) and isinstance(node.args[1], ast.Constant):
                found.add(node.args[1].value)
    return found


def _is_config(node):
    return "config" in (getattr(node, "id", None), getattr(node, "attr", None))
