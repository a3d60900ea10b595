"""The base class of all tasks: a backbone and a tokenizer, and `fit` on raw text."""

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
from keras_transformers.tasks import compiling, in_graph, tokenizer_config
from keras_transformers.tasks.preset_task import PresetTask
from keras_transformers.tasks.vocabulary import with_vocabulary
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training import refusals
from keras_transformers.training.fitting import fit_batches
from keras_transformers.training.optimizers import Optimizer
from keras_transformers.training.schedules import LinearDecay

# Methods that Keras calls, with signatures that it needs. Methods that users call are not among them.
_KERAS_CALLS = set(dir(keras.Model)) - {"compile", "evaluate", "export", "fit", "predict"}


class Task(ShapesOfSpec, PresetTask):
    """A model for one text task. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig`.
        tokenizer: a `Tokenizer`; None if the model only sees token ids.

    Attributes:
        origin: the other contents of the Hugging Face checkpoint that the model was loaded from, or None.
        pretrained: whether the weights were loaded, so that training is fine-tuning.
        quantization_aware: see `compile`.
    """

    quantization_aware: str | None = None
    export_with_text = in_graph.export_with_text

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> typing.Self:
        spelling.check_constructor(cls, kwargs)
        if not args and "config" not in kwargs:
            loader = f"kt.{cls.__name__}.from_preset"
            raise TypeError(f"Expected a ModelConfig (see kt.models), got none. {loader}(…) loads a model.")
        return super().__new__(cls, *args, **kwargs)

    def __init_subclass__(cls, **options: typing.Any) -> None:
        super().__init_subclass__(**options)
        spelling.spell_out(cls, but=_KERAS_CALLS)

    def __getattr__(self, name: str) -> typing.Any:
        """Raise an error with advice for a missing attribute. PyTorch finds submodules by this method."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise spelling.missing_attribute(self, name) from None

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # token ids given as floats must not be rounded
        self.supports_masking = True
        check_config(config, type(self).__name__)
        self.config = config
        self.tokenizer = tokenizer
        self.origin = None
        self.backbone = Backbone(config, dtype=self.dtype_policy)
        if tokenizer is not None:
            self._check_tokenizer(tokenizer)

    # Outputs carry only the mask of `compute_mask`: losses have weights already, and a mask would weigh tokens twice.

    def compute_mask(self, inputs: typing.Any, previous_mask: typing.Any = None) -> typing.Any:
        """The mask of the outputs for later layers, bool, True for real ones; None for all."""
        return None

    def _set_mask_metadata(self, inputs: typing.Any, outputs: typing.Any, previous_mask: typing.Any) -> None:
        set_keras_mask(outputs, self.compute_mask(inputs, previous_mask))

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        check_tokenizer(tokenizer, self.config)

    def with_vocabulary(self, vocabulary_size: int | None = None) -> typing.Self:
        """Resize the vocabulary: a copy of the model for more tokens, or for fewer.

        Args:
            vocabulary_size: the number of tokens; by default that of the tokenizer, after `tokenizer.add_tokens`. A
                separate embedding table of the decoder keeps its size.

        Returns: a new model with the same weights, not compiled. The embeddings of new tokens are the mean of the
            others, so that untrained tokens change little. It has no lexical shortlist.

        Raises:
            ValueError: for fewer tokens than the tokenizer has, for quantized weights, or if there is neither a
                tokenizer nor a size.

        Example:
            >>> classifier.tokenizer.add_tokens(["<user>", "<link>"])
            >>> classifier = classifier.with_vocabulary()
        """
        size = self._tokenizer().vocabulary_size if vocabulary_size is None else vocabulary_size
        return with_vocabulary(self, size)

    # Training

    def compile(
        self,
        optimizer: Optimizer | None = None,
        *,
        rematerialize: bool = False,
        quantization_aware: str | None = None,
        **kwargs: typing.Any,
    ) -> None:
        """Prepare for training. Takes all arguments of `keras.Model.compile` except `loss`: each task has its own.

        Args:
            optimizer: see `default_optimizer`. If it accumulates gradients, one step of its schedule is one update.
            rematerialize: whether to use gradient checkpointing: the backward pass computes the activations of each
                block again instead of storing them. It takes less memory and more time, and gives the same weights. On
                JAX it has no effect on a CPU, where XLA undoes it.
            quantization_aware: "int8" for quantization-aware training: the weights that `kt.transforms.quantize(model,
                "int8")` would quantize are rounded to such numbers after each update, and the optimizer keeps float32
                copies of them. "marian" does so by the rule of `Seq2SeqLM.export_marian`. Then quantization changes
                these weights no more; frozen ones are not rounded. Train a few last epochs so, with a small learning
                rate.
        """
        grids = None
        if quantization_aware is not None:
            from keras_transformers.transforms import quantization  # families load with it

            grids = quantization.grids(self, quantization_aware)
        for stack in self._stacks():
            stack.rematerialize = rematerialize
        optimizer = self.default_optimizer() if optimizer is None else optimizer
        super().compile(optimizer, grids=grids, **kwargs)
        self.quantization_aware = quantization_aware

    def _stacks(self) -> list[typing.Any]:
        return [stack for stack in (self.backbone.encoder, self.backbone.decoder) if stack is not None]

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """AdamW as for fine-tuning BERT (Devlin et al. 2019, appendix A.3): weight decay 0.01 except on norms and
        biases, and a learning rate that rises to 5e-5 over the first tenth of `fit` and then falls to 0."""
        optimizer = keras.optimizers.AdamW(LinearDecay(5e-5), weight_decay=0.01)
        return compiling.without_decay(optimizer, self.trainable_variables)

    def get_compile_config(self) -> dict[str, typing.Any] | None:
        config = super().get_compile_config()
        return {**config, **compiling.values(self)} if config else config

    def compile_from_config(self, config: dict[str, typing.Any]) -> None:
        compiling.restore(self, dict(config))

    def freeze(self, embeddings: bool = True, layers: int | bool = 0) -> None:
        """Freeze the embeddings and the first layers of the backbone in training. Call it before `compile`. A later
        call replaces an earlier one.

        Args:
            embeddings: whether to freeze the embeddings.
            layers: the number of first layers to freeze, counted in the encoder if the model has one; True for all
                layers and the weights that they share.

        Raises:
            ValueError: for more layers than the model has, for layers that share weights with others, and for a model
                with LoRA adapters, where everything else is frozen already.
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
        """Train on raw text, or on token ids.

        Args:
            x, y: texts and their targets, or both in one source: see the task. Lists, arrays, series, data frames,
                dictionaries of columns, lists of dictionaries, Hugging Face datasets, `tf.data`, `PyDataset`,
                `DataLoader` and generators all work. Or your own token ids, `{"token_ids": …}`, as arrays or lists of
                unequal length, optionally with `padding_mask` and `segment_ids`, and the labels of the task.
            sample_weight: the weight of each example, or of each token label.
            columns: the names of the columns of a table, by our names, if they differ or are ambiguous:
                `{"text": "review", "label": "stars"}`.
            batch_tokens: roughly how many tokens a batch holds on its longest side, including padding; by default the
                `batch_tokens` of the task.
            batch_size: the number of examples of a batch instead; by default the `batch_size` of the task, if it has
                one.
            max_length: the most tokens of a text. Longer texts are cut, and a warning says how many. By default the
                number of positions of the model.
            num_buckets: the most batch shapes; each is compiled once.
            shuffle, seed: whether to shuffle the examples in each epoch, and the seed for that and `validation_split`.
            epochs, initial_epoch, validation_split, validation_data, callbacks, verbose, …: as for `keras.Model.fit`.
                A `kt.training.Checkpoint` among the callbacks resumes where it stopped, even within an epoch.

        Returns: a `keras.callbacks.History`.

        Raises:
            TypeError, ValueError: for values that are not texts or labels, ids and lengths out of the model's range,
                and options that contradict each other.
        """
        from keras_transformers.training.checkpoints import Checkpoint  # it loads presets
        from keras_transformers.transforms import quantization  # families load with it

        quantization.check_trains(self)
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
            training: dict[str, typing.Any] = {
                "position": position,
                "epochs": epochs,
                "validation": validation,
                "callbacks": callbacks,
            }
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
        """Evaluate on `x` and `y`, given as to `fit`. Returns loss and metrics, a dictionary."""
        if "_use_cached_eval_dataset" in kwargs:  # `fit` of Keras validates on batches that exist already
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

    # Copies and `.keras` files store the tokenizer in the configuration.

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


