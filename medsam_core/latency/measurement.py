"""Is a measurement as fast as an accepted one? Medians of stages, compared only between equal machines.

pytest-benchmark stores a slow run before it fails, so a rerun is compared with the slow one and passes. Here a
measurement is compared only with an accepted file, which only `accept_latency` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.decoding import Malformed, check_version, parse, read_content, shape
from medsam_core.errors import GateError
from medsam_core.files import write_whole
from medsam_core.gates.baseline_file import baseline_path, lines_of_json
from medsam_core.outcome import Outcome, worst
from medsam_core.text import few

SCHEMA = 1
FOLDER = Path("benchmarks/baselines/latency")
FACTOR = 1.2
"""How much slower a stage may get: on a shared machine, medians of the same code differ by about a tenth."""
MINIMUM_ROUNDS = 5
RESAMPLES, CONFIDENCE = 4999, 0.95
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Measurement:
    """Warm rounds of each stage on one machine."""

    name: str
    fingerprint: Mapping[str, Any]
    """What must be equal for two to be compared; benchmarks/conftest.py makes it."""
    stages_ms: Mapping[str, tuple[float, ...]]
    """Every round's milliseconds by stage, in the order measured."""
    anchor_ms: Mapping[str, tuple[float, ...]] | None = None
    """Those first accepted under its name, or last forced; None if they are these."""
    forced: bool = False
    """Whether it was accepted against objections."""
    objections: tuple[str, ...] = ()

    def from_anchor(self) -> Measurement:
        """The anchor as a measurement."""
        return Measurement(f"the anchor of {self.name}", self.fingerprint, self.anchor_ms or self.stages_ms)

    def text(self) -> str:
        """The accepted file: JSON, a line per stage."""
        return lines_of_json({"schema": SCHEMA, **asdict(self)}, rows=("stages_ms", "anchor_ms"))


@dataclass(frozen=True)
class StageResult:
    """One stage of two measurements."""

    stage: str
    before_ms: float
    """The median."""
    now_ms: float
    ratio: float
    """Of the medians, above 1 if now is slower."""
    low: float
    """Lower end of the ratio's bootstrap interval, NaN if there is no ratio."""
    high: float
    rounds: tuple[int, int]
    factor: float
    """The highest ratio that passes."""

    @property
    def outcome(self) -> Outcome:
        """PASS if the whole interval is at or below the factor, FAIL if it is above, else INCONCLUSIVE, as for NaN."""
        if self.high <= self.factor:
            return Outcome.PASS
        return Outcome.FAIL if self.low > self.factor else Outcome.INCONCLUSIVE

    def line(self) -> str:
        """`encode: 48.10 ms → 52.30 ms, × 1.087 [1.052, 1.121], 20 and 20 rounds: PASS (up to × 1.2)`."""
        return (
            f"{self.stage}: {self.before_ms:.2f} ms → {self.now_ms:.2f} ms, × {self.ratio:.3f} [{self.low:.3f}, "
            f"{self.high:.3f}], {self.rounds[0]} and {self.rounds[1]} rounds: {self.outcome.value} "
            f"(up to × {self.factor:g})"
        )


