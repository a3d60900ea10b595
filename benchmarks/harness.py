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
needs longer than `--patience` for anything is ended, and said to be too slow for that case.

    python benchmarks/translation.py --only jax --cases beam4 --threads 1 --clock cpu --rounds 5

prints a table, and writes it to `benchmarks/results/` as JSON and Markdown. `BENCH_SMOKE=1` runs one round of the
smallest cases and writes nothing.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import time
import typing

BUSY = 0.15
SMOKE = bool(os.environ.get("BENCH_SMOKE"))
RESULTS = pathlib.Path(__file__).parent / "results"
LIBRARIES = ("keras", "keras-hub", "transformers", "jax", "tensorflow", "tensorflow_cpu", "torch", "numpy")


@dataclasses.dataclass(frozen=True)
class Contestant:
    """`build(case) -> run`, in a process with this `KERAS_BACKEND`. `build` is a function of a module, by its name."""

    name: str
    build: typing.Callable
    backend: str = "torch"


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Cases by name (anything that can be pickled), and how many `unit`s one run of a case makes. `limit` names the
    contestant that does what cannot be done faster: the others' rates are shown as percentages of its."""

    name: str
    unit: str
    cases: dict
    smoke_cases: dict
    work: typing.Callable
    contestants: tuple  # the reference first
    limit: str | None = None

    def main(self):
        options = self._options()
        cases = self.smoke_cases if SMOKE else self.cases
        cases = {name: case for name, case in cases.items() if _named(name, options.cases)}
        contestants = [each for each in self.contestants if _named(each.name, options.only)]
        if self.contestants[0] not in contestants and not SMOKE:
            contestants.insert(0, self.contestants[0])
        contestants += [each for each in self.contestants if each.name == self.limit and each not in contestants]
        processes = [_Process(each, options.threads, options.patience) for each in contestants]
        records = []
        try:
            for name, case in cases.items():
                records += self._measure(name, case, processes, options)
                table = _table(self, records, contestants)
                print(table, flush=True)
                if not SMOKE:
                    machine = f"{options.threads} of {os.cpu_count()} processors"
                    write(options.save_as or self.name, records, table, machine, clock=options.clock)
        finally:
            for process in processes:
                process.end()
        if any("error" in record for record in records):
            raise SystemExit(1)

    def _options(self):
        parser = argparse.ArgumentParser(description=f"Benchmark: {self.name}")
        parser.add_argument("--only", help="contestants whose name contains one of these, comma-separated")
        parser.add_argument("--cases", help="cases whose name contains one of these, comma-separated")
        parser.add_argument("--rounds", type=int, default=1 if SMOKE else 7)
        parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="processors to use")
        parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
        parser.add_argument("--patience", type=float, help="seconds after which a contestant is too slow for a case")
        parser.add_argument("--save-as", help="name of the result files, if not the benchmark's")
        return parser.parse_args()

    def _measure(self, name, case, processes, options):
        ready = {process.name: process.ask("build", case) for process in processes}
        rounds = []
        for _ in range(options.rounds):
            able = [process for process in processes if "error" not in ready[process.name]]
            rounds.append({process.name: process.ask("run") for process in able})
            ready |= {name: answer for name, answer in rounds[-1].items() if "error" in answer}
        able = [process for process in processes if "error" not in ready[process.name]]
        if options.clock == "wall" and not SMOKE:
            quiet = [each for each in rounds if max(each[process.name]["others"] for process in able) <= BUSY]
            print(f"{name}: {len(quiet)} of {len(rounds)} rounds undisturbed", flush=True)
            rounds = quiet
        records = []
        for process in processes:
            record = {"case": name, "contestant": process.name, "rounds": len(rounds), **ready[process.name]}
            if process in able and rounds:
                times = [each[process.name][options.clock] for each in rounds]
                record |= {"seconds": times, "rate": self.work(case) / statistics.median(times)}
                if able[0] is processes[0]:
                    reference = [each[processes[0].name][options.clock] for each in rounds]
                    record["ratios"] = [by / time for by, time in zip(reference, times, strict=True)]
            records.append(record)
        return records


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


