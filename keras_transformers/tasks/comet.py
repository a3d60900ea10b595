"""COMET: an encoder judges a translation, with a regressor on what it made of the texts.

    apart      source ─► vector ┐
               translation ─► vector ├─► products and differences ─► regressor ─► score
               reference ─► vector ┘
    together   translation </s></s> source ─► vector ─► regressor ─► score

Legend: `N` translations, `B` batch, `T` length, `D` model width, `U` texts that differ.
"""

import typing
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.ragged import Ragged
from keras_transformers.formats.comet_folders import KINDS, CometFolder, CometLayout
from keras_transformers.generation import executors
from keras_transformers.layers.heads import Pooler
from keras_transformers.layers.layer_mix import LayerMix
from keras_transformers.layers.projections import make_steps
from keras_transformers.models.backbone import Backbone
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.sizes import bucket
from keras_transformers.models.weights import assign, build_empty, named_weights
from keras_transformers.tasks import notices
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.data_task import batch_shape, batches_by_length
from keras_transformers.tokenizers.packing import pack_texts
from keras_transformers.tokenizers.tokenizer import Tokenizer

_PAIRS = 256  # rows of vectors that the regressor reads at once


class Comet(keras.Model):
    """The network of a `CometLayout`. It computes and does not train.

    Args:
        config: the `ModelConfig` of the encoder.
        layout: the `CometLayout`.

    Raises:
        ValueError: for the number of a layer that the encoder does not have.
    """

    def __init__(self, config: ModelConfig, layout: CometLayout, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if config.encoder is None or config.decoder is not None:
            raise ValueError("Expected an encoder without a decoder to judge translations.")
        options = {"dtype": self.dtype_policy}
        states, width = config.encoder.num_layers + 1, config.output_dim
        if layout.layer is not None and layout.layer >= states:
            raise ValueError(f"Expected the number of one of {states} hidden states, got layer {layout.layer}.")
        self.layout = layout
        self.backbone = Backbone(config, **options)
        self.layer_mix = None
        if layout.layer is None:
            self.layer_mix = LayerMix(layout.transformation, layout.layer_norm, name="layer_mix", **options)
            self.layer_mix.build([(None, None, width)] * states)
        self.pooler = Pooler(layout.pooling, name="pooler", **options)
        self.pooler.build((None, None, width))
        self.regressor = make_steps(layout.regressor, KINDS[layout.kind] * width, **options)
        self.built = True

    def vectors(self, inputs: dict[str, Tensor]) -> Tensor:
        """The vectors `[B, D]` of rows: `token_ids`, int32 `[B, T]`, and `padding_mask [B, T]`."""
        mask = ops.cast(inputs["padding_mask"], "bool")
        states = self.backbone({**inputs, "padding_mask": mask}, return_hidden_states=True)["hidden_states"]
        mixed = states[self.layout.layer] if self.layer_mix is None else self.layer_mix(list(states), mask)
        return self.pooler(mixed, padding_mask=mask)

    def together(self, inputs: dict[str, Tensor]) -> Tensor:
        """The scores `[B]` of rows of several texts."""
        return self._regressed(self.vectors(inputs))

    def apart(self, inputs: dict[str, Tensor]) -> Tensor:
        """The scores `[B]` of vectors `[B, D]` of a source `src`, a translation `mt` and perhaps a reference `ref`."""
        mt, src, ref = inputs["mt"], inputs["src"], inputs.get("ref")
        beside_source = [mt * src, ops.abs(mt - src)]
        beside_reference = [] if ref is None else [mt * ref, ops.abs(mt - ref)]
        first = [mt, src if ref is None else ref]
        return self._regressed(ops.concatenate([*first, *beside_reference, *beside_source], axis=-1))

    def _regressed(self, x: Tensor) -> Tensor:
        x = ops.cast(x, self.compute_dtype)  # vectors come back to the host as float32
        for step in self.regressor:
            x = step(x)
        return x[:, 0]


class CometJudge:
    """Scores texts by a folder of COMET; see `TranslationScorer`.

    Args:
        opened: the `CometFolder`.
        dtype: the dtype policy of the model.
    """

    lower_is_better = False

    def __init__(self, opened: CometFolder, dtype: typing.Any = None) -> None:
        self._layout = layout = opened.layout
        self._tokenizer = Tokenizer.load(opened.encoder)
        self._model = build_empty(lambda: Comet(opened.config, layout, dtype=dtype))
        assign(self._model, opened.read(named_weights(self._model)), opened.folder)
        template = self._tokenizer.template
        if template is None:
            raise ValueError(f"Expected a tokenizer with special tokens around a text in {opened.encoder}, got none.")
        self._template = template
        needed = layout.kind == "regression_metric" or layout.segments == ("mt", "ref")
        self.references = "needed" if needed else "optional" if len(layout.segments) == 3 else "unused"
        self.name = {"regression_metric": "COMET", "unified_metric": "CometKiwi"}.get(layout.kind, "COMET-QE")
        if "ref" in layout.segments:
            self.name = "UniTE"
        self._fill = opened.config.padding_id or 0

    def scores(
        self,
        sources: Sequence[str],
        translations: Sequence[str],
        references: Sequence[str] | None,
        batch_size: int,
        progress: Progress | None,
    ) -> np.ndarray:
        """The scores, float64 `[N]`."""
        if self._layout.kind != "unified_metric":
            return self._scores_apart(sources, translations, references, batch_size, progress)
        ids = {"mt": self._encode(translations), "src": self._encode(sources)}
        if references is not None:
            ids["ref"] = self._encode(references)
        orders = [self._layout.segments]
        if len(self._layout.segments) == 3:
            orders = [("mt", "src")] if references is None else [("mt", "src"), ("mt", "ref"), ("mt", "src", "ref")]
        rows = [self._joined([ids[name] for name in order]) for order in orders]
        compute = executors.forward(self._model, self._model.together)
        parts = [self._run(compute, each, batch_size, progress if n == 0 else None) for n, each in enumerate(rows)]
        return np.mean(np.stack(parts), axis=0)

    def _scores_apart(
        self,
        sources: Sequence[str],
        translations: Sequence[str],
        references: Sequence[str] | None,
        batch_size: int,
        progress: Progress | None,
    ) -> np.ndarray:
        """The scores by vectors of texts. The vector of a text that recurs is computed once."""
        sides = {"src": sources, "mt": translations} | ({} if references is None else {"ref": references})
        places = {text: n for n, text in enumerate(dict.fromkeys(each for side in sides.values() for each in side))}
        rows = pack_texts(self._encode(list(places)), template=self._template).token_ids
        vectors = self._run(executors.forward(self._model, self._model.vectors), rows, batch_size, None)
        compute, results = executors.forward(self._model, self._model.apart), []
        for begin in range(0, len(translations), _PAIRS):
            count = min(_PAIRS, len(translations) - begin)
            chosen = {name: [places[each] for each in side[begin : begin + count]] for name, side in sides.items()}
            size = min(bucket(count), _PAIRS)
            inputs = {name: vectors[np.resize(each, size)] for name, each in chosen.items()}
            results.append(np.asarray(compute(inputs), "float64")[:count])
            if progress is not None:
                progress(count)
        return np.concatenate(results)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts, cut to the length that COMET reads of each."""
        ids = self._tokenizer.encode(list(texts))
        room = self._layout.max_length - 2 - self._template.num_special()
        notices.warn_of_long([n for n, each in enumerate(ids) if len(each) > room], len(ids), None, room)
        return [each[:room] for each in ids]

    def _joined(self, sides: list[list[list[int]]]) -> Sequence[np.ndarray]:
        """Rows of several texts each, in their order. Too long ones lose their end, with its last special tokens."""
        rows = sides[0]
        texts = [n for n, (part, _) in enumerate(self._template.pair) if isinstance(part, str)]
        start, end = texts[0], len(self._template.pair) - 1 - texts[-1]
        for side in sides[1:]:
            packed = pack_texts(rows, side, template=self._template).token_ids
            rows = [row[start : len(row) - end].tolist() for row in packed]
        limit = self._layout.max_length
        notices.warn_of_long([n for n, row in enumerate(packed) if len(row) > limit], len(packed), None, limit)
        return [row[:limit] for row in packed]

    def _run(
        self,
        compute: typing.Callable[[dict[str, np.ndarray]], np.ndarray],
        rows: Sequence[np.ndarray],
        batch_size: int,
        progress: Progress | None,
    ) -> np.ndarray:
        """The outputs for rows of ids, in their order."""
        ragged = Ragged.join(rows)
        results: list[typing.Any] = [None] * len(rows)
        for chosen in batches_by_length(ragged.lengths, batch_size):
            shape = batch_shape(ragged.lengths[chosen], self._layout.max_length)
            ids, mask = ragged.padded(chosen, shape, self._fill)
            outputs = compute({"token_ids": ids, "padding_mask": mask})
            for place, row in enumerate(chosen):
                results[row] = outputs[place]
            if progress is not None:
                progress(len(chosen))
        return np.stack(results)
