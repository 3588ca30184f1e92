"""Gates: the bounds that a run's scores must hold, read from a TOML file (docs/gates.md has the schema).

A gate picks cases by region, prompt, protocol and the like, one metric and one scope. It limits each case's score, a
statistic of all scores, or either against a baseline. Every misspelling is refused when the file is read, because a
gate that matches nothing would always pass.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam_core.cases import CONTROL_METRICS, CONTROL_SCOPES, SCOPES, CaseRecord, is_scope
from medsam_core.errors import GateError
from medsam_core.files import read_input, shipped_folders
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import find_baseline, read_baseline
from medsam_core.gates.bounds import BOUNDS, Bound
from medsam_core.gates.gate import FILTERS, NOISES, SAME, Gate, Violation
from medsam_core.gates.gated_cohort import NO_COHORT, GatedCohort, read_cohort
from medsam_core.metrics import DERIVED, KNOWN, PROFILES, ROUND_METRICS
from medsam_core.modalities import listed
from medsam_core.runs import Run

VERSION = 1
FOLDERS = (Path("benchmarks/gates"), *shipped_folders("gates"))
"""In the working directory, in an installed wheel, in the checkout."""
IN_RUN = "gates.toml"
"""The copy that a run keeps of its gates file."""


@dataclass(frozen=True)
class Gates:
    """A gates file."""

    path: Path
    sha256: str
    """Of the file's bytes, in hex."""
    profile: str | None
    """The profile that defines the metrics, None for the run's."""
    gates: tuple[Gate, ...]
    baseline: str | None = None
    """The name of the baseline that relative bounds refer to, None if the file names none."""
    cohort: GatedCohort = NO_COHORT
    """What the file asks of the run's cohort."""

    @property
    def relative(self) -> bool:
        """Whether some bound needs a baseline."""
        return any(bound.relative for gate in self.gates for bound in gate.bounds)

    def reference(self, folder: Path, kind: str | None = None) -> Baseline | None:
        """The named baseline, None if no bound needs one, none is named, or it is not there. Raises GateError.

        kind: which of its sets, as in `read_baseline`.
        """
        path = find_baseline(self.baseline, folder) if self.relative and self.baseline else None
        return None if path is None else read_baseline(path, kind)

    def violations(self, record: CaseRecord) -> tuple[Violation, ...]:
        """The per-case bounds that a prompted record breaks by itself, without a baseline or the cohort's terciles."""
        matching = [gate for gate in self.gates if record.prompted and gate.matches(record)]
        return tuple(violation for gate in matching for violation in gate.violations(record, self.profile))


def load_gates(path: Path | str) -> Gates:
    """Read and check a gates file. Raises GateError in one sentence that names the file and the gate."""
    path = Path(path)
    content = read_input(path, what="a gates file (TOML)", error=GateError, fix="give one with --gates")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, an integer too long, nested too deeply
        raise GateError(f"{path}: is not TOML ({error}); fix that place, docs/gates.md has the schema.") from None
    for key in table:
        _check_choice(str(path), "key", key, ("version", "profile", "description", "baseline", "cohort", "gate"))
    version = table.get("version")
    if version != VERSION or isinstance(version, bool):
        raise GateError(f"{path}: version: got {version!r}, expected {VERSION}; begin the file with `version = 1`.")
    profile = table.get("profile")
    if profile is not None:
        _check_choice(str(path), "profile", profile, PROFILES)
    baseline = table.get("baseline")
    if baseline is not None and (not isinstance(baseline, str) or not baseline):
        raise GateError(f"{path}: baseline: got {baseline!r}, expected a baseline's name; give one or leave it out.")
    gates = table.get("gate", [])
    if not isinstance(gates, list) or not gates or not all(isinstance(gate, dict) for gate in gates):
        raise GateError(f"{path}: has no gate, expected at least one `[[gate]]` table; add one, see docs/gates.md.")
    read = tuple(_gate(f"{path}: gate {number}", number, gate) for number, gate in enumerate(gates, start=1))
    cohort = read_cohort(str(path), table.get("cohort", {}))
    return Gates(path, hashlib.sha256(content).hexdigest(), profile, read, baseline, cohort)


def gates_of(run: Run, path: Path | None = None, *, folders: tuple[Path, ...] = FOLDERS) -> Gates | None:
    """The gates to judge a run by: `path`, or the file that its header names, or None if it had none.

    The file is searched in the run's own directory (gates.toml) and in `folders`, and must still have the hash that
    the header gives. Raises GateError if it is not found.
    """
    if path is not None:
        return load_gates(path)
    named = run.header.gates
    if named is None:
        return None
    for candidate in (run.directory / IN_RUN, *(folder / named.file for folder in folders)):
        if candidate.is_file() and hashlib.sha256(candidate.read_bytes()).hexdigest() == named.sha256:
            return load_gates(candidate)
    raise GateError(
        f"{run.directory}: was judged by {named.file} (sha256 {named.sha256[:12]}), which is not in "
        f"{' or '.join(map(str, folders))} or has changed since; give --gates FILE (in pytest --medsam-gates)."
    )


