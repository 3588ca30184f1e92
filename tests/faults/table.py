"""The table of docs/faults.md: one short line for each fault, with what caught it."""

from __future__ import annotations

import re
from collections.abc import Sequence

HEAD = """\
# Faults, and what catches them

`tox -e faults -- --faults-table=docs/faults.md` writes this page. It puts one fault at a time into the running pipeline
(`tests/faults/catalogue.py` lists them), then scores and judges a small cohort as a session does.

- **cohort**: {cohort}; {checkpoint}.
- **floors**: the verdict by floors alone, {gates}.
- **comparison**: the paired comparison with the accepted healthy run, as `medsam-core compare` does it.
- **pin**: a gate with `case_change_maximum = {pinned:.5f}` against the healthy run: no Dice may move at all. It works
  only on the machine that made the baseline.

The verdict is the worst of the three. Each column shows its first reason; "–" means that it let the fault pass. The
healthy run passes all three.

| fault | verdict | floors | comparison | pin |
|---|---|---|---|---|
"""
_BOUND = re.compile(r"FAIL gate \d+ \((?P<filters>[^)]*)\) \w+: (?P<what>.+?)(?: over \d.*| in \d+ case.*)?$")
_GROUP = re.compile(r"(?P<group>\w+/\S+) (?P<change>\S+ \S+) over .*?: (?P<outcome>FAIL|INCONCLUSIVE)\b")


def cell(lines: Sequence[str]) -> str:
    """The first of the reasons, without the gate's number and the names of cases; a dash if there is none.

    A broken bound becomes `WT: worst Dice 0.280 < 0.471`, a group of the comparison `WT/box Dice −0.118, FAIL`, any
    other reason what stands before its colon.
    """
    if not lines:
        return "–"
    if bound := _BOUND.match(lines[0]):
        regions = [word for word in bound["filters"].split("; ") if word in ("WT", "TC", "ET")]
        return f"{regions[0]}: {bound['what']}" if regions else bound["what"]
    if group := _GROUP.match(lines[0]):
        return f"{group['group']} {group['change']}, {group['outcome']}"
    return lines[0].removeprefix("INCONCLUSIVE ").split(":")[0].replace("|", "\\|")


def row(fault: str, verdict: str, *reasons: Sequence[str]) -> str:
    """A fault's line; reasons: of the floors, the comparison and the pin."""
    return f"| {' | '.join([fault, verdict, *map(cell, reasons)])} |"
