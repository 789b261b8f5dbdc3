"""The families by name, for the command line and for files."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["FAMILIES", "describe", "family_class", "make", "sampling_options", "settings_of"]


@dataclass(frozen=True)
class _Entry:
    module: str
    name: str
    summary: str


FAMILIES: Mapping[str, _Entry] = MappingProxyType(
    {
        "fvsbn": _Entry(
            "ppgen.models.autoregressive",
            "FVSBN",
            "fully visible sigmoid belief network, a logistic regression an entry; exact likelihood",
        ),
        "nade": _Entry(
            "ppgen.models.autoregressive",
            "NADE",
            "neural autoregressive estimator, one shared hidden layer; exact likelihood",
        ),
        "made": _Entry(
            "ppgen.models.autoregressive",
            "MADE",
            "masked autoencoder, in one order or several; exact likelihood; fast to train",
        ),
        "pixelcnn": _Entry(
            "ppgen.models.autoregressive",
            "PixelCNN",
            "gated convolutions over images, one pixel after the other; exact likelihood; slow to sample",
        ),
        "transformer": _Entry(
            "ppgen.models.autoregressive",
            "Transformer",
            "autoregressive transformer, one entry after the other; exact likelihood; slow to sample",
        ),
        "vae": _Entry(
            "ppgen.models.vae",
            "VAE",
            "variational autoencoder with a latent vector; lower bound; fast to train and to sample",
        ),
        "hierarchical-vae": _Entry(
            "ppgen.models.vae",
            "HierarchicalVAE",
            "ladder of latent vectors, inferred from the top down; lower bound",
        ),
        "semi-supervised-vae": _Entry(
            "ppgen.models.vae",
            "SemiSupervisedVAE",
            "class-conditional VAE for rows of which some have a label; classifies; lower bound",
        ),
        "vqvae": _Entry(
            "ppgen.models.vae",
            "VQVAE",
            "vectors of a codebook with a transformer as prior of the codes; lower bound",
        ),
        "flow": _Entry(
            "ppgen.models.flow",
            "NeuralSplineFlow",
            "neural spline flow, an invertible map of noise; exact for continuous data, else a lower bound",
        ),
        "nice": _Entry(
            "ppgen.models.flow",
            "NICE",
            "flow of shifts that keep volumes; exact for continuous data, else a lower bound; fast both ways",
        ),
        "realnvp": _Entry(
            "ppgen.models.flow",
            "RealNVP",
            "flow of affine coupling layers; exact for continuous data, else a lower bound; fast both ways",
        ),
        "glow": _Entry(
            "ppgen.models.flow",
            "Glow",
            "flow on images at several scales; exact for continuous data, else a lower bound",
        ),
        "maf": _Entry(
            "ppgen.models.flow",
            "MAF",
            "masked autoregressive flow; exact for continuous data, else a lower bound; slow to sample",
        ),
        "iaf": _Entry(
            "ppgen.models.flow",
            "IAF",
            "inverse autoregressive flow; exact for continuous data, else a lower bound; fast to sample only",
        ),
        "continuous-flow": _Entry(
            "ppgen.models.flow",
            "ContinuousFlow",
            "flow along a velocity field (FFJORD); exact, or an estimate with a random trace",
        ),
        "gan": _Entry(
            "ppgen.models.gan",
            "GAN",
            "generative adversarial network, non-saturating; no likelihood; fast to sample",
        ),
        "fgan": _Entry(
            "ppgen.models.gan",
            "FGAN",
            "adversarial network for an f-divergence (KL, reverse KL, Pearson, …); no likelihood",
        ),
        "wgan": _Entry(
            "ppgen.models.gan",
            "WGAN",
            "adversarial network for the Wasserstein distance, with gradient penalty; no likelihood",
        ),
        "bigan": _Entry(
            "ppgen.models.gan",
            "BiGAN",
            "adversarial network with an encoder that inverts the generator; no likelihood",
        ),
        "boltzmann": _Entry(
            "ppgen.models.energy",
            "BoltzmannMachine",
            "binary units, every pair coupled; likelihood up to a constant that AIS estimates",
        ),
        "rbm": _Entry(
            "ppgen.models.energy",
            "RBM",
            "restricted Boltzmann machine; exact up to 20 hidden units, else AIS estimates the constant",
        ),
        "dbn": _Entry(
            "ppgen.models.energy",
            "DBN",
            "deep belief network on binary data, an RBM above directed layers; bound, its constant estimated",
        ),
        "energy": _Entry(
            "ppgen.models.energy",
            "EnergyModel",
            "deep energy-based model, sampled by Langevin chains; AIS estimates the likelihood's constant",
        ),
        "ncsn": _Entry(
            "ppgen.models.diffusion",
            "NCSN",
            "noise-conditional score network with annealed Langevin dynamics; lower bound; slow to sample",
        ),
        "ddpm": _Entry(
            "ppgen.models.diffusion",
            "DDPM",
            "denoising diffusion, a Markov chain from noise to data; lower bound; DDIM samples in few steps",
        ),
        "score-sde": _Entry(
            "ppgen.models.diffusion",
            "ScoreSDE",
            "diffusion in continuous time; estimate by the probability flow, for levels a lower bound",
        ),
        "flow-matching": _Entry(
            "ppgen.models.diffusion",
            "FlowMatching",
            "velocity field on straight paths from noise; estimate by its flow, for levels a lower bound",
        ),
        "masked-diffusion": _Entry(
            "ppgen.models.diffusion",
            "MaskedDiffusion",
            "discrete diffusion, hidden entries appear in any order; lower bound, tighter with more orders",
        ),
    }
)


def describe() -> dict[str, str]:
    """One line a family: what it is, and what kind of likelihood it has."""
    return {name: entry.summary for name, entry in FAMILIES.items()}


def make(name: str, shape: tuple[int, ...], levels: int | None = None, **settings: Any) -> Any:
    """Build a family by name.

    Args:
        name: one of :func:`describe`.
        shape, levels: of the data.
        settings: the constructor's own arguments, as values or as text from a command line.

    Raises:
        UnknownName: if there is no such family, or it has no such setting.
        InvalidArgument: if a setting is of the wrong type or out of range.

    Example:
        >>> vae = make("vae", (8, 8), levels=17, latent_dim="8", hidden="64,32")
        >>> vae.config["latent_dim"], vae.config["hidden"]
        (8, (64, 32))
    """
    build = family_class(name)
    return build(shape, levels, **_parse_all(settings, settings_of(build)))


def family_class(name: str) -> Any:
    """The class of a family, imported at first use."""
    if name not in FAMILIES:
        raise UnknownName("family", name, FAMILIES)
    return getattr(importlib.import_module(FAMILIES[name].module), FAMILIES[name].name)


def settings_of(family: Any) -> dict[str, Any]:
    """The settings of a family's constructor and their types."""
    return _keyword_types(family.__init__)


