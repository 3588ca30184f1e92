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

Rounds = Sequence[tuple[float, ...]]
"""One side's timings of a stage in milliseconds, by round."""


def order(pairs: int) -> str:
    """`ABBAAB`: the first pair begins with A, the next with B, and so on."""
    return "".join("AB" if pair % 2 == 0 else "BA" for pair in range(pairs))


def compare_rounds(
    against: str, there: Sequence[Measurement], here: Sequence[Measurement], *, factor: float = FACTOR
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
    results = []
    for stage in common:
        old, new = ([one.stages_ms[stage] for one in side] for side in (there, here))
        results.append(_stage(stage, old, new, factor))
    reasons = [f"{stage}: not timed in every round of both sides" for stage in partly]
    return LatencyComparison(against, tuple(results), tuple(reasons))


def _stage(stage: str, there: Rounds, here: Rounds, factor: float) -> StageResult:
    def ratio(pairs: np.ndarray) -> float:
        return float(_median(here, pairs) / _median(there, pairs))

    everything = np.arange(len(here))
    before, now = (float(_median(side, everything)) for side in (there, here))
    counts = sum(map(len, there)), sum(map(len, here))
    if not (math.isfinite(before) and math.isfinite(now) and before > 0):
        return StageResult(stage, before, now, math.nan, math.nan, math.nan, counts, factor)
    # pairs are resampled, not single timings, which share a process, its memory and its moment on the machine
    low, high = stats.bootstrap(
        (everything,),
        lambda pairs: ratio(pairs.astype(int)),
        vectorized=False,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return StageResult(stage, before, now, ratio(everything), float(low), float(high), counts, factor)


def _median(rounds: Rounds, pairs: np.ndarray) -> np.floating:
    return np.median(np.concatenate([rounds[pair] for pair in pairs]))
