"""One static page for a run: its verdict, what it was asked, its gates, its table, and every case with its overlay.

Nothing is loaded from elsewhere but the overlays beside it, by relative links; everything that comes from the run's
files is escaped. It reads without scripts; with them, the cases can be sorted and filtered.
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
from medsam_core.gates.wording import metric_name
from medsam_core.reports.page_assets import SCRIPT, STYLE
from medsam_core.reports.tables import WORDS, control_lines, ranked, rows
from medsam_core.runs import Run
from medsam_core.text import counted, few

_NONE = "–"
_OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE")
_LONG_LIST = 12
_FOLDED = ("settings", "environment", "command")
_Cell = tuple[str, str]
"""What stands in a cell, as HTML, and the cell's attributes."""


def write_page(run: Run, verdict: Mapping[str, Any], path: Path | str) -> None:
    """Write the page of a run as one HTML file.

    run: as read or as just written; a run without records gives a page that says so. verdict: what
    `Verdict.to_json` gives or `verdict.json` holds. path: usually `page.html` in the run's directory; overlays are
    linked from wherever it is, those whose file is not there (only the worst are kept) are left out.
    Raises RunError if it cannot be written; then nothing half-written is left.
    """
    path = Path(path)
    write_whole(path, page(run, verdict, links_from=path.parent), error=RunError, fix="choose another --run-dir")


