import itertools
import math

import numpy as np
import pytest

from medsam_core.metrics.surfels import surface_elements


def code(*corners: str) -> int:
    """The index of the neighbourhood with these corners inside, "011" for one up the second and third axis."""
    return sum(1 << int(corner, 2) for corner in corners)


def test_nothing_and_everything_have_no_surface() -> None:
    assert surface_elements((1, 1, 1))[[0, 255]].tolist() == [0, 0]
    assert surface_elements((1, 1))[[0, 15]].tolist() == [0, 0]


def test_every_other_neighbourhood_has_one() -> None:
    assert (surface_elements((1, 2, 3))[1:255] > 0).all()
    assert (surface_elements((1, 2))[1:15] > 0).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 2.0)])
def test_a_flat_wall_has_the_area_of_a_face(spacing: tuple[float, ...]) -> None:
    table = surface_elements(spacing)
    s0, s1, s2 = spacing
    assert table[code("000", "001", "010", "011")] == pytest.approx(s1 * s2)
    assert table[code("000", "001", "100", "101")] == pytest.approx(s0 * s2)
    assert table[code("001", "011", "101", "111")] == pytest.approx(s0 * s1)


def test_a_single_corner_is_cut_off_by_a_triangle_between_the_middles_of_three_edges() -> None:
    s0, s1, s2 = spacing = (3.0, 1.0, 2.0)
    middles = np.array([[s0 / 2, 0, 0], [0, s1 / 2, 0], [0, 0, s2 / 2]])
    area = np.linalg.norm(np.cross(middles[1] - middles[0], middles[2] - middles[0])) / 2
    table = surface_elements(spacing)
    for corner in itertools.product("01", repeat=3):
        assert table[code("".join(corner))] == pytest.approx(area)
        assert table[255 - code("".join(corner))] == pytest.approx(area)


def test_an_edge_is_cut_off_by_a_rectangle() -> None:
    s0, s1, s2 = spacing = (3.0, 1.0, 2.0)
    table = surface_elements(spacing)
    assert table[code("000", "001")] == pytest.approx(s2 * math.hypot(s0, s1) / 2)
    assert table[code("000", "010")] == pytest.approx(s1 * math.hypot(s0, s2) / 2)
    assert table[code("011", "111")] == pytest.approx(s0 * math.hypot(s1, s2) / 2)


def test_corners_apart_are_cut_off_one_by_one() -> None:
    table = surface_elements((1, 1, 1))
    one = table[code("000")]
    assert table[code("000", "111")] == pytest.approx(2 * one)
    assert table[code("000", "011")] == pytest.approx(2 * one)
    assert table[code("000", "011", "101")] == pytest.approx(3 * one)
    assert table[code("000", "011", "101", "110")] == pytest.approx(4 * one)


def test_turning_the_axes_turns_the_spacing() -> None:
    table, turned = surface_elements((1, 2, 5)), surface_elements((5, 1, 2))
    for index in range(256):
        block = np.array([index >> bit & 1 for bit in range(8)]).reshape(2, 2, 2).transpose(2, 0, 1)
        other = sum(int(value) << bit for bit, value in enumerate(block.ravel()))
        assert turned[other] == pytest.approx(table[index])


def test_twice_the_spacing_is_four_times_the_area_and_twice_the_length() -> None:
    assert surface_elements((2, 2, 2)) == pytest.approx(4 * surface_elements((1, 1, 1)))
    assert surface_elements((2, 4)) == pytest.approx(2 * surface_elements((1, 2)))


def test_lengths_of_contours() -> None:
    table, half = surface_elements((3, 4)), 2.5
    corners = {"00": 1, "01": 2, "10": 4, "11": 8}
    for value in corners.values():
        assert table[value] == table[15 - value] == half
    assert table[corners["00"] + corners["01"]] == 4  # the upper two inside: the contour runs along axis 1
    assert table[corners["10"] + corners["11"]] == 4
    assert table[corners["00"] + corners["10"]] == 3
    assert table[corners["01"] + corners["11"]] == 3
    assert table[corners["00"] + corners["11"]] == 2 * half
    assert table[corners["01"] + corners["10"]] == 2 * half


def test_the_table_is_kept_and_cannot_be_changed() -> None:
    assert surface_elements((1, 1, 1)) is surface_elements((1, 1, 1))
    with pytest.raises(ValueError, match="read-only"):
        surface_elements((1, 1, 1))[0] = 1
