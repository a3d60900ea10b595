"""A folder as Marian or Firefox publishes a model: which file is the model, the vocabularies, the shortlist, and how it
decodes.

    decoder.yml, config.*.yml          names the other files, and the settings of decoding
    model.npz, model.*.bin             the parameters, with the model's own configuration inside
    vocab.*.spm, or srcvocab.*.spm     SentencePiece models that number their own pieces
      and trgvocab.*.spm
    vocab.yml, source.spm, target.spm  pieces with their numbers, and the SentencePiece models that find them (OPUS-MT)
    lex.*.bin                          a shortlist: the likely target tokens of each source token

Firefox's folders may lack the first: their files are then found by these names.
"""

import dataclasses
import pathlib
import typing
import zipfile

from keras_transformers.files import flat_yaml, marian_items
from keras_transformers.files.marian_shortlist import Shortlist, is_shortlist
from keras_transformers.files.reading import is_plain, read_text
from keras_transformers.spelling import did_you_mean, listed

SENTENCEPIECE = ".spm"  # the ending of SentencePiece models
_MODELS = ("*.npz", "model.*.bin", "*.intgemm*.bin")
_VOCABULARIES = (("vocab.*.spm",), ("vocab.spm",), ("srcvocab.*.spm", "trgvocab.*.spm"))
_MOST_BEAMS = 1000  # more than any translation needs, and few enough for memory

# Settings of decoding that change no translation here, or that other arguments of this library have.
_INERT = frozenset(
    """
    alignment authors bergamot-mode build-info cache-size cite config cpu-threads data-threads devices dump-config
    fp16 gemm-precision gemm-type input interpolate-env-vars int8-shift int16 intgemm-options log log-level
    log-time-zone max-length max-length-break max-length-crop max-length-factor maxi-batch maxi-batch-sort mini-batch
    mini-batch-words model-mmap n-best n-best-feature num-devices optimize output precision quiet quiet-translation
    relative-paths seed shuffle-in-ram sigterm skip-cost ssplit-mode ssplit-prefix-file stat-freq sync-sgd tempdir tsv
    tsv-fields valid-mini-batch version word-scores workspace
    """.split()
)
# Settings of decoding that would change translations, with the values that do not.
_EXPECTED: dict[str, tuple[typing.Any, ...]] = {
    "word-penalty": (0, 0.0),
    "weights": ([], [1], [1.0], None),
    "force-decode": (False,),
    "output-sampling": (False, [], None),
    "output-approx-knn": ([],),
    "ignore-model-config": (False,),
    "no-spm-decode": (False,),
    "no-spm-encode": (False,),
    "best-deep": (False,),
    "right-left": (False,),
    "optimize-model": (False,),
}
_READ = ("models", "vocabs", "shortlist", "beam-size", "normalize", "allow-unk")


@dataclasses.dataclass(frozen=True)
class MarianFolder:
    """The files of a model, and its settings of decoding.

    Attributes:
        path: the folder, or the YAML file in it that was named.
        model: the file of parameters.
        vocabularies: the files of the source's and the target's vocabulary; the same file if they share it.
        shortlist: the shortlist, or None.
        num_beams, length_penalty: `beam-size` and `normalize`.
        allow_unknown: whether the unknown token may be written.
    """

    path: pathlib.Path
    model: pathlib.Path
    vocabularies: tuple[pathlib.Path, pathlib.Path]
    shortlist: pathlib.Path | None = None
    num_beams: int = 1
    length_penalty: float = 0.0
    allow_unknown: bool = False

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the files."""
        return self.model.parent


def is_marian(path: pathlib.Path) -> bool:
    """Whether a path is a folder of a Marian model, or a YAML file that names one."""
    if path.is_file():
        return path.suffix in (".yml", ".yaml")
    if not path.is_dir() or (path / "config.json").exists():
        return False
    return bool(_settings_files(path)) or bool(_models(path))


def find(path: pathlib.Path) -> MarianFolder:
    """Find the files of a Marian model.

    Args:
        path: the folder, or the YAML file in it that names the others.

    Raises:
        FileNotFoundError: for missing files.
        ValueError: for settings that would change translations and are not supported, unknown settings, several models,
            and a broken shortlist.
    """
    if path.is_file():
        return _named(path)
    settings = _settings_files(path)
    preferred = [each for each in settings if each.name == "decoder.yml"] or settings
    if len(preferred) > 1:
        raise ValueError(
            f"Expected one YAML file with the models of {path}, got {listed([each.name for each in preferred])}. Give "
            "the path of one."
        )
    return _named(preferred[0]) if preferred else _unnamed(path)


def _settings_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The YAML files of a folder that name models."""
    found = sorted(each for each in folder.iterdir() if each.suffix in (".yml", ".yaml") and is_plain(each))
    return [each for each in found if each.stat().st_size < 2**16 and b"\nmodels:" in b"\n" + each.read_bytes()]


