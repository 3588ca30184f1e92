"""How Dice falls as the prompts get worse, for a run that has noisy prompts."""

from __future__ import annotations

from markupsafe import Markup

from medsam_core.reports.robustness import curves
from medsam_core.reports.robustness_chart import robustness_svg
from medsam_core.runs import Run


def noise_chart(run: Run) -> Markup:
    """An `<svg>` with a curve for each group and kind of noise; "" if no prompt was noisy."""
    found = curves(run.records, run.header.settings.profile)
    return Markup(robustness_svg(found)) if found else Markup("")
