"""The continuous flow's map: a velocity field, followed from data to noise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ppgen.models.networks.invertible import InvertibleMap
from ppgen.models.networks.zuko_parts import zuko

__all__ = ["VelocityMap"]

FREQUENCIES = 3  # of the sinusoids that encode time


class VelocityMap(InvertibleMap):
    r"""The end of a path along a velocity field, and how the volume around it has changed.

    .. math:: \frac{d h}{d t} = v(h, t), \qquad
        \frac{d \log|\det|}{d t} = \mathrm{tr} \frac{\partial v}{\partial h}, \qquad t \in [0, 1]

    The solver takes equal Dormand–Prince steps: their number does not depend on the rows, so a row's density
    does not depend on the other examples.

    Args:
        features: the length of one example.
        context: the length of the module's argument; 0 for none.
        hidden: widths of the velocity's network.
        steps: of the solver, each of fifth order.
        exact: take the trace exactly, or estimate it without bias, with one random direction per path
            (Hutchinson). With one or two hidden layers the exact trace is the cheaper one; with more it costs
            one more pass per feature.

    References:
        Grathwohl et al., *FFJORD*, 2018, arXiv:1810.01367; Hutchinson, *A stochastic estimator of the trace
        of the influence matrix*, 1989.
    """

    waves: Tensor

    def __init__(
        self, features: int, context: int = 0, *, hidden: tuple[int, ...], steps: int, exact: bool
    ) -> None:
        super().__init__()
        self.steps = steps
        self.exact = exact
        widths = (features + 2 * FREQUENCIES + context, *hidden, features)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.register_buffer("waves", torch.pi * torch.arange(1, FREQUENCIES + 1))

    def to_noise(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where the paths from ``x (..., d)`` end, and the log-determinant ``(...)``."""
        trace = self._trace(x)

        def rates(t: Tensor, state: Tensor) -> Tensor:
            velocity, slopes = self._velocity(state[..., :-1], t, context)
            return torch.cat([velocity, trace(slopes)[..., None]], -1)

        begin = torch.cat([x, torch.zeros_like(x[..., :1])], -1)  # (..., features + 1)
        end = self._follow(rates, begin, forward=True)
        return end[..., :-1], end[..., -1]

    def to_data(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Where the paths that end at ``z (..., d)`` begin."""
        return self._follow(lambda t, h: self._velocity(h, t, context)[0], z, forward=False)

    def _follow(self, rates: Callable[[Tensor, Tensor], Tensor], state: Tensor, *, forward: bool) -> Tensor:
        size = state.new_tensor(1 / self.steps if forward else -1 / self.steps)
        for step in range(self.steps):
            done = step / self.steps
            t = state.new_tensor(done if forward else 1 - done)
            state = zuko.utils.dopri45(rates, state, t, size)
        return state

    def _velocity(self, h: Tensor, t: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """The velocity ``(..., features)``, and each hidden layer's slopes ``(..., width)``."""
        time = torch.cat([(self.waves * t).cos(), (self.waves * t).sin()])
        given = [time] if context is None else [time, context]
        inputs = torch.cat([h, *(part.expand(*h.shape[:-1], -1) for part in given)], -1)
        first, *others = self._layers()
        value, slopes = first(inputs), []
        for layer in others:
            value = value.tanh()
            slopes.append(1 - value**2)
            value = layer(value)
        return value, slopes

    def _trace(self, x: Tensor) -> Callable[[list[Tensor]], Tensor]:
        r"""A function from the slopes of hidden units to the trace ``(...)`` of the velocity's Jacobian.

        That is :math:`W_K D_{K-1} W_{K-1} \cdots D_1 W_1` with the slopes D. Its trace is linear in each D:
        with one hidden layer a sum over its units, with two a sum over pairs of units,
        :math:`\sum_{jk} (D_2)_j (W_2)_{jk} (D_1)_k (W_1 W_3)_{kj}`, whose weights are the same all along
        the path.
        """
        first, *others = self._layers()
        features = x.shape[-1]
        inwards = first.weight[:, :features]  # (width, features)
        if self.exact and len(others) == 1:
            of_units = (inwards * others[0].weight.T).sum(1)
            return lambda slopes: slopes[0] @ of_units
        if self.exact and len(others) == 2:
            of_pairs = others[0].weight * (inwards @ others[1].weight).T  # (width 2, width 1)
            return lambda slopes: (slopes[0] @ of_pairs.T * slopes[1]).sum(-1)
        directions = self._directions(x)

        def along(slopes: list[Tensor]) -> Tensor:
            """Forward-mode differentiation: the directions go through the layers as values do."""
            change = directions @ inwards.T  # (k, ..., width)
            for slope, layer in zip(slopes, others, strict=True):
                change = (change * slope) @ layer.weight.T
            return (change * directions).sum((0, -1))

        return along

    def _directions(self, x: Tensor) -> Tensor:
        """The directions ``(k, ..., features)`` along which the velocity is differentiated."""
        if not self.exact:
            return torch.randint(0, 2, (1, *x.shape), device=x.device).to(x.dtype) * 2 - 1
        axes = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        return axes.view(-1, *(1,) * (x.ndim - 1), x.shape[-1]).expand(-1, *x.shape)

    def _layers(self) -> list[nn.Linear]:
        return cast(list[nn.Linear], list(self.layers))
