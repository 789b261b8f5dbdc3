"""Flow matching: a velocity field that carries noise to data on straight paths."""

from __future__ import annotations

from typing import Any, Literal

import jax
import numpy as np

from ppgen.checks import check_number
from ppgen.models.diffusion.flow_family import FlowProgram, ProbabilityFlowFamily, cell_noise, flow_rows
from ppgen.models.diffusion.levels import default_prediction, level_mean, outputs_of
from ppgen.models.settings import setting

__all__ = ["FlowMatching", "StraightPaths"]

Prediction = Literal["velocity", "levels"]


class FlowMatching(ProbabilityFlowFamily):
    r"""A continuous normalising flow that is trained without solving an ODE.

    .. math:: z_0 \sim N(0, I), \qquad \dot z = v_\theta(z, t), \qquad x = z_1

    The objective ``flow_matching`` regresses v on the velocity :math:`x - \epsilon` of the straight path from
    noise to data, :math:`z_t = (1 - t) \epsilon + t x`; with ``pairing="optimal"`` noise and data of a
    minibatch are paired first so that the paths are short.

    For data with levels the network by default predicts the distribution over them, and the velocity is
    :math:`(\hat x - z_t) / (1 - t)` with :math:`\hat x` their mean; the flow ends at levels under noise that
    hardly leaves their cells.

    A network of your own: set ``family.network`` to an equinox module that is called as
    ``network(z, t, label, key)`` with one row ``(*shape, 1)`` and gives its velocity, ``(*shape, 1)``, or
    with ``prediction="levels"`` logits ``(*shape, levels)``; or override :meth:`velocity`.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*, 2022,
        arXiv:2210.02747; Tong et al., *Improving and Generalizing Flow-Based Generative Models with Minibatch
        Optimal Transport*, 2023, arXiv:2302.00482.

    Example:
        >>> flow = FlowMatching((2,), width=16, depth=1)
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]])
        Likelihood(estimate, continuous, n=1: bits/dim ≈ 1.3257 ± nan; probability flow, ...)
    """

    name = "flow-matching"
    summary = "velocity field on straight paths from noise; estimate by its flow, for levels a lower bound"

    prediction: Prediction = setting(
        factory=lambda chosen: default_prediction(chosen.levels, "velocity"),
        doc="what the network predicts: the velocity, or for data with levels (where it is the default) the "
        "distribution of each entry over the levels",
    )
    dropout: float = 0.0

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it; the density of continuous data is maximised itself."""
        return ("flow_matching", "likelihood" if self.levels is None else "elbo")

    def build(self) -> None:
        """Build the network."""
        self._begin(
            StraightPaths,
            self._denoiser(outputs=outputs_of(self.prediction, self.levels)),
            prediction=self.prediction,
            data_time=1.0 if self.levels is None else 1 / (1 + cell_noise(self.levels)),
            noise_time=0.0,
            noise_spread=1.0,
        )

    def sample(
        self, n: int, *, seed: int = 0, label: Any = None, guidance: float = 1.0, tolerance: float = 1e-4
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: the weight of the class: 1 is the model itself, 0 ignores the class.
            tolerance: of each step of the solver.
        """
        tolerance = check_number("tolerance", tolerance, above=0.0, example=1e-4)
        return self._draw(n, seed, flow_rows, label, guidance, tolerance=tolerance)


class StraightPaths(FlowProgram):
    """The program of :class:`FlowMatching`: rows move on straight paths, each on average over its ends."""

    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The share of the data and the spread of the noise, which broadcast against rows."""
        t = self.expanded(t)
        return t, 1 - t

    def input_scale(self, t: jax.Array) -> float:
        """The spread of the data along the path, about constant."""
        return 1.0

    def velocity(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The velocity, with guidance; see :meth:`FlowProgram.velocity`."""
        out = self.guided(z, t, label, guidance, key)
        if self.prediction == "velocity":
            return out
        return (level_mean(out) - z) / self.expanded(1 - t)
