"""Counts and times of a server, for Prometheus."""

import typing
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, exposition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
CONTENT_TYPE = exposition.CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The metrics of one server. Each name begins with `keras_transformers_`.

    Args:
        queues: a function that returns the number of waiting requests by model.
    """

    def __init__(self, queues: typing.Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry()

        def histogram(name: str, about: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
            return Histogram(
                f"keras_transformers_{name}", about, labels, buckets=buckets, registry=self._registry
            )  # fmt: skip

        self._requests = Counter(
            "keras_transformers_requests", "Requests by path and status.", ("path", "status"), registry=self._registry
        )
        self._seconds = histogram("request_seconds", "Time from request to the end of its answer.", ("path",), SECONDS)
        self._batch = histogram(
            "batch_requests", "Requests that were computed together.", ("model",), (1, 2, 4, 8, 16, 32, 64, 128)
        )
        self._waited = histogram("queue_seconds", "Time that a request waited for its batch.", ("model",), SECONDS)
        self._tokens = Counter(
            "keras_transformers_tokens", "Tokens read and written.", ("model", "kind"), registry=self._registry
        )
        self._registry.register(_Queues(queues))

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has got its answer."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, model: str, waited: Sequence[float]) -> None:
        """Count a batch, given the seconds that each of its requests waited."""
        self._batch.labels(model).observe(len(waited))
        for seconds in waited:
            self._waited.labels(model).observe(seconds)

    def tokens(self, model: str, read: int, written: int = 0) -> None:
        """Count the tokens of a request."""
        self._tokens.labels(model, "read").inc(read)
        self._tokens.labels(model, "written").inc(written)

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return exposition.generate_latest(self._registry)


class _Queues(Collector):
    def __init__(self, queues: typing.Callable[[], Mapping[str, int]]) -> None:
        self._queues = queues

    def collect(self) -> typing.Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily("keras_transformers_queue_length", "Requests that wait.", labels=["model"])
        for model, length in self._queues().items():
            gauge.add_metric([model], length)
        yield gauge
