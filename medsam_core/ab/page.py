"""`ab.html`: the verdict, the groups, and the cases sorted by their change with OLD and NEW side by side.

One file that loads nothing but the pictures and the viewers of the two runs, by relative links. Names from outside are
escaped. It can be read without scripts; they open the viewers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medsam_core.ab.answer import PAGE, Answer
from medsam_core.ab.page_assets import SCRIPT, STYLE
from medsam_core.ab.question import NEW, OLD
from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.files import write_whole
from medsam_core.gates.comparison import GroupComparison
from medsam_core.gates.pairing import Pair
from medsam_core.gates.subgroups import table
from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.outcome import Outcome
from medsam_core.text import counted, shown, signed
from medsam_core.viewer import viewer_script

_MOST = 50
"""Cases that fell, and cases that rose, with a panel of their own; the table below has all."""
_SENTENCES = {
    Outcome.PASS: "NEW is not worse than OLD.",
    Outcome.FAIL: "NEW is worse than OLD.",
    Outcome.INCONCLUSIVE: "Whether NEW is worse than OLD is not shown.",
}


def write_page(answer: Answer, directory: Path) -> None:
    """Write the page of a comparison, whole or not at all. Raises RunError.

    directory: the folder that holds `old` and `new`; pictures and viewers are linked if their files exist.
    """
    write_whole(directory / PAGE, page(answer, directory), error=RunError, fix="choose another place with -o")


def page(answer: Answer, directory: Path) -> str:
    """The page's HTML."""
    comparison = answer.comparison
    rule = comparison.rule
    title = f"{answer.texts[NEW]} against {answer.texts[OLD]}"
    pairs = sorted((pair for group in comparison.groups for pair in group.pairs), key=_badness)
    fell = [pair for pair in pairs if not pair.benefit >= 0][:_MOST]
    rose = [pair for pair in reversed(pairs) if pair.benefit > 0][:_MOST]
    name = metric_name(rule.metric, rule.scope)
    parts = [
        f"<h1>{_text(title)}</h1>",
        _banner(answer),
        _sides(answer),
        f"<h2>{_text(name)}{unit_of(rule.metric)} by group</h2>",
        _groups(comparison.groups, f"{rule.confidence:.0%}"),
        _subgroups(answer),
        f"<h2>Cases that got worse: {len([pair for pair in pairs if not pair.benefit >= 0])}</h2>",
        *(_case(pair, answer, directory) for pair in fell),
        f"<h2>Cases that got better: {len([pair for pair in pairs if pair.benefit > 0])}</h2>",
        *(_case(pair, answer, directory) for pair in rose),
        f"<details><summary>All {counted(len(pairs), 'case')}, the worst change first</summary>{_all(pairs)}</details>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{answer.outcome.value}: {_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _banner(answer: Answer) -> str:
    comparison, outcome = answer.comparison, answer.outcome.value
    texts = [
        *(group.text for group in comparison.groups if group.outcome is not Outcome.PASS),
        *comparison.reasons,
    ]
    if answer.gates is not None:
        texts.append(f"NEW by its gates: {answer.gates.outcome.value}")
        texts += [one.text for one in answer.gates.results if one.outcome is Outcome.FAIL]
        texts += answer.gates.reasons
    texts += [f"note: {note}" for note in (*comparison.notes, *answer.notes)]
    return (
        f'<div class="banner {outcome}" role="status"><strong>{outcome}</strong>'
        f"{_SENTENCES[comparison.outcome]}{_list(texts)}</div>"
    )


def _sides(answer: Answer) -> str:
    rows = []
    for side, run in ((OLD, answer.old), (NEW, answer.new)):
        header = run.header
        size = f"{header.checkpoint.image_size} px" if header.checkpoint.image_size else ""
        cells = [header.checkpoint.name, header.checkpoint.sha256[:12], size, str(header.predictor)]
        link = f'<a href="{side}/page.html">{side.upper()}</a>'
        rows.append(f'<tr><th scope="row">{link}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in cells)}</tr>')
    header = answer.new.header
    where = f"{counted(len(header.cohort.subjects), 'subject')} of {header.cohort.root}, {header.device}, "
    head = "<tr><th></th><th>checkpoint</th><th>SHA-256</th><th>image</th><th>predictor</th></tr>"
    note = f'<p class="soft">{_text(where + header.precision)}</p>'
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>{note}'


def _groups(groups: Sequence[GroupComparison], percent: str) -> str:
    if not groups:
        return "<p>No case was scored in both.</p>"
    titles = ["group", "subjects", "OLD", "NEW", "change", f"{percent} interval", "verdict", "why"]
    rows = []
    for one in groups:
        interval = "" if math.isnan(one.low) else f"[{signed(one.low)}, {signed(one.high)}]"
        figures = [str(len(one.pairs)), _figure(one.reference), _figure(one.current), signed(one.change), interval]
        rows.append(
            f"<tr><td>{_text(one.group)}</td>{''.join(f'<td class=n>{_text(cell)}</td>' for cell in figures)}"
            f"<td>{_tag(one.outcome)}</td><td>{_text(one.why)}</td></tr>"
        )
    return _table(titles, rows)


def _subgroups(answer: Answer) -> str:
    if not answer.comparison.subgroups:
        return ""
    head, *rows = table(answer.comparison.subgroups)
    lines = [
        f"<tr><td>{_text(row[0])}</td>{''.join(f'<td class=n>{_text(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    ]
    return f"<details><summary>By grade, volume and pieces</summary>{_table(head, lines)}</details>"


def _case(pair: Pair, answer: Answer, directory: Path) -> str:
    """One case: its change, both pictures, and a button for the viewer."""
    pictures, scripts = "", []
    for side, run in ((OLD, answer.old), (NEW, answer.new)):
        record = next((one for one in run.records if one.id == pair.case), None)
        if record is None:
            continue
        pictures += _picture(side, record, directory)
        if script := viewer_script(run.directory, record):
            scripts.append((side, f"{side}/{script}"))
    button = ""
    if len(scripts) == len((OLD, NEW)):
        data = "".join(f' data-{side}="{_url(script)}"' for side, script in scripts)
        button = f'<button type="button" class="open"{data}>viewer</button><div class="viewer" hidden></div>'
    change = f"{_figure(pair.reference)} → {_figure(pair.current)} ({signed(pair.current - pair.reference)})"
    return (
        f'<section class="case" id="case={_url(pair.case)}"><h3>{_text(pair.case)}</h3><p>{_text(change)}</p>'
        f'<div class="pictures">{pictures}</div>{button}</section>'
    )


def _picture(side: str, record: CaseRecord, directory: Path) -> str:
    if not record.overlay or not (directory / side / record.overlay).is_file():
        return ""
    url = _url(f"{side}/{record.overlay}")
    alternative = _text(f"{record.id}, {side}: truth and prediction on the prompted and the worst slice")
    return (
        f'<figure><a href="{url}"><img loading="lazy" src="{url}" alt="{alternative}"></a>'
        f"<figcaption>{side.upper()}</figcaption></figure>"
    )


def _all(pairs: Sequence[Pair]) -> str:
    rows = [
        f"<tr><td>{_text(pair.case)}</td><td class=n>{_figure(pair.reference)}</td><td class=n>"
        f"{_figure(pair.current)}</td><td class=n>{signed(pair.current - pair.reference)}</td></tr>"
        for pair in pairs
    ]
    return _table(["case", "OLD", "NEW", "change"], rows)


def _table(titles: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{_text(title)}</th>' for title in titles)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _badness(pair: Pair) -> tuple[float, str]:
    """Sorts the worst change first, an undefined score before all."""
    return (-math.inf if math.isnan(pair.benefit) else pair.benefit), pair.case


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>" if lines else ""


def _tag(outcome: Outcome) -> str:
    return f'<span class="tag {outcome.value}">{outcome.value}</span>'


def _figure(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def _url(path: str) -> str:
    return escape(quote(path))


def _text(text: Any) -> str:
    return escape(shown(str(text)))
