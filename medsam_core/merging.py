"""Merging shards: the runs of all parts of a cohort become the run that one session would have written.

Every shard must have answered the same question by the same code, and must be there exactly once. The merged run is
judged like any other, from its records. What the sessions of the shards saw beyond their records, such as a test that
was skipped, keeps it from a PASS as it would have kept one session.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.gates.baseline import identity_of
from medsam_core.gates.baseline_file import FOLDER
from medsam_core.gates.gates_file import IN_RUN, Gates, gates_of
from medsam_core.gates.noise import check_gates, floor_of
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import Verdict, judge_run, part_reason
from medsam_core.header import WHOLE_SCHEMA, Decisions, Environment, RunHeader, Shard, ShardRun
from medsam_core.outcome import Outcome, worst
from medsam_core.prompts.manifest import write_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.reports.page import write_page
from medsam_core.runs import (
    CASES,
    HEADER,
    PROMPTS,
    VERDICT,
    Run,
    StoredVerdict,
    json_text,
    line_of,
    question,
    read_run,
    refuse_unfinished,
    stored_verdict,
    write_file,
)
from medsam_core.sharding import part_of
from medsam_core.text import counted, few

VERSIONS = ("python", "cuda", "numpy", "scipy", "nibabel", "pytest")
"""Of the environment, in addition to what a resumed run must share."""
DIFFERS = "differs between the shards"
_DAMAGED = "the shard is damaged; score it again"


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


def merge(
    directories: Sequence[Path],
    output: Path,
    *,
    command: Sequence[str] = (),
    baseline: str | None = None,
    folder: Path = FOLDER,
) -> tuple[Run, Verdict]:
    """Write the run of all shards to `output`, whole or not at all, and judge it.

    directories: the run of each shard once, in any order. output: a path where nothing is. command: as typed, for the
    header. baseline: what relative bounds refer to; None for what the shards named, or their gates.
    folder: where baselines are looked for by name.
    Raises RunError or GateError in one sentence, and leaves nothing, if the shards do not make one run.
    """
    if output.exists() or output.is_symlink():
        raise RunError(f"{output}: exists already, expected a path where nothing is; choose another.")
    shards = sorted(map(read_shard, directories), key=lambda one: one.shard.number)
    check_complete(shards)
    for one in shards:
        _check_question(shards[0], one)
        _check_cases(one)
    header = merged_header(shards, command, baseline)
    gates = gates_of(shards[0].run)
    with _staged(output) as directory:
        run, lost = _write(directory, header, shards, gates)
        check_gates(gates, floor_of(run))
        reference = reference_of(run, gates, folder=folder)
        verdict = judge_run(run, gates, baseline=reference, folder=folder)
        verdict = _with_sessions(verdict, shards, gates, lost)
        write_page(run, verdict, directory / "page.html")
        write_file(directory, VERDICT, json_text(verdict.to_json()))
    return replace(run, directory=output), verdict


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
        raise RunError(f"{directory / HEADER}: shard: got {shard}, expected a number up to {shard.of}; {_DAMAGED}.")
    verdict = stored_verdict(directory)  # read last: a session that goes on with the run deletes it first
    if verdict is None:
        raise RunError(
            f"{directory}: shard {shard} has no verdict, so its session did not end, expected one that ended; finish "
            f"it with --medsam-resume={directory}."
        )
    return ScoredShard(run, shard, verdict)


def check_complete(shards: Sequence[ScoredShard]) -> None:
    """Raise RunError unless every shard of one division is there exactly once. shards: sorted by their number."""
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
    if one.run.plan != _plan_of(one.run.header, part):
        raise RunError(
            f"{one.label}: plans other cases than its subjects have, expected those of {few(part)}; {_DAMAGED}."
        )
    strange = sorted({record.id for record in one.run.records} - set(one.run.plan))
    if strange:
        raise RunError(
            f"{one.label}: has {counted(len(strange), 'record')} of cases that it did not plan: {few(strange)}, "
            f"expected its own cases alone; {_DAMAGED}."
        )


def _plan_of(header: RunHeader, subjects: Sequence[str]) -> tuple[str, ...]:
    return tuple(case.id for subject in subjects for case in header.settings.cases(subject))


def merged_header(shards: Sequence[ScoredShard], command: Sequence[str], baseline: str | None = None) -> RunHeader:
    """The header of the whole run, with what is each shard's own. shards: checked, in order."""
    headers = [one.run.header for one in shards]
    first = headers[0]
    devices = {header.device for header in headers}
    return replace(
        first,
        schema=WHOLE_SCHEMA,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(command),
        device=devices.pop() if len(devices) == 1 else first.device.split(":")[0],
        decided=_joined(Decisions, [header.decided for header in headers]),
        environment=replace(_joined(Environment, [header.environment for header in headers]), host=None),
        plan=_plan_of(first, first.cohort.subjects),
        baseline=baseline or first.baseline,
        shard=None,
        shards=tuple(
            ShardRun(
                number=one.shard.number,
                created=one.run.header.created,
                command=one.run.header.command,
                device=one.run.header.device,
                decided=one.run.header.decided,
                environment=one.run.header.environment,
            )
            for one in shards
        ),
    )


