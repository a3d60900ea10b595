"""An output file that is not finished: appended to in steps, locked, and resumable after a kill.

    translations.txt.partial         the output so far, perhaps with a part that does not count
    translations.txt.partial.json    the record: the lines and bytes that count, a hash of their input, the settings

Output is forced to disk before the record is replaced atomically and counts it. If the program stops, the next run cuts
off output that the record does not count.
"""

import json
import os
import pathlib
import typing
from collections.abc import Callable, Iterable

from keras_transformers.files.lines import compressed


class Unfinished:
    """A partial output file and the record of how much of it is valid.

    Attributes:
        lines: the number of lines done.
        counts: what the program counted in these lines, as plain values; it is recorded with them.
    """

    def __init__(self, output: pathlib.Path, job: dict[str, typing.Any]) -> None:
        self.output = output
        self.partial = output.with_name(f"{output.name}.partial")
        self.record = output.with_name(f"{output.name}.partial.json")
        self.job = json.loads(json.dumps({**job, "output": output.suffix}, default=repr))
        self.lines, self._size = 0, 0
        self.counts: dict[str, typing.Any] = {}
        self._input: str | None = None

    def __enter__(self) -> typing.Self:
        self._refuse_existing()
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.partial, "ab", buffering=0)
        try:
            self._lock()
            self._refuse_existing()  # another program may have finished it meanwhile
            self._go_on()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _refuse_existing(self) -> None:
        if self.output.exists():
            if not self.partial.exists():
                self.record.unlink(missing_ok=True)  # left by a kill after the output was complete
            raise FileExistsError(
                f"Expected no file at {self.output} yet, got one: a finished file, or one from elsewhere. Name "
                "another, or remove it."
            )

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"Expected to write {self.partial} alone, got another program that does. Wait for it, or stop it."
            ) from None

    def _go_on(self) -> None:
        size, advice = os.fstat(self._file.fileno()).st_size, f"Remove {self.partial} and {self.record} to begin anew."
        if not self.record.exists():
            if size:
                raise ValueError(f"Expected {self.record} to say how much of {self.partial} counts, got none. {advice}")
            self._replace_record(0, 0, None)  # the record comes first: output without a record is refused
            return
        try:
            state = json.loads(self.record.read_bytes())
            self.lines, self._size, self._input, job = (state[name] for name in ("lines", "bytes", "input", "job"))
            self.counts = dict(state.get("counts", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Expected {self.record} as it was written, got a file that cannot be read ({error}). {advice}"
            ) from None
        other = [
            f"{name}: {self.job.get(name, 'none')!s:.80} instead of {job.get(name, 'none')!s:.80}"
            for name in {**job, **self.job}
            if job.get(name) != self.job.get(name)
        ]
        if other:
            raise ValueError(
                f"Expected the settings that {self.partial} was begun with, got {'; '.join(other)}. Give the "
                f"same. {advice}"
            )
        if size < self._size:
            raise ValueError(f"Expected {self._size} bytes in {self.partial} at least, got {size}. {advice}")
        os.ftruncate(self._file.fileno(), self._size)

    @property
    def has_output(self) -> bool:
        """Whether some output is valid already."""
        return self._size > 0

    def check_input(self, digest: typing.Any, source: object) -> None:
        """Raise if the lines done so far come from another input."""
        if self._input is not None and self._input != digest.hexdigest():
            raise ValueError(
                f"Expected {source} to begin with the {self.lines} lines that {self.partial} was made from, got "
                f"others. Give the same input, or remove {self.partial} and {self.record} to begin anew."
            )

    def add(self, lines: Iterable[str], digest: typing.Any) -> None:
        """Append lines of output, one for each next line of the input, and record them as valid."""
        lines = list(lines)
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        self.append(compressed(content, self.output.suffix), len(lines), digest)

    def append(self, content: bytes, lines: int, digest: typing.Any) -> None:
        """Append bytes of output for the next `lines` lines of the input, and record them as valid."""
        try:
            _write(self._file, content)
            self._replace_record(self.lines + lines, self._size + len(content), digest.hexdigest())
        except OSError as error:
            failed = OSError(
                f"Expected room for more in {self.partial}, got: {error.strerror}. {self.lines} lines are done, and "
                "stay; make room, and start the same again to go on."
            )
            failed.errno = error.errno
            raise failed from error

    def _replace_record(self, lines: int, size: int, digest: str | None) -> None:
        state = {"lines": lines, "bytes": size, "input": digest, "job": self.job, "counts": self.counts}
        content = json.dumps(state, indent=1).encode()
        replacement = self.record.with_name(f"{self.record.name}.new")
        with open(replacement, "wb", buffering=0) as file:
            _write(file, content)
        os.replace(replacement, self.record)
        self.lines, self._size = lines, size

    def finish(self, complete: Callable[[pathlib.Path], pathlib.Path] = lambda path: path) -> None:
        """Give the complete output its own name.

        Args:
            complete: a function from the path of the partial file to the path of the complete one: the same, or another
                file beside it.
        """
        self._file.close()
        os.replace(complete(self.partial), self.output)
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def _write(file: typing.BinaryIO, content: bytes) -> None:
    """Write all of `content` to an unbuffered file and force it to disk."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
