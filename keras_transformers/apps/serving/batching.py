"""A model's queue, and the thread that owns the model.

    jobs ─► arrived ─► prepared: tokens are counted ─► ready ─► a batch: the oldest, and others like it
                                                               │
            running ◄─ its slices take turns with those of other batches, so that a stream goes on ◄─┘

The thread waits for a few milliseconds if nothing else runs, so that requests that come together are computed together.
"""

import asyncio
import collections
import threading
import time
import traceback
import typing
from collections.abc import AsyncIterator, Iterator, Sequence

from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.settings import Limits

MOST_RUNNING = 4  # batches that take turns: each holds a cache in memory
MOST_ROWS = 32  # texts of a batch, as in the library's own calls; one request may have more


class Operation(typing.Protocol):
    """A call of a task with its options. Jobs of equal operations are computed together."""

    def prepare(self, task: typing.Any, inputs: typing.Any) -> tuple[typing.Any, list[int]]:
        """The inputs as `run` takes them, and the number of tokens of each text.

        Raises:
            TypeError, ValueError: for inputs that the task does not take.
        """

    def run(self, task: typing.Any, jobs: Sequence["Job"]) -> Iterator[None]:
        """Answer the jobs, slice by slice."""


class Job:
    """One request of a client, from its arrival to its answer. Made in the event loop; answered by the model's thread.

    Args:
        operation: the operation.
        inputs: its inputs, as `Operation.prepare` takes them.
        streamed: whether the client takes the answer in pieces.

    Attributes:
        lengths: the tokens of each text, after `prepare`.
        gone: whether nobody waits for the answer any more.
        begun: whether the client has got a piece of the answer, or the answer.
    """

    def __init__(self, operation: Operation, inputs: typing.Any, streamed: bool = False) -> None:
        self.operation, self.inputs, self.streamed = operation, inputs, streamed
        self.arrived = time.monotonic()
        self.prepared: typing.Any = None
        self.lengths: list[int] = []
        self.gone = self.begun = False
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[typing.Any, bool]] = asyncio.Queue()

    def say(self, piece: typing.Any, last: bool = False) -> None:
        """Give a piece of the answer, or the answer, or an exception in its place."""
        self.begun = True
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, (piece, last))
        except RuntimeError:  # the server has stopped
            self.gone = True

    def finish(self, answer: typing.Any) -> None:
        """Give the answer, or an exception."""
        self.say(answer, last=True)

    async def pieces(self) -> AsyncIterator[typing.Any]:
        """The pieces of the answer, and the answer."""
        last = False
        try:
            while not last:
                piece, last = await self._events.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.gone = True

    async def answer(self) -> typing.Any:
        """The answer."""
        return [piece async for piece in self.pieces()][-1]


class Worker:
    """The queue of one model, and the thread that calls it.

    Args:
        name: the name of the model.
        task: the task.
        limits: the server's `Limits`.
        metrics: the server's `Metrics`.
    """

    def __init__(self, name: str, task: typing.Any, limits: Limits, metrics: typing.Any) -> None:
        self._task, self._limits, self._metrics = task, limits, metrics
        self._name = name
        self._arrived: list[Job] = []
        self._ready: list[Job] = []
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"model {name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self._stopping

    def __len__(self) -> int:
        """The jobs that wait, without those that nobody waits for."""
        return sum(not job.gone for job in [*self._arrived, *self._ready])

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Raises:
            Refused: if the queue is full, or the server stops.
        """
        with self._changed:
            if not self.is_alive:
                message = f"{self._name!r} takes no requests: the server is stopping. Ask again later."
                raise Refused(503, message, "stopping", retry_after=5)
            if len(self) >= self._limits.queue_length:
                message = f"{len(self)} requests wait for {self._name!r}, which is the most. Ask again later."
                raise Refused(503, message, "queue_full", retry_after=1)
            self._arrived.append(job)
            self._changed.notify()

    def stop(self) -> None:
        """Take no more jobs, and end the thread once all are answered. Waits a second for that."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(1.0)

    # In the thread

    def _work(self) -> None:
        running: collections.deque[Iterator[None]] = collections.deque()
        while True:
            batch = self._next_batch(idle=not running) if len(running) < MOST_RUNNING else []
            if batch:
                now = time.monotonic()
                self._metrics.batch(self._name, [now - job.arrived for job in batch])
                running.append(self._answers(batch))
            elif not running:
                return
            first = running.popleft()
            if next(first, self) is not self:  # it has a further slice
                running.append(first)

    def _next_batch(self, idle: bool) -> list[Job]:
        """The jobs to compute together next. None, if the thread has something else to do, or is to end."""
        wait: float | None = None if idle else 0.0
        while True:
            self._receive(wait)
            self._ready = [job for job in self._ready if not job.gone]
            if not self._ready:
                if not idle or (self._stopping and not self._arrived):
                    return []
                wait = None
                continue
            batch, is_full = self._batch()
            wait = self._ready[0].arrived + self._limits.batch_wait / 1000 - time.monotonic()
            if is_full or not idle or self._stopping or wait <= 0:
                self._ready = [job for job in self._ready if job not in batch]
                return batch

    def _receive(self, wait: float | None) -> None:
        """Wait for jobs, and prepare those that have arrived."""
        with self._changed:
            if not self._arrived and not self._stopping and wait != 0:
                self._changed.wait(wait)
            jobs, self._arrived = self._arrived, []
        for job in jobs:
            if job.gone:
                continue
            try:
                job.prepared, job.lengths = job.operation.prepare(self._task, job.inputs)
                if sum(job.lengths) > self._limits.max_tokens:
                    raise Refused(
                        413,
                        f"Expected texts of at most {self._limits.max_tokens} tokens together, got "
                        f"{sum(job.lengths)}. Send them in several requests.",
                    )
                self._ready.append(job)
            except Exception as error:
                job.finish(refusal(error))

    def _batch(self) -> tuple[list[Job], bool]:
        """The oldest job and the jobs most like it in length, and whether no further one has room."""
        first = self._ready[0]
        alike = [job for job in self._ready if job.operation == first.operation]
        alike.sort(key=lambda job: abs(_longest(job) - _longest(first)))
        batch: list[Job] = []
        longest = rows = 0
        for job in alike:
            longest, rows = max(longest, _longest(job)), rows + len(job.lengths)
            if batch and (rows > MOST_ROWS or longest * rows > self._limits.batch_tokens):
                return batch, True
            batch.append(job)
        return batch, rows >= MOST_ROWS

    def _answers(self, jobs: list[Job]) -> Iterator[None]:
        """Answer the jobs, slice by slice. If that fails, each is answered by itself, so that one harms no other."""
        try:
            yield from jobs[0].operation.run(self._task, jobs)
        except Exception as error:
            alone = len(jobs) == 1
            for job in jobs:
                if alone or job.begun:
                    job.finish(refusal(error))
                else:
                    yield from self._answers([job])


def _longest(job: Job) -> int:
    return max(job.lengths, default=0)


def refusal(error: Exception) -> Exception:
    """The error for the client: one that its values caused says so; another is written to standard error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, (TypeError, ValueError)):
        return Refused(400, str(error))
    traceback.print_exception(error)
    return Refused(500, f"The model failed ({type(error).__name__}). The server's log says more.", "model_failed")
