"""Entities of kinds that are named when a text is read (GLiNER).

    [CLS] <<ENT>> person <<ENT>> city <<SEP>> John lives in Rome [SEP]
             │              │                  │    │    │   │
           label          label                words ─► LSTM ─► spans of words
             └──────────────┴──── inner products ──────────────────┘

Legend: `N` texts, `B` batch, `T` tokens, `W` words, `K` most words of an entity, `L` labels.
"""

import pathlib
import re
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
from keras_transformers.files.reading import shown
from keras_transformers.formats import entity_folders, own
from keras_transformers.layers.recurrent import BidirectionalLSTM
from keras_transformers.layers.spans import SpanScores
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.zero_shot import checked_labels
from keras_transformers.tokenizers.tokenizer import Tokenizer

_WORD = re.compile(r"\w+(?:-\w+)*|\S")
_PLACES = ("word_places", "label_places")
_WITHOUT_TOKENS = -1  # the place of a word that the tokenizer drops; 0 is padding


@keras.saving.register_keras_serializable("keras_transformers")
class EntityTagger(EncoderTask):
    """Finds entities of given kinds in texts: zero-shot named entity recognition by a GLiNER model.

    Folders of GLiNER load and save. It computes and does not train: `fit` refuses.

    Args:
        config: a `ModelConfig` with an encoder.
        tokenizer: a `Tokenizer` with the tokens of the prompt.
        dim: the width of the vectors of words and labels, an even number.
        max_width: `K`, the most words of an entity.
        max_words: the most words of a text. Longer texts are cut, and a warning says how many.
        num_recurrent_layers: the number of bidirectional LSTM layers over the words.
        label_token: the token before each label.
        separator_token: the token between the labels and the text.

    Call arguments: a dictionary of `token_ids`, int32 `[B, T]`, as for `TextClassifier`; `word_places [B, W]`, the
        place of the first token of each word, counted from 1, -1 for a word without tokens and 0 for padding; and
        `label_places [B, L]`, the place of the token before each label.

    Returns: logits `[B, W, K, L]`: `[b, w, k, l]` tells whether the words `w` to `w + k` are an entity of label `l`.

    Example:
        >>> tagger = kt.EntityTagger.from_preset("hf://urchade/gliner_medium-v2.1")
        >>> tagger.tag("Angela Merkel was born in Hamburg.", labels=["person", "city"])  # doctest: +SKIP
        [{'label': 'person', 'score': 0.99, 'start': 0, 'end': 13, 'text': 'Angela Merkel'}, …]

    Source: Zaratiana et al. 2023 (GLiNER); https://github.com/urchade/GLiNER
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        *,
        dim: int = 512,
        max_width: int = 12,
        max_words: int = 384,
        num_recurrent_layers: int = 1,
        label_token: str = "<<ENT>>",
        separator_token: str = "<<SEP>>",
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        if min(dim, max_width, max_words) < 1 or num_recurrent_layers < 0 or (num_recurrent_layers and dim % 2):
            raise ValueError(
                "Expected dim, max_width and max_words above 0, and an even dim for an LSTM in two directions, got "
                f"{dim}, {max_width} and {max_words}, with {num_recurrent_layers} layers of an LSTM."
            )
        self.dim = dim
        self.max_width = max_width
        self.max_words = max_words
        self.num_recurrent_layers = num_recurrent_layers
        self.label_token = label_token
        self.separator_token = separator_token
        options = {"dtype": self.dtype_policy}
        self.token_projection = None
        if config.output_dim != dim:
            self.token_projection = keras.layers.Dense(dim, name="token_projection", **options)
            self.token_projection.build((None, None, config.output_dim))
        numbers = range(num_recurrent_layers)
        self.recurrent = [BidirectionalLSTM(dim // 2, name=f"recurrent_{n}", **options) for n in numbers]
        self.spans = SpanScores(dim, max_width, name="spans", **options)
        for layer in (*self.recurrent, self.spans):
            layer.build((None, None, dim))
        self.built = True

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is None or config.decoder is not None:
            raise wrong_stacks("a ModelConfig with an encoder and no decoder, such as kt.models.encoder makes", config)

    def _own_arguments(self) -> dict[str, typing.Any]:
        """The arguments of the constructor besides configuration and tokenizer."""
        return {name: getattr(self, name) for name in entity_folders.arguments({})}

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **self._own_arguments()}

    def compute_output_spec(self, inputs: dict[str, Tensor], training: bool | None = None) -> keras.KerasTensor:
        x = self.backbone.compute_output_spec(_without_places(inputs))
        words, labels = (inputs[name].shape[1] for name in _PLACES)
        return keras.KerasTensor((x.shape[0], words, self.max_width, labels), dtype=x.dtype)

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Tensor:
        x, _ = self.hidden_states(_without_places(inputs), training)
        x = x if self.token_projection is None else self.token_projection(x)
        words_BWH, labels_BLH = (_vectors_at(x, inputs[name]) for name in _PLACES)
        for layer in self.recurrent:
            words_BWH = layer(words_BWH, ops.not_equal(inputs["word_places"], 0))
        return self.spans(words_BWH, labels_BLH)

    def _longest(self, embeddings: str) -> int | None:
        # Positions relative to each other have no end, and texts have at most `max_words` words.
        positions = self.config.embeddings.positions
        return None if positions is None else positions.max_length

    # Texts to entities

    def tag(
        self,
        texts: Texts,
        labels: Sequence[str],
        *,
        threshold: float = 0.5,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> list[typing.Any]:
        """Find the entities of given kinds in texts. Returns plain Python values.

        Args:
            texts: a string, or any container of strings.
            labels: the kinds, a list of strings that differ, such as ["person", "city"].
            threshold: the score that an entity must exceed, from 0 to 1.
            batch_size: texts computed together.
            progress: a function called with the number of finished texts, after each batch.

        Returns: for a string a list of `{"label", "score", "start", "end", "text"}`, in the order of the text, with
            character offsets; for a list of texts, a list of such lists. The score is the probability that the words
            are an entity of that label. Entities do not overlap: those with the highest scores are kept.

        Raises:
            TypeError: for values that are not texts, and labels that are no list of strings.
            ValueError: for no labels, equal, empty or too long ones, a `threshold` outside [0, 1), or a tokenizer
                without the tokens of the prompt.

        Warns:
            UserWarning: for texts that are longer than the model reads. Their ends are left out.
        """
        if not 0 <= threshold < 1:
            raise ValueError(f"Expected threshold to be from 0 to below 1, got {threshold!r}.")
        prompt, label_places = self._prompt_of(checked_labels(labels))
        texts, single = texts_of(texts)
        words = [[match.span() for match in _WORD.finditer(text)] for text in texts]
        found: list[list[dict[str, typing.Any]]] = [[] for _ in texts]
        rows = [row for row, spans in enumerate(words) if spans]
        if rows:
            some = [[texts[row][start:end] for start, end in words[row]] for row in rows]
            columns = self._prompted(some, prompt, label_places)
            outputs = self.run(columns, batch_size, progress)
            counts = columns["word_places"].lengths
            for row, logits, count in zip(rows, outputs, counts, strict=True):
                logits_WKL = np.asarray(logits[:count, :, : len(labels)], "float64")
                scores_WKL = np.exp(-np.logaddexp(0.0, -logits_WKL))
                found[row] = _entities(texts[row], words[row], scores_WKL, tuple(labels), threshold)
        return found[0] if single else found

    def attention_inputs(
        self, text: str, second: str | None = None, *, labels: Sequence[str] = ()
    ) -> dict[str, typing.Any]:
        """The encoder's inputs for the labels and one text, each `[T]`; see `attention_reading`."""
        if second is not None:
            raise ValueError("Expected one text and labels=[…], got a second text.")
        words = [match.group() for match in _WORD.finditer(text)]
        columns = self._prompted([words], *self._prompt_of(checked_labels(labels)))
        return _without_places({name: column.token_ids for name, column in columns.items()})

    def _prompt_of(self, labels: Sequence[str]) -> tuple[list[int], list[int]]:
        """The ids before a text, and the places of labels among them, counted from 0."""
        tokenizer, markers = self._tokenizer(), (self.label_token, self.separator_token)
        label_id, separator_id = map(tokenizer.engine.token_to_id, markers)
        if label_id is None or separator_id is None:
            raise ValueError(
                f"Expected a tokenizer with the tokens {' and '.join(markers)}, got one without. Add them: "
                f"tokenizer.add_tokens({list(markers)}, special=True), then model.with_vocabulary()."
            )
        for label in labels:
            if not label.strip() or any(marker in label for marker in markers):
                raise ValueError(f"Expected labels of words, without {' and '.join(markers)}, got {shown(label)}.")
        ids: list[int] = []
        places = []
        for pieces in tokenizer.encode_words([[label] for label in labels]).token_ids:
            places.append(len(ids))
            ids += [label_id, *pieces]
        return [*ids, separator_id], places

    def _prompted(self, rows: Sequence[Sequence[str]], prompt: list[int], label_places: list[int]) -> dict[str, Ragged]:
        """The model's inputs for texts, given as words."""
        encoded = self._tokenizer().encode_words(rows)
        room = self.room()
        if room is not None and len(prompt) >= room:
            raise ValueError(
                f"Expected labels that leave room for a text among the {room} tokens that the model reads, got labels "
                f"of {len(prompt)} tokens. Pass fewer or shorter ones."
            )
        ids, firsts, cut = [], [], 0
        for words, pieces, of_words in zip(rows, *encoded, strict=True):
            kept = _words_that_fit(of_words, min(len(words), self.max_words), room and room - len(prompt))
            cut += kept < len(words)
            length = int(np.searchsorted(of_words, kept))
            first = np.searchsorted(of_words[:length], np.arange(kept))
            ids.append([*prompt, *pieces[:length]])
            known = np.isin(np.arange(kept), of_words[:length])
            firsts.append(np.where(known, first + len(prompt), _WITHOUT_TOKENS))
        if cut:
            limit = f"{self.max_words} words" + (f" or {room} tokens with the labels" if room else "")
            warnings.warn(
                f"{cut} of {len(rows)} texts are longer than {limit}: their ends were left out. Split them.",
                stacklevel=outside(),
            )
        columns, packed = self.encode_texts(ids)
        begins = [int(np.flatnonzero(text_ids == 0)[0]) + 1 for text_ids in packed.text_ids]
        places = [np.where(each >= 0, each + begin, each) for each, begin in zip(firsts, begins, strict=True)]
        columns["word_places"] = Ragged.join(each.astype("int32") for each in places)
        columns["label_places"] = Ragged.join(np.array(label_places, "int32") + begin for begin in begins)
        return columns

    def _input_columns(self, columns: typing.Any) -> dict[str, Ragged]:
        raise ValueError("Expected labels beside the texts, got texts alone. Call tag(texts, labels=[…]).")

    def _of_texts(self, *data: typing.Any, **options: typing.Any) -> typing.Any:
        raise NotImplementedError(
            "Expected a model to tag with, got a call to train or evaluate it. An EntityTagger only computes: train it "
            "with the package gliner, and load the folder that it saves."
        )

    _of_ids = _of_texts

    # Folders

    @classmethod
    def _open_checkpoint(cls, folder: pathlib.Path, model_type: str | None, adapter: str | None = None) -> typing.Any:
        if entity_folders.is_folder(folder):
            if adapter is not None:
                raise ValueError(f"Expected no adapter: {folder} holds none, got adapter={adapter!r}.")
            return entity_folders.read(folder)
        checkpoint = super()._open_checkpoint(folder, model_type, adapter)
        if not own.is_own(checkpoint):
            raise ValueError(f"Expected a folder of GLiNER, with {entity_folders.CONFIG}, got {folder} without it.")
        return checkpoint

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        if entity_folders.is_folder(folder):
            return {"tokenizer": entity_folders.read_tokenizer(folder)}
        return super()._read_arguments(folder)

    @classmethod
    def _read_values(cls, values: dict[str, typing.Any]) -> dict[str, typing.Any]:
        return entity_folders.arguments(values.get("gliner", {}))

    def _preset_values(self) -> dict[str, typing.Any]:
        return {"gliner": entity_folders.keys(self._own_arguments())}

    def _head_is_of(self, from_files: dict[str, typing.Any]) -> bool:
        return all(getattr(self, name) == from_files.get(name) for name in ("dim", "num_recurrent_layers"))

    def _checkpoint_files(
        self, weights: Mapping[str, typing.Any], values: dict[str, typing.Any], dtype: str | None
    ) -> dict[str, typing.Any] | None:
        label_id = None if self.tokenizer is None else self.tokenizer.engine.token_to_id(self.label_token)
        of_gliner = values.get("gliner", {})
        return entity_folders.write(self.config, weights, of_gliner, label_id, self.origin, dtype)


