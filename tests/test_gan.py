"""The laws of the implicit families: estimated divergences against closed forms, penalties, learning."""

import copy
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from ppgen.errors import DataError, InvalidArgument, NoLikelihood, ProgramError, UnknownName
from ppgen.evaluation.scoring import evaluate
from ppgen.inference.training import train
from ppgen.inference.training.checkpoint import Checkpoint
from ppgen.inference.training.game import Game
from ppgen.inference.training.job import Job
from ppgen.inference.training.log import Log
from ppgen.inference.training.objectives import Batch
from ppgen.inference.training.objectives.adversarial import DIVERGENCES, Adversarial
from ppgen.inference.training.objectives.penalties import r1_penalty, slopes_between
from ppgen.inference.training.objectives.wasserstein import Wasserstein
from ppgen.inference.training.rows import rows_for_program
from ppgen.inference.training.settings import Optimizer, Plan
from ppgen.inference.training.subject import subject_of
from ppgen.models import FGAN, GAN, WGAN, BiGAN, load, make, save
from ppgen.models.networks.critic import Critic
from ppgen.program.family import TrainableFamily
from ppgen.program.languages.language import find_language

PYRO = find_language("pyro")

SMALL = {"latent_dim": 2, "hidden": (8,)}

CASES = {
    "gan": (GAN, (2,), None, SMALL),
    "gan-levels": (GAN, (2, 3), 4, SMALL),
    "gan-image": (GAN, (4, 4), 2, {"latent_dim": 3, "networks": "conv", "hidden": (4, 8)}),
    "gan-spectral": (GAN, (3,), None, {**SMALL, "spectral": True}),
    "gan-classes": (GAN, (2,), None, {**SMALL, "classes": 3}),
    "fgan": (FGAN, (2,), None, {**SMALL, "divergence": "pearson"}),
    "wgan": (WGAN, (2,), None, SMALL),
    "wgan-image-classes": (
        WGAN,
        (5, 4, 2),
        17,
        {"networks": "conv", "hidden": (4, 4), "spectral": True, "classes": 2},
    ),
    "bigan": (BiGAN, (2,), None, SMALL),
    "bigan-image": (BiGAN, (4, 4), 9, {"latent_dim": 3, "networks": "conv", "hidden": (4, 8), "classes": 2}),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return CASES[request.param]


def build(case, **settings):
    family, shape, levels, own = case
    return family(shape, levels=levels, **{**own, **settings})


def rows_of(case, n=24, seed=0):
    _, shape, levels, own = case
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 2.0, (n, *shape)) if levels is None else rng.integers(0, levels, (n, *shape))
    return x, (np.arange(n) % own["classes"] if "classes" in own else None)


def learn(family, case, epochs=2, **settings):
    x, labels = rows_of(case)
    return train(family, x, labels=labels, epochs=epochs, batch_size=8, progress=False, **settings)


@pytest.fixture(scope="module")
def trained(case):
    family = build(case)
    learn(family, case)
    return family


# -- laws of every family --------------------------------------------------------------------------------


def test_is_a_family_at_rest(case):
    family = build(case)
    assert isinstance(family, TrainableFamily)
    assert not family.training
    assert family.config["seed"] == 0


