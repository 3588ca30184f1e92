"""One static page for a run: its verdict, its gates, its table, its configuration, and every case with its overlay.

Only the overlays are loaded, by relative links. Everything that comes from the run's files is escaped. The page can be
read without scripts; with them, the cases can be sorted and filtered.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import MedsamError, RunError
from medsam_core.files import write_whole
from medsam_core.gates.subgroups import volume_terciles
from medsam_core.gates.verdict import Verdict
from medsam_core.gates.wording import metric_name
from medsam_core.header import RunHeader, ShardRun
from medsam_core.outcome import Outcome
from medsam_core.reports.page_assets import SCRIPT, STYLE
from medsam_core.reports.tables import WORDS, control_lines, ranked, rows
from medsam_core.runs import Run
from medsam_core.text import counted, few

_NONE = "–"
_ORDER = ("FAIL", "INCONCLUSIVE", "PASS", _NONE)
"""The outcomes of cases in the order of the page."""
_SCORES = (("dice", "volume"), ("iou", "volume"), ("dice", "key_slice"))
_LONG_LIST = 12
_FOLDED = ("settings", "environment", "command")
_Cell = str | tuple[str, Any]
"""A cell's HTML, and what it is sorted by where that is not its text."""


def write_page(run: Run, verdict: Verdict, path: Path | str) -> None:
    """Write the page of a run as one HTML file, whole or not at all.

    run: a run without records gives a page that says so. path: usually `page.html` in the run's directory; overlays
    are linked relative to it, and left out if their file does not exist (only the worst are kept).
    Raises RunError if it cannot be written.
    """
    path = Path(path)
    write_whole(path, page(run, verdict, links_from=path.parent), error=RunError, fix="choose another --medsam-run-dir")


