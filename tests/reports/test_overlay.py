"""The overlay: which slices it shows, what is drawn where, and that it never leaves half a file."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsam_core.errors import RunError
from medsam_core.evaluation.subject import ScoredCase
from medsam_core.prompts.prompt import Prompt
from medsam_core.reports.overlay import draw_overlay, shown_key_slice, worst_slice, write_overlay

SHAPE = (12, 40, 48)
GREEN, MAGENTA, YELLOW, ORANGE = (64, 230, 64), (255, 64, 220), (255, 225, 40), (200, 120, 0)


def ball(centre: tuple[float, float, float], radius: float, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """(D, H, W) bool: voxels within `radius` of a centre given as (slice, row, column)."""
    grid = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2


TRUTH = ball((5, 20, 22), 4)
EMPTY = np.zeros(SHAPE, bool)
Make = Callable[..., ScoredCase]


def pixels(result: ScoredCase) -> np.ndarray:
    """(rows, columns, 3) of the picture without its legend and caption, whose samples carry the colours too."""
    return np.asarray(draw_overlay(result).convert("RGB"))[60:-40]


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_truth_is_green_prediction_magenta_and_the_box_yellow(make_result: Make) -> None:
    picture = pixels(make_result(TRUTH, np.roll(TRUTH, 2, axis=2)))
    assert has(picture, GREEN)
    assert has(picture, MAGENTA)
    assert has(picture, YELLOW)


def test_both_contours_are_seen_where_they_agree(make_result: Make) -> None:
    picture = pixels(make_result(TRUTH, TRUTH.copy()))
    green, magenta = ((picture == colour).all(axis=-1).sum() for colour in (GREEN, MAGENTA))
    assert 0.8 < magenta / green < 1.25


def test_contours_lie_on_the_edge_of_the_enlarged_mask(make_result: Make) -> None:
    truth = EMPTY.copy()
    truth[5, 10:20, 15:35] = True  # 10 rows, 20 columns
    picture = pixels(make_result(truth, EMPTY, mode="point"))
    rows, columns = np.nonzero((picture == GREEN).all(axis=-1))
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert wide == 2 * tall
    assert tall % 10 == 0


def test_a_box_encloses_the_truth_without_covering_it(make_result: Make) -> None:
    truth = EMPTY.copy()
    truth[5, 10:20, 15:35] = True
    picture = pixels(make_result(truth, EMPTY))
    green, yellow = (np.nonzero((picture == colour).all(axis=-1)) for colour in (GREEN, YELLOW))
    for axis in (0, 1):
        assert yellow[axis].min() == green[axis].min() - 1
        assert yellow[axis].max() == green[axis].max() + 1


def test_a_background_point_is_orange_and_a_point_on_the_region_yellow(make_result: Make) -> None:
    prompt = Prompt("point", 5, points=((22.0, 20.0), (8.0, 8.0)), point_labels=(1, 0))
    picture = pixels(make_result(TRUTH, EMPTY, mode="point", prompts=(prompt,)))
    assert has(picture, YELLOW)
    assert has(picture, ORANGE)


@pytest.mark.parametrize("mode", ["box", "point", "points3", "box+point", "mask"])
@pytest.mark.parametrize("protocol", ["bidirectional", "forward", "slicewise"])
def test_every_prompt_mode_is_drawn_under_every_protocol(make_result: Make, mode: str, protocol: str) -> None:
    assert has(pixels(make_result(TRUTH, EMPTY, mode=mode, protocol=protocol)), YELLOW)


def test_every_component_has_its_box(make_result: Make) -> None:
    truth = ball((5, 12, 12), 4) | ball((5, 28, 34), 4)
    boxes = tuple(Prompt("box", 5, box=box) for box in ((8.0, 8.0, 16.0, 16.0), (30.0, 24.0, 38.0, 32.0)))
    one, two = (pixels(make_result(truth, EMPTY, prompts=boxes[:n])) for n in (1, 2))
    count = [(picture == YELLOW).all(axis=-1).sum() for picture in (one, two)]
    assert count[1] == 2 * count[0]


def test_a_prompt_outside_the_head_is_inside_the_picture(make_result: Make) -> None:
    prompt = Prompt("box", 5, box=(0.0, 0.0, 47.0, 39.0))
    picture = pixels(make_result(TRUTH, EMPTY, prompts=(prompt,)))
    rows, columns = np.nonzero((picture == YELLOW).all(axis=-1))
    assert len(set(rows)) > 100
    assert len(set(columns)) > 100


def test_two_panels_of_one_size(make_result: Make) -> None:
    prediction = TRUTH.copy()
    prediction[8] = False
    assert draw_overlay(make_result(TRUTH, prediction)).width > 1.5 * draw_overlay(make_result(EMPTY, EMPTY)).width


def test_an_absent_region_gives_one_panel_without_contours(make_result: Make) -> None:
    picture = pixels(make_result(EMPTY, EMPTY))
    assert not has(picture, GREEN)
    assert not has(picture, MAGENTA)


def test_an_empty_prediction_is_drawn(make_result: Make) -> None:
    picture = pixels(make_result(TRUTH, EMPTY))
    assert has(picture, GREEN)
    assert not has(picture, MAGENTA)


@pytest.mark.parametrize("region", [True, False])
def test_a_volume_of_one_slice(make_result: Make, region: bool) -> None:
    truth = TRUTH[5:6] if region else EMPTY[:1]
    assert draw_overlay(make_result(truth, truth.copy())).mode == "P"


def test_a_constant_image_and_a_mask_to_the_borders(make_result: Make) -> None:
    truth = np.ones((3, 20, 20), bool)
    result = make_result(truth, truth.copy())
    result.image.voxels[:] = 7
    assert has(pixels(result), GREEN)


def test_a_negative_constant_background_is_black(make_result: Make) -> None:
    result = make_result(TRUTH, EMPTY)
    result.image.voxels[:] = (result.image.voxels - 100) / 10  # z-scored: the background lies within the tissue
    result.image.voxels[result.image.voxels == result.image.voxels[0, 0, 0]] = -11
    assert pixels(result)[8, 12].tolist() == [0, 0, 0]


def test_the_image_is_not_changed(make_result: Make) -> None:
    result = make_result(TRUTH, TRUTH.copy(), mode="mask")
    before = result.image.voxels.copy(), result.prediction.copy(), result.truth.copy()
    draw_overlay(result)
    for array, copy in zip((result.image.voxels, result.prediction, result.truth), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_worst_slice_has_the_lowest_dice() -> None:
    truth = np.zeros((4, 10, 10), bool)
    truth[:, :, :5] = True
    prediction = truth.copy()
    prediction[1, :5] = False  # 25 of 50 voxels: Dice 2/3
    prediction[2, :2] = False  # 40 of 50: 8/9
    assert worst_slice(prediction, truth) == 1
    assert worst_slice(prediction, truth, besides=1) == 2


def test_of_equal_slices_the_worst_has_more_wrong_voxels_then_the_lower_number() -> None:
    truth = np.zeros((4, 10, 10), bool)
    truth[0, 0], truth[1], truth[2], truth[3, 0] = True, True, True, True
    assert worst_slice(np.zeros_like(truth), truth) == 1


def test_a_tapered_end_is_the_worst_slice_only_if_there_is_no_other() -> None:
    truth = np.zeros((3, 10, 10), bool)
    truth[1] = True
    prediction = truth.copy()
    prediction[1, 0] = False
    prediction[2, 0, 0] = True  # one false voxel, Dice 0
    assert worst_slice(prediction, truth) == 1
    assert worst_slice(prediction, truth, besides=1) == 2


def test_there_is_no_worst_slice_without_truth_and_prediction() -> None:
    assert worst_slice(EMPTY, EMPTY) is None
    assert worst_slice(TRUTH[5:6], TRUTH[5:6], besides=0) is None


def test_the_shown_key_slice_is_the_prompted_one_with_the_largest_truth() -> None:
    prompts = tuple(Prompt("point", k, points=((20.0, 20.0),)) for k in (2, 5, 6))
    assert shown_key_slice(EMPTY, TRUTH, prompts) == 5
    assert shown_key_slice(EMPTY, EMPTY, prompts) == 2


def test_without_a_prompt_the_first_panel_shows_truth_then_prediction_then_the_middle() -> None:
    assert shown_key_slice(np.roll(TRUTH, 2, axis=0), TRUTH, ()) == 5
    assert shown_key_slice(np.roll(TRUTH, 2, axis=0), EMPTY, ()) == 7
    assert shown_key_slice(EMPTY, EMPTY, ()) == 6


def test_a_long_case_id_fits(make_result: Make) -> None:
    result = make_result(TRUTH, TRUTH.copy(), subject="a-very-long-subject-name-" * 12)
    assert draw_overlay(result).width == draw_overlay(make_result(TRUTH, TRUTH.copy())).width


def test_the_file_is_a_png_and_the_only_one_in_a_folder_made_for_it(make_result: Make, tmp_path: Path) -> None:
    path = tmp_path / "overlays" / "case.png"
    write_overlay(make_result(TRUTH, EMPTY), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert [one.name for one in path.parent.iterdir()] == ["case.png"]


def test_a_folder_that_is_a_file_is_a_run_error(make_result: Make, tmp_path: Path) -> None:
    (tmp_path / "overlays").write_text("in the way")
    with pytest.raises(
        RunError, match=r"overlays/case\.png: cannot be written \(.*\); choose another --medsam-run-dir\.$"
    ):
        write_overlay(make_result(TRUTH, EMPTY), tmp_path / "overlays" / "case.png")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    make_result: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "case.png"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_overlay(make_result(TRUTH, EMPTY), path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["case.png"]


def test_a_brats_sized_case_takes_a_fraction_of_a_second(make_result: Make, tmp_path: Path) -> None:
    truth = ball((77, 120, 120), 30, (155, 240, 240))
    result = make_result(truth, np.roll(truth, 3, axis=1))
    write_overlay(result, tmp_path / "first.png")  # fonts are loaded once
    seconds = []
    for _ in range(3):
        started = time.process_time()
        write_overlay(result, tmp_path / "again.png")
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.25  # measured 0.04 of processor time; a full-volume percentile alone would take more


def test_of_three_sequences_the_first_is_shown_and_named(make_result: Make) -> None:
    alone = make_result(TRUTH, TRUTH)
    case = dataclasses.replace(alone.record.case, modality="t1ce+t2+flair")
    image = dataclasses.replace(alone.image, channels=(alone.image.voxels, alone.image.voxels * 2, alone.image.voxels))
    three = dataclasses.replace(alone, record=dataclasses.replace(alone.record, case=case), image=image)
    assert np.array_equal(pixels(alone), pixels(three))
    legends = [np.asarray(draw_overlay(one).convert("L"))[-30:] for one in (alone, three)]
    assert np.count_nonzero(legends[1] > 100) > np.count_nonzero(legends[0] > 100)


@pytest.mark.parametrize(("mode", "marks"), [("box-to-mask", 0), ("recist", 5)])
def test_prompts_that_become_masks_are_drawn_as_they_were_given(make_result: Make, mode: str, marks: int) -> None:
    result = make_result(TRUTH, EMPTY, mode=mode)
    assert has(pixels(result), YELLOW)
    assert len(result.prompts[0].points) == marks
