"""The cheapest method that passes its own diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ppgen.errors import InferenceError
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.methods import make_method
from ppgen.inference.pointwise import constrain_latents
from ppgen.program.density import Density

__all__ = ["Auto"]


@dataclass(frozen=True)
class Auto:
    """Try methods from cheap to thorough: ``ppgen.infer(..., method="auto")``.

    The first whose own diagnostics find no problem is used: Pathfinder, a flow fitted by variational
    inference and corrected by its importance weights, the No-U-Turn sampler, and that sampler in the
    flow's space. If all have problems, the No-U-Turn draws are returned with theirs.
    ``Posterior.method`` and ``Posterior.how`` say which it was and why.

    Attributes:
        guide: the flow.
    """

    name: ClassVar[str] = "auto"

    guide: str = "nsf"

    def draw(self, density: Density, request: Request) -> Drawn:
        """Draw with each method in turn until one is without problems."""
        density = density.without_minibatches()  # other methods read all rows, too
        story: list[str] = []
        fallback: Drawn | None = None
        for title, method in self._methods():
            try:
                drawn = method.draw(density, request)
                if drawn.weights is not None and drawn.weights.usable:
                    drawn = drawn.corrected(request.seed)
            except InferenceError as error:
                story.append(f"{title}: {error}")
                continue
            found = _judge(density, method, drawn)
            if found.ok:
                story.append(f"{title}: no problems found, taken.")
                return replace(drawn, by=method, how=_tell(story, drawn))
            story.append(f"{title}: {found.problems[0]}")
            if method.name == "nuts" and fallback is None:
                fallback = replace(drawn, by=method)
        if fallback is None:
            raise InferenceError(
                "program",
                got="no method that could draw: " + " ".join(story),
                expected="a posterior that at least one method can start on",
                fix="Check the program with method='nuts' alone; its error names what is wrong.",
            )
        story.append("None is without problems; the draws are NUTS's.")
        return replace(fallback, how=_tell(story, fallback))

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the draws as the method that drew them does."""
        assert drawn.by is not None, "draw() names the method"
        return drawn.by.diagnose(draws, drawn)

    def _methods(self) -> Iterator[tuple[str, Method]]:
        yield "Pathfinder", make_method("pathfinder", {})
        yield f"a flow ({self.guide})", make_method("svi", {"guide": self.guide})
        yield "NUTS", make_method("nuts", {})
        yield f"NUTS in the flow's space ({self.guide})", make_method("nuts", {"guide": self.guide})


def _judge(density: Density, method: Method, drawn: Drawn) -> Diagnostics:
    return method.diagnose(constrain_latents(density, drawn.positions), drawn)


def _tell(story: list[str], drawn: Drawn) -> str:
    return "\n".join([*story, drawn.how] if drawn.how else story)
