"""The Bayesian programs beyond the nine references: held against filters, closed forms and published fits."""

import numpy as np
import pytest
from scipy.stats import dirichlet, halfnorm, multivariate_normal, norm, poisson
from sklearn.datasets import load_iris

import ppgen
from ppgen.models.bayesian.hidden_markov import poisson_hidden_markov
from ppgen.models.bayesian.hierarchical_regression import varying_slopes
from ppgen.models.bayesian.neural_network import neural_network
from ppgen.models.bayesian.probabilistic_pca import probabilistic_pca
from ppgen.models.bayesian.state_space import local_level
from ppgen.models.bayesian.topic_model import topic_model
from ppgen.program import read_density
from ppgen.program.density import float64

# The fits are short, or stand at one of several modes that mirror each other, and say so.
pytestmark = pytest.mark.filterwarnings("ignore::ppgen.errors.InferenceWarning")


def total(terms):
    """The sum over all entries of all sites."""
    return sum(np.asarray(term).sum() for term in terms.values())


# -- hidden Markov ---------------------------------------------------------------------------------------

RATE = np.array([15.5, 26.1])  # about the maximum-likelihood fit
STAY = np.array([[0.93, 0.07], [0.12, 0.88]])
START = np.array([0.6, 0.4])


@pytest.fixture(scope="module")
def earthquakes():
    data = {"count": ppgen.data.load("earthquakes")["count"][:30], "states": 2}
    density = read_density(poisson_hidden_markov, data)
    z = density.unconstrain({"log_rate": np.log(RATE), "transition": STAY, "start": START})
    return data["count"], density, np.asarray(z)


def forward_backward(count):
    """The log likelihood, and the probability of each state in each year."""
    emission = poisson.pmf(count[:, None], RATE)  # (T, states)
    ahead, behind, log_likelihood = [], [np.ones(2)], 0.0
    state = START
    for now in emission:
        state = state * now
        log_likelihood += np.log(state.sum())
        ahead.append(state / state.sum())
        state = ahead[-1] @ STAY
    for now in emission[:0:-1]:
        message = STAY @ (now * behind[-1])
        behind.append(message / message.sum())
    smoothed = np.array(ahead) * behind[::-1]
    return log_likelihood, smoothed / smoothed.sum(1, keepdims=True)


def test_hidden_states_are_summed_out_as_a_forward_filter_does(earthquakes):
    count, density, z = earthquakes
    found = total(density.log_likelihood(z))
    assert found == pytest.approx(forward_backward(count)[0], rel=1e-10)


def test_hidden_states_are_drawn_from_the_smoothing_distribution(earthquakes):
    count, density, z = earthquakes
    (drawn,) = density.infer_discrete(0, np.repeat(z[None], 4000, axis=0)).values()
    _, smoothed = forward_backward(count)
    np.testing.assert_allclose(drawn.reshape(4000, -1).mean(0), smoothed[:, 1], atol=0.035)


def test_rates_of_earthquakes_are_the_published_ones():
    """Zucchini and MacDonald (2009), section 3.5: the maximum-likelihood rates are 15.472 and 26.125."""
    data = dict(ppgen.data.load("earthquakes")) | {"states": 2}
    post = ppgen.infer(poisson_hidden_markov, data, method="laplace", progress=False)
    rate = post.draws["rate"].reshape(-1, 2)
    np.testing.assert_allclose(rate.mean(0), [15.472, 26.125], atol=0.5 * rate.std(0).max())
    assert (rate.std(0) < 1.5).all()


# -- state space -----------------------------------------------------------------------------------------


def test_level_of_the_nile_is_that_of_a_kalman_filter():
    """Given the scales the program is Gaussian: its integral by its Hessian against the marginal of y."""
    import jax

    y, loc, scale, level, noise = ppgen.data.load("nile")["y"][:40], 900.0, 150.0, 38.3, 122.9
    density = read_density(local_level, {"y": y, "loc": loc, "scale": scale})
    values = {"sigma_level": level, "sigma_noise": noise, "start": 0.0, "steps": np.zeros(39)}
    origin = np.asarray(density.unconstrain(values))
    free = np.concatenate([np.arange(p.start, p.stop) for p in density.latents if "sigma" not in p.name])
    with float64():
        at = lambda part: density.log_prob(jax.numpy.asarray(origin).at[free].set(part))  # noqa: E731
        here, slope, bend = at(np.zeros(40)), jax.grad(at)(np.zeros(40)), jax.hessian(at)(np.zeros(40))
    here, slope, precision = float(here), np.asarray(slope), -np.asarray(bend)
    step = np.linalg.solve(precision, slope)
    integral = here + 0.5 * slope @ step - 0.5 * np.linalg.slogdet(precision / (2 * np.pi))[1]
    earlier = np.minimum.outer(np.arange(40), np.arange(40))
    covariance = (2 * scale) ** 2 + level**2 * earlier + noise**2 * np.eye(40)
    prior = halfnorm.logpdf([level, noise], scale=scale).sum() + np.log(level * noise)  # with its Jacobian
    expected = multivariate_normal(np.full(40, loc), covariance).logpdf(y) + prior
    assert integral == pytest.approx(expected, rel=1e-9)


# -- hierarchical regression -----------------------------------------------------------------------------


