"""All benchmarks, or those of some kinds of work, one after the other; then `docs/benchmarks.md` (`report.py`).

    python benchmarks/all.py
    python benchmarks/all.py decode train -- --threads 1 --clock cpu --rounds 3

What follows `--` goes to the benchmarks in which contestants take turns (`harness.py`). One that fails is named at the
end, after the others ran.
"""

import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent
ALONE = {"import": ("imports",), "load": ("loading",)}
IN_TURNS = {
    "decode": ("decode",),
    "translate": ("translation",),
    "encode": ("encoder",),
    "train": ("training", "training_masked_lm", "training_gpt"),
    "growth": ("growth",),
    "gpu": ("gpu",),
}


def main(arguments):
    kinds, options = arguments, []
    if "--" in arguments:
        place = arguments.index("--")
        kinds, options = arguments[:place], arguments[place + 1 :]
    known = ALONE | IN_TURNS
    if unknown := set(kinds) - set(known):
        raise SystemExit(f"Expected some of {', '.join(known)}, got {', '.join(sorted(unknown))}.")
    failed = []
    for kind in kinds or known:
        for name in known[kind]:
            print(f"\n{kind}: {name}.py", flush=True)
            command = [sys.executable, FOLDER / f"{name}.py", *(options if kind in IN_TURNS else ())]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
    subprocess.run([sys.executable, FOLDER / "report.py"], check=True)
    if failed:
        raise SystemExit(f"Not all of these could be measured: {', '.join(failed)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
