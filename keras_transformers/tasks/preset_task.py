"""The base class for presets: a task is loaded from a folder, and saved as one, of this library or of Hugging Face."""

import os
import pathlib
import typing
from collections.abc import Mapping

import keras

from keras_transformers.models.config import ModelConfig
from keras_transformers.spelling import Elsewhere
from keras_transformers.tasks.data_task import DataTask
from keras_transformers.tokenizers.tokenizer import Tokenizer


class PresetTask(DataTask):
    """A task whose files are a preset. Abstract: use one of the tasks.

    Attributes:
        config: the `ModelConfig`.
        tokenizer: the `Tokenizer`, or None.
        origin: the other contents of the Hugging Face checkpoint that the model was loaded from, or None.
        pretrained: whether the weights were loaded, so that training is fine-tuning.
        new_weights: the names of the weights that the loaded preset did not hold.
    """

    config: ModelConfig
    tokenizer: Tokenizer | None
    origin: typing.Any = None
    pretrained = False
    new_weights: tuple[str, ...] = ()
    from_pretrained = Elsewhere()

    @classmethod
    def from_preset(
        cls,
        name: str | os.PathLike[str],
        dtype: str | keras.DTypePolicy | None = None,
        model_type: str | None = None,
        verify: bool = False,
        adapter: str | None = None,
        **arguments: typing.Any,
    ) -> typing.Self:
        """Load a preset: its model, weights, tokenizer and labels.

        Args:
            name: the name of an embedded preset (`keras-transformers presets` lists them); a folder in our format or
                that of Hugging Face, KerasHub or Marian; a GGUF file; `hf://org/name[@revision]`; `kaggle://…`; or
                `package://package/path`.
            dtype: the dtype or dtype policy of computation and weights, such as "bfloat16" or "mixed_float16"; by
                default the global policy of Keras, whatever the file stores.
            model_type: the model family, if an old `config.json` does not name it.
            verify: whether to first read all files and compare them with the stored hashes: see `kt.verify`.
            adapter: the adapter to merge, if a folder holds some, such as jina-embeddings-v3 for its tasks.
            **arguments: arguments of the constructor that replace those of the preset. If they ask for other classes,
                or the preset was made for another task, the head is initialized anew, and a warning says so.

        Raises:
            FileNotFoundError, ValueError: if the preset does not exist, is damaged, belongs to an unknown family, or
                does not fit its configuration. The error lists every problem, and nothing is loaded.

        Example:
            >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        """
        from keras_transformers.tasks import presets  # formats and families load with the first preset

        return presets.load(cls, name, dtype, model_type, verify, {**arguments, "adapter": adapter})

    @classmethod
    def _checkpoint_task(cls) -> str:
        return cls.__name__  # the task whose head a checkpoint of this task holds

    @classmethod
    def _model_folder(cls, folder: pathlib.Path) -> pathlib.Path:
        """The folder of the model inside a preset's folder."""
        return folder

    @classmethod
    def _open_checkpoint(cls, folder: pathlib.Path, model_type: str | None, adapter: str | None = None) -> typing.Any:
        from keras_transformers.tasks import presets

        return presets.open_checkpoint(cls._model_folder(folder), model_type, cls._checkpoint_task(), adapter)

    def _checkpoint_files(
        self, weights: Mapping[str, typing.Any], values: dict[str, typing.Any], dtype: str | None
    ) -> dict[str, typing.Any] | None:
        from keras_transformers.formats import hugging_face

        return hugging_face.write(self.config, weights, self._checkpoint_task(), self.origin, values, dtype)

    def _remember(self, folder: pathlib.Path) -> None:
        """Keep the other contents of a preset's folder, so that saving can reproduce them."""

    @classmethod
    def _merged(cls, from_files: dict[str, typing.Any], given: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """The arguments of the constructor: those of a preset, replaced by those that the user gave."""
        return {**from_files, **given}

    def _head_is_of(self, from_files: dict[str, typing.Any]) -> bool:
        """Whether the head of this model has the classes of a preset."""
        return True

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        """The other arguments of the constructor that a preset's folder holds, by name."""
        from keras_transformers.tasks import presets

        return {"tokenizer": Tokenizer.load(folder) if presets.has_tokenizer(folder) else None}

    @classmethod
    def _read_values(cls, values: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """The arguments of the constructor in `config.json`, by name. Each is an attribute of the same name."""
        return {}

    def save_to_preset(self, folder: str | os.PathLike[str], dtype: str | None = None) -> None:
        """Save the model, its weights and its tokenizer as a preset's folder, all or nothing.

        If a Hugging Face model family describes the model, transformers can open the folder. Files that were loaded
        from Hugging Face and not changed are saved byte for byte.

        Args:
            folder: created if it does not exist; an earlier preset is replaced in one step.
            dtype: the dtype of the stored weights, such as "float16"; by default their own, or the one that they were
                loaded from if that loses nothing.

        Raises:
            FileExistsError: if `folder` holds something else.

        Example:
            >>> model.save_to_preset("mine")
        """
        from keras_transformers.tasks import presets

        presets.save(self, folder, dtype)

    def export_hugging_face(self, folder: str | os.PathLike[str], dtype: str | None = None) -> None:
        """Save the model as a folder that transformers opens, or refuse. Takes the arguments of `save_to_preset`.

        An encoder-decoder of the original layout becomes a Marian (norms after the branches) or a Pegasus (before). One
        with learned positions and a norm after the embeddings becomes a BART or an mBART. The outputs are the same.

        Raises:
            FileExistsError: if `folder` holds something else.
            ValueError: if no family of transformers computes the same; the error names each field that differs.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export_hugging_face("marian")
        """
        from keras_transformers.tasks import presets

        presets.export_hugging_face(self, folder, dtype)

    def export(self, path: str | os.PathLike[str], format: str = "onnx") -> typing.Any:
        """Export the model as graphs for another runtime, with labels and tokenizer beside them.

        Batch and lengths are dynamic. The graphs are run at once on odd shapes, and compared with the model. An
        encoder-decoder becomes two graphs, and a decoder one, with the past keys and values as inputs and outputs.

            format              written by    the folder holds
            "onnx"              PyTorch       onnx/model.onnx, or onnx/encoder_model.onnx and
                                              onnx/decoder_model_merged.onnx; `run.py`
            "openvino"          PyTorch       openvino_model.xml, openvino_model.bin
            "torch"             PyTorch       model.pt2
            "tf_saved_model"    TensorFlow    saved_model.pb, variables/

        On another backend, a second process with `KERAS_BACKEND` writes the graphs; it needs that backend installed.
        "onnx" and "openvino" have the names and the layout that Optimum and transformers.js expect (`input_ids`,
        `attention_mask`, `logits`, …), the other formats our names (`token_ids`, `padding_mask`, `logits`, …).
        `run.py` runs ONNX graphs with ONNX Runtime, NumPy and tokenizers alone.

        Args:
            path: the folder to write; an earlier export is replaced in one step.
            format: see above. "onnx" needs the extra `export`, "openvino" that of its name.

        Returns: an `Export`: its `path`, its `files`, and the largest `difference` of the outputs, relative to the
            largest value.

        Raises:
            FileExistsError: if `path` holds something else.
            ImportError: if a package, or the backend of the format, is missing.
            ValueError: for an unknown format, a model with operations that the format lacks, and graphs whose outputs
                differ by more than 1e-4, and on another backend than that of the format.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export("english-french-onnx").difference < 1e-5
            True
        """
        from keras_transformers.tasks import exporting

        return exporting.export(self, path, format)

    def push_to_hub(
        self,
        repository: str,
        *,
        dtype: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Upload model",
    ) -> str:
        """Save to a repository on the Hugging Face Hub, with `huggingface_hub` and its login.

        Args:
            repository: "org/name"; created if it does not exist.
            dtype: as for `save_to_preset`.
            private, revision, message: arguments of `huggingface_hub.HfApi.create_repo` and `upload_folder`.

        Returns: the URL of the commit.
        """
        from keras_transformers.tasks import presets

        return presets.push(self, repository, dtype, private=private, revision=revision, commit_message=message)

    def _checkpoint_values(self) -> dict[str, typing.Any]:
        """The values of the task in the `config.json` of a Hugging Face checkpoint."""
        return self._preset_values()

    def _preset_values(self) -> dict[str, typing.Any]:
        """The values of the task in our `config.json`: the inverse of `_read_values`."""
        return {}

    def _files(self) -> dict[str, typing.Any]:
        """Further files of a preset's folder: bytes by file name."""
        return {} if self.tokenizer is None else self.tokenizer.files()

    def _all_files(self, of_model: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """All files of a preset's folder, from those of the model."""
        return {**of_model, **self._files()}
