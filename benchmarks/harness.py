"""Times contestants against each other on a machine that may be shared.

A contestant is a function `build(case) -> run`: `run()` does one unit of the case's work and returns when it is done,
perhaps with a dictionary of what else is to be noted of its first time.
Each contestant is a process of its own, with its own backend; all of them are made ready, and then take turns:

    round 1   reference ─► ours_jax ─► ours_torch ─► …        one runs, the others wait
    round 2   reference ─► ours_jax ─► ours_torch ─► …

so that whatever slows the machine slows a whole round. The figure to trust is the ratio of one round's times, reference
by contestant; reported is the median over the rounds, with the smallest and the largest. Rounds in which other
processes used more than `BUSY` of the machine are dropped. Where that would drop all of them, measure
`--clock cpu`: the processor time of the contestant's process, best with `--threads 1`, rounds kept. A contestant that
is not installed, or needs longer than `--patience` for anything, is left out of that case, and said to be. On a GPU,
`--device gpu`, contestants share it; where there is none, the whole benchmark is left out.

    python benchmarks/translation.py --only jax --cases beam4 --threads 1 --clock cpu --rounds 5

prints tables, and writes them to `benchmarks/results/` as JSON and Markdown. `BENCH_SMOKE=1` runs one round of the
smallest cases and writes nothing. Beside the ratio a table has

    of the limit    the time that multiplying and reading take alone, at what this machine does of both at its best,
                    measured before the first case, as a share of the contestant's
    compile         what the first run took longer than a later one, seconds; and, of ours, how often it compiled
    peak            memory of the contestant's whole process at the most, MiB, libraries included
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
import typing

import numpy as np

BUSY = 0.15
SMOKE = bool(os.environ.get("BENCH_SMOKE"))
RESULTS = pathlib.Path(__file__).parent / "results"
LIBRARIES = ("keras", "keras-hub", "transformers", "sentence-transformers", "jax", "tensorflow", "tensorflow_cpu")
LIBRARIES += ("torch", "numpy")


class NotMeant(Exception):
    """What a contestant raises where it is not meant to do a case; the message says why."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """`build(case) -> run`, in a process with this `KERAS_BACKEND`. `build` is a function of a module, by its name."""

    name: str
    build: typing.Callable
    backend: str = "torch"


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Cases by name (anything that can be pickled), how many `unit`s one run of a case makes, and how long it would
    take if nothing but `limit(case, machine)` bounded it, seconds."""

    name: str
    unit: str
    cases: dict
    smoke_cases: dict
    work: typing.Callable
    contestants: tuple  # the reference first
    limit: typing.Callable

    def main(self):
        options = self._options()
        cases = self.smoke_cases if SMOKE else self.cases
        cases = {name: case for name, case in cases.items() if named(name, options.cases)}
        contestants = [each for each in self.contestants if named(each.name, options.only)]
        if self.contestants[0] not in contestants and not SMOKE:
            contestants.insert(0, self.contestants[0])
        if options.device == "gpu" and not gpus():
            print(f"{self.name}: no GPU here (nvidia-smi finds none): left out", flush=True)
            return
        os.environ |= _QUIET | ({} if options.device == "gpu" else _HIDDEN)
        machine, records = Machine.measured(options), []
        where = f"{options.threads} of {os.cpu_count()} processors"
        where = f"{gpus()[0]}, {options.dtype}" if options.device == "gpu" else f"{where}, {options.dtype}"
        print(f"{where}: {machine}", flush=True)
        for name, case in cases.items():
            for group in _groups(contestants, options.pairs):
                again = {record["contestant"] for record in records if record["case"] == name}
                measured = self._measure(name, case, group, machine, options)
                records += [record for record in measured if record["contestant"] not in again]
            print(_details(self, name, records), flush=True)
            if not SMOKE:
                tables = [summary(self.unit, records)] + [_details(self, case, records) for case in cases_of(records)]
                conditions = {"clock": options.clock, "limits": str(machine), "unit": self.unit}
                write(options.save_as or self.name, records, "\n\n".join(tables), where, **conditions)
        if any("error" in record and not record.get("excused") for record in records):
            raise SystemExit(1)

    def _options(self):
        parser = argparse.ArgumentParser(description=f"Benchmark: {self.name}")
        parser.add_argument("--only", help="contestants whose name contains one of these, comma-separated")
        parser.add_argument("--cases", help="cases whose name contains one of these, comma-separated")
        parser.add_argument("--rounds", type=int, default=1 if SMOKE else 7)
        parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="processors to use")
        parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
        parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
        parser.add_argument(
            "--dtype",
            choices=("float32", "bfloat16", "mixed_bfloat16"),
            default="float32",
            help="of weights and computation; mixed: of computation alone",
        )
        parser.add_argument("--patience", type=float, help="seconds after which a contestant is too slow for a case")
        parser.add_argument(
            "--pairs", action="store_true", help="each contestant alone beside the reference: less memory"
        )
        parser.add_argument("--save-as", help="name of the result files, if not the benchmark's")
        return parser.parse_args()

    def _measure(self, name, case, contestants, machine, options):
        processes = [_Process(each, options) for each in contestants]
        try:
            ready = {process.name: process.ask("build", case) for process in processes}
            rounds = []
            for _ in range(options.rounds):
                able = [process for process in processes if "error" not in ready[process.name]]
                rounds.append({process.name: process.ask("run") for process in able})
                ready |= {name: answer for name, answer in rounds[-1].items() if "error" in answer}
        finally:
            for process in processes:
                process.end()
        able = [process.name for process in processes if "error" not in ready[process.name]]
        if options.clock == "wall" and not SMOKE:
            quiet = [each for each in rounds if all(each[name]["others"] <= BUSY for name in able)]
            print(f"{name}: {len(quiet)} of {len(rounds)} rounds undisturbed", flush=True)
            rounds = quiet
        records = []
        for process in processes:
            record = {"case": name, "contestant": process.name, "rounds": len(rounds), **ready[process.name]}
            first = record.pop("first", None)
            if process.name in able and rounds:
                times = [each[process.name][options.clock] for each in rounds]
                taken = statistics.median(times)
                record |= {"seconds": times, "rate": self.work(case) / taken}
                record["of_limit"] = self.limit(case, machine) / taken
                record["compile_seconds"] = max(0.0, first[options.clock] - taken)
                if able[0] == processes[0].name:
                    reference = [each[able[0]][options.clock] for each in rounds]
                    record["ratios"] = [by / time for by, time in zip(reference, times, strict=True)]
            records.append(record)
        return records


