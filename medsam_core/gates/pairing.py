"""Whether a run can be compared with a reference, and which of their cases belong together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medsam_core.cases import CaseRecord, score_key
from medsam_core.gates.baseline import Baseline, BaselineCase, baseline_case, identity_of
from medsam_core.gates.statistics import DECIMALS, direction
from medsam_core.gates.wording import group_name, group_order
from medsam_core.runs import Run
from medsam_core.text import counted, few


@dataclass(frozen=True)
class Pair:
    """One case in both runs."""

    case: str
    subject: str
    reference: float
    """Finite."""
    current: float
    """May be NaN."""
    benefit: float
    """The change towards the better."""


@dataclass(frozen=True)
class Comparability:
    """What speaks against comparing a run with a reference, in sentences, and what is compared."""

    reference: str
    """Its name."""
    incomparable: tuple[str, ...]
    """Why the two did not answer the same question: another profile, cohort, prompt or image."""
    unfinished: tuple[str, ...]
    """Why the run's records are not exactly those of its plan."""
    doubtful: tuple[str, ...]
    """Why the scores of the run cannot be believed."""
    unmatched: tuple[str, ...]
    """Which cases only one of the two has."""
    unscored: tuple[str, ...]
    """Which cases have no score to compare; () if no metric was asked for."""
    different: Mapping[str, tuple[str, str]]
    """What differs and may, of checkpoint, device, precision and torch: the reference's value and the run's."""
    groups: Mapping[str, tuple[Pair, ...]]
    """The cases scored in both by group, () for a group without any; no groups if no metric was asked for."""

    @property
    def unlike(self) -> tuple[str, ...]:
        """Why the two are not about the same question and the same cases."""
        return (*self.incomparable, *self.unmatched)

    @property
    def unfit(self) -> tuple[str, ...]:
        """Why the run by itself is not complete or cannot be believed."""
        return (*self.unfinished, *self.doubtful)

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Why some cases cannot be compared although the others can."""
        return (*self.unfit, *self.unmatched, *self.unscored)

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs and may, and whether the checkpoint is the same, for a reader."""
        others = [(name, *both) for name, both in self.different.items() if name != "checkpoint"]
        notes = [f"another {name}: {before} in {self.reference}, {now} now" for name, before, now in others]
        return (*notes, *([] if "checkpoint" in self.different else [f"the same checkpoint as in {self.reference}"]))

    def differing(self, names: Iterable[str]) -> list[str]:
        """Of `gate.SAME`, what differs: `precision bf16, there fp32`. The number of a device does not count."""
        found = []
        for name in names:
            before, now = (value.split(":")[0] for value in self.different.get(name, ("", "")))
            if before != now:
                found.append(f"{name} {now[:12]}, there {before[:12]}")
        return found


def comparability(reference: Baseline, run: Run, metric: str | None = None, scope: str = "volume") -> Comparability:
    """Compare what the two were asked and, if a metric is given, pair the cases that have its score.

    Deterministic, and the same in any order of the records.
    """
    records = {record.id: record for record in sorted(run.records, key=lambda record: record.id)}
    cases = {case: baseline_case(record) for case, record in records.items()}
    groups: dict[str, tuple[Pair, ...]] = {}
    unscored: list[str] = []
    if metric is not None:
        key = score_key(run.header.settings.profile, metric, scope)
        groups = _pair_up(reference, records, cases, key, direction(metric))
        unscored = _unscored(reference, cases, key)
        if not any(groups.values()):
            unscored.append("no case was prompted in both runs")
    return Comparability(
        reference=reference.name,
        incomparable=tuple(_incomparable(reference, run, cases)),
        unfinished=tuple(attendance(run.plan, run.records)),
        doubtful=run.doubts,
        unmatched=tuple(_unmatched(reference, run, cases)),
        unscored=tuple(unscored),
        different=_different(reference, run),
        groups=groups,
    )


