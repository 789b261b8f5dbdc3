"""Hostile and damaged files that are taken, and not yet refused: each test states what is right.

A strict expected failure turns red as soon as the fault is mended: take the mark away then.
"""

import os
import stat
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import ppgen
from ppgen.errors import PpgenError, StorageError


@pytest.fixture
def vae():
    return ppgen.models.VAE((3,), levels=2, latent_dim=1, hidden=(4,))


@pytest.mark.parametrize(
    ("family", "settings"),
    [("GAN", {"levels": 4}), ("RealNVP", {"levels": 4}), ("RBM", {"levels": 2})],
)
@pytest.mark.xfail(
    strict=True, raises=pytest.fail.Exception, reason="weights that are NaN are loaded without a word"
)
def test_weights_that_are_no_numbers_are_refused(family, settings, tmp_path):
    path = ppgen.save(getattr(ppgen.models, family)((3,), **settings), tmp_path / "m.ppgen")
    with safe_open(path, "numpy") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    broken = {k: np.full_like(v, np.nan) if v.dtype.kind == "f" else v for k, v in tensors.items()}
    save_file(broken, path, header)
    with pytest.raises(StorageError):
        ppgen.load(path)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a symbolic link is replaced, its target stays as it was"
)
def test_a_symbolic_link_is_followed(vae, tmp_path):
    target, link = tmp_path / "target.ppgen", tmp_path / "link.ppgen"
    target.write_bytes(b"old")
    link.symlink_to(target)
    ppgen.save(vae, link)
    assert link.is_symlink()
    assert ppgen.load(target).shape == (3,)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a pipe or device is replaced by a file")
def test_a_pipe_stays_a_pipe(vae, tmp_path):
    path = tmp_path / "pipe.ppgen"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that a writer would not wait
    try:
        ppgen.save(vae, path)
    except PpgenError:
        pass  # as good: nothing was done to it
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def normal_mean(y, note=None):
    numpyro.sample("y", dist.Normal(numpyro.sample("mu", dist.Normal(0, 3)), 1.0), obs=y)


@pytest.fixture
def saved(tmp_path):
    post = ppgen.infer(normal_mean, {"y": np.ones(5)}, "laplace", draws=400, progress=False)
    return post.save(tmp_path / "post.nc")


@pytest.mark.xfail(
    strict=True, raises=pytest.fail.Exception, reason="a file may name other files as its storage"
)
@pytest.mark.filterwarnings("ignore:The 'phony_dims'")
def test_a_posterior_does_not_read_other_files(saved, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"password")
    with h5py.File(saved, "r+") as file:
        file["ppgen"].create_dataset("data.note", shape=(8,), dtype="u1", external=[(str(secret), 0, 8)])
    with pytest.raises(StorageError):
        ppgen.Posterior.load(saved, normal_mean)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a process that cannot write a posterior dies in HDF5"
)
def test_a_full_disk_is_an_error_and_no_crash(tmp_path):
    script = f"""
        import resource, signal, warnings
        import numpy as np, numpyro, numpyro.distributions as dist, ppgen
        def program(y):
            numpyro.sample("y", dist.Normal(numpyro.sample("mu", dist.Normal(0, 3)), 1.0), obs=y)
        post = ppgen.infer(program, {{"y": np.ones(5)}}, "laplace", progress=False)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # bytes: as if the disk were full
        try:
            post.save({str(tmp_path / "post.nc")!r})
        except ppgen.errors.StorageError:
            print("refused")
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout.strip()) == (0, "refused")
