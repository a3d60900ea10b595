"""Encoder-decoders in files: presets with a lexical shortlist, and exports to Marian and CTranslate2."""

import base64
import os
import pathlib
import typing
import zlib

from keras_transformers.files import marian_folder
from keras_transformers.files.marian_shortlist import Shortlist
from keras_transformers.files.reading import is_plain
from keras_transformers.tasks import shortlists


class Seq2SeqFiles:
    """Mixin of `Seq2SeqLM`: what it reads and writes besides the files of other tasks."""

    shortlist: Shortlist | None = None
    _marian_origin: typing.Any = None  # of a folder of Marian, for writing the same again

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        arguments = super()._read_arguments(folder)  # type: ignore[misc]
        if marian_folder.is_marian(folder):
            arguments["shortlist"] = marian_folder.shortlist(marian_folder.find(folder))
        elif folder.is_dir() and is_plain(folder / shortlists.FILE):
            content = (folder / shortlists.FILE).read_bytes()
            arguments["shortlist"] = Shortlist.parse(content, folder / shortlists.FILE)
        return arguments

    def _files(self) -> dict[str, typing.Any]:
        files = super()._files()  # type: ignore[misc]
        return files if self.shortlist is None else {**files, shortlists.FILE: self.shortlist.content}

    def get_config(self) -> dict[str, typing.Any]:
        config = super().get_config()  # type: ignore[misc]
        if self.shortlist is None:
            return config
        return {**config, "shortlist": base64.b64encode(zlib.compress(self.shortlist.content)).decode("ascii")}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        if isinstance(config.get("shortlist"), str):
            content = zlib.decompress(base64.b64decode(config["shortlist"]))
            config = {**config, "shortlist": Shortlist.parse(content, "this configuration")}
        return super().from_config(config)  # type: ignore[misc]

    def _remember(self, folder: pathlib.Path) -> None:
        super()._remember(folder)  # type: ignore[misc]
        if marian_folder.is_marian(folder):
            from keras_transformers.formats import marian

            self._marian_origin = marian.Origin.of(marian.read(folder))

    # Export

    def export_ctranslate2(self, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
        """Export the model as a CTranslate2 folder, with `tokenizer.json` beside it.

        Needs the extra `ctranslate2`. The translations are the same: encode texts with `tokenizer.encode_sources`, turn
        the ids of each into pieces with `tokenizer.to_pieces(ids)`, pass them to `translate_batch` of CTranslate2, and
        turn its pieces into ids with `tokenizer.from_pieces(pieces, target=True)`. Generation settings are arguments of
        `translate_batch`. Tokens that the settings of this model forbid stay forbidden.

        Args:
            folder: created if it does not exist; an earlier export is replaced in one step.
            quantization: "int8", "float16" or another quantization of CTranslate2; by default float32.

        Raises:
            FileExistsError: if `folder` holds something else.
            ValueError: for a model that CTranslate2 cannot represent; the error lists every reason.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export_ctranslate2("english-french-ct2", quantization="int8")
        """
        from keras_transformers.formats import ctranslate2

        ctranslate2.export(self, folder, quantization)

    def export_marian(self, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
        """Export the model as a folder of Marian, which Marian and, with int8 numbers, Firefox's engine load.

        A model from such a folder is written with the options, the shortlist and the order of tensors that it had. If
        it was not changed, the files of its parameters and of its shortlist are the same byte for byte.

        Args:
            folder: created if it does not exist; an earlier export is replaced in one step.
            quantization: "int8" for `model.intgemm.bin`, by the rule of intgemm; by default float32, as `model.npz`.

        Raises:
            FileExistsError: if `folder` holds something else.
            ValueError: for a model that Marian cannot express, which is named, and for a tokenizer that was not read
                from a folder of Marian.

        Example:
            >>> translator = kt.Seq2SeqLM.from_preset("firefox-enpt")  # doctest: +SKIP
            >>> translator.export_marian("enpt-int8", quantization="int8")  # doctest: +SKIP
        """
        from keras_transformers.formats import marian

        marian.export(self, folder, quantization)
