"""The base class of embedders whose vectors are not one dense vector for each text: prompts, similarity and files."""

import pathlib
import typing
from collections.abc import Mapping, Sequence

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import to_json
from keras_transformers.tasks.prompts import encode_prompted, find_prompt
from keras_transformers.tasks.vector_training import VectorTraining, loss_of, sides_of
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses.wrappers import Cached
from keras_transformers.training.metrics import TokenMean
from keras_transformers.training.optimizers import Optimizer


class EmbedderTask(VectorTraining):
    """An embedder with prompts. Abstract: use one of the tasks.

    In training, the first text of a row is a query, and the others are documents.

    Args:
        config, tokenizer: as for the tasks.
        measures: the similarities that the task knows.
        max_length: the most tokens of a text, if fewer than the model reads.
        prompts, default_prompt_name, measure: see `TextEmbedder`.
        loss: the loss of training, a record of `kt.losses`.
    """

    measures: tuple[str, ...] = ()
    _was: dict = {}  # the settings of a folder, and its files
    _kept: dict = {}

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        *,
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        measure: str = "",
        loss: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        self.measure = measure or self.measures[0]
        if self.measure not in self.measures:
            raise ValueError(f"Expected measure to be one of {', '.join(self.measures)}, got {measure!r}.")
        self.prompts = dict(prompts or {})
        self.default_prompt_name = default_prompt_name
        find_prompt(self.prompts, default_prompt_name)  # checks the default
        self._limit = max_length
        self.training_loss = _checked(loss_of(loss))
        self.accuracy = TokenMean(name="accuracy")

    def compile(self, optimizer: Optimizer | None = None, *, loss: typing.Any = None, **kwargs: typing.Any) -> None:
        super().compile(optimizer, loss=None if loss is None else _checked(loss_of(loss)), **kwargs)

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        sides = sides_of(inputs)
        if len(sides) == 1:
            return self._vectors(sides[""], training)
        return self._stacked([self._vectors(side, training, not name) for name, side in sides.items()])

    def _vectors(self, inputs: dict[str, Tensor], training: bool | None = None, is_query: bool = False) -> Tensor:
        """The vectors of one side. Abstract."""
        raise NotImplementedError

    def _stacked(self, sides: list[Tensor]) -> Tensor:
        """The vectors of all sides, on a second axis."""
        return ops.stack(sides, axis=1)

    @property
    def max_length(self) -> int | None:
        return min((limit for limit in (super().max_length, self._limit) if limit), default=None)

    def _own_arguments(self) -> dict[str, typing.Any]:
        """The arguments of the constructor that a folder of sentence-transformers holds."""
        return {
            "max_length": self._limit,
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
            "measure": self.measure,
        }

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **self._own_arguments(), "loss": to_json(self.training_loss)}

    def _prompt(self, prompt: str | None, task: str | None) -> str:
        return find_prompt(self.prompts, self.default_prompt_name, prompt, None, task)

    def _prompted(self, texts: Sequence[str], prompt: str, max_length: int | None = None) -> dict[str, Ragged]:
        """The inputs of texts with a prompt in front."""
        return self.encode_texts(encode_prompted(self._tokenizer(), prompt, texts), None, max_length)[0]

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        return super()._read_arguments(cls._model_folder(folder))


def _checked(loss: typing.Any) -> typing.Any:
    """Refuse a loss that only dense vectors have."""
    if isinstance(loss, Cached):
        raise ValueError("Expected a loss that is not Cached, which a TextEmbedder alone computes. Pass the inner one.")
    return loss
