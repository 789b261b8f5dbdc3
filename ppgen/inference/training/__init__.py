"""Training: one loop, one file per objective, one learner per array library."""

from ppgen.inference.training.run import EpochRecord, TrainingRun
from ppgen.inference.training.train import train

__all__ = ["EpochRecord", "TrainingRun", "train"]
