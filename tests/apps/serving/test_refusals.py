"""What a server refuses, how it says so, and that garbage, full queues and clients that leave harm nobody else."""

import concurrent.futures
import json
import re
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("jinja2")

from tests.apps.serving.tiny import TEXTS, models, running, wait_for  # noqa: E402

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore")]
ASKED = {"q": TEXTS[0], "source": "en", "target": "fr"}


@pytest.fixture(scope="module")
def served():
    return models()


@pytest.fixture(scope="module")
def client(served):
    limits = {"max_body": 100_000, "max_characters": 5_000, "max_tokens": 400, "max_texts": 20, "max_new_tokens": 40}
    with running(served.values(), **limits) as client:
        yield client


REFUSED = [
    ("/translate", b"{", 400, "JSON object"),
    ("/translate", b"[]", 400, "JSON object"),
    ("/translate", b"\xff\xfe", 400, "JSON object"),
    ("/translate", b"[" * 50_000, 400, "nested too deep|JSON object"),
    ("/translate", b'{"q": ' + b"9" * 5000 + b"}", 400, "JSON object"),
    ("/translate", {}, 400, "texts: Field required"),
    ("/translate", {"q": 7, "source": "en", "target": "fr"}, 400, "q.*valid string"),
    ("/translate", {**ASKED, "q": []}, 400, "Expected a text, got none"),
    ("/translate", {**ASKED, "q": ["a"] * 21}, 413, "at most 20 texts, got 21"),
    ("/translate", {**ASKED, "q": "a" * 5001}, 413, "at most 5000 characters, got 5001"),
    ("/translate", {**ASKED, "q": "a b " * 600}, 413, "at most 400 tokens together"),
    ("/translate", b"x" * 100_001, 413, "at most 100000 bytes"),
    ("/translate", b'{"q": "a \\ud800 b", "source": "en", "target": "fr"}', 400, "lone surrogate"),
    ("/translate", b'{"\\ud800": "a", "q": "a", "source": "en", "target": "fr"}', 400, "fields"),
    ("/translate", {**ASKED, "source": "de"}, 400, "Expected source en, .* got 'de'"),
    ("/translate", {**ASKED, "format": "pdf"}, 400, "format"),
    ("/translate", {**ASKED, "model": "nllb"}, 404, "Expected a model of en-fr, writer, .* got 'nllb'"),
    ("/translate", {**ASKED, "model": "writer"}, 404, "that can translate, en-fr, got 'writer', a CausalLM"),
    ("/translate", {"texts": "a", "num_beam": 2}, 400, "got num_beam, .*did you mean 'num_beams'"),
    ("/detect", {"q": "a"}, 501, "detects no languages"),
    ("/nothing", {}, 404, "Not Found"),
    ("/health", {}, 405, "Method Not Allowed"),
    ("/v1/completions", {"prompt": "a", "logprobs": 3}, 400, "got logprobs"),
    ("/v1/completions", {"prompt": "a", "best_of": 2}, 400, "got best_of"),
    ("/v1/completions", {"prompt": [1, 2]}, 400, "prompt"),
    ("/v1/completions", {"prompt": "a", "temperature": -1}, 400, "temperature"),
    ("/v1/completions", b'{"prompt": "a", "temperature": NaN}', 400, "temperature"),
    ("/v1/completions", {"prompt": "a", "max_tokens": 41}, 400, "at most 40 new tokens, got 41"),
    ("/v1/completions", {"prompt": "a", "n": 2}, 400, "temperature above 0"),
    ("/v1/completions", {"prompt": ["a"] * 5, "n": 32}, 413, "at most 128 continuations, got 5 prompts with n=32"),
    ("/v1/completions", {"prompt": "a b " * 60}, 400, "prompts of at most 64 tokens"),
    ("/v1/completions", {"prompt": "a b " * 60, "stream": True}, 400, "prompts of at most 64 tokens"),
    ("/v1/completions", {"prompt": "a", "seed": 2**40}, 400, "seed"),
    ("/v1/completions", {"prompt": "a", "stop": ["a", ""]}, 400, "strings that are not empty"),
    ("/v1/chat/completions", {"messages": []}, 400, "messages"),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "a", "tool_calls": [1]}]},
        400,
        "got messages.0: tool_calls",
    ),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, 400, "got tools"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "text"),
    ("/v1/embeddings", {"input": "a b " * 60}, 400, "at most 64 tokens, .*truncate=true"),
    ("/v1/embeddings", {"input": [[1, 2]]}, 400, "input"),
    ("/v1/embeddings", {"input": "a", "dimensions": 99}, 400, "truncate_dim from 1 to 16"),
    ("/classify", {"texts": [["a", "b", "c"]], "model": "moods"}, 400, "texts"),
    ("/classify", {"texts": "a", "model": "moods", "labels": ["x"]}, 400, "entail"),
    ("/rerank", {"query": "a", "documents": []}, 400, "Expected a text"),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), REFUSED, ids=lambda each: str(each)[:30])
def test_what_is_refused_and_how(client, path, body, status, said):
    found, answer = client.ask(path, body, headers={"Content-Type": "application/json"})
    error = answer["error"]
    assert isinstance(error, dict) == path.startswith("/v1/")
    message = error["message"] if isinstance(error, dict) else error
    assert (found, bool(re.search(said, message))) == (status, True), answer