def _groups(contestants, pairs):
    """Who takes turns with whom."""
    reference, others = contestants[:1], contestants[1:]
    return [[*reference, other] for other in others] if pairs and others else [contestants]


@dataclasses.dataclass(frozen=True)
class Machine:
    """What it does at its best in the dtype that is computed in: operations and bytes read, per second; `width` is how
    many bytes a weight has."""

    operations: float
    bytes: float
    dtype: str = "float32"
    width: int = 4

    @classmethod
    def measured(cls, options):
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        computed, width = options.dtype.removeprefix("mixed_"), 2 if options.dtype == "bfloat16" else 4
        limits = _limits_of_gpu if options.device == "gpu" else _limits
        arguments = (computed,) if options.device == "gpu" else (options.threads, options.clock)
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            measured = process.submit(limits, *arguments).result()
        return cls(*measured, computed if options.device == "gpu" else "float32", width)

    def seconds(self, operations=0, bytes=0):
        """As long as the longer of the two takes."""
        return max(operations / self.operations, bytes / self.bytes)

    def __str__(self):
        return f"{self.operations / 1e9:,.0f} GFLOP/s in {self.dtype}, {self.bytes / 1e9:,.0f} GB/s read"


def _limits(threads, clock):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    side, length = (64, 1 << 16) if SMOKE else (2048, 1 << 27)  # 512 MiB, which no cache holds
    matrix, parts = np.ones((side, side), "float32"), np.array_split(np.ones(length, "float32"), threads)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        reading = _fastest(lambda: list(pool.map(np.sum, parts)), now)
    return 2 * side**3 / _fastest(lambda: matrix @ matrix, now), 4 * length / reading


def _fastest(function, now):
    """The shortest of seven times, seconds."""
    times = []
    for _ in range(7):
        start = now()
        function()
        times.append(now() - start)
    return max(min(times), 1e-9)


