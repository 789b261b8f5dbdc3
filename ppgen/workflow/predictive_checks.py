"""Predictive checks: would the model have made data like the observed?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ppgen.checks import check_choice
from ppgen.errors import DataError, InvalidArgument
from ppgen.inference.posterior import Posterior
from ppgen.workflow.arguments import choose_site
from ppgen.workflow.predictive import posterior_predictive

__all__ = ["PredictiveCheck", "StatisticCheck", "check"]

Statistic = Callable[[np.ndarray], Any]

_STATISTICS: dict[str, Statistic] = {
    "mean": np.mean,
    "sd": np.std,
    "min": np.min,
    "max": np.max,
    "median": np.median,
}
_USUAL = ("mean", "sd", "min", "max")
_EXTREME = 0.05  # a two-sided tail probability under this is called out


@dataclass(frozen=True, eq=False)
class StatisticCheck:
    """One test statistic of the observed data, against that of replicated data.

    Attributes:
        name: of the statistic.
        observed: its value on the observations.
        replicated: ``(draws,)``, its values on replicated data.
        p_value: the probability that replicated data have a larger value, those with an equal one counting
            half: the posterior predictive p-value. Near 0 or 1 the model does not make data like these.
    """

    name: str
    observed: float
    replicated: np.ndarray
    p_value: float

    @property
    def interval(self) -> tuple[float, float]:
        """The central 90 % of the replicated values."""
        low, high = np.quantile(self.replicated, [0.05, 0.95])
        return float(low), float(high)

    @property
    def two_sided(self) -> float:
        """The probability of a value as far out in either tail."""
        return 2 * min(self.p_value, 1 - self.p_value)

    @property
    def p_in_words(self) -> str:
        """The p-value, as far as so many draws can tell it."""
        least = 1 / len(self.replicated)
        if self.p_value < least:
            return f"p < {least:.2g}"
        return f"p > {1 - least:.4g}" if self.p_value > 1 - least else f"p = {self.p_value:.2g}"

    @property
    def ok(self) -> bool:
        """Whether the observed value is one that the model would make."""
        return self.two_sided >= _EXTREME

    @property
    def reading(self) -> str:
        """The check in a plain sentence."""
        low, high = self.interval
        numbers = (
            f"observed {self.observed:.3g}, replicated {low:.3g} to {high:.3g} (90 %), {self.p_in_words}"
        )
        if self.ok:
            return f"The {self.name} is as the model predicts: {numbers}."
        side = "larger" if self.p_value < 0.5 else "smaller"
        return f"The {self.name} is {side} than the model predicts: {numbers}."


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """The observations of one site against replicated data.

    Attributes:
        site: the observed site.
        source: ``"prior"`` or ``"posterior"``, where the replicated data are from.
        statistics: one check a statistic.
        observed: the observations, as they are.
        replicated: ``(draws, *shape)``, replicated data.
        discrete: whether the observations are counts or categories.
    """

    site: str
    source: Literal["prior", "posterior"]
    statistics: tuple[StatisticCheck, ...]
    observed: np.ndarray
    replicated: np.ndarray
    discrete: bool

    def __getitem__(self, name: str) -> StatisticCheck:
        """The check of one statistic, by name."""
        by_name = {each.name: each for each in self.statistics}
        return by_name[check_choice("statistic", name, by_name)]

    @property
    def ok(self) -> bool:
        """Whether every statistic is one that the model would make."""
        return all(each.ok for each in self.statistics)

    @property
    def reading(self) -> str:
        """The check as plain sentences, first what the model does not make."""
        off = [each for each in self.statistics if not each.ok]
        if not off:
            listed = ", ".join(each.name for each in self.statistics)
            return f"The {self.source} makes data like the observed {self.site}, by {listed}."
        before = f"The {self.source} does not make data like the observed {self.site}."
        return " ".join([before, *(each.reading for each in off)])

    def __str__(self) -> str:
        return "\n".join(each.reading for each in self.statistics)

    def frame(self) -> Any:
        """A pandas table with one row a statistic."""
        import pandas as pd

        columns = ["statistic", "observed", "low", "high", "p_value"]
        rows = [(each.name, each.observed, *each.interval, each.p_value) for each in self.statistics]
        return pd.DataFrame(rows, columns=columns).set_index("statistic")


def check(
    draws: Posterior | Any,
    statistics: Mapping[str, Statistic | str] | Sequence[str] = _USUAL,
    *,
    site: str | None = None,
    seed: int = 0,
) -> PredictiveCheck:
    r"""Compare test statistics of the observations with those of data that the model makes.

    .. math:: p = P(T(\tilde y) > T(y)) + P(T(\tilde y) = T(y)) / 2

    Args:
        draws: a posterior, or ArviZ data of :func:`~ppgen.workflow.prior_predictive` or
            :func:`~ppgen.workflow.posterior_predictive`.
        statistics: names out of ``"mean"``, ``"sd"``, ``"min"``, ``"max"``, ``"median"``; or functions of the
            observations of one data set, ``(*shape) -> number``, by name.
        site: the observed site; needed only if there are several.
        seed: of the replicated data of a posterior.

    Raises:
        UnknownName: if there is no such statistic or observed site.
        InvalidArgument: if ``draws`` has no predictive draws, or ``site`` is missing where there are several.
        DataError: if a statistic is no finite number.

    References:
        Gelman, Meng and Stern (1996), "Posterior predictive assessment of model fitness via realized
        discrepancies", Statistica Sinica 6.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     rate = numpyro.sample("rate", dist.Exponential(1.0))
        ...     numpyro.sample("y", dist.Poisson(rate), obs=y)
        >>> y = [0, 0, 9, 0, 0, 0, 8, 0, 0, 0]                     # far more zeros than a Poisson has
        >>> post = ppgen.infer(program, {"y": y}, method="laplace", progress=False)
        >>> found = check(post, {"mean": "mean", "zeros": lambda y: (y == 0).mean()})
        >>> found["mean"].ok, found["zeros"].ok
        (True, False)
    """
    functions = _functions(statistics)
    data = posterior_predictive(draws, seed=seed) if isinstance(draws, Posterior) else draws
    source = _source(data)
    predictive, observations = data[f"{source}_predictive"], data["observed_data"]
    name = choose_site(site, [str(name) for name in observations.data_vars if name in predictive.data_vars])
    observed = np.asarray(observations[name])
    replicated = np.asarray(predictive[name])
    replicated = replicated.reshape(-1, *replicated.shape[2:])  # (chain * draw, *shape)
    checks = tuple(_check_one(label, function, observed, replicated) for label, function in functions.items())
    return PredictiveCheck(name, source, checks, observed, replicated, _whole(observed, replicated))


def _whole(*arrays: np.ndarray) -> bool:
    """Whether these are counts or categories; torch counts in floating point, too."""
    return all(bool((array == np.round(array)).all()) for array in arrays)


def _functions(statistics: Mapping[str, Statistic | str] | Sequence[str]) -> dict[str, Statistic]:
    if isinstance(statistics, str):
        statistics = (statistics,)
    chosen = statistics if isinstance(statistics, Mapping) else {name: name for name in statistics}
    functions: dict[str, Statistic] = {}
    for label, each in chosen.items():
        if isinstance(each, str):
            functions[label] = _STATISTICS[check_choice("statistics", each, _STATISTICS)]
        elif callable(each):
            functions[label] = each
        else:
            raise InvalidArgument(
                f"statistics[{label!r}]",
                got=f"a {type(each).__name__}",
                expected="a function of the observations, or the name of a statistic",
                fix='Write {"zeros": lambda y: (y == 0).mean()}.',
            )
    if not functions:
        raise InvalidArgument(
            "statistics", got="none", expected="at least one", fix='Write statistics=("mean", "sd").'
        )
    return functions


def _source(data: Any) -> Literal["prior", "posterior"]:
    groups = getattr(data, "groups", ())  # a method in ArviZ 0.x, a property in 1.x
    groups = {str(name).strip("/") for name in (groups() if callable(groups) else groups)}
    if "observed_data" in groups:
        if "posterior_predictive" in groups:
            return "posterior"
        if "prior_predictive" in groups:
            return "prior"
    raise InvalidArgument(
        "draws",
        got=f"a {type(data).__name__}" + (f" with the groups {sorted(groups)}" if groups else ""),
        expected="a posterior, or ArviZ data with predictive draws and the observations",
        fix="Give what prior_predictive(program, data) or ppgen.infer(program, data) returns.",
    )


def _check_one(
    name: str, function: Statistic, observed: np.ndarray, replicated: np.ndarray
) -> StatisticCheck:
    value = _number(name, function(observed))
    values = np.array([_number(name, function(each)) for each in replicated])
    # Sums of the same numbers in another order differ in the last digit; that is no difference.
    equal = np.isclose(values, value, rtol=1e-12, atol=0.0)
    p_value = float(((values > value) & ~equal).mean() + equal.mean() / 2)
    return StatisticCheck(name, value, values, p_value)


def _number(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or not math.isfinite(float(array.reshape(()))):
        raise DataError(
            f"statistics[{name!r}]",
            got=f"an array of shape {array.shape}" if array.size != 1 else str(value),
            expected="one finite number a data set",
            fix="Let the function return a float, for example lambda y: float((y > 3).mean()).",
        )
    return float(array.reshape(()))
