"""Which cases keep files for the viewer: the worst, and those that fell most, in whatever order they come."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.viewer.selection import Selection


def kept(scores, keep, reference=None):
    selection, found = Selection(keep, reference or {}), set()
    for case, dice in scores:
        found.add(case)
        found -= selection.offer(case, dice)
    return found


def test_the_worst_are_kept():
    assert kept([("a", 0.9), ("b", 0.2), ("c", 0.5), ("d", 0.95)], 2) == {"b", "c"}


def test_the_most_fallen_are_kept_beside_them():
    scores = [("a", 0.9), ("b", 0.2), ("c", 0.5), ("d", 0.95)]
    assert kept(scores, 1, {"a": 0.99, "b": 0.1, "d": 0.96}) == {"b", "a"}
    assert kept(scores, 1, {"a": 0.9, "b": 0.2, "d": 0.95}) == {"b"}, "no case fell"
    assert kept(scores, 1, {"a": 0.9005}) == {"b"}, "nor is this a fall"


def test_all_or_none_are_kept():
    assert kept([("a", 0.9), ("b", 0.2)], None) == {"a", "b"}
    assert kept([("a", 0.9), ("b", 0.2)], 0, {"a": 1.0}) == set()


def test_an_undefined_score_counts_as_the_worst():
    assert kept([("a", 0.0), ("b", math.nan), ("c", 0.1)], 1) == {"b"}


SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(dice=SCORES, keep=st.integers(0, 3), cut=st.integers(0, 12), before=SCORES)
def test_a_part_of_a_cohort_keeps_all_that_the_whole_keeps_of_it(dice, keep, cut, before):
    scores = [(f"case{n:02}", one) for n, one in enumerate(dice)]
    reference = {case: one for (case, _), one in zip(scores, before, strict=False)}
    whole = kept(scores, keep, reference)
    parts = kept(scores[:cut], keep, reference) | kept(scores[cut:], keep, reference)
    assert whole <= parts
    assert kept(reversed(scores), keep, reference) == whole
