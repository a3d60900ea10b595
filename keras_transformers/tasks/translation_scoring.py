"""Models that judge translations: COMET-22, CometKiwi and MetricX-24.

                      reads                               score
COMET-22              source, translation, reference      about 0 to 1, more is better
CometKiwi             source, translation                 about 0 to 1, more is better
MetricX-24            both, a reference if there is one   0 to 25 errors, less is better
"""

import os
import typing

from keras_transformers import spelling
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.files.reading import is_plain, read_object
from keras_transformers.formats import comet_folders, sources
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.comet import CometJudge
from keras_transformers.tasks.metricx import ARCHITECTURE, MetricXJudge
from keras_transformers.tasks.metricx import is_folder as is_metricx

_BLOCK = 4096  # translations whose vectors are held at once


class TranslationScorer:
    """Scores translations by a model that learnt from the scores of people. `from_preset` loads one; it does not train.

    Attributes:
        name: "COMET", "COMET-QE", "CometKiwi", "UniTE" or "MetricX".
        references: whether the model reads references: "needed", "optional" or "unused".
        lower_is_better: whether a smaller score is a better translation (MetricX).

    Example:
        >>> scorer = kt.TranslationScorer.from_preset("hf://Unbabel/wmt22-comet-da")
        >>> scorer.score(["Das Haus ist klein."], ["The house is small."], ["The house is little."])  # doctest: +SKIP
        [0.93]

    Source: Rei et al. 2022a (COMET-22) and 2022b (CometKiwi); Juraska et al. 2024 (MetricX-24).
    """

    def __init__(self, judge: CometJudge | MetricXJudge, place: str = "") -> None:
        self._judge = judge
        self._place = place
        self.name = judge.name
        self.references = judge.references
        self.lower_is_better = judge.lower_is_better

    def __repr__(self) -> str:
        return f"TranslationScorer({self._place!r}, {self.name}, references {self.references})"

    @classmethod
    def from_preset(
        cls, name: str | os.PathLike[str], *, base: str | os.PathLike[str] | None = None, dtype: typing.Any = None
    ) -> "TranslationScorer":
        """Load a folder of COMET (`hparams.yaml`, `checkpoints/model.ckpt`), or one of MetricX-24.

        Args:
            name: a folder, the path of a COMET checkpoint, or `hf://org/name`.
            base: the model that the checkpoint builds on, a folder or `hf://org/name`: the configuration and the
                tokenizer of COMET's encoder, or the tokenizer of mT5. By default the files in the folder itself, or
                those of the model that it names, on the Hugging Face hub.
            dtype: the dtype policy of the weights, such as "bfloat16"; by default float32.

        Raises:
            FileNotFoundError: if the folder or its base is not found.
            ImportError: if PyYAML, or PyTorch for its own format, is missing.
            ValueError: for another layout, settings that are not computed here, and weights that do not fit.

        Example:
            >>> kt.TranslationScorer.from_preset("wmt22-cometkiwi-da", base="infoxlm-large")  # doctest: +SKIP
        """
        spelling.check_dtype(dtype)
        path = sources.resolve(name)
        found = comet_folders.find(path)
        if found is not None:
            return cls(CometJudge(comet_folders.read(*found, base), dtype), str(path))
        if path.is_dir() and is_plain(path / "config.json") and is_metricx(read_object(path / "config.json")):
            return cls(MetricXJudge(path, base, dtype), str(path))
        raise ValueError(
            f"Expected a model that judges translations, {comet_folders.CONFIG} of COMET or a config.json with the "
            f"architecture {ARCHITECTURE} of MetricX, got neither in {path}."
        )

    def score(
        self,
        source_texts: Texts,
        translations: Texts,
        references: Texts | None = None,
        *,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> typing.Any:
        """Score translations. The score of a system is the mean of the scores of its translations.

        Args:
            source_texts: a string, or any container of strings.
            translations: as many, the translations to judge.
            references: as many translations by people; None for none.
            batch_size: texts computed together.
            progress: a function called with the number of finished translations, after each batch.

        Returns: a float for a string, a list of floats for a list.

        Raises:
            TypeError: for values that are not texts.
            ValueError: for unequal numbers of texts, missing references, references that the model does not read, and
                a batch_size below 1.

        Warns:
            UserWarning: for texts that are longer than the model reads. Their ends are not judged.
        """
        if references is None and self.references == "needed":
            raise ValueError(f"Expected references for {self.name}, which compares with them, got none.")
        if references is not None and self.references == "unused":
            raise ValueError(f"Expected no references for {self.name}, which reads none, got some. Leave them out.")
        if type(batch_size) is not int or batch_size < 1:
            raise ValueError(f"Expected batch_size to be an int of at least 1, got {batch_size!r:.80}.")
        given = (source_texts, translations, *(() if references is None else (references,)))
        read = [texts_of(each) for each in given]
        counts = [len(texts) for texts, _ in read]
        if len(set(counts)) > 1 or len({single for _, single in read}) > 1:
            raise ValueError(f"Expected as many translations and references as sources, got {counts}.")
        columns = [texts for texts, _ in read]
        found: list[float] = []
        for begin in range(0, counts[0], _BLOCK):
            first, second, *rest = (texts[begin : begin + _BLOCK] for texts in columns)
            found += self._judge.scores(first, second, rest[0] if rest else None, batch_size, progress).tolist()
        return found[0] if read[0][1] else found
