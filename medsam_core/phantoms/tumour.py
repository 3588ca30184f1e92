"""A tumour for a phantom head: its place, its growth, and the label of each voxel.

The tumour consists of level sets on the lattice: a lobed core, an oedema that prefers white matter, and a rim inside
the core. The levels are chosen so that the right number of lattice nodes, hence the planned volume, is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medsam_core.phantoms.fields import FIELD_MM, LATTICE, LATTICE_MM, Field, Labels, Window, noise, resample
from medsam_core.phantoms.head import CSF, GREY, VENTRICLE, WHITE, Frame, Hull

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
KINDS = ("ring", "solid", "patchy", "no-et")
# by tissue: how much nearer than in white matter the oedema must be to include cortex, or to close a sulcus
_RELUCTANCE_MM = np.zeros(8, dtype=np.float32)
_RELUCTANCE_MM[[GREY, CSF]] = 2.5, 4.5
# the volume that one lattice node stands for
NODE_ML = LATTICE_MM[0] * LATTICE_MM[1] * LATTICE_MM[2] / 1000


@dataclass(frozen=True)
class Plan:
    """What a tumour should become."""

    kind: str
    """How the core is built, one of KINDS."""
    centres: tuple[tuple[float, float, float], ...]
    """(z, y, x) of each focus in the head's canonical frame, mm."""
    wt_ml: float
    """Volume of the whole tumour, all foci together."""
    tc_ml: float
    """Volume of the core, all foci together."""
    rim_mm: float
    """Mean thickness of the enhancing rim."""
    broken: float
    """Share of the rim that does not enhance."""

    @property
    def radius_mm(self) -> float:
        """Radius of a ball with the volume of one focus's core."""
        return float((3 * self.tc_ml * 1000 / len(self.centres) / (4 * np.pi)) ** (1 / 3))


def plan(rng: np.random.Generator, at: Frame, outline: Hull, *, kind: str | None, foci: int | None) -> Plan:
    """Draw a tumour for a head with the outline `outline` in the frame `at`; kind and foci are drawn if None."""
    # drawn even if given, so that the random numbers after them do not depend on it
    drawn = str(rng.choice(KINDS, p=(0.48, 0.17, 0.22, 0.13)))
    count = int(rng.choice((1, 2, 3), p=(0.84, 0.11, 0.05)))
    kind = kind or drawn
    count = foci or count
    wt_ml = float(np.exp(rng.uniform(np.log(6.5), np.log(195))))
    share = float(rng.uniform(0.45, 0.95) if kind == "no-et" else rng.uniform(0.14, 0.62))
    tc_ml = min(max(wt_ml * share, 1.5), 95.0)
    depth = -outline.supratentorial
    radius = (3 * tc_ml * 1000 / count / (4 * np.pi)) ** (1 / 3)
    # nodes where a focus may start: inside the cerebrum, neither at its surface nor at the midline, base or top
    good = (depth > min(7 + 0.25 * radius, 14)) & (depth < 32) & (np.abs(at.x) > 13) & (at.z < 46) & (at.z > -34)
    good &= outline.supratentorial < np.minimum(outline.cerebellum, outline.stem) - 8
    nodes = np.flatnonzero(good)
    centres: list[tuple[float, float, float]] = []
    while len(centres) < count:
        candidates = rng.choice(nodes, size=12)
        spots = np.stack([c.ravel()[candidates] for c in (at.z, at.y, at.x)], axis=1).astype(float)
        # further foci keep away from the others, so that they stay separate; of two, the second prefers the same side
        if centres:
            gap = np.min([((spots - c) ** 2).sum(1) for c in centres], axis=0)
            same = (np.sign(spots[:, 2]) == np.sign(centres[0][2])) * 400.0
            pick = int(np.argmax(np.minimum(gap, (3.2 * radius + 14) ** 2) + same * (count == 2)))
        else:
            pick = 0
        centres.append((float(spots[pick, 0]), float(spots[pick, 1]), float(spots[pick, 2])))
    broken = float(rng.choice((0.0, 0.12, 0.3)) * rng.uniform(0.7, 1.3))
    return Plan(kind, tuple(centres), wt_ml, tc_ml, float(rng.uniform(2.6, 6.0)), broken)


@dataclass(frozen=True, eq=False)
class Tumour:
    """A tumour as fields on the lattice, (52, 80, 80) float32, and the levels at which they are cut, mm."""

    core: Field
    core_level: float
    """The core is where `core` is below this."""
    spread: Field
    spread_level: float
    """The whole tumour is where `spread` is below this."""
    rim: Field
    """Thickness of the enhancing layer below the core's surface; below 0: none."""
    kind: str
    """One of KINDS."""


def _level(field: Field, allowed: npt.NDArray[np.bool_], ml: float) -> float:
    """The level of `field` below which the allowed nodes have a volume of `ml`, or as much as there is."""
    values = field[allowed]
    rank = min(max(round(ml / NODE_ML), 2), values.size - 1)
    return float(np.partition(values, rank)[rank])


