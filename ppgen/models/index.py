"""The families by name, for listing and for lazy imports; `make index` writes this file."""

# fmt: off
# ruff: noqa: E501
from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """Where a family is defined, and its one-line summary."""

    module: str
    class_name: str
    summary: str


FAMILIES: Mapping[str, Entry] = {
    "bigan": Entry("ppgen.models.gan.bigan", "BiGAN", "adversarial network with an encoder that inverts the generator; no likelihood"),
    "boltzmann": Entry("ppgen.models.energy.boltzmann", "BoltzmannMachine", "binary units, every pair coupled; likelihood up to a constant that AIS estimates"),
    "continuous-flow": Entry("ppgen.models.flow.continuous", "ContinuousFlow", "flow along a velocity field (FFJORD); exact, or an estimate with a random trace"),
    "dbn": Entry("ppgen.models.energy.dbn", "DBN", "deep belief network on binary data, an RBM above directed layers; bound, its constant estimated"),
    "ddpm": Entry("ppgen.models.diffusion.ddpm", "DDPM", "denoising diffusion, a Markov chain from noise to data; lower bound; DDIM samples in few steps"),
    "energy": Entry("ppgen.models.energy.deep", "EnergyModel", "deep energy-based model, sampled by Langevin chains; AIS estimates the likelihood's constant"),
    "fgan": Entry("ppgen.models.gan.fgan", "FGAN", "adversarial network for an f-divergence (KL, reverse KL, Pearson, …); no likelihood"),
    "flow": Entry("ppgen.models.flow.neural_spline", "NeuralSplineFlow", "neural spline flow, an invertible map of noise; exact for continuous data, else a lower bound"),
    "flow-matching": Entry("ppgen.models.diffusion.flow_matching", "FlowMatching", "velocity field on straight paths from noise; estimate by its flow, for levels a lower bound"),
    "fvsbn": Entry("ppgen.models.autoregressive.fvsbn", "FVSBN", "fully visible sigmoid belief network, a logistic regression per entry; exact likelihood"),
    "gan": Entry("ppgen.models.gan.gan", "GAN", "generative adversarial network, non-saturating; no likelihood; fast to sample"),
    "glow": Entry("ppgen.models.flow.glow", "Glow", "flow on images at several scales; exact for continuous data, else a lower bound"),
    "hierarchical-vae": Entry("ppgen.models.vae.hierarchical", "HierarchicalVAE", "ladder of latent vectors, inferred from the top down; lower bound"),
    "iaf": Entry("ppgen.models.flow.iaf", "IAF", "inverse autoregressive flow; exact for continuous data, else a lower bound; fast to sample only"),
    "made": Entry("ppgen.models.autoregressive.made", "MADE", "masked autoencoder, in one order or several; exact likelihood; fast to train"),
    "maf": Entry("ppgen.models.flow.maf", "MAF", "masked autoregressive flow; exact for continuous data, else a lower bound; slow to sample"),
    "masked-diffusion": Entry("ppgen.models.diffusion.masked", "MaskedDiffusion", "discrete diffusion, hidden entries appear in any order; lower bound, tighter with more orders"),
    "nade": Entry("ppgen.models.autoregressive.nade", "NADE", "neural autoregressive estimator, one shared hidden layer; exact likelihood"),
    "ncsn": Entry("ppgen.models.diffusion.ncsn", "NCSN", "noise-conditional score network with annealed Langevin dynamics; lower bound; slow to sample"),
    "nice": Entry("ppgen.models.flow.nice", "NICE", "volume-preserving flow of shifts; exact for continuous data, else a lower bound; fast both ways"),
    "pixelcnn": Entry("ppgen.models.autoregressive.pixelcnn", "PixelCNN", "gated convolutions over images, one pixel after the other; exact likelihood; slow to sample"),
    "rbm": Entry("ppgen.models.energy.rbm", "RBM", "restricted Boltzmann machine; exact up to 20 hidden units, else AIS estimates the constant"),
    "realnvp": Entry("ppgen.models.flow.realnvp", "RealNVP", "flow of affine coupling layers; exact for continuous data, else a lower bound; fast both ways"),
    "score-sde": Entry("ppgen.models.diffusion.score_sde", "ScoreSDE", "diffusion in continuous time; estimate by the probability flow, for levels a lower bound"),
    "semi-supervised-vae": Entry("ppgen.models.vae.semi_supervised", "SemiSupervisedVAE", "class-conditional VAE for rows of which some have a label; classifies; lower bound"),
    "transformer": Entry("ppgen.models.autoregressive.transformer", "Transformer", "autoregressive transformer, one entry after the other; exact likelihood; slow to sample"),
    "vae": Entry("ppgen.models.vae.vae", "VAE", "variational autoencoder with a latent vector; lower bound; fast to train and to sample"),
    "vqvae": Entry("ppgen.models.vae.vector_quantised", "VQVAE", "vectors of a codebook with a transformer as prior of the codes; lower bound"),
    "wgan": Entry("ppgen.models.gan.wgan", "WGAN", "adversarial network for the Wasserstein distance, with gradient penalty; no likelihood"),
}
