"""ppgen's NUTS and other libraries', side by side on the nine posteriors.

Each cell is a fresh process with empty caches, then for libraries that keep compiled programs on disk
another with the caches that the first one filled. What takes longer than the limit is stopped. Of Pyro it is
known how many of its 8000 steps were done by then, and the seconds are scaled to all of them; others count as
done at the limit. Either is taken to have as many independent draws as were asked for, and to do a second fit
in the same time.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["LIBRARIES", "run"]

OURS, OURS_IN_PYRO = "ppgen, NumPyro program", "ppgen, Pyro program"
# Whether a library keeps on disk what it has compiled.
LIBRARIES = {
    OURS: True,
    OURS_IN_PYRO: True,
    "NumPyro": False,
    "Pyro": False,
    "PyMC with nutpie": True,
    "PyStan": True,
}
ASKED = 4000  # draws
STEPS = 8000  # with those of the warm-up, of all chains
HERE = Path(__file__).resolve().parents[1]

Row = dict[str, Any]


def run(
    posteriors: list[str],
    libraries: list[str],
    limit: float,
    folder: Path | None = None,
    resume: bool = False,
    cached: bool = True,
) -> None:
    """Time every library on every posterior, one after the other, and print tables.

    Args:
        posteriors: some of the nine.
        libraries: some of :data:`LIBRARIES`.
        limit: seconds that one fit may take.
        folder: where to write the rows to peers.json and the tables to peers.md, as soon as they are there.
        resume: take over the rows that are there already.
        cached: whether to time a process with filled caches as well.
    """
    rows: list[Row] = []
    if folder is not None and resume and (folder / "peers.json").exists():
        rows = json.loads((folder / "peers.json").read_text())
    there = {(row["posterior"], row["library"]) for row in rows}
    for posterior in posteriors:
        for library in libraries:
            if (posterior, library) not in there:
                rows.append(_time(library, posterior, limit, cached) | {"limit": limit})
                print(_line(rows[-1]), flush=True)
                _write(rows, folder)
    print("\n".join(_tables(rows)))


def _write(rows: list[Row], folder: Path | None) -> None:
    """What is there so far, for a run that is stopped."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(row) for row in rows)
        (folder / "peers.json").write_text(f"[\n{lines}\n]\n")
        (folder / "peers.md").write_text("\n".join(_tables(rows)) + "\n")


def _time(library: str, posterior: str, limit: float, cached: bool) -> Row:
    """All that is known of one library on one posterior."""
    with tempfile.TemporaryDirectory() as caches:
        row = {"library": library, "posterior": posterior}
        row |= _in_fresh_process(library, posterior, caches, limit, second=True)
        if cached and LIBRARIES[library] and "cold" in row:
            row["cached"] = _in_fresh_process(library, posterior, caches, limit, second=False).get("cold")
    return row


def _in_fresh_process(library: str, posterior: str, caches: str, limit: float, *, second: bool) -> Row:
    """What a worker says before it ends, or before one of its steps takes longer than the limit."""
    with tempfile.TemporaryDirectory() as folder:
        said, trouble = Path(folder) / "said", Path(folder) / "trouble"
        said.touch()
        asked = [library, posterior, "yes" if second else "no", str(said)]
        begin = time.time()
        steps = Path(folder) / "steps"
        with trouble.open("w") as stderr:
            worker = subprocess.Popen(
                [sys.executable, "-m", "peers.fits", *asked],
                cwd=HERE,
                env={**os.environ, **_own_caches(caches), "PEERS_STEPS": str(steps)},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # to stop its own children with it
            )
            stopped = _wait(worker, said, limit)
        row: Row = {}
        for line in said.read_text().splitlines():
            row |= json.loads(line)
        if "summary_at" in row:
            row["cold"] = row.pop("summary_at") - begin
        if stopped and "cold" not in row and steps.exists():
            row["scaled"] = limit * STEPS / steps.stat().st_size
        if worker.returncode and not stopped:
            row["failure"] = (trouble.read_text().strip().splitlines() or ["no message"])[-1]
        return row


def _wait(worker: subprocess.Popen, said: Path, limit: float) -> bool:
    """Wait until the worker ends, or stop it where it has said nothing new for too long."""
    size, since = 0, time.monotonic()
    while worker.poll() is None:
        time.sleep(0.05)
        if said.stat().st_size > size:
            size, since = said.stat().st_size, time.monotonic()
        if time.monotonic() - since > limit:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            return True
    return False


def _own_caches(folder: str) -> dict[str, str]:
    """Where each library keeps what it has compiled."""
    return {
        "PPGEN_COMPILATION_CACHE": f"{folder}/ppgen",
        "XDG_CACHE_HOME": f"{folder}/xdg",  # httpstan, under PyStan
        "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
        "NUMBA_CACHE_DIR": f"{folder}/numba",
        "PYTHONWARNINGS": "ignore",
    }


