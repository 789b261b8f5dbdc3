"""The semi-supervised VAE: the label is a latent variable, observed for some examples."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.nn import functional as F

from ppgen.data.lazy import RowArray
from ppgen.models.distributions.selected import OneHot, Selected, SelectedOfEach
from ppgen.models.module_family import seeded
from ppgen.models.networks.codec import encoder
from ppgen.models.settings import setting
from ppgen.models.vae.vae import VAE

__all__ = ["SemiSupervisedVAE"]


class SemiSupervisedVAE(VAE):
    r"""A class-conditional VAE whose labels may be missing: model M2 of Kingma et al.

    .. math:: y \sim \pi, \qquad z \sim p(z), \qquad x \mid y, z \sim p(x \mid \mathrm{decoder}(z, y)), \qquad
        q(y, z \mid x) = q(y \mid x) \, q(z \mid x, y)

    Training rows have labels :math:`0, …, C - 1`, or -1 where they are unknown. An example with a label has
    the bound :math:`\mathcal{L}(x, y) \le \log p(x \mid y)`. In the bound of an example without one the label
    is marginalised, not sampled:

    .. math:: \mathcal{U}(x) = \sum_y q(y \mid x) \Big(\mathcal{L}(x, y) + \log \frac{\pi_y}{q(y \mid x)}\Big)
        \le \log p(x)

    The program expresses this with a one-hot site ``y`` and a latent vector for each class: every density in
    it is linear in y, so its value at :math:`y = q(\cdot \mid x)` is its expectation.

    Raises:
        InvalidArgument: if classes are missing, or as for :class:`~ppgen.models.VAE`.

    References:
        Kingma, Rezende, Mohamed and Welling, *Semi-Supervised Learning with Deep Generative Models*, 2014,
        arXiv:1406.5298.

    Example:
        >>> vae = SemiSupervisedVAE((2, 2), levels=3, classes=4, latent_dim=2, hidden=(8,))
        >>> rows = np.zeros((5, 2, 2), int)
        >>> vae.classify(rows).shape
        (5, 4)
        >>> vae.log_prob(rows, samples=8).kind, vae.sample(3, label=1).shape
        ('lower_bound', (3, 2, 2))
    """

    name = "semi-supervised-vae"
    summary = "class-conditional VAE for rows of which some have a label; classifies; lower bound"

    # With several draws the sum over classes would be inside the mean in the logarithm.
    objectives = ("elbo",)
    semi_supervised: ClassVar[bool] = True  # training may pass it examples without a label

    classes: int = setting(least=2, example=10, doc="how many classes there are")
    alpha: float = setting(
        default=50.0,
        above=0.0,
        doc="weight in training of the classifier's log q(y | x) on labelled examples, from "
        "which it would otherwise learn nothing. Reported bounds do not include it",
    )

    def build(self) -> None:
        """Build the networks of the VAE, and the classifier."""
        super().build()
        with seeded(self.seed):
            self.classifier = encoder(
                self.networks, self.shape, self.hidden, self.classes, dropout=self.dropout
            )

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``y (n, classes)``, ``z (n, classes, latent_dim)`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, -1 where it is unknown. In evaluation mode, where all
                are known, the program is that of the class-conditional VAE: the same density, and one class
                to decode instead of all.
        """
        if self._all_known(label):
            return super().model(x, n, label)
        self.register()
        n = n if x is None else len(x)
        with pyro.plate("rows", n):
            y = pyro.sample("y", OneHot(self._where_known(label, self.class_weights.expand(n, -1))))
            prior = self.latent_prior(self._posterior).expand(y.shape)
            with poutine.scale(scale=self._weight_of_z()):
                z = pyro.sample("z", SelectedOfEach(prior, y))
            observed = None if x is None else x.to(z.dtype)
            row = pyro.sample("x", Selected(self.rows_given(self._with_each_class(z)), y), obs=observed)
            if self.training and x is not None and label is not None:
                self._learn_to_classify(x, label)
            return row

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: ``y`` is the classifier's probabilities, or one-hot where the label is known; ``z``.

        Args:
            x: examples ``(n, *shape)``.
            label: the class of each example ``(n,)``, -1 where it is unknown.
        """
        if self._all_known(label):
            return super().guide(x, label)
        self.register()
        logits = self._class_logits(x)
        probs = self._where_known(label, logits.exp())
        # Minus the entropy of q(y | x), which is 0 for a known label.
        log_q = (probs * logits).sum(-1)
        log_q = log_q if label is None else torch.where(label >= 0, 0.0, log_q)
        inputs = self.as_input(x).flatten(1)[:, None].expand(-1, probs.shape[-1], -1)
        with pyro.plate("rows", len(x)):
            y = pyro.sample("y", dist.Delta(probs, log_q, event_dim=1))
            posterior = self._posterior(self._with_each_class(inputs))
            with poutine.scale(scale=self._weight_of_z()):
                return pyro.sample("z", SelectedOfEach(posterior, y))

    def classify(self, x: Any) -> np.ndarray:
        """The probabilities ``(n, classes)`` of each class, given the rows ``x (n, *shape)``: q(y | x)."""
        with self.evaluation_mode():
            return self._by_chunks(lambda rows: self._class_logits(rows).exp(), self.rows(x), None)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units from the training set, and the share of each class from the labels that are known."""
        super().standardise(rows, None)
        known = np.empty(0, int) if labels is None else labels[labels >= 0]
        # Add-one smoothing: a class without labels may still occur among unlabelled examples.
        counts = 1 + np.bincount(known, minlength=self.classes)
        self.class_weights.copy_(torch.from_numpy(counts / counts.sum()))

    def _learn_to_classify(self, x: Tensor, label: Tensor) -> None:
        classes = dist.Categorical(logits=self._class_logits(x))
        with poutine.scale(scale=self.alpha):
            pyro.sample("label", classes.mask(label >= 0), obs=label.clamp(min=0))

    def _all_known(self, label: Tensor | None) -> bool:
        return not self.training and label is not None and bool((label >= 0).all())

    def _class_logits(self, x: Tensor) -> Tensor:
        return self.classifier(self.as_input(x).flatten(1)).log_softmax(-1)

    def _where_known(self, label: Tensor | None, probs: Tensor) -> Tensor:
        """The one-hot vector of each known label, and the given probabilities elsewhere."""
        if label is None:
            return probs
        one_hot = F.one_hot(label.clamp(min=0), probs.shape[-1]).to(probs.dtype)
        return torch.where((label >= 0)[:, None], one_hot, probs)

    def _with_each_class(self, vectors: Tensor) -> Tensor:
        """Vectors ``(n, classes, size)``, each followed by the one-hot vector of its class."""
        one_hot = torch.eye(vectors.shape[-2], dtype=vectors.dtype, device=vectors.device)
        return torch.cat([vectors, one_hot.expand(len(vectors), -1, -1)], -1)
