"""Models that weigh: a density known up to a constant, and chains that draw from it; one member a file."""

from ppgen.models.energy.boltzmann import BoltzmannMachine
from ppgen.models.energy.dbn import DBN
from ppgen.models.energy.deep import EnergyModel
from ppgen.models.energy.rbm import RBM

__all__ = ["DBN", "RBM", "BoltzmannMachine", "EnergyModel"]
