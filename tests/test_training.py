"""Training: what the loop promises, for families and for a user's own Pyro programs."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as ndist
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
    StorageError,
    TrainingError,
    TrainingWarning,
    UnknownName,
    UnsupportedProgram,
)
from ppgen.inference.training import train
from ppgen.inference.training.checkpoint import Checkpoint
from ppgen.inference.training.loop import Steps, fit
from ppgen.inference.training.objectives.deep_belief import Greedy
from ppgen.inference.training.rows import Rows
from ppgen.inference.training.settings import Plan
from ppgen.models import VAE, NeuralSplineFlow, Transformer
from ppgen.program import bounds


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


@pytest.mark.quick
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
        self.done = 0

    keeps_last = False

    def batches_per_call(self):
        return 1

    def steps(self, x, label):
        self.done += len(x)
        loss = next(self.losses)
        if isinstance(loss, BaseException):
            raise loss
        return Steps(np.array([loss]))

    def evaluate(self, x, label):
        return next(self.valid)

    def snapshot(self):
        return {"done": np.array(self.done)}

    def restore(self, snapshot):
        self.done = int(snapshot["done"])

    def state(self):
        return self.snapshot()

    def resume(self, state):
        self.restore(state)


class Silent:
    def step(self, count):
        pass

    def epoch(self, record):
        pass


def run_script(losses, valid, patience=None):
    learner = Script(losses, valid)
    rows = Rows(np.zeros((4, 1)), np.zeros((4, 1)))
    plan = Plan(epochs=10, batch_size=2, patience=patience, seed=0)
    nowhere = Checkpoint(None, {}, minutes=1.0, resume=False)
    return learner, lambda: fit(learner, rows, plan, Silent(), nowhere)


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
    assert learner.done == 2 * best  # two batches an epoch


def test_ctrl_c_keeps_the_best_parameters_so_far():
    learner, go = run_script([3.0, 3.0, 2.0, 2.0, 1.0, KeyboardInterrupt()], [5.0, 6.0])
    result = go()
    assert (result.stopped, result.best_epoch, len(result.history), learner.done) == ("interrupted", 1, 2, 2)


def test_ctrl_c_in_the_first_epoch_keeps_what_there_is():
    learner, go = run_script([3.0, KeyboardInterrupt()], [])
    result = go()
    assert (result.stopped, result.best_epoch, result.history, learner.done) == ("interrupted", 0, (), 2)


def test_a_loss_that_is_not_finite_names_step_and_epoch_and_keeps_the_last_good_parameters():
    learner, go = run_script([3.0, 3.0, 2.0, math.nan], [5.0])
    with pytest.raises(TrainingError, match="nan in epoch 2, at step 2.*Lower learning_rate"):
        go()
    assert learner.done == 2


def test_a_validation_that_is_not_finite_is_an_error_too():
    learner, go = run_script([3.0, 3.0, 2.0, 2.0], [5.0, math.inf])
    with pytest.raises(TrainingError, match="inf in epoch 2, at its validation"):
        go()
    assert learner.done == 2


def test_ctrl_c_in_train_warns_and_returns(monkeypatch):
    vae = build()
    calls = iter(range(10_000))
    genuine = bounds.elbo

    def interrupted(joints):
        if next(calls) == 30:
            raise KeyboardInterrupt
        return genuine(joints)

    monkeypatch.setattr(bounds, "elbo", interrupted)
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
    with numpyro.plate("rows", len(x)):
        numpyro.sample("x", ndist.Normal(jnp.zeros(2), 1.0).to_event(1), obs=x)


def numpyro_mixture(x):
    """The NumPyro twin of mixture."""
    loc = numpyro.param("loc", jnp.zeros(2))
    scale = numpyro.param("scale", jnp.ones(2), constraint=ndist.constraints.positive)
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", ndist.Normal(0.0, 1.0))
        numpyro.sample("x", ndist.Normal(loc + z[:, None], scale).to_event(1), obs=x)


def numpyro_guide(x):
    slope = numpyro.param("slope", jnp.zeros(2))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", ndist.Normal(x @ slope, 0.7))


@pytest.mark.parametrize(
    ("model", "guide"), [(mixture, mixture_guide), (numpyro_mixture, numpyro_guide)], ids=["pyro", "numpyro"]
)
@pytest.mark.parametrize("objective", ["elbo", "iwae", "renyi", "wake_sleep"])
def test_every_bound_fits_a_linear_gaussian_program_in_either_language(model, guide, objective):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 1)) + [4.0, -4.0] + 0.5 * rng.normal(size=(300, 2))
    settings = {"epochs": 30, "learning_rate": 0.1, "progress": False}
    run = train(model, rows, guide=guide, objective=objective, **settings)
    assert run.objective == objective
    np.testing.assert_allclose(run.params["loc"], rows.mean(0), atol=0.3)
    assert run.history[run.best_epoch - 1].valid < 3.1  # 2.2 is the entropy of the rows


def test_wake_sleep_trains_a_guide_with_discrete_draws():
    """Two far clusters: their centres can only be learned if the guide tells them apart."""
    rng = np.random.default_rng(1)
    rows = np.where(rng.random((200, 1)) < 0.3, 3.0, -3.0) + 0.5 * rng.normal(size=(200, 1))

    def clusters(x):
        loc = pyro.param("loc", torch.tensor([-1.0, 1.0]))
        weight = pyro.param("weight", torch.tensor(0.5), constraint=dist.constraints.unit_interval)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Bernoulli(weight))
            pyro.sample("x", dist.Normal(loc[z.long()], 0.5).expand([len(x)]), obs=x[:, 0])

    def tell_apart(x):
        slope = pyro.param("slope", torch.tensor(0.1))
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=slope * x[:, 0]))

    with pytest.raises(UnsupportedProgram, match="wake_sleep"):
        train(clusters, rows, guide=tell_apart, progress=False)
    run = train(
        clusters, rows, guide=tell_apart, objective="wake_sleep", epochs=30, learning_rate=0.1, progress=False
    )
    np.testing.assert_allclose(run.params["loc"], [-3, 3], atol=0.3)
    assert run.params["weight"] == pytest.approx((rows > 0).mean(), abs=0.06)


def test_a_numpyro_programs_parameters_are_handed_back_constrained():
    rows = np.random.default_rng(0).normal(size=(100, 2))
    run = train(numpyro_mixture, rows, guide=numpyro_guide, epochs=3, progress=False)
    assert set(run.params) == {"loc", "scale", "slope"}
    assert (run.params["scale"] > 0).all()
    bound = numpyro.handlers.substitute(numpyro_mixture, data=run.params)
    trace = numpyro.handlers.trace(numpyro.handlers.seed(bound, 0)).get_trace(jnp.asarray(rows))
    np.testing.assert_array_equal(trace["scale"]["value"], run.params["scale"])


# -- averages, checkpoints, logs ---------------------------------------------------------------------------


def subjects():
    return {
        "pyro family": (build, {"data": twins()}),
        "pyro program": (lambda: mixture, {"data": ROWS, "guide": mixture_guide}),
        "numpyro program": (lambda: numpyro_mixture, {"data": ROWS, "guide": numpyro_guide}),
    }


def learned(subject, run):
    return run.params or {name: tensor.numpy() for name, tensor in subject.state_dict().items()}


class Killed(BaseException):
    """What stands for the end of the process: nothing in the loop catches it."""


@pytest.mark.parametrize("name", ["pyro family", "pyro program", "numpyro program"])
@pytest.mark.parametrize("when", [3, 11])
def test_a_killed_run_goes_on_bit_for_bit(name, when, tmp_path, monkeypatch):
    make, arguments = subjects()[name]
    settings = {"epochs": 6, "batch_size": 6, "average": 0.9, "learning_rate": 0.05, "progress": False}
    whole = make()
    expected = train(whole, **arguments, **settings)

    loop = "ppgen.inference.training.loop._Run._check_steps"
    calls = iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr("ppgen.inference.training.jax_learner.MOST_STEPS", 2)
        patch.setattr(loop, lambda self, steps: _kill(next(calls), when))
        with pytest.raises(Killed):
            train(make(), **arguments, **settings, checkpoint=tmp_path / "run", checkpoint_minutes=0.0)
    again = make()
    resumed = train(again, **arguments, **settings, checkpoint=tmp_path / "run", resume=True)
    before, after = learned(whole, expected), learned(again, resumed)
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    assert [record.valid for record in resumed.history] == [record.valid for record in expected.history]
    assert [record.train for record in resumed.history] == pytest.approx(
        [record.train for record in expected.history], rel=1e-12
    )


def _kill(call, when):
    if call == when:
        raise Killed


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    settings = {"epochs": 1, "checkpoint": tmp_path / "run", "progress": False}
    train(build(), twins(), **settings)
    with pytest.raises(StorageError, match="holds a training already.*--resume"):
        train(build(), twins(), **settings)
    with pytest.raises(StorageError, match="learning_rate=0.003.*learning_rate=0.01"):
        train(build(), twins(), **settings, learning_rate=0.01, resume=True)
    with pytest.raises(StorageError, match="seed"):
        train(build(seed=1), twins(), **settings, seed=1, resume=True)
    with pytest.raises(StorageError, match="family"):
        train(Transformer((4,), levels=2, width=8, layers=1, heads=2), twins(), **settings, resume=True)
    assert train(build(), twins(), **settings, resume=True).best_epoch == 1  # finished: nothing to do


def test_averaged_parameters_are_what_is_kept():
    last, averaged = build(), build()
    settings = {"epochs": 3, "learning_rate": 0.05, "patience": None, "progress": False}
    train(last, twins(), **settings)
    train(averaged, twins(), **settings, average=0.99)
    assert not same(weights(last), weights(averaged))


@pytest.mark.parametrize("name", ["pyro program", "numpyro program"])
def test_the_history_is_written_to_csv_as_it_comes(name, tmp_path):
    make, arguments = subjects()[name]
    log = tmp_path / "history.csv"
    for _ in range(2):  # a second run begins the file anew
        run = train(make(), **arguments, epochs=3, log=log, progress=False)
    lines = log.read_text().splitlines()
    assert lines[0] == "epoch,seconds,train,valid"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert float(lines[-1].split(",")[3]) == run.history[-1].valid


def test_a_numpyro_loss_that_is_not_finite_keeps_the_last_good_parameters():
    def explodes(x):
        w = numpyro.param("w", jnp.ones(()))
        with numpyro.plate("rows", len(x)):
            numpyro.factor("energy", -jnp.log(w - 0.9) * x[:, 0] ** 2)

    with pytest.raises(TrainingError, match="nan in epoch 1"):
        train(explodes, ROWS, learning_rate=0.5, schedule="constant", progress=False)


# -- bad input -------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(20, 2))
DIGITS = ppgen.data.load("digits")

BAD_CALLS = [
    (lambda: train(build(), twins(), epochs=0), InvalidArgument, "epochs", "an integer, at least 1"),
    (lambda: train(build(), twins(), batch_size=0), InvalidArgument, "batch_size", "an integer, at least 1"),
    (lambda: train(build(), twins(), patience=0), InvalidArgument, "patience", "an integer, at least 1"),
    (lambda: train(build(), twins(), samples=0), InvalidArgument, "samples", "an integer, at least 1"),
    (lambda: train(build(), twins(), learning_rate=-1.0), InvalidArgument, "learning_rate", "above 0"),
    (lambda: train(build(), twins(), learning_rate=math.nan), InvalidArgument, "learning_rate", "above 0"),
    (lambda: train(build(), twins(), weight_decay=-1.0), InvalidArgument, "weight_decay", "at least 0"),
    (lambda: train(build(), twins(), seed=-1), InvalidArgument, "seed", "at least 0"),
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
    (lambda: train(Transformer((2,)), ROWS, samples=3), InvalidArgument, "samples", "no options"),
    (lambda: train(mixture, ROWS), ProgramError, "guide", "latent sites 'z'"),
    (lambda: train(mixture, ROWS, guide=parameterless), ProgramError, "guide", "no site 'z'"),
    (lambda: train(parameterless, ROWS), TrainingError, "program", "no parameters"),
    (lambda: train(lambda: None, ROWS), ProgramError, "program", "without arguments"),
    (lambda: train(build(), twins(), batch_size=1000), InvalidArgument, "batch_size", "batch_size=108"),
    (lambda: train(build(), twins(), average=1.0), InvalidArgument, "average", "average=0.999"),
    (lambda: train(build(), twins(), alpha=0.3), UnknownName, "option of elbo", "samples"),
    (lambda: train(build(), twins(), resume=True), InvalidArgument, "resume", "checkpoint"),
    (lambda: train(build(), twins(), labels=np.zeros(3, int)), DataError, "labels", "one per row"),
    (lambda: train(numpyro_mixture, ROWS), ProgramError, "guide", "latent sites 'z'"),
    (lambda: train(numpyro_program, ROWS), TrainingError, "program", "no parameters"),
    (lambda: train(mixture, ROWS, objective="elbo"), TrainingError, "objective", "without guide"),
    (lambda: train(mixture, ROWS, guide=mixture_guide, objective="cd"), TrainingError, "objective", "jax"),
    (lambda: train(numpyro_mixture, ROWS, objective="up_down"), TrainingError, "objective", "without above"),
    (
        lambda: train(numpyro_mixture, ROWS, guide=numpyro_guide, objective="cd"),
        InvalidArgument,
        "guide",
        "own density",
    ),
    (
        lambda: train(build(), twins(), objective=Greedy()),
        TrainingError,
        "objective",
        "for a VAE without above",
    ),
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
