"""Embedders on MTEB, the benchmark of embedders whose results make the leaderboard.

    encoder = MTEBEncoder(embedder, "org/name")
    mteb.evaluate(encoder, mteb.get_tasks(tasks=["STSBenchmark"]))

Source: mteb/models/models_protocols.py (`EncoderProtocol`), https://github.com/embeddings-benchmark/mteb
"""

import itertools
import typing

import numpy as np

from keras_transformers.extras import require
from keras_transformers.training.ranking_metrics import paired

_MEASURES = ("cosine", "dot", "euclidean")


class MTEBEncoder:
    """A `TextEmbedder` in the form that MTEB calls (extra `mteb`).

    A task gets the first prompt of the model that is called like it: `<task>-<query or document>`, `<task>`,
    `<kind of task>-<query or document>`, `<kind of task>`; else the prompt of its queries or documents.

    Args:
        embedder: a `TextEmbedder`.
        name: the name in the results, "org/name".
        revision: the revision in the results.
        **options: arguments of `embedder.embed` for all texts, such as `truncate_dim=256`.

    Example:
        >>> import mteb  # doctest: +SKIP
        >>> mteb.evaluate(MTEBEncoder(embedder, "org/name"), mteb.get_tasks(tasks=["STSBenchmark"]))  # doctest: +SKIP
    """

    def __init__(
        self, embedder: typing.Any, name: str, revision: str = "no_revision_available", **options: typing.Any
    ) -> None:
        require("mteb", mteb=True)
        if name.count("/") != 1:
            raise ValueError(f"Expected a name such as 'org/name', got {name!r}.")
        self.embedder, self.name, self.revision, self.options = embedder, name, revision, options

    @property
    def mteb_model_meta(self) -> typing.Any:
        """The `ModelMeta` of the results."""
        from mteb.models import ModelMeta

        measure = self.embedder.measure
        return ModelMeta.create_empty(
            {
                "name": self.name,
                "revision": self.revision,
                "n_parameters": self.embedder.count_params(),
                "max_tokens": self.embedder.max_length,
                "embed_dim": self.options.get("truncate_dim") or self.embedder.output_dim,
                "similarity_fn_name": measure if measure in _MEASURES else None,
            }
        )

    def encode(
        self,
        inputs: typing.Iterable[dict[str, typing.Any]],
        *,
        task_metadata: typing.Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: typing.Any = None,
        batch_size: int = 32,
        **ignored: typing.Any,
    ) -> np.ndarray:
        """The vectors of batches of texts, float32 `[N, D]`."""
        texts = list(itertools.chain.from_iterable(batch["text"] for batch in inputs))
        side = getattr(prompt_type, "value", prompt_type)
        names = [name for kind in (task_metadata.name, task_metadata.type) for name in (f"{kind}-{side}", kind)]
        name = next((each for each in names if each in self.embedder.prompts), None)
        prompt = {"prompt_name": name} if name is not None else {"task": side}
        return self.embedder.embed(texts, batch_size=batch_size, **prompt, **self.options)

    def similarity(self, embeddings1: typing.Any, embeddings2: typing.Any) -> np.ndarray:
        """The similarity of each vector to each other one, `[N, M]`, by the `measure` of the embedder."""
        a, b = np.atleast_2d(embeddings1), np.atleast_2d(embeddings2)
        return np.stack([self._paired(each[None], b) for each in a])

    def similarity_pairwise(self, embeddings1: typing.Any, embeddings2: typing.Any) -> np.ndarray:
        """The similarity of the vectors in the same places, `[N]`."""
        return self._paired(np.asarray(embeddings1), np.asarray(embeddings2))

    def _paired(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return paired(a, b, self.embedder.measure)
