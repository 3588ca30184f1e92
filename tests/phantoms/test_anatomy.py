from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import ndimage

from medsam_core.errors import OptionError
from medsam_core.phantoms.anatomy import Anatomy, grow
from medsam_core.phantoms.head import AIR, DEEP_GREY, GREY, SCALP, SKULL, VENTRICLE, WHITE

SIZE = (40, 64, 64)


@functools.cache
def head(seed: int, kind: str | None = None, foci: int | None = None, size: tuple[int, int, int] = SIZE) -> Anatomy:
    return grow(seed, size, kind=kind, foci=foci).anatomy


def volume_ml(mask: np.ndarray, of: Anatomy) -> float:
    return float(mask.sum() * np.prod(of.spacing_mm) / 1000)


def test_one_seed_gives_one_head_whatever_numpy_s_global_state() -> None:
    np.random.seed(5)  # noqa: NPY002 - the legacy state is what must not matter
    again = grow(0, SIZE).anatomy
    np.testing.assert_array_equal(again.tissues, head(0).tissues)
    np.testing.assert_array_equal(again.labels, head(0).labels)
    assert (head(0).labels != head(1).labels).any()
    assert (head(0).tissues != head(1).tissues).any()


@pytest.mark.parametrize("seed", range(3))
def test_a_head_has_every_tissue_and_known_labels_within_the_brain(seed: int) -> None:
    got = head(seed)
    assert got.tissues.shape == got.labels.shape == SIZE
    assert got.tissues.dtype == got.labels.dtype == np.uint8
    assert got.tissues.flags.c_contiguous
    assert got.labels.flags.c_contiguous
    assert set(np.unique(got.tissues)) == set(range(8))
    assert set(np.unique(got.labels)) <= {0, 1, 2, 4}
    assert set(np.unique(got.tissues[got.labels > 0])) <= {GREY, WHITE, DEEP_GREY}
    assert 3 < volume_ml(got.labels > 0, got) < 220


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_built_as_heads_are(seed: int) -> None:
    got = head(seed)
    brain = got.tissues >= VENTRICLE
    assert 900 < volume_ml(brain, got) < 1600
    assert 5 < volume_ml(got.tissues == VENTRICLE, got) < 120
    # nothing of the brain lies at the skin: air never touches it, nor does scalp
    near_brain = ndimage.binary_dilation(brain)
    assert not (near_brain & np.isin(got.tissues, (AIR, SCALP))).any()
    assert (got.tissues[ndimage.binary_dilation(brain, iterations=4)] == SKULL).any()
    # it tapers: the middle slices hold more of it than the outermost
    area = brain.sum((1, 2))
    assert area[SIZE[0] // 2] > 3 * max(area[2], area[-3])
    # it has two halves
    halves = brain[:, :, : SIZE[2] // 2].sum() / brain.sum()
    assert 0.42 < halves < 0.58


def test_grey_is_a_ribbon_around_white() -> None:
    got = head(0, size=(64, 128, 128))
    white = ndimage.binary_dilation(got.tissues == WHITE, iterations=2)
    cortex = got.tissues == GREY
    assert (cortex & white).sum() / cortex.sum() > 0.8
    assert 0.3 < cortex.sum() / (got.tissues >= GREY).sum() < 0.7


def test_one_head_fits_every_grid() -> None:
    small, large = head(0), head(0, size=(64, 128, 128))
    assert large.spacing_mm == pytest.approx((155 / 64, 240 / 128, 240 / 128))
    for mask in ("labels", "tissues"):
        a = volume_ml(getattr(small, mask) > (0 if mask == "labels" else 3), small)
        b = volume_ml(getattr(large, mask) > (0 if mask == "labels" else 3), large)
        assert a == pytest.approx(b, rel=0.1)


def test_a_ring_encloses_its_necrosis() -> None:
    got = head(3, "ring", 1)
    necrosis, rim = got.labels == 1, got.labels == 4
    assert necrosis.any()
    assert rim.any()
    shell = ndimage.binary_dilation(necrosis) & ~necrosis
    assert (got.labels[shell] == 4).mean() > 0.5
    core = necrosis | rim
    oedema_next_to_core = ndimage.binary_dilation(core) & (got.labels == 2)
    assert oedema_next_to_core.any()


@pytest.mark.parametrize("seed", [1])
def test_no_et_has_a_core_and_oedema_but_nothing_enhances(seed: int) -> None:
    got = head(seed, "no-et")
    assert got.kind == "no-et"
    assert set(np.unique(got.labels)) == {0, 1, 2}


@pytest.mark.parametrize(("seed", "foci"), [(0, 2), (2, 3)])
def test_foci_are_apart(seed: int, foci: int) -> None:
    got = head(seed, None, foci, (64, 128, 128))
    parts, count = ndimage.label(np.isin(got.labels, (1, 4)), np.ones((3, 3, 3)))
    sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1] * np.prod(got.spacing_mm) / 1000
    assert got.foci == foci
    assert count >= foci
    assert sizes[1] > 0.3


def test_the_smallest_grid_still_shows_an_enhancing_tumour() -> None:
    got = grow(1, (16, 16, 16), kind="ring").anatomy
    assert (got.labels == 4).any()


@pytest.mark.parametrize("size", [(155, 240), (15, 64, 64), (64, 64, 64.5), "abc", 64])
def test_an_unusable_size_is_refused(size: object) -> None:
    with pytest.raises(OptionError, match=r"^phantom size: got .*, expected three whole numbers of at least 16"):
        grow(0, size)  # type: ignore[arg-type]


def test_unknown_options_are_refused() -> None:
    with pytest.raises(OptionError, match=r"^phantom kind: got 'rim', expected one of ring, solid, patchy, no-et; "):
        grow(0, SIZE, kind="rim")
    with pytest.raises(OptionError, match=r"^phantom foci: got 0, expected 1, 2 or 3; "):
        grow(0, SIZE, foci=0)
    with pytest.raises(OptionError, match=r"^phantom seed: got -1, expected whole numbers ≥ 0; "):
        grow(-1, SIZE)
