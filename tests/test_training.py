"""Training: what the loop promises, for families and for a user's own Pyro programs."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam

import ppgen.data
from ppgen.data import Dataset
from ppgen.errors import (
    DataError,
    InvalidArgument,
    ProgramError,
    TrainingError,
    TrainingWarning,
    UnknownName,
    UnsupportedProgram,
)
from ppgen.inference.training import train
from ppgen.inference.training.loop import Plan, fit
from ppgen.models import VAE, NeuralSplineFlow, Transformer


def build(seed=0):
    return VAE((4,), levels=2, latent_dim=2, hidden=(16,), seed=seed)


def twins(n=120):
    """Rows of four bits that are all the same."""
    return np.random.default_rng(0).integers(0, 2, size=(n, 1)).repeat(4, axis=1)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# -- families --------------------------------------------------------------------------------------------


def test_training_makes_the_rows_likelier():
    vae = build()
    before = vae.log_prob(twins()).mean()
    run = train(vae, twins(), epochs=60, batch_size=16, learning_rate=0.01, progress=False)
    assert vae.log_prob(twins()).mean() > before + 1
    assert run.history[run.best_epoch - 1].valid < run.history[0].valid
    assert [record.epoch for record in run.history] == list(range(1, len(run.history) + 1))
    assert 0 < run.history[0].seconds < run.seconds
    assert not vae.training
    assert "best epoch" in repr(run)


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_same_seed_trains_the_same_model_and_leaves_the_random_state(objective):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    models = [build() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, twins(), epochs=2, objective=objective, seed=seed, progress=False)
    assert same(weights(models[0]), weights(models[1]))
    assert not same(weights(models[0]), weights(models[2]))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_training_twice_goes_on_in_the_same_units_and_adds_up():
    flow = NeuralSplineFlow((2,), hidden=(8,), transforms=1)
    rows = ppgen.data.load("two_moons").train[:200]
    train(flow, rows, epochs=1, progress=False)
    loc, facts = flow.loc.clone(), flow.trained
    train(flow, rows + 5, epochs=2, progress=False)
    assert torch.equal(flow.loc, loc)
    assert flow.trained.epochs == 3
    assert flow.trained.seconds > facts.seconds


def test_continuous_densities_are_in_the_units_of_the_data():
    rows = ppgen.data.load("two_moons").train[:400]
    small, large = (NeuralSplineFlow((2,), hidden=(16,), transforms=1) for _ in range(2))
    train(small, rows, epochs=2, progress=False)
    train(large, 1000 * rows + 7, epochs=2, progress=False)
    shift = small.log_prob(rows).mean() - large.log_prob(1000 * rows + 7).mean()
    assert shift == pytest.approx(2 * math.log(1000), abs=1e-2)


def test_a_dataset_without_validation_trains_to_the_last_epoch():
    data = Dataset("twins", train=twins(), valid=twins()[:0], test=twins(), kind="discrete", levels=2)
    run = train(build(), data, epochs=3, progress=False)
    assert (run.best_epoch, run.stopped, run.history[-1].valid) == (3, "epochs", None)


def test_patience_stops_early():
    vae = build()
    noise = np.random.default_rng(1).integers(0, 2, size=(40, 4))
    data = Dataset("noise", train=twins(40), valid=noise, test=noise, kind="discrete", levels=2)
    run = train(vae, data, epochs=300, patience=3, learning_rate=0.02, progress=False)
    assert run.stopped == "early"
    assert len(run.history) == run.best_epoch + 3


def test_the_progress_bar_shows_epochs_and_losses(capfd):
    train(build(), twins(), epochs=2, progress=True)
    shown = capfd.readouterr().err
    assert "VAE" in shown
    assert "epoch 2/2" in shown
    train(build(), twins(), epochs=1, progress=False)
    assert capfd.readouterr().err == ""


# -- stopping by force -----------------------------------------------------------------------------------


class Script:
    """A learner whose losses are written down in advance; its one parameter counts the steps."""

    def __init__(self, losses, valid):
        self.losses, self.valid = iter(losses), iter(valid)
        self.steps = 0

    def step(self, batch):
        self.steps += 1
        loss = next(self.losses)
        if isinstance(loss, BaseException):
            raise loss
        return loss

    def evaluate(self, rows):
        return next(self.valid)

    def snapshot(self):
        return self.steps

    def restore(self, snapshot):
        self.steps = snapshot


class Silent:
    def step(self):
        pass

    def epoch(self, record):
        pass


def run_script(losses, valid, patience=None):
    learner = Script(losses, valid)
    rows = np.zeros((4, 1))
    plan = Plan(epochs=10, batch_size=2, patience=patience, seed=0)
    return learner, lambda: fit(learner, rows, rows, plan, Silent())


@pytest.mark.parametrize(
    ("valid", "patience", "stopped", "best", "epochs"),
    [
        ([5, 4, 6, 7, 8], 2, "early", 2, 4),
        ([5, 4, 6, 3, 8, 9], 2, "early", 4, 6),
        ([5, 4, 6, 7, 8, 9, 9, 9, 9, 9], None, "epochs", 2, 10),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 1, "epochs", 10, 10),
    ],
)
def test_the_parameters_of_the_best_epoch_are_kept(valid, patience, stopped, best, epochs):
    learner, go = run_script([1.0] * 20, map(float, valid), patience)
    result = go()
    assert (result.stopped, result.best_epoch, len(result.history)) == (stopped, best, epochs)
    assert learner.steps == 2 * best  # two batches an epoch


def test_ctrl_c_keeps_the_best_parameters_so_far():
    learner, go = run_script([3.0, 3.0, 2.0, 2.0, 1.0, KeyboardInterrupt()], [5.0, 6.0])
    result = go()
    assert (result.stopped, result.best_epoch, len(result.history), learner.steps) == ("interrupted", 1, 2, 2)


def test_ctrl_c_in_the_first_epoch_keeps_what_there_is():
    learner, go = run_script([3.0, KeyboardInterrupt()], [])
    result = go()
    assert (result.stopped, result.best_epoch, result.history, learner.steps) == ("interrupted", 0, (), 2)


def test_a_loss_that_is_not_finite_names_step_and_epoch_and_keeps_the_last_good_parameters():
    learner, go = run_script([3.0, 3.0, 2.0, math.nan], [5.0])
    with pytest.raises(TrainingError, match="nan in epoch 2, at step 2.*Lower learning_rate"):
        go()
    assert learner.steps == 2


def test_a_validation_that_is_not_finite_is_an_error_too():
    learner, go = run_script([3.0, 3.0, 2.0, 2.0], [5.0, math.inf])
    with pytest.raises(TrainingError, match="inf in epoch 2, at its validation"):
        go()
    assert learner.steps == 2


def test_ctrl_c_in_train_warns_and_returns(monkeypatch):
    vae = build()
    elbo = "ppgen.inference.training.elbo.elbo"
    calls = iter(range(10_000))
    from ppgen.program.bounds import elbo as genuine

    def interrupted(*args):
        if next(calls) == 30:
            raise KeyboardInterrupt
        return genuine(*args)

    monkeypatch.setattr(elbo, interrupted)
    with pytest.warns(TrainingWarning, match="interrupted after"):
        run = train(vae, twins(), epochs=100, batch_size=16, progress=False)
    assert run.stopped == "interrupted"
    assert run.best_epoch >= 1
    assert not vae.training
    assert vae.trained.epochs == len(run.history)
    assert vae.sample(2).shape == (2, 4)


def test_a_diverging_family_keeps_finite_parameters():
    vae = VAE((4,), hidden=(8,), latent_dim=2)
    rows = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.raises(TrainingError, match="loss: got"):
        train(vae, rows, epochs=50, learning_rate=1e6, clip=1e12, schedule="constant", progress=False)
    assert all(torch.isfinite(tensor).all() for tensor in vae.state_dict().values())
    assert not vae.training


# -- a user's own programs -------------------------------------------------------------------------------


def mixture(x):
    """Two latent scales; every parameter in Pyro's store."""
    loc = pyro.param("loc", torch.zeros(2))
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(loc + z[:, None], scale).to_event(1), obs=x)