def attendance(plan: Sequence[str], records: Sequence[CaseRecord]) -> list[str]:
    """Why the records are not exactly the plan's; [] if they are."""
    planned, scored = Counter(plan), Counter(record.id for record in records)
    reasons = []
    if not planned:
        reasons.append("no case was planned: give --brats-root a folder with subjects")
    for cases, what in (
        (planned.keys() - scored.keys(), "planned but not scored"),
        (scored.keys() - planned.keys(), "scored but not planned"),
        ({case for case, times in planned.items() if times > 1}, "planned more than once"),
        ({case for case, times in scored.items() if times > 1}, "scored more than once"),
    ):
        if cases:
            reasons.append(f"{_cases(cases)} {what}: {few(sorted(cases))}")
    return reasons


def _incomparable(reference: Baseline, run: Run, cases: Mapping[str, BaselineCase]) -> list[str]:
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
    both = sorted(cases.keys() & reference.cases.keys())
    moved = [case for case in both if reference.cases[case].prompts != cases[case].prompts]
    reasons += [f"{reference.name} cannot be believed: {doubt}" for doubt in reference.doubts]
    if moved:
        reasons.append(f"other prompts in {_cases(moved)}: {few(moved)}; replay the reference's with --prompts-from")
    changed = [case for case in both if cases[case].data and reference.cases[case].data not in ("", cases[case].data)]
    if changed:
        reasons.append(f"other images or labels under the same name in {_cases(changed)}: {few(changed)}")
    return reasons


def _unmatched(reference: Baseline, run: Run, cases: Mapping[str, BaselineCase]) -> list[str]:
    """A planned case that was not scored is reported by `attendance`."""
    return [
        f"{_cases(ids)} {what} against {reference.name}, of {few(sorted({case.split('/')[0] for case in ids}))}"
        for ids, what in (
            (reference.cases.keys() - cases.keys() - set(run.plan), "missing"),
            (cases.keys() - reference.cases.keys(), "new"),
        )
        if ids
    ]


def _unscored(reference: Baseline, cases: Mapping[str, BaselineCase], key: str) -> list[str]:
    """A NaN of the current run is not among them: it is a failure."""
    asked = sorted(case for case in cases if _asked(reference, cases, case))
    return [
        f"{who} {key} in {_cases(names)}: {few(names)}"
        for who, names in (
            ("this run has no", [case for case in asked if key not in cases[case].scores]),
            (f"{reference.name} has no finite", [case for case in asked if not _finite(reference, case, key)]),
        )
        if names
    ]


def _different(reference: Baseline, run: Run) -> dict[str, tuple[str, str]]:
    old, new = reference.identity, identity_of(run)
    pairs = {
        "checkpoint": (old.sha256, new.sha256),
        "device": (old.device, new.device),
        "precision": (old.precision, new.precision),
        "torch": (old.environment.torch, new.environment.torch),
    }
    return {name: (str(before), str(now)) for name, (before, now) in pairs.items() if before != now}


def _pair_up(
    reference: Baseline, records: Mapping[str, CaseRecord], cases: Mapping[str, BaselineCase], key: str, sign: int
) -> dict[str, tuple[Pair, ...]]:
    groups: dict[str, list[Pair]] = {}
    for case, record in sorted(records.items(), key=lambda one: (group_order(one[1].case), one[0])):
        group = groups.setdefault(group_name(record.case), [])
        if _asked(reference, cases, case) and key in cases[case].scores and _finite(reference, case, key):
            before, after = reference.cases[case].scores[key], cases[case].scores[key]
            # rounded again: 0.89 − 0.90 is not quite −0.01
            benefit = round(sign * (after - before), DECIMALS) if math.isfinite(after) else math.nan
            group.append(Pair(case, record.case.subject, before, after, benefit))
    return {name: tuple(pairs) for name, pairs in groups.items()}


def _asked(reference: Baseline, cases: Mapping[str, BaselineCase], case: str) -> bool:
    return case in reference.cases and reference.cases[case].prompted and cases[case].prompted


def _finite(reference: Baseline, case: str, key: str) -> bool:
    return math.isfinite(reference.cases[case].scores.get(key, math.nan))


def _cases(ids: Iterable[str]) -> str:
    return counted(len(list(ids)), "case")


def _show(value: object) -> str:
    text = "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:12]
