"""The guide to serving: its commands get answers, and its tables are those of the code."""

import dataclasses
import pathlib
import re
import shlex

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("jinja2")

from keras_transformers.apps.serving.app import make_app  # noqa: E402
from keras_transformers.apps.serving.desk import Desk  # noqa: E402
from keras_transformers.apps.serving.settings import Limits  # noqa: E402
from tests.apps.serving.tiny import models, running  # noqa: E402

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore")]

ROOT = pathlib.Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "guides" / "serving.md").read_text("utf-8")
NAMES = {"english-french": "en-fr", "shakespeare": "writer", "my-chat-model": "writer", "my-embedder": "vectors"}
NAMES |= {"my-classifier": "moods", "my-reranker": "reranker"}


def test_every_command_with_curl_gets_an_answer():
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    commands = [shlex.split(line) for line in blocks.splitlines() if line.startswith("curl")]
    tiny = models()
    served = [renamed(tiny[own], name) for name, own in NAMES.items()]
    with running(served) as client:
        for command in commands:
            url, *rest = command[2:]
            headers = dict([rest[rest.index("-H") + 1].split(": ")]) if "-H" in rest else {}
            body = rest[rest.index("-d") + 1].encode() if "-d" in rest else None
            if body is not None and not headers:
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
            status, _, answer = client.send(url.removeprefix("http://127.0.0.1:8000"), body, headers)
            assert status == 200, (command, answer)
        metrics = client.send("/metrics")[2].decode()
    assert len(commands) == 11
    families = {line.split()[2] for line in metrics.splitlines() if "# TYPE" in line and "_created" not in line}
    assert set(re.findall(r"^\| `(keras_transformers_\w+)`", GUIDE, re.MULTILINE)) == families


def renamed(model, name):
    """The same model under another name."""
    return type(model)(name, model.task, model.pair)


def test_the_tables_are_those_of_the_code():
    rows = dict(re.findall(r"^\| `--([\w-]+)` \| (\d+)", GUIDE, re.MULTILINE))
    fields = {field.name.replace("_", "-"): field.default for field in dataclasses.fields(Limits)}
    assert {name: int(default) for name, default in rows.items()} == {
        name: default for name, default in fields.items() if name not in ("batch-tokens", "batch-wait")
    }
    addresses = set(re.findall(r"`(?:GET|POST) (/[\w/]*)", GUIDE))
    app = make_app(Desk([], Limits()))
    assert addresses == {path.replace("/{name}", "/NAME") for path in app.openapi()["paths"]}


def test_the_image_copies_what_exists():
    lines = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", lines, re.MULTILINE) for name in line.split()]
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text("utf-8")
    assert copied and all((ROOT / name).exists() and f"!{name}\n" in ignored for name in copied)
