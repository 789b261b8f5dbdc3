"""A setting is written once: constructor, checks, docstring, signature and file follow from it."""

import importlib.util
import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import ppgen.data
from ppgen.errors import InvalidArgument, UnknownName
from ppgen.models import FAMILIES, VAE, SemiSupervisedVAE
from ppgen.models.settings import HasSettings, from_text, setting

ROOT = Path(__file__).parents[1]


class Base(HasSettings):
    """A base.

    Example:
        >>> Base(3).settings.size
        3
    """

    size: int = setting(least=2, kw_only=False, example=4, doc="how large it is")
    last: float = setting(default=0.5, least=0.0, below=1.0, doc="the last")

    def __init__(self, *values, **named):
        self.settings = self.Settings.of(*values, **named)


class Member(Base):
    """A member."""

    kind: Literal["round", "square"] = setting(default="round", doc="its form")
    widths: tuple[int, ...] = setting(factory=lambda chosen: (chosen.size,) * 2, doc="of its layers")
    sure: bool | None = setting(default=None, doc="whether it is")
    last: float = 0.25


def test_settings_are_frozen_complete_and_checked():
    settings = Member(3, widths=[1, 2]).settings
    assert settings == Member.Settings(3, widths=(1, 2))
    assert vars(settings) == {"size": 3, "last": 0.25, "kind": "round", "widths": (1, 2), "sure": None}
    assert Member(3).settings.widths == (3, 3)
    assert Base(3).settings.last == 0.5
    with pytest.raises(FrozenInstanceError):
        settings.size = 4


def test_signature_and_docstring_say_them_with_its_own_before_those_of_its_base():
    parameters = inspect.signature(Member).parameters
    assert list(parameters) == ["size", "kind", "widths", "sure", "last"]
    assert parameters["size"].default is inspect.Parameter.empty
    assert parameters["last"].default == 0.25
    assert parameters["widths"].default is None
    assert "Args:\n    size: how large it is (an integer, at least 2).\n    kind: its form" in Member.__doc__
    assert Base.__doc__.index("Args:") < Base.__doc__.index("Example:")


@pytest.mark.parametrize(
    ("call", "error", "argument", "message"),
    [
        (lambda: Member(1), InvalidArgument, "size", "at least 2"),
        (lambda: Member(), InvalidArgument, "size", "Write size=4"),
        (lambda: Member(3, last=1.0), InvalidArgument, "last", "below 1"),
        (lambda: Member(3, kind="rond"), UnknownName, "kind", "Did you mean 'round'"),
        (lambda: Member(3, widths=(0,)), InvalidArgument, "widths", "integers"),
        (lambda: Member(3, sure=1), InvalidArgument, "sure", "True or False"),
        (lambda: Member(3, lst=0.1), UnknownName, "setting", "Did you mean 'last'"),
    ],
)
def test_what_is_wrong_is_named(call, error, argument, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("0.5", 0.5),
        ("true", True),
        ("None", None),
        ("a,b", "a,b"),
        ("3,4", (3, 4)),
        ("mlp", "mlp"),
    ],
)
def test_text_becomes_a_value(text, value):
    assert from_text(text) == value
    assert from_text("3", tuple[int, ...]) == (3,)


# -- families --------------------------------------------------------------------------------------------


def test_a_family_is_built_for_a_dataset():
    digits = ppgen.data.load("digits")
    vae = VAE.like(digits, latent_dim=2, hidden=(8,))
    assert (vae.shape, vae.levels, vae.classes, vae.latent_dim) == ((8, 8), 17, None, 2)
    assert VAE.like(digits, conditional=True, hidden=(8,)).classes == 10
    assert SemiSupervisedVAE.like(digits, hidden=(8,)).classes == 10
    rows = np.array([[0, 1], [2, 0]])
    assert VAE.like(rows, hidden=(8,)).levels == 3
    assert VAE.like(rows, hidden=(8,), levels=5).levels == 5
    assert VAE.like(rows / 2.0, hidden=(8,)).levels is None
    with pytest.raises(InvalidArgument, match="have no labels"):
        VAE.like(rows, conditional=True)


def test_the_index_names_every_family():
    spec = importlib.util.spec_from_file_location("family_index", ROOT / "tools" / "family_index.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for path, text in tool.files(tool.families()).items():
        assert path.read_text() == text, "run `make index`"


def test_listing_families_imports_neither_engine():
    script = (
        "import sys, ppgen.models; ppgen.models.describe(); dir(ppgen.models); "
        "assert not {'torch', 'pyro', 'jax', 'numpyro'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("name", "other"), [("rbm", {"torch", "pyro"}), ("nade", {"numpyro"})], ids=["numpyro", "pyro"]
)
def test_a_file_of_one_engine_imports_no_other(name, other, tmp_path):
    script = (
        f"import sys, ppgen; from ppgen.models import make; family = make({name!r}, (3,), 2, hidden=4); "
        f"ppgen.load(ppgen.save(family, 'x.ppgen')); assert not {other!r} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_every_setting_has_a_sentence():
    for entry in FAMILIES.values():
        kind = getattr(importlib.import_module(entry.module), entry.class_name)
        for each in getattr(kind, "Settings", HasSettings.Settings).declared.values():
            assert each.doc, (entry.class_name, each.name)
            assert not each.doc.endswith(".")
