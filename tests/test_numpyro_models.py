"""The laws of the families written in NumPyro: one table of constructors, and what each entry must obey."""

import copy
import math
import pickle
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpyro
import pytest

from ppgen.inference.training import train
from ppgen.models import (
    DBN,
    DDPM,
    NCSN,
    RBM,
    BoltzmannMachine,
    EnergyModel,
    FlowMatching,
    MaskedDiffusion,
    ScoreSDE,
    load,
    save,
)
from ppgen.program.family import TrainableFamily

TINY = {"width": 16, "depth": 1}


@dataclass(frozen=True)
class Case:
    build: Any
    shape: tuple[int, ...]
    levels: int | None
    settings: dict[str, Any]

    def __call__(self, **settings):
        return self.build(self.shape, levels=self.levels, **self.settings, **settings)

    def rows(self, n=24, seed=0):
        rng = np.random.default_rng(seed)
        if self.levels is None:
            return rng.normal(3.0, 2.0, size=(n, *self.shape))
        return rng.integers(0, self.levels, size=(n, *self.shape))


NUMPYRO_TABLE = {
    "boltzmann": Case(BoltzmannMachine, (2, 2), 2, {}),
    "rbm": Case(RBM, (2, 2), 2, {"hidden": 3}),
    "rbm-categorical": Case(RBM, (3,), 4, {"hidden": 3}),
    "rbm-gaussian": Case(RBM, (2, 2), None, {"hidden": 3}),
    "dbn": Case(DBN, (2, 2), 2, {"hidden": (4, 3)}),
    "energy": Case(EnergyModel, (2,), None, {"hidden": (8,)}),
    "energy-image": Case(EnergyModel, (4, 3), 3, {"networks": "conv", "hidden": (2, 4)}),
    "ddpm": Case(DDPM, (2,), None, {"steps": 5, **TINY}),
    "ddpm-image": Case(DDPM, (4, 5), 3, {"steps": 5, "network": "unet", "width": 8, "depth": 1}),
    "ddpm-noise": Case(DDPM, (3,), 3, {"steps": 5, "prediction": "noise", "schedule": "cosine", **TINY}),
    "ncsn": Case(NCSN, (2, 2), None, {"steps": 5, **TINY}),
    "score-sde": Case(ScoreSDE, (2,), None, TINY),
    "flow-matching": Case(FlowMatching, (2, 2), None, TINY),
    "flow-matching-levels": Case(FlowMatching, (2,), 3, TINY),
    "masked-diffusion": Case(MaskedDiffusion, (2, 2), 3, TINY),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.quick] * (name == "rbm")) for name in NUMPYRO_TABLE],
    scope="module",
)
def case(request):
    return NUMPYRO_TABLE[request.param]


@pytest.fixture(scope="module")
def trained(case):
    family = case()
    train(family, case.rows(), epochs=2, batch_size=8, progress=False)
    return family


def leaves(family):
    return family.tensors()


def test_is_a_family(case):
    family = case()
    assert isinstance(family, TrainableFamily)
    assert (family.shape, family.levels, family.engine) == (case.shape, case.levels, "numpyro")


def test_same_seed_gives_the_same_weights(case):
    first, second, other = leaves(case()), leaves(case()), leaves(case(seed=1))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_samples_are_rows_of_the_data(case, trained):
    rows = trained.sample(20, seed=3)
    assert rows.shape == (20, *case.shape)
    if case.levels is None:
        assert rows.dtype == np.float64
        assert np.isfinite(rows).all()
    else:
        assert rows.dtype == np.int64
        assert 0 <= rows.min() <= rows.max() < case.levels
    np.testing.assert_array_equal(trained.sample(20, seed=3), rows)
    assert not np.array_equal(trained.sample(20, seed=4), rows)


def test_log_prob_of_a_batch_is_the_batch_of_log_probs(case, trained):
    rows = case.rows(6, seed=1)
    whole = trained.log_prob(rows)
    assert whole.values.dtype == np.float64
    assert whole.dims == math.prod(case.shape)
    assert whole.space == ("continuous" if case.levels is None else "discrete")
    single = np.concatenate([trained.log_prob(row[None]).values for row in rows])
    # A solver that chooses its steps in single precision turns rounding into its own tolerance.
    tolerance = 1e-3 if "solver" in whole.how or "flow" in whole.how else 1e-4
    for values, expected in (
        (single, whole.values),
        (trained.log_prob(rows[::-1]).values, whole.values[::-1]),
    ):
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def test_saved_and_loaded_it_is_the_same_bit_for_bit(case, trained, tmp_path):
    copy_ = load(save(trained, tmp_path / "family.ppgen"))
    np.testing.assert_array_equal(copy_.sample(20, seed=3), trained.sample(20, seed=3))
    rows = case.rows(6, seed=2)
    np.testing.assert_array_equal(copy_.log_prob(rows).values, trained.log_prob(rows).values)
    assert copy_.config == trained.config
    assert copy_.trained == trained.trained
    assert trained.trained.seconds > 0


def test_pickled_or_copied_it_is_the_same_bit_for_bit(case, trained):
    rows = case.rows(6, seed=2)
    samples, log_p = trained.sample(5, seed=3), trained.log_prob(rows).values
    for twin in (pickle.loads(pickle.dumps(trained)), copy.deepcopy(trained)):
        np.testing.assert_array_equal(twin.sample(5, seed=3), samples)
        np.testing.assert_array_equal(twin.log_prob(rows).values, log_p)


def test_training_changes_a_copy_alone(case, trained):
    before = leaves(trained)
    twin = copy.deepcopy(trained)
    train(twin, case.rows(), epochs=1, batch_size=8, progress=False)
    assert not all(np.array_equal(before[name], leaves(twin)[name]) for name in before)
    assert all(np.array_equal(before[name], leaves(trained)[name]) for name in before)


def test_numpyro_runs_the_program(case, trained):
    rows = trained.rows(case.rows(5))
    trace = numpyro.handlers.trace(numpyro.handlers.seed(trained.model, jax.random.key(0))).get_trace(rows)
    assert any(site["type"] == "sample" and site["is_observed"] for site in trace.values())
    declared = [site["value"] for site in trace.values() if site["type"] == "param"]
    assert sum(leaf.size for leaf in jax.tree.leaves(declared)) == trained.n_parameters
    prior = numpyro.handlers.trace(numpyro.handlers.seed(trained.model, jax.random.key(0))).get_trace(n=3)
    assert all(len(site["value"]) == 3 for name, site in prior.items() if name == "x")
