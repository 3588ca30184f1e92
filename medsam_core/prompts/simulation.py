"""Prompts simulated from the truth: what a person who knows the truth would draw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from medsam_core.errors import OptionError, PromptError
from medsam_core.prompts.diameter import diameter_points, largest_piece
from medsam_core.prompts.geometry import Point, deepest_point, jittered_box, nearby_point, spread_points, tight_box
from medsam_core.prompts.noise import Noise
from medsam_core.prompts.prompt import KEY_SLICES, MODES, PROTOCOLS, WITH_POINTS, Prompt
from medsam_core.prompts.truth import Truth

MIN_COMPONENT_VOXELS = 50  # BraTS 2023 scores no lesion below 50 mm³; its voxels are 1 mm³


def key_slice_of(truth: np.ndarray | Truth, key_slice: str) -> int:
    """The index of the slice to prompt.

    truth: (D, H, W) bool, not empty.
    key_slice: `largest` (most voxels; the first of equal ones), `middle` (of the slices with the region; the lower of
        two) or `first` (with the region).
    Raises OptionError for another word.
    """
    truth = Truth.of(truth)
    slices = truth.slices
    if key_slice == "largest":
        return int(np.argmax(truth.areas))
    if key_slice == "middle":
        return int(slices[(len(slices) - 1) // 2])
    if key_slice == "first":
        return int(slices[0])
    raise OptionError(f"key slice: got {key_slice!r}, expected one of {', '.join(KEY_SLICES)}; choose one of them.")


def key_slices_of(truth: np.ndarray | Truth, key_slice: str, count: int) -> list[int]:
    """The indices of the slices to prompt in one track: first that of `key_slice_of`, then the others in their order.

    truth: (D, H, W) bool, not empty.
    count: how many, ≥ 1. The slices with the region are divided into so many equal parts. The middle slice of each part
        is taken, but in the place of the one nearest to `key_slice_of` (of two the lower) that slice itself. If the
        region has no more slices than that, all of them are taken.
    """
    truth = Truth.of(truth)
    start, slices = key_slice_of(truth, key_slice), truth.slices
    count = min(count, len(slices))
    spread = slices[(2 * np.arange(count) + 1) * len(slices) // (2 * count)]
    nearest = int(np.argmin(abs(spread - start)))
    return [start, *(int(index) for place, index in enumerate(spread) if place != nearest)]


def simulate(
    truth: np.ndarray | Truth,
    mode: str,
    *,
    key_slice: str = "largest",
    key_slices: int = 1,
    jitter_voxels: float = 0.0,
    seed: int = 0,
    key: str = "",
    per_component: bool = False,
    protocol: str = "bidirectional",
    min_component_voxels: int = MIN_COMPONENT_VOXELS,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    noise: Noise | None = None,
) -> tuple[Prompt, ...]:
    """The prompts that a person who knows the truth would give; () if the truth is empty.

    truth: (D, H, W) bool; a Truth, so that several calls share what they find.
    mode: one of MODES.
    key_slice: see `key_slice_of`. Ignored by two protocols: `forward` takes the first slice, `slicewise` prompts every
        slice where the region exists.
    key_slices: how many slices of an object are prompted in one track, ≥ 1: see `key_slices_of`. Prompts on several
        share an `object_id`. With `slicewise` only 1.
    jitter_voxels: half-width of the uniform jitter, ≥ 0. Box edges are moved and clipped to the slice, a point becomes
        a nearby voxel of the region, masks do not change.
    seed, key: determine the jitter, whatever the order of execution. key: for instance the case's id.
    per_component: prompt each 26-connected component of at least `min_component_voxels` instead of the whole region,
        the largest first; if none is large enough, the largest.
    protocol: one of PROTOCOLS.
    spacing_mm: (dz, dy, dx) of the truth; only `recist`, which measures a diameter, depends on it.
    noise: takes the place of `jitter_voxels` and `seed`; None for none.
    Raises PromptError if `truth` is not 3-D, OptionError for an unknown word, number of slices or jitter.
    """
    truth = Truth.of(truth)
    if truth.mask.ndim != 3:
        raise PromptError(f"truth: got shape {truth.mask.shape}, expected (D, H, W); give the whole volume's mask.")
    for what, got, known in (("prompt mode", mode, MODES), ("protocol", protocol, PROTOCOLS)):
        if got not in known:
            raise OptionError(f"{what}: got {got!r}, expected one of {', '.join(known)}; choose one of them.")
    if not 0 <= jitter_voxels < np.inf:
        raise OptionError(
            f"jitter: got {jitter_voxels} voxels, expected a finite number ≥ 0; give the half-width of the jitter."
        )
    if key_slices < 1 or (key_slices > 1 and protocol == "slicewise"):
        wanted = "1, because slicewise prompts every slice" if key_slices > 1 else "at least 1"
        raise OptionError(f"key slices: got {key_slices}, expected {wanted}; give another number or protocol.")
    if not truth.slices.size:
        return ()
    prompts = []
    for number, region in enumerate(_components(truth, min_component_voxels) if per_component else [truth]):
        if protocol == "slicewise":
            slices = region.slices.tolist()
        else:
            slices = key_slices_of(region, "first" if protocol == "forward" else key_slice, key_slices)
        object_id = number if protocol != "slicewise" and len(slices) > 1 else None
        for index in slices:
            # not hash(), which Python salts differently in every process
            digest = hashlib.sha256(json.dumps((noise.seed if noise else seed, key, number, index)).encode()).digest()
            rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
            drawn = _draw(region.mask[index], index, mode, jitter_voxels, noise, rng, spacing_mm[1:])
            prompts.append(drawn if object_id is None else replace(drawn, object_id=object_id))
    return tuple(prompts)


def _components(truth: Truth, min_voxels: int) -> Iterator[Truth]:
    """The large components, or else the largest; by size, equal ones in the order of their first voxel."""
    labels, count = truth.components
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    for index in order:
        if sizes[index] >= min_voxels or index == order[0]:
            mask = np.zeros_like(truth.mask)
            mask[truth.box] = labels == index + 1
            yield Truth(mask)


def _draw(
    region: np.ndarray,
    index: int,
    mode: str,
    jitter_voxels: float,
    noise: Noise | None,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float],
) -> Prompt:
    """One prompt on a slice. spacing_mm: (dy, dx)."""
    if mode == "mask":
        return Prompt(mode, index, mask=region.copy())
    box = None
    points: tuple[Point, ...] = ()
    if "box" in mode:
        box = tight_box(region)
        if noise is not None:
            box = noise.box(box, region.shape, rng)
        elif jitter_voxels:
            box = jittered_box(box, jitter_voxels, region.shape, rng)
    if mode in WITH_POINTS:
        if mode == "recist":
            region = largest_piece(region)
            points = diameter_points(region, spacing_mm)
        else:
            points = spread_points(region, 3) if mode == "points3" else (deepest_point(region),)
        if noise is not None:
            points = noise.points(points, region, rng)
        elif jitter_voxels:
            points = tuple(nearby_point(region, point, jitter_voxels, rng) for point in points)
    return Prompt(mode, index, box=box, points=points)
