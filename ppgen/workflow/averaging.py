"""Predictions from several models at once, each counting by its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.errors import InvalidArgument
from ppgen.inference import arviz_compat
from ppgen.inference.pointwise import flatten_draws, pointwise
from ppgen.inference.posterior import Posterior
from ppgen.kernels.resampling import systematic_resampling
from ppgen.workflow.arguments import check_posteriors, check_same_data
from ppgen.workflow.comparison import Comparison, compare

__all__ = ["Average", "average"]


@dataclass(frozen=True, eq=False)
class Average:
    """Posterior predictive draws from a mixture of models.

    Attributes:
        weights: what each model counts, by name; they sum to 1.
        draws: each observed site as ``(1, draw, *shape)``: one chain, in random order.
        model: ``(1, draw)``, which model each draw is from: its place in :attr:`weights`.
        observed: the observations by site.
        coords, dims: names for the entries of sites, as ArviZ takes them.
    """

    weights: Mapping[str, float]
    draws: Mapping[str, np.ndarray]
    model: np.ndarray
    observed: Mapping[str, np.ndarray]
    coords: Mapping[str, Any]
    dims: Mapping[str, Any]

    @property
    def reading(self) -> str:
        """The mixture in a plain sentence."""
        shares = ", ".join(f"{weight:.0%} from {name}" for name, weight in self.weights.items())
        return f"{self.model.size} predictive draws: {shares}."

    def __str__(self) -> str:
        return self.reading

    def to_arviz(self) -> Any:
        """The draws as ArviZ data, with the model that each is from as ``posterior``."""
        groups = {
            "posterior": {"model": self.model},
            "posterior_predictive": self.draws,
            "observed_data": self.observed,
        }
        return arviz_compat.make_arviz(groups, coords=self.coords, dims=self.dims)


def average(
    posts: Mapping[str, Posterior],
    weights: Mapping[str, float] | Comparison | None = None,
    *,
    draws: int = 4000,
    seed: int = 0,
) -> Average:
    r"""Draw from the mixture of the models' posterior predictive distributions.

    .. math:: p(\tilde y \mid y) = \sum_k w_k\, p(\tilde y \mid y, M_k)

    Args:
        posts: posteriors by name.
        weights: what each counts; a :class:`~ppgen.workflow.comparison.Comparison` gives its stacking
            weights, and ``None`` makes one.
        draws: how many predictive draws in all.
        seed: the same seed gives the same draws.

    Raises:
        InvalidArgument: if there are fewer than two models, or weights are negative, all zero or missing.
        DataError: if the models have not observed the same data.

    References:
        Yao, Vehtari, Simpson and Gelman, arXiv:1704.02030.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def at(mean):
        ...     def program(y):
        ...         scale = numpyro.sample("scale", dist.LogNormal(-3.0, 0.1))
        ...         numpyro.sample("y", dist.Normal(mean, scale), obs=y)
        ...     return program
        >>> data = {"y": [0.0, 1.0]}
        >>> posts = {str(m): ppgen.infer(at(m), data, "laplace", progress=False) for m in (0.0, 1.0)}
        >>> mixed = average(posts, {"0.0": 3.0, "1.0": 1.0})
        >>> mixed.draws["y"].shape, float((mixed.model == 0).mean())
        ((1, 4000, 2), 0.75)
    """
    check_posteriors(posts)
    check_integer("draws", draws, example=4000)
    shares = _shares(posts, weights)
    first = next(iter(posts.values()))
    observed = {name: _observed(post) for name, post in posts.items()}
    check_same_data(observed)
    rng = np.random.default_rng(seed)
    model = rng.permutation(systematic_resampling(np.array(list(shares.values())), draws, rng))
    sites = observed[next(iter(posts))]
    mixed = {
        site: np.empty((draws, *values.shape), values.dtype if values.dtype.kind != "b" else int)
        for site, values in sites.items()
    }
    for k, post in enumerate(posts.values()):
        rows = np.flatnonzero(model == k)
        if len(rows) == 0:
            continue
        predicted = post.equally_weighted().predictive(seed)
        chosen = _choose(rng, post.positions[..., 0].size, len(rows))
        for site in sites:
            mixed[site][rows] = flatten_draws(predicted[site])[chosen]
    return Average(
        weights=shares,
        draws={site: values[None] for site, values in mixed.items()},
        model=model[None],
        observed=sites,
        coords=first.coords,
        dims={name: dims for name, dims in first.dims.items() if name in sites},
    )


def _choose(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """``count`` of ``size`` draws, none more than once oftener than another."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count]


def _observed(post: Posterior) -> Mapping[str, np.ndarray]:
    return pointwise(post.density, post.positions[:1, :1])[2]


def _shares(
    posts: Mapping[str, Posterior], weights: Mapping[str, float] | Comparison | None
) -> dict[str, float]:
    if weights is None:
        weights = compare(posts)
    given = weights.weights if isinstance(weights, Comparison) else weights
    for name in given:
        check_choice("weights", name, posts)
    missing = [name for name in posts if name not in given]
    values = np.array([float(given.get(name, 0.0)) for name in posts])
    if missing or not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise InvalidArgument(
            "weights",
            got=f"no weight for {missing[0]!r}" if missing else str([float(value) for value in values]),
            expected="a number of at least 0 a model, and one above 0",
            fix="Leave weights out for stacking weights.",
        )
    return dict(zip(posts, (values / values.sum()).tolist(), strict=True))
