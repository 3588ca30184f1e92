"""The metrics against MONAI, MedPy, DeepMind's surface-distance and the BraTS 2023 script, on BraTS-size cases.

    tox run -e metrics-speed                       BRATS_METRICS=DIR adds the script of that checkout

Five cases of 155 × 240 × 240, the real ones beside the checkout first. Every round runs all contestants one after
the other on the same masks, so that what slows one slows all; one that is not installed is named as missing. Times
are CPU seconds of one thread, medians over cases; a ratio is the median of the cases' ratios. Results are compared on
the way. Speed is printed, not asserted: it belongs to the machine.
"""

from __future__ import annotations

import functools
import gc
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medsam_core.metrics import score_regions
from medsam_core.metrics.surface import hausdorff, nsd, surface_distances

pytestmark = pytest.mark.latency

CASES = 5
REPEATS = 3
SHAPE = (155, 240, 240)
ISO = (1.0, 1.0, 1.0)
REGIONS = {"WT": {1, 2, 3}, "TC": {1, 3}, "ET": {3}}
COLUMNS = {
    "lesion_tp": "Num_TP", "lesion_fp": "Num_FP", "lesion_fn": "Num_FN", "sensitivity": "Sensitivity",
    "specificity": "Specificity", "dice": "Legacy_Dice", "hd95": "Legacy_HD95",
    "lesion_dice": "Lesion_Wise_Score_Dice", "lesion_hd95": "Lesion_Wise_Score_HD95",
}  # fmt: skip
"""The table of BraTS 2023: our names and the script's."""
REAL = Path(__file__).parents[2] / "shared" / "data" / "brats-real"

Masks = dict[str, tuple[np.ndarray, np.ndarray]]
"""Region -> prediction, truth."""
Results = dict[str, float]
"""Region and metric -> score; contestants agree where their keys do."""


def test_surface_metrics_speed(capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Callable[[Masks], Results]] = {
        "ours, voxel": lambda masks: ours_surface(masks, "voxel"),
        "ours, surfel": lambda masks: ours_surface(masks, "surfel"),
        **installed({"MONAI": monai_surface, "DeepMind": deepmind_surface, "MedPy HD95": medpy_surface}, capsys),
    }
    pairs = {"MONAI": "ours, voxel", "DeepMind": "ours, surfel", "MedPy HD95": "ours, voxel"}
    cases = [region_masks(*case) for case in label_maps()]
    report(capsys, "HD95 + NSD (1 mm) of three regions", race(contestants, cases, pairs), pairs)


def test_overlap_metrics_speed(capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Callable[[Any], Results]] = {
        "ours": lambda case: ours_table(case[:2], ("dice", "iou")),
        **installed({"MONAI": lambda case: monai_overlap(case[2])}, capsys),
    }
    cases = [(*case, region_masks(*case)) for case in label_maps()]
    pairs = {"MONAI": "ours"}
    report(capsys, "Dice + IoU of three regions", race(contestants, cases, pairs), pairs)


def test_lesionwise_speed(capsys: pytest.CaptureFixture[str]) -> None:
    contestants: dict[str, Callable[[Any], Results]] = {
        "ours": lambda case: ours_table(case, tuple(COLUMNS)),
        **installed({"BraTS 2023": official_table}, capsys),
    }
    pairs = {"BraTS 2023": "ours"}
    report(capsys, "lesion-wise table of three regions", race(contestants, label_maps(), pairs), pairs)


