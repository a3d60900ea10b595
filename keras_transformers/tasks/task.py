"""What every task shares: a backbone, a tokenizer, a folder to save both in, and `fit` on raw text."""

import os
import pathlib
import typing
from collections.abc import Sequence

import keras
from keras.src.backend import set_keras_mask

from keras_transformers import memory, spelling
from keras_transformers.data.batches import Batches, Position, keras_data
from keras_transformers.data.pairs import split
from keras_transformers.layers.layer import ShapesOfSpec
from keras_transformers.models import changes
from keras_transformers.models.backbone import Backbone
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import from_json, to_json
from keras_transformers.spelling import Elsewhere
from keras_transformers.tasks import compiling, tokenizer_config
from keras_transformers.tasks.data_task import DataTask
from keras_transformers.tasks.vocabulary import with_vocabulary
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training import refusals
from keras_transformers.training.fitting import fit_batches
from keras_transformers.training.optimizers import Optimizer
from keras_transformers.training.schedules import LinearDecay

# Methods that Keras calls, and what it asks of their signatures; those that users call are not among them.
_KERAS_CALLS = set(dir(keras.Model)) - {"compile", "evaluate", "fit", "predict"}


class Task(ShapesOfSpec, DataTask):
    """A model for one kind of work on text. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig`.
        tokenizer: a `Tokenizer`; None when the model only ever sees token ids.

    Attributes:
        origin: what a checkpoint of Hugging Face's held besides the model, where it was loaded from one.
        pretrained: whether the weights were loaded: whether training is fine-tuning.
    """

    pretrained = False
    from_pretrained = Elsewhere()

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> typing.Self:
        spelling.check_constructor(cls, kwargs)
        if not args and "config" not in kwargs:
            raise TypeError(
                f"Expected a ModelConfig (see kt.models), got none. A model that is there already is loaded by "
                f"kt.{cls.__name__}.from_preset(…)."
            )
        return super().__new__(cls, *args, **kwargs)

    def __init_subclass__(cls, **options: typing.Any) -> None:
        super().__init_subclass__(**options)
        spelling.spell_out(cls, but=_KERAS_CALLS)

    def __getattr__(self, name: str) -> typing.Any:
        """Of an attribute that is not there, say what is. PyTorch finds submodules by this method."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise spelling.missing_attribute(self, name) from None

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # token ids that come as floats must not be rounded
        self.supports_masking = True
        check_config(config, type(self).__name__)
        self.config = config
        self.tokenizer = tokenizer
        self.origin = None
        self.backbone = Backbone(config, dtype=self.dtype_policy)
        if tokenizer is not None:
            self._check_tokenizer(tokenizer)

    # What a task gives carries no Keras mask but its own: losses weigh what counts, and a mask would count beside them.

    def compute_mask(self, inputs: typing.Any, previous_mask: typing.Any = None) -> typing.Any:
        """Which of the outputs are real, bool, for layers that follow; None for all."""
        return None

    def _set_mask_metadata(self, inputs: typing.Any, outputs: typing.Any, previous_mask: typing.Any) -> None:
        set_keras_mask(outputs, self.compute_mask(inputs, previous_mask))

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        sizes = {
            (tokenizer.vocabulary_size, self.config.embeddings.vocabulary_size),
            (tokenizer.target_vocabulary_size, self.config.target_embeddings.vocabulary_size),
        }
        problems = [
            f"a vocabulary of {theirs} tokens, where the model has {own}"
            for theirs, own in sorted(sizes)
            if theirs > own
        ]
        # of a decoder alone masks and starts tell the padding
        if self.config.encoder is not None and tokenizer.padding_id != self.config.padding_id:
            problems.append(f"padding_id={tokenizer.padding_id}, where the model has {self.config.padding_id}")
            if tokenizer.padding_id is None:
                problems[-1] += " (is its tokenizer_config.json missing?)"
        if problems:
            raise ValueError(f"The tokenizer does not belong to this model: it has {' and '.join(problems)}.")

    @classmethod
    def from_preset(
        cls,
        name: str | os.PathLike[str],
        dtype: str | keras.DTypePolicy | None = None,
        model_type: str | None = None,
        verify: bool = False,
        **arguments: typing.Any,
    ) -> typing.Self:
        """Load a preset: its model, weights, tokenizer and labels.

        Args:
            name: an embedded preset's name (`keras-transformers presets` lists them), a folder, ours, Hugging Face's or
                KerasHub's, a GGUF file, `hf://org/name[@revision]`, `kaggle://…`, or `package://package/path`.
            dtype: what the model computes in and keeps its weights in, such as "bfloat16" or "mixed_float16"; by
                default Keras's policy, whatever the file stores.
            model_type: the family, where an old `config.json` does not name it.
            verify: whether to read all files first, and compare them with the hashes beside them: see `kt.verify`.
            **arguments: of the constructor, in place of what the preset says. Where they ask for other classes than it
                has, or it was made for another task, the head begins anew, and a warning says so.

        Raises:
            FileNotFoundError, ValueError: when there is no such preset, or it is damaged, of an unknown family, or does
                not fit its own configuration; all that is wrong is listed, and nothing is loaded.

        Example:
            >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        """
        from keras_transformers.tasks import presets  # formats and families load with the first preset

        return presets.load(cls, name, dtype, model_type, verify, arguments)

    @classmethod
    def _model_folder(cls, folder: pathlib.Path) -> pathlib.Path:
        """Where in a preset's folder the model lies."""
        return folder

    def _remember(self, folder: pathlib.Path) -> None:
        """Keep what saving is to reproduce of a preset's folder, besides the model."""

    @classmethod
    def _merged(cls, told: dict[str, typing.Any], given: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """The constructor's arguments: what a preset told, and what the user gave in its place."""
        return {**told, **given}

    def _head_is_of(self, told: dict[str, typing.Any]) -> bool:
        """Whether this model's head is of the classes that a preset told of."""
        return True

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        """What else the constructor takes from a preset's folder, by argument name."""
        from keras_transformers.tasks import presets

        return {"tokenizer": Tokenizer.load(folder) if presets.has_tokenizer(folder) else None}

    @classmethod
    def _read_values(cls, values: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """What the constructor takes from `config.json`, by argument name, which are names of attributes too."""
        return {}

    def with_vocabulary(self, vocabulary_size: int | None = None) -> typing.Self:
        """The same model with room for more tokens, or for fewer.

        Args:
            vocabulary_size: how many; by default what the tokenizer has, after `tokenizer.add_tokens`. A table that the
                decoder has for itself stays as it is.

        Returns: a new model, not compiled, with this one's weights. Rows for new tokens are the mean of the others, so
            that they surprise nobody before they are trained.

        Raises:
            ValueError: for fewer tokens than the tokenizer has, without a tokenizer and a size, or for quantized
                weights.

        Example:
            >>> classifier.tokenizer.add_tokens(["<user>", "<link>"])
            >>> classifier = classifier.with_vocabulary()
        """
        size = self._tokenizer().vocabulary_size if vocabulary_size is None else vocabulary_size
        return with_vocabulary(self, size)

    def save_to_preset(self, folder: str | os.PathLike[str], dtype: str | None = None) -> None:
        """Save model, weights and tokenizer as a preset's folder, all at once or not at all.

        Where a family of Hugging Face's describes the model, transformers opens the folder; what was loaded from there
        and not changed comes back byte for byte.

        Args:
            folder: made if it is not there; a preset that is there is replaced in one step.
            dtype: what to store the weights as, such as "float16"; by default as they are, or as they came where that
                loses nothing.

        Raises:
            FileExistsError: when `folder` holds something else.

        Example:
            >>> model.save_to_preset("mine")
        """
        from keras_transformers.tasks import presets

        presets.save(self, folder, dtype)

    def push_to_hub(
        self,
        repository: str,
        *,
        dtype: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Upload model",
    ) -> str:
        """Save to a repository of the Hugging Face hub, by `huggingface_hub` and its login.

        Args:
            repository: "org/name"; made if it is not there.
            dtype: as for `save_to_preset`.
            private, revision, message: of `huggingface_hub.HfApi.create_repo` and `upload_folder`.

        Returns: the address of the commit.
        """
        from keras_transformers.tasks import presets

        options: dict[str, typing.Any] = {"private": private, "revision": revision, "commit_message": message}
        return presets.push(self, repository, dtype, **options)

    def _checkpoint_values(self) -> dict[str, typing.Any]:
        """What `config.json` says of the task in a checkpoint of Hugging Face's."""
        return self._preset_values()

    def _preset_values(self) -> dict[str, typing.Any]:
        """The same as `config.json` has it: the inverse of `_read_values`."""
        return {}

    def _files(self) -> dict[str, typing.Any]:
        """What else belongs in a preset's folder: bytes by file name."""
        return {} if self.tokenizer is None else self.tokenizer.files()

    # Training

    def compile(self, optimizer: Optimizer | None = None, *, rematerialize: bool = False, **kwargs: typing.Any) -> None:
        """Prepare for training. All of `keras.Model.compile`'s arguments are open but `loss`, which is the task's own.

        Args:
            optimizer: see `default_optimizer`. Where it accumulates gradients, a step of its schedule is an update.
            rematerialize: whether what each block computes on its way is computed again in the backward pass instead of
                kept for it: less memory, more time, the same weights. On a processor it changes nothing on JAX: XLA
                undoes it.
        """
        for stack in self._stacks():
            stack.rematerialize = rematerialize
        super().compile(self.default_optimizer() if optimizer is None else optimizer, **kwargs)

    def _stacks(self) -> list[typing.Any]:
        return [stack for stack in (self.backbone.encoder, self.backbone.decoder) if stack is not None]

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """AdamW as BERT is fine-tuned (Devlin et al. 2019, appendix A.3): weight decay 0.01, none on norms and biases,
        and a learning rate that rises to 5e-5 over the first tenth of `fit` and falls to 0 over the rest."""
        return compiling.without_decay(
            keras.optimizers.AdamW(LinearDecay(5e-5), weight_decay=0.01), self.trainable_variables
        )

    def get_compile_config(self) -> dict[str, typing.Any] | None:
        config = super().get_compile_config()
        return {**config, **compiling.values(self)} if config else config

    def compile_from_config(self, config: dict[str, typing.Any]) -> None:
        compiling.restore(self, dict(config))

    def freeze(self, embeddings: bool = True, layers: int | bool = 0) -> None:
        """Keep a part of the body as it is in training, from below.

        Args:
            embeddings: whether the embeddings stay.
            layers: how many of the first layers stay, of the encoder where there is one; True for all, with what they
                share.

        Call it before `compile`. Another call replaces what this one said.

        Raises:
            ValueError: for a number of layers that there are not, or whose weights others share, and for a model with
                LoRA adapters, beside which all is frozen.
        """
        from keras_transformers.tasks import freezing

        freezing.freeze(self, embeddings, layers)

    def fit(
        self,
        x: typing.Any = None,
        y: typing.Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        sample_weight: typing.Any = None,
        batch_tokens: int | None = None,
        max_length: int | None = None,
        num_buckets: int = 8,
        initial_epoch: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        validation_split: float = 0.0,
        validation_data: typing.Any = None,
        callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
        **kwargs: typing.Any,
    ) -> keras.callbacks.History:
        """Train on raw text, or on what the task takes besides.

        Args:
            x, y: texts and what they are to become, or both in one source: see the task. Lists, arrays, series, data
                frames, dictionaries of columns, lists of dictionaries, Hugging Face datasets, `tf.data`, `PyDataset`,
                `DataLoader` and generators are read alike. Or token ids of your own, `{"token_ids": …}`, arrays or
                lists of unequal length, perhaps with `padding_mask` and `segment_ids`, and the task's labels.
            sample_weight: how much each example, or each label of a token, counts.
            columns: what a table calls its columns, by our names, if those differ or several could be meant:
                `{"text": "review", "label": "stars"}`.
            batch_tokens: about how many tokens a batch holds, padding included, on its longest side; by default the
                task's `batch_tokens`.
            batch_size: so many examples instead; by default the task's `batch_size`, where it has one.
            max_length: cut longer texts, and say how many; by default what the model has positions for.
            num_buckets: how many shapes of batches there are, at most: each is compiled once.
            shuffle, seed: deal the examples anew in each epoch, and what that and `validation_split` start from.
            epochs, initial_epoch, validation_split, validation_data, callbacks, verbose, …: as for `keras.Model.fit`.
                A `kt.training.Checkpoint` among the callbacks resumes where it stopped, within an epoch too.

        Returns: a `keras.callbacks.History`.

        Raises:
            TypeError, ValueError: for what is no text or no label, ids and lengths that the model has no place for, and
                options that contradict each other.
        """
        from keras_transformers.training.callbacks import Checkpoint  # which loads plotting and presets

        refusals.check_fit(kwargs)
        refusals.check_shuffle(shuffle)
        if not self.compiled:
            self.compile()
        class_weight = self._class_weights(kwargs.pop("class_weight", None))
        batching = {**self._batching(batch_tokens, batch_size), "num_buckets": num_buckets}
        options = self._taken_options(kwargs, max_length)
        data = x, y, sample_weight
        if validation_split:
            if validation_data is not None or isinstance(x, Batches):
                other = "Batches, which are made already" if isinstance(x, Batches) else "validation_data"
                raise ValueError(f"Expected validation_split alone, got it together with {other}. Give one of the two.")
            examples, validation_data = split(self._examples(*data, **options), validation_split, seed)
            data = examples, None, None
        batches = self._batches(data, options, shuffle=shuffle, seed=seed, **batching)
        batches = batches.changed(class_weight=class_weight)
        validation = None
        validation_size = kwargs.pop("validation_batch_size", None)
        if validation_data is not None:
            batching = batching if validation_size is None else {**batching, "batch_size": validation_size}
            validation = self._batches(self._unpacked(validation_data), options, shuffle=False, **batching)
        position = Position(initial_epoch, 0, initial_epoch * len(batches))
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        for callback in callbacks:
            if isinstance(callback, Checkpoint):
                position = callback.restore(self, batches.fingerprint()) or position
        refusals.check_callbacks(self._plain_optimizer(), callbacks)
        compiling.lengthen_schedules(self, epochs * len(batches), position.step)
        with memory.advice(
            "lower batch_tokens or batch_size (an optimizer's gradient_accumulation_steps makes up for it), or compile "
            "with rematerialize=True."
        ):
            training = {"position": position, "epochs": epochs, "validation": validation, "callbacks": callbacks}
            return fit_batches(super().fit, batches, **training, **kwargs)

    def evaluate(
        self,
        x: typing.Any = None,
        y: typing.Any = None,
        batch_size: int | None = None,
        *,
        sample_weight: typing.Any = None,
        batch_tokens: int | None = None,
        max_length: int | None = None,
        **kwargs: typing.Any,
    ) -> typing.Any:
        """Loss and metrics on `x` and `y`, given as to `fit`: a dictionary."""
        if "_use_cached_eval_dataset" in kwargs:  # Keras's `fit`, which validates on batches that are made already
            return super().evaluate(x, y, batch_size=batch_size, sample_weight=sample_weight, **kwargs)
        if kwargs.pop("steps", None) is not None:
            raise ValueError("Expected no steps: evaluate is of all the examples. Pass fewer of them.")
        if not self.compiled:
            self.compile()
        options = self._taken_options(kwargs, max_length)
        batches = self._batches(
            (x, y, sample_weight), options, shuffle=False, **self._batching(batch_tokens, batch_size)
        )
        refusals.check_steps_per_execution(self.steps_per_execution, the_evaluation=len(batches))
        return super().evaluate(keras_data(batches), steps=len(batches), **{"return_dict": True, **kwargs})

    def __repr__(self) -> str:
        from keras_transformers.models.explanation import explain

        return explain(self).rstrip() if self.built else super().__repr__()

    # A copy, and Keras's own `.keras` files, have the tokenizer in the configuration.

    def get_config(self) -> dict[str, typing.Any]:
        dtype = keras.saving.serialize_keras_object(self.dtype_policy)
        config = {"config": to_json(self.config), "name": self.name, "dtype": dtype, "pretrained": self.pretrained}
        return {**config, "tokenizer": tokenizer_config.to_config(self.tokenizer), **changes.in_config(self)}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        policy = keras.saving.deserialize_keras_object(config["dtype"])
        tokenizer = tokenizer_config.from_config(config.get("tokenizer"))
        values = {"config": from_json(config["config"]), "dtype": policy, "tokenizer": tokenizer}
        rest = {name: value for name, value in config.items() if name != "pretrained"}
        model = changes.from_config(rest, lambda rest: cls(**{**rest, **values}))
        model.pretrained = config.get("pretrained", False)
        return model

    def load_assets(self, folder: str | os.PathLike[str]) -> None:
        """Of files written before the tokenizer was in the configuration."""
        from keras_transformers.tasks import presets

        if presets.has_tokenizer(pathlib.Path(folder)):
            self.tokenizer = Tokenizer.load(folder)


spelling.spell_out(Task, but=_KERAS_CALLS)


def check_config(config: typing.Any, task: str) -> None:
    if not isinstance(config, ModelConfig):
        way = (
            f"load it by kt.{task}.from_preset(…)" if isinstance(config, str | pathlib.Path) else "kt.models makes one"
        )
        raise TypeError(f"Expected config to be a ModelConfig (see kt.models), got {config!r:.80}: {way}.")
