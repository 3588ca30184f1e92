"""A subject whose scores can be counted by hand."""

import nibabel as nib
import numpy as np
import pytest

from medsam_core.data.cohort import find_subjects

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def subject(tmp_path):
    """20 × 24 × 28: oedema on slices 5 to 9 (10 × 12), core on 6 to 7 (4 × 4), no enhancing tumour."""
    labels = np.zeros((20, 24, 28), np.uint8)
    labels[5:10, 4:14, 6:18] = 2
    labels[6:8, 6:10, 8:12] = 1
    image = labels.astype(np.float32) + np.arange(28, dtype=np.float32)
    folder = tmp_path / "Case_001"
    folder.mkdir()
    for name, array in (("t1ce", image), ("flair", image * 2), ("seg", labels)):
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE), folder / f"Case_001_{name}.nii.gz")
    return find_subjects(tmp_path)[0]
