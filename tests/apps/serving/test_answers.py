"""What a server answers is what the library answers, in each client's form."""

import base64
import concurrent.futures
import urllib.parse

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("jinja2")

from keras_transformers.apps.serving.refusals import Refused  # noqa: E402
from keras_transformers.apps.serving.served import Served  # noqa: E402
from tests.apps.serving.tiny import TEXTS, models, running  # noqa: E402

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def served():
    return models()


@pytest.fixture(scope="module")
def client(served):
    with running(served.values(), batch_wait=20) as client:
        yield client


@pytest.fixture(scope="module")
def tasks(served):
    return {name: each.task for name, each in served.items()}


def test_translations_in_both_forms(client, tasks):
    expected = tasks["en-fr"].translate_document(TEXTS, num_beams=2)
    given = {"texts": TEXTS, "source_language": "English", "target_language": "fr", "num_beams": 2}
    assert client.ask("/translate", given) == (200, {"translations": expected, "model": "en-fr"})

    expected = tasks["en-fr"].translate_document(TEXTS)
    asked = {"q": TEXTS, "source": "en", "target": "fr"}
    assert client.ask("/translate", asked) == (200, {"translatedText": expected})
    form = urllib.parse.urlencode({"q": TEXTS[0], "source": "auto", "target": "fr", "api_key": "any"}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.ask("/translate", form, headers=kind) == (200, {"translatedText": expected[0]})

    several = tasks["en-fr"].translate(TEXTS[0], num_beams=3, num_return_sequences=3)
    asked = {"q": TEXTS[0], "source": "en", "target": "fr", "alternatives": 2}
    assert client.ask("/translate", asked)[1] == {"translatedText": several[0], "alternatives": several[1:]}
    assert client.ask("/languages") == (200, [{"code": "en", "name": "English", "targets": ["fr"]}])


def test_a_translator_without_languages_says_how_to_name_them(tasks):
    model = Served("mine", tasks["en-fr"])
    assert model.languages() == {} and model.direction(None, None) == {"source_language": None, "target_language": None}
    with pytest.raises(Refused, match="--pair mine=en:fr"):
        model.direction("en", "fr")


def test_html_keeps_tags_and_entities(client):
    asked = {"q": "<p>the cat</p> a &lt; b &amp; <br/>", "source": "en", "target": "fr", "format": "html"}
    status, answer = client.ask("/translate", asked)
    assert status == 200, answer
    text = answer["translatedText"]
    assert all(part in text for part in ("<p>", "</p>", "&lt;", "<br/>"))
    assert "&" not in text.replace("&lt;", "").replace("&amp;", "")


SETTINGS = [
    ({"temperature": 0}, {"do_sample": False}),
    ({"seed": 7, "top_p": 0.9}, {"seed": 7, "top_p": 0.9, "do_sample": True}),
    ({"seed": 7, "temperature": 0.5, "n": 2}, {"seed": 7, "temperature": 0.5, "do_sample": True, "n": 2}),
    ({"stop": "e"}, {"stop": "e"}),
    ({"presence_penalty": 1.5, "frequency_penalty": 0.5}, {"presence_penalty": 1.5, "frequency_penalty": 0.5}),
]


@pytest.mark.parametrize(("asked", "settings"), SETTINGS, ids=lambda each: "-".join(each))
def test_completions_and_their_streams(client, tasks, asked, settings):
    settings = {"num_return_sequences" if name == "n" else name: value for name, value in settings.items()}
    prompts = TEXTS[:2]
    expected = []
    for text in prompts:
        found = tasks["writer"].generate(text, max_new_tokens=12, **settings)
        expected += found if isinstance(found, list) else [found]
    asked = {"model": "writer", "prompt": prompts, "max_tokens": 12, "echo": True, **asked}
    status, answer = client.ask("/v1/completions", asked)
    assert status == 200, answer
    count = asked.get("n", 1)
    echoed = [prompts[index // count] + text for index, text in enumerate(expected)]
    assert [choice["text"] for choice in answer["choices"]] == echoed
    assert {choice["finish_reason"] for choice in answer["choices"]} <= {"stop", "length"}
    usage = answer["usage"]
    assert usage["prompt_tokens"] == sum(len(ids) for ids in tasks["writer"]._encode(prompts))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    events = client.stream("/v1/completions", {**asked, "echo": False, "stream_options": {"include_usage": True}})
    assert events.pop()["usage"] == usage
    said = {index: "" for index in range(len(expected))}
    for event in events:
        said[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert list(said.values()) == expected
    reasons = [choice["finish_reason"] for choice in answer["choices"]]
    assert [event["choices"][0]["finish_reason"] for event in events][-len(expected) :] == reasons


def test_beams_are_those_of_the_library(client, tasks, monkeypatch):
    import dataclasses

    own = tasks["writer"].generation
    monkeypatch.setattr(tasks["writer"], "generation", dataclasses.replace(own, num_beams=3))
    expected = tasks["writer"].generate(TEXTS[0], max_new_tokens=6)
    answer = client.ask("/v1/completions", {"prompt": TEXTS[0], "max_tokens": 6})[1]
    assert answer["choices"][0]["text"] == expected


def test_chats(client, tasks):
    messages = [{"role": "system", "content": "we see"}, {"role": "user", "content": "a dog"}]
    expected = tasks["writer"].chat(messages, max_new_tokens=8).reply()
    parts = [messages[0], {"role": "user", "content": [{"type": "text", "text": "a dog"}]}]
    asked = {"model": "writer", "messages": parts, "max_completion_tokens": 8, "user": "me", "logprobs": False}
    status, answer = client.ask("/v1/chat/completions", asked)
    assert (status, answer["object"]) == (200, "chat.completion")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected, "refusal": None}
    events = client.stream("/v1/chat/completions", asked)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == expected


def test_vectors(client, tasks):
    expected = tasks["vectors"].embed(TEXTS)
    status, answer = client.ask("/v1/embeddings", {"model": "vectors", "input": TEXTS})
    assert status == 200
    np.testing.assert_allclose([each["embedding"] for each in answer["data"]], expected, atol=1e-6)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > len(TEXTS)
    asked = {"input": TEXTS[0], "encoding_format": "base64", "dimensions": 8, "task": "query"}
    (found,) = client.ask("/v1/embeddings", asked)[1]["data"]
    vector = np.frombuffer(base64.b64decode(found["embedding"]), "<f4")
    np.testing.assert_allclose(vector, tasks["vectors"].embed(TEXTS[0], task="query", truncate_dim=8), atol=1e-6)


def close(found, expected):
    assert [each["label"] for each in found] == [each["label"] for each in expected]
    np.testing.assert_allclose([e["score"] for e in found], [e["score"] for e in expected], atol=1e-6)


def test_labels(client, tasks):
    status, answer = client.ask("/classify", {"texts": TEXTS, "model": "moods"})
    assert status == 200
    close(answer["results"], tasks["moods"].classify(TEXTS))
    pair = [TEXTS[0], TEXTS[1]]
    (found,) = client.ask("/classify", {"texts": [pair], "model": "moods", "top": None})[1]["results"]
    close(found, tasks["moods"].classify(tuple(pair), top=None))


def test_rankings(client, tasks):
    expected = tasks["reranker"].rank("a house", TEXTS)
    documents = [TEXTS[0], {"text": TEXTS[1]}, *TEXTS[2:]]
    asked = {"query": "a house", "documents": documents, "model": "reranker", "top_n": 3, "return_documents": True}
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        status, answer = client.ask(path, asked)
        assert (status, [each["index"] for each in answer["results"]]) == (
            200,
            [each["index"] for each in expected[:3]],
        )
    found = answer["results"]
    np.testing.assert_allclose([e["relevance_score"] for e in found], [e["score"] for e in expected[:3]], atol=1e-6)
    assert [each["document"]["text"] for each in found] == [TEXTS[each["index"]] for each in found]


def test_many_at_once_get_the_same_answers_in_fewer_batches(client, tasks):
    expected = {text: tasks["en-fr"].translate_document(text) for text in TEXTS}
    begun = {text: tasks["writer"].generate(text, max_new_tokens=5) for text in TEXTS}

    def ask(number):
        text = TEXTS[number % len(TEXTS)]
        if number % 2:
            events = client.stream("/v1/completions", {"prompt": text, "max_tokens": 5})
            return "".join(event["choices"][0]["text"] for event in events) == begun[text]
        asked = {"q": text, "source": "en", "target": "fr"}
        return client.ask("/translate", asked)[1]["translatedText"] == expected[text]

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(60)))
    counts = dict(line.rsplit(b" ", 1) for line in client.send("/metrics")[2].splitlines() if not line.startswith(b"#"))
    name = b'keras_transformers_batch_requests_%s{model="writer"}'
    assert float(counts[name % b"count"]) < float(counts[name % b"sum"])


def test_the_list_of_models_health_and_the_page(client):
    found = client.ask("/v1/models")[1]["data"]
    assert [each["id"] for each in found] == ["en-fr", "writer", "vectors", "moods", "reranker"]
    assert client.ask("/v1/models/writer")[1] == found[1]
    assert client.ask("/health") == (200, {"status": "ok"})
    assert client.ask("/ready")[1]["ready"] is True
    status, headers, page = client.send("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"http://" not in page
