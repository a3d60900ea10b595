"""The README's code runs, its commands exist, and its links lead somewhere."""

import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

# The smallest of models, each compiled once: quickest where nothing is compiled.
pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
RUN = [code for code in SHELL if "keras-transformers " in code]


def title(code):
    return code.strip().splitlines()[-1][:50]


@pytest.mark.parametrize("code", PYTHON, ids=title)
def test_python_runs(code, tmp_path, monkeypatch, capsys):
    if "plot" in code:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
    assert all((tmp_path / picture).is_file() for picture in re.findall(r'path="(.*?)"', code))


@pytest.mark.parametrize("code", RUN, ids=title)
def test_commands_run(code, tmp_path, monkeypatch):
    for module in ("typer", "sacrebleu", "matplotlib", "ctranslate2"):
        pytest.importorskip(module)
    pairs = "The house is small.\tLa maison est petite.\nI see a cat.\tJe vois un chat.\n"
    (tmp_path / "pairs.tsv").write_text(pairs * 10, "utf-8")
    (tmp_path / "test.tsv").write_text(pairs, "utf-8")
    (tmp_path / "plays.txt").write_text("JULIET:\nO Romeo, Romeo!\n" * 10, "utf-8")
    (tmp_path / "sentences.txt").write_text("The house is small.\n\nI see a cat.\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = f'keras-transformers() {{ "{sys.executable}" -m keras_transformers "$@"; }}\nset -euo pipefail\n{code}'
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for written in re.findall(r"(\S+\.png|translations\.txt)", code):
        assert (tmp_path / written).is_file()
    if "sentences.txt" in code:
        assert (tmp_path / "translations.txt").read_text("utf-8").count("\n") == 3


def test_every_other_command_is_one_that_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line in "".join(code for code in SHELL if code not in RUN).splitlines():
        if line.startswith("make "):
            assert line.split()[1] in targets
        elif line.startswith("pip "):
            assert set(re.search(r"\[(.*)\]", line).group(1).split(",")) <= set(extras)
        else:
            assert (
                ROOT / re.fullmatch(r"KERAS_BACKEND=(?:torch|jax|tensorflow) python (\S+)", line).group(1)
            ).is_file()


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_version_and_the_licence_are_those_of_the_package():
    import keras_transformers

    assert f"version = {{{keras_transformers.__version__}}}" in README
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
