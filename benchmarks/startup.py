"""Where the seconds of a first small fit go: `python benchmarks/startup.py [--repeats 5]`.

Eight schools by NUTS, 4 × (1000 + 1000), from a fresh process to the summary table. The compiled loop lies
in the cache on disk from the first repeat on, which is not counted. Prints the median of each part, in
seconds of wall time, and of processor time, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work()))
        return
    command = [sys.executable, "-W", "ignore", __file__, "--worker"]
    runs = []
    for repeat in range(arguments.repeats + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if repeat:
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    print("| part | s | processor s |\n| --- | ---: | ---: |")
    for part in runs[0]:
        wall, processor = (statistics.median(run[part][i] for run in runs) for i in (0, 1))
        print(f"| {part} | {wall:.2f} | {processor:.2f} |")
    from_call = sum(sum(v[0] for k, v in run.items() if not k.startswith("your")) for run in runs)
    print(f"\nFrom the call to the summary: {from_call / len(runs):.2f} s")


def work() -> dict[str, tuple[float, float]]:
    """The parts of one run, in a process of its own: seconds, and processor seconds."""
    clock = _Clock()
    import ppgen
    from ppgen.models.bayesian.eight_schools import eight_schools

    clock.mark("your program: NumPyro with JAX and SciPy")
    data = ppgen.data.load("eight_schools")
    clock.mark("your data")
    importlib.import_module("ppgen.inference.convergence")
    clock.mark("import of arviz-stats (with pandas and xarray)")
    importlib.import_module("blackjax")
    clock.mark("import of BlackJAX")
    infer = importlib.import_module("ppgen.inference.infer")
    nuts = importlib.import_module("ppgen.inference.nuts")
    sampling = importlib.import_module("ppgen.inference.markov.sampling")
    clock.mark("import of the rest of ppgen.inference")
    inside = {
        "reading the program": clock.count(infer, "read_density"),
        "finding starts": clock.count(nuts, "find_start"),
        "tracing the loop, and loading its code from the cache": clock.count(nuts, "Chains"),
        "warm-up and sampling": clock.count(sampling.Sampling, "until"),
        "draws in the program's space, diagnostics": clock.count(infer, "make_posterior"),
    }
    post = ppgen.infer(eight_schools, data, progress=False)
    clock.mark("other")
    other = clock.parts.pop("other")
    for part, seconds in inside.items():
        clock.parts[part] = (seconds[0], seconds[1])
        other = (other[0] - seconds[0], other[1] - seconds[1])
    clock.parts["the rest of the call"] = other
    clock.last = _now()
    post.summary()
    clock.mark("summary")
    return clock.parts


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class _Clock:
    def __init__(self) -> None:
        self.parts: dict[str, tuple[float, float]] = {}
        self.last = _now()

    def mark(self, part: str) -> None:
        now = _now()
        self.parts[part] = (now[0] - self.last[0], now[1] - self.last[1])
        self.last = now

    def count(self, home: Any, name: str) -> list[float]:
        """Count the seconds inside a function from here on."""
        function, seconds = getattr(home, name), [0.0, 0.0]

        def counted(*args: Any, **options: Any) -> Any:
            begin = _now()
            try:
                return function(*args, **options)
            finally:
                end = _now()
                seconds[0] += end[0] - begin[0]
                seconds[1] += end[1] - begin[1]

        setattr(home, name, counted)
        return seconds


if __name__ == "__main__":
    main()