def test_varying_slopes_against_its_formula():
    rng = np.random.default_rng(0)
    group = np.array([0, 1, 2, 0, 1, 2, 2])
    x, y = rng.normal(size=(2, 7))
    rho, L = 0.4, np.linalg.cholesky([[1.0, 0.4], [0.4, 1.0]])
    at = {"beta": np.array([0.3, -0.5]), "tau": np.array([0.5, 1.5]), "correlation": L, "sigma": 0.8}
    z = rng.normal(size=(3, 2))
    density = read_density(varying_slopes, {"x": x, "group": group, "groups": 3, "y": y})
    found = density.evaluate(density.unconstrain(at | {"z": z}))
    lines = at["beta"] + (z @ L.T) * at["tau"]
    log_likelihood = norm.logpdf(y, lines[group, 0] + lines[group, 1] * x, 0.8).sum()
    log_prior = norm.logpdf(at["beta"], 0, 5).sum() + halfnorm.logpdf(at["tau"], scale=2).sum()
    # LKJ(2) of two variables: the correlation ρ has the density 3/4 (1 - ρ²), and L₂₁ = ρ.
    log_prior += halfnorm.logpdf(0.8, scale=2) + norm.logpdf(z).sum() + np.log(0.75 * (1 - rho**2))
    assert total(found.log_likelihood) == pytest.approx(log_likelihood)
    assert total(found.log_prior) == pytest.approx(log_prior)


# -- probabilistic PCA -----------------------------------------------------------------------------------


def test_factors_of_the_irises_are_those_of_the_eigenvectors():
    """Tipping and Bishop's maximum likelihood in closed form; 150 rows leave the priors little to say."""
    rows = load_iris().data
    rows = (rows - rows.mean(0)) / rows.std(0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    noise = values[:2].mean()
    top = vectors[:, 2:] * np.sqrt(values[2:] - noise)
    post = ppgen.infer(probabilistic_pca, {"x": rows, "factors": 2}, method="laplace", progress=False)
    W, sigma = post.draws["W"].reshape(-1, 4, 2), post.draws["sigma"].ravel()
    covariance = (W @ W.transpose(0, 2, 1)).mean(0)
    np.testing.assert_allclose(covariance, top @ top.T, atol=0.12)
    assert (sigma**2).mean() == pytest.approx(noise, rel=0.1)


# -- topics ----------------------------------------------------------------------------------------------


def test_topics_are_found_again():
    rng = np.random.default_rng(0)
    phi = rng.dirichlet(np.full(12, 0.3), size=3)
    theta = rng.dirichlet(np.full(3, 0.3), size=20)
    document = np.repeat(np.arange(20), 50)
    word = np.array([rng.choice(12, p=phi[rng.choice(3, p=theta[d])]) for d in document])
    data = {"document": document, "word": word, "documents": 20, "vocabulary": 12, "topics": 3}
    density = read_density(topic_model, data)
    at = density.evaluate(density.unconstrain({"phi": phi, "theta": theta}))
    np.testing.assert_allclose(at.log_likelihood["word"], np.log((theta @ phi)[document, word]))
    np.testing.assert_allclose(at.log_prior["phi"], [dirichlet.logpdf(p, np.full(12, 0.1)) for p in phi])
    post = ppgen.infer(topic_model, data, method="laplace", progress=False, draws=200)
    found = post.draws["phi"].mean((0, 1))  # (topics, words)
    distances = np.abs(found[:, None] - phi).sum(-1)  # between each that was found and each that there is
    assert sorted(distances.argmin(1)) == [0, 1, 2]
    assert distances.min(1).max() < 0.4  # of at most 2


# -- a neural network ------------------------------------------------------------------------------------


def test_network_learns_a_curve():
    rng = np.random.default_rng(0)
    x = np.sort(np.concatenate([rng.uniform(-2, -0.5, 30), rng.uniform(0.5, 2, 30)]))
    y = np.sin(2 * x) + 0.1 * rng.normal(size=60)
    data = {"x": x[:, None], "y": y, "width": 8}
    post = ppgen.infer(neural_network, data, draws=200, tune=400, chains=2, progress=False)
    f = post.draws["f"].reshape(-1, 60)
    assert np.sqrt(np.mean((f.mean(0) - np.sin(2 * x)) ** 2)) < 0.07
    assert post.draws["sigma"].mean() == pytest.approx(0.1, abs=0.03)


def test_series_are_whole():
    """Their maximum-likelihood fits are the published ones (Durbin and Koopman 2001, section 2.2.5)."""
    from scipy.optimize import minimize

    y = ppgen.data.load("nile")["y"]

    def minus_log_likelihood(log_variances):
        noise, level = np.exp(log_variances)
        mean, variance, total = y[0], noise, 0.0
        for value in y[1:]:
            variance += level
            total -= norm.logpdf(value, mean, np.sqrt(variance + noise))
            gain = variance / (variance + noise)
            mean, variance = mean + gain * (value - mean), variance * (1 - gain)
        return total

    fit = minimize(minus_log_likelihood, np.log([10_000.0, 1_000.0]), method="Nelder-Mead")
    np.testing.assert_allclose(np.exp(fit.x), [15_099, 1_469.1], rtol=1e-2)
