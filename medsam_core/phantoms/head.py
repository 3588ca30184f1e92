"""A head without a tumour: signed distances on the lattice, and the tissue of each voxel made from them.

The shapes are ellipsoids and tubes in a canonical head (millimetres, z up, y to the back, x to the left; origin in
the middle of the brain), deformed by a smooth random warp. The cortex lines the brain's hull and a set of sheets: sulci
are the zero set of noise that hardly changes along the radius, fissures are planes and the seams between the lobes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medsam_core.phantoms.fields import LATTICE, Field, Labels, Window, blend, coordinates, ellipsoid, noise, resample

AIR, SCALP, SKULL, CSF, VENTRICLE, GREY, WHITE, DEEP_GREY = range(8)

ORIGIN_MM = (75.0, 131.0, 120.0)
FAR = np.float32(99.0)
# the lateral ventricle of one side, (z, y, x, radius): frontal horn, body, atrium, occipital horn; then temporal horn
VENTRICLE_PATH = (
    (1, -37, 16, 2.2), (6, -26, 10, 4.8), (12, -13, 8, 4.8), (17, 2, 10, 4.8), (17, 18, 15, 5.0), (8, 29, 23, 6.5),
    (3, 48, 24, 2.2),
)  # fmt: skip
TEMPORAL_PATH = ((8, 29, 23, 6.5), (-8, 20, 32, 2.6), (-19, -6, 30, 1.9))
# deep grey nuclei of one side: centre and half axes (z, y, x)
NUCLEI = (
    ((4, -24, 16), (9, 10, 5)), ((15, -6, 18), (5, 15, 3)), ((1, -5, 26), (10, 18, 7)), ((4, 13, 11), (9, 14, 8.5))
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Head:
    """Fields of one head, each (52, 80, 80) float32 in mm on the lattice; distances are negative inside."""

    brain: Field
    """Distance to the hull of the brain, without sulci."""
    strip: Field
    """The same with the cisterns between the parts of the brain filled: what skull stripping leaves."""
    cavity: Field
    """Distance to the inside of the skull."""
    outer: Field
    """Distance to the skin."""
    cerebellum: Field
    """Negative where the cerebellum is the nearest part."""
    stem: Field
    """Negative where the brain stem is the nearest part."""
    midline: Field
    """Signed distance to the plane between the hemispheres."""
    ventricles: Field
    """Distance to the ventricles."""
    nuclei: Field
    """Distance to the deep grey nuclei."""
    folia: Field
    """Phase of the cerebellum's leaves, mm along their sequence."""
    sheets: tuple[tuple[Field, Field], ...]
    """For each sheet along which a sulcus or fissure runs: (signed distance to it, mm beyond its bottom)."""
    sulcus: Field
    """Half the width of sulci; closed below 0."""
    cortex_mm: float
    """Thickness of the cortex."""
    skull_mm: float
    """Thickness of the skull."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Canonical coordinates of the lattice nodes, each (52, 80, 80) float32, mm."""

    z: Field
    """Up."""
    y: Field
    """To the back."""
    x: Field
    """To the left."""

    def pushed(self, centre: tuple[float, float, float], radius_mm: float, share: float) -> Frame:
        """The frame after a mass grew at `centre` and pushed the tissue around it outwards (mass effect).

        centre: (z, y, x), mm. radius_mm: of the mass. share: of the distance to the centre by which tissue moves.
        """
        dz, dy, dx = (c - np.float32(m) for c, m in zip((self.z, self.y, self.x), centre, strict=True))
        square = (dz * dz + dy * dy + dx * dx) / np.float32((1.6 * radius_mm) ** 2)
        pull = np.float32(share) / ((1 + square) * (1 + square))
        return Frame(self.z - dz * pull, self.y - dy * pull, self.x - dx * pull)


