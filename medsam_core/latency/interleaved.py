"""Is one side as fast as another that was timed in turn with it, in one job on one machine?

Rounds of the two sides alternate as A B B A, so that a machine that gets slower or faster meanwhile does so to both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from medsam_core.latency.measurement import CONFIDENCE, LatencyComparison, Measurement, StageResult
from medsam_core.outcome import Outcome, worst

FACTOR = 1.10
"""How much slower a stage may be: less than against a stored measurement, because both met the same machine."""
MINIMUM_PAIRS = 3
RESAMPLES = 1999
MACHINE = ("cpu", "threads", "gpu", "driver", "cuda", "torch", "device", "precision", "cases")
"""What both sides' fingerprints have to agree in; they are given the same files, and may have other weights or code."""


def order(pairs: int) -> str:
    """`ABBAAB`: the first pair begins with A, the next with B, and so on."""
    return "".join("AB" if pair % 2 == 0 else "BA" for pair in range(pairs))


def compare_rounds(
    against: str, there: Sequence[Measurement], here: Sequence[Measurement], *, factor: float = FACTOR, seed: int = 0
) -> LatencyComparison:
    """Every stage of two sides, of which pair i was timed one after the other.

    Per stage: PASS if the whole interval of the ratio of medians, here to there, is at or below the factor, FAIL if
    all of it is above, else INCONCLUSIVE. So is what was timed on one side only, fewer than MINIMUM_PAIRS pairs, and
    sides that were not asked the same.
    """
    reasons = []
    if len(there) != len(here) or len(here) < MINIMUM_PAIRS:
        reasons.append(f"{len(there)} and {len(here)} rounds, expected at least {MINIMUM_PAIRS} of each side")
    prints = [one.fingerprint for one in (*there, *here)]
    differing = [key for key in MACHINE if len({str(one[key]) for one in prints if key in one}) > 1]
    if differing:
        told = "; ".join(f"{key} {' or '.join(sorted({str(one[key]) for one in prints}))}" for key in differing)
        reasons.append(f"the sides were not asked the same: {told}")
    if reasons:
        return LatencyComparison(against, Outcome.INCONCLUSIVE, reasons=tuple(reasons))
    common = [stage for stage in there[0].stages if all(stage in one.stages for one in (*there, *here))]
    partly = sorted({stage for one in (*there, *here) for stage in one.stages} - set(common))
    reasons += [f"{stage}: not timed in every round of both sides" for stage in partly]
    results = [
        _stage(stage, [one.stages[stage] for one in there], [one.stages[stage] for one in here], factor, seed)
        for stage in common
    ]
    outcomes = [result.outcome for result in results]
    outcome = worst([*outcomes, Outcome.INCONCLUSIVE] if reasons or not results else outcomes)
    return LatencyComparison(against, outcome, tuple(results), tuple(reasons))


def _stage(
    stage: str, there: Sequence[tuple[float, ...]], here: Sequence[tuple[float, ...]], factor: float, seed: int
) -> StageResult:
    def ratio(pairs: np.ndarray) -> float:
        return float(np.median(_joined(here, pairs)) / np.median(_joined(there, pairs)))

    everything = np.arange(len(here))
    before, now = (float(np.median(_joined(side, everything))) for side in (there, here))
    counts = sum(map(len, there)), sum(map(len, here))
    if not (math.isfinite(before) and math.isfinite(now) and before > 0):
        nothing = Outcome.INCONCLUSIVE, before, now, math.nan, math.nan, math.nan
        return StageResult(stage, *nothing, counts, factor)
    # pairs are resampled and not timings: those of one process share its memory and its moment on the machine
    interval = stats.bootstrap(
        (everything,),
        lambda pairs: ratio(pairs.astype(int)),
        vectorized=False,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    # asserted as a pass, so that a NaN is none
    outcome = Outcome.PASS if high <= factor else Outcome.FAIL if low > factor else Outcome.INCONCLUSIVE
    return StageResult(stage, outcome, before, now, ratio(everything), low, high, counts, factor)


def _joined(rounds: Sequence[tuple[float, ...]], pairs: np.ndarray) -> np.ndarray:
    return np.concatenate([rounds[pair] for pair in pairs])
