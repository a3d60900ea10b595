"""The README's code runs, its commands exist, and its links lead somewhere."""

import pathlib
import re
import shlex
import subprocess
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


# What the examples that train have to say: learning that goes wrong in silence is one that nobody looked at.
SAID = {
    'translate("We see a dog.")': "Nous voyons un chien.",
    'classify("what a bore")': "'label': 'bad'",
    'translate(["The house is small."': "'La maison est petite.'",
    "translate --preset my-model": "Nous voyons un chien.\n",
    "translate --preset runs/first/preset": "Nous voyons un chien.\n",
    'translate "The house is small."': "La maison est petite.\n",
}


def answers(code):
    """What the output of an example has to hold."""
    return [said for asked, said in SAID.items() if asked in code]


def test_every_answer_is_looked_at():
    assert all(any(asked in code for _, code in BLOCKS) for asked in SAID)


def title(code):
    return code.strip().splitlines()[-1][:50]


@pytest.mark.parametrize("code", PYTHON, ids=title)
def test_python_runs(code, tmp_path, monkeypatch, capsys):
    if "plot" in code:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert said and all(answer in said for answer in answers(code)), said
    assert all((tmp_path / picture).is_file() for picture in re.findall(r'path="(.*?)"', code))


@pytest.mark.parametrize("code", RUN, ids=title)
def test_commands_run(code, tmp_path, monkeypatch, forks):
    for module in ("typer", "sacrebleu", "matplotlib", "ctranslate2"):
        pytest.importorskip(module)
    command = (
        f'keras-transformers() {{ {shlex.join(forks.command)} keras_transformers "$@"; }}\nset -euo pipefail\n{code}'
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(answer in done.stdout for answer in answers(code)), done.stdout
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


def test_the_citations_agree():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    cited = dict(re.findall(r"^ +(\w+) += \{+(.*?)\}+,?$", README, re.MULTILINE))
    for said in (f'title: "{cited["title"]}"', f"name: {cited['author']}", f"license: {cited['license']}"):
        assert said in citation


def test_the_licence_is_that_of_the_package():
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
