"""Four MRI contrasts of a phantom head: T1, T1 with contrast agent, T2 and FLAIR, skull-stripped as in BraTS.

Intensities are relative to the median of healthy brain. The table was chosen so that the medians per tissue and label
are in the ranges seen in BraTS. Every subject deviates from it, as scanners and protocols do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsam_core.modalities import MODALITIES
from medsam_core.phantoms.anatomy import FULL_SIZE, Anatomy, Growth, Seed, grow, streams
from medsam_core.phantoms.fields import Field, Window, noise, resample
from medsam_core.phantoms.head import CSF, DEEP_GREY, GREY, VENTRICLE, WHITE
from medsam_core.phantoms.tumour import ENHANCING, NECROSIS, OEDEMA

# medians relative to healthy brain: CSF, ventricles, grey, white, deep grey; then oedema, core, enhancing
# the order of the rows fixes which random stream a modality draws from: another order gives other voxels
CONTRAST = {
    "t1": (0.24, 0.26, 0.88, 1.08, 0.98, 0.82, 0.80, 0.84),
    "t1ce": (0.28, 0.28, 0.87, 1.10, 1.00, 0.84, 0.71, 1.66),
    "t2": (2.10, 2.40, 1.12, 0.86, 0.97, 1.92, 2.12, 1.75),
    "flair": (0.22, 0.16, 1.08, 0.94, 1.02, 1.68, 1.58, 1.64),
}
SPREAD = (0.08, 0.08, 0.02, 0.02, 0.03, 0.09, 0.12, 0.10)  # between subjects, of the logarithm
# level of healthy brain in scanner units, drawn from this range
LEVEL = {"t1": (250, 700), "t1ce": (300, 900), "t2": (250, 700), "flair": (200, 600)}


@dataclass(frozen=True, eq=False)
class Phantom:
    """One subject: its images and its anatomy."""

    images: dict[str, npt.NDArray[np.int16]]
    """Modality -> (D, H, W), 0 outside the brain."""
    anatomy: Anatomy

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """(D, H, W) uint8: 0, 1, 2, 4, as in Anatomy."""
        return self.anatomy.labels


def synthesise(
    seed: Seed, size: Sequence[int] = FULL_SIZE, *, kind: str | None = None, foci: int | None = None
) -> Phantom:
    """A subject in four modalities; the same seed and size give the same voxels. Arguments and errors as `grow`."""
    return paint(grow(seed, size, kind=kind, foci=foci), seed)


def paint(growth: Growth, seed: Seed, modalities: Sequence[str] = MODALITIES) -> Phantom:
    """The images of a grown head. A modality is the same whether or not the others are painted.

    growth: from `grow` with the same seed.
    """
    # the first four streams belong to the anatomy; then one for all modalities, and one for each
    shared, *own = streams(seed, 9)[4:]
    canvas = _Canvas(shared, growth)
    images = {}
    for rng, modality in zip(own, CONTRAST, strict=True):
        if modality in modalities:
            images[modality] = np.zeros(canvas.size, dtype=np.int16)
            images[modality][canvas.box] = canvas.scan(rng, modality)
    return Phantom(images, growth.anatomy)


class _Canvas:
    """What the four scans of one head share: the outline of the brain, vessels, the strength of the oedema, texture."""

    def __init__(self, rng: np.random.Generator, growth: Growth) -> None:
        self.size = growth.anatomy.labels.shape
        self.window: Window = growth.window
        self.box = tuple(slice(*span) for span in growth.window)
        self.spacing = growth.anatomy.spacing_mm
        self.kind = growth.anatomy.kind
        head, tumour = growth.head, growth.tumour
        tissues, labels = growth.anatomy.tissues[self.box], growth.anatomy.labels[self.box]
        self.tissues, self.labels = tissues, labels
        # the mask of skull stripping: a little inside or outside of the brain's hull, and always around the tumour
        rind = self._grid(head.strip + noise(rng, 9) * np.float32(0.4))
        self.brain = (tissues >= CSF) & (rind < np.float32(rng.uniform(0.2, 1.6)))
        self.brain |= labels > 0
        # oedema fades towards its edge, where there is less water
        reach = self._grid(np.clip((tumour.spread_level - tumour.spread) / np.float32(rng.uniform(4, 9)), 0, 1))
        self.water = np.float32(0.6) + np.float32(0.4) * reach
        # textures that all scans share, from fine to broad
        self.fine = self._grid(noise(rng, 3))
        self.grain = self._grid(noise(rng, 5))
        self.cloud = self._grid(noise(rng, 13))
        self.cystic = bool(rng.random() < 0.25)
        self.bias = noise(rng, 80)
        # white-matter changes of age, without a label: caps around the ventricles and spots, bright on T2 and FLAIR
        caps = np.clip(1 - head.ventricles / np.float32(rng.uniform(3, 7)), 0, 1)
        spots = np.clip(noise(rng, 6) - np.float32(rng.uniform(1.7, 2.6)), 0, 0.8)
        share = np.float32(rng.uniform(0, 0.65))
        self.aged = share * self._grid(np.maximum(caps * np.float32(0.8), spots)) * (tissues == WHITE)
        self.vessels = self._vessels(rng, head.midline, rind)

    def _grid(self, field: Field) -> Field:
        """A lattice field on the voxels of the window."""
        return resample(field, self.size, self.window)

    def _vessels(self, rng: np.random.Generator, midline: Field, rind: Field) -> Field:
        """The blood in each voxel, 0 to 1: veins on the surface and in sulci, sagittal sinus, plexus, meninges."""
        a, b = self._grid(noise(rng, 11)), self._grid(noise(rng, 11))
        # two noises are both near 0 along curves: their surroundings are tubes, the veins
        radius = np.float32(rng.uniform(0.18, 0.30))
        tube = np.clip(2 - np.sqrt(a * a + b * b) / radius, 0, 1)
        # most veins are near the surface or in sulci
        near = np.clip((rind + 5) / 3, 0.12, 1) + (self.tissues == CSF)
        tube *= np.minimum(near, 1)
        middle = np.abs(self._grid(midline))
        sinus = np.clip(3 - middle, 0, 1) * np.clip(rind + 2.5, 0, 1) * (rind < 3)
        plexus = (self.tissues == VENTRICLE) * np.clip(self._grid(noise(rng, 7)) - 1, 0, 1)
        meninges = np.clip(rind + 2.5, 0, 1) * np.clip(self._grid(noise(rng, 12)) - np.float32(1.2), 0, 0.8)
        return np.maximum(np.maximum(tube, sinus * np.float32(0.8)), np.maximum(plexus, meninges))

    def scan(self, rng: np.random.Generator, modality: str) -> npt.NDArray[np.int16]:
        """One modality of the window, int16."""
        tissues, labels = self.tissues, self.labels
        medians = np.array(CONTRAST[modality]) * np.exp(rng.normal(0, SPREAD))
        csf, ventricle, grey, white, deep, oedema, core, rim = medians.astype(np.float32)
        if self.cystic and self.kind != "no-et":
            core *= np.float32({"t1": 0.7, "t1ce": 0.7, "t2": 1.15, "flair": 0.5}[modality])
        if self.kind == "no-et":
            core = np.float32({"t1": core, "t1ce": core * 1.1, "t2": core * 0.95, "flair": core * 1.02}[modality])
        # tissues first, then oedema mixed in by its water, then the core
        lut = np.ones(8, dtype=np.float32)
        lut[[CSF, VENTRICLE, GREY, WHITE, DEEP_GREY]] = csf, ventricle, grey, white, deep
        image = lut[tissues]
        ill = labels == OEDEMA
        image[ill] += (oedema - image[ill]) * self.water[ill]
        image[labels == NECROSIS] = core
        image[labels == ENHANCING] = rim
        # a tumour is mottled, most where it enhances; healthy tissue is nearly uniform
        blotch, speck = (np.zeros(5, dtype=np.float32) for _ in range(2))
        blotch[[0, NECROSIS, OEDEMA, ENHANCING]] = 0.018, 0.13, 0.12, 0.16
        speck[[0, NECROSIS, OEDEMA, ENHANCING]] = 0.025, 0.06, 0.05, 0.28 if modality == "t1ce" else 0.09
        own = self._grid(noise(rng, 9))
        pattern = blotch[labels] * (np.float32(0.6) * self.cloud + np.float32(0.6) * own)
        pattern += speck[labels] * (np.float32(0.7) * self.grain + np.float32(0.5) * self.fine)
        image *= np.maximum(1 + pattern, np.float32(0.3))
        if modality == "t1ce":
            gain = np.float32(rng.uniform(0.7, 1.5))
            image += self.vessels * gain * (labels != ENHANCING)
        if modality in ("t2", "flair"):
            image += self.aged * (labels == 0)
        if modality == "t2":
            image *= 1 - np.float32(0.5) * self.vessels * (labels == 0)  # flow voids
        return self._acquire(rng, modality, image)

    def _acquire(self, rng: np.random.Generator, modality: str, image: Field) -> npt.NDArray[np.int16]:
        """Partial volume, coil sensitivity, Rician noise and scanner units, in this order: (d, h, w) int16."""
        image = np.where(self.brain, image, np.float32(0.3))
        blur_mm = rng.uniform(0.7, 1.0, size=3)
        if modality in ("t2", "flair"):  # mostly acquired in thick slices
            blur_mm *= (rng.uniform(1.2, 2.4), 1.2, 1.2)
        image = soften(image, [b / s for b, s in zip(blur_mm, self.spacing, strict=True)])
        image *= 1 + np.float32(rng.uniform(0.02, 0.06)) * self._grid(self.bias + np.float32(0.5) * noise(rng, 80))
        sigma = np.float32(rng.uniform(0.025, 0.06))
        # Rician: the magnitude of a signal with independent noise in its real and imaginary part
        real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
        imaginary = sigma * rng.standard_normal(image.shape, dtype=np.float32)
        magnitude = np.sqrt(real * real + imaginary * imaginary)
        magnitude = soften(magnitude, (0.4, 0.4, 0.4))  # resampling to 1 mm correlates the noise
        level = np.float32(rng.uniform(*LEVEL[modality]))
        units = np.clip(np.rint(magnitude * level), 1, 32767)
        return np.where(self.brain, units, 0).astype(np.int16)


def soften(image: Field, deviations: Sequence[float]) -> Field:
    """The image blurred along each axis, by up to three passes of the kernel (w, 1 − 2w, w).

    deviations: standard deviation along each axis, in voxels; larger ones are cut off at what three passes give.
    """
    for axis, deviation in enumerate(deviations):
        variance = deviation * deviation
        passes = min(3, max(1, int(np.ceil(variance / 0.5))))
        side = np.float32(min(variance / passes / 2, 1 / 3))
        for _ in range(passes):
            # w of the neighbour before and after; at the border, the border voxel itself
            image = np.moveaxis(image, axis, 0)
            out = image * (1 - 2 * side)
            out[1:] += side * image[:-1]
            out[:-1] += side * image[1:]
            out[0] += side * image[0]
            out[-1] += side * image[-1]
            image = np.moveaxis(out, 0, axis)
    return image
