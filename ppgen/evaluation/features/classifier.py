"""Features from a classifier trained on the data's own classes; the one for digits ships with ppgen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ppgen import storage
from ppgen.data import Dataset
from ppgen.data.rows import UNKNOWN
from ppgen.errors import DataError
from ppgen.evaluation.features.rows import RowFeatures, scaled, training_rows
from ppgen.evaluation.scikit_learn import quiet_fits

__all__ = ["Classifier", "digits_classifier", "train_digits_classifier"]

_WIDTHS = (64, 32)  # the features are the last hidden layer: few, so that few samples suffice
_SHIPPED = Path(__file__).parent / "digits_classifier.ppgen"


@dataclass(frozen=True, eq=False)
class Classifier(RowFeatures):
    r"""The last hidden layer of a small network that classifies the data.

    .. math:: h_1 = \tanh(x W_1 + b_1), \quad h_2 = \tanh(h_1 W_2 + b_2), \quad
              p(\cdot \mid x) = \operatorname{softmax}(h_2 W_3 + b_3)

    Its features :math:`h_2` capture what distinguishes the classes, and little else. It is more confident on
    its own training set: compare samples with examples that it has not seen.

    Attributes:
        shape: the shape of one example.
        levels: how many values a discrete entry takes.
        name: the name of the classifier.
        weights, biases: of the three layers, in single precision.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> features = digits_classifier()(digits.test)
        >>> right = features.probabilities.argmax(axis=1) == digits.labels.test
        >>> features.values.shape, bool(right.mean() > 0.97)
        ((447, 32), True)
    """

    name: str
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, data: Dataset, *, seed: int = 0) -> Classifier:
        """Train it on a dataset's labelled training examples; seconds for a thousand digits.

        Raises:
            DataError: if the training set has no labels, or fewer than two classes.
        """
        from sklearn.neural_network import MLPClassifier

        rows = training_rows(data)
        label = np.full(len(rows), UNKNOWN) if data.labels is None else data.labels.train
        known = label != UNKNOWN
        if len(np.unique(label[known])) < 2:
            raise DataError(
                "data",
                got=f"{data.name} with {len(np.unique(label[known]))} classes among its training rows",
                expected="labelled training rows of at least two classes",
                fix='Pass labels=..., or measure with features="pca".',
            )
        network = MLPClassifier(_WIDTHS, activation="tanh", alpha=0.01, max_iter=300, random_state=seed)
        with quiet_fits():
            network.fit(scaled(rows[known], data.levels), label[known])
        weights, biases = network.coefs_, network.intercepts_
        if len(network.classes_) == 2:  # scikit-learn then has one output, the log odds of the second class
            weights[-1] = np.concatenate([np.zeros_like(weights[-1]), weights[-1]], axis=1)
            biases[-1] = np.concatenate([np.zeros_like(biases[-1]), biases[-1]])
        return cls(
            data.shape,
            data.levels,
            f"classifier of {data.name}",
            tuple(weight.astype(np.float32) for weight in weights),
            tuple(bias.astype(np.float32) for bias in biases),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """The trained parameters, by name."""
        named = {f"weight{i}": weight for i, weight in enumerate(self.weights)}
        return named | {f"bias{i}": bias for i, bias in enumerate(self.biases)}

    def _name(self) -> str:
        return self.name

    def _of(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.special import softmax

        hidden = flat
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.tanh(hidden @ weight.astype(np.float64) + bias)
        outputs = hidden @ self.weights[-1].astype(np.float64) + self.biases[-1]
        return hidden, softmax(outputs, axis=1)


@lru_cache(maxsize=1)
def digits_classifier() -> Classifier:
    """The classifier of the 8x8 digits that ships with ppgen, 26 kB; 97 % accurate on the test set.

    It is shipped rather than trained on demand: sums in a different order would give other weights and
    another hash, and results from two machines could not be compared.
    """
    stored = storage.read(_SHIPPED)
    layers = range(len(_WIDTHS) + 1)
    return Classifier(
        tuple(stored.document["shape"]),
        stored.document["levels"],
        stored.document["name"],
        tuple(stored.tensors[f"weight{i}"] for i in layers),
        tuple(stored.tensors[f"bias{i}"] for i in layers),
    )


def train_digits_classifier(path: Path = _SHIPPED) -> Path:
    """Write the file that :func:`digits_classifier` reads, from the training set of the digits.

    Raises:
        StorageError: if the path cannot be written.
    """
    from ppgen.data import load

    digits = load("digits")
    found = Classifier.fit(digits)
    document = {"name": found.name, "shape": found.shape, "levels": found.levels}
    return storage.write(path, storage.Stored(found.tensors(), document))
