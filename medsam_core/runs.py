"""A run on disk: `run.json` (what was asked), `cases.jsonl` (a line per case), `prompts.json`, `verdict.json`.

`cases.jsonl` is append-only and flushed to the disk at every line, so that a killed run loses at most the case that
was being written; a torn last line is left out on reading. Everything else is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError

SCHEMA = 1
# What must be the same for a run to be gone on with: all that shapes its scores or its verdict.
QUESTION = ("settings", "checkpoint", "cohort", "plan", "device", "precision", "gates", "baseline", "prompts_from")
CODE = ("medsam_core", "commit", "torch", "sam2")  # of its environment
HEADER, CASES, PROMPTS, VERDICT = "run.json", "cases.jsonl", "prompts.json", "verdict.json"


@dataclass(frozen=True)
class Run:
    """A stored run.

    header: `run.json` as written: settings, checkpoint, cohort, environment and the plan (every case id asked for).
    records: one per scored case, in the order scored; a case scored twice (a resumed run) keeps its last record.
    """

    directory: Path
    header: Mapping[str, Any]
    records: tuple[CaseRecord, ...]

    @property
    def plan(self) -> tuple[str, ...]:
        """Every case id that the run was asked to score."""
        return tuple(self.header["plan"])


def read_run(directory: Path | str) -> Run:
    """Read a run directory. Raises RunError if it is none, is damaged, or is of a newer schema."""
    directory = Path(directory)
    header = _read_json(directory / HEADER)
    if not isinstance(header, dict) or not _is_plan(header.get("plan")) or type(header.get("schema")) is not int:
        raise RunError(
            f"{directory / HEADER}: no run header with a schema and a plan; give a directory that a run wrote."
        )
    if header["schema"] > SCHEMA:
        raise RunError(
            f"{directory}: written with schema {header['schema']}, this version reads up to {SCHEMA}; "
            "upgrade medsam-core."
        )
    return Run(directory, header, tuple(_read_records(directory / CASES).values()))


def _is_plan(plan: object) -> bool:
    return isinstance(plan, list) and all(isinstance(case, str) for case in plan)


class RunWriter:
    """Writes one run; the only writer of its directory."""

    def __init__(self, directory: Path | str, header: Mapping[str, Any], *, resume: bool = False) -> None:
        """Create the directory and `run.json`, or with `resume` go on in one whose header asked for the same.

        Raises RunError if it cannot be written, if it already holds a run (without `resume`), or if the run there
        asked for something else (with `resume`).
        """
        self.directory = Path(directory)
        self.records: dict[str, CaseRecord] = {}
        self._failure: RunError | None = None
        prepare_directory(self.directory, resume=resume)
        self.header = {"schema": SCHEMA, **header}
        cases = self.directory / CASES
        if resume and (self.directory / HEADER).exists():
            self._check_same_question(read_run(self.directory).header)
            if (self.directory / VERDICT).is_file():  # of the session before: this one may end otherwise, or not at all
                (self.directory / VERDICT).unlink()
            _drop_torn_line(cases)  # before it is read: what is cut is not scored
            self.records = _read_records(cases)
        else:
            write_json(self.directory / HEADER, self.header)
        try:
            self._stream = cases.open("a", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{cases}: cannot be written ({error.strerror}); choose another --run-dir.") from None

    def append(self, record: CaseRecord) -> None:
        """Add a record and flush it to the disk. Raises RunError, then and ever after, if that cannot be done."""
        if self._failure is not None:  # a torn line may be in the way of the next
            raise self._failure
        try:
            self._stream.write(json.dumps(record.to_json(), allow_nan=False) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            self._failure = RunError(
                f"{self.directory / CASES}: {record.id} cannot be written ({error.strerror}); mend that, and "
                "go on with --resume."
            )
            raise self._failure from None
        self.records[record.id] = record

    def write(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file of the run, whole or not at all."""
        path = self.directory / name
        write_json(path, content)
        return path

    def close(self) -> None:
        """Close `cases.jsonl`; the writer is of no use afterwards."""
        with contextlib.suppress(OSError):  # what could not be flushed was told by `append`
            self._stream.close()

    def run(self) -> Run:
        """What has been written so far."""
        return Run(self.directory, self.header, tuple(self.records.values()))

    def _check_same_question(self, before: Mapping[str, Any]) -> None:
        old, new = (_question(header) for header in (before, json.loads(json.dumps(self.header))))
        for key in new:
            if old[key] != new[key]:
                raise RunError(
                    f"{self.directory}: the run to resume differs in its {key}; resume with the options it was started "
                    "with, or start a new run."
                )
        asked = [bool((header.get("decided") or {}).get("compiled")) for header in (before, self.header)]
        if asked[0] != asked[1]:
            raise RunError(
                f"{self.directory}: the run to resume was started {'with' if asked[0] else 'without'} --compile; "
                "resume it likewise, or start a new run."
            )


def _question(header: Mapping[str, Any]) -> dict[str, Any]:
    environment = header.get("environment") or {}
    return {key: header.get(key) for key in QUESTION} | {key: environment.get(key) for key in CODE}


def prepare_directory(directory: Path, *, resume: bool = False) -> None:
    """Make sure that a run can be written there. Raises RunError in one sentence; leaves no trace but the folder."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"run directory {directory}: cannot be written ({error.strerror}); choose another with --run-dir."
        ) from None
    if not resume and (directory / HEADER).exists():
        raise RunError(
            f"run directory {directory}: already holds a run, expected a new or empty folder; "
            "choose another with --run-dir, or go on in this one with --resume."
        )
    if (directory / CASES).exists() and not (directory / HEADER).exists():
        raise RunError(
            f"run directory {directory}: holds {CASES} without {HEADER}, expected both or neither: nothing tells what "
            "its cases were asked; choose another folder with --run-dir."
        )


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys through a temporary file, so that a reader never meets half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be out of reach
            temporary.unlink()
        raise RunError(f"{path}: cannot be written ({error.strerror}); choose another --run-dir.") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; give a directory that a run wrote.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error}); the run is damaged, score it anew.") from None


def _read_records(path: Path) -> dict[str, CaseRecord]:
    """Whole lines only: what follows the last newline was being written when the run was killed, and is not scored."""
    records: dict[str, CaseRecord] = {}
    if not path.exists():
        return records
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); the run is damaged, score it anew.") from None
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].split(b"\n"), start=1):
        if not line:
            continue
        try:
            record = CaseRecord.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path}: line {number} is no case record ({error!r}); the run is damaged, score it anew."
            ) from None
        records[record.id] = record
    return records


def _drop_torn_line(path: Path) -> None:
    """Cut what follows the last newline, so that the next record does not begin in the middle of a torn one."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with path.open("r+b") as stream:
            stream.truncate(whole)
