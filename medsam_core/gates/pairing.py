"""Whether a run can be compared with a reference, and which of their cases belong together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from medsam_core.cases import Case, CaseRecord, score_key
from medsam_core.gates.baseline import Baseline, Identity
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
    """Why they do not answer the same question (another profile, cohort, prompt or image), or why not to believe it."""
    unfit: tuple[str, ...]
    """Why the run by itself is not complete or cannot be believed."""
    unmatched: tuple[str, ...]
    """Which cases only one of the two has."""
    unscored: tuple[str, ...]
    """Which cases have no score to compare; () if no metric is compared."""
    different: Mapping[str, tuple[str, str]]
    """What differs and may, of predictor, checkpoint, image size, device, precision and torch: the reference's value,
    the run's."""
    groups: Mapping[str, tuple[Pair, ...]]
    """The cases scored in both by group, () for a group without any; no groups if no metric is compared."""
    aside: tuple[str, ...] = ()
    """Which cases are left out of the comparison, because the reference has no prompts with their noise."""

    @property
    def unlike(self) -> tuple[str, ...]:
        """Why the two are not about the same question and the same cases."""
        return (*self.incomparable, *self.unmatched)

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Why some cases cannot be compared although the others can."""
        return (*self.unfit, *self.unmatched, *self.unscored)

    @property
    def notes(self) -> tuple[str, ...]:
        """For a reader: what differs and may, and whether the checkpoint is the same."""
        same = [] if "checkpoint" in self.different else [f"the same checkpoint as in {self.reference}"]
        others = [(name, *both) for name, both in self.different.items() if name != "checkpoint"]
        differing = (f"another {name}: {before} in {self.reference}, {now} now" for name, before, now in others)
        return (*differing, *same, *self.aside)

    def differing(self, names: Iterable[str]) -> list[str]:
        """Of `gate.SAME`, what differs: `precision bf16, there fp32`. The number of a device does not count.

        Another predictor on the same weights counts as another checkpoint, and so does another image size.
        """
        made = ("predictor", "checkpoint", "image size")
        asked = [one for name in names for one in (made if name == "checkpoint" else (name,))]
        values = [(name, *self.different[name]) for name in asked if name in self.different]
        most = {"checkpoint": 12}  # digits of a SHA-256
        return [f"{name} {now[: most.get(name)]}, there {before[: most.get(name)]}" for name, before, now in values]


def comparability(reference: Baseline, run: Run, metric: str | None = None, scope: str = "volume") -> Comparability:
    """Compare what the two were asked and, for a metric, pair the cases with its score; the same in any order."""
    current = Baseline.of(run)
    aside = _unknown_noise(reference, run)
    groups: dict[str, tuple[Pair, ...]] = {}
    unscored: list[str] = []
    if metric is not None:
        key = score_key(run.header.settings.profile, metric, scope)
        cases = {record.id: record.case for record in run.records if record.id not in aside}
        groups, unscored = _pair_up(reference, current, cases, key, direction(metric))
    return Comparability(
        reference=reference.name,
        incomparable=tuple(_incomparable(reference, current)),
        unfit=(*attendance(run.plan, run.records), *run.doubts),
        unmatched=tuple(_unmatched(reference, current, run.plan, aside)),
        unscored=tuple(unscored),
        different=_different(reference, current),
        groups=groups,
        aside=tuple(_aside(reference, run, aside)),
    )


def attendance(plan: Sequence[str], records: Sequence[CaseRecord]) -> list[str]:
    """Why the records are not exactly the plan's; [] if they are."""
    planned, scored = Counter(plan), Counter(record.id for record in records)
    reasons = [] if planned else ["no case was planned: give --medsam-root a folder with subjects"]
    for cases, what in (
        (planned.keys() - scored.keys(), "planned but not scored"),
        (scored.keys() - planned.keys(), "scored but not planned"),
        ({case for case, times in planned.items() if times > 1}, "planned more than once"),
        ({case for case, times in scored.items() if times > 1}, "scored more than once"),
    ):
        if cases:
            reasons.append(f"{counted(len(cases), 'case')} {what}: {few(sorted(cases))}")
    return reasons


