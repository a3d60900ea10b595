"""Vectors of the lines of a file: in constant memory, in order, resumable after a kill.

    sentences.txt ──► windows of lines ──► embed ──► vectors.npy.partial ──► vectors.npy, or vectors.parquet

The partial file is a `.npy` file whose header is written last. See `apps.files` for the formats of a line, and
`apps.unfinished` for the files that a stopped run leaves.
"""

import hashlib
import itertools
import os
import pathlib
import typing
from collections.abc import Callable

import numpy as np

from keras_transformers.apps import files
from keras_transformers.apps.unfinished import Unfinished
from keras_transformers.data.vector_files import HEADER, npy_header, npy_to_parquet
from keras_transformers.extras import require
from keras_transformers.files.lines import LineFile

_TRAINING = ("name", "tokenizer", "loss", "scale")  # arguments that do not change a vector; the tokenizer has files


def embed_file(
    embedder: typing.Any,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    rows: typing.Any = files.LINES,
    batch_size: int = 32,
    dtype: str = "float32",
    progress: Callable[[int, float], None] | None = None,
    **options: typing.Any,
) -> int:
    """Write the vectors of the lines of a file; resume if an earlier call was stopped.

    Args:
        embedder: a `TextEmbedder`.
        source: the path of a UTF-8 file, compressed or not (`.gz`, `.bz2`, `.xz`).
        output: the path to write, `.npy` or `.parquet` (its column is `embedding`; extra `parquet`). Until the output
            is complete, it is written to `<output>.partial`, and `<output>.partial.json` records how much of that is
            valid.
        rows: the format of a line: `Lines()`, `Columns(column)` or `JSONLines(field)`. Each line has a vector, an empty
            one too; a first line that names columns has none.
        batch_size: lines embedded together.
        dtype: "float32" or "float16".
        progress: a function called as `progress(lines, share)`: the number of lines done, and the share of the input
            done, from 0 to 1.
        **options: arguments of `embedder.embed`, such as `task="document"`. To resume, they must be the same as in the
            stopped call.

    Returns: the number of vectors.

    Raises:
        FileExistsError: if `output` exists.
        ValueError: for another ending of `output`, and a malformed line, naming file and line. Also if the partial
            output of an earlier call has another input, model or settings.
        OSError: if the disk is full: make room, and call again. Also if another program is writing the same output.

    Example:
        >>> embed_file(embedder, "posts.txt", "posts.npy", task="document")
        >>> found = kt.search(embedder.embed("Who wrote it?", task="query"), "posts.npy", k=3)
    """
    output = pathlib.Path(output)
    if output.suffix not in (".npy", ".parquet"):
        raise ValueError(f"Expected an output that ends in .npy or .parquet, got {output}. Name one of these.")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"Expected dtype to be float32 or float16, got {dtype!r}.")
    require("parquet", pyarrow=output.suffix == ".parquet")
    width, kind = embedder.embed([], **options).shape[1], np.dtype(dtype).newbyteorder("<")
    settings = {name: each for name, each in embedder.get_config().items() if name not in _TRAINING}
    job = {"rows": rows, "model": files.fingerprint(embedder), "settings": settings, "dtype": dtype, **options}
    with LineFile(source) as file, Unfinished(output, job) as unfinished:
        digest = hashlib.blake2b(digest_size=16)
        lines = enumerate(file, start=1)
        header = files.read_header(lines, source, digest) if rows.has_header else None
        with files.in_line(source, 1):
            place = rows.place(header)
        for _, line in itertools.islice(lines, max(unfinished.lines - (header is not None), 0)):
            digest.update(line)
        unfinished.check_input(digest, source)
        if not unfinished.has_output:
            unfinished.append(npy_header(0, width, kind), int(header is not None), digest)
        advance = files.Progress(file, unfinished.lines, progress)
        for window in files.windows(files.read_rows(lines, rows, place, source), batch_size * files.BATCHES):
            advance.enter(len(window))
            texts = [row.text for row in window]
            vectors = embedder.embed(texts, batch_size=batch_size, progress=advance, **options)
            for row in window:
                digest.update(row.raw)
            unfinished.append(np.ascontiguousarray(vectors, kind).tobytes(), len(window), digest)
        count = unfinished.lines - (header is not None)
        unfinished.finish(lambda path: _complete(path, count, width, kind, output.suffix))
    return count


def _complete(path: pathlib.Path, count: int, width: int, dtype: np.dtype, suffix: str) -> pathlib.Path:
    """Write the header of a partial file, whose number of vectors is now known. Returns the path of the complete
    output."""
    with open(path, "r+b") as file:
        file.write(npy_header(count, width, dtype))
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_size != HEADER + count * width * dtype.itemsize:
        raise ValueError(
            f"Expected {count} vectors of width {width} in {path}, got another size. Remove it, and begin anew."
        )
    if suffix == ".npy":
        return path
    complete = path.with_suffix(".parquet-new")
    npy_to_parquet(path, complete)
    return complete
