"""What samples are measured on: feature vectors of rows, each with the spec of how they were made.

The networks that need torch, :class:`EfficientNetLite0` and :class:`InceptionV3`, are imported when they are
first asked for.
"""

from typing import TYPE_CHECKING, Any

from ppgen.evaluation.features.classifier import Classifier, digits_classifier
from ppgen.evaluation.features.pca import PCA
from ppgen.evaluation.features.plain import Pixels, Standardised
from ppgen.evaluation.features.spec import Features, FeatureSpec, Takes

if TYPE_CHECKING:
    from ppgen.evaluation.features.efficientnet import EfficientNetLite0
    from ppgen.evaluation.features.inception import InceptionV3

__all__ = [
    "PCA",
    "Classifier",
    "EfficientNetLite0",
    "FeatureSpec",
    "Features",
    "InceptionV3",
    "Pixels",
    "Standardised",
    "Takes",
    "digits_classifier",
]


def __getattr__(name: str) -> Any:
    if name == "EfficientNetLite0":
        from ppgen.evaluation.features.efficientnet import EfficientNetLite0

        return EfficientNetLite0
    if name == "InceptionV3":
        from ppgen.evaluation.features.inception import InceptionV3

        return InceptionV3
    raise AttributeError(f"module 'ppgen.evaluation.features' has no attribute {name!r}")
