"""MetricX: an mT5 that answers with a number, the errors of a translation.

    "source: … candidate: … reference: …" ─► encoder ─► decoder, one step ─► logit of one token, from 0 to 25

Legend: `N` translations, `B` batch, `T` length.
"""

import pathlib
import typing
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.files.reading import shown
from keras_transformers.formats.comet_folders import named_folder
from keras_transformers.formats.sources import resolve
from keras_transformers.generation import executors
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks import notices
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.data_task import batch_shape, batches_by_length
from keras_transformers.tasks.generative_task import GenerativeTask
from keras_transformers.tasks.presets import has_tokenizer
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tokenizers.tokenizer import Tokenizer

ARCHITECTURE = "MT5ForRegression"
ANSWER = 250089  # the id of <extra_id_10>, whose logit is the number
WORST = 25.0
MAX_LENGTH = 1536
_BASE = "google/mt5-base"  # every mT5 has the same tokenizer


class MetricX(GenerativeTask):
    """An mT5 that answers with a number."""

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is None or config.decoder is None:
            raise wrong_stacks("a ModelConfig with an encoder and a decoder, as mT5 has", config)

    @classmethod
    def _checkpoint_task(cls) -> str:
        return "Seq2SeqLM"

    def number(self, inputs: dict[str, Tensor]) -> Tensor:
        """The numbers `[B]` for rows of `token_ids`, int32 `[B, T]`, with a `padding_mask [B, T]`."""
        starts_B1 = ops.full_like(inputs["token_ids"][:, :1], 0)
        x = self.backbone({**inputs, "decoder_token_ids": starts_B1})
        logits = self.head(x, embedding=self.backbone.decoder_embedding)[:, 0]
        return ops.clip(logits[:, ANSWER], 0.0, WORST)


def is_folder(values: dict[str, typing.Any]) -> bool:
    """Return whether a `config.json` is MetricX's."""
    architectures = values.get("architectures")
    return isinstance(architectures, list) and ARCHITECTURE in architectures


class MetricXJudge:
    """Scores texts by a folder of MetricX-24; see `TranslationScorer`.

    Args:
        folder: the folder.
        base: the folder of mT5's tokenizer, or its name on a hub.
        dtype: the dtype policy of the model.
    """

    lower_is_better = True
    references = "optional"
    name = "MetricX"

    def __init__(self, folder: pathlib.Path, base: typing.Any = None, dtype: typing.Any = None) -> None:
        if base is not None:
            place = resolve(base, weights=False)
        else:
            place = folder if has_tokenizer(folder) else named_folder(_BASE, folder)
        self._model = MetricX.from_preset(folder, dtype=dtype)
        self._tokenizer = Tokenizer.load(place)
        size = self._model.config.target_embeddings.vocabulary_size
        if size <= ANSWER:
            raise ValueError(
                f"Expected the vocabulary of mT5 in {folder}, whose token {ANSWER} is the number, got {shown(size)} "
                "tokens."
            )

    def scores(
        self,
        sources: Sequence[str],
        translations: Sequence[str],
        references: Sequence[str] | None,
        batch_size: int,
        progress: Progress | None,
    ) -> np.ndarray:
        """The scores, float64 `[N]`."""
        endings = [""] * len(sources) if references is None else [f" reference: {each}" for each in references]
        texts = [
            f"source: {source} candidate: {translation}{ending}"
            for source, translation, ending in zip(sources, translations, endings, strict=True)
        ]
        ids = self._tokenizer.encode(texts)
        room = MAX_LENGTH - 1  # the end token counts, and is then removed
        notices.warn_of_long([n for n, each in enumerate(ids) if len(each) > room], len(ids), None, room)
        rows = Ragged.join(np.array(each[:room], "int32") for each in ids)
        self._model._check_ids("texts", rows.token_ids, "embeddings")
        results, compute = np.zeros(len(ids)), executors.forward(self._model, self._model.number)
        for chosen in batches_by_length(rows.lengths, batch_size):
            token_ids, mask = rows.padded(chosen, batch_shape(rows.lengths[chosen]), self._model.config.filler)
            results[chosen] = np.asarray(compute({"token_ids": token_ids, "padding_mask": mask}))[: len(chosen)]
            if progress is not None:
                progress(len(chosen))
        return results
