from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam_core.phantoms.contrast import soften
from medsam_core.phantoms.fields import LATTICE, blend, ellipsoid, noise, resample

sizes = st.tuples(*(st.integers(16, 40),) * 3)


@settings(max_examples=15, deadline=None)
@given(sizes, st.floats(-5, 5))
def test_a_constant_field_stays_constant_on_any_grid(size: tuple[int, int, int], value: float) -> None:
    field = np.full((8, 9, 10), value, dtype=np.float32)
    np.testing.assert_allclose(resample(field, size), value, rtol=1e-5, atol=1e-6)


def test_a_ramp_stays_a_ramp_away_from_the_edges() -> None:
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], (10, 4, 4))
    got = resample(ramp, (20, 4, 4))[:, 0, 0]
    np.testing.assert_allclose(got[4:16], (np.arange(20)[4:16] + 0.5) / 2 - 0.5, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(sizes, st.data())
def test_a_window_is_a_cut_from_the_whole(size: tuple[int, int, int], data: st.DataObject) -> None:
    field = np.random.default_rng(0).standard_normal((7, 8, 9), dtype=np.float32)
    window = []
    for n in size:
        start = data.draw(st.integers(0, n - 1))
        window.append((start, data.draw(st.integers(start + 1, n))))
    box = tuple(slice(*span) for span in window)
    np.testing.assert_array_equal(resample(field, size, tuple(window)), resample(field, size)[box])


@pytest.mark.parametrize("grain_mm", [6, 14, 40])
def test_noise_has_mean_0_and_deviation_1(grain_mm: float) -> None:
    field = noise(np.random.default_rng(1), grain_mm)
    assert field.shape == LATTICE
    assert field.dtype == np.float32
    assert abs(float(field.mean())) < 0.25
    assert float(field.std()) == pytest.approx(1, abs=0.25)


def test_the_distance_to_a_sphere_is_exact() -> None:
    x = np.array([1.0, 3.0, 5.0], dtype=np.float32)
    np.testing.assert_allclose(ellipsoid(x, 0 * x, 0 * x, (3, 3, 3)), [-2, 0, 2], atol=1e-4)


def test_blend_is_the_union_away_from_the_seam() -> None:
    a, b = np.array([-5.0, 1.0, 2.0]), np.array([4.0, 9.0, 2.0])
    np.testing.assert_allclose(blend(a, b, 4.0), [-5, 1, 1])  # on the seam: 2 - 4/4


def test_soften_spreads_by_the_given_deviation_and_loses_nothing() -> None:
    image = np.zeros((41, 3, 3), dtype=np.float32)
    image[20] = 1
    out = soften(image, (0.9, 0.5, 0.5))[:, 1, 1].astype(float)
    offsets = np.arange(41) - 20
    assert out.sum() == pytest.approx(1, abs=1e-5)
    assert (out * offsets**2).sum() == pytest.approx(0.81, abs=1e-4)
