"""Nine posteriors with known answers: `python benchmarks/posteriors.py [--methods nuts "svi nsf"]`.

By default: every method on every posterior, three seeds each, against the reference; NUTS from the
NumPyro and from the Pyro program, the others from NumPyro. Each cell runs in a process of its own.

- z: largest error of a mean, in Monte Carlo standard errors of draws and reference together
- mean: largest error of a mean, in standard deviations of the posterior
- sd: largest relative error of a standard deviation
- ok: in how many of the seeds the method's own diagnostics found nothing wrong
- honest: no seed is ok and wrong at once, wrong being a mean off by 0.2 sd or an sd off by 25 %
- first, next: seconds of the first seed, with compilation unless that is cached, and the median of the others

With --out FOLDER: the tables to posteriors.md there, and every cell to posteriors.json; with --resume, cells
that are there already are not run again.

With --peers: NUTS from ppgen, NumPyro, Pyro, PyMC with nutpie, and PyStan, side by side, to peers.md and
peers.json. That needs the environment of `make bench-peers`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nine
import numpy as np
from peers import race

LARGEST_Z, LARGEST_STRETCH = 4.0, 0.10  # what NUTS is held to
WRONG_MEAN, WRONG_SD = 0.2, 0.25  # from here on, a method has to say that something is wrong


class Way(NamedTuple):
    """A method of ``ppgen.infer`` with its options, and the languages of the programs it is run on."""

    method: str
    options: dict[str, Any]
    languages: tuple[str, ...] = ("numpyro",)


# The cheap ones first.
WAYS = {
    "laplace": Way("laplace", {}),
    "pathfinder": Way("pathfinder", {}),
    "nuts": Way("nuts", {}, ("numpyro", "pyro")),
    "svi full_rank": Way("svi", {"guide": "full_rank"}),
    "svi mean_field": Way("svi", {"guide": "mean_field"}),
    "smc": Way("smc", {}),
    "svi nsf": Way("svi", {"guide": "nsf"}),
    "nuts nsf": Way("nuts", {"guide": "nsf"}),
}

# At the default of 0.9 one chain in some twenty gets stuck here; it is named, with this advice.
ADVISED = {("nuts", "gp_pois_regr"): {"target_accept": 0.98}}


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        for cell in _measure(**json.loads(arguments.worker)):
            print(json.dumps(cell), flush=True)
        return
    if not nine.FOLDER.exists():
        sys.exit(f"The posteriors are read from {nine.FOLDER}, which is not there.")
    if arguments.peers:
        race.run(
            arguments.posteriors,
            arguments.libraries,
            arguments.limit,
            arguments.out,
            arguments.resume,
            not arguments.no_cached,
        )
        return
    cells = _run_all(arguments)
    table, verdict = _table(cells), _verdict(cells)
    print("\n".join([*table, "", *_in_lines(verdict)]))
    sys.exit(int(any(verdict.values())))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posteriors", nargs="+", choices=nine.NINE, default=list(nine.NINE), metavar="NAME")
    parser.add_argument("--methods", nargs="+", choices=WAYS, default=list(WAYS), metavar="METHOD")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--languages", nargs="+", choices=("numpyro", "pyro"), default=["numpyro", "pyro"])
    parser.add_argument("--limit", type=float, default=600, help="seconds that a process may take")
    parser.add_argument("--out", type=Path, help="a folder for the tables and all numbers")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--peers", action="store_true", help="compare with other libraries instead")
    parser.add_argument("--libraries", nargs="+", choices=race.LIBRARIES, default=list(race.LIBRARIES))
    parser.add_argument("--no-cached", action="store_true", help="of peers: empty caches only")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_all(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Method by method; what is there so far is written after each process."""
    cells: list[dict[str, Any]] = []
    if arguments.resume and (arguments.out / "posteriors.json").exists():
        cells = json.loads((arguments.out / "posteriors.json").read_text())
    there = {(cell["posterior"], cell["way"], cell["language"]) for cell in cells}
    for way in arguments.methods:
        for language in WAYS[way].languages:
            for posterior in arguments.posteriors:
                if language in arguments.languages and (posterior, way, language) not in there:
                    cells += _run(posterior, way, language, arguments.seeds, arguments.limit)
                    _write(cells, arguments.out)
    _write(cells, arguments.out)
    return cells


