"""Discrete-time diffusion: a Markov chain from noise to data, whose guide adds the noise."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax

from ppgen.checks import check_integer
from ppgen.models.diffusion.family import DiffusionFamily
from ppgen.models.diffusion.gaussian_noise import GaussianNoise
from ppgen.models.diffusion.levels import cell_logits, default_prediction, level_mean, outputs_of
from ppgen.models.diffusion.strengths import NoiseStrengths, Transition, Variance
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["GaussianChain", "GaussianChainFamily", "Prediction", "Variance", "ancestral"]

Prediction = Literal["noise", "levels"]

REPEATS = 8  # independent draws of a bound, from which its standard error comes


class GaussianChain(GaussianNoise):
    r"""Noise becomes data in T Gaussian steps, whose means the network predicts.

    .. math:: z_T \sim N(0, (\alpha_T^2 + \sigma_T^2) I), \qquad
        z_{i-1} \sim q(z_{i-1} \mid z_i, \hat x_\theta(z_i)), \qquad x \sim p(x \mid \hat x_\theta(z_1))

    The guide is fixed: it adds noise to the data, :math:`q(z_i \mid x) = N(\alpha_i x, \sigma_i^2 I)`.

    The network sees the noise, and with it :math:`\hat x = (z - \sigma \hat\epsilon) / \alpha`; or for levels
    it predicts each entry's distribution over them: a prediction from the other entries, times the likelihood
    of the noisy entry itself under each level. Then :math:`\hat x` is its mean.

    Attributes:
        strengths: of the noise, weakest first. With ``variance="lower"`` the steps back have what is left
            where the data are known, right for data that the row tells nearly; with ``"upper"`` what the
            forward step added, for data as wide as N(0, I).
    """

    strengths: NoiseStrengths = eqx.field(static=True)

    @property
    def steps(self) -> int:
        """How many steps the chain has, T."""
        return len(self.strengths.shares)

    # -- the program -------------------------------------------------------------------------------------

    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: sites ``z_T``, …, ``z_1`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        program, n = self.registered(), n if x is None else len(x)
        with numpyro.plate("rows", n):
            start = self._normal(jnp.zeros((n, *self.shape)), self.strengths.prior_spread)
            z = numpyro.sample(f"z_{self.steps}", start)
            for i in range(self.steps, 1, -1):
                step = Transition(*(values[i - 2] for values in self.strengths.transitions))
                guess = program.data(z, jnp.float32(i / self.steps), label)
                z = numpyro.sample(f"z_{i - 1}", self._normal(step.keep * z + step.data * guess, step.spread))
            return numpyro.sample("x", program.decoder(z, label), obs=x)

    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: noise on the rows ``x (n, *shape)``, more from site ``z_1`` to site ``z_T``."""
        with numpyro.plate("rows", len(x)):
            z, alpha, sigma = self.as_input(x), 1.0, 0.0
            for i, (next_alpha, next_sigma) in enumerate(
                zip(self.strengths.alphas, self.strengths.sigmas, strict=True), 1
            ):
                shrink = next_alpha / alpha
                spread = float(np.sqrt(next_sigma**2 - (shrink * sigma) ** 2))
                z = numpyro.sample(f"z_{i}", self._normal(shrink * z, spread))
                alpha, sigma = next_alpha, next_sigma

    # -- what the network says ---------------------------------------------------------------------------

    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The share of the data and the spread of the noise, after the step that ends at time t."""
        step = jnp.round(t * self.steps).astype(int) - 1
        alphas, sigmas = jnp.float32(self.strengths.alphas), jnp.float32(self.strengths.sigmas)
        return self.expanded(alphas[step]), self.expanded(sigmas[step])

    def input_scale(self, t: jax.Array) -> jax.Array:
        """The standard deviation of noisy rows, if that of the data is 1."""
        return jnp.hypot(*self.strength(t))

    def data(self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0) -> jax.Array:
        """The expected standardised data ``(n, *shape)`` given the noisy ones."""
        return self._data(self.guided(z, t, label, guidance), z, t)

    def decoder(
        self, z: jax.Array, label: Any = None, guidance: float = 1.0, t: Any = None
    ) -> dist.Distribution:
        """The distribution of rows in the data's units, given those with the least noise (at time t)."""
        t = jnp.float32(1 / self.steps) if t is None else t
        return self._decoder(self.guided(z, t, label, guidance), z, t)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The rate ``(n,)`` at which noise is added at times ``t (n,)``.

        That is where the spread grows by equal factors and the data do not shrink, as in an NCSN.
        """
        first, *_, last = self.strengths.spreads
        return self.spread(t) * float(np.sqrt(2 * np.log(last / first)))

    # -- how likely data are -----------------------------------------------------------------------------

    def bound(self, x: jax.Array, key: jax.Array, label: Any = None, dropout_key: Any = None) -> jax.Array:
        """An unbiased draw of the ELBO of each example ``(n,)``, by one random step of the chain."""
        place_key, first_key, noise_key = jax.random.split(key, 3)
        rows = self.as_input(x)
        place = super().random_times(place_key, len(x))
        noises = jax.random.normal(first_key, rows.shape), jax.random.normal(noise_key, rows.shape)
        return (
            self._log_decoder(x, noises[0], label, dropout_key)
            - self._prior_divergence(rows)
            - self._divergence(rows, place, noises[1], label, dropout_key)
        )

    # -- for the objectives ------------------------------------------------------------------------------

    def random_times(self, key: jax.Array, n: int) -> jax.Array:
        """Times ``(n,)`` of random steps, spread evenly."""
        place = super().random_times(key, n)
        return (1 + jnp.minimum((place * self.steps).astype(int), self.steps - 1)) / self.steps

    # -- helpers -----------------------------------------------------------------------------------------

    def _normal(self, mean: jax.Array, spread: Any) -> dist.Distribution:
        return dist.Normal(mean, spread).to_event(len(self.shape))

    def _data(self, out: jax.Array, z: jax.Array, t: jax.Array) -> jax.Array:
        if self.prediction == "levels":
            return level_mean(out)
        alpha, sigma = self.strength(t)
        guess = (z - sigma * out) / alpha
        return guess if self.levels is None else jnp.clip(guess, -1.0, 1.0)

    def _decoder(self, out: jax.Array, z: jax.Array, t: jax.Array) -> dist.Distribution:
        if self.prediction == "levels":
            return dist.Categorical(logits=out).to_event(len(self.shape))
        # How far x may be from where it is seen: the noise that is left, in units of the data.
        spread = float(self.strengths.sigmas[0] / self.strengths.alphas[0])
        guess = self._data(out, z, t)
        if self.levels is not None:
            logits = cell_logits(guess, spread, self.levels)
            return dist.Categorical(logits=logits).to_event(len(self.shape))
        return self._normal(jnp.asarray(self.loc + self.scale * guess), self.scale * spread)

    def _log_decoder(self, x: jax.Array, noise: jax.Array, label: Any, key: Any) -> jax.Array:
        t = jnp.float32(1 / self.steps)
        z = self.diffused(self.as_input(x), t, noise)
        log_p = self._decoder(self.outputs(z, t, label, key), z, t).log_prob(x)
        return log_p + 0.5 * self._surplus(noise) if self.levels is None else log_p

    def _surplus(self, noise: jax.Array) -> jax.Array:
        """By how much the noise's squared length ``(n,)`` exceeds its mean: a control variate.

        Under weak noise the error of continuous data is about that noise. The chance part of its length has
        mean 0; subtracting it makes a draw of the bound far less noisy.
        """
        return (noise**2).reshape(len(noise), -1).sum(-1) - self.dims

    def _prior_divergence(self, rows: jax.Array) -> jax.Array:
        """From the noisiest rows to the prior, ``(n,)``."""
        alpha, sigma, prior = (
            float(self.strengths.alphas[-1]),
            float(self.strengths.sigmas[-1]),
            self.strengths.prior_spread,
        )
        squares = (rows.reshape(len(rows), -1) ** 2).sum(-1)
        same = (sigma / prior) ** 2
        return 0.5 * (self.dims * (same - 1 - np.log(same)) + (alpha / prior) ** 2 * squares)

    def _divergence(
        self, rows: jax.Array, place: jax.Array, noise: jax.Array, label: Any, key: Any
    ) -> jax.Array:
        """The sum of all steps' divergences ``(n,)``, from the step that a place ``(n,)`` falls on."""
        if self.steps == 1:
            return jnp.zeros(len(rows))
        step = jnp.searchsorted(jnp.float32(np.cumsum(self.strengths.chances[:-1])), place, side="right")
        t = (step + 2) / self.steps  # from z_{step + 2} to z_{step + 1}
        z = self.diffused(rows, t, noise)
        guess = self._data(self.outputs(z, t, label, key), z, t)
        errors = ((guess - rows) ** 2).reshape(len(rows), -1).sum(-1)
        if self.levels is None:
            alpha, sigma = (
                jnp.float32(self.strengths.alphas)[step + 1],
                jnp.float32(self.strengths.sigmas)[step + 1],
            )
            share = alpha**2 / (alpha**2 + sigma**2)  # of weak noise nearly all is unforeseen
            errors = errors - (share * sigma / alpha) ** 2 * self._surplus(noise)
        total = jnp.asarray(self.strengths.transitions.weight)[step] * errors
        total = total / jnp.float32(self.strengths.chances)[step]
        return total + self.dims * float(self.strengths.transitions.offset.sum())


