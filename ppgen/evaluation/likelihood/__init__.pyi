from .annealed import annealed_likelihood as annealed_likelihood
from .bidirectional import Sandwich as Sandwich
from .bidirectional import bdmc as bdmc
from .comparison import LikelihoodComparison as LikelihoodComparison
from .comparison import compare_likelihoods as compare_likelihoods
