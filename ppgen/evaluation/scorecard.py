"""The scorecard: how good each model is, by kind of likelihood and by sample quality."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from ppgen import storage
from ppgen.errors import InvalidArgument
from ppgen.evaluation.features.spec import FeatureSpec
from ppgen.evaluation.figure import draw_groups
from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.row import Group, Row, group_rows, how_to_compare
from ppgen.evaluation.sample_quality import read_sentences
from ppgen.evaluation.tables import Table, bullets, likelihood_table, quality_table
from ppgen.evaluation.trade_offs import draw_cost, draw_precision_recall
from ppgen.style.html import document

__all__ = ["FORMAT", "Scorecard"]

FORMAT = 2
"""The version of the JSON that this ppgen writes, and the newest that it reads; 1 had no sample quality."""


@dataclass(frozen=True, repr=False)
class Scorecard:
    """Several models measured on the same test set.

    Numbers of different kinds are never ranked against each other: :attr:`groups` keeps them apart, and
    :attr:`reading` says what follows across groups.

    Attributes:
        dataset: the name of the data.
        n_test: the size of the test set.
        rows: one per model, in the order given.
        unseen: the sample-quality measurements of real examples outside both the training and the test set,
            as a reference. Empty if there are too few.

    Raises:
        InvalidArgument: if there is no row.

    Example:
        >>> rows = [
        ...     Row("flow", "Flow", "lower_bound", "discrete", 2.02, (2.00, 2.04), -89.6, 0.5, 1200),
        ...     Row("transformer", "Transformer", "exact", "discrete", 1.96, (1.94, 1.98), -86.9, 0.5, 800),
        ... ]
        >>> card = Scorecard("digits", 447, tuple(rows))
        >>> [group.title for group in card.groups]
        ['Exact log p, discrete values', 'Lower bounds on log p, discrete values']
        >>> Scorecard.from_json(card.to_json()) == card
        True
    """

    dataset: str
    n_test: int
    rows: tuple[Row, ...]
    unseen: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows:
            raise InvalidArgument(
                "rows", got="no row", expected="at least one", fix="Measure a model with ppgen.evaluate."
            )

    @property
    def groups(self) -> tuple[Group, ...]:
        """The rows by space and kind, the best of each group first."""
        return group_rows(self.rows)

    @property
    def reading(self) -> tuple[str, ...]:
        """What follows from numbers of these kinds, in sentences."""
        return tuple(sentence for _, sentences in self._tables for sentence in sentences)

    def __getitem__(self, model: str) -> Row:
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(model)

    def __str__(self) -> str:
        parts: list[object] = [self._headline]
        for table, sentences in self._tables:
            parts += [table, "\n".join(f"- {sentence}" for sentence in sentences)]
        return "\n\n".join(map(str, parts))

    __repr__ = __str__

    def __html__(self) -> Markup:
        """The tables as an HTML fragment that any autoescaping template can embed."""
        methods = [(row.model, f"{row.how.rstrip('.')}.") for row in self._ranked if row.how]
        notes = [(row.model, row.quality_note) for row in self.rows if row.quality_note]
        parts: list[Any] = []
        for (table, sentences), named in zip(self._tables, (methods, notes), strict=False):
            listed = [Markup("<strong>{}</strong>: {}").format(name, what) for name, what in named]
            parts += [table, bullets(sentences), bullets(listed)]
        return Markup("\n").join(parts)

    def _repr_html_(self) -> str:
        return Markup("<p><strong>{}</strong></p>\n{}").format(self._headline, self)

    def plot(self) -> Figure:
        """Plot the values with their intervals, one panel per group."""
        return draw_groups(self.groups)

    def plot_precision_recall(self) -> Figure:
        """Plot precision against recall of the models' samples, with their intervals.

        Raises:
            InvalidArgument: if no model's samples were measured.
        """
        return draw_precision_recall(self.rows, self.unseen)

    def plot_cost(self) -> Figure:
        """Plot bits/dim against the time that one sample takes.

        Raises:
            InvalidArgument: if no model has both.
        """
        return draw_cost(self.rows)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The tables as a self-contained page; also written to ``path`` if given.

        Raises:
            StorageError: if the path cannot be written.
        """
        body = Markup("<h1>Scorecard</h1>\n<p class='subtitle'>{}</p>\n{}").format(self._headline, self)
        page = document(f"Scorecard: {self.dataset}", body)
        if path is not None:
            storage.write_text(path, page)
        return page

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The scorecard as JSON, ``null`` for what was not measured; also written to ``path`` if given.

        Raises:
            StorageError: if the path cannot be written.
        """
        content = {"format": FORMAT, **asdict(self)}
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        if path is not None:
            storage.write_text(path, text)
        return text

    @classmethod
    def from_json(cls, text: str) -> Scorecard:
        """Read the JSON that :meth:`to_json` wrote, in this version or an earlier one.

        Raises:
            InvalidArgument: if the text is not the JSON of a scorecard, or comes from a newer ppgen.
        """
        try:
            content = json.loads(text)
            if content.get("format", 1) > FORMAT:
                raise ValueError(f"format {content['format']}; this ppgen reads up to {FORMAT}")
            rows = tuple(_row(fields) for fields in content["rows"])
            unseen = tuple(_measurement(fields) for fields in content.get("unseen", ()))
            return cls(content["dataset"], content["n_test"], rows, unseen)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidArgument(
                "text",
                got=f"{text[:40]!r} ({error})",
                expected="the JSON of a scorecard",
                fix="Pass what Scorecard.to_json() returned.",
            ) from error

    @property
    def _tables(self) -> list[tuple[Table, tuple[str, ...]]]:
        """Each table with its conclusions; one for sample quality if that was measured."""
        tables = [(likelihood_table(self.groups), how_to_compare(self.groups))]
        if self._samples:
            tables.append((quality_table(self._samples), read_sentences(self._samples)))
        return tables

    @property
    def _ranked(self) -> list[Row]:
        return [row for group in self.groups for row in group.rows]

    @property
    def _samples(self) -> list[tuple[str, tuple[Measurement, ...]]]:
        """The sample-quality measurements by model, those of unseen real examples first."""
        listed = [("(unseen real rows)", self.unseen), *((row.model, row.quality) for row in self.rows)]
        return [(name, figures) for name, figures in listed if figures]

    @property
    def _headline(self) -> str:
        return f"{self.dataset}: {len(self.rows)} models on {self.n_test:,} test rows"


def _row(fields: dict[str, Any]) -> Row:
    interval = fields["interval"]
    quality = tuple(_measurement(figure) for figure in fields.get("quality", ()))
    return Row(**{**fields, "interval": None if interval is None else tuple(interval), "quality": quality})


def _measurement(fields: dict[str, Any]) -> Measurement:
    parts = {
        "interval": tuple(fields["interval"]),
        "spec": FeatureSpec(**fields["spec"]),
        "warnings": tuple(fields["warnings"]),
    }
    return Measurement(**{**fields, **parts})
