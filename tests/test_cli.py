"""The command line, as a user types it."""

import json
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from ppgen import load, storage
from ppgen.cli import main

PROGRAM = """
import numpyro
import numpyro.distributions as dist

def schools(sigma, y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    numpyro.sample("y", dist.Normal(mu, sigma), obs=y)

def discrete(y):
    numpyro.sample("k", dist.Bernoulli(0.5))
"""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ppgen(folder, monkeypatch, capsys):
    """Run a command in the folder, in this process."""

    def run(line):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["ppgen", *line.split()])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main replaces it
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Done(int(stopped.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a program, its data, rows of the user's own, and a trained model."""
    path = tmp_path_factory.mktemp("cli")
    (path / "program.py").write_text(PROGRAM)
    (path / "data.json").write_text(json.dumps({"sigma": [15, 10, 16], "y": [28, 8, -3]}))
    np.savetxt(path / "rows.csv", np.random.default_rng(0).normal(size=(60, 2)), delimiter=",")
    train = "train vae --data digits-binary --epochs 2 --set latent_dim=4 --set hidden=32 --out vae.ppgen"
    command = [sys.executable, "-m", "ppgen", *train.split()]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Wrote vae.ppgen" in done.stdout
    return path


def test_lists(ppgen):
    for command, words in (
        ("models", "transformer"),
        ("models vae", "latent_dim"),
        ("datasets", "two_moons"),
        ("--help", "demo"),
    ):
        done = ppgen(command)
        assert done.returncode == 0
        assert words in done.stdout


def test_sample_writes_rows_and_a_picture(ppgen, folder):
    done = ppgen("sample vae.ppgen -n 10 --out s.npz --plot s.png")
    assert done.returncode == 0, done.stderr
    rows = np.load(folder / "s.npz")["samples"]
    assert rows.shape == (10, 8, 8)
    assert set(np.unique(rows)) <= {0, 1}
    assert (folder / "s.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_writes_a_scorecard(ppgen, folder):
    done = ppgen("evaluate vae.ppgen --data digits-binary --json c.json --html c.html")
    assert done.returncode == 0, done.stderr
    assert "vae" in done.stdout
    rows = {row["model"]: row for row in json.loads((folder / "c.json").read_text())["rows"]}
    assert rows["vae"]["kind"] == "lower_bound"
    assert 0.2 < rows["vae"]["bits_per_dim"] < 1.0
    assert "<html" in (folder / "c.html").read_text()


def test_train_on_a_file_of_ones_own(ppgen):
    done = ppgen("train flow --data rows.csv --epochs 1 --out flow.ppgen")
    assert done.returncode == 0, done.stderr
    done = ppgen("evaluate flow.ppgen --data rows.csv")
    assert done.returncode == 0, done.stderr


def test_train_on_pictures_of_ones_own(ppgen, folder):
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 255, (8 + i % 3, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{i:02}.png")
    done = ppgen("train vae --data pictures --size 4x4 --grey --lazy --epochs 1 --out p.ppgen")
    assert done.returncode == 0, done.stderr
    again = "ppgen evaluate p.ppgen --data pictures --size 4x4 --grey --lazy"
    assert again in " ".join(done.stdout.split())
    assert load(folder / "p.ppgen").shape == (4, 4)
    done = ppgen("train vae --data pictures --size 4 --out p.ppgen")
    assert done.returncode == 1
    assert "Write --size 32x32" in done.stderr


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_with_the_same_line(folder):
    """kill -9, in the middle of an epoch; then the same line with --resume."""
    line = "train vae --data digits-binary --epochs 4 --set latent_dim=4 --set hidden=32 --average 0.9"
    command = [sys.executable, "-m", "ppgen", *line.split()]
    checkpoint = ["--checkpoint", "run", "--checkpoint-minutes", "0"]
    whole = subprocess.run([*command, "--out", "whole.ppgen"], cwd=folder, capture_output=True, check=False)
    assert whole.returncode == 0
    killed = subprocess.Popen(
        [*command, *checkpoint, "--out", "killed.ppgen"], cwd=folder, stderr=subprocess.PIPE
    )
    _wait_for(folder / "run" / "training.ppgen", killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (folder / "killed.ppgen").exists()
    resumed = subprocess.run(
        [*command, *checkpoint, "--resume", "--out", "killed.ppgen"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    first, second = (storage.read(folder / f"{name}.ppgen").tensors for name in ("whole", "killed"))
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def _wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_infer_prints_a_summary_and_writes_netcdf(ppgen, folder):
    done = ppgen("infer program.py:schools --data data.json --method nuts --out post.nc")
    assert done.returncode == 0, done.stderr
    assert "r_hat" in done.stdout
    assert "mu" in done.stdout

    import arviz

    assert "mu" in arviz.from_netcdf(str(folder / "post.nc"), engine="h5netcdf").posterior


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train vea --data digits --out x.ppgen", "Did you mean 'vae'"),
        ("train vae --data digitz --out x.ppgen", "Did you mean 'digits'"),
        ("train vae --data digits --out missing/x.ppgen", "folder does not exist"),
        ("train vae --data digits --out x.ppgen --set latent=3", "Did you mean 'latent_dim'"),
        ("train vae --data digits --out x.ppgen --set latent_dim", "expected KEY=VALUE"),
        ("train vae --data digits --out x.ppgen --set latent_dim=many", "latent_dim: got 'many'"),
        ("train vae --data eight_schools --out x.ppgen", "the data of one Bayesian program"),
        ("sample none.ppgen", "none.ppgen"),
        ("sample program.py", "program.py"),
        ("sample vae.ppgen --set temperature=0.5", "temperature"),
        ("evaluate vae.ppgen --data digits", "levels"),
        ("infer program.py:nothing --data data.json", "It has: schools"),
        ("infer nowhere.py:model --data data.json", "does not exist"),
        ("infer program.py:discrete --data data.json", "data: got the names"),
        ("infer program.py:schools --data rows.csv", "cannot be read as JSON"),
        ("infer program.py:schools --data data.json --method nutz", "Did you mean 'nuts'"),
        ("infer program.py:schools --data data.json --set target=0.9", "target_accept"),
        ("demo --out data.json", "expected a folder"),
    ],
)
def test_errors_are_one_message_without_a_traceback(ppgen, arguments, words):
    done = ppgen(arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in " ".join(done.stderr.split())


def test_a_truncated_file_is_refused(ppgen, folder):
    whole = (folder / "vae.ppgen").read_bytes()
    (folder / "half.ppgen").write_bytes(whole[: len(whole) // 2])
    done = ppgen("sample half.ppgen")
    assert done.returncode == 1
    assert "truncated" in done.stderr
