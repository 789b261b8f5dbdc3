"""Masked diffusion: entries are masked one after the other, and a network predicts them."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax

from ppgen.checks import check_integer
from ppgen.kernels.weights import log_mean_weight
from ppgen.models.diffusion.any_order import AnyOrder, Logits, ranks
from ppgen.models.diffusion.family import DiffusionFamily, DiffusionProgram
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["AbsorbingDiffusion", "MaskedDiffusion"]


class MaskedDiffusion(DiffusionFamily):
    r"""Discrete diffusion with an absorbing state: noise is a mask that spreads over the entries.

    Each of the d entries is masked at its own time, uniform in [0, 1]; in reverse, entries appear one by one
    in the reverse order :math:`\sigma` of these times, each drawn given those already visible:

    .. math:: t \sim U(0, 1)^d, \quad \sigma = \mathrm{argsort}(t), \qquad
        p(x \mid t) = \prod_{k=1}^{d} p_\theta(x_{\sigma_k} \mid x_{\sigma_1}, \dots, x_{\sigma_{k-1}})

    One network predicts every masked entry from the visible ones. The guide draws the
    times as the program does; the ELBO is the bound that training maximises,

    .. math:: \log p(x) \ge \sum_{k=0}^{d-1} \mathbb{E}_{|S| = k} \frac{1}{d - k}
        \sum_{i \notin S} \log p_\theta(x_i \mid x_S),

    with S a random set of k entries. Averaging over several orders inside the logarithm gives a tighter one.

    Raises:
        InvalidArgument: if a setting is out of range, or there are no levels.

    References:
        Sahoo et al., *Simple and Effective Masked Diffusion Language Models*, 2024, arXiv:2406.07524;
        Austin et al., *Structured Denoising Diffusion Models in Discrete State-Spaces*, 2021,
        arXiv:2107.03006; Hoogeboom et al., *Autoregressive Diffusion Models*, 2021, arXiv:2110.02037 (the
        orders, and the sum over k).

    Example:
        >>> model = MaskedDiffusion((2, 2), levels=3, width=16, depth=1)
        >>> model.sample(5, seed=0).shape
        (5, 2, 2)
        >>> ll = model.log_prob(np.zeros((10, 2, 2), int), samples=8)
        >>> ll.kind, ll.how
        ('lower_bound', 'importance-weighted bound, 8 orders')
    """

    name = "masked-diffusion"
    summary = "discrete diffusion, hidden entries appear in any order; lower bound, tighter with more orders"
    objectives: ClassVar[tuple[str, ...]] = ("variational_bound", "elbo", "iwae")

    levels: int = setting(
        kw_only=False,
        least=2,
        doc="how many values an entry can take: a mask hides values, it does not blur them, so that "
        "continuous data need another diffusion",
    )

    def build(self) -> None:
        """Make the network, which reads the mask as one more level."""
        self._begin(AbsorbingDiffusion, self._denoiser(inputs=self.levels + 1, outputs=self.levels))

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 16, seed: int = 0) -> Likelihood:
        """A lower bound on the log probability of each example of ``x (n, *shape)``, averaged over orders.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a probability given the class; by default classes are
                marginalised.
            samples: random orders per row; 1 gives the ELBO, more a tighter bound. Each takes one pass
                through the network per entry.
            seed: seed of the orders.
        """
        samples, seed = check_integer("samples", samples), check_integer("seed", seed, least=0)
        draws, log_weights = self._noisy_scores(x, _in_orders, label, seed, count=samples)
        if log_weights is not None:
            draws = np.logaddexp.reduce(draws + log_weights, axis=0)
        values, stderr = log_mean_weight(draws)
        how = f"importance-weighted bound, {samples} orders" if samples > 1 else "ELBO, 1 order"
        return Likelihood(values, "lower_bound", self.space, self.dims, how, stderr)

    def sample(
        self, n: int, *, seed: int = 0, label: Any = None, guidance: float = 1.0, steps: int | None = None
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: the weight of the class: 1 is the model itself, 0 ignores the class.
            steps: in how many steps entries appear. By default one at a time, which draws from the program
                exactly; fewer are faster, and draw the entries of one step independently.
        """
        steps = self.dims if steps is None else min(check_integer("steps", steps), self.dims)
        return self._draw(n, seed, _rows_in_steps, label, guidance, steps=steps)


