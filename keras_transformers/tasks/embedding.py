"""One vector for each text, close for texts that mean the same.

Legend: `N` texts, `B` batch, `T` length, `D` model width.
"""

import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_transformers.checkpoints import keras_hub, preset
from keras_transformers.layers.heads import Pooler
from keras_transformers.tasks.encoder_task import EncoderTask, as_list
from keras_transformers.training.examples import Examples, read_columns
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.metrics import TokenMean
from keras_transformers.training.pairs import as_text, short

# sentence-transformers' names of poolings, and ours.
_POOLINGS = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}
_OLDER = "pooling_mode_"
_KEYS = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
_MODULES, _POOLING = "modules.json", "1_Pooling"
_TYPE = "sentence_transformers.models"


@keras.saving.register_keras_serializable("keras_transformers")
class TextEmbedder(EncoderTask):
    """A sentence encoder: texts to vectors.

    Folders of sentence-transformers are read and written, with their pooling, normalisation and length; those of
    KerasHub's text embedders are read.

    Args:
        config: a `ModelConfig` with one stack.
        tokenizer: a `Tokenizer`.
        pooling: "mean" or "max" of all real tokens, or the "first" or "last" token's.
        normalize: whether vectors have length 1.
        max_length: the most tokens of a text, where the model could read more.
        scale: what similarities are multiplied by in training: the inverse of the temperature.

    Call arguments: as for `TextClassifier`; in training the same again as `positive_token_ids` and so on.

    Returns: `[B, D]`; with positives `[B, 2, D]`.

    Example:
        >>> embedder = kt.TextEmbedder.from_preset("hf://sentence-transformers/all-MiniLM-L6-v2")
        >>> embedder.similarity("A man rides.", ["Someone is riding.", "It rains."])  # doctest: +SKIP
        [0.71, 0.08]

    Source: Reimers and Gurevych 2019, section 3.
    """

    def __init__(self, config, tokenizer=None, pooling="mean", normalize=True, max_length=None, scale=20.0, **kwargs):
        super().__init__(config, tokenizer, **kwargs)
        self.pooler = Pooler(pooling, dtype=self.dtype_policy, name="pooler")
        self.pooler.build((None, None, config.output_dim))
        self.normalize = normalize
        self.scale = scale
        self._limit = max_length
        self.accuracy = TokenMean(name="accuracy")
        self.built = True

    @property
    def max_length(self):
        return min((limit for limit in (super().max_length, self._limit) if limit), default=None)

    def get_config(self):
        own = {"pooling": self.pooler.pooling, "normalize": self.normalize, "max_length": self._limit}
        return {**super().get_config(), **own, "scale": self.scale}

    def compute_output_spec(self, inputs, training=None):
        own, positive = _sides(inputs)
        vectors = self.pooler.compute_output_spec(self.backbone.compute_output_spec(own))
        if not positive:
            return vectors
        return keras.KerasTensor((vectors.shape[0], 2, vectors.shape[1]), dtype=vectors.dtype)

    def call(self, inputs, training=None):
        own, positive = _sides(inputs)
        vectors = self._vectors(own, training)
        return ops.stack([vectors, self._vectors(positive, training)], axis=1) if positive else vectors

    def _vectors(self, inputs, training):
        x, padding_mask = self.hidden_states(inputs, training)
        vectors = self.pooler(x, padding_mask=padding_mask, training=training)
        if not self.normalize:
            return vectors
        return ops.cast(_normalized(vectors), vectors.dtype)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Each text is to be closer to its own positive than to any other of the batch (van den Oord et al. 2018;
        Henderson et al. 2017, section 4)."""
        vectors = _normalized(y_pred)
        similarities_BB = ops.matmul(vectors[:, 0], ops.transpose(vectors[:, 1])) * self.scale
        # rows that only fill the batch are nobody's negatives
        if sample_weight is not None:
            similarities_BB = ops.where(ops.not_equal(sample_weight, 0)[None, :], similarities_BB, -1e9)
        own = ops.arange(ops.shape(similarities_BB)[0], dtype="int32")
        losses, _ = token_cross_entropy(similarities_BB, own)
        best = ops.cast(ops.argmax(similarities_BB, axis=-1), "int32")
        self.accuracy.update_state(ops.cast(ops.equal(best, own), "float32"), sample_weight)
        return self.weighted_mean(losses, sample_weight)

    def _examples(self, x, y, sample_weight, max_length):
        """Texts, with `y` a text that means the same for each; or pairs of texts alone."""
        if isinstance(x, Examples):
            return x
        columns = read_columns(x, y, sample_weight, labelled=False)
        positives = columns.labels if y is not None or columns.seconds is None else columns.seconds
        if positives is None:
            raise ValueError("Expected pairs of texts that mean the same, got single ones. Pass the others as y.")
        if y is not None and columns.seconds is not None:
            raise ValueError("Expected single texts with y, got pairs of them too. Leave y out.")
        inputs, packed = self.encode_texts(columns.texts, None, max_length)
        positives = [as_text(text, f"positive {row}") for row, text in enumerate(positives)]
        _, others = self.encode_texts(positives, None, max_length)
        inputs |= self._columns(others, "positive_")
        truncated = packed.truncated + others.truncated
        examples = Examples(inputs, None, columns.sample_weight, self.config.filler, truncated)
        self._check_examples(examples)
        return examples

    def embed(self, texts, *, batch_size=32, progress=None):
        """Vectors of texts.

        Args:
            texts: a string, or a list of them.
            batch_size: texts computed together; texts of similar length are.
            progress: a function called with the number of texts done, each time some are.

        Returns: a float32 numpy array, `[D]` for a string and `[N, D]` for a list.

        Raises:
            TypeError: for what is no text.
        """
        texts, single = as_list(texts)
        if not texts:
            return np.zeros((0, self.config.output_dim), "float32")
        columns = read_columns({"text": texts}, labelled=False)
        if columns.seconds is not None:
            raise TypeError(f"Expected texts, got pairs of them, first {short(texts[0])}.")
        vectors = self.run(self._input_columns(columns), batch_size, progress).astype("float32")
        return vectors[0] if single else vectors

    def similarity(self, first, second, *, batch_size=32):
        """Cosine similarities, as plain Python: a number for two strings, a list where one is a list, and for two lists
        a list of lists, `first` by `second`."""
        a, b = (self.embed(as_list(each)[0], batch_size=batch_size) for each in (first, second))
        a, b = (each / np.maximum(np.linalg.norm(each, axis=-1, keepdims=True), 1e-12) for each in (a, b))
        table = a @ b.T
        if isinstance(second, str):
            table = table[:, 0]
        return (table[0] if isinstance(first, str) else table).tolist()

    # sentence-transformers' folder

    @classmethod
    def _model_folder(cls, folder):
        modules = _modules(folder)
        return folder / modules[0].get("path", "") if modules else folder

    @classmethod
    def _read_arguments(cls, folder):
        inner = cls._model_folder(folder)
        arguments = super()._read_arguments(inner)
        modules = _modules(folder)
        if not modules:
            return arguments | keras_hub.pooling(inner)
        pooling = _read_pooling(folder / modules[1].get("path", _POOLING))
        settings = _optional(inner, "sentence_bert_config.json")
        tokenizer = arguments["tokenizer"]
        if settings.get("do_lower_case") and tokenizer is not None:
            lower, upper = tokenizer.encode(["text", "TEXT"])
            if lower != upper:
                raise ValueError(
                    f"Expected do_lower_case to be false in {inner / 'sentence_bert_config.json'}, got true with a "
                    "tokenizer that tells case apart. Lower the texts yourself, and set it to false."
                )
        prompts = _optional(folder, "config_sentence_transformers.json")
        prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"))
        if prompt:
            raise ValueError(
                f"Expected no default_prompt_name in {folder / 'config_sentence_transformers.json'}, got "
                f"{prompts['default_prompt_name']!r}, which puts {prompt!r} in front of each text. Set it to null, and "
                "write the prompt yourself."
            )
        normalize = len(modules) == 3
        return {**arguments, "pooling": pooling, "normalize": normalize, "max_length": settings.get("max_seq_length")}

    def _files(self):
        kinds = ["Transformer", "Pooling", *(["Normalize"] if self.normalize else [])]
        paths = ["", _POOLING, "2_Normalize"]
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": f"{_TYPE}.{kind}"}
            for n, (kind, path) in enumerate(zip(kinds, paths, strict=False))
        ]
        modes = {f"{_OLDER}{_KEYS[name]}": ours == self.pooler.pooling for name, ours in _POOLINGS.items()}
        files = {
            _MODULES: preset.json_bytes(modules),
            f"{_POOLING}/config.json": preset.json_bytes({"word_embedding_dimension": self.config.output_dim, **modes}),
        }
        if self._limit is not None:
            files["sentence_bert_config.json"] = preset.json_bytes(
                {"max_seq_length": self._limit, "do_lower_case": False}
            )
        return {**super()._files(), **files}


def _sides(inputs):
    """The inputs of the texts, and those of their positives, by name."""
    inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
    own, positive = {}, {}
    for name, each in inputs.items():
        (positive if name.startswith("positive_") else own)[name.removeprefix("positive_")] = each
    return own, positive


def _normalized(vectors):
    """Vectors of length 1, float32; of nothing, nothing is made, as by `torch.nn.functional.normalize`."""
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.maximum(ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True)), 1e-12)


def _modules(folder):
    """The modules of a folder of sentence-transformers, in order; none of another folder."""
    path = folder / _MODULES
    if not path.is_file():
        return []
    try:
        modules = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}, got {error}. Download it again.") from None
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise ValueError(f"Expected a list of modules in {path}, got {modules!r:.80}. Download it again.")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"Expected Transformer, Pooling and perhaps Normalize in {path}, got {', '.join(kinds)}. Other modules are "
            "not supported."
        )
    outward = [module for module in modules if {"..", "/"} & set(pathlib.PurePosixPath(module.get("path", "")).parts)]
    if outward:
        raise ValueError(f"Expected paths inside of the folder in {path}, got {outward[0]['path']!r}.")
    return modules


def _optional(folder, name):
    return preset.read_json(folder, name) if (folder / name).is_file() else {}


def _read_pooling(folder):
    """Our name of the pooling that a folder's `config.json` turns on, in its older or newer form."""
    values = preset.read_json(folder, "config.json")
    newer = values.get("pooling_mode")
    if newer is None:
        on = [theirs for theirs, value in values.items() if theirs.startswith(_OLDER) and value]
        on = [theirs.removeprefix(_OLDER).removesuffix("_token").removesuffix("_tokens") for theirs in on]
    else:
        on = [newer] if isinstance(newer, str) else list(newer)
    if len(on) != 1 or on[0] not in _POOLINGS:
        raise ValueError(
            f"Expected one pooling of {', '.join(_POOLINGS)} in {folder}, got {' and '.join(on) or 'none'}. Others are "
            "not supported."
        )
    return _POOLINGS[on[0]]
