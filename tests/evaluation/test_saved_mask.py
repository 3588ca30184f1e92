"""A saved mask that is not the one that was scored, or is elsewhere in the world, is refused."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medsam_core.data.volume import read_image, write_mask
from medsam_core.errors import RunError
from medsam_core.evaluation.saved_mask import check_saved_mask

ORIENTATIONS = ["LPS", "RAS", "PIR", "SLA"]


@pytest.fixture(params=ORIENTATIONS)
def saved(request, tmp_path):
    """(path of the mask, prediction, image, path of the image): an image of that orientation and a saved mask."""
    generator = np.random.default_rng(5)
    codes = nibabel.orientations.axcodes2ornt(request.param)
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(codes):
        affine[int(world), axis] = sign * (1.0, 1.5, 3.0)[int(world)]
    affine[:, 3] = (-40, 12, 7, 1)
    source = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(generator.random((7, 8, 9)).astype(np.float32), affine), source)
    image = read_image(source)
    prediction = generator.random(image.shape) > 0.6
    path = tmp_path / "mask.nii.gz"
    write_mask(prediction, image, path)
    return path, prediction, image, source


def test_a_mask_that_was_written_well_is_accepted(saved):
    check_saved_mask(*saved)


CHANGES = {
    "mirrored": (lambda voxels: voxels[::-1], lambda affine: affine, "differs from the scored mask in"),
    "one voxel": (lambda voxels: _flipped(voxels), lambda affine: affine, "in 1 voxels"),
    "doubled affine": (lambda voxels: voxels, lambda affine: affine * 2, "has another affine"),
    "shifted": (lambda voxels: voxels, lambda affine: affine + _SHIFT, "affine"),
    "shape": (lambda voxels: voxels[:-1], lambda affine: affine, "has the shape"),
}
_SHIFT = np.array([[0, 0, 0, 1.0], [0] * 4, [0] * 4, [0] * 4])


def _flipped(voxels):
    changed = voxels.copy()
    changed[0, 0, 0] = 1 - changed[0, 0, 0]
    return changed


@pytest.mark.parametrize("change", CHANGES)
def test_a_mask_that_was_written_wrongly_is_refused(saved, change):
    path = saved[0]
    voxels, affine, sentence = CHANGES[change]
    mask = nibabel.load(path)
    changed = nibabel.Nifti1Image(voxels(np.asarray(mask.dataobj)), affine(mask.affine))
    nibabel.save(changed, path)
    with pytest.raises(RunError, match=f"read back, it .*{sentence}.*, expected the mask that was scored"):
        check_saved_mask(*saved)
