"""Merging: the runs of all parts of a cohort become the run that one session would have written.

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
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.evaluation.saved_mask import lost_masks
from medsam_core.gates.baseline_file import FOLDER
from medsam_core.gates.gates_file import IN_RUN, Gates, gates_of
from medsam_core.gates.noise import check_gates, floor_of
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import Verdict, judge_run, part_reason
from medsam_core.header import WHOLE_SCHEMA, Decisions, Environment, RunHeader, ShardRun
from medsam_core.merging.shards import DAMAGED, ScoredShard, check_shards, plan_of, read_shard
from medsam_core.outcome import Outcome, worst
from medsam_core.page.page import write_page
from medsam_core.progress import Progress
from medsam_core.prompts.manifest import write_manifest
from medsam_core.prompts.prompt import Prompt
from medsam_core.runs import (
    CASES,
    HEADER,
    PROMPTS,
    VERDICT,
    Run,
    json_text,
    line_of,
    read_run,
    write_file,
)
from medsam_core.slices import append_line, read_slices
from medsam_core.text import counted, few
from medsam_core.viewer.writing import files_of, write_programs

DIFFERS = "differs between the shards"


def merge(
    directories: Sequence[Path],
    output: Path,
    *,
    command: Sequence[str] = (),
    baseline: str | None = None,
    folder: Path = FOLDER,
    progress: Progress | None = None,
) -> tuple[Run, Verdict]:
    """Write the run of all shards to `output`, whole or not at all, and judge it.

    directories: the run of each shard once, in any order. output: a path where nothing is. command: as typed, for the
    header. baseline: what relative bounds refer to; None for what the shards named, or their gates.
    folder: where baselines are looked for by name.
    progress: called as progress(done, steps): a step to read each shard, one to write the run and one to judge it.
    Raises RunError or GateError in one sentence, and leaves nothing, if the shards do not make one run.
    """
    if output.exists() or output.is_symlink():
        raise RunError(f"{output}: exists already, expected a path where nothing is; choose another.")

    def begin(step: int) -> None:
        if progress is not None:
            progress(step, len(directories) + 2)

    found: list[ScoredShard] = []
    for place in directories:
        begin(len(found))
        found.append(read_shard(place))
    shards = sorted(found, key=lambda one: one.shard.number)
    check_shards(shards)
    header = merged_header(shards, command, baseline)
    gates = gates_of(shards[0].run)
    with _staged(output) as directory:
        begin(len(shards))
        run, lost = _write(directory, header, shards, gates)
        begin(len(shards) + 1)
        check_gates(gates, floor_of(run))
        reference = reference_of(run, gates, folder=folder)
        verdict = judge_run(run, gates, baseline=reference, folder=folder)
        verdict = _with_sessions(verdict, shards, gates, lost)
        write_page(run, verdict, directory / "page.html", reference)
        write_file(directory, VERDICT, json_text(verdict.to_json()))
    return replace(run, directory=output), verdict


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
        plan=plan_of(first, first.cohort.subjects),
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
    """The run as read again from the folder, and the cases with a mask that is gone or not what was scored."""
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
        _copy(run.directory, record.mask, directory)
        for name in files_of(record, run.directory):
            _copy(run.directory, name, directory)
    counts = {case: one for shard in shards for case, one in read_slices(shard.run.directory).items()}
    for _, _, record in found:
        if record.id in counts:
            append_line(directory, counts[record.id].line())
    write_programs(directory)
    merged = read_run(directory)
    return merged, lost_masks(directory, merged.records)


def _first(one: tuple[int, Run, CaseRecord]) -> int:
    return one[0]


def _copy(source: Path, name: str | None, target: Path) -> None:
    """Copy a file of a run, if it is there, to the same place in another. Raises RunError or OSError."""
    if name is None or not (source / name).is_file():
        return
    if not (target / name).resolve().is_relative_to(target.resolve()):
        raise RunError(f"{source}: got a file at {name}, expected one inside the run; {DAMAGED}.")
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)


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
        reasons.append(f"{counted(len(lost), 'case')}: the saved mask is gone or not what was scored: {few(lost)}")
    if reasons:
        outcomes.append(Outcome.INCONCLUSIVE)
    return replace(verdict, outcome=worst(outcomes), reasons=(*verdict.reasons, *reasons))
