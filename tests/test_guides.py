"""The guides run: every Python block of a page, in order, in one namespace, and each prints what the page says."""

import json
import pathlib
import re
import runpy

import keras
import pytest

from tests import pages

ROOT = pathlib.Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
PAGES = sorted(path.name for path in GUIDES.glob("*.md"))


@pytest.mark.one_backend("torch")  # it compiles nothing, so tiny models are quickest on it
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_a_guide_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sacrebleu")
    monkeypatch.chdir(tmp_path)
    if page == "adapters-and-quantization.md" and not hasattr(keras.quantizers, "Int8QuantizationConfig"):
        pytest.skip("Keras has no quantization configurations")
    pages.run(GUIDES / page)


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("page", PAGES)
def test_the_pictures_and_pages_that_a_guide_names_are_there(page):
    text = (GUIDES / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not (GUIDES / link).is_file()]
    heavy = [link for link in links if link.endswith(".png") and (GUIDES / link).stat().st_size > 100_000]
    assert (missing, heavy) == ([], [])


@pytest.mark.one_backend("torch")
@pytest.mark.filterwarnings("ignore")
def test_the_comparison_with_recurrence_runs_small_and_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sacrebleu")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sizes = "--num-layers 1 --hidden-dim 16 --num-heads 2 --vocabulary-size 320 --test-pairs 4 --num-tokens 4".split()

    def run(*options):
        arguments = [*sizes, "--work", str(tmp_path), "--validate-every", "2", "--report-every", "2", *options]
        monkeypatch.setattr("sys.argv", ["compare_recurrence.py", *arguments])
        runpy.run_path(str(ROOT / "examples" / "compare_recurrence.py"), run_name="__main__")
        return [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]

    run("--updates", "2")
    run("--updates", "4")
    records = run("--lengths", "4", "--batch-tokens", "8")
    start = records[0]["parameters"]
    assert abs(start["LSTM"] / start["Transformer"] - 1) < 0.06
    assert [each["update"] for each in records if each["kind"] == "training"] == [2, 4]
    assert [each["length"] for each in records if each["kind"] == "length"] == [4]
    assert (tmp_path / "quality.png").is_file() and (tmp_path / "lengths.png").is_file()