def _joined(kind: Any, values: Sequence[Any]) -> Any:
    """A Decisions or an Environment with what all have; where they differ, a yes of any, or DIFFERS."""
    fields = {}
    for field in dataclasses.fields(kind):
        found = list(dict.fromkeys(getattr(value, field.name) for value in values))
        if len(found) > 1:
            kinds = set(map(type, found))
            found = [() if tuple in kinds else (True if True in found else None) if bool in kinds else DIFFERS]
        fields[field.name] = found[0]
    return kind(**fields)


@contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """A new folder that becomes `output` when the block ends; if the block fails, nothing is left."""
    aside = output.absolute().parent / f".{uuid.uuid4().hex[:12]}.merging"
    try:
        (aside / output.name).mkdir(parents=True)
        yield aside / output.name
        if output.exists():  # made meanwhile; an empty folder would be replaced
            raise FileExistsError(17, "made by another process meanwhile")
        (aside / output.name).rename(output)
    except OSError as problem:
        raise RunError(
            f"{output}: cannot be written ({problem.strerror or problem}); choose another place, or make room."
        ) from None
    finally:
        with suppress(OSError):
            shutil.rmtree(aside)


def _write(
    directory: Path, header: RunHeader, shards: Sequence[ScoredShard], gates: Gates | None
) -> tuple[Run, list[str]]:
    """The run as read again from the folder, and the cases with a mask that is gone."""
    place = {case: number for number, case in enumerate(header.plan)}
    found = sorted(((place[record.id], one.run, record) for one in shards for record in one.run.records), key=_first)
    write_file(directory, HEADER, json_text(header.to_json()))
    write_file(directory, CASES, "".join(line_of(record) for _, _, record in found))
    if gates is not None:
        write_file(directory, IN_RUN, gates.path.read_bytes())
    prompts = {record.id: tuple(map(Prompt.from_json, record.prompts)) for _, _, record in found}
    write_manifest(directory / PROMPTS, prompts, cohort=header.cohort.fingerprint)
    for _, run, record in found:
        _copy(run.directory, record.overlay, directory)
    lost = [record.id for _, run, record in found if record.mask and not _copy(run.directory, record.mask, directory)]
    return read_run(directory), lost


def _first(one: tuple[int, Run, CaseRecord]) -> int:
    return one[0]


def _copy(source: Path, name: str | None, target: Path) -> bool:
    """Copy a file of a run to the same place in another; False if it is not there. Raises RunError or OSError."""
    if name is None or not (source / name).is_file():
        return False
    if not (target / name).resolve().is_relative_to(target.resolve()):
        raise RunError(f"{source}: got a file at {name}, expected one inside the run; {_DAMAGED}.")
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)
    return True


def _with_sessions(verdict: Verdict, shards: Sequence[ScoredShard], gates: Gates | None, lost: list[str]) -> Verdict:
    """The verdict, which is no PASS if a session of a shard saw something that its records do not show."""
    outcomes, reasons = [verdict.outcome], []
    for one in shards:
        again = judge_run(one.run, gates)
        known = {*again.reasons, part_reason(one.shard)}
        reasons += [f"shard {one.shard}: {reason}" for reason in one.verdict.reasons if reason not in known]
        if one.verdict.outcome is Outcome.FAIL and again.outcome is not Outcome.FAIL:
            outcomes.append(Outcome.FAIL)
            reasons.append(f"shard {one.shard}: its session ended as FAIL, although its records break no bound")
    if lost:
        reasons.append(f"{counted(len(lost), 'case')}: the saved mask is gone: {few(lost)}")
    if reasons:
        outcomes.append(Outcome.INCONCLUSIVE)
    return replace(verdict, outcome=worst(outcomes), reasons=(*verdict.reasons, *reasons))
