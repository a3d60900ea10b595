"""Test what users install: `python tests/wheel.py WHEEL TESTS…`, or `make test-wheel`.

The wheel is installed into a fresh environment, with the dependencies that it declares and one backend, the one that
KERAS_BACKEND names. The tests and the examples are copied into an empty folder and run there, so that nothing of the
checkout can be imported or read. The demo runs first: it is the first program that a user sees.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPIED = ("tests", "examples", "pyproject.toml")  # pyproject.toml has pytest's settings


def main(wheel: str, *tests: str) -> None:
    backend = os.environ.get("KERAS_BACKEND", "jax")
    with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
        python = _install(wheel, backend, pathlib.Path(scratch) / "environment")
        away = pathlib.Path(scratch) / "away"
        away.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, away / name)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["KERAS_BACKEND"] = backend

        def run(*command: str) -> str:
            return subprocess.run(
                [python, *command], cwd=away, env=environment, check=True, text=True, stdout=subprocess.PIPE
            ).stdout

        installed = pathlib.Path(run("-c", "import keras_transformers as kt; print(kt.__file__)").strip())
        if not installed.is_relative_to(python.parents[1]):
            raise ImportError(f"Expected the package of the wheel in {python.parents[1]}, got {installed}.")
        print(run("examples/demo.py"), flush=True)
        subprocess.run([python, "-m", "pytest", "-q", "-m", "not slow", *tests], cwd=away, env=environment, check=True)


def _install(wheel: str, backend: str, folder: pathlib.Path) -> pathlib.Path:
    """Return the Python of a fresh environment in `folder` that holds the wheel, its dependencies and pytest."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    wanted = f"{pathlib.Path(wheel).resolve()}[{backend},cli,train]"
    subprocess.run([*install, wanted, "pytest"], check=True)
    return python


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)
