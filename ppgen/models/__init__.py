"""The families of generative models: each a program, one file a family."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "DBN",
    "DDPM",
    "FAMILIES",
    "FGAN",
    "FVSBN",
    "GAN",
    "IAF",
    "MADE",
    "MAF",
    "NADE",
    "NCSN",
    "NICE",
    "RBM",
    "VAE",
    "VQVAE",
    "WGAN",
    "BiGAN",
    "BoltzmannMachine",
    "ContinuousFlow",
    "EnergyModel",
    "FlowMatching",
    "Glow",
    "HierarchicalVAE",
    "MaskedDiffusion",
    "NeuralSplineFlow",
    "PixelCNN",
    "RealNVP",
    "ScoreSDE",
    "SemiSupervisedVAE",
    "Transformer",
    "describe",
    "load",
    "make",
    "save",
]

_HOMES = {
    "FVSBN": "ppgen.models.autoregressive",
    "NADE": "ppgen.models.autoregressive",
    "MADE": "ppgen.models.autoregressive",
    "PixelCNN": "ppgen.models.autoregressive",
    "Transformer": "ppgen.models.autoregressive",
    "VAE": "ppgen.models.vae",
    "HierarchicalVAE": "ppgen.models.vae",
    "SemiSupervisedVAE": "ppgen.models.vae",
    "VQVAE": "ppgen.models.vae",
    "NeuralSplineFlow": "ppgen.models.flow",
    "NICE": "ppgen.models.flow",
    "RealNVP": "ppgen.models.flow",
    "Glow": "ppgen.models.flow",
    "MAF": "ppgen.models.flow",
    "IAF": "ppgen.models.flow",
    "ContinuousFlow": "ppgen.models.flow",
    "GAN": "ppgen.models.gan",
    "FGAN": "ppgen.models.gan",
    "WGAN": "ppgen.models.gan",
    "BiGAN": "ppgen.models.gan",
    "BoltzmannMachine": "ppgen.models.energy",
    "RBM": "ppgen.models.energy",
    "DBN": "ppgen.models.energy",
    "EnergyModel": "ppgen.models.energy",
    "NCSN": "ppgen.models.diffusion",
    "DDPM": "ppgen.models.diffusion",
    "ScoreSDE": "ppgen.models.diffusion",
    "FlowMatching": "ppgen.models.diffusion",
    "MaskedDiffusion": "ppgen.models.diffusion",
    "FAMILIES": "ppgen.models.catalog",
    "describe": "ppgen.models.catalog",
    "make": "ppgen.models.catalog",
    "load": "ppgen.models.files",
    "save": "ppgen.models.files",
}


def __getattr__(name: str) -> Any:
    # Only at first use: importing ppgen imports neither torch nor jax.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
