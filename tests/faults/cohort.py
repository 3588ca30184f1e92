"""The cohort of the faults: three phantoms with few slices, because every fault scores them again."""

from __future__ import annotations

from pathlib import Path

from medsam_core.phantoms.cohort import FILES, nifti_bytes, subject

SEED, SIDE = 19, 160
SLICES = ((1, 32, range(10, 25)), (2, 32, range(10, 27)), (5, 200, range(90, 147)))
"""Of each subject: its index in the phantom cohort, the number of slices of the whole head, and those that are kept.

The first has a small tumour, the second two foci. The third is long: its tracks go down for more than 25 slices, and
its tumour reaches the volume's last slice.
"""


def write_cohort(root: Path) -> Path:
    """Write the subjects in BraTS layout and return root."""
    for index, depth, kept in SLICES:
        phantom = subject(SEED, index, (depth, SIDE, SIDE))
        name = f"Phantom_s{SEED}_{index:04d}"
        (root / name).mkdir()
        for part in FILES:
            voxels = phantom.labels if part == "seg" else phantom.images[part]
            content = nifti_bytes(voxels[kept.start : kept.stop], phantom.anatomy.spacing_mm)
            (root / name / f"{name}_{part}.nii.gz").write_bytes(content)
    return root
