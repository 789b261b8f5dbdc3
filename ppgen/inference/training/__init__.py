"""Training: one loop, one file an objective, one learner an engine."""

from ppgen.inference.training.run import EpochRecord, TrainingRun
from ppgen.inference.training.train import train

__all__ = ["EpochRecord", "TrainingRun", "train"]
