"""What a pull request shows of a run: a summary in Markdown, and a badge for shields.io."""

from __future__ import annotations

from pathlib import Path

from medsam_core.errors import RunError
from medsam_core.outcome import Outcome
from medsam_core.reports.markdown import block, code, escaped
from medsam_core.reports.tables import case_lines, markdown_table, shortened
from medsam_core.runs import Run, StoredVerdict, read_run, stored_verdict
from medsam_core.text import counted

TITLE = "MedSAM-2 gate"
_MOST_REASONS = 20
_LONGEST_REASON = 400
"""In characters; a comment on a pull request holds 65,536."""


def summary(directory: Path, *, title: str = TITLE) -> str:
    """The verdict, its reasons, the table and the worst cases of a run, as Markdown that ends with a line break.

    Names from the data are escaped. The heading of a run whose session left no verdict says "no verdict".
    Raises RunError if the run cannot be read, or OptionError if a record has no Dice under the run's profile.
    """
    run, verdict = _read(directory)
    header = run.header
    profile = header.settings.profile
    parts = [
        f"### {escaped(title)}: {_outcome(verdict)}",
        f"{_cases(run)} scored on {escaped(header.device)}, predictor {code(header.predictor.name)}, "
        f"checkpoint {code(header.checkpoint.name)}.",
    ]
    if reasons := _reasons(verdict):
        parts.append(block(reasons))
    parts.append(markdown_table(run.records, profile=profile))
    if worst := case_lines(run.records, profile=profile):
        parts.append(f"<details><summary>worst cases</summary>\n\n{block(worst)}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def badge(directory: Path, *, title: str = TITLE) -> dict[str, str | int | bool]:
    """The JSON of a badge, in the endpoint schema of shields.io: red, and an error, for all but PASS.

    Raises RunError if the run cannot be read.
    """
    run, verdict = _read(directory)
    passed = verdict is not None and verdict.outcome is Outcome.PASS
    return {
        "schemaVersion": 1,
        "label": title,
        "message": f"{_outcome(verdict)}, {_cases(run)}",
        "color": "brightgreen" if passed else "red",
        "isError": not passed,
    }


def _read(directory: Path) -> tuple[Run, StoredVerdict | None]:
    """The run and its verdict. A PASS whose records are not all there is an error, not a PASS."""
    run, verdict = read_run(directory), stored_verdict(directory)
    if verdict is not None and verdict.outcome is Outcome.PASS:
        missing = set(run.plan) - {record.id for record in run.records}
        if missing or not run.plan:
            raise RunError(
                f"{directory}: its verdict is PASS, but it has records of {_cases(run)}, expected one for every case; "
                "copy the whole run, or score it again."
            )
    return run, verdict


def _outcome(verdict: StoredVerdict | None) -> str:
    return "no verdict" if verdict is None else verdict.outcome.value


def _cases(run: Run) -> str:
    return f"{len(run.records)} of {counted(len(run.plan), 'case')}"


def _reasons(verdict: StoredVerdict | None) -> list[str]:
    """Broken bounds, then the other reasons, shortened; or that the session left no verdict."""
    if verdict is None:
        return ["its session left no verdict: it was stopped, or it is still at work"]
    broken = [result.text for result in verdict.results if result.outcome is Outcome.FAIL]
    reasons = [*broken, *verdict.reasons]
    more = len(reasons) - _MOST_REASONS
    shown = [shortened(reason, _LONGEST_REASON) for reason in reasons[:_MOST_REASONS]]
    return [*shown, f"and {more} more"] if more > 0 else shown
