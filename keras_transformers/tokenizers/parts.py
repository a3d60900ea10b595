"""The parts of a `Tokenizer` that its methods in other files read, as a type."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import tokenizers

from keras_transformers.tokenizers.languages import Languages
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.special_tokens import SpecialTokens
from keras_transformers.tokenizers.vocabulary import Vocabulary

if TYPE_CHECKING:  # few tokenizers have this kind
    from keras_transformers.tokenizers.convert.numbered_pieces import NumberedPieces


class Parts(Protocol):
    """A `Tokenizer`; the private attributes are explained there.

    Its methods that stand in files of their own take it as `self: Parts`, since they cannot import the class, which
    imports them.
    """

    engine: tokenizers.Tokenizer
    special_tokens: SpecialTokens
    vocabulary_size: int
    target_vocabulary_size: int
    target: Self | None
    _ids: dict[str, int]
    _vocabulary: Vocabulary
    _sides: "tuple[Vocabulary | NumberedPieces, Vocabulary | NumberedPieces]"
    _options: dict[str, Any]
    _content: bytes | None
    _side_files: Mapping[str, bytes]
    _template_files: Mapping[str, bytes]
    _switched_off: tuple[dict[str, Any] | None, dict[str, Any] | None]

    @property
    def control_ids(self) -> set[int]: ...
    @property
    def languages(self) -> Mapping[str, int]: ...
    @property
    def language_place(self) -> str | None: ...
    @property
    def template(self) -> Template: ...
    @property
    def chat_templates(self) -> dict[str, str]: ...
    @property
    def _languages(self) -> Languages: ...
    def encode(self, texts: Sequence[str], parse_special: bool = False) -> list[list[int]]: ...
    def _write(self, target: Self) -> None: ...