# -- tables ----------------------------------------------------------------------------------------------


_HEAD = """# NUTS on nine posteriors, by library

Written by `make bench-peers`: {cores} cores, 4 chains of 1000 draws after 1000 of warm-up, each library with
its defaults, side by side in one run.

- cold: seconds of a fresh process with empty caches, from its start to a summary table
- cached: the same with the caches that the first one filled
- second fit: seconds for new data of the same shapes in the same process
- ESS: smallest bulk effective sample size, by ArviZ
- mean: error of the worst mean, in standard deviations of the posterior
- ≈: the fit was stopped, and its seconds are scaled from the steps that it had made; >: it was stopped
"""


_MEANS = ("cold", "cached", "second fit", "ESS/s cold", "ESS/s cached", "ESS/s second")


def _tables(rows: list[Row]) -> list[str]:
    columns = ("cold", "cached", "second fit", "ESS", "ESS/s cold", "ESS/s second", "mean", "")
    lines = _HEAD.format(cores=os.cpu_count()).splitlines()
    lines += ["", f"| posterior | library | {' | '.join(columns)} |"]
    lines += ["|---|---|" + "---:|" * (len(columns) - 1) + "---|"]
    libraries = list(LIBRARIES)
    lines += map(_line, sorted(rows, key=lambda row: (row["posterior"], libraries.index(row["library"]))))
    for ours in (OURS, OURS_IN_PYRO):
        lines += _ratios(rows, ours)
    return lines


def _line(row: Row) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"

    def seconds(name: str) -> str:
        if row.get(name) is not None:
            return number(row[name])
        if "scaled" in row and name == "cold":
            return f"≈ {row['scaled']:.0f}"
        if "cold" in row and name == "cached" and "failure" not in row:
            return ""  # not asked for
        return "fails" if "failure" in row else f"> {row['limit']:.0f}"

    has_cache = LIBRARIES[row["library"]]
    cells = [
        row["posterior"],
        row["library"],
        seconds("cold"),
        seconds("cached") if has_cache else "",
        seconds("second"),
        number(row.get("ess")),
        number(_ratio(row, "ess", "cold")),
        number(_ratio(row, "second_ess", "second")),
        number(row.get("mean")),
        ", ".join(filter(None, (row.get("note"), row.get("failure", "")[:100]))),
    ]
    return f"| {' | '.join(cells)} |"


def _cached(rows: list[Row]) -> bool:
    return any("cached" in row for row in rows)


def _ratio(row: Row, above: str, below: str) -> float | None:
    return row[above] / row[below] if row.get(above) and row.get(below) else None


def _ratios(rows: list[Row], ours: str) -> list[str]:
    """Geometric means over the posteriors of how many times ahead of each peer we are."""
    table = {(row["posterior"], row["library"]): row for row in rows}
    names = [name for name in _MEANS if _cached(rows) or "cached" not in name]
    lines = [
        "",
        f"{ours}: times ahead, geometric means. A fit stopped at its limit counts as done then, or when its "
        f"steps would have been where these were counted (≈), with {ASKED} effective draws.",
        "",
        f"| of | {' | '.join(names)} | posteriors | at the limit |",
        "|---|" + "---:|" * (len(names) + 2),
    ]
    peers = [library for library in LIBRARIES if "ppgen" not in library]
    for peer in peers:
        pairs = [
            (table[posterior, ours], table[posterior, peer])
            for posterior, library in table
            if library == peer and (posterior, ours) in table
        ]
        pairs = [
            (one, other)
            for one, other in pairs
            if "second" in one and not any("failure" in row for row in (one, other))
        ]
        if not pairs:
            continue
        scores = [(_scores(one), _scores(other)) for one, other in pairs]
        ratios = zip(*([b / a for a, b in zip(*pair, strict=True)] for pair in scores), strict=True)
        means = [statistics.geometric_mean(column) for column in ratios]
        if not _cached(rows):  # it was not asked for
            means = [mean for mean, name in zip(means, _MEANS, strict=True) if "cached" not in name]
        late = sum("cold" not in other or "second" not in other for _, other in pairs)
        lines.append(f"| {peer} | {' | '.join(f'{mean:.1f}' for mean in means)} | {len(pairs)} | {late} |")
    return lines


def _scores(row: Row) -> list[float]:
    """Seconds, and seconds an effective draw, each with what the limit says where it was reached."""
    late = row.get("scaled", row["limit"])
    cold = row.get("cold", late)
    cached = row.get("cached") or cold
    second = row.get("second", late)
    ess, second_ess = row.get("ess", ASKED), row.get("second_ess", ASKED)
    return [cold, cached, second, cold / ess, cached / ess, second / second_ess]
