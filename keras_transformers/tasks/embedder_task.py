"""The base class of embedders whose vectors are not one dense vector for each text: prompts, similarity and files."""

import pathlib
import typing
from collections.abc import Mapping, Sequence

from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.tasks.prompts import encode_prompted, find_prompt
from keras_transformers.tokenizers.tokenizer import Tokenizer


class EmbedderTask(EncoderTask):
    """An embedder with prompts. Abstract: use one of the tasks.

    Args:
        config, tokenizer: as for the tasks.
        measures: the similarities that the task knows.
        max_length: the most tokens of a text, if fewer than the model reads.
        prompts, default_prompt_name, measure: see `TextEmbedder`.
    """

    measures: tuple[str, ...] = ()
    form = Form(labelled=False)
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
        return {**super().get_config(), **self._own_arguments()}

    def _prompt(self, prompt: str | None, task: str | None) -> str:
        return find_prompt(self.prompts, self.default_prompt_name, prompt, None, task)

    def _prompted(self, texts: Sequence[str], prompt: str, max_length: int | None = None) -> dict[str, Ragged]:
        """The inputs of texts with a prompt in front."""
        return self.encode_texts(encode_prompted(self._tokenizer(), prompt, texts), None, max_length)[0]

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        return super()._read_arguments(cls._model_folder(folder))
