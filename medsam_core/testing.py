"""`check_predictor`: whether a predictor follows the contract, for the tests of those who write one.

from medsam_core.predictors.choosing import choose
from medsam_core.testing import check_predictor

def test_my_model_follows_the_contract():
    check_predictor(choose("my_models.onnx:make", device="cpu"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from medsam_core.data.volume import Grid, Volume
from medsam_core.errors import PredictorError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.choosing import checked
from medsam_core.prompts.corrections import Correction
from medsam_core.prompts.geometry import tight_box
from medsam_core.prompts.prompt import PROTOCOLS, Prompt
from medsam_core.prompts.simulation import simulate

SHAPE = (12, 64, 80)
"""(D, H, W) of the volumes; all different, so that axes cannot be confused."""
SPACING_MM = (3.0, 1.5, 1.2)
"""(dz, dy, dx)."""
CENTRES = ((5, 18, 56), (6, 40, 20))
"""(z, y, x) of the bright object in each volume: its mirror images and the place with x and y swapped are apart from
it."""
RADII = (3, 7, 7)
"""Of the object, in voxels along (z, y, x)."""
TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume with one bright object in a darker head, and prompts for it."""

    volume: Volume
    truth: np.ndarray
    """(D, H, W) bool."""
    prompts: tuple[Prompt, ...]
    """One for each mode."""


