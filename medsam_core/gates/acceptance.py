"""Accepting a run as a baseline: the only way to make or replace one.

A run is judged against everything that it would stand for: the reference of its session, the scores that it replaces,
and their anchor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medsam_core.errors import GateError, MedsamError, RunError
from medsam_core.gates.baseline import Baseline, identity_of
from medsam_core.gates.baseline_file import FOLDER, find_baseline, read_baseline, read_sets, write_baseline
from medsam_core.gates.bounds import mean
from medsam_core.gates.comparison import compare
from medsam_core.gates.gates_file import Gates, gates_of
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import judge_run
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import VERDICT, Run, stored_outcome

POOLED_DROP = 0.02
"""How far the mean Dice of all cases may be below that of another kind of device or precision: rounding alone moves
single cases by more than a comparison tolerates."""


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

    It replaces the scores of the run's kind of device and precision; those of other kinds are kept. Its anchor is that
    of the scores that it replaces, or itself if there are none or if an objection was overruled.

    gates: the gates to judge the run by again. reason: why, for those who read the file later.
    Raises GateError, and writes nothing, if there is an objection and no `force`, if no case was scored, or if the
    name or the folder cannot be used.
    """
    path = find_baseline(name, folder)  # also one that comes with the package, which the new file would hide
    if not run.records:
        raise GateError(f"{run.directory}: has no scored case, expected at least one; score the run first.")
    kind = identity_of(run).kind
    sets = {} if path is None else read_sets(path)
    own = sets.pop(kind, None)
    reference, against = _reference(run, name, gates, folder)
    outcome = _objections(run, gates, reference, folder, against)
    compared = [] if reference is None else [_described(reference, judged_by_gates=True)]
    if reference is not None and path is None and reference.name == name:
        compared = ["itself, as the first of its name"]
    for rival, words in _rivals(name, own, None if path is None else read_baseline(path, kind)):
        repeated = reference is not None and reference.cases == rival.cases  # the gates have judged it above
        against += [] if repeated else _by_gates(run, gates, rival, words)
        against += _by_comparison(run, rival, words) if own is not None else _by_mean(run, rival, words)
        compared.append(_described(rival, judged_by_gates=False))
    if against and not force:
        raise GateError(
            f"{run.directory}: is not accepted as {name}: {'; '.join(against)}; fix the run, or add --force."
        )
    made = Baseline.of(
        run,
        name,
        outcome=outcome.value,
        forced=bool(against),
        objections=tuple(against),
        reason=reason,
        judged_against=tuple(dict.fromkeys(compared)),
    )
    if own is not None and not against:
        made = replace(made, anchor=own.anchor or own)
    return write_baseline(made, folder, others=sets.values()), tuple(against)


def _rivals(name: str, own: Baseline | None, nearest: Baseline | None) -> Iterator[tuple[Baseline, str]]:
    """What the new scores must be as good as, with the words for it: the scores that they replace and their anchor.

    nearest: the set of the most similar kind, which stands in where no set is replaced.
    """
    old = own or nearest
    if old is not None:
        yield (
            old,
            f"the baseline {name} that it would replace" if own else f"the baseline {name} of {old.identity.kind}",
        )
        if old.anchor is not None:
            yield old.anchor, f"the anchor of {name}, accepted first or last by force,"


def _by_gates(run: Run, gates: Gates | None, rival: Baseline, words: str) -> list[str]:
    """The objection if the gates' own relative bounds do not hold against the rival."""
    if gates is None or not gates.relative:
        return []
    judged = judge_run(run, gates, baseline=rival)
    said = "; ".join(line.strip() for line in judged.lines()[1:3])
    return [] if judged.outcome is Outcome.PASS else [f"{judged.outcome.value} against {words}: {said}"]


def _by_comparison(run: Run, rival: Baseline, words: str) -> list[str]:
    """The objection if `compare` gives no PASS."""
    comparison = compare(rival, run)
    why = [*(one.text for one in comparison.groups if one.outcome is Outcome.FAIL), *comparison.reasons]
    why += [one.text for one in comparison.groups if one.outcome is Outcome.INCONCLUSIVE]
    # the first says enough; `compare` shows the rest
    return [f"{comparison.outcome.value} against {words}: {why[0]}"] if comparison.outcome is not Outcome.PASS else []


def _by_mean(run: Run, rival: Baseline, words: str) -> list[str]:
    """The objection to scores of a kind that the baseline does not have yet: other weights, or a lower mean."""
    comparison = compare(rival, run)
    if comparison.reasons:
        return [f"INCONCLUSIVE against {words}: {comparison.reasons[0]}"]
    if rival.identity.sha256 != run.header.checkpoint.sha256:
        return [f"INCONCLUSIVE against {words}: it is of another checkpoint"]
    if rival.identity.predictor.name != run.header.predictor.name:
        return [f"INCONCLUSIVE against {words}: it is of another predictor"]
    drop = -mean([pair.benefit for group in comparison.groups for pair in group.pairs])
    if drop <= POOLED_DROP:
        return []
    return [f"FAIL against {words}: the mean Dice of all cases fell by {drop:.3f} > {POOLED_DROP:.3f}"]


def _described(rival: Baseline, *, judged_by_gates: bool) -> str:
    """For the file: `phantom of 2026-11-27T20:55:55+00:00 (cpu, fp32, checkpoint af6c086ccead), by its gates`."""
    about = rival.identity
    how = "by the gates" if judged_by_gates else "by comparison"
    return f"{rival.name} of {about.created} ({about.kind}, checkpoint {about.sha256!s:.12}), {how}"


def _objections(run: Run, gates: Gates | None, reference: Baseline | None, folder: Path, against: list[str]) -> Outcome:
    """The run's outcome. Adds to `against` why it should not become a baseline.

    The records are judged again. The stored verdict counts as well, because it knows what the records do not show,
    such as a test that crashed. A run without a stored verdict did not end.
    """
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
    return worst(outcomes)


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
