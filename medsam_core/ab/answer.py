"""The answer of a comparison: `ab.json`, the lines for the terminal, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medsam_core.ab.question import NEW, OLD, Question
from medsam_core.decoding import read_json
from medsam_core.errors import RunError
from medsam_core.files import write_whole
from medsam_core.gates.baseline import identity_of
from medsam_core.gates.comparison import RunComparison, compare
from medsam_core.gates.inferiority import Rule
from medsam_core.gates.reference import find_reference
from medsam_core.header import RunHeader
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import Run, StoredVerdict, json_text, read_run, stored_verdict

SCHEMA = 1
ANSWER, PAGE = "ab.json", "ab.html"


@dataclass(frozen=True)
class Answer:
    """Whether NEW is worse than OLD."""

    old: Run
    new: Run
    texts: dict[str, str]
    """OLD and NEW as typed, by side."""
    comparison: RunComparison
    gates: StoredVerdict | None
    """How NEW was judged by its gates; None if they were not asked for."""
    notes: tuple[str, ...]
    """What a reader should know of the two sides."""

    @property
    def outcome(self) -> Outcome:
        """PASS only if NEW is not worse, and holds the gates if they were asked for."""
        return worst([self.comparison.outcome, *([self.gates.outcome] if self.gates else [])])

    def lines(self) -> list[str]:
        """For the terminal."""
        first, *others = self.comparison.lines()
        lines = [first, *others, *(f"  note: {note}" for note in self.notes)]
        if self.gates is not None:
            gates = self.new.header.gates
            lines.append(f"{self.gates.outcome.value}: new by {gates.file if gates else 'no gates'}")
            lines += [f"  FAIL {one.text}" for one in self.gates.results if one.outcome is Outcome.FAIL]
            lines += [f"  INCONCLUSIVE {reason}" for reason in self.gates.reasons]
            lines.append(f"{self.outcome.value}: both together")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Built-in types only; a number that is not finite is None."""
        gates = self.new.header.gates
        return {
            "schema": SCHEMA,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "outcome": self.outcome.value,
            "exit_code": self.outcome.exit_code,
            OLD: _side(self.texts[OLD], self.old.header),
            NEW: _side(self.texts[NEW], self.new.header),
            "gates": {"file": gates.file, "outcome": self.gates.outcome.value} if gates and self.gates else None,
            "notes": list(self.notes),
            "comparison": self.comparison.to_json(),
        }

    def write(self, directory: Path) -> None:
        """Write `ab.json`, whole or not at all. Raises RunError."""
        write_whole(directory / ANSWER, json_text(self.to_json()), error=RunError, fix="choose another place with -o")


def answer(question: Question) -> Answer:
    """Compare the two runs as they are on the disk. Raises RunError or GateError if one cannot be read."""
    new = read_run(question.directory / NEW)
    reference = find_reference(question.directory / OLD, kind=identity_of(new).kind)
    old = read_run(question.directory / OLD)
    gates = None
    if question.by_gates:
        gates = stored_verdict(new.directory) or StoredVerdict(Outcome.INCONCLUSIVE, ("its session left no verdict",))
    return Answer(
        old=old,
        new=new,
        texts=question.texts,
        comparison=compare(reference, new, question.rule),
        gates=gates,
        notes=tuple(remarks(old.header, new.header)),
    )


def remarks(old: RunHeader, new: RunHeader) -> list[str]:
    """Sentences on the two sides that a reader of the comparison should know."""
    one, other = old.checkpoint, new.checkpoint
    if (one.sha256, old.predictor) == (other.sha256, new.predictor):
        return ["OLD and NEW are the same weights and predictor: differences are the noise of this machine (A/A)"]
    if one.image_size and other.image_size and one.image_size != other.image_size:
        sizes = f"OLD sees {one.image_size} pixels, NEW {other.image_size}"
        return [f"{sizes}: the comparison is of weights and image size together"]
    return []


def check_same_rule(directory: Path, rule: Rule) -> None:
    """Raise RunError if a folder has an answer by another rule, which would be lost."""
    if not (directory / ANSWER).exists():
        return
    stored = read_json(
        directory / ANSWER, _Stored, version=SCHEMA, what="a comparison", error=RunError, fix="choose another -o"
    ).comparison.rule
    for name, now in vars(rule).items():
        before = getattr(stored, name)
        if before != now:
            raise RunError(
                f"{directory / ANSWER}: has an answer with {name} {before}, expected {now} as asked for now; choose "
                f"another -o, or compare the two runs again with `medsam-core compare {directory / OLD} "
                f"{directory / NEW}`."
            )


def _side(text: str, header: RunHeader) -> dict[str, Any]:
    checkpoint = header.checkpoint
    return {
        "given": text,
        "checkpoint": checkpoint.name,
        "sha256": checkpoint.sha256,
        "image_size": checkpoint.image_size,
        "predictor": str(header.predictor),
    }


@dataclass(frozen=True)
class _StoredComparison:
    rule: Rule = field(default_factory=Rule)


@dataclass(frozen=True)
class _Stored:
    """What is read of `ab.json`."""

    comparison: _StoredComparison