def _gate(where: str, number: int, table: Mapping[str, Any]) -> Gate:
    for key in table:
        _check_choice(
            where, "key", key, ("metric", "scope", "description", "same", "pooled", *FILTERS, *NOISES, *BOUNDS)
        )
    if "metric" not in table:
        raise GateError(f'{where}: names no metric, expected one of {", ".join(KNOWN)}; add `metric = "dice"`.')
    _check_choice(where, "metric", table["metric"], KNOWN)
    scope = table.get("scope", SCOPES[0])
    _check_scope(where, table["metric"], scope)
    filters = {name: _filter(where, name, table[name], known) for name, known in FILTERS.items() if name in table}
    filters |= _noise(where, table)
    limits = {name: _limit(where, table, name, scope) for name in BOUNDS if name in table}
    bounds = tuple(Bound(*BOUNDS[name], limit) for name, limit in limits.items() if limit is not None)
    if not bounds:
        raise GateError(f"{where}: has no bound, expected at least one of {', '.join(BOUNDS)}; add one.")
    for low, high in itertools.pairwise(bounds):
        if low.statistic == high.statistic and low.limit > high.limit:
            raise GateError(
                f"{where}: {low.name} {low.limit:g} is above {high.name} {high.limit:g}, so nothing can pass; "
                "exchange them."
            )
    exact = [bound.name for bound in bounds if bound.statistic.needs == "exact"]
    if exact and not filters.keys() & NOISES.keys():
        raise GateError(
            f"{where}: {exact[0]}: got it without a noise, expected one of {', '.join(NOISES)}, because it compares "
            "noisy prompts with exact ones; add at_jitter = 3, for example."
        )
    for bound in bounds:
        _check_vacuous(where, table["metric"], bound)
    _check_direction(where, table["metric"], bounds)
    same = _filter(where, "same", table["same"], SAME) if "same" in table else ()
    if same and not all(bound.relative for bound in bounds):
        raise GateError(
            f"{where}: same: got it with a bound that needs no baseline, expected only bounds against one; "
            "move the others to another gate."
        )
    pooled = table.get("pooled", False)
    poolable = any(bound.statistic.of_groups for bound in bounds) and not any(
        bound.statistic.judged for bound in bounds
    )
    if not isinstance(pooled, bool) or (pooled and not poolable):
        raise GateError(
            f"{where}: pooled: got {pooled!r}, expected true or false, and true only with a bound on a mean against a "
            "baseline or exact prompts and without not_inferior, which counts each subject once; correct it or leave "
            "it out."
        )
    return Gate(number, table["metric"], scope, filters, bounds, same, pooled)


def _check_scope(where: str, metric: str, scope: Any) -> None:
    """Refuse an unknown scope, and one that the metric is not computed in."""
    if not isinstance(scope, str) or not is_scope(scope):
        _check_choice(where, "scope", scope, (*SCOPES, "round0", "round1", "…"))
    if metric in DERIVED and scope != SCOPES[0]:
        raise GateError(
            f"{where}: scope: got {scope} for {metric}, expected {SCOPES[0]} because it is of all rounds; leave the "
            "scope out."
        )
    if scope not in SCOPES and metric not in ROUND_METRICS:
        raise GateError(
            f"{where}: scope: got {scope} for {metric}, expected one of {', '.join(ROUND_METRICS)}, which are computed "
            "in every round; choose another metric, or leave the scope out for the last round."
        )


def _check_vacuous(where: str, metric: str, bound: Bound) -> None:
    """Refuse a bound that every score of the metric holds: a file of these would look like a gate."""
    low, high = KNOWN[metric].range
    if not bound.statistic.in_unit:  # a ratio
        low, high = 0.0, math.inf
    elif bound.compares:
        low, high = -math.inf, high - low
    if bound.statistic.needs == "controls" or low < bound.limit < high:
        return
    if (bound.side == "minimum" and bound.limit <= low) or (bound.side != "minimum" and bound.limit >= high):
        expected = f"above {low:g}" if bound.side == "minimum" else f"below {high:g}"
        raise GateError(
            f"{where}: {bound.name}: got {bound.limit:g}, expected a number {expected}, because every {metric} holds "
            "this bound; set one that a bad run would break, or leave it out."
        )


