"""Multi-vector text embeddings: a vector for each token, compared token by token (ColBERT).

    score(query, document)  =  Σ over the query's tokens of the largest dot product with a token of the document

Legend: `N` texts, `B` batch, `T` length, `P` width of the vectors.
"""

import dataclasses
import functools
import pathlib
import typing
import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.callers import outside
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.data.token_vectors import max_similarities
from keras_transformers.formats import multi_vector_folders, own, vector_steps
from keras_transformers.formats.multi_vector_folders import QueryExpansion
from keras_transformers.layers.projections import Projection, Step, UnitLength, make_steps, width_after
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import from_json, to_json
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.embedder_task import EmbedderTask
from keras_transformers.tasks.prompts import TASKS, encode_prompted
from keras_transformers.tasks.vector_training import sides_of
from keras_transformers.tokenizers.packing import pack_texts
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.losses.ranking import MaxSim
from keras_transformers.training.losses.vectors import Vectors


@keras.saving.register_keras_serializable("keras_transformers")
class MultiVectorEmbedder(EmbedderTask):
    """A late-interaction encoder: computes a vector for each token of a text.

    MultiVectorEncoder folders of sentence-transformers load and save. Those of PyLate and of ColBERT's authors load.

    Args:
        config: a `ModelConfig` with one stack.
        tokenizer: a `Tokenizer`.
        projections: the layers after the last hidden states, in order: see `TextEmbedder`. By default the vectors
            have 128 numbers.
        normalize: whether vectors have length 1.
        query_length, document_length: the most tokens of a query and of a document; None for the model's most.
        expansion: how queries are filled up, a `kt.tasks.QueryExpansion`; None if they are not.
        skip_words: words of one token whose vectors are dropped, such as punctuation.
        skip_tasks: the texts that `skip_words` are dropped from: "query", "document".
        max_length, prompts, default_prompt_name: see `TextEmbedder`.
        loss: the loss of training, a record of `kt.losses`; by default `MaxSim()`.
        measure: "maxsim", or "meanmaxsim", which divides the score by the number of the query's vectors.

    Call arguments: as for `TextClassifier`.

    Returns: `[B, T, P]`.

    Example:
        >>> embedder = kt.MultiVectorEmbedder.from_preset("hf://lightonai/LateOn")
        >>> embedder.similarity("Who rides?", ["A man rides.", "It rains."])  # doctest: +SKIP
        [9.11, 8.87]

    Source: Khattab and Zaharia 2020, section 3.
    """

    measures = multi_vector_folders.MEASURES
    _kept_weights: dict = {}

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        projections: Sequence[Step] = (Projection(128, None, False),),
        normalize: bool = True,
        *,
        query_length: int | None = None,
        document_length: int | None = None,
        expansion: QueryExpansion | None = None,
        skip_words: Sequence[str] = (),
        skip_tasks: Sequence[str] = ("document",),
        loss: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, loss=MaxSim() if loss is None else loss, **kwargs)
        self.projections = tuple(from_json(each) for each in projections)
        vector_steps.check_expressible(self.projections, norms=False)
        self._steps = make_steps(self.projections, config.output_dim, dtype=self.dtype_policy)
        self.normalize = normalize
        self.unit = UnitLength(dtype=self.dtype_policy, name="unit") if normalize else None
        self.query_length = query_length
        self.document_length = document_length
        self.expansion = from_json(expansion)
        if self.expansion is not None and query_length is not None and query_length < self.expansion.length:
            raise ValueError(
                f"Expected query_length of at least the {self.expansion.length} tokens of the expansion, got "
                f"{query_length}. Leave it out."
            )
        if unknown := set(skip_tasks) - set(TASKS):
            raise ValueError(f"Expected skip_tasks among {', '.join(TASKS)}, got {', '.join(sorted(unknown))}.")
        self.skip_words = list(skip_words)
        self.skip_tasks = list(skip_tasks)
        self.built = True

    @classmethod
    def _checkpoint_task(cls) -> str:
        return "TextEmbedder"

    def _own_arguments(self) -> dict[str, typing.Any]:
        return {
            **super()._own_arguments(),
            "projections": self.projections,
            "normalize": self.normalize,
            "query_length": self.query_length,
            "document_length": self.document_length,
            "expansion": self.expansion,
            "skip_words": list(self.skip_words),
            "skip_tasks": list(self.skip_tasks),
        }

    def get_config(self) -> dict[str, typing.Any]:
        records = {"projections": to_json(self.projections), "expansion": to_json(self.expansion)}
        return {**super().get_config(), **records}

    @property
    def output_dim(self) -> int:
        """The width of the vectors."""
        return width_after(self.projections, self.config.output_dim)

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        sides = [_without_pooling(side) for side in sides_of(inputs).values()]
        x = [self.backbone.compute_output_spec(side) for side in sides]
        lengths = [each.shape[1] for each in x]
        longest = None if None in lengths else max(lengths)
        shape = (x[0].shape[0], *((len(sides),) if len(sides) > 1 else ()), longest, self.output_dim)
        return keras.KerasTensor(shape, dtype=x[0].dtype)

    def _vectors(self, inputs: dict[str, Tensor], training: bool | None = None, is_query: bool = False) -> Tensor:
        x, _ = self.hidden_states(_without_pooling(inputs), training)
        for step in self._steps:
            x = step(x)
        return x if self.unit is None else self.unit(x)

    def _stacked(self, sides: list[Tensor]) -> Tensor:
        return ops.stack(_of_one_length(sides), axis=1)

    def _compared(self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Vectors:
        """One batch, as a loss sees it, with the tokens that count."""
        masks = [side.get("pooling_mask", self.padding_mask(side)) for side in sides_of(x).values()]
        masks = [ops.cast(each, "int32") for each in masks]
        mask = ops.cast(ops.stack(_of_one_length(masks), axis=1), "bool")
        return super()._compared(x, y, y_pred, sample_weight)._replace(mask=mask)

    def _encode_side(self, side: str, texts: Sequence[str], max_length: int | None) -> tuple[dict[str, Ragged], int]:
        task = "document" if side else "query"
        columns, counts, truncated = self._rows(texts, self._prompt(None, task), task, max_length)
        columns["pooling_mask"] = Ragged.join(each.astype("int32") for each in counts)
        return {f"{side}{name}": column for name, column in columns.items()}, truncated

    def embed(
        self,
        texts: Texts,
        *,
        task: str = "document",
        prompt: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> typing.Any:
        """Compute the vectors of the tokens of texts.

        Args:
            texts: a string, or any container of strings.
            task: "query" or "document": they have prompts and lengths of their own, and queries may be expanded.
            prompt: the name of one of the model's `prompts`, or another text to put in front; "" for none.
            batch_size, progress: see `TextEmbedder.embed`.

        Returns: a list of `N` float32 numpy arrays `[T, P]`, of unequal lengths; one array for a string.

        Raises:
            TypeError, ValueError: as `TextEmbedder.embed`.
        """
        prompt = self._prompt(prompt, task)
        texts, single = texts_of(texts)
        if not texts:
            return []
        inputs, counts, _ = self._rows(texts, prompt, task)
        vectors = self.run(inputs, batch_size, progress)
        arrays = [each[of].astype("float32") for each, of in zip(vectors, counts, strict=True)]
        return arrays[0] if single else arrays

    def _rows(
        self, texts: Sequence[str], prompt: str, task: str, max_length: int | None = None
    ) -> tuple[dict[str, Ragged], list[np.ndarray], int]:
        """The inputs of texts, of each text which of its tokens have a vector, and how many texts were cut."""
        tokenizer = self._tokenizer()
        expansion = self.expansion if task == "query" else None
        limit = {"query": self.query_length, "document": self.document_length}[task]
        if expansion is not None and expansion.fixed:
            limit = expansion.length
        limits = [each for each in (limit, self.max_length, max_length) if each]
        packed = pack_texts(
            encode_prompted(tokenizer, prompt, texts), template=self._template(), max_length=min(limits, default=None)
        )
        self._warn_of_cut(packed.truncated, len(texts), min(limits, default=None))
        rows = [(ids, np.ones_like(ids), segments) for ids, segments in zip(*packed[:2], strict=True)]
        if expansion is not None:
            token = self._expansion_id(expansion)
            rows = [_filled(*row, expansion, token) for row in rows]
        columns = {"token_ids": Ragged.join(ids for ids, _, _ in rows)}
        columns["padding_mask"] = Ragged.join(real for _, real, _ in rows)
        if self.config.num_segments > 1:
            columns["segment_ids"] = Ragged.join(segments for _, _, segments in rows)
        skipped = self._skipped() if task in self.skip_tasks else []
        return columns, [~np.isin(ids, skipped) for ids, _, _ in rows], packed.truncated

    def _expansion_id(self, expansion: QueryExpansion) -> int:
        tokenizer = self._tokenizer()
        token = None if expansion.token is None else tokenizer.engine.token_to_id(expansion.token)
        if expansion.token is None:
            token = tokenizer.end_id if tokenizer.mask_id is None else tokenizer.mask_id
        if token is None:
            raise ValueError(f"Expected a token that fills up queries, got {expansion.token or 'no mask token'!r}.")
        return token

    def _skipped(self) -> list[int]:
        """The ids of `skip_words`."""
        engine = self._tokenizer().engine
        ids = {word: engine.token_to_id(word) for word in self.skip_words}
        if missing := [word for word, each in ids.items() if each is None]:
            warnings.warn(
                f"The vocabulary has no token for {' '.join(missing)}: these words are not skipped.",
                stacklevel=outside(),
            )
        return [each for each in ids.values() if each is not None]

    def similarity(self, queries: Texts, documents: Texts, *, batch_size: int = 32) -> float | list[typing.Any]:
        """Scores of queries and documents by the model's `measure`: a number for two strings, a list if one argument
        is a list, and for two lists a list of lists. A document without vectors scores the least float32."""
        a, b = (
            self.embed(texts_of(each)[0], task=task, batch_size=batch_size)
            for each, task in ((queries, "query"), (documents, "document"))
        )
        table = max_similarities(a, b, mean=self.measure == "meanmaxsim")
        table = table[:, 0] if isinstance(documents, str) else table
        return (table[0] if isinstance(queries, str) else table).tolist()

    # sentence-transformers folders

    @classmethod
    def _model_folder(cls, folder: pathlib.Path) -> pathlib.Path:
        from keras_transformers.formats import sentence_transformers

        modules = sentence_transformers.modules_of(folder)
        return folder / modules[0].path if modules else folder

    @classmethod
    def _open_checkpoint(cls, folder: pathlib.Path, model_type: str | None, adapter: str | None = None) -> typing.Any:
        found = multi_vector_folders.read(folder)
        checkpoint = super()._open_checkpoint(folder, model_type, adapter)
        if found is None or own.is_own(checkpoint):
            return checkpoint
        if any(each.only for each in found.steps):  # one file holds the body and the projection
            names = [name for each in found.steps for name in each.only]
            checkpoint = dataclasses.replace(checkpoint, tensors=vector_steps.without(checkpoint.tensors, names))
        return vector_steps.Checkpoint(checkpoint, found.steps)

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        arguments, found = super()._read_arguments(folder), multi_vector_folders.read(folder)
        if found is None:
            return arguments
        if (tokenizer := arguments["tokenizer"]) is not None:
            _keep_whole(tokenizer, found.markers)
        return arguments | found.settings

    def _head_is_of(self, from_files: dict[str, typing.Any]) -> bool:
        return self.projections == tuple(from_files.get("projections", ()))

    def _remember(self, folder: pathlib.Path) -> None:
        if (found := multi_vector_folders.read(folder)) and found.files:
            self._was, self._kept = found.settings, found.files
            kept = {n: vector_steps.keep(step.folder) for n, step in enumerate(found.steps)}
            self._kept_weights = {n: each for n, each in kept.items() if each is not None}

    def _files(self) -> dict[str, typing.Any]:
        further = multi_vector_folders.write(self._own_arguments(), self.config.output_dim, self._was, self._kept)
        return {**super()._files(), **further}

    def _checkpoint_files(
        self, weights: Mapping[str, typing.Any], values: dict[str, typing.Any], dtype: str | None
    ) -> dict[str, typing.Any] | None:
        steps = {name: weight for name, weight in weights.items() if vector_steps.is_weight(name)}
        rest = {name: weight for name, weight in weights.items() if name not in steps}
        files = super()._checkpoint_files(rest, values, dtype)
        if files is None:
            return None
        folders = multi_vector_folders.step_folders(self._own_arguments())
        return {**files, **vector_steps.weight_files(steps, folders, self._kept_weights, dtype)}


def _without_pooling(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each for name, each in inputs.items() if name != "pooling_mask"}


def _of_one_length(sides: list[Tensor]) -> list[Tensor]:
    """Tensors `[B, T, …]`, filled up with zeros to the longest `T`."""
    lengths = [ops.shape(each)[1] for each in sides]
    fixed = all(isinstance(each, int) for each in lengths)
    longest = max(lengths) if fixed else functools.reduce(ops.maximum, lengths)
    filled = []
    for each, length in zip(sides, lengths, strict=True):
        rest = ops.zeros((ops.shape(each)[0], longest - length, *each.shape[2:]), dtype=each.dtype)
        filled.append(ops.concatenate([each, rest], axis=1))
    return filled


def _keep_whole(tokenizer: Tokenizer, markers: Sequence[str]) -> None:
    """Make the tokens at the start of prompts special tokens, unless the tokenizer leaves them whole anyway."""
    known = tokenizer.engine.get_vocab()
    for marker in markers:
        token = next((each for each in (marker, marker.split()[0]) if each in known), None)
        if token is not None and tokenizer.encode([token], parse_special=True) != [[known[token]]]:
            tokenizer.add_tokens([token], special=True)


def _filled(
    ids: np.ndarray, real: np.ndarray, segments: np.ndarray, expansion: QueryExpansion, token: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A query filled up with a token."""
    missing = max(expansion.length - len(ids), 0)
    filled = np.pad(ids, (0, missing), constant_values=token)
    return filled, np.pad(real, (0, missing), constant_values=int(expansion.attend)), np.pad(segments, (0, missing))