def mixture_guide(x):
    slope = pyro.param("slope", torch.zeros(2))
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(x @ slope, 0.7))


def test_a_program_with_a_guide_is_trained_in_a_scope_of_its_own():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 1)) + [4.0, -4.0] + 0.5 * rng.normal(size=(300, 2))
    store = pyro.get_param_store()
    with store.scope():
        pyro.param("loc", torch.tensor([99.0, 99.0]))  # a user's own, of the same name
        run = train(mixture, rows, guide=mixture_guide, epochs=40, learning_rate=0.1, progress=False)
        assert pyro.param("loc").tolist() == [99.0, 99.0]
        np.testing.assert_allclose(run.params["loc"], [4, -4], atol=0.3)
        assert (run.params["scale"] > 0).all()
        with run.scope():
            assert pyro.param("loc").tolist() == pytest.approx(run.params["loc"].tolist())
            assert (pyro.param("scale") > 0).all()
        assert pyro.param("loc").tolist() == [99.0, 99.0]
        assert set(store.keys()) == {"loc"}
    assert run.objective == "elbo"


def test_a_program_without_latent_sites_is_trained_by_likelihood():
    net = torch.nn.Linear(1, 1)
    x = np.linspace(-1, 1, 200)[:, None]
    rows = np.concatenate([x, 3 * x + 1], axis=1)

    def regression(batch):
        pyro.module("net", net)
        with pyro.plate("rows", len(batch)):
            pyro.sample("y", dist.Normal(net(batch[:, :1]), 0.1).to_event(1), obs=batch[:, 1:])

    run = train(regression, rows, epochs=80, learning_rate=0.05, batch_size=32, progress=False)
    assert run.objective == "likelihood"
    assert net.weight.item() == pytest.approx(3, abs=0.1)
    assert net.bias.item() == pytest.approx(1, abs=0.1)


