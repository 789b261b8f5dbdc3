"""A mixture whose support is that of its components, so that it can be a site of a posterior."""

from __future__ import annotations

import pyro.distributions as dist
from torch.distributions import constraints

__all__ = ["Mixture"]


class Mixture(dist.MixtureSameFamily):
    r"""A mixture of continuous distributions of one family.

    .. math:: p(z) = \sum_k \pi_k \, p_k(z)

    PyTorch's own mixture has a support that no bijection is registered for; all components here have the
    same one, and so has the mixture.

    Args:
        mixture_distribution: a categorical over the components.
        component_distribution: the components, along the last batch dimension.

    Example:
        >>> import torch
        >>> logits, ends = torch.zeros(2), torch.tensor([-1.0, 1.0])
        >>> mixture = Mixture(dist.Categorical(logits=logits), dist.Normal(ends, 0.1))
        >>> mixture.log_prob(torch.tensor([-1.0, 1.0])).exp()
        tensor([1.9947, 1.9947])
        >>> torch.distributions.biject_to(mixture.support).bijective
        True
    """

    @property
    def support(self) -> constraints.Constraint:
        """The support of the components."""
        return self.component_distribution.support
