"""From unconstrained space to the supports of Pyro's distributions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.distributions import ComposeTransform, Transform, biject_to, constraints

__all__ = ["find_bijection"]


def find_bijection(support: Any) -> Transform:
    """Torch's bijection from unconstrained space, and those to matrices that torch has not.

    Raises:
        NotImplementedError: if there is none.

    Example:
        >>> to_covariance = find_bijection(constraints.positive_definite)
        >>> to_covariance(torch.zeros(3))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if support is constraints.lower_cholesky:
        return _VectorToCholesky()
    if support is constraints.positive_definite:
        return ComposeTransform([_VectorToCholesky(), _CholeskyToCovariance()])
    return biject_to(support)


class _VectorToCholesky(Transform):
    """The entries of a lower triangle, the logarithms of its diagonal last."""

    domain = constraints.real_vector
    codomain = constraints.lower_cholesky
    bijective = True

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        n = _matrix_size(x.shape[-1])
        below, log_diagonal = x[..., :-n], x[..., -n:]
        rows, columns = torch.tril_indices(n, n, -1)
        factor = torch.diag_embed(log_diagonal.exp())
        factor[..., rows, columns] = below
        return factor

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.tril_indices(y.shape[-1], y.shape[-1], -1)
        return torch.cat([y[..., rows, columns], y.diagonal(dim1=-2, dim2=-1).log()], -1)

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x[..., -y.shape[-1] :].sum(-1)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        n = _matrix_size(shape[-1])
        return torch.Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-2], shape[-1] * (shape[-1] + 1) // 2))


class _CholeskyToCovariance(Transform):
    """L ↦ L Lᵀ, whose Jacobian determinant is 2ⁿ ∏ᵢ Lᵢᵢⁿ⁺¹⁻ⁱ, i = 1 … n."""

    domain = constraints.lower_cholesky
    codomain = constraints.positive_definite
    bijective = True

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return torch.linalg.cholesky(y)

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        powers = torch.arange(n, 0, -1)
        return n * math.log(2) + (powers * x.diagonal(dim1=-2, dim2=-1).log()).sum(-1)


def _matrix_size(entries: int) -> int:
    """The n whose triangle, diagonal included, has so many entries."""
    return (math.isqrt(8 * entries + 1) - 1) // 2