def frame(rng: np.random.Generator) -> Frame:
    """Canonical coordinates of a random head: size, tilt and shape vary as in adults registered to an atlas."""
    z, y, x = (c - np.float32(o) for c, o in zip(coordinates(), ORIGIN_MM, strict=True))
    scale = rng.uniform(0.95, 1.04) * rng.uniform(0.975, 1.025, size=3)
    pitch, yaw, roll = rng.normal(0, 0.03, size=3)
    shift = rng.normal(0, 1.0, size=3)
    warps = [noise(rng, 38) * np.float32(1.5) + noise(rng, 18) * np.float32(0.4) for _ in range(3)]
    # for such small angles shearing is as good as rotation
    cz = (z + y * np.float32(pitch) + x * np.float32(roll) + np.float32(shift[0])) / np.float32(scale[0]) + warps[0]
    cy = (y - z * np.float32(pitch) + x * np.float32(yaw) + np.float32(shift[1])) / np.float32(scale[1]) + warps[1]
    cx = (x - y * np.float32(yaw) - z * np.float32(roll) + np.float32(shift[2])) / np.float32(scale[2]) + warps[2]
    return Frame(cz, cy, cx)


@dataclass(frozen=True, eq=False)
class Hull:
    """Distances to the parts of the brain before any sulcus, each (52, 80, 80) float32, mm, negative inside."""

    dome: Field
    """The cerebrum before its flat base is cut off."""
    cerebrum: Field
    temporal: Field
    """The temporal lobes."""
    cerebellum: Field
    stem: Field

    @property
    def supratentorial(self) -> Field:
        """Cerebrum and temporal lobes together: the brain above the tentorium."""
        return np.minimum(self.cerebrum, self.temporal)

    @property
    def brain(self) -> Field:
        """The whole brain: cerebrum, temporal lobes, cerebellum and stem together."""
        return np.minimum(self.supratentorial, np.minimum(self.cerebellum, self.stem))


def hull(at: Frame) -> Hull:
    """The brain's outline in the frame `at`."""
    z, y, x = at.z, at.y, at.x
    side = np.abs(x)
    # the cerebrum: an egg with a flat base, which follows the tentorium
    egg = x / (1 + y * np.float32(0.0009))  # wider at the back
    blunt = y * (1 - np.float32(0.14) * (x / 66) ** 2)
    dome = ellipsoid(z - 2, blunt, egg, (64, 81, 66))
    rise = np.clip(-22 + (y + 20) * np.float32(0.32), -22, -9)
    tent = np.maximum(side - 10, 0) * np.clip((y - 10) / 20, 0, 1) * np.float32(0.22)
    floor = rise - np.maximum(y - 42, 0) * np.float32(0.3) - tent  # the tentorium: low at the front, back and sides
    cerebrum = np.maximum(dome, floor - z)
    # the temporal lobes rise to the front, the cerebellum fills the space below the tentorium
    sheared = z + 27 - (y + 8) * np.float32(0.26)
    temporal = ellipsoid(sheared, y + 8, side - 41, (19, 42, 22))
    notch = np.maximum(0, 5 - side) * np.clip((y - 38) / 12, 0, 1)
    cerebellum = ellipsoid(z + 37, y - 36, x, (27, 31, 51)) + notch
    cerebellum = np.maximum(cerebellum, z - (floor - 2))
    # the stem: pons, medulla and midbrain in one
    pons = ellipsoid(z + 36, y - 9, x, (17, 14, 17))
    stalk = ellipsoid(z + 42, y - 18 + (z + 42) * np.float32(0.12), x, (38, 11, 12))
    midbrain = ellipsoid(z + 14, y - 12, x, (16, 14, 20))
    return Hull(dome, cerebrum, temporal, cerebellum, blend(blend(pons, stalk, 6), midbrain, 6))


def tube(z: Field, y: Field, x: Field, path: tuple[tuple[float, float, float, float], ...]) -> Field:
    """Signed distance to a tube along a polyline, mm. path: (z, y, x, radius) of each corner, mm."""
    out = np.full(z.shape, FAR)
    for a, b in itertools.pairwise(path):
        az, ay, ax, ar = (np.float32(v) for v in a)
        vz, vy, vx, vr = (np.float32(q - p) for p, q in zip(a, b, strict=True))
        # t: the nearest position on this piece of the line, 0 to 1; the radius changes linearly along it
        t = np.clip(((z - az) * vz + (y - ay) * vy + (x - ax) * vx) / (vz * vz + vy * vy + vx * vx), 0, 1)
        dz, dy, dx = z - az - t * vz, y - ay - t * vy, x - ax - t * vx
        np.minimum(out, np.sqrt(dz * dz + dy * dy + dx * dx) - ar - t * vr, out=out)
    return out


