"""Training to denoise at all noise levels at once, for diffusion models. (JAX.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax

from ppgen.checks import check_choice
from ppgen.program.capabilities import DropsLabels, HasDiffusion, HasNoisePrediction, HasVariationalBound
from ppgen.program.languages.rows import Batch

__all__ = ["MultilevelDenoising", "NoisePrediction", "VariationalBound", "with_some_labels"]

Weighting = Literal["noise", "likelihood"]


@dataclass(frozen=True)
class VariationalBound:
    r"""Maximise a lower bound on :math:`\log p(x)`, of which each step draws one random term.

    For a chain of many steps it is the ELBO at a fraction of its cost. The family provides
    ``bound(x, key, label, dropout_key) -> (n,)``, an unbiased draw.

    References:
        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239; Kingma,
        Salimans, Poole and Ho, *Variational Diffusion Models*, 2021, arXiv:2107.00630.
    """

    name: ClassVar[str] = "variational_bound"
    requires: ClassVar[type] = HasVariationalBound

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, in nats."""
        key, label, dropout_key = with_some_labels(subject, batch)
        return -subject.family.bound(batch.x, key, label, dropout_key)

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The same with all labels given and without dropout."""
        return -subject.family.bound(batch.x, batch.key, batch.label)


@dataclass(frozen=True)
class NoisePrediction:
    r"""Minimise :math:`\lVert \epsilon - \epsilon_\theta(\alpha_t x + \sigma_t \epsilon, t) \rVert^2`.

    Times t are spread evenly. It is the variational bound without its weights, which
    emphasise the weakest noise: better images, a looser bound.

    The family has ``standard_rows(x, key)``, ``random_times(key, n)``, ``diffused(x, t, noise)`` and
    ``noise(z, t, label, dropout_key)``, each of examples ``(n, *shape)`` and times ``(n,)``.

    References:
        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239.
    """

    name: ClassVar[str] = "noise_prediction"
    requires: ClassVar[type] = HasNoisePrediction

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, summed over its entries."""
        key, label, dropout_key = with_some_labels(subject, batch)
        return _noise_errors(subject.family, batch.x, key, label, dropout_key)[0]

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The same with all labels given and without dropout."""
        return _noise_errors(subject.family, batch.x, batch.key, batch.label)[0]


@dataclass(frozen=True)
class MultilevelDenoising:
    r"""Match the scores of data at all noise levels, by denoising.

    .. math:: \mathbb{E}_t \, \lambda(t) \, \lVert s_\theta(z_t, t) - \nabla \log q(z_t \mid x) \rVert^2,
        \qquad \nabla \log q(z_t \mid x) = -\epsilon / \sigma_t

    with :math:`\lambda = \sigma_t^2`, which weights all levels equally, or :math:`\lambda = g(t)^2`, the
    squared diffusion coefficient, which makes it a bound on minus the log likelihood up to a constant.

    The family has what :class:`NoisePrediction` needs; for the likelihood's weights also ``diffusion(t)``,
    which is g, and ``spread(t)``, which is :math:`\sigma_t`, each ``(n,)``.

    Attributes:
        weighting: ``"noise"`` or ``"likelihood"``.

    References:
        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data Distribution*, 2019,
        arXiv:1907.05600; Song, Durkan, Murray and Ermon, *Maximum Likelihood Training of Score-Based
        Diffusion Models*, 2021, arXiv:2101.09258.
    """

    name: ClassVar[str] = "denoising"

    weighting: Weighting = "noise"

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, get_args(Weighting))

    @property
    def requires(self) -> type:
        """The likelihood's weights are those of a diffusion."""
        return HasNoisePrediction if self.weighting == "noise" else HasDiffusion

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, summed over its entries."""
        key, label, dropout_key = with_some_labels(subject, batch)
        return self._weighted(
            subject.family, *_noise_errors(subject.family, batch.x, key, label, dropout_key)
        )

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The same with all labels given and without dropout."""
        return self._weighted(subject.family, *_noise_errors(subject.family, batch.x, batch.key, batch.label))

    def _weighted(self, family: Any, errors: Any, t: Any) -> Any:
        if self.weighting == "noise":
            return errors
        return 0.5 * (family.diffusion(t) / family.spread(t)) ** 2 * errors


def _noise_errors(family: Any, x: Any, key: Any, label: Any, dropout_key: Any = None) -> tuple[Any, Any]:
    """The squared error ``(n,)`` of the family's noise prediction, and the times ``(n,)``."""
    time_key, noise_key, row_key = jax.random.split(key, 3)
    rows = family.standard_rows(x, row_key)
    t = family.random_times(time_key, len(rows))
    noise = jax.random.normal(noise_key, rows.shape)
    seen = family.noise(family.diffused(rows, t, noise), t, label, dropout_key)
    return ((seen - noise) ** 2).reshape(len(rows), -1).sum(-1), t


def with_some_labels(subject: Any, batch: Batch) -> tuple[Any, Any, Any]:
    """Keys of noise and dropout, and labels, some of which the family drops."""
    label_key, key, dropout_key = jax.random.split(batch.key, 3)
    label = batch.label
    if label is not None and isinstance(subject.family, DropsLabels):
        label = subject.family.some_labels(label, label_key)
    return key, label, dropout_key
