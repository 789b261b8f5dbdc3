"""Diffusion models: noise is undone step by step, by one network. One member a file."""

from ppgen.models.diffusion.ddpm import DDPM
from ppgen.models.diffusion.flow_matching import FlowMatching
from ppgen.models.diffusion.masked import MaskedDiffusion
from ppgen.models.diffusion.ncsn import NCSN
from ppgen.models.diffusion.score_sde import ScoreSDE

__all__ = ["DDPM", "NCSN", "FlowMatching", "MaskedDiffusion", "ScoreSDE"]
