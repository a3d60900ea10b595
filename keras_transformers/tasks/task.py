"""What every task shares: a backbone, a tokenizer, a folder to save both in, and `fit` on raw text."""

import dataclasses
import pathlib
import tempfile
import warnings

import keras
import numpy as np
from keras.src.backend import set_keras_mask

from keras_transformers import memory, spelling
from keras_transformers.callers import outside
from keras_transformers.data.batches import Batches, Position, keras_data
from keras_transformers.data.pairs import split
from keras_transformers.data.sources import are_parts
from keras_transformers.files.gguf import GGUF, GGUFFile
from keras_transformers.files.git_lfs import refuse_pointers
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import budget, gguf, hugging_face, keras_hub, own, preset, sources, verification
from keras_transformers.layers.layer import ShapesOfSpec
from keras_transformers.models import changes
from keras_transformers.models.backbone import Backbone
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.explain import explain
from keras_transformers.models.weights import assign, build_empty, is_head, named_weights, unused_tensors
from keras_transformers.records import from_json, to_json
from keras_transformers.spelling import Elsewhere, listed
from keras_transformers.tasks import tokenizer_config
from keras_transformers.tasks.data_task import DataTask
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training import refusals
from keras_transformers.training.callbacks import Checkpoint
from keras_transformers.training.fitting import fit_batches
from keras_transformers.training.optimizers import parts
from keras_transformers.training.schedules import LinearDecay, PerUpdate
from keras_transformers.transforms.lora import has_lora, merged_weights

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
        batch_tokens, batch_size: how many tokens, or examples, a batch of `fit` holds by default.
        reading: what options `fit` and `evaluate` have beside `max_length` that say how texts are read.
    """

    pretrained = False
    batch_tokens: int = 4096
    batch_size: int | None = None
    reading: tuple[str, ...] = ("columns",)
    from_pretrained = Elsewhere()

    def __new__(cls, *args, **kwargs):
        spelling.check_constructor(cls, kwargs)
        if not args and "config" not in kwargs:
            raise TypeError(
                f"Expected a ModelConfig (see kt.models), got none. A model that is there already is loaded by "
                f"kt.{cls.__name__}.from_preset(…)."
            )
        return super().__new__(cls, *args, **kwargs)

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        spelling.spell_out(cls, but=_KERAS_CALLS)

    def __getattr__(self, name):
        """Of an attribute that is not there, say what is. PyTorch finds submodules by this method."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise spelling.missing_attribute(self, name) from None

    def __init__(self, config, tokenizer=None, **kwargs):
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

    def compute_mask(self, inputs, previous_mask=None):
        """Which of the outputs are real, bool, for layers that follow; None for all."""
        return None

    def _set_mask_metadata(self, inputs, outputs, previous_mask):
        set_keras_mask(outputs, self.compute_mask(inputs, previous_mask))

    def _check_tokenizer(self, tokenizer):
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
    def from_preset(cls, name, dtype=None, model_type=None, verify=False, **arguments):
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
        spelling.check_dtype(dtype)
        known = ("name", "dtype", "model_type", "verify", *spelling.constructor_arguments(cls)[1:])
        spelling.check_arguments(f"arguments of {cls.__name__}.from_preset", arguments, known, spelling.OF_KERAS)
        root = sources.resolve(name)
        if verify:
            verification.verify(root)
        folder = cls._model_folder(root)
        for each in {root, folder}:
            refuse_pointers(each)
        checkpoint = _open(folder, model_type, cls.__name__)
        task = checkpoint.task
        same_task = task in (cls.__name__, None)
        told = cls._read_arguments(root)
        if same_task:
            told |= cls._read_values(checkpoint.labelled(cls.__name__))
        budget.check(checkpoint.config, checkpoint.tensors, folder)
        model = build_empty(lambda: cls(checkpoint.config, **cls._merged(told, arguments), dtype=dtype))
        same_head = same_task and model._head_is_of(told)
        weights = named_weights(model)
        heads = [each for each in weights if is_head(each)]  # those that the user asks for may be of any size
        shapes = {each: weight.shape for each, weight in weights.items() if not (arguments and each in heads)}
        budget.check_weights(shapes, set(heads) & set(shapes), checkpoint.tensors, folder)
        changes.restore(model, checkpoint.values.get("transforms", {}))
        weights = named_weights(model)
        tensors = checkpoint.read(weights, cls.__name__ if same_head else None)
        new = [] if same_head and task else [each for each in weights if each not in tensors and is_head(each)]
        assign(model, tensors, folder, new)
        model.origin = checkpoint.origin(tensors if task == cls.__name__ else None)
        model.pretrained = True
        model._remember(root)
        notes = [*checkpoint.notes]
        if same_head and (unused := unused_tensors(tensors)):
            notes.append(
                f"{folder} holds tensors that a {cls.__name__} has no use for: {listed(unused)}. They change nothing"
                f"{', and come back when the model is saved' if task else ''}."
            )
        if new:
            notes.append(
                f"{folder} holds {'no head of this task' if task != cls.__name__ else 'a head of other classes'}"
                f"{f' (it was made for {task})' if task else ''}: {', '.join(new)} begin anew. Train the model before "
                "you rely on what it says."
            )
        for note in notes:
            warnings.warn(note, stacklevel=outside())
        return model

    @classmethod
    def _model_folder(cls, folder):
        """Where in a preset's folder the model lies."""
        return folder

    def _remember(self, folder):
        """Keep what saving is to reproduce of a preset's folder, besides the model."""

    @classmethod
    def _merged(cls, told, given):
        """The constructor's arguments: what a preset told, and what the user gave in its place."""
        return {**told, **given}

    def _head_is_of(self, told):
        """Whether this model's head is of the classes that a preset told of."""
        return True

    @classmethod
    def _read_arguments(cls, folder):
        """What else the constructor takes from a preset's folder, by argument name."""
        return {"tokenizer": Tokenizer.load(folder) if _has_tokenizer(folder) else None}

    @classmethod
    def _read_values(cls, values):
        """What the constructor takes from `config.json`, by argument name, which are names of attributes too."""
        return {}

    def with_vocabulary(self, vocabulary_size=None):
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
        old = self.config.embeddings.vocabulary_size
        changed = {"embeddings": dataclasses.replace(self.config.embeddings, vocabulary_size=size)}
        if self.config.target_embeddings.shared_tokens:
            changed["decoder_embeddings"] = dataclasses.replace(self.config.decoder_embeddings, vocabulary_size=size)
        config = dataclasses.replace(self.config, **changed)
        changed = {**self.get_config(), "config": to_json(config), "tokenizer": None}
        transforms = changed.pop("transforms", {})
        if "quantization" in transforms:
            raise ValueError("Expected float weights to make room for tokens, got quantized ones. Add tokens first.")
        model = build_empty(lambda: type(self).from_config(changed))
        changes.restore(model, transforms)
        if self.tokenizer is not None:
            model._check_tokenizer(self.tokenizer)
        model.tokenizer = self.tokenizer
        tensors = {}
        for (name, weight), new in zip(named_weights(self).items(), named_weights(model).values(), strict=True):
            array = keras.ops.convert_to_numpy(weight)
            for axis, (before, after) in enumerate(zip(weight.shape, new.shape, strict=True)):
                if before == old and after == size != old:
                    kept = array.take(range(min(before, after)), axis)
                    added = [array.mean(axis, keepdims=True, dtype="float32").astype(array.dtype)] * (after - before)
                    array = np.concatenate([kept, *added], axis)
            tensors[name] = array
        assign(model, tensors, "this model")
        model.origin = self.origin
        return model

    def save_to_preset(self, folder, dtype=None):
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
        preset.save_folder(folder, {**self._model_files(dtype), **self._files()})

    def push_to_hub(self, repository, *, dtype=None, private=None, revision=None, message="Upload model"):
        """Save to a repository of the Hugging Face hub, by `huggingface_hub` and its login.

        Args:
            repository: "org/name"; made if it is not there.
            dtype: as for `save_to_preset`.
            private, revision, message: of `huggingface_hub.HfApi.create_repo` and `upload_folder`.

        Returns: the address of the commit.
        """
        import huggingface_hub

        api = huggingface_hub.HfApi()
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / "preset"
            self.save_to_preset(folder, dtype)
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository, folder_path=folder, revision=revision, commit_message=message
            )
        return str(commit)

    def _model_files(self, dtype):
        from keras_transformers import __version__

        task, transforms = type(self).__name__, changes.describe(self)
        quantized = "quantization" in transforms  # adapters beside float weights are merged: others read it so
        weights = named_weights(self) if quantized else merged_weights(self)
        values = self._checkpoint_values()
        if self.origin is not None and self.origin.task == task:
            was = self._read_values(hugging_face.labelled(self.origin.values, self.origin.head))
            values = {} if all(getattr(self, name) == value for name, value in was.items()) else values
        files = None if quantized else hugging_face.write(self.config, weights, task, self.origin, values, dtype)
        if files is not None:
            return files
        config = {
            "model_type": own.MODEL_TYPE,
            "keras_transformers_version": __version__,
            "task": task,
            "dtype": dtype or self.dtype_policy.variable_dtype,
            "config": to_json(self.config),
            **({"transforms": transforms} if quantized else {}),
            **self._preset_values(),
        }
        arrays = {name: keras.ops.convert_to_numpy(weight) for name, weight in weights.items()}
        return {
            "config.json": preset.json_bytes(config),
            preset.WEIGHTS: lambda path: preset.write_tensors(path, arrays, dtype=dtype),
        }

    def _checkpoint_values(self):
        """What `config.json` says of the task in a checkpoint of Hugging Face's."""
        return self._preset_values()

    def _preset_values(self):
        """The same as `config.json` has it: the inverse of `_read_values`."""
        return {}

    def _files(self):
        """What else belongs in a preset's folder: bytes by file name."""
        return {} if self.tokenizer is None else self.tokenizer.files()

    # Training

    def compile(self, optimizer=None, *, rematerialize=False, **kwargs):
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

    def _stacks(self):
        return [stack for stack in (self.backbone.encoder, self.backbone.decoder) if stack is not None]

    def default_optimizer(self):
        """AdamW as BERT is fine-tuned (Devlin et al. 2019, appendix A.3): weight decay 0.01, none on norms and biases,
        and a learning rate that rises to 5e-5 over the first tenth of `fit` and falls to 0 over the rest."""
        return without_decay(keras.optimizers.AdamW(LinearDecay(5e-5), weight_decay=0.01), self.trainable_variables)

    # In a `.keras` file: Keras's own configuration of an optimizer forgets what weight decay leaves out.

    def get_compile_config(self):
        optimizer = self._plain_optimizer() if self.compiled else None
        if optimizer is None:
            return super().get_compile_config()
        rematerialize = any(stack.rematerialize for stack in self._stacks())
        decayed = {weight.path: optimizer._use_weight_decay(weight) for weight in self.trainable_variables}
        not_decayed = [path for path, decays in decayed.items() if not decays]
        return {**super().get_compile_config(), "not_decayed": not_decayed, "rematerialize": rematerialize}

    def compile_from_config(self, config):
        not_decayed = config.pop("not_decayed", ())
        self.compile(**keras.saving.deserialize_keras_object(config))
        optimizer = self._plain_optimizer()
        weights = [weight for weight in self.trainable_variables if weight.path in not_decayed]
        if weights:
            optimizer.exclude_from_weight_decay(var_list=weights)
        self.optimizer.build(self.trainable_variables)

    def freeze(self, embeddings=True, layers=0):
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
        if has_lora(self):
            raise ValueError("Expected a model without adapters, beside which all is frozen. Call merge_lora first.")
        stack = self.backbone.decoder if self.backbone.encoder is None else self.backbone.encoder
        count, whole = len(stack.blocks), stack.num_layers
        if layers is not True and layers not in range(whole + 1):
            raise ValueError(f"Expected from 0 to {whole} layers, as the {stack.name} has, got {layers}.")
        frozen, rest = (count, 0) if layers is True else divmod(layers * count, whole)
        if rest:
            raise ValueError(
                f"Expected a multiple of {whole // count} layers, which share their weights, got {layers}. Give True "
                "for all."
            )
        self.backbone.embedding.trainable = not embeddings
        stack.trainable = frozen < count
        for number, block in enumerate(stack.blocks):
            block.trainable = number >= frozen

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        *,
        sample_weight=None,
        batch_tokens=None,
        max_length=None,
        num_buckets=8,
        initial_epoch=0,
        shuffle=True,
        seed=0,
        validation_split=0.0,
        validation_data=None,
        callbacks=None,
        **kwargs,
    ):
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
        refusals.check_fit(kwargs)
        refusals.check_shuffle(shuffle)
        if not self.compiled:
            self.compile()
        class_weight = self._class_weights(kwargs.pop("class_weight", None))
        batching = {**self._batching(batch_tokens, batch_size), "num_buckets": num_buckets}
        reading = {"max_length": max_length, **{name: kwargs.pop(name) for name in self.reading if name in kwargs}}
        data = x, y, sample_weight
        if validation_split:
            if validation_data is not None or isinstance(x, Batches):
                other = "Batches, which are made already" if isinstance(x, Batches) else "validation_data"
                raise ValueError(f"Expected validation_split alone, got it together with {other}. Give one of the two.")
            examples, validation_data = split(self._examples(*data, **reading), validation_split, seed)
            data = examples, None, None
        batches = self._batches(data, reading, shuffle=shuffle, seed=seed, **batching)
        batches = batches.changed(class_weight=class_weight)
        validation = None
        validation_size = kwargs.pop("validation_batch_size", None)
        if validation_data is not None:
            batching = batching if validation_size is None else {**batching, "batch_size": validation_size}
            validation = self._batches(self._unpacked(validation_data), reading, shuffle=False, **batching)
        position = Position(initial_epoch, 0, initial_epoch * len(batches))
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        for callback in callbacks:
            if isinstance(callback, Checkpoint):
                position = callback.restore(self, batches.fingerprint()) or position
        refusals.check_callbacks(self._plain_optimizer(), callbacks)
        self._tell_schedule(epochs * len(batches), position.step)
        with memory.advice(
            "lower batch_tokens or batch_size (an optimizer's gradient_accumulation_steps makes up for it), or compile "
            "with rematerialize=True."
        ):
            training = {"position": position, "epochs": epochs, "validation": validation, "callbacks": callbacks}
            return fit_batches(super().fit, batches, **training, **kwargs)

    def _tell_schedule(self, total_steps, done):
        """Tell a schedule that was not told how long the training is, of which so many steps are done."""
        for optimizer in parts(self.optimizer):
            schedule, batches = optimizer._learning_rate, optimizer.gradient_accumulation_steps or 1
            schedule = schedule.schedule if isinstance(schedule, PerUpdate) else schedule
            if isinstance(schedule, LinearDecay):
                # of batches: an update may be half made
                begun = int(keras.ops.convert_to_numpy(optimizer._iterations)) - done
                first = begun // batches
                if schedule.follow(max((begun + total_steps) // batches - first, 1), first):
                    self.train_function = None  # compiled with the old end

    def evaluate(
        self, x=None, y=None, batch_size=None, *, sample_weight=None, batch_tokens=None, max_length=None, **kwargs
    ):
        """Loss and metrics on `x` and `y`, given as to `fit`: a dictionary."""
        if "_use_cached_eval_dataset" in kwargs:  # Keras's `fit`, which validates on batches that are made already
            return super().evaluate(x, y, batch_size=batch_size, sample_weight=sample_weight, **kwargs)
        if kwargs.pop("steps", None) is not None:
            raise ValueError("Expected no steps: evaluate is of all the examples. Pass fewer of them.")
        if not self.compiled:
            self.compile()
        reading = {"max_length": max_length, **{name: kwargs.pop(name) for name in self.reading if name in kwargs}}
        batches = self._batches(
            (x, y, sample_weight), reading, shuffle=False, **self._batching(batch_tokens, batch_size)
        )
        refusals.check_steps_per_execution(self.steps_per_execution, the_evaluation=len(batches))
        return super().evaluate(keras_data(batches), steps=len(batches), **{"return_dict": True, **kwargs})

    def _batching(self, batch_tokens, batch_size):
        """How large batches are: as asked, or as the task has it."""
        if batch_tokens is None and batch_size is None:
            batch_tokens, batch_size = self.batch_tokens, self.batch_size
        return {"batch_tokens": batch_tokens or self.batch_tokens, "batch_size": batch_size}

    def _batches(self, data, reading, **options):
        """`Batches` of what `fit` and `evaluate` are given; those that the user has made, if they fit the model."""
        batches, *rest = data
        if not isinstance(batches, Batches):
            positions = [each for each in map(self._longest, ("embeddings", "target_embeddings")) if each]
            batches = Batches(self._examples(*data, **reading), longest=min(positions, default=None), **options)
        elif any(value is not None for value in (*rest, reading["max_length"])):
            raise ValueError("Expected Batches alone: targets, weights and max_length are given when they are made.")
        else:
            self._check_examples(batches.pairs)
        return self._as_trained(batches)

    def _class_weights(self, class_weight):
        """What each class's labels count, float32 `[C]`, of a dictionary as Keras takes it; None for None."""
        if class_weight is not None:
            raise ValueError(
                f"Expected no class_weight: a {type(self).__name__} learns no classes. Pass sample_weight=, a number "
                "for each example."
            )

    @staticmethod
    def _unpacked(data):
        """`(x, y, sample_weight)` of validation data, which may be one source of all. As Keras reads it, a tuple or
        list of two or three containers are these."""
        pair = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str)
        if pair or are_parts(data):
            return (*data, None)[:3]
        return data, None, None

    def _check_lengths(self, lengths, embeddings, name):
        longest = self._longest(embeddings)
        if longest is not None and lengths.max() > longest:
            raise ValueError(
                f"Expected at most {longest} {name}, for which the model has positions, got {lengths.max()}. "
                f"Make the batches with max_length={longest}, which cuts them and says so."
            )

    def _check_ids(self, name, token_ids, embeddings):
        """Refuse ids outside of the vocabulary, for which JAX would compute NaN without a word."""
        size = getattr(self.config, embeddings).vocabulary_size
        if token_ids.size and not (0 <= token_ids.min() and token_ids.max() < size):
            raise ValueError(
                f"Expected token ids in [0, {size}) in {name}, got ids from {token_ids.min()} to {token_ids.max()}. "
                "Does the tokenizer belong to the model?"
            )

    def _longest(self, embeddings):
        """How many positions the model has for a source (`embeddings`) or target (`target_embeddings`); None for any
        number."""
        embeddings = getattr(self.config, embeddings)
        return embeddings.context_length if embeddings.positions is None else embeddings.positions.max_length

    def __repr__(self):
        return explain(self).rstrip() if self.built else super().__repr__()

    def _tokenizer(self):
        if self.tokenizer is None:
            raise ValueError(
                "This model has no tokenizer to read text with: give one to its constructor, or set `model.tokenizer`."
            )
        return self.tokenizer

    # A copy, and Keras's own `.keras` files, have the tokenizer in the configuration.

    def get_config(self):
        dtype = keras.saving.serialize_keras_object(self.dtype_policy)
        config = {"config": to_json(self.config), "name": self.name, "dtype": dtype, "pretrained": self.pretrained}
        return {**config, "tokenizer": tokenizer_config.to_config(self.tokenizer), **changes.in_config(self)}

    @classmethod
    def from_config(cls, config):
        policy = keras.saving.deserialize_keras_object(config["dtype"])
        tokenizer = tokenizer_config.from_config(config.get("tokenizer"))
        values = {"config": from_json(config["config"]), "dtype": policy, "tokenizer": tokenizer}
        rest = {name: value for name, value in config.items() if name != "pretrained"}
        model = changes.from_config(rest, lambda rest: cls(**{**rest, **values}))
        model.pretrained = config.get("pretrained", False)
        return model

    def load_assets(self, folder):
        """Of files written before the tokenizer was in the configuration."""
        if _has_tokenizer(pathlib.Path(folder)):
            self.tokenizer = Tokenizer.load(folder)


spelling.spell_out(Task, but=_KERAS_CALLS)


def check_config(config, task):
    if not isinstance(config, ModelConfig):
        way = (
            f"load it by kt.{task}.from_preset(…)" if isinstance(config, str | pathlib.Path) else "kt.models makes one"
        )
        raise TypeError(f"Expected config to be a ModelConfig (see kt.models), got {config!r:.80}: {way}.")


def without_decay(optimizer, variables):
    """An optimizer whose weight decay leaves norms and biases out."""
    optimizer.exclude_from_weight_decay(var_list=[weight for weight in variables if len(weight.shape) < 2])
    return optimizer


def _open(path, model_type, task):
    """The checkpoint in a folder, by its `config.json`, or in a GGUF file."""
    if path.suffix == GGUF:
        return gguf.read(path)
    values = preset.read_json(path, "config.json")
    if model_type is not None:
        values.setdefault("model_type", model_type)
    if values.get("model_type") == own.MODEL_TYPE:
        return own.read(path, values)
    if keras_hub.is_preset(values):
        return keras_hub.read(path, values, task)
    return hugging_face.read(path, values, task)


def _has_tokenizer(folder):
    if folder.suffix == GGUF:
        return "tokenizer.ggml.tokens" in GGUFFile(folder).metadata
    files = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
    return any(is_plain(folder / name) for name in files) or any(folder.glob("*.model"))
