"""The objectives by name, each imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from ppgen.checks import check_choice, check_options
from ppgen.errors import InvalidArgument
from ppgen.inference.training.objectives.objective import Objective

__all__ = ["OBJECTIVES", "make_objective"]

_ROOM = "ppgen.inference.training.objectives"

OBJECTIVES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "likelihood": (f"{_ROOM}.likelihood", "MaximumLikelihood"),
        "elbo": (f"{_ROOM}.elbo", "ELBO"),
        "iwae": (f"{_ROOM}.elbo", "ImportanceWeighted"),
        "renyi": (f"{_ROOM}.elbo", "Renyi"),
        "wake_sleep": (f"{_ROOM}.elbo", "WakeSleep"),
        "cd": (f"{_ROOM}.contrastive", "ContrastiveDivergence"),
        "pcd": (f"{_ROOM}.contrastive", "PersistentContrastiveDivergence"),
        "greedy": (f"{_ROOM}.deep_belief", "Greedy"),
        "up_down": (f"{_ROOM}.deep_belief", "UpDown"),
        "score_matching": (f"{_ROOM}.score", "ScoreMatching"),
        "sliced_score_matching": (f"{_ROOM}.score", "SlicedScoreMatching"),
        "denoising_score_matching": (f"{_ROOM}.score", "DenoisingScoreMatching"),
        "nce": (f"{_ROOM}.noise_contrastive", "NoiseContrastiveEstimation"),
        "adversarial": (f"{_ROOM}.adversarial", "Adversarial"),
        "wasserstein": (f"{_ROOM}.wasserstein", "Wasserstein"),
        "variational_bound": (f"{_ROOM}.denoising", "VariationalBound"),
        "noise_prediction": (f"{_ROOM}.denoising", "NoisePrediction"),
        "denoising": (f"{_ROOM}.denoising", "MultilevelDenoising"),
        "flow_matching": (f"{_ROOM}.flow_matching", "FlowMatching"),
    }
)


def make_objective(
    choice: str | Objective | None, possible: Sequence[str], options: Mapping[str, Any]
) -> Any:
    """Return the requested objective, with its options.

    Args:
        choice: a name, an objective of the user's own, or ``None`` for the first that is possible.
        possible: the names of the objectives that suit the subject, its default first.
        options: the settings of the objective.

    Raises:
        UnknownName: if there is no such objective, or it has no such option.
        InvalidArgument: if options are given with an objective that has its own.

    Example:
        >>> make_objective("iwae", ("elbo", "iwae"), {"samples": 4})
        ImportanceWeighted(samples=4)
    """
    if choice is not None and not isinstance(choice, str):
        if options:
            raise InvalidArgument(
                next(iter(options)),
                got=f"an option next to the objective {type(choice).__name__}",
                expected="the options inside the objective itself",
                fix=f"Write objective={type(choice).__name__}({next(iter(options))}=...).",
            )
        return choice
    name = possible[0] if choice is None else check_choice("objective", choice, possible)
    module, kind = OBJECTIVES[name]
    build = getattr(importlib.import_module(module), kind)
    check_options(name, options, [field.name for field in fields(build)])
    return build(**options)
