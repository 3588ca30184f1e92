"""A run on disk: `run.json` (what was asked), `cases.jsonl` (a line per case), `prompts.json`, `verdict.json`.

`cases.jsonl` is append-only and flushed to the disk after every line, or once for a subject that Ray scored, so a
killed run loses at most what was being written; an incomplete last line is left out on reading. Every other file is
written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medsam_core.case_table import case_table, to_frame
from medsam_core.cases import CaseRecord
from medsam_core.decoding import Malformed, parse, read_content, read_json, shape
from medsam_core.errors import OptionError, RunError
from medsam_core.files import write_whole
from medsam_core.header import SCHEMA, RunHeader
from medsam_core.outcome import Outcome
from medsam_core.plausibility import implausible, uncounted

# What must be the same for a run to be resumed: all that shapes its scores or its verdict.
QUESTION = (
    "settings",
    "predictor",
    "checkpoint",
    "cohort",
    "shard",
    "plan",
    "device",
    "precision",
    "gates",
    "baseline",
    "prompts_from",
)
CODE = ("medsam_core", "commit", "source", "predictor_source", "torch", "sam2")  # of its environment
HEADER, CASES, PROMPTS, VERDICT = "run.json", "cases.jsonl", "prompts.json", "verdict.json"
LOCK = ".lock"
"""Held by the session that writes; the file itself stays and means nothing."""
_LARGEST_CASES = 512 * 1024**2  # bytes; 1,251 subjects of twelve cases are some 30 MB
_DAMAGED = "give a directory that a run wrote, or score the run again"
_JUDGE = "delete it and resume the run with --medsam-resume"
_CANNOT_WRITE = "choose another --medsam-run-dir"


@dataclass(frozen=True)
class Run:
    """A stored run."""

    directory: Path
    header: RunHeader
    """`run.json`."""
    records: tuple[CaseRecord, ...]
    """One per scored case, in the order scored; a case that was scored twice (a resumed run) keeps its last record."""

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why the records cannot be believed, a sentence each (`plausibility.implausible`); () if they can."""
        shard = self.header.shard
        part = [] if shard is None else [f"it is shard {shard} of a run, and only the merged run can be compared"]
        return (*part, *implausible(self.records), *self.uncounted)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Why its scores cannot be recomputed, although the run is of a schema whose records hold what that needs."""
        return tuple(uncounted(self.records)) if self.header.schema > 1 else ()

    @property
    def plan(self) -> tuple[str, ...]:
        """Every case id that the run was asked to score."""
        return self.header.plan

    def to_frame(self) -> Any:
        """A pandas.DataFrame with a row per case: see `case_table.to_frame`. Raises OptionError without pandas."""
        return to_frame(case_table(self.directory.resolve().name, self.header, self.records))


def read_run(directory: Path | str) -> Run:
    """Read a run directory. Raises RunError if it is none, is damaged, or is of a newer schema."""
    directory = Path(directory)
    return Run(directory, _read_header(directory / HEADER), tuple(_read_records(directory / CASES).values()))


def _read_header(path: Path) -> RunHeader:
    try:
        return read_json(path, RunHeader, version=SCHEMA, what="a run header", error=RunError, fix=_DAMAGED)
    except OptionError as error:  # a setting that this version does not know
        raise RunError(f"{path}: settings: {error} Or read it with the version that wrote it.") from None


@dataclass(frozen=True)
class StoredResult:
    """What is read of a bound in `verdict.json`."""

    outcome: Outcome
    text: str


@dataclass(frozen=True)
class StoredVerdict:
    """What is read of `verdict.json`; the rest is computed again from the records."""

    outcome: Outcome
    """How the run's own session ended."""
    reasons: tuple[str, ...] = ()
    results: tuple[StoredResult, ...] = ()


def stored_verdict(directory: Path) -> StoredVerdict | None:
    """The verdict of the run's own session, None if it left none. Raises RunError if it cannot be read."""
    path = directory / VERDICT
    if not path.exists():
        return None
    try:
        return shape(parse(read_content(path, what="a verdict", error=RunError, fix=_JUDGE)), StoredVerdict)
    except Malformed as problem:
        raise RunError(f"{path}: {problem}, expected a verdict; {_JUDGE}.") from None


def stored_outcome(directory: Path) -> Outcome | None:
    """How the run's own session ended, None if it left no verdict. Raises RunError if the verdict cannot be read."""
    verdict = stored_verdict(directory)
    return None if verdict is None else verdict.outcome


def refuse_unfinished(directory: Path) -> None:
    """Raise RunError if a session is writing to the run.

    A directory without a lock, such as a copy, has no session. Where it cannot be locked, as on a disk that is only
    read, nothing is said: the missing verdict shows that its session has not ended.
    """
    if not (directory / LOCK).exists():
        return
    try:
        with FileLock(directory / LOCK, timeout=0):
            return
    except Timeout:
        raise RunError(
            f"{directory}: a session still writes to it, expected a run that has ended; wait for its end."
        ) from None
    except (OSError, NotImplementedError):
        return