def test_same_seed_gives_the_same_weights_and_leaves_the_random_state(case):
    state = torch.get_rng_state()
    first, second, other = (build(case, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_are_rows_of_the_data(case, trained):
    state = torch.get_rng_state()
    rows = trained.sample(40, seed=3)
    assert rows.shape == (40, *case[1])
    if case[2] is None:
        assert rows.dtype == np.float64
        assert np.isfinite(rows).all()
    else:
        assert rows.dtype == np.int64
        assert 0 <= rows.min() <= rows.max() < case[2]
    np.testing.assert_array_equal(trained.sample(40, seed=3), rows)
    assert not np.array_equal(trained.sample(40, seed=4), rows)
    assert torch.equal(torch.get_rng_state(), state)


def test_saved_and_loaded_it_is_the_same_bit_for_bit(case, trained, tmp_path):
    twin = load(save(trained, tmp_path / "gan.ppgen"))
    np.testing.assert_array_equal(twin.sample(20, seed=1), trained.sample(20, seed=1))
    assert all(torch.equal(twin.state_dict()[name], value) for name, value in trained.state_dict().items())
    assert twin.config == trained.config
    assert twin.trained == trained.trained
    if isinstance(trained, BiGAN):
        x, labels = rows_of(case)
        np.testing.assert_array_equal(twin.encode(x, label=labels), trained.encode(x, label=labels))


def test_the_program_has_a_latent_and_a_deterministic_row_and_no_likelihood(case):
    family = build(case)
    label = None if family.classes is None else torch.tensor([0, 1, 0])
    with pyro.get_param_store().scope(), torch.no_grad():
        tape = poutine.trace(family.model).get_trace(n=3, label=label)
    assert tape.nodes["z"]["value"].shape == (3, family.latent_dim)
    assert tape.nodes["x"]["infer"]["_deterministic"]
    assert tape.nodes["x"]["value"].shape == (3, *family.shape)
    tape.compute_log_prob()
    assert tape.nodes["x"]["log_prob"].abs().sum() == 0
    with pytest.raises(NoLikelihood, match=r"model\.sample.*divergence"):
        family.log_prob(rows_of(case)[0])


def test_neither_reads_nor_changes_the_global_parameter_store(case, trained):
    store, samples = pyro.get_param_store(), trained.sample(5)
    with store.scope():
        trained.register()
        names = list(store.keys())
        for name in names:
            store[name] = torch.full_like(store[name], math.pi)
        np.testing.assert_array_equal(trained.sample(5), samples)
    assert not set(names) & set(store.keys())


def test_a_copy_has_parameters_of_its_own(case):
    family = build(case)
    twin = copy.deepcopy(family)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert not np.array_equal(family.sample(3), twin.sample(3))
    assert len(list(twin.parameters())) == len(list(family.parameters()))


def test_training_moves_both_players_and_reports_both(case):
    family = build(case)
    before = copy.deepcopy(family.state_dict())
    run = learn(family, case, critic_steps=1)
    moved = {
        name.split(".")[0] for name, value in family.state_dict().items() if (value != before[name]).any()
    }
    assert {"generator", "critic"} <= moved
    assert isinstance(family, BiGAN) == ("encoder" in moved)
    assert set(run.history[0].measures) == {"divergence", "critic", "generator"}
    assert run.history[0].train == run.history[0].measures["divergence"]
    assert all(math.isfinite(value) for record in run.history for value in record.measures.values())


class Killed(BaseException):
    """What stands for the end of the process."""


def test_a_killed_run_goes_on_bit_for_bit(case, tmp_path, monkeypatch):
    settings = {"epochs": 3, "average": 0.9, "critic_steps": 2}
    whole, again = build(case), build(case)
    expected = learn(whole, case, **settings)
    calls = iter(range(100))

    def kill(self, steps):
        if next(calls) == 4:
            raise Killed

    folder = {"checkpoint": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr("ppgen.inference.training.loop._Run._check_steps", kill)
        with pytest.raises(Killed):
            learn(build(case), case, **settings, **folder, checkpoint_minutes=0.0)
    resumed = learn(again, case, **settings, **folder, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert [record.valid for record in resumed.history] == [record.valid for record in expected.history]


# -- divergences with known values -----------------------------------------------------------------------


def play(objective, program, data, *, guide=None, epochs=4, batch_size=1000, learning_rate=1e-2):
    """Train a program of one's own against the objective's critic."""
    rows, plan = rows_for_program(data, None, 0), Plan(epochs, batch_size, None, 0)
    optimizer = Optimizer(learning_rate, 0.0, 1.0, "cosine")
    nowhere = Checkpoint(None, {}, minutes=1.0, resume=False)
    job = Job("game", rows, plan, optimizer, None, {}, nowhere, Log(None), progress=False)
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(0)
        return job.fit(objective.learner(subject_of(PYRO, program, guide, None), job))


def network(inputs, width):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )


def gaussian(loc, scale):
    """A program without parameters."""
    loc = torch.as_tensor(loc)

    def program(x):
        with pyro.plate("rows", len(x)):
            return pyro.sample("x", dist.Normal(loc, scale).to_event(1))

    return program


DEFINITIONS = {  # as integrals, of densities p of the data and q of the samples
    "kl": lambda p, q: p * np.log(p / q),
    "reverse_kl": lambda p, q: q * np.log(q / p),
    "jensen_shannon": lambda p, q: 0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))),
    "pearson": lambda p, q: (p - q) ** 2 / q,
    "squared_hellinger": lambda p, q: (np.sqrt(p) - np.sqrt(q)) ** 2,
}


