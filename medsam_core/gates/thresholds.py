"""Gates: the bounds that a run's scores must hold, read from a TOML file (docs/gates.md has the schema).

A gate picks cases by region, prompt, protocol, modality, grade or site, one metric and one scope, and bounds each
case's score or a statistic of them. Everything a person can misspell is refused when the file is read, because a
gate that silently matches nothing is green for ever.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam_core.data.regions import REGIONS
from medsam_core.errors import GateError
from medsam_core.evaluation import MODALITIES, SCOPES, CaseRecord, score_key
from medsam_core.gates.wording import DEFAULT_MODALITY, DEFAULT_PROTOCOL, compared, metric_name, of_case
from medsam_core.inference.prompts import MODES, PROTOCOLS
from medsam_core.metrics import METRICS, PROFILES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = 1
STATISTICS = ("case", "mean", "median", "worst_decile")
BOUNDS = tuple(f"{statistic}_{side}" for statistic in STATISTICS for side in ("minimum", "maximum"))
# None: whatever the cohort says, since grades and sites are the data set's own words.
FILTERS: Mapping[str, tuple[str, ...] | None] = {
    "region": REGIONS,
    "prompt": MODES,
    "protocol": PROTOCOLS,
    "modality": MODALITIES,
    "grade": None,
    "site": None,
}
_DEFAULTS = ((DEFAULT_MODALITY,), (DEFAULT_PROTOCOL,))


@dataclass(frozen=True)
class Bound:
    """One limit of a gate: `statistic` is of STATISTICS, `side` is "minimum" or "maximum", `limit` is finite."""

    statistic: str
    side: str
    limit: float

    @property
    def name(self) -> str:
        """The key in the gates file: `mean_minimum`."""
        return f"{self.statistic}_{self.side}"

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side of the limit or on it. NaN never is: a gate asserts the pass."""
        return value >= self.limit if self.side == "minimum" else value <= self.limit


@dataclass(frozen=True)
class Violation:
    """A case that a gate does not let pass.

    value: the score; NaN if the score itself is NaN, None if the record has no such score.
    text: what a person reads: `Dice 0.412 < 0.700 (WT, box, key slice 95)`.
    """

    case: str
    gate: int
    bound: str
    value: float | None
    limit: float
    text: str


@dataclass(frozen=True)
class Gate:
    """One `[[gate]]` table.

    number: its place in the file, from 1. filters: name of FILTERS → accepted values; a filter left out accepts all.
    bounds: at least one.
    """

    number: int
    metric: str
    scope: str
    filters: Mapping[str, tuple[str, ...]]
    bounds: tuple[Bound, ...]

    def matches(self, record: CaseRecord) -> bool:
        """Whether the record is of a case that this gate is about, prompted or not."""
        return all(_filter_value(record, name) in accepted for name, accepted in self.filters.items())

    def score(self, record: CaseRecord, profile: str | None) -> float | None:
        """This gate's score in the record, None if the run did not compute it.

        profile: the gates file's; None takes the record's own, provided that it has scores of one profile only.
        """
        profiles = {key.split("/", 1)[0] for key in record.scores} if profile is None else {profile}
        if len(profiles) != 1:
            return None
        return record.scores.get(score_key(profiles.pop(), self.metric, self.scope))

    def violations(self, record: CaseRecord, profile: str | None) -> tuple[Violation, ...]:
        """The per-case bounds that a prompted, matching record does not pass.

        A missing or NaN score is one violation, also of a gate that bounds only a cohort statistic: there is no mean
        over a hole.
        """
        value = self.score(record, profile)
        if value is None or math.isnan(value):
            first = self.bounds[0]
            what = "has no score" if value is None else "is NaN"
            text = f"{metric_name(self.metric, self.scope)} {what} ({of_case(record)})"
            return (Violation(record.id, self.number, first.name, value, first.limit, text),)
        return tuple(
            Violation(
                record.id,
                self.number,
                bound.name,
                value,
                bound.limit,
                f"{metric_name(self.metric, self.scope)} {compared(value, bound.limit, self.metric)} "
                f"({of_case(record)})",
            )
            for bound in self.bounds
            if bound.statistic == "case" and not bound.holds(value)
        )

    @property
    def label(self) -> str:
        """`gate 2 (Dice; WT; box)`: number, metric and filters, save those for a default alone."""
        filters = [values for values in self.filters.values() if values not in _DEFAULTS]
        parts = [metric_name(self.metric, self.scope), *("/".join(values) for values in filters)]
        return f"gate {self.number} ({'; '.join(parts)})"