def json_text(content: Mapping[str, Any]) -> str:
    """The text of a JSON file of a run."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def write_file(directory: Path, name: str, content: str | bytes) -> Path:
    """Write a file of a run, whole or not at all. Raises RunError."""
    write_whole(directory / name, content, error=RunError, fix=_CANNOT_WRITE)
    return directory / name


def line_of(record: CaseRecord) -> str:
    """The record as a line of `cases.jsonl`."""
    return json.dumps(record.to_json(), allow_nan=False) + "\n"


class RunWriter:
    """Writes one run; the only writer of its directory."""

    def __init__(self, directory: Path | str, header: RunHeader, *, resume: bool = False) -> None:
        """Create the directory and `run.json`, or with `resume` go on in one whose header asked for the same.

        Raises RunError if it cannot be written, if another writer is at work there, if it already holds a run
        (without `resume`), or (with `resume`) if the run there asked for something else or is finished.
        """
        self.directory = Path(directory)
        self.header = header
        self.stored = header
        """The header on the disk: of a resumed run, that of its first session."""
        self.records: dict[str, CaseRecord] = {}
        self._failure: RunError | None = None
        self._lock = FileLock(self.directory / LOCK)
        prepare_directory(self.directory, resume=resume)
        self._acquire()
        try:
            self._open(resume)
        except BaseException:
            self._lock.release()
            raise

    def _acquire(self) -> None:
        """Keep other sessions out of the directory until `close`, or until this process ends."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.directory}: another session writes to it, expected none; wait for its end, or choose another "
                "--medsam-run-dir."
            ) from None
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RunError(f"{self.directory / LOCK}: cannot be locked ({reason}); {_CANNOT_WRITE}.") from None

    def _open(self, resume: bool) -> None:
        cases = self.directory / CASES
        prepare_directory(self.directory, resume=resume)  # a session that has just ended may have written
        if resume and (self.directory / HEADER).exists():
            self.stored = _read_header(self.directory / HEADER)
            check_same_question(self.directory, self.stored, self.header)
            self.records = _read_records(cases)
            self._check_not_final()
            # of a session that was stopped: this one may end otherwise, or not at all
            (self.directory / VERDICT).unlink(missing_ok=True)
        else:
            self.write(HEADER, self.header.to_json())
        try:
            if cases.exists():  # cut the line that a killed session left incomplete: the next record must not join it
                with cases.open("r+b") as stream:
                    stream.truncate(stream.read().rfind(b"\n") + 1)
            self._stream = cases.open("a", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{cases}: cannot be written ({error.strerror}); {_CANNOT_WRITE}.") from None

    def append(self, *records: CaseRecord) -> None:
        """Add records and flush them to the disk. Raises RunError, then and ever after, if that cannot be done."""
        if self._failure is not None:  # an incomplete line may be in the way of the next
            raise self._failure
        if not records:
            return
        lines = [line_of(record) for record in records]
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            self._failure = RunError(
                f"{self.directory / CASES}: {records[0].id} cannot be written ({error.strerror}); make room, then "
                "--medsam-resume."
            )
            raise self._failure from None
        self.records |= {record.id: record for record in records}

    def write(self, name: str, content: Mapping[str, Any] | bytes) -> Path:
        """Write a JSON file of the run, or bytes as they are; whole or not at all."""
        return write_file(self.directory, name, content if isinstance(content, bytes) else json_text(content))

    def close(self) -> None:
        """Close `cases.jsonl`; the writer is of no use afterwards."""
        with contextlib.suppress(OSError):  # `append` has reported what could not be flushed
            self._stream.close()
        with contextlib.suppress(OSError):  # the directory may be gone
            self._lock.release()

    def run(self) -> Run:
        """What has been written so far."""
        return Run(self.directory, self.header, tuple(self.records.values()))

    def _check_not_final(self) -> None:
        if (self.directory / VERDICT).exists() and self.records.keys() >= set(self.header.plan):
            raise RunError(
                f"{self.directory}: has its verdict and a record of every case, expected a run that was stopped; "
                f"judge it again with `medsam-core judge {self.directory}`, or score it again in another "
                "--medsam-run-dir."
            )


def question(header: RunHeader) -> dict[str, Any]:
    """What must be the same for records of two sessions to belong to one run, by what an error calls it."""
    asked = {key: getattr(header, key) for key in QUESTION} | {key: getattr(header.environment, key) for key in CODE}
    predictor = header.predictor
    # the engine's version is this package's, which is compared by itself, and older runs do not have it
    own = predictor.version in ("", header.environment.medsam_core)
    asked["predictor"] = predictor.name if own else str(predictor)
    return asked | {"use of --medsam-compile": bool(header.decided.compiled)}


def check_same_question(directory: Path, before: RunHeader, now: RunHeader) -> None:
    """Raise RunError if the run in a directory was asked for something else than what is asked for now."""
    old, new = question(before), question(now)
    for key in new:
        if old[key] != new[key]:
            raise RunError(
                f"{directory}: the run to resume differs in its {key}; give the same options or start another."
            )


def prepare_directory(directory: Path, *, resume: bool = False) -> None:
    """Make sure that a run can be written there. Raises RunError in one sentence; leaves no trace but the folder."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({error.strerror}); {_CANNOT_WRITE}.") from None
    if not resume and (directory / HEADER).exists():
        raise RunError(
            f"{directory}: already holds a run, expected a new or empty folder; {_CANNOT_WRITE}, or give "
            "--medsam-resume."
        )
    if (directory / CASES).exists() and not (directory / HEADER).exists():
        raise RunError(
            f"{directory}: holds {CASES} without {HEADER}, which says how they were scored; {_CANNOT_WRITE}."
        )


def _read_records(path: Path) -> dict[str, CaseRecord]:
    """Whole lines only: what follows the last newline was being written when the run was killed, and is not scored."""
    records: dict[str, CaseRecord] = {}
    if not path.exists():
        return records
    content = read_content(path, what="a line per case", error=RunError, fix=_DAMAGED, largest=_LARGEST_CASES)
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].split(b"\n"), start=1):
        if not line:
            continue
        try:
            record = CaseRecord.from_json(parse(line))
        except Malformed as problem:
            raise RunError(f"{path}: line {number}: {problem}, expected a case record; {_DAMAGED}.") from None
        records[record.id] = record
    return records
