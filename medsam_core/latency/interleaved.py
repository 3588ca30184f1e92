"""Is one side as fast as another? Both are timed in turn, in one job on one machine.

Their rounds alternate as A B B A, so that a machine that gets slower or faster meanwhile does so for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from medsam_core.latency.measurement import CONFIDENCE, LatencyComparison, Measurement, StageResult

FACTOR = 1.10
"""How much slower a stage may be; less than against a stored measurement, because both sides ran on one machine."""
MINIMUM_PAIRS = 3
RESAMPLES = 1999
MACHINE = ("cpu", "threads", "gpu", "driver", "cuda", "torch", "device", "precision", "cases")
"""What must be equal in both sides' fingerprints; weights and code may differ."""


def order(pairs: int) -> str:
    """`ABBAAB`: the first pair begins with A, the next with B, and so on."""
    return "".join("AB" if pair % 2 == 0 else "BA" for pair in range(pairs))


def compare_rounds(
    against: str, there: Sequence[Measurement], here: Sequence[Measurement], *, factor: float = FACTOR, seed: int = 0
) -> LatencyComparison:
    """Compare every stage of two sides, of which round i of both was timed one after the other.

    The ratio is of the medians, here to there; see `StageResult.outcome`. INCONCLUSIVE if there are fewer than
    MINIMUM_PAIRS pairs, if a stage was not timed in every round, or if the sides did not do the same work.
    """
    every = (*there, *here)
    reasons = []
    if len(there) != len(here) or len(here) < MINIMUM_PAIRS:
        reasons.append(f"{len(there)} and {len(here)} rounds, expected at least {MINIMUM_PAIRS} of each side")
    seen = {key: sorted({str(one.fingerprint[key]) for one in every if key in one.fingerprint}) for key in MACHINE}
    differing = [f"{key} {' or '.join(values)}" for key, values in seen.items() if len(values) > 1]
    if differing:
        reasons.append(f"the sides did not do the same work: {'; '.join(differing)}")
    if reasons:
        return LatencyComparison(against, reasons=tuple(reasons))
    common = [stage for stage in there[0].stages_ms if all(stage in one.stages_ms for one in every)]
    partly = sorted({stage for one in every for stage in one.stages_ms} - set(common))
    results = [
        _stage(stage, [one.stages_ms[stage] for one in there], [one.stages_ms[stage] for one in here], factor, seed)
        for stage in common
    ]
    reasons = [f"{stage}: not timed in every round of both sides" for stage in partly]
    return LatencyComparison(against, tuple(results), tuple(reasons))


def _stage(
    stage: str, there: Sequence[tuple[float, ...]], here: Sequence[tuple[float, ...]], factor: float, seed: int
) -> StageResult:
    def ratio(pairs: np.ndarray) -> float:
        return float(np.median(_joined(here, pairs)) / np.median(_joined(there, pairs)))

    everything = np.arange(len(here))
    before, now = (float(np.median(_joined(side, everything))) for side in (there, here))
    counts = sum(map(len, there)), sum(map(len, here))
    if not (math.isfinite(before) and math.isfinite(now) and before > 0):
        return StageResult(stage, before, now, math.nan, math.nan, math.nan, counts, factor)
    # pairs are resampled, not single timings, which share a process, its memory and its moment on the machine
    interval = stats.bootstrap(
        (everything,),
        lambda pairs: ratio(pairs.astype(int)),
        vectorized=False,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return StageResult(stage, before, now, ratio(everything), float(interval.low), float(interval.high), counts, factor)


def _joined(rounds: Sequence[tuple[float, ...]], pairs: np.ndarray) -> np.ndarray:
    return np.concatenate([rounds[pair] for pair in pairs])