class GaussianChainFamily(DiffusionFamily):
    """A family whose program is a :class:`GaussianChain`."""

    steps: int = setting(default=1000, doc="how many steps T the chain has")
    prediction: Prediction = setting(
        factory=lambda chosen: default_prediction(chosen.levels, "noise"),
        doc="what the network predicts: the noise, or for data with levels (where it is the default) the "
        r"distribution of each entry over the levels, whose mean is :math:`\hat x`; either gives a score",
    )
    variance: Variance = setting(
        factory=lambda chosen: "upper" if chosen.levels is None else "lower",
        doc="of the reverse steps, ``lower`` (the default for levels) or ``upper`` (for continuous data): "
        "what is left where the data are known, or what the forward step added",
    )

    @abstractmethod
    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of the data and the spread of the noise after each step ``(steps,)``, weakest first."""

    def build(self) -> None:
        """Make the network and the strengths of the noise."""
        outputs = outputs_of(self.prediction, self.levels)
        alphas, sigmas = self.noise()
        strengths = NoiseStrengths(tuple(alphas.tolist()), tuple(sigmas.tolist()), self.variance)
        self._begin(
            GaussianChain,
            self._denoiser(outputs=outputs),
            prediction=self.prediction,
            strengths=strengths,
        )

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The ELBO of each example of ``x (n, *shape)``, a lower bound on its log density.

        The sum over the chain's steps is estimated from some of them, spread evenly, without bias.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a density given the class; by default classes are
                marginalised.
            samples: the number of steps evaluated per example, a multiple of 8.
            seed: seed of steps and noise.
        """
        count, seed = -(-check_integer("samples", samples) // REPEATS), check_integer("seed", seed, least=0)
        values, stderr = self._mean_score(x, _elbos, label, seed, count=count)
        how = f"ELBO of {self.steps} steps, estimated at {REPEATS * count} of them"
        return Likelihood(values, "lower_bound", self.space, self.dims, how, stderr)


@eqx.filter_jit
def ancestral(
    program: GaussianChain,
    key: jax.Array,
    size: int,
    label: Any = None,
    *,
    steps: int,
    eta: float,
    guidance: float,
) -> jax.Array:
    r"""Rows ``(size, *shape)`` by some of the chain's steps, with a share of its noise.

    .. math:: z_s = \alpha_s \hat x + \sqrt{\sigma_s^2 - \eta^2 \tilde\sigma^2} \, \hat\epsilon
        + \eta \tilde\sigma \, \epsilon

    with :math:`\tilde\sigma` the spread of a step where the data are known; the noise :math:`\epsilon` that
    is added has the spread of the program's. With :math:`\eta = 1` and all steps these are the program's own
    rows (DDPM). With :math:`\eta = 0` all noise is in the start (DDIM), and the last step takes the decoder's
    mode.

    References:
        Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, 2020, arXiv:2010.02502, equation 12.
    """
    visited = np.unique(np.linspace(0, program.steps - 1, steps).round().astype(int))
    if steps == 1:
        visited = np.array([program.steps - 1])
    alpha, sigma = program.strengths.alphas[visited], program.strengths.sigmas[visited]
    transition = Transition.between(alpha, sigma, program.strengths.variance)
    kept = np.sqrt(np.maximum(sigma[:-1] ** 2 - (eta * transition.known) ** 2, 0))
    drawn = eta * transition.spread
    times = (visited + 1) / program.steps
    plan = [np.float32(a[::-1]) for a in (times[1:], alpha[1:], sigma[1:], alpha[:-1], kept, drawn)]

    def back(state: tuple[jax.Array, jax.Array], step: Any) -> tuple[tuple[jax.Array, jax.Array], None]:
        z, key = state
        t, alpha, sigma, next_alpha, kept, drawn = step
        key, noise_key = jax.random.split(key)
        guess = program.data(z, t, label, guidance)
        noise = (z - alpha * guess) / sigma
        z = next_alpha * guess + kept * noise + drawn * jax.random.normal(noise_key, z.shape)
        return (z, key), None

    start_key, key, last_key = jax.random.split(key, 3)
    start = program.strengths.prior_spread * jax.random.normal(start_key, (size, *program.shape))
    (z, _), _ = lax.scan(back, (start, key), plan)
    t = jnp.float32(times[0])
    last = program.decoder(z, label, guidance, t)
    return _mode(last, program.levels) if eta == 0 else last.sample(last_key)


@eqx.filter_jit
def _elbos(
    program: GaussianChain, x: jax.Array, seeds: jax.Array, label: Any = None, *, count: int
) -> jax.Array:
    """Noisy ELBOs ``(n, REPEATS)`` of rows, each from ``count`` steps of the chain."""
    keys, rows = jax.vmap(jax.random.key)(seeds), program.as_input(x)

    def normal(*path: Any) -> jax.Array:
        return jax.vmap(lambda key: jax.random.normal(_folded(key, *path), program.shape))(keys)

    def one(repeat: jax.Array) -> jax.Array:
        first = jax.vmap(lambda key: jax.random.uniform(_folded(key, repeat, 0)))(keys)

        def divergence(k: jax.Array) -> jax.Array:
            place = (first + k / count) % 1
            return program._divergence(rows, place, normal(repeat, k + 2), label, None)

        total = lax.map(divergence, jnp.arange(count)).mean(0)
        return program._log_decoder(x, normal(repeat, 1), label, None) - total

    return lax.map(one, jnp.arange(REPEATS)).T - program._prior_divergence(rows)[:, None]


def _folded(key: jax.Array, *path: Any) -> jax.Array:
    for part in path:
        key = jax.random.fold_in(key, part)
    return key


def _mode(distribution: Any, levels: int | None) -> jax.Array:
    base = distribution.base_dist
    return base.mean if levels is None else base.logits.argmax(-1)
