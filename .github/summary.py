"""Write a run's verdict, table and worst cases as Markdown: what a pull request shows of it.

python .github/summary.py RUN >> "$GITHUB_STEP_SUMMARY"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medsam_core.errors import MedsamError
from medsam_core.reports.tables import case_lines, markdown_table
from medsam_core.runs import VERDICT, read_run


def summary(directory: Path) -> str:
    """Markdown of a run directory; where there is none, a sentence that says so."""
    try:
        run = read_run(directory)
        verdict = json.loads((directory / VERDICT).read_text(encoding="utf-8"))
        profile = run.header.settings.profile
        table = markdown_table(run.records, profile=profile)
        worst = case_lines(run.records, profile=profile)
    except (MedsamError, OSError, ValueError) as error:
        return f"### MedSAM-2 gate: no verdict\n\n{error}\n"
    broken = [result["text"] for result in verdict["results"] if result["outcome"] == "FAIL"]
    reasons = "".join(f"- {text}\n" for text in [*broken, *verdict["reasons"]])
    head = f"{len(run.records)} of {len(run.plan)} cases scored on {run.header.device}"
    return "\n".join(
        [
            f"### MedSAM-2 gate: {verdict['outcome']}\n",
            f"{head}, checkpoint {run.header.checkpoint.name}.\n",
            reasons,
            table,
            "\n<details><summary>worst cases</summary>\n\n```",
            *worst,
            "```\n</details>\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(summary(Path(sys.argv[1])))
