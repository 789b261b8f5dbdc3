"""Flows: noise pushed through an invertible map, with an exact density. One member a file."""

from ppgen.models.flow.continuous import ContinuousFlow
from ppgen.models.flow.glow import Glow
from ppgen.models.flow.iaf import IAF
from ppgen.models.flow.maf import MAF
from ppgen.models.flow.neural_spline import NeuralSplineFlow
from ppgen.models.flow.nice import NICE
from ppgen.models.flow.realnvp import RealNVP

__all__ = ["IAF", "MAF", "NICE", "ContinuousFlow", "Glow", "NeuralSplineFlow", "RealNVP"]