def ventricles(rng: np.random.Generator, at: Frame) -> Field:
    """Signed distance to the four ventricles, mm; their width varies between subjects and sides."""
    width = rng.uniform(-1.8, 2.6)
    lean = rng.normal(0, 0.5)
    side = np.abs(at.x)
    horns = tube(at.z, at.y, side, TEMPORAL_PATH) + np.float32(0.6)
    lateral = np.minimum(tube(at.z, at.y, side, VENTRICLE_PATH), horns)
    lateral = lateral - np.float32(width) + np.clip(at.x, -1, 1) * np.float32(lean)
    third = ellipsoid(at.z + 1, at.y - 4, at.x, (10, 14, 2.2 + max(width, -1) * 0.4))
    fourth = ellipsoid(at.z + 36, at.y - 25, at.x, (9, 5, 6))
    return np.minimum(lateral, np.minimum(third, fourth))


def sulci(rng: np.random.Generator, at: Frame, depth: Field) -> tuple[Field, Field]:
    """The sheet of the sulci: (distance to it, signed by side; distance beyond the bottom of the sulcus), mm.

    depth: mm below the brain's hull.
    """
    grain = np.float32(6.8)
    radius = np.sqrt(at.z * at.z + at.y * at.y + at.x * at.x) + 1
    # the noise is sampled at a compressed radius: nearly constant along it, so sulci are perpendicular to the surface
    squeeze = (np.float32(62) + (radius - 62) * np.float32(0.25)) / radius / grain
    nodes = 32
    values = rng.standard_normal((nodes, nodes, nodes), dtype=np.float32)
    shell = (depth > -6) & (depth < 34)
    points = np.stack([(c * squeeze)[shell] + nodes / 2 for c in (at.z, at.y, at.x)])
    pattern = np.full(depth.shape, 1, dtype=np.float32)
    pattern[shell] = ndimage.map_coordinates(values, points, order=3, prefilter=False, mode="nearest") * 2
    # value / slope: the distance to the zero set, to first order
    slopes = np.gradient(pattern, *(155 / 52, 3.0, 3.0))
    slope = np.sqrt(sum(s * s for s in slopes)) + np.float32(0.03)
    distance = np.clip(pattern / slope, -12, 12).astype(np.float32)
    length = np.clip(15 + 6 * noise(rng, 22), 3, 28)
    return distance, depth - length


def head(rng: np.random.Generator, at: Frame, inner: Frame) -> Head:
    """One head without a tumour.

    at: the frame of the skull and the brain's outline; inner: that of the structures inside, which a mass has moved.
    """
    outline = hull(at)
    brain = outline.brain + noise(rng, 16) * np.float32(0.6) + noise(rng, 8) * np.float32(0.25)
    supratentorial = outline.supratentorial
    depth = -supratentorial
    z, y, x = inner.z, inner.y, inner.x
    side = np.abs(x)
    callosum = np.sqrt((y / 40) ** 2 + (np.maximum(z, 0) / 25) ** 2).astype(np.float32)
    # the depth of sulci is measured from the dome, because the flat base has only shallow ones
    folded = np.minimum(-np.minimum(outline.dome, outline.temporal), np.maximum(4 - 2.5 * supratentorial, 0))
    below = np.where(supratentorial < np.minimum(outline.cerebellum, outline.stem), np.float32(0), FAR)
    fissure = (x + noise(rng, 16) * np.float32(0.8), (1 - callosum) * 30 + below)
    seam = (outline.cerebrum - outline.temporal) / 2
    sylvian = (seam, depth - np.float32(26))
    cleft = (z - 5 - (y + 4) * np.float32(0.35) + noise(rng, 18) * 2, np.maximum(38 - side, np.abs(y + 2) - 24) + below)
    bulge = (y + 2) ** 2 * np.float32(0.012) + noise(rng, 14) * np.float32(2)
    insula = (side - 38 + bulge, np.maximum(np.abs(z - 5) - 13, np.abs(y + 2) - 20) + below)
    tentorium = ((supratentorial - outline.cerebellum) / 2, np.maximum(-outline.brain - 25, 0))
    ambient = ((supratentorial - outline.stem) / 2, np.maximum(z + 6, 0))
    star = np.maximum(ellipsoid(z + 19, y + 12, x, (9, 9, 13)), -outline.stem - 1) + noise(rng, 8) * np.float32(0.8)
    nuclei = np.full(LATTICE, FAR)
    for (cz, cy, cx), axes in NUCLEI:
        np.minimum(nuclei, ellipsoid(z - cz, y - cy, side - cx - (y - cy) * np.float32(0.2), axes), out=nuclei)
    rounded = blend(blend(outline.cerebrum, outline.temporal, 20), blend(outline.cerebellum, outline.stem, 14), 16)
    strip = np.minimum(brain, blend(supratentorial, np.minimum(outline.cerebellum, outline.stem), 12))
    cavity = np.minimum(brain, rounded) - np.float32(rng.uniform(1.0, 3.0))
    face = ellipsoid(at.z + 62, at.y + 18, at.x, (60, 74, 60))
    skin = np.float32(rng.uniform(11, 15))
    folds = ellipsoid(z + 34, y - 12, x, (30, 30, 34)) + 60
    return Head(
        brain=np.maximum(brain, -star),
        strip=strip,
        cavity=cavity,
        outer=np.minimum(blend(cavity, face + skin, 18) - skin, face),
        cerebellum=outline.cerebellum - supratentorial,
        stem=outline.stem - np.minimum(supratentorial, outline.cerebellum) + 4,
        midline=x,
        ventricles=ventricles(rng, inner),
        nuclei=nuclei + noise(rng, 10) * np.float32(0.5),
        folia=folds + noise(rng, 12) * np.float32(1.5),
        sheets=(sulci(rng, inner, folded), fissure, sylvian, cleft, insula, tentorium, ambient),
        sulcus=np.float32(rng.uniform(0.25, 0.75)) * np.clip(1 + noise(rng, 20), -0.3, 3) - 0.05,
        cortex_mm=float(rng.uniform(2.6, 3.4)),
        skull_mm=float(rng.uniform(4.5, 7.0)),
    )


