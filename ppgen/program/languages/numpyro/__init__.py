"""NumPyro, as a language of programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro
from numpyro import handlers
from numpyro.contrib.control_flow.scan import scan_wrapper
from numpyro.primitives import Messenger

from ppgen.program.family import Program
from ppgen.program.languages.guide import GuideProgram
from ppgen.program.languages.language import Language
from ppgen.program.languages.numpyro.plates import ReadPlates, at_given_rows
from ppgen.program.languages.numpyro.scans import UnrollScans
from ppgen.program.languages.numpyro.statements import REDRAWN, NumPyroStatement
from ppgen.program.languages.rows import RowPrograms
from ppgen.program.languages.site import Sites
from ppgen.program.languages.statement import PLAIN, Place, RunOptions, Statement
from ppgen.program.sites import free_parameter, no_prior_draws
from ppgen.program.subsampling import Subsampled

__all__ = ["LANGUAGE"]


class NumPyro(Language):
    """Programs in NumPyro, on JAX."""

    name: ClassVar[str] = "numpyro"
    title: ClassVar[str] = "NumPyro"
    reparam: ClassVar[str] = "numpyro.handlers.reparam"
    try_alone: ClassVar[str] = "numpyro.handlers.seed(program, 0)(**data)"

    @contextmanager
    def probe(self, found: Callable[[], Any]) -> Iterator[None]:
        with jax.enable_x64(True), _Probe(found):  # as in the real run: rounding must not fail a check
            yield

    @contextmanager
    def session(self, *, checked: bool = False) -> Iterator[None]:
        with super().session():
            if checked:
                yield
                return
            # What validation could find is found by the first run; later it would only swell the graph.
            with numpyro.validation_enabled(is_validate=False):
                yield

    def run(
        self, program: Program, data: Mapping[str, Any], place: Place, options: RunOptions = PLAIN
    ) -> list[Statement]:
        program = _Redraw(program) if options.redraw else program
        program = handlers.substitute(program, substitute_fn=_placing(place))
        program = program if options.parameters else _NoFreeParameters(program)
        program = program if options.key is None else handlers.seed(program, options.key)
        drawing = _Drawing(UnrollScans(program) if options.unroll else program)
        try:
            messages = handlers.trace(drawing).get_trace(**data)
        except NotImplementedError:
            if not drawing.site:
                raise
            raise no_prior_draws(*drawing.site) from None
        return [NumPyroStatement(m) for m in messages.values() if m["type"] in ("sample", "deterministic")]

    def in_full(self, program: Program, found: dict[str, Subsampled]) -> Program:
        return ReadPlates(program, found=found)

    def at_rows(self, program: Program) -> Program:
        return at_given_rows(program)

    @cached_property
    def rows(self) -> RowPrograms:
        """How NumPyro programs are run on minibatches of rows."""
        from ppgen.program.languages.rows.numpyro import NumPyroRows

        return NumPyroRows()

    @cached_property
    def sites(self) -> Sites:
        """How trained models stand in NumPyro programs."""
        from ppgen.program.languages.numpyro.site import NumPyroSites

        return NumPyroSites()

    def read_guide(self, guide: Program, data: Mapping[str, Any], seed: int) -> GuideProgram:
        from ppgen.program.languages.numpyro.guide import NumPyroGuide

        return NumPyroGuide(self, guide, data, seed)


LANGUAGE = NumPyro()


class _Probe(Messenger):
    """Says so at the first statement."""

    def __init__(self, found: Callable[[], Any]) -> None:
        super().__init__()
        self.found = found

    def process_message(self, msg: Any) -> None:
        self.found()


def _placing(place: Place) -> Callable[[Any], Any]:
    def value(message: Any) -> Any:
        if message["type"] != "sample" or message["is_observed"] or message["value"] is not None:
            return None
        statement = NumPyroStatement(message)
        return None if statement.redrawn else place(statement)

    return value


class _NoFreeParameters(Messenger):
    """Refuses what a posterior has no place for: parameters without a prior."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "param" and msg["value"] is None:
            fixed = f'numpyro.handlers.substitute(program, data={{"{msg["name"]}": value}})'
            raise free_parameter(msg["name"], "numpyro", fixed)


class _Drawing(Messenger):
    """Remembers the site that is being drawn, and from which distribution."""

    site: tuple[str, str] | None = None

    def process_message(self, msg: Any) -> None:
        self.site = None
        if msg["type"] == "sample" and msg["value"] is None and not msg["is_observed"]:
            self.site = (msg["name"], NumPyroStatement(msg).distribution)


class _Redraw(Messenger):
    """Draws each observed site from its distribution, in the shape of its observations."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "control_flow" and msg["fn"] is scan_wrapper:
            body, *rest = msg["args"]  # whose statements no handler outside of the scan sees
            msg["args"] = (_Redraw(body), *rest)
            return
        if msg["type"] != "sample" or not msg["is_observed"] or msg.get("_control_flow_done", False):
            return
        if NumPyroStatement(msg).role == "factor":
            return
        fn = msg["fn"]
        batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - fn.event_dim]
        msg["fn"] = fn.expand(batch) if batch != fn.batch_shape else fn
        msg["value"], msg["is_observed"] = None, False
        msg["infer"] = {**msg["infer"], REDRAWN: True}
