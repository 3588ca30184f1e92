"""Paired differences: interval, non-inferiority, and whether a drop is real.

They take benefits: for each pair, in any order, the change towards the better, below 0 for worse. Sources:
non-inferiority by a shifted one-sample test (Wellek, Testing Statistical Hypotheses of Equivalence and
Noninferiority, 2010, ch. 5.2), its t corrected for skewness (Hall, On the removal of skewness by transformation,
J. R. Stat. Soc. B 54, 1992, 221–228); BCa bootstrap (Efron 1987) as in scipy.stats.bootstrap; Holm 1979.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from medsam_core.errors import GateError
from medsam_core.metrics import KNOWN

MINIMUM_N = 5
"""With fewer pairs nothing is inferred about a population: the verdict is about these cases only."""
DECIMALS = 6
"""Scores are compared to this many decimals, the resolution at which a baseline stores them."""


def direction(metric: str) -> int:
    """1 if more is better or neither is, −1 if less is: what makes a change of the score a benefit."""
    return -1 if KNOWN[metric].better == "lower" else 1


def can_get_worse(metric: str) -> bool:
    """False for a volume, say, which is neither better nor worse, and for a metric that this version does not know."""
    return metric in KNOWN and KNOWN[metric].better != "neither"


def mean_if_finite(values: Sequence[float]) -> float:
    """The mean of at least one number, NaN if one of them is not finite."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def subject_means(values: Iterable[tuple[str, float]]) -> list[float]:
    """The mean of each subject's values, in the order of the subjects' first: repeats of one subject are no sample."""
    found: dict[str, list[float]] = {}
    for subject, value in values:
        found.setdefault(subject, []).append(value)
    return [math.fsum(own) / len(own) for own in found.values()]


@dataclass(frozen=True)
class Paired:
    """What n paired benefits say; NaN where nothing can be said, as below MINIMUM_N."""

    n: int
    mean: float
    low: float = math.nan
    """Lower end of the bootstrap interval of the mean."""
    high: float = math.nan
    p_not_inferior: float = math.nan
    """Of the hypothesis that the mean is at or below −margin; if small, the drop is smaller than the margin."""
    p_worse: float = math.nan
    """Of the hypothesis that the mean is at or above 0; if small, there is a drop."""
    sd: float = math.nan
    """Standard deviation of one benefit."""


def paired(benefits: Sequence[float], margin: float, *, confidence: float = 0.9, resamples: int = 4999) -> Paired:
    """Mean, interval and one-sided p values of at least one finite benefit.

    margin: the drop that is tolerated, ≥ 0, in the unit of the benefits. If all benefits are equal, the interval is
    that value, and the p values are 0 or 1. Raises GateError for no benefits and for one that is not finite.
    """
    # sorted, so that neither sums nor resamples depend on the order; rounded, as the baseline was
    values = np.sort(np.round(np.asarray(benefits, dtype=np.float64), DECIMALS))
    if not len(values) or not np.isfinite(values).all():
        raise GateError(
            f"paired differences: got {len(values)}, expected at least one, all finite; judge the run first."
        )
    n, mean = len(values), math.fsum(values) / len(values)
    if n < MINIMUM_N:
        return Paired(n, mean)
    if values[0] == values[-1]:
        mean = float(values[0])
        return Paired(n, mean, mean, mean, float(mean <= -margin and mean < 0), float(mean >= 0), 0.0)
    sd = float(np.std(values, ddof=1))
    skewness = float(stats.skew(values))
    low, high = bootstrap_interval(values, confidence=confidence, resamples=resamples)
    # stdtr is the distribution function of Student's t
    p_not_inferior = float(special.stdtr(n - 1, -_unskewed((mean + margin) / sd, skewness, n)))
    # the larger of the two: far out in the tail, where a FAIL is decided, a few values estimate no skewness
    p_worse = float(special.stdtr(n - 1, max(math.sqrt(n) * mean / sd, _unskewed(mean / sd, skewness, n))))
    return Paired(n, mean, low, high, p_not_inferior, p_worse, sd)


def _unskewed(distance: float, skewness: float, n: int) -> float:
    """Hall's transformation of a t statistic. distance: of the mean from its limit, in standard deviations.

    Of ten values with a tail downwards, t alone says too often that their mean is above a limit.
    """
    cubic = distance + skewness * distance**2 / 3 + skewness**2 * distance**3 / 27 + skewness / (6 * n)
    return math.sqrt(n) * cubic


@dataclass(frozen=True)
class Excess:
    """How many benefits fell far, and how many rose as far."""

    falls: int
    rises: int
    p: float
    """Of the hypothesis that such a change is as often a rise, one-sided, exact binomial; 1 if there is none."""


def excess_of_falls(benefits: Sequence[float], threshold: float) -> Excess:
    """Count the benefits below −threshold and above threshold; NaN is neither. threshold: ≥ 0."""
    falls, rises = sum(one < -threshold for one in benefits), sum(one > threshold for one in benefits)
    return Excess(falls, rises, float(special.bdtrc(falls - 1, falls + rises, 0.5)) if falls else 1.0)


def bootstrap_interval(values: np.ndarray, *, confidence: float = 0.9, resamples: int = 4999) -> tuple[float, float]:
    """Bootstrap interval of the mean of (n,) float64 values that are not all equal; always the same."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # BCa gives NaN, with a warning, where the resamples' distribution is degenerate; percentile never does
            warnings.simplefilter("ignore")
            low, high = stats.bootstrap(
                (values,),
                np.mean,
                axis=-1,
                vectorized=True,
                confidence_level=confidence,
                n_resamples=resamples,
                # bounds the memory: 1,251 subjects × 4,999 resamples are 50 MB at once
                batch=max(1, 1_000_000 // len(values)),
                method=method,
                random_state=np.random.default_rng(0),
            ).confidence_interval
        if np.isfinite(low) and np.isfinite(high):
            break
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given; NaN stays NaN and does not count as a test."""
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[index] = running
    return adjusted
