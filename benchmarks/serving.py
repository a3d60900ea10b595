"""`keras-transformers serve` under load: 10,000 requests from 50 clients, while others leave and send garbage.

One server, a process of its own on 127.0.0.1, serves the presets english-french and shakespeare and a small classifier
of random weights. The requests are translations (4 beams), labels, and continuations of 16 tokens (greedy; every second
one as a stream), on a few hundred texts. First one client sends some of them, one at a time. Then 50 clients send all
of them at once. At the same time, other clients leave before their answer or in the middle of a stream, and others send
bad JSON, deep nesting, a million characters, wrong types, and bytes that are no HTTP. Each answer is compared with the
library's own call in this process.

    nice -n 5 python benchmarks/serving.py --requests 10000 --clients 50

prints a table, and writes it to `benchmarks/results/`. It exits with 1 if a request failed, or an answer differed.
`BENCH_SMOKE=1` sends 120 requests from 8 clients, and writes nothing.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from harness import SMOKE, markdown, write

SUBJECTS = ("The house", "My brother", "The old dog", "A small girl", "The teacher of our school", "Everybody here")
VERBS = ("is", "was not", "will never be", "can be", "has always been")
ENDS = ("small.", "happy.", "tired of the rain.", "ready to leave.", "late again, as you can see.", "at home today.")
SPEAKERS = ("ROMEO", "JULIET", "KING HENRY", "FIRST CITIZEN", "HAMLET", "PORTIA", "NURSE", "LADY MACBETH")
BEGINNINGS = ("", "\nO, ", "\nMy lord, ", "\nWhat ", "\nI pray thee ", "\nNo, ")
LABELS = ["calm", "glad", "angry", "sad"]
SHARES = {"translate": 0.4, "classify": 0.4, "write": 0.2}
TOKENS = 16
GARBAGE = {
    "bad JSON": b"{",
    "deep nesting": b"[" * 100_000,
    "a million characters": json.dumps({"q": "a" * 1_000_000, "source": "en", "target": "fr"}).encode(),
    "wrong types": b'{"q": {"a": 1}, "source": 2, "target": []}',
    "a lone surrogate": b'{"q": "\\ud800", "source": "en", "target": "fr"}',
    "no HTTP": None,
}


def texts():
    sentences = [f"{subject} {verb} {end}" for subject in SUBJECTS for verb in VERBS for end in ENDS]
    return {"translate": sentences, "classify": sentences, "write": [f"{s}:{b}" for s in SPEAKERS for b in BEGINNINGS]}


def make_classifier(folder):
    import keras

    import keras_transformers as kt

    keras.utils.set_random_seed(0)
    tokenizer = kt.Tokenizer.train(texts()["classify"], vocabulary_size=400)
    config = kt.models.encoder(tokenizer.vocabulary_size, num_layers=2, hidden_dim=64, num_heads=4, max_length=64)
    kt.TextClassifier(config, tokenizer, labels=LABELS).save_to_preset(folder)


def expected(folder):
    """The library's own answers, by kind and text."""
    import keras_transformers as kt

    asked = texts()
    translator, writer = kt.Seq2SeqLM.from_preset("english-french"), kt.CausalLM.from_preset("shakespeare")
    labels = kt.TextClassifier.from_preset(folder).classify(asked["classify"])
    written = [writer.generate(text, max_new_tokens=TOKENS, do_sample=False) for text in asked["write"]]
    answers = {"translate": translator.translate_document(asked["translate"]), "classify": labels, "write": written}
    return {kind: dict(zip(asked[kind], answers[kind], strict=True)) for kind in asked}


class Server:
    def __init__(self, folder, log):
        models = ["english-french", "shakespeare", f"moods={folder}", "--pair", "english-french=en:fr"]
        command = [sys.executable, "-m", "keras_transformers", "serve", *models, "--port", "0"]
        self._process = subprocess.Popen(command, stderr=log)
        self.port, self._log = None, pathlib.Path(log.name)

    async def ready(self):
        while self.port is None:
            if self._process.poll() is not None:
                sys.exit(self._log.read_text())
            said = self._log.read_text()
            if "serving" in said:
                self.port = int(said.rpartition(":")[2])
            await asyncio.sleep(0.2)

    def memory(self):
        """The most memory of the process so far, in MiB."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


class Client:
    """One connection, over and over."""

    def __init__(self, port):
        self._port, self._reader, self._writer = port, None, None

    async def send(self, path, body):
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        await self._writer.drain()

    async def read(self):
        """The status and the body of an answer, whole or in chunks."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(None, 2)[1])
        if b"transfer-encoding: chunked" not in head:
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await self._reader.readexactly(length)
        else:
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        if b"connection: close" in head:
            self.close()
        return status, body

    def close(self):
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def request(kind, text, streamed):
    """The path and the body of a request."""
    if kind == "translate":
        return "/translate", {"q": text, "source": "en", "target": "fr"}
    if kind == "classify":
        return "/classify", {"texts": text}
    return "/v1/completions", {"prompt": text, "max_tokens": TOKENS, "temperature": 0, "stream": streamed}


def is_equal(kind, body, wanted, streamed):
    if kind == "translate":
        return json.loads(body)["translatedText"] == wanted
    if kind == "classify":
        (found,) = json.loads(body)["results"]
        return found["label"] == wanted["label"] and abs(found["score"] - wanted["score"]) < 1e-5
    if not streamed:
        return json.loads(body)["choices"][0]["text"] == wanted
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    pieces = [json.loads(event)["choices"][0]["text"] for event in events[:-1]]
    return events[-1] == b"[DONE]" and "".join(pieces) == wanted


