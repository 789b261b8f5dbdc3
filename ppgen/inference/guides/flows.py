"""Normalizing-flow guides over flowjax: RealNVP, neural spline flow, inverse autoregressive flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Affine, Chain, Coupling, Flip, MaskedAutoregressive, Scan
from jax.flatten_util import ravel_pytree
from paramax import Parameterize, unwrap

from ppgen.inference.guides.guide import Pushed, log_normal
from ppgen.inference.guides.spline import Spline

__all__ = ["Flow"]

_BOUND = 6.0  # splines bend what lies within so many whitened standard deviations
_LARGEST_LOG_SCALE = 2.0  # of one affine layer
_START = 0.01  # the last layer of each network starts so much smaller: the flow starts near the identity

_CITES = {"realnvp": "realnvp", "nsf": "nsf", "iaf": "iaf"}


@dataclass(frozen=True)
class Flow:
    r"""A normalizing flow: layers whose shift and scale, or spline, a small network sets from other entries.

    ``realnvp`` has affine and ``nsf`` rational-quadratic spline couplings; ``iaf`` has affine layers that
    are autoregressive in the noise, so that draws with their density take one pass. Scales and slopes are
    bounded, and an affine layer follows at the end, as splines are the identity far out.

    Attributes:
        dim: length of y.
        name: ``"realnvp"``, ``"nsf"`` or ``"iaf"``.
        layers: how many layers, the order of the entries reversed after each.
        width: hidden units of each network.
        knots: bins of each spline.

    References:
        Dinh, Sohl-Dickstein and Bengio, arXiv:1605.08803; Durkan et al., arXiv:1906.04032; Kingma et al.,
        *Improving Variational Inference with Inverse Autoregressive Flow*, arXiv:1606.04934.

    Example:
        >>> flow = Flow(3, "nsf")
        >>> parameters, u = flow.initial(jax.random.key(0)), jnp.array([0.3, -1.0, 2.0])
        >>> y, log_det = flow.push(parameters, u)
        >>> bool(jnp.isclose(flow.log_prob(parameters, y), log_normal(u) - log_det, atol=1e-4))
        True
    """

    dense: ClassVar[bool] = True

    dim: int
    name: Literal["realnvp", "nsf", "iaf"]
    layers: int = 4
    width: int = 32
    knots: int = 8

    @property
    def cites(self) -> tuple[str, ...]:
        """Keys of :mod:`ppgen.inference.citations`."""
        return (_CITES[self.name], "flowjax")

    def initial(self, key: jax.Array) -> jax.Array:
        """Parameters ``(p,)`` near the standard normal distribution."""
        return _initial(self, key)

    def push(self, parameters: jax.Array, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``y (dim,)``, with log |det ∂y/∂u|."""
        return Pushed(*self._bijection(parameters).transform_and_log_det(u))

    def score(self, parameters: jax.Array, u: jax.Array) -> jax.Array:
        """The gradient ``(dim,)`` of log q with respect to y, at the y of u.

        Couplings are inverted. An autoregressive flow is slow to invert, but the gradient with respect to
        u is that with respect to y times the Jacobian (arXiv:2207.08219), which is solved for.
        """
        if self.name != "iaf":
            return jax.grad(lambda y: self.log_prob(parameters, y))(self.push(parameters, u).y)
        bijection = self._bijection(parameters)

        def log_q(u: jax.Array) -> jax.Array:
            return log_normal(u) - bijection.transform_and_log_det(u)[1]

        jacobian = jax.jacfwd(lambda u: bijection.transform_and_log_det(u)[0])(u)
        return jnp.linalg.solve(jacobian.T, jax.grad(log_q)(u))

    def log_prob(self, parameters: jax.Array, y: jax.Array) -> jax.Array:
        """log q(y)."""
        u, log_det = self._bijection(parameters).inverse_and_log_det(y)
        return log_normal(u) + log_det

    def _bijection(self, parameters: jax.Array) -> AbstractBijection:
        # Its arrays are replaced by the parameters; the ones it is built with are never computed.
        floats, rest = eqx.partition(_build(self, jax.random.key(0)), eqx.is_inexact_array)
        return unwrap(eqx.combine(ravel_pytree(floats)[1](parameters), rest))


@partial(jax.jit, static_argnums=0)  # hundreds of small operations, each slow to start on its own
def _initial(flow: Flow, key: jax.Array) -> jax.Array:
    floats = eqx.filter(_build(flow, key), eqx.is_inexact_array)
    return ravel_pytree(floats)[0]


def _build(flow: Flow, key: jax.Array) -> AbstractBijection:
    if flow.dim == 1:
        last = _affine((1,), largest=10.0)
        return Chain([_elementwise(flow), last]) if flow.name == "nsf" else last
    keys = jax.random.split(key, flow.layers)
    layers = eqx.filter_vmap(lambda key: Chain([_layer(flow, key), Flip((flow.dim,))]))(keys)  # type: ignore[call-arg]
    return Chain([Scan(layers), _affine((flow.dim,), largest=10.0)])


def _layer(flow: Flow, key: jax.Array) -> AbstractBijection:
    sizes: dict[str, Any] = {
        "dim": flow.dim,
        "nn_width": flow.width,
        "nn_depth": 1,
        "nn_activation": jax.nn.silu,
    }
    if flow.name == "iaf":
        masked = MaskedAutoregressive(key=key, transformer=_affine(()), **sizes)
        last = masked.masked_autoregressive_mlp.layers[-1]
        small = eqx.tree_at(lambda last: (last.weight.args[1], last.bias), last, replace_fn=_shrink)
        return eqx.tree_at(lambda layer: layer.masked_autoregressive_mlp.layers[-1], masked, small)
    # A spline is the identity far out; the affine map after it reaches what lies there.
    spline = Chain([Spline(knots=flow.knots, bound=_BOUND), _affine(())])
    transformer = _affine(()) if flow.name == "realnvp" else spline
    coupling = Coupling(key=key, transformer=transformer, untransformed_dim=flow.dim // 2, **sizes)
    small = eqx.tree_at(
        lambda last: (last.weight, last.bias), coupling.conditioner.layers[-1], replace_fn=_shrink
    )
    return eqx.tree_at(lambda layer: layer.conditioner.layers[-1], coupling, small)


def _shrink(weight: jax.Array) -> jax.Array:
    return _START * weight


def _affine(shape: tuple[int, ...], largest: float = _LARGEST_LOG_SCALE) -> AbstractBijection:
    """An affine map with a bounded logarithm of its scale, the identity at first."""
    scale: Any = Parameterize(lambda x: jnp.exp(largest * jnp.tanh(x / largest)), jnp.zeros(shape))
    return eqx.tree_at(lambda affine: affine.scale, Affine(jnp.zeros(shape), jnp.ones(shape)), scale)


def _elementwise(flow: Flow) -> AbstractBijection:
    """In one dimension there is nothing to condition on: one spline."""
    from flowjax.bijections import Reshape

    return Reshape(Spline(knots=flow.knots, bound=_BOUND), (1,))
