"""The rungs of a ladder: the levels of a hierarchy of latent vectors, with upward and downward networks."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from ppgen.models.networks.mlp import mlp

__all__ = ["Rung"]


class Rung(nn.Module):
    """The networks of one level, around a state ``(n, width)`` that is passed down from level to level.

    There is no dropout on the way down: the guide and the program descend separately, and must reach the same
    state.

    Args:
        latent_dim: the length of the level's latent vector.
        width: of the state, of what is handed up, and of hidden layers.
        inputs: the length of what comes up from the level below.
        dropout: on the way up, in training.
        top: whether it is the top level, whose prior location is zero.
        bottom: whether it is the bottom level, which passes no state on.
    """

    def __init__(
        self, latent_dim: int, width: int, inputs: int, dropout: float, *, top: bool, bottom: bool
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.up = nn.Sequential(mlp(inputs, (width,), width, dropout), nn.LayerNorm(width), nn.SiLU())
        self.evidence = nn.Linear(width, 2 * latent_dim)
        self.expectation = None if top else _from_zero(mlp(width, (width,), latent_dim))
        self.down = None if bottom else nn.Linear(latent_dim, width)

    def read(self, features: Float[Tensor, "n width"]) -> tuple[Tensor, Tensor]:
        """The evidence about the latent vector: its offset from the prior location, and its log scale."""
        shift, log_scale = self.evidence(features).chunk(2, -1)
        return shift, log_scale.clamp(-7, 7)

    def expect(self, state: Float[Tensor, "n width"]) -> Tensor:
        """The location of the latent vector ``(n, latent_dim)`` given the levels above."""
        if self.expectation is None:
            return state.new_zeros(len(state), self.latent_dim)
        return self.expectation(state)

    def descend(self, state: Float[Tensor, "n width"], z: Tensor) -> Float[Tensor, "n width"]:
        """The state for the level below."""
        return state if self.down is None else state + self.down(z)


def _from_zero(network: nn.Sequential) -> nn.Sequential:
    """The network with outputs that are zero at first: a level that expects nothing adds no noise."""
    last = cast(nn.Linear, network[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network