def _incomparable(reference: Baseline, current: Baseline) -> list[str]:
    old, new = reference.identity, current.identity
    reasons = [
        f"another {what}: {before!s:.12} in {reference.name}, {now!s:.12} now"
        for what, before, now in (
            ("profile", old.profile, new.profile),
            ("label convention", "/".join(old.cohort.labels), "/".join(new.cohort.labels)),
            ("cohort fingerprint", old.cohort.fingerprint, new.cohort.fingerprint),
        )
        if before != now
    ]
    if _corrections(old) != _corrections(new):
        reasons.append(f"other corrections: {_corrections(old)} in {reference.name}, {_corrections(new)} now")
    reasons += [f"{reference.name} cannot be believed: {doubt}" for doubt in reference.doubts]
    both = [(case, reference.cases[case], now) for case, now in current.cases.items() if case in reference.cases]
    moved = [case for case, before, now in both if before.prompts != now.prompts]
    if moved:
        many = counted(len(moved), "case")
        reasons.append(f"other prompts in {many}: {few(moved)}; replay the reference's with --medsam-prompts-from")
    changed = [case for case, before, now in both if before.data and now.data and before.data != now.data]
    if changed:
        many = counted(len(changed), "case")
        reasons.append(f"other images or labels under the same name in {many}: {few(changed)}")
    return reasons


def _unknown_noise(reference: Baseline, run: Run) -> set[str]:
    """The ids of the run's cases with a noise, such as `jitter3`, of which the reference has no case at all."""
    known = {case.noise_level for case in map(Case.from_id, reference.cases) if case is not None}
    return {record.id for record in run.records if record.case.noise and record.case.noise_level not in known}


def _aside(reference: Baseline, run: Run, aside: Collection[str]) -> Iterator[str]:
    """A note on these cases; nothing for none."""
    levels = sorted({record.case.noise_level for record in run.records if record.id in aside})
    if levels:
        yield f"not compared: {counted(len(aside), 'case')} with {few(levels)}, which {reference.name} does not have"


def _corrections(identity: Identity) -> str:
    """`none`, or how many and by which rule: scores after other corrections answer another question."""
    number = identity.settings.get("refine", 0)
    return f"{number} by the rule {identity.settings.get('refine_rule', 'volume')}" if number else "none"


def _unmatched(reference: Baseline, current: Baseline, plan: Sequence[str], aside: Set[str]) -> list[str]:
    """A planned case that was not scored is reported by `attendance`."""
    return [
        f"{counted(len(ids), 'case')} {what} against {reference.name}, of "
        f"{few(sorted({case.split('/')[0] for case in ids}))}"
        for ids, what in (
            (reference.cases.keys() - current.cases.keys() - set(plan), "missing"),
            (current.cases.keys() - reference.cases.keys() - aside, "new"),
        )
        if ids
    ]


def _different(reference: Baseline, current: Baseline) -> dict[str, tuple[str, str]]:
    old, new = reference.identity, current.identity
    pairs: dict[str, tuple[object, object]] = {
        "predictor": (old.predictor.name, new.predictor.name),
        "checkpoint": (old.sha256, new.sha256),
        "device": (old.hardware, new.hardware),
        "precision": (old.precision, new.precision),
        "torch": (old.environment.torch, new.environment.torch),
    }
    if old.sha256 == new.sha256:  # of other weights it says nothing more
        pairs["image size"] = _image_size(old), _image_size(new)
    return {name: (str(before), str(now)) for name, (before, now) in pairs.items() if before != now}


def _image_size(identity: Identity) -> int | None:
    return identity.checkpoint.image_size if identity.checkpoint else None


def _pair_up(
    reference: Baseline, current: Baseline, cases: Mapping[str, Case], key: str, sign: int
) -> tuple[dict[str, tuple[Pair, ...]], list[str]]:
    """The pairs by group, and which cases lack a score. A NaN of the current run is not lacking: it is a failure."""
    groups: dict[str, list[Pair]] = {}
    missing: list[str] = []
    unknown: list[str] = []
    for name, case in sorted(cases.items(), key=lambda one: (group_order(one[1]), one[0])):
        group = groups.setdefault(group_name(case), [])
        if not current.cases[name].prompted or name not in reference.cases or not reference.cases[name].prompted:
            continue
        before, now = reference.score(name, key), current.cases[name].scores.get(key)
        if now is None:
            missing.append(name)
        if math.isnan(before):
            unknown.append(name)
        elif now is not None:
            # rounded again: 0.89 − 0.90 is not quite −0.01
            benefit = round(sign * (now - before), DECIMALS) if math.isfinite(now) else math.nan
            group.append(Pair(name, case.subject, before, now, benefit))
    unscored = [
        f"{who} {key} in {counted(len(names), 'case')}: {few(sorted(names))}"
        for who, names in (("this run has no", missing), (f"{reference.name} has no finite", unknown))
        if names
    ]
    if not any(groups.values()):
        unscored.append("no case was prompted in both runs")
    return {name: tuple(pairs) for name, pairs in groups.items()}, unscored
