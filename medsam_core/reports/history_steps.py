"""Between which two runs of a history a group's mean moved by more than its noise: where a search for the cause begins.

Runs of one series are compared in the order of their dates, each with the one before. A mean that moves little by
little is compared with the run where it last stood still, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medsam_core.gates.noise import FACTOR
from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.reports.history import Entry
from medsam_core.text import counted

LEAST = 0.001
"""A smaller move is not named, however small the noise: three digits are shown."""


@dataclass(frozen=True)
class Noise:
    """How far a group's mean may move before the move is named."""

    limit: float
    """FACTOR times the largest spread of repeats, at least LEAST."""
    origin: str
    """Which repeats these were."""


@dataclass(frozen=True)
class Step:
    """A group's mean moved between two runs."""

    group: str
    before: Entry
    after: Entry
    noise: Noise
    gradual: bool = False
    """Whether no two neighbouring runs between them differ by more than the noise."""

    @property
    def change(self) -> float:
        """Mean after − mean before."""
        assert self.before.means is not None
        assert self.after.means is not None
        return self.after.means[self.group] - self.before.means[self.group]


def series(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The runs that count, in comparable series, each oldest first; the series with the newest run last."""
    found: dict[str, list[Entry]] = {}
    for one in sorted((one for one in entries if one.counts), key=lambda one: (one.date, one.created, one.name)):
        found.setdefault(one.series, []).append(one)
    return sorted(found.values(), key=lambda runs: runs[-1].date)


def groups_of(runs: Sequence[Entry]) -> list[str]:
    """Every group that a run of the series has, in the order in which they appear."""
    return list(dict.fromkeys(group for one in runs for group in one.means or ()))


def noise_of(runs: Sequence[Entry], group: str) -> Noise:
    """The noise of a group's mean: of the machine's calibration and of the repeats in the series the larger."""
    repeats: dict[str, list[float]] = {}
    for one in runs:
        if one.build and group in (one.means or ()):
            assert one.means is not None
            repeats.setdefault(one.build, []).append(one.means[group])
    repeated = [values for values in repeats.values() if len(values) > 1]
    calibrated = [one.noise for one in runs if one.noise is not None]
    spreads = [*calibrated, *(max(values) - min(values) for values in repeated)]
    if not spreads:
        return Noise(LEAST, "not measured: calibrate the machine or repeat a run")
    sources = ["the machine's calibration"] if calibrated else []
    if repeated:
        sources.append(counted(sum(map(len, repeated)), "repeated run"))
    limit = max(LEAST, FACTOR * max(spreads))
    return Noise(limit, f"{FACTOR:g} × the spread of {' and '.join(sources)}, at least {LEAST:g}")


def steps(entries: Sequence[Entry]) -> tuple[Step, ...]:
    """Every step, by series, then in the order of the dates."""
    found = []
    for runs in series(entries):
        own = [step for group in groups_of(runs) for step in _steps_of(runs, group)]
        found += sorted(own, key=lambda step: (runs.index(step.after), runs.index(step.before)))
    return tuple(found)


def _steps_of(runs: Sequence[Entry], group: str) -> list[Step]:
    noise = noise_of(runs, group)
    own = [one for one in runs if one.means and group in one.means]
    found = []
    start = before = None
    for after in own:
        if start is None or before is None:
            start = before = after
            continue
        near, far = Step(group, before, after, noise), Step(group, start, after, noise, gradual=True)
        if _exceeds(near):
            found.append(near)
            start = after
        elif _exceeds(far):
            found.append(far)
            start = after
        before = after
    return found


def _exceeds(step: Step) -> bool:
    return round(abs(step.change), 9) > step.noise.limit


def step_lines(found: Sequence[Step], metric: str = "dice", scope: str = "volume") -> list[str]:
    """A sentence for each pair of runs, with every group that moved between them."""
    pairs: dict[tuple[str, str, bool], list[Step]] = {}
    for step in found:
        pairs.setdefault((step.before.name, step.after.name, step.gradual), []).append(step)
    return [_sentence(together, metric, scope) for together in pairs.values()]


def _sentence(together: Sequence[Step], metric: str, scope: str) -> str:
    before, after = together[0].before, together[0].after
    moves = []
    for step in together:
        assert before.means is not None
        assert after.means is not None
        old, new = before.means[step.group], after.means[step.group]
        verb = "rose" if step.change > 0 else "fell"
        digits = max(3, 1 - math.floor(math.log10(abs(step.change))))
        moves.append(
            f"{step.group} {verb} by {abs(step.change):.{digits}f} ({old:.{digits}f} → {new:.{digits}f}, "
            f"noise {step.noise.limit:.{digits}f})"
        )
    how = ", little by little" if together[0].gradual else ""
    return (
        f"mean {metric_name(metric, scope)}{unit_of(metric)} between {_named(before)} and {_named(after)}{how}: "
        f"{'; '.join(moves)}{_also(before, after)}"
    )


def _named(one: Entry) -> str:
    return f"{one.revision} ({one.date[:10]}, {one.name})"


def _also(before: Entry, after: Entry) -> str:
    """What else differs, and what makes a search among commits vain."""
    parts = [
        f"{what} {old} → {new}"
        for what, old, new in (
            ("checkpoint", before.checkpoint, after.checkpoint),
            ("versions", before.versions, after.versions),
        )
        if old != new
    ]
    if before.commit and before.commit == after.commit:
        parts.append("the commit is the same")
    if before.dirty or after.dirty:
        parts.append("* has changes that are not committed")
    return f"; {'; '.join(parts)}" if parts else ""


def noise_lines(entries: Sequence[Entry]) -> list[str]:
    """How the noise was determined, a line for each way that was used."""
    origins = [noise_of(runs, group).origin for runs in series(entries) for group in groups_of(runs)]
    return [f"noise: {origin}" for origin in dict.fromkeys(origins)]
