"""How a posterior responds to a weaker or stronger prior and likelihood."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ppgen.style.figures import ACCENTS, MUTED, legend_above, list_down, new_figure, title
from ppgen.workflow.power_scaling import ScaledParameter, Sensitivity

__all__ = ["power_sensitivity"]

_MOST = 24
_COLOURS = {"prior": ACCENTS[1], "likelihood": ACCENTS[0]}
_THRESHOLD = 0.05


def power_sensitivity(result: Sensitivity) -> Figure:
    """Draw each parameter's sensitivities, and how the one most sensitive to the prior moves.

    Left: sensitivities to prior and likelihood; right of the line is sensitive. Right: posterior mean with
    one standard deviation as the prior or the likelihood is raised to a power; rings where the importance
    weights cannot be trusted. The 24 parameters most sensitive to the prior are drawn.

    Args:
        result: what ``ppgen.workflow.sensitivity`` returns.
    """
    chosen = sorted(result.parameters, key=lambda each: -each.prior)[:_MOST]
    figure, axes = new_figure(
        1, 2, height=max(2.8, 1.1 + 0.24 * len(chosen)), width_ratios=(1.1, 1), grid="both"
    )
    _draw_slopes(axes[0, 0], chosen)
    _draw_moves(axes[0, 1], result, chosen[0])
    return figure


def _draw_slopes(panel: Axes, parameters: list[ScaledParameter]) -> None:
    for part, colour in _COLOURS.items():
        slopes = [getattr(each, part) for each in parameters]
        marker = "D" if part == "prior" else "o"
        panel.plot(slopes, range(len(slopes)), marker, color=colour, markersize=6, label=part)
    panel.axvline(_THRESHOLD, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    list_down(panel, [each.name for each in parameters])
    panel.set_xlim(left=0)
    panel.set_xlabel("power-scaling sensitivity")
    legend_above(panel)


def _draw_moves(panel: Axes, result: Sensitivity, parameter: ScaledParameter) -> None:
    for k, (part, colour) in enumerate(_COLOURS.items()):
        mean, sd = parameter.mean[part], parameter.sd[part]  # type: ignore[index]
        shifted = [power * (0.99 if k == 0 else 1.01) for power in result.powers]  # side by side
        panel.errorbar(shifted, mean, yerr=sd, color=colour, linewidth=1.4, elinewidth=1, capsize=0)
        for power, centre, khat in zip(shifted, mean, result.khat[part], strict=True):  # type: ignore[index]
            face = colour if khat <= result.threshold else "white"
            panel.plot([power], [centre], "o", color=face, markeredgecolor=colour, markersize=5)
    panel.set_xscale("log", base=2)
    ends = sorted({result.powers[0], 1.0, result.powers[-1]})
    panel.xaxis.set_major_locator(FixedLocator(ends))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([f"{power:g}" for power in ends])
    panel.set_xlabel("power of the part")
    title(panel, f"{parameter.name}: mean ± sd")