def _limits_of_gpu(dtype):
    import torch

    side, length = 8192, 1 << 30
    matrix = torch.ones((side, side), dtype=getattr(torch, dtype), device="cuda")
    row = torch.ones(length, dtype=torch.bfloat16, device="cuda")

    def seconds(function):
        function()
        torch.cuda.synchronize()
        return _fastest(lambda: (function(), torch.cuda.synchronize()), time.perf_counter)

    return 2 * side**3 / seconds(lambda: matrix @ matrix), 2 * length / seconds(row.sum)


def gpus():
    """Their names."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.stdout.split("\n")[:-1]


def write(name, records, table, machine, **conditions):
    """Keep what was measured as JSON, and its table, Markdown, with when, where and with what."""
    RESULTS.mkdir(exist_ok=True)
    conditions = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": f"{_processor()}, {machine}",
        **conditions,
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
    }
    path = RESULTS / name
    path.with_suffix(".json").write_text(json.dumps({**conditions, "records": records}, indent=1) + "\n")
    lines = [f"{key}: {value}  " for key, value in conditions.items()]
    path.with_suffix(".md").write_text(f"# {name}\n\n" + "\n".join(lines) + f"\n\n{table}\n")


_TOO_MUCH = "out of memory? Fewer at once (--pairs, --only) or smaller cases (--cases)."


class _Process:
    """One contestant at work on one case."""

    def __init__(self, contestant, options):
        self.name = contestant.name
        self._patience = options.patience
        os.environ |= {"KERAS_BACKEND": contestant.backend, "OMP_NUM_THREADS": str(options.threads)}
        spawn = multiprocessing.get_context("spawn")
        self._connection, other_end = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(contestant, options, other_end), daemon=True)
        self._process.start()
        other_end.close()

    def ask(self, *request):
        try:
            self._connection.send(request)
            if self._connection.poll(self._patience):
                return self._connection.recv()
            answer = {"error": f"longer than {self._patience:.0f} s"}
        except (EOFError, ConnectionError):
            self._process.join(10)
            answer = {"error": f"ended with exit code {self._process.exitcode}"}
            if self._process.exitcode == -signal.SIGKILL:
                answer["error"] = _TOO_MUCH
        self._process.kill()
        return answer

    def end(self):
        self._connection.close()
        self._process.join(10)
        self._process.kill()


_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # contestants share a GPU
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
_HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def data_folder():
    """Where the data sets lie."""
    folder = os.environ.get("KERAS_TRANSFORMERS_DATA")
    if not folder:
        raise SystemExit("Expected KERAS_TRANSFORMERS_DATA to name the folder of data sets, got nothing. Set it.")
    return pathlib.Path(folder)


def in_own_process(backend, function, *arguments):
    """What `function(*arguments)` returns, and the processor seconds it took, in a process with this backend."""
    os.environ |= {"KERAS_BACKEND": backend, **_QUIET, **_HIDDEN}
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_clocked, function, arguments).result()


def _clocked(function, arguments):
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def _serve(contestant, options, connection):
    """In the contestant's process: build cases and run them, as asked."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[-options.threads :])  # thread pools size themselves by it
    device = _Device(options.device, contestant.backend)
    run = None
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        try:
            if request == "build":
                start = time.perf_counter()
                _compute_in(options.dtype, contestant, options.device)
                run = contestant.build(*arguments)
                first = _timed(run, device)
                if not SMOKE and first["wall"] < 60:
                    run()
                noted, seconds = first.pop("noted"), time.perf_counter() - start
                connection.send({**noted, "build_seconds": seconds, "first": first, "peak_mib": device.peak()})
            else:
                connection.send(_timed(run, device))
        except NotMeant as error:
            connection.send({"error": str(error), "excused": True})
        except Exception as error:
            missing = isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("keras_transformers")
            said = f"not installed: {error.name}" if missing else f"{type(error).__name__}: {error}"[:500]
            if "out of memory" in said.lower() or "RESOURCE_EXHAUSTED" in said:
                said = f"{_TOO_MUCH} {said}"
            connection.send({"error": said, "excused": missing})