def check_predictor(
    factory: Callable[[], Any],
    *,
    modes: Sequence[str] = ("box", "point"),
    protocols: Sequence[str] = PROTOCOLS,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise PredictorError, in a sentence that names the check, if the predictor does not follow the contract.

    factory: a function without arguments that makes the predictor, such as what `choose` returns; called twice.
    modes, protocols: those that the predictor supports.
    tolerance: the share of a mask's voxels that may differ between two answers to the same prompt; rounding differs
        from one batch size to another.
    Checked are: the identity, which must be complete and stay the same; the answers' number, type, shape and dtype; the
    empty list of prompts; the slices of each protocol; the same answer twice, alone, in a batch, in another order, from
    another predictor and after another volume; the place of the mask; one mask for the prompts on several slices of an
    object, if the predictor takes them; the first masks of `refine` and a round without corrections, if it takes those;
    and that the volume is left as it was. The masks' quality is not checked, except that on the prompted slice of a
    bright object more of the mask must be in the object's place than in its mirror images and than where x and y are
    swapped.
    """
    predictor, other = checked(factory(), "check_predictor"), checked(factory(), "check_predictor")
    identity = predictor.identity
    if other.identity != identity:
        raise _broken(
            "identity", f"got {other.identity} from a second predictor", f"{identity}", "derive it from files"
        )
    scenes = [_scene(index, modes) for index in range(len(CENTRES))]
    before = [scene.volume.voxels.copy() for scene in scenes]
    encoded = [predictor.encode(scene.volume) for scene in scenes]  # both, as the gate reads ahead
    for protocol in protocols:
        if list(predictor.predict(encoded[0], [], protocol=protocol)):
            raise _broken("no prompts", "got predictions", "none", "return [] for []")
        for scene, one in zip(scenes, encoded, strict=True):
            _check_place(scene, _masks(predictor, one, scene.prompts, protocol), protocol)
    _check_repeats(predictor, other, scenes[0], encoded[0], protocols[0], tolerance)
    if predictor.several_slices:
        for protocol in [one for one in protocols if one != "slicewise"]:
            _check_several_slices(predictor, scenes[0].prompts[0], encoded[0], protocol)
    if predictor.corrections:
        for protocol in [one for one in protocols if one != "slicewise"]:
            _check_corrections(predictor, scenes[0], encoded[0], protocol, tolerance)
    for scene, voxels in zip(scenes, before, strict=True):
        if not np.array_equal(scene.volume.voxels, voxels):
            raise _broken("volume", "got changed voxels", "them as they were", "work on a copy")
    if not isinstance(predictor.notes, list) or not all(isinstance(note, str) for note in predictor.notes):
        raise _broken("notes", f"got {predictor.notes!r}", "a list of sentences", "append texts to a list")


def _check_repeats(
    predictor: Checked, other: Checked, scene: Scene, encoded: Any, protocol: str, tolerance: float
) -> None:
    prompts = list(scene.prompts)
    first = _masks(predictor, encoded, prompts, protocol)
    ways = {
        "twice": lambda: _masks(predictor, encoded, prompts, protocol),
        "in another order": lambda: _masks(predictor, encoded, prompts[::-1], protocol)[::-1],
        "alone": lambda: [_masks(predictor, encoded, [prompt], protocol)[0] for prompt in prompts],
        "encoded again": lambda: _masks(predictor, predictor.encode(scene.volume), prompts, protocol),
        "by a second predictor": lambda: _masks(other, other.encode(scene.volume), prompts, protocol),
    }
    for way, answer in ways.items():
        for prompt, mask, again in zip(prompts, first, answer(), strict=True):
            differ, either = np.count_nonzero(mask != again), np.count_nonzero(mask | again)
            if differ > tolerance * either:
                raise _broken(
                    f"the same answer {way}",
                    f"got {differ} other voxels of {either} for the prompt {prompt.mode!r}",
                    f"at most {tolerance:.0%}",
                    "keep nothing from one prompt or call to the next",
                )


def _check_several_slices(predictor: Checked, prompt: Prompt, encoded: Any, protocol: str) -> None:
    # the same prompt on the next slice
    pair = [replace(prompt, key_slice=prompt.key_slice + more, object_id=0) for more in (0, 1)]
    first, second = _masks(predictor, encoded, pair, protocol)
    if not np.array_equal(first, second):
        raise _broken(
            f"several slices of an object ({protocol})",
            f"got masks that differ in {np.count_nonzero(first != second)} voxels for its two prompts",
            "the object's mask for each",
            "track the prompts of one object_id together, or leave out several_slices",
        )


def _check_corrections(predictor: Checked, scene: Scene, encoded: Any, protocol: str, tolerance: float) -> None:
    prompts = list(scene.prompts)
    first = _masks(predictor, encoded, prompts, protocol)
    rounds = predictor.refine(encoded, prompts, protocol=protocol)
    answers = {"before a correction": rounds.predictions, "after none": rounds.correct([None] * len(first))}
    for what, answer in answers.items():
        for prompt, mask, one in zip(prompts, first, answer, strict=True):
            differ = np.count_nonzero(mask != one.mask)
            if differ > tolerance * np.count_nonzero(mask | one.mask):
                raise _broken(
                    f"the same answer {what} ({protocol})",
                    f"got {differ} other voxels for the prompt {prompt.mode!r}",
                    "what predict gives",
                    "begin refine with the masks of predict, and leave objects without a correction as they are",
                )
    # a click where every object is, on the prompted slice
    y, x = (int(at) for at in np.argwhere(scene.truth[prompts[0].key_slice])[0])
    click = Correction(prompts[0].key_slice, ((float(x), float(y)),), (1,))
    rounds.correct([click, *[None] * (len(first) - 1)])


def _check_place(scene: Scene, masks: Sequence[np.ndarray], protocol: str) -> None:
    for prompt, mask in zip(scene.prompts, masks, strict=True):
        seen, truth = mask[prompt.key_slice], scene.truth[prompt.key_slice]
        inside = np.count_nonzero(seen[_rows_and_columns(truth)])
        which = f"place ({prompt.mode}, {protocol})"
        if not inside:
            raise _broken(
                which, "got no voxel where the prompted object is", "some", "compare the coordinates with the contract"
            )
        for name, moved in _elsewhere(truth).items():
            there = np.count_nonzero(seen[_rows_and_columns(moved)])
            if there >= inside:
                raise _broken(
                    which,
                    f"got {there} voxels in the object's place {name} and {inside} in its own",
                    "more in its own",
                    "boxes are (x0, y0, x1, y1), points (x, y), masks [z, y, x]",
                )


def _elsewhere(truth: np.ndarray) -> dict[str, np.ndarray]:
    """Where a mistake with axes would look for the object on the slice: name -> (H, W) bool."""
    height, width = truth.shape
    swapped = np.zeros_like(truth)
    ys, xs = np.nonzero(truth)
    inside = (xs < height) & (ys < width)
    swapped[xs[inside], ys[inside]] = True
    return {
        "mirrored left to right": truth[:, ::-1],
        "mirrored front to back": truth[::-1],
        "turned by 180 degrees": truth[::-1, ::-1],
        "with x and y swapped": swapped,
    }


def _rows_and_columns(region: np.ndarray) -> tuple[slice, slice]:
    x0, y0, x1, y1 = map(int, tight_box(region))
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def _masks(predictor: Checked, encoded: Any, prompts: Sequence[Prompt], protocol: str) -> list[np.ndarray]:
    return [one.mask for one in predictor.predict(encoded, prompts, protocol=protocol)]


def _scene(index: int, modes: Sequence[str]) -> Scene:
    axes = np.meshgrid(*[np.arange(length) for length in SHAPE], indexing="ij")
    truth = _ellipsoid(axes, CENTRES[index], RADII)
    head = _ellipsoid(axes, [(length - 1) / 2 for length in SHAPE], [length * 0.6 for length in SHAPE])
    noise = ndimage.gaussian_filter(np.random.default_rng(index).normal(size=SHAPE), 1)
    voxels = np.where(head, np.where(truth, 900.0, 400.0) + 60 * noise, 0).astype(np.float32)
    dz, dy, dx = SPACING_MM
    affine = np.diag([-dx, -dy, dz, 1.0])
    import nibabel

    volume = Volume(voxels, affine, Grid(SHAPE[::-1], affine, "LPS", nibabel.Nifti1Header()))
    prompts = [prompt for mode in modes for prompt in simulate(truth, mode, spacing_mm=SPACING_MM)]
    return Scene(volume, truth, tuple(prompts))


def _ellipsoid(axes: Sequence[np.ndarray], centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    distance = sum(((axis - at) / radius) ** 2 for axis, at, radius in zip(axes, centre, radii, strict=True))
    return np.asarray(distance <= 1)


def _broken(check: str, got: str, expected: str, fix: str) -> PredictorError:
    return PredictorError(f"check_predictor: {check}: {got}, expected {expected}; {fix}.")
