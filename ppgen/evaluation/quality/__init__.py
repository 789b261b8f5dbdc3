"""How good samples are: pure functions on feature arrays, each figure with its interval."""

from ppgen.evaluation.quality.confidence import inception_score
from ppgen.evaluation.quality.copying import Memorisation, memorisation
from ppgen.evaluation.quality.coverage import DensityCoverage, density_coverage
from ppgen.evaluation.quality.frechet import FrechetDistance, frechet_distance
from ppgen.evaluation.quality.kernel import kernel_distance
from ppgen.evaluation.quality.manifold import PrecisionRecall, precision_recall
from ppgen.evaluation.quality.measurement import Difference, Measurement
from ppgen.evaluation.quality.molecules import MoleculeQuality, molecule_quality
from ppgen.evaluation.quality.text import ngram_novelty, perplexity
from ppgen.evaluation.quality.transport import wasserstein_distance
from ppgen.evaluation.quality.two_sample import TwoSampleTest, classifier_two_sample_test

__all__ = [
    "DensityCoverage",
    "Difference",
    "FrechetDistance",
    "Measurement",
    "Memorisation",
    "MoleculeQuality",
    "PrecisionRecall",
    "TwoSampleTest",
    "classifier_two_sample_test",
    "density_coverage",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "memorisation",
    "molecule_quality",
    "ngram_novelty",
    "perplexity",
    "precision_recall",
    "wasserstein_distance",
]
