"""The page of a run: verdict and reasons, what changed, the worst cases as pictures, then every case.

One HTML file that loads nothing: scripts, styles, data and the first pictures are in it. Only the overlays of the other
cases and the viewer's data are files beside it, by relative links. Without scripts, all but the table of the cases can
be read. Everything that comes from the run's files is escaped by the templates, or is text in the page's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from medsam_core.errors import MedsamError, RunError
from medsam_core.files import write_whole
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.gate import GateResult
from medsam_core.gates.verdict import Verdict
from medsam_core.outcome import Outcome
from medsam_core.page.case_data import case_data, outcomes
from medsam_core.page.change import change_against
from medsam_core.page.configuration import configuration
from medsam_core.page.inlining import HERE, json_script, policy, scripts, style
from medsam_core.page.noise import noise_chart
from medsam_core.page.pictures import address, overlay_link, tiles, viewer_link
from medsam_core.page.rerun import command_of
from medsam_core.page.trend import trend
from medsam_core.reports.line_chart import STYLE
from medsam_core.reports.tables import WORDS, control_lines, rows
from medsam_core.runs import Run
from medsam_core.slices import read_slices
from medsam_core.text import counted, few, shown
from medsam_core.viewer.names import FOLDER

_REASONS = 3
"""Broken bounds, and other sentences, that are listed with the verdict at once; the others are folded."""
_FIRST_COLUMNS = ("region", "prompt", "noise", "n", "mean Dice", "median", "worst")
"""Of the table of the groups, what is shown with the verdict where no change is."""
_LONG_LIST = 12
_SIGNS = {"PASS": "✔", "FAIL": "✖", "INCONCLUSIVE": "◆"}


def write_page(
    run: Run,
    verdict: Verdict,
    path: Path | str,
    baseline: Baseline | None = None,
    *,
    fix: str = "choose another --medsam-run-dir",
) -> None:
    """Write the page of a run as one HTML file, whole or not at all.

    run: a run without records gives a page that says so. path: usually `page.html` in the run's directory; overlays
    are linked relative to it. baseline: what the verdict's relative bounds refer to. fix: what to do if it cannot be
    written, for the error.
    Raises RunError if it cannot be written.
    """
    path = Path(path)
    text = page(run, verdict, links_from=path.parent, baseline=baseline)
    write_whole(path, text, error=RunError, fix=fix)


def page(run: Run, verdict: Verdict, *, links_from: Path | str, baseline: Baseline | None = None) -> str:
    """The page's HTML. links_from: the folder that it will be in."""
    change = change_against(baseline, run)
    outcome = outcomes(run.records, verdict)
    data = case_data(
        run,
        verdict,
        outcome,
        baseline,
        change.by_case or {},
        read_slices(run.directory),
        picture=overlay_link(run, Path(links_from)),
        viewer=viewer_link(run, Path(links_from)),
    )
    data["viewer"] = address(run.directory / FOLDER / "viewer.js", Path(links_from))
    data["rerun"] = shown(command_of(run.header))
    broken = [one for one in verdict.results if one.outcome is Outcome.FAIL]
    texts, scores = scripts(), _scores(run)
    worst, fallen = tiles(run, outcome, change)
    return (
        _templates()
        .get_template("page.html")
        .render(
            title=f"{verdict.outcome.value}: {run.directory.resolve().name}",
            name=run.directory.resolve().name,
            outcome=verdict.outcome.value,
            signs=_SIGNS,
            summary=summary(verdict),
            facts=_facts(run),
            broken=broken,
            most=_REASONS,
            remarks=[*verdict.reasons, *(f"note: {note}" for note in verdict.notes)],
            verdict=verdict,
            change=change,
            worst=worst,
            fallen=fallen,
            gates=gate_groups(verdict.results),
            gates_missing="The gates are judged when all shards are merged."
            if verdict.shard
            else "No gate was applied.",
            scores=scores,
            first_columns=[place for place, title in enumerate(scores.get("titles", ())) if title in _FIRST_COLUMNS],
            missing=_missing(run),
            many=len(run.records),
            trend=trend(run, verdict),
            noise=noise_chart(run),
            configuration=configuration(run.header),
            style=style() + Markup(STYLE),
            scripts=texts,
            policy=policy(texts),
            data=json_script(data),
        )
    )


def summary(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    counts, results = verdict.counts, verdict.results
    planned, scored = counts.get("planned", 0), counts.get("scored", 0)
    cases, bounds = counted(planned, "planned case"), counted(len(results), "bound")
    were = "was" if planned == 1 else "were"
    if planned and scored == planned:
        attended = "the planned case was scored" if planned == 1 else f"all {cases} were scored"
    else:
        attended = f"{scored} of {cases} {were} scored"
    if not results:
        return f"{attended[0].upper()}{attended[1:]}."
    broken = sum(one.outcome is Outcome.FAIL for one in results)
    undecided = sum(one.outcome is Outcome.INCONCLUSIVE for one in results)
    if broken:
        text = f"{broken} of {bounds} {'is' if broken == 1 else 'are'} broken"
        text += f" and {undecided} could not be decided" if undecided else ""
    elif undecided:
        text = f"{undecided} of {bounds} could not be decided"
    else:
        return f"{attended[0].upper()}{attended[1:]}, and all {bounds} hold."
    return f"{text}; {attended}."


def gate_groups(results: Sequence[GateResult]) -> dict[str, list[GateResult]]:
    """The bounds by outcome, broken ones first; no entry for an outcome that none has."""
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    groups = {one.value: [result for result in results if result.outcome is one] for one in order}
    return {name: own for name, own in groups.items() if own}


def _facts(run: Run) -> str:
    """What was judged, where and when, in a line."""
    header = run.header
    subjects = counted(len(header.cohort.subjects), "subject")
    parts = [
        f"predictor {header.predictor}",
        f"checkpoint {header.checkpoint.name} {header.checkpoint.sha256[:8]}",
        f"{Path(header.cohort.root).name}, {subjects}",
        f"{header.device} {header.precision}",
        header.created,
    ]
    return " · ".join(parts)


def _scores(run: Run) -> dict[str, Any]:
    """The table of the groups, a note below it, and what there is to say of the controls."""
    profile = run.header.settings.profile
    try:
        found = rows(run.records, profile=profile)
    except MedsamError as error:  # a run that did not compute Dice still has a page
        return {"problem": str(error)}
    if not found:
        return {"problem": "No case was scored."}
    titles, *lines = found
    return {
        "problem": "",
        "titles": titles,
        "words": WORDS,
        "lines": lines,
        "note": f"Dice over the volume by profile {profile}; key slice: on the prompted slices of the cases with the "
        "region.",
        "controls": control_lines(run.records, profile=profile),
    }


def _missing(run: Run) -> str:
    scored = {record.id for record in run.records}
    missing = [case for case in run.plan if case not in scored]
    return f"Planned but not scored: {len(missing)}: {few(missing, _LONG_LIST)}" if missing else ""


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: shown(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["case_link"] = lambda case: f"#case={quote(shown(case))}"
    return made