def _check_direction(where: str, metric: str, bounds: Sequence[Bound]) -> None:
    """Refuse bounds that do not limit how bad the metric gets, or that compare one that gets neither better nor worse.

    A drop takes the metric's direction into account. A ratio does not, nor does a floor copied from Dice to a distance.
    """
    relative = {bound.name for bound in bounds if bound.compares}
    better = KNOWN[metric].better
    if better == "neither" and relative:
        raise GateError(
            f"{where}: {metric} neither gets better nor worse, so it has no bound on a change; "
            "choose another metric or an absolute bound."
        )
    needed, other = ("minimum", "maximum") if better == "higher" else ("maximum", "minimum")
    if f"mean_ratio_{other}" in relative and f"mean_ratio_{needed}" not in relative:
        raise GateError(
            f"{where}: mean_ratio_{other}: got it alone for {metric}, where {better} is better, so a run that got "
            f"worse would pass; set mean_ratio_{needed} instead or as well."
        )
    if relative == {"mean_rise_maximum"} and len(bounds) == 1:
        raise GateError(
            f"{where}: mean_rise_maximum: got it alone, so a run that got worse would pass; set not_inferior or "
            "mean_drop_maximum as well."
        )
    if "not_inferior" in relative and KNOWN[metric].range != (0, 1):
        raise GateError(
            f"{where}: not_inferior: got it for {metric}, expected a metric from 0 to 1, because 0.05 and 0.20 are a "
            "collapse and a FAIL there; use mean_drop_maximum."
        )
    if better != "neither" and all(not bound.compares and bound.side == other for bound in bounds):
        raise GateError(
            f"{where}: {bounds[0].name}: got no other bound for {metric}, where {better} is better, so nothing is too "
            f"bad to pass; set {bounds[0].statistic.name}_{needed} instead or as well."
        )


def _filter(where: str, name: str, value: Any, known: tuple[str, ...] | None) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise GateError(f"{where}: {name}: got {value!r}, expected a name or a list of names; fix it or leave it out.")
    for one in values:
        if known is not None:
            _check_choice(where, name, one, known)
    return tuple(dict.fromkeys(values))


def _noise(where: str, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The filter for noisy prompts: its key to levels such as `jitter3`; {} if the gate is about exact prompts."""
    given = [name for name in NOISES if name in table]
    if len(given) > 1:
        raise GateError(
            f"{where}: got {' and '.join(given)}, expected one, because a case has one noise; split the gate."
        )
    for name in given:
        value = table[name]
        amounts = value if isinstance(value, list) else [value]
        if not amounts or not all(type(one) is int and one >= 1 for one in amounts):
            raise GateError(
                f"{where}: {name}: got {value!r}, expected a whole number from 1 on, or a list of them; a gate without "
                f"{name} is about exact prompts."
            )
        return {name: tuple(dict.fromkeys(f"{NOISES[name]}{one}" for one in amounts))}
    return {}


def _limit(where: str, table: Mapping[str, Any], name: str, scope: str) -> float | None:
    """The limit of one bound; None for `beats_controls = false`."""
    value, metric, needs = table[name], table["metric"], BOUNDS[name][0].needs
    if needs == "controls":
        if not isinstance(value, bool):
            raise GateError(f"{where}: {name}: got {value!r}, expected true or false; set it to one of them.")
        if value and (metric not in CONTROL_METRICS or scope not in CONTROL_SCOPES):
            raise GateError(
                f"{where}: {name}: got {metric}@{scope}, expected {' or '.join(CONTROL_METRICS)} over "
                f"{' or '.join(CONTROL_SCOPES)}, as the controls are scored; move it to such a gate."
            )
        return 0.0 if value else None
    try:
        # bool is a subclass of int, and `case_minimum = true` would be a floor of 1
        limit = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # TOML's integers have no limit, and Python may refuse to print one of so many digits
        raise GateError(
            f"{where}: {name}: got an integer beyond 1e308, expected a finite number; set a smaller one."
        ) from None
    if not math.isfinite(limit):
        raise GateError(f"{where}: {name}: got {value!r}, expected a finite number; set one.")
    if needs in ("baseline", "exact") and value < 0:
        raise GateError(f"{where}: {name}: got {value!r}, expected a number ≥ 0; remove the minus sign.")
    return limit


def _check_choice(where: str, what: str, value: Any, known: Iterable[str]) -> None:
    by_lower = {name.lower(): name for name in known}  # so that "wt" finds "WT"
    if value not in by_lower.values():
        close = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=0.5)
        fix = f"did you mean {by_lower[close[0]]!r}?" if close else "choose one of them."
        raise GateError(f"{where}: unknown {what} {value!r}, expected one of {listed(by_lower.values())}; {fix}")