def test_odd_texts_get_answers(client, served):
    texts = ["\x00", "a\x00b", "\u202e\ufeff", "", " ", "<script>", "\U0001f600" * 20]
    expected = served["en-fr"].task.translate_document(texts)
    assert client.ask("/translate", {"texts": texts}) == (200, {"translations": expected, "model": "en-fr"})
    long = {"model": "moods", "texts": "a b " * 60, "truncate": True}
    assert client.ask("/classify", long)[0] == 200


def test_keys(served):
    with running([served["en-fr"]], keys=["secret", "other"]) as client:
        assert client.ask("/translate", ASKED)[0] == 401
        assert client.ask("/translate", {**ASKED, "api_key": "Secret"})[0] == 401
        assert client.ask("/translate", {**ASKED, "api_key": "secret"})[0] == 200
        assert client.ask("/translate", ASKED, headers={"Authorization": "Bearer other"})[0] == 200
        status, answer = client.ask("/v1/models", headers={"Authorization": "Bearer wrong"})
        assert (status, answer["error"]["type"]) == (401, "authentication_error")
        assert client.ask("/v1/models", headers={"Authorization": "Bearer secret"})[0] == 200
        assert client.ask("/languages?api_key=secret")[0] == 200
        assert (client.ask("/languages")[0], client.send("/metrics")[0]) == (401, 401)
        assert (client.ask("/health")[0], client.ask("/ready")[0], client.send("/")[0]) == (200, 200, 200)


class Slow:
    """A task that waits until it is let go, and fails for one text."""

    def __init__(self, task):
        self._task, self.go, self.asked = task, threading.Event(), []
        self.tokenizer = task.tokenizer

    def translate_document(self, texts, **options):
        self.asked.append(list(texts))
        assert self.go.wait(20)
        if "poison" in texts:
            raise RuntimeError("The machine is out of memory.")
        return self._task.translate_document(texts, **options)


@pytest.fixture
def slow(served, monkeypatch):
    model = type(served["en-fr"])("en-fr", served["en-fr"].task, ("en", "fr"))
    model.task = Slow(model.task)
    return model


def test_a_full_queue_says_when_to_come_again_and_late_answers_are_refused(slow):
    with running([slow], queue_length=2, timeout=1.0) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.ask, "/translate", ASKED)]
        wait_for(lambda: slow.task.asked)
        asked += [pool.submit(client.ask, "/translate", ASKED) for _ in range(2)]
        wait_for(lambda: len(slow.worker) == 2)
        status, headers, body = client.send("/translate", ASKED)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "2 requests wait for 'en-fr'" in json.loads(body)["error"]
        assert {each.result()[0] for each in asked} == {504}
        slow.task.go.set()
        assert client.ask("/translate", ASKED)[0] == 200
        assert len(slow.task.asked) == 2  # those whose time was up were not computed


def test_clients_that_leave_are_dropped_from_the_queue(slow):
    with running([slow]) as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.ask, "/translate", ASKED)
        wait_for(lambda: slow.task.asked)
        leaving = client.connect()
        leaving.request("POST", "/translate", json.dumps({**ASKED, "q": "gone"}), {"Content-Type": "application/json"})
        wait_for(lambda: len(slow.worker) == 1)
        leaving.sock.shutdown(socket.SHUT_RDWR)
        leaving.close()
        wait_for(lambda: all(job.gone for job in slow.worker._arrived))
        slow.task.go.set()
        assert first.result()[0] == client.ask("/translate", ASKED)[0] == 200
        assert ["gone"] not in slow.task.asked


def test_a_failure_harms_no_other_in_its_batch(slow, capsys):
    slow.task.go.set()
    with running([slow], batch_wait=300) as client, concurrent.futures.ThreadPoolExecutor(3) as pool:
        texts = [TEXTS[0], "poison", TEXTS[1]]
        found = [each.result() for each in [pool.submit(client.ask, "/translate", {**ASKED, "q": t}) for t in texts]]
        assert [status for status, _ in found] == [200, 500, 200]
        assert "The model failed (RuntimeError)" in found[1][1]["error"]
        assert len(slow.task.asked[0]) == 3
    assert "out of memory" in capsys.readouterr().err


def test_a_stream_ends_when_its_reader_leaves(client, served, monkeypatch):
    from keras_transformers.generation.decoding import Decoding

    steps, run = [], Decoding.run

    def slowly(self, count):
        steps.append(count)
        time.sleep(0.02)
        return run(self, count)

    monkeypatch.setattr(Decoding, "run", slowly)
    connection = client.connect()
    body = {"prompt": "a", "max_tokens": 40, "stream": True, "model": "writer"}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    answer.close()
    connection.close()
    assert client.ask("/v1/completions", {"prompt": "a", "max_tokens": 2, "model": "writer"})[0] == 200
    time.sleep(0.1)
    assert len(steps) < 30


def test_a_stop_answers_what_has_begun(slow):
    with running([slow]) as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(client.ask, "/translate", ASKED)]
        wait_for(lambda: slow.task.asked)
        asked.append(pool.submit(client.ask, "/translate", ASKED))
        wait_for(lambda: len(slow.worker) == 1)
        client.server.should_exit = True
        time.sleep(0.3)
        with pytest.raises(OSError):
            client.ask("/health")
        slow.task.go.set()
        assert [each.result()[0] for each in asked] == [200, 200]
