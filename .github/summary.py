"""Write a run's verdict, table and worst cases as Markdown: what a pull request shows of it.

python .github/summary.py RUN >> "$GITHUB_STEP_SUMMARY"
"""

from __future__ import annotations

import sys
from pathlib import Path

from medsam_core.errors import MedsamError, RunError
from medsam_core.outcome import Outcome
from medsam_core.reports.tables import case_lines, markdown_table
from medsam_core.runs import read_run, stored_verdict


def summary(directory: Path) -> str:
    """Markdown of a run directory; where there is none, a sentence that says so."""
    try:
        run, verdict = read_run(directory), stored_verdict(directory)
        if verdict is None:
            raise RunError(f"{directory}: its session left no verdict.")
        profile = run.header.settings.profile
        table = markdown_table(run.records, profile=profile)
        worst = case_lines(run.records, profile=profile)
    except MedsamError as error:
        return f"### MedSAM-2 gate: no verdict\n\n{error}\n"
    broken = [result.text for result in verdict.results if result.outcome is Outcome.FAIL]
    reasons = "".join(f"- {text}\n" for text in [*broken, *verdict.reasons])
    head = f"{len(run.records)} of {len(run.plan)} cases scored on {run.header.device}"
    return "\n".join(
        [
            f"### MedSAM-2 gate: {verdict.outcome.value}\n",
            f"{head}, predictor {run.header.predictor.name}, checkpoint {run.header.checkpoint.name}.\n",
            reasons,
            table,
            "\n<details><summary>worst cases</summary>\n\n```",
            *worst,
            "```\n</details>\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(summary(Path(sys.argv[1])))