def test_peak_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the masks themselves, as numpy reports it to tracemalloc."""
    peaks: dict[str, list[float]] = {}
    for case in label_maps():
        masks = region_masks(*case)
        contestants: dict[str, Callable[[], object]] = {
            "voxel": functools.partial(ours_surface, masks, "voxel"),
            "surfel": functools.partial(ours_surface, masks, "surfel"),
            "Dice + IoU": functools.partial(ours_table, case, ("dice", "iou")),
            "lesion-wise table": functools.partial(ours_table, case, tuple(COLUMNS)),
        }
        for name, function in contestants.items():
            function()
            tracemalloc.start()
            function()
            peaks.setdefault(name, []).append(tracemalloc.get_traced_memory()[1] / 2**20)
            tracemalloc.stop()
    with capsys.disabled():
        print("\npeak extra memory, largest of the cases:")
        for name, values in peaks.items():
            print(f"  {name:18} {max(values):6.1f} MiB")


# --- the contestants ---------------------------------------------------------------------------------------------


def ours_surface(masks: Masks, definition: Any) -> Results:
    found = {}
    for region, (prediction, truth) in masks.items():
        distances = surface_distances(prediction, truth, ISO, definition=definition)
        found[f"{region} hd95"] = hausdorff(distances, 95)
        found[f"{region} nsd"] = nsd(distances, 1)
        if definition == "voxel":
            found[f"{region} hd95 pooled"] = hausdorff(distances, 95, directed="pooled")
    return found


def ours_table(case: tuple[np.ndarray, np.ndarray], metrics: tuple[str, ...]) -> Results:
    found = score_regions(*case, ISO, REGIONS, profile="brats2023", metrics=metrics)
    return {f"{region} {key.partition('/')[2]}": value for region in found for key, value in found[region].items()}


def monai_surface(masks: Masks) -> Results:
    import monai.metrics as m
    import torch

    torch.set_num_threads(1)
    found = {}
    options = {"include_background": True, "spacing": list(ISO)}
    for region, masks_of_region in masks.items():
        p, t = (torch.from_numpy(mask)[None, None] for mask in masks_of_region)
        found[f"{region} hd95"] = float(m.compute_hausdorff_distance(p, t, percentile=95, **options))
        found[f"{region} nsd"] = float(m.compute_surface_dice(p, t, class_thresholds=[1.0], **options))
    return found


def monai_overlap(masks: Masks) -> Results:
    import monai.metrics as m
    import torch

    torch.set_num_threads(1)
    found = {}
    for region, masks_of_region in masks.items():
        p, t = (torch.from_numpy(mask)[None, None] for mask in masks_of_region)
        found[f"{region} dice"], found[f"{region} iou"] = float(m.compute_dice(p, t)), float(m.compute_iou(p, t))
    return found


def deepmind_surface(masks: Masks) -> Results:
    import surface_distance as m

    found = {}
    for region, (prediction, truth) in masks.items():
        distances = m.compute_surface_distances(truth, prediction, ISO)
        found[f"{region} hd95"] = float(m.compute_robust_hausdorff(distances, 95))
        found[f"{region} nsd"] = float(m.compute_surface_dice_at_tolerance(distances, 1))
    return found


def medpy_surface(masks: Masks) -> Results:
    from medpy.metric.binary import hd95

    return {f"{region} hd95 pooled": float(hd95(*masks_of_region, ISO)) for region, masks_of_region in masks.items()}


def official_table(case: tuple[np.ndarray, np.ndarray]) -> Results:
    import nibabel as nib
    from brats_2023_metrics.surface_distance.brats_metrics import get_lesion_wise_results

    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.nii" for name in ("prediction", "truth")]
        for path, labels in zip(paths, case, strict=True):
            nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), np.eye(4)), path)
        rows = get_lesion_wise_results(*paths, "BraTS-GLI").set_index("Labels").to_dict("index")
    return {f"{region} {ours}": float(rows[region][theirs]) for region in rows for ours, theirs in COLUMNS.items()}


def installed(contestants: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The contestants whose packages are there; the others are named."""
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):  # surface-distance uses them, numpy 2 dropped them
        if not hasattr(np, name):
            setattr(np, name, value)
    if os.environ.get("BRATS_METRICS") and os.environ["BRATS_METRICS"] not in sys.path:
        sys.path.insert(0, os.environ["BRATS_METRICS"])
        compare_cells_one_by_one()
    modules = {"MONAI": "monai.metrics", "DeepMind": "surface_distance", "MedPy HD95": "medpy.metric.binary",
               "BraTS 2023": "brats_2023_metrics.surface_distance.brats_metrics"}  # fmt: skip
    found = {}
    for name, function in contestants.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                __import__(modules[name])
        except ImportError as error:
            with capsys.disabled():
                print(f"\n{name} is missing: {error}")
            continue
        found[name] = function
    return found


def compare_cells_one_by_one() -> None:
    """As pandas 1.3.4 did, which the BraTS 2023 script asks for and which has no wheel for today's Python."""
    import pandas as pd

    def replace(frame: Any, value: Any, by: Any, inplace: bool = False) -> Any:
        swapped = frame.map(lambda cell: by if isinstance(cell, float) and cell == value else cell)
        if inplace:
            frame[:] = swapped
        return None if inplace else swapped

    pd.DataFrame.replace = replace  # type: ignore[method-assign]


