"""Sparse text embeddings: a weight for each word piece that a text is about, its own and related ones (SPLADE).

Legend: `N` texts, `B` batch, `T` length, `V` vocabulary.
"""

import pathlib
import typing
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.data.sparse_vectors import SparseVectors, largest
from keras_transformers.formats import own, sparse_folders, vector_steps
from keras_transformers.layers.layer import Layer, like
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.embedder_task import EmbedderTask
from keras_transformers.tasks.embedding import compared
from keras_transformers.tasks.prompts import encode_prompted
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.vector_training import sides_of
from keras_transformers.tasks.vocabulary_head import make_head
from keras_transformers.tokenizers.packing import Template, pack_texts
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses.ranking import InBatchNegatives
from keras_transformers.training.losses.wrappers import Flops

_BARE = Template((("A", 0),), (("A", 0), ("B", 0)))
_POOLINGS = ("max", "sum")
_CHUNK = 256  # texts whose vectors are dense at a time


@keras.saving.register_keras_serializable("keras_transformers")
class SparseEmbedder(EmbedderTask):
    """A sparse encoder: weighs the tokens of the vocabulary for each text.

        weight of a token  =  max over the text's positions of log(1 + relu(score of the token))

    sentence-transformers' SparseEncoder folders load and save, those with queries that need no model too.

    Args:
        config: a `ModelConfig` with an encoder, as for `MaskedLM`.
        tokenizer: a `Tokenizer`.
        pooling: "max" or "sum" over the positions of a text.
        num_logs: how often log(1 + x) is applied: 1, or 2 (OpenSearch's models).
        static_queries: whether the vector of a query is a trained weight for each of its tokens (IDF), without the
            model.
        max_active_dims: the most numbers above 0 of a vector; None for any.
        max_length, prompts, default_prompt_name: see `TextEmbedder`.
        measure: how `similarity` compares vectors: "dot", "cosine", "euclidean" or "manhattan".
        loss: the loss of training, a record of `kt.losses`; by default in-batch negatives and `Flops`.

    Call arguments: as for `TextClassifier`.

    Returns: `[B, V]`.

    Example:
        >>> embedder = kt.SparseEmbedder.from_preset("hf://naver/splade-v3")
        >>> embedder.tokens(embedder.embed(["Who wrote Faust?"]), top=2)  # doctest: +SKIP
        [{'faust': 2.41, 'goethe': 1.32}]

    Source: Formal et al. 2021 (SPLADE v2), section 3; Geng et al. 2024 for queries without a model.
    """

    measures = sparse_folders.MEASURES
    _kept_weights: typing.Any = None
    _layout: sparse_folders.Layout | None = None

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        pooling: str = "max",
        *,
        num_logs: int = 1,
        static_queries: bool = False,
        max_active_dims: int | None = None,
        loss: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        if loss is None:
            loss = Flops(InBatchNegatives(1.0, "dot"), 3e-5, None if static_queries else 5e-5)
        super().__init__(config, tokenizer, loss=loss, **kwargs)
        if pooling not in _POOLINGS or num_logs not in (1, 2):
            raise ValueError(f'Expected pooling="max" or "sum" and num_logs of 1 or 2, got {pooling!r} and {num_logs}.')
        self.pooling = pooling
        self.num_logs = num_logs
        self.max_active_dims = max_active_dims
        self.static_queries = static_queries
        size = config.embeddings.vocabulary_size
        self.head = make_head(config, self.dtype_policy)
        self.query: TokenWeights | None = None
        if static_queries:
            self.query = TokenWeights(size, dtype=self.dtype_policy, name="query")
            self.query.build((None, None))
        self.built = True

    @classmethod
    def _checkpoint_task(cls) -> str:
        return "MaskedLM"

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is None or config.decoder is not None:
            raise wrong_stacks("a ModelConfig with an encoder and no decoder, such as kt.models.encoder makes", config)

    def _own_arguments(self) -> dict[str, typing.Any]:
        return {
            **super()._own_arguments(),
            "pooling": self.pooling,
            "num_logs": self.num_logs,
            "static_queries": self.static_queries,
            "max_active_dims": self.max_active_dims,
        }

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        sides = sides_of(inputs)
        x = self.backbone.compute_output_spec(sides[""])
        size = self.config.embeddings.vocabulary_size
        shape = (x.shape[0], size) if len(sides) == 1 else (x.shape[0], len(sides), size)
        return keras.KerasTensor(shape, dtype=x.dtype)

    def _vectors(self, inputs: dict[str, Tensor], training: bool | None = None, is_query: bool = False) -> Tensor:
        if is_query and self.query is not None:
            return self._weights_of_tokens(inputs)
        x, padding_mask = self.hidden_states(inputs, training)
        scores_BTV = self.head(x, embedding=self.backbone.embedding)
        real_BT1 = ops.cast(padding_mask, "bool")[:, :, None]
        scores_BTV = ops.where(real_BT1, ops.relu(scores_BTV), ops.zeros_like(scores_BTV))
        if self.pooling == "max":  # the logarithm keeps the order
            return self._log(ops.max(scores_BTV, axis=1))
        return ops.sum(self._log(scores_BTV), axis=1)

    def _weights_of_tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """The weights `[B, V]` of the tokens of queries."""
        real_BT1 = ops.cast(self.padding_mask(inputs), self.compute_dtype)[:, :, None]
        size = self.config.embeddings.vocabulary_size
        present_BTV = ops.one_hot(inputs["token_ids"], size, dtype=self.compute_dtype) * real_BT1
        return ops.max(present_BTV, axis=1) * ops.cast(self.query.scale, self.compute_dtype)  # type: ignore[union-attr]

    def _encode_side(self, side: str, texts: Sequence[str], max_length: int | None) -> tuple[dict[str, Ragged], int]:
        task = "document" if side else "query"
        ids = encode_prompted(self._tokenizer(), self._prompt(None, task), texts)
        if side or self.query is None:
            _, packed = self.encode_texts(ids, None, max_length)
        else:
            packed = pack_texts(ids, template=_BARE, max_length=max_length or self._tokenizer().max_length)
            self._warn_of_cut(packed.truncated, len(texts), max_length)
        return self._columns(packed, side), packed.truncated

    def _log(self, x: Tensor) -> Tensor:
        for _ in range(self.num_logs):
            x = ops.log1p(x)
        return x

    def embed(
        self,
        texts: Texts,
        *,
        task: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
        max_active_dims: int | None = None,
    ) -> SparseVectors:
        """Compute the sparse vectors of texts.

        Args:
            texts: a string, or any container of strings.
            task: "query" or "document", which have prompts of their own, and may have other vectors; by default
                documents.
            prompt: the name of one of the model's `prompts`, or another text to put in front; "" for none.
            batch_size, progress: see `TextEmbedder.embed`.
            max_active_dims: the most numbers above 0 of a vector; by default the model's.

        Returns: `SparseVectors` of `[N, V]`; a string is one text.

        Raises:
            TypeError, ValueError: as `TextEmbedder.embed`.
        """
        prompt = self._prompt(prompt, task)
        texts, _ = texts_of(texts)
        most = self.max_active_dims if max_active_dims is None else max_active_dims
        rows: list[tuple[np.ndarray, np.ndarray]] = []
        for begin in range(0, len(texts), _CHUNK):
            chunk = texts[begin : begin + _CHUNK]
            if task == "query" and self.query is not None:
                rows += self._static(chunk, prompt)
            else:
                dense = self.run(self._prompted(chunk, prompt), batch_size, progress).astype("float32")
                rows += [(places := np.flatnonzero(vector), vector[places]) for vector in dense]
        kept = [largest(*row, most) for row in rows]
        return SparseVectors.of_rows(kept, self.config.embeddings.vocabulary_size)

    def _static(self, texts: Sequence[str], prompt: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """The weights of the tokens of queries."""
        weights = ops.convert_to_numpy(self.query.scale).astype("float32")  # type: ignore[union-attr]
        ids = encode_prompted(self._tokenizer(), prompt, texts)
        limit = self._tokenizer().max_length
        packed = pack_texts(ids, template=_BARE, max_length=limit)
        self._warn_of_cut(packed.truncated, len(texts), limit)
        self._check_ids("token_ids", np.concatenate(packed.token_ids), "embeddings")
        places = [np.unique(row) for row in packed.token_ids]
        return [(row[weights[row] != 0], weights[row][weights[row] != 0]) for row in places]

    def tokens(self, vectors: SparseVectors, top: int | None = None) -> list[dict[str, float]]:
        """The weighted tokens of sparse vectors, as they are written, the heaviest first.

        Args:
            vectors: the result of `embed`.
            top: the most tokens of each vector; None for all.
        """
        named = []
        for indices, values in vectors:
            order = np.argsort(-values, kind="stable")[:top]
            names = self._tokenizer().tokens(indices[order].tolist())
            named.append(dict(zip(names, values[order].tolist(), strict=True)))
        return named

    def similarity(self, queries: Texts, documents: Texts, *, batch_size: int = 32) -> float | list[typing.Any]:
        """Similarities of queries and documents by the model's `measure`: a number for two strings, a list if one
        argument is a list, and for two lists a list of lists."""
        both = zip((queries, documents), ("query", "document"), strict=True)
        a, b = (self.embed(each, task=task, batch_size=batch_size).dense() for each, task in both)
        table = compared(a, b, self.measure)
        table = table[:, 0] if isinstance(documents, str) else table
        return (table[0] if isinstance(queries, str) else table).tolist()

    # sentence-transformers folders

    @classmethod
    def _model_folder(cls, folder: pathlib.Path) -> pathlib.Path:
        layout = sparse_folders.layout_of(folder)
        return folder / layout.transformer if layout else folder

    @classmethod
    def _open_checkpoint(cls, folder: pathlib.Path, model_type: str | None, adapter: str | None = None) -> typing.Any:
        checkpoint, layout = super()._open_checkpoint(folder, model_type, adapter), sparse_folders.layout_of(folder)
        if layout is None or layout.query is None or own.is_own(checkpoint):
            return checkpoint
        return sparse_folders.Checkpoint(checkpoint, folder / layout.query)

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        layout = sparse_folders.layout_of(folder)
        arguments = super()._read_arguments(folder)
        if layout is None:
            return arguments
        if layout.query is not None and arguments["tokenizer"] is not None:
            _check_same(arguments["tokenizer"], Tokenizer.load(folder / layout.query), folder / layout.query)
        return arguments | sparse_folders.read(folder, layout)[0]

    def _remember(self, folder: pathlib.Path) -> None:
        if layout := sparse_folders.layout_of(folder):
            self._layout = layout
            self._was, self._kept = sparse_folders.read(folder, layout)
            self._kept_weights = vector_steps.keep(folder / layout.query) if layout.query else None

    def _places(self) -> sparse_folders.Layout:
        """The paths of the modules in a saved folder."""
        layout = self._layout
        fits = layout is not None and (layout.query is not None) == self.static_queries
        return layout if layout is not None and fits else sparse_folders.layout_for(self.static_queries)

    def _all_files(self, of_model: dict[str, typing.Any]) -> dict[str, typing.Any]:
        layout = self._places()
        inner = {**of_model, **self._files()}
        placed = {name: each for name, each in inner.items() if not name.startswith(f"{layout.query}/")}
        placed = {f"{layout.transformer}/{name}" if layout.transformer else name: each for name, each in placed.items()}
        placed |= {name: each for name, each in inner.items() if name.startswith(f"{layout.query}/")}
        size = self.config.embeddings.vocabulary_size
        further = sparse_folders.write(self._own_arguments(), layout, size, self._was, self._kept)
        if layout.query is not None and f"{layout.query}/tokenizer.json" not in further:
            further |= {f"{layout.query}/{name}": each for name, each in self._files().items()}
        return {**placed, **further}

    def _checkpoint_files(
        self, weights: Mapping[str, typing.Any], values: dict[str, typing.Any], dtype: str | None
    ) -> dict[str, typing.Any] | None:
        rest = {name: weight for name, weight in weights.items() if name != sparse_folders.QUERY_WEIGHTS}
        files = super()._checkpoint_files(rest, values, dtype)
        if files is None or len(rest) == len(weights):
            return files
        query = weights[sparse_folders.QUERY_WEIGHTS]
        return {**files, **sparse_folders.query_files(query, self._places(), self._kept_weights, dtype)}


def _check_same(tokenizer: Tokenizer, other: Tokenizer, where: pathlib.Path) -> None:
    """Refuse queries with a tokenizer of their own."""
    probe = ["A probe, with 3 marks!", "ünïcode"]
    if tokenizer.vocabulary_size != other.vocabulary_size or tokenizer.encode(probe) != other.encode(probe):
        raise ValueError(f"Expected queries in {where} to have the tokenizer of the documents, got another one.")


class TokenWeights(Layer):
    """A weight for each token of the vocabulary.

    Args:
        vocabulary_size: `V`.

    Call arguments: `token_ids`, int32 `[B, T]`.

    Returns: `[B, T]`.
    """

    def __init__(self, vocabulary_size: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, inputs_shape: Shape) -> None:
        self.scale = self.add_weight(name="scale", shape=(self.vocabulary_size,), initializer="ones")

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.take(self.scale, inputs, axis=0)
