"""Which cases of a run and of a reference belong together, and why some or all of them do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from medsam_core.cases import CaseRecord
from medsam_core.gates.baseline import Baseline, BaselineCase, identity_of
from medsam_core.gates.statistics import DECIMALS
from medsam_core.gates.wording import group_name, group_order
from medsam_core.runs import Run
from medsam_core.text import counted, few


@dataclass(frozen=True)
class Pair:
    """One case in both runs; `benefit` is the change towards the better."""

    case: str
    subject: str
    reference: float
    current: float
    benefit: float


Groups = dict[str, tuple[Pair, ...]]


def differences(reference: Baseline, run: Run, cases: Mapping[str, BaselineCase]) -> list[str]:
    """Why the two runs did not answer the same question; [] if they did."""
    old, new = reference.identity, identity_of(run)
    reasons = [
        f"another {what}: {_show(before)} in {reference.name}, {_show(after)} now"
        for what, before, after in (
            ("profile", old.profile, new.profile),
            ("label convention", old.cohort.labels, new.cohort.labels),
            ("cohort fingerprint", old.cohort.fingerprint, new.cohort.fingerprint),
        )
        if before != after
    ]
    moved = sorted(c for c, one in cases.items() if c in reference.cases and reference.cases[c].prompts != one.prompts)
    if moved:
        reasons.append(
            f"other prompts in {counted(len(moved), 'case')}: {few(moved)}; replay the reference's with --prompts-from"
        )
    changed = sorted(
        case
        for case, one in cases.items()
        if case in reference.cases and one.data and reference.cases[case].data not in ("", one.data)
    )
    if changed:
        reasons.append(f"other images or labels under the same name in {counted(len(changed), 'case')}: {few(changed)}")
    return reasons


def others(reference: Baseline, run: Run) -> dict[str, str]:
    """What of `gate.SAME` the run does not share with the reference → `bf16, there fp32`; devices without number."""
    both = identity_of(run), reference.identity
    pairs = {
        "checkpoint": [str(one.sha256) for one in both],
        "device": [one.device_kind for one in both],
        "precision": [str(one.precision) for one in both],
    }
    return {key: f"{now[:12]}, there {before[:12]}" for key, (now, before) in pairs.items() if now != before}


def strangers(reference: Baseline, run: Run, cases: Mapping[str, BaselineCase]) -> list[str]:
    """Cases that only one side has, [] if none. A planned case that was not scored is attendance's to tell."""
    reasons = []
    for ids, what in (
        (reference.cases.keys() - cases.keys() - set(run.plan), "missing"),
        (cases.keys() - reference.cases.keys(), "new"),
    ):
        if ids:
            subjects = sorted({case.split("/")[0] for case in ids})
            reasons.append(f"{counted(len(ids), 'case')} {what} against {reference.name}, of {few(subjects)}")
    return reasons


def pair_up(
    reference: Baseline, current: Mapping[str, CaseRecord], cases: Mapping[str, BaselineCase], key: str, sign: int
) -> Groups:
    """Pairs by group, in both of which the model was asked; the reference's score is finite, the current may be NaN.

    A group of which no pair is left stays, empty.
    """
    groups: dict[str, list[Pair]] = {}
    for case, record in sorted(current.items(), key=lambda one: (group_order(one[1].case), one[0])):
        group = groups.setdefault(group_name(record.case), [])
        if _asked(reference, cases, case) and key in cases[case].scores and _finite(reference, case, key):
            before, after = reference.cases[case].scores[key], cases[case].scores[key]
            # rounded again: 0.89 − 0.90 is not quite −0.01
            benefit = round(sign * (after - before), DECIMALS) if math.isfinite(after) else math.nan
            group.append(Pair(case, record.case.subject, before, after, benefit))
    return {name: tuple(pairs) for name, pairs in groups.items()}


def lacking(reference: Baseline, cases: Mapping[str, BaselineCase], key: str) -> list[str]:
    """Why cases have no score to compare: the run did not compute it, or it is not finite in the reference.

    A NaN of the current run alone is no reason but a failure, and so not told here.
    """
    asked = sorted(case for case in cases if _asked(reference, cases, case))
    return [
        f"{who} has no {key} in {counted(len(names), 'case')}: {few(names)}"
        for who, names in (
            ("this run", [case for case in asked if key not in cases[case].scores]),
            (f"{reference.name} (or no finite one)", [case for case in asked if not _finite(reference, case, key)]),
        )
        if names
    ]


def remarks(reference: Baseline, run: Run) -> list[str]:
    """What differs and may, but a reader wants to know: device, precision, torch, and an unchanged checkpoint."""
    old, new = reference.identity, identity_of(run)
    notes = [
        f"another {name}: {before} in {reference.name}, {after} now"
        for name, before, after in (
            ("device", old.device, new.device),
            ("precision", old.precision, new.precision),
            ("torch", old.environment.torch, new.environment.torch),
        )
        if before != after
    ]
    if old.sha256 == new.sha256:
        notes.append(f"the same checkpoint as in {reference.name}")
    return notes


def _asked(reference: Baseline, cases: Mapping[str, BaselineCase], case: str) -> bool:
    return case in reference.cases and reference.cases[case].prompted and cases[case].prompted


def _finite(reference: Baseline, case: str, key: str) -> bool:
    return math.isfinite(reference.cases[case].scores.get(key, math.nan))


def _show(value: object) -> str:
    text = "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:12]