def exactly(f, loc, scale):
    return quad(lambda t: DEFINITIONS[f](norm.pdf(t), norm.pdf(t, loc, scale)), -10, 10)[0]


@pytest.mark.parametrize(("loc", "scale"), [(1.0, 1.0), (0.5, 1.5)])
@pytest.mark.parametrize("f", DIVERGENCES)
def test_the_estimate_between_two_gaussians_is_the_divergence(f, loc, scale):
    rows = np.random.default_rng(0).normal(size=(60_000, 1))
    with pyro.get_param_store().scope():
        fit = play(Adversarial(f=f, critic=network(1, 32)), gaussian([loc], scale), rows)
    exact = exactly(f, loc, scale)
    assert fit.history[-1].measures["divergence"] == pytest.approx(exact, rel=0.1)
    assert -fit.history[-1].valid == pytest.approx(exact, rel=0.1)  # of rows that the critic never saw


def test_the_definitions_have_the_closed_forms_of_the_literature():
    assert exactly("kl", 1.0, 1.0) == pytest.approx(0.5)
    assert exactly("kl", 0.5, 1.5) == pytest.approx(math.log(1.5) + (1 + 0.25) / (2 * 1.5**2) - 0.5)
    assert exactly("pearson", 1.0, 1.0) == pytest.approx(math.e - 1)
    assert exactly("squared_hellinger", 1.0, 1.0) == pytest.approx(2 - 2 * math.exp(-1 / 8))


@pytest.mark.parametrize("f", DIVERGENCES)
def test_the_variational_form_reaches_the_divergence_at_the_right_critic_and_never_more(f):
    """By quadrature, with critics around the best one: the ratio's own function, and shifts of it."""
    loc, scale = 0.5, 1.5
    t = np.linspace(-9, 9, 20_001)
    p, q = norm.pdf(t), norm.pdf(t, loc, scale)
    log_ratio = norm.logpdf(t) - norm.logpdf(t, loc, scale)
    best = {
        "kl": 1 + log_ratio,
        "reverse_kl": log_ratio,
        "jensen_shannon": log_ratio,
        "pearson": 2 * np.expm1(log_ratio),
        "squared_hellinger": log_ratio / 2,
    }[f]
    values = []
    for shift in (0.0, 0.1, -0.1, 0.1 * np.sin(t)):
        v = torch.as_tensor(best + shift)
        game = DIVERGENCES[f]
        integrand = p * game.on_data(v).numpy() - q * game.on_samples(v).numpy()
        values.append(np.trapezoid(integrand, t))
    assert values[0] == pytest.approx(exactly(f, loc, scale), rel=1e-6)
    assert max(values[1:]) < values[0]


@pytest.mark.parametrize("shift", [(3.0, 0.0), (1.0, -1.0)])
def test_the_wasserstein_estimate_between_shifted_gaussians_is_the_shift(shift):
    rows = np.random.default_rng(0).normal(size=(40_000, 2))
    objective = Wasserstein(critic=network(2, 64))
    with pyro.get_param_store().scope():
        fit = play(objective, gaussian(shift, 1.0), rows, epochs=6, batch_size=500)
    assert fit.history[-1].measures["divergence"] == pytest.approx(math.hypot(*shift), rel=0.05)


# -- penalties and normalisation -------------------------------------------------------------------------


def test_slopes_are_those_computed_by_hand():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3)).astype(np.float32)
    real, fake = rng.normal(size=(2, 5, 3)).astype(np.float32)
    share = rng.uniform(size=5).astype(np.float32)
    score = lambda x: (x @ torch.as_tensor(a) * x).sum(-1)  # noqa: E731, slope (a + aᵀ) x
    points = share[:, None] * real + (1 - share)[:, None] * fake
    by_hand = np.linalg.norm(points @ (a + a.T), axis=1)
    tensors = [torch.as_tensor(part) for part in (real, fake, share)]
    slopes = slopes_between(score, [tensors[0]], [tensors[1]], tensors[2])
    np.testing.assert_allclose(slopes.detach().numpy(), by_hand, rtol=1e-5)
    at_real = np.linalg.norm(real @ (a + a.T), axis=1) ** 2 / 2
    np.testing.assert_allclose(r1_penalty(score, [tensors[0]]).detach().numpy(), at_real, rtol=1e-5)


