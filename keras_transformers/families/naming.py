"""The choice of the family and head that describe a model, and so name its weights in files."""

import typing

from keras_transformers.families.family import Family, Head
from keras_transformers.families.registry import describing
from keras_transformers.models.config import ModelConfig


def naming_of(config: ModelConfig, task: str | None, origin: typing.Any = None) -> tuple[Family, Head] | None:
    """Return the family that describes a model, and the family's `Head` for the task; None if either is missing.

    Args:
        config, task, origin: as for `write`.
    """
    is_origin = origin is not None and origin.config == config  # the configuration alone may fit another family
    family = origin.family if is_origin else describing(config, origin and origin.family)
    if family is not None and origin is not None and origin.family is family and origin.task == task:
        return family, origin.head
    head = family and family.head(task, family.write(config).get("architectures"))
    return head and (family, head)
