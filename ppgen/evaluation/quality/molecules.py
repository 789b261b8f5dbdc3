"""Molecules: the shares of generated strings that are valid, unique and novel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ppgen.errors import DataError, InvalidArgument
from ppgen.evaluation.features.spec import FeatureSpec
from ppgen.evaluation.quality.checks import FEWEST
from ppgen.evaluation.quality.jackknife import share_interval, share_stderr
from ppgen.evaluation.quality.measurement import JointMeasurement, Measurement

__all__ = ["MoleculeQuality", "molecule_quality"]


@dataclass(frozen=True)
class MoleculeQuality(JointMeasurement):
    """Three shares of generated molecules.

    Attributes:
        validity: the share of strings that RDKit reads as a molecule.
        uniqueness: the number of distinct molecules, divided by that of valid strings.
        novelty: the share of distinct molecules that are not in the training set.
    """

    validity: Measurement
    uniqueness: Measurement
    novelty: Measurement


def molecule_quality(*, train: Iterable[str], generated: Iterable[str]) -> MoleculeQuality:
    r"""Compute validity, uniqueness and novelty of molecules written as SMILES.

    .. math:: \frac{\#\text{valid}}{n}, \qquad \frac{\#\text{different}}{\#\text{valid}}, \qquad
              \frac{\#\text{different, not in train}}{\#\text{different}}

    Two molecules are the same if their canonical SMILES are. Uniqueness falls as more are drawn: compare
    models only on equally many samples. (Polykovskiy et al. 2020, "MOSES",
    arXiv:1811.12823.)

    Args:
        train: SMILES of the molecules that the model was trained on.
        generated: SMILES that it generated, at least four.

    Raises:
        InvalidArgument: if RDKit is not installed.
        DataError: if strings are missing, or no string is a molecule.

    Example:
        >>> import importlib.util
        >>> if importlib.util.find_spec("rdkit"):
        ...     found = molecule_quality(train=["CCO"], generated=["OCC", "CCC", "CCC", "C1C"])
        ...     assert found.value == (3 / 4, 2 / 3, 1 / 2)
    """
    strings = _strings(generated, "generated", FEWEST)
    known = {canonical for text in _strings(train, "train", 1) if (canonical := _canonical(text))}
    valid = [canonical for text in strings if (canonical := _canonical(text))]
    if not valid:
        raise DataError(
            "generated",
            got=f"{len(strings)} strings, none of which is a molecule",
            expected="SMILES",
            fix="Look at them: are they SMILES, and decoded with the right alphabet?",
        )
    different = set(valid)
    new = different - known
    facts: dict[str, Any] = {
        "n_real": len(known),
        "spec": FeatureSpec("canonical SMILES of RDKit", quantization="strings"),
    }
    return MoleculeQuality(
        _share("validity", len(valid), len(strings), facts),
        _share("uniqueness", len(different), len(valid), facts),
        _share("novelty", len(new), len(different), facts),
    )


def _share(name: str, count: int, total: int, facts: dict[str, Any]) -> Measurement:
    share = count / total
    return Measurement(
        name=name,
        value=share,
        interval=share_interval(share, 0.0, total),
        stderr=share_stderr(share, total),
        n=total,
        better="higher",
        how=f"{count:,} of {total:,}",
        **facts,
    )


def _canonical(text: str) -> str | None:
    """The canonical SMILES of a molecule; ``None`` if the string is not one."""
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise InvalidArgument(
            "generated",
            got="molecules without RDKit, which reads them",
            expected="the package rdkit",
            fix='Run pip install "ppgen[molecules]".',
        ) from None
    with rdBase.BlockLogs():  # silences one message per invalid string
        molecule = Chem.MolFromSmiles(text) if text else None
        return None if molecule is None else Chem.MolToSmiles(molecule)


def _strings(texts: Iterable[str], argument: str, least: int) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    wrong = [text for text in listed if not isinstance(text, str)]
    if isinstance(texts, str) or wrong or len(listed) < least:
        raise DataError(
            argument,
            got=repr(wrong[0])[:40] if wrong else f"{len(listed)} string",
            expected=f"a list of at least {least} SMILES",
            fix='Write ["CCO", "c1ccccc1", …].',
        )
    return listed
