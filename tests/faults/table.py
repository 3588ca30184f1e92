"""The page docs/faults.md: a short line for each fault with what caught it, and those that another checkpoint hides."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from medsam_core.text import signed

HEAD = """\
# Faults, and what catches them

`tox -e faults -- --faults-table=docs/faults.md` writes this page. It puts one fault at a time into the running pipeline
(`tests/faults/catalogue.py` lists them), then scores and judges a small cohort as a session does.

- **cohort**: {cohort}; {checkpoint}.
- **floors**: the absolute bounds, {gates}.
- **groups**: the bounds against the accepted healthy run that `propose --baseline` adds for any checkpoint:
  `not_inferior = 0.010` and `mean_rise_maximum = 0.010` for each region and prompt, and wider ones over all cases.
- **pin**: `case_change_maximum = {pinned:.5f}` on Dice and HD95 against the healthy run: nothing may move at all. It
  works only on the machine that made the baseline.
- **another checkpoint**: the outcome if the run were of other weights, under the whole file of `propose --baseline`. No
  pin applies there.
- **moved**: the largest change of a group's mean Dice.

The verdict is the worst of floors, groups and pin. Each column shows its first reason; "–" means that it let the fault
pass. FAIL is a broken bound; ERROR a session that refuses to start, or a case whose test ends in an error; INCONCLUSIVE
everything else that is no pass. None of the three is green. The healthy run passes everything, also with saved masks,
and when it is stopped and resumed.

Faults in corrections are put into runs of two of the phantoms, WT and TC, in which every mask is corrected twice.

A fault that moves a group's mean Dice by {moved:.3f} or more must not pass as the run of another checkpoint
(`tests/faults/test_faults.py`). Those that pass there are listed at the end.

| fault | verdict | floors | groups | pin | another checkpoint | moved |
|---|---|---|---|---|---|---|
"""
HIDDEN = "## Green as the run of another checkpoint"
_BOUND = re.compile(
    r"(?P<outcome>FAIL|INCONCLUSIVE) gate \d+ \((?P<filters>[^)]*)\) \w+: "
    r"(?P<what>.+?)(?:,? over \d.*| in \d+ case.*)?$"
)
_PATH = re.compile(r"^(?:/[^:]*|\S*/\S*): ")


def cell(lines: Sequence[str]) -> str:
    """The first of the reasons, without the gate's number and the names of cases; a dash if there is none.

    A broken bound becomes `WT: worst Dice 0.280 < 0.471`, any other reason what stands before its colon.
    """
    if not lines:
        return "–"
    if bound := _BOUND.match(lines[0]):
        regions = [word for word in bound["filters"].split("; ") if word in ("WT", "TC", "ET")]
        what = f"{regions[0]}: {bound['what']}" if regions else bound["what"]
        return what if bound["outcome"] == "FAIL" else f"{what}: INCONCLUSIVE"
    outcome, _, text = lines[0].partition(" ")
    if outcome == "ERROR":
        text = re.split(r", expected|; |: ", _PATH.sub("", text))[0]
        return f"error: {text}".replace("|", "\\|")
    text = re.sub(r"^\d+ cases?: ", "", text)
    return text.split(":")[0].replace("|", "\\|")


def row(fault: str, outcome: str, reasons: Sequence[Sequence[str]], other: str, moved: tuple[str, float] | None) -> str:
    """A fault's line. reasons: of the floors, the groups and the pin. other: the outcome for another checkpoint."""
    found = [cell(lines) for lines in reasons]
    found[1:] = ["the same" if one == found[0] != "–" else one for one in found[1:]]
    cells = [fault, outcome, *found, "**green**" if other == "PASS" else other, size(moved)]
    return f"| {' | '.join(cells)} |"


def size(moved: tuple[str, float] | None) -> str:
    """`WT/box −0.118`; a dash if no group was scored."""
    if moved is None:
        return "–"
    return f"{moved[0]} {'NaN' if math.isnan(moved[1]) else signed(moved[1])}"


def hidden(green: Sequence[tuple[str, tuple[str, float] | None]]) -> str:
    """The page's end: the faults that are green as the run of another checkpoint, the largest first."""
    ordered = sorted(green, key=lambda one: -abs(one[1][1]) if one[1] else 0.0)
    lines = [f"- {name}: {size(moved)}" for name, moved in ordered] or ["None."]
    return "\n".join(["", HIDDEN, "", *lines, ""])
