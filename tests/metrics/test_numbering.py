"""Lesions are numbered the same whatever surrounds them, and whoever asked before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.metrics import numbering
from medsam_core.metrics.boxes import cut, shifted
from medsam_core.metrics.numbering import TruthLesions, dilate, label_components, number_lesions
from medsam_core.metrics.surface import surface_distances

SPARSE = st.sampled_from([False] * 15 + [True])


def plain(mask: np.ndarray, dilations: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Zones, lesions and their number, without any box."""
    zones, number = label_components(dilate(mask, dilations))
    return zones, zones * mask, number


@given(hnp.arrays(bool, (6, 9, 12), elements=SPARSE), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_the_box_around_the_lesions_changes_nothing(mask: np.ndarray, dilations: int) -> None:
    found = number_lesions(mask, dilations).whole(mask.shape)
    zones, lesions, number = plain(mask, dilations)
    assert found.number == number
    assert np.array_equal(found.zones, zones)
    assert np.array_equal(found.lesions, lesions)


@given(
    hnp.arrays(bool, (6, 9, 12), elements=SPARSE),
    st.lists(st.tuples(*[st.integers(0, 4)] * 6), min_size=1, max_size=3),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_a_known_truth_is_numbered_as_a_new_one_however_it_is_cut_out(
    mask: np.ndarray, margins: list[tuple[int, ...]], dilations: int
) -> None:
    mask[2, 4, 5] = True
    known = TruthLesions()
    tight = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))
    for margin in margins:
        truth = np.pad(mask[tight], list(zip(margin[:3], margin[3:], strict=True)))
        found = known.numbered(truth, dilations).whole(truth.shape)
        zones, lesions, number = plain(truth, dilations)
        assert found.number == number
        assert np.array_equal(found.zones, zones)
        assert np.array_equal(found.lesions, lesions)


def test_the_order_is_that_of_the_part_which_the_array_shows() -> None:
    # the second lesion is lower in the volume, but dilated both reach the array's first slice
    truth = np.zeros((4, 3, 20), bool)
    truth[0, 1, 16] = truth[2, 1, 2] = True
    known = TruthLesions()
    known.numbered(np.pad(truth, 5), 2)
    found = known.numbered(truth, 2).whole(truth.shape)
    assert (found.lesions[2, 1, 2], found.lesions[0, 1, 16]) == (1, 2)
    assert np.array_equal(found.zones, plain(truth, 2)[0])


@pytest.mark.parametrize("dilations", [0, 2])
def test_an_empty_truth_has_no_lesions(dilations: int) -> None:
    found = TruthLesions().numbered(np.zeros((3, 4, 5), bool), dilations).whole((3, 4, 5))
    assert found.number == 0
    assert not found.zones.any()


def test_a_window_shows_zeros_outside_of_the_box() -> None:
    array = np.arange(1, 7, dtype=np.int32).reshape(2, 3)
    box = (slice(2, 4), slice(5, 8))
    assert cut(array, box, (slice(1, 4), slice(6, 9))).tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    assert cut(array, box, (slice(0, 2), slice(0, 2))).tolist() == [[0, 0], [0, 0]]
    assert cut(array, box, box) is array
    assert shifted((slice(0, 1), slice(1, 2)), box) == (slice(2, 3), slice(6, 7))
    assert shifted(None, box) is None


def test_the_same_two_masks_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(*given: object, **more: object) -> object:
        calls.append(more)
        return surface_distances(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(numbering, "surface_distances", counting)
    prediction, truth = np.zeros((2, 6, 7, 8), bool)
    prediction[1:4, 2:5, 1:4] = truth[2:5, 2:5, 2:6] = True
    iso, known = (1.0, 1.0, 1.0), TruthLesions()
    first = known.distances(prediction, truth, iso, definition="surfel")
    cut_out = known.distances(prediction[1:, 2:], truth[1:, 2:], iso, definition="surfel", lesion=1)
    assert cut_out is first
    assert len(calls) == 1
    wider = prediction.copy()
    wider[1, 2, 5] = True
    for changed in ((wider, truth, iso), (prediction, truth, (2.0, 1.0, 1.0)), (truth, prediction, iso)):
        found = known.distances(*changed, definition="surfel")
        expected = surface_distances(*changed, definition="surfel")
        assert found.to_truth.tolist() == expected.to_truth.tolist()
        assert found.to_prediction.tolist() == expected.to_prediction.tolist()
    known.distances(truth, prediction, iso, definition="voxel")
    assert len(calls) == 5
