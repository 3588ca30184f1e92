"""Shards: disjoint, complete, balanced, and the same on every machine."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam_core.errors import OptionError
from medsam_core.header import Shard
from medsam_core.sharding import part_of, shard_named

IDS = st.lists(st.text("abcdefgh0123456789_-", min_size=1, max_size=12), min_size=1, max_size=60, unique=True)


def parts(ids, of):
    return [part_of(ids, Shard(number=number, of=of)) for number in range(1, of + 1)]


@st.composite
def divided(draw):
    """The ids of a cohort, and into how many shards it is divided."""
    ids = draw(IDS)
    return ids, draw(st.integers(1, len(ids)))


@given(divided())
def test_every_subject_is_in_exactly_one_shard(cohort):
    ids, of = cohort
    assert sorted(one for part in parts(ids, of) for one in part) == sorted(ids)


@given(divided())
def test_shards_differ_in_size_by_at_most_one_subject_and_none_is_empty(cohort):
    ids, of = cohort
    sizes = [len(part) for part in parts(ids, of)]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@given(divided(), st.randoms(use_true_random=False))
def test_a_shard_does_not_depend_on_the_order_in_which_subjects_were_found(cohort, order: random.Random):
    ids, of = cohort
    mixed = list(ids)
    order.shuffle(mixed)
    assert parts(mixed, of) == parts(ids, of)


@given(divided())
def test_a_shard_takes_every_nth_subject_so_neighbours_are_apart(cohort):
    ids, of = cohort
    number = {name: place for place, part in enumerate(parts(ids, of)) for name in part}
    ordered = sorted(ids)
    assert [number[name] for name in ordered] == [place % of for place in range(len(ordered))]


def test_the_division_of_seven_subjects_by_three():
    assert parts(["g", "a", "f", "b", "e", "c", "d"], 3) == [("a", "d", "g"), ("b", "e"), ("c", "f")]


@pytest.mark.parametrize("number", [1, 4])
def test_more_shards_than_subjects_are_refused_in_every_shard(number):
    sentence = (
        f"--medsam-shard: got {number}/4 for 3 subjects, expected at most one shard for each subject; divide into 3"
    )
    with pytest.raises(OptionError, match=sentence):
        part_of(["a", "b", "c"], Shard(number=number, of=4))


@pytest.mark.parametrize(("text", "number", "of"), [("1/1", 1, 1), ("3/64", 3, 64), ("64/64", 64, 64)])
def test_a_shard_is_written_as_number_and_count(text, number, of):
    assert shard_named(text) == Shard(number=number, of=of)
    assert str(shard_named(text)) == text


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1", "1/0", "/3", "1/", "a/b", "-1/3", "1/3/5", "01/3", "1 /3", "", "٣/٤"]
)
def test_any_other_text_is_refused(text):
    with pytest.raises(OptionError, match=r"--medsam-shard: got .*, expected I/N with I from 1 to N, such as 1/8"):
        shard_named(text)
