"""What to cite for a posterior: the papers of the methods that drew it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppgen.inference.posterior import Posterior

__all__ = ["PAPERS", "cite"]


def cite(posterior: Posterior) -> str:
    """BibTeX for the methods and libraries that a posterior came from.

    Args:
        posterior: what ``ppgen.infer`` returned.

    Returns:
        BibTeX entries, one a paper; print it.

    Example:
        >>> import numpyro, numpyro.distributions as dist, ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": [1.0, 2.0]}, method="laplace", progress=False)
        >>> print(cite(post).splitlines()[0])
        @article{tierney1986,
    """
    keys = dict.fromkeys([*posterior.drawn.cites, posterior.density.engine, "diagnostics", "arviz"])
    return "\n\n".join(PAPERS[key] for key in keys)


def _paper(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


def _arxiv(key: str, author: str, title: str, year: str, arxiv: str) -> str:
    return _paper("article", key, author=author, title=title, year=year, eprint=arxiv, archivePrefix="arXiv")


PAPERS = {
    "nuts": _arxiv(
        "hoffman2014",
        "Hoffman, Matthew D. and Gelman, Andrew",
        "The No-U-Turn Sampler: Adaptively Setting Path Lengths in Hamiltonian Monte Carlo",
        "2014",
        "1111.4246",
    ),
    "blackjax": _arxiv(
        "cabezas2024",
        "Cabezas, Alberto and Corenflos, Adrien and Lao, Junpeng and Louf, R{\\'e}mi and others",
        "BlackJAX: Composable Bayesian inference in JAX",
        "2024",
        "2402.10797",
    ),
    "neutra": _arxiv(
        "hoffman2019",
        "Hoffman, Matthew and Sountsov, Pavel and Dillon, Joshua V. and Langmore, Ian and Tran, Dustin "
        "and Vasudevan, Srinivas",
        "NeuTra-lizing Bad Geometry in Hamiltonian Monte Carlo Using Neural Transport",
        "2019",
        "1903.03704",
    ),
    "svi": _arxiv(
        "hoffman2013",
        "Hoffman, Matt and Blei, David M. and Wang, Chong and Paisley, John",
        "Stochastic Variational Inference",
        "2013",
        "1206.7051",
    ),
    "svi_recipe": _arxiv(
        "agrawal2020",
        "Agrawal, Abhinav and Sheldon, Daniel and Domke, Justin",
        "Advances in Black-Box VI: Normalizing Flows, Importance Weighting, and Optimization",
        "2020",
        "2006.10343",
    ),
    "joint_control": _arxiv(
        "wang2024",
        "Wang, Xi and Geffner, Tomas and Domke, Justin",
        "Joint Control Variate for Faster Black-Box Variational Inference",
        "2024",
        "2210.07290",
    ),
    "stl": _arxiv(
        "roeder2017",
        "Roeder, Geoffrey and Wu, Yuhuai and Duvenaud, David",
        "Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference",
        "2017",
        "1703.09194",
    ),
    "averaging": _arxiv(
        "dhaka2020",
        "Dhaka, Akash Kumar and Catalina, Alejandro and Andersen, Michael Riis and Magnusson, M{\\aa}ns "
        "and Huggins, Jonathan H. and Vehtari, Aki",
        "Robust, Accurate Stochastic Optimization for Variational Inference",
        "2020",
        "2009.00666",
    ),
    "advi": _arxiv(
        "kucukelbir2017",
        "Kucukelbir, Alp and Tran, Dustin and Ranganath, Rajesh and Gelman, Andrew and Blei, David M.",
        "Automatic Differentiation Variational Inference",
        "2017",
        "1603.00788",
    ),
    "low_rank": _arxiv(
        "ong2018",
        "Ong, Victor M.-H. and Nott, David J. and Smith, Michael S.",
        "Gaussian variational approximation with a factor covariance structure",
        "2018",
        "1701.03208",
    ),
    "realnvp": _arxiv(
        "dinh2017",
        "Dinh, Laurent and Sohl-Dickstein, Jascha and Bengio, Samy",
        "Density estimation using Real NVP",
        "2017",
        "1605.08803",
    ),
    "nsf": _arxiv(
        "durkan2019",
        "Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George",
        "Neural Spline Flows",
        "2019",
        "1906.04032",
    ),
    "iaf": _arxiv(
        "kingma2016",
        "Kingma, Diederik P. and Salimans, Tim and Jozefowicz, Rafal and Chen, Xi and Sutskever, Ilya "
        "and Welling, Max",
        "Improving Variational Inference with Inverse Autoregressive Flow",
        "2016",
        "1606.04934",
    ),
    "iwae": _arxiv(
        "burda2016",
        "Burda, Yuri and Grosse, Roger and Salakhutdinov, Ruslan",
        "Importance Weighted Autoencoders",
        "2016",
        "1509.00519",
    ),
    "dreg": _arxiv(
        "tucker2019",
        "Tucker, George and Lawson, Dieterich and Gu, Shixiang and Maddison, Chris J.",
        "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives",
        "2019",
        "1810.04152",
    ),
    "renyi": _arxiv(
        "li2016",
        "Li, Yingzhen and Turner, Richard E.",
        "R{\\'e}nyi Divergence Variational Inference",
        "2016",
        "1602.02311",
    ),
    "rws": _arxiv(
        "bornschein2015",
        'Bornschein, J{\\"o}rg and Bengio, Yoshua',
        "Reweighted Wake-Sleep",
        "2015",
        "1406.2751",
    ),
    "rws_revisited": _arxiv(
        "le2019",
        "Le, Tuan Anh and Kosiorek, Adam R. and Siddharth, N. and Teh, Yee Whye and Wood, Frank",
        "Revisiting Reweighted Wake-Sleep for Models with Stochastic Control Flow",
        "2019",
        "1805.10469",
    ),
    "flowjax": _paper(
        "software",
        "ward2024",
        author="Ward, Daniel",
        title="FlowJAX: Distributions and Normalizing Flows in Jax",
        year="2024",
        doi="10.5281/zenodo.10402073",
    ),
    "psis": _arxiv(
        "vehtari2024",
        "Vehtari, Aki and Simpson, Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah",
        "Pareto Smoothed Importance Sampling",
        "2024",
        "1507.02646",
    ),
    "pathfinder": _arxiv(
        "zhang2022",
        "Zhang, Lu and Carpenter, Bob and Gelman, Andrew and Vehtari, Aki",
        "Pathfinder: Parallel quasi-Newton variational inference",
        "2022",
        "2108.03782",
    ),
    "laplace": _paper(
        "article",
        "tierney1986",
        author="Tierney, Luke and Kadane, Joseph B.",
        title="Accurate Approximations for Posterior Moments and Marginal Densities",
        journal="Journal of the American Statistical Association",
        year="1986",
        volume="81",
        pages="82--86",
    ),
    "importance": _paper(
        "article",
        "geweke1989",
        author="Geweke, John",
        title="Bayesian Inference in Econometric Models Using Monte Carlo Integration",
        journal="Econometrica",
        year="1989",
        volume="57",
        pages="1317--1339",
    ),
    "rejection": _paper(
        "article",
        "neumann1951",
        author="von Neumann, John",
        title="Various Techniques Used in Connection with Random Digits",
        journal="National Bureau of Standards Applied Mathematics Series",
        year="1951",
        volume="12",
        pages="36--38",
    ),
    "smc": _paper(
        "article",
        "delmoral2006",
        author="Del Moral, Pierre and Doucet, Arnaud and Jasra, Ajay",
        title="Sequential Monte Carlo samplers",
        journal="Journal of the Royal Statistical Society: Series B",
        year="2006",
        volume="68",
        pages="411--436",
    ),
    "ais": _arxiv("neal2001", "Neal, Radford M.", "Annealed Importance Sampling", "2001", "physics/9803008"),
    "enumeration": _arxiv(
        "obermeyer2019",
        "Obermeyer, Fritz and Bingham, Eli and Jankowiak, Martin and Pradhan, Neeraj and Chiu, Justin "
        "and Rush, Alexander and Goodman, Noah",
        "Tensor Variable Elimination for Plated Factor Graphs",
        "2019",
        "1902.03210",
    ),
    "pyro": _arxiv(
        "bingham2019",
        "Bingham, Eli and Chen, Jonathan P. and Jankowiak, Martin and Obermeyer, Fritz and others",
        "Pyro: Deep Universal Probabilistic Programming",
        "2019",
        "1810.09538",
    ),
    "numpyro": _arxiv(
        "phan2019",
        "Phan, Du and Pradhan, Neeraj and Jankowiak, Martin",
        "Composable Effects for Flexible and Accelerated Probabilistic Programming in NumPyro",
        "2019",
        "1912.11554",
    ),
    "diagnostics": _arxiv(
        "vehtari2021",
        'Vehtari, Aki and Gelman, Andrew and Simpson, Daniel and Carpenter, Bob and B{\\"u}rkner, '
        "Paul-Christian",
        "Rank-normalization, folding, and localization: An improved R-hat for assessing convergence of MCMC",
        "2021",
        "1903.08008",
    ),
    "arviz": _paper(
        "article",
        "arviz2019",
        author="Kumar, Ravin and Carroll, Colin and Hartikainen, Ari and Martin, Osvaldo",
        title="ArviZ a unified library for exploratory analysis of Bayesian models in Python",
        journal="Journal of Open Source Software",
        year="2019",
        volume="4",
        number="33",
        pages="1143",
    ),
}
"""BibTeX entries by the keys that methods give in ``Drawn.cites``."""