def grow(rng: np.random.Generator, at: Frame, tissues: Labels, outline: Hull, what: Plan) -> Tumour:
    """The planned tumour as fields. at: the frame. tissues: uint8 on the lattice. outline: of the brain."""
    radius = np.float32(what.radius_mm)
    core = np.full(LATTICE, np.inf, dtype=np.float32)
    home = np.zeros(LATTICE, dtype=np.float32)  # the side of the head on which the nearest focus began
    # each focus is a randomly turned ellipsoid; the core is the distance to the nearest one
    for k, centre in enumerate(what.centres):
        d = [c - np.float32(m) for c, m in zip((at.z, at.y, at.x), centre, strict=True)]
        axes = _turn(rng)
        stretch = np.exp(rng.normal(0, 0.17, size=3))
        stretch /= stretch.prod() ** (1 / 3)
        square = np.zeros(LATTICE, dtype=np.float32)
        for axis, s in zip(axes, stretch, strict=True):
            along = sum(q * np.float32(a) for q, a in zip(d, axis, strict=True))
            square += (along / np.float32(s)) ** 2
        # later foci are smaller: their distance starts at a handicap
        handicap = radius * np.float32(0 if k == 0 else rng.uniform(0.0, 0.35))
        distance = np.sqrt(square) + handicap
        home = np.where(distance < core, np.float32(np.sign(centre[2])), home)
        np.minimum(core, distance, out=core)
    lobes = noise(rng, 15) * radius * np.float32(0.17) + noise(rng, 7) * (np.float32(0.5) + radius * np.float32(0.05))
    core = core + np.clip(lobes, -0.5 * radius - 2, 0.5 * radius + 2)

    apart = np.maximum(-at.x * home + 1, 0)  # mm beyond the midline
    hull_distance = outline.supratentorial
    brain = (tissues >= CSF) & (hull_distance < -1) & (np.minimum(outline.cerebellum, outline.stem) > hull_distance)
    core = core + 4 * apart
    in_core = brain & (tissues != VENTRICLE)
    core_level = _level(core, in_core, what.tc_ml)

    # oedema spreads along white matter in fingers, stops at cortex and hardly crosses the midline
    white = (tissues == WHITE).astype(np.float32)
    fingers = noise(rng, 12) * np.float32(0.30) + noise(rng, 24) * np.float32(0.25)
    reach = np.maximum(core - np.float32(core_level), 0)
    spread = reach * np.clip(1 + fingers, 0.35, 2) * (np.float32(1.5) - np.float32(0.5) * white)
    spread = spread + np.minimum(core - np.float32(core_level), 0) + 2 * apart
    spread_level = max(_level(spread + _RELUCTANCE_MM[tissues], in_core, what.wt_ml), 0.8)
    return Tumour(core, core_level, spread, spread_level, _rim(rng, what), what.kind)


def _turn(rng: np.random.Generator) -> npt.NDArray[np.floating[Any]]:
    """A random rotation, (3, 3), from a random unit quaternion."""
    quaternion = rng.standard_normal(4)
    a, b, c, d = quaternion / np.sqrt((quaternion * quaternion).sum())
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
        ]
    )


def _rim(rng: np.random.Generator, what: Plan) -> Field:
    """Thickness of the enhancing layer at each node, mm; below 0 where nothing enhances."""
    fine, broad = noise(rng, 7), noise(rng, 14)
    if what.kind == "no-et":
        return np.full(LATTICE, -1, dtype=np.float32)
    if what.kind == "solid":  # enhancing everywhere except in a few necrotic pockets
        return np.where(fine + broad > 1.7, np.float32(1.5), np.float32(60))
    if what.kind == "patchy":  # patches of enhancement in a core that mostly does not enhance
        return (fine * np.float32(0.7) + broad - np.float32(rng.uniform(0.2, 0.8))) * np.float32(12)
    thickness = np.float32(what.rim_mm) * np.clip(1 + np.float32(0.35) * fine + np.float32(0.3) * broad, 0.3, 2.2)
    gap = np.quantile(broad, what.broken) if what.broken > 0 else -np.inf
    return np.where(broad < gap, np.float32(-1), thickness)


def label(of: Tumour, tissues: Labels, outline: Hull, size: tuple[int, int, int], window: Window) -> Labels:
    """The tumour's labels in `window` of a grid of `size`: 0 none, 1 core that does not enhance, 2 oedema, 4 enhancing.

    tissues: uint8 of the window, from `head.classify`. A core is never empty, and a tumour that enhances has a voxel 4.
    """

    def on_grid(field: Field) -> Field:
        return resample(field, size, window)

    hull_distance = outline.supratentorial
    outside = on_grid(np.maximum(hull_distance + 1, hull_distance - np.minimum(outline.cerebellum, outline.stem)))
    brain = (tissues >= CSF) & (outside < 0) & (tissues != VENTRICLE)
    depth = np.float32(of.core_level) - on_grid(of.core)
    core = brain & (depth > 0)
    rim = on_grid(of.rim)
    spread = on_grid(of.spread) + _RELUCTANCE_MM[tissues]
    labels = np.zeros(tissues.shape, dtype=np.uint8)
    labels[brain & (spread < np.float32(of.spread_level))] = OEDEMA
    labels[core] = NECROSIS
    labels[core & (np.minimum(depth, -outside) < rim)] = ENHANCING  # the rim also lines cortex and falx
    labels[_crumbs(labels > 0, core, 0.15 * np.prod(size) / np.prod(FIELD_MM) * 1000)] = 0
    # on a coarse grid a label may be lost: give it its most likely voxel
    if not (labels == NECROSIS).any() and not (labels == ENHANCING).any():
        labels.flat[int(np.argmax(np.where(brain, depth, -np.inf)))] = NECROSIS
    if of.kind != "no-et" and not (labels == ENHANCING).any():
        labels.flat[int(np.argmax(np.where(labels == NECROSIS, rim, -np.inf)))] = ENHANCING
    return labels


def _crumbs(mask: npt.NDArray[np.bool_], core: npt.NDArray[np.bool_], voxels: float) -> npt.NDArray[np.bool_]:
    """Voxels of the components of `mask` without core or with fewer than `voxels` voxels; never of the largest one."""
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    small = (sizes < voxels) | (np.bincount(parts[core], minlength=count + 1) == 0)
    small[0] = False
    if count:
        small[1 + int(np.argmax(sizes[1:]))] = False
    return small[parts]
