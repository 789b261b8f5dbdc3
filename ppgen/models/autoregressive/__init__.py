"""The chain rule's family: exact densities, one conditional at a time; one member a file."""

from ppgen.models.autoregressive.fvsbn import FVSBN
from ppgen.models.autoregressive.made import MADE
from ppgen.models.autoregressive.nade import NADE
from ppgen.models.autoregressive.pixelcnn import PixelCNN
from ppgen.models.autoregressive.transformer import Transformer

__all__ = ["FVSBN", "MADE", "NADE", "PixelCNN", "Transformer"]