def _compute_in(dtype, contestant, device):
    """Have what a contestant builds be of this dtype, on this device."""
    if contestant.name.startswith(("ours", "kerashub")):
        import keras

        keras.config.set_dtype_policy(dtype)
    elif contestant.backend == "torch" and (device, dtype) != ("cpu", "float32"):
        import torch

        torch.set_default_device("cuda" if device == "gpu" else "cpu")
        torch.set_default_dtype(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
        if dtype == "mixed_bfloat16":
            os.environ["BENCH_AUTOCAST"] = "cuda" if device == "gpu" else "cpu"  # see `steps.pytorch`


class _Device:
    """Where a contestant's process computes."""

    def __init__(self, kind, backend):
        self._gpu_of = backend if kind == "gpu" else None

    def wait(self):
        """Until nothing is left to compute; what JAX computes is fetched by each run."""
        if self._gpu_of == "torch":
            import torch

            torch.cuda.synchronize()

    def peak(self):
        """The most memory that was held, MiB: of the GPU, or of the process."""
        if self._gpu_of == "torch":
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        if self._gpu_of == "jax":
            import jax

            return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(run, device):
    before, busy, start = time.process_time(), _machine_seconds(), time.perf_counter()
    returned = run()
    device.wait()
    noted = returned if isinstance(returned, dict) else {}
    wall, cpu = time.perf_counter() - start, time.process_time() - before
    others = (_machine_seconds() - busy - cpu) / (wall * os.cpu_count())
    return {"wall": wall, "cpu": cpu, "others": others, "noted": noted}


def _machine_seconds():
    """Processor seconds that all processes have used since the machine started."""
    with open("/proc/stat") as lines:
        user, nice, system, _, _, *interrupts = map(int, lines.readline().split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def cases_of(records):
    """Their names, in order."""
    return list(dict.fromkeys(record["case"] for record in records))


def summary(unit, records):
    """Markdown: a row for each contestant, a column for each case, `rate ×ratio [smallest–largest]`."""
    cases, contestants = cases_of(records), dict.fromkeys(record["contestant"] for record in records)
    found = {(record["contestant"], record["case"]): record for record in records}
    rows = [(each, *(_figure(found[each, case]) for case in cases)) for each in contestants]
    return markdown((unit, *cases), rows)


def _figure(record):
    if "error" in record:
        return record["error"].splitlines()[0][:80].replace("|", "/")
    if "rate" not in record:
        return "disturbed"
    ratios = record.get("ratios")
    spread = f" ×{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]" if ratios else ""
    rate = record["rate"]
    return f"{rate:.0f}{spread}" if rate >= 100 else f"{rate:.3g}{spread}"


def _details(benchmark, case, records):
    """Markdown: all that is known of one case."""
    rows = []
    for record in records:
        if record["case"] == case:
            known = "rate" in record
            compiled = f", {record['compilations']} times" if record.get("compilations") else ""
            rows.append(
                (
                    record["contestant"],
                    _figure(record),
                    f"{record['of_limit']:.0%}" if known else "–",
                    f"{record['compile_seconds']:.1f} s{compiled}" if known else "–",
                    f"{record['peak_mib']:,.0f} MiB" if "peak_mib" in record else "–",
                )
            )
    return markdown((case, benchmark.unit, "of the limit", "compile", "peak"), rows)


def markdown(head, rows):
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def run_parts(benchmarks, options=lambda name: (), after=lambda name: None):
    """Run those of some benchmarks, by name, that the command line begins with, all by default, each with what follows
    there and `options(name)`, and call `after(name)` then. Ends the program."""
    arguments, failed = sys.argv[1:], False
    names = list(itertools.takewhile(lambda each: not each.startswith("-"), arguments))
    if unknown := set(names) - set(benchmarks):
        raise SystemExit(f"Expected some of {', '.join(benchmarks)}, got {', '.join(sorted(unknown))}.")
    for name in names or benchmarks:
        sys.argv[1:] = [*arguments[len(names) :], *options(name)]
        try:
            benchmarks[name].main()
        except SystemExit as ended:
            if ended.code != 1:  # not a contestant that failed
                raise
            failed = True
        after(name)
    raise SystemExit(int(failed))


def named(name, parts):
    """Whether one of `parts`, comma-separated, is in the name; all are where nothing is asked for."""
    return parts is None or any(part in name for part in parts.split(","))


def _version(library):
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
