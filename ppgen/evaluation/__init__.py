"""How good a generative model is, and what kind of number says so."""

from typing import TYPE_CHECKING, Any

from ppgen.evaluation import baselines, features, likelihood
from ppgen.evaluation.evaluate import evaluate
from ppgen.evaluation.features import Features, FeatureSpec
from ppgen.evaluation.likelihood import LikelihoodComparison, compare_likelihoods
from ppgen.evaluation.quality import (
    Measurement,
    classifier_two_sample_test,
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    memorisation,
    molecule_quality,
    ngram_novelty,
    perplexity,
    precision_recall,
    wasserstein_distance,
)
from ppgen.evaluation.row import Group, Row
from ppgen.evaluation.scorecard import Scorecard

if TYPE_CHECKING:
    from ppgen.evaluation.likelihood import Sandwich, annealed_likelihood, bdmc

__all__ = [
    "FeatureSpec",
    "Features",
    "Group",
    "LikelihoodComparison",
    "Measurement",
    "Row",
    "Sandwich",
    "Scorecard",
    "annealed_likelihood",
    "baselines",
    "bdmc",
    "classifier_two_sample_test",
    "compare_likelihoods",
    "density_coverage",
    "evaluate",
    "features",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "likelihood",
    "memorisation",
    "molecule_quality",
    "ngram_novelty",
    "perplexity",
    "precision_recall",
    "wasserstein_distance",
]


def __getattr__(name: str) -> Any:
    """What anneals imports JAX, which takes seconds: only when it is asked for."""
    if name in ("Sandwich", "annealed_likelihood", "bdmc"):
        return getattr(likelihood, name)
    raise AttributeError(f"module 'ppgen.evaluation' has no attribute {name!r}")
