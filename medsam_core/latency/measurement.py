"""Is it as fast as what was accepted? Medians of stages, compared only between equal machines.

pytest-benchmark stores a slow run before it fails, so that the rerun compares with the slow one and passes. Here a
measurement is compared with an accepted file alone, and nothing but `accept_latency` writes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.decoding import Malformed, check_version, parse, read_content, shape
from medsam_core.errors import GateError
from medsam_core.files import write_whole
from medsam_core.gates.baseline import baseline_path
from medsam_core.outcome import Outcome, worst
from medsam_core.text import few

SCHEMA = 1
FOLDER = Path("benchmarks/baselines/latency")
FACTOR = 1.2
"""How much slower a stage may get: on a shared machine medians of the same code differ by some tenth."""
MINIMUM_ROUNDS = 5
RESAMPLES, CONFIDENCE = 4999, 0.95
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Measurement:
    """Warm rounds of each stage on one machine.

    fingerprint: what has to be equal for two to be compared (benchmarks/conftest.py makes it). stages: milliseconds of
    every round by the stage's name, in the order measured.
    """

    name: str
    fingerprint: Mapping[str, Any]
    stages: Mapping[str, tuple[float, ...]]

    def text(self) -> str:
        """The accepted file: JSON, a line per stage, milliseconds to a microsecond."""
        fingerprint = json.dumps(dict(self.fingerprint), indent=1, sort_keys=True, ensure_ascii=False)
        stages = [f"  {json.dumps(name)}: {json.dumps(list(rounds))}" for name, rounds in sorted(self.stages.items())]
        return (
            f'{{\n"schema": {SCHEMA},\n"name": {json.dumps(self.name)},\n"fingerprint": {fingerprint},\n'
            '"stages_ms": {\n' + ",\n".join(stages) + "\n}\n}\n"
        )


@dataclass(frozen=True)
class StageResult:
    """One stage: medians in milliseconds, their ratio (above 1: slower) and its bootstrap interval."""

    stage: str
    outcome: Outcome
    before: float
    now: float
    ratio: float
    low: float
    high: float
    rounds: tuple[int, int]
    factor: float

    def line(self) -> str:
        """`encode: 48.10 ms → 52.30 ms, × 1.087 [1.052, 1.121], 20 and 20 rounds: PASS (up to × 1.20)`."""
        return (
            f"{self.stage}: {self.before:.2f} ms → {self.now:.2f} ms, × {self.ratio:.3f} [{self.low:.3f}, "
            f"{self.high:.3f}], {self.rounds[0]} and {self.rounds[1]} rounds: {self.outcome.value} "
            f"(up to × {self.factor:g})"
        )


@dataclass(frozen=True)
class LatencyComparison:
    """The whole: reasons say why it is INCONCLUSIVE beside what the stages say."""

    against: str
    outcome: Outcome
    stages: tuple[StageResult, ...] = ()
    reasons: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For the terminal."""
        head = f"{self.outcome.value}: latency against {self.against}"
        return [
            head,
            *(f"  {stage.line()}" for stage in self.stages),
            *(f"  INCONCLUSIVE {reason}" for reason in self.reasons),
        ]


def read_measurement(path: Path | str) -> Measurement:
    """Read what `--benchmark-json` wrote or what was accepted. Raises GateError in one sentence."""
    path = Path(path)
    what = "what --benchmark-json of benchmarks/test_latency.py writes"
    content = read_content(path, what=what, error=GateError, fix="name such a file")
    try:
        data = parse(content)
        if isinstance(data, dict) and "stages_ms" in data:
            check_version(path, data.get("schema"), SCHEMA, error=GateError)
            accepted = shape(data, _Accepted)
            measured = Measurement(accepted.name, accepted.fingerprint, accepted.stages_ms)
        else:
            written = shape(data, _BenchmarkJson)
            stages = {
                one.name.removeprefix("test_"): tuple(round(1000 * seconds, 3) for seconds in one.stats.data)
                for one in written.benchmarks
            }
            measured = Measurement(path.stem, written.machine_info.medsam, stages)
    except Malformed as problem:
        raise GateError(f"{path}: is no latency measurement: {problem}, expected {what}; measure again.") from None
    if not measured.stages:
        raise GateError(f"{path}: holds no stage, expected at least one; measure again.")
    return measured


