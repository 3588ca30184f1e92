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
    assert (found.bias, found.mean_absolute_error) == (0, 0)


def test_an_overconfident_model() -> None:
    found = iou_calibration([0.92, 0.96, 0.55, 0.35], [0.72, 0.86, 0.65, 0.05])
    assert found.bias == pytest.approx((0.2 + 0.1 - 0.1 + 0.3) / 4)
    assert found.mean_absolute_error == pytest.approx((0.2 + 0.1 + 0.1 + 0.3) / 4)


def test_the_head_may_overshoot() -> None:
    found = iou_calibration([1.25, -0.5], [1.0, 0.0])
    assert (found.bias, found.mean_absolute_error) == (0, 0)


def test_single_precision_and_whole_numbers_are_computed_in_double() -> None:
    predicted, real = np.float32([0.7, 0.65, 0.2]), np.float32([0.6, 0.75, 0.1])
    errors = [float(predicted[index]) - float(real[index]) for index in range(3)]
    found = iou_calibration(predicted, real)
    assert found.bias == pytest.approx(sum(errors) / 3, rel=1e-12)
    assert found.mean_absolute_error == pytest.approx(sum(map(abs, errors)) / 3, rel=1e-12)
    assert iou_calibration([1, 0], [0, 0]).bias == 0.5


def test_slices_without_either_are_left_out() -> None:
    found = iou_calibration([0.5, math.nan, 0.7], [0.25, 0.5, math.nan])
    assert (found.bias, found.mean_absolute_error) == (0.25, 0.25)


def test_nothing_to_compare_is_nan() -> None:
    for found in (iou_calibration([math.nan], [0.5]), iou_calibration([], [])):
        assert all(map(math.isnan, (found.bias, found.mean_absolute_error)))


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeMismatch) as error:
        iou_calibration([0.5, 0.5], [0.5])
    assert str(error.value) == ("predicted_iou: shape (2,), expected (1,); give one for each slice.")
    with pytest.raises(ShapeMismatch):
        iou_calibration([[0.5]], [[0.5]])


@pytest.mark.parametrize(("predicted", "real"), [(math.inf, 0.5), (0.5, 1.1), (0.5, -0.1), (0.5, math.inf)])
def test_values_that_are_no_iou_are_refused(predicted: float, real: float) -> None:
    with pytest.raises(MaskError) as error:
        iou_calibration([predicted], [real])
    assert str(error.value) == ("predicted_iou: got Inf, or real IoU outside [0, 1], expected IoU or NaN; check both.")