class _Process:
    """One contestant at work."""

    def __init__(self, contestant, threads, patience=None):
        self.name = contestant.name
        self._contestant, self._threads, self._patience = contestant, threads, patience
        self._start()

    def _start(self):
        os.environ |= {"KERAS_BACKEND": self._contestant.backend, "OMP_NUM_THREADS": str(self._threads), **_QUIET}
        spawn = multiprocessing.get_context("spawn")
        self._connection, other_end = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(self._contestant, self._threads, other_end), daemon=True)
        self._process.start()
        other_end.close()

    def ask(self, *request):
        try:
            self._connection.send(request)
            if self._connection.poll(self._patience):
                return self._connection.recv()
            answer = {"error": f"longer than {self._patience:.0f} s"}
        except (EOFError, BrokenPipeError):
            self._process.join(10)
            answer = {"error": f"ended with exit code {self._process.exitcode}"}
        self._process.kill()
        self._start()  # for the next case
        return answer

    def end(self):
        self._connection.close()
        self._process.join(10)
        self._process.kill()


_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "CUDA_VISIBLE_DEVICES": "",
}


def data_folder():
    """Where the data sets lie."""
    folder = os.environ.get("KERAS_TRANSFORMERS_DATA")
    if not folder:
        raise SystemExit("Expected KERAS_TRANSFORMERS_DATA to name the folder of data sets, got nothing. Set it.")
    return pathlib.Path(folder)


def in_own_process(backend, function, *arguments):
    """What `function(*arguments)` returns, and the processor seconds it took, in a process with this backend."""
    os.environ |= {"KERAS_BACKEND": backend, **_QUIET}
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_clocked, function, arguments).result()


def _clocked(function, arguments):
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def _serve(contestant, threads, connection):
    """In the contestant's process: build cases and run them, as asked."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])  # thread pools size themselves by it
    run = None
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        try:
            if request == "build":
                start = time.perf_counter()
                run = contestant.build(*arguments)
                first = _timed(run)
                if not SMOKE and first["wall"] < 60:
                    run()
                seconds = {"build_seconds": time.perf_counter() - start, "first_seconds": first["wall"]}
                connection.send({**first["noted"], **seconds})
            else:
                connection.send(_timed(run))
        except Exception as error:
            connection.send({"error": f"{type(error).__name__}: {error}"[:500]})


def _timed(run):
    before, busy, start = time.process_time(), _machine_seconds(), time.perf_counter()
    returned = run()
    noted = returned if isinstance(returned, dict) else {}
    wall, cpu = time.perf_counter() - start, time.process_time() - before
    others = (_machine_seconds() - busy - cpu) / (wall * os.cpu_count())
    return {"wall": wall, "cpu": cpu, "others": others, "noted": noted}


def _machine_seconds():
    """Processor seconds that all processes have used since the machine started."""
    with open("/proc/stat") as lines:
        user, nice, system, _, _, *interrupts = map(int, lines.readline().split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _table(benchmark, records, contestants):
    """Markdown: a row for each contestant, a column for each case, `rate ×ratio [smallest–largest], share of limit`."""
    cases = list(dict.fromkeys(record["case"] for record in records))
    found = {(record["contestant"], record["case"]): record for record in records}
    lines = [f"| {benchmark.unit} | {' | '.join(cases)} |", "|---" * (len(cases) + 1) + "|"]
    for contestant in contestants:
        cells = [_cell(found[contestant.name, case], found.get((benchmark.limit, case))) for case in cases]
        lines.append(f"| {contestant.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(record, limit=None):
    if "error" in record:
        return f"failed: {record['error'].splitlines()[0][:60]}"
    if "rate" not in record:
        return "disturbed"
    cell = f"{record['rate']:.0f}"
    if ratios := record.get("ratios"):
        cell += f" ×{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"
    if limit is not None and "rate" in limit:
        cell += f", {record['rate'] / limit['rate']:.0%}"
    if "compilations" in record:
        cell += f", {record['compilations']} compiled"
    if "mib" in record:
        cell += f", {record['mib']:.0f} MiB"
    return cell


def _named(name, parts):
    return parts is None or any(part in name for part in parts.split(","))


def _version(library):
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