spelling.spell_out(Task, but=_KERAS_CALLS)


def check_config(config: typing.Any, task: str) -> None:
    """Refuse a configuration that is no `ModelConfig`, and say how to get one."""
    if not isinstance(config, ModelConfig):
        way = (
            f"load it by kt.{task}.from_preset(…)" if isinstance(config, str | pathlib.Path) else "kt.models makes one"
        )
        raise TypeError(f"Expected config to be a ModelConfig (see kt.models), got {config!r:.80}: {way}.")


def check_tokenizer(tokenizer: Tokenizer, config: ModelConfig, *, any_padding: bool = False) -> None:
    """Refuse a tokenizer with larger vocabularies than the embeddings of a model, or with another padding id, unless
    `any_padding` will do."""
    sizes = {
        (tokenizer.vocabulary_size, config.embeddings.vocabulary_size),
        (tokenizer.target_vocabulary_size, config.target_embeddings.vocabulary_size),
    }
    problems = [
        f"a vocabulary of {theirs} tokens, where the model has {own}" for theirs, own in sorted(sizes) if theirs > own
    ]
    # a decoder alone knows its padding from masks and starts
    if config.encoder is not None and not any_padding and tokenizer.padding_id != config.padding_id:
        problems.append(f"padding_id={tokenizer.padding_id}, where the model has {config.padding_id}")
        if tokenizer.padding_id is None:
            problems[-1] += " (is its tokenizer_config.json missing?)"
    if problems:
        raise ValueError(f"The tokenizer does not belong to this model: it has {' and '.join(problems)}.")
