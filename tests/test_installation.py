"""What users install: the wheel, built from this tree and installed away from it."""

import pathlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest

from keras_transformers.formats import sources

pytestmark = pytest.mark.one_backend

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling, which the dev extra brings")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, ROOT], check=True)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs code in a new environment: our wheel, and the outer environment's packages behind it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True)
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = pathlib.Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "outer.pth").write_text("".join(f"{path}\n" for path in outer))

    def run(*command):
        # -I and another folder: neither the tree nor PYTHONPATH is on the path.
        command = [scripts / command[0], *command[1:]] if command[0] != "-c" else [python, "-I", *command]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert site.is_relative_to(folder)
    assert pathlib.Path(run("-c", "import keras_transformers as kt; print(kt.__file__)")).is_relative_to(site)
    return run


def test_the_wheel_holds_the_package_and_the_presets_and_nothing_else(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "keras_transformers", "presets"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.split():
        assert name.replace("presets/", "keras_transformers/presets/", 1) in held
    assert "keras_transformers/py.typed" in held
    assert {name.split("/")[0] for name in held} == {"keras_transformers", f"keras_transformers-{version()}.dist-info"}


def version():
    import keras_transformers

    return keras_transformers.__version__


def test_the_wheel_has_the_version_of_the_package(wheel):
    assert wheel.name == f"keras_transformers-{version()}-py3-none-any.whl"


def test_the_version_is_written_in_one_place():
    """A release changes `__version__`, and the changelog's title, alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "keras_transformers/__init__.py"}
    said = re.compile(rf"version\S*\W+{re.escape(version())}")
    places = ["README.md", "CITATION.cff", "pyproject.toml", "Makefile", "keras_transformers/__init__.py"]
    found = [place for place in places if said.search((ROOT / place).read_text("utf-8"))]
    assert found == ["keras_transformers/__init__.py"]


def test_embedded_presets_are_found_in_a_checkout():
    folders = {folder.parent.name: folder.parent for folder in (ROOT / "presets").glob("*/config.json")}
    assert sources.embedded_presets() == folders
    for name, folder in folders.items():
        assert sources.resolve(name) == folder


def test_embedded_presets_are_found_in_an_installed_wheel(installed):
    program = """
from keras_transformers.formats import safetensors_files, sources
root = sources._PACKAGE / "presets"
assert (root / "README.md").is_file(), root
for name, folder in sources.embedded_presets().items():
    assert sources.resolve(name) == folder == root / name
    print(name, len(safetensors_files.read_tensors(folder)))
"""
    found = [line.split()[0] for line in installed("-c", program).splitlines()]
    assert found == sorted(sources.embedded_presets())


def test_a_preset_laid_beside_an_installed_package_is_not_ours(installed):
    program = """
from keras_transformers.formats import sources
stranger = sources._PACKAGE.parent / "presets" / "stranger"
stranger.mkdir(parents=True)
(stranger / "config.json").write_text("{}")
assert "stranger" not in sources.embedded_presets()
"""
    installed("-c", program)


def test_the_console_script_is_installed(installed):
    assert installed("keras-transformers", "presets").startswith("name\ttask")
