"""`keras-transformers serve` as a process: it loads, answers, and ends after SIGTERM; and what it refuses to start."""

import os
import signal
import socket
import threading

import pytest
import typer.testing

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from keras_transformers.apps.cli.app import app  # noqa: E402
from keras_transformers.apps.serving.served import load, read_names  # noqa: E402
from keras_transformers.apps.serving.server import listen  # noqa: E402
from keras_transformers.apps.serving.settings import Address  # noqa: E402
from tests.apps.serving.tiny import Client, models, wait_for  # noqa: E402

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    for name, each in models().items():
        each.task.save_to_preset(folder / name)
    return folder


def free_port():
    with listen(Address(port=0)) as listening:
        return listening.getsockname()[1]


def answers(client):
    try:
        return client.send("/ready")[0] == 200
    except OSError:
        return False


def test_it_serves_until_sigterm_and_answers_what_has_begun(forks, folder, capfd, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFORMERS_API_KEY", "secret")
    client = Client(free_port())
    arguments = [f"to-french={folder}/en-fr", f"{folder}/writer", "--pair", "to-french=en:fr", "--max-new-tokens", "60"]
    program = forks.start("keras_transformers", "serve", *arguments, "--port", str(client.port))
    try:
        wait_for(lambda: answers(client), 60)
        assert client.ask("/v1/models")[0] == 401
        key = {"Authorization": "Bearer secret"}
        assert [each["id"] for each in client.ask("/v1/models", headers=key)[1]["data"]] == ["to-french", "writer"]
        found = []
        asked = {"prompt": ["a dog"] * 16, "max_tokens": 60}
        thread = threading.Thread(target=lambda: found.append(client.ask("/v1/completions", asked, headers=key)))
        thread.start()
        wait_for(lambda: b'batch_requests_count{model="writer"}' in client.send("/metrics", headers=key)[2])
        os.kill(program._pid, signal.SIGTERM)
        assert program.wait(30) in (0, -signal.SIGTERM)
        thread.join()
        assert (found[0][0], len(found[0][1]["choices"])) == (200, 16)
    except BaseException:
        os.kill(program._pid, signal.SIGKILL)
        raise
    assert f"serving to-french, writer at http://127.0.0.1:{client.port}" in capfd.readouterr().err


def test_a_port_in_use_is_named_before_anything_is_loaded(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = typer.testing.CliRunner().invoke(app, ["serve", f"{folder}/en-fr", "--port", str(port)])
    assert isinstance(result.exception, OSError)
    assert f"Expected a free port, got {port}" in str(result.exception) and "loading" not in result.output
    with pytest.raises(OSError, match="Expected an address of this machine, got 203.0.113.7:80"):
        listen(Address("203.0.113.7", 80))


@pytest.mark.parametrize(
    ("models", "tasks", "pairs", "said"),
    [
        (["a/b", "c/b"], (), (), "two of 'b'"),
        (["x="], (), (), "got 'x='"),
        (["a/b"], ["c=CausalLM"], (), "--task name=task with one of the names b, got 'c=CausalLM'"),
        (["a/b"], ["b=CausalLm"], (), "got 'CausalLm'.*did you mean 'CausalLM'"),
        (["a/b"], (), ["b"], "--pair name=source:target"),
    ],
)
def test_names_that_do_not_fit(models, tasks, pairs, said):
    with pytest.raises(ValueError, match=said):
        read_names(models, tasks, pairs)


def test_names_come_from_presets():
    names = read_names(["hf://org/name@main", "folder/x.gguf", "m=p"], ["m=Translator"], ["x=en:fr"])
    assert names == [
        ("name", "hf://org/name@main", "", ""),
        ("x", "folder/x.gguf", "", "en:fr"),
        ("m", "p", "Translator", ""),
    ]


def test_tasks_come_from_files_or_options(folder):
    assert load("w", f"{folder}/writer").abilities == ("generate",)
    assert load("r", f"{folder}/reranker").abilities == ("classify", "rank")
    assert load("m", f"{folder}/moods", "TextEmbedder").abilities == ("embed",)
    with pytest.raises(ValueError, match="--pair t=source:target"):
        load("t", f"{folder}/en-fr", pair="en-xx")