def test_slopes_count_latent_values_and_differentiate_by_the_critics_weights():
    w, v = torch.tensor([3.0, 0.0], requires_grad=True), torch.tensor([4.0], requires_grad=True)
    parts = [torch.randn(6, 2), torch.randn(6, 1)]
    others = [torch.randn(6, 2), torch.randn(6, 1)]
    slopes = slopes_between(lambda x, z: x @ w + z @ v, parts, others)
    torch.testing.assert_close(slopes, torch.full((6,), 5.0))
    ((slopes - 1) ** 2).mean().backward()
    torch.testing.assert_close(w.grad, 2 * 4 * torch.tensor([3.0, 0.0]) / 5)  # 2 (‖w‖ - 1) w / ‖w‖
    torch.testing.assert_close(v.grad, 2 * 4 * torch.tensor([4.0]) / 5)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_spectral_normalisation_leaves_no_singular_value_above_one(kind):
    torch.manual_seed(0)
    critic = Critic(kind, (4, 4), (6, 6), classes=2, spectral=True)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(7.0)
    for _ in range(100):
        critic(torch.randn(3, 4, 4), label=torch.tensor([0, 1, 0]))
    layers = [module for module in critic.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert len(layers) == (3 if kind == "mlp" else 5)
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
        assert largest == pytest.approx(1.0, abs=1e-3)


def test_noise_is_on_the_critics_rows_in_training_alone():
    critic = Critic("mlp", (2,), (8,), noise=1.0)
    x = torch.zeros(4, 2)
    assert not torch.equal(critic(x), critic(x))
    critic.eval()
    assert torch.equal(critic(x), critic(x))


# -- what is learned -------------------------------------------------------------------------------------


def ring(n, seed):
    """Eight Gaussians of standard deviation 0.1 on a circle of radius 2."""
    rng = np.random.default_rng(seed)
    return CENTRES[rng.integers(0, 8, n)] + 0.1 * rng.normal(size=(n, 2))


ANGLES = np.arange(8) * math.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)