class AbsorbingDiffusion(DiffusionProgram):
    """The program of :class:`MaskedDiffusion`, and its bound."""

    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: sites ``time`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        program = self.registered()
        with numpyro.plate("rows", n if x is None else len(x)):
            time = numpyro.sample("time", self._times())  # (n, d)
            density = AnyOrder(program.logits_of(label), ranks(time, self.shape), self.shape)
            return numpyro.sample("x", density, obs=x)

    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: site ``time``, when each entry is masked, whatever the rows ``x (n, *shape)``."""
        with numpyro.plate("rows", len(x)):
            return numpyro.sample("time", self._times())

    @property
    def masked(self) -> int:
        """The value of a hidden entry: one after the levels."""
        assert self.levels is not None
        return self.levels

    def outputs(self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """Logits ``(n, *shape, levels)`` of every entry, given rows with masks ``z (n, *shape)``."""
        return self.call_network(jax.nn.one_hot(z, self.masked + 1), t, label, key)

    def logits_of(self, label: Any = None, guidance: float = 1.0) -> Logits:
        """The function that gives the logits of every entry, from rows and what is hidden of them.

        All rows have the same number of hidden entries.
        """

        def logits(rows: jax.Array, hidden: jax.Array) -> jax.Array:
            masked = jnp.where(hidden, self.masked, rows)
            return self.guided(masked, hidden[0].mean(), label, guidance)

        return logits

    def bound(self, x: jax.Array, key: jax.Array, label: Any = None, dropout_key: Any = None) -> jax.Array:
        """An unbiased draw of the lower bound on each example's log probability ``(n,)``, with one set S."""
        count_key, time_key = jax.random.split(key)
        place = self.random_times(count_key, len(x))
        seen = jnp.minimum((place * self.dims).astype(int), self.dims - 1)  # (n,), from 0 to d - 1
        return self._bound_at(x, seen, jax.random.uniform(time_key, (len(x), self.dims)), label, dropout_key)

    def _times(self) -> dist.Distribution:
        return dist.Uniform(jnp.zeros(self.dims), 1.0).to_event(1)

    def _bound_at(
        self, x: jax.Array, seen: jax.Array, time: jax.Array, label: Any, dropout_key: Any
    ) -> jax.Array:
        hidden = ranks(time, self.shape) >= self.expanded(seen)  # (n, *shape)
        logits = self.outputs(jnp.where(hidden, self.masked, x), hidden.mean(_entries(x)), label, dropout_key)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), x[..., None], -1)[..., 0]
        return (log_p * hidden).sum(_entries(x)) * self.dims / hidden.sum(_entries(x))


@eqx.filter_jit
def _in_orders(
    program: AbsorbingDiffusion, rows: jax.Array, seeds: jax.Array, label: Any = None, *, count: int
) -> jax.Array:
    """The log probability ``(n, count)`` of rows in each of some orders."""
    keys = jax.vmap(jax.random.key)(seeds)

    def in_one_order(i: jax.Array) -> jax.Array:
        draw = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, i), (program.dims,)))
        order = ranks(draw(keys), program.shape)
        return AnyOrder(program.logits_of(label), order, program.shape).log_prob(rows)

    return lax.map(in_one_order, jnp.arange(count)).T


@eqx.filter_jit
def _rows_in_steps(
    program: AbsorbingDiffusion, key: jax.Array, size: int, label: Any = None, *, steps: int, guidance: float
) -> jax.Array:
    """Rows ``(size, *shape)``, some entries a step."""
    time_key, key = jax.random.split(key)
    order = ranks(jax.random.uniform(time_key, (size, program.dims)), program.shape)
    return AnyOrder(program.logits_of(label, guidance), order, program.shape).sample_in(key, steps)


def _entries(rows: jax.Array) -> tuple[int, ...]:
    return tuple(range(1, rows.ndim))
