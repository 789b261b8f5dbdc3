"""Settings, each declared once: name, type, default, range and one sentence.

A class that derives from :class:`HasSettings` declares its settings in its body. From them it gets a frozen
dataclass ``Settings``, which fills in defaults and checks values, a constructor with keyword arguments (which
type checkers know, too), and the section ``Args`` of its docstring.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, Literal, Union, dataclass_transform, get_args, get_origin

from ppgen.checks import check_choice, check_flag, check_integer, check_integers, check_number
from ppgen.errors import InvalidArgument

__all__ = ["HasSettings", "Setting", "Settings", "from_text", "setting"]

_SECTIONS = ("\nRaises:", "\nReferences:", "\nExample:")  # of a docstring; its arguments come before them


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a setting.

    Attributes:
        name, type: as declared; the type is ``int``, ``float``, ``bool``, ``str``, a ``Literal`` of names,
            ``tuple[int, ...]``, or one of these ``| None``.
        default: its default value; ``MISSING`` if it is required.
        factory: instead of the default, a function of the settings declared before.
        limits: keyword arguments of the check of its type.
        doc: what it is, a clause without a full stop.
        kw_only: whether it is keyword-only.
        depth: how many classes the one that declares it derives from.
    """

    default: Any
    factory: Callable[[Any], Any] | None
    limits: Mapping[str, Any]
    doc: str
    kw_only: bool = True
    name: str = ""
    type: Any = None
    depth: int = 0

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING and self.factory is None

    @property
    def kind(self) -> Any:
        """Its type without ``None``."""
        kinds = [part for part in _parts(self.type) if part is not type(None)]
        return kinds[0] if len(kinds) == 1 else Any

    def check(self, value: Any) -> Any:
        """The validated value, or an error that names the setting and its range."""
        if value is None and type(None) in _parts(self.type):
            return None
        if get_origin(self.kind) is Literal:
            return check_choice(self.name, value, get_args(self.kind))
        if get_origin(self.kind) is tuple:
            return check_integers(self.name, value, **{"expected": self.range, **self.limits})
        checks: dict[Any, Callable[..., Any]] = {bool: check_flag, int: check_integer, float: check_number}
        return checks[self.kind](self.name, value, **self.limits) if self.kind in checks else value

    @property
    def range(self) -> str:
        """A description of its valid values."""
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(map(repr, get_args(self.kind)))
        if get_origin(self.kind) is tuple:
            count = "one or more integers" if self.limits.get("at_least") else "integers"
            return f"{count}, such as {self.limits.get('example', (64, 64))}"
        if self.kind is bool:
            return "True or False"
        words = {"least": "at least", "most": "at most", "above": "above", "below": "below"}
        limits = {"least": 1, **self.limits} if self.kind is int else self.limits
        ends = [f"{words[end]} {limits[end]:g}" for end in words if end in limits]
        kinds = {int: "an integer", float: "a number", str: "a text"}
        return ", ".join([kinds.get(self.kind, "anything"), *ends])

    @property
    def default_text(self) -> str:
        """Its default as it is written, or whether it has one."""
        if self.factory is not None:
            return "automatic"
        return "required" if self.required else repr(self.default)

    @property
    def plain_doc(self) -> str:
        """Its sentence without markup."""
        return re.sub(r":\w+:`~?([^`]*)`", r"\1", self.doc).replace("``", "")


def setting(
    *,
    default: Any = MISSING,
    factory: Callable[[Any], Any] | None = None,
    least: int | float | None = None,
    most: int | float | None = None,
    above: int | float | None = None,
    below: int | float | None = None,
    at_least: int | None = None,
    example: Any = None,
    expected: str | None = None,
    kw_only: bool = True,
    doc: str = "",
) -> Any:
    """Declare a setting in the body of a class that derives from :class:`HasSettings`.

    A subclass that gives one of its base's settings a plain value changes the default alone.

    Args:
        default: its default value; without it the setting is required.
        factory: instead, a function of the settings declared before that gives the default.
        least, most, above, below: the range of a number; an integer is at least 1 by default.
        at_least: how many integers there are at least, in a tuple.
        example: what to write, for the error of a value that is out of range.
        expected: what to say in that error, instead of the range.
        kw_only: whether it is keyword-only.
        doc: what it is, a clause for the docstring and the command line.

    Example:
        >>> class Coin(HasSettings):
        ...     sides: int = setting(default=2, least=2, doc="how many sides it has")
        ...
        ...     def __init__(self, **given: int) -> None:
        ...         self.settings = self.Settings.of(**given)
        >>> Coin(sides=3).settings
        Coin.Settings(sides=3)
        >>> Coin(sides=1)
        Traceback (most recent call last):
        ppgen.errors.InvalidArgument: sides: got 1, expected an integer, at least 2. Write sides=2.
    """
    limits: dict[str, Any] = {"least": least, "most": most, "above": above, "below": below}
    limits |= {"at_least": at_least, "example": example, "expected": expected}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Setting(default=default, factory=factory, kw_only=kw_only, doc=doc, limits=given)


