"""What CONTRIBUTING says of extensions, done once each.

A posterior method stands in test_methods.py, a family in test_own_family.py, a language in
test_languages.py with toy_language.py; here are an objective, a metric, a dataset and an ATen operation.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from jax.scipy.special import bessel_jn
from scipy import special, stats

import ppgen
from ppgen.data import catalog
from ppgen.errors import UnsupportedProgram
from ppgen.evaluation import sample_quality
from ppgen.evaluation.quality import Measurement
from ppgen.models import FVSBN
from ppgen.program import read_density
from ppgen.program.lowering import aten


@dataclass(frozen=True)
class PowerLikelihood:
    r"""Maximise :math:`\sum_i p(x_i)^a / a`, which rare rows move less than they move the likelihood."""

    name: ClassVar[str] = "power_likelihood"

    power: float = 0.5

    def __call__(self, subject, batch):
        return -(self.power * subject.log_density(batch)).exp() / self.power


def test_an_objective():
    """Of one bit that is on in 4 of 5 rows the odds are 4^(1 / (1 - 1/2)) = 16."""
    rows = (np.arange(500) % 5 > 0).astype(int)[:, None]
    data = ppgen.data.Dataset("bits", rows, rows, rows, "discrete", 2)
    bit = FVSBN((1,), 2)
    options = {"epochs": 80, "learning_rate": 0.1, "batch_size": 100, "patience": None, "progress": False}
    ppgen.train(bit, data, objective=PowerLikelihood(), **options)
    assert np.exp(bit.log_prob([[1]]).values[0]) == pytest.approx(16 / 17, abs=0.01)


def difference_of_means(real, generated, seed):
    """How far apart the means lie, with the interval that independent rows give."""
    del seed
    apart = np.linalg.norm(np.mean(real.values, 0) - np.mean(generated.values, 0))
    variance = np.var(real.values, 0).sum() / len(real.values) + np.var(generated.values, 0).sum() / len(
        generated.values
    )
    return Measurement(
        name="difference of means",
        value=apart,
        interval=(max(0.0, apart - 2 * variance**0.5), apart + 2 * variance**0.5),
        stderr=variance**0.5,
        n=len(generated.values),
        n_real=len(real.values),
        spec=real.spec,
        better="lower",
        how="Euclidean",
    )


def test_a_metric(monkeypatch):
    class Shifted:
        shape, levels = (3,), None

        def sample(self, n, seed=0):
            return np.random.default_rng(seed).normal(1.0, 1.0, size=(n, 3))

    monkeypatch.setattr(sample_quality, "METRICS", (*sample_quality.METRICS, difference_of_means))
    rows = np.random.default_rng(1).normal(size=(400, 3))
    card = ppgen.evaluate({"shifted": Shifted()}, ppgen.data.load(rows), generated=100, baselines=False)
    found = {figure.name: figure for figure in card["shifted"].quality}["difference of means"]
    assert found.interval[0] < 3**0.5 < found.interval[1]


def test_a_dataset(monkeypatch):
    monkeypatch.setattr(catalog, "_CATALOG", dict(catalog._CATALOG))

    @catalog._dataset("dice", "pairs of dice that show the same number; made up")
    def dice(name, source):
        rows = np.repeat(np.random.default_rng(0).integers(0, 6, (100, 1)), 2, axis=1)
        return ppgen.data.Dataset(name, *np.split(rows, [70, 85]), "discrete", 6, source)

    assert "dice" in ppgen.data.names()
    assert ppgen.data.describe()["dice"].startswith("pairs of dice")
    data = ppgen.data.load("dice")
    assert (data.shape, data.levels, len(data.train), len(data.test)) == ((2,), 6, 70, 15)


def test_an_aten_operation(monkeypatch):
    def wave(y):
        x = pyro.sample("x", dist.Normal(torch.tensor(0.0).double(), 1.0))
        pyro.sample("y", dist.Normal(torch.special.bessel_j0(x), 1.0), obs=y)

    data = {"y": np.array(0.3)}
    with pytest.raises(UnsupportedProgram, match="bessel_j0"):
        read_density(wave, data)
    mine = {"special_bessel_j0": lambda x: bessel_jn(x, v=0)[0]}
    monkeypatch.setattr(aten, "OPERATIONS", aten.OPERATIONS | mine)
    density = read_density(wave, data)
    expected = stats.norm.logpdf(0.7) + stats.norm.logpdf(0.3, special.j0(0.7))
    assert float(density.log_prob(np.array([0.7]))) == pytest.approx(expected, abs=1e-6)
    with jax.enable_x64(True):
        slope = jax.grad(lambda z: density.graph(density.inputs, z).log_joint)(jnp.array([0.7]))[0]
    assert slope == pytest.approx(-0.7 + (0.3 - special.j0(0.7)) * -special.j1(0.7), abs=1e-5)