GAMES = {
    "gan": (GAN, {"epochs": 32, "batch_size": 128, "learning_rate": 1e-3}),
    "wgan": (
        WGAN,
        {"epochs": 64, "batch_size": 256, "learning_rate": 2e-3, "critic_steps": 3, "critic_rate": 2.0},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_every_mode_of_a_ring_is_covered(name):
    """One seed; benchmarks/ring.py has three."""
    family, settings = GAMES[name]
    gan = family((2,), latent_dim=2, hidden=(128, 128))
    train(gan, ring(8800, 0), penalty=0.1, average=0.99, patience=None, progress=False, **settings)
    distance = np.linalg.norm(gan.sample(2500)[:, None] - CENTRES, axis=-1)
    near = distance.min(1) < 0.3
    counts = np.bincount(distance.argmin(1)[near], minlength=8)
    assert (counts >= 25).all()
    assert near.mean() > 0.3


def test_a_program_of_ones_own_learns_by_its_samples_alone():
    def program(x):
        loc = pyro.param("loc", torch.tensor([0.0, 0.0]))
        scale = pyro.param("scale", torch.tensor([1.0, 1.0]), constraint=dist.constraints.positive)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.deterministic("x", loc + scale * z, event_dim=1)

    rows = np.random.default_rng(0).normal([1.0, -1.0], [0.5, 2.0], size=(4000, 2))
    objective = Wasserstein(critic=network(2, 32), critic_steps=2)
    with pyro.get_param_store().scope():
        fit = play(objective, program, rows, epochs=12, batch_size=128, learning_rate=2e-2)
        loc, scale = pyro.param("loc").detach(), pyro.param("scale").detach()
    # The last turn of a game is kept, and the players still circle: half a standard deviation of each column.
    np.testing.assert_array_less(np.abs(loc.numpy() - [1.0, -1.0]), [0.25, 1.0])
    np.testing.assert_allclose(scale.numpy(), [0.5, 2.0], atol=0.6)
    assert fit.history[-1].measures["divergence"] < fit.history[0].measures["divergence"]


def test_the_energy_distance_is_that_of_gaussians_in_closed_form_and_lowest_for_the_right_one():
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    programs = [(0.0, 1.0), (0.7, 1.0), (0.0, 2.0), (0.0, 0.4)]
    games = (Game(PYRO.rows, gaussian([loc], scale), None, network(1, 4)) for loc, scale in programs)
    right, *wrong = (game.energy_distance(Batch(x)).mean().item() for game in games)
    assert right == pytest.approx(0.0, abs=0.01)
    assert right < min(wrong) - 0.02
    # E|N(0, v)| = √(2v / π), with v = 1 + 4 between the two, 2 and 8 within them
    exact = math.sqrt(2 / math.pi) * (2 * math.sqrt(5) - math.sqrt(2) - math.sqrt(8))
    assert wrong[1] == pytest.approx(exact, abs=0.06)


def test_with_classes_the_energy_distance_sees_rows_of_the_wrong_class():
    label = torch.arange(600) % 2
    x = (label * 4.0)[:, None] + torch.randn(600, 1, generator=torch.Generator().manual_seed(0))

    def program(right):
        return lambda x, label: (label if right else 1 - label)[:, None] * 4.0 + torch.randn(len(x), 1)

    torch.manual_seed(0)
    games = (Game(PYRO.rows, program(right), None, network(1, 4)) for right in (True, False))
    right, wrong = (game.energy_distance(Batch(x, label)).mean() for game in games)
    assert right == pytest.approx(0.0, abs=0.05)
    assert wrong > 1.0


def test_a_row_is_drawn_of_the_class_that_is_asked_for():
    centres = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 2000, p=[0.6, 0.2, 0.2])
    rows = centres[labels] + 0.3 * rng.normal(size=(2000, 2))
    gan = GAN((2,), classes=3, latent_dim=2, hidden=(64, 64))
    settings = {"batch_size": 128, "learning_rate": 2e-3, "average": 0.99, "penalty": 0.1}
    train(gan, rows, labels=labels, epochs=15, progress=False, **settings)

    def nearest(samples):
        return np.linalg.norm(samples[:, None] - centres, axis=-1).argmin(1)

    for label in range(3):
        samples = gan.sample(300, label=label)
        assert (nearest(samples) == label).mean() > 0.98
        np.testing.assert_allclose(samples.mean(0), centres[label], atol=0.2)
        np.testing.assert_allclose(samples.std(0), 0.3, atol=0.15)
    shares = np.bincount(nearest(gan.sample(2000)), minlength=3) / 2000
    np.testing.assert_allclose(shares, np.bincount(labels) / 2000, atol=0.05)


@pytest.mark.slow
def test_a_bigans_encoder_inverts_its_generator():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 1)) * [[1.0, 2.0, -1.0]] + 0.1 * rng.normal(size=(3000, 3))
    gan = BiGAN((3,), latent_dim=1, hidden=(64, 64))
    settings = {
        "batch_size": 128,
        "learning_rate": 2e-3,
        "average": 0.99,
        "penalty": 0.01,
        "critic_rate": 2.0,
    }
    # One seed in five or so ends in a worse equilibrium, with 0.07 to 0.2 unexplained.
    run = train(gan, rows, epochs=40, seed=3, progress=False, **settings)
    assert run.history[run.best_epoch - 1].valid < 0.1 * run.history[0].valid
    unexplained = ((gan.reconstruct(rows) - rows) ** 2).sum() / ((rows - rows.mean(0)) ** 2).sum()
    assert unexplained < 0.05
    z = gan.encode(rows)[:, 0]
    assert abs(np.corrcoef(z, rows[:, 0])[0, 1]) > 0.97
    assert z.std() == pytest.approx(1.0, abs=0.2)


# -- bad input -------------------------------------------------------------------------------------------


def tiny(**settings):
    return GAN((2,), **{**SMALL, **settings})


ROWS = np.random.default_rng(0).normal(size=(40, 2))

