"""Models that anyone can fit in seconds: what a generative model has to beat.

Each has ``fit(data)``, ``log_prob(x)``, ``sample(n, seed=)`` and ``n_parameters``, and chooses its own
settings on the validation split, so that the comparison is against a baseline at its best.
"""

from ppgen.evaluation.baselines.baseline import Baseline
from ppgen.evaluation.baselines.categorical_mixture import CategoricalMixture
from ppgen.evaluation.baselines.gaussian_mixture import GaussianMixture
from ppgen.evaluation.baselines.independent import IndependentCategorical
from ppgen.evaluation.baselines.kernel_density import KernelDensity

__all__ = ["Baseline", "CategoricalMixture", "GaussianMixture", "IndependentCategorical", "KernelDensity"]
