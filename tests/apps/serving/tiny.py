"""Tiny random models of each task, and a server of them on the loopback interface."""

import contextlib
import dataclasses
import http.client
import json
import threading
import time

import keras_transformers as kt
from keras_transformers.apps.serving.served import Served
from keras_transformers.apps.serving.server import listen, make_server
from keras_transformers.apps.serving.settings import Address, Limits
from tests.layers.reference import fill

TEXTS = ["the cat sat on the mat", "a dog ran", "we see a small house near the sea", "the end", "one two three four"]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def models():
    """A translator "en-fr", a writer "writer", an embedder "vectors", and classifiers "moods" and "reranker"."""
    tokenizer = kt.Tokenizer.train(TEXTS, vocabulary_size=300)
    chatting = kt.Tokenizer.train(TEXTS, vocabulary_size=300)
    chatting.add_tokens(["<system>", "<user>", "<assistant>"], special=True)
    chatting.chat_template = TEMPLATE
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0}

    def encoder():
        return kt.models.encoder(tokenizer.vocabulary_size, max_length=64, **sizes)

    translator = kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, max_length=64, **sizes), tokenizer)
    writer = kt.CausalLM(kt.models.gpt(chatting.vocabulary_size, max_length=64, **sizes), chatting)
    tasks = {
        "en-fr": translator,
        "writer": writer,
        "vectors": kt.TextEmbedder(encoder(), tokenizer, prompts={"query": "a "}),
        "moods": kt.TextClassifier(encoder(), tokenizer, labels=["good", "bad", "so"]),
        "reranker": kt.TextClassifier(encoder(), tokenizer, num_classes=1),
    }
    for task in tasks.values():
        fill(task, scale=0.6)
    translator.generation = dataclasses.replace(translator.generation, max_new_tokens=12)
    return {name: Served(name, task, ("en", "fr") if name == "en-fr" else None) for name, task in tasks.items()}


@contextlib.contextmanager
def running(served, keys=(), **limits):
    """A `Client` of a server that runs."""
    server = make_server(served, Limits(**limits), keys)
    with listen(Address(port=0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Client(listening.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(30)


class Client:
    def __init__(self, port, server=None):
        self.port, self.server = port, server

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def send(self, path, body=None, headers=None, method=None):
        """Status, headers and body of an answer. A body that is no bytes is sent as JSON."""
        connection = self.connect()
        content = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, body, {**content, **(headers or {})})
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return answer.status, answer.headers, read

    def ask(self, path, body=None, **options):
        """Status and JSON of an answer."""
        status, _, read = self.send(path, body, **options)
        return status, json.loads(read)

    def stream(self, path, body):
        """The events of a stream."""
        status, _, read = self.send(path, {**body, "stream": True})
        events = [event.removeprefix(b"data: ") for event in read.split(b"\n\n") if event]
        assert (status, events[-1]) == (200, b"[DONE]"), read
        return list(map(json.loads, events[:-1]))


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
