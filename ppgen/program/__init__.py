"""What a program is: its engine, its sites, its density, and the bounds that a guide gives."""

from ppgen.program.languages.detect import detect_engine
from ppgen.program.read import read_density, read_sites

__all__ = ["detect_engine", "read_density", "read_sites"]
