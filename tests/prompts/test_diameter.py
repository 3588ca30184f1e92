"""The longest diameter of a slice, and the five points of `recist` on it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medsam_core.prompts.diameter import diameter_points, largest_piece, longest_diameter
from medsam_core.prompts.prompt import Prompt
from medsam_core.prompts.simulation import simulate

slices = npst.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(lambda region: region.any())
spacings = st.tuples(*[st.sampled_from([0.5, 0.9, 1.0, 1.2, 3.0])] * 2)


def plane(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


CROSS = plane(
    "..#...",
    "######",
    "..#...",
    "..#...",
)


def test_five_points_are_the_middles_of_five_equal_parts():
    bar = np.zeros((3, 13), bool)
    bar[1, 1:12] = True
    assert longest_diameter(bar) == ((1, 1), (11, 1))
    assert diameter_points(bar) == ((2, 1), (4, 1), (6, 1), (8, 1), (10, 1))


def test_a_diameter_is_measured_in_mm():
    assert longest_diameter(CROSS) == ((0, 1), (5, 1))  # 5 voxels across, 3 down
    assert longest_diameter(CROSS, (2.0, 1.0)) == ((2, 0), (2, 3))  # 6 mm down
    (prompt,) = simulate(CROSS[None], "recist", spacing_mm=(9.0, 2.0, 1.0))
    assert prompt == Prompt("recist", 0, points=((2, 0), (2, 1), (2, 2), (2, 3)))
    (prompt,) = simulate(CROSS[None], "recist")
    assert {y for _, y in prompt.points} == {1}


def test_the_first_of_equal_diameters_in_row_order():
    assert longest_diameter(np.ones((3, 3), bool)) == ((0, 0), (2, 2))
    # 3 mm down and 4 mm across is as long as 5 mm across, whatever is lost by rounding
    corner = plane("#.....", "......", "......", "....#.", "......")
    corner[4, 0] = corner[4, 5] = True
    for voxel in (1.0, 0.1, 0.7):
        (start, end) = longest_diameter(corner, (voxel, voxel))
        assert (start, end) == ((0, 0), (5, 4))
    equal = plane("#.....", "......", "......", "....#.")
    equal[0, 5] = True
    for voxel in (1.0, 0.1, 0.7):
        assert longest_diameter(equal, (voxel, voxel)) == ((0, 0), (5, 0))


def test_a_point_outside_of_a_hollow_region_becomes_the_nearest_voxel():
    bow = plane(
        "#.........#",
        ".#.......#.",
        "..#######..",
    )
    assert longest_diameter(bow) == ((0, 0), (10, 0))
    # the middles of the parts are 1, 3, 5, 7 and 9 of the first row
    assert diameter_points(bow) == ((0, 0), (3, 2), (5, 2), (7, 2), (10, 0))
    assert diameter_points(bow, (1.0, 9.0)) == ((1, 1), (3, 2), (5, 2), (7, 2), (9, 1)), "the nearest in mm"


@pytest.mark.parametrize(
    ("rows", "points"),
    [
        (["#"], ((0, 0),)),
        (["...", "..#"], ((2, 1),)),
        (["##"], ((0, 0), (1, 0))),
        (["####"], ((0, 0), (1, 0), (2, 0), (3, 0))),
        (["#####"], ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0))),
    ],
)
def test_a_short_diameter_has_fewer_points(rows, points):
    assert diameter_points(plane(*rows)) == points


def test_the_largest_piece_is_measured_and_of_equal_ones_the_first():
    two = plane(
        "##.......#",
        "##........",
        "..........",
    )
    assert np.array_equal(largest_piece(two), plane("##........", "##........", ".........."))
    assert {x for x, _ in simulate(two[None], "recist")[0].points} == {0, 1}
    assert largest_piece(plane("#.#")).tolist() == [[True, False, False]]
    assert largest_piece(plane("#.", ".#")).sum() == 2, "corners connect"


@given(slices, spacings)
def test_no_two_voxels_are_farther_apart(region, spacing):
    places = np.argwhere(region) * spacing
    longest = max(np.linalg.norm(a - b) for a, b in itertools.product(places, places))
    (x0, y0), (x1, y1) = longest_diameter(region, spacing)
    assert region[int(y0), int(x0)]
    assert region[int(y1), int(x1)]
    assert np.hypot((y1 - y0) * spacing[0], (x1 - x0) * spacing[1]) == pytest.approx(longest)


@given(slices, spacings, st.floats(0, 3), st.integers(0, 5))
def test_every_point_is_on_one_piece_with_jitter_too(region, spacing, jitter, seed):
    (prompt,) = simulate(region[None], "recist", jitter_voxels=jitter, seed=seed, spacing_mm=(1.0, *spacing))
    piece = largest_piece(region)
    assert 1 <= len(prompt.points) <= 5
    assert all(piece[int(y), int(x)] for x, y in prompt.points)
    assert (prompt,) == simulate(region[None], "recist", jitter_voxels=jitter, seed=seed, spacing_mm=(1.0, *spacing))
    exact = diameter_points(piece, spacing)
    assert all(
        abs(x - a) <= jitter and abs(y - b) <= jitter for (x, y), (a, b) in zip(prompt.points, exact, strict=True)
    )