def sampling_options(family: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a family's ``sample``, which may come as text from a command line.

    Raises:
        UnknownName: if the family has no such option.
        InvalidArgument: if an option is of the wrong type.

    Example:
        >>> transformer = make("transformer", (4,), 2)
        >>> sampling_options(transformer, {"temperature": "0.8", "top_k": "none"})
        {'temperature': 0.8, 'top_k': None}
    """
    types = _keyword_types(family.sample)
    del types["seed"]  # has a place of its own
    return _parse_all(options, types)


def _keyword_types(function: Any) -> dict[str, Any]:
    types = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: types[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}


def _parse_all(settings: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    for key in settings:
        if not types:
            raise InvalidArgument(
                "setting", got=repr(key), expected="no settings at all", fix="Leave it out."
            )
        if key not in types:
            raise UnknownName("setting", key, types)
    return {key: _parse(key, value, types[key]) for key, value in settings.items()}


def _parse(key: str, value: Any, wanted: Any) -> Any:
    """A value of the wanted type, from itself or from its text."""
    choices = _choices(wanted)
    parsed = _read(value) if isinstance(value, str) else value
    if any(get_origin(choice) is tuple for choice in choices):
        parsed = (
            (parsed,) if isinstance(parsed, int) else tuple(parsed) if isinstance(parsed, list) else parsed
        )
    if not any(_fits(parsed, choice) for choice in choices):
        raise InvalidArgument(
            key,
            got=repr(value),
            expected=" or ".join(_words(choice) for choice in choices),
            fix="`ppgen models` lists the settings of each family.",
        )
    return parsed


def _choices(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)


def _read(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is Any:
        return True
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    if get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(_fits(item, int) for item in value)
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, (int, float) if wanted is float else wanted)


def _words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return "one of " + ", ".join(repr(name) for name in get_args(wanted))
    if get_origin(wanted) is tuple:
        return "integers such as 256,256"
    known = {int: "an integer", float: "a number", bool: "true or false", NoneType: "none"}
    return known.get(wanted, str(wanted))