def test_a_program_and_a_guide_may_be_pyro_modules():
    class Decoder(PyroModule):
        def __init__(self):
            super().__init__()
            self.net = PyroModule[torch.nn.Sequential](torch.nn.Linear(1, 2), torch.nn.Dropout(0.1))
            self.scale = PyroParam(torch.ones(()), constraint=dist.constraints.positive)

        def forward(self, x):
            with pyro.plate("rows", len(x)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(self.net(z[:, None]), self.scale).to_event(1), obs=x)

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 1)) + [2.0, -2.0] + 0.3 * rng.normal(size=(200, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = Decoder()
    run = train(decoder, rows, guide=mixture_guide, epochs=30, learning_rate=0.05, progress=False)
    assert run.history[-1].valid < run.history[0].valid - 1
    assert {"slope", "scale"} <= run.params.keys()
    assert decoder.net[0].bias.tolist() == pytest.approx([2, -2], abs=1)
    assert not decoder.training


def test_two_runs_of_a_program_start_from_the_same_place():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    first, second = (
        train(mixture, rows, guide=mixture_guide, epochs=2, progress=False).params for _ in range(2)
    )
    np.testing.assert_array_equal(first["loc"], second["loc"])


def parameterless(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1), obs=x)


def numpyro_program(x):
    import numpyro

    numpyro.sample("x", numpyro.distributions.Normal(0, 1), obs=x)


# -- bad input -------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(20, 2))
DIGITS = ppgen.data.load("digits")

BAD_CALLS = [
    (lambda: train(build(), twins(), epochs=0), InvalidArgument, "epochs", "positive integer"),
    (lambda: train(build(), twins(), batch_size=0), InvalidArgument, "batch_size", "positive integer"),
    (lambda: train(build(), twins(), patience=0), InvalidArgument, "patience", "positive integer"),
    (lambda: train(build(), twins(), samples=0), InvalidArgument, "samples", "positive integer"),
    (lambda: train(build(), twins(), learning_rate=-1.0), InvalidArgument, "learning_rate", "positive"),
    (lambda: train(build(), twins(), learning_rate=math.nan), InvalidArgument, "learning_rate", "positive"),
    (lambda: train(build(), twins(), weight_decay=-1.0), InvalidArgument, "weight_decay", "positive"),
    (lambda: train(build(), twins(), seed=-1), InvalidArgument, "seed", "from 0 up"),
    (lambda: train(build(), twins(), objective="elb"), UnknownName, "objective", "Did you mean 'elbo'"),
    (lambda: train(build(), twins(), guide=mixture_guide), InvalidArgument, "guide", "brings its own"),
    (lambda: train(build(), DIGITS), DataError, "data", r"VAE\(\(8, 8\)"),
    (lambda: train(build(), twins()[:1]), DataError, "data", "at least 2"),
    (lambda: train(build(), twins()[:0]), DataError, "data", "at least 2"),
    (lambda: train(build(), twins() + 1), DataError, "data", "integers 0 … 1"),
    (lambda: train(build(), twins() * 0.5), DataError, "data", "whole numbers"),
    (lambda: train(VAE((8, 8)), DIGITS), DataError, "data", r"VAE\(\(8, 8\), levels=17\)"),
    (lambda: train(VAE((8, 8), levels=9), DIGITS), DataError, "data", "integers 0 … 8"),
    (lambda: train(VAE((2,), levels=3), ppgen.data.load("two_moons")), DataError, "data", "levels"),
    (lambda: train(VAE((2,)), ROWS * np.nan), DataError, "data", "finite"),
    (lambda: train(VAE((2,)), ROWS * [1, 0]), DataError, "train", "constant columns"),
    (lambda: train(Transformer((2,)), ROWS, samples=3), InvalidArgument, "samples", "exact"),
    (lambda: train(mixture, ROWS), ProgramError, "guide", "latent sites 'z'"),
    (lambda: train(mixture, ROWS, guide=parameterless), ProgramError, "guide", "no site 'z'"),
    (lambda: train(parameterless, ROWS), TrainingError, "program", "no parameters"),
    (lambda: train(lambda: None, ROWS), ProgramError, "program", "without arguments"),
    (lambda: train(numpyro_program, ROWS), UnsupportedProgram, "program", "NumPyro"),
]


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD_CALLS)
def test_bad_input_is_named_before_training(call, error, argument, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument


@pytest.mark.slow
def test_two_moons_reaches_its_entropy():
    moons = ppgen.data.load("two_moons")
    flow = NeuralSplineFlow(moons.shape, hidden=(64, 64))
    train(flow, moons, epochs=15, batch_size=256, progress=False)
    assert 1.01 < -flow.log_prob(moons.test).mean() < 1.10