def _models(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder that are Marian's by name, and by content if it is an archive."""
    found = {each for pattern in _MODELS for each in folder.glob(pattern) if not each.name.startswith("lex.")}
    return sorted(each for each in found if is_plain(each) and (each.suffix == ".bin" or _is_archive(each)))


def _is_archive(path: pathlib.Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{marian_items.YAML}.npy" in archive.namelist()
    except marian_items.BROKEN_ARCHIVE:
        return False


def _unnamed(folder: pathlib.Path) -> MarianFolder:
    models = _models(folder)
    if len(models) != 1:
        raise ValueError(f"Expected one model of Marian in {folder}, got {listed([each.name for each in models])}.")
    for patterns in _VOCABULARIES:
        found = [sorted(folder.glob(pattern)) for pattern in patterns]
        if all(len(each) == 1 for each in found):
            shortlists = sorted({*folder.glob("lex.*.bin"), *folder.glob("lex.bin")})
            if len(shortlists) > 1:
                raise ValueError(
                    f"Expected one shortlist in {folder}, got {listed([each.name for each in shortlists])}. Keep one, "
                    "or write a decoder.yml that names one."
                )
            source, target = found[0][0], found[-1][0]
            return MarianFolder(folder, models[0], (source, target), next(iter(shortlists), None), length_penalty=1.0)
    raise FileNotFoundError(
        f"Expected vocab.*.spm, or srcvocab.*.spm and trgvocab.*.spm, in {folder} beside {models[0].name}, found "
        "none. Download all files of the model, or write a decoder.yml that names them."
    )


def _named(path: pathlib.Path) -> MarianFolder:
    values = flat_yaml.parse(read_text(path), path)
    problems = [
        f"{name}: only {' or '.join(map(repr, allowed))} is supported, got {values[name]!r}"
        for name, allowed in _EXPECTED.items()
        if name in values and values[name] not in allowed
    ]
    known = {*_INERT, *_EXPECTED, *_READ}
    problems += [f"unknown key {name!r}{did_you_mean(name, known)}" for name in values if name not in known]
    models, vocabularies = values.get("models"), values.get("vocabs")
    if not isinstance(models, list) or len(models) != 1:
        problems.append(f"models: expected one model, got {models!r:.80} (ensembles are not supported)")
    if not isinstance(vocabularies, list) or len(vocabularies) != 2:
        problems.append(f"vocabs: expected two vocabularies, of source and target, got {vocabularies!r:.80}")
    beams, penalty, unknown = _decoding(values, problems)
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}.")
    files = [_beside(path, name) for name in (*models, *vocabularies)]  # type: ignore[misc]  # lists, by the checks
    shortlist = values.get("shortlist")
    name = (shortlist[0] if isinstance(shortlist, list) and shortlist else shortlist) or None
    return MarianFolder(
        path,
        files[0],
        (files[1], files[2]),
        None if not isinstance(name, str) else _beside(path, name),
        beams,
        float(penalty),
        unknown,
    )


def _decoding(values: dict[str, typing.Any], problems: list[str]) -> tuple[int, float, bool]:
    """Beams, the length penalty and whether the unknown token may be written; what is wrong joins `problems`."""
    beams, penalty, unknown = (
        values.get(name, default) for name, default in (("beam-size", 12), ("normalize", 0.0), ("allow-unk", False))
    )
    if type(beams) is not int or not 1 <= beams <= _MOST_BEAMS:
        problems.append(f"beam-size: expected an int from 1 to {_MOST_BEAMS:,}, got {beams!r:.40}")
    if isinstance(penalty, bool):  # a bare --normalize
        penalty = 1.0 if penalty else 0.0
    if not isinstance(penalty, int | float):
        problems.append(f"normalize: expected a number, got {penalty!r}")
    if not isinstance(unknown, bool):
        problems.append(f"allow-unk: expected true or false, got {unknown!r}")
    return beams, penalty, unknown


def _beside(path: pathlib.Path, name: typing.Any) -> pathlib.Path:
    """The file that a YAML file names, in the same folder or below. Of an absolute path, the name counts."""
    named = pathlib.PurePosixPath(name if isinstance(name, str) else "..")
    if ".." in named.parts or "\0" in str(named):
        raise ValueError(f"Expected files in the folder of {path}, got {name!r}. Give relative names without '..'.")
    file = path.parent / (named.name if named.is_absolute() else named)
    if not is_plain(file):
        raise FileNotFoundError(f"Expected {file}, which {path.name} names, found nothing. Download all files.")
    return file


def shortlist(files: MarianFolder) -> Shortlist | None:
    """Read the shortlist of a model; None if it has none, or has one as a text (`lex.s2t`): see `unused_shortlist`.

    Raises:
        ValueError: for a file that is truncated, and one that is named `.bin` and is no shortlist.
    """
    if files.shortlist is None or unused_shortlist(files) is not None:
        return None
    return Shortlist.parse(files.shortlist.read_bytes(), files.shortlist)


def unused_shortlist(files: MarianFolder) -> str | None:
    """A note for the user if the shortlist is a text, perhaps compressed, which is not used; else None."""
    if files.shortlist is None or files.shortlist.suffix == ".bin":
        return None
    with open(files.shortlist, "rb") as file:
        if is_shortlist(file.read(8)):
            return None
    return (
        f"{files.shortlist} is a shortlist as text, which is not used: all tokens are scored. Marian's marian-conv "
        "makes a binary one, which is used."
    )
