"""Surface distances: values by hand, a brute-force oracle, and what must hold for any pair of masks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.errors import MaskError, OptionError, ShapeMismatch
from medsam_core.metrics import surface
from medsam_core.metrics.surface import SurfaceDistances, assd, hausdorff, masd, nsd, surface_distances

DEFINITIONS = ("voxel", "surfel")
ISO = (1.0, 1.0, 1.0)

spacings = st.sampled_from([ISO, (3.0, 1.0, 1.0), (0.5, 1.5, 2.0), (1.0, 1.0, 7.0)])


@st.composite
def pairs(draw: Any, max_side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of one shape, neither empty."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=max_side))
    masks = [draw(hnp.arrays(bool, shape, elements=st.booleans())) for _ in range(2)]
    assume(masks[0].any() and masks[1].any())
    return masks[0], masks[1]


def voxels(shape: tuple[int, ...], *at: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for index in at:
        mask[index] = True
    return mask


def brute_force(mask: np.ndarray, definition: str) -> set[tuple[int, ...]]:
    """Elements of a surface, one by one from the definition: voxels, or the corners below them."""
    inside = set(map(tuple, np.argwhere(mask).tolist()))
    found = set()
    if definition == "voxel":
        for at in inside:
            for axis, by in itertools.product(range(mask.ndim), (-1, 1)):
                if tuple(n + by * (i == axis) for i, n in enumerate(at)) not in inside:
                    found.add(at)
        return found
    for corner in itertools.product(*(range(length + 1) for length in mask.shape)):
        around = [tuple(n - by for n, by in zip(corner, back, strict=True)) for back in
                  itertools.product((0, 1), repeat=mask.ndim)]  # fmt: skip
        if 0 < sum(at in inside for at in around) < len(around):
            found.add(corner)
    return found


def brute_distances(
    ours: set[tuple[int, ...]], theirs: set[tuple[int, ...]], spacing: tuple[float, ...]
) -> list[float]:
    """From each of ours to every one of theirs; the least, sorted."""
    others = np.array(sorted(theirs))
    return sorted(float(np.sqrt((((others - a) * spacing) ** 2).sum(axis=1)).min()) for a in ours)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("reducer", [lambda d: hausdorff(d, 95), hausdorff, assd, masd])
def test_two_voxels_3_mm_apart(definition: Any, reducer: Any) -> None:
    one, other = voxels((9, 9, 9), (2, 4, 4)), voxels((9, 9, 9), (5, 4, 4))
    distances = surface_distances(one, other, ISO, definition=definition)
    if definition == "voxel":
        assert reducer(distances) == 3.0
    else:  # the nearest corners of two cubes are 2 mm apart, the farthest of one from the other 3 mm
        assert reducer(distances) == (3.0 if reducer not in (assd, masd) else 2.5)


def test_spacing_belongs_to_the_axes_in_their_order() -> None:
    one = voxels((3, 3, 3), (1, 1, 1))
    for axis, length in enumerate((5.0, 2.0, 0.5)):
        other = np.roll(one, 1, axis=axis)
        assert hausdorff(surface_distances(one, other, (5, 2, 0.5))) == length


def test_distances_come_in_both_directions() -> None:
    line, point = voxels((1, 1, 8), *[(0, 0, x) for x in range(8)]), voxels((1, 1, 8), (0, 0, 0))
    found = surface_distances(line, point, ISO)
    assert found.to_truth.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert found.to_prediction.tolist() == [0]
    assert found.to_truth.dtype == found.to_prediction.dtype == np.float64
    assert found.prediction_weights is found.truth_weights is None


def test_percentiles_pooled_and_by_direction() -> None:
    line, point = voxels((1, 1, 8), *[(0, 0, x) for x in range(8)]), voxels((1, 1, 8), (0, 0, 0))
    found = surface_distances(line, point, ISO)
    assert hausdorff(found, 50) == 3.5
    assert hausdorff(found, 0.5) == pytest.approx(0.035)
    assert hausdorff(found, 50, directed="max") == 3.5
    assert hausdorff(found, 50, directed="pooled") == 3.0
    assert hausdorff(found, 100, directed="pooled") == 7.0
    assert hausdorff(surface_distances(point, line, ISO), 50) == 3.5


def test_means_pooled_and_by_direction() -> None:
    line, point = voxels((1, 1, 8), *[(0, 0, x) for x in range(8)]), voxels((1, 1, 8), (0, 0, 0))
    found = surface_distances(line, point, ISO)
    assert assd(found) == pytest.approx(28 / 9)
    assert masd(found) == pytest.approx(3.5 / 2)


def test_nsd_counts_elements_within_the_tolerance_and_at_it() -> None:
    line, point = voxels((1, 1, 8), *[(0, 0, x) for x in range(8)]), voxels((1, 1, 8), (0, 0, 0))
    found = surface_distances(line, point, ISO)
    assert nsd(found, 0) == pytest.approx(2 / 9)
    assert nsd(found, 1) == pytest.approx(3 / 9)
    assert nsd(found, 1.9) == pytest.approx(3 / 9)
    assert nsd(found, 7) == 1.0


def test_a_distance_equal_to_the_tolerance_is_within_it_whatever_the_rounding() -> None:
    one, other = voxels((1, 1, 30), (0, 0, 20)), voxels((1, 1, 30), (0, 0, 13))
    found = surface_distances(one, other, (1, 1, 0.1))  # 20 × 0.1 − 13 × 0.1 is not 7 × 0.1
    assert nsd(found, 7 * 0.1) == 1.0


def test_areas_weigh_surfels() -> None:
    weighted = SurfaceDistances(np.array([4.0, 1.0]), np.array([2.0]), np.array([1.0, 3.0]), np.array([4.0]))
    assert hausdorff(weighted, 75) == 2.0  # three quarters of the first surface are within 1 mm
    assert hausdorff(weighted, 76) == 4.0
    assert hausdorff(weighted, 87.5, directed="pooled") == 2.0
    assert hausdorff(weighted, 88, directed="pooled") == 4.0
    assert assd(weighted) == pytest.approx((4 + 3 + 8) / 8)
    assert masd(weighted) == pytest.approx((7 / 4 + 2) / 2)
    assert nsd(weighted, 1) == pytest.approx(3 / 8)
    assert nsd(weighted, 2) == pytest.approx(7 / 8)


def test_the_largest_distance_is_found_where_rounding_leaves_the_areas_short_of_their_sum() -> None:
    areas = np.full(1000, 0.1)
    assert np.cumsum(areas)[-1] / areas.sum() < 1
    found = SurfaceDistances(np.arange(1000.0), np.zeros(1), areas, np.ones(1))
    assert hausdorff(found) == 999.0


def test_area_of_one_voxel() -> None:
    found = surface_distances(
        voxels((3, 3, 3), (1, 1, 1)), voxels((3, 3, 3), (1, 1, 1)), (2, 2, 2), definition="surfel"
    )
    assert found.to_truth.tolist() == [0] * 8
    assert found.prediction_weights == pytest.approx(np.full(8, math.sqrt(3) / 2))
    assert found.truth_weights == pytest.approx(np.full(8, math.sqrt(3) / 2))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_voxels_at_the_border_of_the_array_are_surface(definition: Any) -> None:
    full = np.ones((4, 4, 4), bool)
    padded = np.pad(full, 2)
    inside, outside = (surface_distances(mask, mask, ISO, definition=definition) for mask in (full, padded))
    assert inside.to_truth.size == outside.to_truth.size == (56 if definition == "voxel" else 98)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_one_empty_mask_is_infinitely_far(definition: Any) -> None:
    some, none = voxels((3, 3, 3), (1, 1, 1)), np.zeros((3, 3, 3), bool)
    for masks in ((some, none), (none, some)):
        found = surface_distances(*masks, ISO, definition=definition)
        assert sorted([found.to_truth.size, found.to_prediction.size]) == [0, 1 if definition == "voxel" else 8]
        assert np.isinf(np.concatenate([found.to_truth, found.to_prediction])).all()
        for directed in ("max", "pooled"):
            assert hausdorff(found, 95, directed=directed) == math.inf  # type: ignore[arg-type]
        assert assd(found) == masd(found) == math.inf
        assert nsd(found, 5) == 0.0


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_two_empty_masks_have_no_distance(definition: Any) -> None:
    none = np.zeros((3, 3, 3), bool)
    found = surface_distances(none, none, ISO, definition=definition)
    assert found.to_truth.size == found.to_prediction.size == 0
    assert all(math.isnan(value) for value in (hausdorff(found, 95), assd(found), masd(found), nsd(found, 1)))


def test_a_slice_is_scored_like_a_volume_of_one_slice() -> None:
    random = np.random.default_rng(3)
    one, other = random.random((2, 12, 11)) > 0.6
    flat = surface_distances(one, other, (1, 2))
    # in 3-D every voxel of a single slice is surface, so only the distances from shared borders can be compared
    assert hausdorff(flat) <= math.hypot(12, 22)
    assert sorted(flat.to_truth) == pytest.approx(brute_distances(brute_force(one, "voxel"),
                                                                  brute_force(other, "voxel"), (1, 2)))  # fmt: skip


@pytest.mark.parametrize("far", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_near_and_far_elements_are_found_alike(far: int, definition: Any) -> None:
    one, other = voxels((3, 14, 3), (1, 1, 1), (1, 2, 1)), voxels((3, 14, 3), (1, 1 + far, 1))
    found = surface_distances(one, other, (1, 1.5, 1), definition=definition)
    ours, theirs = brute_force(one, definition), brute_force(other, definition)
    assert sorted(found.to_truth) == pytest.approx(brute_distances(ours, theirs, (1, 1.5, 1)))
    assert sorted(found.to_prediction) == pytest.approx(brute_distances(theirs, ours, (1, 1.5, 1)))


def test_elements_within_reach_are_found_without_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "_far", lambda *_: pytest.fail("asked a tree"))
    one = voxels((7, 7, 7), (3, 3, 3))
    for vector in itertools.product(range(-3, 4), repeat=3):
        other = voxels((7, 7, 7), tuple(3 + by for by in vector))  # type: ignore[arg-type]
        if math.hypot(*vector) <= 3:
            assert hausdorff(surface_distances(one, other, ISO)) == pytest.approx(math.hypot(*vector))


@given(pairs(max_side=5), spacings, st.sampled_from(DEFINITIONS))
@settings(deadline=None, max_examples=60)
def test_distances_are_those_of_brute_force(masks: Any, spacing: Any, definition: Any) -> None:
    found = surface_distances(*masks, spacing, definition=definition)
    ours, theirs = (brute_force(mask, definition) for mask in masks)
    assert np.sort(found.to_truth) == pytest.approx(np.array(brute_distances(ours, theirs, spacing)))
    assert np.sort(found.to_prediction) == pytest.approx(np.array(brute_distances(theirs, ours, spacing)))


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.sampled_from([0.02, 0.3, 0.9]),
    spacings,
    st.sampled_from(DEFINITIONS),
)
@example(12, (12, 12, 12), 0.03, (1.0, 0.8, 2.0), "voxel")
@example(12, (12, 12, 12), 0.03, (1.0, 0.8, 2.0), "surfel")
@settings(deadline=None, max_examples=20)
def test_distances_of_up_to_12_cubed_are_those_of_brute_force(
    seed: int, shape: Any, share: float, spacing: Any, definition: Any
) -> None:
    one, other = np.random.default_rng(seed).random((2, *shape)) < share
    assume(one.any() and other.any())
    found = surface_distances(one, other, spacing, definition=definition)
    ours, theirs = brute_force(one, definition), brute_force(other, definition)
    assert np.sort(found.to_truth) == pytest.approx(np.array(brute_distances(ours, theirs, spacing)))
    assert np.sort(found.to_prediction) == pytest.approx(np.array(brute_distances(theirs, ours, spacing)))


@given(pairs(), spacings, st.sampled_from(DEFINITIONS))
@settings(deadline=None, max_examples=40)
def test_laws_of_every_pair(masks: Any, spacing: Any, definition: Any) -> None:
    one, other = masks
    found = surface_distances(one, other, spacing, definition=definition)
    swapped = surface_distances(other, one, spacing, definition=definition)
    all_scores = scores(found)
    assert all_scores == pytest.approx(scores(swapped))
    assert hausdorff(found, 95) <= hausdorff(found)
    assert hausdorff(found, directed="pooled") == hausdorff(found)
    assert hausdorff(found, 95, directed="pooled") <= hausdorff(found)
    assert nsd(found, 0) <= nsd(found, 1) <= nsd(found, 2) <= nsd(found, hausdorff(found)) == 1.0
    assert scores(surface_distances(one, one, spacing, definition=definition)) == [0, 0, 0, 0, 0, 1, 1]
    if definition == "surfel":  # a step function's percentile; interpolation between ranks may break this
        assert hausdorff(found, 95, directed="pooled") <= hausdorff(found, 95)


@given(pairs(), spacings, st.sampled_from(DEFINITIONS))
@settings(deadline=None, max_examples=40)
def test_the_grid_does_not_matter(masks: Any, spacing: Any, definition: Any) -> None:
    wanted = scores(surface_distances(*masks, spacing, definition=definition))
    padded = [np.pad(mask, ((1, 2), (0, 3), (2, 0))) for mask in masks]
    assert scores(surface_distances(*padded, spacing, definition=definition)) == pytest.approx(wanted)
    turned = [mask.transpose(2, 0, 1) for mask in masks]
    turned_spacing = (spacing[2], spacing[0], spacing[1])
    assert scores(surface_distances(*turned, turned_spacing, definition=definition)) == pytest.approx(wanted)
    mirrored = [mask[::-1, :, ::-1] for mask in masks]
    assert scores(surface_distances(*mirrored, spacing, definition=definition)) == pytest.approx(wanted)
    double = [step * 2 for step in spacing]
    scaled = surface_distances(*masks, double, definition=definition)
    assert scores(scaled)[:5] == pytest.approx([value * 2 for value in wanted[:5]])
    assert [nsd(scaled, 0), nsd(scaled, 2)] == pytest.approx(wanted[5:])


def scores(found: SurfaceDistances) -> list[float]:
    """Five distances and two shares."""
    return [
        hausdorff(found),
        hausdorff(found, 95),
        hausdorff(found, 95, directed="pooled"),
        assd(found),
        masd(found),
        nsd(found, 0),
        nsd(found, 1),
    ]


def test_the_masks_are_not_changed() -> None:
    one, other = np.ones((4, 4, 4), bool), voxels((4, 4, 4), (0, 0, 0))
    surface_distances(one, other, ISO, definition="surfel")
    assert one.all()
    assert other.sum() == 1


def test_shells_are_complete_up_to_their_reach_and_in_order() -> None:
    shells = surface._shells(ISO)
    lengths = [length for length, _vectors in shells]
    assert lengths == sorted(lengths)
    assert [round(length**2) for length in lengths] == [1, 2, 3, 4, 5, 6, 8, 9]
    assert [len(vectors) for _length, vectors in shells] == [6, 12, 8, 6, 24, 24, 12, 30]
    assert all(math.hypot(*vector) == pytest.approx(length) for length, vectors in shells for vector in vectors)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"percentile": 0}, OptionError, "percentile: got 0, expected above 0 and at most 100; give 95 for HD95."),
        ({"percentile": 101}, OptionError, "percentile: got 101, expected above 0 and at most 100; give 95 for HD95."),
        (
            {"percentile": math.nan},
            OptionError,
            "percentile: got nan, expected above 0 and at most 100; give 95 for HD95.",
        ),
        ({"directed": "mean"}, OptionError, "directed: got 'mean', expected pooled or max; choose one of these."),
    ],
)
def test_hausdorff_refuses_what_it_does_not_know(arguments: Any, error: type, text: str) -> None:
    some = voxels((2, 2, 2), (0, 0, 0))
    with pytest.raises(error) as raised:
        hausdorff(surface_distances(some, some, ISO), **arguments)
    assert str(raised.value) == text


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_nsd_refuses_a_tolerance_that_is_none(tolerance: float) -> None:
    some = voxels((2, 2, 2), (0, 0, 0))
    with pytest.raises(MaskError) as error:
        nsd(surface_distances(some, some, ISO), tolerance)
    assert str(error.value) == (
        f"tolerance_mm: got {tolerance}, expected a finite number of 0 or more; give millimetres."
    )


def test_an_unknown_definition_is_refused() -> None:
    some = voxels((2, 2, 2), (0, 0, 0))
    with pytest.raises(OptionError) as error:
        surface_distances(some, some, ISO, definition="mesh")  # type: ignore[arg-type]
    assert str(error.value) == "surface definition: got 'mesh', expected voxel or surfel; choose one of these."


def test_masks_and_spacing_are_checked() -> None:
    some = voxels((2, 2, 2), (0, 0, 0))
    with pytest.raises(ShapeMismatch):
        surface_distances(some, some[:1], ISO)
    with pytest.raises(ShapeMismatch):
        surface_distances(some, some, (1, 1))
