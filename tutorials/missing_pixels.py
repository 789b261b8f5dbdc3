"""Complete half-hidden digits: a trained model is the prior, and a posterior fills in the hidden half.

    python tutorials/missing_pixels.py docs/missing_pixels.png

Two generative models learn handwritten digits. Then each becomes a site in a small program, one in NumPyro
and one in Pyro, that is fitted to the visible pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as ndist
import pyro
import pyro.distributions as pdist
from matplotlib.figure import Figure

import ppgen
from ppgen.models import VAE, NeuralSplineFlow
from ppgen.program.as_site import as_decoder, as_site
from ppgen.style.figures import new_figure, title

LATENT = 8
NOISE = 0.5  # of a measured pixel, in levels


def decoder_program(vae):
    """A NumPyro program: the decoder of a VAE, observed at the visible pixels."""
    decoder = as_decoder(vae, engine="numpyro")

    def program(image, seen):
        z = numpyro.sample("z", ndist.Normal(jnp.zeros(LATENT), 1.0).to_event(1))
        with numpyro.handlers.mask(mask=seen):
            numpyro.sample("x", decoder(z), obs=image)

    return program


def flow_program(flow):
    """A Pyro program: a flow as the prior of the image, some of whose pixels are measured with noise.

    `y = pyro.sample("y", as_site(flow))` says the same, but most digits have pixels that are nearly always
    empty: walls, to a sampler. So this is the non-centred form: what is sampled lies in the flow's base.
    """
    prior = as_site(flow).base

    def program(image, seen):
        u = pyro.sample("u", prior.base)
        y = pyro.deterministic("y", prior.from_base(u))
        with pyro.poutine.mask(mask=seen):
            pyro.sample("x", pdist.Normal(y, NOISE), obs=image + 0.5)  # the middle of the level's cell

    return program


def train_models(digits, epochs: int = 40):
    """Train a VAE and a flow; the flow is small, since NUTS evaluates its gradient many times."""
    vae = VAE(digits.shape, digits.levels, latent_dim=LATENT, likelihood="discretized_logistic")
    ppgen.train(vae, digits, epochs=epochs, seed=0)
    flow = NeuralSplineFlow(digits.shape, digits.levels, transforms=2, hidden=(64, 64), coupling=True)
    ppgen.train(flow, digits, epochs=epochs, seed=0)
    return vae, flow


def fill_in(vae, flow, images: np.ndarray, seen: np.ndarray, **options) -> list:
    """Draw all pixels ``(chain, draw, 8, 8)`` of each image given the visible ones, by either program."""
    by_decoder, by_flow = decoder_program(vae), flow_program(flow)
    found = []
    for image in images:
        data = {"image": image.astype(float), "seen": seen}
        pixels = ppgen.infer(by_decoder, data, **options).predictive(seed=0)["x"]
        levels = ppgen.infer(by_flow, data, **options).draws["y"] - 0.5
        found.append((image, pixels, levels))
    return found


def main(out: Path) -> Figure:
    """Train both models, cover the lower half of three digits, and plot both posteriors."""
    digits = ppgen.data.load("digits")
    seen = np.ones(digits.shape, bool)
    seen[4:] = False
    options = {"draws": 500, "tune": 500, "chains": 2, "seed": 0}
    found = fill_in(*train_models(digits), digits.test[[0, 5, 12]], seen, **options)
    figure = picture(found, seen, digits.levels)
    figure.savefig(out, dpi=144)
    return figure


def picture(found, seen: np.ndarray, levels: int) -> Figure:
    """Draw one row per digit: the digit, its visible half, and each posterior's mean and spread."""
    columns = ("digit", "seen", "decoder: mean", "spread", "flow: mean", "spread")
    figure, axes = new_figure(len(found), len(columns), width=9.0, height=1.6 * len(found) + 0.3, grid=None)
    for line, (image, *posteriors) in zip(axes, found, strict=True):
        images = [image, np.where(seen, image, np.nan)]
        for draws in posteriors:
            images += [draws.mean((0, 1)), draws.std((0, 1))]
        for panel, shown, name in zip(line, images, columns, strict=True):
            top = levels / 2 if name == "spread" else levels - 1
            panel.imshow(shown, cmap="gray_r", vmin=0, vmax=top, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.set_facecolor("#d7e3f0")  # the hidden pixels
    for panel, name in zip(axes[0], columns, strict=True):
        title(panel, name)
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "missing_pixels.png"))
