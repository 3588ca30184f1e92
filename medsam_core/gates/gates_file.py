"""Gates: the bounds that a run's scores must hold, read from a TOML file (docs/gates.md has the schema).

A gate picks cases by region, prompt, protocol and the like, one metric and one scope, and bounds each case's score, a
statistic of them, or either against a baseline. Everything a person can misspell is refused when the file is read,
because a gate that silently matches nothing is green for ever.
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

from medsam_core.cases import CONTROL_METRICS, CONTROL_SCOPES, SCOPES, CaseRecord
from medsam_core.errors import GateError
from medsam_core.gates.bounds import BOUNDS, Bound
from medsam_core.gates.gate import FILTERS, SAME, Gate, Violation
from medsam_core.metrics import METRICS, PROFILES

VERSION = 1
_SIDES = ("minimum", "maximum")


@dataclass(frozen=True)
class Gates:
    """A gates file.

    sha256: of the file's bytes, in hex. profile: whose definition of the metrics, None for that of the run.
    baseline: the name of the baseline that relative bounds refer to, None if the caller is to say.
    """

    path: Path
    sha256: str
    profile: str | None
    gates: tuple[Gate, ...]
    description: str = ""
    baseline: str | None = None

    @property
    def relative(self) -> bool:
        """Whether some bound needs a baseline."""
        return any(bound.relative for gate in self.gates for bound in gate.bounds)

    def violations(self, record: CaseRecord) -> tuple[Violation, ...]:
        """The per-case bounds that this record does not pass; () if its region is absent and nothing was asked.

        Bounds that need more than this record (a baseline, or the cohort's volume terciles) are left to `judge`.
        """
        if not record.prompted:
            return ()
        return tuple(
            violation
            for gate in self.gates
            if gate.matches(record)
            for violation in gate.violations(record, self.profile)
        )


def load_gates(path: Path | str) -> Gates:
    """Read and check a gates file. Raises GateError in one sentence that names the file and the gate."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GateError(f"{path}: cannot be read ({error.strerror}); give a gates file with --gates.") from None
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # of bytes that are no text, of text that is no TOML, of an integer of 5,000 digits
        raise GateError(f"{path}: is not TOML ({error}); mend that place, docs/gates.md has the schema.") from None
    _check_keys(str(path), table, ("version", "profile", "description", "baseline", "gate"))
    version = table.get("version")
    if version != VERSION or isinstance(version, bool):
        raise GateError(f"{path}: version: got {version!r}, expected {VERSION}; begin the file with `version = 1`.")
    profile = table.get("profile")
    if profile is not None:
        _check_choice(str(path), "profile", profile, PROFILES)
    baseline = table.get("baseline")
    if baseline is not None and (not isinstance(baseline, str) or not baseline):
        raise GateError(f"{path}: baseline: got {baseline!r}, expected a baseline's name; mend it or leave it out.")
    gates = table.get("gate", [])
    if not isinstance(gates, list) or not gates or not all(isinstance(gate, dict) for gate in gates):
        raise GateError(f"{path}: has no gate, expected at least one `[[gate]]` table; add one, see docs/gates.md.")
    return Gates(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        profile=profile,
        gates=tuple(_gate(f"{path}: gate {number}", number, gate) for number, gate in enumerate(gates, start=1)),
        description=str(table.get("description", "")),
        baseline=baseline,
    )


def _gate(where: str, number: int, table: Mapping[str, Any]) -> Gate:
    _check_keys(where, table, ("metric", "scope", "description", "same", *FILTERS, *BOUNDS))
    if "metric" not in table:
        raise GateError(f'{where}: names no metric, expected one of {", ".join(METRICS)}; add `metric = "dice"`.')
    _check_choice(where, "metric", table["metric"], METRICS)
    scope = table.get("scope", SCOPES[0])
    _check_choice(where, "scope", scope, SCOPES)
    filters = {name: _filter(where, name, table[name], known) for name, known in FILTERS.items() if name in table}
    limits = {name: _limit(where, table, name, scope) for name in BOUNDS if name in table}
    bounds = tuple(Bound(*BOUNDS[name], limit) for name, limit in limits.items() if limit is not None)
    if not bounds:
        raise GateError(f"{where}: has no bound, expected at least one of {', '.join(BOUNDS)}; add one.")
    for low, high in itertools.pairwise(bounds):
        if low.statistic == high.statistic and low.limit > high.limit:
            raise GateError(
                f"{where}: {low.name} {low.limit:g} is above {high.name} {high.limit:g}, so that nothing can pass; "
                "exchange them."
            )
    _check_direction(where, table["metric"], bounds)
    same = _filter(where, "same", table["same"], SAME) if "same" in table else ()
    if same and not all(bound.relative for bound in bounds):
        raise GateError(
            f"{where}: same: got it beside a bound that needs no baseline, expected only bounds against one; "
            "move the others to a gate of their own."
        )
    return Gate(number=number, metric=table["metric"], scope=scope, filters=filters, bounds=bounds, same=same)


def _check_direction(where: str, metric: str, bounds: Sequence[Bound]) -> None:
    """That a metric with bounds against a baseline can get worse, and that it is bounded where it does.

    Drops know the metric's direction; a ratio does not: 105 times the baseline's distance is well above its 0.99. Nor
    does a floor, copied from Dice to a distance.
    """
    relative = {bound.name for bound in bounds if bound.relative}
    better = METRICS[metric].better
    if better == "neither" and relative:
        raise GateError(
            f"{where}: {metric} neither gets better nor worse, so that it has no bound against a baseline; "
            "choose another metric or an absolute bound."
        )
    ratios = ("mean_ratio_minimum", "mean_ratio_maximum")
    needed, other = ratios if better == "higher" else ratios[::-1]
    if other in relative and needed not in relative:
        raise GateError(
            f"{where}: {other}: got it alone for {metric}, of which {better} is better, so that a run that got "
            f"worse would pass; set {needed} instead, or beside it."
        )
    wrong = {"higher": "maximum", "lower": "minimum"}.get(better)
    if all(not bound.relative and bound.side == wrong for bound in bounds):
        name = bounds[0].name
        raise GateError(
            f"{where}: {name}: got no other bound for {metric}, of which {better} is better, so that nothing is too "
            f"bad to pass; set {name.replace(*_SIDES if wrong == 'minimum' else _SIDES[::-1])} instead, or beside it."
        )


def _filter(where: str, name: str, value: Any, known: tuple[str, ...] | None) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise GateError(f"{where}: {name}: got {value!r}, expected a name or a list of names; mend it or leave it out.")
    for one in values:
        if known is not None:
            _check_choice(where, name, one, known)
    return tuple(dict.fromkeys(values))


def _limit(where: str, table: Mapping[str, Any], name: str, scope: str) -> float | None:
    """The limit of one bound; None for `beats_controls = false`."""
    value, needs = table[name], BOUNDS[name][0].needs
    if needs == "controls":
        return 0.0 if _demanded(where, name, value, table["metric"], scope) else None
    # bool is a subclass of int, and `case_minimum = true` would be a floor of 1
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GateError(f"{where}: {name}: got {value!r}, expected a finite number; mend it.")
    try:
        limit = float(value)
    except OverflowError:  # TOML's integers have no end, and Python may refuse to write one so long
        raise GateError(f"{where}: {name}: got an integer beyond 1e308, expected a finite number; mend it.") from None
    if not math.isfinite(limit):
        raise GateError(f"{where}: {name}: got {value!r}, expected a finite number; mend it.")
    if needs == "baseline" and value < 0:
        raise GateError(f"{where}: {name}: got {value!r}, expected a number ≥ 0; mend it.")
    return limit


def _demanded(where: str, name: str, value: Any, metric: str, scope: str) -> bool:
    """Whether the model has to beat the controls."""
    if not isinstance(value, bool):
        raise GateError(f"{where}: {name}: got {value!r}, expected true or false; mend it.")
    if value and (metric not in CONTROL_METRICS or scope not in CONTROL_SCOPES):
        raise GateError(
            f"{where}: {name}: got {metric}@{scope}, expected {' or '.join(CONTROL_METRICS)} over "
            f"{' or '.join(CONTROL_SCOPES)}, as the controls are scored; move it to such a gate."
        )
    return value


def _check_keys(where: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise GateError(f"{where}: unknown key {key!r}, expected one of {', '.join(known)}; {_mend(key, known)}")


def _check_choice(where: str, what: str, value: Any, known: Iterable[str]) -> None:
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise GateError(
            f"{where}: unknown {what} {value!r}, expected one of {', '.join(known)}; {_mend(str(value), known)}"
        )


def _mend(word: str, known: tuple[str, ...]) -> str:
    # names are compared without case, so that "wt" finds "WT"
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]!r}?" if close else "choose one of them."