def classify(of: Head, size: tuple[int, int, int], window: Window | None = None) -> Labels:
    """The tissue of each voxel of `window` (default: all) in a grid of `size`: uint8, AIR … DEEP_GREY."""

    def on_grid(field: Field) -> Field:
        return resample(field, size, window)

    brain = on_grid(of.brain)
    cavity = on_grid(of.cavity)
    # the distance to the nearest sheet; beyond a sheet's bottom, to its edge
    sheet = np.full(brain.shape, FAR)
    for distance, beyond in of.sheets:
        d, b = on_grid(distance), np.maximum(on_grid(beyond), 0)
        np.minimum(sheet, d * d + b * b, out=sheet)
    sheet = np.sqrt(sheet)
    width = on_grid(of.sulcus)
    cortex = np.float32(of.cortex_mm)
    # white matter, lined with cortex along the hull and the sheets, with fluid in the sulci
    tissue = np.full(brain.shape, WHITE, dtype=np.uint8)
    tissue[(-brain < cortex) | (sheet < width + cortex)] = GREY
    tissue[sheet < width] = CSF
    # the cerebellum: thin leaves, grey along their furrows, in a layer under its surface
    cerebellum = on_grid(of.cerebellum) < 0
    period = np.float32(5.2)
    phase = on_grid(of.folia) / period
    leaf = np.abs(phase - np.floor(phase) - np.float32(0.5)) * period  # mm from the furrow between two leaves
    rind = cerebellum & (brain > -11)
    tissue[cerebellum] = WHITE
    tissue[rind & ((leaf < 1.7) | (brain > -5))] = GREY
    tissue[rind & (leaf < 0.45) & (brain > -8)] = CSF
    tissue[(on_grid(of.stem) < 0) & (brain < -1)] = WHITE
    tissue[(on_grid(of.nuclei) < 0) & (tissue == WHITE)] = DEEP_GREY
    tissue[(on_grid(of.ventricles) < 0) & (brain < -2)] = VENTRICLE
    tissue[brain >= 0] = CSF
    return np.where(cavity < 0, tissue, shell(cavity, on_grid(of.outer), of.skull_mm))


def shell(cavity: Field, outer: Field, skull_mm: float) -> Labels:
    """SKULL, SCALP and AIR by the distances to the inside of the skull and to the skin; inside, it is SKULL too."""
    tissue = np.full(cavity.shape, SKULL, dtype=np.uint8)
    tissue[cavity >= np.float32(skull_mm)] = SCALP
    tissue[outer >= 0] = AIR
    return tissue
