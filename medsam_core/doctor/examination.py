"""Examine one subject: every file that belongs to it, by itself and against the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medsam_core.data.grid import Placement, check_same_grid
from medsam_core.data.nifti_header import unit_of
from medsam_core.data.regions import NESTED, LabelConvention, check_labels, convention_named
from medsam_core.data.subject import ImageFile, Subject
from medsam_core.data.volume import read_image, read_labels, read_placement
from medsam_core.doctor.findings import LOOK, WRONG, Finding
from medsam_core.doctor.fingerprints import background_of, image_hash, truth_hash
from medsam_core.errors import DataError, LabelError, MedsamError
from medsam_core.metrics.masks import bounding_box
from medsam_core.text import few

Array = np.ndarray[Any, Any]

TRUTH = "seg"
"""The name of the segmentation among a subject's files."""
TINY_MM3 = 50.0
"""Regions up to this volume are tiny; BraTS 2023 does not count lesions of at most 50 voxels of 1 mm³."""
CLIPPED_SHARE = 0.01
"""An image is clipped if more of its foreground has the highest value: a window of percentiles leaves 0.005."""
FEW_VALUES = 8
OFF_HEAD_SHARE = 0.2
"""A truth is off the head if more of it is on the image's background."""
_SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))


@dataclass(frozen=True)
class Place:
    """The grid of one file."""

    shape: tuple[int, int, int]
    """(D, H, W)."""
    spacing_mm: tuple[float, float, float]
    """(dz, dy, dx)."""
    orientation: str
    """On disk, such as "LPS"."""
    unit: str
    """Of the header: "mm", "m", "µm" or "unknown unit", which means mm."""
    positioned: bool
    """Whether the header says where the image is."""


@dataclass(frozen=True)
class Examined:
    """What one subject's files hold."""

    id: str
    layout: str
    convention: str | None
    """By which the labels were read; None where it is unclear."""
    notes: tuple[str, ...] = ()
    """What was passed over when the subject was found."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """Of every file that can be read: modality or TRUTH -> grid."""
    labels: Mapping[int, int] = field(default_factory=dict)
    """Label value above 0 -> voxels; {} where no voxels were read."""
    regions: Mapping[str, int] = field(default_factory=dict)
    """Region -> voxels."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Modality or TRUTH -> hash of the voxels."""
    findings: tuple[Finding, ...] = ()

    @property
    def voxel_mm3(self) -> float:
        """Of the segmentation; NaN without one."""
        return math.prod(self.places[TRUTH].spacing_mm) if TRUTH in self.places else math.nan


def examine(subject: Subject, *, labels: str | None = None, voxels: bool = True) -> Examined:
    """Everything about one subject that its own files show. Faults become findings, none is raised.

    labels: a label convention in place of the subject's own.
    voxels: whether the voxels are read; else the headers alone.
    """
    convention = labels or subject.convention
    made = Examined(subject.id, subject.layout, convention, subject.notes)
    findings: list[Finding] = []
    truth: Array | None = None
    placements: dict[str, Placement] = {}
    if subject.segmentation is not None:
        try:
            placements[TRUTH], truth = _read_truth(subject.segmentation, voxels)
        except MedsamError as problem:
            findings.append(_refused(subject, problem))
    if truth is not None:
        made, found = _with_labels(made, subject, truth, math.prod(placements[TRUTH].spacing_mm))
        findings += found
    hashes = dict(made.hashes)
    for modality, source in subject.images.items():
        try:
            placements[modality], image = _read_image(source, voxels)
            if TRUTH in placements:
                assert subject.segmentation is not None  # it was read
                check_same_grid(
                    placements[modality],
                    placements[TRUTH],
                    image_name=source.path.name,
                    labels_name=subject.segmentation.name,
                )
        except MedsamError as problem:
            findings.append(_refused(subject, problem, "grid" if modality in placements else "file"))
            if modality not in placements:
                continue
        if image is not None:
            hashes[modality] = image_hash(image)
            findings += _of_image(subject.id, modality, image, truth)
    if TRUTH not in placements:
        findings += _between_images(subject.id, placements)
    places = {name: _place(one) for name, one in placements.items()}
    return replace(made, places=places, hashes=hashes, findings=tuple(findings))


def _refused(subject: Subject, problem: MedsamError, kind: str = "file") -> Finding:
    kind = "labels" if isinstance(problem, LabelError) else kind
    text = {
        "file": "files that the gate refuses",
        "grid": "a segmentation that is not on its image's grid",
        "labels": "labels that do not fit",
    }[kind]
    return Finding(WRONG, kind, text, subject.id, str(problem))


def _read_truth(path: Path, voxels: bool) -> tuple[Placement, Array | None]:
    if not voxels:
        return read_placement(path), None
    volume = read_labels(path)
    return Placement(volume.shape, volume.affine, volume.grid), volume.voxels


