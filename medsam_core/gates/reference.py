"""What a run's relative bounds refer to, and whether it may: a run that FAILed is no measure of another."""

from __future__ import annotations

import difflib
import filecmp
import re
from dataclasses import replace
from pathlib import Path

from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline, identity_of
from medsam_core.gates.baseline_file import FOLDER, NAME, find_baseline, read_baseline
from medsam_core.gates.gates_file import Gates, gates_of
from medsam_core.gates.pairing import attendance
from medsam_core.gates.verdict import NO_GATES, judge_run
from medsam_core.outcome import Outcome
from medsam_core.runs import CASES, HEADER, Run, read_run, stored_verdict

_NO_GATES = re.compile(re.escape(NO_GATES.split(":")[0]))  # what follows names an option


def find_reference(text: Path | str, folder: Path = FOLDER, *, kind: str | None = None) -> Baseline:
    """A baseline by name or file, or a run by its directory. Raises GateError or RunError in one sentence.

    kind: which set of a baseline is wanted, as in `read_baseline`.
    """
    path = Path(text)
    if (path / HEADER).is_file():
        run = read_run(path)
        outcome, unfit = _fitness(run)
        return replace(Baseline.of(run, outcome=outcome), unfit=unfit)
    named = path if path.is_file() else find_baseline(str(text), folder) if NAME.fullmatch(str(text)) else None
    if named is not None:
        return read_baseline(named, kind)
    known = sorted(one.stem for one in folder.glob("*.json"))
    close = difflib.get_close_matches(str(text), known, n=1)
    fix = f"did you mean {close[0]!r}?" if close else "give one of these, or a run's directory."
    raise GateError(
        f"{text}: neither a run, a baseline file nor a name in {folder} ({', '.join(known) or 'it has none'}); {fix}"
    )


def reference_of(run: Run, gates: Gates | None, named: str | None = None, *, folder: Path = FOLDER) -> Baseline | None:
    """The baseline for relative bounds of a stored run: `named`, or its session's, or the one that the gates name.

    None if nothing is named, or if only the gates name one and it is not there. Raises GateError or RunError if
    `named` or the session's cannot be found or is the run itself.
    """
    named, kind = named or run.header.baseline, identity_of(run).kind
    if named:
        refuse_itself(named, run.directory)
        return find_reference(named, folder, kind=kind)
    return gates.reference(folder, kind) if gates is not None else None


def refuse_itself(reference: Path | str, directory: Path) -> None:
    """Raise GateError if `reference` is the run in `directory` or a copy of it: against itself no bound is broken."""
    path, files = Path(reference), [HEADER, CASES]
    if not (path / HEADER).is_file():  # the name of a baseline, even if the run's folder has the same name
        return
    if path.resolve() == directory.resolve() or filecmp.cmpfiles(path, directory, files, shallow=False)[0] == files:
        raise GateError(
            f"baseline {reference}: is the run {directory} itself, expected another, because against itself every run "
            "passes; give --baseline an accepted baseline or an earlier run."
        )


def _fitness(run: Run) -> tuple[str | None, tuple[str, ...]]:
    """How the run's session ended, and why no bound may refer to it; () if it is complete and did not FAIL.

    A run whose only fault is that it had no gates may be referred to: that is how a first reference comes about.
    """
    stored = stored_verdict(run.directory)
    if stored is None:
        return None, ("has no verdict, so its session did not end",)
    ended = stored.outcome
    unfit = list(attendance(run.plan, run.records))
    without_gates = bool(stored.reasons) and all(map(_NO_GATES.match, stored.reasons))
    if ended is Outcome.FAIL or (ended is Outcome.INCONCLUSIVE and not without_gates):
        unfit.insert(0, f"ended as {ended.value}")
    elif _fails(run):
        unfit.insert(0, "is a FAIL by its own gates, although its session ended otherwise")
    return ended.value, tuple(unfit)


def _fails(run: Run) -> bool:
    """Whether the records break a bound of the run's own gates that needs no baseline; False if these are gone."""
    try:
        judged = judge_run(run, gates_of(run), folder=run.directory)  # where no baseline is
    except GateError:
        return False
    return any(result.outcome is Outcome.FAIL and not result.bound.relative for result in judged.results)