async def work(port, requests, wanted, records):
    """One client: it sends the next of the requests as soon as it has an answer."""
    client = Client(port)
    for number, kind, text in requests:
        streamed = number % 2 == 0
        path, body = request(kind, text, streamed)
        begin = time.perf_counter()
        try:
            await client.send(path, json.dumps(body).encode())
            status, answer = await client.read()
        except (OSError, asyncio.IncompleteReadError) as error:
            status, answer = repr(error), b""
            client.close()
        seconds = time.perf_counter() - begin
        equal = status == 200 and is_equal(kind, answer, wanted[kind][text], streamed)
        records.append((kind, status, equal, seconds))
    client.close()


async def leave(port, wanted, counts):
    """A client that never waits for the end of an answer."""
    source = random.Random(2)
    while True:
        client, kind = Client(port), source.choice([*wanted])
        await client.send(*_encoded(*request(kind, source.choice([*wanted[kind]]), True)))
        await asyncio.sleep(source.random() * 0.3)
        client.close()
        await asyncio.sleep(1)
        counts["left"] = counts.get("left", 0) + 1


async def annoy(port, counts):
    """A client that sends garbage, and gets an error for all of it."""
    while True:
        for name, body in GARBAGE.items():
            client = Client(port)
            try:
                if body is None:
                    client._reader, client._writer = await asyncio.open_connection("127.0.0.1", port)
                    client._writer.write(os.urandom(1000) + b"\r\n\r\n")
                    status = 400 if b"400" in await client._reader.read(100) else 0
                else:
                    await client.send("/translate", body)
                    status, _ = await client.read()
            except (OSError, asyncio.IncompleteReadError):
                status = 0
            client.close()
            counts[f"{name}: {status}"] = counts.get(f"{name}: {status}", 0) + 1
            await asyncio.sleep(0.2)


def _encoded(path, body):
    return path, json.dumps(body).encode()


def drawn(count, seed):
    source, asked = random.Random(seed), texts()
    kinds = source.choices([*SHARES], [*SHARES.values()], k=count)
    return iter([(number, kind, source.choice(asked[kind])) for number, kind in enumerate(kinds)])


async def load(port, requests, clients, wanted, disturbed):
    """Records of the requests, the seconds that all took, and counts of the others."""
    records, counts, begin = [], {}, time.perf_counter()
    others = [asyncio.create_task(leave(port, wanted, counts)) for _ in range(3)] if disturbed else []
    others += [asyncio.create_task(annoy(port, counts)) for _ in range(2)] if disturbed else []
    await asyncio.gather(*(work(port, requests, wanted, records) for _ in range(clients)))
    seconds = time.perf_counter() - begin
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return records, seconds, counts


def rows(name, records, seconds):
    """A row for each kind, and one for all."""
    for kind in ("all", *SHARES):
        own = [each for each in records if kind in ("all", each[0])]
        times = np.array([each[3] for each in own]) * 1000
        failed, differ = sum(each[1] != 200 for each in own), sum(each[1] == 200 and not each[2] for each in own)
        yield {
            "clients": name,
            "kind": kind,
            "requests": len(own),
            "failed": failed,
            "differ": differ,
            "p50 ms": round(float(np.percentile(times, 50)), 1),
            "p95 ms": round(float(np.percentile(times, 95)), 1),
            "requests/s": round(len(own) / seconds, 1),
        }


async def main(options):
    with tempfile.TemporaryDirectory() as scratch, open(f"{scratch}/log", "w+") as log:
        make_classifier(f"{scratch}/moods")
        wanted = expected(f"{scratch}/moods")
        server = Server(f"{scratch}/moods", log)
        try:
            await server.ready()
            await load(server.port, drawn(20, 3), 4, wanted, False)  # the first calls take longer
            alone, seconds, _ = await load(server.port, drawn(options.alone, 1), 1, wanted, False)
            table = [*rows("1", alone, seconds)]
            together, seconds, counts = await load(
                server.port, drawn(options.requests, 0), options.clients, wanted, True
            )
            table += rows(str(options.clients), together, seconds)
            memory = server.memory()
        finally:
            status = server.stop()
        failures = [line for line in pathlib.Path(log.name).read_text().splitlines() if "Error" in line]
    return table, counts, memory, status, failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=120 if SMOKE else 10_000)
    parser.add_argument("--clients", type=int, default=8 if SMOKE else 50)
    parser.add_argument("--alone", type=int, default=20 if SMOKE else 500, help="requests that are sent one at a time")
    options = parser.parse_args()
    table, counts, memory, status, failures = asyncio.run(main(options))
    shown = markdown([*table[0]], [[f"{value}" for value in row.values()] for row in table])
    others = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
    print(f"{shown}\n\nat the same time: {others}\nmemory: {memory} MiB; exit status after SIGTERM: {status}")
    print(*failures, sep="\n")
    if not SMOKE:
        conditions = {"at the same time": others, "memory of the server": f"{memory} MiB", "cores": os.cpu_count()}
        conditions["other load"] = f"{os.getloadavg()[2]:.1f} processes on average, this benchmark included"
        write("serving", table, shown, "shared with other programs", **conditions)
    sys.exit(any(row["failed"] or row["differ"] for row in table) or bool(failures))
