"""The area of surface between neighbouring voxels.

A surface element ("surfel") is on the corner that 2 × 2 × 2 voxels share. Its area is that of the surface that
marching cubes draws between the voxels inside and those outside; in 2-D, the contour's length between 2 × 2 pixels.
This is the definition of DeepMind's surface-distance (Nikolov et al. 2018, https://arxiv.org/abs/1809.04430).
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TRIANGLES: tuple[tuple[str, tuple[tuple[int, int, int], ...]], ...] = (
    ("111", ((1, 1, 1),)),
    ("110 111", ((2, 2, 0), (2, 2, 0))),
    ("101 110", ((1, 1, 1), (1, 1, 1))),
    ("011 100", ((1, 1, 1), (1, 1, 1))),
    ("101 110 111", ((4, 0, 0), (2, 2, 2), (1, 1, 1))),
    ("011 101 110", ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    ("011 100 111", ((0, 2, 2), (0, 2, 2), (1, 1, 1))),
    ("100 101 110 111", ((4, 0, 0), (4, 0, 0))),
    ("011 101 110 111", ((2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1))),
    ("011 100 110 111", ((3, 3, 3), (0, 2, 2), (2, 0, 2), (1, 1, 1))),
    ("011 100 101 110", ((4, 0, 0), (2, 2, 2), (1, 1, 1), (1, 1, 1))),
    ("010 011 100 101", ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0))),
    ("001 010 100 111", ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))),
)
"""One row for each kind of neighbourhood: the voxels inside, and the triangles that separate them from the others.

A voxel is its index along each axis ("101": 1, 0, 1). A triangle is the size of each component of its area vector, in
eighths of a voxel's face. Rotation, reflection and swapping inside with outside give all other neighbourhoods."""


@lru_cache(maxsize=64)
def surface_elements(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """The surface in every neighbourhood: (256,) float64 mm² in 3-D, (16,) float64 mm in 2-D; read-only.

    spacing_mm: (s0, s1, s2) or (s0, s1), above 0.
    The index of a neighbourhood is the sum of 1 << n over its voxels inside, n the voxel's number in C order.
    """
    table = _contours(*spacing_mm) if len(spacing_mm) == 2 else _areas(*spacing_mm)
    table.flags.writeable = False
    return table


def _contours(s0: float, s1: float) -> NDArray[np.float64]:
    """Contour lengths, (16,) float64 mm: one pixel differs: half a diagonal; two: a side, or two half diagonals."""
    half = math.hypot(s0, s1) / 2
    return np.array([0, half, half, s1, half, s0, 2 * half, half, half, 2 * half, s0, half, s1, half, half, 0])


def _areas(s0: float, s1: float, s2: float) -> NDArray[np.float64]:
    """Surface areas, (256,) float64 mm²: each row of _TRIANGLES in all its rotations, reflections and swaps."""
    faces = np.array([s1 * s2, s0 * s2, s0 * s1])
    table = np.zeros(256)
    for corners, triangles in _TRIANGLES:
        inside = np.zeros((2, 2, 2), bool)
        for corner in corners.split():
            inside[tuple(int(digit) for digit in corner)] = True
        # permuted axes and mirrored axes together give every rotation and reflection
        for axes in itertools.permutations(range(3)):
            turned = inside.transpose(axes)
            area = sum(float(np.linalg.norm(faces * [triangle[axis] for axis in axes])) / 8 for triangle in triangles)
            for mirrored in itertools.product((1, -1), repeat=3):
                step0, step1, step2 = mirrored
                # 255 - code: the same surface with inside and outside swapped
                code = int(np.packbits(turned[::step0, ::step1, ::step2].ravel(), bitorder="little")[0])
                table[code] = table[255 - code] = area
    return table
