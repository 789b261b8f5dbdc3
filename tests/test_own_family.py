"""A family of the user's own: one class, and it trains, is evaluated, saved and loaded again."""

import equinox as eqx
import jax
import numpy as np
import numpyro
import numpyro.distributions as jax_dist
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppgen
from ppgen.cli import main
from ppgen.errors import InvalidArgument, StorageError, UnknownName
from ppgen.models import NADE, describe, make
from ppgen.models.family import CLASSES
from ppgen.models.module_family import ModuleFamily
from ppgen.models.pytree_family import PytreeFamily, PytreeProgram, draw_rows, score_rows
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

RNG = np.random.default_rng(0)
CLASSED = RNG.integers(0, 2, 300)
ROWS = (RNG.random((300, 4)) < np.where(CLASSED[:, None] == 1, 0.8, 0.3)).astype(int)


class Independent(ModuleFamily):
    """Entries that are independent, each with probabilities of its own."""

    summary = "independent entries; exact likelihood"
    objectives = ("likelihood",)

    levels: int = setting(least=2, kw_only=False, doc="how many values an entry can take")
    spread: float = setting(default=0.1, above=0.0, doc="of the first logits")
    classes: int | None = CLASSES

    def build(self):
        self.logits = nn.Parameter(self.spread * torch.randn(self.classes or 1, *self.shape, self.levels))

    def model(self, x=None, n=1, label=None):
        self.register()
        logits = self.logits[0] if label is None else self.logits[label]
        with pyro.plate("rows", n if x is None else len(x)):
            return pyro.sample("x", dist.Categorical(logits=logits).to_event(len(self.shape)), obs=x)

    def log_prob(self, x, *, label=None):
        def score(rows, label=None):
            logits = self.logits[0] if label is None else self.logits[label]
            return dist.Categorical(logits=logits).to_event(len(self.shape)).log_prob(rows)

        values = self.score_rows(x, score, label)
        return Likelihood(values, "exact", self.space, self.dims, how="independent entries")


class Logits(eqx.Module):
    """What the family in NumPyro learns."""

    values: jax.Array


class IndependentProgram(PytreeProgram):
    """Its program: one site, ``x``."""

    def model(self, x=None, n=1):
        with numpyro.plate("rows", n if x is None else len(x)):
            return numpyro.sample("x", self.registered().density(), obs=x)

    def density(self):
        return jax_dist.Categorical(logits=self.network.values).to_event(len(self.shape))


@eqx.filter_jit
def draw(program, key, size):
    return program.density().sample(key, (size,))


@eqx.filter_jit
def score(program, rows):
    return program.density().log_prob(rows)


class IndependentInJAX(PytreeFamily):
    """The same in NumPyro, without classes."""

    objectives = ("likelihood",)

    levels: int = setting(least=2, kw_only=False, doc="how many values an entry can take")
    spread: float = setting(default=0.1, above=0.0, doc="of the first logits")

    def build(self):
        values = self.spread * jax.random.normal(jax.random.key(self.seed), (*self.shape, self.levels))
        self.program = IndependentProgram.initial(Logits(values), self.shape, self.levels)

    def sample(self, n, *, seed=0):
        return draw_rows(self.program, n, seed, draw)

    def log_prob(self, x):
        values = score_rows(self.program, x, score)
        return Likelihood(values, "exact", self.space, self.dims, how="independent entries")


FAMILIES = {"torch": Independent, "jax": IndependentInJAX}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param].like(ROWS)


def test_it_trains_to_the_entropy_of_its_model(family):
    ppgen.train(family, ROWS, epochs=30, learning_rate=0.1, progress=False)
    share = ROWS.mean(0)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).sum()
    assert abs(-family.log_prob(ROWS).values.mean() - entropy) < 0.01
    np.testing.assert_allclose(family.sample(4000, seed=0).mean(0), share, atol=0.05)


def test_it_is_evaluated_saved_and_loaded(family, tmp_path):
    card = ppgen.evaluate({"mine": family}, ppgen.data.as_dataset(ROWS, splits=(0.5, 0.2, 0.3)), generated=0)
    assert "mine" in {row.model for row in card.rows}
    path = ppgen.save(family, tmp_path / "mine.ppgen")
    for loaded in (ppgen.load(path), ppgen.load(path, family=type(family))):
        assert type(loaded) is type(family)
        assert loaded.settings == family.settings
        np.testing.assert_array_equal(loaded.log_prob(ROWS).values, family.log_prob(ROWS).values)
        np.testing.assert_array_equal(loaded.sample(5, seed=1), family.sample(5, seed=1))


def test_it_is_found_by_its_name_and_not_listed_among_ours(family):
    name = type(family).__name__
    assert type(make(name, (4,), 2)) is type(family)
    assert name not in describe()


def test_with_classes_it_sums_them_out():
    data = ppgen.data.as_dataset(ROWS, labels=CLASSED)
    family = Independent.like(data, conditional=True)
    assert family.classes == 2
    ppgen.train(family, data, epochs=30, learning_rate=0.1, progress=False)
    shares = np.bincount(data.labels.train) / len(data.train)
    each = [family.log_prob(ROWS, label=y).values + np.log(shares[y]) for y in (0, 1)]
    np.testing.assert_allclose(family.log_prob(ROWS).values, np.logaddexp(*each), atol=1e-5)
    assert family.sample(50, label=1).mean() > family.sample(50, label=0).mean()


# -- files that name what is not there ---------------------------------------------------------------------


def test_a_file_of_a_family_that_is_not_defined_says_what_to_do(tmp_path):
    class Passing(Independent):
        pass

    path = ppgen.save(Passing((4,), 2), tmp_path / "passing.ppgen")
    Passing.name = "another"
    with pytest.raises(StorageError, match="import its class first, or write load") as caught:
        ppgen.load(path)
    assert isinstance(caught.value.__cause__, UnknownName)
    with pytest.raises(StorageError, match="Give that class"):
        ppgen.load(path, family=NADE)


def test_a_name_of_ours_is_taken(tmp_path):
    class Twin(Independent):
        name = "nade"

    with pytest.raises(InvalidArgument, match="a name of its own"):
        ppgen.save(Twin((4,), 2), tmp_path / "twin.ppgen")


@pytest.mark.parametrize("argument", ["program", "modules"])
def test_load_refuses_what_the_file_has_no_use_for(argument, tmp_path):
    path = ppgen.save(Independent((4,), 2), tmp_path / "mine.ppgen")
    with pytest.raises(InvalidArgument, match="Leave it out") as caught:
        ppgen.load(path, **{argument: {}})
    assert caught.value.argument == argument


def test_the_command_line_trains_it_once_it_is_defined(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", ROWS)
    line = "train Independent --data rows.npy --epochs 1 --set spread=0.2 --out mine.ppgen"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ppgen", *line.split()])
    monkeypatch.setattr("warnings.showwarning", lambda *_, **__: None)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert ppgen.load(tmp_path / "mine.ppgen").spread == 0.2