# --- the cases ---------------------------------------------------------------------------------------------------


@functools.cache
def label_maps() -> list[tuple[np.ndarray, np.ndarray]]:
    """(prediction, truth) with labels 1/2/3: real truths, bent smoothly and with a stray blob, then made-up ones."""
    truths = []
    if REAL.is_dir():
        from medsam_core.data.volume import read_labels

        truths = [read_labels(path).voxels for path in sorted(REAL.glob("*/*/*_seg.nii*"))[:CASES]]
    while len(truths) < CASES:
        truths.append(made_up(seed=len(truths)))
    cases = []
    for seed, truth in enumerate(truths):
        truth = np.where(truth == 4, np.uint8(3), truth)
        cases.append((bent(truth, seed), truth))
    return cases


def made_up(seed: int) -> np.ndarray:
    """A tumour as the level sets of smooth noise around a centre."""
    random = np.random.default_rng(seed)
    noise = ndimage.zoom(random.normal(0, 1, (10, 15, 15)), np.array(SHAPE) / (10, 15, 15), order=1)
    grid = np.indices(SHAPE, np.float32)
    centre = np.reshape(random.uniform(0.35, 0.65, 3) * SHAPE, (3, 1, 1, 1))
    radius = np.sqrt(((grid - centre) ** 2).sum(0)) + 6 * noise
    labels = np.zeros(SHAPE, np.uint8)
    for label, size in ((2, 36), (1, 22), (3, 15)):
        labels[radius < size] = label
    return labels


def bent(truth: np.ndarray, seed: int) -> np.ndarray:
    """The truth, displaced by smooth noise of 2.5 voxels, and a stray blob."""
    random = np.random.default_rng(1000 + seed)
    at = np.argwhere(truth)
    box = tuple(slice(max(0, low - 12), high + 12) for low, high in zip(at.min(0), at.max(0), strict=True))
    inner = truth[box]
    grid = np.indices(inner.shape, np.float32)
    for along in grid:
        along += ndimage.zoom(random.normal(0, 2.5, (5, 5, 5)), np.array(inner.shape) / 5, order=1)
    prediction = np.zeros_like(truth)
    prediction[box] = ndimage.map_coordinates(inner, grid, order=0)
    prediction[20:23, 50:53, 50:53] = 3
    return prediction


def region_masks(prediction: np.ndarray, truth: np.ndarray) -> Masks:
    return {
        region: (np.isin(prediction, list(values)), np.isin(truth, list(values))) for region, values in REGIONS.items()
    }


# --- the race ----------------------------------------------------------------------------------------------------


def race(
    contestants: dict[str, Callable[[Any], Results]], cases: list[Any], pairs: dict[str, str]
) -> dict[str, list[float]]:
    """CPU seconds of each contestant on each case; every score of the others is compared with ours in passing.

    The best of three rounds, or one for those that need more than a second: a hiccup does not show in these.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for case in cases:
        best = dict.fromkeys(contestants, float("inf"))
        results: dict[str, Results] = {}
        for _repeat in range(REPEATS):
            for name, function in contestants.items():
                if 1 < best[name] < float("inf"):
                    continue
                gc.collect()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = time.process_time()
                    results[name] = function(case)
                    best[name] = min(best[name], time.process_time() - start)
        for name in pairs.keys() & contestants.keys():
            assert {key: results[pairs[name]][key] for key in results[name]} == pytest.approx(results[name], rel=1e-6)
        for name, value in best.items():
            seconds[name].append(value)
    return seconds


def report(
    capsys: pytest.CaptureFixture[str], title: str, seconds: dict[str, list[float]], pairs: dict[str, str]
) -> None:
    with capsys.disabled():
        print(f"\n{title}, median of {CASES} cases:")
        for name, values in seconds.items():
            line = f"  {name:14} {statistics.median(values) * 1000:9.1f} ms"
            if name in pairs:
                ratio = statistics.median(a / b for a, b in zip(values, seconds[pairs[name]], strict=True))
                line += f"   {ratio:6.1f} × {pairs[name]}"
            print(line)
