"""Pyro programs that learn on JAX: the recorded loss is the loss, and what cannot be recorded is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppgen.data
from ppgen.errors import UnsupportedProgram
from ppgen.inference.training import train
from ppgen.inference.training.checkpoint import Checkpoint
from ppgen.inference.training.job import Job
from ppgen.inference.training.log import Log
from ppgen.inference.training.lowered_learner import LoweredLearner
from ppgen.inference.training.rows import Rows
from ppgen.inference.training.settings import Optimizer, Plan
from ppgen.inference.training.torch_learner import TorchLearner
from ppgen.models import VAE, NeuralSplineFlow, Transformer
from ppgen.program import bounds
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch
from ppgen.program.lowering.recording import record_loss

DIGITS = ppgen.data.load("digits")
FAMILIES = {
    "vae": lambda: VAE((8, 8), levels=17, hidden=(32,), latent_dim=4, likelihood="discretized_logistic"),
    "vae-full": lambda: VAE((8, 8), levels=17, hidden=(16,), latent_dim=3, posterior="full"),
    "transformer": lambda: Transformer((8, 8), levels=17, width=16, layers=2, heads=2),
    "flow": lambda: NeuralSplineFlow((8, 8), levels=17, hidden=(32,), transforms=2),
}


def loss_of(family):
    rows = find_language("pyro").rows
    if family.objectives[0] == "likelihood":
        return lambda batch: -bounds.log_density(rows, family.model, batch)
    return lambda batch: -bounds.elbo(bounds.log_joints(rows, family.model, family.guide, batch))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_recorded_loss_equals_the_eager_one_at_the_same_noise(name):
    family = FAMILIES[name]()
    loss, rows = loss_of(family), torch.from_numpy(DIGITS.train[:16])
    family.train()
    # Validation is control flow; training switches it off.
    scope = pyro.get_param_store().scope()
    with scope, pyro.validation_enabled(False), torch.random.fork_rng(), jax.enable_x64(True):
        loss(Batch(rows))
        parameters = list(family.parameters())
        torch.manual_seed(1)
        recording = record_loss(lambda x: loss(Batch(x)), rows, parameters=parameters)
        torch.manual_seed(1)
        eager = loss(Batch(rows))
        gradients = torch.autograd.grad(eager.mean(), parameters, allow_unused=True)

        def replayed(arrays):
            noise = [jnp.asarray(draw.numpy()) for draw in recording.drawn]
            return recording.in_jax(jnp.asarray(rows.numpy()), *arrays, *noise)

        arrays = [jnp.asarray(p.detach().numpy()) for p in parameters]
        values, back = jax.vjp(jax.jit(replayed), arrays)
        (slopes,) = back(jnp.full(len(rows), 1 / len(rows), values.dtype))
    np.testing.assert_allclose(np.asarray(values), eager.detach().numpy(), rtol=1e-5)
    for gradient, slope in zip(gradients, slopes, strict=True):
        if gradient is not None:
            scale = gradient.abs().max().item()
            np.testing.assert_allclose(np.asarray(slope), gradient.numpy(), atol=1e-3 * scale)


def test_noise_that_jax_draws_has_the_distribution_that_torch_was_asked_for():
    def noisy(x):
        normal = 3 + 2 * torch.randn(20_000) + torch.empty(20_000).normal_(1.0, 0.5)
        return x * normal, torch.rand(20_000), nn.functional.dropout(torch.ones(20_000), 0.3)

    with torch.random.fork_rng():
        recording = record_loss(noisy, torch.ones(()), parameters=[])
    keys = jax.random.split(jax.random.key(0), len(recording.noise))
    noise = [draw.draw(key) for draw, key in zip(recording.noise, keys, strict=True)]
    normal, uniform, dropped = (np.asarray(value) for value in recording.in_jax(jnp.ones(()), *noise))
    assert normal.mean() == pytest.approx(4, abs=0.06)
    assert normal.std() == pytest.approx(4.25**0.5, abs=0.06)
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.01)
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert dropped.max() == pytest.approx(1 / 0.7)


def test_draws_whose_law_is_learnt_have_the_moments_and_gradients_of_torchs():
    """Derivatives of means with respect to the parameter, known in closed form; what is discrete has none."""
    n = 5000
    laws = {
        "gamma": (lambda a: dist.Gamma(a, 2.0).rsample((n,)), 1.5, 0.5),  # a / 2
        "exponential": (lambda a: dist.Exponential(a).rsample((n,)), 1 / 3, -1 / 9),
        "rate": (lambda a: torch.empty(n).exponential_(2.0) * a, 1.5, 0.5),
        "mixture": (
            lambda a: dist.MixtureSameFamily(
                dist.Categorical(torch.stack([a, a.detach().new_ones(())])),
                dist.Normal(torch.tensor([0.0, 4.0]), torch.tensor([0.1, 0.1])),
            ).sample((n,)),
            1.0,
            0.0,
        ),
        "poisson": (lambda a: dist.Poisson(a).sample((n,)), 3.0, 0.0),
        "binomial": (lambda a: dist.Binomial(4, a / 4).sample((n,)), 3.0, 0.0),
        "bernoulli": (lambda a: dist.Bernoulli(a / 4).sample((n,)), 0.75, 0.0),
    }
    parameter = torch.tensor(3.0, requires_grad=True)
    for name, (draw, mean, slope) in laws.items():
        with pyro.validation_enabled(False), torch.random.fork_rng():
            recording = record_loss(lambda draw=draw: draw(parameter), parameters=[parameter])
        with jax.enable_x64(True):
            noise = recording.draw_noise(jax.random.key(0))
            mean_of = jax.jit(lambda a, noise, r=recording: r.in_jax(a, *noise).astype(float).mean())
            found = jax.value_and_grad(mean_of)(3.0, noise)
            replayed = recording.in_jax(jnp.array(3.0), *(jnp.asarray(x.numpy()) for x in recording.drawn))
        assert found[0] == pytest.approx(mean, abs=0.08 * max(1.0, mean)), name
        assert found[1] == pytest.approx(slope, abs=0.04), name
        # At what torch has drawn, JAX has the same values.
        expected = recording.in_torch(parameter.detach(), *recording.drawn)
        np.testing.assert_allclose(replayed, expected, rtol=1e-5)


def test_no_gradient_flows_through_what_torch_holds():
    weight = torch.tensor(2.0, requires_grad=True)

    def held(x):
        with torch.no_grad():
            still = weight * x
        return weight * x + still + (weight * x).detach()

    recording = record_loss(held, torch.tensor(3.0), parameters=[weight])
    value, slope = jax.value_and_grad(lambda w: recording.in_jax(jnp.array(3.0), w))(jnp.array(5.0))
    assert (float(value), float(slope)) == (45.0, 3.0)


@pytest.mark.parametrize("name", ["vae", "flow"])
def test_compiled_training_learns_as_well_and_leaves_its_weights_in_torch(name):
    losses, models = {}, {}
    for choice in ("never", "always"):
        models[choice] = family = FAMILIES[name]()
        run = train(family, DIGITS, epochs=3, compile=choice, progress=False)
        losses[choice] = run.history[-1].valid
    assert losses["always"] == pytest.approx(losses["never"], rel=0.03)
    compiled = models["always"].log_prob(DIGITS.valid, samples=1).mean()
    assert -compiled == pytest.approx(losses["always"], rel=0.02)
    assert not models["always"].training


def test_compiled_training_is_repeatable_and_goes_on_from_a_checkpoint(tmp_path):
    settings = {"epochs": 2, "compile": "always", "average": 0.9, "progress": False}
    first, second = FAMILIES["vae"](), FAMILIES["vae"]()
    rows = DIGITS.train[:200]
    train(first, rows, **settings)
    train(second, rows, **settings, checkpoint=tmp_path / "run", checkpoint_minutes=0.0)
    third = FAMILIES["vae"]()
    train(third, rows, **settings, checkpoint=tmp_path / "run", resume=True)
    for other in (second, third):
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_compiled_program_of_a_users_own_gives_its_parameters_back():
    def coin(x):
        p = pyro.param("p", torch.tensor(0.5), constraint=dist.constraints.unit_interval)
        unused = pyro.param("unused", torch.ones(2))
        assert unused.shape == (2,)
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Bernoulli(p).expand([1]).to_event(1), obs=x.float())

    flips = np.array([[1], [1], [1], [0]] * 16)
    run = train(coin, flips, epochs=60, learning_rate=0.05, compile="always", progress=False)
    assert run.params["p"] == pytest.approx(0.75, abs=0.1)
    np.testing.assert_array_equal(run.params["unused"], [1, 1])


# -- what cannot be compiled -----------------------------------------------------------------------------


class Counting(nn.Module):
    """A loss that changes from call to call."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, x):
        pyro.module("counting", self)
        self.calls += 1
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(self.weight * self.calls, 1.0).expand([2]).to_event(1), obs=x)