def page(run: Run, verdict: Mapping[str, Any], *, links_from: Path | str) -> str:
    """The page's HTML. links_from: the folder that it will be in."""
    profile = run.header.settings.profile
    name = f"{run.directory.resolve().name}: MedSAM-2 gate"
    parts = [
        f"<h1>{_text(name)}</h1>",
        _banner(verdict),
        "<h2>Gates</h2>",
        _gates(verdict),
        "<h2>Scores</h2>",
        _scores(run.records, profile),
        "<h2>Configuration</h2>",
        _configuration(run.header.to_json()),
        "<h2>Cases</h2>",
        _missing(run),
        _cases(run, verdict, profile, Path(links_from)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(_outcome(verdict))}: {_text(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _banner(verdict: Mapping[str, Any]) -> str:
    outcome, results = _outcome(verdict), verdict.get("results", ())
    counts = {"bounds": len(results), **verdict.get("counts", {})}
    scored = f"{counts.get('scored', 0)} of {counted(int(counts.get('planned', 0)), 'case')} scored"
    bounds = f", {counts.get('broken', 0)} of {counted(int(counts['bounds']), 'bound')} broken" if results else ""
    broken = [one["text"] for one in results if one.get("outcome") == "FAIL"]
    texts = [*broken, *verdict.get("reasons", ()), *(f"note: {note}" for note in verdict.get("notes", ()))]
    return (
        f'<div class="banner {outcome}" role="status"><strong>{outcome}</strong>{_text(scored + bounds)}'
        + (f"<ul>{''.join(f'<li>{_text(one)}</li>' for one in texts)}</ul>" if texts else "")
        + "</div>"
    )


def _gates(verdict: Mapping[str, Any]) -> str:
    results = verdict.get("results", ())
    if not results:
        return '<p class="soft">No gate was applied.</p>'
    titles = [("outcome", ""), ("result", ""), ("gate", "n"), ("bound", ""), ("limit", "n"), ("value", "n"), ("n", "n")]
    lines = []
    for one in results:
        lines.append(
            [
                (_tag(one.get("outcome")), ""),
                (_text(one.get("text", "")), ""),
                (_text(one.get("gate", _NONE)), 'class="n"'),
                (_text(one.get("bound", _NONE)), ""),
                (_figure(one.get("limit"), "g"), 'class="n"'),
                (_figure(one.get("value")), 'class="n"'),
                (_text(one.get("n", _NONE)), 'class="n"'),
            ]
        )
    return _table(titles, lines)


def _scores(records: Sequence[CaseRecord], profile: str) -> str:
    try:
        found = rows(records, profile=profile)
    except MedsamError as error:  # a run that did not compute Dice still has a page
        return f'<p class="soft">{_text(error)}</p>'
    if not found:
        return "<p>No case was scored.</p>"
    titles, *lines = found
    kinds = ["" if title in WORDS else "n" for title in titles]
    table = _table(
        list(zip(titles, kinds, strict=True)),
        [[(_text(cell), f'class="{kind}"') for cell, kind in zip(line, kinds, strict=True)] for line in lines],
    )
    note = f"Dice over the volume by profile {profile}; key slice: on the prompted slices of the cases with the region."
    controls = "".join(f"<p>{_text(line)}</p>" for line in control_lines(records, profile=profile))
    return f'{table}<p class="soft">{_text(note)}</p>{controls}'


def _configuration(header: Mapping[str, Any]) -> str:
    """The effective configuration, every entry of the header; what is long and seldom asked for is folded away."""
    shown = {key: value for key, value in header.items() if key not in (*_FOLDED, "plan")}
    text = _entries([*_flat(shown), ("cases", str(len(header.get("plan", ()))))])
    for key in _FOLDED:
        if key in header:
            value = header[key]
            entries = _flat(value if isinstance(value, Mapping) else {key: value})
            text += f"<details><summary>{key}</summary>{_entries(entries)}</details>"
    return text


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key} ")
        elif isinstance(value, (list, tuple)):
            names = [str(one) for one in value]
            text = few(names, _LONG_LIST) or "none"
            yield f"{before}{key}", f"{len(names)}: {text}" if len(names) > _LONG_LIST else text
        elif value is not None:
            yield f"{before}{key}", str(value)


def _entries(entries: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{_text(key)}</dt><dd>{_text(value)}</dd>' for key, value in entries)}</dl>"


def _missing(run: Run) -> str:
    scored = {record.id for record in run.records}
    missing = [case for case in run.plan if case not in scored]
    return f"<p>{_text(f'Planned but not scored: {len(missing)}: {few(missing, _LONG_LIST)}')}</p>" if missing else ""


def _cases(run: Run, verdict: Mapping[str, Any], profile: str, links_from: Path) -> str:
    if not run.records:
        return "<p>No case was scored.</p>"
    try:
        records = ranked(run.records, profile=profile)
    except MedsamError:
        records = sorted(run.records, key=lambda record: record.id)
    records.sort(key=lambda record: _place(_case_outcome(verdict, record)))  # stable: worst first among equal ones
    columns = [("dice", "volume"), ("iou", "volume"), ("dice", "key_slice")]
    titles = [("overlay", "-"), ("case", ""), ("outcome", "")]
    titles += [(metric_name(metric, scope), "n") for metric, scope in columns]
    titles += [("key slice", "n"), ("grade", ""), ("seconds", "n")]
    lines = []
    for record in records:
        outcome = _case_outcome(verdict, record)
        scores = [record.scores.get(score_key(profile, metric, scope), math.nan) for metric, scope in columns]
        slices = ", ".join(map(str, record.key_slices[:3])) + (" …" if record.key_slices[3:] else "")
        lines.append(
            [
                (_thumbnail(run, record, links_from), ""),
                (_case(record, verdict), f'class="id" data-key="{_text(record.id)}"'),
                (_tag(outcome), f'data-key="{_place(outcome)}"'),
                *((_figure(score), _key(score)) for score in scores),
                (_text(slices or "absent"), _key(record.key_slices[0] if record.key_slices else math.nan)),
                (_text(record.grade or _NONE), ""),
                (_figure(record.seconds, ".1f"), _key(record.seconds)),
            ]
        )
    filter_ = '<input id="filter" type="search" placeholder="filter: WT box FAIL …" aria-label="filter the cases">'
    return filter_ + _table(titles, lines, identity="cases", sortable=True)


def _case_outcome(verdict: Mapping[str, Any], record: CaseRecord) -> str:
    """What the verdict says of a case; it lists those that are not a PASS. No outcome if no gate is about the case."""
    listed = _at(verdict, "cases", record.id, "outcome")
    if listed in _OUTCOMES:
        return str(listed)
    gated = record.prompted and any(
        _is_about(result.get("filters", {}), record) for result in verdict.get("results", ())
    )
    return "PASS" if gated else _NONE


def _is_about(filters: Mapping[str, Sequence[str]], record: CaseRecord) -> bool:
    return all(
        getattr(record if name in ("grade", "site") else record.case, name, None) in accepted
        for name, accepted in filters.items()
    )


def _place(outcome: str) -> int:
    """FAIL before INCONCLUSIVE before PASS."""
    return ("FAIL", "INCONCLUSIVE", "PASS", _NONE).index(outcome)


def _case(record: CaseRecord, verdict: Mapping[str, Any]) -> str:
    texts = [*(_at(verdict, "cases", record.id, "texts") or ()), record.diagnosis, *record.notes]
    return _text(record.id) + "".join(f'<div class="why">{_text(text)}</div>' for text in texts if text)


def _thumbnail(run: Run, record: CaseRecord, links_from: Path) -> str:
    if not record.overlay or not (run.directory / record.overlay).is_file():
        return ""
    link = os.path.relpath(run.directory.resolve() / record.overlay, links_from.resolve())
    url = _text(quote(Path(link).as_posix()))
    alternative = _text(f"{record.id}: truth and prediction on the prompted and the worst slice")
    return f'<a href="{url}"><img loading="lazy" src="{url}" alt="{alternative}"></a>'


def _table(
    titles: Sequence[tuple[str, str]], lines: Iterable[Sequence[_Cell]], *, identity: str = "", sortable: bool = False
) -> str:
    """titles: each with its kind: "n" for figures, "" for words, "-" for what cannot be sorted."""
    head = "".join(
        f'<th{" class=n" if kind == "n" else ""} scope="col">'
        + (f'<button type="button">{_text(title)}</button>' if sortable and kind != "-" else _text(title))
        + "</th>"
        for title, kind in titles
    )
    body = "\n".join("<tr>" + "".join(f"<td {more}>{cell}</td>" for cell, more in line) + "</tr>" for line in lines)
    opening = f'<table id="{identity}">' if identity else "<table>"
    return f'<div class="wide">{opening}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _key(value: float | None) -> str:
    """What a figure is sorted by: an undefined one below all others."""
    return f'class="n" data-key="{-1e300 if value is None or math.isnan(value) else float(value)!r}"'


def _figure(value: Any, form: str = ".3f") -> str:
    if isinstance(value, str):  # a figure that is not finite stands as text in JSON
        return _text(value)
    return _NONE if value is None or math.isnan(value) else format(value, form)


def _tag(outcome: Any) -> str:
    return f'<span class="tag {outcome}">{outcome}</span>' if outcome in _OUTCOMES else _text(outcome or _NONE)


def _outcome(verdict: Mapping[str, Any]) -> str:
    """The verdict's word; anything else than a known one is INCONCLUSIVE."""
    outcome = verdict.get("outcome")
    return str(outcome) if outcome in _OUTCOMES else "INCONCLUSIVE"


def _at(tree: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)
