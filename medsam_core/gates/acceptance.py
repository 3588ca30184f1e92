"""Accepting a run as a baseline: the only way to make or replace one."""

from __future__ import annotations

from pathlib import Path

from medsam_core.errors import GateError, MedsamError, RunError
from medsam_core.gates.baseline import FOLDER, Baseline, find_baseline, read_baseline, write_baseline
from medsam_core.gates.comparison import compare
from medsam_core.gates.gates_file import Gates, gates_of, reference_of
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
) -> tuple[Path, tuple[str, ...]]:
    """Write the run as baseline `name`. Returns the file and the objections that were overruled (() without force).

    gates: the gates to judge the run by again. reason: why, for those who read the file later.
    Raises GateError, and writes nothing, if there is an objection and no `force`, if no case was scored, or if the
    name or the folder cannot be used.
    """
    replaced = find_baseline(name, folder)  # also one that comes with the package, which the new file would hide
    if not run.records:
        raise GateError(f"{run.directory}: has no scored case, expected at least one; score the run first.")
    outcome, against = _objections(run, name, gates, folder)
    if replaced is not None:
        comparison = compare(read_baseline(replaced), run)
        if comparison.outcome is not Outcome.PASS:
            why = [*(one.text for one in comparison.groups if one.outcome is Outcome.FAIL), *comparison.reasons]
            why += [one.text for one in comparison.groups if one.outcome is Outcome.INCONCLUSIVE]
            # the first says enough; `compare` shows the rest
            against.append(f"{comparison.outcome.value} against the baseline {name} that it would replace: {why[0]}")
    if against and not force:
        raise GateError(
            f"{run.directory}: is not accepted as {name}: {'; '.join(against)}; fix the run, or add --force."
        )
    decided = {"outcome": outcome.value, "forced": bool(against), "objections": against, "reason": reason}
    return write_baseline(Baseline.of(run, name, **decided), folder), tuple(against)


def _objections(run: Run, name: str, gates: Gates | None, folder: Path) -> tuple[Outcome, list[str]]:
    """The run's outcome, and why it should not become the baseline `name`; [] if nothing speaks against it.

    The records are judged again. The stored verdict counts as well, because it knows what the records do not show,
    such as a test that crashed. A run without a stored verdict did not end.
    """
    reference, against = _reference(run, name, gates, folder)
    judged = judge_run(run, gates, baseline=reference, folder=folder)
    outcomes = [judged.outcome, *(Outcome.INCONCLUSIVE for _ in against)]
    if judged.outcome is not Outcome.PASS:
        against.append("; ".join(line.strip() for line in judged.lines()[:3]))
    try:
        ended = stored_outcome(run.directory)
        unknown = "it has no verdict, so its session did not end; finish it with --medsam-resume"
    except RunError:
        ended, unknown = None, f"{VERDICT} cannot be read"
    if ended is None:
        outcomes.append(Outcome.INCONCLUSIVE)
        against.append(f"INCONCLUSIVE: {unknown}")
    elif ended is not Outcome.INCONCLUSIVE or not _inconclusive_by_records(run, folder):
        outcomes.append(ended)
        if ended is not Outcome.PASS and judged.outcome is Outcome.PASS:
            against.append(f"{ended.value}: its session ended with this verdict, although its records pass")
    return worst(outcomes), against


def _reference(run: Run, name: str, gates: Gates | None, folder: Path) -> tuple[Baseline | None, list[str]]:
    """What the gates' relative bounds refer to, and the objection if it cannot be used.

    Gates that refer to the very baseline to be made find the run itself in its place, or there could be no first one.
    """
    if gates is None or not gates.relative:
        return None, []
    if not run.header.baseline and gates.baseline == name and find_baseline(name, folder) is None:
        return Baseline.of(run, name), []
    try:
        return reference_of(run, gates, folder=folder), []
    except MedsamError as error:  # an objection, so that --force can overrule it
        return None, [f"INCONCLUSIVE: what its session was compared with cannot be used: {error}"]


def _inconclusive_by_records(run: Run, folder: Path) -> bool:
    """Whether the session's own gates explain its verdict: they may have lacked a baseline."""
    try:
        gates = gates_of(run)
        judged = judge_run(run, gates, baseline=reference_of(run, gates, folder=folder), folder=folder)
    except MedsamError:
        return False
    return gates is not None and judged.outcome is Outcome.INCONCLUSIVE