@dataclass(frozen=True)
class _Accepted:
    """What `accept_latency` writes."""

    name: str
    fingerprint: dict[str, Any]
    stages_ms: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Machine:
    medsam: dict[str, Any]
    """The fingerprint, which benchmarks/conftest.py adds."""


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


def compare_latency(
    before: Measurement, now: Measurement, *, factor: float = FACTOR, across_checkpoints: bool = False, seed: int = 0
) -> LatencyComparison:
    """Every stage of `before` in `now`: FAIL if it is shown to be slower than `factor` times, PASS if not to be.

    INCONCLUSIVE if the interval of the ratio of the medians holds the factor, if the machines differ in anything of
    the fingerprint, if a stage is missing or has fewer than MINIMUM_ROUNDS rounds.
    across_checkpoints: other weights of the same architecture are compared too.
    """
    differing = [
        f"{key} ({before.fingerprint.get(key)} there, {now.fingerprint.get(key)} here)"
        for key in sorted({*before.fingerprint, *now.fingerprint})
        if before.fingerprint.get(key) != now.fingerprint.get(key) and not (key == CHECKPOINT and across_checkpoints)
    ]
    if differing:
        hint = (
            "; --across-checkpoints compares other weights" if any(d.startswith(CHECKPOINT) for d in differing) else ""
        )
        reason = f"another machine or question: {'; '.join(differing)}{hint}"
        return LatencyComparison(before.name, Outcome.INCONCLUSIVE, reasons=(reason,))
    reasons, results = [], []
    missing = sorted(before.stages.keys() - now.stages.keys())
    if missing:
        reasons.append(f"not measured: {few(missing)}")
    for stage, old in before.stages.items():
        if stage not in now.stages:
            continue
        new = now.stages[stage]
        if min(len(old), len(new)) < MINIMUM_ROUNDS:
            reasons.append(f"{stage}: {len(old)} and {len(new)} rounds, expected at least {MINIMUM_ROUNDS} of each")
            continue
        results.append(_stage(stage, old, new, factor, seed))
    outcomes = [result.outcome for result in results]
    outcome = worst([*outcomes, Outcome.INCONCLUSIVE] if reasons or not results else outcomes)
    return LatencyComparison(before.name, outcome, tuple(results), tuple(reasons))


def _stage(stage: str, old: tuple[float, ...], new: tuple[float, ...], factor: float, seed: int) -> StageResult:
    rng = np.random.default_rng(seed)
    medians = [np.median(rng.choice(np.sort(rounds), size=(RESAMPLES, len(rounds))), axis=1) for rounds in (old, new)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.percentile(medians[1] / medians[0], [tail, 100 - tail]))
    before, now = float(np.median(old)), float(np.median(new))
    # asserted as a pass, so that a NaN is none
    outcome = Outcome.PASS if high <= factor else Outcome.FAIL if low > factor else Outcome.INCONCLUSIVE
    return StageResult(stage, outcome, before, now, now / before, low, high, (len(old), len(new)), factor)


def find_accepted(now: Measurement, name: str | None, folder: Path = FOLDER) -> Measurement | None:
    """The accepted measurement of that name, or without a name the only one of an equal fingerprint; None if none.

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
) -> Path:
    """Write a measurement as the accepted one of that name; the only writer of such files.

    Raises GateError, and writes nothing, if a stage has too few rounds, or if there is one of that name already and
    this one is not shown to be as fast (unless `force`).
    """
    path = baseline_path(name, folder)
    short = [stage for stage, rounds in now.stages.items() if len(rounds) < MINIMUM_ROUNDS]
    if short:
        raise GateError(f"{now.name}: fewer than {MINIMUM_ROUNDS} rounds of {few(short)}; measure anew.")
    if path.exists() and not force:
        comparison = compare_latency(read_measurement(path), now, factor=factor)
        if comparison.outcome is not Outcome.PASS:
            said = "; ".join(line.strip() for line in comparison.lines())
            raise GateError(f"{now.name}: is not accepted as {name}: {said}; find out why it is slow, or add --force.")
    text = Measurement(name, now.fingerprint, now.stages).text()
    write_whole(path, text, error=GateError, fix="choose another --baselines folder", make_folder=True)
    return path