def _read_image(source: ImageFile, voxels: bool) -> tuple[Placement, Array | None]:
    if not voxels:
        return read_placement(source.path, channel=source.channel), None
    volume = read_image(source.path, channel=source.channel, channels=source.channels)
    return Placement(volume.shape, volume.affine, volume.grid), volume.voxels


def _place(one: Placement) -> Place:
    dz, dy, dx = (round(length, 4) for length in one.spacing_mm)
    return Place(one.shape, (dz, dy, dx), one.grid.orientation, unit_of(one.grid.header), one.grid.positioned)


def _with_labels(made: Examined, subject: Subject, truth: Array, voxel_mm3: float) -> tuple[Examined, list[Finding]]:
    """What the label map holds, and what is odd about it."""
    findings = []
    histogram = np.bincount(truth.ravel())
    counts = {value: int(histogram[value]) for value in np.flatnonzero(histogram).tolist() if value}
    regions: dict[str, int] = {}
    if made.convention is not None:
        convention = convention_named(made.convention)
        name = subject.segmentation.name if subject.segmentation else ""
        try:
            check_labels(truth, convention, name=name)
        except LabelError as problem:
            findings.append(_refused(subject, problem))
        regions = {
            region: sum(counts.get(value, 0) for value in values) for region, values in convention.regions.items()
        }
        findings += _of_regions(subject.id, regions, convention, voxel_mm3)
    sides = _touched(truth > 0)
    if sides:
        text = "truth touches the border of the volume: is the image cropped?"
        findings.append(Finding(LOOK, "border", text, subject.id, few(sides, 6)))
    found = truth_hash(truth)
    hashes = {} if found is None else {TRUTH: found}
    return replace(made, labels=counts, regions=regions, hashes=hashes), findings


def _of_regions(
    subject: str, regions: Mapping[str, int], convention: LabelConvention, voxel_mm3: float
) -> list[Finding]:
    """Empty and tiny ones of WT, TC and ET; where WT is empty, so are the others."""
    nested = [region for region in NESTED if region in convention.regions]
    if nested and not regions[nested[0]]:
        return [Finding(LOOK, "region", f"{nested[0]} is empty: no tumour to prompt", subject)]
    findings = []
    for region in nested:
        size = regions[region] * voxel_mm3
        if not regions[region]:
            findings.append(Finding(LOOK, "region", f"{region} is empty", subject))
        elif size <= TINY_MM3:
            text = f"{region} is tiny, at most {TINY_MM3:g} mm³"
            findings.append(Finding(LOOK, "region", text, subject, f"{size:.3g} mm³"))
    return findings


def _touched(inside: Array) -> list[str]:
    """The sides of the volume that a mask in LPS touches."""
    box = bounding_box(inside)
    if box is None:
        return []
    sides = []
    for span, length, (first, last) in zip(box, inside.shape, _SIDES, strict=True):
        sides += [first] * (span.start == 0) + [last] * (span.stop == length)
    return sides


def _of_image(subject: str, modality: str, image: Array, truth: Array | None) -> list[Finding]:
    """Clipped intensities, a label map in place of an image, and a truth that is off the head."""
    findings = []
    values = np.unique(image.ravel()[:: max(1, image.size // 100_000)])
    background = background_of(image)
    outside = np.zeros(image.shape, np.bool_) if background is None else image == background
    if len(values) <= FEW_VALUES:
        text = f"an image of at most {FEW_VALUES} values: is it a label map?"
        findings.append(Finding(WRONG, "intensities", text, subject, modality))
    else:
        foreground = int(np.count_nonzero(~outside))  # not 0: an image of one value was refused
        share = int(np.count_nonzero(image == image.max())) / foreground
        if share > CLIPPED_SHARE:
            text = f"more than {CLIPPED_SHARE:.0%} of an image has its highest value: its intensities are clipped"
            findings.append(Finding(LOOK, "intensities", text, subject, f"{modality} {share:.1%}"))
    if truth is not None and truth.shape == image.shape:
        inside = truth > 0
        size = np.count_nonzero(inside)
        share = np.count_nonzero(inside & outside) / size if size else 0.0
        if share > OFF_HEAD_SHARE:
            text = (
                f"more than {OFF_HEAD_SHARE:.0%} of the truth is on the image's background: it is of another subject, "
                "shifted or flipped"
            )
            findings.append(Finding(WRONG, "off-head", text, subject, f"{modality} {share:.0%}"))
    return findings


def _between_images(subject: str, placements: Mapping[str, Placement]) -> list[Finding]:
    """Images without a segmentation that are not on one grid."""
    names = list(placements)
    apart = []
    for name in names[1:]:
        try:
            check_same_grid(placements[names[0]], placements[name])
        except DataError:
            apart.append(name)
    if not apart:
        return []
    return [Finding(LOOK, "grid", "images on different grids", subject, f"{few(apart)} not on that of {names[0]}")]