def _without_places(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(inputs, dict) or not set(_PLACES) <= set(inputs):
        raise ValueError(
            f"Expected token_ids, {' and '.join(_PLACES)}, got {', '.join(inputs) if isinstance(inputs, dict) else 'a'}"
            f"{'' if isinstance(inputs, dict) else ' tensor'}. Call tag(texts, labels=[…]), which makes them."
        )
    return {name: each for name, each in inputs.items() if name not in _PLACES}


def _vectors_at(x: Tensor, places: Tensor) -> Tensor:
    """The vectors `[B, P, H]` of `x [B, T, H]` at `places [B, P]`, counted from 1; zeros at those below."""
    length, width = ops.shape(x)[1], x.shape[-1]
    begins = ops.arange(ops.shape(x)[0], dtype="int32")[:, None] * length
    flat = begins + ops.maximum(ops.cast(places, "int32") - 1, 0)
    found = ops.take(ops.reshape(x, (-1, width)), flat, axis=0)
    return ops.where((places > 0)[:, :, None], found, ops.zeros_like(found))


def _words_that_fit(of_words: Sequence[int], most: int, room: int | None) -> int:
    """How many of the first words, at most `most`, have all of their tokens within `room`."""
    return most if room is None or len(of_words) <= room else min(most, of_words[room])


def _entities(
    text: str, words: Sequence[tuple[int, int]], scores_WKL: np.ndarray, labels: Sequence[str], threshold: float
) -> list[dict[str, typing.Any]]:
    """The spans of words with the highest scores, none of which overlap, in the order of the text."""
    firsts, more, numbers = np.nonzero(scores_WKL > threshold)
    inside = firsts + more < len(scores_WKL)
    firsts, more, numbers = firsts[inside], more[inside], numbers[inside]
    scores = scores_WKL[firsts, more, numbers]
    taken = np.zeros(len(scores_WKL), bool)
    found = []
    for n in np.argsort(-scores, kind="stable"):
        first, last = int(firsts[n]), int(firsts[n] + more[n])
        if not taken[first : last + 1].any():
            taken[first : last + 1] = True
            start, end = words[first][0], words[last][1]
            label = {"label": labels[numbers[n]], "score": float(scores[n])}
            found.append({**label, "start": start, "end": end, "text": text[start:end]})
    return sorted(found, key=lambda each: each["start"])
