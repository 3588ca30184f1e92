import math

import numpy as np
import pytest

from medsam_core.errors import MaskError, ShapeMismatch
from medsam_core.metrics.iou_calibration import iou_calibration, slice_iou


def test_iou_of_every_slice() -> None:
    prediction, truth = np.zeros((2, 3, 1, 4), bool)
    prediction[0, 0, :2] = truth[0, 0, 1:] = prediction[1, 0, 0] = True
    found = slice_iou(prediction, truth)
    assert found[:2].tolist() == [0.25, 0.0]
    assert math.isnan(found[2])


def test_a_model_that_knows_itself() -> None:
    found = iou_calibration([0.2, 0.5, 0.9], [0.2, 0.5, 0.9])
    assert (found.slices, found.bias, found.mean_absolute_error, found.expected_error) == (3, 0, 0, 0)
    assert found.correlation == pytest.approx(1.0)


def test_an_overconfident_model() -> None:
    found = iou_calibration([0.92, 0.96, 0.55, 0.35], [0.72, 0.86, 0.65, 0.05])
    assert found.bias == pytest.approx((0.2 + 0.1 - 0.1 + 0.3) / 4)
    assert found.mean_absolute_error == pytest.approx((0.2 + 0.1 + 0.1 + 0.3) / 4)
    assert found.expected_error == pytest.approx((0.3 + 0.1 + 0.3) / 4)
    assert found.correlation == pytest.approx(np.corrcoef([0.92, 0.96, 0.55, 0.35], [0.72, 0.86, 0.65, 0.05])[0, 1])


def test_errors_cancel_within_a_bin_alone() -> None:
    found = iou_calibration([0.42, 0.48], [0.32, 0.58])
    assert found.mean_absolute_error == pytest.approx(0.1)
    assert found.expected_error == pytest.approx(0.0)
    apart = iou_calibration([0.38, 0.42], [0.28, 0.52])
    assert apart.expected_error == pytest.approx(0.1)


def test_certainty_belongs_to_the_last_bin() -> None:
    found = iou_calibration([1.0, 0.95], [0.9, 1.0])
    assert found.expected_error == pytest.approx(0.05 / 2)


def test_the_head_may_overshoot() -> None:
    found = iou_calibration([1.25, -0.5], [1.0, 0.0])
    assert (found.bias, found.mean_absolute_error) == (0, 0)


def test_single_precision_and_whole_numbers_are_computed_in_double() -> None:
    predicted, real = np.float32([0.7, 0.65, 0.2]), np.float32([0.6, 0.75, 0.1])
    found = iou_calibration(predicted, real)  # 0.7 in single precision lies just below 0.7, in the bin of 0.65
    errors = [float(predicted[index]) - float(real[index]) for index in range(3)]
    assert found.expected_error == pytest.approx((abs(errors[0] + errors[1]) + errors[2]) / 3, rel=1e-12)
    wanted = np.corrcoef(predicted.astype(np.float64), real.astype(np.float64))[0, 1]
    assert found.correlation == pytest.approx(wanted, rel=1e-13)
    assert iou_calibration([1, 0], [1, 0]).correlation == 1.0


def test_slices_without_either_are_left_out() -> None:
    found = iou_calibration([0.5, math.nan, 0.7], [0.25, 0.5, math.nan])
    assert found.slices == 1
    assert found.bias == 0.25
    assert math.isnan(found.correlation)


def test_nothing_to_compare_is_nan() -> None:
    found = iou_calibration([math.nan], [0.5])
    assert found.slices == 0
    assert all(map(math.isnan, (found.bias, found.mean_absolute_error, found.expected_error, found.correlation)))
    assert iou_calibration([], []).slices == 0


def test_a_constant_side_has_no_correlation() -> None:
    assert math.isnan(iou_calibration([0.5, 0.5], [0.1, 0.9]).correlation)


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeMismatch) as error:
        iou_calibration([0.5, 0.5], [0.5])
    assert str(error.value) == (
        "predicted_iou: shape (2,), expected one number for each slice, (1,); give both slice by slice."
    )
    with pytest.raises(ShapeMismatch):
        iou_calibration([[0.5]], [[0.5]])


@pytest.mark.parametrize(("predicted", "real"), [(math.inf, 0.5), (0.5, 1.1), (0.5, -0.1), (0.5, math.inf)])
def test_what_is_no_iou_is_refused(predicted: float, real: float) -> None:
    with pytest.raises(MaskError) as error:
        iou_calibration([predicted], [real])
    assert str(error.value) == (
        "predicted_iou: got infinite values or real IoU outside [0, 1], expected finite IoU or NaN; check both."
    )
