"""What every task shares: a backbone, a tokenizer, and a folder to save both in."""

import pathlib

import keras

from keras_transformers.checkpoints import preset, sources
from keras_transformers.checkpoints.weights import assign, build_empty, named_weights
from keras_transformers.models.backbone import Backbone
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import from_json, to_json
from keras_transformers.tokenizers.tokenizer import Tokenizer

MODEL_TYPE = "keras_transformers"


class Task(keras.Model):
    """A model for one kind of work on text. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig`.
        tokenizer: a `Tokenizer`; None when the model only ever sees token ids.
    """

    def __init__(self, config, tokenizer=None, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False  # token ids that come as floats must not be rounded
        if not isinstance(config, ModelConfig):
            raise TypeError(f"Expected config to be a ModelConfig (see kt.models), got {type(config).__name__}.")
        self.config = config
        self.tokenizer = tokenizer
        self.backbone = Backbone(config, dtype=self.dtype_policy)
        if tokenizer is not None:
            self._check_tokenizer(tokenizer)

    def _check_tokenizer(self, tokenizer):
        size = min(self.config.embeddings.vocabulary_size, self.config.target_embeddings.vocabulary_size)
        problems = []
        if tokenizer.vocabulary_size > size:
            problems.append(f"a vocabulary of {tokenizer.vocabulary_size} tokens, where the model has {size}")
        if tokenizer.padding_id != self.config.padding_id:
            problems.append(f"padding_id={tokenizer.padding_id}, where the model has {self.config.padding_id}")
        if problems:
            raise ValueError(f"The tokenizer does not belong to this model: it has {' and '.join(problems)}.")

    @classmethod
    def from_preset(cls, name, dtype=None):
        """Load a preset: its model, weights and tokenizer.

        Args:
            name: an embedded preset's name (`keras-transformers presets` lists them), a folder,
                `hf://org/name[@revision]`, `kaggle://…`, or `package://package/path`.
            dtype: what the model computes in and keeps its weights in, such as "bfloat16" or "mixed_float16"; by
                default Keras's policy, whatever the file stores.

        Raises:
            FileNotFoundError, ValueError: when there is no such preset, or it is damaged or of another task; nothing is
                loaded then.

        Example:
            >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        """
        folder = sources.resolve(name)
        config = preset.read_json(folder, "config.json")
        if config.get("model_type") != MODEL_TYPE:
            raise ValueError(
                f"Expected model_type {MODEL_TYPE!r} in {folder / 'config.json'}, got {config.get('model_type')!r}."
            )
        unknown = set(config) - {"model_type", "task", "dtype", "config", "keras_transformers_version"}
        if unknown or config.get("task") != cls.__name__ or "config" not in config:
            raise ValueError(
                f"Expected a preset of {cls.__name__} with a config in {folder / 'config.json'}, got task "
                f"{config.get('task')!r}" + (f" and unknown keys {sorted(unknown)}." if unknown else ".")
            )
        try:
            model_config = from_json(config["config"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'config.json'}: {error}") from None
        if not isinstance(model_config, ModelConfig):
            raise ValueError(
                f"Expected a ModelConfig as config in {folder / 'config.json'}, got {config['config']!r:.80}."
            )
        tensors = preset.read_tensors(folder)
        arguments = cls._read_arguments(folder)
        model = build_empty(lambda: cls(model_config, **arguments, dtype=dtype))
        assign(model, tensors, folder)
        return model

    @classmethod
    def _read_arguments(cls, folder):
        """What else the constructor takes from a preset's folder, by argument name."""
        has_tokenizer = any(
            (pathlib.Path(folder) / f"{name}.json").is_file() for name in ("tokenizer", "tokenizer_config")
        )
        return {"tokenizer": Tokenizer.load(folder) if has_tokenizer else None}

    def save_to_preset(self, folder, dtype=None):
        """Save model, weights and tokenizer as a preset's folder, all at once or not at all.

        Args:
            folder: made if it is not there; a preset that is there is replaced in one step.
            dtype: what to store the weights as, such as "float16"; by default as they are.

        Raises:
            FileExistsError: when `folder` holds something else.

        Example:
            >>> model.save_to_preset("mine")
        """
        from keras_transformers import __version__

        arrays = {name: keras.ops.convert_to_numpy(weight) for name, weight in named_weights(self).items()}
        config = {
            "model_type": MODEL_TYPE,
            "keras_transformers_version": __version__,
            "task": type(self).__name__,
            "dtype": dtype or self.dtype_policy.variable_dtype,
            "config": to_json(self.config),
        }
        files = {
            "config.json": preset.json_bytes(config),
            preset.WEIGHTS: lambda path: preset.write_tensors(path, arrays, dtype=dtype),
            **self._files(),
        }
        preset.save_folder(folder, files)

    def _files(self):
        """What else belongs in a preset's folder: bytes by file name."""
        return {} if self.tokenizer is None else self.tokenizer.files()

    # Keras's own `.keras` files carry the tokenizer as an asset.

    def get_config(self):
        dtype = keras.saving.serialize_keras_object(self.dtype_policy)
        return {"config": to_json(self.config), "name": self.name, "dtype": dtype}

    @classmethod
    def from_config(cls, config):
        policy = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**{**config, "config": from_json(config["config"]), "dtype": policy})

    def save_assets(self, folder):
        if self.tokenizer is not None:
            self.tokenizer.save(folder)

    def load_assets(self, folder):
        if (pathlib.Path(folder) / "tokenizer.json").is_file():
            self.tokenizer = Tokenizer.load(folder)
