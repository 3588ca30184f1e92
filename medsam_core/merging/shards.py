"""Shards as they are read, and whether they make one run: each of one division once, the same question and code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medsam_core.errors import RunError
from medsam_core.gates.baseline import identity_of
from medsam_core.header import RunHeader, Shard
from medsam_core.runs import HEADER, Run, StoredVerdict, question, read_run, refuse_unfinished, stored_verdict
from medsam_core.sharding import part_of
from medsam_core.text import counted, few

VERSIONS = ("python", "cuda", "numpy", "scipy", "nibabel", "pytest")
"""Of the environment, in addition to what a resumed run must share."""
DAMAGED = "the shard is damaged; score it again"


@dataclass(frozen=True)
class ScoredShard:
    """A shard as it was read."""

    run: Run
    shard: Shard
    verdict: StoredVerdict
    """How its own session ended."""

    @property
    def label(self) -> str:
        """For an error: `parts/2: shard 2/3`."""
        return f"{self.run.directory}: shard {self.shard}"


def read_shard(directory: Path) -> ScoredShard:
    """Read the run of a shard. Raises RunError if it cannot be read, is no shard, or has not ended."""
    refuse_unfinished(directory)
    run = read_run(directory)
    shard = run.header.shard
    if shard is None:
        what = "a merged run" if run.header.shards else "a run of the whole cohort"
        raise RunError(
            f"{directory}: is {what}, expected a shard, scored with --medsam-shard; leave it out, or judge it by "
            "itself with `medsam-core judge`."
        )
    if shard.number > shard.of:
        raise RunError(f"{directory / HEADER}: shard: got {shard}, expected a number up to {shard.of}; {DAMAGED}.")
    verdict = stored_verdict(directory)  # read last: a session that goes on with the run deletes it first
    if verdict is None:
        raise RunError(
            f"{directory}: shard {shard} has no verdict, so its session did not end, expected one that ended; finish "
            f"it with --medsam-resume={directory}."
        )
    return ScoredShard(run, shard, verdict)


def check_shards(shards: Sequence[ScoredShard]) -> None:
    """Raise RunError, in a sentence on the first problem, unless they make one run. shards: sorted by number."""
    _check_complete(shards)
    for one in shards:
        _check_question(shards[0], one)
        _check_cases(one)


def _check_complete(shards: Sequence[ScoredShard]) -> None:
    """Raise RunError unless every shard of one division is there exactly once."""
    if not shards:
        raise RunError("merge: got no run, expected every shard of one; give their directories.")
    found: dict[int, ScoredShard] = {}
    for one in shards:
        first = shards[0]
        if one.shard.of != first.shard.of:
            raise RunError(
                f"{one.label} is of {one.shard.of} shards, expected {first.shard.of} as {first.run.directory}, shard "
                f"{first.shard}; give the shards of one division."
            )
        if one.shard.number in found:
            raise RunError(
                f"{one.label} is also in {found[one.shard.number].run.directory}, expected each shard once; leave out "
                "one of the two."
            )
        found[one.shard.number] = one
    of = shards[0].shard.of
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in found]
    if missing:
        raise RunError(
            f"merge: got {len(found)} of {of} shards, expected all; score or give {few(missing, 8)} as well."
        )


def _check_question(first: ScoredShard, one: ScoredShard) -> None:
    """Raise RunError, naming what differs, if the two could not be of one session."""
    ours, theirs = (_asked(part.run) for part in (one, first))
    for name, value in ours.items():
        found = _difference(name, value, theirs[name])
        if found is not None:
            where, got, wanted = found
            raise RunError(
                f"{one.label}: {where}: got {got}, expected {wanted} as in shard {first.shard} "
                f"({first.run.directory}); score both in the same way."
            )


def _asked(run: Run) -> dict[str, Any]:
    """What must be equal in all shards, by its name. The cohort's folder may be another on another machine."""
    header = run.header
    asked = question(header) | {name: getattr(header.environment, name) for name in VERSIONS}
    for own in ("shard", "plan"):
        del asked[own]
    return asked | {"device": identity_of(run).hardware, "cohort": replace(header.cohort, root="")}


def _difference(name: str, got: Any, wanted: Any) -> tuple[str, str, str] | None:
    """Where two values differ, and the two in short; None if they are equal."""
    if got == wanted:
        return None
    if dataclasses.is_dataclass(got) and type(got) is type(wanted):
        fields = (one.name for one in dataclasses.fields(got))
        parts = (_difference(f"{name}.{field}", getattr(got, field), getattr(wanted, field)) for field in fields)
        return next(part for part in parts if part is not None)
    if isinstance(got, tuple) and isinstance(wanted, tuple):
        words = [", ".join(map(str, value)) for value in (got, wanted)]
        if max(map(len, words)) > 60:
            only = sorted({*got} ^ {*wanted}, key=str)
            return name, f"{len(got)} of them", f"{len(wanted)} ({few(list(map(str, only)))} in one only)"
        return name, words[0] or "none", words[1] or "none"
    short, expected = ("none" if value is None else f"{value!s:.40}" for value in (got, wanted))
    return name, short, expected


def _check_cases(one: ScoredShard) -> None:
    """Raise RunError if the plan is not that of the shard's subjects, or a record is of no planned case."""
    part = part_of(one.run.header.cohort.subjects, one.shard)
    if one.run.plan != plan_of(one.run.header, part):
        raise RunError(
            f"{one.label}: plans other cases than its subjects have, expected those of {few(part)}; {DAMAGED}."
        )
    strange = sorted({record.id for record in one.run.records} - set(one.run.plan))
    if strange:
        raise RunError(
            f"{one.label}: has {counted(len(strange), 'record')} of cases that it did not plan: {few(strange)}, "
            f"expected its own cases alone; {DAMAGED}."
        )


def plan_of(header: RunHeader, subjects: Sequence[str]) -> tuple[str, ...]:
    """The ids of all cases of these subjects, in the order of a session."""
    return tuple(case.id for subject in subjects for case in header.settings.cases(subject))
