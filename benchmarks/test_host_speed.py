"""The host's work for a subject of full size, in CPU seconds: what a GPU would wait for if nothing ran beside it.

    tox run -e host-speed                          HOST_PHANTOMS=1 takes fewer than three phantoms

Phantoms of 155 × 240 × 240 in int16, compressed as BraTS's files are, are read in one modality for twelve cases: three
regions by box, point, three points and mask. A stand-in for the model makes the model's pixels and returns masks that
were made before. Times are CPU seconds of one process, so other programs on the machine matter less; medians over the
rounds of all phantoms. Speed is printed, not asserted, because it depends on the machine.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medsam_core.cases import Case
from medsam_core.data.cohort import Subject, find_subjects
from medsam_core.data.regions import NESTED, region_mask
from medsam_core.data.volume import Volume, read_labels
from medsam_core.evaluation.subject import ScoredCase, prepare, score_segmented, segment
from medsam_core.inference.preprocessing import resize_slices, to_uint8
from medsam_core.phantoms.cohort import FULL_SIZE, write_cohort
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.contract import PackedPrediction, PredictorIdentity
from medsam_core.prompts.prompt import Prompt
from medsam_core.settings import DEFAULT_METRICS, Settings

pytestmark = pytest.mark.latency

PHANTOMS = int(os.environ.get("HOST_PHANTOMS", "3"))
ROUNDS = 5
MODES = ("box", "point", "points3", "mask")
DEMANDING = (*DEFAULT_METRICS, "hd95", "nsd_1mm", "lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")
STAGES = ("prepare", "masks", "score")
SHOWN = 0.01  # share of the time from which on a function is shown in the profile


class StandIn:
    """A predictor that does the host's share of a model's work and returns masks that were made before."""

    identity = PredictorIdentity("stand-in", "1", "0" * 64)

    def __init__(self, masks: Sequence[np.ndarray]) -> None:
        """masks: (D, H, W) bool, one for each prompt in the order of the cases."""
        self.notes: list[str] = []
        self.made = [PackedPrediction.of(mask) for mask in masks]

    def encode(self, volume: Volume) -> np.ndarray:
        """The pixels, as the engine makes them in advance."""
        return to_uint8(volume.voxels)

    def predict(self, encoded: np.ndarray, prompts: Sequence[Prompt], *, protocol: str) -> list[PackedPrediction]:
        """What was made before, whatever the volume is."""
        assert len(prompts) == len(self.made)
        assert protocol == "bidirectional"
        assert encoded.dtype == np.uint8
        return self.made


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    root = tmp_path_factory.mktemp("phantoms")
    write_cohort(root, subjects=PHANTOMS, size=FULL_SIZE, seed=19)
    return list(find_subjects(root))


def test_the_default_metrics(phantoms: list[Subject], capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(prompts=MODES, profile="brats2019", metrics=DEFAULT_METRICS)
    report(capsys, "default metrics", phantoms, settings)


def test_distances_and_lesions_too(phantoms: list[Subject], capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(prompts=MODES, profile="brats2023", labels="brats2019", metrics=DEMANDING)
    report(capsys, "with HD95, NSD and lesion-wise metrics", phantoms, settings)


def test_the_resizing_that_only_a_cpu_needs(phantoms: list[Subject], capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(prompts=MODES)
    cases = settings.cases(phantoms[0].id)
    pixels = prepare(phantoms[0], "t1ce", cases, Checked(StandIn(())), settings).encoded.encoded
    taken = [used(lambda: resize_slices(list(pixels), 512))[0] for _ in range(ROUNDS)]
    with capsys.disabled():
        print(f"\nPillow resizes 155 slices to 512 px, which a GPU does itself: {statistics.median(taken):.3f} s")


def report(capsys: pytest.CaptureFixture[str], title: str, subjects: Sequence[Subject], settings: Settings) -> None:
    """Time the stages on every subject, and print medians and a profile."""
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    profile = cProfile.Profile()
    for subject in subjects:
        predictor = Checked(StandIn(stand_in_masks(subject, settings)))
        cases = settings.cases(subject.id)
        for turn in range(ROUNDS + 1):
            taken, records = stages(subject, cases, predictor, settings)
            assert [one.record.case for one in records] == list(cases)
            assert all(one.record.prompted for one in records)
            if turn:  # the first warms up
                for stage in STAGES:
                    seconds[stage].append(taken[stage])
        with profile:
            stages(subject, cases, predictor, settings)
    medians = {stage: statistics.median(values) for stage, values in seconds.items()}
    with capsys.disabled():
        rows = ", ".join(f"{stage} {medians[stage]:.3f}" for stage in STAGES)
        print(f"\n{title}: {medians['prepare'] + medians['score']:.3f} s of CPU for {len(cases)} cases ({rows})")
        print(
            f"  medians of {ROUNDS} rounds of {len(subjects)} phantoms; masks: unpacking and checking the model's "
            "answer, in the thread that uses the device, not in the sum"
        )
        print("\n".join(profiled(profile, len(subjects))))


def stages(
    subject: Subject, cases: Sequence[Case], predictor: Checked, settings: Settings
) -> tuple[dict[str, float], list[ScoredCase]]:
    """CPU seconds of each stage, and the records."""
    reading, prepared = used(lambda: prepare(subject, "t1ce", cases, predictor, settings))
    masks, segmented = used(lambda: segment(prepared, predictor))
    scoring, scored = used(lambda: list(score_segmented(segmented, settings)))
    return dict(zip(STAGES, (reading, masks, scoring), strict=True)), scored


def used(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call in all threads of this process, and its result."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


def stand_in_masks(subject: Subject, settings: Settings) -> list[np.ndarray]:
    """For each case a mask near its truth: a border that wanders by a few voxels, and two specks outside."""
    assert subject.segmentation is not None
    labels = read_labels(subject.segmentation).voxels
    rng = np.random.default_rng(5)
    found = []
    for region in NESTED:
        truth = region_mask(labels, region, settings.labels or str(subject.convention))
        for number, _ in enumerate(MODES):
            noise = ndimage.zoom(rng.normal(size=[n // 8 + 1 for n in truth.shape]), 8, order=1)
            wandering = ndimage.gaussian_filter(truth.astype(np.float32), 1 + number / 2)
            mask = wandering + 0.3 * noise[tuple(map(slice, truth.shape))] * (wandering > 0.02) > 0.5
            mask[20:23, 100:104, 100:105] = mask[120:122, 60:62, 90:93] = True
            found.append(mask)
    return found


def profiled(profile: cProfile.Profile, runs: int) -> list[str]:
    """Functions of this package by the time in them and in what they call, in ms for one subject."""
    stats: Any = pstats.Stats(profile)
    package = str(Path(__file__).parents[1] / "medsam_core")
    rows = [
        (cumulative, own, calls, f"{Path(file).relative_to(package)}:{name}")
        for (file, _, name), (_, calls, own, cumulative, _) in stats.stats.items()
        if file.startswith(package) and cumulative > SHOWN * stats.total_tt
    ]
    lines = [f"  {'ms':>7} {'own':>7} {'calls':>6}  function"]
    for cumulative, own, calls, name in sorted(rows, reverse=True):
        lines.append(f"  {1000 * cumulative / runs:7.1f} {1000 * own / runs:7.1f} {calls / runs:6.0f}  {name}")
    return lines
