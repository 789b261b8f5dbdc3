"""Products, factorisations and solutions of linear systems, on stacks of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import linalg

__all__ = ["TABLE"]


def _plus(product: Callable[..., Any]) -> Callable[..., Any]:
    """beta · x + alpha · product(y, z), as addmm and its kin compute it."""

    def add(x: Any, y: Any, z: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        scaled = product(y, z) if alpha == 1 else alpha * product(y, z)
        return scaled + (x if beta == 1 else beta * x)

    return add


def _transposed(x: Any) -> Any:
    return jnp.swapaxes(x, -2, -1)


def _cholesky(x: Any, upper: bool = False, check_errors: bool = False) -> tuple[Any]:
    """NaN where the matrix is not positive definite."""
    return (jnp.linalg.cholesky(x, upper=upper),)


def _solve_triangular(x: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    if not left:  # X A = B is Aᵀ Xᵀ = Bᵀ
        solved = _solve_triangular(
            _transposed(x), _transposed(b), upper=not upper, unitriangular=unitriangular
        )
        return _transposed(solved)
    batch = jnp.broadcast_shapes(x.shape[:-2], b.shape[:-2])
    x, b = (jnp.broadcast_to(m, (*batch, *m.shape[-2:])) for m in (x, b))
    return jax.lax.linalg.triangular_solve(x, b, left_side=True, lower=not upper, unit_diagonal=unitriangular)


def _triangular_solve(
    b: Any, x: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Any, Any]:
    if transpose:
        x, upper = _transposed(x), not upper
    return _solve_triangular(x, b, upper=upper, unitriangular=unitriangular), x


def _cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    lower = _transposed(factor) if upper else factor
    half = _solve_triangular(lower, b, upper=False)
    return _solve_triangular(_transposed(lower), half, upper=True)


def _cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    identity = jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return _cholesky_solve(identity, factor, upper)


def _lu(x: Any, pivot: bool = True, check_errors: bool = False) -> tuple[Any, Any]:
    """The two factors in one matrix, and torch's pivots, which count from 1."""
    factors, pivots, _ = jax.lax.linalg.lu(x)
    return factors, pivots + 1


def _solve(x: Any, b: Any, *, left: bool = True, check_errors: bool = False) -> tuple[Any]:
    """The solution alone: the factors that torch gives beside it are for its own gradient."""
    if not left:  # X A = B is Aᵀ Xᵀ = Bᵀ
        return (_transposed(_solve(_transposed(x), _transposed(b))[0]),)
    if b.ndim == 1 or b.shape == x.shape[:-1]:  # a stack of vectors
        return (jnp.linalg.solve(x, b[..., None])[..., 0],)
    return (jnp.linalg.solve(x, b),)


def _eigh(x: Any, lower: str = "L", compute_v: bool = True) -> tuple[Any, Any]:
    return tuple(jnp.linalg.eigh(x, UPLO=lower))


def _svd(x: Any, full_matrices: bool = False, compute_uv: bool = True, driver: Any = None) -> tuple[Any, ...]:
    return tuple(jnp.linalg.svd(x, full_matrices=full_matrices))


def _qr(x: Any, mode: str = "reduced") -> tuple[Any, Any]:
    return tuple(jnp.linalg.qr(x, mode=mode))


def _inverse(x: Any, *, check_errors: bool = False) -> tuple[Any]:
    return (jnp.linalg.inv(x),)


def _matrix_exponential(x: Any) -> Any:
    return jnp.vectorize(linalg.expm, signature="(n,n)->(n,n)")(x)


def _distances(x: Any, y: Any, p: float = 2, compute_mode: int | None = None) -> Any:
    """Distances between all rows of two matrices; at distance 0 the gradient is 0, as in torch."""
    apart = jnp.abs(x[..., :, None, :] - y[..., None, :, :])  # (…, rows of x, rows of y, dim)
    if p == float("inf"):
        return apart.max(-1)
    total = (apart**p).sum(-1) if p != 1 else apart.sum(-1)
    return jnp.where(total == 0, 0.0, jnp.where(total == 0, 1.0, total) ** (1 / p))


# Torch counts how a transform divides: 0 not at all, 1 by √n, 2 by n.
_FORWARD_NORMS = ("backward", "ortho", "forward")
_INVERSE_NORMS = ("forward", "ortho", "backward")


def _fft_real(x: Any, dims: Sequence[int], normalization: int, onesided: bool) -> Any:
    transform = jnp.fft.rfftn if onesided else jnp.fft.fftn
    return transform(x, axes=tuple(dims), norm=_FORWARD_NORMS[normalization])


def _fft_complex(x: Any, dims: Sequence[int], normalization: int, forward: bool) -> Any:
    if forward:
        return jnp.fft.fftn(x, axes=tuple(dims), norm=_FORWARD_NORMS[normalization])
    return jnp.fft.ifftn(x, axes=tuple(dims), norm=_INVERSE_NORMS[normalization])


def _fft_to_real(x: Any, dims: Sequence[int], normalization: int, last_size: int) -> Any:
    sizes = [*(x.shape[dim] for dim in dims[:-1]), last_size]
    return jnp.fft.irfftn(x, sizes, axes=tuple(dims), norm=_INVERSE_NORMS[normalization])


TABLE: dict[str, Callable[..., Any]] = {
    # -- products --
    "mm": jnp.matmul,
    "bmm": jnp.matmul,
    "addmm": _plus(jnp.matmul),
    "addmv": _plus(jnp.matmul),
    "addbmm": _plus(lambda y, z: jnp.matmul(y, z).sum(0)),
    # -- factorisations --
    "linalg_cholesky_ex": _cholesky,
    "cholesky": lambda x, upper=False: _cholesky(x, upper)[0],
    "linalg_lu_factor_ex": _lu,
    "linalg_qr": _qr,
    "_linalg_eigh": _eigh,
    "_linalg_svd": _svd,
    # -- solutions --
    "linalg_solve_triangular": _solve_triangular,
    "triangular_solve": _triangular_solve,
    "cholesky_solve": _cholesky_solve,
    "cholesky_inverse": _cholesky_inverse,
    "_linalg_solve_ex": _solve,
    "linalg_inv_ex": _inverse,
    # -- numbers of a matrix --
    "_linalg_det": lambda x: (jnp.linalg.det(x),),
    "_linalg_slogdet": lambda x: tuple(jnp.linalg.slogdet(x)),
    "linalg_matrix_exp": _matrix_exponential,
    "_cdist_forward": _distances,
    # -- Fourier transforms --
    "_fft_r2c": _fft_real,
    "_fft_c2c": _fft_complex,
    "_fft_c2r": _fft_to_real,
}
