"""A file translated by the command line, killed at random and resumed: the same bytes, and constant memory.

The model is a Marian student of width 16, written by `export_marian`, with a vocabulary of 500 SentencePiece tokens and
random weights: translations are nonsense, so that nearly all of the time goes to files and tokens. For each number of
lines the command runs once undisturbed. For the largest it then runs again, and gets SIGKILL at random moments (of the
start of the program, too) until it was killed `--kills` times. The last run finishes the file.

    nice -n 15 python benchmarks/resuming.py --lines 100000,1000000 --kills 20

prints a table, and writes it to `benchmarks/results/`. Peak memory is that of the program that was not killed.
`BENCH_SMOKE=1` takes 20,000 lines and three kills, and writes nothing.
"""

import argparse
import hashlib
import io
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from harness import SMOKE, markdown, write

WORDS = "the house is small and a cat sleeps in its box while rain falls on our old street near two trees".split()
OPTIONS = ["--batch-size", "256", "--max-new-tokens", "6", "--num-beams", "1"]


def make_student(folder):
    """Write a student of width 16 in Marian's format."""
    import keras
    import sentencepiece

    import keras_transformers as kt

    keras.utils.set_random_seed(0)
    random_words, model = random.Random(0), io.BytesIO()
    syllables = [first + second for first in "bcdfglmnprst" for second in "aeiou"]
    sentences = (" ".join(_word(random_words, syllables) for _ in range(8)) for _ in range(2000))
    ids = {"bos_id": -1, "eos_id": 0, "unk_id": 1, "pad_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=500, **ids, minloglevel=2
    )
    path = folder / "vocab.spm"
    path.write_bytes(model.getvalue())
    tokenizer = kt.Tokenizer.load(path)
    sizes = {"num_layers": (1, 1), "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 16}
    student = kt.Seq2SeqLM(kt.models.student(tokenizer.vocabulary_size, **sizes), tokenizer)
    student.export_marian(folder / "student")


def _word(source, syllables):
    return source.choice(WORDS) if source.random() < 0.3 else "".join(source.choices(syllables, k=source.randint(1, 4)))


def write_lines(path, count):
    source = random.Random(1)
    syllables = [first + second for first in "bcdfglmnprst" for second in "aeiou"]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(count):
            file.write(" ".join(_word(source, syllables) for _ in range(source.randint(2, 8))) + "\n")


def command(folder, source, output):
    options = ["--preset", str(folder / "student"), "--input", str(source), "--output", str(output), *OPTIONS]
    return [sys.executable, "-m", "keras_transformers", "translate", *options]


def run(arguments, patience=None, ready=lambda: True):
    """Run a program, and kill it `patience` seconds after `ready()` becomes True. Returns its exit status, its seconds
    and its peak memory, MiB."""
    start = time.monotonic()
    at = None
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(arguments, stderr=errors, stdout=subprocess.DEVNULL)
        killed = False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if at is None and ready():
                at = time.monotonic()
            if None not in (patience, at) and not killed and time.monotonic() - at > patience:
                os.kill(process.pid, signal.SIGKILL)
                killed = True
            time.sleep(0.02)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGKILL):
            errors.seek(0)
            raise SystemExit(errors.read().decode()[-2000:])
    return code, time.monotonic() - start, usage.ru_maxrss / 1024


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kill_until_done(folder, source, output, kills, begin, size, seed):
    """Run the command, kill it `kills` times at random moments, then let it finish. The program takes `begin` seconds
    to start, and writes `size` bytes. One kill in five comes at a random moment of the start. The others come up to a
    second after a random share of the bytes is written. Returns the bytes that were written at each kill."""
    chance, done, partial = random.Random(seed), [], pathlib.Path(f"{output}.partial")

    def written():
        return partial.stat().st_size if partial.exists() else 0

    shares = sorted(chance.uniform(0.0, 0.95) for _ in range(kills))
    for number, share in enumerate(shares):
        if number % 5 == 0:
            code, _, _ = run(command(folder, source, output), patience=chance.uniform(0, begin))
        else:
            code, _, _ = run(
                command(folder, source, output),
                chance.uniform(0, 0 if SMOKE else 1),
                lambda least=share * size: written() >= least,
            )
        if code == 0:
            break
        done.append(written())
        print(f"kill {len(done)}: {done[-1]:,} bytes written", flush=True)
    else:
        run(command(folder, source, output))
    return done


def main():
    parser = argparse.ArgumentParser(description="A file translated, killed and resumed")
    parser.add_argument(
        "--lines", default="20000" if SMOKE else "100000,1000000", help="numbers of lines, comma-separated"
    )
    parser.add_argument("--kills", type=int, default=3 if SMOKE else 20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records, rows = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        make_student(folder)
        write_lines(folder / "few.txt", 10)
        _, begin, _ = run(command(folder, folder / "few.txt", folder / "few.out"))
        for lines in map(int, options.lines.split(",")):
            source, whole = folder / f"{lines}.txt", folder / f"{lines}.out"
            write_lines(source, lines)
            _, seconds, peak = run(command(folder, source, whole))
            records.append({"lines": lines, "seconds": seconds, "peak_mib": peak, "lines_per_second": lines / seconds})
            rows.append((f"{lines:,}", "–", f"{seconds:.0f}", f"{peak:,.0f}", "–"))
            print(records[-1], flush=True)
        killed = folder / "killed.out"
        done = kill_until_done(folder, source, killed, options.kills, begin, whole.stat().st_size, options.seed)
        same = digest(killed) == digest(whole)
        records.append({"lines": lines, "kills": len(done), "bytes_at_kills": done, "same_bytes": same})
        rows.append((f"{lines:,}", str(len(done)), "–", "–", "yes" if same else "NO"))
    table = markdown(("lines", "kills", "seconds", "peak MiB", "same bytes"), rows)
    print(table)
    if not SMOKE:
        write("resuming", records, table, f"{os.cpu_count()} processors, shared", clock="wall")
    raise SystemExit(0 if same and len(done) == options.kills else 1)


if __name__ == "__main__":
    main()
