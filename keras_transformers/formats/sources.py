"""Location of presets: a name, a folder, a hub, or an installed package → a local path.

    "english-french"                       a preset that ships with this library
    "runs/my-model", pathlib.Path(…)       a folder, or a file, on this machine
    "hf://Helsinki-NLP/opus-mt-en-de"      a Hugging Face repository; "@revision" may follow
    "hf://org/name/model.Q4_K_M.gguf"      one GGUF file of it, or all parts of a file that is split
    "kaggle://keras/bert/keras/bert_tiny"  a Kaggle model, downloaded by `kagglehub`
    "package://my_models/small"            a folder or file inside an installed Python package, which is never imported

If a folder holds only one GGUF model, its path means that file. This module does not read presets: `formats/preset.py`
does, from the path that `resolve` returns.
"""

import importlib.util
import os
import pathlib
import re

from keras_transformers.files import replacement
from keras_transformers.files.gguf import GGUF, part_names
from keras_transformers.other_libraries import preset_advice
from keras_transformers.spelling import did_you_mean

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent

# File names that are downloaded: configuration, weights and tokenizers, no pickles and no code. KerasHub has h5 files.
_WEIGHT_FILES = ["*.safetensors", "*.weights.h5"]
_HUGGING_FACE_FILES = ["SHA256SUMS", "*.json", *_WEIGHT_FILES, "*.model", "*.spm", "*.txt", "*.jinja", "hparams.yaml"]
# Weights of repositories without safetensors; their reader executes no code (`formats/hugging_face.py`).
_TORCH_FILES = ["pytorch_model*.bin", "checkpoints/model.ckpt"]
# Copies of the weights for other runtimes.
_OTHER_RUNTIMES = ["onnx/*", "openvino/*", "coreml/*"]


def resolve(name: str | os.PathLike[str], revision: str | None = None, *, weights: bool = True) -> pathlib.Path:
    """Find a preset; download it first if its name is on a hub.

    Args:
        name: a name, a path, or `hf://`, `kaggle://` or `package://`, as listed in the module's docstring. An existing
            folder or file has precedence over an embedded preset of the same name.
        revision: a branch, tag or commit of a Hugging Face repository, or a version number of a Kaggle model.
        weights: whether a download from Hugging Face needs the weights, besides configuration and tokenizer.

    Returns:
        `pathlib.Path` of an existing folder or file.

    Raises:
        FileNotFoundError: if nothing is there, or the download failed.
        ValueError: if the name is malformed, leads out of its package, or takes no `revision`.
        ImportError: for `kaggle://` if `kagglehub` is missing.

    Example:
        >>> resolve("hf://Helsinki-NLP/opus-mt-en-de")  # doctest: +SKIP
        PosixPath('/home/me/.cache/huggingface/hub/models--Helsinki-NLP--opus-mt-en-de/snapshots/…')
    """
    text = os.fspath(name)
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "hf":
        return _from_hugging_face(text, rest, revision, weights)
    if separator and scheme == "kaggle":
        return _from_kaggle(text, rest, revision)
    if revision is not None:
        raise ValueError(
            f"Expected a revision with hf:// or kaggle:// only, got revision={revision!r} for {text!r}. Leave it out."
        )
    if separator and scheme == "package":
        return _model_in(_from_package(text, rest))
    if separator:
        raise ValueError(
            f"Expected a name, a path, hf://, kaggle:// or package://, got {text!r}. Write it as one of those."
        )
    return _model_in(_from_disk(text))


def _model_in(path: pathlib.Path) -> pathlib.Path:
    """Return the GGUF file, or its first part, if a folder holds nothing else to open; otherwise the path itself."""
    if not path.is_dir() or (path / "config.json").exists():
        return path
    firsts = {part_names(file.name)[0] for file in path.glob(f"*{GGUF}")}
    return path / firsts.pop() if len(firsts) == 1 else path


def embedded_presets() -> dict[str, pathlib.Path]:
    """Return the presets that ship with the library: name → folder, sorted by name.

    They are inside the package if it was installed from a wheel, and in `presets/` beside the package in a checkout.
    """
    inside, beside = _PACKAGE / "presets", _PACKAGE.parent / "presets"
    # An installed package lies in site-packages, where a folder "presets" would belong to another package.
    checkout = (_PACKAGE.parent / "pyproject.toml").is_file() and not inside.is_dir()
    root = beside if checkout else inside
    if not root.is_dir():
        return {}
    return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / "config.json").is_file()}