@dataclass(frozen=True)
class LatencyComparison:
    """All stages of two measurements."""

    against: str
    stages: tuple[StageResult, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is no PASS, apart from the stages."""

    @property
    def outcome(self) -> Outcome:
        """PASS only if there is a stage, every stage is a PASS, and there is no reason against it."""
        whole = Outcome.PASS if self.stages and not self.reasons else Outcome.INCONCLUSIVE
        return worst([whole, *(stage.outcome for stage in self.stages)])

    def lines(self) -> list[str]:
        """For the terminal."""
        return [
            f"{self.outcome.value}: latency against {self.against}",
            *(f"  {stage.line()}" for stage in self.stages),
            *(f"  INCONCLUSIVE {reason}" for reason in self.reasons),
        ]


@dataclass(frozen=True)
class _Machine:
    medsam: dict[str, Any]
    """The fingerprint."""


@dataclass(frozen=True)
class _Stats:
    data: tuple[float, ...]
    """Seconds of every round."""


@dataclass(frozen=True)
class _Benchmark:
    name: str
    stats: _Stats


@dataclass(frozen=True)
class _BenchmarkJson:
    """What is read of the file that pytest-benchmark writes."""

    machine_info: _Machine
    benchmarks: tuple[_Benchmark, ...]

    def measurement(self, name: str) -> Measurement:
        """The rounds in milliseconds, to a microsecond."""
        stages_ms = {
            one.name.removeprefix("test_"): tuple(round(1000 * seconds, 3) for seconds in one.stats.data)
            for one in self.benchmarks
        }
        return Measurement(name, self.machine_info.medsam, stages_ms)


def read_measurement(path: Path | str) -> Measurement:
    """Read what `--benchmark-json` wrote or what was accepted. Raises GateError in one sentence."""
    path = Path(path)
    what = "what --benchmark-json of benchmarks/test_latency.py writes"
    content = read_content(path, what=what, error=GateError, fix="name such a file")
    try:
        data = parse(content)
        if isinstance(data, dict) and "stages_ms" in data:
            check_version(path, data.get("schema"), SCHEMA, error=GateError)
            measured = shape(data, Measurement)
        else:
            measured = shape(data, _BenchmarkJson).measurement(path.stem)
    except Malformed as problem:
        raise GateError(f"{path}: is no latency measurement: {problem}, expected {what}; measure again.") from None
    if not measured.stages_ms:
        raise GateError(f"{path}: has no stage, expected at least one; measure again.")
    return measured


def compare_latency(
    before: Measurement, now: Measurement, *, factor: float = FACTOR, across_checkpoints: bool = False
) -> LatencyComparison:
    """Compare every stage of `before`; see `StageResult.outcome` and `LatencyComparison.outcome`.

    INCONCLUSIVE if the fingerprints differ, if a stage is missing or has fewer than MINIMUM_ROUNDS rounds.
    across_checkpoints: also compare other weights, of the same architecture.
    """
    keys = {*before.fingerprint, *now.fingerprint} - ({CHECKPOINT} if across_checkpoints else set())
    both = {key: (before.fingerprint.get(key), now.fingerprint.get(key)) for key in sorted(keys)}
    differing = {key: f"{key} ({old} there, {new} here)" for key, (old, new) in both.items() if old != new}
    if differing:
        hint = "; --across-checkpoints compares other weights" if CHECKPOINT in differing else ""
        reason = f"another machine or question: {'; '.join(differing.values())}{hint}"
        return LatencyComparison(before.name, reasons=(reason,))
    missing = sorted(before.stages_ms.keys() - now.stages_ms.keys())
    reasons = [f"not measured: {few(missing)}"] if missing else []
    results = []
    for stage in [stage for stage in before.stages_ms if stage in now.stages_ms]:
        old, new = before.stages_ms[stage], now.stages_ms[stage]
        if min(len(old), len(new)) < MINIMUM_ROUNDS:
            reasons.append(f"{stage}: {len(old)} and {len(new)} rounds, expected at least {MINIMUM_ROUNDS} of each")
        else:
            results.append(_stage(stage, old, new, factor))
    return LatencyComparison(before.name, tuple(results), tuple(reasons))


def _stage(stage: str, old: tuple[float, ...], new: tuple[float, ...], factor: float) -> StageResult:
    rng = np.random.default_rng(0)
    medians = [np.median(rng.choice(np.sort(rounds), size=(RESAMPLES, len(rounds))), axis=1) for rounds in (old, new)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.percentile(medians[1] / medians[0], [tail, 100 - tail]))
    before, now = float(np.median(old)), float(np.median(new))
    return StageResult(stage, before, now, now / before, low, high, (len(old), len(new)), factor)


def find_accepted(now: Measurement, name: str | None, folder: Path = FOLDER) -> Measurement | None:
    """The accepted measurement of that name (or file), or without a name the one of an equal fingerprint, if any.

    Raises GateError for a name that is not there, and if several have that fingerprint.
    """
    if name is not None:
        return read_measurement(name if Path(name).is_file() else baseline_path(name, folder))
    equal = [one for one in map(read_measurement, sorted(folder.glob("*.json"))) if one.fingerprint == now.fingerprint]
    if len(equal) > 1:
        names = ", ".join(one.name for one in equal)
        raise GateError(f"{folder}: has {names} of this machine, expected one; choose with --against NAME.")
    return equal[0] if equal else None


def accept_latency(
    now: Measurement, name: str, *, folder: Path = FOLDER, factor: float = FACTOR, force: bool = False
) -> tuple[Path, tuple[str, ...]]:
    """Write a measurement as the accepted one of that name; the only writer of such files.

    Returns the file and the objections that were overruled (() without force). The file keeps as its anchor the
    measurement that was first accepted under the name, or last forced, so that many small steps are seen as one.
    Raises GateError, and writes nothing, if a stage has too few rounds, or, unless `force`, if the factor is above
    FACTOR, or if it is not shown to be as fast as the measurement that it replaces and as the anchor.
    """
    path = baseline_path(name, folder)
    short = [stage for stage, rounds in now.stages_ms.items() if len(rounds) < MINIMUM_ROUNDS]
    if short:
        raise GateError(f"{now.name}: fewer than {MINIMUM_ROUNDS} rounds of {few(short)}; measure again.")
    replaced = read_measurement(path) if path.exists() else None
    against = []
    if replaced is not None:
        against += [f"the factor {factor:g} is above {FACTOR:g}"] if factor > FACTOR else []
        anchor = [] if replaced.anchor_ms is None else [replaced.from_anchor()]
        for rival in (replaced, *anchor):
            comparison = compare_latency(rival, now, factor=min(factor, FACTOR))
            if comparison.outcome is not Outcome.PASS:
                against.append("; ".join(line.strip() for line in comparison.lines()))
    if against and not force:
        raise GateError(
            f"{now.name}: is not accepted as {name}: {'; '.join(against)}; find out why it is slow, or add --force."
        )
    kept = None if replaced is None or against else replaced.anchor_ms or replaced.stages_ms
    made = replace(now, name=name, anchor_ms=kept, forced=bool(against), objections=tuple(against))
    write_whole(path, made.text(), error=GateError, fix="choose another --baselines folder", make_folder=True)
    return path, tuple(against)
