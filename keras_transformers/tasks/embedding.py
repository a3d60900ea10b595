"""Text embeddings: one vector for each text, close for texts with the same meaning.

Legend: `N` texts, `B` batch, `T` length, `D` model width.
"""

import functools
import pathlib
import typing
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.data.table_means import means_of_rows
from keras_transformers.formats import (
    keras_hub,
    own,
    sentence_settings,
    sentence_transformers,
    static_embeddings,
    vector_steps,
)
from keras_transformers.layers.heads import Pooler
from keras_transformers.layers.projections import Step, make_steps, width_after
from keras_transformers.layers.rematerialization import in_parts
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import from_json, to_json
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.prompts import checked_prompts, encode_prompted, find_prompt, prompt_length
from keras_transformers.tasks.vector_training import VectorTraining, loss_of, sides_of
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses.ranking import InBatchNegatives
from keras_transformers.training.losses.vectors import normalized
from keras_transformers.training.losses.wrappers import Cached
from keras_transformers.training.metrics import TokenMean

_CHUNK = 4096  # texts whose tokens are held at once, if no model reads them
_BARE = Template((("A", 0),), (("A", 0), ("B", 0)))  # texts without special tokens


@keras.saving.register_keras_serializable("keras_transformers")
class TextEmbedder(VectorTraining):
    """A sentence encoder: computes vectors of texts.

    sentence-transformers folders load and save, with their pooling, normalisation and length. KerasHub text embedders
    load.

    Args:
        config: a `ModelConfig` with one stack.
        tokenizer: a `Tokenizer`.
        pooling: "mean" or "max" over all real tokens, or the vector of the "first" or "last" token; or
            "mean_sqrt_length" or "weighted_mean"; or several of them, whose vectors are concatenated: see
            `kt.layers.Pooler`.
        normalize: whether vectors have length 1.
        max_length: the most tokens of a text, if fewer than the model reads.
        scale: the factor of similarities in training, the inverse of the temperature, if no loss is given.
        prompts: prompts by name, each put in front of one kind of text, such as `{"query": "query: "}`.
        default_prompt_name: the name of the default prompt; None for no prompt.
        measure: how `similarity` compares vectors: by "cosine", by "dot" product, or by the negative "euclidean" or
            "manhattan" distance.
        projections: the layers after the pooling, in order: records `kt.layers.Projection`, `kt.layers.LayerNorm()` and
            `kt.layers.Normalize()`. `normalize` comes after them.
        include_prompt: whether the tokens of a prompt are pooled too.
        truncate_dim: how many of the first numbers of a vector `embed` keeps (Matryoshka); None for all.
        loss: the loss of training, a record of `kt.losses`; by default `InBatchNegatives(scale)`.

    Call arguments: as for `TextClassifier`; in training also the inputs of the positives, `positive_token_ids` etc.,
    and of hard negatives, `negative_token_ids`, `negative_2_token_ids` etc.

    Returns: `[B, D]`; with positives and hard negatives `[B, C, D]`, for `C` texts of a row.

    Example:
        >>> embedder = kt.TextEmbedder.from_preset("hf://sentence-transformers/all-MiniLM-L6-v2")
        >>> embedder.similarity("A man rides.", ["Someone is riding.", "It rains."])  # doctest: +SKIP
        [0.71, 0.08]

    Source: Reimers and Gurevych 2019, section 3.
    """

    _was: dict = {}  # the settings of a sentence-transformers folder, and its files
    _kept: dict = {}
    _kept_weights: dict = {}
    _kept_table: typing.Any = None

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int | None = None,
        scale: float = 20.0,
        *,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        measure: str = "cosine",
        projections: Sequence[Step] = (),
        include_prompt: bool = True,
        truncate_dim: int | None = None,
        loss: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        if measure not in sentence_settings.MEASURES:
            known = ", ".join(sentence_settings.MEASURES)
            raise ValueError(f"Expected measure to be one of {known}, got {measure!r}.")
        self.prompts = checked_prompts(prompts)
        self.default_prompt_name = default_prompt_name
        self.measure = measure
        find_prompt(self.prompts, default_prompt_name)  # checks the default
        self.pooler = Pooler(pooling, dtype=self.dtype_policy, name="pooler")
        self.pooler.build((None, None, config.output_dim))
        self.projections = tuple(from_json(each) for each in projections)
        vector_steps.check_expressible(self.projections)
        self._steps = make_steps(
            self.projections, len(self.pooler.poolings) * config.output_dim, dtype=self.dtype_policy
        )
        self.include_prompt = include_prompt
        self.truncate_dim = self._checked_dim(truncate_dim)
        self.normalize = normalize
        self.scale = scale
        self.training_loss = InBatchNegatives(scale) if loss is None else loss_of(loss)
        self._limit = max_length
        self.accuracy = TokenMean(name="accuracy")
        self.built = True

    @property
    def max_length(self) -> int | None:
        return min((limit for limit in (super().max_length, self._limit) if limit), default=None)

    def get_config(self) -> dict[str, typing.Any]:
        own = {**self._own_arguments(), "projections": to_json(self.projections)}
        return {**super().get_config(), **own, "scale": self.scale, "loss": to_json(self.training_loss)}

    def _own_arguments(self) -> dict[str, typing.Any]:
        return {
            "pooling": self.pooler.pooling if isinstance(self.pooler.pooling, str) else list(self.pooler.pooling),
            "normalize": self.normalize,
            "max_length": self._limit,
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
            "measure": self.measure,
            "projections": self.projections,
            "include_prompt": self.include_prompt,
            "truncate_dim": self.truncate_dim,
        }

    @property
    def output_dim(self) -> int:
        """The width of the vectors, before `truncate_dim`."""
        return width_after(self.projections, len(self.pooler.poolings) * self.config.output_dim)

    def _checked_dim(self, truncate_dim: int | None) -> int | None:
        """A width that the vectors have, or None."""
        if truncate_dim is not None and not (type(truncate_dim) is int and 1 <= truncate_dim <= self.output_dim):
            raise ValueError(
                f"Expected truncate_dim from 1 to {self.output_dim}, the width of the vectors, got {truncate_dim!r}."
            )
        return truncate_dim

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        sides = sides_of(inputs)
        text = {name: each for name, each in sides[""].items() if name != "pooling_mask"}
        vectors = self.pooler.compute_output_spec(self.backbone.compute_output_spec(text))
        vectors = keras.KerasTensor((vectors.shape[0], self.output_dim), dtype=vectors.dtype)
        if len(sides) == 1:
            return vectors
        return keras.KerasTensor((vectors.shape[0], len(sides), vectors.shape[1]), dtype=vectors.dtype)

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        sides = sides_of(inputs)
        if len(sides) == 1:
            return self._vectors(sides[""], training)
        return ops.stack([self._in_parts(side, training) for side in sides.values()], axis=1)

    def _vectors(self, inputs: dict[str, Tensor], training: bool | None) -> Tensor:
        pooling_mask = inputs.get("pooling_mask")
        x, padding_mask = self.hidden_states({k: v for k, v in inputs.items() if k != "pooling_mask"}, training)
        vectors = self.pooler(x, padding_mask=padding_mask, pooling_mask=pooling_mask, training=training)
        for step in self._steps:
            vectors = step(vectors)
        if not self.normalize:
            return vectors
        return ops.cast(normalized(vectors), vectors.dtype)

    def _in_parts(self, inputs: dict[str, Tensor], training: bool | None) -> Tensor:
        """The vectors of one side of the rows `[B, D]`. In training with `Cached`, they are computed in parts, each of
        them again in the backward pass."""
        loss = self.training_loss
        if not training or not isinstance(loss, Cached):
            return self._vectors(inputs, training)
        variables = [variable for layer in self.layers for variable in layer.variables]
        compute = functools.partial(self._vectors, training=True)
        return in_parts(compute, inputs, loss.mini_batch_size, variables, add_loss=self.add_loss)

    def embed(
        self,
        texts: Texts,
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        task: str | None = None,
        truncate_dim: int | None = None,
    ) -> np.ndarray:
        """Compute the vectors of texts.

        Args:
            texts: a string, or a list, array, series or data frame of strings, or any other container of texts.
            batch_size: texts computed together; texts of similar length are batched.
            progress: a function called with the number of finished texts, after each batch.
            prompt_name: the name of one of the model's `prompts`, put in front of each text; by default
                `default_prompt_name`.
            prompt: the same, or another text to put in front; "" for none.
            task: "query" or "document": the texts get the prompt of that name ("passage" or "corpus" for documents
                too), if the model has one.
            truncate_dim: how many of the first numbers of each vector are kept; by default the model's `truncate_dim`.

        Returns: a float32 numpy array, `[D]` for a string and `[N, D]` for a list.

        Raises:
            TypeError: for values that are not texts.
            ValueError: for an unknown prompt or task, and a `truncate_dim` above the width of the vectors.

        Example:
            >>> embedder.embed(["Who rides?"], prompt="query").shape
            (1, 384)
        """
        prompt = find_prompt(self.prompts, self.default_prompt_name, prompt, prompt_name, task)
        dim = self.truncate_dim if truncate_dim is None else self._checked_dim(truncate_dim)
        texts, single = texts_of(texts)
        if not texts:
            return np.zeros((0, dim or self.output_dim), "float32")
        if self._is_table():
            vectors = self._means(texts, prompt, progress)
        else:
            vectors = self.run(self._prompted(texts, prompt), batch_size, progress).astype("float32")
        vectors = vectors if dim is None else np.ascontiguousarray(vectors[:, :dim])
        return vectors[0] if single else vectors

    def _prompted(self, texts: Sequence[str], prompt: str, max_length: int | None = None) -> dict[str, Ragged]:
        """The inputs of texts with a prompt in front."""
        tokenizer = self._tokenizer()
        inputs, packed = self.encode_texts(encode_prompted(tokenizer, prompt, texts), None, max_length)
        if prompt and not self.include_prompt:
            length = prompt_length(tokenizer, self._template(), prompt)
            inputs["pooling_mask"] = Ragged.join(
                (np.arange(len(ids)) >= length).astype("int32") for ids in packed.token_ids
            )
        return inputs

    def similarity(self, first: Texts, second: Texts, *, batch_size: int = 32) -> float | list[typing.Any]:
        """Similarities of texts by the model's `measure`, by default the cosine. Returns a number for two strings, a
        list if one argument is a list, and for two lists a list of lists, `first` by `second`."""
        a, b = (self.embed(texts_of(each)[0], batch_size=batch_size) for each in (first, second))
        table = compared(a, b, self.measure)
        if isinstance(second, str):
            table = table[:, 0]
        return (table[0] if isinstance(first, str) else table).tolist()

    # Tables of embeddings alone

    def _is_table(self) -> bool:
        """Whether vectors are means of the rows of a table of float32."""
        token = self.backbone.embedding.token
        changed = token.quantization_mode or getattr(token, "lora_enabled", False)
        mean = self.pooler.pooling == "mean" and self.include_prompt
        return self.config.is_static and mean and self.compute_dtype == "float32" and not changed

    def _means(self, texts: Sequence[str], prompt: str, progress: Progress | None) -> np.ndarray:
        """The vectors of texts, from a table."""
        table = ops.convert_to_numpy(self.backbone.embedding.token.embeddings)
        limit, parts = self.max_length, []
        for begin in range(0, len(texts), _CHUNK):
            ids = encode_prompted(self._tokenizer(), prompt, texts[begin : begin + _CHUNK])
            if limit is not None:
                self._warn_of_cut(sum(len(each) > limit for each in ids), len(ids), limit)
                ids = [each[:limit] for each in ids]
            self._check_ids("token_ids", np.array([max(each) for each in ids if each]), "embeddings")
            vectors = ops.convert_to_tensor(means_of_rows(table, ids))
            for step in self._steps:
                vectors = step(vectors)
            parts.append(ops.convert_to_numpy(normalized(vectors) if self.normalize else vectors))
            if progress is not None:
                progress(len(ids))
        return np.concatenate(parts)

    def _template(self) -> Template:
        return _BARE if self.config.is_static else super()._template()

    def _needs_mask(self) -> bool:
        return self.config.is_static or super()._needs_mask()  # a token of a text may be the one that fills rows

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        if not self.config.is_static or tokenizer.vocabulary_size > self.config.embeddings.vocabulary_size:
            super()._check_tokenizer(tokenizer)

    # sentence-transformers folders

    @classmethod
    def _model_folder(cls, folder: pathlib.Path) -> pathlib.Path:
        modules = sentence_transformers.modules_of(folder)
        return folder / modules[0].path if modules else folder

    @classmethod
    def _open_checkpoint(cls, folder: pathlib.Path, model_type: str | None, adapter: str | None = None) -> typing.Any:
        modules = sentence_transformers.modules_of(folder)
        steps = sentence_transformers.dense_steps(folder, modules) if modules else []
        if sentence_transformers.is_static(folder, modules):
            checkpoint = static_embeddings.read(cls._model_folder(folder))
        else:
            checkpoint = super()._open_checkpoint(folder, model_type, adapter)
        sentence_transformers.check_pooling(folder, modules, checkpoint.config.output_dim)
        return vector_steps.Checkpoint(checkpoint, steps) if steps and not own.is_own(checkpoint) else checkpoint

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        inner = cls._model_folder(folder)
        arguments = super()._read_arguments(inner)
        modules = sentence_transformers.modules_of(folder)
        if not modules:
            prompts = sentence_settings.read_instructions(inner)
            return arguments | keras_hub.pooling(inner) | ({"prompts": prompts} if prompts else {})
        sentence_settings.check_case(inner, arguments["tokenizer"])
        return arguments | sentence_transformers.read(folder, modules)[0]

    def _head_is_of(self, from_files: dict[str, typing.Any]) -> bool:
        return self.projections == tuple(from_files.get("projections", ()))

    def _remember(self, folder: pathlib.Path) -> None:
        if modules := sentence_transformers.modules_of(folder):
            read = sentence_transformers.read(folder, modules)
            self._was, self._kept = sentence_transformers.forget_choice(*read, getattr(self.origin, "values", {}))
            if sentence_transformers.is_static(folder, modules):
                self._kept_table = static_embeddings.keep(static_embeddings.read(self._model_folder(folder)))
            steps = sentence_transformers.dense_steps(folder, modules)
            self._kept_weights = {n: held for n, step in enumerate(steps) if (held := vector_steps.keep(step.folder))}

    def _files(self) -> dict[str, typing.Any]:
        own = self._own_arguments()
        return {
            **super()._files(),
            **sentence_transformers.write(own, self.config.output_dim, self._was, self._kept, self.config.is_static),
        }

    def _checkpoint_files(
        self, weights: Mapping[str, typing.Any], values: dict[str, typing.Any], dtype: str | None
    ) -> dict[str, typing.Any] | None:
        steps = {name: weight for name, weight in weights.items() if vector_steps.is_weight(name)}
        rest = {name: weight for name, weight in weights.items() if name not in steps}
        static = self.config.is_static and self.pooler.pooling == "mean" and self.include_prompt
        files: dict[str, typing.Any] | None
        if static:
            files = static_embeddings.write(rest, self._kept_table, dtype)
        else:
            files = super()._checkpoint_files(rest, values, dtype)
        if files is None:
            return None
        folders = sentence_transformers.step_folders(self._own_arguments(), self.config.is_static)
        return {**files, **vector_steps.weight_files(steps, folders, self._kept_weights, dtype)}


def compared(a: np.ndarray, b: np.ndarray, measure: str) -> np.ndarray:
    """The similarities `[N, M]` of vectors `[N, D]` and `[M, D]`."""
    if measure in ("euclidean", "manhattan"):
        order = 2 if measure == "euclidean" else 1
        return np.stack([-np.linalg.norm(each - b, order, axis=-1) for each in a])
    if measure == "cosine":
        a, b = (each / np.maximum(np.linalg.norm(each, axis=-1, keepdims=True), 1e-12) for each in (a, b))
    return a @ b.T