class StraightThrough(torch.autograd.Function):
    """Rounds, and pretends that it did not."""

    @staticmethod
    def forward(x):
        return x.round()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def rounding(x):
    weight = pyro.param("weight", torch.tensor(1.3))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(StraightThrough.apply(weight), 1.0).expand([2]).to_event(1), obs=x)


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def forward(self, x):
        pyro.module("normalised", self)
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(self.net(x.detach()), 1.0).to_event(1), obs=x)


def branching(x):
    weight = pyro.param("weight", torch.tensor(1.0))
    loc = weight if weight > 0 else -weight
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).expand([2]).to_event(1), obs=x)


REFUSED = {
    "a state of its own": (Counting, "in its record|changes from call"),
    "a gradient of its own": (lambda: rounding, "gradient its operations do not show"),
    "batch normalisation": (Normalised, "buffers"),
    "control flow": (lambda: branching, "needs the numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_record_cannot_hold_is_refused_and_trained_by_torch_otherwise(name, monkeypatch):
    make, message = REFUSED[name]
    rows = np.random.default_rng(0).normal(size=(64, 2))
    with pytest.raises(UnsupportedProgram, match=message):
        train(make(), rows, epochs=1, compile="always", progress=False)
    monkeypatch.setattr("ppgen.inference.training.torch_learner.WORTH_COMPILING", 1)
    assert train(make(), rows, epochs=1, progress=False).best_epoch == 1  # "auto" falls back on torch


def test_auto_compiles_long_plans_alone(monkeypatch):
    made = []
    build = LoweredLearner.__init__
    monkeypatch.setattr(
        LoweredLearner, "__init__", lambda self, *a, **k: (made.append(1), build(self, *a, **k))[1]
    )
    rows = DIGITS.train[:64]
    train(FAMILIES["vae"](), rows, epochs=2, progress=False)
    assert not made
    monkeypatch.setattr("ppgen.inference.training.torch_learner.WORTH_COMPILING", 4)
    train(FAMILIES["vae"](), rows, epochs=2, progress=False)
    assert made


def test_the_learners_of_both_engines_take_the_same_steps():
    """Without noise, AdamW on torch and on JAX are the same sequence of numbers."""
    rows = np.random.default_rng(0).normal(size=(6, 16, 3)).astype(np.float32)

    def build():
        torch.manual_seed(0)
        net = nn.Linear(3, 3)
        optimizer = Optimizer(0.05, 0.01, 0.5, "cosine", 0.9)
        loss = lambda batch: (net(batch.x) - batch.x.flip(-1)).square().sum(-1)  # noqa: E731
        return net, TorchLearner(loss, [net], (rows[0], None), optimizer, 6, 0)

    with torch.random.fork_rng():
        (net, eager), (twin, inner) = build(), build()
    nowhere = Checkpoint(None, {}, minutes=1.0, resume=False)
    flat, plan = rows.reshape(-1, 3), Plan(1, 16, None, 0)
    data = Rows(flat, flat[:8])
    job = Job("linear", data, plan, inner.optimizer, None, {}, nowhere, Log(None), progress=False)
    lowered = LoweredLearner(inner, job)
    eager_losses = np.concatenate([eager.steps(batch[None], None).losses for batch in rows])
    lowered_losses = np.concatenate([lowered.steps(rows[i : i + 3], None).losses for i in (0, 3)])
    np.testing.assert_allclose(lowered_losses, eager_losses, rtol=1e-5)
    eager.restore(eager.snapshot())
    lowered.restore(lowered.snapshot())
    np.testing.assert_allclose(twin.weight.detach(), net.weight.detach(), rtol=1e-4, atol=1e-6)
