"""A head with a brain tumour as two label maps, from a seed: what phantoms are painted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medsam_core.errors import OptionError
from medsam_core.phantoms import head as phantom_head
from medsam_core.phantoms import tumour as phantom_tumour
from medsam_core.phantoms.fields import FIELD_MM, LATTICE, Labels, Window, resample
from medsam_core.phantoms.head import CSF, GREY

FULL_SIZE = (155, 240, 240)
MIN_SIZE = 16
Seed = int | Sequence[int]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One head with its tumour."""

    tissues: Labels
    """(D, H, W), AIR 0, SCALP 1, SKULL 2, CSF 3, VENTRICLE 4, GREY 5, WHITE 6, DEEP_GREY 7."""
    labels: Labels
    """(D, H, W), as in BraTS: 0 none, 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing; 0 in air, scalp, skull
    and ventricles."""
    spacing_mm: tuple[float, float, float]
    """(dz, dy, dx); the field of view is 155 × 240 × 240 mm at every size."""
    kind: str
    """How the core is built: "ring", "solid", "patchy" or "no-et"."""
    foci: int
    """How many separate cores were planted."""


def check_size(size: Sequence[int]) -> tuple[int, int, int]:
    """`size` as (D, H, W). Raises OptionError unless it is three whole numbers of at least 16."""
    try:
        d, h, w = (int(n) for n in size)
        usable = (d, h, w) == tuple(size) and min(d, h, w) >= MIN_SIZE
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise OptionError(
            f"phantom size: got {size!r}, expected three whole numbers of at least {MIN_SIZE}; choose e.g. 155 240 240."
        )
    return d, h, w


def streams(seed: Seed, count: int) -> list[np.random.Generator]:
    """`count` independent generators from one seed: a change to one part of the head leaves the other parts unchanged.

    Raises OptionError for a seed that is not one or several whole numbers ≥ 0.
    """
    try:
        root = np.random.SeedSequence(seed)
    except (TypeError, ValueError):
        raise OptionError(f"phantom seed: got {seed!r}, expected whole numbers ≥ 0; choose e.g. 7.") from None
    return [np.random.default_rng(s) for s in root.spawn(count)]


def _box(inside: npt.NDArray[np.bool_], size: Sequence[int]) -> Window:
    """The voxels of a grid of `size` around the lattice nodes where `inside` is True, with a margin of one node."""
    spans = []
    for side, voxels, nodes in zip(ndimage.find_objects(inside.astype(np.uint8))[0], size, inside.shape, strict=True):
        start, stop = side.start - 1, side.stop + 1
        # from nodes to voxels: the start rounds down, the stop rounds up
        spans.append((max(0, start * voxels // nodes), min(voxels, -(-stop * voxels // nodes))))
    return spans[0], spans[1], spans[2]


@dataclass(frozen=True, eq=False)
class Growth:
    """An Anatomy with the lattice fields from which it was made; `contrast.paint` needs both."""

    anatomy: Anatomy
    head: phantom_head.Head
    tumour: phantom_tumour.Tumour
    window: Window
    """The voxels around the whole brain."""


def grow(seed: Seed, size: Sequence[int] = FULL_SIZE, *, kind: str | None = None, foci: int | None = None) -> Growth:
    """A head with a tumour. The same seed gives the same head; another size is the same head on another grid.

    seed: one int ≥ 0 or several.
    size: (D, H, W), each at least 16; (155, 240, 240) has voxels of 1 mm.
    kind: "ring" (enhancing rim around necrosis), "solid", "patchy" or "no-et" (nothing enhances); None to draw it.
    foci: 1 to 3 separate cores; None to draw it (84 % have one).
    Raises OptionError for an unusable seed, size, kind or number of foci.
    """
    d, h, w = check_size(size)
    if kind is not None and kind not in phantom_tumour.KINDS:
        raise OptionError(f"phantom kind: got {kind!r}, expected one of {', '.join(phantom_tumour.KINDS)}; choose one.")
    if foci is not None and foci not in (1, 2, 3):
        raise OptionError(f"phantom foci: got {foci!r}, expected 1, 2 or 3; choose one of them.")
    shape_rng, head_rng, plan_rng, tumour_rng = streams(seed, 4)
    at = phantom_head.frame(shape_rng)
    outline = phantom_head.hull(at)
    plan = phantom_tumour.plan(plan_rng, at, outline, kind=kind, foci=foci)
    # inner: the frame of the structures that the tumour pushes aside
    inner = at
    for centre in plan.centres:
        inner = inner.pushed(centre, plan.radius_mm, 0.42 / len(plan.centres))
    head = phantom_head.head(head_rng, at, inner)
    # the tumour grows through the tissues as they are on the lattice
    coarse = phantom_head.classify(head, LATTICE)
    tumour = phantom_tumour.grow(tumour_rng, at, coarse, outline, plan)

    # the whole grid gets skull and skin; tissues and tumour only the window around the brain
    tissues = phantom_head.shell(resample(head.cavity, (d, h, w)), resample(head.outer, (d, h, w)), head.skull_mm)
    window = _box(head.cavity < 0, (d, h, w))
    box = tuple(slice(*span) for span in window)
    inside = phantom_head.classify(head, (d, h, w), window)
    found = phantom_tumour.label(tumour, inside, outline, (d, h, w), window)
    labels = np.zeros((d, h, w), dtype=np.uint8)
    labels[box] = found
    # a tumour fills the sulci that it grows over
    inside[(found > 0) & (inside == CSF)] = GREY
    tissues[box] = inside
    spacing = (FIELD_MM[0] / d, FIELD_MM[1] / h, FIELD_MM[2] / w)
    return Growth(Anatomy(tissues, labels, spacing, plan.kind, len(plan.centres)), head, tumour, window)
