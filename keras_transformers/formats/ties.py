"""Tied tensors that differ in a file although the configuration ties them.

    flag and names                                  in the file              result
    tie_word_embeddings: true                       another lm_head.weight   the head's own matrix, with a warning
    two names of the head's bias                    other numbers            the second name's, with a warning
    shared.weight, encoder.embed_tokens.weight, …   other numbers            refused
    tie_word_embeddings: false                      no lm_head.weight        refused
    tie_word_embeddings: false                      one name of its bias     that bias, with a warning

In the first two cases, transformers does the same from version 5 on (`PreTrainedModel.tie_weights`). In the third, it
uses each tensor in its own place, which is a model that no configuration describes. In the fourth, it initialises a
random matrix. In the last, a file that version 4 wrote for one tensor, it uses zeros.
"""

import dataclasses
import typing
from collections.abc import Mapping

from keras_transformers.families.family import Family, Head
from keras_transformers.families.weight_map import WeightMap
from keras_transformers.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Settled:
    """A configuration adjusted to a file's tensors: the `config`, the names of biases that are `apart` (see
    `Family.table`), and `notes`, sentences for the user."""

    config: ModelConfig
    apart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def settle(
    family: Family, config: ModelConfig, head: Head | None, tensors: Mapping[str, typing.Any], where: object
) -> Settled:
    """Compare tied tensors in a file and adjust the configuration.

    Args:
        family: a `Family`.
        config: the `ModelConfig` that the configuration describes.
        head: the `Head` that is used, or None for the body alone.
        tensors: the file's tensors, a mapping of names to arrays.
        where: the file's name in messages.

    Returns: a `Settled`.

    Raises:
        ValueError: for tensors of the body that contradict each other, and for a head that neither has a matrix nor is
            tied to the token embeddings.
    """
    table = family.table(config, head)
    matrices, biases = _names(table, family.heads, "head.dense", "weight"), _names(table, family.heads, "head", "bias")
    is_read = head is not None and any(entry.ours == "head.dense" for entry in head.entries)
    tied, apart, notes = config.head.tied, [], []
    for copy, original in table.contradictions(tensors):
        if copy in (*matrices, *biases) and not is_read:
            continue
        if copy in matrices and tied:
            config = dataclasses.replace(config, head=dataclasses.replace(config.head, tied=False))
            notes.append(
                f"{where}: config.json says that {copy} is {original} (tie_word_embeddings), and the file holds other "
                f"numbers for both. The head computes with {copy}, as in transformers 5."
            )
        elif copy in biases:
            apart.append(copy)
            if tied:  # else the configuration does not tie them
                notes.append(
                    f"{where}: {copy} and {original} are two names of one bias, and hold other numbers. The head "
                    f"computes with {copy}, as in transformers 5."
                )
        else:
            raise ValueError(
                f"Expected the same numbers under two names of one tensor in {where}, got others in {copy} than in "
                f"{original}. Remove from the file the one that is not meant."
            )
    if is_read and not tied:
        notes += _untied(table, matrices, biases, tensors, where)
    return Settled(config, tuple(apart), tuple(notes))


def _untied(
    table: WeightMap, matrices: list[str], biases: list[str], tensors: Mapping[str, typing.Any], where: object
) -> list[str]:
    """Return a sentence for each bias of a head without ties that is read under its other name.

    Raises:
        ValueError: if the head has no matrix.
    """
    if not any(name in tensors for name in matrices):
        raise ValueError(
            f"Expected {' or '.join(matrices)} in {where}, since config.json says tie_word_embeddings: false, got "
            "none. Set it to true if the head's matrix is the token embeddings, or take a file that is whole."
        )
    return [
        f"{where}: the head has no {copy}, though config.json says tie_word_embeddings: false. It computes "
        f"with {original}, as in transformers 4; transformers 5 begins with zeros."
        for copy, original in table.copies
        if copy in biases and copy not in tensors and original in tensors
    ]


def _names(table: WeightMap, heads: typing.Any, ours: str, leaf: str) -> list[str]:
    """Return the names of a weight of the vocabulary head in files, and the names of its copies."""
    names = [f"{entry.theirs}.{leaf}" for head in heads for entry in head.entries if entry.ours == ours]
    names += [copy for copy, original in table.copies if original in names]
    return list(dict.fromkeys(names))