def page(run: Run, verdict: Verdict, *, links_from: Path | str) -> str:
    """The page's HTML. links_from: the folder that it will be in."""
    name = _text(f"{run.directory.resolve().name}: MedSAM-2 gate")
    parts = [
        f"<h1>{name}</h1>",
        _banner(verdict),
        "<h2>Gates</h2>",
        _gates(verdict),
        "<h2>Scores</h2>",
        _scores(run),
        "<h2>Configuration</h2>",
        _configuration(run.header),
        "<h2>Cases</h2>",
        _missing(run),
        _cases(run, verdict, Path(links_from)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{verdict.outcome.value}: {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _banner(verdict: Verdict) -> str:
    outcome, results, counts = verdict.outcome.value, verdict.results, verdict.counts
    head = f"{counts.get('scored', 0)} of {counted(counts.get('planned', 0), 'case')} scored"
    broken = [result.text for result in results if result.outcome is Outcome.FAIL]
    if results:
        head += f", {len(broken)} of {counted(len(results), 'bound')} broken"
    if verdict.predictor:
        head += f"; predictor {verdict.predictor}"
    texts = [*broken, *verdict.reasons, *(f"note: {note}" for note in verdict.notes)]
    return (
        f'<div class="banner {outcome}" role="status"><strong>{outcome}</strong>{_text(head)}'
        + (f"<ul>{''.join(f'<li>{_text(one)}</li>' for one in texts)}</ul>" if texts else "")
        + "</div>"
    )


def _gates(verdict: Verdict) -> str:
    if not verdict.results:
        why = "The gates are judged when all shards are merged." if verdict.shard else "No gate was applied."
        return f'<p class="soft">{why}</p>'
    columns = {"outcome": "", "result": "", "gate": "n", "bound": "", "limit": "n", "value": "n", "n": "n"}
    lines = [
        [
            _tag(one.outcome.value),
            _text(one.text),
            str(one.gate.number),
            _text(one.bound.name),
            f"{one.bound.limit:g}",
            _NONE if one.value is None else f"{one.value:.3f}",
            str(one.n),
        ]
        for one in verdict.results
    ]
    return _table(columns, lines)


def _scores(run: Run) -> str:
    profile = run.header.settings.profile
    try:
        found = rows(run.records, profile=profile)
    except MedsamError as error:  # a run that did not compute Dice still has a page
        return f'<p class="soft">{_text(error)}</p>'
    if not found:
        return "<p>No case was scored.</p>"
    titles, *lines = found
    table = _table(
        {title: "" if title in WORDS else "n" for title in titles}, [[_text(cell) for cell in line] for line in lines]
    )
    note = f"Dice over the volume by profile {profile}; key slice: on the prompted slices of the cases with the region."
    controls = "".join(f"<p>{_text(line)}</p>" for line in control_lines(run.records, profile=profile))
    return f'{table}<p class="soft">{_text(note)}</p>{controls}'


def _configuration(header: RunHeader) -> str:
    """Every entry of the header; those that are long and seldom read are folded."""
    shown = header.to_json()
    folded = {key: shown.pop(key) for key in _FOLDED}
    shown["cases"] = len(shown.pop("plan"))
    if shown.pop("shards"):
        folded["shards"] = {f"shard {one.number}": _shard(one) for one in header.shards}
    text = _entries(shown)
    for key, value in folded.items():
        entries = _entries(value if isinstance(value, Mapping) else {key: value})
        text += f"<details><summary>{key}</summary>{entries}</details>"
    return text


def _shard(one: ShardRun) -> str:
    """When, where and on what a shard was scored."""
    seen = one.environment
    device = ", ".join(one.decided.workers) or one.device
    return ", ".join(filter(None, (one.created, seen.host, device, seen.gpu or seen.cpu)))


def _entries(tree: Mapping[str, Any]) -> str:
    entries = (f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in _flat(tree))
    return f"<dl>{''.join(entries)}</dl>"


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key} ")
        elif isinstance(value, (list, tuple)):
            text = few([str(one) for one in value], _LONG_LIST) or "none"
            yield f"{before}{key}", f"{len(value)}: {text}" if len(value) > _LONG_LIST else text
        elif value is not None:
            yield f"{before}{key}", str(value)


def _missing(run: Run) -> str:
    scored = {record.id for record in run.records}
    missing = [case for case in run.plan if case not in scored]
    return f"<p>{_text(f'Planned but not scored: {len(missing)}: {few(missing, _LONG_LIST)}')}</p>" if missing else ""


def _cases(run: Run, verdict: Verdict, links_from: Path) -> str:
    if not run.records:
        return "<p>No case was scored.</p>"
    profile = run.header.settings.profile
    try:
        records = ranked(run.records, profile=profile)
    except MedsamError:
        records = sorted(run.records, key=lambda record: record.id)
    outcomes = _outcomes(run.records, verdict)
    records.sort(key=lambda record: _ORDER.index(outcomes[record.id]))  # stable: worst first among equal outcomes
    texts = {case.id: case.texts for case in verdict.cases}
    columns = {"overlay": "picture", "case": "id", "outcome": ""}
    columns |= {metric_name(metric, scope): "n" for metric, scope in _SCORES}
    columns |= {"key slice": "n", "grade": "", "seconds": "n"}
    lines: list[list[_Cell]] = []
    for record in records:
        outcome = outcomes[record.id]
        own = record.scores if record.prompted else {}  # of an absent region the scores are the profile's rule alone
        scores = [own.get(score_key(profile, metric, scope)) for metric, scope in _SCORES]
        slices = ", ".join(map(str, record.key_slices[:3])) + (" …" if record.key_slices[3:] else "")
        lines.append(
            [
                _thumbnail(run, record, links_from),
                (_case(record, texts.get(record.id, ())), record.id),
                (_tag(outcome), _ORDER.index(outcome)),
                *(_figure(score) for score in scores),
                (slices or "absent", record.key_slices[0] if slices else -1e300),
                _text(record.grade or _NONE),
                _figure(record.seconds, ".1f"),
            ]
        )
    search = '<input id="filter" type="search" placeholder="filter: WT box FAIL …" aria-label="filter the cases">'
    return search + _table(columns, lines, sortable=True)


def _outcomes(records: Sequence[CaseRecord], verdict: Verdict) -> dict[str, str]:
    """What the verdict says about each case; – instead of PASS if no gate is about it."""
    judged = {case.id: case.outcome for case in verdict.cases}
    terciles = volume_terciles(records)
    outcomes = {}
    for record in records:
        outcome = judged.get(record.id, Outcome.PASS)
        gated = record.prompted and any(one.gate.matches(record, terciles) for one in verdict.results)
        outcomes[record.id] = outcome.value if gated or outcome is not Outcome.PASS else _NONE
    return outcomes


def _case(record: CaseRecord, texts: Iterable[str]) -> str:
    reasons = [text for text in (*texts, record.diagnosis, *record.notes) if text]
    return _text(record.id) + "".join(f'<div class="why">{_text(reason)}</div>' for reason in reasons)


def _thumbnail(run: Run, record: CaseRecord, links_from: Path) -> str:
    if not record.overlay or not (run.directory / record.overlay).is_file():
        return ""
    link = os.path.relpath(run.directory.resolve() / record.overlay, links_from.resolve())
    url = _text(quote(Path(link).as_posix()))
    alternative = _text(f"{record.id}: truth and prediction on the prompted and the worst slice")
    return f'<a href="{url}"><img loading="lazy" src="{url}" alt="{alternative}"></a>'


def _table(columns: Mapping[str, str], lines: Iterable[Sequence[_Cell]], *, sortable: bool = False) -> str:
    """columns: their titles and kinds: "n" for figures, "picture" for what cannot be sorted."""
    head = ""
    for title, kind in columns.items():
        button = f'<button type="button">{title}</button>' if sortable and kind != "picture" else title
        head += f'<th class="{kind}" scope="col">{button}</th>'
    rows = []
    for line in lines:
        row = ""
        for kind, cell in zip(columns.values(), line, strict=True):
            text, key = cell if isinstance(cell, tuple) else (cell, None)
            row += f'<td class="{kind}"' + ("" if key is None else f' data-key="{_text(key)}"') + f">{text}</td>"
        rows.append(f"<tr>{row}</tr>")
    identity = ' id="cases"' if sortable else ""
    body = "\n".join(rows)
    return f'<div class="wide"><table{identity}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _tag(outcome: str) -> str:
    return outcome if outcome == _NONE else f'<span class="tag {outcome}">{outcome}</span>'


def _figure(value: float | None, form: str = ".3f") -> _Cell:
    """A figure for a sortable table: an undefined one is sorted below all others."""
    if value is None or math.isnan(value):
        return _NONE, -1e300
    return format(value, form), value


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)
