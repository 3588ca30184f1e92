"""Interval and tests against numbers by hand, scipy's own tests, and the awkward cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medsam_core.errors import GateError
from medsam_core.gates.statistics import MINIMUM_N, Excess, bootstrap_interval, excess_of_falls, holm, paired


def test_the_p_values_are_those_of_scipys_t_test_where_the_benefits_are_symmetric():
    benefits = [-0.03, 0.01, -0.02, 0.0, 0.02, -0.01, 0.03]
    got = paired(benefits, 0.01)
    assert (got.n, got.mean, got.sd) == (7, 0.0, pytest.approx(np.std(benefits, ddof=1)))
    t = math.sqrt(7) * 0.01 / got.sd
    # skewness is 0, so of Hall's transformation nothing is left
    assert got.p_not_inferior == pytest.approx(stats.ttest_1samp(benefits, -0.01, alternative="greater").pvalue)
    assert got.p_not_inferior == pytest.approx(stats.t.sf(t, 6))
    assert got.p_worse == pytest.approx(stats.ttest_1samp(benefits, 0.0, alternative="less").pvalue)


def test_a_tail_downwards_makes_a_drop_harder_to_exclude_by_hand():
    benefits = [0.0] * 9 + [-0.02]  # mean −0.002, sd 0.02/√10, skewness −8/3, and (mean + margin) / sd = 0.8·√10/2
    got, distance, skewness = paired(benefits, 0.01), 0.4 * math.sqrt(10), -8 / 3
    cubic = distance + skewness * distance**2 / 3 + skewness**2 * distance**3 / 27 + skewness / 60
    assert got.p_not_inferior == pytest.approx(stats.t.sf(math.sqrt(10) * cubic, 9))
    assert got.p_not_inferior > stats.ttest_1samp(benefits, -0.01, alternative="greater").pvalue


def test_a_drop_is_not_shown_more_easily_than_by_t():
    benefits = [-0.03, -0.001, -0.002, 0.001, -0.004, -0.012]
    assert paired(benefits, 0.01).p_worse >= stats.ttest_1samp(benefits, 0.0, alternative="less").pvalue


def test_falls_against_rises_are_an_exact_binomial_test():
    assert excess_of_falls([-0.06] * 15 + [0.0] * 300, 0.05) == Excess(15, 0, pytest.approx(2**-15))
    got = excess_of_falls([-0.06] * 12 + [0.06] * 10 + [-0.05, 0.05, math.nan], 0.05)  # on the threshold is neither
    assert (got.falls, got.rises) == (12, 10)
    assert got.p == pytest.approx(stats.binomtest(12, 22, alternative="greater").pvalue)
    assert excess_of_falls([0.0, 0.06], 0.05) == Excess(0, 1, 1.0)


def test_the_interval_holds_the_mean_and_narrows_with_confidence():
    benefits = list(np.random.default_rng(1).normal(0, 0.02, 40))
    wide, narrow = paired(benefits, 0.01, confidence=0.99), paired(benefits, 0.01, confidence=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    # a normal sample's interval is close to the textbook's mean ± 1.96 standard errors
    error = np.std(benefits, ddof=1) / math.sqrt(40)
    got = paired(benefits, 0.01, confidence=0.95)
    assert got.low == pytest.approx(got.mean - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(got.mean + 1.96 * error, abs=0.15 * error)


@pytest.mark.parametrize(
    ("benefit", "p_not_inferior", "p_worse"),
    [(0.0, 0.0, 1.0), (0.01, 0.0, 1.0), (-0.005, 0.0, 0.0), (-0.01, 1.0, 0.0), (-0.011, 1.0, 0.0)],
)
def test_benefits_that_do_not_vary_are_decided_without_a_test(benefit, p_not_inferior, p_worse):
    got = paired([benefit] * 8, 0.01)
    assert (got.low, got.mean, got.high) == (benefit, benefit, benefit)
    assert (got.p_not_inferior, got.p_worse) == (p_not_inferior, p_worse)


def test_a_difference_just_inside_the_margin_is_not_pushed_over_it_by_rounding():
    assert 0.89 - 0.90 < -0.01  # what floats make of it
    assert paired([0.89 - 0.90] * 6, 0.010001).p_not_inferior == 0.0
    assert paired([0.89 - 0.90] * 6, 0.01).p_not_inferior == 1.0  # a drop of exactly the margin is not excluded


def test_below_five_pairs_there_is_no_interval_and_no_test():
    got = paired([-0.5, 0.1], 0.01)
    assert got.mean == pytest.approx(-0.2)
    assert all(math.isnan(value) for value in (got.low, got.high, got.p_not_inferior, got.p_worse))
    assert not math.isnan(paired([0.1, 0.2, 0.3, 0.4, 0.5], 0.01).low)
    assert MINIMUM_N == 5


@pytest.mark.parametrize("benefits", [[], [math.nan], [0.1, math.inf]])
def test_no_pairs_and_holes_are_refused(benefits):
    with pytest.raises(GateError, match="expected at least one, all finite"):
        paired(benefits, 0.01)


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=5, max_size=12), st.randoms(use_true_random=False))
def test_order_changes_nothing_and_nothing_is_nan(benefits, shuffle):
    first = paired(benefits, 0.01, resamples=99)
    assert all(math.isfinite(value) for value in (first.low, first.high, first.p_not_inferior, first.p_worse))
    shuffle.shuffle(benefits)
    assert paired(benefits, 0.01, resamples=99) == first


def test_one_outlier_among_equals_still_gives_an_interval():
    low, high = bootstrap_interval(np.array([-0.9] + [0.0] * 39))
    assert -0.9 <= low < high <= 0


def test_holm_by_hand():
    # 0.01 × 4, 0.02 × 3, 0.03 × 2 and 0.5 × 1, never falling
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_holm_leaves_out_groups_without_a_test():
    first, second = holm([math.nan, 0.04])
    assert math.isnan(first)
    assert second == 0.04
