"""Initial weights that preserve the spread of activations."""

from __future__ import annotations

from torch import nn

__all__ = ["keep_variance"]


def keep_variance(network: nn.Module) -> nn.Module:
    r"""Draw the weights of linear and convolutional layers from :math:`\mathcal{N}(0, 2 / \text{inputs})`.

    With PyTorch's default weights each layer loses at least half of the spread, so that the first samples of
    a deep generator are all alike.

    References:
        He et al., *Delving Deep into Rectifiers*, 2015, arXiv:1502.01852.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.SiLU()) for _ in range(4)))
        >>> rows = torch.randn(500, 64)
        >>> bool(network(rows).std() < 0.1), bool(keep_variance(network)(rows).std() > 0.3)
        (True, True)
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