@dataclass(frozen=True)
class Settings:
    """The base of the frozen dataclasses that hold the settings of a class, complete and checked."""

    declared: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    @classmethod
    def of(cls, *values: Any, **named: Any) -> Any:
        """The settings for a constructor's arguments.

        Raises:
            UnknownName: if there is no such setting.
            InvalidArgument: if one is missing or out of range.
        """
        listed = _listed(cls.declared)
        for name in named:
            check_choice("setting", name, [each.name for each in listed])
        by_place = [each.name for each in listed if not each.kw_only][: len(values)]
        for each in listed:
            if each.required and each.name not in [*named, *by_place]:
                fix = f"Write {each.name}={each.limits.get('example', '...')}."
                raise InvalidArgument(each.name, got="nothing", expected=each.range, fix=fix)
        return cls(*values, **named)

    def __post_init__(self) -> None:
        for name, each in self.declared.items():
            value = getattr(self, name)
            if value is None and each.factory is not None:
                value = each.factory(self)
            object.__setattr__(self, name, each.check(value))


@dataclass_transform(kw_only_default=True, field_specifiers=(setting,))
class HasSettings:
    """A class whose constructor's arguments are its settings.

    Attributes:
        Settings: the frozen dataclass that holds them.
    """

    Settings: ClassVar[type[Settings]] = Settings

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = {**cls.Settings.declared, **_declared_in(cls)}
        cls.Settings = _dataclass_of(cls, declared)
        listed = _listed(declared)
        cls.__signature__ = inspect.Signature([_parameter(each) for each in listed])  # type: ignore[attr-defined]
        cls.__doc__ = _with_arguments(cls.__doc__, listed)

    @classmethod
    def declared_settings(cls) -> list[Setting]:
        """What is known of each setting: the positional ones, its own, those of its bases."""
        return _listed(cls.Settings.declared)


def from_text(text: str, kind: Any = Any) -> Any:
    """Parse a value from the command line; text that is not a Python literal is a name.

    Example:
        >>> from_text("0.5"), from_text("64,32"), from_text("64", tuple[int, ...]), from_text("none")
        (0.5, (64, 32), (64,), None)
        >>> from_text("false"), from_text("mlp")
        (False, 'mlp')
    """
    words = {"true": True, "false": False, "none": None}
    try:
        value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return (value,) if get_origin(kind) is tuple and isinstance(value, int) else value


# -- from the body of a class to what it has -------------------------------------------------------------


def _declared_in(cls: type) -> dict[str, Setting]:
    """The settings in the body of a class, which leave it: its instances have values of these names."""
    found = {}
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        value, before = vars(cls).get(name), cls.Settings.declared.get(name)  # type: ignore[attr-defined]
        if not isinstance(value, Setting) and (before is None or name not in vars(cls)):
            continue
        if not isinstance(value, Setting):
            value = dataclasses.replace(before, default=value, factory=None)
        if isinstance(annotation, str):  # as all are under `from __future__ import annotations`
            annotation = eval(annotation, vars(sys.modules[cls.__module__]))
        depth = len(cls.__mro__) if before is None else before.depth
        found[name] = dataclasses.replace(value, name=name, type=annotation, depth=depth)
        delattr(cls, name)
    return found


def _dataclass_of(cls: type, declared: Mapping[str, Setting]) -> type[Settings]:
    fields: list[Any] = []
    for name, each in declared.items():
        # None stands for a default that depends on other settings, until those are known.
        default: Any = each.default if each.factory is None else None
        fields.append((name, each.type, dataclasses.field(default=default, kw_only=each.kw_only)))
    return dataclasses.make_dataclass(
        f"{cls.__name__}.Settings",
        fields,
        bases=(Settings,),
        frozen=True,
        namespace={"declared": MappingProxyType(dict(declared)), "__module__": cls.__module__},
    )


def _listed(declared: Mapping[str, Setting]) -> list[Setting]:
    return sorted(declared.values(), key=lambda each: (each.kw_only, -each.depth))


def _parameter(each: Setting) -> inspect.Parameter:
    default = inspect.Parameter.empty if each.required else each.default if each.factory is None else None
    kind = inspect.Parameter.KEYWORD_ONLY if each.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
    annotation = each.type if each.factory is None else each.type | None
    return inspect.Parameter(each.name, kind, default=default, annotation=annotation)


def _with_arguments(doc: str | None, settings: list[Setting]) -> str | None:
    """A docstring with a section of its settings, before those of errors, sources and examples."""
    if doc is None or not settings:
        return doc
    text = inspect.cleandoc(doc)
    places = [text.index(section) for section in _SECTIONS if section in text]
    place = min(places, default=len(text))
    lines = [
        textwrap.fill(
            f"{each.name}: {each.doc} ({each.range}).", 100, initial_indent=" " * 4, subsequent_indent=" " * 8
        )
        for each in settings
    ]
    arguments = "\n".join(["", "Args:", *lines, ""])
    return text[:place].rstrip("\n") + "\n" + arguments + text[place:]


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
