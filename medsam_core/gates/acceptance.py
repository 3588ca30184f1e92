"""Accepting a run as a baseline: the only way by which a baseline comes to be or moves."""

from __future__ import annotations

from pathlib import Path

from medsam_core.errors import GateError, MedsamError, RunError
from medsam_core.gates.baseline import FOLDER, Baseline, find_baseline, read_baseline, write_baseline
from medsam_core.gates.comparison import Rule, compare
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.stored import gates_of, reference_of
from medsam_core.gates.verdict import judge_run
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import VERDICT, Run, stored_outcome


def accept(
    run: Run,
    name: str,
    gates: Gates | None,
    *,
    folder: Path = FOLDER,
    force: bool = False,
    reason: str = "",
    rule: Rule | None = None,
) -> tuple[Path, tuple[str, ...]]:
    """Write the run as baseline `name`. Gives the file and the objections that were overruled (() without force).

    gates: what to judge the run by once more. reason: why, for those who read the file later.
    Raises GateError, and writes nothing, if there is an objection and no `force`, if no case was scored, or if the
    name or the folder cannot be used.
    """
    replaced = find_baseline(name, folder)  # also one that comes with the package, which the new file would hide
    if not run.records:
        raise GateError(f"{run.directory}: has no scored case, expected a run to accept; score one first.")
    outcome, against = objections(run, gates, folder, name=name)
    if replaced is not None:
        comparison = compare(read_baseline(replaced), run, rule)
        if comparison.outcome is not Outcome.PASS:
            why = [*(one.text for one in comparison.groups if one.outcome is Outcome.FAIL), *comparison.reasons]
            why += [one.text for one in comparison.groups if one.outcome is Outcome.INCONCLUSIVE]
            # the first says enough; `compare` shows the rest
            against.append(f"{comparison.outcome.value} against the baseline {name} that it would replace: {why[0]}")
    if against and not force:
        raise GateError(
            f"{run.directory}: is not accepted as {name}: {'; '.join(against)}; mend the run, or add --force."
        )
    decided = {"outcome": outcome.value, "forced": bool(against), "objections": against, "reason": reason}
    return write_baseline(Baseline.of(run, name, **decided), folder), tuple(against)


def objections(
    run: Run, gates: Gates | None, folder: Path = FOLDER, *, name: str | None = None
) -> tuple[Outcome, list[str]]:
    """The run's outcome and why it should not become the baseline `name`, [] if nothing speaks against it.

    The records are judged anew, and the stored verdict counts beside: it also knows what the records do not show, such
    as a test that crashed. A run without a stored verdict did not end. Gates that refer to the very baseline that is
    not there yet find the run itself in its place, or there could never be a first one.
    """
    reference, against = _reference(run, gates, folder, name)
    lost = [Outcome.INCONCLUSIVE] if against else []
    judged = judge_run(run, gates, baseline=reference, folder=folder)
    if judged.outcome is not Outcome.PASS:
        against.append("; ".join(line.strip() for line in judged.lines()[:3]))
    try:
        outcome = stored_outcome(run.directory)
    except RunError:
        against.append(f"INCONCLUSIVE: {VERDICT} cannot be read")
        return worst([judged.outcome, Outcome.INCONCLUSIVE]), against
    if outcome is None:
        against.append("INCONCLUSIVE: it has no verdict, so its session did not end; finish it with --resume")
        return worst([judged.outcome, Outcome.INCONCLUSIVE]), against
    explained = outcome is Outcome.INCONCLUSIVE and _inconclusive_by_records(run, folder)
    if outcome is not Outcome.PASS and judged.outcome is Outcome.PASS and not explained:
        against.append(f"{outcome.value}: so its session ended, whatever its records say")
    return worst([judged.outcome, *lost, *([] if explained else [outcome])]), against


def _reference(run: Run, gates: Gates | None, folder: Path, name: str | None) -> tuple[Baseline | None, list[str]]:
    """What the gates' relative bounds refer to, and the objection if that is not there any more."""
    if gates is None or not gates.relative:
        return None, []
    given = run.header.baseline
    if not given and gates.baseline is not None and gates.baseline == name and find_baseline(name, folder) is None:
        return Baseline.of(run, name), []
    try:
        return reference_of(run, gates, folder=folder), []
    except MedsamError as error:  # an objection, so that --force can overrule it
        return None, [f"INCONCLUSIVE: what its session was compared with cannot be used: {error}"]


def _inconclusive_by_records(run: Run, folder: Path) -> bool:
    """Whether the session's own gates explain its verdict, as those do that ask for a baseline that was not there."""
    try:
        gates = gates_of(run)
        reference = reference_of(run, gates, folder=folder)
        judged = judge_run(run, gates, baseline=reference, folder=folder)
        return gates is not None and judged.outcome is Outcome.INCONCLUSIVE
    except MedsamError:
        return False