def _from_disk(text: str) -> pathlib.Path:
    if not text:
        raise ValueError(
            "Expected the name or the path of a preset, got an empty string. "
            "`keras-transformers presets` lists the names."
        )
    path = pathlib.Path(text).expanduser()
    replacement.recover(path)
    if path.exists():
        return path
    embedded = embedded_presets()
    if text in embedded:
        return embedded[text]
    names = ", ".join(embedded) or "none in this installation"
    raise FileNotFoundError(
        f"Expected an existing folder or the name of an embedded preset ({names}), got {text!r}"
        f"{did_you_mean(text, embedded)}, looked for at {path.absolute()}. "
        f"Check the spelling; {preset_advice(text)}"
    )


def _from_hugging_face(text: str, rest: str, revision: str | None, weights: bool) -> pathlib.Path:
    place, _, written = rest.partition("@")
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:/((?:[\w.-]+/)*[\w.-]+\.gguf))?", place)
    if not match:
        raise ValueError(
            f"Expected hf://org/name or hf://org/name@revision, got {text!r}. "
            f"Give the repository's two names and no file, unless it is a GGUF file: {preset_advice(place)}"
        )
    repository, file = match.groups()
    if written and revision not in (None, written):
        raise ValueError(f"Expected one revision, got {written!r} in {text!r} and revision={revision!r}. Give it once.")
    import huggingface_hub

    def download(patterns: list[str]) -> pathlib.Path:
        return pathlib.Path(
            huggingface_hub.snapshot_download(
                repository, revision=written or revision, allow_patterns=patterns, ignore_patterns=_OTHER_RUNTIMES
            )
        )

    try:
        if file:
            at = written or revision
            parts = [huggingface_hub.hf_hub_download(repository, part, revision=at) for part in part_names(file)]
            return pathlib.Path(parts[0])
        if not weights:
            return download([each for each in _HUGGING_FACE_FILES if each not in _WEIGHT_FILES])
        folder = download(_HUGGING_FACE_FILES)
        if not any(folder.rglob("*.safetensors")):
            folder = download([*_HUGGING_FACE_FILES, *_TORCH_FILES])
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"Expected {text!r} in the local cache or from the Hugging Face hub, got {type(error).__name__}: {error} "
            "Check the name, the network and, for a private repository, the login (`hf auth login`)."
        ) from error
    return folder


def _from_kaggle(text: str, rest: str, revision: str | None) -> pathlib.Path:
    handle = rest if revision is None else f"{rest}/{revision}"
    if len(handle.split("/")) not in (4, 5) or not all(handle.split("/")):
        raise ValueError(
            "Expected kaggle://owner/model/framework/variation, with /version or revision= at most once, "
            f"got {text!r} and revision={revision!r}. Copy the handle from the model's page."
        )
    try:
        import kagglehub
    except ImportError as error:
        raise ImportError(
            f"{text!r} needs kagglehub, which is not installed: `pip install 'keras-transformers[kaggle]'`."
        ) from error
    try:
        return pathlib.Path(kagglehub.model_download(handle))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"Expected {text!r} from Kaggle, got {type(error).__name__}: {error} Check the handle, "
            "the network and the login."
        ) from error


def _from_package(text: str, rest: str) -> pathlib.Path:
    package, _, inner = rest.partition("/")
    parts = inner.split("/") if inner else []
    if not package.isidentifier() or any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
        raise ValueError(
            "Expected package://top_level_name/path/inside, without '..', empty parts, backslashes or colons, "
            f"got {text!r}. Name the package as it is imported and the folder inside it."
        )
    # For a top-level name, find_spec only finds the location and runs no code of the package.
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise FileNotFoundError(
            f"Expected an installed package {package!r} for {text!r}, found none. "
            "Install the package that carries the preset."
        )
    for location in map(pathlib.Path, locations):
        path = location.joinpath(*parts)
        if path.exists():
            if not path.resolve().is_relative_to(location.resolve()):
                raise ValueError(
                    f"Expected {text!r} to lie inside {location}, got {path.resolve()}, by a link that leads out. "
                    "Use its real path."
                )
            return path
    raise FileNotFoundError(
        f"Expected {'/'.join(parts)!r} inside {locations[0]}, found nothing there. Check the path in {text!r}."
    )