@dataclass(frozen=True)
class Gates:
    """A gates file.

    sha256: of the file's bytes, in hex. profile: whose definition of the metrics, None for that of the run.
    """

    path: Path
    sha256: str
    profile: str | None
    gates: tuple[Gate, ...]
    description: str = ""

    def violations(self, record: CaseRecord) -> tuple[Violation, ...]:
        """The per-case bounds that this record does not pass; () if its region is absent and nothing was asked."""
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
        raise GateError(f"{path}: cannot be read ({error.strerror}); give a gates file with --gates") from None
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GateError(f"{path}: is not TOML ({error}); mend that place, docs/gates.md has the schema") from None
    _check_keys(str(path), table, ("version", "profile", "description", "gate"))
    version = table.get("version")
    if version != VERSION or isinstance(version, bool):
        raise GateError(f"{path}: version: got {version!r}, expected {VERSION}; begin the file with `version = 1`")
    profile = table.get("profile")
    if profile is not None:
        _check_choice(str(path), "profile", profile, PROFILES)
    gates = table.get("gate", [])
    if not isinstance(gates, list) or not gates or not all(isinstance(gate, dict) for gate in gates):
        raise GateError(f"{path}: has no gate, expected at least one `[[gate]]` table; add one, see docs/gates.md")
    return Gates(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        profile=profile,
        gates=tuple(_gate(f"{path}: gate {number}", number, gate) for number, gate in enumerate(gates, start=1)),
        description=str(table.get("description", "")),
    )


def _gate(where: str, number: int, table: Mapping[str, Any]) -> Gate:
    _check_keys(where, table, ("metric", "scope", "description", *FILTERS, *BOUNDS))
    if "metric" not in table:
        raise GateError(f'{where}: names no metric, expected one of {", ".join(METRICS)}; add `metric = "dice"`')
    _check_choice(where, "metric", table["metric"], METRICS)
    scope = table.get("scope", SCOPES[0])
    _check_choice(where, "scope", scope, SCOPES)
    filters = {name: _filter(where, name, table[name], known) for name, known in FILTERS.items() if name in table}
    bounds = tuple(_bound(where, name, table[name]) for name in BOUNDS if name in table)
    if not bounds:
        raise GateError(f"{where}: has no bound, expected at least one of {', '.join(BOUNDS)}; add one")
    for low, high in itertools.pairwise(bounds):
        if low.statistic == high.statistic and low.limit > high.limit:
            raise GateError(
                f"{where}: {low.name} {low.limit:g} is above {high.name} {high.limit:g}, so that nothing can pass; "
                "exchange them"
            )
    return Gate(number=number, metric=table["metric"], scope=scope, filters=filters, bounds=bounds)


def _filter(where: str, name: str, value: Any, known: tuple[str, ...] | None) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise GateError(f"{where}: {name}: got {value!r}, expected a name or a list of names; mend it or leave it out")
    for one in values:
        if known is not None:
            _check_choice(where, name, one, known)
    return tuple(dict.fromkeys(values))


def _bound(where: str, name: str, value: Any) -> Bound:
    # bool is a subclass of int, and `case_minimum = true` would be a floor of 1
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GateError(f"{where}: {name}: got {value!r}, expected a finite number; mend it")
    statistic, _, side = name.rpartition("_")
    return Bound(statistic, side, float(value))


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
    return f"did you mean {by_lower[close[0]]!r}?" if close else "choose one of them"


def _filter_value(record: CaseRecord, name: str) -> str | None:
    value = getattr(record if name in ("grade", "site") else record.case, name)
    return None if value is None else str(value)