def _write(cells: list[dict[str, Any]], folder: Path | None) -> None:
    """The tables as Markdown, and one cell a line as JSON."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(cell) for cell in cells)
    (folder / "posteriors.json").write_text(f"[\n{lines}\n]\n")
    text = [_HEAD, "", *_table(cells), "", *_in_lines(_verdict(cells))]
    (folder / "posteriors.md").write_text("\n".join(text) + "\n")


def _run(posterior: str, way: str, language: str, seeds: list[int], limit: float) -> list[dict[str, Any]]:
    """All seeds in one fresh process; the first pays for compilation."""
    job = {"posterior": posterior, "way": way, "language": language, "seeds": seeds}
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    begin = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
        output, trouble = done.stdout, done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout or b""  # bytes, whatever text= says
        output = said.decode() if isinstance(said, bytes) else said
        trouble = [f"not done after {limit:.0f} s"]
    print(f"{posterior}, {way}, {language}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    cells = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return cells + [_blank(job, way, failure=line) for line in trouble]


# -- inside the fresh process --------------------------------------------------------------------------


def _measure(posterior: str, way: str, language: str, seeds: list[int]) -> Iterator[dict[str, Any]]:
    import ppgen
    from ppgen.errors import InferenceError, PpgenError

    warnings.simplefilter("ignore")
    program = nine.find_program(posterior, language)
    data, answers = nine.read(posterior)
    job = {"posterior": posterior, "language": language}
    options = WAYS[way].options | ADVISED.get((way, posterior), {})
    for seed in seeds:
        begin = time.perf_counter()
        try:
            post = ppgen.infer(program, data, WAYS[way].method, seed=seed, progress=False, **options)
        except PpgenError as error:  # no posterior came back: nothing that could mislead
            yield _blank(job, way, seed=seed, refused=str(error))
            continue
        seconds = time.perf_counter() - begin
        yield _cell(job, way, seed, post, answers, seconds)
        if post.log_weights is not None and np.ptp(post.log_weights) > 0:
            with contextlib.suppress(InferenceError):  # the weights cannot be trusted, and it says so
                yield _cell(job, f"{way}, corrected", seed, post.corrected(seed), answers, seconds)


def _cell(job: dict, way: str, seed: int, post: Any, answers: nine.Answers, seconds: float) -> dict[str, Any]:
    error = nine.compare(post.draws, answers)
    return {
        **_blank(job, way, seed=seed),
        **error._asdict(),
        "khat": post.diagnostics.khat,
        "ess": nine.smallest_ess(post.draws, answers),
        "ok": post.diagnostics.ok,
        "problems": list(post.diagnostics.problems),
        "seconds": seconds,
    }


def _blank(job: dict[str, Any], way: str, seed: int | None = None, **said: str) -> dict[str, Any]:
    """A cell without a posterior: refused by ``infer``, or failed."""
    return {"posterior": job["posterior"], "language": job["language"], "way": way, "seed": seed, **said}


# -- tables --------------------------------------------------------------------------------------------

_HEAD = """# Nine posteriors with known answers, by every method

Written by `python benchmarks/posteriors.py --out docs/benchmarks`. Each row is one method on one program with
its defaults: the worst of the seeds against a long reference run.

- z: largest error of a mean, in Monte Carlo standard errors of draws and reference together
- mean: largest error of a mean, in standard deviations of the posterior
- sd: largest relative error of a standard deviation
- ok: in how many of the seeds the method's own diagnostics found nothing wrong; a method may also refuse
- honest: no seed is ok and wrong at once, wrong being a mean off by 0.2 sd or an sd off by 25 %
- first, next: seconds of the first seed, with compilation unless that is cached, and the median of the
  others; on two cores that were shared with other work

NUTS on gp_pois_regr is run with target_accept=0.98, as its own diagnostics advise at the default.

"…, corrected" are a guide's draws resampled by their importance weights, where k-hat allows that."""


def _table(cells: list[dict[str, Any]]) -> list[str]:
    columns = ("z", "mean", "sd", "k-hat", "ESS", "ok", "honest", "first", "next")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["posterior"], cell["way"], cell["language"]), []).append(cell)
    return [
        f"| posterior | method | program | {' | '.join(columns)} |",
        "|---|---|---|" + "---:|" * len(columns),
        *(
            f"| {' | '.join(place)} | {' | '.join(_row(groups[place], len(columns)))} |"
            for place in sorted(groups, key=lambda place: (list(nine.NINE).index(place[0]), place[1:]))
        ),
    ]


def _row(group: list[dict[str, Any]], width: int) -> list[str]:
    """One posterior and method, over the seeds."""
    done = [cell for cell in group if "ok" in cell]
    silent = [kind for kind in ("refused", "failure") if any(kind in cell for cell in group)]
    if not done:
        return [silent[0]] + [""] * (width - 1)
    khats = [cell["khat"] for cell in done if cell["khat"] is not None]
    later = [cell["seconds"] for cell in done[1:]]
    return [
        _number(max(cell["z"] for cell in done)),
        _number(max(cell["mean"] for cell in done)),
        _number(max(cell["sd"] for cell in done)),
        f"{min(khats):.2f} to {max(khats):.2f}" if khats else "",
        f"{min(cell['ess'] for cell in done):.0f}",
        f"{sum(cell['ok'] for cell in done)}/{len(group)}" + "".join(f" ({kind})" for kind in silent),
        "NO" if any(map(_misleads, done)) else "yes",
        _number(done[0]["seconds"]),
        _number(statistics.median(later)) if later else "",
    ]


def _verdict(cells: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What must not be."""
    return {
        "Dishonest (ok, and wrong)": [cell for cell in cells if "ok" in cell and _misleads(cell)],
        f"NUTS off by more than {LARGEST_Z:.0f} standard errors or {LARGEST_STRETCH:.0%} of an sd": [
            cell for cell in cells if "ok" in cell and cell["way"] == "nuts" and _misses(cell)
        ],
        "Failed": [cell for cell in cells if "failure" in cell],
    }


def _in_lines(verdict: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for title, found in verdict.items():
        yield f"{title}: {len(found) or 'none'}"
        for cell in found:
            place = f"{cell['posterior']}, {cell['way']}, {cell['language']}, seed {cell['seed']}"
            yield f"- {place}: {cell['failure'] if 'failure' in cell else _in_words(cell)}"
        yield ""


def _misleads(cell: dict[str, Any]) -> bool:
    right = cell["mean"] <= WRONG_MEAN and cell["sd"] <= WRONG_SD  # false for NaN
    return cell["ok"] and not right


def _misses(cell: dict[str, Any]) -> bool:
    return not (cell["z"] <= LARGEST_Z and cell["sd"] <= LARGEST_STRETCH)


def _in_words(cell: dict[str, Any]) -> str:
    said = "; ".join(cell["problems"]) or "no problem reported"
    return f"z {cell['z']:.1f}, mean {cell['mean']:.2f} ({cell['worst']}), sd {cell['sd']:.2f}; {said}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    main()
