"""The seven special tokens by name: one record, from which all other lists of them are derived."""

import dataclasses
from collections.abc import Mapping
from typing import Self, TypedDict, cast

import tokenizers


class SpecialTokenArguments(TypedDict, total=False):
    """The fields of `SpecialTokens`, as keyword arguments of `Tokenizer` and `Tokenizer.train`."""

    padding_token: str | None
    unknown_token: str | None
    start_token: str | None
    end_token: str | None
    class_token: str | None
    separator_token: str | None
    mask_token: str | None


@dataclasses.dataclass(frozen=True)
class SpecialTokens:
    """How each special token is written; None for a token that does not exist.

    `Tokenizer.train` numbers the tokens in this order.

    Attributes:
        padding_token: fills rows up to one length.
        unknown_token: stands for text that the vocabulary cannot write.
        start_token, end_token: stand around a text that a model writes.
        class_token, separator_token: stand in front of and after a text that an encoder reads, as in BERT.
        mask_token: stands in place of a word that the model is to find.
    """

    padding_token: str | None = "<pad>"
    unknown_token: str | None = "<unk>"
    start_token: str | None = "<s>"
    end_token: str | None = "</s>"
    class_token: str | None = None
    separator_token: str | None = None
    mask_token: str | None = None

    def named(self) -> dict[str, str]:
        """The tokens that exist, by our names."""
        return {name: token for name in NAMES if (token := getattr(self, name)) is not None}

    def arguments(self) -> SpecialTokenArguments:
        """All seven as keyword arguments of `Tokenizer`."""
        return cast(SpecialTokenArguments, dataclasses.asdict(self))

    def ids(self, engine: tokenizers.Tokenizer) -> dict[str, int]:
        """The ids of the tokens that exist, by our names.

        Args:
            engine: whose vocabulary has the tokens.

        Raises:
            ValueError: for tokens that the vocabulary lacks; all are listed.
        """
        found = {name: engine.token_to_id(token) for name, token in self.named().items()}
        missing = ", ".join(f"{name}={getattr(self, name)!r}" for name, i in found.items() if i is None)
        if missing:
            raise ValueError(
                f"Expected every special token in the vocabulary, got {missing}, which it lacks. Give the vocabulary's "
                "own spelling, or None for a token that does not exist."
            )
        return {name: i for name, i in found.items() if i is not None}

    def by_role(self) -> dict[str, str | None]:
        """All seven tokens by the names in `tokenizer_config.json`, such as "pad_token"."""
        return {role: getattr(self, name) for name, role in _ROLES.items()}

    @classmethod
    def of_roles(cls, tokens: Mapping[str, str | None]) -> Self:
        """The record of tokens by the names in `tokenizer_config.json`; those that are left out do not exist."""
        return cls(**{name: tokens.get(role) for name, role in _ROLES.items()})


NAMES = tuple(field.name for field in dataclasses.fields(SpecialTokens))
_ROLES = dict(
    zip(
        NAMES,
        ("pad_token", "unk_token", "bos_token", "eos_token", "cls_token", "sep_token", "mask_token"),
        strict=True,
    )
)
ROLES = tuple(_ROLES.values())  # the names in tokenizer_config.json


def id_name(name: str) -> str:
    """The attribute of a `Tokenizer` that holds the id of a token: "padding_id" for "padding_token"."""
    return name.removesuffix("token") + "id"