BAD_CALLS = [
    (lambda: GAN((2,), latent_dim=0), InvalidArgument, "latent_dim", "at least 1"),
    (lambda: GAN((2,), hidden=()), InvalidArgument, "hidden", "one or more"),
    (lambda: GAN((2,), networks="conv"), InvalidArgument, "networks", "images"),
    (lambda: GAN((4, 4), networks="conv", hidden=(4, 4, 4)), InvalidArgument, "hidden", "from 1 to 2"),
    (lambda: GAN((2,), classes=1), InvalidArgument, "classes", "at least 2"),
    (lambda: FGAN((2,), divergence="kll"), UnknownName, "divergence", "Did you mean 'kl'"),
    (lambda: make("wgan", (2,), spectral="perhaps"), InvalidArgument, "spectral", "True or False"),
    (lambda: tiny().sample(0), InvalidArgument, "n", "at least 1"),
    (lambda: tiny().sample(2, label=1), InvalidArgument, "label", "without classes"),
    (lambda: tiny(classes=2).sample(2, label=2), DataError, "label", "2"),
    (lambda: tiny(classes=2).model(n=2), InvalidArgument, "label", "class of each row"),
    (lambda: train(tiny(classes=2), ROWS), DataError, "labels", "without labels"),
    (lambda: train(tiny(), ROWS, objective="elbo"), UnknownName, "objective", "'adversarial'"),
    (
        lambda: train(tiny(), ROWS, samples=3),
        UnknownName,
        "option of adversarial",
        "'critic_steps'",
    ),
    (lambda: train(tiny(), ROWS, critic=lambda x: x), InvalidArgument, "critic", "torch module"),
    (lambda: train(tiny(), ROWS, critic=nn.Linear(2, 2)), InvalidArgument, "critic", "one number per row"),
    (lambda: train(GAN((2,), 3, **SMALL), ROWS), DataError, "data", "integers 0 … 2"),
    (lambda: train(tiny(), ROWS[:1]), DataError, "data", "at least 2"),
    (lambda: Adversarial(f="total_variation"), UnknownName, "f", "'pearson'"),
    (lambda: Adversarial(critic_steps=0), InvalidArgument, "critic_steps", "at least 1"),
    (lambda: Adversarial(penalty=-1.0), InvalidArgument, "penalty", "at least 0"),
    (lambda: Adversarial(critic_rate=0.0), InvalidArgument, "critic_rate", "above 0"),
    (lambda: Wasserstein(penalty=0.0), InvalidArgument, "penalty", "above 0"),
    (lambda: Wasserstein(critic_steps=1.5), InvalidArgument, "critic_steps", "at least 1"),
    (lambda: play(Adversarial(), gaussian([0.0, 0.0], 1.0), ROWS), InvalidArgument, "critic", "none"),
    (
        lambda: play(Adversarial(critic=network(2, 4)), lambda x: None, ROWS, batch_size=8),
        ProgramError,
        "program",
        "returns NoneType",
    ),
    (
        lambda: play(Adversarial(critic=network(2, 4)), lambda x: x[:3], ROWS, batch_size=8),
        ProgramError,
        "program",
        "as many rows",
    ),
    (
        lambda: play(
            Adversarial(critic=network(2, 4)),
            gaussian([0.0, 0.0], 1.0),
            ROWS,
            guide=lambda x: pyro.sample("w", dist.Delta(x, event_dim=2)),
            batch_size=8,
        ),
        ProgramError,
        "guide",
        "'w' that the program lacks",
    ),
]


@pytest.mark.parametrize(("call", "error", "argument", "message"), BAD_CALLS)
def test_bad_input_is_named(call, error, argument, message, wrong_types):
    with pyro.get_param_store().scope(), pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument


def test_the_scorecard_lists_it_without_a_likelihood():
    gan = tiny()
    card = evaluate({"gan": gan}, ROWS, samples=4, progress=False)
    assert card["gan"].kind is None
    assert card["gan"].bits_per_dim is None
    assert "model.sample" in card["gan"].how
    assert card["gan"].sample_seconds > 0


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(monkeypatch):
    gan, rows = tiny(), ROWS.copy()
    from ppgen.errors import TrainingError

    calls = iter(range(100))
    value = Adversarial.value
    monkeypatch.setattr(
        Adversarial,
        "value",
        lambda self, real, fake: value(self, real, fake) * (math.nan if next(calls) == 10 else 1.0),
    )
    with pytest.raises(TrainingError, match="not finite|nan"):
        train(gan, rows, epochs=5, batch_size=8, progress=False)
    assert all(torch.isfinite(parameter).all() for parameter in gan.parameters())


def test_the_front_door_trains_a_program_of_ones_own_against_a_critic():
    def program(x):
        loc = pyro.param("loc", torch.tensor([0.0, 0.0]))
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.deterministic("x", loc + z, event_dim=1)

    rows = np.random.default_rng(0).normal([1.0, -1.0], 1.0, size=(1000, 2))
    for objective in ("adversarial", "wasserstein"):
        settings = {"critic": network(2, 16), "critic_steps": 1, "critic_rate": 2.0}
        settings |= {"batch_size": 64, "learning_rate": 1e-2}
        run = train(program, rows, objective=objective, epochs=20, progress=False, **settings)
        np.testing.assert_allclose(run.params["loc"], [1.0, -1.0], atol=0.3)
        assert run.objective == objective
        assert set(run.history[0].measures) == {"divergence", "critic", "generator"}
