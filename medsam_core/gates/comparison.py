"""A run against a reference, paired by case: is it as good, is it worse, or is neither shown?

A group is a region × prompt, and a modality and protocol if there are several; `inferiority` judges each.
The comparison is a PASS only if every group is, so this needs no correction for the number of groups
(intersection-union). It is a FAIL if one group is, so the tests for a drop are corrected by Holm's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.inferiority import Judged, Rule, judge_groups
from medsam_core.gates.pairing import Comparability, Pair, comparability
from medsam_core.gates.statistics import mean_if_finite, subject_means
from medsam_core.gates.subgroups import Subgroup, subgroups, text_lines
from medsam_core.gates.wording import metric_name
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import Run
from medsam_core.text import counted, few, signed


@dataclass(frozen=True)
class GroupComparison:
    """One group of pairs; intervals and means are of the raw change (current − reference), not of the benefit."""

    group: str
    pairs: tuple[Pair, ...]
    reference: float
    """The mean."""
    current: float
    """The mean."""
    change: float
    """Of the means."""
    low: float
    """Lower end of the interval of the change."""
    high: float
    p_not_inferior: float
    """As in `Paired`."""
    p_worse: float
    """As in `Paired`, after Holm."""
    outcome: Outcome
    why: str
    """The reason for the outcome."""
    dropped: tuple[str, ...]
    """Ids of the cases that fell further than `Rule.listed_drop`, the worst first."""
    text: str
    """One line for the terminal."""


@dataclass(frozen=True)
class RunComparison:
    """All groups, and why the two runs cannot be compared as wholes."""

    reference: str
    current: str
    rule: Rule
    groups: tuple[GroupComparison, ...]
    reasons: tuple[str, ...]
    """Why it is no PASS, apart from the groups."""
    notes: tuple[str, ...]
    outcome: Outcome
    subgroups: tuple[Subgroup, ...] = ()
    """The same pairs, divided; the verdict does not use them."""

    def lines(self) -> list[str]:
        """For the terminal."""
        return [
            f"{self.outcome.value}: {self.current} against {self.reference}",
            *(f"  {group.text}" for group in self.groups),
            *(f"  INCONCLUSIVE {reason}" for reason in self.reasons),
            *(f"  note: {note}" for note in self.notes),
            *(f"  {line}" for line in text_lines(self.subgroups)),
        ]

    def to_json(self) -> dict[str, Any]:
        """Built-in types only; a number that is not finite is None."""
        tree: dict[str, Any] = {**_plain(self), "exit_code": self.outcome.exit_code}
        for group in tree["groups"]:
            group["pairs"] = {pair["case"]: [pair["reference"], pair["current"]] for pair in group["pairs"]}
        return tree


def compare(reference: Baseline, run: Run, rule: Rule | None = None) -> RunComparison:
    """Compare a run with a reference. The order of the records does not matter.

    INCONCLUSIVE, with the reason, if the two are incomparable (another cohort, label convention, profile, prompts) or
    incomplete (a case is missing or new). Even with missing cases, one case that fell too far is a FAIL.
    """
    rule = rule or Rule()
    against = comparability(reference, run, rule.metric, rule.scope)
    groups = {name: pairs for name, pairs in against.groups.items() if pairs}
    reasons = (*against.incomparable, *against.incomplete)
    judged = judge_groups(
        [subject_means((pair.subject, pair.benefit) for pair in pairs) for pairs in groups.values()],
        rule,
        cases=[[pair.benefit for pair in pairs] for pairs in groups.values()],
    )
    results = tuple(
        _group(name, pairs, one, rule, against) for (name, pairs), one in zip(groups.items(), judged, strict=True)
    )
    unasked = [name for name, pairs in against.groups.items() if not pairs]
    return RunComparison(
        reference=reference.name,
        current=run.directory.name,
        rule=rule,
        groups=results,
        reasons=reasons,
        notes=(
            *against.notes,
            *(f"{reference.name} {why}" for why in reference.unfit),
            *(f"{name}: no case was scored in both, nothing to compare" for name in unasked),
        ),
        outcome=worst([*(one.outcome for one in results), Outcome.INCONCLUSIVE if reasons else Outcome.PASS]),
        subgroups=subgroups(run.records, against.groups),
    )


def _group(name: str, pairs: Sequence[Pair], judged: Judged, rule: Rule, against: Comparability) -> GroupComparison:
    outcome, why, measured = judged.outcome, judged.why, judged.measured
    nan = [pair.case for pair in pairs if not math.isfinite(pair.current)]
    if nan:
        why += f": {few(nan)}"
    if against.incomparable or (against.incomplete and not judged.by_case):
        outcome, why = Outcome.INCONCLUSIVE, "the runs cannot be compared as wholes"
    change = rule.sign * measured.mean
    low, high = sorted((rule.sign * measured.low, rule.sign * measured.high))
    listed = min(rule.listed_drop, math.inf if rule.case_drop_maximum is None else rule.case_drop_maximum)
    fell = sorted((p for p in pairs if p.benefit < -listed), key=lambda pair: (pair.benefit, pair.case))
    digits = 3 if rule.margin >= 0.001 or rule.margin == 0 else 2 - math.floor(math.log10(rule.margin))
    interval = "" if math.isnan(low) else f" [{signed(low, digits)}, {signed(high, digits)}]"
    text = (
        f"{name} {metric_name(rule.metric, rule.scope)} {signed(change, digits)}{interval} over "
        f"{counted(len({pair.subject for pair in pairs}), 'subject')}: {outcome.value} "
        f"(margin {rule.margin:.{digits}f}; {why})"
    )
    if fell:
        subjects = list(dict.fromkeys(pair.subject for pair in fell))
        text += f"; {counted(len(subjects), 'subject')} {rule.verb} by more than {listed:g}: {few(subjects)}"
    return GroupComparison(
        group=name,
        pairs=tuple(pairs),
        reference=mean_if_finite([pair.reference for pair in pairs]),
        current=mean_if_finite([pair.current for pair in pairs]),
        change=change,
        low=low,
        high=high,
        p_not_inferior=measured.p_not_inferior,
        p_worse=measured.p_worse,
        outcome=outcome,
        why=why,
        dropped=tuple(pair.case for pair in fell),
        text=text,
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {name: _plain(one) for name, one in vars(value).items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.value if isinstance(value, Outcome) else value
