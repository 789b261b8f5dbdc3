"""Implicit families: rows are a function of noise, learned in a game against a critic. One member a file."""

from ppgen.models.gan.bigan import BiGAN
from ppgen.models.gan.fgan import FGAN
from ppgen.models.gan.gan import GAN
from ppgen.models.gan.wgan import WGAN

__all__ = ["FGAN", "GAN", "WGAN", "BiGAN"]
